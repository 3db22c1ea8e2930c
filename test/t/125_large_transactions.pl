# A large transaction does not hold up other channels, and reaches its own subscribers whole, in
# order and once.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $ROWS = 30000; # many times client_buffer
my $written = 0;  # rows of big
my $others = 0;   # rows of quiet

my $node = notifyd_node('main', conf => "pg_notifyd.client_buffer = '1MB'\n");
$node->safe_psql('postgres', q{
	CREATE TABLE big (id int PRIMARY KEY, name text);
	CREATE TABLE quiet (id int PRIMARY KEY);
	GRANT SELECT ON big, quiet TO guest;
	SELECT notify_watch('big'), notify_watch('quiet');
	SELECT notify_grant('news' || i, 'guest') FROM generate_series(1, 20) i;
});

sub feed_pid
{
	return $node->safe_psql('postgres',
		q{SELECT pid FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres' AND state = 'running'});
}

# Run transactions while the feed is stopped, so that it finds all of them at once.
sub together
{
	my @transactions = @_;
	my $pid = feed_pid();

	kill 'STOP', $pid;
	$node->safe_psql('postgres', $_) foreach @transactions;
	kill 'CONT', $pid;
	return;
}

sub rows
{
	my $n = shift;
	my $first = $written + 1;

	$written += $n;
	return "INSERT INTO big SELECT i, repeat('x', 50) FROM generate_series($first, $written) i";
}

sub other
{
	$others++;
	return "INSERT INTO quiet VALUES ($others)";
}

sub subscriber
{
	my @channels = @_;
	my $client = notifyd_client($node);

	$client->subscribe($_) foreach @channels;
	return $client;
}

sub on
{
	my ($client, $channel) = @_;
	return grep { $_->{channel} eq $channel } $client->events;
}

sub ids { return map { $_->{key}{id} } on(@_); }

# Wait until the client has $n events of big.
sub wait_rows
{
	my ($client, $n) = @_;
	my ($at, $got) = (0, 0);

	$client->wait_for(
		sub {
			my $received = $client->{received};

			for (; $at < @$received; $at++)
			{
				$got++ if ($received->[$at]{params}{table} // '') eq 'big';
			}
			return $got >= $n;
		},
		"$n events of big");
	return;
}

sub has_all
{
	my ($client, $first, $who) = @_;

	wait_rows($client, $written - $first + 1);
	is_deeply([ ids($client, 'big') ], [ $first .. $written ], "$who: every row, in order, once");
	return;
}

sub number
{
	my $position = shift;
	return (split /-/, $position)[1];
}

# The event of another channel comes first, although its transaction was the last.
my $both = subscriber('big', 'quiet');
my $searching = notifyd_client($node);
$searching->subscribe('big', ops => ['TRUNCATE']);
my $other = subscriber('quiet');
my $stopped = subscriber('big', 'quiet');
$stopped->stop_reading;
together(rows($ROWS), rows(1), other());
is($other->next_event->{key}{id}, 1, 'an event of another channel');
is($both->next_event->{channel}, 'quiet', 'it comes before the large transaction');
has_all($both, 1, 'a client that reads');
is((on($both, 'big'))[0]{of}, $ROWS, 'the large transaction is one');

# Nobody waits for a client that does not read, and the statistics do not count it.
foreach (1 .. 3)
{
	$node->safe_psql('postgres', $_) foreach other(), rows(1);
	is($other->next_event->{key}{id}, $others, 'another event');
}
has_all($both, 1, 'live again');
wait_for(
	sub {
		$node->safe_psql('postgres', q{SELECT coalesce(lag, '0') = '0' FROM notifyd.stats
			WHERE kind = 'database' AND name = 'postgres'}) eq 't';
	},
	'no lag');
is(http_get($node, '/healthz')->code, 200, 'healthy');
$stopped->start_reading;
has_all($stopped, 1, 'one that reads again');
is_deeply([ ids($stopped, 'quiet') ], [ 1 .. $others ], 'and its other subscription');
$node->safe_psql('postgres', 'BEGIN; DELETE FROM big; TRUNCATE big; ' . rows($ROWS) . '; COMMIT');
is($searching->next_event->{op}, 'TRUNCATE', 'one that wants another operation');
is(scalar($searching->events), 1, 'and gets nothing else');
$_->close foreach $both, $searching, $stopped;

# No position that a client gets is ahead of events that it has not got. The answer to ping comes
# between events of the large transaction.
my $first = $written + 1;
my $pinging = subscriber('big', 'quiet');
together(rows($ROWS), other());
is($pinging->next_event->{channel}, 'quiet', 'the other subscription is ahead');
my $answer = number($pinging->ping->{position});
has_all($pinging, $first, 'a client that pings');
my ($before, $after) = (0, 0);
foreach my $message ($pinging->received)
{
	my $position = number(($message->{result} // $message->{params})->{position});

	if ($message->{result}) { $before = 1 if $position == $answer && !$message->{result}{channel} }
	elsif ($message->{params}{channel} eq 'big') { $after++ if $before && $position <= $answer }
}
is("$before $after", '1 0', 'what comes after the answer has a later position');
$pinging->close;

# Resume in the middle of it: after the connection, the gateway and the feed have ended.
sub in_the_middle
{
	my $client = shift;

	wait_rows($client, $ROWS / 4);
	$client->stop_reading;
	return;
}

sub has_rest
{
	my ($client, $begun, $who) = @_;
	my @had = on($client, 'big');
	my $resumed = notifyd_client($node);

	cmp_ok(scalar(@had), '<', $ROWS, "$who: in the middle");
	$resumed->subscribe('big', since => $had[-1]{position});
	wait_rows($resumed, $ROWS - @had);
	is_deeply([ ids($client, 'big'), ids($resumed, 'big') ], [ $begun .. $written ], "$who: every row, in order, once");
	$resumed->close;
	return;
}

foreach my $kill ('', 'gateway')
{
	my $begun = $written + 1;
	my $client = subscriber('big');

	$node->safe_psql('postgres', rows($ROWS));
	in_the_middle($client);
	if ($kill)
	{
		my ($gateway) = gateway_pids($node);
		kill 'KILL', $gateway;
		wait_for(sub { my ($now) = gateway_pids($node); $now && $now != $gateway }, 'another gateway');
		wait_healthy($node);
	}
	has_rest($client, $begun, $kill || 'connection');
}

my $begun = $written + 1;
my $staying = subscriber('big', 'quiet');
$node->safe_psql('postgres', rows($ROWS));
in_the_middle($staying);
my $pid = feed_pid();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for(sub { (feed_pid() || $pid) != $pid }, 'another feed');
$node->safe_psql('postgres', $_) foreach rows(1), other();
$staying->start_reading;
has_all($staying, $begun, 'another feed');
$staying->wait_for(sub { ids($staying, 'quiet') }, 'the other subscription');
is_deeply([ ids($staying, 'quiet') ], [$others], 'and the other subscription');
$staying->close;

# A smaller transaction is live, and one with many channels reaches all of them.
my $live = subscriber('big', 'quiet', 'news7', 'news20');
together(rows(1000), other());
is(join(' ', map { $_->{channel} } $live->next_events(1001)), 'big ' x 1000 . 'quiet', 'a smaller transaction is live');
together("BEGIN; SELECT notify_send('news' || i, to_json(i)) FROM generate_series(1, 20) i; "
	. rows($ROWS) . q{; SELECT notify_send('news7', '"last"'); COMMIT}, rows(1), other());
$live->wait_for(sub { on($live, 'news7') == 2 && on($live, 'quiet') == 2 && (ids($live, 'big'))[-1] == $written }, 'all of it');
is(join(' ', map { $_->{payload} } on($live, 'news7'), on($live, 'news20')), '7 last 20', 'its messages');
is(scalar(ids($live, 'big')), 1000 + $ROWS + 1, 'its rows');

$node->stop;
done_testing();
