# Clients behind proxies: whose address counts, and what clients cannot make it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

my $gateway = Gateway->new(trusted_proxies => '127.0.0.1, 10.0.0.0/8, bad', per_address => 2);
my $feed = $gateway->feed('postgres');

# The addresses of all clients, sorted. The ports that proxies name differ.
sub addresses
{
	return join ' ', sort map { $_->{address} } values %{ $gateway->clients };
}

# The address that a client with this header has; the status if it is refused.
sub address_of
{
	my ($from, @headers) = @_;
	my $socket = $gateway->connect($from);
	my $answer;

	print $socket $gateway->handshake =~ s/\n\n/\n@{[ join "\n", @headers, '' ]}\n/r =~ s/\n/\r\n/gr;
	$answer = $gateway->answer($socket);
	return $1 if $answer !~ m{^HTTP/1\.1 101 } && $answer =~ m{^HTTP/1\.1 (\d+)};
	my $address = addresses();
	close $socket;
	$gateway->stats(sub { $_[0]{clients} == 0 });
	return $address;
}

for my $case (
	[ '203.0.113.9',  '127.0.0.1', 'X-Forwarded-For: 203.0.113.9:1' ],
	[ '2001:db8::9',  '127.0.0.1', 'Forwarded: for="[2001:db8::9]:1"' ],
	[ '203.0.113.9',  '127.0.0.1', 'X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.1.2.3' ],
	[ '203.0.113.9',  '127.0.0.1', 'X-Forwarded-For: 198.51.100.1', 'X-Forwarded-For: 203.0.113.9' ],
	[ '127.0.0.1',    '127.0.0.1' ],
	[ '127.0.0.2',    '127.0.0.2', 'X-Forwarded-For: 203.0.113.9', 'Forwarded: for=203.0.113.8' ],
	[ '400',          '127.0.0.1', 'X-Forwarded-For: 203.0.113.9', 'Forwarded: for=203.0.113.8' ],
	[ '400',          '127.0.0.1', 'Forwarded: for=", for=203.0.113.9' ])
{
	my ($expected, @request) = @$case;
	is(address_of(@request), $expected, "@request");
}

# The limit is of the client's address, however it comes.
{
	my @clients = map { $gateway->client(headers => { 'X-Forwarded-For' => "203.0.113.9:$_" }) } 1 .. 2;
	is($gateway->verdict(headers => { 'X-Forwarded-For' => '203.0.113.9' }), 503, 'too many behind the proxy');
	is($gateway->verdict(headers => { Forwarded => 'for=203.0.113.9' }), 503, 'by the other header, too');
	is($gateway->verdict(headers => { 'X-Forwarded-For' => '203.0.113.9, 203.0.113.10' }), 101, 'another one is let in');
	is(addresses(), '203.0.113.9 203.0.113.9', 'who they are');
}
$gateway->stats(sub { $_[0]{clients} == 0 });

# Requests of one connection, each of another client
{
	my $socket = $gateway->connect;
	my @clients = map { $gateway->client(headers => { 'X-Forwarded-For' => "203.0.113.9:$_" }) } 1 .. 2;
	my @statuses;
	for my $for ('203.0.113.9', '203.0.113.8', '203.0.113.9')
	{
		print $socket "GET /rpc/f HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: $for\r\n\r\n" x ($for eq '203.0.113.9');
		print $socket "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: $for\r\n\r\n" x ($for ne '203.0.113.9');
		push @statuses, $gateway->answer($socket) =~ m{too many clients from this address} ? 'refused' : 'let in';
	}
	is("@statuses", 'refused let in refused', 'each request counts as its own client\'s');
}

