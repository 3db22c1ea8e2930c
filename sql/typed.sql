-- notify_channel(): channels whose messages have the fields of a composite type.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = notice;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE TYPE post_reads AS (user_id integer, date date);
SELECT notify_channel('post_reads', 'post_reads');
SELECT * FROM notifyd.channels;

-- fields that are missing, extra or wrong are errors by name
SELECT notify_send('post_reads', '{"date": "2026-1-2", "user_id": 7}') IS NOT NULL AS sent;
SELECT notify_send('other', '{"date": "2026-1-2", "user_id": 7}') IS NOT NULL AS sent;
SELECT notify_send('post_reads', '{"user_id": 7}');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '{"user_id": 7, "date": null, "post_id": 3}');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '{"user_id": 7, "date": "2026-02-30"}');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '{"user_id": "x", "date": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '{"user_id": true, "date": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '{"user_id": {"a": 1}, "date": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '[7, null]');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '"x"');
SELECT notify_send('post_reads', 'null');
SELECT notify_send('post_reads', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '{}');
SELECT notify_send('post_reads', '{"user_id": 1e400, "date": null}');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_send('post_reads', '{"user_id": "7", "date": null}') IS NOT NULL AS sent;
SELECT e -> 'payload' AS payload FROM new_events() AS e;

-- values of many types, and nested ones, have the text that a column of the type has
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN zip AS varchar(5) NOT NULL;
CREATE DOMAIN tags AS text[] CHECK (cardinality(VALUE) < 4);
CREATE TYPE address AS (street text, zip zip);
CREATE DOMAIN home AS address CHECK ((VALUE).street <> '');
CREATE TYPE everything AS (
	flag boolean, small smallint, number integer, big bigint, real real, double double precision, amount numeric(10, 2), exact numeric,
	text text, code varchar(3), fixed char(4), mood mood, positive positive, day date, at timestamp, zoned timestamptz(3), clock time,
	span interval, id uuid, bytes bytea, ip inet, money_range numrange, days daterange, several int4multirange,
	doc json, docb jsonb, path point, bits bit(3), xml_id oid,
	address address, home home, addresses address[], tags tags, numbers integer[], matrix integer[], days_list date[], docs jsonb[]);
SELECT notify_channel('everything', 'everything');
CREATE TABLE messages (n integer PRIMARY KEY, message json);
INSERT INTO messages VALUES (1, '{"flag": true, "small": 1, "number": 2, "big": 9007199254740993, "real": 0.1, "double": 1e-300, "amount": 1.5,
	"exact": 100000000000000000000.000100, "text": "é\"\\\u00e9\n", "code": "abc", "fixed": "ab", "mood": "happy", "positive": 1, "day": "Jan 2, 2026",
	"at": "2026-01-02 3:04:05.5", "zoned": "2026-01-02 03:04:05.123456+02", "clock": "3:04", "span": "1 day 2 hours", "id": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
	"bytes": "\\xDEADBEEF", "ip": "10.0.0.1/8", "money_range": "(1.0,2.50)", "days": "[2026-01-01,2026-01-31]", "several": "{[1,2],[5,7)}",
	"doc": {"b": 1, "a": [1, {"c": null}]}, "docb": [true, "x"], "path": "(1,2)", "bits": "101", "xml_id": 5,
	"address": {"zip": "12345", "street": null}, "home": {"street": "Main", "zip": "1"}, "addresses": [{"street": "a", "zip": "1"}, null],
	"tags": ["x", "y,z", null], "numbers": [1, null, "3"], "matrix": [[1, 2], [3, 4]], "days_list": ["2026-1-1"], "docs": ["s", {"a": 1}]}');
INSERT INTO messages SELECT 2, json_object_agg(key, CASE key WHEN 'addresses' THEN '[]'::json WHEN 'numbers' THEN '[]'::json WHEN 'double' THEN '"NaN"'::json
	WHEN 'exact' THEN '"-Infinity"'::json WHEN 'day' THEN '"infinity"'::json ELSE 'null'::json END ORDER BY o)
	FROM messages, json_each(message) WITH ORDINALITY AS e (key, value, o);
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Asia/Kolkata';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -3;
SET bytea_output = 'escape';
SELECT count(notify_send('everything', message)) FROM messages;
RESET DateStyle;
RESET TimeZone;
RESET IntervalStyle;
RESET extra_float_digits;
RESET bytea_output;
CREATE TABLE sent AS SELECT row_number() OVER () AS n, e -> 'payload' AS message FROM new_events() AS e;
SELECT e.key, e.value FROM sent, json_each(message) AS e WHERE n = 1;
SELECT e.key, e.value FROM sent, json_each(message) AS e WHERE n = 2 AND e.value::text <> 'null';
-- what was sent can be sent again, and is the same then
SELECT count(notify_send('everything', message)) FROM sent;
SELECT n, e -> 'payload' #>> '{}' = message #>> '{}' AS same FROM (SELECT *, row_number() OVER () AS n FROM new_events() AS e) AS e JOIN sent USING (n) ORDER BY n;
-- it is the text of a column
CREATE TABLE columns (id integer PRIMARY KEY, value everything);
INSERT INTO columns SELECT n, json_populate_record(NULL::everything, message) FROM sent;
SELECT notify_watch('columns') IS NOT NULL AS watched;
UPDATE columns SET id = id + 10;
SELECT n, e #>> '{new,value}' = message #>> '{}' AS same FROM (SELECT *, row_number() OVER () AS n FROM new_events() AS e) AS e JOIN sent USING (n) ORDER BY n;

-- each wrong value is named with its place
CREATE FUNCTION wrong(path text, value json) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	PERFORM notify_send('everything', jsonb_set(message::jsonb, path::text[], value::jsonb)::json) FROM messages WHERE n = 1;
	RETURN 'sent';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN format(E'%s %s\n%s\n%s', SQLSTATE, SQLERRM, left(detail, 100), hint);
END
$$;
\pset format unaligned
\pset tuples_only
SELECT wrong(path, value::json) FROM (VALUES
	('{small}', '70000'), ('{number}', '1.5'), ('{amount}', '123456789'), ('{text}', '5'), ('{code}', '"abcd"'), ('{mood}', '"angry"'), ('{positive}', '0'),
	('{flag}', '"true"'), ('{address}', '"(a,1)"'), ('{address,zip}', '"123456"'), ('{address,zip}', 'null'), ('{address,city}', '"x"'),
	('{home,street}', '""'), ('{addresses}', '{}'), ('{addresses,0,zip}', '{}'), ('{addresses,1}', '{"zip": "1"}'), ('{tags}', '["1","2","3","4"]'),
	('{numbers,1}', '"x"'), ('{numbers}', '"{1}"'), ('{matrix,1}', '[1]'), ('{matrix,1,0}', '"y"'), ('{matrix,1}', '5'), ('{days_list,0}', '"2026-13-01"'),
	('{money_range}', '"[2,1]"'), ('{id}', '"7"'), ('{doc}', '"any"'), ('{docs,1}', '5'), ('{docs}', '[[1], 2]')) AS v (path, value);
\pset tuples_only
\pset format aligned

-- ALTER TYPE is followed, also by a session that has sent messages
BEGIN;
ALTER TYPE post_reads ADD ATTRIBUTE post_id bigint;
SELECT notify_send('post_reads', '{"user_id": 7, "date": null}');
ROLLBACK;
ALTER TYPE post_reads ADD ATTRIBUTE post_id bigint;
SELECT notify_send('post_reads', '{"user_id": 7, "date": null, "post_id": 3}') IS NOT NULL AS sent;
ALTER TYPE post_reads RENAME ATTRIBUTE user_id TO reader;
SELECT notify_send('post_reads', '{"user_id": 7, "date": null, "post_id": 3}');
SELECT notify_send('post_reads', '{"reader": 7, "date": null, "post_id": 3}') IS NOT NULL AS sent;
ALTER TYPE post_reads DROP ATTRIBUTE date, ALTER ATTRIBUTE reader TYPE text;
SELECT notify_send('post_reads', '{"reader": "x", "post_id": 3}') IS NOT NULL AS sent;
ALTER TYPE address ADD ATTRIBUTE city text CASCADE;
SELECT split_part(wrong('{tags}', 'null'), E'\n', 1);
ALTER TYPE address DROP ATTRIBUTE city CASCADE;
SELECT wrong('{tags}', 'null');
ALTER DOMAIN positive DROP CONSTRAINT positive_check;
SELECT wrong('{positive}', '-1');
ALTER TYPE post_reads RENAME TO reads;
SELECT * FROM notifyd.channels ORDER BY 1;

-- a domain's constraint that sends messages itself
CREATE FUNCTION echo(n integer) RETURNS boolean LANGUAGE sql AS $$
	SELECT notify_send('reads', json_build_object('reader', n, 'post_id', n)) > 0 $$;
CREATE DOMAIN echoing AS integer CHECK (echo(VALUE));
CREATE TYPE echoes AS (a echoing, b echoing);
SELECT notify_channel('reads', 'reads'), notify_channel('echoes', 'echoes');
SELECT notify_send('echoes', '{"a": 1, "b": 2}');
SELECT notify_channel('reads', NULL);
SELECT notify_send('echoes', '{"a": 1, "b": 2}') IS NOT NULL AS sent;
SELECT count(*) FROM new_events();

-- DROP TYPE is refused, and CASCADE takes the declaration back; so does NULL
DROP TYPE reads;
\echo :LAST_ERROR_SQLSTATE
BEGIN;
DROP TYPE reads CASCADE;
SELECT * FROM notifyd.channels ORDER BY 1;
SELECT notify_send('post_reads', '1') IS NOT NULL AS sent;
ROLLBACK;
SELECT notify_send('post_reads', '1');
SELECT notify_channel('post_reads', NULL);
SELECT notify_send('post_reads', '1') IS NOT NULL AS sent;
SELECT notify_channel('post_reads');
CREATE TABLE rows (id integer);
SELECT notify_channel('rows', 'rows');
DROP TABLE rows;
DROP TABLE rows CASCADE;

-- arguments, and who may declare a channel: its owners
SELECT notify_channel(NULL, 'reads');
SELECT notify_channel('', 'reads');
SELECT notify_channel('a', 'integer');
SELECT notify_channel('a', 'positive');
SELECT notify_channel('a', 'reads[]');
SELECT notify_channel('a', 'record');
CREATE TYPE pg_temp.temporary AS (a integer);
DO $$
BEGIN
	PERFORM notify_channel('a', 'pg_temp.temporary');
EXCEPTION WHEN wrong_object_type THEN
	RAISE NOTICE 'refused';
END
$$;
CREATE ROLE regress_notifyd_owner;
CREATE TABLE mine (id integer PRIMARY KEY);
CREATE TABLE yours (id integer PRIMARY KEY);
ALTER TABLE mine OWNER TO regress_notifyd_owner;
SELECT notify_watch('mine', channel => 'ours') IS NOT NULL AS watched;
REVOKE USAGE ON TYPE address FROM PUBLIC;
SET ROLE regress_notifyd_owner;
SELECT notify_channel('ours', 'reads');
SELECT notify_channel('lobby', 'reads');
SELECT notify_channel('lobby', NULL);
SELECT notify_channel('ours', 'address');
RESET ROLE;
SELECT notify_watch('yours', channel => 'ours') IS NOT NULL AS watched;
SET ROLE regress_notifyd_owner;
SELECT notify_channel('ours', NULL);
RESET ROLE;
BEGIN;
SELECT notify_channel('ours', 'address');
PREPARE TRANSACTION 'declared';
DROP OWNED BY regress_notifyd_owner;
DROP ROLE regress_notifyd_owner;
DROP EXTENSION pg_notifyd;
DROP TABLE columns, messages, sent, seen, yours;
DROP TYPE everything, echoes, reads, address CASCADE;
DROP DOMAIN positive, zip, tags, echoing;
DROP TYPE mood;
DROP FUNCTION wrong, echo, new_events;
