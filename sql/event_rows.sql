-- The rows of events as typed values, as row security and filters see them.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

CREATE FUNCTION event_rows(id bigint, columns name[], OUT old text, OUT new text, OUT context jsonb, OUT payload jsonb, OUT reason text)
	LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_event_rows';

CREATE FUNCTION ids(since bigint) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
	part text;
BEGIN
	FOR part IN SELECT format('notifyd.log_%s', i) FROM generate_series(0, 7) AS i LOOP
		RETURN QUERY EXECUTE format('SELECT g FROM %s, generate_series(id, CASE op WHEN ''B'' THEN id + "of" - 1 ELSE id END) AS g WHERE id > $1', part) USING since;
	END LOOP;
END
$$;

CREATE TABLE shown (id bigint);
INSERT INTO shown VALUES (0);
-- The rows of the events that were not shown yet.
CREATE FUNCTION rows_of(columns name[]) RETURNS TABLE (old text, new text, reason text) LANGUAGE plpgsql AS $$
DECLARE
	since bigint := (SELECT max(id) FROM shown);
BEGIN
	INSERT INTO shown SELECT max(i) FROM ids(since) AS i HAVING max(i) IS NOT NULL;
	RETURN QUERY SELECT r.old, r.new, r.reason FROM (SELECT * FROM ids(since) AS i ORDER BY i) AS i, event_rows(i, columns) AS r;
END
$$;

CREATE SCHEMA hidden;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION never(int) RETURNS bool STRICT LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'domain_in called %', $1; END$$;
CREATE DOMAIN small AS int;
CREATE DOMAIN words AS text[];
CREATE TYPE float_range AS RANGE (subtype = float8);
CREATE TABLE hidden.t (id int);

-- Every type comes back exactly.
CREATE TABLE source (
	id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 real, f8 float8, n numeric, t text, v varchar(20), c char(5), ch "char", nm name,
	by bytea, d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval, m money, u uuid, ip inet, j json, jb jsonb,
	ai int[], at text[], an numeric[], ad timestamptz[], ab bool[], aj jsonb[], ae mood[], ap point[], r int4range, tr tstzrange, fr float_range,
	mr int4multirange, e mood, p pair, pa pair[], rc regclass, ra regclass[], s small, sa small[], ws words, pt point, bx box, bxa box[],
	ivec int2vector, bits bit(3), l pg_lsn, x xml, ac aclitem, ts2 tsvector);
INSERT INTO source VALUES
	(1, true, -32768, -9223372036854775808, 'NaN', '-Infinity', '123456789012345678901234567890.1230', E'a"\\/\b\f\n\r\t\x01ä€😀', 'null', 'ab', 'x', 'name',
	'\x00ff', '0044-03-15 BC', '24:00', '12:00:00.000001+05:30', '0044-03-15 01:02:03 BC', '294276-12-31 23:59:59.999999+00', '-1 year 2 mons -3 days 04:05:06.7', '-1234.5', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/8', ' null ', 'null',
	'{{1,NULL},{3,-4}}', E'{"NULL",NULL,"a\\"b,[]{}","\\\\",""}', '{1.50,NaN}', '{infinity,2024-02-29 12:34:56.789+00}', '{t,f}', '{"null","1"}', '{good,NULL}', '{"(0.1,0.2)"}', 'empty', '[2024-02-29 12:34:56+00,)', '[0.1,0.30000000000000004]',
	'{[1,2),[5,9)}', 'bad', '(1,"x ""y"" , z")', ARRAY['(,)'::pair, NULL], 'hidden.t', '{hidden.t}', 5, '{1,2}', '{x,y}', '(0.1,0.30000000000000004)', '((1,2),(3,4))', '{((1,2),(3,4));((5,6),(7,8))}',
	'1 2 3', '101', '16/B374D848', '<a/>', 'postgres=r/postgres', 'a b:1');
