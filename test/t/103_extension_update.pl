# A database with the objects of version 1.0 under the library of 1.1: changes are captured and
# sent, SQL functions say what to do, and ALTER EXTENSION UPDATE loses no event with a connected
# client and a writer. The result equals a new installation.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', extension => 0);
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
my $from = -s $node->logfile;

# What notify_watch() and notify_grant() of 1.0 have left in a database.
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_notifyd VERSION '1.0';
	CREATE ROLE reader;
	CREATE TABLE orders (id serial PRIMARY KEY, name text);
	CREATE TABLE late (id int PRIMARY KEY);
	GRANT SELECT ON orders, late TO guest;
	INSERT INTO notifyd.watch VALUES
		(nextval('notifyd.watch_id_seq'), 'orders', 'orders', 'insert,update,delete', NULL, NULL, NULL, NULL, true, true);
	CREATE TABLE another (id int PRIMARY KEY);
	ALTER TABLE another OWNER TO reader;
	INSERT INTO notifyd.watch VALUES
		(nextval('notifyd.watch_id_seq'), 'another', 'orders', 'insert', NULL, NULL, NULL, NULL, true, false);
	CREATE TRIGGER notifyd_1_row AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION notifyd.capture('1');
	ALTER TABLE orders ENABLE ALWAYS TRIGGER notifyd_1_row;
	ALTER TRIGGER notifyd_1_row ON orders DEPENDS ON EXTENSION pg_notifyd;
	INSERT INTO notifyd.channel_grant VALUES ('lobby', 'guest');
});
wait_healthy($node);

# The SQL functions, one of whose arguments are fewer than the library's.
foreach my $call (
	q{notify_watch('late')},
	q{notify_watch('late', 'insert', NULL, NULL, NULL, NULL, NULL, true, false)},
	q{notify_unwatch('orders')},
	q{notify_send('lobby', '1')},
	q{notify_fetch(1)},
	q{notify_grant('lobby', 'reader')},
	q{notify_revoke('lobby', 'guest')})
{
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err,
		qr/ERROR:  55000: extension pg_notifyd has version 1\.0 in this database, but the loaded library has version 1\.\d+\n.*HINT:  Run "ALTER EXTENSION pg_notifyd UPDATE"/s,
		"$call raises an error with a hint");
}

