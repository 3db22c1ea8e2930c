-- A row has the same text whatever settings the writing session has.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE SCHEMA "Hidden";
CREATE TYPE "Hidden".float_range AS RANGE (subtype = float8);
CREATE TYPE "Hidden".settled AS (f real, at timestamptz, i interval, b bytea, c regclass, m money);
CREATE DOMAIN "Hidden".moment AS timestamptz;
CREATE DOMAIN "Hidden".moments AS "Hidden".moment[];
CREATE TYPE "Hidden".mood AS ENUM ('good');
CREATE TABLE "Hidden"."T" (x int);
CREATE FUNCTION "Hidden".f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE OPERATOR "Hidden".+ (LEFTARG = text, RIGHTARG = text, PROCEDURE = pg_catalog.textcat);
CREATE TEXT SEARCH CONFIGURATION "Hidden".english (COPY = pg_catalog.simple);
CREATE TEXT SEARCH DICTIONARY "Hidden".plain (TEMPLATE = pg_catalog.simple);
CREATE COLLATION "Hidden".c (LOCALE = 'C');
CREATE ROLE "Regress Role";

-- What depends on a setting by itself, and in arrays, ranges, rows and domains.
CREATE TABLE source (
	id float8, at timestamptz, f4 real, d date, ts timestamp, tz timetz, i interval, b bytea, m money,
	p point, bx box, ci circle, dr daterange, tsr tsrange, tzr tstzrange, dmr datemultirange, tzmr tstzmultirange, fr "Hidden".float_range,
	c regclass, ty regtype, pr regproc, pre regprocedure, op regoper, opr regoperator, tc regconfig, td regdictionary,
	ro regrole, ns regnamespace, co regcollation,
	f8a float8[], tza timestamptz[], ia interval[], ba bytea[], ma money[], ca regclass[], dra daterange[], pa point[],
	s "Hidden".settled, sa "Hidden".settled[], mo "Hidden".moment, mos "Hidden".moments, e "Hidden".mood
);
INSERT INTO source VALUES (
	0.1::float8 + 0.2, '2024-02-29 12:34:56.789+00', 1::real / 3, '2024-02-01', '2024-02-01 01:02:03', '12:34:56.789+05:30',
	'-1 year 2 mons -3 days 04:05:06.7', '\x00ff5c41', '1234.5'::numeric::money, '(0.1,0.30000000000000004)', '((1,2),(0.1,0.7))', '<(0.1,0.2),0.30000000000000004>',
	'[2024-02-01,2024-03-01)', '[2024-02-01 01:02:03,)', '[2024-02-29 12:34:56+00,2024-03-01 00:00+00)', '{[2024-02-01,2024-03-01)}',
	'{[2024-02-29 12:34:56+00,2024-03-01 00:00+00)}', '[0.1,0.30000000000000004]',
	'"Hidden"."T"', '"Hidden".settled', '"Hidden".f', '"Hidden".f(int)', 'pg_catalog.||/', '"Hidden".+(text,text)', '"Hidden".english', '"Hidden".plain',
	'"Regress Role"', '"Hidden"', '"Hidden".c',
	'{0.1,0.30000000000000004}', '{2024-02-29 12:34:56+00,infinity}', '{1 day 01:00}', '{"\\x00ff"}', ARRAY[1.5::numeric::money], ARRAY['"Hidden"."T"'::regclass, 'source'], '{"[2024-02-01,2024-03-01)"}', '{"(0.1,0.30000000000000004)"}',
	ROW(1::real / 3, '2024-02-29 12:34:56+00', '1 day 01:00', '\x00ff', '"Hidden"."T"', 1.5::numeric::money),
	ARRAY[ROW(1::real / 3, '2024-02-29 12:34:56+00', '1 day 01:00', '\x00ff', '"Hidden"."T"', 1.5::numeric::money)::"Hidden".settled],
	'2024-02-29 12:34:56+00', '{2024-02-29 12:34:56+00}', 'good');
CREATE TABLE t (LIKE source, PRIMARY KEY (id, at, i, dr, c, e)) PARTITION BY LIST (e);
CREATE TABLE t_good PARTITION OF t FOR VALUES IN ('good');
SELECT notify_watch('t') IS NOT NULL AS watched;

