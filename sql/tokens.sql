-- Settings of tokens, and functions that need no keys. test/t/114_tokens.pl has the tokens.

CREATE EXTENSION pg_notifyd;

-- What is wrong is refused, and no message contains a secret.
ALTER SYSTEM SET pg_notifyd.jwt_secret = 'too short';
ALTER SYSTEM SET pg_notifyd.jwt_secret = '/etc/postgresql/secret_of_tokens.txt';
ALTER SYSTEM SET pg_notifyd.jwt_secret = '@no/such/file';
ALTER SYSTEM SET pg_notifyd.jwt_secret = '@base';
ALTER SYSTEM SET pg_notifyd.jwt_secret = '@PG_VERSION';
ALTER SYSTEM SET pg_notifyd.jwt_secret = '{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}';
ALTER SYSTEM SET pg_notifyd.jwt_keys = 'no/such/file';
ALTER SYSTEM SET pg_notifyd.jwt_keys = 'PG_VERSION';
ALTER SYSTEM SET pg_notifyd.jwt_role_claim = '';
ALTER SYSTEM SET pg_notifyd.jwt_role_claim = 'a..b';
ALTER SYSTEM SET pg_notifyd.jwt_role_claim = '$.a[x]';
ALTER SYSTEM SET pg_notifyd.jwt_role_claim = '."a';
ALTER SYSTEM SET pg_notifyd.jwt_role_claim = '$';
ALTER SYSTEM SET pg_notifyd.jwt_role_claim = 'https://shop.example/role';
ALTER SYSTEM SET pg_notifyd.authenticator_role = 'a23456789a23456789a23456789a23456789a23456789a23456789a23456789a23456789';
SET pg_notifyd.jwt_secret = 'a secret with more than 32 bytes, for this session';

SELECT name, setting, boot_val, reset_val, context FROM pg_settings
WHERE name IN ('pg_notifyd.jwt_secret', 'pg_notifyd.jwt_keys', 'pg_notifyd.jwt_audience', 'pg_notifyd.jwt_role_claim', 'pg_notifyd.jwt_max_lifetime',
	'pg_notifyd.authenticator_role')
ORDER BY name COLLATE "C";

CREATE ROLE regress_tokens;
SET ROLE regress_tokens;
SELECT name FROM pg_settings WHERE name LIKE 'pg\_notifyd.jwt%' OR name = 'pg_notifyd.authenticator_role';
\set VERBOSITY sqlstate
SHOW pg_notifyd.jwt_secret;
SHOW pg_notifyd.authenticator_role;
\set VERBOSITY default
SELECT notify_verify('a.b.c');
SELECT notify_claims();
RESET ROLE;
DROP ROLE regress_tokens;

SELECT notify_verify(NULL);
SELECT notify_verify('');
SELECT notify_verify(repeat('A', 8193));
SELECT notify_verify('eyJhbGciOiJub25lIn0.e30.');
SELECT notify_verify('eyJhbGciOiJIUzI1NiJ9.e30.AAAA');

-- Claims, as the requests of clients set them
SELECT notify_claims();
BEGIN;
SET LOCAL request.jwt.claims = '{"sub": "7", "role": "app"}';
SELECT notify_claims(), notify_claims() ->> 'sub' AS sub;
COMMIT;
SELECT notify_claims() IS NULL AS empty;
SET request.jwt.claims = 'no json';
SELECT notify_claims();
RESET request.jwt.claims;

DROP EXTENSION pg_notifyd;
