# GET /metrics while a process is stopped or has ended: times grow, what is not known is missing, and no old value
# looks healthy.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Metrics;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['reader'], init => { allows_streaming => 1 }, conf => "pg_notifyd.gateways = 1\n");
my $metrics = NotifydTest::Metrics->new($node);
my %here = (database => 'postgres');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub stats { return sql("SELECT $_[0] FROM notifyd.stats WHERE kind = '" . ($_[1] // 'database') . q{'}); }

sub more_than
{
	my ($least) = @_;
	return sub { $_[0] > $least };
}

sql(q{
	CREATE TABLE orders (id serial PRIMARY KEY, v text);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders');
});
my $client = notifyd_client($node);
$client->subscribe('orders');
sql('INSERT INTO orders DEFAULT VALUES');
$client->next_event;
$metrics->becomes(0, 'pg_notifyd_feed_lag_seconds', %here);

# A feed that is stopped
{
	my $feed = stats('pid');

	kill 'STOP', $feed;
	sql('INSERT INTO orders DEFAULT VALUES');
	$metrics->becomes(more_than(1), 'pg_notifyd_feed_lag_seconds', %here);
	my $lag = $metrics->value('pg_notifyd_feed_lag_seconds', %here);
	$metrics->becomes(more_than($lag + 1), 'pg_notifyd_feed_lag_seconds', %here);
	is($metrics->value('pg_notifyd_feed_lag_events', %here), 1, 'one event waits');
	is(stats('lag_events'), 1, 'the view says so');
	$metrics->becomes(more_than(3), 'pg_notifyd_feed_last_seen_seconds', %here);
	ok(stats(q{last_seen < clock_timestamp() - interval '3 s'}), 'last seen a while ago, says the view');
	$metrics->becomes(1, 'pg_notifyd_feed_state', %here, state => 'not responding');
	kill 'CONT', $feed;
	$client->next_event;
	$metrics->becomes(0, 'pg_notifyd_feed_lag_seconds', %here);
	$metrics->becomes(1, 'pg_notifyd_feed_state', %here, state => 'running');
}

# A feed that ends
{
	my $before = $metrics->value('pg_notifyd_feed_restarts_total', %here);

	sql('SELECT pg_terminate_backend(' . stats('pid') . ')');
	$metrics->becomes($before + 1, 'pg_notifyd_feed_restarts_total', %here);
	is(stats('restarts'), $before + 1, 'the view counts it');
	$metrics->becomes(1, 'pg_notifyd_feed_state', %here, state => 'running');
}

# A worker that ends while it runs a query, and one that ends by itself
{
	my %token = notifyd_bearer('reader', 7);
	my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'};

	sql(q{
		CREATE FUNCTION leave() RETURNS bool LANGUAGE sql SECURITY DEFINER AS 'SELECT pg_terminate_backend(pg_backend_pid())';
		GRANT EXECUTE ON FUNCTION leave() TO reader;
		SELECT notify_expose('leave()');
	});
	is($metrics->value('pg_notifyd_worker_restarts_total', %here), 0, 'no worker yet');
	is(http_get($node, '/openapi.json', %token)->code, 200, 'a worker runs a query');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'});
	$node->poll_query_until('postgres', $workers, 0) or die 'it does not end';
	is($metrics->value('pg_notifyd_worker_restarts_total', %here), 0, 'a worker that ends without a query');
	my $caller = notifyd_client($node, headers => \%token);
	$caller->call('call', { name => 'leave' });
	$caller->close;
	$metrics->becomes(1, 'pg_notifyd_worker_restarts_total', %here);
	is(stats('worker_restarts'), 1, 'the view counts it');
}

# A feed that waits for its lock
{
	my $session = $node->background_psql('postgres');
	$session->query_until(qr/locked/, "BEGIN;\nLOCK notifyd.log_0;\n\\echo locked\n");
	$metrics->becomes(more_than(1), 'pg_notifyd_feed_locked_seconds', %here);
	is(stats('locked_since IS NOT NULL'), 't', 'the view says since when');
	$metrics->becomes(1, 'pg_notifyd_feed_state', %here, state => 'locked');
	is(stats('state'), 'locked', 'and that it is locked');
	wait_for(sub { (http_get($node, '/healthz') // return)->code == 503 }, 'that this is not healthy');
	$session->query_until(qr/unlocked/, "ROLLBACK;\n\\echo unlocked\n");
	$session->quit;
	$metrics->becomes(0, 'pg_notifyd_feed_locked_seconds', %here);
	$metrics->becomes(1, 'pg_notifyd_feed_state', %here, state => 'running');
}

# A commit that does not end
{
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	my $session = $node->background_psql('postgres');
	$session->query_until(qr/started/, "SET application_name = 'slow';\n\\echo started\nINSERT INTO orders DEFAULT VALUES;\n");
	$metrics->becomes(1, 'pg_notifyd_commits_in_progress', %here);
	$metrics->becomes(more_than(1), 'pg_notifyd_watermark_held_seconds', %here);
	is($metrics->value('pg_notifyd_newest_id', %here) - $metrics->value('pg_notifyd_watermark_id', %here), 1, 'one id is held');
	is(stats(q{in_flight_application || ' ' || (in_flight_since < clock_timestamp() - interval '1 s')}), 'slow true', 'the view says by whom');
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	$metrics->becomes(0, 'pg_notifyd_watermark_held_seconds', %here);
	$session->quit;
}

# The launcher: the gateway says what it knows, and nothing else.
{
	my $launcher = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd launcher'});

	kill 'STOP', $launcher;
	$metrics->becomes(0, 'pg_notifyd_launcher_up');
	$metrics->becomes(more_than(3), 'pg_notifyd_launcher_last_seen_seconds');
	is($metrics->value('pg_notifyd_up'), 1, 'the gateway answers');
	is($metrics->value('pg_notifyd_gateway_clients', gateway => 0), 1, 'and has a client');
	is($metrics->value('pg_notifyd_events_written_total', %here), undef, 'what it does not know is missing');
	my $feed = stats('pid');
	kill 'STOP', $feed;
	$metrics->becomes(more_than(4), 'pg_notifyd_feed_last_seen_seconds', %here);
	cmp_ok($metrics->value('pg_notifyd_feed_lag_seconds', %here), '>', 4, 'nor does it say that a feed which is stopped keeps up');
	kill 'CONT', $feed;
	kill 'CONT', $launcher;
	$metrics->becomes(1, 'pg_notifyd_launcher_up');
	$metrics->becomes(sub { $_[0] < 3 }, 'pg_notifyd_launcher_last_seen_seconds');
}

# A gateway that ends, and a launcher that ends
{
	my $before = $metrics->value('pg_notifyd_gateway_restarts_total', gateway => 0);
	is($metrics->value('pg_notifyd_clients', %here), 1, 'a client');
	kill 'KILL', gateway_pids($node);
	$metrics->becomes($before + 1, 'pg_notifyd_gateway_restarts_total', gateway => 0);
	is($metrics->value('pg_notifyd_clients', %here), 0, 'which was connected to the gateway that has ended');
	my $starts = $metrics->value('pg_notifyd_launcher_starts_total');
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd launcher'});
	$metrics->becomes($starts + 1, 'pg_notifyd_launcher_starts_total');
}

done_testing();
