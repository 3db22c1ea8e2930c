# WAMP in CBOR and MessagePack, beside JSON: sessions of all formats publish to each other and call each other; what a
# format cannot carry, or should not; hostile messages.
use strict;
use warnings;

use CBOR::XS;
use Math::BigInt;
use Mojo::JSON;
use Mojo::Util qw(b64_encode);
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member'], conf => "pg_notifyd.compression = on\n");
sub sql { return $node->safe_psql('postgres', join ';', @_); }
sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, name text, price numeric, data jsonb);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders', channel => 'com.shop.orders');
	CREATE FUNCTION add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b';
	CREATE FUNCTION same(a json) RETURNS json LANGUAGE sql STABLE AS 'SELECT a';
	CREATE FUNCTION rows(n int) RETURNS TABLE (i int) LANGUAGE sql AS 'SELECT generate_series(1, n)';
	CREATE FUNCTION large(n numeric) RETURNS numeric LANGUAGE sql AS 'SELECT n';
	CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'kein Geld für dich' USING ERRCODE = 'PT402'; END $$;
	SELECT notify_expose('add(int,int)', 'com.sql.add'), notify_expose('same(json)', 'com.sql.same'), notify_expose('rows(int)', 'com.sql.rows'),
		notify_expose('large(numeric)', 'com.sql.large'), notify_expose('fail()', 'com.sql.fail');
	SELECT notify_grant(topic, 'guest', p) FROM unnest('{com.shop.news,com.chat.*}'::text[]) AS topic, unnest('{subscribe,publish}'::text[]) AS p;
	SELECT notify_grant('com.peer.*', 'guest', p) FROM unnest('{call,register}'::text[]) AS p;
});
wait_healthy($node);

my @formats = qw(json cbor msgpack);
my %client = map { $_ => wamp_client($node, realm => 'postgres', format => $_) } @formats;
is(sql(q{SELECT string_agg(subprotocol, ' ' ORDER BY subprotocol) FROM notifyd.clients}), 'wamp.2.cbor wamp.2.json wamp.2.msgpack', 'notifyd.clients');

# Values of all kinds. Perl compares numbers as text.
my @values = (
	0, -1, 23, 24, 127, 128, -32, -33, 255, 256, 65535, 65536, -32769, 4294967295, 4294967296, 9007199254740993,
	-9223372036854775808, 18446744073709551615, 1.5, -0.1, 1e300, '', 'text', "\x{e4}\x{4e2d}\x{1f600} \"\\/\b\n\x{1}", 'x' x 40, 'y' x 300, 'z' x 40000,
	undef, [], {}, [ [ [] ], { a => { b => [ undef, 'c' ] } } ], [ 1 .. 20 ], { map { ("k$_" => 0 + $_) } 1 .. 20 });
sub payload { return [ \@values, { name => "caf\x{e9}", none => undef, list => [ 1, [ 2, 3 ] ], "\x{fc}" => 1 } ]; }

# Topics: of the log, and others
foreach my $topic ('com.shop.news', 'com.chat.one')
{
	my %id = map { $_ => $client{$_}->subscribe($topic) } @formats;
	is($id{cbor} . $id{msgpack}, $id{json} x 2, "$topic: the number of the subscription");
	foreach my $from (@formats)
	{
		my $publication = $client{$from}->publish($topic, @{ payload() }, exclude_me => \0);
		my %event = map { $_ => $client{$_}->next_event } @formats;
		is_deeply([ @{ $event{$_} }{qw(subscription publication args kwargs)} ], [ $id{$_}, $publication, @{ payload() } ], "$topic: from $from to $_")
		  foreach @formats;
	}
	$client{$_}->unsubscribe($id{$_}) foreach @formats;
}

# A table's events, patterns, compression, a replay, and history
my %orders = map { $_ => $client{$_}->subscribe('com.shop.orders') } @formats;
my %pattern = map { $_ => $client{$_}->subscribe('com.shop.', match => 'prefix') } @formats;
my $compressed = wamp_client($node, realm => 'postgres', format => 'cbor', headers => { 'Sec-WebSocket-Extensions' => 'permessage-deflate' });
$compressed->subscribe('com.shop.orders');
sql(q{INSERT INTO orders VALUES (1, 'Käse ' || repeat('x', 2000), 12.50, '{"a": [null, true, false, 9007199254740993]}')});
my %events = map { my $format = $_; $format => { map { $_->{subscription} => $_ } map { $client{$format}->next_event } 1 .. 2 } } @formats;
foreach my $format (@formats)
{
	my ($event, $matched) = @{ $events{$format} }{ $orders{$format}, $pattern{$format} };
	is($event->{kwargs}{new}{data}{a}[3], '9007199254740993', "$format: a number of a row");
	is_deeply($event->{kwargs}{new}{data}{a}, [ undef, Mojo::JSON->true, Mojo::JSON->false, 9007199254740993 ], "$format: null, true and false");
	is_deeply([ @$event{qw(args kwargs publication)} ], [ @{ $events{json}{ $orders{json} } }{qw(args kwargs publication)} ], "$format: an event of a table");
	is($matched->{details}{topic}, 'com.shop.orders', "$format: by a pattern");
}
is_deeply($compressed->next_event->{kwargs}, $events{json}{ $orders{json} }{kwargs}, 'compressed CBOR');
my @history = map { $client{$_}->result('wamp.subscription.get_events', [ 0 + $orders{$_}, 5 ]) } @formats;
is(scalar @{ $history[0] }, 1, 'history');
is_deeply($history[$_], $history[0], "history in $formats[$_]") foreach 1, 2;
foreach my $format (@formats)
{
	my $replayed = wamp_client($node, realm => 'postgres', format => $format);
	$replayed->subscribe('com.shop.orders', x_since => $client{json}->welcome->{x_position});
	is($replayed->next_event->{kwargs}{op}, 'INSERT', "$format: a replay");
	$replayed->close;
}

