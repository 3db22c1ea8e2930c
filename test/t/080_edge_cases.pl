# Rare cases, one by one: failures while a temporary file is written, rolled-back DROP EXTENSION, a
# crash during log rotation, and others.

use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('defects', init => { allows_streaming => 1 });
$node->safe_psql('postgres', q{
	CREATE TABLE a (id int PRIMARY KEY, v text, w text);
	GRANT SELECT ON a TO guest;
	SELECT notify_watch('a');
	SELECT notify_grant('raw', 'guest');
	CREATE ROLE other;
});

sub feed_pid
{
	return $node->safe_psql('postgres', q{SELECT pid FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'});
}

sub reload_with
{
	my ($line) = @_;
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', $line);
	$node->reload;
	$node->wait_for_log(qr/reloading configuration files/, $offset);
	return;
}

sub values_of
{
	return join ' ', map { "$_->{key}{id}:" . length($_->{new}{v}) } @_;
}

# Writing the buffer's file fails half-way, and the savepoint around it is rolled back: what follows
# is whole.
{
	my $client = notifyd_client($node);
	$client->subscribe('a');
	my (undef, undef, $stderr) = $node->psql('postgres', q{
		\set ON_ERROR_STOP off
		SET temp_file_limit = '1MB';
		BEGIN;
		SAVEPOINT s;
		INSERT INTO a VALUES (1, repeat('x', 3000000));
		ROLLBACK TO s;
		SET temp_file_limit = -1;
		INSERT INTO a VALUES (2, 'two');
		COMMIT;
		SET temp_file_limit = '1MB';
		BEGIN;
		INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(101, 200) AS i;
		SAVEPOINT s;
		INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1001, 3000) AS i;
		ROLLBACK TO s;
		SET temp_file_limit = -1;
		INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(201, 600) AS i;
		COMMIT;
	});
	is(() = $stderr =~ /temporary file size exceeds temp_file_limit/g, 2, 'writing the file failed twice');
	is(values_of($client->next_event), '2:3', 'the event after a first one that failed');
	is(values_of($client->next_events(500)), join(' ', map { "$_:1000" } 101 .. 600), 'the events around many that failed');
}

# What is left of a file that is needed no more is dropped, whatever state it is in.
{
	my ($status, undef, $stderr) = $node->psql('postgres', q{
		\set ON_ERROR_STOP off
		BEGIN;
		SAVEPOINT s;
		INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1001, 3000) AS i;
		ROLLBACK TO s;
		COMMIT;
		SET temp_file_limit = '1MB';
		BEGIN;
		SAVEPOINT s;
		INSERT INTO a VALUES (1, repeat('x', 3000000));
		ROLLBACK TO s;
		INSERT INTO a VALUES (3, 'three');
		COMMIT;
	});
	unlike($stderr, qr/leak/, 'a file that is not needed any more is closed');
	is(() = $stderr =~ /temp_file_limit/g, 1, 'the transaction continues without the file that failed');
	is($node->safe_psql('postgres', 'SELECT v FROM a WHERE id = 3'), 'three', 'and commits');
}

# An event of a column that is dropped since, for a role that has privileges on columns.
{
	$node->safe_psql('postgres', q{
		CREATE TABLE c (id int PRIMARY KEY, x text, y text);
		GRANT SELECT (id, x, y) ON c TO guest;
		SELECT notify_watch('c', cols => '{id,x,y}');
	});
	my $client = notifyd_client($node);
	my $since = $client->subscribe('c')->{position};
	my $pid = feed_pid();
	$node->safe_psql('postgres', q{INSERT INTO c VALUES (1, 'x', 'y')});
	is($client->next_event->{new}{y}, 'y', 'an event with three columns');
	$node->safe_psql('postgres', 'ALTER TABLE c DROP COLUMN y CASCADE');
	$node->safe_psql('postgres', q{INSERT INTO c VALUES (2, 'x')});
	is_deeply($client->next_event->{new}, { id => 2, x => 'x' }, 'an event with two');

	my $replay = notifyd_client($node);
	$replay->subscribe('c', since => $since);
	is($replay->next_event->{key}{id}, 2, 'a replay has the event whose columns the role may read');
	is(feed_pid(), $pid, 'the feed has lived on');
}

