# SQL calls procedures that sessions of WAMP have registered, on two gateways.
use strict;
use warnings;

use IPC::Run;
use Mojo::JSON qw(decode_json);
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => [ 'member', 'asker' ], conf => "pg_notifyd.gateways = 2\npg_notifyd.max_message_size = '1MB'\nmax_connections = 60\n");
sub sql { return $node->safe_psql('postgres', join ';', @_); }
sql(q{
	SELECT notify_grant('com.*', 'member', 'register'), notify_grant('com.*', 'asker', 'call');
	CREATE FUNCTION ask(procedure text, args json DEFAULT '[]', timeout interval DEFAULT '100 s') RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		message text; detail text;
	BEGIN
		RETURN notify_call(procedure, args, timeout => timeout);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
		RETURN SQLSTATE || '|' || message || '|' || detail;
	END $$;
});
wait_healthy($node);

# A client of this gateway.
sub client
{
	my $gateway = shift;
	while (1)
	{
		my $client = wamp_client($node, realm => 'postgres', headers => { notifyd_bearer('member') });
		my $port = $client->{tx}->local_port;
		return $client if sql("SELECT gateway FROM notifyd.clients WHERE port = $port") eq $gateway;
		$client->close;
	}
}

# A statement in a session of its own, while the test's clients answer; and what it prints, with its error.
sub start
{
	my $statement = shift;
	my %session = (out => '', err => '');
	my @command = ('psql', '-XAtq', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-c', $statement);
	$session{run} = IPC::Run::start(\@command, '<', \'', '>', \$session{out}, '2>', \$session{err});
	return \%session;
}
sub result
{
	my $session = shift;
	wait_for(sub { $session->{run}->pump_nb if $session->{run}->pumpable; return !$session->{run}->pumpable; }, 'the end of a statement');
	$session->{run}->finish;
	chomp $session->{out};
	return $session->{out} . $session->{err};
}

my @callees = (client(0), client(1));
sub ask { my $statement = shift; return result(start($statement)); }

# Results
foreach my $gateway (0, 1)
{
	$callees[$gateway]->register("com.echo$gateway", sub { my ($args, $kwargs, $details) = @_; return ($args, { %$kwargs, %$details }); });
	is(ask(qq{SELECT notify_call('com.echo$gateway', '["ä"]')}), '"ä"', "a value, from gateway $gateway");
}
is_deeply(decode_json(ask(q{SELECT notify_call('com.echo0', '[1, 2]', '{"a": null}')})), { args => [ 1, 2 ], kwargs => { a => undef } }, 'all of a result');
is_deeply(decode_json(ask(q{SELECT notify_call('com.echo0')})), { args => [], kwargs => {} }, 'an empty result');
is_deeply(decode_json(ask(q{SELECT notify_call('com.echo0', NULL, NULL, NULL)})), { args => [], kwargs => {} }, 'no arguments, and no timeout');
is(ask(q{SELECT notify_call('com.echo0', '[null]') IS NULL}), 'f', 'null is a value');
is(ask(q{SELECT length(notify_call('com.echo0', json_build_array(repeat('x', 900000)))::text)}), 900_002, 'more than fits into the queue');
$callees[0]->register('com.count', sub {
		my ($args, $kwargs, $details, $invocation) = @_;
		$callees[0]->send([ 'YIELD', $invocation, { progress => \1 }, [$_] ]) for 1 .. 3;
		return (['done']);
	});
is(ask(q{SELECT notify_call('com.count')}), '"done"', 'the last result');
is(ask(q{SELECT notify_call('wamp.session.count')}), 2, 'a meta procedure');
is(ask(q{SELECT string_agg(notify_call('com.echo1', json_build_array(n))::text, ',') FROM generate_series(1, 20) n}),
	join(',', 1 .. 20), 'one call after the other');

# In a trigger, and at the end of a transaction that has locked what a client has subscribed to
sql(q{
	CREATE TABLE paid (id int PRIMARY KEY, a text, b text);
	GRANT SELECT ON paid TO member;
	SELECT notify_watch('paid');
	CREATE FUNCTION paid() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		NEW.a := notify_call('com.echo1', '["now"]');
		RETURN NEW;
	END $$;
	CREATE TRIGGER paid BEFORE INSERT ON paid FOR EACH ROW EXECUTE FUNCTION paid();
	CREATE FUNCTION paid_later() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		UPDATE paid SET b = notify_call('com.echo1', '["later"]') WHERE id = NEW.id;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON paid DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION paid_later();
});
$callees[1]->subscribe('paid');
is(ask(q{BEGIN; LOCK TABLE paid; ALTER TABLE paid ADD c int; INSERT INTO paid VALUES (1); COMMIT; SELECT a, b FROM paid}),
	'"now"|"later"', 'triggers call, under locks');
is(join(' ', map { $callees[1]->next_event->{kwargs}{op} } 1, 2), 'INSERT UPDATE', 'with events');

# In parallel workers there is no way to call. PostgreSQL's functions say what is parallel safe.
sql(q{
	CREATE TABLE many AS SELECT n FROM generate_series(1, 10000) n;
	CREATE FUNCTION unsafe(n int) RETURNS json PARALLEL SAFE LANGUAGE plpgsql AS $$ BEGIN RETURN notify_call('com.echo0', json_build_array(n)); END $$;
});
like(ask(q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SELECT max(unsafe(n)::text) FROM many}),
	qr/25000: cannot execute notify_call\(\) during a parallel operation/, 'not in a parallel operation');

