# Which handshakes the gateway accepts, and how it answers all others.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;
use Time::HiRes qw(time);

my $gateway = Gateway->new(origins => 'https://app.example.com, http://intra:8080', addresses => 'localhost,db.example.net');
my $port = $gateway->{port};

sub verdict { return $gateway->verdict(@_); }
sub get { my ($target, @headers) = @_; return $gateway->request("GET $target HTTP/1.1\nHost: localhost\n" . join('', map {"$_\n"} @headers) . "\n"); }

# before a feed has connected
is(verdict(), 4503, 'a database that is not served');
like(get('/healthz'), qr/^HTTP\/1\.1 503 .*no database is served/s, 'unhealthy without any database');
my $feed = $gateway->feed('postgres');
my $space = $gateway->feed('with space');

# answers are complete HTTP
my $answer = get('/healthz');
like($answer, qr/^HTTP\/1\.1 200 OK\r\n/, 'healthy with one');
like($answer, qr/\r\nConnection: keep-alive\r\n/, 'the connection is kept alive');
like($answer, qr/\r\nContent-Length: 3\r\n.*\r\n\r\nok\n$/s, 'the length is given');
like(get('/healthz?x=1&database=with%20space'), qr/^HTTP\/1\.1 200/, 'of one database, its name decoded');
like(get('/healthz?database=nope'), qr/^HTTP\/1\.1 503/, 'of an unknown one');
like(get('/healthz?database=%zz'), qr/^HTTP\/1\.1 400/, 'bad percent encoding');
like(get('/healthz?database=%ff'), qr/^HTTP\/1\.1 400/, 'a name that is not UTF-8');
like(get('/healthz?database=%00'), qr/^HTTP\/1\.1 400/, 'a name with a NUL');
like(get('/healthz?database='), qr/^HTTP\/1\.1 400/, 'an empty name');
is($gateway->status("GET /healthz HTTP/1.0\n\n"), 200, 'HTTP/1.0 without Host is good enough for health');
like(get('/'), qr/^HTTP\/1\.1 404/, 'another path');
like(get('/ws/'), qr/^HTTP\/1\.1 404/, 'a near path');
like(get('/ws'), qr/^HTTP\/1\.1 426 .*\r\nSec-WebSocket-Version: 13\r\n/s, 'no upgrade');
like($gateway->request("POST /ws HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n"), qr/^HTTP\/1\.1 405 .*\r\nAllow: GET\r\n/s, 'another method');
like($gateway->request("HEAD /healthz HTTP/1.1\nHost: localhost\nConnection: close\n\n"), qr/^HTTP\/1\.1 405/, 'HEAD');

# accepted
for my $good (
	['the usual'],
	['a query of which nothing is known', target => '/ws?x=%20&y'],
	['a database', target => '/ws?database=with%20space'],
	['other case', headers => { Upgrade => 'WebSocket', Connection => 'keep-alive, upgrade' }],
	['no page', headers => { Origin => undef }],
	['localhost', headers => { Origin => 'http://localhost:3000' }],
	['localhost https', headers => { Origin => 'https://LOCALHOST' }],
	['127.0.0.1', headers => { Origin => 'http://127.0.0.1' }],
	['[::1]', headers => { Origin => 'http://[::1]:8080' }],
	['an allowed origin', headers => { Origin => 'https://app.example.com' }],
	['with its default port', headers => { Origin => 'https://APP.example.com:443' }],
	['with its port', headers => { Origin => 'http://intra:8080' }],
	['an address as host', headers => { Host => "192.168.1.7:$port" }],
	['an IPv6 address as host', headers => { Host => '[2001:db8::1]:7432' }],
	['a name from listen_addresses', headers => { Host => 'DB.example.net' }],
	['a page of this server', headers => { Host => "192.168.1.7:$port", Origin => "http://192.168.1.7:$port" }],
	['a page of this server by HTTPS', headers => { Host => 'DB.example.net', Origin => 'https://db.example.net' }],
	['the host of an allowed origin', headers => { Host => 'app.example.com' }])
{
	my ($name, @request) = @$good;
	ok(eval { $gateway->client(@request) }, "accepted: $name") or diag $@;
}