# Without CONNECT on the database a role can read nothing in it.
{
	my $client = notifyd_client($node);
	$client->subscribe('a');
	$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC');
	is($client->next_message('error')->{code}, -32003, 'REVOKE CONNECT ends the subscription');
	$node->safe_psql('postgres', q{INSERT INTO a VALUES (7, 'seven')});
	is($client->call('subscribe', { channel => 'a' })->{error}{code}, -32003, 'and there is no new one');
	$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO guest');
	$client->wait_for(sub { $client->call('subscribe', { channel => 'a' })->{result} }, 'GRANT CONNECT takes effect');
	is(scalar($client->events), 0, 'without the events in between');
	$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
}

# Text that is no valid UTF-8, in a database that says it is.
{
	$node->safe_psql('postgres', 'CREATE CAST (bytea AS text) WITHOUT FUNCTION');
	my $client = notifyd_client($node);
	$client->subscribe('a');
	$node->safe_psql('postgres', q{INSERT INTO a VALUES (4, '\x61ff62e6bc'::bytea::text)});
	is($client->next_event->{new}{v}, "a\x{fffd}b\x{fffd}\x{fffd}", 'invalid characters are replaced');
	$node->safe_psql('postgres', 'DROP CAST (bytea AS text)');
}

# Retention does not wait for a standby.
{
	my $client = notifyd_client($node);
	$client->subscribe('raw');
	reload_with("synchronous_standby_names = 'nobody'\npg_notifyd.retention_size = 1");
	$node->safe_psql('postgres', q{
		SET synchronous_commit = local;
		INSERT INTO a SELECT i, repeat('x', 10000) FROM generate_series(10001, 10100) AS i;
	});
	$node->poll_query_until('postgres', 'SELECT count(*) > 1 FROM notifyd.log_segment') or die 'no rotation';
	$node->safe_psql('postgres', q{SET synchronous_commit = local; SELECT pg_notify('raw', 'here')});
	is($client->next_event->{payload}, 'here', 'the feed works while there is no standby');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'}), 0, 'and waits for none');
	reload_with("synchronous_standby_names = ''\npg_notifyd.retention_size = '1GB'");
}

# The extension is dropped and created again, and that is rolled back, while another session has a
# message pending.
{
	my $client = notifyd_client($node);
	my $pending = $node->background_psql('postgres');
	my $again = $node->background_psql('postgres');
	$client->subscribe('raw');
	is($node->safe_psql('postgres', 'SELECT count(*) > 1 FROM notifyd.log_segment'), 't', 'not the first segment');
	$pending->query_safe(q{BEGIN; SELECT notify_send('raw', '1')});
	$again->query_safe(q{BEGIN; DROP EXTENSION pg_notifyd CASCADE; CREATE EXTENSION pg_notifyd; SELECT notify_send('raw', '2')});
	$pending->query_until(qr/committing/, qq{\\echo committing\nCOMMIT;\n});
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted}) or die 'nobody waits';
	$again->query_safe('ROLLBACK');
	$pending->query_safe('SELECT 1');
	is($client->next_event->{payload}, 1, 'the message comes');
	$pending->quit;
	$again->quit;
}

