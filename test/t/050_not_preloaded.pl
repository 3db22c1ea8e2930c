# A server that does not preload the library: functions report it, and nothing else breaks.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', preload => 0, extension => 0);

my ($status, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION pg_notifyd');
is($status, 0, 'CREATE EXTENSION works');
like($err, qr/WARNING:.*shared_preload_libraries.*statements that change watched tables fail/s, 'and warns');
$node->safe_psql('postgres', 'CREATE TABLE orders (id int PRIMARY KEY)');
($status, $out, $err) = $node->psql('postgres', q{SELECT notify_watch('orders'); INSERT INTO orders VALUES (1)});
like($err, qr/ERROR:  pg_notifyd is not loaded/, 'functions that need the workers raise an error');
like($err, qr/HINT:  .*shared_preload_libraries = 'pg_notifyd'/, 'with the line that is missing as the hint');
($status, $out, $err) = $node->psql('postgres', q{SELECT notify_send('x', '1')});
like($err, qr/ERROR:  pg_notifyd is not loaded/, 'notify_send');
ok(!listens(notifyd_port($node)), 'the port is closed');
is($node->safe_psql('postgres', 'DROP EXTENSION pg_notifyd; SELECT 1'), 1, 'DROP EXTENSION works');

# And with the line it works, without anything else.
$node->safe_psql('postgres', q{CREATE EXTENSION pg_notifyd});
# A gateway in its sandbox would hide its memory map from us.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_notifyd'\npg_notifyd.sandbox = off");
$node->restart;
wait_healthy($node);
$node->safe_psql('postgres', q{
	CREATE TABLE menu (id int PRIMARY KEY);
	GRANT SELECT ON menu TO guest;
	SELECT notify_watch('menu')});
my $client = notifyd_client($node);
$client->subscribe('menu');
$node->safe_psql('postgres', 'INSERT INTO menu VALUES (1)');
is($client->next_event->{key}{id}, 1, 'preloaded, everything works');

# The gateway is a program of its own, and it alone has the port.
my @gateways = gateway_pids($node);
is(scalar(@gateways), 1, 'one gateway');
unlike(slurp_file("/proc/$gateways[0]/maps"), qr{/dev/zero|/SYSV|/dev/shm}, 'without shared memory');
is(slurp_file("/proc/$gateways[0]/environ"), '', 'without an environment');

$node->stop;
ok(!listens(notifyd_port($node)), 'the port is free when the server has stopped');

done_testing();
