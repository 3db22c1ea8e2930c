# Where clients connect: Unix sockets, IPv6, both beside TLS.
use strict;
use warnings;

use IO::Socket::UNIX;
use IPC::Run ();
use NotifydTest;
use NotifydTest::Tls;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $path = "$dir/clients";
my $node = tls_node('main', conf => "pg_notifyd.listen_addresses = 'localhost, $path'\n");
my $port = notifyd_port($node);
my $ca = $node->data_dir . '/tls.crt';

# What curl gets from a URL: status and body, or its complaint.
sub get
{
	my ($url, @arguments) = @_;
	my ($in, $out, $err) = ('', '', '');
	IPC::Run::run([ 'curl', '-sS', '--max-time', '60', '-w', ' %{http_code}', @arguments, $url ],
		'<', \$in, '>', \$out, '2>', \$err);
	return $out =~ s/(.*) (\d+)\z/$2 $1/sr . $err;
}

sub get_unix { return get('http://localhost/healthz', '--unix-socket', shift // $path); }

sub mode { my @file = stat(shift // $path); return sprintf '%04o', ($file[2] // 0) & 07777; }

sub logged
{
	my ($server, $pattern) = @_;
	return slurp_file($server->logfile) =~ $pattern;
}

sub configure
{
	my ($server, $line) = @_;
	$server->append_conf('postgresql.conf', $line);
	$server->reload;
}

wait_for(sub { get_unix() =~ /^200/ }, 'health by the Unix socket');
pass('curl --unix-socket: plain HTTP, although ssl is on');
like(get("https://localhost:$port/healthz", '--cacert', $ca), qr/^200/, 'TCP has TLS');
ok(logged($node, qr/LOG:  pg_notifyd is listening on Unix socket "\Q$path\E"/), 'the log names it');
is(mode(), '0777', 'everybody may connect by default');
like(get('http://evil.example/healthz', '--unix-socket', $path), qr/^403/, 'a foreign Host is refused there too');

# A WebSocket client
{
	my ($in, $out, $err) = ('', '', '');
	my $follower = IPC::Run::start([ '/usr/bin/python3', 'test/lib/follow.py', 'ws://localhost/ws', 1, "unix=$path" ],
		'<', \$in, '>', \$out, '2>', \$err);
	wait_for(sub { $follower->pump_nb; $out =~ /subscribed/ }, 'a subscription');
	is($node->safe_psql('postgres', 'SELECT address IS NULL, port IS NULL FROM notifyd.clients'), 't|t',
		'it has no address');
	$node->safe_psql('postgres', "INSERT INTO t VALUES (1, 'by a file')");
	$follower->finish;
	like($out, qr/by a file/, 'an event arrives') or diag($err);
}

# Permissions
configure($node, 'pg_notifyd.unix_socket_permissions = 0700');
wait_for(sub { mode() eq '0700' }, 'the new mode');
is($node->safe_psql('postgres', 'SHOW pg_notifyd.unix_socket_permissions'), '0700', 'the setting is shown as a mode');

# Somebody removes the file.
{
	unlink $path or die $!;
	configure($node, '');
	wait_for(sub { logged($node, qr/could not set permissions of file "\Q$path\E": No such file.*\n.*HINT:  Nobody can connect/) }, 'a hint');
	configure($node, "pg_notifyd.listen_addresses = 'localhost'");
	wait_for(sub { !-e "$path.lock" }, 'its lock is removed');
	configure($node, "pg_notifyd.listen_addresses = 'localhost, $path'");
	wait_for(sub { get_unix() =~ /^200/ }, 'health again');
	pass('a removed file can be created again as the hint says');
}

# All clients of Unix sockets are one address.
{
	configure($node, 'pg_notifyd.max_clients_per_address = 1');
	my ($in, $out, $err) = ('', '', '');
	my @command = ('/usr/bin/python3', 'test/lib/follow.py', 'ws://localhost/ws', 1, "unix=$path");
	my $first = IPC::Run::start(\@command, '<', \$in, '>', \$out, '2>', \$err);
	wait_for(sub { $first->pump_nb; $out =~ /subscribed/ }, 'a subscription');
	my ($other_in, $other_out, $other_err) = ('', '', '');
	IPC::Run::run(\@command, '<', \$other_in, '>', \$other_out, '2>', \$other_err);
	like($other_err, qr/HTTP 503/, 'max_clients_per_address counts them together');
	$first->kill_kill;
	configure($node, 'pg_notifyd.max_clients_per_address = 0');
}

# Another server that wants the same socket waits for it.
my $other = notifyd_node('other', start => 0, conf => "pg_notifyd.listen_addresses = 'localhost, $path'\n");
$other->start;
wait_for(sub { logged($other, qr/could not listen on Unix socket "\Q$path\E": Address already in use/) }, 'a line in the log');
like(slurp_file($other->logfile), qr/HINT:  Another program uses the port or the socket/, 'and its hint');
like(get_unix(), qr/^200/, 'the first server still has it');
$node->stop('immediate');
ok(-S $path, 'a server that crashes leaves the file');
wait_for(sub { logged($other, qr/listening on Unix socket/) }, 'the other one takes it over');
wait_for(sub { get_unix() =~ /^(200|503)/ }, 'answers of the other server');
is(mode(), '0777', 'its permissions are its own');

# Another program that listens, and a file that is no socket.
{
	my $foreign = IO::Socket::UNIX->new(Local => "$dir/foreign", Listen => 1) or die $!;
	append_to_file($_, 'precious') foreach "$dir/file", "$dir/foreign.lock";
	configure($other, "pg_notifyd.listen_addresses = 'localhost, $path, $dir/foreign, $dir/file, $dir/new'");
	wait_for(sub { logged($other, qr{could not listen on Unix socket "$dir/foreign": Address already in use}) }, 'a refusal');
	ok(-S "$dir/foreign", "another program's socket stays");
	close $foreign;
	wait_for(sub { logged($other, qr{could not listen on Unix socket "$dir/file": File exists}) }, 'another refusal');
	wait_for(sub { get_unix("$dir/new") =~ /^(200|503)/ }, 'the new socket');
	is(slurp_file("$dir/file"), 'precious', 'a file that is no socket stays');
	ok(!-e "$dir/file.lock", 'no lock is left beside it');
	is(slurp_file("$dir/foreign.lock"), 'precious', "another program's lock file stays");
}
configure($other, "pg_notifyd.listen_addresses = '$dir/new'");
wait_for(sub { !-e $path }, 'the socket that is not listened on any more is removed');
ok(!-e "$path.lock", 'and its lock');
wait_for(sub { get_unix("$dir/new") =~ /^(200|503)/ }, 'Unix sockets alone');

my $long = "$dir/" . 'x' x 120;
configure($other, "pg_notifyd.listen_addresses = '$long'");
wait_for(sub { logged($other, qr/Unix-domain socket path "\Q$long\E" is too long \(maximum 107 bytes\)/) }, 'a path that is too long');
$other->stop('fast');
ok(!-e "$dir/new" && !-e "$dir/new.lock", 'a shutdown removes the files');

# IPv6
SKIP:
{
	skip 'there is no IPv6 here', 5 if !-e '/proc/net/if_inet6' || slurp_file('/proc/net/if_inet6') !~ /^0{31}1 /m;
	$node->append_conf('postgresql.conf', "pg_notifyd.listen_addresses = '::1'");
	$node->start;
	wait_for(sub { get("https://[::1]:$port/healthz", '--cacert', $ca) =~ /^200/ }, 'health by IPv6');
	like(get("https://127.0.0.1:$port/healthz"), qr/onnect/, "IPv4 is not listened on");
	my $client = notifyd_client($node, host => '[::1]', ca => $ca);
	$client->ping;
	like($node->safe_psql('postgres', 'SELECT host(address) FROM notifyd.clients'), qr/^::1$/, 'the address of the client');
	$client->close;
	for my $all ('*', '::, 0.0.0.0')
	{
		configure($node, "pg_notifyd.listen_addresses = '$all'");
		wait_for(sub { get("https://[::1]:$port/healthz", '--cacert', $ca) =~ /^200/ }, "both by $all");
		like(get("https://127.0.0.1:$port/healthz", '--cacert', $ca), qr/^200/, "$all: IPv4");
	}
	like(get("https://[::1]:$port/healthz", '--cacert', $ca), qr/^200/, 'and IPv6');
}

done_testing();
