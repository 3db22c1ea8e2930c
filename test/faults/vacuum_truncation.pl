# VACUUM does not truncate a log file, whether or not a writer has reserved space in it without
# having added its rows yet. All rows are found. Needs a library with fail points.

use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('places');
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
sub insert
{
	my ($from, $to, $points) = @_;
	return $node->psql('postgres', qq{
		SET pg_notifyd.fail_points = '$points';
		BEGIN; INSERT INTO t SELECT i, repeat('x', 5000) FROM generate_series($from, $to) AS i; COMMIT});
}

sub blocks
{
	return $node->safe_psql('postgres', q{SELECT pg_relation_size('notifyd.log_0') / 8192});
}

# Rows at the end of the file that VACUUM may remove, with their blocks. Returns the file's length
# in blocks.
sub roll_back
{
	isnt((insert(101, 130, 'commit-before=error'))[0], 0, 'a transaction is rolled back after its rows were added');
	return blocks();
}

my $client = notifyd_client($node);
$client->subscribe('t');
insert(1, 3, '');
my $before = roll_back();

$node->append_conf('postgresql.conf', "pg_notifyd.fail_points = 'pending-reserved=pause'");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('pg_notifyd.fail_points') <> ''}) or die 'no fail point';
my $held = $node->background_psql('postgres');
$held->query_until(qr/began/, q{
	\echo began
	INSERT INTO t SELECT i, repeat('x', 5000) FROM generate_series(201, 210) AS i;
});
$node->poll_query_until('postgres', q{SELECT in_flight > 0 FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'})
  or die 'nobody is held';

$node->safe_psql('postgres', 'VACUUM (TRUNCATE) notifyd.log_0');
cmp_ok(blocks(), '>=', $before, 'VACUUM does not cut the file while a writer has room in it');
insert($_, $_, '') for 301 .. 335;
$node->append_conf('postgresql.conf', "pg_notifyd.fail_points = ''");
$node->reload;
$held->query_safe('SELECT 1');
$before = roll_back();
$node->safe_psql('postgres', 'VACUUM (TRUNCATE) notifyd.log_0');
is(blocks(), $before, 'nor when nobody has');
insert($_, $_, '') for 401 .. 430;

my @want = (1 .. 3, 201 .. 210, 301 .. 335, 401 .. 430);
my @events = $client->next_events(scalar @want);
is_deeply([ map { $_->{key}{id} } @events ], \@want, 'all arrive live, in order of id');

foreach my $at (0, 2, 12, 13, 20, 30, 47, 60)
{
	my $resumed = notifyd_client($node);
	$resumed->subscribe('t', since => $events[$at]{position});
	$node->safe_psql('postgres', "INSERT INTO t VALUES (1000 + $at)");
	$resumed->wait_for(sub { grep { $_->{key}{id} == 1000 + $at } $resumed->events }, 'the event after');
	is_deeply([ grep { $_ < 1000 } map { $_->{key}{id} } $resumed->events ],
		[ @want[ $at + 1 .. $#want ] ], "and on resume behind event $at");
	$resumed->close;
}

$held->quit;
$node->stop;
done_testing();
