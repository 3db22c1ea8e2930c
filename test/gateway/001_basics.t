# Subscribe, events, order, unsubscribe.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

my $gateway = Gateway->new;
my $feed = $gateway->feed('postgres');
my $client = $gateway->client;

like($client->{head}, qr/Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i, 'the handshake is RFC 6455');
unlike($client->{head}, qr/Sec-WebSocket-(Protocol|Extensions)/i, 'neither subprotocol nor extension unasked');

my $other = $gateway->client(headers => {
		'Sec-WebSocket-Protocol' => 'foo, pg_notifyd.v1',
		'Sec-WebSocket-Extensions' => 'permessage-deflate' });
like($other->{head}, qr/Sec-WebSocket-Protocol: pg_notifyd\.v1\r/i, 'our subprotocol is selected');
unlike($other->{head}, qr/Sec-WebSocket-Extensions/i, 'no extension is');
undef $other;

is_deeply($client->call('ping'), { position => '1-100' }, 'ping gives the position');

# subscribe
$client->request('subscribe', channel => 'orders', ops => ['insert', 'Update']);
my $subscribe = $feed->expect('SUBSCRIBE');
is($subscribe->{channel}, 'orders', 'the feed is asked for the channel');
is($subscribe->{ops}, 0x03, 'and the operations');
is($subscribe->{has_since}, 0, 'from now on');
is($subscribe->{identity}, 0, 'for an anonymous client');
$feed->subscribed($subscribe->{sub}, 7, 100);
is_deeply($client->reply, { channel => 'orders', position => '1-100' }, 'the answer names the position');

# events
$feed->event(101, 0x01, [7], '{"e":101}');
is($client->next_frame->[1], '{"jsonrpc":"2.0","method":"event","params":{"e":101}}', 'an event comes in a notification');
$feed->event(102, 0x04, [7], '{"e":102}');
$feed->event(103, 0x02, [9, 7, 8], '{"e":103}');
is_deeply($client->message, { e => 103 }, 'only the operations that were asked for');
is_deeply($client->call('ping'), { position => '1-103' }, 'ping gives the new position');
$feed->event(103, 0x02, [7], '{"e":"again"}');
$feed->event(0, 0x01, [7], '{"e":"raw"}');
is_deeply($client->message, { e => 'raw' }, 'an event with an id that was there before is not sent again');

# large and odd sizes: lengths around the borders of the frame format and of fragments
my $id = 104;
for my $size (20, 125, 126, 127, 32767, 32768, 32769, 65535, 65536, 65537, 200_000)
{
	my $text = '{"e":"' . ('x' x ($size - 8)) . '"}';
	$feed->event($id++, 0x01, [7], $text);
	ok($client->next_text eq $text, "$size bytes arrive whole");
}

# many in one piece
$feed->send_raw(join '', map { $feed->event_frame($id + $_, 0x01, [7], "{\"n\":$_}") } 0 .. 999);
my @got = map { $client->message->{n} } 0 .. 999;
is_deeply(\@got, [0 .. 999], 'a thousand at once, in order');
$id += 1000;

# two clients share a stream
my $second = $gateway->client;
$second->text('{"method":"subscribe","channel":"orders"}');
my $sub2 = $feed->accept(7, $id - 1);
$feed->event($id, 0x08, [7], '{"e":"truncate"}');
is_deeply($second->message, { e => 'truncate' }, 'a request without id gets no reply, but is done');
$feed->event(++$id, 0x01, [7], '{"e":"both"}');
is_deeply($second->message, { e => 'both' }, 'an event goes to one');
is_deeply($client->message, { e => 'both' }, 'and to the other');

# errors
my $error = $client->call('subscribe', channel => 'orders');
is($error->{code}, -32602, 'subscribing twice is refused');
is($error->{message}, 'already subscribed', 'saying so');
is_deeply($error->{data}, { channel => 'orders' }, 'and naming the channel');
is($client->call('unsubscribe', channel => 'other')->{code}, -32602, 'and so is unsubscribing from another channel');
$client->request('subscribe', channel => 'secret');
my $refused = $feed->expect('SUBSCRIBE');
$feed->refused($refused->{sub}, 1, 'permission denied');
is_deeply($client->reply, { code => -32003, message => 'permission denied', data => { channel => 'secret' } },
	'a refusal of the feed is an error');
$second->text('{"method":"subscribe","channel":"secret"}');
$feed->refused($feed->expect('SUBSCRIBE')->{sub}, 1, 'permission denied');
is_deeply($second->message,
	{ jsonrpc => '2.0', method => 'error',
		params => { code => -32003, message => 'permission denied', data => { channel => 'secret' } } },
	'and a notification where the request had no id');

# unsubscribe
$client->request('unsubscribe', channel => 'orders');
is($feed->expect('UNSUBSCRIBE')->{sub}, $subscribe->{sub}, 'the feed gets UNSUBSCRIBE');
$feed->event(++$id, 0x01, [7], '{"e":"late"}');
is_deeply($client->reply, { channel => 'orders' }, 'unsubscribed');
is_deeply($second->message, { e => 'late' }, 'the other still gets events');
ok($client->quiet, 'no event follows the reply');

# a subscription that is ended before it is answered
$client->request('subscribe', channel => 'slow');
my $slow = $feed->expect('SUBSCRIBE');
$client->request('unsubscribe', channel => 'slow');
is($client->reply->{code}, -32603, 'its request fails');
is_deeply($client->reply, { channel => 'slow' }, 'and it is ended');
$feed->subscribed($slow->{sub}, 11, $id);
ok($client->quiet, 'the late answer goes nowhere');

# the stream ends
$feed->ended_stream(7, 1, 'permission was revoked');
is_deeply($second->message,
	{ jsonrpc => '2.0', method => 'error',
		params => { code => -32003, message => 'permission was revoked', data => { channel => 'orders' } } },
	'the client gets the reason why its subscription ends');
$feed->event(++$id, 0x01, [7], '{"e":"after"}');
ok($second->quiet, 'nothing comes after that');
$second->request('subscribe', channel => 'orders');
$feed->accept(7, $id);
is($second->reply->{channel}, 'orders', 'it may subscribe again');

# counters
my $stats = $gateway->stats(sub { $_[0]{subscriptions} == 1 && $_[0]{queued} == 0 });
is($stats->{clients}, 2, 'two clients are counted');
is($stats->{accepted}, 3, 'and one that was there');
cmp_ok($stats->{events}, '>=', 1000, 'and events');

# the end
$client->send_frame(8, pack 'n', 1000);
is_deeply($client->closed, [1000, ''], 'a close is answered');
$gateway->stop(1012);
is_deeply($second->closed, [1012, 'gateway restarting'], 'STOP closes with its code');
is($gateway->wait, 0, 'and ends the gateway');

done_testing;
