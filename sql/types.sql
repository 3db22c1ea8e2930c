-- Values of every type are written as row_to_json writes them under the settings that events have, see row_text.sql.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;
SET timezone = 'Asia/Kolkata';

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', E'tab\there');
CREATE TYPE pair AS (a integer, "b c" text);
CREATE TYPE nest AS (p pair, ps pair[], j jsonb);
CREATE DOMAIN posint AS integer CHECK (value > 0);
CREATE DOMAIN posints AS posint[];
CREATE DOMAIN dpair AS pair;
CREATE DOMAIN ts AS timestamptz;
CREATE TYPE spread AS RANGE (subtype = float8);

CREATE TABLE t (
	id integer PRIMARY KEY,
	b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric, nn numeric(10,3), m money,
	t text, v varchar(20), c char(6), "c1" "char", nm name, bin bytea, bits varbit, bit3 bit(3),
	d date, ti time, tiz timetz, ts timestamp, tsz timestamptz, iv interval, ts0 timestamptz(0),
	u uuid, ip inet, net cidr, mac macaddr, mac8 macaddr8, p point, bx box, pa path, ci circle,
	j json, jb jsonb, jp jsonpath, tv tsvector, tq tsquery, lsn pg_lsn, o oid, rc regclass, x xid8,
	ir int4range, tr tstzrange, mr int4multirange, sp spread,
	ia integer[], ta text[], na numeric[], ba boolean[], ja json[], da date[], tsa timestamptz[], pra pair[],
	e mood, ea mood[], pr pair, ne nest, di posint, dia posints, dp dpair, dts ts, iv2 int2vector
);
ALTER TABLE t ADD COLUMN gone text, ADD COLUMN "Naïve ""名前""\" text DEFAULT E'\\', ADD COLUMN late numeric DEFAULT 1.50;
ALTER TABLE t DROP COLUMN gone;
SELECT notify_watch('t') IS NOT NULL AS watched;

INSERT INTO t (id) VALUES (1);
INSERT INTO t VALUES (2,
	true, -32768, -9223372036854775808, 'NaN', '-Infinity', 'NaN', 1.5, 12.3,
	E'quote " backslash \\ slash / nl \n cr \r tab \t bs \b ff \f \x01\x1f\x7f é 😀', 'v', 'ab', 'c', 'name', '\x00ff10', '10101', '101',
	'2020-02-29', '12:34:56.789', '12:34:56.789+05:30', '2020-02-29 12:34:56.789', '2020-02-29 12:34:56.789+00', '1 year 2 mons 3 days 04:05:06.7', '2020-02-29 12:34:56.789+00',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(1,2.5)', '((1,2),(3,4))', '[(1,2),(3,4)]', '<(0,0),1>',
	E'{ "a" : [1,  2 ],\n "a":"\\u00e9" }', '{"b": [1, 2, {"c": null}], "a": "\u00e9\n"}', '$.a[*] ? (@ > 1)', 'a:1 b:2A', 'a & b', '16/B374D848', 42, 'pg_class', '123456789012',
	'[1,10)', '["2020-01-01 00:00+00",)', '{[1,3),[5,7)}', '[1.5,2.5]',
	'{1,NULL,3}', E'{a,"b \\"q\\"",NULL,"NULL"}', '{1.0,NaN,1e20}', '{t,f,NULL}', ARRAY['{"x":1}'::json, NULL, '[ 1 ]'], '{2020-01-01,infinity}', '{-infinity,2020-01-01 00:00+00}', ARRAY[(1,'x')::pair, NULL],
	E'tab\there', '{sad,"it''s \"ok\""}', (1, 'y"z'), ((1,'x'), ARRAY[(2,'y')::pair], '{"k": 1}'), 5, '{1,2}', (3,'d'), '2020-02-29 12:34:56+00', '1 2 3');