foreach my $format (@formats)
{
	$client{$format}->unsubscribe($_) foreach $orders{$format}, $pattern{$format};
}

# Calls of functions
foreach my $format (@formats)
{
	my $client = $client{$format};
	is($client->result('com.sql.add', [ 1, 2 ]), 3, "$format: arguments by position");
	is($client->result('com.sql.add', [], { a => 1 }), 11, "$format: by name");
	is_deeply($client->result('com.sql.same', [ payload()->[1] ]), payload()->[1], "$format: a document");
	is_deeply([ @{ $client->call('com.sql.fail') }[ 1, 4 .. 6 ] ],
		[ 48, 'wamp.error.runtime_error', ["kein Geld f\x{fc}r dich"], { sqlstate => 'PT402' } ], "$format: an error");
	my $id = $client->start('CALL', { receive_progress => \1 }, 'com.sql.rows', [3]);
	is_deeply([ @{ $client->answer('CALL', $id) }[ 3, 4 ] ], [ undef, undef ], "$format: the last result");
	is_deeply([ map { $_->[3] } $client->progress($id) ], [ map { [ { i => $_ } ] } 1 .. 3 ], "$format: the results before it");
}

# Procedures of sessions: each format asks each
foreach my $callee (@formats)
{
	$client{$callee}->register("com.peer.$callee", sub { my ($args, $kwargs) = @_; return ($args, $kwargs); });
	$client{$callee}->register("com.peer.$callee.fail", sub { die [ 'com.error.mine', [ undef, "\x{e4}" ], { code => 7 } ]; });
	foreach my $caller (@formats)
	{
		is_deeply([ @{ $client{$caller}->call("com.peer.$callee", @{ payload() }) }[ 3, 4 ] ], payload(), "$caller calls $callee");
		is_deeply([ @{ $client{$caller}->call("com.peer.$callee.fail") }[ 4 .. 6 ] ], [ 'com.error.mine', [ undef, "\x{e4}" ], { code => 7 } ], 'an error');
	}
}

# Numbers of more than 64 bits, and those that a double does not hold
my $two70 = Math::BigInt->new(2)**70;
is($client{cbor}->result('com.sql.large', [$two70]), "$two70", 'CBOR: a bignum');
is(ref $client{cbor}->result('com.sql.large', [ $two70->copy->bneg ]), 'Math::BigInt', 'as one');
is($client{msgpack}->result('com.sql.large', ["$two70"]), "$two70", 'MessagePack: a string');
is($client{cbor}->result('com.sql.large', ['1e400']), '1' . '0' x 400, 'CBOR: too many digits for a bignum');
is($client{cbor}->result('com.sql.large', ['0.1']), 0.1, 'a fraction');
foreach my $format (@formats)
{
	my $bigint = wamp_client($node, realm => 'postgres', path => '/ws?bigint=string', format => $format);
	my $id = $bigint->subscribe('com.shop.news');
	$client{json}->publish('com.shop.news', [9007199254740993], { n => 5 });
	is_deeply([ @{ $bigint->next_event }{qw(args kwargs)} ], [ ['9007199254740993'], { n => 5 } ], "$format: ?bigint=string, an event");
	is($bigint->result('com.sql.large', ['9007199254740993']), '9007199254740993', 'a result');
	$bigint->close;
}

