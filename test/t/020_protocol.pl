# The client protocol as doc/protocol.md describes it: requests, errors, limits, handshakes.
use strict;
use warnings;

use Mojo::JSON;
use PostgreSQL::Test::Utils;
use NotifydTest;
use Test::More;

my $node = notifyd_node('main', conf => "pg_notifyd.max_message_size = '4kB'\npg_notifyd.max_event_size = '16kB'\n");
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	CREATE TABLE quiet (id int PRIMARY KEY);
	GRANT SELECT ON orders, quiet TO guest;
	SELECT notify_watch('orders'), notify_watch('quiet');
	DO $$ BEGIN FOR i IN 1..101 LOOP PERFORM notify_grant('room ' || i, 'guest'); END LOOP; END $$;
});
my $client = notifyd_client($node);

# [ what it is, request, code, data ]
my @bad = (
	[ 'no JSON', '{"method":', -32700 ],
	[ 'a batch', '[{"method":"ping","id":1}]', -32600 ],
	[ 'no object', '17', -32600 ],
	[ 'a wrong version', '{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, 'jsonrpc' ],
	[ 'no method', '{"id":1}', -32600, 'method' ],
	[ 'an id that is none', '{"id":[1],"method":"ping"}', -32600, 'id' ],
	[ 'duplicate keys', '{"id":1,"id":2,"method":"ping"}', -32700 ],
	[ 'nested too deeply', '{"id":1,"method":"ping","params":' . ('[' x 40) . (']' x 40) . '}', -32600 ],
	[ 'an unknown method', '{"id":1,"method":"launch"}', -32601, 'launch' ],
	[ 'an unknown parameter', '{"id":1,"method":"subscribe","params":{"channel":"orders","color":1}}', -32602, 'color' ],
	[ 'no channel', '{"id":1,"method":"subscribe","params":{}}', -32602, 'channel' ],
	[ 'an empty channel', '{"id":1,"method":"subscribe","params":{"channel":""}}', -32602, 'channel' ],
	[ 'a long channel', '{"id":1,"method":"subscribe","params":{"channel":"' . ('x' x 64) . '"}}', -32602, 'channel' ],
	[ 'a channel that is no string', '{"id":1,"method":"subscribe","params":{"channel":7}}', -32602, 'channel' ],
	[ 'an unknown op', '{"id":1,"method":"subscribe","params":{"channel":"orders","ops":["EAT"]}}', -32602, 'ops' ],
	[ 'no ops', '{"id":1,"method":"subscribe","params":{"channel":"orders","ops":[]}}', -32602, 'ops' ],
	[ 'a bad position', '{"id":1,"method":"subscribe","params":{"channel":"orders","since":"1"}}', -32602, 'since' ],
	[ 'a position beyond 2^53', '{"id":1,"method":"subscribe","params":{"channel":"orders","since":"1-9007199254740992"}}',
		-32602, 'since' ],
	[ 'not subscribed', '{"id":1,"method":"unsubscribe","params":{"channel":"orders"}}', -32602, 'orders' ],
	[ 'no such channel', '{"id":1,"method":"subscribe","params":{"channel":"no such"}}', -32004, 'no such' ]);

foreach my $case (@bad)
{
	my ($what, $text, $code, $data) = @$case;
	my $before = $client->received;

	$client->send_text($text);
	$client->wait_for(sub { $client->received > $before }, "answer to $what");
	my $answer = ($client->received)[$before];
	my $error = $answer->{error} // $answer->{params};
	is($error->{code}, $code, $what);
	is_deeply([ values %{ $error->{data} // {} } ], [$data], "$what: names what was wrong") if defined $data;
}

# Requests as JSON-RPC has them, and shorter.
$client->send_text('{"jsonrpc":"2.0","id":"ä","method":"ping"}');
$client->wait_for(sub { grep { ($_->{id} // '') eq "\x{e4}" && $_->{result} } $client->received }, 'id that is a string');
pass('an id may be a string, and comes back as it was');
$client->send_text('{"id":9007199254740992,"method":"ping"}');
$client->wait_for(sub { grep { ($_->{id} // '') eq '9007199254740992' } $client->received }, 'large id');
pass('a large id comes back exactly');

my $before = $client->received;
$client->send_text('{"method":"subscribe","channel":"orders"}');
$client->send_text('{"method":"subscribe","channel":"no such"}');
my $error;
do { $error = $client->next_message('error') } while ($error->{data}{channel} // '') ne 'no such';
is($error->{code}, -32004, 'a failed request without id gives an error notification');
is(scalar($client->received), $before + 1, 'one that succeeds has no answer');
is($client->call('subscribe', { channel => 'orders' })->{error}{code}, -32602, 'subscribing twice is an error');

$node->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 'x')});
is($client->next_event->{key}{id}, 1, 'the short form has subscribed');

# No event of a channel after the reply to unsubscribe.
is($client->unsubscribe('orders')->{channel}, 'orders', 'unsubscribe');
$client->subscribe('quiet');
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (2, 'x'); INSERT INTO quiet VALUES (1)});
is($client->next_event->{table}, 'quiet', 'no event of it follows');

# since that can no longer be had, and one that is of no past.
my $late = notifyd_client($node);
my $subscribed = $late->subscribe('orders', since => '1-1');
my $reset = $late->next_message('reset');
is($reset->{channel}, 'orders', 'reset: a position before everything that is kept');
like($reset->{position}, qr/^\d+-\d+$/, 'has the position to resume from');
ok(length $reset->{reason}, 'and why');
$late->unsubscribe('orders');
$late->subscribe('orders', since => '7-9007199254740991');
is($late->next_message('reset')->{channel}, 'orders', 'reset: a position of a timeline that never was');
$late->close;

# An event that is too large comes with its key alone, and can be fetched whole.
$client->subscribe('orders');
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (3, repeat('x', 20000))});
my $truncated = $client->next_event;
ok($truncated->{truncated}, 'too large an event is truncated');
is_deeply($truncated->{key}, { id => 3 }, 'it has its key');
ok(!exists $truncated->{new}, 'but not the row');
is($node->safe_psql('postgres', "SELECT length(notify_fetch($truncated->{id})->'new'->>'name')"), 20000, 'notify_fetch');
is($node->safe_psql('postgres', 'SELECT notify_fetch(1) IS NULL'), 't', 'notify_fetch of an event that is not kept');
$node->safe_psql('postgres', q{UPDATE orders SET id = 4 WHERE id = 3; UPDATE orders SET name = repeat('y', 20000) WHERE id = 4});
is_deeply([ @{ $client->next_event }{qw(key old truncated)} ], [ { id => 4 }, { id => 3 }, Mojo::JSON->true ],
	'an UPDATE of the key has the old key, too');
$truncated = $client->next_event;
ok($truncated->{truncated} && !exists $truncated->{old}, 'another UPDATE has not');

# Limits
my $greedy = notifyd_client($node);
$greedy->subscribe("room $_") for 1 .. 100;
is($greedy->call('subscribe', { channel => 'room 101' })->{error}{code}, -32010, 'too many subscriptions');
$greedy->send_text('{"method":"ping","x":"' . ('x' x 5000) . '"}');
is(($greedy->wait_closed)[0], 1009, 'too large a message');
wait_for(sub { slurp_file($node->logfile) =~ /closed client \S+: a message is larger than pg_notifyd\.max_message_size/ }, 'a line in the log that says so');

sub closed_by
{
	my $frame = shift;
	my $victim = notifyd_client($node);
	$victim->send_frame($frame);
	return ($victim->wait_closed)[0];
}
is(closed_by([ 1, 0, 0, 0, 1, "\"\xff\"" ]), 1007, 'invalid UTF-8');
is(closed_by([ 1, 0, 0, 0, 2, 'x' ]), 1003, 'a binary frame');
is($client->ping->{position}, $truncated->{position}, 'the neighbours do not notice');

# Handshakes
sub status_of
{
	my ($socket, $head) = raw_handshake($node, @_);
	return $head =~ m{^HTTP/1\.1 (\d+) } ? $1 : $head;
}
is(status_of(), 101, 'a handshake');
is(status_of('Upgrade: h2c'), 400, 'Upgrade: h2c') or diag 'must never reach the library';
is(status_of('Upgrade: gopher'), 400, 'an unknown upgrade');
is(status_of('Sec-WebSocket-Version: 12'), 426, 'a wrong version');
is(status_of('Sec-WebSocket-Key:'), 400, 'no key');
is(status_of('Sec-WebSocket-Key: short'), 400, 'a key that is none');
is(status_of('Host:'), 400, 'no Host');
is(status_of('Host: evil.example'), 403, 'a rebound name');
is(status_of("Origin: $_"), 101, "a page of $_") for 'http://localhost:3000', 'https://127.0.0.1', 'http://[::1]:8080';
is(status_of("Origin: $_"), 403, "a page of $_")
  for 'https://evil.example', 'null', 'http://localhost.evil.example', 'ftp://localhost', 'http://evil.example/localhost';
is(http_get($node, '/ws/nothing')->code, 404, 'no such path');
is(http_get($node, '/healthz')->code, 200, 'healthz');
is(http_get($node, '/healthz?database=none')->code, 503, 'healthz of a database that is not served');
is_deeply([ notifyd_client($node, database => 'none')->wait_closed ], [ 4503, 'this database is not served at present' ],
	'a database that is not served');

# What is reloaded: another origin.
$node->safe_psql('postgres', q{ALTER SYSTEM SET pg_notifyd.allowed_origins = 'https://shop.example'});
$node->reload;
wait_for(sub { status_of('Origin: https://shop.example') eq '101' }, 'the allowed origin');
pass('an allowed origin');
is(status_of("Origin: $_"), 403, "near it: $_")
  for 'http://shop.example', 'https://shop.example:8443', 'https://shop.example.evil', 'https://xshop.example';

done_testing();