INSERT INTO t (id, b, i2, i8, f4, f8, n, nn, d, ts, tsz, t, c, bin, ia, ta, pra, jb, j, pr, e, tr) VALUES
	(3, false, 0, 0, '-0', 1e300, 1e-30, -0.001, 'infinity', '-infinity', 'infinity', '', '', '', '{}', '{}', '{}', '1', 'null', NULL, 'sad', 'empty'),
	(4, NULL, 32767, 9223372036854775807, 1e-40, 0.1, 'Infinity', NULL, '4713-01-01 BC', '4713-01-01 BC', '294276-12-31 23:59:59.999999+00', repeat('x', 20000), NULL, NULL,
		'[0:1][2:3]={{1,2},{3,4}}', '{{a,b},{c,d}}', NULL, '"s"', '"s"', (NULL, NULL), NULL, NULL),
	(5, NULL, -1, -1, 123456.789, 123456789.123456789, 123456789012345678901234567890.123456789, 0, '0044-03-15 BC', '2020-01-01', '1883-11-18 12:00:00-04:56:02', 'x', 'x', 'x', '{1}', '{""}', '{}', '[]', '{}', ROW(1, ''), NULL, NULL),
	(6, NULL, NULL, NULL, NULL, NULL, 1e1000, NULL, NULL, NULL, NULL, NULL, NULL, decode(repeat('00ff', 5000), 'hex'), (SELECT array_agg(g) FROM generate_series(1, 5000) AS g), NULL, NULL, (SELECT jsonb_agg(g) FROM generate_series(1, 5000) AS g), NULL, NULL, NULL, NULL);
UPDATE t SET i2 = i2;

-- each row was inserted, then updated to the same: new, new and old are what row_to_json says
CREATE TABLE events (event json);
CREATE FUNCTION differences(op text, member text) RETURNS TABLE (id integer, got text, expected text) LANGUAGE sql
SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' SET timezone = 'UTC'
SET lc_monetary = 'C' AS $$
	SELECT r.id, left(e.event->>member, 2000), left(row_to_json(r)::text, 2000)
	FROM events AS e JOIN t AS r ON r.id = (e.event->'key'->>'id')::integer
	WHERE e.event->>'op' = op AND (e.event->member)::text COLLATE "C" IS DISTINCT FROM row_to_json(r)::text COLLATE "C"
$$;
INSERT INTO events SELECT new_events();
SELECT event->>'op' AS op, count(*), count(event->'new') AS new, count(event->'old') AS old FROM events GROUP BY 1 ORDER BY 1;
SELECT * FROM differences('INSERT', 'new');
SELECT * FROM differences('UPDATE', 'new');
SELECT * FROM differences('UPDATE', 'old');
SELECT count(*) AS compared FROM events AS e JOIN t ON t.id = (e.event->'key'->>'id')::integer;

-- under other settings of the writer
SET datestyle = 'German, DMY';
SET intervalstyle = 'postgres_verbose';
SET extra_float_digits = -3;
SET bytea_output = 'escape';
SET timezone = 'America/St_Johns';
TRUNCATE events;
UPDATE t SET i2 = i2;
INSERT INTO events SELECT new_events();
SELECT * FROM differences('UPDATE', 'new');
SELECT count(*) AS compared FROM events AS e JOIN t ON t.id = (e.event->'key'->>'id')::integer;
RESET datestyle; RESET intervalstyle; RESET extra_float_digits; RESET bytea_output;
SET timezone = 'UTC';

-- seconds and their fractions, one after the other: what is known of a second must be forgotten in time
CREATE TABLE s (id integer PRIMARY KEY, plain timestamp, zoned timestamptz);
SELECT notify_watch('s') IS NOT NULL AS watched;
CREATE FUNCTION fill_seconds(zone text, first integer) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('timezone', zone, false);
	INSERT INTO s SELECT first + n, at AT TIME ZONE 'UTC', at
	FROM unnest(ARRAY['2020-01-01', '1999-12-31 23:59:59', '1969-12-31 23:59:59', '0044-03-15 12:00:00 BC', '12020-01-01',
			'1883-11-18 16:59:59', '2021-03-28 00:59:59', '2021-03-28 01:00:00']::timestamptz[])
			WITH ORDINALITY AS b (base, i),
		unnest(ARRAY[0, 1, 10, 100000, 120000, 123450, 500000, 999999, 0]) WITH ORDINALITY AS f (fraction, j),
		LATERAL (SELECT (10 * i + j)::integer AS n, base + fraction * interval '1 microsecond' AS at) AS x
	ORDER BY n;