# Binary data, which are "\0" and base64 in JSON
my $bytes = join '', map { chr } 0 .. 255;
my $base64 = "\0" . b64_encode($bytes, '');
my $invoked;
$client{json}->register('com.peer.bytes', sub { ($invoked) = @{ $_[0] }; return [$invoked]; });
is($client{cbor}->result('com.peer.bytes', [ CBOR::XS::as_bytes($bytes) ]), $bytes, 'CBOR: bytes, and back');
is($invoked, $base64, 'what JSON gets of them');
my @sent = ([ { a => CBOR::XS::as_bytes($bytes) } ]);
foreach my $topic ('com.shop.news', 'com.chat.one')
{
	$client{$_}->subscribe($topic) foreach @formats;
	$client{cbor}->publish($topic, @sent, undef, exclude_me => \0);
	is_deeply([ map { $client{$_}->next_event->{args}[0]{a} } @formats ], [ $base64, $bytes, $bytes ], "a message to $topic");
}
is(error_uri($client{cbor}->call('com.sql.same', @sent)), 'wamp.error.invalid_argument', 'a function of SQL');
my $id = ++$client{msgpack}{last_request};
$client{msgpack}->send_frame([ 1, 0, 0, 0, 2, pack('C3 n C a*', 0x95, 48, 0xcd, $id, 0x80, "\xaecom.peer.bytes\x91\xc5\x01\x00$bytes") ]);
is($client{msgpack}->answer('CALL', $id)->[3][0], $bytes, 'MessagePack: bytes, and back');
is($invoked, $base64, 'what JSON gets of them');

# Hostile messages end the session, and nobody else's
my $violation = 'wamp.error.protocol_violation';
my $good = wamp_client($node, realm => 'postgres', format => 'cbor');

sub end_after
{
	my ($format, $opcode, $data) = @_;
	my $client = wamp_client($node, realm => 'postgres', format => $format);

	$client->send_frame([ 1, 0, 0, 0, $opcode, $data ]);
	my ($code) = $client->wait_closed;
	my $last = ($client->received)[-1];
	return join ' ', $code, @$last[ 0, 2 ], $last->[1]{message};
}
my $head = "\x85\x18\x30\x01\xa0\x61a";		# CALL, 5 elements
my $incomplete = 'the message is not complete';
my %hostile = (
	cbor => {
		'' => $incomplete, "\x85" => $incomplete, "\x9b" . "\xff" x 8 => $incomplete, "$head\x5a\xff\xff\xff\xff" => $incomplete,
		"$head\x7b" . "\x7f" . "\xff" x 7 => $incomplete, "\x81" x 3000 => 'values are nested too deeply', "\x9f" x 3000 => 'values are nested too deeply',
		"$head\x81\x61\xff" => 'a string is not UTF-8', "$head\x81\xf9\x7e\x00" => 'a number is infinite or not a number',
		"$head\x81\xfa\x7f\x80\x00\x00" => 'a number is infinite or not a number',
		"\x86\x18\x30\x01\xa0\x61a\x80\xa1\x01\x02" => 'a key must be a string',
		"\x86\x18\x30\x01\xa0\x61a\x80\xa2\x61k\x01\x61k\x02" => 'CALL: the keyword arguments must be an object',
		"$head\x81\xc1\x01" => 'tags are not supported, except 2, 3 and 64', "$head\x80\x00" => 'something follows the message',
		"$head\x81\xff" => 'a break where there can be none', "\x1c" => 'the message is not CBOR', "$head\x81\x5f\x41\x00\xff" => 'strings in chunks are not supported',
		"\xa0" => 'a message must be a JSON array', "\x82\x18\x21\x01" => 'SUBSCRIBED: clients do not send it', "\x83\x01\x64demo\xa0" => 'a second HELLO',
	},
	msgpack => {
		'' => $incomplete, "\xdd\xff\xff\xff\xff" => $incomplete, "\x91\xdf\x80\x00\x00\x00" => $incomplete, "\x91" x 3000 => 'values are nested too deeply',
		"\x91\xa1\xff" => 'a string is not UTF-8', "\x91\xcb\x7f\xf0" . "\0" x 6 => 'a number is infinite or not a number',
		"\x91\x81\x01\x02" => 'a key must be a string', "\x91\xd6\xff\0\0\0\0" => 'extension types are not supported',
		"\x90\xc0" => 'something follows the message', "\x95\x30\x01\x80\xa1a\xc0" => 'CALL: the arguments must be an array',
	});
foreach my $format (sort keys %hostile)
{
	foreach my $data (sort keys %{ $hostile{$format} })
	{
		my $problem = $hostile{$format}{$data};
		is(end_after($format, 2, $data), "1002 3 $violation $problem", "$format: $problem");
	}
	is(end_after($format, 1, '[48,1,{},"com.sql.add",[1]]'), "1003 3 $violation text messages are not supported", "$format: a text");
	# Six characters of JSON for each
	my ($array, $string) = $format eq 'cbor' ? ("\x81", "\x79\x40\x00") : ("\x91", "\xda\x40\x00");
	is(end_after($format, 2, $array . $string . "\1" x 0x4000), '1009 3 wamp.error.payload_size_exceeded the message is too big', "$format: too big as JSON");
	is(end_after($format, 2, "\0" x 70000), '1009 3 wamp.error.payload_size_exceeded message too big', "$format: too big");
}
is(end_after('json', 2, "\x80"), "1003 3 $violation binary messages are not supported", 'JSON: a binary message');
is($good->result('com.sql.add', [ 1, 2 ]), 3, 'nobody else is disturbed');
is_deeply([ map { $client{$_}->goodbye } @formats ], [ ('wamp.close.goodbye_and_out') x 3 ], 'GOODBYE');
done_testing();
