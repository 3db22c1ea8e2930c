# Consumer groups with several processes: each event is done once whatever dies, consumers that wait
# are woken by a commit, and retention waits for the groups.
use strict;
use warnings;

use IPC::Run ();
use NotifydTest;
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main', conf => 'pg_notifyd.max_groups = 20');
is($node->safe_psql('postgres', 'SHOW pg_notifyd.max_groups'), '20', 'the number of groups is as configured');

$node->safe_psql('postgres', q{
	CREATE TABLE jobs (id int PRIMARY KEY, v text);
	CREATE TABLE done (id int, worker int);
	SELECT notify_watch('jobs', op => 'insert'), notify_group('workers', '{jobs}', max_attempts => 1000);
});

sub groups_row
{
	my ($columns, $name) = @_;

	return $node->safe_psql('postgres', "SELECT $columns FROM notifyd.groups WHERE name = '" . ($name // 'workers') . "'");
}

sub take
{
	my ($n, $name) = @_;

	return $node->safe_psql('postgres', "SELECT event #>> '{key,id}' FROM notify_take('" . ($name // 'workers') . "', $n)");
}

# ---------------- a crash, and restarts ----------------

$node->safe_psql('postgres', 'INSERT INTO jobs SELECT generate_series(1, 100)');
is(take(3), "1\n2\n3", 'the first ones');
is($node->safe_psql('postgres', "SELECT count(*) FROM notify_take('workers', 2, hold => true)"), 2, 'two are leased');
is(take(2), "6\n7", 'the next ones');
$node->stop('immediate');
$node->start;
is(take(4), "4\n5\n8\n9", 'after a crash, what was acknowledged does not come again, and everything else does');
wait_for(sub { $node->safe_psql('postgres', "SELECT open IS NOT NULL AND scanned > 0 AND cardinality(open) = 91 FROM notifyd.group_state") eq 't' },
	'the feed copies the state');
is(take(2), "10\n11", 'more after the copy');
$node->restart;
is(take(2), "12\n13", 'after a restart');
$node->stop('immediate');
$node->start;
is(take(100), join("\n", 14 .. 100), 'after another crash the rest comes, once');
is(take(1), '', 'nothing is left');

# ---------------- workers that are killed and roll back ----------------

my $n = 20000;
my $script = $node->basedir . '/work.sql';

open my $file, '>', $script or die $!;
print $file <<'SQL';
\set ending random(1, 4)
\set n random(1, 5)
BEGIN;
INSERT INTO done SELECT (event #>> '{key,id}')::int, :client_id FROM notify_take('workers', :n);
SELECT pg_sleep(0.001);
\set failed :ending = 1
\if :failed
ROLLBACK;
\else
COMMIT;
\endif
SQL
close $file;
$node->safe_psql('postgres', "TRUNCATE jobs, done; INSERT INTO jobs SELECT generate_series(1, $n)");
my @bench = map {
	IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-j', 1, '-T', 600, '-f', $script, $node->connstr('postgres') . ' application_name=pgbench' ],
		'>', '/dev/null', '2>', '/dev/null')
} 1 .. 2;
my $killed = 0;
my $left = $n;
my $until = time + 180;

while ($left > 0 && time < $until)
{
	$killed += $node->safe_psql('postgres', q{
		SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
			WHERE application_name = 'pgbench' ORDER BY random() LIMIT 1) AS victim}) if $killed < 5;
	$left = $n - $node->safe_psql('postgres', 'SELECT count(DISTINCT id) FROM done');
}
$_->kill_kill for @bench;
is($left, 0, 'all jobs are done');
ok($killed > 0, "$killed workers were killed");
is($node->safe_psql('postgres', 'SELECT count(*) FROM done'), $n, 'each once');
is(groups_row('pending + claimed'), 0, 'nothing is open');

# ---------------- waiting ----------------

my $waiter = $node->background_psql('postgres', on_error_stop => 0);
$waiter->query_until(qr/waiting/, "\\echo waiting\nSELECT event #>> '{key,id}' FROM notify_take('workers', 1, wait => '60s');\n");
wait_for(sub { groups_row('waiting') eq '1' }, 'a consumer waits');
my $began = time;
$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (-1)');
like($waiter->query('SELECT 1'), qr/-1/, 'the commit wakes it');
ok(time - $began < 30, 'before its time');
is(groups_row('waiting'), 0, 'nobody waits');

# A group that is redefined meanwhile.
$node->safe_psql('postgres', "CREATE TABLE more (id int PRIMARY KEY); SELECT notify_watch('more')");
$waiter->query_until(qr/again/, "\\echo again\nSELECT event #>> '{key,id}' FROM notify_take('workers', 1, wait => '60s');\n");
wait_for(sub { groups_row('waiting') eq '1' }, 'it waits again');
$node->safe_psql('postgres', "SELECT notify_group('workers', '{jobs,more}', max_attempts => 1000)");
$node->safe_psql('postgres', 'INSERT INTO more VALUES (-9)');
like($waiter->query('SELECT 1'), qr/-9/, 'a consumer that waits gets events of a new channel');

# As many as there are events.
my @waiters = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 3;
$_->query_until(qr/waiting/, "\\echo waiting\nSELECT event #>> '{key,id}' FROM notify_take('workers', 1, wait => '60s');\n") for @waiters;
wait_for(sub { groups_row('waiting') eq '3' }, 'three consumers wait');
$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (-2), (-3)');
wait_for(sub { groups_row('waiting') eq '1' }, 'two of them get an event');
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE $$%notify_take%$$ AND state = $$active$$ AND pid <> pg_backend_pid()');
wait_for(sub { groups_row('waiting') eq '0' }, 'one that is killed no longer waits');
eval { $_->quit } for @waiters;
$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (-4)');
is(take(9), '-4', 'and has no event');

# A client that is killed while its session waits costs no attempt, and nothing is taken for it.
for my $statement ("BEGIN; SELECT notify_take('workers', 1, wait => '60s')", "SELECT notify_take('workers', 1, wait => '60s')")
{
	my $client = IPC::Run::start([ 'psql', '-X', '-c', $statement, '-d', $node->connstr('postgres') ], '<', \'', '>', '/dev/null', '2>', '/dev/null');
	wait_for(sub { groups_row('waiting') eq '1' }, 'a client waits');
	$client->kill_kill;
	$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (-40)');
	is($node->safe_psql('postgres', "SELECT attempt, event #>> '{key,id}' FROM notify_take('workers', 1, wait => '60s')"), '1|-40', 'killed, it has had nothing');
	wait_for(sub { groups_row('waiting') eq '0' }, 'and its session ends');
	$node->safe_psql('postgres', 'DELETE FROM jobs WHERE id = -40');
}

# What is given back wakes, too, and a lease that expires.
$node->safe_psql('postgres', q{SELECT notify_group('workers', '{jobs}', lease => '500ms', max_attempts => 1000)});
$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (-5)');
is($node->safe_psql('postgres', "SELECT attempt FROM notify_take('workers', 1, hold => true)"), 1, 'a lease');
is($node->safe_psql('postgres', "SELECT attempt FROM notify_take('workers', 1, wait => '60s')"), 2, 'it expires while one waits');

# LISTEN
$waiter->query(q{SELECT count(*) FROM notify_take('workers', 1, listen => true)});
my $heard = '';
$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (-6)');
wait_for(sub { ($heard .= $waiter->query('SELECT 2')) =~ /notifyd_group_\d+/ }, 'a session that listens is notified');
$waiter->quit;
take(8000);

# ---------------- events that fail ----------------

$node->safe_psql('postgres', q{SELECT notify_group('workers', '{jobs}', max_attempts => 2)});
$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (1000001)');
$node->psql('postgres', "SELECT 1 / (attempt - attempt) FROM notify_take('workers', 1)") for 1 .. 2;
wait_for(sub { groups_row('failed') eq '1' }, 'it is set aside');
is($node->safe_psql('postgres', 'SELECT attempts, error FROM notifyd.failed_events'), '2|division by zero', 'with the last error');
is(take(1), '', 'it does not come');
is($node->safe_psql('postgres', "SELECT notify_retry('workers')"), 1, 'it is put back');
is($node->safe_psql('postgres', "SELECT event #>> '{key,id}' FROM notify_take('workers', 1, wait => '60s')"), '1000001', 'and comes again');
is(groups_row('failed'), 0, 'it is gone');

# A group that begins again at an earlier position may set the same event aside again.
my $position = groups_row('position');
$node->safe_psql('postgres', q{SELECT notify_group('workers', '{jobs}', max_attempts => 1)});
$node->safe_psql('postgres', 'INSERT INTO jobs VALUES (1000002)');
for my $n (1, 2)
{
	$node->psql('postgres', "SELECT 1 / (attempt - attempt) FROM notify_take('workers', 1)");
	wait_for(sub { groups_row('failed') eq $n }, "it has failed $n times");
	$node->safe_psql('postgres', "SELECT notify_group('workers', '{jobs}', max_attempts => 1, since => '$position')");
}
is(take(9), '1000002', 'it comes from the log');
is($node->safe_psql('postgres', "SELECT notify_retry('workers')"), 2, 'both are put back');
wait_for(sub { groups_row('failed') eq '0' }, 'the feed writes them to the log');
is(take(9), "1000002\n1000002", 'and come again');

# ---------------- retention ----------------

$node->append_conf('postgresql.conf', "pg_notifyd.retention = '500ms'");
$node->reload;
$node->safe_psql('postgres', 'TRUNCATE jobs; INSERT INTO jobs SELECT generate_series(1, 10)');
for my $i (1 .. 15)
{
	$node->safe_psql('postgres', "INSERT INTO jobs VALUES (100 + $i)");
	$node->safe_psql('postgres', 'SELECT pg_sleep(0.2)');
}
is(take(100), join("\n", 1 .. 10, 101 .. 115), 'retention keeps what a group has not acknowledged');
wait_for(sub { $node->safe_psql('postgres', 'INSERT INTO jobs SELECT max(id) + 1 FROM jobs');
		take(100);
		$node->safe_psql('postgres', 'SELECT min(first_id) FROM notifyd.log_segment') > 0
			&& $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.log_segment') < 8 },
	'and removes the rest');
$node->append_conf('postgresql.conf', "pg_notifyd.group_retention = '500ms'");
$node->reload;
take(100);
my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'TRUNCATE jobs; INSERT INTO jobs SELECT generate_series(1, 20000)');
my $before = $node->safe_psql('postgres', 'SELECT max(first_id) FROM notifyd.log_segment');
wait_for(sub { $node->safe_psql('postgres', 'INSERT INTO jobs SELECT max(id) + 1 FROM jobs');
		$node->safe_psql('postgres', 'SELECT min(first_id) FROM notifyd.log_segment') > $before + 3 },
	'until group_retention');
$node->append_conf('postgresql.conf', "pg_notifyd.retention = '1d'\npg_notifyd.group_retention = '1d'");
$node->reload;
my $take = "SELECT event ->> 'op', event ->> 'from', event ->> 'to' FROM notify_take('workers', 1)";
my $got = $node->safe_psql('postgres', "BEGIN; $take; ROLLBACK");
my ($op, $from, $to) = split(/\|/, $got);
ok($op eq 'RESET' && $from < $to, 'then the group gets a reset for what it had read');
wait_for(sub { $node->safe_psql('postgres', "SELECT bool_or($to = ANY (open)) FROM notifyd.group_state") eq 't' }, 'the feed copies it');
$node->restart;
like($node->safe_psql('postgres', $take), qr/^RESET\|$from\|/, 'which comes after a restart, too');
is($node->safe_psql('postgres', q{
	SELECT count(*) FILTER (WHERE event ->> 'op' = 'RESET') < 20, min((event #>> '{key,id}')::int) > 20000
	FROM notify_take('workers', 8192)}), 't|t', 'and few for all others');

# The copy is older than what is left of the log: what was acknowledged behind that does not come again. The copy of before stands for a crash
# in the seconds in which a new one is not made.
$node->safe_psql('postgres', "CREATE TABLE late (id int PRIMARY KEY); SELECT notify_watch('late'), notify_group('late', '{late}'); INSERT INTO late VALUES (1)");
is(take(9, 'late'), '1', 'the first one');
my $state = "FROM notifyd.group_state WHERE group_id = (SELECT max(id) FROM notifyd.consumer_group)";
wait_for(sub { $node->safe_psql('postgres', "SELECT open = '{}' AND scanned > 0 AND log_id > 0 AND log_id >= (SELECT max(log_id) FROM notifyd.group_state) $state") eq 't' },
	'the feed copies it');
my $copied = $node->safe_psql('postgres', "SELECT scanned $state");
$node->append_conf('postgresql.conf', "pg_notifyd.retention = '500ms'\npg_notifyd.group_retention = '500ms'");
$node->reload;
wait_for(sub { $node->safe_psql('postgres', 'INSERT INTO jobs SELECT max(id) + 1 FROM jobs');
		$node->safe_psql('postgres', 'SELECT min(first_id) FROM notifyd.log_segment') > $copied + 1 },
	'retention goes on');
$node->append_conf('postgresql.conf', "pg_notifyd.retention = '1d'\npg_notifyd.group_retention = '1d'");
$node->reload;
my $scanned = $node->safe_psql('postgres', "SELECT scanned $state");
$node->safe_psql('postgres', 'INSERT INTO late VALUES (2), (3)');
is(take(9, 'late'), "2\n3", 'the next ones');
wait_for(sub { $node->safe_psql('postgres', "SELECT open = '{}' AND scanned > $scanned $state") eq 't' }, 'the feed copies it again');
$node->safe_psql('postgres', "UPDATE notifyd.group_state SET scanned = $copied, log_id = $copied, open = '{}', attempts = '{}' WHERE group_id = (SELECT max(id) FROM notifyd.consumer_group)");
$node->stop('immediate');
$offset = -s $node->logfile;
$node->start;
like($node->safe_psql('postgres', "SELECT event ->> 'op', event #>> '{key,id}' FROM notify_take('late', 9)"), qr/^RESET\|$/, 'a reset, and nothing else');
ok($node->log_contains(qr/consumer group "late" has lost events/, $offset), 'the log says so');
is(groups_row('lost', 'late'), 1, 'and the view');

# A loss begins where an earlier one did, although an event behind that was taken then, and is given back later.
$node->safe_psql('postgres', "CREATE TABLE held (id int PRIMARY KEY); SELECT notify_watch('held'), notify_group('held', '{held}')");
$node->safe_psql('postgres', "INSERT INTO held VALUES ($_)") for 1 .. 3;
my @held = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', "SELECT id, event ->> 'id' FROM notify_take('held', 2, hold => true)");
my $give_back = sub { $node->safe_psql('postgres', "SELECT notify_nack('held', '{$_[0]}')") };
$give_back->($held[0][0]);
my $lost = sub {
	my $more = shift;
	my $count = groups_row('lost', 'held');
	wait_for(sub { $node->safe_psql('postgres', 'INSERT INTO jobs SELECT max(id) + 1 FROM jobs'); groups_row('lost', 'held') > $count }, $more);
};
$node->append_conf('postgresql.conf', "pg_notifyd.retention = '500ms'\npg_notifyd.group_retention = '500ms'");
$node->reload;
$lost->('a loss');
$give_back->($held[1][0]);
$lost->('another one');
is($node->safe_psql('postgres', "SELECT event ->> 'from' FROM notify_take('held', 9)"), $held[0][1], 'both losses are one');

done_testing();