$$;
TRUNCATE events;
SELECT fill_seconds('UTC', 0);
SET timezone = 'UTC';
INSERT INTO events SELECT new_events();
SELECT count(*) AS same FROM events AS e JOIN s ON s.id = (e.event->'key'->>'id')::integer
	WHERE (e.event->'new')::text = row_to_json(s)::text;
TRUNCATE events;
SELECT fill_seconds('Europe/Berlin', 1000);
SET timezone = 'UTC';
INSERT INTO events SELECT new_events();
SELECT count(*) AS same FROM events AS e JOIN s ON s.id = (e.event->'key'->>'id')::integer
	WHERE (e.event->'new')::text = row_to_json(s)::text;
TRUNCATE events;
SET timezone = 'Asia/Kolkata';
INSERT INTO s VALUES (3000, '2020-01-01 12:00:00.5', '2020-01-01 12:00:00.5');
SET timezone = 'America/New_York';
UPDATE s SET id = 3001 WHERE id = 3000;
INSERT INTO s VALUES (3002, 'infinity', '-infinity'), (3003, '2020-01-01 12:00:00.25', '2020-01-01 12:00:00.25');
SET timezone = 'Asia/Kolkata';
UPDATE s SET id = 3000 WHERE id = 3001;
SELECT event->'new' AS new, event->'old' AS old FROM new_events() AS event;
SET timezone = 'UTC';

-- numbers of many sizes and scales
CREATE TABLE n (id integer PRIMARY KEY, v numeric);
SELECT notify_watch('n') IS NOT NULL AS watched;
TRUNCATE events;
INSERT INTO n SELECT row_number() OVER (), v
	FROM (SELECT sign * (digits * 10.0 ^ power)::numeric AS v
		FROM unnest(ARRAY[0, 1, 9, 10, 1234, 9999, 10000, 10001, 99999, 100000001, 1.5, 1.50, 120034.005600, 0.1]) AS digits,
			unnest(ARRAY[-1, 1]) AS sign, generate_series(-20, 20) AS power
		UNION ALL SELECT round(sign * v, scale)
		FROM unnest(ARRAY[0, 5.9, 12345.6789, 0.00012345, 1e30 / 7]) AS v, unnest(ARRAY[-1, 1]) AS sign,
			generate_series(0, 70) AS scale
		UNION ALL SELECT (sign || '1e' || power)::numeric
		FROM unnest(ARRAY['', '-']) AS sign, generate_series(-300, 300) AS power
		UNION ALL VALUES ('NaN'::numeric), ('Infinity'), ('-Infinity'), (NULL)) AS x;
INSERT INTO events SELECT new_events();
SELECT count(*) AS same FROM events AS e JOIN n ON n.id = (e.event->'key'->>'id')::integer
	WHERE (e.event->'new')::text = row_to_json(n)::text;
SELECT e.event->'new' AS got, row_to_json(n) AS expected FROM events AS e JOIN n ON n.id = (e.event->'key'->>'id')::integer
	WHERE (e.event->'new')::text <> row_to_json(n)::text LIMIT 10;
SELECT count(*) AS compared FROM n;

-- a type with a cast to json, by itself and nested
CREATE TYPE celsius AS (degrees numeric);
CREATE TYPE reading AS ENUM ('low', 'high');
CREATE FUNCTION reading_json(reading) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT json_build_object('reading', $1::text) $$;
CREATE CAST (reading AS json) WITH FUNCTION reading_json(reading);
CREATE TYPE log_entry AS (r reading, n integer);
CREATE TABLE r (id integer PRIMARY KEY, a reading, b reading[], c log_entry, d log_entry[], plain integer[]);
SELECT notify_watch('r') IS NOT NULL AS watched;
INSERT INTO r VALUES (1, 'low', '{high,low}', ('high', 1), ARRAY[('low', 2)::log_entry], '{1}');
SELECT event->'new' FROM new_events() AS event;
SELECT row_to_json(r) FROM r;

