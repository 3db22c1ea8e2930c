-- notify_watch(payload => ...): a function makes what events carry instead of rows.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE FUNCTION event_rows(id bigint, columns name[], OUT old text, OUT new text, OUT context jsonb, OUT payload jsonb,
	OUT reason text) LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_event_rows';
CREATE VIEW w AS SELECT relation, channel, cols, payload, state FROM notifyd.watches ORDER BY id;

CREATE SCHEMA shop;
CREATE TABLE orders (id integer PRIMARY KEY, status text, price numeric, note text,
	total numeric GENERATED ALWAYS AS (price * 2) STORED);
CREATE FUNCTION shop.order_message(op text, old orders, new orders) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	IF new.status = 'quiet' THEN
		RETURN NULL;
	ELSIF new.status = 'refused' THEN
		RAISE EXCEPTION 'order % is refused', new.id USING ERRCODE = 'check_violation';
	END IF;
	RETURN json_build_object('op', op, 'was', old.status, 'is', new.status, 'note', length(new.note), 'total', new.total);
END
$$;

-- each operation, with the key; NULL leaves the event out
SELECT notify_watch('orders', payload => 'shop.order_message') IS NOT NULL AS watched;
SELECT * FROM w;
INSERT INTO orders VALUES (1, 'new', 1.50, 'x'), (2, 'quiet', 2, 'x');
UPDATE orders SET status = 'paid' WHERE id = 1;
UPDATE orders SET status = 'quiet' WHERE id = 1;
UPDATE orders SET id = 3, status = 'paid' WHERE id = 1;
DELETE FROM orders WHERE id = 3;
TRUNCATE orders;
SELECT * FROM new_events();

-- an error fails the statement, and says where it comes from
INSERT INTO orders VALUES (4, 'refused');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
INSERT INTO orders VALUES (5, 'new');
SAVEPOINT s;
INSERT INTO orders VALUES (6, 'refused');
ROLLBACK TO s;
INSERT INTO orders VALUES (7, 'new');
COMMIT;
SELECT e ->> 'key' AS key FROM new_events() AS e;

-- with the transaction's context; values out of line are complete although the UPDATE does not change them
SET pg_notifyd.context = '{"user": 7}';
INSERT INTO orders SELECT 8, 'new', 1, string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i;
UPDATE orders SET status = 'paid' WHERE id = 8;
SET pg_notifyd.context = '';
SELECT * FROM new_events();

-- the rows are in the hidden values, for row security and filters
UPDATE orders SET status = 'sent', price = 2 WHERE id = 7;
SELECT r.* FROM (SELECT max(id) AS id FROM notifyd.log_0) AS e, event_rows(e.id, '{id,status,price,note,total}') AS r;
DELETE FROM orders WHERE id = 7;
SELECT r.* FROM (SELECT max(id) AS id FROM notifyd.log_0) AS e, event_rows(e.id, '{id,status,price,note,total}') AS r;
TRUNCATE seen;

-- cols names the columns that subscribers must be able to read; the function gets all of them
SELECT notify_watch('orders', cols => '{status}', payload => 'shop.order_message', old_values => false) IS NOT NULL AS watched;
SELECT * FROM w;
UPDATE orders SET status = 'paid again' WHERE id = 8;
SELECT event, columns FROM notifyd.log_0 ORDER BY id DESC LIMIT 1;
SELECT r.* FROM (SELECT max(id) AS id FROM notifyd.log_0) AS e, event_rows(e.id, '{status}') AS r;
SELECT r.* FROM (SELECT max(id) AS id FROM notifyd.log_0) AS e, event_rows(e.id, '{price}') AS r;
DELETE FROM orders;
SELECT count(*) FROM new_events();

-- two watches, each with its own; jsonb; update_of and condition decide whether the function is called
CREATE FUNCTION price_message(text, orders, orders) RETURNS jsonb LANGUAGE sql
	RETURN jsonb_build_object('from', ($2).price, 'to', ($3).price);
SELECT notify_watch('orders', payload => 'shop.order_message'),
	notify_watch('orders', 'update', channel => 'prices', payload => 'price_message', update_of => '{price}', condition => 'NEW.id > 1')
	IS NOT NULL AS watched;
INSERT INTO orders VALUES (1, 'new', 1), (2, 'new', 2);
SELECT count(*) FROM new_events();
UPDATE orders SET price = 10;
UPDATE orders SET status = 'paid';
SELECT e ->> 'channel' AS channel, e -> 'payload' AS payload FROM new_events() AS e;

