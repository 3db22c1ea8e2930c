# Who may read the metrics.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', conf => "pg_notifyd.listen_addresses = '127.0.0.1'\n");

sub code
{
	my (%headers) = @_;
	my $response = http_get($node, '/metrics', %headers);
	return $response ? $response->code : 'none';
}

sub refused
{
	my ($reason, $what, %headers) = @_;
	my $response = http_get($node, '/metrics', %headers);
	is($response->code, 403, $what);
	like($response->body, $reason, 'and why');
	return;
}

# Set the configuration, and wait until the gateway has it.
sub set
{
	my ($setting, $expected, %headers) = @_;
	$node->append_conf('postgresql.conf', $setting);
	$node->reload;
	wait_for(sub { code(%headers) eq $expected }, "$setting gives $expected");
	return;
}

is(code(), 200, 'a client on this machine');
is(code(Origin => 'https://evil.example'), 200, 'a page gets it, ');
is(http_get($node, '/metrics', Origin => 'http://localhost')->headers->access_control_allow_origin, undef, 'but cannot read it');
is(code(Host => 'evil.example'), 403, 'a host name that is not ours');
is(curl($node, '/metrics', '-I') =~ /^200 /, 1, 'HEAD');
is(curl($node, '/metrics', '-X', 'POST') =~ /^405 /, 1, 'POST');

# A proxy on this machine that is not known
foreach my $header (qw(Forwarded X-Forwarded-For Via))
{
	refused(qr/pg_notifyd\.trusted_proxies/, "a request that has been forwarded ($header)", $header => 'for=127.0.0.1');
}

# A proxy that is known
set(q{pg_notifyd.trusted_proxies = '127.0.0.1'}, 403, 'X-Forwarded-For' => '10.1.2.3');
wait_for(sub { http_get($node, '/metrics', 'X-Forwarded-For' => '10.1.2.3')->body =~ /metrics_addresses/ }, 'the setting');
refused(qr/pg_notifyd\.metrics_addresses/, 'a client of a trusted proxy', 'X-Forwarded-For' => '10.1.2.3');
refused(qr/does not say for whom/, 'a proxy that names nobody', 'X-Forwarded-For' => 'unknown');
refused(qr/does not say for whom/, 'nor in another way', Via => '1.1 proxy');
set(q{pg_notifyd.metrics_addresses = '10.0.0.0/8'}, 200, 'X-Forwarded-For' => '10.1.2.3');
refused(qr/pg_notifyd\.metrics_addresses/, 'now a client on this machine is not allowed');
set(q{pg_notifyd.metrics_addresses = '*'}, 200);
is(code('X-Forwarded-For' => '192.0.2.1'), 200, 'everybody');

# Nobody: as if there were no such path.
set(q{pg_notifyd.metrics_addresses = ''}, 404);
is(http_get($node, '/metrics')->body, http_get($node, '/rpc')->body, 'as a path that there is not');
my $refused = sub { $node->safe_psql('postgres', q{SELECT refused_by->>'metrics_addresses' FROM notifyd.stats WHERE kind = 'gateway'}) };
wait_for(sub { $refused->() > 0 }, 'refusals are counted');
cmp_ok($refused->(), '>=', 8, 'refusals are counted');

# A list with an entry that is none is refused, by ALTER SYSTEM and at a reload.
foreach my $list ('nonsense', '300.1.1.1', '10.0.0.0/33', '::1/129', '10.0.0.0/', '10.0.0.0/8x', '[::1]', '"10.0.0.1"', 'localhost')
{
	foreach my $setting ('trusted_proxies', 'metrics_addresses')
	{
		my (undef, undef, $error) = $node->psql('postgres', "ALTER SYSTEM SET pg_notifyd.$setting = '127.0.0.1, $list'");
		like($error, qr/^DETAIL:  "\Q$list\E" is neither an IP address nor a network\.\nHINT:  Write/m, "$setting: $list");
	}
}
foreach my $list ('', '*', 'unix', '10.1.2.3', '10.0.0.0/0', '10.0.0.0/32', '::1', '2001:db8::/128', '::ffff:10.0.0.0/104')
{
	is($node->psql('postgres', "ALTER SYSTEM SET pg_notifyd.trusted_proxies = '$list'"), 0, "valid: '$list'");
}
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
my $offset = -s $node->logfile;
set(q{pg_notifyd.metrics_addresses = '*'}, 200);
$node->append_conf('postgresql.conf', q{pg_notifyd.metrics_addresses = '127.0.0.1, nonsense'});
$node->reload;
wait_for(sub { slurp_file($node->logfile, $offset) =~ /"nonsense" is neither an IP address nor a network/ }, 'a line in the log');
is(code('X-Forwarded-For' => '192.0.2.1'), 200, 'the last list stays in use');
$offset = -s $node->logfile;
$node->restart;
like(slurp_file($node->logfile, $offset), qr/WARNING:  invalid value for parameter "pg_notifyd.metrics_addresses": "127.0.0.1, nonsense"\n.*DETAIL:  "nonsense" is neither/,
	'a server that starts says so, too');
is($node->safe_psql('postgres', 'SHOW pg_notifyd.metrics_addresses'), '127.0.0.1, ::1, unix', 'and uses the default');
like(($node->psql('postgres', q{\set VERBOSITY verbose
	ALTER SYSTEM SET pg_notifyd.metrics_addresses = 'nonsense'}))[2], qr/ERROR:  22023: invalid value/, 'the SQLSTATE');

done_testing();
