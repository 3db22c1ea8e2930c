-- Watches follow what happens to their tables, columns and triggers.
CREATE EXTENSION pg_notifyd;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE VIEW w AS SELECT relation, channel, ops, cols, key, update_of, condition FROM notifyd.watches ORDER BY id;
CREATE VIEW triggers AS
	SELECT tgrelid::regclass, regexp_replace(tgname, '\d+', 'N') AS trigger, tgenabled FROM pg_trigger WHERE tgname LIKE 'notifyd%' ORDER BY 1, 2;
CREATE ROLE regress_notifyd_user;
GRANT SELECT ON w, triggers TO regress_notifyd_user;
GRANT CREATE ON SCHEMA public TO regress_notifyd_user;
SET ROLE regress_notifyd_user;

-- columns: renamed, retyped, dropped
CREATE TABLE t (id integer PRIMARY KEY, a integer, b integer, c integer, d integer);
SELECT notify_watch('t', cols => '{a,b}', key => '{c,id}', update_of => '{d}') IS NOT NULL AS watched;
ALTER TABLE t RENAME COLUMN a TO "A a";
ALTER TABLE t ALTER COLUMN "A a" TYPE text, ALTER COLUMN b SET NOT NULL, ALTER COLUMN d TYPE bigint;
SELECT * FROM w;
ALTER TABLE t DROP COLUMN "A a";
ALTER TABLE t DROP COLUMN IF EXISTS nosuch, DROP COLUMN c RESTRICT;
ALTER TABLE t DROP COLUMN d;
ALTER TABLE t ADD COLUMN e integer, DROP COLUMN b;
SELECT * FROM w;
INSERT INTO t VALUES (1, 'x', 2, 3, 4);
UPDATE t SET d = 5;
ALTER TABLE t DROP COLUMN "A a" CASCADE;
ALTER TABLE t DROP COLUMN d CASCADE;
UPDATE t SET b = 3;
ALTER TABLE t DROP COLUMN c CASCADE;
UPDATE t SET b = 4;
ALTER TABLE t DROP COLUMN b CASCADE, ADD COLUMN f text DEFAULT 'f';
UPDATE t SET f = 'g';
SELECT * FROM w;
RESET ROLE;
SELECT * FROM new_events();
SET ROLE regress_notifyd_user;

-- the last column of the key takes the watch along, also where no watch names it
SELECT notify_watch('t') IS NOT NULL AS watched;
ALTER TABLE t DROP COLUMN id;
INSERT INTO t (f) VALUES ('h');
RESET ROLE;
SELECT * FROM new_events();
SET ROLE regress_notifyd_user;

-- but not where another key takes its place, nor a column that is no part of the key
DELETE FROM t;
ALTER TABLE t ADD COLUMN id integer PRIMARY KEY, ADD COLUMN g integer;
SELECT notify_watch('t') IS NOT NULL AS watched;
ALTER TABLE t DROP COLUMN id, ADD COLUMN new_id bigint PRIMARY KEY;
ALTER TABLE t DROP COLUMN g;
INSERT INTO t (new_id, f) VALUES (2, 'i');
RESET ROLE;
SELECT * FROM new_events();
SET ROLE regress_notifyd_user;