-- a function may change watched tables itself, also this one: its events come first
CREATE TABLE counters (id integer PRIMARY KEY, n integer);
INSERT INTO counters VALUES (1, 0);
SELECT notify_unwatch('orders', 'prices'), notify_watch('counters') IS NOT NULL AS watched;
CREATE FUNCTION counting(op text, old orders, new orders) RETURNS json LANGUAGE sql AS $$
	INSERT INTO orders SELECT new.id - 1, 'copy' WHERE new.id BETWEEN 102 AND 103;
	UPDATE counters SET n = n + 1 RETURNING json_build_object('n', n);
$$;
SELECT notify_watch('orders', payload => 'counting') IS NOT NULL AS watched;
INSERT INTO orders VALUES (103, 'new');
INSERT INTO orders VALUES (110, 'new'), (111, 'new');
SELECT e ->> 'op' AS op, e -> 'key' AS key, e -> 'new' AS new, e -> 'payload' AS payload FROM new_events() AS e;

-- a function that fails half-way can be called again in the same session
CREATE FUNCTION fails(op text, old orders, new orders) RETURNS json LANGUAGE sql AS $$
	SELECT json_build_object('quotient', 1 / (new.id - 200))
$$;
SELECT notify_watch('orders', payload => 'fails') IS NOT NULL AS watched;
DO $$
BEGIN
	FOR i IN 199..201 LOOP
		BEGIN
			INSERT INTO orders VALUES (i, 'new');
		EXCEPTION WHEN division_by_zero THEN
			RAISE WARNING 'order %: %', i, SQLERRM;
		END;
	END LOOP;
END
$$;
SELECT e -> 'payload' AS payload FROM new_events() AS e;

-- large payloads; large transactions
CREATE FUNCTION large(op text, old orders, new orders) RETURNS json LANGUAGE sql AS $$SELECT to_json(repeat(new.status, new.id))$$;
SELECT notify_watch('orders', payload => 'large') IS NOT NULL AS watched;
INSERT INTO orders VALUES (20000, 'x'), (3000000, 'y');
SELECT e -> 'key' AS key, length(e ->> 'payload') AS length FROM new_events() AS e;
DELETE FROM orders;
INSERT INTO orders SELECT i, 'z' FROM generate_series(1, 2000) AS i;
SELECT e ->> 'op' AS op, count(*), max(length(e ->> 'payload')) AS length FROM new_events() AS e GROUP BY 1 ORDER BY 1;
DELETE FROM orders;

-- the writer needs no privilege on function and schema, and is the user that runs it, unless it is SECURITY DEFINER
CREATE ROLE regress_notifyd_writer;
CREATE ROLE regress_notifyd_owner;
GRANT SELECT, INSERT, UPDATE ON orders TO regress_notifyd_writer;
CREATE FUNCTION shop.who(text, orders, orders) RETURNS json LANGUAGE sql AS $$SELECT to_json(current_user)$$;
CREATE FUNCTION shop.definer(text, orders, orders) RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = shop
	AS $$SELECT to_json(format('%s %s', current_user, current_setting('search_path')))$$;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA shop FROM PUBLIC;
SELECT notify_watch('orders', channel => 'who', payload => 'shop.who'),
	notify_watch('orders', channel => 'definer', payload => 'shop.definer') IS NOT NULL AS watched, notify_unwatch('orders', 'orders');
TRUNCATE seen;
INSERT INTO seen SELECT max(id) FROM notifyd.log_0;
SET ROLE regress_notifyd_writer;
INSERT INTO orders VALUES (1, 'new');
RESET ROLE;
SELECT e ->> 'channel' AS channel, e -> 'payload' AS payload FROM new_events() AS e ORDER BY 1;
SELECT notify_unwatch('orders');

-- who may set it: the table's owner must be allowed to execute the function
ALTER TABLE orders OWNER TO regress_notifyd_owner;
SELECT notify_watch('orders', payload => 'shop.who');
GRANT EXECUTE ON FUNCTION shop.who TO regress_notifyd_owner;
SET ROLE regress_notifyd_owner;
SELECT notify_watch('orders', payload => 'shop.who');
RESET ROLE;
GRANT USAGE ON SCHEMA shop TO regress_notifyd_owner;
SET ROLE regress_notifyd_owner;
SELECT notify_watch('orders', payload => 'shop.who') IS NOT NULL AS watched;
RESET ROLE;

