# Floods of WAMP: registrations in masses, calls that nobody answers, answers that nobody has asked for, results in progress without end to a
# client that does not read, and challenges. Nobody else is disturbed, and the memory of the feed and of the gateway stays bounded.
use strict;
use warnings;

use Mojo::IOLoop;
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member'], conf => "pg_notifyd.max_clients = 2000\npg_notifyd.keepalive = 0\n");
my $unavailable = 'wamp.error.unavailable';

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
	CREATE FUNCTION echo(a json) RETURNS json LANGUAGE sql IMMUTABLE AS 'SELECT a';
	SELECT notify_expose('echo(json)', 'com.echo');
	SELECT notify_grant('com.*', 'guest', p) FROM unnest('{call,register}'::text[]) AS p;
	SELECT notify_grant('wamp.registration.list', 'guest', 'call');
	SELECT notify_wamp_user('joe', 'member', 'x', 1000);
});
my $watcher = wamp_client($node, realm => 'postgres');
$watcher->subscribe('t');
my ($gateway) = gateway_pids($node);
my $feed = sql(q{SELECT pid FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'pg_notifyd feed%'});
like($feed, qr/^\d+$/, 'the feed');

# Memory of its own, in kB
sub memory { return map { process_status($_, 'RssAnon') =~ s/ kB//r } $gateway, $feed; }

sub established { return wamp_client($node, realm => 'postgres', @_); }

# End a connection without a word.
sub drop { Mojo::IOLoop->stream($_[0]{tx}->connection)->close; return; }

# All clients of the flood have left, and the watcher has been served meanwhile.
my $events = 0;
sub is_over
{
	my $name = shift;
	wait_for(sub { sql('SELECT count(*) FROM notifyd.clients') == 1 }, "$name: all have left");
	sql('INSERT INTO t DEFAULT VALUES');
	is($watcher->next_event->{kwargs}{new}{id}, ++$events, "$name: an event for another session");
	is($watcher->result('com.echo', [7]), 7, 'and a call');
	return;
}

# The memory at the fullest moment of a flood
my @peak = (0, 0);
sub sample
{
	my @now = memory();
	$peak[$_] = $now[$_] > $peak[$_] ? $now[$_] : $peak[$_] for 0, 1;
	return;
}

sub is_ratio
{
	my ($name, $before, $after, $limit) = @_;
	for my $i (0, 1)
	{
		my $process = ('gateway', 'feed')[$i];
		my $ratio = sprintf '%.2f', $after->[$i] / $before->[$i];
		note("$name, $process: $before->[$i] kB, then $after->[$i] kB, ratio $ratio");
		cmp_ok($ratio, '<', $limit, "$name: the memory of the $process");
	}
	return;
}

# A flood several times, and then three times as large: neither what it takes nor what it leaves grows with it.
sub is_bounded
{
	my ($name, $flood, $rounds) = @_;
	my @before;

	@peak = (0, 0);
	for my $round (1 .. $rounds)
	{
		$flood->($round, $round * 2 > $rounds ? 3 : 1);
		next if $round * 2 != $rounds;
		wait_for(sub { sql('SELECT count(*) FROM notifyd.clients') == 1 }, "$name: all have left");
		sample();
		@before = @peak;
		@peak = (0, 0);
	}
	is_over($name);
	is_ratio("$name, at most", \@before, \@peak, 1.5) if $peak[0];
	is_ratio("$name, afterwards", \@before, [ memory() ], 1.25);
	return;
}

# REGISTER and UNREGISTER
my $n = 0;
is_bounded('registrations', sub {
	my ($round, $size) = @_;
	my $client = established();
	my $base = $n += 10_000;
	my @answers;

	$client->send([ 'REGISTER', $_, { match => ('exact', 'prefix')[ $_ % 2 ] }, 'com.r' . ($base + $_) ]) for 1 .. 1500 * $size;
	$client->wait_for(sub { @answers = grep { $_->[0] == 65 || $_->[0] == 8 } $client->received; @answers == 1500 * $size }, 'answers to REGISTER');
	my @ids = map { $_->[2] } grep { $_->[0] == 65 } @answers;
	is(scalar @ids, 1000, 'as many registrations as a session may have') if $round == 1;
	is((grep { $_->[0] == 8 && $_->[4] eq $unavailable } @answers), 500, 'the others are refused') if $round == 1;
	$client->send([ 'UNREGISTER', 2000 + $_, $ids[$_] ]) for 0 .. 499;
	$client->send([ 'UNREGISTER', 3000 + $_, $ids[ $_ % 500 ] ]) for 0 .. 499;
	$client->wait_for(sub { @answers = grep { $_->[0] == 67 || $_->[0] == 8 && $_->[1] == 66 } $client->received; @answers == 1000 },
		'answers to UNREGISTER');
	is((grep { $_->[0] == 67 } @answers), 500, 'half of them end, once') if $round == 1;
	sample();
	$client->close;
}, 6);
is(scalar @{ $watcher->result('wamp.registration.list')->{exact} }, 0, 'no registration is left');

# Calls of a callee that reads them and never answers; then the callee leaves, and all callers have their answers.
is_bounded('calls without an answer', sub {
	my ($round, $size) = @_;
	my ($callee, @callers) = map { established() } 0 .. 2;
	my $text = 'x' x 1000;

	$callee->register("com.never$round", sub { return undef });
	for my $caller (@callers)
	{
		$caller->send([ 'CALL', $_, {}, "com.never$round", [$text] ]) for 1 .. 1200 * $size;
	}
	for my $caller (@callers)
	{
		$caller->wait_for(sub { (grep { $_->[0] == 8 } $caller->received) >= 1200 * $size - 1000 }, 'what is too much is refused');
	}
	is($watcher->result('com.echo', [$round]), $round, 'others call meanwhile');
	sample();
	$callee->close;
	for my $caller (@callers)
	{
		$caller->wait_for(sub { (grep { $_->[0] == 8 } $caller->received) == 1200 * $size }, 'the rest fail with the callee');
		$caller->close;
	}
}, 4);

# The same with a callee that does not even read: its calls fail when its queue is full.
is_bounded('a callee that does not read', sub {
	my ($round, $size) = @_;
	my ($callee, $caller) = map { established() } 0 .. 1;
	my $text = 'x' x 50_000;

	$callee->register("com.unread$round", sub { return undef });
	$callee->stop_reading;
	$caller->send([ 'CALL', $_, {}, "com.unread$round", [$text] ]) for 1 .. 150 * $size;
	$caller->wait_for(sub { grep { $_->[0] == 8 && $_->[4] eq $unavailable } $caller->received }, 'a call that fails');
	$caller->{last_request} = 10_000;
	is($caller->result('com.echo', [1]), 1, 'the caller goes on');
	sample();
	drop($_) for $caller, $callee;
}, 4);

# Answers that nobody has asked for, and answers of another session
{
	my ($callee, $caller, $other) = map { established() } 0 .. 2;
	my $invocation;

	$callee->register('com.held', sub { $invocation = $_[3]; return undef });
	my $call = $caller->start('CALL', { receive_progress => \1 }, 'com.held');
	$callee->wait_for(sub { $invocation }, 'the invocation');
	my @before = memory();
	for my $client ($other, $caller)
	{
		$client->send([ 'YIELD', $invocation, {}, ['forged'] ]);
		$client->send([ 'YIELD', $invocation, { progress => \1 }, ['forged'] ]);
		$client->send([ 'ERROR', 68, $invocation, {}, 'com.forged' ]);
	}
	for my $client ($other, $callee)
	{
		$client->send([ 'YIELD', $_ == $invocation ? 9000000000000000 : $_, {}, ['nobody'] ]) for 1 .. 5_000, map { 9007199254740992 - $_ } 0 .. 99;
		$client->send([ 'ERROR', 68, $_ == $invocation ? 9000000000000000 : $_, {}, 'com.nobody' ]) for 1 .. 1_000;
	}
	is($_->result('com.echo', [1]), 1, 'who answers what was not asked goes on') for $other, $callee;
	is_deeply([ grep { $_->[0] == 50 && $_->[1] == $call || $_->[0] == 8 } $caller->received ], [], 'and the call has no answer of these');
	$callee->send([ 'YIELD', $invocation, {}, ['right'] ]);
	is($caller->answer('CALL', $call)->[3][0], 'right', 'but that of the callee');
	$callee->send([ 'YIELD', $invocation, {}, ['again'] ]);
	is($callee->result('com.echo', [2]), 2, 'a second answer of the callee');
	is($caller->result('com.echo', [2]), 2, 'is none for the caller');
	is((grep { $_->[0] == 50 && $_->[1] == $call } $caller->received), 1, 'who has one result');
	$_->close for $callee, $caller, $other;
	is_over('answers without a call');
	is_ratio('answers without a call', \@before, [ memory() ], 1.25);
}

# Results in progress without end, to a caller that does not read: the call ends, and the callee is told.
is_bounded('results without end', sub {
	my ($round, $size) = @_;
	my ($callee, $caller) = map { established() } 0 .. 1;
	my $text = 'x' x 10_000;
	my ($invocation, $told);

	$callee->register("com.endless$round", sub { $invocation = $_[3]; return undef });
	my $call = $caller->start('CALL', { receive_progress => \1 }, "com.endless$round");
	$callee->wait_for(sub { $invocation }, 'the invocation');
	$caller->stop_reading;
	for (1 .. 200)
	{
		$callee->send([ 'YIELD', $invocation, { progress => \1 }, [$text] ]) for 1 .. 50;
		last if $told = grep { $_->[0] == 69 && $_->[1] == $invocation } $callee->received;
		is($watcher->result('com.echo', [1]), 1, 'others call meanwhile') if $_ % 20 == 1 && $round == 1;
		$callee->wait_for(sub { $callee->{tx} && !Mojo::IOLoop->stream($callee->{tx}->connection)->bytes_waiting }, 'the results are written');
	}
	$callee->wait_for(sub { grep { $_->[0] == 69 && $_->[1] == $invocation } $callee->received }, 'INTERRUPT');
	$callee->send([ 'YIELD', $invocation, { progress => \1 }, [$text] ]) for 1 .. 200 * $size;
	is($callee->result('com.echo', [3]), 3, 'the callee goes on');
	sample();
	drop($_) for $caller, $callee;
}, 4);

# Challenges
is_bounded('challenges', sub {
	my ($round) = @_;
	my @clients = map { wamp_client($node) } 1 .. 60;
	$_->send([ 'HELLO', 'postgres', { authmethods => ['wampcra'], authid => 'x' x (155 + rand 100) } ]) for @clients;
	# A third leaves at once, a third when it is challenged, and the others answer.
	$clients[$_]->close for 0 .. 19;
	$_->next_message('CHALLENGE', 'ABORT') for @clients[ 20 .. 59 ];
	$_->close for @clients[ 20 .. 39 ];
	$_->send([ 'AUTHENTICATE', 'x' x 44, {} ]) for @clients[ 40 .. 59 ];
	is((grep { error_uri($_->next_message('ABORT')) eq 'wamp.error.authentication_failed' } @clients[ 40 .. 59 ]), 20, 'wrong signatures')
	  if $round == 1;
	is(wamp_client($node)->hello('postgres', { authmethods => ['wampcra'], authid => 'joe' })->[0], 4, 'another is challenged') if $round == 2;
	$_->close for grep { $_->connected } @clients;
}, 16);

is_deeply([ gateway_pids($node) ], [$gateway], 'the gateway is the same process');
is(sql(q{SELECT pid FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'pg_notifyd feed%'}), $feed, 'and the feed');
done_testing();