-- a table that loses or changes its key keeps its watch, and subscribers begin anew
CREATE TABLE key (a integer NOT NULL, b integer NOT NULL, c integer, PRIMARY KEY (a));
CREATE UNIQUE INDEX key_b ON key (b);
CREATE INDEX key_c ON key (c);
SELECT notify_watch('key') IS NOT NULL AS watched;
SELECT notify_watch('key', channel => 'own key', key => '{a}') IS NOT NULL AS watched;
SELECT notify_watch('key', channel => 'columns', cols => '{c}') IS NOT NULL AS watched;
CREATE VIEW k AS SELECT channel, state FROM notifyd.watches WHERE relation = 'key'::regclass ORDER BY channel;
ALTER TABLE key DROP CONSTRAINT key_pkey;
SELECT * FROM k;
SELECT notify_watch('key');
ALTER TABLE key ADD PRIMARY KEY (a);
SELECT * FROM k;
ALTER TABLE key DROP CONSTRAINT key_pkey, ADD PRIMARY KEY (a);
ALTER TABLE key DROP CONSTRAINT key_pkey, ADD PRIMARY KEY (b);
ALTER TABLE key REPLICA IDENTITY USING INDEX key_b;
ALTER TABLE key ADD CONSTRAINT other CHECK (c > 0);
ALTER TABLE key DROP CONSTRAINT other;
BEGIN;
ALTER TABLE key DROP CONSTRAINT key_pkey;
DROP INDEX key_b, key_c;
ROLLBACK;
\set VERBOSITY terse
ALTER TABLE key DROP CONSTRAINT key_pkey;
ALTER TABLE key REPLICA IDENTITY FULL;
ALTER TABLE key REPLICA IDENTITY USING INDEX key_b;
DROP INDEX key_c;
DROP INDEX CONCURRENTLY key_b;
\set VERBOSITY default
SELECT * FROM k;
SELECT notify_watch('key', key => '{a}') IS NOT NULL AS watched;
SELECT * FROM k;
RESET ROLE;
SELECT event->>'channel' AS channel, event->>'op' AS op, event->>'reason' AS reason FROM new_events() AS event;
SET ROLE regress_notifyd_user;
DROP VIEW k;
DROP TABLE key;

-- tables that are swapped by renaming them: the watch has to be moved
CREATE TABLE swap (id integer PRIMARY KEY, a integer);
SELECT notify_watch('swap') IS NOT NULL AS watched;
CREATE TABLE swap_new (LIKE swap INCLUDING ALL, b integer);
BEGIN;
ALTER TABLE swap RENAME TO swap_old;
ALTER TABLE swap_new RENAME TO swap;
SELECT notify_watch('swap') IS NOT NULL AS watched;
SELECT notify_unwatch('swap_old');
COMMIT;
INSERT INTO swap_old VALUES (1);
INSERT INTO swap VALUES (2);
RESET ROLE;
SELECT * FROM new_events();
SET ROLE regress_notifyd_user;
SELECT relation, channel FROM w WHERE channel = 'swap';
DROP TABLE swap, swap_old;

-- a key without a primary key to take its place keeps what is left of it
CREATE TABLE k (a integer, b integer, c integer);
SELECT notify_watch('k', key => '{a,b}') IS NOT NULL AS watched;
ALTER TABLE k DROP COLUMN a CASCADE;
SELECT key FROM w WHERE channel = 'k';
ALTER TABLE k DROP COLUMN b CASCADE;
SELECT key FROM w WHERE channel = 'k';
DROP TABLE k;

-- columns that go with their type, or in a parent
CREATE DOMAIN dom AS integer;
CREATE TABLE parent (id integer PRIMARY KEY, x dom, y integer);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
SELECT notify_watch('child', cols => '{x,y}') IS NOT NULL AS watched;
ALTER TABLE parent DROP COLUMN y;
DROP DOMAIN dom;
DROP DOMAIN dom CASCADE;
ALTER TABLE parent DROP COLUMN y CASCADE;
SELECT cols FROM w WHERE channel = 'child';
DROP TABLE parent CASCADE;
SELECT * FROM w WHERE channel = 'child';

-- a condition's column cannot go, nor change its type; with CASCADE the watch goes
CREATE TABLE c (id integer PRIMARY KEY, x integer);
SELECT notify_watch('c', 'insert,truncate', condition => 'new.x > 0') IS NOT NULL AS watched;
ALTER TABLE c RENAME COLUMN x TO y;
\set VERBOSITY terse
ALTER TABLE c DROP COLUMN y;
ALTER TABLE c ALTER COLUMN y TYPE bigint;
\set VERBOSITY default
SELECT condition FROM w WHERE channel = 'c';
-- the trigger's expression counts, not the text that it was made of
SELECT notify_watch('c', 'insert,truncate', condition => 'new.x > 0');
SELECT notify_watch('c', 'insert,truncate', condition => 'NEW.y>0') IS NOT NULL AS same;
SELECT condition FROM w WHERE channel = 'c';
ALTER TABLE c ADD COLUMN x integer;
SELECT notify_watch('c', 'insert,truncate', condition => 'new.x > 0') IS NOT NULL AS another;
SELECT condition FROM w WHERE channel = 'c';
SELECT notify_watch('c', 'insert,truncate', condition => 'new.y > 0') IS NOT NULL AS back;
SET client_min_messages = warning;
ALTER TABLE c DROP COLUMN y CASCADE;
RESET client_min_messages;
SELECT * FROM w WHERE channel = 'c';
SELECT * FROM triggers WHERE tgrelid = 'c'::regclass;

