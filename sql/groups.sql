-- Consumer groups: definitions, and what one session sees of taking. Concurrency: isolation specs; processes and crashes: t/200.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;
CREATE TABLE jobs (id integer PRIMARY KEY, v text);
CREATE TABLE other (id integer PRIMARY KEY);
SELECT notify_watch('jobs') IS NOT NULL AND notify_watch('other') IS NOT NULL AS watched;

-- arguments
SELECT notify_group(NULL, '{jobs}');
SELECT notify_group('', '{jobs}');
SELECT notify_group('g', '{}');
SELECT notify_group('g', '{jobs,NULL}');
SELECT notify_group('g', '{jobs}', lease => '0');
SELECT notify_group('g', '{jobs}', max_attempts => 0);
SELECT notify_group('g', '{jobs}', since => 'x');
SELECT notify_group('g', '{jobs}', since => '1-1');
SELECT notify_group('g', '{jobs}', ordered => 'time');
SELECT notify_take('g');
SELECT notify_ack('g', '{1}');
SELECT notify_ungroup('g');
SELECT notify_group('g', '{jobs}');
SELECT notify_group('two', '{jobs,other}', ordered => 'key');
SELECT notify_take('g', 0);
SELECT notify_take('g', 8193);
SELECT notify_take('g', NULL);
SELECT notify_ack('g', NULL);
SELECT notify_nack('g', '{1}', delay => NULL);
SELECT name, channels, ordered, extract(epoch FROM lease) AS lease, max_attempts FROM notifyd.groups ORDER BY name;

-- COMMIT acknowledges, ROLLBACK gives back; a group begins when it is defined; groups are independent
CREATE FUNCTION take(name text, count integer DEFAULT 1, hold boolean DEFAULT false, OUT attempt integer, OUT op text, OUT key json)
	RETURNS SETOF record LANGUAGE sql AS $$
	SELECT attempt, event ->> 'op', event -> 'key' FROM notify_take(name, count, hold) $$;
INSERT INTO jobs SELECT i FROM generate_series(1, 5) AS i;
INSERT INTO other VALUES (1);
SELECT * FROM take('g', 2);
BEGIN;
SELECT * FROM take('g', 2);
ROLLBACK;
SELECT * FROM take('g', 10);
SELECT * FROM take('g', 10);
SELECT * FROM take('two', 10);
SELECT notify_group('late', '{jobs}');
SELECT * FROM take('late', 10);

-- savepoints
INSERT INTO jobs SELECT i FROM generate_series(11, 13) AS i;
BEGIN;
SELECT * FROM take('g');
SAVEPOINT s;
SELECT * FROM take('g');
ROLLBACK TO s;
SAVEPOINT t;
SELECT * FROM take('g');
RELEASE t;
SELECT * FROM take('g');
SELECT pending, claimed, acknowledged FROM notifyd.groups WHERE name = 'g';
COMMIT;
SELECT * FROM take('g', 10);
-- an error that is caught
INSERT INTO jobs VALUES (21);
DO $$
BEGIN
	PERFORM take('g');
	RAISE EXCEPTION 'no';
EXCEPTION WHEN raise_exception THEN
	NULL;
END
$$;
SELECT * FROM take('g');

-- the effect and the acknowledgement are one; the transaction's own events have their numbers
CREATE TABLE effects (id integer PRIMARY KEY);
SELECT notify_watch('effects', channel => 'effects') IS NOT NULL AS watched;
SELECT notify_group('effects', '{effects}');
INSERT INTO jobs VALUES (31), (32);
BEGIN;
INSERT INTO effects SELECT (key ->> 'id')::integer FROM take('g', 2);
COMMIT;
SELECT event -> 'seq' AS seq, event -> 'of' AS of, event -> 'key' AS key FROM notify_take('effects', 9);
-- a large transaction, taken in pieces
INSERT INTO jobs SELECT i FROM generate_series(1001, 2000) AS i;
SELECT count(*), min((key ->> 'id')::integer), max((key ->> 'id')::integer) FROM take('g', 300);
SELECT count(*), min((key ->> 'id')::integer), max((key ->> 'id')::integer) FROM take('g', 300);
BEGIN;
INSERT INTO effects SELECT (key ->> 'id')::integer FROM take('g', 1000);
COMMIT;
SELECT count(*), min(event ->> 'of') AS of, max((event ->> 'seq')::integer) AS seq FROM notify_take('effects', 1000);
SELECT * FROM take('g', 10);
-- only rows for consumers and events are in the log
SELECT DISTINCT op FROM notifyd.log_0 ORDER BY op;
-- such a row is no event
SELECT notify_fetch(id) FROM notifyd.log_0 WHERE op = 'A' LIMIT 1;

