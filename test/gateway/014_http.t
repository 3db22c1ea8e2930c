# The HTTP server with real clients. The routes are those of echo.c; the last part asks the gateway.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use File::Basename qw(dirname);
use File::Temp;
use Gateway;
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(time);

my $program = dirname(Gateway::program()) . '/http-echo';
my $pid = open(my $echo, '-|', $program) or die "$program: $!";
my $port = readline $echo;
chomp $port;
my $url = "http://127.0.0.1:$port";
my $directory = File::Temp->newdir('httpXXXXXX', TMPDIR => 1);

END { kill 'KILL', $pid if $pid }

# A raw connection that has sent this text.
sub raw
{
	my ($text) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!";

	syswrite $socket, $text if length($text // '');
	return $socket;
}

# What comes on a connection until it ends or has this many responses.
sub responses
{
	my ($socket, $wanted) = @_;
	my $until = time + $Gateway::TIMEOUT;
	my ($text, @responses) = '';

	while (@responses < $wanted)
	{
		die "no response in time; got: $text" unless IO::Select->new($socket)->can_read($until - time);
		last unless sysread $socket, $text, 65536, length $text;
		while ($text =~ s{^(HTTP/1\.1 \d+ .*?\r\n\r\n)}{}s)
		{
			my $head = $1;
			my $length = $head =~ /\r\nContent-Length: (\d+)\r\n/ ? $1 : 0;

			if (length $text < $length)
			{
				$text = $head . $text;
				last;
			}
			push @responses, $head . substr $text, 0, $length, '';
		}
	}
	return @responses;
}

sub ends
{
	my ($socket) = @_;
	my $rest;

	return IO::Select->new($socket)->can_read($Gateway::TIMEOUT) && !sysread $socket, $rest, 1;
}

# What the program prints, in time.
sub printed
{
	my ($limit) = @_;

	return IO::Select->new($echo)->can_read($limit // $Gateway::TIMEOUT) ? readline $echo : undef;
}

sub run
{
	my (@command) = @_;

	open my $out, '-|', @command or die "$command[0]: $!";
	local $/;
	my $text = readline $out;
	close $out;
	return $text;
}

sub curl { return run('curl', '-s', '--max-time', $Gateway::TIMEOUT, @_) }

sub file
{
	my ($name, $text) = @_;

	open my $out, '>', "$directory/$name" or die "$name: $!";
	print $out $text;
	close $out;
	return "$directory/$name";
}

sub get { my ($path, @headers) = @_; return join("\r\n", "GET $path HTTP/1.1", 'Host: localhost', @headers, '', '') }

# Pipelined requests are answered in order, whatever the time of each.
{
	my $socket = raw(get('/later?ms=300') . get('/text') . get('/later?ms=1') . get('/none') . get('/text', 'Connection: close') . get('/text'));
	my @responses = responses($socket, 6);

	is(join(' ', map { m{^HTTP/1\.1 (\d+)} } @responses), '200 200 200 404 200', 'pipelined requests are answered until one closes');
	is(join(' ', map { /\r\n\r\n(\w+)/ } @responses), 'later ok later there ok', 'in order');
	ok(ends($socket), 'and the connection ends');
}

# A thousand of them, which are more than are read at once
{
	my $socket = raw;
	my $child = fork // die "fork: $!";

	if (!$child)
	{
		syswrite $socket, get('/text') x 50 . get('/later?ms=1') for 1 .. 20;
		POSIX::_exit(0);
	}
	my @responses = responses($socket, 1020);
	waitpid $child, 0;
	is(join('', map { /\r\n\r\n(\w)/ } @responses), ('o' x 50 . 'l') x 20, 'more than a thousand pipelined requests');
}

# What waits for an answer is not read without end.
{
	my $socket = raw(get('/later?ms=600000'));
	my $sent = 0;

	$socket->blocking(0);
	while (IO::Select->new($socket)->can_write(1))
	{
		$sent += syswrite($socket, get('/text') x 1000) // last;
		last if $sent > 1 << 30;
	}
	cmp_ok($sent, '<', 100_000_000, 'a client that does not wait for its answers is read no further');
}

# Half-closed
{
	my $socket = raw(get('/later?ms=200'));

	shutdown $socket, 1;
	my @responses = responses($socket, 1);
	like($responses[0], qr/ 200 .*\r\nConnection: close\r\n.*later\n$/s, 'a client that closes its side is answered');
	ok(ends($socket), 'and the connection ends');
	$socket = raw(get('/later?ms=2500'));
	shutdown $socket, 1;
	@responses = responses($socket, 2);
	is($responses[0], "HTTP/1.1 100 Continue\r\n\r\n", 'if that takes a while, it is asked');
	like($responses[1], qr/ 200 .*later\n$/s, 'and answered');
	$socket = raw("GET /later?ms=2500 HTTP/1.0\r\nHost: localhost\r\n\r\n");
	shutdown $socket, 1;
	like((responses($socket, 1))[0], qr/ 200 .*later\n$/s, 'HTTP/1.0 is not asked');
}

# Gone
{
	my $socket = raw(get('/later?ms=600000'));

	close $socket;
	is(printed(), "gone\n", 'a client that closes the connection is noticed');
	$socket = raw(get('/later?ms=600000'));
	setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
	close $socket;
	is(printed(), "gone\n", 'and one that resets it');
	$socket = raw(get('/later?ms=600000'));
	shutdown $socket, 1;
	is(printed(2.5), undef, 'one that waits is not taken for gone');
	setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
	close $socket;
	is(printed(), "gone\n", 'until it is');
	$socket = raw(get('/parts?count=1000000'));
	sysread $socket, my $part, 1000;
	close $socket;
	is(printed(), "gone\n", 'so is one that leaves within a response in parts');
}

# Smuggling: one refusal, then the end, and the hidden request is not answered.
my $hidden = get('/text');
my $chunked = 'Transfer-Encoding: chunked';
for my $case (
	['two lengths', "Content-Length: 5\r\nContent-Length: " . length($hidden), "12345$hidden"],
	['length and chunks', "Content-Length: 5\r\n$chunked", "0\r\n\r\n$hidden"],
	['chunks and length', "$chunked\r\nContent-Length: " . (5 + length $hidden), "0\r\n\r\n$hidden"],
	['another coding', 'Transfer-Encoding: chunked, identity', "0\r\n\r\n$hidden"],
	['two codings', "$chunked\r\n$chunked", "0\r\n\r\n$hidden"],
	['a hidden coding', "Transfer-Encoding: \x0bchunked", "0\r\n\r\n$hidden"],
	['a space before the colon', 'Transfer-Encoding : chunked', "0\r\n\r\n$hidden"],
	['folding', "X: y\r\n $chunked", "0\r\n\r\n$hidden"],
	['bare LF', "X: y\n$chunked", "0\r\n\r\n$hidden"],
	['bare LF in a chunk', $chunked, "5\n12345\r\n0\r\n\r\n$hidden"],
	['bare LF in an extension', $chunked, "5;a\nx\r\n0\r\n\r\n$hidden"],
	['a size too large', $chunked, "1000000000000005\r\n12345\r\n0\r\n\r\n$hidden"],
	['chunks without their ends', $chunked, "5\r\n123450\r\n\r\n$hidden"],
	['a folded trailer', $chunked, "0\r\nX: y\r\n z\r\n\r\n$hidden"])
{
	my ($name, $headers, $body) = @$case;
	my $socket = raw("POST /echo HTTP/1.1\r\nHost: localhost\r\n$headers\r\n\r\n$body");
	my @responses = responses($socket, 9);

	is(join(' ', map { m{^HTTP/1\.1 (\d+)} } @responses), '400', "refused: $name");
}
{
	my @responses = responses(raw("POST /echo HTTP/1.0\r\n$chunked\r\n\r\n0\r\n\r\n$hidden"), 9);
	is(join(' ', map { m{^HTTP/1\.1 (\d+)} } @responses), '400', 'refused: chunks in HTTP/1.0');
}

# curl
{
	my @connects = ('-w', '%{http_code} %{http_version} %{num_connects}\n', '-o', '/dev/null');
	my $large = file('large', join '', map { chr(33 + $_ % 90) } 1 .. 900_000);
	my $larger = file('larger', 'x' x 2_000_000);
	my $trace = "$directory/trace";

	is(curl(@connects, "$url/text", @connects, "$url/parts?count=5", @connects, "$url/text"), "200 1.1 1\n200 1.1 0\n200 1.1 0\n",
		'curl uses one connection, also after a response in parts');
	is(length curl("$url/parts?count=50"), 5_000_000, 'which has all parts');
	is(curl('--http1.0', @connects, "$url/text", @connects, "$url/text"), "200 1.1 1\n200 1.1 1\n", 'HTTP/1.0: one each');
	is(length curl('--http1.0', "$url/parts?count=5"), 500_000, 'HTTP/1.0: parts until the end');
	like(curl('-i', '--http1.0', '-H', 'Connection: keep-alive', "$url/text"), qr/\r\nConnection: keep-alive\r\n.*ok\n$/s, 'unless it asks');
	like(curl('-I', "$url/text", "$url/text"), qr/^(HTTP\/1\.1 200 OK\r\n[^\n]*\r\nContent-Length: 3\r\n.*?\r\n\r\n){2}$/s, 'HEAD');
	is(curl('-I', @connects, "$url/parts?count=5", @connects, "$url/text"), "200 1.1 1\n200 1.1 0\n", 'HEAD of parts');
	is(run('sh', '-c', "curl -s -T - $url/echo <$large | cmp - $large && echo same"), "same\n", 'a body in chunks');
	is(run('sh', '-c', "curl -s -T $large -H 'Expect: 100-continue' --trace-ascii $trace $url/echo | cmp - $large && echo same"), "same\n",
		'a body that waits for permission');
	like(run('cat', $trace), qr/HTTP\/1\.1 100 Continue/, 'which it gets');
	is(curl('-T', $larger, '-H', 'Expect: 100-continue', '-w', '%{http_code} %{size_upload}', '-o', '/dev/null', "$url/echo"), '413 0',
		'a body that is too large is not sent');
	is(curl('-T', $larger, '-H', 'Expect:', '-w', '%{http_code}', '-o', '/dev/null', "$url/echo"), '413', 'or refused as it comes');
	is(run('sh', '-c', "curl -s -T - -H Expect: -w '%{http_code}' -o /dev/null $url/echo <$larger"), '413', 'in chunks too');
	is(curl('-d', 'x', '-H', 'Expect: magic', '-w', '%{http_code}', '-o', '/dev/null', "$url/echo"), '417', 'another expectation');
	is(curl('-X', 'PATCH', '-d', 'x', "$url/api/a%20b"), '{"method":"PATCH","path":"/api/a%20b"}', 'the API');
	is(curl('-X', 'PATCH', '-d', 'x' x 11, "$url/api/x"), q({"message":"the request's body is too large"}), 'its errors');
	my $preflight = curl('-i', '-X', 'OPTIONS', '-H', 'Origin: http://localhost:3000', '-H', 'Access-Control-Request-Method: PUT',
		'-H', 'Access-Control-Request-Headers: authorization', "$url/api/x");
	like($preflight, qr{^HTTP/1\.1 204 }, 'a preflight');
	like($preflight, qr{\r\nAccess-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n}, 'has the methods');
}

# A client that reads nothing before it has sent all of a body that is refused
{
	my $socket = raw("POST /echo HTTP/1.1\r\nHost: localhost\r\n$chunked\r\n\r\n");
	my $sent = 0;
	my $chunk = sprintf "%x\r\n%s\r\n", 65536, 'x' x 65536;

	local $SIG{PIPE} = 'IGNORE';
	for (1 .. 128)
	{
		my $written = syswrite $socket, $chunk or last;
		$sent += $written;
	}
	is($sent, 128 * length $chunk, 'a refused body can be sent to its end');
	like((responses($socket, 1))[0], qr{^HTTP/1\.1 413 }, 'and then the answer is read');
}

# Python
is(run('/usr/bin/python3', '-c', <<'PYTHON', $port), "1: 200 ok 200 3 404 200 abcdef 200 later 200 300000 | closed: 413\n", "Python's http.client");
import http.client, sys
port = int(sys.argv[1])
c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
sockets, out = set(), []
def ask(*args, show=lambda body: body.decode().strip(), **named):
    c.request(*args, **named)
    sockets.add(id(c.sock))
    response = c.getresponse()
    body = response.read()
    out.append("%d %s" % (response.status, show(body)) if show else str(response.status))
    return response
ask("GET", "/text")
ask("HEAD", "/text", show=None)
out.append(c_len := "3")
ask("GET", "/none", show=None)
ask("POST", "/echo", body=iter([b"abc", b"def"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
ask("GET", "/later?ms=50")
ask("GET", "/parts?count=3", show=len)
print("%d: %s" % (len(sockets), " ".join(out)), end=" | ")
c.request("POST", "/echo", headers={"Content-Length": "5000000"})
response = c.getresponse()
response.read()
print("%s: %d" % ("closed" if c.sock is None else "open", response.status))
PYTHON

# Node
SKIP:
{
	skip 'no node', 1 unless grep { -x "$_/node" } split /:/, $ENV{PATH};
	is(run('node', '-e', <<'NODE', $port), "21 requests; 1000000; 3 pieces echoed; on 1 connection\n", "Node's agent");
const http = require("http");
const port = process.argv[1];
const agent = new http.Agent({keepAlive: true, maxSockets: 1});
const ports = new Set();
function ask(path, method = "GET", pieces = []) {
  return new Promise((resolve, reject) => {
    const request = http.request({port, host: "127.0.0.1", path, method, agent}, (response) => {
      let text = "";
      ports.add(response.socket.localPort);
      response.on("data", (data) => { text += data; });
      response.on("end", () => resolve(text));
    });
    request.on("error", reject);
    for (const piece of pieces) request.write(piece);
    request.end();
  });
}
(async () => {
  const answers = await Promise.all(Array.from({length: 21}, (_, i) => ask(i % 3 ? "/text" : "/later?ms=5")));
  const parts = await ask("/parts?count=10");
  const echo = await ask("/echo", "POST", ["a", "b", "c"]);
  console.log(`${answers.length} requests; ${parts.length}; ${echo.length} pieces echoed; on ${ports.size} connection`);
  agent.destroy();
})();
NODE
}

# The gateway
{
	my $gateway = Gateway->new;
	my $feed = $gateway->feed('postgres');
	my $healthz = "http://127.0.0.1:$gateway->{port}/healthz";
	my @connects = ('-w', '%{http_code} %{num_connects} ', '-o', '/dev/null');

	is(curl(@connects, $healthz, @connects, $healthz), '200 1 200 0 ', 'the gateway keeps connections alive');
	my $socket = $gateway->connect;
	syswrite $socket, ("GET /healthz HTTP/1.1\nHost: localhost\n\n" . $gateway->handshake) =~ s/\n/\r\n/gr;
	my $answer = '';
	while (IO::Select->new($socket)->can_read($Gateway::TIMEOUT) && $answer !~ m{HTTP/1\.1 101 .*\r\n\r\n}s)
	{
		last unless sysread $socket, $answer, 65536, length $answer;
	}
	like($answer, qr{^HTTP/1\.1 200 .*HTTP/1\.1 101 }s, 'a WebSocket may follow a request');
	is(curl('-i', '-H', 'Origin: http://evil.com', $healthz) =~ /Access-Control/ ? 1 : 0, 0, 'health is not for pages');
	$gateway->stop;
	is($gateway->wait, 0, 'it ends, also with connections that are kept alive');
}

is(kill(0, $pid), 1, 'the program is still there');
kill 'KILL', $pid;

done_testing;