# A function that a client calls, which calls that client
sql(q{CREATE FUNCTION relay(a text) RETURNS json SECURITY DEFINER LANGUAGE sql AS $$SELECT notify_call('com.echo1', json_build_array(a))$$},
	q{SELECT notify_expose('relay(text)', 'com.relay')});
is($callees[1]->result('com.relay', ['round']), 'round', 'a worker calls, too');

# A client's queries run one after the other. So one that calls a function before it answers gets no result of that.
my $held;
sub hold { $held = $_[3]; return undef; }		## no critic: undef means that there is no answer yet
sql(q{CREATE FUNCTION relay_held() RETURNS json SECURITY DEFINER LANGUAGE sql AS $$SELECT notify_call('com.held')$$},
	q{SELECT notify_expose('relay_held()', 'com.relay_held')});
$callees[0]->register('com.held', \&hold);
my $outer = $callees[0]->start('CALL', {}, 'com.relay_held');
$callees[0]->wait_for(sub { return $held; }, 'an invocation');
my $inner = $callees[0]->start('CALL', {}, 'com.relay', ['inner']);
$callees[0]->send([ 'YIELD', $held, {}, ['free'] ]);
is($callees[0]->answer('CALL', $inner)->[3][0], 'inner', 'a call of a function by the client that has to answer one');
is_deeply([ map { $_->[1] } grep { $_->[0] == 50 && $_->[1] >= $outer } @{ $callees[0]{received} } ], [ $outer, $inner ], 'comes after that');

# Who calls
$callees[1]->register('com.who', sub { return ([ $_[2] ]); }, disclose_caller => \1);
is_deeply(decode_json(ask(q{SET ROLE asker; SELECT notify_call('com.who')})), { caller_authid => sql('SELECT session_user'), caller_authrole => 'asker' },
	'a callee that asks for it learns who calls');
like(ask(q{SET ROLE member; SELECT notify_call('com.who')}), qr/42501: permission denied for procedure "com.who"/, 'without the privilege');

# Errors
is(ask(q{SELECT ask('com.none')}), '42883|procedure "com.none" does not exist|No client has registered a procedure with this name.', 'nobody has registered it');
$callees[0]->register('com.fail', sub { die [ 'com.error.mine', ['why'], { code => 7 } ]; });
my ($state, $message, $detail) = split /\|/, ask(q{SELECT ask('com.fail')});
is("$state $message", '38000 procedure "com.fail" failed: why', 'an error of the procedure');
is_deeply(decode_json($detail), { error => 'com.error.mine', args => ['why'], kwargs => { code => 7 } }, 'with everything in the DETAIL');
$callees[0]->register('com.bare', sub { die ['com.error.bare']; });
like(ask(q{SELECT ask('com.bare')}), qr/^38000\|procedure "com.bare" failed: com.error.bare\|/, 'an error without a message');

# Each call has a segment of shared memory. If errors in subtransactions kept them, there would be no more of them.
my $failed = q{
	DO $$ BEGIN
		FOR n IN 1 .. 800 LOOP
			BEGIN PERFORM notify_call('com.none'); EXCEPTION WHEN undefined_function THEN END;
		END LOOP;
	END $$};
