# /healthz and the views report every part that is frozen or blocked, and the launcher replaces what
# it may replace.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', init => { allows_streaming => 1 }, conf => "pg_notifyd.gateways = 2\n");

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

sub health
{
	my $res = http_get($node, '/healthz') // return '';
	return $res->code . ' ' . $res->body =~ s/\s+$//r;
}

# Health is that, and says nothing that a stranger should not know.
sub health_becomes
{
	my ($expected, $what) = @_;
	my $said = '';
	wait_for(sub { $said = health(); $said =~ $expected }, "health: $what, not: $said");
	like($said, $expected, $what);
	unlike($said, qr/postgres|shop|\b\d{4,}\b/, 'without the name of a database, or a process');
	return;
}

sub stats
{
	my ($columns, $where) = @_;
	return sql("SELECT $columns FROM notifyd.stats WHERE $where");
}

sub becomes
{
	my ($columns, $where, $expected, $what) = @_;
	ok($node->poll_query_until('postgres', "SELECT $columns FROM notifyd.stats WHERE $where", $expected), $what);
	return;
}

sub log_has
{
	my ($offset, $regexp, $what) = @_;
	wait_for(sub { slurp_file($node->logfile, $offset) =~ $regexp }, $what);
	return;
}

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders');
});
becomes(q{string_agg(state, ' ')}, q{kind = 'gateway'}, 'running running', 'two gateways');
becomes('links', q{kind = 'database'}, 2, 'and links to both');
health_becomes(qr/^200 ok$/, 'all is well');

my $client = notifyd_client($node);
$client->subscribe('orders');
sql('INSERT INTO orders VALUES (1)');
is($client->next_event->{key}{id}, 1, 'an event arrives');
becomes(q{lag = '0'}, q{kind = 'database'}, 't', 'nothing waits to be delivered');

# A feed that is stopped: whoever reads the view works out how old the oldest event is. The launcher
# continues it.
{
	my $feed = stats('pid', q{kind = 'database'});
	my $offset = -s $node->logfile;

	kill 'STOP', $feed;
	sql('INSERT INTO orders VALUES (2)');
	my $since = sql('SELECT clock_timestamp()');
	becomes(q{lag > '3s'}, q{kind = 'database'}, 't', 'its lag grows');
	is(stats("lag >= clock_timestamp() - '$since' AND lag < clock_timestamp() - '$since' + interval '5s'", q{kind = 'database'}),
		't', 'as the event gets older');
	health_becomes(qr/^503 .*(silent|not respond)/, 'a stopped feed makes the whole unhealthy');
	becomes('state', q{kind = 'database'}, 'not responding', 'the view says so');
	log_has($offset, qr/the feed of database "postgres" \(PID $feed\) has not responded for \d+ seconds/, 'a line in the log');
	is($client->next_event->{key}{id}, 2, 'it is continued, and nothing is lost');
	becomes(q{state || ' ' || (lag = '0')}, q{kind = 'database'}, 'running true', 'and all is well');
	is(stats('pid', q{kind = 'database'}), $feed, 'it is the same feed');
	health_becomes(qr/^200 ok$/, 'healthy again');
}

# A gateway that is stopped: the other one tells, and it is replaced.
{
	my $number = (sql('SELECT gateway FROM notifyd.clients') + 1) % 2;
	my $where = "kind = 'gateway' AND name = '$number'";
	my $gateway = stats('pid', $where);
	my $offset = -s $node->logfile;

	kill 'STOP', $gateway;
	health_becomes(qr/^503 gateways that do not respond: 1$/, 'a stopped gateway makes the whole unhealthy');
	is(stats('state', $where), 'not responding', 'the view says so');
	log_has($offset, qr/killing gateway $number \(PID $gateway\), because it did not respond in time/, 'a line in the log');
	becomes('state', $where, 'running', 'another one is started');
	isnt(stats('pid', $where), $gateway, 'in its place');
	health_becomes(qr/^200 ok$/, 'healthy again');
	sql('INSERT INTO orders VALUES (3)');
	is($client->next_event->{key}{id}, 3, 'the clients of the other one notice nothing');
}

# The launcher itself is stopped: the gateways notice that it is silent. Events do not need it.
{
	my $launcher = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd launcher'});

	kill 'STOP', $launcher;
	health_becomes(qr/^503 the launcher is silent$/, 'a stopped launcher makes the whole unhealthy');
	sql('INSERT INTO orders VALUES (6)');
	is($client->next_event->{key}{id}, 6, 'events arrive as before');
	kill 'CONT', $launcher;
	health_becomes(qr/^200 ok$/, 'healthy again');
	is(sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd launcher'}), $launcher, 'it is the same launcher');
	is(stats(q{string_agg(state, ' ')}, q{kind = 'gateway'}), 'running running', 'and it has taken no gateway for dead');
}

# A commit that does not end holds up the events of later ones.
{
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	my $session = $node->background_psql('postgres');
	$session->query_until(qr/started/, "\\echo started\nINSERT INTO orders VALUES (4);\n");
	becomes('in_flight', q{kind = 'database'}, 1, 'a commit waits for a standby');
	$node->safe_psql('postgres', 'SET synchronous_commit = local; INSERT INTO orders VALUES (5)');
	my $since = sql('SELECT clock_timestamp()');
	becomes(q{lag > '3s'}, q{kind = 'database'}, 't', 'the lag of the events waiting behind it grows');
	is(stats("lag >= clock_timestamp() - '$since'", q{kind = 'database'}), 't', 'as that gets older');
	health_becomes(qr/^503 .*late/, 'a watermark that is held makes the whole unhealthy');
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	is(join(' ', map { $client->next_event->{key}{id} } 1, 2), '4 5', 'both arrive');
	becomes(q{lag = '0'}, q{kind = 'database'}, 't', 'nothing waits any more');
	health_becomes(qr/^200 ok$/, 'healthy again');
	$session->quit;
}
$client->close;

# A database with the extension that gets no feed.
{
	sql('CREATE DATABASE shop');
	sql('CREATE EXTENSION pg_notifyd', 'shop');
	becomes(q{count(*)}, q{kind = 'database' AND state = 'running'}, 2, 'two feeds');
	$node->append_conf('postgresql.conf', 'pg_notifyd.idle_timeout = 0');	# no feed makes room for another
	$node->append_conf('postgresql.conf', 'max_worker_processes = 3');	# ours, the logical replication launcher, one feed
	$node->restart;
	health_becomes(qr/^503 databases that are not served: 1$/, 'one that has no feed makes the whole unhealthy');
	my $served = stats('name', q{kind = 'database' AND state = 'running'});
	is(http_get($node, "/healthz?database=$served")->code, 200, 'the other one is healthy');
	sql("ALTER DATABASE shop ALLOW_CONNECTIONS false");
	health_becomes(qr/^200 ok$/, 'one that is closed is none of our business')
	  if $served eq 'postgres';
}

$node->stop;
done_testing();
