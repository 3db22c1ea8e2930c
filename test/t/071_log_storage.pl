# Readers find the rows of the log, which has no index, among dead rows and after a crash, and no
# statement moves the rows.
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

# Every event so far has come to a client that was there all the time, and comes again from some of
# the positions.
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

# A transaction fails after it has written its events to the log: the lock that NOTIFY takes for the
# commit is held by one that waits for a standby that there is not.
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

$node->safe_psql('postgres', 'CALL write(100)');
complete('one after the other');

# No statement of an administrator moves rows of the log, or cuts its files, while others write.
sub log_files
{
	return $node->safe_psql('postgres', q{
		SELECT string_agg(pg_relation_filenode(oid) || ' ' || pg_relation_size(oid), ', ' ORDER BY relname)
		FROM pg_class WHERE oid::regclass::text ~ '^notifyd\.(log|bulk)_[0-7]$'});
}

my $writer = $node->background_psql('postgres');
$writer->query_safe('CALL write(3)');
fail_commits(3, 200);
$node->safe_psql('postgres', 'CREATE TABLE gone AS SELECT generate_series(1, 10000); DELETE FROM gone');
my $before = log_files();
for my $statement ('TRUNCATE a, notifyd.log_0', 'TRUNCATE notifyd.bulk_0', 'CLUSTER notifyd.bulk_0 USING bulk_0_id',
	'ALTER TABLE notifyd.log_0 ADD COLUMN v integer', 'ALTER TABLE notifyd.log_0 ALTER COLUMN seq TYPE bigint',
	'ALTER TABLE notifyd.log_0 SET (vacuum_truncate = true)', 'ALTER TABLE notifyd.log_0 RENAME COLUMN id TO number',
	'ALTER TABLE notifyd.log_7 RENAME TO log_8', 'ALTER TABLE notifyd.log_0 SET SCHEMA public')
{
	my ($result, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	like($stderr, qr/ERROR:  0A000: cannot run .* on table "(log|bulk)_\d".*DETAIL:.*HINT:/s, "refused: $statement");
}
for my $options ('FULL', 'TRUNCATE', 'FULL, TRUNCATE off')
{
	my ($result, undef, $stderr) = $node->psql('postgres', "VACUUM ($options) gone, notifyd.log_0, notifyd.bulk_0");
	like($stderr, qr/WARNING:  skipping "log_0".*DETAIL:.*HINT:.*skipping "bulk_0"/s, "VACUUM ($options) skips the log");
	is($result, 0, 'and continues');
}
is($node->safe_psql('postgres', q{SELECT pg_relation_size('gone')}), 0, 'with other tables');
$node->safe_psql('postgres', 'VACUUM (FULL) notifyd.log_0');
$node->safe_psql('postgres', 'INSERT INTO gone SELECT generate_series(1, 10000); DELETE FROM gone');
for my $statement ('VACUUM', 'VACUUM notifyd.log_0', 'VACUUM (TRUNCATE)', 'VACUUM FULL', 'VACUUM (FULL, ANALYZE)',
	'REINDEX TABLE notifyd.bulk_0', 'ALTER TABLE notifyd.log_0 OWNER TO CURRENT_USER')
{
	is($node->psql('postgres', $statement), 0, "possible: $statement");
}
is($node->safe_psql('postgres', q{SELECT pg_relation_size('gone')}), 0, 'VACUUM of a whole database does what it should');
$node->command_ok([ 'vacuumdb', '--full', 'postgres' ], 'vacuumdb --full');
is(log_files(), $before, 'and all leave the log as it was');
$writer->query_safe('CALL write(3)');
$node->safe_psql('postgres', 'CALL write(100)');
$writer->query_safe('CALL write(100)');
$writer->quit;
complete('after all these statements');

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