# A rotation whose row is committed, but whose switch is not done, when the server crashes: once
# when ids have not reached the new segment yet, once when they have passed its beginning in the old
# one.
foreach my $ahead (5000, -2)
{
	my $position = notifyd_client($node)->subscribe('a')->{position};
	$node->safe_psql('postgres', "DELETE FROM a WHERE id IN (11, 12, 13, 14)");
	$node->safe_psql('postgres', "INSERT INTO a VALUES ($_, 'old')") foreach 11 .. 14;
	$node->safe_psql('postgres', qq{
		INSERT INTO notifyd.log_segment SELECT (segment + 1) % 8, last_id + $ahead, clock_timestamp()
		FROM (SELECT segment FROM notifyd.log_segment ORDER BY first_id DESC LIMIT 1) AS s,
			(SELECT split_part(newest, '-', 2)::bigint AS last_id FROM notifyd.stats
				WHERE kind = 'database' AND name = 'postgres') AS l});
	$node->stop('immediate');
	$node->start;
	wait_healthy($node);
	$node->safe_psql('postgres', q{UPDATE a SET v = 'new' WHERE id = 14});
	my $client = notifyd_client($node);
	$client->subscribe('a', since => $position);
	$client->wait_for(sub { grep { ($_->{new}{v} // '') eq 'new' } $client->events }, 'the last event');
	is(join(' ', map { "$_->{op}:$_->{key}{id}" } grep { $_->{op} ne 'DELETE' } $client->events),
		'INSERT:11 INSERT:12 INSERT:13 INSERT:14 UPDATE:14', "all events, $ahead ids ahead");
}

# What is set for the database does not concern the feed.
{
	$node->safe_psql('postgres', q{ALTER DATABASE postgres SET client_encoding = 'LATIN1'});
	$node->safe_psql('postgres', q{ALTER DATABASE postgres SET role = 'other'});
	$node->restart;
	wait_healthy($node);
	my $client = notifyd_client($node);
	$client->subscribe('raw');
	$node->safe_psql('template1', q{SELECT 1});
	$node->safe_psql('postgres', q{SELECT pg_notify('raw', U&'\6F22')});
	is($client->next_event->{payload}, "\x{6f22}", 'a notification that the encoding set for the database lacks');
	$node->safe_psql('template1', 'ALTER DATABASE postgres RESET ALL');
}

# notify_fetch() on a standby, which is promoted later.
{
	$node->safe_psql('postgres', q{UPDATE a SET v = 'fetched' WHERE id = 2});
	my $id = $node->safe_psql('postgres', q{SELECT split_part(newest, '-', 2) FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'});
	$node->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'backup', has_streaming => 1);
	$standby->append_conf('postgresql.conf', 'pg_notifyd.port = ' . PostgreSQL::Test::Cluster::get_free_port());
	$standby->start;
	$node->wait_for_catchup($standby);
	my $fetched = $node->safe_psql('postgres', "SELECT notify_fetch($id)");
	like($fetched, qr/"id":$id,/, 'an event from the primary');
	is($standby->safe_psql('postgres', "SELECT notify_fetch($id)"), $fetched, 'the same from the standby');

	# The log moves on meanwhile.
	my $newest = 'SELECT segment FROM notifyd.log_segment ORDER BY first_id DESC LIMIT 1';
	my $segment = $node->safe_psql('postgres', $newest);
	reload_with("pg_notifyd.retention_size = 1");
	$node->safe_psql('postgres', q{INSERT INTO a SELECT i, repeat('x', 10000) FROM generate_series(20001, 20100) AS i});
	$node->poll_query_until('postgres', "SELECT ($newest) <> $segment") or die 'no rotation';
	$node->wait_for_catchup($standby);
	$node->stop;
	$standby->promote;
	$standby->safe_psql('postgres', q{UPDATE a SET v = 'promoted' WHERE id = 2});
	$segment = $standby->safe_psql('postgres', $newest);
	is($standby->safe_psql('postgres', "SELECT count(*) FROM notifyd.log_$segment WHERE event LIKE '%promoted%'"), 1,
		'after the promotion the log continues where it was');
	$standby->stop;
	$node->start;
	wait_healthy($node);
}

# DROP EXTENSION without subscribers.
{
	my $offset = -s $node->logfile;
	$node->safe_psql('postgres', 'DROP EXTENSION pg_notifyd');
	wait_for(sub { my $res = http_get($node, '/healthz?database=postgres'); $res && $res->code != 200 }, 'the feed to leave');
	unlike(slurp_file($node->logfile, $offset), qr/ERROR/, 'the feed leaves without an error');
}

$node->stop;
done_testing();