# refused
for my $bad (
	['a foreign origin', 403, headers => { Origin => 'https://evil.com' }],
	['a suffix', 403, headers => { Origin => 'https://evilapp.example.com' }],
	['a prefix', 403, headers => { Origin => 'https://app.example.com.evil.com' }],
	['a subdomain', 403, headers => { Origin => 'https://x.app.example.com' }],
	['another scheme', 403, headers => { Origin => 'http://app.example.com' }],
	['another port', 403, headers => { Origin => 'https://app.example.com:8443' }],
	['the port missing', 403, headers => { Origin => 'http://intra' }],
	['null', 403, headers => { Origin => 'null' }],
	['an empty origin', 403, headers => { Origin => '' }],
	['a path behind it', 403, headers => { Origin => 'https://app.example.com/' }],
	['user information', 403, headers => { Origin => 'https://app.example.com@evil.com' }],
	['localhost as a prefix', 403, headers => { Origin => 'http://localhost.evil.com' }],
	['localhost with a dot', 403, headers => { Origin => 'http://localhost.' }],
	['another scheme of localhost', 403, headers => { Origin => 'file://localhost' }],
	['two origins', 403, headers => { Origin => 'http://localhost http://evil.com' }],
	['a page of another port', 403, headers => { Host => "192.168.1.7:$port", Origin => 'http://192.168.1.7' }],
	['a page of another address', 403, headers => { Host => "192.168.1.7:$port", Origin => "http://192.168.1.8:$port" }],
	['a page of a rebound name', 403, headers => { Host => "evil.com:$port", Origin => "http://evil.com:$port" }],
	['a rebound name', 403, headers => { Host => 'evil.com' }],
	['a rebound name with our port', 403, headers => { Host => "evil.com:$port" }],
	['a name that begins like an address', 403, headers => { Host => '127.0.0.1.evil.com' }],
	['no host', 400, headers => { Host => undef }],
	['an empty host', 403, headers => { Host => '' }],
	['h2c', 400, headers => { Upgrade => 'h2c', 'HTTP2-Settings' => 'AAMAAABkAAQAoAAAAAIAAAAA' }],
	['h2c beside websocket', 400, headers => { Upgrade => 'websocket, h2c' }],
	['an unknown upgrade', 400, headers => { Upgrade => 'foo' }],
	['no upgrade', 426, headers => { Upgrade => undef }],
	['no connection', 400, headers => { Connection => undef }],
	['another connection', 400, headers => { Connection => 'keep-alive' }],
	['version 8', 426, headers => { 'Sec-WebSocket-Version' => 8 }],
	['no version', 426, headers => { 'Sec-WebSocket-Version' => undef }],
	['no key', 400, headers => { 'Sec-WebSocket-Key' => undef }],
	['a short key', 400, headers => { 'Sec-WebSocket-Key' => 'AAAA' }],
	['a body', 400, headers => { 'Content-Length' => 5 }],
	['a chunked body', 400, headers => { 'Transfer-Encoding' => 'chunked' }],
	['a space before the colon', 400, headers => { 'X-Foo ' => 'bar' }],
	['another database', 4503, target => '/ws?database=other'],
	['a bad database', 400, target => '/ws?database=%f'],
	['an absolute target', 400, target => 'http://localhost/ws'])
{
	my ($name, $expected, @request) = @$bad;
	is(verdict(@request), $expected, "refused: $name");
}
my $handshake = $gateway->handshake;
is($gateway->status($handshake =~ s/(Host: .*\n)/$1$1/r), 400, 'refused: Host twice');
is($gateway->status($handshake =~ s/(Upgrade: .*\n)/$1$1/r), 400, 'refused: Upgrade twice');
is($gateway->status($handshake =~ s/(Sec-WebSocket-Key: .*\n)/$1$1/r), 400, 'refused: the key twice');
is($gateway->status($handshake =~ s/(Host: .*\n)/$1 folded\n/r), 400, 'refused: a folded line');
is($gateway->status($handshake =~ s/HTTP\/1.1/HTTP\/1.0/r), 400, 'refused: HTTP/1.0');
is($gateway->status($handshake =~ s/HTTP\/1.1/HTTP\/2.0/r), 400, 'refused: HTTP/2.0');
is($gateway->status($handshake, raw => 1), 400, 'refused: bare LF');
is($gateway->status($handshake =~ s/\n/\r/r =~ s/\n/\r\n/gr, raw => 1), 400, 'refused: bare CR');
is($gateway->status("PRI * HTTP/2.0\n\nSM\n\n"), 400, 'refused: HTTP/2 with prior knowledge');
is($gateway->status("\0\1\2\3"), 400, 'refused: garbage');
is($gateway->status("\n\n"), 400, 'refused: empty lines');
is($gateway->status('GET /ws HTTP/1.1' . "\nX: " . ('x' x 9000) . "\n\n"), 431, 'refused: a large head');
is($gateway->status('GET /' . ('x' x 100_000)), 431, 'refused: an endless line, and the answer arrives all the same');
is($gateway->status("GET /ws HTTP/1.1\n" . ("X: y\n" x 101) . "\n"), 400, 'refused: too many headers');

