-- The values that row security and filters need and clients must not see.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE FUNCTION number(bytes bytea) RETURNS int IMMUTABLE LANGUAGE sql AS
	$$SELECT sum(get_byte(bytes, i) << (8 * i))::int FROM generate_series(0, length(bytes) - 1) AS i$$;

-- What src/ext/log/log_hidden.h describes; this test needs a little-endian machine.
CREATE FUNCTION decoded(hidden bytea) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
	result text := '';
	at int := 5;
	size int;
BEGIN
	WHILE at <= length(hidden) LOOP
		size := number(substr(hidden, at + 4, 4));
		result := result || format(' %s%s%s%s', chr(get_byte(hidden, at - 1)), number(substr(hidden, at + 2, 2)),
			chr(get_byte(hidden, at)), convert_from(substr(hidden, at + 8, size), 'UTF8'));
		at := at + 8 + size;
	END LOOP;
	RETURN result;
END
$$;

CREATE FUNCTION hidden_events(table_name text, OUT op "char", OUT shape_known boolean, OUT shown text, OUT hidden text)
	RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	log text;
BEGIN
	FOR log IN SELECT DISTINCT 'notifyd.log_' || i FROM generate_series(0, 7) AS i LOOP
		RETURN QUERY EXECUTE format(
			'SELECT e.op, EXISTS (SELECT FROM notifyd.shape AS s WHERE s.relation = e.rel AND s.shape = number(substr(e.hidden, 1, 4))),'
			' (regexp_match(e.event, ''"channel":"[^"]*",?(.*)''))[1], decoded(e.hidden)'
			' FROM %s AS e WHERE e.rel = $1::regclass ORDER BY e.id', log) USING table_name;
		EXECUTE format('DELETE FROM %s WHERE rel = $1::regclass', log) USING table_name;
	END LOOP;
END
$$;

-- The usual event hides nothing.
CREATE TABLE plain (id int PRIMARY KEY, t text, n numeric, a int[]);
SELECT notify_watch('plain') IS NOT NULL AS watched;
INSERT INTO plain VALUES (1, 'x', 1.50, '{1,2}');
UPDATE plain SET n = NULL;
DELETE FROM plain;
TRUNCATE plain;
SELECT * FROM hidden_events('plain');

-- Columns that policies read and the watch does not capture.
CREATE ROLE regress_reader;
CREATE TABLE members (tenant int, who text);
CREATE TABLE secured (id int PRIMARY KEY, shown text, tenant int, canary text, spare text, dropped int);
ALTER TABLE secured DROP COLUMN dropped;
SELECT notify_watch('secured', cols => '{shown}') IS NOT NULL AS watched;
INSERT INTO secured VALUES (1, 'a', 7, 'CANARY1');
CREATE POLICY of_tenant ON secured FOR SELECT USING (tenant IN (SELECT m.tenant FROM members AS m WHERE m.who = current_user OR secured.canary = m.who));
CREATE POLICY of_writers ON secured FOR UPDATE USING (spare IS NULL);
INSERT INTO secured VALUES (2, 'b', 7, 'CANARY2');
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
INSERT INTO secured VALUES (3, 'c', 7, 'CANARY3'), (4, 'd', NULL, NULL);
UPDATE secured SET shown = 'C' WHERE id = 3;
UPDATE secured SET canary = 'CANARY4' WHERE id = 3;
UPDATE secured SET tenant = 8, id = 33 WHERE id = 3;
DELETE FROM secured WHERE id = 33;
SELECT count(*) = 8 AS seen, count(*) FILTER (WHERE event::text LIKE '%CANARY%') AS leaked FROM new_events() AS event;
SELECT * FROM hidden_events('secured');

-- A policy is altered, one reads the whole row, row security is switched off.
ALTER POLICY of_tenant ON secured USING (spare = 'x');
UPDATE secured SET spare = 'y' WHERE id = 1;
CREATE POLICY whole ON secured USING (secured IS NOT NULL);
UPDATE secured SET spare = 'z' WHERE id = 1;
DROP POLICY whole ON secured;
UPDATE secured SET spare = 'y' WHERE id = 1;
ALTER TABLE secured DISABLE ROW LEVEL SECURITY;
UPDATE secured SET spare = 'z' WHERE id = 1;
SELECT * FROM hidden_events('secured');

