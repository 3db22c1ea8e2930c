# TLS with clients that are not ours, what is offered, and what is not: most of what testssl.sh looks at.
use strict;
use warnings;

use IPC::Run ();
use NotifydTest;
use NotifydTest::Tls;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = tls_node('main');
my $port = notifyd_port($node);
my $ca = $node->data_dir . '/tls.crt';
my $id = 0;

sub tls_curl
{
	my ($path, @arguments) = @_;
	my ($in, $out, $err) = ('', '', '');
	IPC::Run::run([ 'curl', '-sS', '--cacert', $ca, '-w', ' %{http_code}', @arguments, "https://localhost:$port$path" ],
		'<', \$in, '>', \$out, '2>', \$err);
	return $out =~ s/(.*) (\d+)\z/$2 $1/sr . $err;
}

# A program that follows the table t gets an event.
sub follows
{
	my ($name, @command) = @_;
	my ($in, $out, $err) = ('', '', '');
	my $program = IPC::Run::start(\@command, '<', \$in, '>', \$out, '2>', \$err, init => sub { $ENV{NODE_EXTRA_CA_CERTS} = $ca; });
	wait_for(sub { $program->pump_nb if $program->pumpable; $out =~ /subscribed/ || $err =~ /Error/ }, 'a subscription');
	$node->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$id . ", 'for $name')");
	$program->finish;
	like($out, qr/for $name/, "$name: an event arrives") or diag($err);
	return;
}

# The protocol and the cipher of a handshake, or undef.
sub negotiated
{
	my $said = tls_handshake($node, @_);
	my ($protocol, $cipher) = $said =~ /^New, (TLSv[\d.]+), Cipher is (\S+)/m or return;
	return "$protocol $cipher";
}

# How many handshakes the gateway has refused.
sub refused
{
	return $node->safe_psql('postgres',
		q{SELECT refused_by->>'ssl' FROM notifyd.stats WHERE kind = 'gateway'});
}

wait_for(sub { tls_curl('/healthz') =~ /^200/ }, 'health');
like(tls_curl('/healthz?database=postgres'), qr/^200 /, 'curl: https');
like(tls_curl('/healthz', '--tls-max', '1.2'), qr/^200 /, 'curl: TLS 1.2');

# A client of this test suite
my $client = notifyd_client($node, ca => $ca);
$client->subscribe('t');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$id . ", 'one')");
is($client->next_event->{new}{name}, 'one', 'Mojolicious: an event arrives');

follows('websockets', '/usr/bin/python3', 'test/lib/follow.py', "wss://localhost:$port/ws", 1, "ca=$ca");
my ($major) = `node --version` =~ /^v(\d+)/;
follows('node', 'node', $major < 22 ? '--experimental-websocket' : (), 'test/lib/follow.mjs', "wss://localhost:$port/ws", 1);

# Pages: the origin of a page on the same host has https and its port.
my %localhost = (Origin => 'https://localhost:8443');
ok(notifyd_client($node, ca => $ca, headers => \%localhost)->connected, 'a page of https://localhost may connect');
my $foreign = notifyd_client($node, ca => $ca, headers => { Origin => 'https://evil.example' });
is($foreign->status, 403, 'another page may not');
$node->append_conf('postgresql.conf', "pg_notifyd.allowed_origins = 'https://shop.example'");
$node->reload;
wait_for(sub { notifyd_client($node, ca => $ca, headers => { Origin => 'https://shop.example:443' })->connected },
	'the default port of https');
is(notifyd_client($node, ca => $ca, headers => { Origin => 'http://shop.example' })->status, 403, 'http is another origin');

