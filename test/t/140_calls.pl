# Calls of exposed functions and messages from clients: arguments, results, errors, time limits, what is left behind,
# and the workers that run them.
use strict;
use warnings;

use Mojo::JSON qw(encode_json);
use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => ['member'], conf => <<"EOC");
pg_notifyd.statement_timeout = '1s'
pg_notifyd.max_response_size = '100kB'
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE SCHEMA app;
	GRANT USAGE ON SCHEMA app TO guest, member;
	CREATE TYPE app.pair AS (x int, y text);
	CREATE TABLE app.done (who text, what text);
	GRANT INSERT ON app.done TO member;
	CREATE FUNCTION app.add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b';
	CREATE FUNCTION app.unnamed(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
	CREATE FUNCTION app.who() RETURNS text LANGUAGE sql STABLE AS $$
		SELECT format('%s as %s, subject %s', current_user, session_user, public.notify_claims()->>'sub') $$;
	CREATE FUNCTION app.numbers(n int) RETURNS SETOF int LANGUAGE sql AS 'SELECT generate_series(1, n)';
	CREATE FUNCTION app.rows(n int) RETURNS TABLE (i int, at timestamptz) LANGUAGE sql AS $$
		SELECT i, '2026-01-01 12:00+01'::timestamptz FROM generate_series(1, n) AS i $$;
	CREATE FUNCTION app.outs(a int, OUT x int, OUT y text) LANGUAGE sql AS $$SELECT a * 2, 'y'$$;
	CREATE FUNCTION app.pair(p app.pair) RETURNS app.pair LANGUAGE sql AS 'SELECT p';
	CREATE FUNCTION app.nothing() RETURNS void LANGUAGE sql AS '';
	CREATE FUNCTION app.many(VARIADIC v int[]) RETURNS int LANGUAGE sql AS 'SELECT coalesce(sum(i), 0)::int FROM unnest(v) i';
	CREATE FUNCTION app.whole(json) RETURNS json LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION app.fail() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'no money' USING ERRCODE = 'PT402', DETAIL = 'none', HINT = 'pay'; END $$;
	CREATE FUNCTION app.sleep(s float8) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(s); RETURN 'slept'; END$$;
	CREATE FUNCTION app.stubborn() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;
	CREATE FUNCTION app.large(n int) RETURNS text LANGUAGE sql AS $$SELECT repeat('x', n)$$;
	CREATE SEQUENCE app.seq;
	CREATE FUNCTION app.leave() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM set_config('app.left', 'CANARY', false), pg_advisory_lock(7), nextval('app.seq');
			CREATE TEMP TABLE left_behind AS SELECT 1 AS one;
			EXECUTE 'PREPARE left_behind AS SELECT 1';
		END $$;
	GRANT USAGE ON SEQUENCE app.seq TO member;
	CREATE FUNCTION app.look() RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_build_object('setting', nullif(current_setting('app.left', true), ''), 'table', to_regclass('left_behind'),
			'prepared', (SELECT count(*) FROM pg_prepared_statements), 'locks', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')) $$;
	CREATE FUNCTION app.do_it() RETURNS void LANGUAGE sql AS $$INSERT INTO app.done VALUES (current_user, 'it')$$;
	CREATE FUNCTION app.setting() RETURNS text LANGUAGE sql AS $$SELECT current_setting('pg_notifyd.statement_timeout')$$;
	CREATE DOMAIN app.small AS int CHECK (VALUE >= 0);
	CREATE FUNCTION app.typed(day date DEFAULT NULL, small app.small DEFAULT 0, v int[] DEFAULT NULL, p app.pair DEFAULT NULL, j json DEFAULT NULL,
		raises bool DEFAULT false) RETURNS text LANGUAGE sql STABLE AS $$
		SELECT CASE WHEN raises THEN (1 / (CASE WHEN raises THEN 0 END))::text ELSE format('v %s, p %s, j %s', v, p, j) END $$;
	CREATE FUNCTION app.no_pair("full" bool) RETURNS app.pair LANGUAGE sql STABLE AS $$SELECT ROW(1, 'a b')::app.pair WHERE "full"$$;
	CREATE FUNCTION app.no_pairs() RETURNS SETOF app.pair LANGUAGE sql AS 'VALUES (NULL::int, NULL::text)';
	CREATE FUNCTION app.inout(INOUT a int, b int, OUT c int) LANGUAGE sql AS 'SELECT a + 1, b + 1';
	CREATE FUNCTION app.pair_row() RETURNS app.pair LANGUAGE plpgsql AS $$BEGIN RETURN ROW(NULL, NULL)::app.pair; END$$;
	CREATE FUNCTION app.hidden() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION app.forbidden() RETURNS int LANGUAGE sql AS 'SELECT 1';
	REVOKE EXECUTE ON FUNCTION app.forbidden() FROM PUBLIC;
	SELECT notify_expose(oid::regprocedure) FROM pg_proc WHERE pronamespace = 'app'::regnamespace AND proname <> 'hidden';
	SELECT notify_expose('app.add(int,int)', 'com.example.add');
	SELECT notify_grant('news', 'member'), notify_grant('news', 'member', 'publish');
});

