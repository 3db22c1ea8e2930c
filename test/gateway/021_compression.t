# Permessage-deflate (RFC 7692) over the socket, and with clients that others have written.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Compress::Raw::Zlib;
use Gateway;
use Test::More;

my $gateway = Gateway->new(compression => 1, max_message => 50_000);
my $feed = $gateway->feed('postgres');
my %offer = (headers => { 'Sec-WebSocket-Extensions' => 'permessage-deflate; client_max_window_bits' });
my $answer = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

# The data of a compressed message.
sub compressed
{
	my ($text) = @_;
	my ($deflate) = Compress::Raw::Zlib::Deflate->new(-WindowBits => -15, -AppendOutput => 1);
	my $data = '';

	$deflate->deflate($text, $data);
	$deflate->flush($data, Z_SYNC_FLUSH);
	return substr $data, 0, -4;
}

# The text of the next message, and whether it was compressed. Each message stands for itself.
sub next_message
{
	my ($client) = @_;
	my ($data, $text, $packed) = ('', '');

	while ($client->read_some($Gateway::TIMEOUT))
	{
		last if length $client->{buffer} > 1;
	}
	$packed = ord($client->{buffer}) & 0x40;
	while (my $frame = $client->next_frame)
	{
		$data .= $frame->[1];
		last if $frame->[2];
	}
	return ($data, 0) if !$packed;
	my ($inflate) = Compress::Raw::Zlib::Inflate->new(-WindowBits => -12, -AppendOutput => 1);
	$data .= "\0\0\xff\xff";
	$inflate->inflate($data, $text);
	return ($text, 1);
}

# the handshake
like($gateway->client(%offer)->{head}, qr/\r\nSec-WebSocket-Extensions: \Q$answer\E\r\n/, 'an offer is accepted');
unlike($gateway->client->{head}, qr/Extensions/, 'without an offer there is no extension');
unlike($gateway->client(headers => { 'Sec-WebSocket-Extensions' => 'permessage-deflate; server_max_window_bits=10' })->{head},
	qr/Extensions/, 'an offer with a smaller window is declined');

# events
my %clients = (plain => $gateway->client, compressed => $gateway->client(%offer));
for my $client (values %clients)
{
	$client->request('subscribe', channel => 'c');
	$feed->accept(1, 100);
	$client->reply;
}
my $id = 100;
for my $event ('{"e":1}', '{"e":"' . ('x' x 1000) . '"}', '{"e":"' . join('', map { $_ * 7919 % 10_007 } 1 .. 40_000) . '"}')
{
	$feed->event(++$id, 0x01, [1], $event);
	my ($plain, $is_plain) = next_message($clients{plain});
	my ($packed, $is_packed) = next_message($clients{compressed});
	is($plain, "$Gateway::Client::EVENT$event}", 'an event of ' . length($event) . ' bytes');
	is($packed, $plain, 'the same text with compression');
	is($is_plain, 0, 'not compressed where it was not negotiated');
	is($is_packed, length $event > 200 ? 1 : 0, length $event > 200 ? 'compressed' : 'a short one is not compressed');
}

# requests
my $request = '{"id":1,"method":"ping"}';
my $client = $gateway->client(%offer);
$client->send_frame(0x41, compressed($request));
is($client->message->{id}, 1, 'a compressed request');
$client->send_frame(0x41, compressed($request));
is($client->message->{id}, 1, 'another, which stands for itself');
$client->text($request);
is($client->message->{id}, 1, 'one that is not compressed');
my $data = compressed($request . ' ' x 20_000);
$client->send_frame(0x41, substr($data, 0, 5), more => 1);
$client->send_frame(9, 'between');
$client->send_frame(0, substr($data, 5, 3), more => 1);
$client->send_frame(0, substr $data, 8);
is($client->message->{id}, 1, 'one in fragments');
is($client->pong, 'between', 'with a ping in between, which is not compressed');

