# What one client's query leaves in the worker's session reaches no query of another client.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => ['member', 'other'], conf => <<"EOC");
pg_notifyd.query_workers = 1
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	ALTER ROLE authenticator SET work_mem = '5MB';
	CREATE SCHEMA app;
	GRANT USAGE ON SCHEMA app TO PUBLIC;
	CREATE SEQUENCE app.seq CACHE 10;
	GRANT USAGE ON SEQUENCE app.seq TO PUBLIC;
	CREATE FUNCTION app.tried(command text) RETURNS text LANGUAGE plpgsql AS $$
		DECLARE result text;
		BEGIN EXECUTE command INTO result; RETURN result; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;
	CREATE FUNCTION app.look() RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_object('role', current_user, 'session', session_user, 'tables', (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
			'types', (SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema()),
			'functions', (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()),
			'prepared', (SELECT count(*) FROM pg_prepared_statements), 'cursors', (SELECT count(*) FROM pg_cursors WHERE name <> ''),
			'locks', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), 'channels', (SELECT count(*) FROM pg_listening_channels()),
			'currval', app.tried('SELECT currval(''app.seq'')'), 'lastval', app.tried('SELECT lastval()'),
			'settings', (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE source IN ('session', 'client', 'user', 'database user')
				AND name <> 'role' AND name NOT LIKE 'request.%'), 'own', nullif(current_setting('app.own', true), ''),
			'claims', nullif(current_setting('request.jwt.claims', true), ''), 'method', nullif(current_setting('request.method', true), ''),
			'context', current_setting('pg_notifyd.context'), 'read only', current_setting('transaction_read_only'),
			'isolation', current_setting('transaction_isolation')) $$;
	CREATE FUNCTION app.leave(command text) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN EXECUTE command; RETURN app.look(); END $$;
	CREATE FUNCTION app.leave_and_fail(command text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE command; RAISE 'failed'; END $$;
	CREATE FUNCTION app.roll(seed float8) RETURNS float8[] LANGUAGE plpgsql AS $$
		BEGIN IF seed IS NOT NULL THEN PERFORM setseed(seed); END IF; RETURN ARRAY[random(), random(), random()]; END $$;
	CREATE FUNCTION app.pid() RETURNS int LANGUAGE sql AS 'SELECT pg_backend_pid()';
	CREATE FUNCTION app.inner_secret() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'CANARY'$$;
	CREATE FUNCTION app.outer_secret() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT app.inner_secret() FROM (VALUES (1)) AS v';
	CREATE FUNCTION app.plpgsql_secret() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN app.inner_secret(); END';
	REVOKE EXECUTE ON FUNCTION app.inner_secret() FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION app.inner_secret() TO member;
	SELECT notify_expose(oid::regprocedure) FROM pg_proc WHERE pronamespace = 'app'::regnamespace AND proname NOT IN ('tried', 'inner_secret');
});

# Clients of two roles, which share the only worker.
sub user { my ($role, $sub) = @_; return notifyd_client($node, headers => { notifyd_bearer($role, $sub) }); }

my $first = user('member', 'first');
my $second = user('other', 'second');

sub calls
{
	my ($client, $name, $args) = @_;
	my $answer = $client->call('call', { name => $name, defined $args ? (args => $args) : () });
	return exists $answer->{result} ? $answer->{result} : "$answer->{error}{code}: $answer->{error}{message}";
}

my $pid = calls($first, 'pid');
my $clean = calls($second, 'look');
is_deeply([ @{$clean}{qw(role session tables prepared cursors locks currval own)} ], [ 'other', 'authenticator', 0, 0, 0, 0, '55000', undef ], 'a session that is new');
is($clean->{settings}{work_mem}, 5120, 'with the settings of the authenticator');