# byte by byte, and several requests at a time
{
	my $socket = $gateway->connect;
	syswrite $socket, $_ for split //, $gateway->handshake =~ s/\n/\r\n/gr;
	sysread $socket, my $reply, 12;
	is($reply, 'HTTP/1.1 101', 'one byte at a time is tolerated');
}

# pipelined: the first messages come with the head
{
	my $client = bless {}, 'Gateway::Client';
	my $first = $client->frame(1, '{"id":1,"method":"ping"}');
	my $second = $client->frame(1, '{"id":2,"method":"ping"}');
	$client = $gateway->client(pipelined => $first . $second);
	is($client->message->{id}, 1, 'a message that came with the head is answered');
	is($client->message->{id}, 2, 'and the next');
	$client = $gateway->client(pipelined => substr $first, 0, 9);
	$client->raw(substr $first, 9);
	is($client->message->{id}, 1, 'also where only a part of it did');
	$client = $gateway->client(pipelined => $first x 200);
	my @ids = map { $client->message->{id} } 1 .. 200;
	is(scalar(grep { $_ == 1 } @ids), 200, 'and where as much came as is read at once');
}

# settings
$gateway->configure(anonymous => 0);
$gateway->health('');
my $until = time + $Gateway::TIMEOUT;
delete $gateway->{stats};
is($gateway->client->call('ping')->{code}, -32001, 'nobody anonymous: a client may only authenticate');
$gateway->stats(sub { $_[0]{clients} == 0 });
$gateway->configure(anonymous => 1, max_clients => 2, origins => '*');
$gateway->health('');
my @clients = ($gateway->client, eval { $gateway->client(headers => { Origin => 'null', Host => 'any.name' }) });
is(scalar @clients, 2, 'any origin and host with *');
is(verdict(), 503, 'no more than max_clients');
pop @clients;
$gateway->stats(sub { $_[0]{clients} == 1 });
ok($gateway->client, 'and one again when another has left');

# health
undef $space;
$feed->position(101, 11_000);
$until = time + $Gateway::TIMEOUT;
1 while ($answer = get('/healthz?database=postgres')) !~ /503/ && time < $until;
like($answer, qr/this database: its events are late/, 'unhealthy when behind');
$feed->position(102, 0);
1 while ($answer = get('/healthz?database=postgres')) !~ /200/ && time < $until;
like($answer, qr/200/, 'healthy again');
1 while ($answer = get('/healthz')) !~ /503/ && time < $until;
like($answer, qr/a database: its feed is not connected/, 'one lost link makes the gateway unhealthy');
$space = $gateway->feed('with space');
$_->position(103, 0) foreach $feed, $space;
ok($gateway->health('feeds that do not respond: 1'), 'the launcher is answered');
1 while ($answer = get('/healthz')) !~ /do not respond/ && time < $until;
like($answer, qr/503 .*feeds that do not respond: 1/s, 'the problem that the launcher reports is in the answer');
like(get('/healthz?database=postgres'), qr/ 200 /, 'but a database without a problem is healthy');
$gateway->health('');
1 while ($answer = get('/healthz')) !~ /200/ && time < $until;
like($answer, qr/ 200 /, 'and no longer when it finds nothing');
my $stats = $gateway->stats(sub { $_[0]{refused_request} > 40 });
is($stats->{closed_slow}, 0, 'refusals are counted');
ok($stats->{refused_host} == 6 && $stats->{refused_origin} == 17, 'by reason') or diag(explain($stats));

$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