# A client's query
$node->safe_psql('postgres', 'ALTER ROLE guest LOGIN');
my $answer = notifyd_client($node)->call('call', { name => 'one' });
is($answer->{error}{message}, "workers cannot start in the database; see the server's log", 'a query of a client is refused');
like(slurp_file($node->logfile, $from),
	qr/ERROR:  extension pg_notifyd has version 1\.0 .*\n.*HINT:  Run "ALTER EXTENSION.*\n.*CONTEXT:  start of a worker for clients of database "postgres"/, 'the log says why');

# Capture, feed, views and LISTEN work as before.
my $client = notifyd_client($node);
$client->subscribe($_) foreach 'orders', 'lobby';
my $heard = $node->safe_psql('postgres', q{LISTEN orders; INSERT INTO orders (name) VALUES ('whole')});
like($heard, qr/with payload ".*"name": ?"whole"/, 'NOTIFY carries the whole, as in 1.0');
$node->safe_psql('postgres', q{NOTIFY lobby, 'raw'});
is_deeply([ sort map { $_->{op} } $client->next_events(2) ], [ 'INSERT', 'NOTIFY' ], 'the client gets the same as before');
is($node->safe_psql('postgres', q{SELECT relation FROM notifyd.watches WHERE notify}), 'orders', 'notifyd.watches');
wait_for(
	sub { slurp_file($node->logfile, $from) =~ /LOG:  extension pg_notifyd has version 1\.0 in database "postgres"/ },
	'the log line');
$node->safe_psql('postgres', 'CREATE TABLE any_ddl (); DROP TABLE any_ddl');

# The update, while others write, few rows and many at a time.
$node->safe_psql('postgres', q{
	CREATE TABLE stop ();
	CREATE PROCEDURE write(rows int) LANGUAGE plpgsql AS $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM stop) LOOP
			INSERT INTO orders (name) SELECT 'written' FROM generate_series(1, rows);
			COMMIT;
		END LOOP;
	END $$});
my @writers = map {
	my $writer = $node->background_psql('postgres');
	$writer->query_until(qr/begun/, "\\echo begun\nCALL write($_);\n");
	$writer;
} 1, 1, 300;
$client->next_events(200);
my ($status, $out, $err) = $node->psql('postgres', 'ALTER EXTENSION pg_notifyd UPDATE');
is($status, 0, 'ALTER EXTENSION UPDATE under a writer');
like($err, qr/WARNING:  watches with "notify" send \{"id": \.\.\.\} by NOTIFY from now on.*"notify": 1\..*HINT:/s, 'a warning about LISTEN clients');
like($err, qr/WARNING:  notify_send\(\) needs the privilege "publish".*HINT:/s, 'a warning about the privilege to send');
like($err, qr/WARNING:  tables of several owners are watched on the same channel.*Channels: orders\.\n.*HINT:/s, 'and which channels have several owners');
$client->next_events(200);
$node->safe_psql('postgres', 'INSERT INTO stop DEFAULT VALUES');
$_->quit foreach @writers;

# The triggers of 1.0 had the id alone; now a dump of the definitions brings their watch back.
my $dump = "$PostgreSQL::Test::Utils::tmp_check/definitions.sql";
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-s', '-f', $dump, 'postgres' ], 'pg_dump -s');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'restored' ], 'psql reads it');
is($node->safe_psql('restored', q{SELECT relation, channel, ops, notify FROM notifyd.watches}), 'orders|orders|insert,update,delete|t',
	'the watch exists');
# Later ids may have been committed first: wait for as many as there are rows.
my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM orders');
my %seen;
wait_for(
	sub {
		%seen = ();
		$seen{ $_->{key}{id} }++ foreach grep { $_->{op} eq 'INSERT' } $client->events;
		return keys %seen == $rows;
	},
	'all events');
is(scalar keys %seen, $rows, 'the connected client has everything');
is_deeply([ grep { $seen{$_} != 1 } keys %seen ], [], 'and nothing twice');
is(scalar(grep { ($_->{method} // '') =~ /^(reset|error)$/ } $client->received), 0, 'and got no reset or error');

# What was there is still there, with the functions of now.
is($node->safe_psql('postgres', q{SELECT notify_watch('orders', 'insert,update,delete', notify => true)}), 1, 'the watch is the same');
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', channel, role, privilege), ',') FROM notifyd.grants}),
	'lobby guest subscribe', 'and so are grants');
$heard = $node->safe_psql('postgres', q{LISTEN orders; INSERT INTO orders (name) VALUES ('id alone'); SELECT notify_send('lobby', '"new"')});
like($heard, qr/with payload "\{"id":\s*\d+\}"/, 'NOTIFY carries the id');
wait_for(sub { grep { ($_->{payload} // '') eq 'new' } $client->events }, 'the message');
my @lines = slurp_file($node->logfile, $from) =~ /LOG:  extension pg_notifyd has version/g;
is(scalar @lines, 1, 'the server log said once that the versions differ');

# Updated and fresh are the same.
$node->safe_psql('fresh', 'CREATE EXTENSION pg_notifyd');
foreach my $what ('\dp notifyd.*', '\df+ notifyd.*', '\df+ notify_*', '\d+ notifyd.*', '\dT+ notifyd.*', '\dx+ pg_notifyd',
	'\dn+ notifyd', '\dy+',
	q{SELECT pg_describe_object(classoid, objoid, objsubid), initprivs FROM pg_init_privs WHERE privtype = 'e' ORDER BY 1},
	q{SELECT pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, refobjsubid), deptype
		FROM pg_depend WHERE pg_describe_object(classid, objid, objsubid) ~ 'notif' AND
			pg_describe_object(classid, objid, objsubid) !~ 'orders' ORDER BY 1, 2, 3},
	q{SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description
		WHERE pg_describe_object(classoid, objoid, objsubid) ~ 'notif' ORDER BY 1},
	q{SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE tgrelid::regclass::text ~ 'notifyd' ORDER BY 1},
	q{SELECT extversion, extnamespace::regnamespace, extconfig::regclass[], extcondition FROM pg_extension WHERE extname = 'pg_notifyd'})
{
	my ($updated, $fresh) = map { my (undef, $out) = $node->psql($_, $what, extra_params => [ '-P', 'format=aligned' ]); $out =~ s/(?<=pg_toast_)\d+/N/g; $out } 'postgres', 'fresh';
	my ($title) = $what =~ /^(\\\S+ ?\S*|.*FROM \S+)/s;
	$title =~ s/\s+/ /g;
	cmp_ok(length $fresh, '>', 20, "$title shows something");
	is($updated, $fresh, "$title is the same of an updated database and a fresh one");
}

# A database whose extension is later than the library.
$node->safe_psql('fresh', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
	UPDATE pg_extension SET extversion = '9.10' WHERE extname = 'pg_notifyd'});
(undef, undef, $err) = $node->psql('fresh', q{SELECT notify_unwatch('t')});
like($err, qr/has version 9\.10 in this database.*HINT:  Install the files of version 9\.10 and restart the server/s, 'it raises an error with a hint');
wait_healthy($node, 'fresh');
my $ahead = notifyd_client($node, database => 'fresh');
$ahead->subscribe('t');
$node->safe_psql('fresh', 'INSERT INTO t VALUES (1)');
is($ahead->next_event->{key}{id}, 1, 'and no writer fails');
$node->restart;
wait_for(
	sub { slurp_file($node->logfile, $from) =~ /LOG:  extension pg_notifyd has version 9\.10 in database "fresh".*\n.*\n.*HINT:  Install the files/ },
	'the log line');

done_testing();
