# Feeds end when there are no subscribers, and start again for subscribers and for retention. Choice of
# databases; worker slots.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', conf => "pg_notifyd.idle_timeout = '300ms'\nmax_worker_processes = 8\n");

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

sub state_is
{
	my ($database, $expected, $what) = @_;
	ok($node->poll_query_until('postgres', "SELECT state FROM notifyd.stats WHERE name = '$database'", $expected), $what);
	return;
}

sub health
{
	my $query = shift // '';
	my $res = http_get($node, "/healthz$query") // return '';
	return $res->code . ' ' . $res->body =~ s/\s+$//r;
}

sub log_has
{
	my ($offset, $regexp, $what) = @_;
	wait_for(sub { slurp_file($node->logfile, $offset) =~ $regexp }, $what);
	pass($what);
	return;
}

sub reload
{
	my ($line) = @_;
	$node->append_conf('postgresql.conf', $line);
	$node->reload;
	return;
}

my $table = q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
};
sql($table);

# Subscriptions that are shorter than the feed's look at them keep it, too.
{
	reload("pg_notifyd.idle_timeout = '2s'");
	my $client = notifyd_client($node);
	$client->subscribe('t');
	my $started = sql(q{SELECT started_at FROM notifyd.stats WHERE kind = 'database'});
	$client->unsubscribe('t');
	for (my $until = time + 6; time < $until; select undef, undef, undef, 0.2)
	{
		$client->subscribe('t');
		$client->unsubscribe('t');
	}
	is(sql(q{SELECT started_at FROM notifyd.stats WHERE kind = 'database'}), $started, 'short subscriptions keep the feed');
	$client->close;
	reload("pg_notifyd.idle_timeout = '300ms'");
}

# It leaves, and that is no fault.
state_is('postgres', 'asleep', 'a feed that is not needed ends');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'}), 0, 'its slot is free');
wait_for(sub { health() eq '200 ok' }, 'health');
is(health(), '200 ok', 'that is healthy');
like(health('?database=postgres'), qr/^200 ok, asleep/, 'and said of the database');
is(sql(q{SELECT lag IS NULL FROM notifyd.stats WHERE kind = 'database'}), 't', 'there is no lag');

