# A feed that ends leaves no lock behind, however it ends.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', conf => "pg_notifyd.idle_timeout = '300ms'\n");
my $setup = q{
	CREATE TABLE t (id serial PRIMARY KEY, v text);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
};
my $feed = q{backend_type = 'pg_notifyd feed' AND datname = 'postgres'};

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

sub feed_pid
{
	return sql("SELECT pid FROM pg_stat_activity WHERE $feed");
}

# No lock on a table belongs to a process that has ended. Processes start and end between the two
# views, but a lock that is left behind stays.
sub no_lock_left
{
	my ($what) = @_;
	ok($node->poll_query_until('postgres', q{
		SELECT count(*) = 0 FROM pg_locks l WHERE locktype = 'relation'
			AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid)}), "no lock is left behind: $what");
	return;
}

sub wait_asleep
{
	$node->poll_query_until('postgres', q{SELECT state = 'asleep' FROM notifyd.stats WHERE name = 'postgres'})
	  or die 'the feed does not end';
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE $feed") or die 'the feed stays';
	return;
}

# A feed without subscribers
sql($setup);
wait_asleep();
no_lock_left('no subscribers');
is(sql(q{BEGIN; SET LOCAL lock_timeout = '30s'; LOCK notifyd.log_0; ROLLBACK; SELECT 'locked'}), 'locked', 'another session can lock the log');
is(sql(q{SET lock_timeout = '30s'; DROP EXTENSION pg_notifyd; SELECT 'dropped'}), 'dropped', 'DROP EXTENSION does not wait');
sql('CREATE EXTENSION pg_notifyd');
sql(q{SELECT notify_watch('t')});

# Retention, when the feed of another database has taken the process slot of the one that ended
sql('CREATE DATABASE other');
sql("CREATE EXTENSION pg_notifyd; $setup", 'other');
wait_asleep();
my $other = notifyd_client($node, database => 'other');
$other->subscribe('t');
$node->append_conf('postgresql.conf', q{pg_notifyd.retention_size = '2MB'});
$node->reload;
sql(q{INSERT INTO t (v) SELECT md5(i::text) FROM generate_series(1, 20000) AS i}) foreach 1 .. 8;
ok($node->poll_query_until('postgres',
		q{SELECT state = 'asleep' AND log_bytes < 4 * 1024 * 1024 FROM notifyd.stats WHERE name = 'postgres'}),
	'retention goes on');
$other->close;

# Others that end it. Each time the next feed serves the same client.
my $client = notifyd_client($node);
$client->subscribe('t');
sub serves
{
	my ($what) = @_;
	my $id = sql('INSERT INTO t DEFAULT VALUES RETURNING id');
	$client->wait_for(sub { grep { $_->{key} && $_->{key}{id} == $id } $client->events }, "an event after $what");
	no_lock_left($what);
	return;
}

foreach my $round (1 .. 5)
{
	my $old = feed_pid();
	sql("INSERT INTO t SELECT FROM generate_series(1, 5000); SELECT pg_terminate_backend($old)");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $old") or die 'the feed stays';
	serves("pg_terminate_backend, round $round");
}
sql('ALTER DATABASE other RENAME TO another');
sql('CREATE DATABASE copy TEMPLATE another');
sql('DROP DATABASE another');
no_lock_left('commands that need a database alone');
$client->close;
my ($gateway) = gateway_pids($node);
kill 'KILL', $gateway;
wait_for(sub { my ($new) = gateway_pids($node); $new && $new != $gateway }, 'a new gateway');
wait_healthy($node);
no_lock_left('the gateway was killed');
wait_asleep();
no_lock_left('no subscribers any more');


$node->stop;
done_testing();
