-- Users of WAMP-CRA. test/t/237_wamp_cra.pl has their sessions.

CREATE EXTENSION pg_notifyd;
CREATE ROLE regress_wamp_role;
CREATE ROLE regress_wamp_owner;

-- The default for dumps of the database's owner, before there are users
SELECT has_table_privilege('pg_database_owner', 'notifyd.wamp_user', 'SELECT');

-- The settings of this server name no role that could become this one.
SELECT notify_wamp_user('joe', 'regress_wamp_role', 'a secret');
SET client_min_messages = error;
SELECT notify_wamp_user('jim', 'regress_wamp_role', 'a secret', 2000);
SELECT authid, role, iterations, keylen, length(salt), length(key) FROM notifyd.wamp_user ORDER BY authid;
SELECT count(DISTINCT salt), count(DISTINCT key) FROM notifyd.wamp_user;
SELECT has_table_privilege('pg_database_owner', 'notifyd.wamp_user', 'SELECT');

-- Each change of a user makes another salt.
SELECT salt AS old FROM notifyd.wamp_user WHERE authid = 'joe' \gset
SELECT notify_wamp_user('joe', 'regress_wamp_role', 'another secret', 1000);
SELECT iterations, salt <> :'old' AS changed FROM notifyd.wamp_user WHERE authid = 'joe';
SELECT iterations FROM notifyd.wamp_user WHERE authid = '';

-- What is wrong is refused.
SELECT notify_wamp_user('', 'regress_wamp_role', 'a secret');
SELECT notify_wamp_user(repeat('x', 256), 'regress_wamp_role', 'a secret');
SELECT notify_wamp_user('jack', 'regress_wamp_role', '');
SELECT notify_wamp_user('jack', 'regress_wamp_role', 'a secret', 999);
SELECT notify_wamp_user('jack', 'regress_wamp_role', 'a secret', 1000001);
SELECT notify_wamp_user('jack', 0, 'a secret');
SELECT notify_wamp_user('jack', 'no such role', 'a secret');
SELECT notify_wamp_user(NULL, 'regress_wamp_role', 'a secret');
SELECT notify_wamp_user('jack', NULL, 'a secret');
SELECT notify_wamp_user('jack', 'regress_wamp_role', NULL);
SELECT notify_wamp_user('jack', 'regress_wamp_role', 'a secret', NULL);

SET ROLE regress_wamp_owner;
SELECT notify_wamp_user('jack', 'regress_wamp_role', 'a secret');
SELECT notify_wamp_user_drop('joe');
SELECT authid FROM notifyd.wamp_user;
RESET ROLE;

SELECT notify_wamp_user_drop('jim'), notify_wamp_user_drop('jim'), notify_wamp_user_drop(''), notify_wamp_user_drop(NULL);
BEGIN;
SELECT notify_wamp_user_drop('joe');
ROLLBACK;
SELECT authid FROM notifyd.wamp_user ORDER BY authid;
BEGIN READ ONLY;
SELECT notify_wamp_user_drop('joe');
ROLLBACK;

DROP EXTENSION pg_notifyd;
DROP ROLE regress_wamp_role, regress_wamp_owner;