-- leases
SELECT notify_ungroup('late'), notify_ungroup('effects');
SELECT notify_group('g', '{jobs}', lease => '1h', max_attempts => 2);
INSERT INTO jobs SELECT i FROM generate_series(41, 43) AS i;
SELECT array_agg(id) AS ids FROM notify_take('g', 2, hold => true) \gset
SELECT pending, leased FROM notifyd.groups WHERE name = 'g';
BEGIN;
SELECT notify_ack('g', :'ids');
SELECT notify_ack('g', :'ids');
ROLLBACK;
SELECT pending, leased FROM notifyd.groups WHERE name = 'g';
SELECT notify_ack('g', (:'ids'::bigint[])[1:1]);
SELECT notify_ack('g', :'ids');
SELECT notify_ack('g', :'ids'), notify_nack('g', :'ids');
-- given back at once, and after a delay
SELECT array_agg(id) AS ids FROM notify_take('g', 2, hold => true) \gset
SELECT notify_nack('g', :'ids');
SELECT notify_ack('g', :'ids');
SELECT * FROM take('g', 1);
INSERT INTO jobs VALUES (44);
SELECT array_agg(id) AS ids FROM notify_take('g', 1, hold => true) \gset
SELECT notify_nack('g', :'ids', delay => '1h');
SELECT * FROM take('g', 1);
SELECT pending, leased, delayed FROM notifyd.groups WHERE name = 'g';
-- a transaction that is rolled back leases nothing
INSERT INTO jobs VALUES (45);
BEGIN;
SELECT * FROM take('g', 1, hold => true);
ROLLBACK;
SELECT pending, leased, delayed FROM notifyd.groups WHERE name = 'g';

-- PREPARE TRANSACTION, read-only transactions, a definition that is not committed
SELECT notify_group('g', '{jobs}', lease => '1h');
BEGIN;
SELECT * FROM take('g', 1);
PREPARE TRANSACTION 'x';
BEGIN READ ONLY;
SELECT * FROM take('g', 1);
ROLLBACK;
BEGIN;
SELECT notify_group('new', '{jobs}');
SELECT notify_take('new');
ROLLBACK;
SELECT notify_take('new');

-- ordered: the events of a key, one after the other
SELECT notify_group('two', '{jobs,other}', ordered => 'key', since => (SELECT "position" FROM notifyd.groups WHERE name = 'g'));
SELECT count(*) FROM take('two', 1000);
INSERT INTO jobs VALUES (51), (52);
UPDATE jobs SET v = 'a' WHERE id = 51;
SELECT notify_send('other', '1') IS NOT NULL, notify_send('other', '2') IS NOT NULL;
SELECT array_agg(id) AS ids FROM notify_take('two', 1, hold => true) \gset
SELECT array_agg(id) AS more FROM notify_take('two', 1, hold => true) \gset
SELECT * FROM take('two', 10);
SELECT notify_ack('two', :'ids');
SELECT * FROM take('two', 10);
-- one that is given back takes along what was delivered behind it
UPDATE jobs SET v = 'b' WHERE id = 51;
UPDATE jobs SET v = 'c' WHERE id = 51;
SELECT array_agg(id ORDER BY "position") AS ids FROM notify_take('two', 2, hold => true) \gset
SELECT notify_nack('two', (:'ids'::bigint[])[1:1]);
SELECT notify_ack('two', :'ids');
SELECT attempt, event #>> '{new,v}' AS v FROM notify_take('two', 10);

-- privileges
CREATE ROLE regress_notifyd_worker;
SET ROLE regress_notifyd_worker;
SELECT notify_group('mine', '{jobs}');
SELECT notify_take('g');
SELECT name FROM notifyd.groups;
RESET ROLE;
SELECT notify_grant('g', 'regress_notifyd_worker', 'consume');
SET ROLE regress_notifyd_worker;
SELECT name FROM notifyd.groups;
-- what the role may not read stays for others
SELECT * FROM take('g');
SELECT notify_ungroup('g');
RESET ROLE;
GRANT SELECT (id) ON jobs TO regress_notifyd_worker;
SET ROLE regress_notifyd_worker;
SELECT * FROM take('g');
RESET ROLE;
GRANT SELECT ON jobs TO regress_notifyd_worker;
SET ROLE regress_notifyd_worker;
SELECT * FROM take('g');
RESET ROLE;
SELECT notify_revoke('g', 'regress_notifyd_worker');
SET ROLE regress_notifyd_worker;
SELECT notify_take('g');
RESET ROLE;
-- the owner of the table
ALTER TABLE other OWNER TO regress_notifyd_worker;
SET ROLE regress_notifyd_worker;
SELECT notify_group('mine', '{other}');
SELECT notify_group('g', '{other}');
INSERT INTO other VALUES (7);
SELECT * FROM take('mine');
SELECT notify_ungroup('mine');
RESET ROLE;

-- nothing stays
SELECT notify_ungroup('g'), notify_ungroup('two'), notify_ungroup('two');
SELECT count(*) FROM notifyd.consumer_group;
SELECT count(*) FROM notifyd.group_state;
DROP EXTENSION pg_notifyd CASCADE;
CREATE EXTENSION pg_notifyd;
SELECT notify_group('g', '{jobs}');
SELECT * FROM notify_take('g');
DROP EXTENSION pg_notifyd CASCADE;
DROP TABLE jobs, other, effects;
DROP FUNCTION take;
DROP ROLE regress_notifyd_worker;
