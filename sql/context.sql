-- pg_notifyd.context: JSON that the application adds to its transactions' events.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

\getenv source PG_ABS_SRCDIR
\set file :source '/test/lib/new_events.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE TABLE orders (id integer PRIMARY KEY, price numeric);
SELECT notify_watch('orders') IS NOT NULL AS watched;

-- each event has the context of its statement
BEGIN;
INSERT INTO orders VALUES (1, 1);
SET LOCAL pg_notifyd.context = '{"user": 7}';
INSERT INTO orders VALUES (2, 2);
UPDATE orders SET price = 3 WHERE id = 2;
SELECT notify_send('news', '"hello"') IS NOT NULL AS sent;
SAVEPOINT s;
SET LOCAL pg_notifyd.context = '[1, "é", null]';
DELETE FROM orders WHERE id = 2;
ROLLBACK TO s;
DELETE FROM orders WHERE id = 1;
TRUNCATE orders;
COMMIT;
INSERT INTO orders VALUES (1, 1);
SELECT * FROM new_events();

-- for the session; members of large transactions have it too
SET pg_notifyd.context = '{"job": "nightly \u00e9"}';
INSERT INTO orders SELECT i, i FROM generate_series(10, 2009) AS i;
SELECT count(*), min(e ->> 'context'), max(e ->> 'context') FROM new_events() AS e;
SET pg_notifyd.context = '';
DELETE FROM orders WHERE id = 1;
SELECT * FROM new_events();

-- what is no JSON is refused, and the old value stays
SET pg_notifyd.context = '{"user": 7}';
SET pg_notifyd.context = '{"user": 7';
SET pg_notifyd.context = 'x';
SET pg_notifyd.context = '"a" , "injected": 1';
SET pg_notifyd.context = '"\u0000"';
SELECT length(set_config('pg_notifyd.context', '"' || repeat('x', 4094) || '"', true));
DO $$
BEGIN
	PERFORM set_config('pg_notifyd.context', '"' || repeat('x', 4095) || '"', true);
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE WARNING '% bytes stay', length(current_setting('pg_notifyd.context'));
END
$$;
SET pg_notifyd.context = '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]';
SHOW pg_notifyd.context;

-- any role can set it
CREATE ROLE regress_notifyd_context;
GRANT INSERT ON orders TO regress_notifyd_context;
SET ROLE regress_notifyd_context;
SET pg_notifyd.context = '{"user": 8}';
INSERT INTO orders VALUES (3, 3);
RESET ROLE;
SELECT * FROM new_events();

REVOKE INSERT ON orders FROM regress_notifyd_context;
DROP ROLE regress_notifyd_context;
DROP TABLE orders;
DROP EXTENSION pg_notifyd;
DROP TABLE seen;
DROP FUNCTION new_events();
