# GET /metrics: a foreign parser reads it, and its values are those that SQL tells.
use strict;
use warnings;

use Mojo::JSON;
use Mojo::UserAgent;
use NotifydTest;
use NotifydTest::Metrics;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => [ 'reader', 'broken' ], conf => "pg_notifyd.gateways = 2\n");
my $metrics = NotifydTest::Metrics->new($node);
my %here = (database => 'postgres');

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }
sub stats { return sql("SELECT $_[0] FROM notifyd.stats WHERE kind = '" . ($_[1] // 'database') . q{'}); }

# How much a counter grows while something is done.
sub grows
{
	my ($expected, $do, $what, $name, %labels) = @_;
	my $before = $metrics->value($name, %labels);
	$do->();
	$metrics->becomes($before + $expected, $name, %labels);
	return;
}

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, owner name DEFAULT 'reader');
	CREATE TABLE "odd ""\\ table" (id int PRIMARY KEY);
	GRANT SELECT ON orders, "odd ""\\ table" TO guest, reader, broken;
	SELECT notify_watch('orders');
	SELECT notify_watch('"odd ""\\ table"', channel => 'odd');
	CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + b;
	CREATE FUNCTION fails() RETURNS int LANGUAGE sql AS 'SELECT 1 / 0';
	SELECT notify_expose('add(int, int)'), notify_expose('fails()');
	GRANT EXECUTE ON FUNCTION add(int, int), fails() TO reader;
});
my $client = notifyd_client($node);
$client->subscribe('orders');
my $response = http_get($node, '/metrics');
is($response->code, 200, 'metrics');
is($response->headers->content_type, 'text/plain; version=0.0.4; charset=utf-8', 'in the format of Prometheus');
is($response->headers->access_control_allow_origin, undef, 'not for pages of other origins');
is($metrics->value('pg_notifyd_up'), 1, 'up');
is($metrics->value('pg_notifyd_launcher_up'), 1, 'the launcher answers');
is($metrics->value('pg_notifyd_build_info', version => sql(q{SELECT extversion FROM pg_extension WHERE extname = 'pg_notifyd'})),
	1, 'the version');

# Events
my %orders = (%here, channel => 'orders', schema => 'public', table => 'orders');
my $odd = $metrics->value('pg_notifyd_watch_events_total', channel => 'odd') // 0;
my $orders = $metrics->value('pg_notifyd_watch_events_total', %orders) // 0;
grows(4, sub {
	sql(q{BEGIN; INSERT INTO orders SELECT generate_series(1, 3); INSERT INTO "odd ""\\ table" VALUES (1);
		SAVEPOINT s; INSERT INTO orders VALUES (4); ROLLBACK TO s; COMMIT});
	sql('BEGIN; INSERT INTO orders VALUES (5); ROLLBACK');
}, 'events', 'pg_notifyd_events_written_total', %here);
is($metrics->value('pg_notifyd_watch_events_total', %orders) - $orders, 3, 'three for one watch');
is($metrics->value('pg_notifyd_watch_events_total', channel => 'odd', table => 'odd "\\ table') - $odd, 1, 'one for the other');
$client->next_event foreach 1 .. 3;
is($metrics->value('pg_notifyd_events_written_total', %here), stats('events_written'), 'as the view says');
$metrics->becomes(3, 'pg_notifyd_events_sent_total', %here);
grows(5000, sub { sql('INSERT INTO orders SELECT generate_series(1001, 6000)') }, 'a large transaction',
	'pg_notifyd_watch_events_total', %orders);

# Feed and log
$metrics->becomes(1, 'pg_notifyd_gateway_clients', gateway => sql('SELECT gateway FROM notifyd.clients'));
is($metrics->value('pg_notifyd_subscriptions', %here), 1, 'a subscription');
is($metrics->value('pg_notifyd_feed_state', %here, state => 'running'), 1, 'the feed runs');
is($metrics->value('pg_notifyd_feed_state', %here, state => 'asleep'), 0, 'and does not sleep');
$metrics->becomes(0, 'pg_notifyd_feed_lag_seconds', %here);
$metrics->becomes(0, 'pg_notifyd_feed_lag_events', %here);
is(stats('lag_events'), 0, 'the view says so too');
$metrics->becomes(sub { $_[0] > 0 }, 'pg_notifyd_log_bytes', %here);
cmp_ok($metrics->value('pg_notifyd_retention_left_bytes', %here), '<', 1024**3, 'what is left of the log');
my $left = $metrics->value('pg_notifyd_retention_left_seconds', %here);
ok($left > 3000 && $left < 5000, "about an hour and its share until the oldest events go, not $left s");
is(stats(q{retention_left BETWEEN '3000 s' AND '5000 s' AND retention_left_bytes < 1073741824 AND oldest_since < now()}),
	't', 'in the view');
is($metrics->value('pg_notifyd_watermark_id', %here), $metrics->value('pg_notifyd_newest_id', %here), 'nothing holds the watermark');

