-- notify_watch() and notify_unwatch(): arguments, what they make of a table, errors.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = notice;
CREATE ROLE regress_notifyd_owner;
CREATE ROLE regress_notifyd_other;

CREATE SCHEMA shop;
CREATE TABLE orders (id integer PRIMARY KEY, price numeric, note text, total numeric GENERATED ALWAYS AS (price * 2) STORED);
CREATE TABLE shop.orders (a integer, b integer, c text, PRIMARY KEY (b, a));
CREATE TABLE nokey (a integer, b text NOT NULL);
CREATE VIEW w AS SELECT relation, channel, ops, cols, key, update_of, condition, old_values, notify FROM notifyd.watches ORDER BY id;
CREATE VIEW triggers AS
	SELECT tgrelid::regclass, regexp_replace(tgname, '\d+', 'N') AS trigger, tgenabled, tgisinternal,
		regexp_replace(pg_get_triggerdef(oid), '\d+', 'N', 'g') AS definition
	FROM pg_trigger WHERE tgname LIKE 'notifyd%' AND tgparentid = 0 ORDER BY 1, 2;

-- defaults
SELECT notify_watch('orders') IS NOT NULL AS watched;
SELECT notify_watch('shop.orders') IS NOT NULL AS watched;
SELECT * FROM w;
SELECT * FROM triggers;

-- the same call again changes nothing and takes no lock on the table
SELECT id AS first, xmin AS first_xmin FROM notifyd.watch WHERE relation = 'orders'::regclass \gset
BEGIN;
SELECT notify_watch('orders') = :first AS same;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'orders'::regclass;
COMMIT;
SELECT xmin = :first_xmin AS untouched FROM notifyd.watch WHERE relation = 'orders'::regclass;

-- an alteration of what is in the row only disturbs neither readers nor writers
BEGIN;
SELECT notify_watch('orders', cols => '{price,note}', key => '{note}', old_values => false, notify => true) = :first AS same;
SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'orders'::regclass ORDER BY mode;
COMMIT;
SELECT * FROM w WHERE relation = 'orders'::regclass;

-- one of the operations or the condition makes the triggers anew
SELECT notify_watch('orders', ' TRUNCATE , Update', update_of => '{price,total}', condition => 'old.price < new.price') = :first AS same;
SELECT * FROM w WHERE relation = 'orders'::regclass;
SELECT * FROM triggers WHERE tgrelid = 'orders'::regclass;
SELECT notify_watch('orders', 'insert,insert', condition => 'new.price > 0') = :first AS same;
SELECT * FROM triggers WHERE tgrelid = 'orders'::regclass;
SELECT notify_watch('orders', 'truncate') = :first AS same;
SELECT * FROM triggers WHERE tgrelid = 'orders'::regclass;
SELECT notify_watch('orders') = :first AS same;
SELECT * FROM triggers WHERE tgrelid = 'orders'::regclass;

-- two channels on one table are two watches
SELECT notify_watch('orders', channel => 'prices', cols => '{price}') <> :first AS another;
SELECT notify_watch('orders', channel => 'keys', cols => '{}') <> :first AS another;
SELECT * FROM w WHERE relation = 'orders'::regclass;

-- a table without a key needs columns
SELECT notify_watch('nokey');
SELECT notify_watch('nokey', cols => '{}');
SELECT notify_watch('nokey', cols => '{a}') IS NOT NULL AS watched;
SELECT notify_watch('nokey', key => '{b}') IS NOT NULL AS watched;
CREATE UNIQUE INDEX nokey_b ON nokey (b);
ALTER TABLE nokey REPLICA IDENTITY USING INDEX nokey_b;
SELECT notify_watch('nokey') IS NOT NULL AS watched;

-- triggers of a user's name, triggers that are gone
ALTER TABLE nokey DISABLE TRIGGER ALL;
SELECT notify_watch('nokey', 'insert') IS NOT NULL AS watched;
SELECT * FROM triggers WHERE tgrelid = 'nokey'::regclass;
SELECT tgname AS row_trigger FROM pg_trigger WHERE tgrelid = 'nokey'::regclass \gset
ALTER TRIGGER :row_trigger ON nokey RENAME TO mine;
SELECT notify_watch('nokey', 'insert,delete') IS NOT NULL AS watched;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'nokey'::regclass;

