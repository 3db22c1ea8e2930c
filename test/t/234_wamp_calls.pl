# Sessions of WAMP register procedures and call each other's, across two gateways.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => [ 'member', 'boss' ], conf => "pg_notifyd.gateways = 2\n");
sub sql { return $node->safe_psql('postgres', join ';', @_); }
sql(q{
	CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT 2 * a';
	CREATE FUNCTION sleepy() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)';
	CREATE FUNCTION late() RETURNS text LANGUAGE sql AS $$SELECT 'late'$$;
	SELECT notify_expose('twice(int)', 'com.sql.twice'), notify_expose('sleepy()', 'com.sql.sleepy');
	SELECT notify_grant('com.*', 'member', 'register'), notify_grant('com.*', 'member', 'call'), notify_grant('com.echo', 'guest', 'call');
	SELECT notify_grant('wamp.*', 'boss', 'call'), notify_grant('wamp.*', 'boss', 'subscribe');
});
wait_healthy($node);

# A client of this role on this gateway.
sub client
{
	my ($gateway, $role, %options) = @_;
	while (1)
	{
		my $client = wamp_client($node, realm => 'postgres', $role ne '' ? (headers => { notifyd_bearer($role, $options{sub} // $role) }) : ());
		my $port = $client->{tx}->local_port;
		return $client if sql("SELECT gateway FROM notifyd.clients WHERE port = $port") eq $gateway;
		$client->close;
	}
}
my $callee = client(0, 'member', sub => 'Carla');
my $caller = client(1, 'member', sub => 'Cora');

# Calls
my $id = $callee->register('com.echo', sub { my ($args, $kwargs, $details) = @_; return ($args, { %$kwargs, seen => $details }); });
is_deeply($caller->call('com.echo', [ 1, 'ä' ], { x => 2 }), [ 50, 1, {}, [ 1, 'ä' ], { x => 2, seen => {} } ], 'arguments and the result');
is_deeply($caller->call('com.echo', [], {}, disclose_me => \1)->[4]{seen},
	{ caller => $caller->session, caller_authid => 'Cora', caller_authrole => 'member' }, 'the caller discloses itself');
is($caller->result('com.echo', ['again']), 'again', 'a name that the feed is asked for at once');
is($caller->result('com.sql.twice', [4]), 8, 'a function of the database');
is(client(0, '')->result('com.echo', ['guest']), 'guest', 'an anonymous caller');
is(error_uri($caller->call('com.none')), 'wamp.error.no_such_procedure', 'a procedure that nobody has');
$callee->register('com.fail', sub { die [ 'com.error.mine', ['why'], { code => 7 } ]; });
is_deeply([ @{ $caller->call('com.fail') }[ 1, 4, 5, 6 ] ], [ 48, 'com.error.mine', ['why'], { code => 7 } ], 'an error');
is(error_uri(client(1, '')->call('com.fail')), 'wamp.error.not_authorized', 'who must not call');
my $large = 'x' x 60_000;
is($caller->result('com.echo', [$large]), $large, 'a large argument and result');

# Refusals of registrations
sub refused { my ($client, $procedure, %options) = @_; return error_uri($client->request('REGISTER', \%options, $procedure)); }
is(refused($caller, 'com.echo'), 'wamp.error.procedure_already_exists', 'a procedure that another session has');
is(refused($caller, 'com.sql.twice'), 'wamp.error.procedure_already_exists', 'the name of a function');
is(refused($caller, 'wamp.mine'), 'wamp.error.invalid_uri', 'a reserved name');
is(refused($caller, 'org.other'), 'wamp.error.not_authorized', 'a name without the privilege');
is(refused($caller, 'com.' . 'y' x 252), 'wamp.error.invalid_uri', 'a name that is too long');
is(error_uri($caller->request('UNREGISTER', $id)), 'wamp.error.no_such_registration', 'the registration of another session');

# Patterns, several callees
$callee->register('com.device.', sub { return ([ 'prefix', $_[2]{procedure} ]); }, match => 'prefix');
$callee->register('com..reboot', sub { return (['wildcard']); }, match => 'wildcard');
is_deeply($caller->call('com.device.1')->[3], [ 'prefix', 'com.device.1' ], 'a prefix');
is_deeply($caller->call('com.other.reboot')->[3], ['wildcard'], 'a wildcard');
$_->[0]->register('com.shared', do { my $name = $_->[1]; sub { return ([$name]); } }, invoke => 'roundrobin') for [ $callee, 'a' ], [ $caller, 'b' ];
is(join('', map { $caller->result('com.shared') } 1 .. 4), 'abab', 'two sessions in turn');

# Progress, in order, and nothing after the result
$callee->register('com.count', sub {
		my ($args, $kwargs, $details, $invocation) = @_;
		$callee->send([ 'YIELD', $invocation, { progress => \1 }, [$_] ]) for 1 .. $args->[0];
		return (['done']);
	});
my $request = $caller->start('CALL', { receive_progress => \1 }, 'com.count', [5]);
is_deeply($caller->answer('CALL', $request)->[3], ['done'], 'the last result');
is_deeply([ map { $_->[3][0] } $caller->progress($request) ], [ 1 .. 5 ], 'those before');
is($caller->result('com.count', [5]), 'done', 'nobody asks for progress');

# Calls that do not end by themselves
my $held;
sub hold { $held = $_[3]; return undef; }		## no critic: undef means that there is no answer yet
sub held
{
	my $client = shift // $callee;
	$client->wait_for(sub { return $held; }, 'an invocation');
	my $id = $held;
	undef $held;
	return $id;
}
$callee->register('com.hang', \&hold);
sub hanging
{
	my (%options) = @_;
	my $request = $caller->start('CALL', \%options, 'com.hang');
	return ($request, held());
}
my ($call, $invocation) = hanging(timeout => 100);
is(error_uri($caller->answer('CALL', $call)), 'wamp.error.timeout', 'a timeout');
is_deeply([ @{ $callee->next_message('INTERRUPT') }[ 1, 2 ] ], [ $invocation, { mode => 'killnowait', reason => 'wamp.error.timeout' } ], 'interrupts');
($call, $invocation) = hanging();
$caller->send([ 'CANCEL', $call, { mode => 'kill' } ]);
is($callee->next_message('INTERRUPT')->[2]{mode}, 'kill', 'a call is cancelled');
$callee->send([ 'ERROR', 68, $invocation, {}, 'wamp.error.canceled' ]);
is(error_uri($caller->answer('CALL', $call)), 'wamp.error.canceled', 'the callee agrees');
($call, $invocation) = hanging();
$caller->send([ 'CANCEL', $call, { mode => 'skip' } ]);
is(error_uri($caller->answer('CALL', $call)), 'wamp.error.canceled', 'a call is skipped');
$callee->send([ 'YIELD', $invocation, {}, ['late'] ]);
is($caller->result('com.echo', [1]), 1, 'its result comes to nobody');

foreach my $known ('unknown', 'known')
{
	my $call = $caller->start('CALL', {}, 'com.sql.sleepy');
	wait_for(sub { sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleepy%' AND wait_event = 'PgSleep'}) > 0 }, 'a function sleeps');
	$caller->send([ 'CANCEL', $call, {} ]);
	is(error_uri($caller->answer('CALL', $call)), 'wamp.error.canceled', "a call of a function is cancelled, whose name is $known");
	wait_for(sub { sql(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}) == 0 }, 'the end of the function');
}

foreach my $time ('first', 'second')
{
	is(error_uri($caller->call('com.sql.sleepy', [], {}, timeout => 200)), 'wamp.error.timeout', "a call of a function times out, for the $time time");
	wait_for(sub { sql(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}) == 0 }, 'the end of the function');
}
is($caller->result('com.sql.twice', [4], {}, timeout => 100_000), 8, 'a call of a function in time');
ok($caller->welcome->{roles}{dealer}{features}{call_timeout}, 'WELCOME says that there are timeouts');

# Ends: of a registration, of the callee, of the caller
is($callee->request('UNREGISTER', $id)->[0], 67, 'UNREGISTERED');
is(error_uri($caller->call('com.echo')), 'wamp.error.no_such_procedure', 'the procedure is gone');
sql(q{SELECT notify_expose('late()', 'com.echo')});
is($caller->result('com.echo'), 'late', 'a function that has its name now');
my $other = client(0, 'member');
$other->register('com.slow', \&hold);
$call = $caller->start('CALL', {}, 'com.slow');
held($other);
$other->close;
is(error_uri($caller->answer('CALL', $call)), 'wamp.error.canceled', 'the callee leaves');
$other = client(0, 'member');
$other->start('CALL', {}, 'com.hang');
held();
$other->close;
is($callee->next_message('INTERRUPT')->[2]{reason}, 'wamp.error.canceled', 'the caller leaves');

# The meta API, and its events
my $boss = client(1, 'boss');
is($boss->result('wamp.session.count'), scalar(@{ $boss->result('wamp.session.list') }), 'sessions');
is_deeply($boss->result('wamp.session.get', [ $callee->session ]),
	{ session => $callee->session, authid => 'Carla', authrole => 'member', authmethod => 'token', authprovider => 'jwt' }, 'a session');
is(error_uri($caller->call('wamp.session.count')), 'wamp.error.not_authorized', 'needs the privilege');
my %topics = map { $boss->subscribe("wamp.$_") => $_ } qw(session.on_join session.on_leave registration.on_create registration.on_delete);
$other = client(0, 'member', sub => 'Otto');
my $session = $other->session;
my $hang = $other->register('com.otto');
is($boss->result('wamp.registration.match', ['com.otto']), $hang, 'a registration');
is($boss->result('wamp.registration.get', [$hang])->{uri}, 'com.otto', 'its name');
is_deeply($boss->result('wamp.registration.list_callees', [$hang]), [$session], 'its callee');
is_deeply($boss->call('wamp.session.kill', [$session], { reason => 'com.bye', message => 'Go' })->[3], [undef], 'kill a session');
is_deeply([ @{ $other->next_message('GOODBYE') }[ 1, 2 ] ], [ { message => 'Go' }, 'com.bye' ], 'it is told why');
my @events;
while (!@events || $events[-1][0] ne 'session.on_leave')
{
	my $event = $boss->next_event;
	my $first = $event->{args}[0];
	push @events, [ $topics{ $event->{subscription} }, $event->{args} ] if (ref $first ? $first->{session} : $first) == $session;
}
is_deeply([ map { $_->[0] } @events ], [qw(session.on_join registration.on_create registration.on_delete session.on_leave)], 'events');
is($events[0][1][0]{authid}, 'Otto', 'the session that has joined');
is_deeply($events[3][1], [ $session, 'Otto', 'member' ], 'and left');

# The privilege is revoked: the client is told.
$id = $callee->register('com.gone', sub { return ([1]); });
sql(q{SELECT notify_revoke('com.*', 'member', 'register')});
like($callee->next_message('UNREGISTERED')->[2]{reason}, qr/not_authorized/, 'a registration without the privilege ends');
sql(q{SELECT notify_grant('com.*', 'member', 'register')});
wait_for(sub { return $callee->request('REGISTER', {}, 'com.again')->[0] == 65; }, 'the privilege');
$callee->register('com.hang', \&hold);

# The feed is replaced. Sessions and registrations stay, calls under way do not.
$id = $callee->register('com.stays', sub { return (['here']); });
($call, $invocation) = hanging();
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'});
is(error_uri($caller->answer('CALL', $call)), 'wamp.error.unavailable', 'a call under way fails');
my $answer;
wait_for(sub { $answer = $caller->call('com.stays'); return $answer->[0] == 50; }, 'the registration is back');
is($answer->[3][0], 'here', 'and answers');
($call, my $new) = hanging();
isnt($new, $invocation, 'an invocation has another number than those before');
$callee->send([ 'YIELD', $invocation, {}, ['old'] ]);
$callee->send([ 'YIELD', $new, {}, ['new'] ]);
is($caller->answer('CALL', $call)->[3][0], 'new', 'and an old answer is none to it');
is($callee->request('UNREGISTER', $id)->[0], 67, 'it can be unregistered');

unlike(slurp_file($node->logfile), qr/sent an invalid frame|PANIC|TRAP/, 'no frame was invalid');

$_->close for $caller, $boss;
$node->stop;

# Without workers the feed still has what sessions have registered.
$node = notifyd_node('idle', conf => "pg_notifyd.query_workers = 0\n");
sql(q{
	CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
	SELECT notify_expose('one()', 'com.one'), notify_grant('com.*', 'guest', 'register'), notify_grant('com.*', 'guest', 'call');
});
$callee = wamp_client($node, realm => 'postgres');
$caller = wamp_client($node, realm => 'postgres');
$callee->register('com.two', sub { return ([2]); });
is($caller->result('com.two'), 2, 'a procedure of a session, without workers') for 1 .. 2;
is_deeply([ @{ $caller->call('com.one') }[ 4, 5 ] ], [ 'wamp.error.unavailable', ['queries are disabled by pg_notifyd.query_workers'] ],
	'a function cannot be called then, and the client learns why');
$_->close for $callee, $caller;
$node->stop;
done_testing();
