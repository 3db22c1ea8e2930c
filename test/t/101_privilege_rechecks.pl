# Changes of roles, tables and watches: the feed re-checks only subscriptions that they concern
# (counted as reads of notifyd.watch), and does so before the next event.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $WATCHES = 300;
my $CHANNELS = 30;
my $CHANGES = 10;

my $node = notifyd_node('main');
$node->safe_psql('postgres', qq{
	CREATE ROLE low LOGIN;
	CREATE ROLE staff;
	CREATE ROLE clerks;
	CREATE TABLE marker (id int PRIMARY KEY);
	CREATE TABLE payroll (id int PRIMARY KEY);
	GRANT SELECT ON marker TO guest;
	SELECT notify_watch('marker'), notify_watch('payroll');
	DO \$\$
	BEGIN
		FOR i IN 1..$WATCHES LOOP
			EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY)', i);
			EXECUTE format('GRANT SELECT ON t%s TO guest', i);
			PERFORM notify_watch(format('t%s', i));
		END LOOP;
	END
	\$\$;
});
my $session = $node->background_psql('postgres');
$session->query_safe('SET client_min_messages = warning');	# query_safe() takes a notice for an error
my $client = notifyd_client($node);
my $marked = 0;

sub sql
{
	my $sql = shift;
	return $session->query_safe($sql);
}

# An event: when it has come, the feed has looked at everything that was committed before it.
sub mark
{
	$marked++;
	sql("INSERT INTO marker VALUES ($marked)");
	return $client->next_event;
}

sub feed_pid
{
	return sql(q{SELECT pid FROM notifyd.stats WHERE kind = 'database' AND state = 'running'});
}

# How often feeds have looked a watch up, or how many rows of notifyd.watch they have read to find
# some: a feed reports that when it ends, so this is about the one that was there and all before it.
sub watches_read_so_far
{
	my $pid = feed_pid();
	sql("SELECT pg_terminate_backend($pid)");
	wait_for(sub { (feed_pid() || $pid) != $pid }, 'another feed');
	mark();
	return sql(q{SELECT seq_tup_read + idx_scan FROM pg_stat_all_tables WHERE relid = 'notifyd.watch'::regclass});
}

my $so_far = 0;
my $idle = 0; # reads of a feed that only starts and ends

sub watches_read
{
	my $work = shift;
	my $before = $so_far;
	$work->();
	$so_far = watches_read_so_far();
	return $so_far - $before - $idle;
}

$client->subscribe('marker');
$client->subscribe("t$_") foreach 1 .. $CHANNELS;
mark();
$so_far = watches_read_so_far();
$idle = watches_read(sub { });

# Changes that concern no stream.
my $none = watches_read(
	sub {
		foreach my $i (1 .. $CHANGES)
		{
			sql("ALTER ROLE low PASSWORD 'p$i'");
			mark();
			sql("CREATE ROLE r$i");
			mark();
			sql("GRANT r$i TO low");
			mark();
		}
	});
cmp_ok($none, '<=', 3 * $CHANNELS, 'passwords, new roles and memberships of others: the watches are not looked up again');

# What concerns one table, or others' roles that have privileges on it.
my $some = watches_read(
	sub {
		foreach my $i (1 .. $CHANGES)
		{
			sql("GRANT SELECT (id) ON t1 TO staff");
			mark();
			sql("REVOKE SELECT (id) ON t1 FROM staff");
			mark();
			sql("GRANT staff TO clerks");
			mark();
			sql("REVOKE staff FROM clerks");
			mark();
		}
	});
cmp_ok($some, '<=', 3 * $CHANNELS + 8 * $CHANGES, 'privileges on a watched table: those of its channel are');

# What may concern every channel.
my $all = watches_read(
	sub {
		foreach my $i (1 .. $CHANGES)
		{
			sql("SELECT notify_watch('t1', op => 'insert')");
			mark();
			sql("SELECT notify_watch('t1', op => 'update')");
			mark();
		}
	});
