# Consumers of a group behind PgBouncer, which gives each transaction another of few connections: what doc/groups.md says
# works, works, and each event is done once.
use strict;
use warnings;

use IPC::Run ();
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $pool = 3;
my $dir = PostgreSQL::Test::Utils::tempdir_short;
my $node = notifyd_node('main', conf => "log_disconnections = on\n");
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $user = $node->safe_psql('postgres', 'SELECT current_user');

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE jobs (id int PRIMARY KEY);
	CREATE TABLE done (id int, client int, server int DEFAULT pg_backend_pid());
	SELECT notify_watch('jobs', op => 'insert'), notify_group('workers', '{jobs}', lease => '1h', max_attempts => 1000);
});

append_to_file("$dir/users", qq{"$user" ""\n});
append_to_file("$dir/pgbouncer.ini", <<CONF);
[databases]
* = host=@{[ $node->host ]} port=@{[ $node->port ]}
[pgbouncer]
listen_addr =
unix_socket_dir = $dir
listen_port = $port
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = $pool
max_client_conn = 100
CONF
my $running = IPC::Run::start([ '/usr/sbin/pgbouncer', "$dir/pgbouncer.ini" ], '<', \undef, '>>', "$dir/log", '2>&1');

sub END { local $?; $running->kill_kill if $running; return; }

# The same server, as clients of the pooler see it.
my $pooled = bless { %$node, _host => $dir, _port => $port }, ref $node;
wait_for(sub { $pooled->psql('postgres', 'SELECT 1') == 0 }, 'PgBouncer');

sub row { return sql("SELECT $_[0] FROM notifyd.groups WHERE name = 'workers'"); }
sub session { return $pooled->background_psql('postgres', on_error_stop => 0); }
sub take { my ($more) = @_; return "SELECT event #>> '{key,id}' FROM notify_take('workers', 1" . ($more // '') . ')'; }

# ---------------- more clients than connections: COMMIT and ROLLBACK ----------------

my $n = 3000;
append_to_file("$dir/work.sql", <<'SQL');
\set failed random(1, 4) = 1
\set n random(1, 5)
BEGIN;
INSERT INTO done (id, client) SELECT (event #>> '{key,id}')::int, :client_id FROM notify_take('workers', :n);
SELECT pg_sleep(0.001);
\if :failed
ROLLBACK;
\else
COMMIT;
\endif
SQL
sql("INSERT INTO jobs SELECT generate_series(1, $n)");
my ($out, $err) = ('', '');
my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-j', 1, '-T', 600, '-f', "$dir/work.sql", $pooled->connstr('postgres') ], '>', \$out, '2>', \$err);
wait_for(sub { $bench->pump_nb; sql('SELECT count(DISTINCT id) FROM done') == $n }, 'all jobs to be done');
$bench->kill_kill;
is(sql('SELECT count(*) FROM done'), $n, 'each event is done once');
is($err =~ s/^pgbench.*starting.*$//mr =~ s/^progress.*$//mgr, '', 'no error');
is(sql('SELECT count(DISTINCT client) FROM done'), 8, 'by all clients');
cmp_ok(sql('SELECT count(DISTINCT server) FROM done'), '<=', $pool, 'over the connections of the pool');
ok(row('redelivered') > 0, 'what was rolled back has come again');
wait_for(sub { row(q{pending + claimed + leased}) eq '0' }, 'nothing to be open');

# ---------------- transactions of several sessions ----------------

my ($one, $two, $three) = map { session() } 1 .. 3;
sql('INSERT INTO jobs VALUES (-1), (-2)');
like($one->query('BEGIN; ' . take()), qr/^-1$/m, 'a transaction has an event');
like($two->query('BEGIN; ' . take()), qr/^-2$/m, 'another one the next');
is(row('claimed'), 2, 'both have theirs');
$one->query('ROLLBACK');
$two->query('COMMIT');
is($three->query(q{SELECT event #>> '{key,id}', attempt FROM notify_take('workers', 9)}), '-1|2', 'ROLLBACK gives back, COMMIT acknowledges');

# A client that is killed in its transaction.
sql('INSERT INTO jobs VALUES (-3)');
like($one->query('BEGIN; ' . take()), qr/^-3$/m, 'a transaction has an event');
$one->{run}->kill_kill;
wait_for(sub { row('pending') eq '1' }, 'PgBouncer to end it');
is($two->query(q{SELECT event #>> '{key,id}', attempt FROM notify_take('workers', 9)}), '-3|2', 'another one gets it');

# ---------------- leases ----------------

sub server { my ($session) = @_; return $session->query('BEGIN; SELECT pg_backend_pid()') =~ /(\d+)/ ? $1 : die 'no process'; }

# Take with hold, and return the number of the delivery, while transactions keep the connection that took it from others.
my @busy;
sub hold
{
	my ($id, $pid) = split /\|/, $two->query(q{SELECT id, pg_backend_pid() FROM notify_take('workers', 1, hold => true)});
	my $found = 0;

	while (!$found)
	{
		my $session = session();
		push @busy, $session;
		$found = server($session) == $pid;
		BAIL_OUT('no connection of the pool is the one that took') if @busy == $pool && !$found;
	}
	return ($id, $pid);
}
sub let_go { $_->quit foreach splice @busy; return; }

sql('INSERT INTO jobs VALUES (-4)');
my ($id, $pid) = hold();
is(row('leased'), 1, 'a lease');
SKIP:
{
	skip 'all connections are needed to find the one', 1 if @busy == $pool;
	my ($done, $other) = split /\|/, $three->query("SELECT notify_nack('workers', '{$id}', error => 'later'), pg_backend_pid()");
	ok($done == 1 && $other != $pid, 'another connection gives it back');
}
let_go();
($id, $pid) = hold();
SKIP:
{
	skip 'all connections are needed to find the one', 1 if @busy == $pool;
	my ($done, $other) = split /\|/, $three->query("SELECT notify_ack('workers', '{$id}'), pg_backend_pid()");
	ok($done == 1 && $other != $pid, 'another connection acknowledges it');
}
let_go();
is($three->query("SELECT notify_ack('workers', '{$id}')"), 0, 'once');
is(row(q{pending + claimed + leased}), 0, 'nothing is open');

# ---------------- waiting ----------------

my @waiting = map { session() } 1 .. $pool;
$_->query_until(qr/waiting/, "\\echo waiting\n" . take(q{, wait => '60s'}) . ";\n") foreach @waiting;
wait_for(sub { row('waiting') eq $pool }, 'all connections of the pool to wait');
sql('INSERT INTO jobs SELECT generate_series(-10 - ' . ($pool - 1) . ', -10)');
is(join(',', sort { $a <=> $b } map { $_->query('SELECT 0') =~ /(-\d+)/ } @waiting), join(',', -10 - $pool + 1 .. -10), 'each gets an event when it is written');
is(row(q{pending + claimed + leased + waiting}), 0, 'nothing is open');
$_->quit foreach @waiting;

# ---------------- LISTEN ----------------

# The pooler's connection is told, and nobody else loses anything.
is($two->query(take(', listen => true')), '', 'nothing to take, so it would listen');
sql('INSERT INTO jobs VALUES (-20)');
is(sql(take(q{, wait => '60s'})), '-20', 'another consumer gets the event');
$_->quit foreach $two, $three;

done_testing();
