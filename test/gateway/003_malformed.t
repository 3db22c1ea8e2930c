# Malformed input from a client closes that client and does not disturb others.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

my $gateway = Gateway->new;
my $feed = $gateway->feed('postgres');
my $neighbour = $gateway->client;
$neighbour->request('subscribe', channel => 'n');
$feed->accept(1, 100);
$neighbour->reply;

# requests that are answered with an error
my $client = $gateway->client;
for my $case (
	['no JSON', '{', -32700],
	['nothing', '', -32700],
	['trailing text', '{"method":"ping","id":1} x', -32700],
	['two keys of one name', '{"method":"ping","id":1,"id":2}', -32700],
	['a NUL in a string', '{"method":"ping\u0000","id":1}', -32700],
	['a lone surrogate', '{"method":"\ud800","id":1}', -32700],
	['a huge number', '{"method":"ping","id":123456789012345678901234567890}', -32700],
	['depth 10000', '[' x 10_000, -32600],
	['depth 33', '{"method":"ping","x":' . ('[' x 33) . (']' x 33) . '}', -32600],
	['a number', '1', -32600],
	['a string', '"x"', -32600],
	['a batch', '[{"method":"ping","id":1}]', -32600],
	['an empty batch', '[]', -32600],
	['an id beyond 2^53', '{"method":"ping","id":9007199254740993}', -32600],
	['a fractional id', '{"method":"ping","id":1.5}', -32600],
	['an object as id', '{"method":"ping","id":{}}', -32600],
	['a long id', '{"method":"ping","id":"' . ('x' x 257) . '"}', -32600],
	['another version', '{"jsonrpc":"1.0","method":"ping","id":7}', -32600, 7],
	['no method', '{"id":7}', -32600, 7],
	['a method that is no string', '{"id":7,"method":1}', -32600, 7],
	['an unknown method', '{"id":"a","method":"foo"}', -32601, 'a', { method => 'foo' }],
	['a parameter too many', '{"id":7,"method":"ping","params":{"x":1}}', -32602, 7, { parameter => 'x' }],
	['parameters as an array', '{"id":7,"method":"subscribe","params":["c"]}', -32602, 7, { parameter => 'params' }],
	['parameters in both places', '{"id":7,"method":"subscribe","channel":"c","params":{}}', -32602, 7, { parameter => 'channel' }],
	['no channel', '{"id":7,"method":"subscribe"}', -32602, 7, { parameter => 'channel' }],
	['an empty channel', '{"id":7,"method":"subscribe","channel":""}', -32602, 7, { parameter => 'channel' }],
	['a channel of 64 bytes', '{"id":7,"method":"subscribe","channel":"' . ('x' x 64) . '"}', -32602, 7, { parameter => 'channel' }],
	['a channel of 60 kB', '{"id":7,"method":"subscribe","channel":"' . ('x' x 60_000) . '"}', -32602, 7, { parameter => 'channel' }],
	['no ops', '{"id":7,"method":"subscribe","channel":"c","ops":[]}', -32602, 7, { parameter => 'ops' }],
	['an unknown op', '{"id":7,"method":"subscribe","channel":"c","ops":["INSERT","SELECT"]}', -32602, 7, { parameter => 'ops' }],
	['ops as a string', '{"id":7,"method":"subscribe","channel":"c","ops":"INSERT"}', -32602, 7, { parameter => 'ops' }],
	['a position that is none', '{"id":7,"method":"subscribe","channel":"c","since":"1-x"}', -32602, 7, { parameter => 'since' }],
	['a position as a number', '{"id":7,"method":"subscribe","channel":"c","since":5}', -32602, 7, { parameter => 'since' }],
	['a position beyond 2^53', '{"id":7,"method":"subscribe","channel":"c","since":"1-9007199254740992"}', -32602, 7, { parameter => 'since' }])
{
	my ($name, $text, $code, $id, $data) = @$case;
	$client->text($text);
	my $answer = $client->message;
	is($answer->{error}{code}, $code, "$name: $code");
	ok(exists $answer->{id}, "$name: there is an id");
	is($answer->{id}, $id, "$name: its id");
	is_deeply($answer->{error}{data}, $data, "$name: what was wrong is named") if $data;
}
$client->text('{"method":"foo"}');
my $notification = $client->message;
is($notification->{method}, 'error', 'without an id it is a notification');
is($notification->{params}{code}, -32601, 'that says the same');
for my $id ('9007199254740992', '-5', '"ü\\u0001"', 'null', '0')
{
	$client->text(qq({"id":$id,"method":"ping"}));
	like($client->next_text, qr/"id":\Q$id\E,/, "the id $id comes back as it was");
}
my $depth = ('[' x 31) . (']' x 31);
$client->text(qq({"id":1,"method":"ping","params":{"x":$depth}}));
is($client->message->{error}{code}, -32600, 'one deeper than allowed is refused');
$depth = ('[' x 30) . (']' x 30);
$client->text(qq({"id":1,"method":"ping","params":{"x":$depth}}));
is($client->message->{error}{code}, -32602, 'as deep as allowed is read');

