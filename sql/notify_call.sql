-- notify_call(): its arguments, privileges, and procedures that nobody has registered. Calls are in test/t/238_notify_call.pl.
CREATE EXTENSION pg_notifyd;
CREATE ROLE regress_notifyd_caller;

SELECT notify_call(NULL);
SELECT notify_call('');
SELECT notify_call('no name');
SELECT notify_call('com..a');
SELECT notify_call(repeat('x', 256));
SELECT notify_call('com.a', '{}');
SELECT notify_call('com.a', '1');
SELECT notify_call('com.a', kwargs => '[]');
SELECT notify_call('com.a', timeout => '0');
SELECT notify_call('com.a', timeout => '-1 month');
SELECT notify_call('com.a', json_build_array(repeat('x', 2000000)));

-- nobody has registered it, whatever the arguments
SELECT notify_call('com.a');
SELECT notify_call('com.a', NULL, NULL, NULL);
SELECT notify_call('com.a', ' [1]', ' { "a" : 1}', '100000000 years');

-- privileges
SET ROLE regress_notifyd_caller;
SELECT notify_call('com.a');
RESET ROLE;
SELECT notify_grant('com.*', 'regress_notifyd_caller', 'call'), notify_grant('com.b', 'regress_notifyd_caller', 'register');
SET ROLE regress_notifyd_caller;
SELECT notify_call('com.a');
SELECT notify_call('com.b');
RESET ROLE;

-- PL/pgSQL can catch it
DO $$
BEGIN
	PERFORM notify_call('com.a');
EXCEPTION WHEN undefined_function THEN
	RAISE NOTICE 'caught';
END $$;

DROP EXTENSION pg_notifyd;
DROP ROLE regress_notifyd_caller;