sub user { my ($sub) = @_; return notifyd_client($node, headers => { notifyd_bearer('member', $sub) }); }

my $client = user('7');

# The result of a call, or its error as "code: message".
sub calls
{
	my ($name, $args) = @_;
	my $answer = $client->call('call', { name => $name, defined $args ? (args => $args) : () });
	return exists $answer->{result} ? $answer->{result} : "$answer->{error}{code}: $answer->{error}{message}";
}

is(calls('com.example.add', { a => 1 }), 11, 'a default');
is(calls('com.example.add', { b => 1, a => 1 }), 2, 'by name');
is(calls('com.example.add', [ 3, 4 ]), 7, 'by position');
is(calls('unnamed', [ 5, 3 ]), 2, 'parameters without names');
is(calls('who'), 'member as authenticator, subject 7', 'who runs it');
is_deeply(calls('numbers', { n => 3 }), [ 1, 2, 3 ], 'a set');
is_deeply(calls('numbers', { n => 0 }), [], 'an empty set');
is_deeply(calls('rows', { n => 1 }), [ { i => 1, at => '2026-01-01T11:00:00+00:00' } ], 'a table, with the texts of events');
is_deeply(calls('outs', { a => 2 }), { x => 4, y => 'y' }, 'OUT parameters');
is_deeply(calls('pair', { p => { x => 1, y => 'z' } }), { x => 1, y => 'z' }, 'composites');
is(calls('no_pair', { full => \0 }), undef, 'a composite that is NULL');
is_deeply(calls('no_pair', { full => \1 }), { x => 1, y => 'a b' }, 'the same with a value');
is_deeply(calls('pair_row'), { x => undef, y => undef }, 'a row of nulls');
is_deeply(calls('no_pairs'), [ { x => undef, y => undef } ], 'and a set with it');
is_deeply(calls('inout', { a => 1, b => 2 }), { a => 2, c => 3 }, 'INOUT parameters');
is(calls('nothing'), undef, 'void');
is(calls('many', { v => [ 1, 2, 3 ] }), 6, 'VARIADIC');
is(calls('many'), 0, 'VARIADIC without values');
is_deeply(calls('whole', { q => [1] }), { q => [1] }, 'a function of all that is sent');

is(calls('add', { a => 1 }), '-32004: there is no function "add"', 'a function has one name');
is(calls('hidden'), '-32004: there is no function "hidden"', 'a function that is not exposed');
is(calls('forbidden'), '-32003: permission denied for function forbidden', 'EXECUTE decides');
is(calls('com.example.add', { a => 1, c => 1 }), '-32602: function "com.example.add" has no parameter "c"', 'an unknown parameter');
is(calls('com.example.add'), '-32602: function "com.example.add" needs the parameter "a"', 'a missing one');
is(calls('com.example.add', [ 1, 2, 3 ]), '-32602: function "com.example.add" has only 2 parameters', 'too many');
is_deeply($client->call('call', { name => 'com.example.add', args => { b => 1, a => 'x' } })->{error}, { code => -32602,
	message => 'invalid input syntax for type integer: "x"', data => { parameter => 'a', sqlstate => '22P02' } }, 'a wrong value names its parameter');
