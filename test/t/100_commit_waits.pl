# A transaction takes its ids after it has waited, so a waiting commit does not delay the events of
# others.

use strict;
use warnings;

use IO::Socket::UNIX;
use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('watermark', init => { allows_streaming => 1 });
$node->safe_psql('postgres', q{
	CREATE TABLE a (id int PRIMARY KEY);
	CREATE TABLE b (id int PRIMARY KEY);
	CREATE TABLE unwatched (id int);
	GRANT SELECT ON a TO guest;
	SELECT notify_watch('a');
	SELECT notify_watch('b', notify => true);
	SELECT notify_grant('messages', 'guest');
});
my $client = notifyd_client($node);
$client->subscribe('a');
my $id = 0;

# The last line that a session says to a query.
sub answer
{
	my ($session, $sql) = @_;
	return (split /\n/, $session->query_safe($sql))[-1];
}

# While a session waits for something as it commits, another session's event must come. WAIT: how
# pg_stat_activity shows that it waits; RELEASE: code that ends it.
sub unheld
{
	my ($session, $sql, $wait, $release, $what) = @_;

	$session->query_until(qr/committing/, "\\echo committing\n$sql\n");
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $wait)")
	  or die "$what: no session waits";
	$node->safe_psql('postgres', 'INSERT INTO a VALUES (' . ++$id . ')');
	my $came = eval { local $SIG{ALRM} = sub { die "late\n" }; alarm($PostgreSQL::Test::Utils::timeout_default / 6); my $event = $client->next_event; alarm 0; $event };
	alarm 0;
	is($came && $came->{key}{id}, $id, "$what: the event of another session comes");
	is($node->safe_psql('postgres', q{SELECT in_flight FROM notifyd.stats WHERE name = 'postgres'}),
		0, "$what: nothing is in flight");
	$release->();
	$client->next_event if !$came;
	return;
}

# ON COMMIT actions of temporary tables wait for locks on them, which any session may hold.
{
	my $what = 'ON COMMIT';
	my $writer = $node->background_psql('postgres');
	my $locker = $node->background_psql('postgres', on_error_stop => 0);

	$writer->query_safe(q{
		CREATE TEMP TABLE locked (x int) ON COMMIT DELETE ROWS;
		CREATE TEMP TABLE used (x int) ON COMMIT DELETE ROWS;
	});
	my $oid = $writer->query_safe(q{SELECT 'locked'::regclass::oid});
	$locker->query("BEGIN; SAVEPOINT s; SELECT nextval($oid\::regclass); ROLLBACK TO s;");
	unheld($writer, q{
			BEGIN;
			CREATE TEMP TABLE dropped (x int) ON COMMIT DROP;
			INSERT INTO used VALUES (1);
			SELECT notify_send('messages', '1');
			COMMIT;
		}, q{wait_event = 'relation'}, sub { $locker->query('ROLLBACK') }, $what);
	is(answer($writer, q{SELECT count(*) FROM used}), 0, "$what: a table is emptied");
	is(answer($writer, q{SELECT to_regclass('pg_temp.dropped') IS NULL}), 't', "$what: a table is dropped");
	$writer->quit;
	$locker->quit;
}

# So does another extension's callback, here one that commits elsewhere, also where it was
# registered before ours.
{
	my ($port, $host) = ($node->port, $node->host);

	$node->safe_psql('postgres', qq{
		CREATE EXTENSION postgres_fdw;
		CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres');
		CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere;
		CREATE TABLE far (id int);
		CREATE FOREIGN TABLE near (id int) SERVER elsewhere OPTIONS (table_name 'far');
		CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \$\$
		BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END \$\$;
		CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON far DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION wait();
	});
	my $writer = $node->background_psql('postgres');
	my $locker = $node->background_psql('postgres');

	$locker->query_safe('SELECT pg_advisory_lock(1)');
	$writer->query_safe('SELECT count(*) FROM near');
	unheld($writer, q{BEGIN; INSERT INTO near VALUES (1); SELECT notify_send('messages', '2'); COMMIT;},
		q{wait_event = 'advisory'}, sub { $locker->query_safe('SELECT pg_advisory_unlock(1)') }, 'a callback');
	$writer->quit;
	$locker->quit;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM far'), 1, 'a callback: the other side has committed');
}

# NOTIFY waits for the commits of earlier sessions with NOTIFY.
foreach my $case ([ 'NOTIFY', q{SELECT notify_send('messages', '3'); NOTIFY other;} ],
	[ 'notify => true', q{INSERT INTO b VALUES (1);} ])
{
	my ($what, $sql) = @$case;
	my $writer = $node->background_psql('postgres');
	my $notifier = $node->background_psql('postgres');
	my $pid = $notifier->query_safe('SELECT pg_backend_pid()');

	# One that has notified, and does not come to the end of its commit: it waits for a standby, and
	# is stopped there.
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'nobody'});
	$notifier->query_until(qr/notified/, "\\echo notified\nBEGIN; INSERT INTO unwatched VALUES (1); NOTIFY first; COMMIT;\n");
	$node->poll_query_until('postgres', "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $pid");
	kill 'STOP', $pid;
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = ''});

	unheld($writer, "BEGIN; $sql COMMIT;", q{wait_event_type = 'Lock' AND wait_event = 'object'}, sub { kill 'CONT', $pid },
		$what);
	is(answer($writer, 'SELECT 1'), 1, "$what: the session continues");
	$writer->quit;
	$notifier->quit;
}