sub closes
{
	my ($name, $code, $do, %options) = @_;
	my $client = $gateway->client(%offer, %options);

	$do->($client);
	my $close = $client->closed;
	is($close->[0], $code, "$name: closed with $code") or diag $close->[1];
}
closes('data that is not compressed', 1007, sub { $_[0]->send_frame(0x41, $request) });
closes('data that is cut off', 1007, sub { $_[0]->send_frame(0x41, substr compressed($request), 0, -2) });
closes('text that is not UTF-8', 1007, sub { $_[0]->send_frame(0x41, compressed("\"\xff\"")) });
closes('a reference to an earlier message', 1007, sub { $_[0]->send_frame(0x41, "\xf2\x00\x11\x00\x00") });
closes('a bomb', 1009, sub { $_[0]->send_frame(0x41, compressed(' ' x 20_000_000)) });
closes('a bomb in fragments', 1009, sub { $data = compressed(' ' x 20_000_000); $_[0]->send_frame(0x41, substr($data, 0, 9000), more => 1); $_[0]->send_frame(0, substr $data, 9000) });
closes('one byte too much', 1009, sub { $_[0]->send_frame(0x41, compressed($request . ' ' x (50_001 - length $request))) });
closes('a compressed binary message', 1003, sub { $_[0]->send_frame(0x42, compressed('x')) });
for my $opcode (8 .. 10)
{
	closes("a control frame with the bit, opcode $opcode", 1002, sub { $_[0]->send_frame(0x40 | $opcode, '') });
}
closes('a continuation with the bit', 1002, sub { $_[0]->send_frame(0x41, 'x', more => 1); $_[0]->send_frame(0x40, 'x') });
closes('another reserved bit', 1002, sub { $_[0]->send_frame(0x61, compressed($request)) });
closes('a compressed message without the extension', 1002, sub { $_[0]->send_frame(0x41, compressed($request)) }, headers => {});

# A flood of bombs costs the others nothing but time, and no memory is left.
$client = $gateway->client(%offer);
$client->raw($client->frame(0x41, compressed($request . ' ' x 49_000)) x 2000);
is($client->message->{id}, 1, 'many messages that become large are answered') for 1 .. 3;
$clients{plain}->text($request);
is($clients{plain}->message->{id}, 1, 'and so are others');

# clients of others: the script gets the port, subscribes to "others", and prints what it negotiated and the event
my $text = join ' ', map { "word$_" } 1 .. 500;

sub foreign
{
	my ($name, @command) = @_;
	my $pid = open my $out, '-|', @command, $gateway->{port} or die "@command: $!";
	my $subscribe = $feed->expect('SUBSCRIBE');

	$feed->subscribed($subscribe->{sub}, 50, 200);
	$feed->event(201, 0x01, [50], qq({"text":"$text"}));
	chomp(my @lines = <$out>);
	close $out;
	is($?, 0, "$name ends well");
	like($lines[0] // '', qr/permessage-deflate/, "$name has negotiated compression");
	is($lines[1], length $text, "$name gets the event");
	is($lines[2], 'pong', "$name gets the answer to a long request, which it compresses");
}

SKIP:
{
	my $python = '/usr/bin/python3';
	skip 'no websockets of Python', 4 if system("$python -c 'import websockets' 2>/dev/null") != 0;
	foreign('Python', $python, '-c', <<'PYTHON');
import asyncio, json, sys, websockets
async def main():
    async with websockets.connect(f"ws://127.0.0.1:{sys.argv[1]}/ws", compression="deflate") as ws:
        headers = ws.response_headers if hasattr(ws, "response_headers") else ws.response.headers
        print(headers["Sec-WebSocket-Extensions"])
        await ws.send(json.dumps({"id": 1, "method": "subscribe", "channel": "others"}))
        await ws.recv()
        print(len(json.loads(await ws.recv())["params"]["text"]))
        await ws.send(json.dumps({"id": 2, "method": "ping"}) + " " * 5000)
        print("pong" if json.loads(await ws.recv())["id"] == 2 else "another answer")
asyncio.run(main())
PYTHON
}

SKIP:
{
	skip 'no ws of Node', 4 if system('node -e "require(\'ws\')" 2>/dev/null') != 0;
	foreign('Node', 'node', '-e', <<'NODE');
const WebSocket = require('ws');
const ws = new WebSocket(`ws://127.0.0.1:${process.argv[1]}/ws`);
let n = 0;
ws.on('open', () => { console.log(ws.extensions); ws.send('{"id":1,"method":"subscribe","channel":"others"}'); });
ws.on('message', data => {
	const message = JSON.parse(data);
	if (message.method === 'event') {
		console.log(message.params.text.length);
		ws.send('{"id":2,"method":"ping"}' + ' '.repeat(5000));
	} else if (message.id === 2) { console.log('pong'); ws.close(); }
});
NODE
}

# they count as clients
$gateway->stats(sub { $_[0]{clients} == 3 });
$gateway->configure(max_clients => 3);
$gateway->health('');
is($gateway->verdict(%offer), 503, 'max_clients counts clients with compression');
$gateway->configure(max_clients => 1000);

# the setting
$gateway->configure(compression => 0);
$gateway->health('');
unlike($gateway->client(%offer)->{head}, qr/Extensions/, 'after a reload without compression, offers are declined');
$feed->event(++$id, 0x01, [1], '{"e":"' . ('x' x 1000) . '"}');
is((next_message($clients{compressed}))[1], 1, 'and those that have it keep it');

$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
