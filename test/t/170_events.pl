# Server-sent events: parameters, messages, refusals, and how streams begin and end.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
use NotifydTest;
use NotifydTest::Events;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => [ 'reader', 'nobody' ]);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sub stream { return NotifydTest::Events->new($node, @_); }

# The status and the decoded body of a refusal.
sub refusal
{
	my $stream = stream(@_);
	my $text = $stream->rest;
	return ($stream->{status}, $text =~ /^\{/ ? decode_json($text) : $text, $stream->{head});
}

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, name text, price numeric, doc json);
	CREATE TABLE dishes (id int PRIMARY KEY, name text);
	CREATE TABLE secrets (id int PRIMARY KEY);
	GRANT SELECT ON orders, dishes TO guest, reader;
	SELECT notify_watch('orders'), notify_watch('dishes'), notify_watch('secrets');
});

# One channel.
my $stream = stream('channel=orders');
is($stream->{status}, 200, 'a stream');
like($stream->{head}, qr/^Content-Type: text\/event-stream\r$/m, 'its type');
like($stream->{head}, qr/^X-Accel-Buffering: no\r$/m, 'nginx does not buffer it');
like($stream->{head}, qr/^Cache-Control: no-store\r$/m, 'nobody caches it');
sql(q{INSERT INTO orders VALUES (1, 'Tea', 2.20, NULL)});
my $message = $stream->next;
is($message->{event}, undef, 'an event has no name, so that onmessage gets it');
is($message->{data}{new}{name}, 'Tea', 'its data is that of WebSocket');
is($message->{id}, $message->{data}{position}, 'its id is its position');
ok($stream->{retry} >= 1000 && $stream->{retry} <= 5000, 'a time to come back after');
my $other = stream('channel=orders');
isnt($other->{retry} // ($other->_more, $other->{text} =~ /retry: (\d+)/)[1], $stream->{retry}, 'which differs from client to client');

# JSON of several lines.
sql(qq{INSERT INTO orders VALUES (2, 'Wrap', 6.50, E'{"a":\\n1,\\r\\n"b": "c\\\\nd"}')});
is_deeply($stream->next->{data}{new}{doc}, { a => 1, b => "c\nd" }, 'line ends within the data');

# Filters, columns and operations, for all channels and for one.
my $some = stream('ops=INSERT,update&channel=orders&filter=price=gt.5&columns=name,"id"&channel=dishes');
sql(q{INSERT INTO orders VALUES (3, 'Soup', 3, NULL), (4, 'Fish', 12, NULL)}, q{DELETE FROM orders WHERE id = 4},
	q{INSERT INTO dishes VALUES (1, 'Rice')}, q{UPDATE dishes SET name = 'Noodles'});
is_deeply([ map { [ @{ $_->{data} }{qw(op channel new)} ] } $some->take(3) ],
	[ [ 'INSERT', 'orders', { name => 'Fish', id => 4 } ], [ 'INSERT', 'dishes', { id => 1, name => 'Rice' } ],
		[ 'UPDATE', 'dishes', { id => 1, name => 'Noodles' } ] ], 'parameters belong to the channel before them, or to all');
is(stream('channel=orders&filter=name=eq.New+York')->{status}, 200, 'a plus sign is a space');

# Numbers that JavaScript would change.
my $strings = stream('bigint=string&channel=orders&snapshot=true&filter=id=gt.50');
sql(q{INSERT INTO orders VALUES (51, 'Gold', 9007199254740993, NULL)});
is($_->{data}{new}{price}, '9007199254740993', 'a large number is a string') foreach grep { !defined $_->{event} } $strings->take(2);
like($strings->{last}, qr/"price":"9007199254740993"/, 'in the JSON');
sql('DELETE FROM orders WHERE id = 51');

# Snapshots.
my $rows = stream('channel=orders&snapshot=true&order=id.desc&limit=2&columns=name');
is_deeply([ map { [ @{$_}{qw(event)}, map { $_->{id} } @{ $_->{data}{rows} } ] } $rows->take(2) ], [ [ 'rows', 3, 2 ], ['rows'] ], 'the rows first');
sql(q{INSERT INTO orders VALUES (5, 'Cake', 3, NULL)});
is($rows->next->{data}{new}{name}, 'Cake', 'then the events');

# Refusals.
my @wrong = (
	[ '', 'channel' ], [ 'channel=', 'channel' ], [ 'channel=' . 'x' x 64, 'channel' ], [ 'channel=orders&channel=orders', 'channel' ],
	[ 'channel=orders&filtre=id=eq.1', 'filtre' ], [ 'channel=orders&filter=id=eq.1&filter=id=eq.2', 'filter' ],
	[ 'channel=orders&ops=INSERT,NONE', 'ops' ], [ 'channel=orders&ops=', 'ops' ], [ 'channel=orders&columns="id', 'columns' ],
	[ 'channel=orders&snapshot=yes', 'snapshot' ], [ 'channel=orders&order=id', 'order' ], [ 'channel=orders&snapshot=true&limit=-1', 'limit' ],
	[ 'channel=orders&since=yesterday', 'since' ], [ 'channel=orders&since=1-2&since=1-2', 'since' ], [ 'channel=%zz', 'channel' ],
	[ 'channel=%ff', 'channel' ], [ 'channel=orders&bigint=yes', 'bigint' ]);
foreach my $wrong (@wrong)
{
	my ($status, $body) = refusal($wrong->[0]);
	is("$status $body->{code} $body->{data}{parameter}", "400 -32602 $wrong->[1]", "refused: $wrong->[0]");
}
my ($status, $body, $head) = refusal('channel=orders', headers => ['Last-Event-ID: 1-2;x']);
is("$status $body->{data}{parameter}", '400 Last-Event-ID', 'a malformed id');
($status, $body) = refusal('channel=nothing');
is("$status $body->{code} $body->{data}{channel}", '404 -32004 nothing', 'no such channel');
($status, $body) = refusal('channel=orders&channel=nothing');
is("$status $body->{data}{channel}", '404 nothing', 'not the second one');
($status, $body) = refusal('channel=secrets', headers => ['Accept: text/event-stream']);
is("$status $body->{code} $body->{data}{channel}", '403 -32003 secrets', 'no privilege');
($status, $body) = refusal('channel=orders&filter=colour=eq.red');
is("$status $body->{code}", '400 -32602', 'a filter on no column');
($status, $body) = refusal('channel=orders&snapshot=true&order=colour');
is("$status $body->{code}", '400 -32602', 'an order by no column');
like($body->{message}, qr/colour/, 'which is named');
($status) = refusal('channel=orders', headers => ['Origin: http://example.com']);
is($status, 403, 'a foreign origin');
($status, undef, $head) = refusal(join '&', map { "channel=c$_" . 'x' x 50 } 1 .. 80);
is($status, 431, 'more channels than an id can name');
($status, $body) = refusal(join '&', 'bigint=string', map { "channel=c$_&ops=INSERT" } 1 .. 100);
is("$status $body->{data}{channel}", '404 c1', '100 channels with parameters of their own');
($status, $body) = refusal(join '&', map { "channel=c$_" } 1 .. 101);
is("$status $body->{data}{parameter}", '400 channel', 'one more is too many');

# Tokens.
my $token = notifyd_token({ role => 'reader', sub => '1', exp => time + 6000 });
is(stream('channel=orders', headers => ["Authorization: Bearer $token"])->{status}, 200, 'a token in the header');
is(stream("channel=orders&access_token=$token")->{status}, 200, 'a token in the parameter');
my $old = notifyd_token({ role => 'reader', sub => '1', exp => time - 6000 });
($status, $body, $head) = refusal("channel=orders&access_token=$old");
is("$status $body->{code}", '401 4401', 'an expired token');
like($head, qr/^WWW-Authenticate: Bearer/m, 'with WWW-Authenticate');
$token = notifyd_token({ role => 'nobody', sub => '2', exp => time + 6000 });
is((refusal("channel=orders&access_token=$token"))[0], 403, 'a role without the privilege');

# Temporary refusals.
($status, $body, $head) = refusal('channel=orders&database=none');
is($status, 503, 'a database that is not served');
like($head, qr/^Retry-After: 1\r$/m, 'with Retry-After');
$stream = stream('channel=orders&database=none', headers => ['Accept: text/event-stream']);
is($stream->{status}, 200, 'an EventSource gets a stream that ends');
$message = $stream->next;
is("$message->{event} $message->{data}{code}", 'error 4503', 'and says why');
ok($stream->{retry} >= 5000, 'and when to come back');
is($stream->next, undef, 'the end');

# HEAD, OPTIONS, other methods, HTTP/1.0, two requests on a connection.
$stream = stream('channel=orders', method => 'HEAD', headers => ['Connection: close']);
is("$stream->{status} " . $stream->rest, '200 ', 'HEAD');
is(stream('channel=orders', method => 'POST')->{status}, 405, 'POST');
$stream = stream('channel=orders', method => 'OPTIONS', headers =>
	  [ 'Origin: http://localhost:3000', 'Access-Control-Request-Method: GET', 'Access-Control-Request-Headers: authorization,last-event-id' ]);
like($stream->{head}, qr/^Access-Control-Allow-Headers: authorization,last-event-id\r$/m, 'a preflight');
$stream = stream('channel=orders', headers => ['Origin: http://localhost:3000']);
like($stream->{head}, qr/^Access-Control-Allow-Origin: http:\/\/localhost:3000\r$/m, 'CORS');
$stream = stream('channel=orders', version => '1.0');
unlike($stream->{head}, qr/^Transfer-Encoding/m, 'HTTP/1.0: no chunks');
like($stream->{head}, qr/^Connection: close\r$/m, 'and the end of the connection');
sql(q{INSERT INTO orders VALUES (6, 'Pie', 3, NULL)});
is($stream->next->{data}{new}{name}, 'Pie', 'but events');

# The same resume as with WebSocket, and by the parameter.
my $since = $stream->{id};
$stream->close;
sql(q{INSERT INTO orders VALUES (7, 'Ale', 3, NULL)});
is(stream("channel=orders&since=$since")->next->{data}{new}{name}, 'Ale', 'since');
is(stream("channel=orders&since=1-1", headers => ["Last-Event-ID: $since"])->next->{data}{new}{name}, 'Ale', 'Last-Event-ID counts more');
$stream = stream('channel=orders', headers => ['Last-Event-ID: end', 'Connection: close']);
is("$stream->{status} " . $stream->rest, '204 ', 'no stream after the end');

# A client is seen, and is gone when it leaves.
is(sql(q{SELECT count(*) FROM notifyd.clients WHERE subprotocol = 'text/event-stream' AND channels @> '{orders}'}) > 0 ? 1 : 0, 1, 'notifyd.clients');
done_testing();