my %left = (
	'temporary table' => 'CREATE TEMP TABLE left_behind AS SELECT 1 AS one',
	'temporary table that hides another' => 'CREATE TEMP TABLE seq ()',
	'temporary function' => 'CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS $f$SELECT 1$f$',
	'temporary type' => 'CREATE TYPE pg_temp.t AS ENUM (\'a\')',
	'prepared statement' => 'PREPARE left_behind AS SELECT 1',
	'cursor' => 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1',
	'advisory lock' => 'SELECT pg_advisory_lock(7)',
	'shared advisory lock' => 'SELECT pg_advisory_lock_shared(7, 8)',
	'value of a sequence' => q{SELECT nextval('app.seq')},
	'setting' => 'SET work_mem = 4096',
	'search path' => 'SET search_path = app, public',
	'time zone' => q{SET timezone = 'Asia/Tokyo'},
	'encoding' => 'SET client_encoding = latin1',
	'replay of events' => q{SET pg_notifyd.context = '{"a": 1}'},
	'read-only session' => 'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
	'isolation' => 'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE',
	'own setting' => q{SELECT set_config('app.own', 'x', false)},
	'claims' => q{SELECT set_config('request.jwt.claims', '{"sub": "first"}', false)},
	'method' => q{SELECT set_config('request.method', 'GET', false)},
	'no settings' => 'RESET ALL',
);
# LISTEN is not possible in a background worker.
like(calls($first, 'leave', { command => 'LISTEN x' }), qr/^-32012: cannot execute LISTEN within a background process/, 'LISTEN is refused');
for my $command ('SET ROLE guest', 'RESET ROLE', 'SET SESSION AUTHORIZATION authenticator', 'SET SESSION AUTHORIZATION DEFAULT')
{
	like(calls($first, 'leave', { command => $command }), qr/^-32003: cannot set parameter/, "$command is refused");
}
my $own = calls($first, 'look');
for my $what (sort keys %left)
{
	my $seen = calls($first, 'leave', { command => $left{$what} });
	ok(ref $seen, "$what: is possible") or diag($seen) or next;
	next if $what eq 'no settings';
	is_deeply(calls($second, 'look'), $clean, "$what: another client does not see it");
	is_deeply(calls($first, 'look'), $own, "$what: nor does the next query of the same client");
	isnt(join('', map { "$_=" . ($seen->{$_} // 'null') } sort keys %$own), join('', map { "$_=" . ($own->{$_} // 'null') } sort keys %$own), "$what: it was there")
	  if $what !~ /isolation|read-only|setting|path|zone|encoding/;
}
is_deeply(calls($second, 'look'), $clean, 'no settings: another client does not see it');

# What a rollback does not undo
for my $what ('advisory lock', 'value of a sequence')
{
	is(calls($first, 'leave_and_fail', { command => $left{$what} }), '-32012: failed', "$what: of a query that fails");
	is_deeply(calls($second, 'look'), $clean, "$what: is not seen either");
}
is(sql(q{SELECT pg_try_advisory_lock(7)}), 't', 'nor do other sessions wait for its locks');

# Random numbers
my $rolled = calls($first, 'roll', { seed => 0.5 });
is_deeply(calls($first, 'roll', { seed => 0.5 }), $rolled, 'a seed repeats numbers');
calls($first, 'roll', { seed => 0.5 });
my $next = $node->safe_psql('postgres', 'SELECT setseed(0.5); SELECT random() FROM generate_series(1, 6)');
my @sequence = split /\n/, $next =~ s/^\n//r;
my $after = calls($second, 'roll', { seed => undef });
is(scalar(grep { my $n = $_; grep { abs($_ - $n) < 1e-12 } @sequence } @$after), 0, "but not those of another client");

# Plans
for my $name (qw(outer_secret plpgsql_secret))
{
	calls($first, $name) for 1 .. 8;
	like(join('', map { ref $_ ? @$_ : $_ } calls($first, $name)), qr/^CANARY$/, "$name: a role that may call what it calls");
	is(calls($second, $name), '-32003: permission denied for function inner_secret', 'does not lend its plan to one that may not');
}
sql('GRANT other TO member', 'REVOKE EXECUTE ON FUNCTION app.inner_secret() FROM member', 'GRANT EXECUTE ON FUNCTION app.inner_secret() TO other');
calls($first, 'plpgsql_secret') for 1 .. 8;
is(calls($first, 'plpgsql_secret'), 'CANARY', 'a role that may by its membership');
sql('REVOKE other FROM member');
is(calls($first, 'plpgsql_secret'), '-32003: permission denied for function inner_secret', 'may not when it has ended');

is(calls($second, 'pid'), $pid, 'all of this was one session');

done_testing();