# A value that is wrong for each parameter, and which of them the error names
sub wrong
{
	my ($name, $args) = @_;
	my $error = $client->call('call', { name => $name, args => $args })->{error};
	return join '|', $error->{code}, $error->{data}->@{qw(parameter sqlstate)};
}
is(wrong('com.example.add', [ 1, '99999999999' ]), '-32602|b|22003', 'a number that is too large, by position');
is(wrong('unnamed', [ 1, 'x' ]), '-32602|2|22P02', 'a parameter without a name');
is(wrong('many', { v => [ 1, 'x' ] }), '-32602|v|22P02', 'an element of VARIADIC');
is(wrong('typed', { v => [ [ [ [ [ [ [1] ] ] ] ] ] ] }), '-32602|v|54000', 'an array with too many dimensions');
is(wrong('pair', { p => { x => 'y' } }), '-32602|p|22P02', 'a member of a composite');
is(wrong('typed', { day => 'x' }), '-32602|day|22007', 'a date');
is(wrong('typed', { day => '2026-13-01' }), '-32602|day|22008', 'a month');
is(wrong('typed', { small => -1 }), '-32602|small|23514', 'a domain');
is(wrong('typed', { raises => \1 }), '-32012||22012', 'an error of the function is no wrong value');
is_deeply(calls('typed', { v => [ 1, undef ], p => undef, j => { a => [1] } }), 'v {1,NULL}, p , j {"a": [1]}', 'arrays, NULL and JSON');
is(calls('large', { n => 200_000 }), '-32012: the result is larger than pg_notifyd.max_response_size', 'a large result');
is(length calls('large', { n => 50_000 }), 50_000, 'a result that is not too large');
is_deeply($client->call('call', { name => 'fail' })->{error},
	{ code => -32012, message => 'no money', data => { sqlstate => 'PT402', detail => 'none', hint => 'pay' } }, 'an error of the function');

# What a function leaves in its session reaches no other client.
is(calls('leave'), undef, 'a function sets things for the session');
is_deeply(calls('look'), { setting => undef, table => undef, prepared => 0, locks => 0 }, 'and the next one finds none of them');

# Time
is(calls('sleep', { s => 0.01 }), 'slept', 'a short query');
is(calls('sleep', { s => 30 }), '-32013: the query took too long', 'a long one');
is(calls('stubborn'), '-32013: the query took too long', 'one that catches its cancellation');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
like($log, qr/ERROR:  canceling statement.*\n.*DETAIL:  The query ran longer than pg_notifyd\.statement_timeout\.\n.*CONTEXT:  (.*\n)*?\tcall of "sleep" as role "member" in database "postgres"/,
	'the log says which query ran too long');
like($log, qr/FATAL:  terminating.*\n.*DETAIL:  The query ran longer than pg_notifyd\.statement_timeout\.\n/, 'and why the worker ended');
is(calls('com.example.add', { a => 1 }), 11, 'another worker goes on');

is(sql(q{SELECT queries > 20 AND failed_queries BETWEEN 8 AND queries FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'}),
	't', 'queries are counted');

# A client that leaves ends its query.
sql(q{ALTER SYSTEM SET pg_notifyd.statement_timeout = '5min'}, q{SELECT pg_reload_conf()});
wait_for(sub { calls('setting') eq '5min' }, 'another timeout');
my $other = user('8');
$other->send({ id => 1, method => 'call', params => { name => 'sleep', args => { s => 250 } } });
sub busy { return sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND state = 'active'}); }
$other->wait_for(sub { busy() == 1 }, 'the query runs');
is(calls('com.example.add', { a => 1 }), 11, 'a call beside it');
is(sql(q{SELECT count(*) FROM notifyd.stats AS s JOIN pg_stat_activity AS a USING (pid)
	WHERE s.kind = 'worker' AND s.name = 'postgres' AND s.state = 'busy' AND a.backend_type = 'pg_notifyd worker'}),
	1, 'the statistics show the worker that is busy');