# A client is accepted, has a position at once, and its subscription starts the feed.
my $client = notifyd_client($node);
my $position = $client->ping->{position};
like($position, qr/^\d+-[1-9]\d*$/, 'a client has a position although there is no feed');
is(sql(q{SELECT state FROM notifyd.stats WHERE kind = 'database'}), 'asleep', 'which is still not there');
sql('INSERT INTO t SELECT generate_series(1, 5)');
$client->subscribe('t', since => $position);
is(join(' ', map { $client->next_event->{key}{id} } 1 .. 5), '1 2 3 4 5', 'with the events written meanwhile');
state_is('postgres', 'running', 'a subscription starts the feed');
ok($node->poll_query_until('postgres',
		q{SELECT clock_timestamp() - backend_start > interval '1 s' FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'}),
	'the feed of a subscriber outlives the idle timeout');
sql('INSERT INTO t VALUES (6)');
my $event = $client->next_event;
is($event->{key}{id}, 6, 'live');

# Asleep, with a client connected; it resumes from the position that it had.
$client->unsubscribe('t');
state_is('postgres', 'asleep', 'it leaves when the last subscription has ended');
sql('INSERT INTO t VALUES (7), (8)');
$client->subscribe('t', since => $event->{position});
is(join(' ', map { $client->next_event->{key}{id} } 1, 2), '7 8', 'the connection stays, and resumes');
$client->close;

# Again and again, with subscriptions that come while it is leaving.
{
	my $id = 100;
	my $failed = 0;
	reload("pg_notifyd.idle_timeout = '1ms'");
	my $resuming = notifyd_client($node);
	$resuming->subscribe('t', since => $event->{position});
	my @got = map { $resuming->next_event->{key}{id} } 1, 2;
	foreach my $round (1 .. 20)
	{
		my $last = $resuming->ping->{position};
		$resuming->unsubscribe('t');
		select undef, undef, undef, 0.13 * ($round % 10);
		$id++;
		sql("INSERT INTO t VALUES ($id)");
		$resuming->subscribe('t', since => $last);
		$failed++ if $resuming->next_event->{key}{id} != $id;
	}
	is($failed, 0, 'nothing is lost or doubled when one subscribes while the feed leaves');
	$resuming->close;
	reload("pg_notifyd.idle_timeout = '300ms'");
}

# Raw notifications
{
	sql(q{SELECT notify_grant('news', 'guest')});
	state_is('postgres', 'asleep', 'asleep');
	my $listening = notifyd_client($node);
	$listening->subscribe('news');
	sql(q{NOTIFY news, 'hello'});
	is($listening->next_event->{payload}, 'hello', 'a subscription makes the feed LISTEN');
	$listening->close;
}

# A gateway that is started while the database is asleep
{
	state_is('postgres', 'asleep', 'asleep');
	my ($old) = gateway_pids($node);
	kill 'KILL', $old;
	wait_for(sub { my ($new) = gateway_pids($node); $new && $new != $old }, 'a new gateway');
	wait_for(sub { health('?database=postgres') =~ /^200/ }, 'it to learn of the database');
	my $new = notifyd_client($node);
	like($new->ping->{position}, qr/^\d+-[1-9]\d*$/, 'it has a position');
	$new->subscribe('t');
	sql('INSERT INTO t VALUES (10)');
	is($new->next_event->{key}{id}, 10, 'and serves the database');
	$new->close;
}

# Retention
{
	state_is('postgres', 'asleep', 'asleep');
	reload("pg_notifyd.retention_size = '2MB'");
	sql("INSERT INTO t SELECT generate_series($_ * 10000, $_ * 10000 + 9999)") foreach 1 .. 8;
	ok($node->poll_query_until('postgres',
			q{SELECT state = 'asleep' AND log_bytes < 4 * 1024 * 1024 FROM notifyd.stats WHERE kind = 'database'}),
		'a log that is too large wakes the feed, which leaves again');
	reload("pg_notifyd.retention_size = '1GB'");
}

# Chosen databases
{
	sql('CREATE DATABASE shop');
	sql("CREATE EXTENSION pg_notifyd; $table", 'shop');
	wait_healthy($node, 'shop');
	my $shop = notifyd_client($node, database => 'shop');
	$shop->subscribe('t');
	reload("pg_notifyd.databases = 'postgres, other'");
	my ($code) = $shop->wait_closed;
	is($code, 1001, 'the clients of one that is not served any more are closed');
	like(health('?database=shop'), qr/^503/, 'it is not served');
	state_is('shop', 'excluded', 'the view says why');
	wait_for(sub { health() eq '200 ok' }, 'health');
	is(health(), '200 ok', 'that is no fault');
	reload("pg_notifyd.retention_size = '2MB'");
	sql("INSERT INTO t SELECT generate_series($_ * 10000, $_ * 10000 + 9999)", 'shop') foreach 1 .. 8;
	ok($node->poll_query_until('postgres', q{SELECT log_bytes < 4 * 1024 * 1024 FROM notifyd.stats WHERE name = 'shop'}),
		'its log is kept small');
	reload("pg_notifyd.databases = '*'");
	wait_for(sub { health('?database=shop') =~ /^200/ }, 'it to be served');
	$shop = notifyd_client($node, database => 'shop');
	$shop->subscribe('t');
	sql('INSERT INTO t VALUES (1)', 'shop');
	is($shop->next_event->{key}{id}, 1, 'and served again');
	$shop->close;
	state_is('shop', 'asleep', 'asleep');
	sql('DROP DATABASE shop');
	wait_for(sub { health('?database=shop') =~ /^503/ }, 'the database to be dropped');
	like(sql(q{SELECT string_agg(name, ' ') FROM notifyd.stats}), qr/^(postgres 0|0 postgres)$/, 'a database that is asleep is dropped');
}

# 14 databases, and slots for 6 of them (others than ours: the logical replication launcher)
{
	my @names = map { "d$_" } 1 .. 13;
	sql("CREATE EXTENSION pg_notifyd; $table", 'template1');
	sql("CREATE DATABASE $_") foreach @names;
	$node->restart;
	ok($node->poll_query_until('postgres',
			q{SELECT count(*) = 14 AND bool_and(state = 'asleep') FROM notifyd.stats WHERE kind = 'database'}),
		'all of them are looked at, and then leave their slots to others');
	wait_for(sub { health() eq '200 ok' }, 'health');
	foreach my $name (@names)
	{
		my $one = notifyd_client($node, database => $name);
		$one->subscribe('t');
		sql('INSERT INTO t VALUES (1)', $name);
		$one->next_event->{key}{id} == 1 or fail("served: $name");
		$one->close;
	}
	pass('each of them is served');

	my $offset = -s $node->logfile;
	my @clients = map { notifyd_client($node, database => $_) } @names[0 .. 5];
	$_->subscribe('t') foreach @clients;
	my $late = notifyd_client($node, database => 'd7');
	$late->send({ jsonrpc => '2.0', id => 1, method => 'subscribe', params => { channel => 't' } });
	log_has($offset, qr/could not start a feed: there is no free background worker slot.*DETAIL:  These databases wait for one: "d7"\..*HINT:  Increase max_worker_processes, now 8/s,
		'one that has to wait is named in the log');
	wait_for(sub { health() =~ /^503/ }, 'health');
	is(health(), '503 databases that are not served: 1', 'and unhealthy');
	(shift @clients)->close;
	wait_for(sub { health('?database=d7') eq '200 ok' }, 'it to be served');
	is(scalar(() = slurp_file($node->logfile, $offset) =~ /no free background worker slot/g), 1, 'it was logged once');
	$_->close foreach @clients, $late;
}

# No slot for the launcher
{
	$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
	my $offset = -s $node->logfile;
	$node->restart;
	like(slurp_file($node->logfile, $offset), qr/pg_notifyd cannot run: there is no background worker slot for its launcher.*HINT:  Increase max_worker_processes, now 1/s,
		'the server says that the launcher has no slot');
	my ($status, $out, $err) = $node->psql('postgres', q{SELECT notify_watch('t')});
	like($err, qr/WARNING:  pg_notifyd is not running: there was no background worker slot/, 'and so does notify_watch()');
	sql('DROP EXTENSION pg_notifyd');
	($status, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION pg_notifyd');
	like($err, qr/WARNING:  pg_notifyd is not running/, 'and CREATE EXTENSION');
}

$node->stop;
done_testing();