# Replays and resets
my $position = $client->call('subscribe', { channel => 'odd' })->{result}{position};
sql('INSERT INTO orders VALUES (10)');
grows(1, sub {
	my $other = notifyd_client($node);
	$other->subscribe('orders', since => $position);
	$other->next_event;
}, 'a replay', 'pg_notifyd_replays_total', %here);
grows(1, sub {
	my $other = notifyd_client($node);
	$other->subscribe('orders', since => $position =~ s/^\d+/77/r);
}, 'a reset', 'pg_notifyd_resets_total', %here, reason => 'position');
is(stats(q{resets->>'position'}), 1, 'in the view');

# Consumer groups
{
	my %group = (%here, group => 'workers');
	my $group = sub { return $metrics->becomes($_[1], "pg_notifyd_group_$_[0]", %group) };

	is($metrics->value('pg_notifyd_group_pending', %group), undef, 'no metrics of a group that nobody uses');
	sql(q{CREATE TABLE jobs (id int PRIMARY KEY); SELECT notify_watch('jobs'), notify_group('workers', '{jobs}', max_attempts => 1)});
	sql('INSERT INTO jobs SELECT generate_series(1, 10)');
	is(sql(q{SELECT count(*) FROM notify_take('workers', 2)}), 2, 'two are done');
	is(sql(q{SELECT count(*) FROM notify_take('workers', 3, hold => true)}), 3, 'and three leased');
	$node->psql('postgres', q{SELECT 1 / (count(*) - 1) FROM notify_take('workers', 1)});
	$group->(set_aside_total => 1);
	$group->(acknowledged_total => 2);
	$group->(taken => 3);
	$group->(pending => 4);
	$group->(last_take_seconds => sub { $_[0] > 0 });
	is($metrics->value('pg_notifyd_group_lost_total', %group), 0, 'nothing is lost');
	my $behind = $metrics->value('pg_notifyd_group_behind_ids', %group);
	sql('INSERT INTO jobs SELECT generate_series(11, 20)');
	$group->(behind_ids => $behind + 10);
	my $waits = $node->background_psql('postgres', on_error_stop => 0);
	$waits->query_until(qr/^$/, "SELECT count(*) FROM notify_take('workers', 100); SELECT notify_take('workers', wait => '1 min');\n");
	$group->(waiting => 1);
	$group->(last_take_seconds => 0);
	$group->(acknowledged_total => 16);
	sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%1 min%' AND pid <> pg_backend_pid()});
	$waits->quit;
	sql(q{SELECT notify_ungroup('workers')});
	is($metrics->value('pg_notifyd_group_pending', %group), undef, 'a group that was dropped has none');
}

# Calls
my %token = notifyd_bearer('reader', 7);
grows(2, sub { http_get($node, '/rpc/add?a=1&b=2', %token) foreach 1, 2 }, 'calls', 'pg_notifyd_calls_total', %here, result => 'done');
my $ua = Mojo::UserAgent->new;
grows(1, sub {
	my $failed = $ua->post('http://127.0.0.1:' . notifyd_port($node) . '/rpc/fails' => {%token} => '{}')->result;
	is($failed->code, 400, 'a call that fails');
}, 'errors', 'pg_notifyd_calls_total', %here, result => 'error');
grows(1, sub { http_get($node, '/rpc/nothing', %token) }, 'refused', 'pg_notifyd_calls_total', %here, result => 'refused');
is(stats(q{(answers->>'call done')::int + (answers->>'call error')::int + (answers->>'call refused')::int}), 4, 'in the view');
$metrics->becomes(1, 'pg_notifyd_workers', %here, state => 'idle');
grows(1, sub {
	my $other = notifyd_client($node);
	$other->call('subscribe', { channel => 'orders', snapshot => Mojo::JSON->true });
	$other->next_message('rows');
}, 'a snapshot', 'pg_notifyd_snapshots_total', %here, result => 'done');