$other->close;
$client->wait_for(sub { busy() == 0 }, 'its query ends');
wait_for(sub { sql(q{SELECT bool_and(state = 'idle') FROM notifyd.stats WHERE kind = 'worker'}) eq 't' }, 'and workers that are idle');

# Writes and messages
is(calls('do_it'), undef, 'a function that writes');
is(sql('SELECT who, what FROM app.done'), 'member|it', 'has written as the role');
$client->subscribe('news');
is_deeply($client->call('send', { channel => 'news', payload => { n => 1.50 } })->{result}, {}, 'a message');
is_deeply($client->next_event->{payload}, { n => 1.5 }, 'arrives');
like($client->call('send', { channel => 'old', payload => 1 })->{error}{message}, qr/permission denied for channel "old"/, 'without the privilege');

# Anonymous clients have their own role.
my $guest = notifyd_client($node);
is($guest->call('call', { name => 'who' })->{result}, 'guest as authenticator, subject ', 'an anonymous client');
is($guest->call('call', { name => 'do_it' })->{error}{code}, -32003, 'has only its own privileges');
sql('REVOKE guest FROM authenticator');
my $offset = -s $node->logfile;
is_deeply($guest->call('call', { name => 'who' })->{error}, { code => -32003, message => 'permission denied to set role "guest"', data => { sqlstate => '42501' } },
	'workers may not become its role');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset), qr/DETAIL:  The role of pg_notifyd.authenticator_role, "authenticator", must be a member/,
	'and the log says what is missing');
sql('GRANT guest TO authenticator');

# The authenticator is replaced
my $who = calls('who');
sql('BEGIN', 'ALTER ROLE authenticator RENAME TO former', 'CREATE ROLE authenticator LOGIN NOINHERIT', 'GRANT guest, member TO authenticator', 'COMMIT');
my %said;
wait_for(sub { my $now = calls('who'); $said{$now}++; $now eq $who }, 'a worker connects as the new one');
delete $said{$who};
is(join('; ', keys %said), q{-32011: the worker's role has changed}, 'a worker that is connected as the old one ends');
sql('DROP ROLE former');

# A token that is revoked
sql(q{SELECT notify_disconnect('{"sub": "7"}', 'infinity')});
is(($client->wait_closed)[0], 4401, 'notify_disconnect() closes the client');

# A role that may not log in: workers cannot connect, and every query gets an answer.
sql(q{ALTER SYSTEM SET pg_notifyd.authenticator_role = ''}, q{SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'});
my $answer = $guest->connected ? $guest->call('call', { name => 'who' }) : notifyd_client($node)->call('call', { name => 'who' });
is($answer->{error}{code}, -32011, 'no worker can be started');
sql(q{ALTER ROLE guest LOGIN});
wait_for(sub { ($answer = notifyd_client($node)->call('call', { name => 'who' }))->{result} }, 'workers can start');
is($answer->{result}, 'guest as guest, subject ', 'without an authenticator, workers are the anonymous role');

# Names and owners
my ($rc, $out, $err) = $node->psql('postgres', q{SELECT notify_expose('app.hidden()', 'who')});
like($err, qr/the name "who" is exposed already/, 'a name belongs to one function');
($rc, $out, $err) = $node->psql('postgres', q{SET ROLE member; SELECT notify_expose('app.hidden()')});
like($err, qr/must be owner of function/, 'only the owner exposes it');
($rc, $out, $err) = $node->psql('postgres', q{SELECT notify_expose('array_agg(anynonarray)')});
like($err, qr/cannot expose/, 'an aggregate');
sql(q{SELECT notify_conceal('app.who()')});
is(notifyd_client($node)->call('call', { name => 'who' })->{error}{code}, -32004, 'a function that is concealed');
sql(q{DROP FUNCTION app.look()});
is(notifyd_client($node)->call('call', { name => 'look' })->{error}{code}, -32004, 'and one that was dropped');

done_testing();
