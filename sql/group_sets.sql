-- Consumer groups: filters, and row security of the role that takes.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;
CREATE ROLE regress_notifyd_boss;
CREATE ROLE regress_notifyd_red;
CREATE ROLE regress_notifyd_blue;
CREATE TABLE jobs (id integer PRIMARY KEY, status text, tenant text, secret text);
ALTER TABLE jobs OWNER TO regress_notifyd_boss;
SELECT notify_watch('jobs') IS NOT NULL AS watched;
CREATE FUNCTION take(name text, count integer DEFAULT 100, OUT op text, OUT cause text, OUT id text, OUT old text, OUT new text)
	RETURNS SETOF record LANGUAGE sql AS $$
	SELECT event ->> 'op', event ->> 'cause', event #>> '{key,id}', event #>> '{old,status}', event #>> '{new,status}'
	FROM notify_take(name, count) $$;

-- errors
SET ROLE regress_notifyd_boss;
SELECT notify_group('g', '{jobs}', filter => 'status=');
SELECT notify_group('g', '{jobs}', filter => 'state=eq.paid');
SELECT notify_group('g', '{jobs}', filter => 'id=eq.x');
RESET ROLE;
SET ROLE regress_notifyd_red;
SELECT notify_group('g', '{jobs}', filter => 'status=eq.paid');
RESET ROLE;
CREATE TABLE hidden (id integer PRIMARY KEY, v integer);
SELECT notify_watch('hidden', channel => 'jobs') IS NOT NULL AS watched;
-- the owner of the group needs the columns of the filter
SET ROLE regress_notifyd_boss;
SELECT notify_group('g', '{jobs}', filter => 'v=eq.1');
RESET ROLE;
SELECT notify_unwatch('hidden', 'jobs');
DROP TABLE hidden;

-- entering, staying, leaving, as for subscribers
SET ROLE regress_notifyd_boss;
SELECT notify_group('paid', '{jobs}', filter => 'status=eq.paid');
SELECT notify_group('all', '{jobs}');
INSERT INTO jobs VALUES (1, 'new', 'red'), (2, 'paid', 'blue');
UPDATE jobs SET status = 'paid' WHERE id = 1;
UPDATE jobs SET secret = 'x' WHERE id = 1;
UPDATE jobs SET status = 'sent' WHERE id = 1;
UPDATE jobs SET status = 'gone' WHERE id = 1;
DELETE FROM jobs WHERE id = 1;
DELETE FROM jobs WHERE id = 2;
SELECT * FROM take('paid');
SELECT op, id FROM take('all');
-- what the filter leaves out does not count
SELECT pending, claimed FROM notifyd.groups WHERE name = 'paid';
-- a filter for the messages of a channel
RESET ROLE;
SELECT notify_group('messages', '{news}', filter => 'payload->>kind=eq.a');
SELECT notify_send('news', '{"kind": "a", "n": 1}') IS NOT NULL, notify_send('news', '{"kind": "b", "n": 2}') IS NOT NULL;
SELECT event -> 'payload' AS payload FROM notify_take('messages', 10);

-- row security: each gets what it may see, the rest stays
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON jobs TO regress_notifyd_red, regress_notifyd_blue
	USING (tenant = replace(current_user, 'regress_notifyd_', '') OR tenant = NULLIF(current_setting('request.jwt.claims', true), '')::json ->> 'tenant');
GRANT SELECT ON jobs TO regress_notifyd_red, regress_notifyd_blue;
SELECT notify_grant('all', 'regress_notifyd_red', 'consume'), notify_grant('all', 'regress_notifyd_blue', 'consume'),
	notify_grant('paid', 'regress_notifyd_red', 'consume');
SET ROLE regress_notifyd_boss;
INSERT INTO jobs VALUES (11, 'new', 'red'), (12, 'new', 'blue'), (13, 'new', 'red'), (14, 'new', 'green');
UPDATE jobs SET tenant = 'blue', status = 'moved' WHERE id = 13;
RESET ROLE;
SET ROLE regress_notifyd_red;
SELECT * FROM take('all');
RESET ROLE;
SET ROLE regress_notifyd_blue;
SELECT * FROM take('all');
SELECT current_user, session_user = current_user AS same;
-- claims of the session count
BEGIN;
SET LOCAL "request.jwt.claims" = '{"tenant": "green"}';
SELECT * FROM take('all');
ROLLBACK;
SELECT pending, claimed FROM notifyd.groups WHERE name = 'all';
SELECT * FROM take('all');
RESET ROLE;
SELECT op, id FROM take('all');
-- a leaving row shows nothing new, an entering one nothing old
SET ROLE regress_notifyd_boss;
INSERT INTO jobs VALUES (21, 'a', 'red');
UPDATE jobs SET tenant = 'blue', status = 'b' WHERE id = 21;
UPDATE jobs SET tenant = 'red', status = 'c' WHERE id = 21;
RESET ROLE;
SET ROLE regress_notifyd_red;
SELECT * FROM take('all');
RESET ROLE;
-- filter and row security together
SET ROLE regress_notifyd_boss;
INSERT INTO jobs VALUES (31, 'paid', 'red'), (32, 'paid', 'blue'), (33, 'new', 'red');
RESET ROLE;
SET ROLE regress_notifyd_red;
SELECT * FROM take('paid');
RESET ROLE;
SELECT * FROM take('paid');
-- a policy that fails hides the row, and ends nothing
CREATE FUNCTION fail(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
DROP POLICY mine ON jobs;
CREATE POLICY broken ON jobs TO regress_notifyd_red USING (fail(tenant));
SET ROLE regress_notifyd_red;
SELECT * FROM take('all');
RESET ROLE;
-- resets and TRUNCATE come to everybody
DROP POLICY broken ON jobs;
SELECT count(*) FROM take('all');
TRUNCATE jobs;
SET ROLE regress_notifyd_red;
SELECT * FROM take('all');
RESET ROLE;

SELECT notify_ungroup('all'), notify_ungroup('paid'), notify_ungroup('messages');
DROP EXTENSION pg_notifyd CASCADE;
DROP TABLE jobs;
DROP FUNCTION take, fail;
DROP ROLE regress_notifyd_boss, regress_notifyd_red, regress_notifyd_blue;