-- Write the row under one setting after the other; a locale that this machine lacks is left out.
CREATE PROCEDURE write_under_settings() LANGUAGE plpgsql AS $$
DECLARE
	setting text[];
BEGIN
	FOREACH setting SLICE 1 IN ARRAY ARRAY[
		['search_path', 'public'], ['DateStyle', 'German, DMY'], ['IntervalStyle', 'postgres_verbose'], ['extra_float_digits', '-15'],
		['bytea_output', 'escape'], ['TimeZone', 'America/St_Johns'], ['lc_monetary', 'en_US.UTF-8'], ['lc_monetary', 'de_DE.UTF-8'],
		['search_path', '"Hidden", public'], ['quote_all_identifiers', 'on'], ['DateStyle', 'SQL, MDY'], ['TimeZone', 'Europe/Berlin'],
		['IntervalStyle', 'iso_8601'], ['extra_float_digits', '0'], ['DateStyle', 'Postgres, YMD'], ['TimeZone', '<+07>-7'],
		['IntervalStyle', 'sql_standard'], ['extra_float_digits', '3'], ['search_path', 'pg_temp, public, "Hidden"'], ['DateStyle', 'ISO'],
		['TimeZone', 'UTC'], ['bytea_output', 'hex']]
	LOOP
		BEGIN
			PERFORM set_config(setting[1], setting[2], false);
		EXCEPTION WHEN invalid_parameter_value THEN
			NULL;
		END;
		INSERT INTO public.t SELECT * FROM public.source;
		UPDATE public.t SET mo = mo;
		DELETE FROM public.t;
		COMMIT;
	END LOOP;
END $$;
CREATE TEMP TABLE pg_class (x int); -- hides the catalog of that name
CALL write_under_settings();
RESET ALL;
SET client_min_messages = warning;
DROP TABLE pg_temp.pg_class;
CREATE TABLE events AS SELECT event::text COLLATE "C" AS event FROM new_events() AS event;
SELECT event::json->>'op' AS op, count(*) AS events, count(DISTINCT event) AS texts FROM events GROUP BY 1 ORDER BY 1;
SELECT DISTINCT event::json->>'key' AS key FROM events;
SELECT name, value FROM (SELECT event::json->'new' AS new FROM events WHERE event::json->>'op' = 'INSERT' LIMIT 1) AS e, json_each(e.new) AS v (name, value);

-- The session's own settings are as they were, also after an error.
SET timezone = 'Asia/Kolkata';
SET search_path = "Hidden", public;
SET extra_float_digits = -3;
INSERT INTO t SELECT * FROM source;
SHOW timezone;
SHOW search_path;
SELECT f8a FROM t;
CREATE FUNCTION settled_json("Hidden".mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
CREATE CAST ("Hidden".mood AS json) WITH FUNCTION settled_json("Hidden".mood);
UPDATE t SET mo = mo;
SHOW timezone;
SHOW search_path;
SHOW extra_float_digits;
SELECT f8a FROM t;
RESET ALL;
SET client_min_messages = warning;

-- The same when it is read: by notify_fetch(), and of a large transaction.
DROP CAST ("Hidden".mood AS json);
SELECT count(*) > 0 AS read FROM new_events();
SET timezone = 'Asia/Kolkata'; SET datestyle = 'German'; SET extra_float_digits = 0;
BEGIN;
UPDATE t SET mo = mo;
DO $$ BEGIN FOR i IN 1..300 LOOP UPDATE public.t SET mo = mo; END LOOP; END $$;
COMMIT;
RESET ALL;
SET client_min_messages = warning;
SELECT count(*) AS events, count(DISTINCT (event->'new')::text) AS texts,
	bool_and((event->'new')::text = (SELECT event::json->>'new' FROM events WHERE event::json->>'op' = 'UPDATE' LIMIT 1)) AS same
	FROM new_events() AS event;

DROP EXTENSION pg_notifyd;
DROP TABLE t, source, seen, events;
DROP PROCEDURE write_under_settings;
DROP FUNCTION new_events;
DROP SCHEMA "Hidden" CASCADE;
DROP ROLE "Regress Role";
