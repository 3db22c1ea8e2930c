# Raw clients: ?format=payload and pg_notifyd.endpoints.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

my $gateway = Gateway->new(endpoints => '/order_events=payload, /a/b=jsonrpc,/ws=jsonrpc');
my $feed = $gateway->feed('postgres');
my $id = 100;

sub raw
{
	my ($target, @requests) = @_;
	my $client = $gateway->client(target => $target);

	$client->text($_) for @requests;
	return $client;
}

sub closed
{
	my ($name, $code, $reason, $client) = @_;
	my ($got, $why) = @{ $client->closed };

	is($got, $code, "$name: closed with $code");
	like($why, $reason, "$name: told why");
	return;
}

# an event with a payload, one with rows, a notification
my $order = '{"method":"subscribe","channel":"orders"}';
my $client = raw('/order_events', $order);
$feed->accept(1, $id);
$feed->event(++$id, 1, [1], qq({"op":"INSERT","position":"1-$id","channel":"orders","key":{"payload":2},"payload":{ "message":"New order", "data":{"a":[1,"}"]} },"context":{"payload":1}}));
is($client->next_text, '{ "message":"New order", "data":{"a":[1,"}"]} }', 'the payload of an event, as it was written');
my $rows = qq({"op":"INSERT","position":"1-@{[ ++$id ]}","channel":"orders","key":{"payload":2},"new":{"payload":2,"x":"\\"payload\\":1"}});
$feed->event($id, 1, [1], $rows);
is($client->next_text, $rows, 'an event of rows is the whole object');
$feed->event(0, 32, [1], '{"op":"NOTIFY","channel":"orders","payload":"a \"caf\u00e9\""}');
is($client->next_text, qq(a "caf\xc3\xa9"), 'a notification is its text');
$feed->event(0, 32, [1], '{"op":"NOTIFY","channel":"orders","payload":""}');
is($client->next_text, '', 'an empty one is an empty message');

# no replies; other requests work too
$client->text('{"jsonrpc":"2.0","id":5,"method":"subscribe","params":{"channel":"dishes","filter":"id=eq.1","tag":"t"}}');
is($feed->accept(2, $id)->{filter}, 'id=eq.1', 'a request as in JSON-RPC');
$client->text('{"method":"ping"}');
$client->text('{"id":7,"method":"unsubscribe","channel":"orders"}');
$feed->expect('UNSUBSCRIBE');
$feed->event(++$id, 1, [2], '{"op":"MESSAGE","position":"1-1","channel":"dishes","payload":null}');
is($client->next_text, 'null', 'nothing came before the next event');
$client->text($order);
$client->text('{"method":"unsubscribe","channel":"orders"}');
my $cancelled = $feed->expect('SUBSCRIBE');
$feed->expect('UNSUBSCRIBE');
$feed->subscribed($cancelled->{sub}, 3, $id);
$feed->event(++$id, 1, [2], '{"op":"MESSAGE","position":"1-1","channel":"dishes","payload":[1e400,9007199254740993]}');
is($client->next_text, '[1e400,9007199254740993]', 'a request that is taken back is no failure');

# what closes
closed('text that is no JSON', 1003, qr/: parse error$/, $client) if $client->text('subscribe');
closed('an empty text', 1003, qr/parse error$/, raw('/order_events', ''));
closed('binary', 1003, qr/binary/, do { my $c = raw('/order_events'); $c->send_frame(2, '{}'); $c });
closed('no UTF-8', 1007, qr/UTF-8/, raw('/order_events', "\xff"));
closed('no request', 4400, qr/^a request must be an object/, raw('/order_events', '7'));
closed('no such method', 4400, qr/^listen: method not found$/, raw('/order_events', '{"method":"listen"}'));
closed('a parameter', 4400, qr/^x: unknown parameter$/, raw('/order_events', '{"method":"subscribe","channel":"a","x":1}'));
closed('a snapshot', 4400, qr/snapshots/, raw('/order_events', '{"method":"subscribe","channel":"a","snapshot":true}'));
for my $refusal ([1, 4403], [2, 4404], [3, 4401])
{
	my $refused = raw('/order_events', $order);
	$feed->refused($feed->expect('SUBSCRIBE')->{sub}, $refusal->[0], 'it is so');
	closed("reason $refusal->[0]", $refusal->[1], qr/^orders: it is so$/, $refused);
}