-- removing
SELECT notify_unwatch('orders', 'nosuch');
SELECT notify_unwatch('orders', 'keys');
SELECT notify_unwatch('orders');
SELECT notify_unwatch('orders');
SELECT notify_unwatch('nokey');
SELECT * FROM w;
SELECT * FROM triggers;

-- names
CREATE SCHEMA "sch""ema.x";
CREATE TABLE "sch""ema.x"."Tab le'; DROP" ("I d" integer, "näme ""q"", {x}" text, """" text, PRIMARY KEY ("I d"));
SELECT notify_watch('"sch""ema.x"."Tab le''; DROP"', cols => ARRAY['"', 'näme "q", {x}'], update_of => ARRAY['näme "q", {x}'], key => '{"I d"}', condition => '"I d" > 0');
SELECT notify_watch('"sch""ema.x"."Tab le''; DROP"', cols => ARRAY['"', 'näme "q", {x}'], update_of => ARRAY['näme "q", {x}'], key => '{"I d"}') IS NOT NULL AS watched;
SELECT cols, key, update_of, channel FROM notifyd.watch WHERE channel LIKE 'sch%';
SELECT * FROM w WHERE channel LIKE 'sch%';
CREATE TABLE t23456789012345678901234567890123456789012345678901234567890123 (c23456789012345678901234567890123456789012345678901234567890123 integer PRIMARY KEY);
SELECT notify_watch('t23456789012345678901234567890123456789012345678901234567890123', cols => '{c23456789012345678901234567890123456789012345678901234567890123}') IS NOT NULL AS watched;
CREATE TABLE shop.t23456789012345678901234567890123456789012345678901234567890123 (c integer PRIMARY KEY);
SELECT notify_watch('shop.t23456789012345678901234567890123456789012345678901234567890123');
SELECT notify_watch('shop.t23456789012345678901234567890123456789012345678901234567890123', channel => 'long') IS NOT NULL AS watched;
SELECT * FROM w WHERE channel ~ '^(t2|long)';
DROP TABLE shop.t23456789012345678901234567890123456789012345678901234567890123, t23456789012345678901234567890123456789012345678901234567890123;
DROP TABLE "sch""ema.x"."Tab le'; DROP";
SELECT * FROM w WHERE channel ~ '^(t2|long|sch)';

-- the type of columns
SELECT 'orders.price'::notifyd.column_ref, 'public.orders.price'::notifyd.column_ref;
SELECT 'orders'::notifyd.column_ref;
SELECT 'orders.nosuch'::notifyd.column_ref;
SELECT 'nosuch.price'::notifyd.column_ref;
SELECT '"orders'::notifyd.column_ref;
SELECT ('orders'::regclass::oid || '.2')::notifyd.column_ref;
SELECT '4294967295.7'::notifyd.column_ref, '42949672960.7';
SELECT '4294967296.7'::notifyd.column_ref;
SELECT notifyd.column_names(ARRAY['orders.price', '4294967295.7', 'orders.note']::notifyd.column_ref[]), notifyd.column_names('{}'), notifyd.column_names(NULL);

-- errors: the relation
SELECT notify_watch(NULL);
SELECT notify_watch(4294967295);
SELECT notify_watch('w');
SELECT notify_watch('orders_pkey');
SELECT notify_watch('notifyd.watch_id_seq');
SELECT notify_watch('pg_class');
SELECT notify_watch('information_schema.sql_features');
SELECT notify_watch('notifyd.watch');
SELECT notify_watch('notifyd.watches');
SELECT notify_watch('notifyd.log_0');
CREATE MATERIALIZED VIEW mv AS SELECT 1 AS a;
SELECT notify_watch('mv');
CREATE TEMP TABLE tmp (id integer PRIMARY KEY);
SELECT notify_watch('tmp');
CREATE FOREIGN DATA WRAPPER regress_notifyd_fdw;
CREATE SERVER regress_notifyd_server FOREIGN DATA WRAPPER regress_notifyd_fdw;
CREATE FOREIGN TABLE ft (id integer) SERVER regress_notifyd_server;
SELECT notify_watch('ft', cols => '{id}');
CREATE UNLOGGED TABLE unlogged (id integer PRIMARY KEY);
SELECT notify_watch('unlogged') IS NOT NULL AS watched;
CREATE TYPE composite AS (a integer);
SELECT notify_watch('composite');

-- errors: operations
SELECT notify_watch('orders', NULL);
SELECT notify_watch('orders', '');
SELECT notify_watch('orders', 'insert,');
SELECT notify_watch('orders', 'insert,upsert');
SELECT notify_watch('orders', 'insert update');
SELECT notify_watch('orders', '{id,name}');

-- errors: columns
SELECT notify_watch('orders', cols => '{price,nosuch}');
SELECT notify_watch('orders', cols => '{price,price}');
SELECT notify_watch('orders', cols => '{price,NULL}');
SELECT notify_watch('orders', cols => '{ctid}');
SELECT notify_watch('orders', cols => '{"Price"}');
SELECT notify_watch('orders', key => '{}');
SELECT notify_watch('orders', key => '{nosuch}');
SELECT notify_watch('orders', update_of => '{}');
SELECT notify_watch('orders', update_of => '{nosuch}');
SELECT notify_watch('orders', 'insert', update_of => '{price}');
SELECT notify_watch('orders', old_values => NULL);
SELECT notify_watch('orders', notify => NULL);

-- errors: channels
SELECT notify_watch('orders', channel => '');
SELECT notify_watch('orders', channel => E'a\nb');
SELECT notify_watch('orders', channel => repeat('x', 64));
SELECT notify_watch('orders', channel => repeat('é', 32));
CREATE TABLE "li
ne" (id integer PRIMARY KEY);
SELECT notify_watch(E'"li\nne"');

-- errors: conditions
SELECT notify_watch('orders', condition => '');
SELECT notify_watch('orders', condition => 'new.price >');
SELECT notify_watch('orders', condition => 'true; DROP TABLE orders');
SELECT notify_watch('orders', 'insert', condition => 'true) EXECUTE FUNCTION x(); --');
SELECT notify_watch('orders', 'insert', condition => 'true AS x');
SELECT notify_watch('orders', 'insert', condition => 'true, true');
SELECT notify_watch('orders', 'insert', condition => 'true FROM orders');
SELECT notify_watch('orders', 'insert', condition => 'true WHERE true');
SELECT notify_watch('orders', 'insert', condition => 'DISTINCT true');
SELECT notify_watch('orders', 'insert', condition => 'true LIMIT 1');
SELECT notify_watch('orders', 'insert', condition => 'true FOR UPDATE');
SELECT notify_watch('orders', 'insert', condition => 'true UNION SELECT true');
SELECT notify_watch('orders', 'insert', condition => '*');
SELECT notify_watch('orders', 'insert', condition => 'new.nosuch > 1');
SELECT notify_watch('orders', 'insert', condition => 'new.price');
SELECT notify_watch('orders', 'insert', condition => 'old.price > 1');
SELECT notify_watch('orders', 'delete', condition => 'new.price > 1');
SELECT notify_watch('orders', condition => 'new.price > 1');
SELECT notify_watch('orders', 'insert', condition => 'price > 1');
SELECT notify_watch('orders', 'truncate', condition => 'true');
SELECT notify_watch('orders', 'insert', condition => 'EXISTS (SELECT FROM orders)');
SELECT notify_watch('orders', 'insert', condition => 'new.price > 1 -- comment') IS NOT NULL AS watched;

-- a call that fails leaves nothing, and one that is rolled back neither
SELECT notify_unwatch('orders');
BEGIN;
SELECT notify_watch('orders') IS NOT NULL AS watched;
SAVEPOINT s;
SELECT notify_watch('orders', 'insert', channel => 'x', condition => 'new.nosuch');
ROLLBACK TO s;
SELECT channel FROM w WHERE relation = 'orders'::regclass;
ROLLBACK;
SELECT channel FROM w WHERE relation = 'orders'::regclass;
SELECT * FROM triggers WHERE tgrelid = 'orders'::regclass;
DO $$
BEGIN
	PERFORM notify_watch('orders', channel => 'do');
	BEGIN
		PERFORM notify_watch('orders', channel => 'exception');
		RAISE 'no';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	PERFORM notify_watch('orders', 'truncate', channel => 'do');
END $$;
SELECT channel, ops FROM w WHERE relation = 'orders'::regclass;
SELECT trigger FROM triggers WHERE tgrelid = 'orders'::regclass;
BEGIN READ ONLY;
SELECT notify_watch('orders');
ROLLBACK;

-- privileges
GRANT CREATE ON SCHEMA public TO regress_notifyd_owner;
GRANT SELECT ON orders TO regress_notifyd_other;
SET ROLE regress_notifyd_owner;
CREATE TABLE owned (id integer PRIMARY KEY, note text);
SELECT notify_watch('owned') IS NOT NULL AS watched;
SELECT notify_watch('owned', 'insert', condition => 'new.id > 0') IS NOT NULL AS watched;
SELECT notify_watch('orders');
SELECT notify_unwatch('orders');
SELECT channel FROM notifyd.watches;
SELECT channel FROM notifyd.watch;
SELECT * FROM notifyd.log_0;
INSERT INTO owned VALUES (1);
SET ROLE regress_notifyd_other;
SELECT channel FROM notifyd.watches;
SELECT notify_watch('owned');
SELECT notify_unwatch('owned');
SELECT notify_grant('chat', 'regress_notifyd_other');
-- a trigger that somebody makes for another's watch captures nothing
RESET ROLE;
SELECT id AS owned_id FROM notifyd.watch WHERE channel = 'owned' \gset
SET ROLE regress_notifyd_owner;
CREATE TABLE mine (id integer);
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION notifyd.capture(:'owned_id');
\set VERBOSITY terse
INSERT INTO mine VALUES (1);
\set VERBOSITY default
DROP TRIGGER t ON mine;
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION notifyd.capture('x');
INSERT INTO mine VALUES (1);
DROP TRIGGER t ON mine;
CREATE TRIGGER "a trigger" AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION notifyd.capture();
INSERT INTO mine VALUES (1);
DROP TRIGGER "a trigger" ON public.mine;
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION notifyd.capture('1');
INSERT INTO mine VALUES (1);
SELECT notify_unwatch('owned');
DROP TABLE owned, mine;
RESET ROLE;

-- a hostile search_path
CREATE SCHEMA evil;
CREATE TABLE evil.watch (LIKE notifyd.watch);
CREATE FUNCTION evil.capture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE FUNCTION evil.texteq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR evil.= (FUNCTION = evil.texteq, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION evil.int8eq(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR evil.= (FUNCTION = evil.int8eq, LEFTARG = bigint, RIGHTARG = bigint);
SET search_path = evil, pg_catalog, public;
SELECT notify_watch('orders', channel => 'evil') IS NOT NULL AS watched;
INSERT INTO orders VALUES (1, 1);
DELETE FROM orders;
ALTER TABLE orders DROP COLUMN total;
SELECT notify_unwatch('orders', 'evil');
RESET search_path;
SELECT count(*) FROM evil.watch;
DROP SCHEMA evil CASCADE;

-- grants on channels that are no table
SELECT notify_grant('chat', 'regress_notifyd_other'), notify_grant('chat', 'regress_notifyd_other'), notify_grant('chat', 'regress_notifyd_owner');
SELECT * FROM notifyd.channel_grant ORDER BY channel, role::text;
SELECT notify_grant('', 'regress_notifyd_other');
SELECT notify_grant(NULL, 'regress_notifyd_other');
SELECT notify_grant('chat', NULL);
SELECT notify_grant('chat', 4294967295);
SELECT notify_revoke('chat', 'regress_notifyd_owner'), notify_revoke('nosuch', 'regress_notifyd_other');
SELECT * FROM notifyd.channel_grant;

-- inheritance
CREATE TABLE child () INHERITS (nokey);
SELECT notify_watch('nokey', cols => '{a}') IS NOT NULL AS watched;
SELECT notify_watch('child', cols => '{a}', channel => 'nokey') IS NOT NULL AS watched;

-- row security
CREATE TABLE secured (id int PRIMARY KEY, tenant int);
CREATE POLICY p ON secured USING (tenant = 1);
SELECT notify_watch('secured') IS NOT NULL AS watched;
SELECT notify_watch('secured') IS NOT NULL AS watched;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
SELECT notify_watch('secured', notify => true) IS NOT NULL AS watched;
SELECT notify_watch('secured', notify => true, notify_rows => true) IS NOT NULL AS watched;
DROP TABLE secured;

DROP VIEW w;
DROP EXTENSION pg_notifyd;
SELECT * FROM triggers;
SELECT nspname FROM pg_namespace WHERE nspname = 'notifyd';
DROP VIEW triggers;
DROP TABLE orders, nokey, child, unlogged, tmp, "li
ne";
DROP SCHEMA shop, "sch""ema.x" CASCADE;
DROP MATERIALIZED VIEW mv;
DROP TYPE composite;
DROP FOREIGN DATA WRAPPER regress_notifyd_fdw CASCADE;
REVOKE CREATE ON SCHEMA public FROM regress_notifyd_owner;
DROP ROLE regress_notifyd_owner, regress_notifyd_other;
