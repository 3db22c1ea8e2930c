/* pg_notifyd 1.0 to 1.1 */

-- complain if the script is sourced in psql rather than by ALTER EXTENSION
\echo Use "ALTER EXTENSION pg_notifyd UPDATE TO '1.1'" to load this file. \quit

-- CREATE EXTENSION runs this script behind that of 1.0, so a fresh and an updated installation are the same.
