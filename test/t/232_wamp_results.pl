# Calls of exposed functions by WAMP: arguments by position and by name, results, sets row by row.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['reader'], conf => <<"EOC");
pg_notifyd.statement_timeout = 20s
pg_notifyd.client_buffer = '256kB'
pg_notifyd.query_workers = 1
EOC
my $long = 'com.example.' . 'n' x 243;
$node->safe_psql('postgres', qq{
	CREATE FUNCTION get_now() RETURNS text LANGUAGE sql AS \$\$SELECT now()::text\$\$;
	CREATE FUNCTION get_time() RETURNS timestamptz LANGUAGE sql AS \$\$SELECT '2026-01-02 03:04:05+00'::timestamptz\$\$;
	CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS \$\$SELECT\$\$;
	CREATE FUNCTION join3(a int, b text DEFAULT 'b', c text DEFAULT 'c') RETURNS text LANGUAGE sql AS \$\$SELECT concat_ws('-', a, b, c)\$\$;
	CREATE FUNCTION mixed(int, b int DEFAULT 2, c int DEFAULT 3) RETURNS int LANGUAGE sql AS \$\$SELECT \$1 * 100 + b * 10 + c\$\$;
	CREATE FUNCTION total(first int, VARIADIC more int[]) RETURNS int LANGUAGE sql AS \$\$SELECT first + coalesce(sum(m), 0)::int FROM unnest(more) AS m\$\$;
	CREATE FUNCTION over(a int) RETURNS text LANGUAGE sql AS \$\$SELECT 'int'\$\$;
	CREATE FUNCTION over(a int, b text) RETURNS text LANGUAGE sql AS \$\$SELECT 'int, text'\$\$;
	CREATE FUNCTION whole(json) RETURNS json LANGUAGE sql AS \$\$SELECT \$1\$\$;
	CREATE FUNCTION numbers(n int) RETURNS SETOF int LANGUAGE sql STABLE AS \$\$SELECT generate_series(1, n)\$\$;
	CREATE FUNCTION pairs(n int) RETURNS TABLE (a int, b text) LANGUAGE sql STABLE AS \$\$SELECT i, 'pair ' || i FROM generate_series(1, n) AS i\$\$;
	CREATE FUNCTION wide(n int) RETURNS SETOF text LANGUAGE sql STABLE AS \$\$SELECT repeat('x', 100) || i FROM generate_series(1, n) AS i\$\$;
	CREATE FUNCTION breaks(n int) RETURNS SETOF int LANGUAGE sql STABLE AS \$\$SELECT 10000 / (n - i) FROM generate_series(1, n) AS i\$\$;
	CREATE FUNCTION too_slow() RETURNS SETOF int LANGUAGE sql STABLE AS \$\$SELECT i FROM generate_series(1, 3) AS i, pg_sleep(20 * (i / 3))\$\$;
	CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO deferred VALUES (1);
	CREATE FUNCTION fails_at_commit() RETURNS SETOF int LANGUAGE sql SECURITY DEFINER AS \$\$INSERT INTO deferred VALUES (1) RETURNING id\$\$;
	SELECT notify_expose('get_now()', 'com.example.now.v1');
	SELECT notify_expose('get_time()', 'com.example.time');
	SELECT notify_expose('nothing()', '$long');
	SELECT notify_expose('join3(int, text, text)', 'com.example.join');
	SELECT notify_expose('mixed(int, int, int)', 'com.example.mixed');
	SELECT notify_expose('total(int, int[])', 'com.example.total');
	SELECT notify_expose('over(int)', 'com.example.over1');
	SELECT notify_expose('over(int, text)', 'com.example.over2');
	SELECT notify_expose('whole(json)', 'com.example.whole');
	SELECT notify_expose('numbers(int)', 'com.example.numbers');
	SELECT notify_expose('pairs(int)', 'com.example.pairs');
	SELECT notify_expose('wide(int)', 'com.example.wide');
	SELECT notify_expose('breaks(int)', 'com.example.breaks');
	SELECT notify_expose('too_slow()', 'com.example.slow');
	SELECT notify_expose('fails_at_commit()', 'com.example.commit');
});
wait_healthy($node);
my $client = wamp_client($node, realm => 'postgres');
ok($client->welcome->{roles}{dealer}{features}{progressive_call_results}, 'WELCOME says that there are progressive results');