INSERT INTO source (id) VALUES (2);
INSERT INTO source (id, ai, at, j, jb, f4, f8, n, ts, tstz, d) VALUES (3, '[2:3]={1,2}', '{}', 'null', '"null"', '-0', 1e-300, '-Infinity', 'infinity', '-infinity', 'infinity');
INSERT INTO source (id, ai, t, j, jb, f8, n, tstz) VALUES (4, '[1:1][-2:-1]={{1,2}}', '', '{"a": [null, "}]{[,"], "b": {}}', '{"a": [null, "}]{[,\""]}', 0.1::float8 + 0.2, '0.000', '2024-02-29 12:34:56+05');

CREATE TABLE t (LIKE source, PRIMARY KEY (id));
CREATE TABLE lean (LIKE source, PRIMARY KEY (id));
SELECT notify_watch('t') IS NOT NULL AND notify_watch('lean', cols => '{t}', old_values => false) IS NOT NULL AS watched;
ALTER TABLE lean ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON lean USING (lean IS NOT NULL);

-- The texts of all values, by the output functions.
CREATE TABLE expected (id int, name name, value text, PRIMARY KEY (id, name));
DO $$
DECLARE
	name name;
BEGIN
	FOR name IN SELECT attname FROM pg_attribute WHERE attrelid = 'source'::regclass AND attnum > 1 LOOP
		EXECUTE format('INSERT INTO expected SELECT id, %L, CASE WHEN num_nulls(%I) = 1 THEN NULL ELSE format(''%%s'', %2$I) END FROM source', name, name);
	END LOOP;
END
$$;
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = sql_standard;
SET TimeZone = 'America/St_Johns';
SET bytea_output = 'escape';
INSERT INTO t SELECT * FROM source ORDER BY id;
INSERT INTO lean SELECT * FROM source ORDER BY id;
UPDATE t SET id = id + 10;
UPDATE lean SET id = id + 10;
DELETE FROM t;
DELETE FROM lean;
RESET ALL;
SET client_min_messages = warning;
-- All values of all events, and those that differ from the source's.
CREATE TABLE found AS
	SELECT i.id AS event, e.id, e.name, r.old, r.new, r.reason, format('%s=%s', e.name, coalesce(e.value, 'NULL')) AS expected
	FROM (SELECT i AS id, r.old AS old_id, r.new AS new_id FROM ids((SELECT max(id) FROM shown)) AS i, event_rows(i, '{id}') AS r OFFSET 0) AS i
		JOIN expected AS e ON e.id = substr(coalesce(i.old_id, i.new_id), 4)::int % 10,
		event_rows(i.id, ARRAY[e.name]) AS r;
SELECT count(DISTINCT event) AS events, count(DISTINCT (event, name)) AS pairs, count(old) AS old, count(new) AS new, count(reason) AS refused FROM found;
SELECT id, name, expected, old, new FROM found WHERE old <> expected OR new <> expected ORDER BY event, name;
SELECT DISTINCT id, name, expected, reason FROM found WHERE reason IS NOT NULL OR (old IS NULL AND new IS NULL) ORDER BY id, name;
INSERT INTO shown SELECT max(event) FROM found;

-- Rows of an UPDATE: what changes and what does not.
CREATE TABLE changing (id int PRIMARY KEY, a text, b int[], c json, secret text);
SELECT notify_watch('changing', cols => '{a,b,c}') IS NOT NULL AND notify_watch('changing', channel => 'lean', cols => '{a,b,c}', old_values => false) IS NOT NULL AS watched;
ALTER TABLE changing ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON changing USING (secret = current_user);
INSERT INTO changing VALUES (1, 'x', '[0:0]={1}', 'null', 'CANARY');
UPDATE changing SET a = 'y';
UPDATE changing SET b = '{1}', secret = NULL;
UPDATE changing SET id = 2, c = NULL;
TRUNCATE changing;
SELECT * FROM rows_of('{}');
SELECT count(*) FROM ids(0) AS i WHERE notify_fetch(i)::text LIKE '%CANARY%';

-- Members of a large transaction.
INSERT INTO changing SELECT i, 'a' || i, NULL, NULL, i FROM generate_series(1, 300) AS i;
SELECT count(*), count(DISTINCT new) FROM rows_of('{}') WHERE new ~ '^id=(\d+), a=a\1, b=NULL, c=NULL, secret=\1$';

