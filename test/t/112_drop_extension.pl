# DROP EXTENSION while others write to watched tables: no deadlock, no error, and the feed ends
# without a message.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', conf => "deadlock_timeout = '10ms'\nlog_lock_waits = off\n");
my $script = "$PostgreSQL::Test::Utils::tmp_check/writers.sql";
my $rounds = 4;

$node->safe_psql('postgres', q{
	CREATE SEQUENCE ids;
	CREATE TABLE a (id bigint PRIMARY KEY DEFAULT nextval('ids'), n int);
	CREATE TABLE b (id bigint PRIMARY KEY DEFAULT nextval('ids'), n int) PARTITION BY RANGE (id);
	CREATE TABLE b_1 PARTITION OF b DEFAULT;
	GRANT SELECT ON a, b TO guest;
});
append_to_file($script, q{
BEGIN;
INSERT INTO a (n) VALUES (1);
INSERT INTO b (n) VALUES (1);
COMMIT;
INSERT INTO b (n) VALUES (2);
});

foreach my $round (1 .. $rounds)
{
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_notifyd') if $round > 1;
	wait_healthy($node);
	$node->safe_psql('postgres', q{SELECT notify_watch('a'), notify_watch('b')});
	my $client = notifyd_client($node);
	$client->subscribe('a');

	my ($out, $err) = ('', '');
	my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 2, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \$out, '2>', \$err);
	$client->next_events(50);
	my ($status, undef, $said) = $node->psql('postgres', 'DROP EXTENSION pg_notifyd');
	is($status, 0, "round $round: DROP EXTENSION succeeds") or diag $said;
	is(($client->wait_closed)[0], 1001, "round $round: clients get close code 1001");
	$writers->finish;
	like($out, qr/number of failed transactions: 0 /, "round $round: no writer fails") or diag "$out$err";
	unlike($err, qr/ERROR/, "round $round: none of them meets an error");
}

# A database that is asleep has no feed that could see it.
$node->append_conf('postgresql.conf', "pg_notifyd.idle_timeout = '10ms'");
$node->reload;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_notifyd');
$node->safe_psql('postgres', 'CREATE ROLE shopkeeper SUPERUSER');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
foreach my $drop ('DROP EXTENSION pg_notifyd', 'DROP OWNED BY shopkeeper CASCADE')
{
	my $shop = q{SELECT count(*), min(state) FROM notifyd.stats WHERE name = 'shop'};

	$node->safe_psql('shop', 'SET ROLE shopkeeper; CREATE EXTENSION pg_notifyd');
	wait_for(sub { $node->safe_psql('postgres', $shop) eq '1|asleep' }, 'the database is asleep');
	$node->safe_psql('shop', $drop);
	wait_for(sub { $node->safe_psql('postgres', $shop) eq '0|' }, "no row after $drop");
	pass("$drop in a database that is asleep: notifyd.stats has no row for it");
}

my $log = slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'no deadlock');
is_deeply([ grep { !/terminating connection due to administrator command/ } $log =~ /^.*(?:ERROR|FATAL|PANIC):.*$/mg ], [], 'no errors in the log');
unlike($log, qr/pg_notifyd.*exited with exit code [1-9]/, 'the feed leaves by itself');

done_testing();