# Names.
like($client->result('com.example.now.v1'), qr/^20\d\d-/, 'a text');
is($client->result('com.example.time'), '2026-01-02T03:04:05+00:00', 'a time');
is_deeply($client->call($long)->[3], [undef], 'nothing is null, and a name may have 255 bytes');
is(error_uri($client->call("${long}n")), 'wamp.error.no_such_procedure', 'one more byte');
my $res = curl($node, '/rpc/com.example.time', '-X', 'POST');
like($res, qr/2026-01-02T03:04:05/, 'names with dots by HTTP');
my $rpc = notifyd_client($node);
is($rpc->call('call', { name => 'com.example.time' })->{result}, '2026-01-02T03:04:05+00:00', 'and by JSON-RPC');
is($rpc->call('call', { name => $long })->{result}, undef, 'and long ones');

# Arguments.
is($client->result('com.example.join', [7]), '7-b-c', 'by position, and defaults');
is($client->result('com.example.join', [], { a => 7, c => 'x' }), '7-b-x', 'by name');
is($client->result('com.example.join', [7], { c => 'x' }), '7-b-x', 'both');
is($client->result('com.example.join', [ 7, 'y' ], { c => 'x' }), '7-y-x', 'two by position');
is($client->result('com.example.mixed', [1], { c => 5 }), 125, 'behind a parameter without a name');
is($client->result('com.example.mixed', [ 1, 4 ]), 143, 'some by position');
is($client->result('com.example.total', [1]), 1, 'VARIADIC without arguments');
is($client->result('com.example.total', [1], { more => [ 2, 3 ] }), 6, 'VARIADIC by name');
is($client->result('com.example.over1', [1]), 'int', 'an overloaded function');
is($client->result('com.example.over2', [1], { b => 'x' }), 'int, text', 'and the other one');
is_deeply($client->result('com.example.whole', [ 1, 2 ]), [ 1, 2 ], 'a function that gets everything: arguments');
is_deeply($client->result('com.example.whole', [], { a => 1 }), { a => 1 }, 'named ones');
is_deeply($client->result('com.example.whole', [1], { a => 1 }), { args => [1], kwargs => { a => 1 } }, 'both');
is_deeply($client->result('com.example.whole', [ [] ], { a => 1 }), { args => [ [] ], kwargs => { a => 1 } }, 'an empty list as argument');