# Versions and ciphers
my $low = 'DEFAULT@SECLEVEL=0';
like(negotiated(), qr/^TLSv1\.3 TLS_AES_256_GCM_SHA384/, 'TLS 1.3');
like(negotiated('-tls1_2'), qr/^TLSv1\.2 ECDHE-ECDSA-(AES|CHACHA)/, 'TLS 1.2 with forward secrecy');
is(negotiated('-tls1_1', '-cipher', $low), undef, 'TLS 1.1 is refused');
is(negotiated('-tls1', '-cipher', $low), undef, 'TLS 1.0 is refused');
for my $weak ('ECDHE-ECDSA-AES128-SHA256', 'AES128-GCM-SHA256', 'AES256-SHA', 'aNULL', 'eNULL', 'ADH-AES128-SHA')
{
	is(negotiated('-tls1_2', '-cipher', "$weak\@SECLEVEL=0"), undef, "$weak is refused");
}
like(negotiated('-groups', 'X25519'), qr/^TLSv1\.3/, 'X25519');
like(negotiated('-groups', 'P-256'), qr/^TLSv1\.3/, 'P-256');

# Extensions
like(tls_handshake($node, '-alpn', 'h2,http/1.1'), qr/^ALPN protocol: http\/1\.1$/m, 'ALPN chooses http/1.1');
like(tls_handshake($node, '-alpn', 'h2'), qr/no application protocol/, 'a client that has only h2 is refused');
like(tls_handshake($node), qr/^No ALPN negotiated$/m, 'a client without ALPN is accepted');
like(negotiated('-servername', 'unknown.example'), qr/^TLSv1\.3/, 'any server name is accepted');
my $tls12 = tls_handshake($node, '-tls1_2', '-status', '-tlsextdebug');
unlike($tls12, qr/heartbeat/i, 'no heartbeat');
like($tls12, qr/^Compression: NONE$/m, 'no compression');
like($tls12, qr/^Secure Renegotiation IS supported$/m, 'RFC 5746');
like($tls12, qr/extended master secret/, 'RFC 7627');
unlike($tls12, qr/TLS session ticket:/, 'TLS 1.2: no tickets');
like($tls12, qr/Session-ID: *$/m, 'and no session to resume');
my $tls13 = tls_handshake($node, '-tls1_3', '-ign_eof', '-connect', "localhost:$port") ;
unlike($tls13, qr/Post-Handshake New Session Ticket/, 'TLS 1.3: no tickets');
like($tls13, qr/Early data was not sent/, 'no early data');
like($tls13, qr/Verify return code: 18 \(self-signed certificate\)/, 'the certificate is presented');

# Renegotiation: s_client asks for it with R.
{
	my ($in, $out) = ("R\n", '');
	my $s_client = IPC::Run::start([ 'openssl', 's_client', '-tls1_2', '-connect', "localhost:$port" ], '<', \$in, '>&', \$out);
	wait_for(sub { $s_client->pump_nb if $s_client->pumpable; $out =~ /RENEGOTIATING.*(error|no renegotiation)/s }, 'renegotiation');
	pass('renegotiation is refused');
	$s_client->kill_kill;
}

# The lowest version
$node->append_conf('postgresql.conf', "pg_notifyd.ssl_min_protocol_version = 'TLSv1.3'");
$node->reload;
wait_for(sub { !defined negotiated('-tls1_2') }, 'TLS 1.2 is refused');
like(negotiated(), qr/^TLSv1\.3/, 'TLS 1.3 is required');
my ($status, $out, $err) = $node->psql('postgres', "ALTER SYSTEM SET pg_notifyd.ssl_min_protocol_version = 'TLSv1.1'");
like($err, qr/"TLSv1.1" is not a version of TLS that pg_notifyd can require/, 'TLS 1.1 cannot be set');
$node->append_conf('postgresql.conf', "pg_notifyd.ssl_min_protocol_version = ''\nssl_min_protocol_version = 'TLSv1.3'");
$node->reload;
ok(!defined negotiated('-tls1_2'), "the server's own setting holds by default");
$node->append_conf('postgresql.conf', "ssl_min_protocol_version = 'TLSv1'");
$node->reload;
wait_for(sub { defined negotiated('-tls1_2') }, 'TLS 1.2');
is(negotiated('-tls1_1', '-cipher', $low), undef, 'but never less than TLS 1.2');

wait_for(sub { refused() >= 10 }, 'a number of refused handshakes');
ok($client->served, 'a client has been connected all the time');

done_testing();