-- Columns that were not captured, renamed, added, dropped or retyped later. Some types have a larger one with the same texts.
CREATE TABLE shaped (id int PRIMARY KEY, a text, b int, c int, canary text);
SELECT notify_watch('shaped', cols => '{a,b,c}') IS NOT NULL AS watched;
INSERT INTO shaped VALUES (1, 'a', 2, 3, 'CANARY');
ALTER TABLE shaped RENAME COLUMN b TO z;
ALTER TABLE shaped RENAME COLUMN c TO b;
ALTER TABLE shaped RENAME COLUMN z TO c;
ALTER TABLE shaped ADD COLUMN added int DEFAULT 1;
SELECT max(id) AS id FROM shown \gset
SELECT r.new FROM ids(:id) AS i, event_rows(i, '{a,b,c}') AS r;
SELECT column_name, r.new, r.reason FROM ids(:id) AS i, unnest('{a,canary,added,ctid}'::name[]) AS column_name, event_rows(i, ARRAY[column_name]) AS r ORDER BY i, column_name;
ALTER TABLE shaped DROP COLUMN c CASCADE;
ALTER TABLE shaped ALTER COLUMN a TYPE varchar, ALTER COLUMN id TYPE bigint, ALTER COLUMN b TYPE text;
SELECT column_name, r.new, r.reason FROM ids(:id) AS i, unnest('{id,a,b}'::name[]) AS column_name, event_rows(i, ARRAY[column_name]) AS r ORDER BY i, column_name;
DELETE FROM notifyd.shape WHERE relation = 'shaped'::regclass;
SELECT * FROM rows_of('{b}');

-- Labels and attributes that have changed: values that name what is gone. No code of a domain runs.
CREATE TABLE named (id int PRIMARY KEY, e mood, p pair, d small[], dr small);
CREATE DOMAIN checked AS int CHECK (never(VALUE));
ALTER TYPE pair ADD ATTRIBUTE c checked;
SELECT notify_watch('named') IS NOT NULL AS watched;
INSERT INTO named VALUES (1, 'good', NULL, '[0:1]={1,2}', 3);
INSERT INTO named (id, p) VALUES (2, ROW(1, 'x', NULL));
ALTER TYPE mood RENAME VALUE 'good' TO 'fine';
ALTER DOMAIN small ADD CONSTRAINT checked CHECK (never(VALUE)) NOT VALID;
SELECT column_name, r.new, r.reason FROM (SELECT i FROM ids((SELECT max(id) FROM shown)) AS i ORDER BY i) AS i,
	unnest('{e,p,d,dr}'::name[]) AS column_name, event_rows(i, ARRAY[column_name]) AS r ORDER BY i, column_name;
SELECT count(*) FROM rows_of('{id}');

-- Messages.
SELECT notify_send('m', '{"a": [1, {"payload": 2}]}') > 0 AS sent;
SELECT notify_send('m', '"\u0000"') > 0 AS sent;
SELECT notify_send('m', ' null ') > 0 AS sent;
UPDATE notifyd.log_0 SET event = event || ',"context":{"user":7}' WHERE op = 'M' AND event LIKE '%u0000%';
SELECT r.* FROM (SELECT * FROM ids((SELECT max(id) FROM shown)) AS i ORDER BY i) AS i, event_rows(i, '{}') AS r;

-- Events of version 1.0 have no hidden values.
INSERT INTO changing VALUES (1000);
UPDATE notifyd.log_0 SET hidden = '' WHERE rel = 'changing'::regclass;
SELECT old, new, reason FROM rows_of('{id}');
UPDATE notifyd.bulk_0 SET hidden = '' WHERE id < 0;
SELECT r.reason, count(*) FROM (SELECT * FROM ids(0) AS i OFFSET 0) AS i, event_rows(i, '{a}') AS r WHERE notify_fetch(i)::text LIKE '%"table":"changing"%' GROUP BY 1;

DROP TABLE t, lean, source, expected, found, changing, shaped, named, shown;
DROP FUNCTION event_rows, rows_of, ids;
DROP SCHEMA hidden CASCADE;
DROP DOMAIN small, words;
DROP TYPE pair, mood, float_range;
DROP DOMAIN checked;
DROP FUNCTION never;
DROP EXTENSION pg_notifyd;