# The PROXY protocol, before a handshake
sub proxied
{
	my ($header, %options) = @_;
	my $socket = $gateway->connect($options{from});
	my @pieces = $options{pieces} ? split(//, $header) : $header;

	setsockopt $socket, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
	syswrite $socket, $_ for @pieces;
	print $socket $gateway->handshake(headers => $options{headers} // {}) =~ s/\n/\r\n/gr;
	my $answer = $gateway->answer($socket);
	return $1 if $answer !~ m{^HTTP/1\.1 101 } && $answer =~ m{^HTTP/1\.1 (\d+)};
	return 'closed' if $answer eq '';
	my $address = addresses();
	close $socket;
	$gateway->stats(sub { $_[0]{clients} == 0 });
	return $address;
}
my $signature = "\r\n\r\n\0\r\nQUIT\n";
my $line = "PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n";
my $binary = $signature . "\x21\x11" . pack('n', 16) . pack('C8n2', 203, 0, 113, 9, 127, 0, 0, 1, 4711, 80) . "\x04\0\x01x";

is(proxied($line), '203.0.113.9', 'version 1');
is(proxied($line, pieces => 1), '203.0.113.9', 'in pieces');
is(proxied($binary), '203.0.113.9', 'version 2');
is(proxied($binary, pieces => 1), '203.0.113.9', 'in pieces');
is(proxied($signature . "\x20\0\0\0"), '127.0.0.1', 'the proxy\'s own connection');
is(proxied("PROXY UNKNOWN\r\n"), '', 'an unknown client');
is(proxied("PROXY UNKNOWN\r\n", headers => { 'X-Forwarded-For' => '203.0.113.9' }), '', 'which is not believed');
is(proxied($line, headers => { 'X-Forwarded-For' => '198.51.100.1' }), '203.0.113.9', 'nor is another client');
is(proxied($line =~ s/203.0.113.9/10.1.2.3/r, headers => { 'X-Forwarded-For' => '198.51.100.1' }), '198.51.100.1', 'but a trusted proxy behind it');
is(proxied($line . $line), 400, 'two headers');
is(proxied($line, from => '127.0.0.2'), 400, 'from somebody else');
is(proxied($binary, from => '127.0.0.2'), 400, 'from somebody else, version 2');
is(proxied('PROXY ' . 'x' x 200), 'closed', 'an endless line');
is(proxied($signature . "\x21\x11\xff\xff"), 'closed', 'an endless header');
is(proxied("PROXY TCP4 x\r\n"), 'closed', 'a malformed one');
$gateway->stats(sub { $_[0]{refused_proxy} == 3 });
is((grep { /^refused client 127\.0\.0\.1:\d+: its header of the PROXY protocol is malformed\b/ } @{ $gateway->{channel}{log} }), 1, 'the log says it once');

# A reload
$gateway->configure(trusted_proxies => '');
is(address_of('127.0.0.1', 'X-Forwarded-For: 203.0.113.9'), '127.0.0.1', 'no longer trusted');

# Why a page sees only that a handshake has failed
for my $i (1 .. 50)
{
	$gateway->verdict(headers => { Origin => 'https://shop.example' });
	$gateway->verdict(headers => { Origin => "https://$i.example\xff" . 'x' x 300 });
}
# Many foreign origins do not keep other reasons out of the log.
$gateway->verdict(headers => { Host => 'shop.example:80' }) for 1 .. 50;
$gateway->stats(sub { $_[0]{refused_origin} == 100 && $_[0]{refused_host} == 50 });
my @log = map { s/127\.0\.0\.1:\d+/A/r } grep { /^refused/ } @{ $gateway->{channel}{log} };
is((grep { 0 == index $_, q{refused client A: the page's origin "https://shop.example" is not in pg_notifyd.allowed_origins} } @log), 1, 'a foreign origin, once');
is((grep { 0 == index $_, q{refused client A: the host name "shop.example:80" is neither in pg_notifyd.listen_addresses nor of an origin in pg_notifyd.allowed_origins} } @log), 1, 'a foreign host name, once');
cmp_ok(scalar @log, '<=', 32, 'the log is not flooded');
unlike("@log", qr/\xff|x{201}/, 'and has no more of what clients send than needed');

done_testing();
