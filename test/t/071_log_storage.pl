# Readers find the rows of the log, which has no index, among dead rows, after truncation and
# rewriting of its files, and after a crash.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('places', init => { allows_streaming => 1 });
$node->safe_psql('postgres', q{
	CREATE TABLE a (id serial PRIMARY KEY, v text);
	GRANT SELECT ON a TO guest;
	SELECT notify_watch('a');
	CREATE PROCEDURE write(n integer) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. n LOOP
			INSERT INTO a (v) VALUES (repeat('v', 100));
			COMMIT;
		END LOOP;
	END $$;
});

my $live = notifyd_client($node);
my @positions = ($live->subscribe('a')->{position});
my @keys;

# Every event so far has come to a client that was there all the time, and comes again from some of the positions.
sub complete
{
	my ($what) = @_;
	my $missing = $node->safe_psql('postgres', 'SELECT count(*) FROM a') - @keys;
	for my $event ($live->next_events($missing))
	{
		push @keys, $event->{key}{id};
		push @positions, $event->{position};
	}
	is(join(' ', @keys), join(' ', split /\n/, $node->safe_psql('postgres', 'SELECT id FROM a ORDER BY id')),
		"$what: all have come");
	my @from = grep { $_ % 23 == 0 } 0 .. $#keys;
	for my $from (@from)
	{
		my $again = notifyd_client($node);
		$again->subscribe('a', since => $positions[$from]);
		my @got = map { $_->{key}{id} } $again->next_events(@keys - $from);
		is("@got", "@keys[$from .. $#keys]", "$what: from event $from on");
		$again->close;
	}
	return;
}

# A transaction fails after it has written its events to the log: the lock that NOTIFY takes for the commit is held
# by one that waits for a standby that there is not.
sub fail_commits
{
	my ($times, $rows) = @_;
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'nobody'});
	my $holder = $node->background_psql('postgres');
	$holder->query_until(qr/began/, "\\echo began\nBEGIN; CREATE TABLE held (); NOTIFY held; COMMIT;\n");
	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')})
	  or die 'nobody waits';
	for (1 .. $times)
	{
		my ($result, undef, $stderr) = $node->psql('postgres', "
			SET synchronous_commit = local;
			SET lock_timeout = 1;
			BEGIN; INSERT INTO a (v) SELECT 'gone' FROM generate_series(1, $rows); NOTIFY gone; COMMIT;");
		like($stderr, qr/lock timeout/, "a commit fails") if $_ == 1;
	}
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	$holder->query_safe('DROP TABLE held');
	$holder->quit;
	return;
}

sub log_blocks
{
	return $node->safe_psql('postgres', q{SELECT pg_relation_size('notifyd.log_0') / current_setting('block_size')::integer});
}

$node->safe_psql('postgres', 'CALL write(100)');
complete('one after the other');

# VACUUM FULL leaves dead rows out and moves the others to other blocks of another file.
fail_commits(3, 200);
$node->safe_psql('postgres', 'CALL write(50)');
my $before = log_blocks();
$node->safe_psql('postgres', 'VACUUM FULL notifyd.log_0');
cmp_ok(log_blocks(), '<', $before, 'VACUUM FULL made the log smaller');
$node->safe_psql('postgres', 'CALL write(50)');
complete('after VACUUM FULL');

# VACUUM cuts the blocks off that had dead rows only: those that everybody was about to write to. The table's setting forbids it,
# the command does it all the same.
my $writer = $node->background_psql('postgres');
$writer->query_safe('CALL write(3)');
fail_commits(3, 200);
$before = log_blocks();
$node->safe_psql('postgres', 'VACUUM notifyd.log_0');
is(log_blocks(), $before, 'VACUUM does not cut the log');
$node->safe_psql('postgres', 'VACUUM (TRUNCATE) notifyd.log_0');
cmp_ok(log_blocks(), '<', $before, 'unless it is told to');
$writer->query_safe('CALL write(3)');
$node->safe_psql('postgres', 'CALL write(100)');
$writer->query_safe('CALL write(100)');
$writer->quit;
complete('after the file was cut');

# Nobody remembers where rows were added.
fail_commits(1, 100);
$node->stop('immediate');
$node->start;
wait_healthy($node);
$live->close;
$live = notifyd_client($node);
$live->subscribe('a', since => $positions[-1]);
$node->safe_psql('postgres', 'CALL write(100)');
complete('after a crash');

done_testing();