is(ask(qq{BEGIN; $failed; SELECT notify_call('com.echo0', '[1]'); COMMIT}), '1', 'many calls that fail in one transaction');
is(ask(q{BEGIN; SAVEPOINT a; SELECT notify_call('com.echo0', '[1]'); ROLLBACK TO a; SELECT notify_call('com.echo0', '[2]'); COMMIT}), "1\n2",
	'after a rollback');

# Calls that do not end by themselves
sub hang
{
	my ($callee, $statement) = @_;
	undef $held;
	my $session = start($statement);
	$callee->wait_for(sub { return $held; }, 'an invocation');
	return $session;
}
$_->register('com.hang' . $_->session, \&hold) for @callees;
sub hanging { my $callee = shift; return 'com.hang' . $callee->session; }
sub interrupted { my $callee = shift; return is($callee->next_message('INTERRUPT')->[1], $held, 'the callee is interrupted'); }
foreach my $callee (@callees)
{
	my $name = hanging($callee);
	my $session = hang($callee, "SELECT ask('$name', timeout => '300 ms')");
	like(result($session), qr/^39000\|call of procedure "$name" has timed out\|/, 'a timeout');
	interrupted($callee);
	$callee->send([ 'YIELD', $held, {}, ['late'] ]);

	$session = hang($callee, "SELECT notify_call('$name', timeout => NULL)");
	sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT notify_call(''$name%'");
	like(result($session), qr/57014: canceling statement due to user request/, 'a call is cancelled');
	interrupted($callee);

	$session = hang($callee, "SET statement_timeout = 1000; SELECT notify_call('$name', timeout => NULL)");
	like(result($session), qr/57014: canceling statement due to statement timeout/, 'a statement times out');
	interrupted($callee);

	$session = hang($callee, "SELECT notify_call('$name', timeout => NULL)");
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT notify_call(''$name%'");
	like(result($session), qr/57P01/, 'the session of the caller is ended');
	interrupted($callee);
}

# Many at once: each waits for an answer of its own, in the opposite order
my @invocations;
$callees[0]->register('com.many', sub { push @invocations, [ $_[3], $_[0][0] ]; return undef; });		## no critic
my @sessions = map { start("SELECT notify_call('com.many', '[$_]')") } 1 .. 40;
$callees[0]->wait_for(sub { return @invocations == 40; }, 'forty invocations');
$callees[0]->send([ 'YIELD', $_->[0], {}, [ $_->[1] ] ]) for reverse @invocations;
is_deeply([ map { result($_) } @sessions ], [ 1 .. 40 ], 'forty sessions call at a time');

# Ends
my $gone = client(1);
$gone->register('com.gone', \&hold);
my $session = hang($gone, q{SELECT ask('com.gone')});
$gone->close;
like(result($session), qr/^39000\|procedure "com.gone" failed: the session that answers the call has ended\|/, 'the callee leaves');
like(ask(q{SELECT ask('com.gone')}), qr/^42883/, 'it is unknown then');

my $name = hanging($callees[1]);
$session = hang($callees[1], "SELECT ask('$name')");
my $pid = sql(q{SELECT pid FROM notifyd.stats WHERE kind = 'gateway' AND name = '1'});
kill 'KILL', $pid;
like(result($session), qr/^39000\|procedure "$name" failed: the session that answers the call has ended\|/, 'the gateway of the callee is killed');
pop @callees;
wait_healthy($node);
is(ask(q{SELECT notify_call('com.echo0', '["still"]')}), '"still"', 'sessions of the other gateway are not concerned');

$name = hanging($callees[0]);
$session = hang($callees[0], "SELECT ask('$name')");
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'});
like(result($session), qr/^39000\|call of procedure "$name" was interrupted\|The feed of this database has ended/, 'the feed ends');
is(ask(q{SELECT notify_call('com.echo0', '["again"]')}), '"again"', 'a call waits for the next feed, which knows the procedure');

# A database without sessions of WAMP
$callees[0]->goodbye;
like(ask(q{SELECT ask('com.echo0')}), qr/^42883/, 'no session is left');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION pg_notifyd');
my ($status, $out, $error) = $node->psql('other', q{SELECT notify_call('com.a')});
like($error, qr/procedure "com.a" does not exist/, 'a database without clients');

# A server that does not preload the library
my $plain = notifyd_node('plain', preload => 0);
($status, $out, $error) = $plain->psql('postgres', q{SELECT notify_call('com.a')});
like($error, qr/pg_notifyd is not loaded/, 'a server without pg_notifyd');

done_testing();
