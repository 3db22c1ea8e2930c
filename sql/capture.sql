-- What changes of watched tables become: statements, transactions, rows of all sizes.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE TABLE orders (id integer PRIMARY KEY, price numeric, note text, total numeric GENERATED ALWAYS AS (price * 2) STORED);
SELECT notify_watch('orders', 'insert,update,delete,truncate') IS NOT NULL AS watched;

-- the statements that change rows
INSERT INTO orders VALUES (1, 1, 'one'), (2, 2, 'two');
UPDATE orders SET price = price + 1;
UPDATE orders SET id = 3 WHERE id = 2;
DELETE FROM orders WHERE id = 1;
TRUNCATE orders;
SELECT * FROM new_events();
COPY orders (id, price, note) FROM stdin;
1	1.5	copied
2	\N	\N
\.
INSERT INTO orders VALUES (1, 7, 'again'), (4, 4, 'four') ON CONFLICT (id) DO UPDATE SET price = excluded.price;
INSERT INTO orders VALUES (1, 7, 'again') ON CONFLICT DO NOTHING;
MERGE INTO orders AS o USING (VALUES (1, 10), (2, 20), (5, 50)) AS v (id, price) ON o.id = v.id
	WHEN MATCHED AND v.id = 1 THEN DELETE
	WHEN MATCHED THEN UPDATE SET price = v.price
	WHEN NOT MATCHED THEN INSERT (id, price) VALUES (v.id, v.price);
WITH gone AS (DELETE FROM orders WHERE id = 4 RETURNING *) INSERT INTO orders (id, note) SELECT id + 10, note FROM gone;
UPDATE orders SET note = 'joined' FROM (VALUES (5)) AS v (id) WHERE v.id = orders.id;
UPDATE orders SET price = 0 WHERE false;
SELECT * FROM new_events();

-- cursors, procedures that commit, prepared statements
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM orders ORDER BY id FOR UPDATE;
FETCH 1 FROM c;
UPDATE orders SET note = 'current' WHERE CURRENT OF c;
COMMIT;
CREATE PROCEDURE p() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 21..24 LOOP
		INSERT INTO orders (id) VALUES (i);
		IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
	END LOOP;
END $$;
CALL p();
PREPARE ins(integer) AS INSERT INTO orders (id) VALUES ($1);
EXECUTE ins(31);
EXECUTE ins(32);
DEALLOCATE ins;
SELECT event->>'op' AS op, event->'key' AS key FROM new_events() AS event;

-- savepoints, blocks with exceptions, transactions that fail
BEGIN;
INSERT INTO orders (id) VALUES (41);
SAVEPOINT a;
INSERT INTO orders (id) VALUES (42);
SAVEPOINT b;
INSERT INTO orders (id) VALUES (43);
ROLLBACK TO b;
INSERT INTO orders (id) VALUES (44);
RELEASE a;
SAVEPOINT a;
INSERT INTO orders (id) VALUES (45);
ROLLBACK TO a;
INSERT INTO orders (id) VALUES (46);
COMMIT;
DO $$
BEGIN
	FOR i IN 51..56 LOOP
		BEGIN
			INSERT INTO orders (id) VALUES (i);
			IF i % 3 = 0 THEN RAISE 'no'; END IF;
		EXCEPTION WHEN raise_exception THEN
			INSERT INTO orders (id) VALUES (i + 100);
		END;
	END LOOP;
END $$;
BEGIN;
INSERT INTO orders (id) VALUES (61);
SELECT 1/0;
COMMIT;
BEGIN;
INSERT INTO orders (id) VALUES (62);
ROLLBACK;
INSERT INTO orders (id) VALUES (63), (41);
SELECT event->>'op' AS op, event->'key' AS key FROM new_events() AS event;

-- foreign keys that cascade, deferred constraints and triggers, triggers that change the row
CREATE TABLE items (id integer PRIMARY KEY, order_id integer REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE);
SELECT notify_watch('items') IS NOT NULL AS watched;
INSERT INTO items VALUES (1, 41), (2, 41), (3, 42);
UPDATE orders SET id = 141 WHERE id = 41;
DELETE FROM orders WHERE id = 141;
SELECT event->>'table' AS "table", event->>'op' AS op, event->'key' AS key, event->'old' AS old FROM new_events() AS event;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO items VALUES (4, 999);
COMMIT;
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO orders (id) VALUES (new.id + 1000);
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
CREATE FUNCTION early() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.id := new.id * 2; RETURN new; END $$;
CREATE TRIGGER early BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION early();
BEGIN;
INSERT INTO items VALUES (10, 42), (11, NULL);
INSERT INTO items VALUES (12, NULL);
COMMIT;
SELECT event->>'table' AS "table", event->>'op' AS op, event->'key' AS key FROM new_events() AS event;
DROP TABLE items;

