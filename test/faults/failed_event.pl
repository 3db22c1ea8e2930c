# An event whose capture fails half-way leaves nothing behind for later events of the transaction.
# Needs a library with fail points.

use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('half');
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
my $client = notifyd_client($node);
$client->subscribe('t');

# Rows of so many bytes: small ones stay in memory until the commit, many large ones are moved to a
# file meanwhile.
foreach my $size (10, 10_000)
{
	my $insert = "INSERT INTO t SELECT i, repeat('x', $size) FROM generate_series";
	my ($code, undef, $errors) = $node->psql('postgres', qq{
		BEGIN;
		SAVEPOINT first;
		SET pg_notifyd.fail_points = 'event-written=error';
		$insert(1, 1) AS i;
		ROLLBACK TO first;
		$insert(2, 61) AS i;
		SAVEPOINT second;
		$insert(62, 90) AS i;
		SET pg_notifyd.fail_points = 'event-written=error';
		$insert(91, 91) AS i;
		ROLLBACK TO second;
		$insert(92, 100) AS i;
		COMMIT;
		BEGIN;
		SET pg_notifyd.fail_points = 'event-written=error';
		$insert(101, 101) AS i;
		COMMIT;
		SET pg_notifyd.fail_points = '';
		$insert(102, 102) AS i;
	}, on_error_stop => 0);
	is(scalar(() = $errors =~ /fail point/g), 3, "rows of $size bytes: three statements fail");
	my @want = (2 .. 61, 92 .. 100, 102);
	my @events = $client->next_events(scalar @want);
	is_deeply([ map { $_->{key}{id} } @events ], \@want, 'those that have not failed arrive');
	is_deeply([ grep { $_->{new}{v} ne 'x' x $size } @events ], [], 'and are whole');
	$node->safe_psql('postgres', 'SET pg_notifyd.fail_points = \'\'; DELETE FROM t');
	$client->next_events(scalar @want);
}

$client->close;
$node->stop;
done_testing();