-- Old values that the watch leaves out: those that an UPDATE changes, and those of a DELETE.
CREATE TABLE without_old (id int PRIMARY KEY, t text, n numeric, f float8, at timestamptz, a int[]);
SELECT notify_watch('without_old', old_values => false) IS NOT NULL AS watched;
INSERT INTO without_old VALUES (1, 'say "hi"', 1.50, 0.1, '2024-01-01 12:00+00', '{1}');
UPDATE without_old SET n = 2, a = NULL;
UPDATE without_old SET id = 2, t = 'x';
DELETE FROM without_old;
SELECT * FROM hidden_events('without_old');

-- Values that their JSON does not give back.
CREATE TYPE pair AS (a int, b text);
CREATE TABLE odd (id int PRIMARY KEY, j json, jb jsonb, lower_bound int[], nested jsonb[], row pair, class regclass, strange int2vector);
SELECT notify_watch('odd') IS NOT NULL AS watched;
INSERT INTO odd VALUES (1, 'null', 'null', '[0:1]={1,2}', '{"1"}', '(1,"x y")', 0, '1 2');
INSERT INTO odd VALUES (2, '{"a":null}', '{"a":null}', '{1,2}', NULL, NULL, NULL, NULL);
INSERT INTO odd VALUES (3, '"null"', '[null]', '{}', NULL, NULL, NULL, NULL);
UPDATE odd SET lower_bound = '{3}' WHERE id = 1;
DELETE FROM odd WHERE id = 1;
SELECT * FROM hidden_events('odd');

-- A partition's columns may have other numbers, and policies are those of the watched table.
CREATE TABLE parted (id int, shown text, tenant int) PARTITION BY LIST (id);
CREATE TABLE parted_1 (tenant int, dropped int, shown text, id int);
ALTER TABLE parted_1 DROP COLUMN dropped;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
SELECT notify_watch('parted', cols => '{shown}', key => '{id}') IS NOT NULL AS watched;
ALTER TABLE parted ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON parted USING (tenant = 1);
INSERT INTO parted VALUES (1, 'a', 10);
INSERT INTO parted_1 (id, shown, tenant) VALUES (1, 'b', 20);
UPDATE parted SET id = 2 WHERE tenant = 20;
UPDATE parted SET id = 2, tenant = 11 WHERE tenant = 10;
DELETE FROM parted;
SELECT * FROM hidden_events('parted');

-- Many events: their hidden values are in the chunks.
CREATE TABLE many (id int PRIMARY KEY, shown int, canary int, large text);
SELECT notify_watch('many', cols => '{shown}') IS NOT NULL AS watched;
ALTER TABLE many ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON many USING (canary = 1 AND large = '');
INSERT INTO many SELECT i, i, -i, CASE WHEN i % 100 = 0 THEN repeat('x', 5000) END FROM generate_series(1, 300) AS i;
SELECT op, count(*), sum(length(hidden)) AS hidden FROM notifyd.bulk_0 WHERE id < 0 GROUP BY op ORDER BY op;
SELECT count(*) FROM new_events() AS event WHERE event->>'channel' = 'many' AND event->'new'->>'shown' = event->'key'->>'id';

-- Shapes: of every watched table, for all columns that it has had.
SELECT relation::regclass, count(*) FROM notifyd.shape GROUP BY 1 ORDER BY relation::regclass::text COLLATE "C";
ALTER TABLE plain ADD COLUMN b bool;
ALTER TABLE plain ALTER COLUMN n TYPE float8;
ALTER TABLE plain RENAME COLUMN t TO title;
ALTER TABLE plain DROP COLUMN a;
ALTER TABLE plain ALTER COLUMN title SET NOT NULL;
SELECT attnums, names, types::regtype[], typmods FROM notifyd.shape WHERE relation = 'plain'::regclass ORDER BY attnums, names::text, types::text;
INSERT INTO plain VALUES (1, 'x', 1.5);
SELECT * FROM hidden_events('plain');
SELECT notify_watch('plain', channel => 'other') IS NOT NULL AS watched;
SELECT notify_unwatch('plain', 'plain');
SELECT count(*) FROM notifyd.shape WHERE relation = 'plain'::regclass;
SELECT notify_unwatch('plain');
DROP TABLE many;
SELECT count(*) FROM notifyd.shape WHERE relation = 'plain'::regclass OR relation NOT IN (SELECT oid FROM pg_class);

DROP TABLE plain, secured, members, without_old, odd, parted, seen;
DROP TYPE pair;
DROP FUNCTION hidden_events, decoded, number, new_events;
DROP ROLE regress_reader;
DROP EXTENSION pg_notifyd;
