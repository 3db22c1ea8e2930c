# A feed that ends leaves no lock behind, however it ends. A feed that cannot get its lock waits without
# using the processor, and the log names the process that it waits for.
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

foreach my $round (1, 2)
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

# A session that has read the log makes DROP EXTENSION wait, and so the feed.
sql(q{SELECT notify_grant('news', 'guest')});
$client = notifyd_client($node);
$client->subscribe($_) foreach 't', 'news';
my $reader = $node->background_psql('postgres');
my $reader_pid = $reader->query_safe('SELECT pg_backend_pid()');
$reader->query_safe('BEGIN; SELECT count(*) FROM notifyd.log_0');
my $from = -s $node->logfile;
my $drop = $node->background_psql('postgres', on_error_stop => 0);
my $drop_pid = $drop->query_safe('SELECT pg_backend_pid()');

sub drop_waits
{
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $drop_pid")
	  or die 'DROP EXTENSION does not wait';
	return;
}

$drop->query_until(qr/begun/, "\\echo begun\nDROP EXTENSION pg_notifyd;\n");
drop_waits();
my $old = feed_pid();
my $waits = "LOG:  the feed of database \"postgres\" waits for a lock on table \"notifyd.log_0\"\n.*"
  . "DETAIL:  Process $drop_pid requests a lock on the table and waits for process $reader_pid\\.\n.*HINT:  .*pg_terminate_backend";

# The request of a client stays unread. A process that sleeps gives up the processor of its own accord;
# one that finds something to read at once does not.
my $late = notifyd_client($node);
$late->send({ jsonrpc => '2.0', id => 1, method => 'subscribe', params => { channel => 'news' } });
$late->ping;
my $sleeps = process_status($old, 'voluntary_ctxt_switches');
wait_for(sub { process_status($old, 'voluntary_ctxt_switches') > $sleeps + 50 }, 'the feed to sleep');
pass('a feed that waits for its lock sleeps');
wait_for(sub { slurp_file($node->logfile, $from) =~ /$waits/ }, 'the log to name the processes');
pass('the log names the process that it waits for');

# After that the feed empties the queue of notifications.
my $read = q{SELECT notifies_sent FROM notifyd.stats WHERE name = 'postgres'};
my $before = sql($read);
sql('NOTIFY news');
ok($node->poll_query_until('postgres', "SELECT ($read) > $before"), 'it reads notifications');
sql("SELECT pg_cancel_backend($drop_pid)");
my $reset = $client->next_message('reset');
is_deeply([ @$reset{ 'channel', 'reason' } ], [ 'news', 'notifications were lost' ], 'their subscribers get a reset');
$late->wait_for(sub { grep { ($_->{id} // 0) == 1 && $_->{result} } $late->received }, 'the answer');
pass('the request is answered');
is(feed_pid(), $old, 'by the same feed');
serves('DROP EXTENSION was cancelled');
is(scalar(() = slurp_file($node->logfile, $from) =~ /$waits/g), 1, 'it was logged once');

# A feed that is started meanwhile waits, too.
$drop->query_until(qr/again/, "\\echo again\nDROP EXTENSION pg_notifyd;\n");
drop_waits();
$from = -s $node->logfile;
sql("SELECT pg_terminate_backend($old)");
wait_for(sub { slurp_file($node->logfile, $from) =~ /$waits/ }, 'the log to name the processes');
isnt(feed_pid(), $old, 'the next feed waits as well');
$reader->query_safe('COMMIT');
is(($client->wait_closed)[0], 1001, 'DROP EXTENSION goes on');
$_->quit foreach $reader, $drop;
no_lock_left('DROP EXTENSION');

$node->stop;
done_testing();