sub expect_error
{
	my ($answer, $uri, $message, $what, %kwargs) = @_;
	is(error_uri($answer), $uri, $what);
	like($answer->[5][0], $message, "$what: message");
	is(($answer->[6] // {})->{$_}, $kwargs{$_}, "$what: $_") for sort keys %kwargs;
	return;
}
expect_error($client->call('com.example.join', [7], { a => 8 }), 'wamp.error.invalid_argument',
	qr/^parameter "a" of function "com.example.join" was given by position and by name$/, 'an argument twice', parameter => 'a');
expect_error($client->call('com.example.join', [7], { d => 8 }), 'wamp.error.invalid_argument', qr/has no parameter "d"/,
	'an unknown name', parameter => 'd');
expect_error($client->call('com.example.join', [], { b => 'x' }), 'wamp.error.invalid_argument', qr/needs the parameter "a"/,
	'a missing argument', parameter => 'a');
expect_error($client->call('com.example.join', ['x'], { b => 'x' }), 'wamp.error.invalid_argument', qr/invalid input syntax/,
	'a wrong value', parameter => 'a', sqlstate => '22P02');
expect_error($client->call('com.example.mixed', [ 1, 2, 3, 4 ]), 'wamp.error.invalid_argument', qr/has only 3 parameters/,
	'too many arguments', parameter => 'args');

# Sets.
is_deeply($client->result('com.example.numbers', [3]), [ 1, 2, 3 ], 'a set is an array');

# Wait for the answer to this call, and look at each message once: a client with many of them must not search all again
# and again.
sub last_answer
{
	my ($session, $id) = @_;
	while (1)
	{
		my $message = $session->next_message(qw(RESULT ERROR));
		return $message if $message->[0] == 8 ? $message->[2] == $id : $message->[1] == $id && !$message->[2]{progress};
	}
}

# The results in progress of a call, and its answer.
sub progressive
{
	my ($procedure, @args) = @_;
	my $id = $client->start('CALL', { receive_progress => \1 }, $procedure, [@args]);
	my $answer = last_answer($client, $id);
	my @rows = map { $_->[3][0] } $client->progress($id);
	my @mine = grep { $_->[0] == 50 && $_->[1] == $id || $_->[0] == 8 && $_->[2] == $id } $client->received;
	is_deeply($mine[-1], $answer, "the answer of $procedure is last");
	return ($answer, @rows);
}
my ($answer, @rows) = progressive('com.example.numbers', 3);
is_deeply(\@rows, [ 1, 2, 3 ], 'a set row by row');
is_deeply([ @$answer[ 2 .. $#$answer ] ], [ {} ], 'and a result without arguments');
($answer, @rows) = progressive('com.example.pairs', 2);
is_deeply(\@rows, [ { a => 1, b => 'pair 1' }, { a => 2, b => 'pair 2' } ], 'rows with columns');
($answer, @rows) = progressive('com.example.numbers', 0);
is_deeply([ scalar @rows, scalar @$answer ], [ 0, 3 ], 'an empty set');
($answer, @rows) = progressive('com.example.time');
is_deeply([ scalar @rows, $answer->[3] ], [ 0, ['2026-01-02T03:04:05+00:00'] ], 'a value is no set');

# The division by zero comes with the last row, when pieces of the rows have been sent.
($answer, @rows) = progressive('com.example.breaks', 20000);
expect_error($answer, 'wamp.error.runtime_error', qr/division by zero/, 'an error after rows', sqlstate => '22012');
cmp_ok(scalar @rows, '>', 1000, 'rows came before');
($answer, @rows) = progressive('com.example.commit');
expect_error($answer, 'wamp.error.runtime_error', qr/duplicate key/, 'a commit that fails', sqlstate => '23505');

# A slow client: the transaction does not wait for it, other clients are served by the same worker, and nothing is lost.
my $slow = wamp_client($node, realm => 'postgres');
is($slow->result('com.example.numbers', [1])->[0], 1, 'a session');
my $id = $slow->start('CALL', { receive_progress => \1 }, 'com.example.wide', [100_000]);
$slow->stop_reading;
wait_for(
	sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_ls_tmpdir() WHERE size > 5000000}) > 0 },
	'rows in a temporary file');
wait_for(
	sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND xact_start IS NOT NULL}) == 0 },
	'no transaction is open');
is_deeply($client->result('com.example.numbers', [2]), [ 1, 2 ], 'other clients are served');
$slow->start_reading;

# The same client may call others meanwhile, in no order with this one.
my $other = $slow->start('CALL', {}, 'com.example.numbers', [2]);
my @answers;
while (@answers < 2)
{
	my $message = $slow->next_message(qw(RESULT ERROR));
	push @answers, $message if $message->[0] == 8 || $message->[1] >= $id && !$message->[2]{progress};
}
is_deeply([ sort { $a->[1] <=> $b->[1] } @answers ], [ [ 50, $id, {} ], [ 50, $other, {}, [ [ 1, 2 ] ] ] ], 'both calls are answered');
@rows = map { $_->[3][0] } $slow->progress($id);
is(scalar @rows, 100_000, 'all rows come');
is($rows[-1], 'x' x 100 . '100000', 'in order');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, 'the file is gone');

# A client that leaves in between.
$id = $slow->start('CALL', { receive_progress => \1 }, 'com.example.wide', [100_000]);
$slow->stop_reading;
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()') > 0 }, 'rows in a file again');
$slow->start_reading;
$slow->close;
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()') == 0 }, 'its rows are dropped');

# The time of the function counts, not that of the client.
$node->append_conf('postgresql.conf', 'pg_notifyd.statement_timeout = 1s');
$node->reload;
wait_for(
	sub {
		($answer, @rows) = progressive('com.example.slow');
		return error_uri($answer) eq 'wamp.error.timeout';
	},
	'a timeout');

done_testing();
