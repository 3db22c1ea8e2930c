# TLS with clients that are slow, wrong or gone.
use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use IPC::Run ();
use NotifydTest;
use NotifydTest::Tls;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = tls_node('main');
my $port = notifyd_port($node);
my $ca = $node->data_dir . '/tls.crt';

# A connection without TLS, and one with it.
sub plain { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 60) // die "connect: $!"; }

sub secure
{
	my %options = @_;
	return IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port, SSL_ca_file => $ca, SSL_hostname => 'localhost',
		SSL_verifycn_name => 'localhost', %options) // die "TLS: $SSL_ERROR";
}

# All that comes until the end of the connection.
sub rest
{
	my $socket = shift;
	my $text = '';
	while (IO::Select->new($socket)->can_read(60))
	{
		my $n = sysread $socket, my $data, 65536;
		last if !$n;
		$text .= $data;
	}
	return $text;
}

wait_for(sub { defined tls_serial($node) }, 'TLS');
my $watcher = notifyd_client($node, ca => $ca);
$watcher->subscribe('t');

# A plain request
{
	my $socket = plain();
	print $socket "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
	my $answer = rest($socket);
	like($answer, qr/^HTTP\/1\.1 400 /, 'a plain request gets 400');
	like($answer, qr/this port speaks TLS: use https:\/\/ or wss:\/\/\n\z/, 'and the reason');
	is(notifyd_client($node)->status, 400, 'so does a plain WebSocket client');
}

# Garbage, and records that are cut off
for my $garbage ('garbage', "\x16\x03\x01\xff\xff" . 'x' x 1000, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "\x80\x2e\x01\x00\x02", "\0" x 50)
{
	my $socket = plain();
	print $socket $garbage;
	shutdown $socket, 1;
	unlike(rest($socket), qr/HTTP/, sprintf '%s... is not answered', unpack 'H10', $garbage);
}
{
	my $socket = secure();
	my $plain = IO::Socket::INET->new_from_fd(fileno($socket), 'r+');
	syswrite $plain, "\x17\x03\x03\x00\x20" . 'y' x 32;
	unlike(rest($plain), qr/HTTP/, 'garbage after the handshake ends the connection');
}

# The client closes its side of TLS after the request, and reads the answer.
{
	my $socket = secure();
	print $socket "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	Net::SSLeay::shutdown($socket->_get_ssl_object);
	my $answer = '';
	while (defined(my $data = Net::SSLeay::read($socket->_get_ssl_object)))
	{
		last if $data eq '';
		$answer .= $data;
	}
	like($answer, qr/^HTTP\/1\.1 200 /, 'half-closed by close_notify: the answer arrives');
}

# One byte at a time
{
	my ($in, $out, $err) = ('', '', '');
	IPC::Run::run([ '/usr/bin/python3', 'test/lib/trickle.py', $port, $ca ], '<', \$in, '>', \$out, '2>', \$err);
	like($out, qr/^HTTP\/1\.1 200 /, 'a handshake and a request, byte by byte') or diag($err);
}

# Slow handshakes are closed in time, and others are served meanwhile.
{
	my @slow = map { my $socket = plain(); syswrite $socket, "\x16\x03\x01"; $socket } 1 .. 50;
	my $start = time;
	ok(secure(), 'another client is served');
	$node->safe_psql('postgres', "INSERT INTO t VALUES (1, 'meanwhile')");
	is($watcher->next_event->{new}{name}, 'meanwhile', 'and events arrive');
	my $select = IO::Select->new(@slow);
	wait_for(sub { for my $socket ($select->can_read(0)) { $select->remove($socket) if !sysread $socket, my $data, 100; } $select->count == 0 },
		'the end of all slow handshakes');
	cmp_ok(time - $start, '>=', 5, 'after some time');
}

# Thousands of handshakes that are not complete
{
	my ($gateway) = gateway_pids($node);
	my $memory = sub { process_status($gateway, 'RssAnon') =~ s/ kB//r };
	my $before = $memory->();
	my $large = "\x16\x03\x01\x40\x00\x01\x01\xff\x00" . 'x' x 16380;   # the first 16 kB of 128 kB
	my @part = map { my $socket = plain(); syswrite $socket, $large, 16000; $socket } 1 .. 2000;
	my @whole = map { my $socket = plain(); syswrite $socket, $large; $socket } 1 .. 2000;
	my $refused = grep { rest($_) eq "\x15\x03\x03\0\x02\x02\x2f" } @whole;
	is($refused, 2000, 'each ClientHello that is too large is refused by an alert');
	cmp_ok($memory->() - $before, '<', 60_000, 'and a part of a record costs about its size');
	ok(secure(), 'another client is served');
}

# A large snapshot to a reader that is slow at first: complete and in one piece.
{
	$node->safe_psql('postgres', q{
		CREATE TABLE large (id int PRIMARY KEY, text text);
		GRANT SELECT ON large TO guest;
		SELECT notify_watch('large');
		INSERT INTO large SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 10000) n;
	});
	my ($in, $out, $err) = ('', '', '');
	IPC::Run::run([ '/usr/bin/python3', 'test/lib/slow_reader.py', $port, $ca ], '<', \$in, '>', \$out, '2>', \$err);
	is($out, "10000 rows\n", 'a slow reader gets a snapshot of 10 MB by TLS') or diag($err);
}

ok($watcher->served, 'a client has been connected all the time');

done_testing();