# Each channel's watches are looked up twice: for what the role may read, and for the channel's tables.
cmp_ok($all, '<=', 2 * $CHANGES * (2 * $CHANNELS + 20), 'a watch: those of every channel are, but not all for each');

# What concerns a subscription, in each of the ways that a role can come to a privilege.
sub ends
{
	my ($change, $what) = @_;
	$client->subscribe('payroll');
	mark();
	sql("$change; INSERT INTO payroll SELECT coalesce(max(id), 0) + 1 FROM payroll");
	my $error = $client->next_message('error');
	is($error->{data}{channel}, 'payroll', $what);
	is(mark()->{table}, 'marker', 'and no event of it is sent');
	return;
}
sql('GRANT SELECT ON payroll TO staff; GRANT staff TO clerks; GRANT clerks TO guest');
ends('REVOKE staff FROM clerks', 'a membership of a role that it is a member of');
sql('GRANT staff TO clerks');
ends('REVOKE clerks FROM guest', 'its own membership');
sql('GRANT clerks TO guest; CREATE ROLE other; GRANT other TO guest');
ends('REVOKE SELECT ON payroll FROM staff', 'a privilege of a role');
sql('GRANT SELECT ON payroll TO staff');
ends('ALTER ROLE clerks NOINHERIT', 'inheritance of a role between') if $node->pg_version < 16;
sql('ALTER ROLE clerks INHERIT');
ends('ALTER ROLE guest NOINHERIT', 'its own inheritance') if $node->pg_version < 16;
sql('ALTER ROLE guest INHERIT; ALTER TABLE payroll ENABLE ROW LEVEL SECURITY; ALTER ROLE guest BYPASSRLS');
$client->subscribe('payroll');
sql('ALTER ROLE guest NOBYPASSRLS; INSERT INTO payroll SELECT coalesce(max(id), 0) + 1 FROM payroll');
is($client->next_message('reset')->{channel}, 'payroll', 'row security that it could bypass');
is(mark()->{table}, 'marker', 'and no event of it is sent');
$client->unsubscribe('payroll');
sql('ALTER TABLE payroll DISABLE ROW LEVEL SECURITY; CREATE SCHEMA office; ALTER TABLE payroll SET SCHEMA office');
sql(q{ALTER TABLE office.payroll SET SCHEMA public});
sql('ALTER TABLE payroll OWNER TO other; REVOKE SELECT ON payroll FROM staff');
sql('GRANT SELECT ON payroll TO other');
ends('REVOKE SELECT ON payroll FROM other; ALTER TABLE payroll OWNER TO postgres', 'ownership');

# Revoked and granted again before the feed can check.
sql('GRANT SELECT ON payroll TO staff');
$client->subscribe('payroll');
sql('BEGIN; REVOKE staff FROM clerks; GRANT staff TO clerks; COMMIT');
mark();
sql('INSERT INTO payroll SELECT max(id) + 1 FROM payroll');
is($client->next_event->{table}, 'payroll', 'a privilege that was granted again works');
sql('REVOKE staff FROM clerks');
is($client->next_message('error')->{data}{channel}, 'payroll', 'and ends when it is finally revoked');

# Rows of notifyd.watch that come without notice, as in a restore.
sql(q{CREATE TABLE restored (id int PRIMARY KEY); GRANT SELECT ON restored TO guest});
is($client->call('subscribe', { channel => 'restored' })->{error}{code}, -32004, 'no such channel');
sql(q{INSERT INTO notifyd.watch SELECT nextval('notifyd.watch_id_seq'), 'restored', 'restored', ops, cols, key, update_of,
	condition, old_values, notify FROM notifyd.watch WHERE channel = 'marker'});
wait_for(sub { $client->call('subscribe', { channel => 'restored' })->{error}{message} =~ /missing trigger/ },
	'the restored channel');
pass('a row that was copied in is found, and lacks its triggers');

$client->close;
$session->quit;
$node->stop;
done_testing();
