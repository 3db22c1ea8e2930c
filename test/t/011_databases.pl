# Feeds follow their databases: extensions and databases are created, dropped and renamed, and
# worker slots run out.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main');

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

# The databases that have a feed, once they are these.
sub feeds_are
{
	my ($expected, $what) = @_;
	my $query = q{SELECT coalesce(string_agg(datname, ' ' ORDER BY datname), '') FROM pg_stat_activity
		WHERE backend_type = 'pg_notifyd feed' AND datname IN (SELECT name FROM notifyd.stats WHERE state = 'running')};
	ok($node->poll_query_until('postgres', $query, $expected), $what);
	return;
}

sub feed_pid
{
	my $database = shift;
	return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed' AND datname = \$name\$$database\$name\$");
}

sub timed
{
	my ($sql, $what) = @_;
	my $since = time;
	sql($sql);
	cmp_ok(time - $since, '<', 4, "$what does not wait for long");
	return;
}

# Extensions
feeds_are('postgres', 'one feed');
sql('CREATE DATABASE shop');
feeds_are('postgres', 'a database without the extension has none');
sql('BEGIN; CREATE EXTENSION pg_notifyd; ROLLBACK', 'shop');
feeds_are('postgres', 'nor one in which it was not committed');
sql('CREATE EXTENSION pg_notifyd', 'shop');
feeds_are('postgres shop', 'CREATE EXTENSION starts a feed');
sql('DROP EXTENSION pg_notifyd', 'shop');
feeds_are('postgres', 'DROP EXTENSION ends it');
sql('CREATE EXTENSION pg_notifyd', 'shop');
feeds_are('postgres shop', 'CREATE EXTENSION starts it again');
my $old = feed_pid('shop');
sql('DROP EXTENSION pg_notifyd; CREATE EXTENSION pg_notifyd', 'shop');
feeds_are('postgres shop', 'DROP and CREATE in a row');
sql(q{BEGIN; DROP EXTENSION pg_notifyd; CREATE EXTENSION pg_notifyd; ROLLBACK}, 'shop');
feeds_are('postgres shop', 'and undone');

# A database with quotes, and one's own client
my $odd = q{a "b" 'c'};
sql(qq{CREATE DATABASE "a ""b"" 'c'"});
sql(q{
	CREATE EXTENSION pg_notifyd;
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
}, $odd);
feeds_are(qq{$odd postgres shop}, 'three feeds');

# Commands that need a database alone
timed('ALTER DATABASE shop RENAME TO shop2', 'ALTER DATABASE RENAME');
feeds_are(qq{$odd postgres shop2}, 'its feed is back');
timed('CREATE DATABASE shop3 TEMPLATE shop2', 'CREATE DATABASE with it as the template');
feeds_are(qq{$odd postgres shop2 shop3}, 'the copy has a feed, too');
my $offset = -s $node->logfile;
timed('DROP DATABASE shop3', 'DROP DATABASE');
timed('DROP DATABASE shop2 WITH (FORCE)', 'DROP DATABASE WITH (FORCE)');
feeds_are(qq{$odd postgres}, 'the others have their feeds');
unlike(slurp_file($node->logfile, $offset), qr/FATAL: .*does not exist/, 'no feed was started for a dropped database');
is(sql("SELECT count(*) FROM notifyd.stats WHERE name LIKE 'shop%'"), 0, 'no trace is left in the statistics');

# Who may not run such a command may not stop a feed with it.
sql('CREATE ROLE somebody LOGIN');
$old = feed_pid($odd);
my ($status, $stdout, $stderr) =
  $node->psql('postgres', qq{DROP DATABASE "a ""b"" 'c'"}, extra_params => [ '-U', 'somebody' ]);
like($stderr, qr/must be owner/, 'DROP DATABASE is refused');
is(feed_pid($odd), $old, 'and has not disturbed the feed');

# A command that fails gives the database back.
($status, $stdout, $stderr) = $node->psql('postgres', qq{BEGIN; DROP DATABASE "a ""b"" 'c'"});
like($stderr, qr/cannot run inside a transaction block/, 'DROP DATABASE in a transaction is refused');
feeds_are(qq{$odd postgres}, 'and the feed is back');

# Statistics for others than members of pg_read_all_stats
is( $node->safe_psql('postgres', 'SELECT name, pid IS NULL FROM notifyd.stats',
		extra_params => [ '-U', 'somebody' ]),
	'postgres|t', 'others see the statistics of their own database, without process ids');
is(sql(q{SELECT string_agg(kind, ' ' ORDER BY kind) FROM notifyd.stats}), 'database database gateway',
	'a superuser sees all');

# The feed does not keep a transaction open while it waits.
ok($node->poll_query_until('postgres', q{SELECT bool_and(xact_start IS NULL AND backend_xmin IS NULL)
	FROM pg_stat_activity WHERE backend_type IN ('pg_notifyd feed', 'pg_notifyd launcher')}),
	'no worker idles in a transaction');

# Too few slots for all that have subscribers: one line, and a feed as soon as there is room.
sql(q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
$node->stop;
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');	# ours, the logical replication launcher, one feed
$offset = -s $node->logfile;
$node->start;

sub subscribe
{
	my $database = shift;
	my $client;
	wait_for(sub { $client = notifyd_client($node, database => $database); $client->served }, "a client of $database");
	$client->subscribe('t');
	return $client;
}
my $first;
my $other;

# Whichever has been looked at first
sub healthy
{
	my $name = shift eq $odd ? 'a%20%22b%22%20%27c%27' : 'postgres';
	my $res = http_get($node, "/healthz?database=$name");
	return $res && $res->code == 200;
}
wait_for(sub { ($first) = grep { healthy($_) } 'postgres', $odd; $first }, 'one of them');
$other = $first eq $odd ? 'postgres' : $odd;
my $client = subscribe($first);
feeds_are($first, 'one has the slot');

# The other one has not been looked at yet, or has and is asleep: then it wants a slot again for a
# subscriber.
my $late;
wait_for(
	sub {
		$late = notifyd_client($node, database => $other) if !$late && healthy($other);
		$late->send({ id => 1, method => 'subscribe', params => { channel => 't' } }) if $late && $late->connected;
		return slurp_file($node->logfile, $offset) =~ /could not start a feed: there is no free background worker slot/;
	},
	'a line about slots');
like(slurp_file($node->logfile, $offset), qr/DETAIL:  These databases wait for one: "\Q$other\E"\./, 'which names the database');
like(slurp_file($node->logfile, $offset), qr/HINT:  Increase max_worker_processes, now 3/, 'and a hint');
$client->close;
$client = subscribe($other);
feeds_are($other, 'a slot that has become free is used');
my @lines = slurp_file($node->logfile, $offset) =~ /(no free background worker slot)/g;
is(scalar @lines, 1, 'it was logged once');
$client->close;

$node->stop;
done_testing();
