# Consumer groups of roles that log in, in other databases, on a standby and after its promotion.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', init => { allows_streaming => 1 });

$node->safe_psql('postgres', q{
	CREATE ROLE mgr LOGIN;
	CREATE ROLE red LOGIN;
	CREATE TABLE jobs (id int PRIMARY KEY, tenant text);
	SELECT notify_watch('jobs');
	ALTER TABLE jobs OWNER TO mgr;
	ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
	CREATE POLICY mine ON jobs TO red USING (tenant = current_user);
	GRANT SELECT ON jobs TO red;
});

sub take
{
	my ($role, $database, $server) = @_;

	return ($server // $node)->safe_psql($database // 'postgres', "SELECT event #>> '{key,id}' FROM notify_take('g', 100)",
		extra_params => [ '-U', $role ]);
}

# ---------------- roles that are no superusers ----------------

$node->safe_psql('postgres', q{
	SELECT notify_group('g', '{jobs}', filter => 'id=gt.1');
	INSERT INTO jobs VALUES (1, 'red'), (2, 'red'), (3, 'blue'), (4, 'red')}, extra_params => [ '-U', 'mgr' ]);
my ($status, $out, $err) = $node->psql('postgres', "SELECT notify_take('g')", extra_params => [ '-U', 'red' ]);
like($err, qr/permission denied for consumer group "g"/, 'not without the privilege');
$node->safe_psql('postgres', q{SELECT notify_grant('g', 'red', 'consume')});
is(take('red'), "2\n4", 'a role gets the rows of its policy');
is($node->safe_psql('postgres', q{SELECT count(*) FROM notify_take('g', 9); SELECT current_user, session_user, current_setting('is_superuser')},
	extra_params => [ '-U', 'red' ]), "0\nred|red|off", 'and stays what it is');
is(take('mgr'), '3', 'the owner gets the rest');

# ---------------- a filter whose column is renamed ----------------

$node->safe_psql('postgres', q{
	CREATE TABLE parts (id int PRIMARY KEY, status text);
	SELECT notify_watch('parts'), notify_group('renamed', '{parts}', filter => 'status=eq.open');
	INSERT INTO parts VALUES (1, 'open'), (2, 'closed');
	ALTER TABLE parts RENAME status TO state;
	INSERT INTO parts VALUES (3, 'open'), (4, 'closed');
	SELECT notify_send('parts', '{}')});
