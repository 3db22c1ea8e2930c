-- Partitioned tables are watched through the parent, and events name the parent.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE VIEW triggers AS
	SELECT tgrelid::regclass, regexp_replace(tgname, '\d+', 'N') AS trigger, tgparentid <> 0 AS clone, tgenabled, tgtype
	FROM pg_trigger WHERE tgname LIKE 'notifyd%' ORDER BY tgrelid::regclass::text, 2;

CREATE TABLE p (id integer, region text, v numeric, gone text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
ALTER TABLE p DROP COLUMN gone;
CREATE TABLE p_eu PARTITION OF p FOR VALUES IN ('de', 'fr');
-- one with its columns in another order, and with a dropped one
CREATE TABLE p_us (v numeric, dropped integer, region text NOT NULL, id integer NOT NULL);
ALTER TABLE p_us DROP COLUMN dropped;
ALTER TABLE p ATTACH PARTITION p_us FOR VALUES IN ('us');
SELECT notify_watch('p', 'insert,update,delete,truncate') IS NOT NULL AS watched;
-- one that comes later, partitioned itself
CREATE TABLE p_rest PARTITION OF p DEFAULT PARTITION BY RANGE (id);
CREATE TABLE p_rest_low PARTITION OF p_rest FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE p_rest_high (region text NOT NULL, v numeric, id integer NOT NULL);
ALTER TABLE p_rest ATTACH PARTITION p_rest_high FOR VALUES FROM (100) TO (MAXVALUE);
SELECT * FROM triggers;

INSERT INTO p VALUES (1, 'de', 1.5), (2, 'us', 2.5), (3, 'jp', 3.5), (103, 'jp', 4.5);
INSERT INTO p_us (id, region, v) VALUES (4, 'us', 5);
UPDATE p SET v = v + 1;
DELETE FROM p_us WHERE id = 4;
SELECT * FROM new_events();

-- a row that moves is one UPDATE
UPDATE p SET region = 'us' WHERE id = 1;
UPDATE p SET region = 'kr' WHERE id = 2;
UPDATE p SET id = id + 100 WHERE region = 'kr';
UPDATE p SET region = CASE region WHEN 'us' THEN 'de' ELSE 'us' END;
SELECT * FROM new_events();
INSERT INTO p VALUES (1, 'fr', 9) ON CONFLICT (region, id) DO UPDATE SET v = 10;
MERGE INTO p USING (VALUES (1, 'de'), (7, 'de')) AS s (id, region) ON p.id = s.id AND p.region = s.region
	WHEN MATCHED THEN UPDATE SET region = 'us' WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.region, 0);
BEGIN;
UPDATE p SET region = 'us' WHERE id = 7;
SAVEPOINT a;
UPDATE p SET region = 'fr' WHERE id = 7;
ROLLBACK TO a;
UPDATE p SET region = 'jp' WHERE id = 7;
COMMIT;
SELECT event->>'op' AS op, event->'new' AS new, event->'old' AS old FROM new_events() AS event;

-- for two watches, of which one wants less
SELECT notify_watch('p', 'update', '{v}', channel => 'moves', update_of => '{region}') IS NOT NULL AS watched;
SELECT notify_watch('p', 'delete', '{}', channel => 'deletes') IS NOT NULL AS watched;
SELECT notify_watch('p', 'insert', '{}', channel => 'inserts') IS NOT NULL AS watched;
UPDATE p SET region = 'fr' WHERE id = 7;
UPDATE p SET v = 1 WHERE id = 7;
UPDATE p SET id = 1007 WHERE id = 7;
UPDATE p SET region = 'kr' WHERE id = 1007;
UPDATE p SET id = 8 WHERE id = 1007;
DELETE FROM p WHERE id = 8;
SELECT event->>'channel' AS channel, event->>'op' AS op, event->'key' AS key, event->'new' AS new, event->'old' AS old FROM new_events() AS event;
SELECT notify_unwatch('p', 'moves') + notify_unwatch('p', 'deletes') + notify_unwatch('p', 'inserts') AS removed;

