# Replays from nearby positions share one scan of the log, counted as blocks that the feed reads,
# and each client receives what it asked for.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $MANY = 40;
my $ROWS = 20000;

my $node = notifyd_node('main', conf => "pg_notifyd.max_clients_per_address = 1000\n");
$node->safe_psql('postgres', q{
	CREATE TABLE entries (id int PRIMARY KEY);
	CREATE TABLE marker (id int PRIMARY KEY);
	GRANT SELECT ON entries, marker TO guest;
	SELECT notify_watch('entries', op => 'insert,update,delete,truncate'), notify_watch('marker');
});
my $marker = notifyd_client($node);
$marker->subscribe('marker');
my $since = $marker->subscribe('entries')->{position};
$marker->unsubscribe('entries');

# One half as single rows of the log, the other in chunks.
my $half = $ROWS / 2;
$node->safe_psql('postgres', join(';', map { "INSERT INTO entries VALUES ($_)" } 1 .. $half));
$node->safe_psql('postgres', "INSERT INTO entries SELECT generate_series($half + 1, $ROWS)");
my $marked = 0;

sub mark
{
	$marked++;
	$node->safe_psql('postgres', "INSERT INTO marker VALUES ($marked)");
	return $marker->next_event;
}

sub feed_pid
{
	return $node->safe_psql('postgres',
		q{SELECT pid FROM notifyd.stats WHERE kind = 'database' AND state = 'running'});
}

# How many blocks of the log the feed has read meanwhile: it reports that when it ends.
my $so_far = 0;

sub blocks_read
{
	my $work = shift;
	my $before = $so_far;
	$work->();
	my $pid = feed_pid();
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	wait_for(sub { (feed_pid() || $pid) != $pid }, 'another feed');
	mark();
	$so_far = $node->safe_psql('postgres', q{SELECT sum(heap_blks_read + heap_blks_hit)
		FROM pg_statio_all_tables WHERE schemaname = 'notifyd' AND relname LIKE 'log\_%'});
	return $so_far - $before;
}

# This many clients replay at the same time; each ends with the event that is written after what it
# reads.
sub replay
{
	my ($n, %params) = @_;
	my $pid = feed_pid();
	my @clients = map { notifyd_client($node) } 1 .. $n;

	# They wait for all others. The answer to a ping comes from the gateway, which has sent
	# what came before it.
	kill 'STOP', $pid;
	$_->send({ jsonrpc => '2.0', id => 'r', method => 'subscribe',
		params => { channel => 'entries', since => $since, %params } })
	  foreach @clients;
	$_->ping foreach @clients;
	kill 'CONT', $pid;
	return @clients;
}

sub ids
{
	my $client = shift;
	return map { $_->{key}{id} } grep { $_->{op} eq 'INSERT' } $client->events;
}

mark();
blocks_read(sub { });
my $end = 'TRUNCATE';
my $truncates = 0;

sub search
{
	my $n = shift;
	return blocks_read(
		sub {
			my @clients = replay($n, ops => ['TRUNCATE']);
			$node->safe_psql('postgres', 'TRUNCATE entries');
			$truncates++;
			foreach my $client (@clients)
			{
				$client->next_event foreach 1 .. $truncates;
				$client->close;
			}
		});
}
my $one = search(1);
my $many = search($MANY);
cmp_ok($one, '>', 20, 'a replay reads the log');
cmp_ok($many, '<', 4 * $one, "$MANY replays read it a few times");

# What they get, whether they look for little, take much, or take it slowly.
my @clients = replay(6);
my ($searching) = replay(1, ops => ['TRUNCATE']);
my @expected = (1 .. $ROWS);
foreach my $client (@clients)
{
	wait_for(sub { scalar($client->events) >= $ROWS + $truncates }, 'all events');
	is_deeply([ ids($client) ], \@expected, 'all rows, in order, once');
}
$searching->next_event foreach 1 .. $truncates;
is(scalar(grep { $_->{op} ne 'TRUNCATE' } $searching->events), 0, 'and the other got only the operation that it wants');

# Resumed from inside of the transaction that was written in chunks, beside one from the beginning.
my $middle = (grep { ($_->{key}{id} // 0) == $half + 5000 } $clients[0]->events)[0]{position};
my ($whole) = replay(1);
my $part = notifyd_client($node);
$part->subscribe('entries', since => $middle);
wait_for(sub { scalar(ids($_)) == $ROWS || scalar(ids($_)) == $half - 5000 }, 'both replays') foreach $whole, $part;
is_deeply([ ids($part) ], [ $half + 5001 .. $ROWS ], 'from the middle of a transaction');

mark();
$node->stop;
done_testing();