# The gateway itself ends the client, before the client answers.
my $ended = raw('/order_events', '7', $order);
my $next = raw('/order_events', '{"method":"subscribe","channel":"next"}');
is($feed->accept(3, $id)->{channel}, 'next', 'after a bad request no other one counts');
closed('the bad request', 4400, qr/^a request must/, $ended);
$next->send_frame(8, '');
$feed->expect('UNSUBSCRIBE');

# a reset, after what was sent before
my $reset = raw('/order_events', $order);
my $sub = $feed->accept(4, $id)->{sub};
$feed->event(++$id, 1, [4], '{"op":"MESSAGE","position":"1-1","channel":"orders","payload":1}');
$feed->reset($sub, $id, 'the events are gone');
is($feed->expect('UNSUBSCRIBE')->{sub}, $sub, 'a reset ends the subscription');
is($reset->next_text, '1', 'what came before a reset');
closed('a reset', 4410, qr/^orders: events are missing: the events are gone$/, $reset);
my $lost = raw('/order_events', $order);
$feed->accept(5, $id);
undef $feed;
$feed = $gateway->feed('postgres', id => $id);
$feed->subscribed($feed->expect('SUBSCRIBE')->{sub}, 5, $id, notifies => 1);
closed('notifications that may be lost', 4410, qr/^orders: events are missing: notifications were lost$/, $lost);

# channels in the query string; the formats
my $query = raw('/ws?format=payload&ops=insert&channel=orders&filter=id%3Deq.2&channel=dishes&bigint=string');
my %subscribed = map { $_->{channel} => $_ } $feed->accept(6, $id), $feed->accept(7, $id);
is($subscribed{orders}{filter}, 'id=eq.2', 'a channel with a filter');
is($subscribed{dishes}{filter}, '', 'and one without');
$feed->event(++$id, 1, [7], '{"op":"INSERT","position":"1-1","channel":"dishes","payload":9007199254740993}');
is($query->next_text, '"9007199254740993"', 'with bigint=string');
closed('a wrong parameter', 4400, qr/^filtre: unknown parameter$/, raw('/order_events?channel=orders&filtre=1'));
closed('a wrong position', 4400, qr/^since: since must be a position/, raw('/order_events?channel=orders&since=end'));
is($gateway->verdict(target => '/a/b'), 101, 'another path with JSON-RPC');
is($gateway->verdict(target => '/order_events?format=jsonrpc'), 101, 'the query string is stronger than the path');
is($gateway->verdict(target => '/ws?channel=x'), 101, 'channel is for raw clients');
is($gateway->verdict(target => '/ws?format=msgpack'), 400, 'no such format');
like($gateway->request("POST /order_events HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n"), qr{^HTTP/1\.1 405 .*\r\nAllow: GET\r\n}s, 'another method');
is($gateway->verdict(target => '/order_events', headers => { Origin => 'https://evil.example' }), 403, 'origins are checked');

# a reload
$gateway->configure(endpoints => '/others=payload');
is($gateway->health(''), 1, 'reloaded');
isnt($gateway->verdict(target => '/order_events'), 101, 'the path is gone');
closed('the new path', 1003, qr/parse error/, raw('/others', 'x'));

# without a token
$gateway->configure(anonymous => 0);
closed('no token', 4401, qr/^orders: not authenticated/, raw('/others', $order));
closed('no token, a channel', 4401, qr/^orders: not authenticated/, raw('/others?channel=orders'));
my $authenticated = raw('/others', '{"method":"auth","token":"a.b.c"}');
my $auth = $feed->expect('AUTH');
$feed->send(61, pack('VCV/a*', $auth->{session}, 3, 'JWT expired'));
is($feed->expect('FORGET')->{session}, $auth->{session}, 'a bad token ends the client');
closed('a bad token', 4401, qr/^JWT expired$/, $authenticated);
done_testing();
