-- notify_grant() with patterns: who has which privilege on which name, and what grants show.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;
CREATE ROLE regress_notifyd_web;
CREATE ROLE regress_notifyd_app;
CREATE ROLE regress_notifyd_owner;
GRANT CREATE ON SCHEMA public TO regress_notifyd_owner;

-- Whether the role may publish to each of these channels.
CREATE FUNCTION may_publish(role regrole, VARIADIC channels text[]) RETURNS TABLE (channel text, allowed boolean)
	LANGUAGE plpgsql AS $$
BEGIN
	FOREACH channel IN ARRAY channels LOOP
		allowed := true;
		BEGIN
			EXECUTE format('SET LOCAL ROLE %s', role);
			PERFORM notify_send(channel, '1');
			RESET ROLE;
		EXCEPTION WHEN insufficient_privilege THEN
			allowed := false;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;

-- prefixes and wildcards
SELECT notify_grant('com.shop.*', 'regress_notifyd_web', 'publish');
SELECT notify_grant('org..orders', 'regress_notifyd_web', 'publish');
SELECT * FROM may_publish('regress_notifyd_web', 'com.shop.news', 'com.shop.a.b', 'com.shop', 'com.shops.a', 'com.shop.*',
	'org.a.orders', 'org..orders', 'org.a.b.orders', 'org.orders');
SELECT * FROM may_publish('regress_notifyd_app', 'com.shop.news');
GRANT regress_notifyd_web TO regress_notifyd_app;
SELECT * FROM may_publish('regress_notifyd_app', 'com.shop.news');
SELECT * FROM notifyd.grants ORDER BY channel COLLATE "C", privilege, match;

-- the most specific grant of a role decides
SELECT notify_grant('com.shop.secret', 'regress_notifyd_web', 'subscribe');
SELECT notify_grant('com..secret', 'regress_notifyd_web', 'publish');
SELECT notify_grant('com.shop.open.*', 'regress_notifyd_web', 'call');
SELECT notify_grant('com.shop.open.b', 'regress_notifyd_web', 'publish');
SELECT notify_grant('com.shop..x', 'regress_notifyd_web', 'register');
SELECT * FROM may_publish('regress_notifyd_web', 'com.shop.secret', 'com.other.secret', 'com.shop.open.a', 'com.shop.open.b', 'com.shop.a.x',
	'com.shop.a.y');
-- a consumer group of the name does not matter
SELECT notify_grant('com.shop.news', 'regress_notifyd_web', 'consume');
SELECT * FROM may_publish('regress_notifyd_web', 'com.shop.news');
-- a member has what any of its roles has
SELECT notify_grant('com.shop.secret', 'regress_notifyd_app', 'call');
SELECT notify_grant('com.shop.secret.*', 'regress_notifyd_app', 'publish');
SELECT notify_grant('com.shop.s', 'regress_notifyd_app', 'publish');
SELECT * FROM may_publish('regress_notifyd_app', 'com.shop.secret', 'com.shop.secret.a', 'com.shop.s', 'com.shop.news');
SELECT * FROM may_publish('regress_notifyd_web', 'com.shop.secret.a');

-- everything
SELECT notify_grant('*', 'regress_notifyd_app', 'publish');
SELECT * FROM may_publish('regress_notifyd_app', 'a', 'com.shop.secret');
SELECT notify_revoke('*', 'regress_notifyd_app');
SELECT * FROM may_publish('regress_notifyd_app', 'a');

-- patterns that are none, and names that look like patterns
SELECT notify_grant('com.*.orders', 'regress_notifyd_web');
SELECT notify_grant('com..*', 'regress_notifyd_web');
SELECT notify_grant('com.shop', 'regress_notifyd_web', pattern => true);
SELECT notify_grant('jobs.*', 'regress_notifyd_web', 'consume', pattern => true);
SELECT notify_grant('jobs.*', 'regress_notifyd_web', 'consume');
SELECT notify_grant('net.a.*', 'regress_notifyd_web', 'publish', pattern => false);
SELECT notify_grant('net.*.b', 'regress_notifyd_web', 'publish', pattern => false);
SELECT * FROM may_publish('regress_notifyd_web', 'net.a.*', 'net.a.b', 'net.*.b');
SELECT notify_grant('net.a.*', 'regress_notifyd_web', 'publish');
SELECT * FROM may_publish('regress_notifyd_web', 'net.a.*', 'net.a.b');
SELECT * FROM notifyd.grants WHERE channel ~ '^(jobs|net)' ORDER BY channel COLLATE "C", match;
SELECT notify_revoke('net.a.*', 'regress_notifyd_web', pattern => true);
SELECT * FROM may_publish('regress_notifyd_web', 'net.a.*', 'net.a.b');
SELECT notify_grant('net.a.*', 'regress_notifyd_web', 'publish');
SELECT notify_revoke('net.a.*', 'regress_notifyd_web');
SELECT * FROM may_publish('regress_notifyd_web', 'net.a.*', 'net.a.b');

-- the session itself sees its changes, until they are rolled back
BEGIN;
SELECT notify_grant('edu.*', 'regress_notifyd_web', 'publish');
SELECT * FROM may_publish('regress_notifyd_web', 'edu.a');
SAVEPOINT s;
SELECT notify_revoke('edu.*', 'regress_notifyd_web');
SELECT * FROM may_publish('regress_notifyd_web', 'edu.a');
ROLLBACK TO s;
SELECT * FROM may_publish('regress_notifyd_web', 'edu.a');
ROLLBACK;
SELECT * FROM may_publish('regress_notifyd_web', 'edu.a');
-- also statements on the table, as those of a dump
INSERT INTO notifyd.channel_grant VALUES ('edu.*', 'regress_notifyd_web', 'publish', true), ('edu.*.b', 'regress_notifyd_web', 'publish', true);
SELECT * FROM may_publish('regress_notifyd_web', 'edu.a', 'edu.*.b', 'edu.a.b');
DELETE FROM notifyd.channel_grant WHERE channel ~ 'edu';
SELECT * FROM may_publish('regress_notifyd_web', 'edu.a');
-- as those of version 1.0, whose grants are on names
INSERT INTO notifyd.channel_grant (channel, role) VALUES ('edu.*', 'regress_notifyd_web');
SELECT match FROM notifyd.grants WHERE channel = 'edu.*';

-- who may watch a table on a channel that a pattern matches; "*" reserves no channel
SELECT notify_grant('*', 'regress_notifyd_web');
SET ROLE regress_notifyd_owner;
CREATE TABLE owned (id integer PRIMARY KEY);
SELECT notify_watch('owned', channel => 'com.shop.owned');
SELECT notify_watch('owned', channel => 'com.shop.open.owned') IS NOT NULL AS watched;
SELECT notify_watch('owned', channel => 'uk.owned') IS NOT NULL AS watched;
DROP TABLE owned;
RESET ROLE;

-- rows of roles that were dropped have no effect, not even for superusers, and the next call removes them
SELECT notify_grant('gone.*', 'regress_notifyd_app', 'publish');
DROP OWNED BY regress_notifyd_app;
DROP ROLE regress_notifyd_app;
SELECT notify_grant('gone', 'regress_notifyd_web', 'register');
SELECT count(*) FROM notifyd.channel_grant WHERE channel = 'gone.*';
SELECT notify_grant('x', 'regress_notifyd_web', 'own');

DROP FUNCTION may_publish;
DROP EXTENSION pg_notifyd;
DROP OWNED BY regress_notifyd_owner;
DROP ROLE regress_notifyd_web, regress_notifyd_owner;
