# A session of WAMP that does not read what it is sent takes a bounded amount of memory, in the gateway and in the feed, and others
# do not notice it. When it reads again it gets what is promised.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my ($messages, $size) = (3000, 10_000);
my $node = notifyd_node('slow', roles => ['member'], conf => "pg_notifyd.client_buffer = '1MB'\npg_notifyd.keepalive = 0\npg_notifyd.idle_timeout = 0\n");
sub sql { return $node->safe_psql('postgres', join ';', @_); }
sql(q{SELECT notify_grant('com.log.a', 'guest', p) FROM unnest('{subscribe,publish}'::text[]) p},
	q{SELECT notify_grant('com.*', 'guest', p) FROM unnest('{subscribe,publish,call,register}'::text[]) p});
wait_healthy($node);

# The memory that the gateway and the feed take, in bytes, without the server's shared memory.
sub memory
{
	my $sum = 0;
	foreach my $pid (gateway_pids($node), sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'}))
	{
		$sum += 1024 * (process_status($pid, 'RssAnon') =~ /(\d+)/)[0];
	}
	return $sum;
}

# A client that keeps the numbers of its messages and not the messages themselves: a list of the numbers by subscription, with
# RESET between them.
sub listener
{
	my $client = wamp_client($node, realm => 'postgres');
	$client->{tx}->unsubscribe('text');
	$client->{tx}->on(
		text => sub {
			my $text = $_[1];
			if ($text =~ /^\[36,(\d+),.*"op":"RESET"/) { push @{ $client->{numbers}{$1} }, 'RESET'; }
			elsif ($text =~ /^\[36,(\d+),.*"n" ?: ?(\d+)/) { push @{ $client->{numbers}{$1} }, 0 + $2; }
			else { $client->_arrived($text); }
		});
	return $client;
}
sub numbers { my ($client, $subscription) = @_; return @{ $client->{numbers}{$subscription} // [] }; }

sub wait_number
{
	my ($client, $subscription, $n, $who) = @_;
	$client->wait_for(sub { my @got = numbers($client, $subscription); @got && $got[-1] eq $n }, "$who: message $n");
	return;
}

# What is wrong with the numbers from 1 to a last one; messages may be missing where there is a RESET, if that is allowed.
sub problem
{
	my ($last, $resets, @got) = @_;
	my ($next, $reset) = (1, 0);
	foreach my $n (@got)
	{
		if ($n eq 'RESET')
		{
			return 'a reset' if !$resets;
			$reset = 1;
			next;
		}
		return "$n instead of $next" if $reset ? $n < $next : $n != $next;
		($next, $reset) = ($n + 1, 0);
	}
	return $next == $last + 1 ? '' : "ends before $next";
}

my $filler = 'x' x $size;
# Messages in the log, in many transactions.
sub log_messages
{
	my ($first, $last) = @_;
	sql(map { "SELECT count(notify_send('com.log.a', json_build_object('n', i, 'filler', '$filler'))) FROM generate_series($_, " . ($_ + 49 < $last ? $_ + 49 : $last) . ') i' }
		grep { ($_ - $first) % 50 == 0 } $first .. $last);
	return;
}
my $publisher = wamp_client($node, realm => 'postgres');

# Messages that are not. Returns when they are published.
sub talk_messages
{
	my ($first, $last) = @_;
	my $request;
	$request = $publisher->start('PUBLISH', { $_ % 50 && $_ != $last ? () : (acknowledge => \1) }, 'com.talk.a', [], { n => $_, filler => $filler })
	  and ($_ % 50 && $_ != $last or $publisher->answer('PUBLISH', $request)) foreach $first .. $last;
	return;
}

# Let one client sleep while others get these messages.
sub while_asleep
{
	my ($name, $sleeper, $send, @awake) = @_;
	my $before = memory();
	$sleeper->stop_reading;
	$send->(501, $messages);
	wait_number(@$_, $messages, 'a neighbour') foreach @awake;
	check_memory($name, $before);
	return;
}

# Memory must not grow with what the client does not take: about 10 MB of that are in buffers of the kernel.
sub check_memory
{
	my ($name, $before) = @_;
	my $grown = memory() - $before;
	note(sprintf '%s: memory has grown by %.1f MB', $name, $grown / 1e6);
	cmp_ok($grown, '<', 0.2 * $messages * $size, "$name: memory is bounded");
	return;
}

# ---------------- events ----------------

# Reads nothing until the end of the test.
my $never = listener();
$never->subscribe('com.talk.a');

foreach my $kind (
	[ 'a topic in the log', { exact => 'com.log.a' }, \&log_messages, 0 ],
	[ 'a topic that is not', { exact => 'com.talk.a' }, \&talk_messages, 1 ],
	[ 'a pattern, and messages in the log', { prefix => 'com.log.' }, \&log_messages, 0 ],
	[ 'a pattern, and messages that are not', { prefix => 'com.talk.' }, \&talk_messages, 1 ])
{
	my ($name, $topic, $send, $resets) = @$kind;
	my ($match, $uri) = %$topic;
	my @clients = map { listener() } 1 .. 2;
	my $id;
	$id = $_->subscribe($uri, match => $match) foreach @clients;
	# All of them read: what that takes is not counted.
	$send->(1, 500);
	wait_number($_, $id, 500, $name) foreach @clients;
	$never->stop_reading;
	while_asleep($name, $clients[0], $send, [ $clients[1], $id ]);
	is(problem($messages, 0, numbers($clients[1], $id)), '', "$name: a neighbour gets all");
	$clients[0]->start_reading;
	if ($resets)
	{
		$clients[0]->wait_for(sub { grep { $_ eq 'RESET' } numbers($clients[0], $id) }, 'a reset');
		cmp_ok(scalar(numbers($clients[0], $id)), '<', $messages, "$name: messages are lost");
	}
	else { wait_number($clients[0], $id, $messages, $name); }
	$send->($messages + 1, $messages + 1);
	wait_number($_, $id, $messages + 1, "$name, again") foreach @clients;
	is(problem($messages + 1, $resets, numbers($clients[0], $id)), '', "$name: " . ($resets ? 'a reset says so, and the others are in order' : 'all in order'));
	$_->close foreach @clients;
}

# ---------------- calls ----------------

my ($callee, $caller, $neighbour) = map { wamp_client($node, realm => 'postgres') } 1 .. 3;
$neighbour->register('com.near', sub { return (['near']); });
# Others call each other meanwhile.
sub others_call { return $publisher->result('com.near') eq 'near'; }

{
	my $invocation;
	$callee->register('com.many', sub { $invocation = $_[3]; return undef; });		## no critic: the test answers
	my $request = $caller->start('CALL', { receive_progress => \1 }, 'com.many');
	$callee->wait_for(sub { $invocation }, 'an invocation');
	my $before = memory();
	$caller->stop_reading;
	foreach my $n (1 .. $messages)
	{
		$callee->send([ 'YIELD', $invocation, { progress => \1 }, [ $n, $filler ] ]);
		ok(others_call(), "others call meanwhile, $n") if $n % 1000 == 0;
	}
	$callee->wait_for(sub { grep { $_->[0] == 69 && $_->[1] == $invocation } $callee->received }, 'INTERRUPT');
	check_memory('results in progress', $before);
	$caller->start_reading;
	my $answer = $caller->answer('CALL', $request);
	is(error_uri($answer), 'wamp.error.unavailable', 'the call of a caller that does not read fails');
	my @progress = map { $_->[3][0] } $caller->progress($request);
	is_deeply(\@progress, [ 1 .. @progress ], 'after ' . @progress . ' results in order');
	$callee->send([ 'ERROR', wamp_type('INVOCATION'), $invocation, {}, 'wamp.error.canceled' ]);
	ok($caller->result('com.near') eq 'near', 'and it can call others');
	is(scalar(grep { $_->[0] == 50 && $_->[1] == $request && !$_->[2]{progress} || $_->[0] == 8 && $_->[2] == $request } $caller->received), 1, 'it got one answer');
}
{
	my @asked;
	$callee->register('com.slow', sub { push @asked, $_[0][0]; return ([ $_[0][0] ]); });
	my $before = memory();
	$callee->stop_reading;
	my @requests;
	# No more than a session may have under way.
	foreach my $round (1 .. 6)
	{
		my @round = map { $caller->start('CALL', {}, 'com.slow', [ $_, $filler ]) } map { 500 * $round + $_ } 1 .. 500;
		push @requests, @round;
		ok(others_call(), "others call meanwhile, $round");
		my $failed;
		$caller->wait_for(
			sub {
				$failed = grep { $_->[0] == 8 } $caller->received;
				return @requests - $failed < 1000;
			}, 'errors') if @requests >= 1500;
	}
	check_memory('invocations', $before);
	$callee->start_reading;
	my %answers;
	foreach my $request (@requests)
	{
		# The callee answers while this waits.
		my $answer = $caller->answer('CALL', $request);
		$answers{ $answer->[0] == 50 ? 'result' : $answer->[4] }++;
	}
	is_deeply([ sort keys %answers ], [ 'result', 'wamp.error.unavailable' ], "calls of a callee that does not read: $answers{result} wait, the others fail");
	is_deeply(\@asked, [ sort { $a <=> $b } @asked ], 'it gets them in order');
	is($caller->result('com.slow', [7]), 7, 'and it is called again');
}

# ---------------- the end ----------------

# What reads nothing at all is closed.
wait_for(sub { slurp_file($node->logfile) =~ /client \S+ is closed: \d+ bytes were queued for it/ }, 'close of the one that never reads');
$never->start_reading;
is(($never->wait_closed)[0], 4008, 'one that never reads is closed');
is((grep { $_->[0] == 6 } $never->received)[0][2], 'pg_notifyd.close.too_slow', 'with GOODBYE');

$node->stop;
done_testing();
