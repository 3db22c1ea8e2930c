-- What doc/migrations.md says of migrations, tried.
CREATE EXTENSION pg_notifyd;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE VIEW w AS SELECT relation, channel, ops, cols, key, update_of, condition, state FROM notifyd.watches ORDER BY id;
CREATE TABLE orders (id integer PRIMARY KEY, status text, price integer, note text);
SELECT notify_watch('orders', cols => '{id,status,price}', update_of => '{status,price}') IS NOT NULL AS watched;

-- a table in the place of another
CREATE TABLE orders_new (LIKE orders INCLUDING ALL);
BEGIN;
LOCK TABLE orders;
INSERT INTO orders_new SELECT * FROM orders;
ALTER TABLE orders RENAME TO orders_old;
ALTER TABLE orders_new RENAME TO orders;
SELECT notify_watch('orders', cols => '{id,status,price}', update_of => '{status,price}') IS NOT NULL AS watched;
SELECT notify_unwatch('orders_old');
COMMIT;
DROP TABLE orders_old;
SELECT * FROM w;
SELECT * FROM new_events();

-- columns that are dropped: as Django does it, and as PostgreSQL does by default
ALTER TABLE orders DROP COLUMN note CASCADE;
ALTER TABLE orders DROP COLUMN price;
ALTER TABLE orders DROP COLUMN price CASCADE;
SELECT * FROM w;

-- conditions
ALTER TABLE orders ADD COLUMN price integer;
SELECT notify_watch('orders', 'update', condition => 'OLD.price IS DISTINCT FROM NEW.price') IS NOT NULL AS watched;
ALTER TABLE orders RENAME COLUMN price TO cost;
SELECT condition FROM w;
SELECT notify_watch('orders', 'update', condition => 'OLD.price IS DISTINCT FROM NEW.price');
SELECT notify_watch('orders', 'update', condition => 'OLD.cost IS DISTINCT FROM NEW.cost') IS NOT NULL AS watched;

-- a column of another type, where a condition uses it
ALTER TABLE orders ALTER COLUMN cost TYPE numeric;
BEGIN;
SELECT notify_watch('orders', 'update') IS NOT NULL AS watched;
ALTER TABLE orders ALTER COLUMN cost TYPE numeric;
SELECT notify_watch('orders', 'update', condition => 'OLD.cost IS DISTINCT FROM NEW.cost') IS NOT NULL AS watched;
COMMIT;
SELECT * FROM w;
SELECT * FROM new_events();

-- a column of another type, in small steps
INSERT INTO orders VALUES (1, 'new', 10), (2, 'new', 20);
SELECT notify_watch('orders', cols => '{id,cost}') IS NOT NULL AS watched;
ALTER TABLE orders ADD COLUMN cost_new bigint;
UPDATE orders SET cost_new = cost;
BEGIN;
ALTER TABLE orders RENAME COLUMN cost TO cost_old;
ALTER TABLE orders RENAME COLUMN cost_new TO cost;
SELECT cols FROM w;
SELECT notify_watch('orders', cols => '{id,cost}') IS NOT NULL AS watched;
SELECT cols FROM w;
COMMIT;
ALTER TABLE orders DROP COLUMN cost_old;
SELECT * FROM new_events();

-- another primary key
ALTER TABLE orders ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE orders DROP CONSTRAINT orders_new_pkey, ADD PRIMARY KEY (number);
SELECT notify_watch('orders') IS NOT NULL AS watched;
ALTER TABLE orders DROP COLUMN id;
UPDATE orders SET status = 'paid' WHERE number = 1;
SELECT * FROM new_events();

-- the same in two statements
ALTER TABLE orders DROP CONSTRAINT orders_pkey;
SELECT state FROM w;
ALTER TABLE orders ADD PRIMARY KEY (number);
SELECT state FROM w;
SELECT event->>'op' AS op, event->>'reason' AS reason FROM new_events() AS event;

-- triggers that are disabled for a load
BEGIN;
ALTER TABLE orders DISABLE TRIGGER USER;
UPDATE orders SET status = 'loaded';
ALTER TABLE orders ENABLE TRIGGER USER;
COMMIT;
SELECT state FROM w;
SELECT event->>'op' AS op, event->>'reason' AS reason FROM new_events() AS event;

DROP VIEW w;
DROP TABLE orders, seen;
DROP EXTENSION pg_notifyd;
DROP FUNCTION new_events;