# Clients of a database, and one that reads nothing
{
	sql('CREATE DATABASE shop');
	sql('CREATE EXTENSION pg_notifyd', 'shop');
	sql(q{CREATE TABLE big (id int PRIMARY KEY, t text); GRANT SELECT ON big TO guest; SELECT notify_watch('big')}, 'shop');
	my @clients = map { notifyd_client($node, database => 'shop') } 1 .. 3;
	my %shop = (database => 'shop');
	my $shop = sub { return sql("SELECT $_[0] FROM notifyd.stats WHERE name = 'shop' AND kind = 'database'") };

	$metrics->becomes(3, 'pg_notifyd_clients', %shop);
	$metrics->becomes(0, 'pg_notifyd_queued_bytes', %shop);
	is($shop->('clients, queued_bytes, slow_clients, waiting_queries'), '3|0|0|0', 'the view says so too');
	is($metrics->value('pg_notifyd_clients', %here), stats('clients', q{database' AND name = 'postgres}), 'of the other database, too');
	$clients[0]->subscribe('big');
	$clients[0]->stop_reading;
	sql(q{INSERT INTO big SELECT i, repeat('x', 100000) FROM generate_series(1, 200) AS i}, 'shop');
	$metrics->becomes(sub { $_[0] > 0 }, 'pg_notifyd_queued_bytes', %shop);
	$metrics->becomes(1, 'pg_notifyd_slow_clients', %shop);
	is($metrics->value('pg_notifyd_slow_clients', %here), 0, 'not of the other database');
	is($shop->('slow_clients, queued_bytes > 0'), '1|t', 'in the view');
	is(sql(q{SELECT sum(slow_clients) FROM notifyd.stats WHERE kind = 'gateway'}), 1, 'in that of its gateway');
	my @gateways = grep { $_->[0] eq 'pg_notifyd_gateway_slow_clients' && $_->[2] } $metrics->samples;
	is(join(' ', map { "$_->[1]{gateway} $_->[2]" } @gateways),
		sql(q{SELECT gateway || ' ' || count(*) FROM notifyd.clients
			WHERE queued_since <= now() - interval '10 s' GROUP BY gateway}), 'and notifyd.clients says who');
	is(sql(q{SELECT count(*) FROM notifyd.clients WHERE queued_since IS NOT NULL}), 1, 'nothing is queued for others');
	$_->close foreach @clients[ 1, 2 ];
	$metrics->becomes(1, 'pg_notifyd_clients', %shop);
	$clients[0]->start_reading;
	$metrics->becomes(0, 'pg_notifyd_slow_clients', %shop);
	$clients[0]->close;
	$metrics->becomes(0, 'pg_notifyd_clients', %shop);
	sql('DROP DATABASE shop');
}

# Requests that wait, because the only workers are busy
{
	sql(q{CREATE FUNCTION slow() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(3)'; SELECT notify_expose('slow()');
		GRANT EXECUTE ON FUNCTION slow() TO reader});
	my $caller = notifyd_client($node, headers => \%token);
	$caller->send({ jsonrpc => '2.0', id => $_, method => 'call', params => { name => 'slow' } }) foreach 1 .. 6;
	$metrics->becomes(sub { $_[0] > 0 }, 'pg_notifyd_gateway_waiting_queries', gateway => $_)
	  foreach sql(q{SELECT gateway FROM notifyd.clients WHERE role = 'reader'});
	$metrics->becomes(sub { $_[0] > 0 }, 'pg_notifyd_waiting_queries', %here);
	is(stats(q{sum(waiting_queries)}, 'gateway'), stats('waiting_queries'), 'the view says so, of database and gateway');
	$metrics->becomes(sub { $_[0] > 0 }, 'pg_notifyd_workers', %here, state => 'busy');
	$caller->close;
}

# Policies
sql(q{
	CREATE FUNCTION mine(name) RETURNS bool LANGUAGE plpgsql AS 'BEGIN IF current_user = ''broken'' THEN RETURN 1 / 0; END IF; RETURN true; END';
	ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON orders USING (mine(owner));
});
my $broken = notifyd_client($node, headers => { notifyd_bearer('broken', 1) });
grows(1, sub {
	$broken->call('subscribe', { channel => 'orders' });
	sql('INSERT INTO orders VALUES (20)');
}, 'a policy that fails', 'pg_notifyd_policy_errors_total', %here);
cmp_ok($metrics->value('pg_notifyd_policy_seconds_total', %here), '>', 0, 'policies take time');
is(stats(q{policy_errors = 1 AND policy_time > '0'}), 't', 'in the view');

# Refused by reason
$metrics->becomes(0, 'pg_notifyd_gateway_refused_total', gateway => $_, reason => 'host') foreach 0, 1;
is(http_get($node, '/healthz', Host => 'evil.example')->code, 403, 'a wrong host');
wait_for(sub {
	my $hosts = 0;
	$hosts += $_->[2] foreach grep { $_->[0] eq 'pg_notifyd_gateway_refused_total' && $_->[1]{reason} eq 'host' } $metrics->samples;
	return $hosts == 1;
}, 'refused for its host');
is(sql(q{SELECT sum((refused_by->>'host')::int) FROM notifyd.stats}), 1, 'in the view');

# Gateways
is(stats(q{bool_and(loop_lag BETWEEN '0' AND '1 min')}, 'gateway'), 't', 'how busy they are');
is($metrics->value('pg_notifyd_gateway_sandbox', gateway => 0, part => 'seccomp'), stats(q{max((sandbox ~ 'seccomp')::int)}, 'gateway'),
	'the sandbox');
cmp_ok($metrics->value('pg_notifyd_gateway_resident_memory_bytes', gateway => 0), '>', 1024**2, 'memory');
my @samples = $metrics->samples;
is(scalar(grep { $_->[0] eq 'pg_notifyd_gateway_up' && $_->[2] == 1 } @samples), 2, 'both gateways are there');
unlike(join("\n", map { join ' ', $_->[0], %{ $_->[1] } } @samples), qr/guest|reader|broken/, 'no role is named');

done_testing();