-- functions that cannot be it
CREATE FUNCTION strict(text, orders, orders) RETURNS json STRICT LANGUAGE sql AS $$SELECT '1'::json$$;
CREATE FUNCTION returns_text(text, orders, orders) RETURNS text LANGUAGE sql AS $$SELECT '1'$$;
CREATE FUNCTION set_of(text, orders, orders) RETURNS SETOF json LANGUAGE sql AS $$SELECT '1'::json$$;
CREATE FUNCTION pg_temp.temporary(text, orders, orders) RETURNS json LANGUAGE sql AS $$SELECT '1'::json$$;
CREATE PROCEDURE procedural(text, orders, orders) LANGUAGE sql AS $$SELECT '1'::json$$;
CREATE FUNCTION other_arguments(text, orders) RETURNS json LANGUAGE sql AS $$SELECT '1'::json$$;
SELECT notify_watch('orders', payload => 'strict');
SELECT notify_watch('orders', payload => 'returns_text');
SELECT notify_watch('orders', payload => 'set_of');
DO $$
BEGIN
	PERFORM notify_watch('orders', payload => 'pg_temp.temporary');
EXCEPTION WHEN wrong_object_type THEN
	RAISE WARNING '%', regexp_replace(SQLERRM, '\d+', 'N');
END
$$;
DROP FUNCTION pg_temp.temporary;
SELECT notify_watch('orders', payload => 'procedural');
SELECT notify_watch('orders', payload => 'other_arguments');
SELECT notify_watch('orders', payload => 'a..b');
SELECT notify_watch('orders', payload => '');
SELECT * FROM w;

-- the function is followed when it is renamed, moved or replaced, also in what a dump restores
SET client_min_messages = notice;
ALTER FUNCTION shop.who RENAME TO "Who is it?";
SELECT * FROM w;
ALTER SCHEMA shop RENAME TO mall;
ALTER FUNCTION mall."Who is it?" SET SCHEMA public;
SELECT payload, pg_get_triggerdef(t.oid) LIKE '%, ''public."Who is it?"'')' AS carried
	FROM w JOIN pg_trigger AS t ON t.tgrelid = w.relation ORDER BY payload NULLS FIRST;
CREATE OR REPLACE FUNCTION "Who is it?"(text, orders, orders) RETURNS json LANGUAGE sql AS $$SELECT '"replaced"'::json$$;
ALTER TABLE orders RENAME TO renamed;
ALTER TABLE renamed RENAME COLUMN status TO state;
INSERT INTO renamed VALUES (2, 'new');
SELECT e -> 'payload' AS payload FROM new_events() AS e;
DROP FUNCTION "Who is it?";
BEGIN;
DROP FUNCTION "Who is it?" CASCADE;
SELECT count(*) FROM w;
INSERT INTO renamed VALUES (3, 'new');
ROLLBACK;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP TABLE renamed CASCADE;
SELECT count(*) FROM w;
ROLLBACK;

-- without the parameter, events have rows again
SELECT notify_watch('renamed', channel => 'orders') IS NOT NULL AS watched;
INSERT INTO renamed VALUES (4, 'new');
SELECT * FROM new_events();

-- a row that moves between partitions, whose columns are in another order; TRUNCATE of a partition
CREATE TABLE parts (id integer, gone text, region text, name text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
ALTER TABLE parts DROP COLUMN gone;
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (name text, region text NOT NULL, id integer NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
CREATE FUNCTION part_message(op text, old parts, new parts) RETURNS json LANGUAGE sql RETURN json_build_array(op, old, new);
SELECT notify_watch('parts', payload => 'part_message'),
	notify_watch('parts', 'insert,update', channel => 'rows') IS NOT NULL AS watched;
INSERT INTO parts VALUES (1, 'a', 'one'), (2, 'b', 'two');
UPDATE parts SET region = 'b' WHERE id = 1;
UPDATE parts SET region = 'a', name = 'second' WHERE id = 2;
DELETE FROM parts;
SELECT e ->> 'channel' AS channel, e ->> 'op' AS op, e -> 'key' AS key, e -> 'old' AS old, e -> 'payload' AS payload FROM new_events() AS e;

SET client_min_messages = warning;
DROP OWNED BY regress_notifyd_owner CASCADE;
DROP OWNED BY regress_notifyd_writer CASCADE;
DROP ROLE regress_notifyd_owner, regress_notifyd_writer;
DROP VIEW w;
DROP TABLE parts CASCADE;
DROP EXTENSION pg_notifyd;
DROP SCHEMA mall;
DROP TABLE counters, seen;
DROP FUNCTION event_rows, new_events;