-- which columns
TRUNCATE orders;
SELECT notify_watch('orders', cols => '{note,price}') IS NOT NULL AS watched;
INSERT INTO orders VALUES (1, 1, 'one');
UPDATE orders SET price = 2;
UPDATE orders SET id = 2;
DELETE FROM orders;
SELECT count(*) FROM new_events();
SELECT notify_watch('orders', cols => '{note,price}', old_values => false) IS NOT NULL AS watched;
INSERT INTO orders VALUES (1, 1, 'one');
UPDATE orders SET price = 2;
UPDATE orders SET id = 2, price = 3;
DELETE FROM orders;
SELECT * FROM new_events();
SELECT notify_watch('orders', cols => '{}') IS NOT NULL AS watched;
INSERT INTO orders VALUES (1, 1, 'one');
UPDATE orders SET price = 2;
UPDATE orders SET id = 2, price = 3;
DELETE FROM orders;
SELECT * FROM new_events();
SELECT notify_watch('orders', cols => '{total,id}', key => '{note,id}') IS NOT NULL AS watched;
INSERT INTO orders VALUES (1, 1, 'one');
UPDATE orders SET price = 2;
UPDATE orders SET note = NULL;
UPDATE orders SET note = NULL, price = 4;
DELETE FROM orders;
SELECT * FROM new_events();
SELECT DISTINCT columns FROM notifyd.log_0;

-- update_of looks at values, not at what the statement names
SELECT notify_watch('orders', update_of => '{price,note}') IS NOT NULL AS watched;
INSERT INTO orders VALUES (1, 1.0, 'one');
UPDATE orders SET price = 1.0, note = 'one';
UPDATE orders SET id = 2;
UPDATE orders SET note = NULL;
UPDATE orders SET note = NULL;
UPDATE orders SET price = 1.00;
UPDATE orders SET note = repeat('x', 100000);
UPDATE orders SET id = 3;
UPDATE orders SET note = repeat('x', 99999) || 'y';
UPDATE orders SET note = repeat('x', 99999) || 'y';
SELECT event->>'op' AS op, event->'key' AS key, left(event->'new'->>'note', 3) AS note FROM new_events() AS event;

-- conditions
SELECT notify_watch('orders', 'update', condition => 'old.price IS DISTINCT FROM new.price AND new.price > 10') IS NOT NULL AS watched;
UPDATE orders SET price = 5;
UPDATE orders SET price = 15;
UPDATE orders SET price = 15;
UPDATE orders SET price = 16;
SELECT event->>'op' AS op, event->'new'->'price' AS price FROM new_events() AS event;

-- operations
SELECT notify_watch('orders', 'delete,truncate') IS NOT NULL AS watched;
INSERT INTO orders VALUES (10, 1.0, 'one');
UPDATE orders SET price = 3;
DELETE FROM orders WHERE id = 10;
TRUNCATE orders;
SELECT event->>'op' AS op, event->'key' AS key FROM new_events() AS event;

-- two watches of one table
SELECT notify_watch('orders', 'insert') IS NOT NULL, notify_watch('orders', 'insert', channel => 'second', cols => '{}') IS NOT NULL AS watched;
INSERT INTO orders (id) VALUES (1), (2);
SELECT event->>'channel' AS channel, event->'key' AS key, event->'new' IS NOT NULL AS new FROM new_events() AS event;
SELECT notify_unwatch('orders');

-- keys: composite, in their order; a replica identity; none; one that comes and goes
CREATE TABLE keys (a integer, b text NOT NULL, c integer, PRIMARY KEY (c, a));
SELECT notify_watch('keys') IS NOT NULL AS watched;
INSERT INTO keys VALUES (1, 'b', 3);
ALTER TABLE keys DROP CONSTRAINT keys_pkey;
UPDATE keys SET a = 2;
CREATE UNIQUE INDEX keys_b ON keys (b);
ALTER TABLE keys REPLICA IDENTITY USING INDEX keys_b;
UPDATE keys SET a = 3;
ALTER TABLE keys ADD PRIMARY KEY (a) DEFERRABLE;
UPDATE keys SET a = 4;
SELECT event->'key' AS key, event->'old' AS old FROM new_events() AS event;
DROP TABLE keys;

-- tables that change in the same transaction
BEGIN;
CREATE TABLE fresh (id integer PRIMARY KEY, a text);
SELECT notify_watch('fresh') IS NOT NULL AS watched;
INSERT INTO fresh VALUES (1, 'a');
ALTER TABLE fresh ADD COLUMN b integer DEFAULT 5;
UPDATE fresh SET a = 'b';
ALTER TABLE fresh RENAME COLUMN a TO z;
ALTER TABLE fresh RENAME TO fresher;
UPDATE fresher SET z = 'c';
ALTER TABLE fresher DROP COLUMN z;
ALTER TABLE fresher ALTER COLUMN b TYPE text;
UPDATE fresher SET b = '6';
CREATE SCHEMA away;
ALTER TABLE fresher SET SCHEMA away;
UPDATE away.fresher SET b = '7';
ALTER SCHEMA away RENAME TO gone;
UPDATE gone.fresher SET b = '8';
COMMIT;
SELECT * FROM new_events();
DROP SCHEMA gone CASCADE;

