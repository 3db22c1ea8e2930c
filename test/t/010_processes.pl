# The launcher and the gateways as processes: kills, reloads, ports, every kind of shutdown.
use strict;
use warnings;

use IO::Socket::INET;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Socket qw(getaddrinfo SOCK_STREAM);
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main', init => { allows_streaming => 1 }, conf => "restart_after_crash = on\n");
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders');
});

sub sql
{
	my $sql = shift;
	return $node->safe_psql('postgres', $sql);
}

# The process of that type, once there is exactly one beside EXCEPT.
sub worker
{
	my ($type, $except) = @_;
	my $pid;
	wait_for(
		sub {
			my $query = "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'";

			# A server that restarts just now may make psql end before it reads.
			my ($status, $out) = eval { $node->psql('postgres', $query) };
			$pid = $out;
			return defined $status && $status == 0 && $out =~ /^\d+$/ && $out != ($except // 0);
		},
		$type);
	return $pid;
}

# What the descriptors of a process refer to.
sub descriptors
{
	my $pid = shift;
	return map { m{/(\d+)$} ? ($1 => readlink($_) // '') : () } glob "/proc/$pid/fd/*";
}

# How many addresses localhost has here, each with a listening socket.
sub localhost_addresses
{
	my ($error, @addresses) = getaddrinfo('localhost', '', { socktype => SOCK_STREAM });
	return scalar @addresses;
}

sub log_since
{
	my $offset = shift;
	return slurp_file($node->logfile, $offset);
}

sub log_end
{
	return -s $node->logfile;
}

# Settings for postgresql.conf, and a reload.
sub reload
{
	my %settings = @_;
	$node->append_conf('postgresql.conf', "pg_notifyd.$_ = $settings{$_}") foreach keys %settings;
	$node->reload;
	return;
}

sub gone
{
	my @pids = @_;
	return !grep { -e "/proc/$_" } @pids;
}

sub accepts
{
	my $port = shift;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp', Timeout => 5);
}

# A change reaches a client.
my $next_id = 1;

sub works
{
	my $what = shift;
	my $id = $next_id++;
	wait_healthy($node);
	my $client = notifyd_client($node);
	$client->subscribe('orders');
	sql("INSERT INTO orders VALUES ($id, 'x')");
	is($client->next_event->{key}{id}, $id, $what);
	return $client;
}

works('it works')->close;

# Replace the gateway by one with this sandbox.
sub set_sandbox
{
	my $sandbox = shift;
	my ($old) = gateway_pids($node);
	reload(sandbox => $sandbox);
	wait_for(sub { my ($new) = gateway_pids($node); $new && $new != $old }, "a gateway with sandbox = $sandbox");
	return works("it works with sandbox = $sandbox");
}

# A gateway in its sandbox hides the following from us.
set_sandbox('off')->close;

# What the gateway inherits: three standard descriptors, the channel, the link socket, the listeners; and nothing to
# read secrets from.
{
	my ($gateway) = gateway_pids($node);
	my %fd = descriptors($gateway);
	my %launcher = reverse descriptors(worker('pg_notifyd launcher'));
	my %times;

	is("$fd{0} $fd{1}", '/dev/null /dev/null', 'standard input and output are empty');
	like($fd{$_}, qr/^socket:/, "descriptor $_ is a socket") foreach 3, 4, 5;
	delete @fd{ 0, 1, 2 };
	is(join(' ', grep { m{^/} && !m{^/dev/} } values %fd), '', 'no file is open but standard error and devices');
	is(join(' ', grep { $fd{$_} =~ /^(socket|pipe):/ && $launcher{ $fd{$_} } } sort keys %fd),
		join(' ', 5 .. 4 + localhost_addresses()),
		'it shares the listening sockets with the launcher, and no other socket or pipe');
	$times{$_}++ foreach grep { /^socket:/ } values %fd;
	is(join(' ', grep { $times{$_} > 1 } keys %times), '', 'it has no socket twice');
	ok(!(grep { /PostgreSQL|zero/ } split /\n/, slurp_file("/proc/$gateway/maps")), 'no shared memory is attached');
	is(slurp_file("/proc/$gateway/environ"), '', 'the environment is empty');
	is(process_name($gateway), 'pg_notifyd: main: gateway 0', 'the command line is a title');

	my ($status) = slurp_file("/proc/$gateway/status") =~ /^SigBlk:\s*(\w+)/m;
	is(hex $status, 0, 'no signal is blocked');

	is(slurp_file("/proc/$gateway/oom_score_adj"), "1000\n", 'out of memory, the kernel ends the gateway first');
	my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ s/\n.*//sr;
	cmp_ok(slurp_file("/proc/$_/oom_score_adj"), '<', 1000, "process $_ of PostgreSQL comes later")
	  foreach $postmaster, worker('pg_notifyd launcher'), worker('pg_notifyd feed');

	is((stat $node->data_dir . '/pg_notifyd')[2] & 07777, 0700, 'the directory of its socket is private');
	is((stat $node->data_dir . '/pg_notifyd/pgsql_tmp.gateway.0.sock')[2] & 07777, 0600, 'and so is the socket');
}
set_sandbox('on')->close;

# A limit for each address, from a reload on.
{
	my @clients = map { works("client $_") } 1, 2;
	my $refused = sub {
		my ($socket, $answer) = raw_handshake($node);
		close $socket;
		return $answer =~ /^HTTP\/1\.1 503 /;
	};

	reload(max_clients_per_address => 2);
	wait_for($refused, 'a third client to be refused');
	pass('a third client of an address is refused where 2 are allowed');
	reload(max_clients_per_address => 0);
	wait_for(sub { !$refused->() }, 'a third client to be accepted');
	pass('and accepted without a limit');
	$_->close foreach @clients;
}

# kill -9 of a gateway is no matter for the server.
{
	my $started = sql('SELECT pg_postmaster_start_time()');
	my $session = $node->background_psql('postgres');
	my $launcher = worker('pg_notifyd launcher');
	$session->query_safe('CREATE TEMPORARY TABLE mine AS SELECT 1 AS a');

	my $restarts = sql("SELECT restarts FROM notifyd.stats WHERE kind = 'gateway'");
	foreach my $round (1, 2)
	{
		my ($old) = gateway_pids($node);
		my $since = time;
		kill 'KILL', $old;
		wait_for(sub { my ($new) = gateway_pids($node); $new && $new != $old }, 'a new gateway');
		wait_healthy($node);
		cmp_ok(time - $since, '<=', 2, "round $round: it is back within 2 s");
		ok(gone($old), 'the old process is reaped');
	}
	is(sql('SELECT pg_postmaster_start_time()'), $started, 'the server was not restarted');
	is(worker('pg_notifyd launcher'), $launcher, 'nor the launcher');
	is(sql("SELECT state || ' ' || restarts FROM notifyd.stats WHERE kind = 'gateway'"), 'running ' . ($restarts + 2), 'it is counted');
	is($session->query_safe('SELECT a FROM mine'), 1, 'nor any session');
	$session->quit;
	like(slurp_file($node->logfile), qr/gateway 0 \(PID \d+\): child process was terminated by signal 9/, 'and logged');
	works('it works again')->close;
}

# A terminated launcher comes back, and finds its feed running.
{
	my $launcher = worker('pg_notifyd launcher');
	my $feed = worker('pg_notifyd feed');
	my @gateways = gateway_pids($node);
	my $client = works('before');

	sql("SELECT pg_cancel_backend($launcher)");
	sql("SELECT pg_terminate_backend($launcher)");
	is(($client->wait_closed)[0], 1001, 'clients get close code 1001');
	worker('pg_notifyd launcher', $launcher);
	works('it works with a new launcher')->close;
	ok(gone(@gateways), 'the old gateway has ended');
	is(worker('pg_notifyd feed'), $feed, 'the same feed still runs');
}

# Another port: the new one is bound first, the clients are sent there.
{
	my $old = notifyd_port($node);
	my $new = PostgreSQL::Test::Cluster::get_free_port();
	my $client = works('on the old port');

	reload(port => $new);
	is(($client->wait_closed)[0], 1012, 'the clients of the old port get close code 1012');
	$node->{notifyd_port} = $new;
	works('on the new port')->close;
	ok(!accepts($old), 'the old port is closed');
}

# A port in use: one line in the log, and the rest works until it is free.
{
	my $old = notifyd_port($node);
	my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5, Proto => 'tcp');
	my $new = $taken->sockport;
	my $offset = log_end();

	reload(port => $new);
	wait_for(sub { log_since($offset) =~ /could not listen on .*port $new: Address already in use/ }, 'a line');
	like(log_since($offset), qr/HINT:  Another program uses the port/, 'and a hint');
	works('the old port still works')->close;
	reload(keepalive => "'20s'");
	$node->poll_query_until('postgres', 'SHOW pg_notifyd.keepalive', '20s');
	works('the old port still works after another reload')->close;

	close $taken;
	$node->{notifyd_port} = $new;
	works('the new port works as soon as it is free')->close;
	my @lines = log_since($offset) =~ /(could not listen)/g;
	is(scalar @lines, 1, 'it was logged once');
	ok(!accepts($old), 'the old port was given up then');
}

# All addresses instead of one of them: our own sockets are in the way of each other.
{
	reload(listen_addresses => "'*'");
	wait_for(sub { log_since(0) =~ /listening on 0\.0\.0\.0/ }, 'the wildcard');
	works('on all addresses')->close;
	reload(listen_addresses => "''");
	wait_for(sub { !gateway_pids($node) }, 'no gateway');
	ok(!accepts(notifyd_port($node)), 'no listener with an empty listen_addresses');
	reload(listen_addresses => "'localhost'");
	works('on localhost again')->close;
}

# The number of gateways.
{
	my $client = works('with one gateway');
	reload(gateways => 3);
	wait_for(sub { gateway_pids($node) == 3 }, 'three gateways');
	$node->poll_query_until('postgres',
		"SELECT count(*) = 3 FROM notifyd.stats WHERE kind = 'gateway' AND state = 'running'");
	ok($client->connected, 'the clients of the first one stay');
	reload(gateways => 1);
	wait_for(sub { gateway_pids($node) == 1 }, 'one gateway');
	ok($client->connected, 'the clients of the first one stay');
	$client->close;
}

# The sockets in the data directory disturb no base backup.
{
	my ($stdout, $stderr) = run_command([ 'pg_basebackup', '-D', $node->backup_dir . '/b', '-h', $node->host,
			'-p', $node->port, '--checkpoint', 'fast', '--no-sync' ]);
	is($stderr, '', 'a base backup warns of nothing');
	ok(-d $node->backup_dir . '/b/pg_notifyd', 'has the directory');
	ok(!glob($node->backup_dir . '/b/pg_notifyd/*'), 'and has no sockets');
}

# Shutdowns with a client attached: each within seconds, each leaving nothing.
foreach my $mode ('smart', 'fast', 'immediate')
{
	my $client = works("before a $mode shutdown");
	my @pids = (gateway_pids($node), worker('pg_notifyd launcher'), worker('pg_notifyd feed'));
	my $since = time;

	$node->stop($mode);
	cmp_ok(time - $since, '<', 5, "$mode shutdown takes its time only");
	my ($code) = $client->wait_closed;
	is($code, 1001, "$mode: clients are told") if $mode ne 'immediate';
	wait_for(sub { gone(@pids) }, "$mode: no process to be left");
	ok(!accepts(notifyd_port($node)), "$mode: the port is closed");
	$node->start;
}

# A gateway that hangs does not delay the shutdown.
{
	wait_healthy($node);
	my @gateways = gateway_pids($node);
	my $since = time;
	kill 'STOP', @gateways;
	$node->stop('fast');
	cmp_ok(time - $since, '<', 6, 'a gateway that hangs does not hold up a shutdown');
	ok(gone(@gateways), 'and is killed');
	$node->start;
}

# kill -9 of the postmaster leaves nothing, not even a gateway that hangs.
foreach my $round (1 .. 3)
{
	wait_healthy($node);
	my @pids = (gateway_pids($node), worker('pg_notifyd launcher'), worker('pg_notifyd feed'));
	kill 'STOP', gateway_pids($node) if $round == 2;
	$node->kill9;
	wait_for(sub { gone(@pids) }, 'no process');
	ok(!accepts(notifyd_port($node)), "round $round: the port is closed after kill -9 of the postmaster");
	$node->start;
}

# PostgreSQL treats a killed launcher as a crash: everything restarts, with one gateway.
{
	wait_healthy($node);
	my $launcher = worker('pg_notifyd launcher');
	my @gateways = gateway_pids($node);
	kill 'KILL', $launcher;
	wait_for(sub { gone(@gateways) }, 'no old gateway');
	worker('pg_notifyd launcher', $launcher);
	works('it works after a crash of the launcher')->close;
	is(scalar gateway_pids($node), 1, 'with one gateway');
}

$node->stop;
done_testing();