-- where the INSERT does not come, or not next, it is a DELETE and an INSERT
TRUNCATE p;
INSERT INTO p VALUES (1, 'de', 1), (2, 'de', 2), (3, 'de', 3);
SELECT count(*) FROM new_events();
CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN new.id = 2 THEN NULL ELSE new END; END $$;
CREATE TRIGGER cancel BEFORE INSERT ON p_us FOR EACH ROW EXECUTE FUNCTION cancel();
UPDATE p SET region = 'us';
SELECT event->>'op' AS op, event->'key' AS key, event->'old'->'region' AS old FROM new_events() AS event;
INSERT INTO p VALUES (2, 'de', 2);
BEGIN;
UPDATE p SET region = 'us' WHERE id = 2;
SELECT notify_send('chat', '1');
INSERT INTO p VALUES (2, 'de', 2);
SAVEPOINT a;
UPDATE p SET region = 'us' WHERE id = 2;
SAVEPOINT b;
ROLLBACK TO b;
RELEASE a;
SAVEPOINT c;
INSERT INTO p VALUES (2, 'de', 2);
UPDATE p SET region = 'us' WHERE id = 2;
ROLLBACK TO c;
COMMIT;
SELECT event->>'op' AS op, event->'key' AS key, event->'old'->'region' AS old FROM new_events() AS event;
DROP TRIGGER cancel ON p_us;
CREATE FUNCTION savepoint() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN NULL; END $$;
CREATE TRIGGER zz AFTER DELETE ON p_us FOR EACH ROW EXECUTE FUNCTION savepoint();
UPDATE p SET region = 'fr' WHERE id = 1;
SELECT event->>'op' AS op, event->'key' AS key, event->'old'->'region' AS old FROM new_events() AS event;
DROP TRIGGER zz ON p_us;

-- with a condition too
SELECT notify_watch('p', 'update', condition => 'old.v > 0 AND new.v > 0') IS NOT NULL AS watched;
UPDATE p SET region = 'us' WHERE id = 1;
UPDATE p SET v = 7 WHERE id = 1;
SELECT event->>'op' AS op, event->'new' AS new FROM new_events() AS event;
SELECT notify_watch('p', 'delete', condition => 'old.v > 0') IS NOT NULL AS watched;
UPDATE p SET region = 'fr' WHERE id = 1;
SELECT event->>'op' AS op, event->'old' AS old FROM new_events() AS event;
SELECT notify_watch('p') IS NOT NULL AS watched;

-- a foreign key to a partitioned table whose row moves
CREATE TABLE f (id integer PRIMARY KEY, p_region text, p_id integer, FOREIGN KEY (p_region, p_id) REFERENCES p ON UPDATE CASCADE);
SELECT notify_watch('f') IS NOT NULL AS watched;
INSERT INTO f VALUES (1, 'fr', 1);
UPDATE p SET region = 'us' WHERE id = 1;
SELECT event->>'table' AS "table", event->>'op' AS op, event->'new' AS new FROM new_events() AS event;
DROP TABLE f;

-- a partition of its own: a row that moves away is gone from it
SELECT notify_watch('p_us', cols => '{id,region}', key => '{id}') IS NOT NULL AS watched;
UPDATE p SET region = 'de' WHERE id = 1;
UPDATE p SET region = 'us' WHERE id = 1;
SELECT event->>'channel' AS channel, event->>'op' AS op, event->'key' AS key FROM new_events() AS event;
SELECT notify_unwatch('p_us');

-- detached, attached, dropped, renamed
ALTER TABLE p DETACH PARTITION p_us;
INSERT INTO p_us (id, region, v) VALUES (50, 'us', 5);
ALTER TABLE p RENAME COLUMN v TO w;
ALTER TABLE p RENAME TO q;
INSERT INTO q VALUES (51, 'de', 5);
ALTER TABLE p_us RENAME COLUMN v TO w;
ALTER TABLE q ATTACH PARTITION p_us FOR VALUES IN ('us');
UPDATE q SET w = 6 WHERE id = 50;
DROP TABLE p_eu;
TRUNCATE q;
SELECT * FROM new_events();
SELECT relation, channel FROM notifyd.watches;
SELECT * FROM triggers;

-- a partitioned table without a key of its own, over partitions that have one
CREATE TABLE n (id integer, v integer) PARTITION BY RANGE (id);
CREATE TABLE n1 PARTITION OF n (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (10);
CREATE TABLE n2 PARTITION OF n FOR VALUES FROM (10) TO (20);
SELECT notify_watch('n');
SELECT notify_watch('n', cols => '{v}') IS NOT NULL AS watched;
INSERT INTO n VALUES (1, 1), (11, 1);
SELECT event->'key' AS key FROM new_events() AS event;

-- the extension goes without CASCADE, and takes the triggers of partitions along
DROP EXTENSION pg_notifyd;
SELECT * FROM triggers;
SELECT count(*) FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.oid = objid);
DROP VIEW triggers;
DROP TABLE q, n, seen;
DROP FUNCTION new_events, cancel, savepoint;