-- one that fails does not make the statement fail: the type's text stands for it, with NULL too
CREATE OR REPLACE FUNCTION reading_json(reading) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'no reading'; END $$;
INSERT INTO r VALUES (2, 'low', '{high,low}', ('high', 1), ARRAY[('low', 2)::log_entry], '{1}');
INSERT INTO r VALUES (3, NULL, '{}', NULL, NULL, '{2}');
INSERT INTO r VALUES (7, 'low', NULL, NULL, NULL, '{3}');
SELECT event->'new' FROM new_events() AS event;

-- one that writes to a watched table: its change comes first, and both are whole
CREATE TABLE side (id serial PRIMARY KEY, note text);
SELECT notify_watch('side') IS NOT NULL AS watched;
CREATE OR REPLACE FUNCTION reading_json(reading) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO side (note) VALUES (repeat('s', 100));
	RETURN '"written"';
END $$;
INSERT INTO r VALUES (4, 'low', NULL, NULL, NULL, '{1}');
SELECT event->>'table' AS "table", event->'new' AS new FROM new_events() AS event;

-- one that writes to the same table
CREATE TABLE again (a reading, id integer PRIMARY KEY, note text);
SELECT notify_watch('again') IS NOT NULL AS watched;
CREATE SEQUENCE again_id START 1000;
CREATE OR REPLACE FUNCTION reading_json(reading) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO again (id, note) VALUES (nextval('again_id'), repeat('s', 10));
	RETURN '"written"';
END $$;
BEGIN;
INSERT INTO again (id, note) SELECT i, repeat('x', 100) FROM generate_series(1, 100) AS i;
INSERT INTO again VALUES ('low', 999, 'a');
UPDATE again SET note = 'b' WHERE id = 999;
UPDATE again SET id = 998 WHERE id = 999;
COMMIT;
SELECT event->>'op' AS op, event->'key' AS key, event->'new' AS new, event->'old' AS old FROM new_events() AS event OFFSET 100;

-- one that is gone, one that comes
DROP CAST (reading AS json);
CREATE OR REPLACE FUNCTION reading_json(reading) RETURNS json LANGUAGE sql IMMUTABLE AS $$ SELECT '"again"'::json $$;
INSERT INTO r VALUES (5, 'low', '{high,low}', ('high', 1), NULL, '{1}');
CREATE CAST (reading AS json) WITH FUNCTION reading_json(reading);
INSERT INTO r VALUES (6, 'low', '{high,low}', ('high', 1), NULL, '{1}');
SELECT event->'new' FROM new_events() AS event;

-- composite types that change, and have a cast that fails from then on
CREATE OR REPLACE FUNCTION reading_json(reading) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF current_setting('regress.fail', true) = 'on' THEN RAISE 'no reading'; END IF;
	RETURN to_json($1::text || '!');
END $$;
UPDATE t SET i2 = 7 WHERE id = 2;
ALTER TYPE pair ADD ATTRIBUTE c reading CASCADE;
UPDATE t SET i2 = 8, pr = (1, 'x', 'low') WHERE id = 2;
SET regress.fail = on;
UPDATE t SET i2 = 9 WHERE id = 2;
RESET regress.fail;
SELECT event->'new'->'i2' AS i2, event->'new'->'pr' AS pr FROM new_events() AS event;

DROP EXTENSION pg_notifyd;
DROP TABLE t, r, s, side, again, seen, events;
DROP SEQUENCE again_id;
DROP FUNCTION new_events, differences, fill_seconds;
DROP TYPE mood, pair, nest, posint, posints, dpair, ts, spread, reading, log_entry, celsius CASCADE;