# A transaction may LISTEN, NOTIFY and have events at once.
{
	my $listener = $node->background_psql('postgres');
	$listener->query_safe(q{BEGIN; LISTEN heard; NOTIFY heard, 'x'; SELECT notify_send('messages', '4'); COMMIT});
	like($listener->query_safe('SELECT pg_listening_channels()'), qr/^heard/, 'and listens');
	$listener->quit;
}

# So does the session's own client, which may not read what PostgreSQL sends in the middle of
# the commit.

# A session on a plain socket, which only this test reads.
sub raw_session
{
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "connection: $!";
	my $startup = pack('N', 0x30000) . join "\0", user => scalar getpwuid($>), database => 'postgres', '', '';
	syswrite $socket, pack('N', 4 + length $startup) . $startup;
	raw_receive($socket, qr/Z\0\0\0\x05I\z/);
	return $socket;
}

sub raw_query
{
	my ($socket, $sql) = @_;
	syswrite $socket, 'Q' . pack('N', 5 + length $sql) . "$sql\0";
	return;
}

# A session that has a transaction open, asks for PostgreSQL's own message about a NOTIFY, and has
# not read BYTES of an answer. Returns it and its process.
sub unread_session
{
	my ($bytes, $sql) = @_;
	my $socket = raw_session();
	raw_query($socket, 'SELECT pg_backend_pid()');
	my ($pid) = raw_receive($socket, qr/Z\0\0\0\x05I\z/) =~ /D.{10}(\d+)C/s;
	raw_query($socket, "SET log_statement = none; SET client_min_messages = debug1; SET trace_notify = on");
	raw_receive($socket, qr/Z\0\0\0\x05I\z/);
	raw_query($socket, "BEGIN; $sql");
	raw_receive($socket, qr/Z\0\0\0\x05T\z/);
	raw_query($socket, "SELECT repeat('x', $bytes)");
	$node->poll_query_until('postgres', qq{SELECT wait_event IN ('ClientRead', 'ClientWrite') AND query LIKE '%repeat%'
		FROM pg_stat_activity WHERE pid = $pid}) or die 'the session does not come to rest';
	return ($socket, $pid);
}

# The largest answer that the socket takes unread: nothing has room behind it.
my ($fits, $blocks) = (0, 4 * 1024 * 1024);
while ($blocks - $fits > 500)
{
	my $bytes = int(($fits + $blocks) / 2);
	my ($socket, $pid) = unread_session($bytes, 'SELECT');
	my $event = $node->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid");
	($event eq 'ClientRead' ? $fits : $blocks) = $bytes;
	$socket->close;
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)");
}

foreach my $sql ('NOTIFY heard', 'LISTEN heard', q{INSERT INTO b VALUES (nextval('ids'))})
{
	$node->safe_psql('postgres', 'CREATE SEQUENCE IF NOT EXISTS ids START 1000');
	my ($socket, $pid) = unread_session($fits, "SELECT notify_send('messages', '5'); $sql");
	raw_query($socket, 'COMMIT');
	$node->poll_query_until('postgres', "SELECT query = 'COMMIT' AND wait_event LIKE 'Client%' FROM pg_stat_activity WHERE pid = $pid")
	  or die "$sql: the commit does not come to rest";
	is($node->safe_psql('postgres', q{SELECT in_flight FROM notifyd.stats WHERE name = 'postgres'}),
		0, "$sql: a client that does not read does not delay others' events");
	is($node->psql('postgres', q{SET lock_timeout = '10s'; NOTIFY heard}), 0, "$sql: and not their NOTIFY");
	ok(raw_receive($socket, qr/Z\0\0\0\x05I\z/) =~ /PreCommit|Exec_Listen/, "$sql: the client gets the message when it reads");
	raw_query($socket, 'SELECT 42');
	ok(raw_receive($socket, qr/Z\0\0\0\x05I\z/) =~ /D.{10}42C/s, "$sql: the session continues");
}

# An error in the middle of the commit is reported before the transaction ends.
{
	my ($socket, $pid) = unread_session($fits, q{SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM unwatched;
		INSERT INTO unwatched VALUES (2); SELECT notify_send('messages', '6')});
	$node->safe_psql('postgres', q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM unwatched; INSERT INTO unwatched VALUES (3); COMMIT});
	raw_query($socket, 'COMMIT');
	$node->poll_query_until('postgres', "SELECT query = 'COMMIT' AND wait_event LIKE 'Client%' FROM pg_stat_activity WHERE pid = $pid")
	  or die "the commit that fails does not come to rest";
	is($node->safe_psql('postgres', q{SELECT in_flight FROM notifyd.stats WHERE name = 'postgres'}), 0,
		'a commit that fails does not wait for its client either');
	ok(raw_receive($socket, qr/Z\0\0\0\x05I\z/) =~ /could not serialize/, 'which gets the error');
}

done_testing();