-- a trigger that is dropped by hand takes its watch along, and only that
SELECT notify_watch('c', 'insert,truncate') IS NOT NULL, notify_watch('c', channel => 'other') IS NOT NULL AS watched;
SELECT min(tgname) AS first FROM pg_trigger WHERE tgrelid = 'c'::regclass AND tgname LIKE 'notifyd%' \gset
ALTER TRIGGER :first ON c RENAME TO renamed;
DROP TRIGGER renamed ON c;
SELECT channel FROM w WHERE relation = 'c'::regclass;
SELECT * FROM triggers WHERE tgrelid = 'c'::regclass;
DROP TABLE c;

-- other triggers and constraints are nobody's business
CREATE TABLE o (id integer PRIMARY KEY, p integer REFERENCES o);
SELECT notify_watch('o') IS NOT NULL AS watched;
CREATE TRIGGER own BEFORE UPDATE ON o FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
DROP TRIGGER own ON o;
ALTER TABLE o DROP CONSTRAINT o_p_fkey;
SELECT channel FROM w WHERE relation = 'o'::regclass;

-- tables: renamed, moved, dropped, all at once, by a schema, by their owner
ALTER TABLE o RENAME TO oo;
RESET ROLE;
CREATE SCHEMA s AUTHORIZATION regress_notifyd_user;
ALTER TABLE oo SET SCHEMA s;
SELECT relation, channel FROM w;
CREATE TABLE s.x (id integer PRIMARY KEY);
SELECT notify_watch('s.x') IS NOT NULL AS watched;
\set VERBOSITY terse
DROP SCHEMA s CASCADE;
\set VERBOSITY default
SELECT relation, channel FROM w;
BEGIN;
DROP TABLE t;
SELECT count(*) FROM w;
ROLLBACK;
SELECT count(*) FROM w;
DROP OWNED BY regress_notifyd_user CASCADE;
SELECT count(*) FROM w;
SELECT * FROM triggers;

-- replicas too
CREATE TABLE e (id integer PRIMARY KEY);
SELECT notify_watch('e') IS NOT NULL AS watched;
SET session_replication_role = replica;
DROP TABLE e;
RESET session_replication_role;
SELECT count(*) FROM w;

-- the event trigger's function is nothing to call
SELECT notifyd.on_drop();
SELECT notifyd.capture();

-- CREATE EXTENSION leaves what it says, DROP EXTENSION nothing; the functions go where one wants them
DROP VIEW w, triggers;
DROP EXTENSION pg_notifyd;
SELECT evtname FROM pg_event_trigger;
CREATE SCHEMA elsewhere;
CREATE EXTENSION pg_notifyd SCHEMA elsewhere;
CREATE TABLE e (id integer PRIMARY KEY);
SELECT elsewhere.notify_watch('e') IS NOT NULL AS watched;
INSERT INTO e VALUES (1);
TRUNCATE seen;
SELECT * FROM new_events();
SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend AS d
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_notifyd')
		AND NOT EXISTS (SELECT FROM pg_description AS c WHERE c.classoid = d.classid AND c.objoid = d.objid AND c.objsubid = 0)
		-- from PostgreSQL 17 on row and array types are members of their own
		AND NOT (classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type AS t WHERE t.oid = d.objid AND (typrelid <> 0 OR typcategory = 'A')));
SELECT p.oid::regprocedure AS not_safe FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'
	WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_notifyd') AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') AND p.prosqlbody IS NULL AND p.proconfig IS NULL;
DROP EXTENSION pg_notifyd;
INSERT INTO e VALUES (2);
DROP TABLE e, seen;
DROP SCHEMA elsewhere;
DROP FUNCTION new_events;
REVOKE CREATE ON SCHEMA public FROM regress_notifyd_user;
DROP ROLE regress_notifyd_user;