is($node->safe_psql('postgres', q{SELECT event #>> '{key,id}' FROM notify_take('renamed', 9)}), "1\n2\n3\n4",
	'a filter leaves out no event of a table that lacks its column');
$node->safe_psql('postgres', q{SELECT notify_group('renamed', '{parts}', filter => 'state=eq.open'); INSERT INTO parts VALUES (5, 'open'), (6, 'closed')});
is($node->safe_psql('postgres', q{SELECT event #>> '{key,id}' FROM notify_take('renamed', 9)}), '5', 'and the new name selects again');

# ---------------- an owner that is dropped ----------------

$node->safe_psql('postgres', q{
	CREATE ROLE gone;
	ALTER TABLE parts OWNER TO gone;
	SET ROLE gone;
	SELECT notify_group('orphan', '{parts}', filter => 'state=eq.open')});
$node->safe_psql('postgres', q{
	INSERT INTO parts VALUES (11, 'open'), (12, 'open');
	SELECT notify_take('orphan');
	REASSIGN OWNED BY gone TO mgr;
	DROP ROLE gone});
($status, $out, $err) = $node->psql('postgres', q{SELECT notify_group('orphan', '{parts}')}, extra_params => [ '-U', 'red' ]);
like($err, qr/permission denied for channel "parts"/, 'a group without an owner is not for everybody');
$node->safe_psql('postgres', q{SELECT notify_group('orphan', '{parts}', filter => 'state=eq.open')}, extra_params => [ '-U', 'mgr' ]);
is($node->safe_psql('postgres', q{SELECT owner FROM notifyd.groups WHERE name = 'orphan'}), 'mgr',
	'but the owner of the table, who may define groups of the channel, can take it over');
is($node->safe_psql('postgres', q{SELECT event #>> '{key,id}' FROM notify_take('orphan', 9)}, extra_params => [ '-U', 'mgr' ]), '12', 'where it is');

$node->safe_psql('postgres', q{SELECT notify_ungroup('orphan'), notify_ungroup('renamed'); DROP TABLE parts});

# ---------------- events that were set aside ----------------

$node->safe_psql('postgres', q{
	CREATE ROLE clerk LOGIN; CREATE ROLE partial LOGIN; CREATE ROLE stranger LOGIN;
	CREATE TABLE bills (id int PRIMARY KEY, v text);
	SELECT notify_watch('bills');
	ALTER TABLE bills OWNER TO mgr;
	GRANT SELECT ON bills TO red, stranger;
	GRANT SELECT (id) ON bills TO partial;
	SELECT notify_group('news', '{news}', max_attempts => 1), notify_group('open', '{news}');
	SELECT notify_grant('news', 'red', 'consume'), notify_grant('open', 'stranger', 'consume');
});
$node->safe_psql('postgres', q{SELECT notify_group('bills', '{bills}', max_attempts => 1)}, extra_params => [ '-U', 'mgr' ]);
$node->safe_psql('postgres', qq{SELECT notify_grant('bills', '$_', 'consume')}) for 'red', 'clerk', 'partial';
$node->safe_psql('postgres', q{INSERT INTO bills VALUES (1, 'canary'); SELECT notify_send('news', '"canary"')});
$node->psql('postgres', "SELECT ('canary' || event)::int FROM notify_take('$_')") for 'bills', 'news';

sub failed
{
	my ($role, $where) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SELECT name, attempts, event::text ~ 'canary' AND error ~ 'canary' FROM notifyd.failed_events $where ORDER BY name",
		extra_params => [ '-U', $role ]);
	return $out . ($err =~ /canary/ ? ' leaked' : '');
}

wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.failed_events') eq '2' }, 'two events are set aside');
is(failed('postgres', ''), "bills|1|t\nnews|1|t", 'superusers see them');
is(failed('mgr', ''), 'bills|1|t', "the group's owner sees its own");
is(failed('red', ''), "bills|1|t\nnews|1|", 'who may take sees them, but no message without the privilege on its channel');
is(failed('clerk', ''), 'bills|1|', 'nothing of the event without SELECT');
is(failed('partial', ''), 'bills|1|', 'nor with SELECT on some columns');
is(failed('stranger', ''), '', 'and nothing of other groups');
$node->safe_psql('postgres', q{
	CREATE FUNCTION spy(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE WARNING 'spy: %', $1; RETURN true; END $$;
	SELECT notify_grant('news', 'red');
	ALTER TABLE bills ENABLE ROW LEVEL SECURITY;
	CREATE POLICY mine ON bills TO red USING (id = 2)});
is(failed('red', ''), "bills|1|\nnews|1|t", 'nor where row security applies; and the message with the privilege');
is(failed($_, 'WHERE spy(event::text) AND spy(error)'), failed($_, ''), "no condition sees what the view hides from $_") for 'clerk', 'partial', 'stranger';
is(failed('mgr', ''), 'bills|1|t', 'the owner of the table bypasses it');
my ($denied, undef, $why) = $node->psql('postgres', 'SELECT * FROM notifyd.group_failed', extra_params => [ '-U', 'mgr' ]);
like($why, qr/permission denied/, 'the table itself is closed');
is($node->safe_psql('postgres', q{SELECT notify_retry('bills')}, extra_params => [ '-U', 'mgr' ]), 1, 'the owner lets it come again');
is($node->safe_psql('postgres', q{SELECT event #>> '{new,v}' FROM notify_take('bills', 1, wait => '60s')}, extra_params => [ '-U', 'mgr' ]), 'canary', 'and gets it');
$node->safe_psql('postgres', q{SELECT notify_ungroup('bills'), notify_ungroup('news'), notify_ungroup('open'); DROP TABLE bills});

# ---------------- other databases ----------------

$node->safe_psql('postgres', q{INSERT INTO jobs VALUES (5, 'red'), (6, 'red')});
is($node->safe_psql('postgres', "SELECT event #>> '{key,id}' FROM notify_take('g')"), '5', 'one is done');
wait_for(sub { $node->psql('template1', 'CREATE DATABASE copy TEMPLATE postgres') == 0 }, 'a copy of the database');
is(take('mgr', 'copy'), '6', 'goes on where the database was');
is(take('mgr'), '6', 'and so does the database');

my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'is restored');
is($node->safe_psql('restored', 'SELECT name, owner, channels, filter FROM notifyd.groups'), 'g|mgr|{jobs}|id=gt.1', 'with the group');
$node->safe_psql('restored', q{INSERT INTO jobs VALUES (7, 'red')});
is(take('mgr', 'restored'), '7', 'which begins there');
is($node->safe_psql('restored', q{SELECT notify_group('new', '{jobs}'); SELECT count(DISTINCT id) FROM notifyd.consumer_group}), "\n2", 'and new ones get other numbers');

$node->safe_psql('postgres', 'CREATE DATABASE old');
$node->safe_psql('old', q{CREATE EXTENSION pg_notifyd VERSION '1.0'; CREATE TABLE t (id int PRIMARY KEY)});
$node->safe_psql('old', q{ALTER EXTENSION pg_notifyd UPDATE});
$node->safe_psql('old', q{SELECT notify_watch('t'), notify_group('g', '{t}'); INSERT INTO t VALUES (1)});
is(take('postgres', 'old'), '1', 'a database of version 1.0 has groups after an update');

# ---------------- DROP EXTENSION, while a transaction has an event ----------------

$node->safe_psql('old', 'INSERT INTO t VALUES (2)');
my $taker = $node->background_psql('old', on_error_stop => 0);
like($taker->query("BEGIN; SELECT event #>> '{key,id}' FROM notify_take('g')"), qr/2/, 'a transaction has an event');
$taker->query('ROLLBACK');
$node->safe_psql('old', 'DROP EXTENSION pg_notifyd CASCADE; CREATE EXTENSION pg_notifyd');
$node->safe_psql('old', q{SELECT notify_watch('t'), notify_group('g', '{t}'); INSERT INTO t VALUES (3)});
like($taker->query("SELECT event #>> '{key,id}' FROM notify_take('g', 10)"), qr/^3$/, 'another extension has other groups');
$taker->quit;

# ---------------- without a feed ----------------

$node->append_conf('postgresql.conf', "pg_notifyd.idle_timeout = '100ms'");
$node->reload;
wait_for(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'}) eq '0' }, 'the feeds are asleep');
my $copied = $node->safe_psql('postgres', 'SELECT log_id FROM notifyd.group_state');
$node->safe_psql('postgres', q{INSERT INTO jobs VALUES (8, 'red')});
is(take('mgr'), '8', 'events are taken');
wait_for(sub { $node->safe_psql('postgres', 'SELECT log_id FROM notifyd.group_state') > $copied }, 'one comes to copy the state');
wait_for(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'}) eq '0' }, 'and leaves');

# ---------------- a standby, and its promotion ----------------

$node->safe_psql('postgres', q{INSERT INTO jobs VALUES (11, 'red'), (12, 'red'), (13, 'red')});
is($node->safe_psql('postgres', "SELECT event #>> '{key,id}' FROM notify_take('g')"), '11', 'one is done');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "pg_notifyd.listen_addresses = ''");
$standby->start;
is($node->safe_psql('postgres', "SELECT event #>> '{key,id}' FROM notify_take('g')"), '12', 'another one');
$node->wait_for_catchup($standby);
($status, $out, $err) = $standby->psql('postgres', "SELECT notify_take('g')");
like($err, qr/cannot execute notify_take\(\)/, 'not on a standby');
($status, $out, $err) = $standby->psql('postgres', "SELECT notify_call('com.a')");
like($err, qr/cannot execute notify_call\(\)/, 'nor calls of clients');
is($standby->safe_psql('postgres', 'SELECT name FROM notifyd.groups'), 'g', 'which shows the group');
$node->stop('immediate');
$standby->promote;
is(take('postgres', 'postgres', $standby), '13', 'after a promotion the rest comes');

done_testing();