# limits
for my $i (1 .. 100)
{
	$client->request('subscribe', channel => "c$i");
	$feed->accept(1000 + $i, 100);
	$client->reply;
}
is($client->call('subscribe', channel => 'c101')->{code}, -32010, 'no more than 100 subscriptions');
undef $client;
$feed->expect('UNSUBSCRIBE') for 1 .. 100;
pass('all are ended with the connection');

# fragments
$client = $gateway->client;
$client->send_frame(1, '{"id":1,', more => 1);
$client->send_frame(0, '', more => 1);
$client->send_frame(9, 'in between');
$client->send_frame(0, '"method":"pi', more => 1);
$client->send_frame(0, 'ng"}');
is($client->message->{id}, 1, 'a message in fragments, with a ping in between');
is_deeply($client->pong, 'in between', 'which is answered');
$client->send_frame(1, '{"id":2,"method":"ping"', more => 1);
$client->send_frame(0, '}', more => 1);
$client->send_frame(0, '');
is($client->message->{id}, 2, 'with an empty last one');
$client->send_frame(1, '', more => 1);
$client->send_frame(0, '{"id":3,"method":"ping"}');
is($client->message->{id}, 3, 'with an empty first one');
$client->text('{"id":"' . ('x' x 200) . '","method":"ping"' . (' ' x 60_000) . '}');
is(length $client->message->{id}, 200, 'a large message');
$client->raw($_) for split //, $client->frame(1, '{"id":4,"method":"ping"}');
is($client->message->{id}, 4, 'byte by byte');

# messages that end the connection
sub ends
{
	my ($name, $code, $do) = @_;
	my $client = $gateway->client;

	$client->request('subscribe', channel => 'n');
	$feed->accept(1, 100);
	$client->reply;
	$do->($client);
	my $close = $client->closed;
	is($close->[0], $code, "$name: closed with $code") or diag $close->[1];
	$feed->expect('UNSUBSCRIBE');
}
ends('binary', 1003, sub { $_[0]->send_frame(2, 'x') });
ends('not UTF-8', 1007, sub { $_[0]->text("{\"id\":\"\xff\"}") });
ends('too large', 1009, sub { $_[0]->text('x' x 65_537) });
ends('too large by its header', 1009, sub { $_[0]->raw("\x81\xff" . pack('Q>', 1 << 40) . "\0\0\0\0x") });
ends('too large in fragments', 1009,
	sub { $_[0]->send_frame(1, 'x' x 40_000, more => 1); $_[0]->send_frame(0, 'x' x 40_000, more => 1) });
ends('too many fragments', 1008,
	sub { $_[0]->send_frame(1, 'x', more => 1); $_[0]->raw($_[0]->frame(0, '', more => 1) x 2000) });

my $message = '{"id":1,"method":"ping"}';
my $masked = "\x81" . chr(0x80 | length $message) . "\0\0\0\0$message";
my $unmasked = "\x81" . chr(length $message) . $message;

ends('a frame that RFC 6455 forbids (020_rfc6455.t has all of them)', 1002, sub { $_[0]->raw($unmasked) });

# Nothing is read after an error, and the connection ends without waiting for the client.
{
	my $client = $gateway->client;
	$client->raw($unmasked . $masked x 3 . $client->frame(8, pack 'n', 4000));
	my $close = $client->next_frame;
	is($close->[0], 8, 'nothing behind a violation is answered');
	is(unpack('n', $close->[1]), 1002, 'but the violation');
	is($client->next_frame, undef, 'and then comes the end');
	ok($client->{eof}, 'of the connection');
}
# The first byte, or the second, tells already: nothing waits for the rest.
{
	my $client = $gateway->client;
	$client->raw("\x91");
	is(unpack('n', $client->next_frame->[1]), 1002, 'a reserved bit needs no second byte to be noticed');
	$client = $gateway->client(pipelined => "\x81\x05");
	is(unpack('n', $client->next_frame->[1]), 1002, 'a missing mask is noticed when it came with the head');
}

# A client that has let much pile up says goodbye: it is not made to take all that first.
{
	my $client = $gateway->client(receive_buffer => 4096);
	$client->request('subscribe', channel => 'slow');
	$feed->accept(2, 100);
	$client->reply;
	$feed->event(100 + $_, 0x01, [2], '{"e":"' . ('x' x 50_000) . '"}') for 1 .. 80;
	$gateway->stats(sub { $_[0]{queued} > 1_000_000 });
	$client->send_frame(8, pack 'n', 4000);
	ok($gateway->until(sub { $gateway->clients->{ $client->{socket}->sockport } ? 0 : 1 }), 'a close is read though the client reads nothing');
	my $bytes = 0;
	my $frame;
	while ($frame = $client->next_frame)
	{
		last if $frame->[0] == 8;
		$bytes += length $frame->[1];
	}
	is($frame && unpack('n', $frame->[1]), 4000, 'and answered');
	cmp_ok($bytes, '<', 3_000_000, 'before all that was queued');
}

# floods
$client = $gateway->client;
$client->raw($client->frame(9, 'flood') x 20_000);
ok($client->quiet, 'a flood of pings');
is($client->pong, 'flood', 'is answered by some pongs');

$feed->event(300, 0x01, [1], '{"e":1}');
is_deeply($neighbour->message, { e => 1 }, 'the neighbour has noticed nothing');
$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