-- toasted values that an update does not touch; rows of 100 MB
CREATE TABLE big (id integer PRIMARY KEY, n integer, body text, kept text);
ALTER TABLE big ALTER COLUMN kept SET STORAGE EXTERNAL;
SELECT notify_watch('big') IS NOT NULL AS watched;
INSERT INTO big VALUES (1, 1, repeat('a', 1000000), repeat('k', 100000));
UPDATE big SET n = 2;
SELECT event->>'op' AS op, length(event->'new'->>'body'), length(event->'new'->>'kept'), length(event->'old'->>'body') FROM new_events() AS event;
INSERT INTO big VALUES (2, 1, repeat('ab', 50000000));
SELECT event->>'op' AS op, length(event->'new'->>'body'), md5(event->'new'->>'body') = md5(repeat('ab', 50000000)) AS same FROM new_events() AS event;

-- an event that cannot be: its key and a mark
INSERT INTO big (id, body) VALUES (3, repeat(E'\x01', 200000000));
SELECT * FROM new_events();
TRUNCATE big;
DROP TABLE big;

-- events with an id of their own: one transaction, many of them
SELECT notify_watch('orders') IS NOT NULL AS watched;
BEGIN;
INSERT INTO orders (id) SELECT g FROM generate_series(1000, 3999) AS g;
SAVEPOINT s;
INSERT INTO orders (id) SELECT g FROM generate_series(4000, 5000) AS g;
ROLLBACK TO s;
COMMIT;
SELECT count(*), min((event->'key'->>'id')::integer), max((event->'key'->>'id')::integer) FROM new_events() AS event;

-- messages
BEGIN;
SELECT notify_send('chat', '{"text": "hi",  "n": [1, 2]}');
INSERT INTO orders (id) VALUES (9001);
SELECT notify_send('chat', NULL);
COMMIT;
BEGIN;
SELECT notify_send('chat', '1');
ROLLBACK;
SELECT event::text FROM new_events() AS event WHERE event->>'op' = 'MESSAGE' OR event->'key'->>'id' = '9001';
SELECT notify_send(NULL, '1');
SELECT notify_send('', '1');
SELECT notify_send(repeat('x', 64), '1');
BEGIN READ ONLY;
SELECT notify_send('chat', '1');
ROLLBACK;
CREATE ROLE "regress ""notifyd\ {by}";
SET ROLE "regress ""notifyd\ {by}";
SELECT notify_send('chat', '"refused"');
RESET ROLE;
SELECT notify_grant('chat', '"regress ""notifyd\ {by}"', 'publish');
SET ROLE "regress ""notifyd\ {by}";
SELECT notify_send('chat', '{"by": "postgres"}');
RESET ROLE;
SELECT event::text FROM new_events() AS event;
SELECT notify_revoke('chat', '"regress ""notifyd\ {by}"');
DROP ROLE "regress ""notifyd\ {by}";

-- a writer without any privilege on notifyd, an apply worker's role
CREATE ROLE regress_notifyd_writer;
GRANT INSERT ON orders TO regress_notifyd_writer;
SELECT count(*) >= 0 AS seen FROM new_events();
SET ROLE regress_notifyd_writer;
INSERT INTO orders (id) VALUES (10001);
RESET ROLE;
SET session_replication_role = replica;
INSERT INTO orders (id) VALUES (10002);
RESET session_replication_role;
SELECT event->'key' AS key FROM new_events() AS event;

-- transactions that are prepared
BEGIN;
INSERT INTO orders (id) VALUES (10003);
PREPARE TRANSACTION 'notifyd';
-- should it have been prepared, nothing could go on
ROLLBACK PREPARED 'notifyd';
BEGIN;
SELECT notify_watch('orders', channel => 'prepared') IS NOT NULL AS watched;
PREPARE TRANSACTION 'notifyd';
ROLLBACK PREPARED 'notifyd';
BEGIN;
SELECT notify_grant('prepared', current_user::regrole);
PREPARE TRANSACTION 'notifyd';
ROLLBACK PREPARED 'notifyd';

-- a row of the log that an administrator has written anew is read still, where vacuum has cut its chain of versions short, too
INSERT INTO orders (id) VALUES (10004);
UPDATE notifyd.log_0 SET event = event WHERE id = (SELECT max(id) FROM notifyd.log_0);
VACUUM notifyd.log_0;
SELECT notify_fetch(max(id))->'key' AS key FROM notifyd.log_0;

DROP EXTENSION pg_notifyd;
DROP TABLE orders, seen;
DROP FUNCTION new_events, late, early;
DROP PROCEDURE p;
DROP ROLE regress_notifyd_writer;
