# Raw clients: the recipe doc/recipes/raw-websocket.md on its own port, what they get, why they are closed, and the
# settings pg_notifyd.endpoints and pg_notifyd.listen_addresses.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
use NotifydTest;
use NotifydTest::Document;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $recipe = 'doc/recipes/raw-websocket.md';
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $conf = block($recipe, 'pg_notifyd.listen_addresses') =~ s/8000/$port/gr;
my $node = notifyd_node('main', conf => $conf, extension => 0, roles => ['reader']);

$node->safe_psql('postgres', 'CREATE DATABASE shop');
sub sql { return $node->safe_psql('shop', join ';', @_); }

sql('CREATE EXTENSION pg_notifyd', block($recipe, 'CREATE TABLE orders'));
wait_healthy($node, 'shop');

# A connected client with this path and query string, that has sent these texts.
sub raw
{
	my ($path, @texts) = @_;
	my $client = NotifydTest::Client->new(port => $port, path => $path, raw => 1);

	$client->send_text($_) for @texts;
	return $client;
}

sub subscribers
{
	my ($count) = @_;
	wait_for(sub { sql(q{SELECT count(*) FROM notifyd.clients WHERE channels <> '{}'}) == $count }, "$count subscribers");
}

sub closed
{
	my ($name, $code, $reason, $client) = @_;
	my ($got, $why) = $client->wait_closed;
	is($got, $code, "$name: code");
	like($why // '', $reason, "$name: reason");
	return;
}

# The recipe
my $subscribe = '{"method":"subscribe","channel":"orders"}';
my $page = raw('/order_events', $subscribe);
subscribers(1);
sql($_) foreach split /(?<=;)\n/, block($recipe, 'INSERT INTO orders');
sql(q{INSERT INTO orders (name) VALUES ('Soup')});
is_deeply(decode_json($page->next_text), { message => 'New order', data => { id => 1, name => 'Tea', status => 'new' } }, 'an INSERT');
is_deeply(decode_json($page->next_text), { message => 'Order update', data => { id => 1, name => 'Tea', status => 'paid' } }, 'an UPDATE');
is_deeply(decode_json($page->next_text), { message => 'New order', data => { id => 2, name => 'Soup', status => 'new' } },
	'nothing for the DELETE, no reply, no bookmark');
closed('no JSON', 1003, qr/: parse error$/, do { $page->send_text('hello'); $page });

# Other events, by channels of the query string; a payload with characters that HTTP does not have
sql('CREATE TABLE dishes (id int PRIMARY KEY, name text)', 'CREATE TABLE secrets (id int PRIMARY KEY)', 'GRANT SELECT ON dishes TO guest',
	q{SELECT notify_watch('dishes'), notify_watch('secrets'), notify_grant('kitchen', 'guest')});
my $query = raw('/ws?format=payload&channel=dishes&filter=id%3Dgt.1&channel=kitchen&channel=orders');
wait_for(sub { sql(q{SELECT channels FROM notifyd.clients WHERE 'dishes' = ANY (channels)}) eq '{dishes,kitchen,orders}' }, 'three channels');
sql(q{INSERT INTO dishes VALUES (1, 'Tea'), (2, 'Soup')}, q{SELECT notify_send('kitchen', '{"a": "é"}')}, q{NOTIFY kitchen, 'ready, "2"'}, q{NOTIFY kitchen});
my @texts = map { $query->next_text } 1 .. 4;		# notifications have no place among the events
my ($row, $message) = map { decode_json($_) } grep { /^\{/ } @texts;
is_deeply([ @$row{qw(op channel key new)} ], [ 'INSERT', 'dishes', { id => 2 }, { id => 2, name => 'Soup' } ], 'a row, that the filter lets through');
like($row->{position}, qr/^\d+-\d+$/, 'with its position');
is_deeply($message, { a => "\x{e9}" }, 'the payload of a message');
is_deeply([ sort grep { !/^\{/ } @texts ], [ '', 'ready, "2"' ], 'the texts of notifications');

# The link ends: no event is lost, and a client is closed that may have missed notifications.
my $orders = raw('/order_events?channel=orders');
wait_for(sub { sql(q{SELECT count(*) FROM notifyd.clients WHERE channels = '{orders}'}) == 1 }, 'a subscription');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed' AND datname = 'shop'}, q{INSERT INTO orders (name) VALUES ('Pie')});
is(decode_json($orders->next_text)->{data}{name}, 'Pie', 'what was committed while there was no feed');
closed('lost notifications', 4410, qr/: events are missing: notifications were lost$/, $query);
my $since = raw("/order_events?channel=orders&since=$row->{position}");
is(decode_json($since->next_text)->{data}{name}, 'Pie', 'since a position');

# What closes a raw client
closed('a position of nowhere', 4410, qr/^orders: events are missing: /, raw('/order_events?channel=orders&since=1-1'));
closed('no privilege', 4403, qr/secrets/, raw('/order_events', '{"method":"subscribe","channel":"secrets"}'));
closed('no channel', 4404, qr/nothing/, raw('/order_events?channel=nothing'));
closed('a filter', 4400, qr/filter|column/, raw('/order_events?channel=orders&filter=nothing%3Deq.1'));
closed('a group', 4400, qr/payloads cannot consume groups/, raw('/order_events', '{"method":"consume","params":{"group":"g"}}'));
closed('a call', 4404, qr/nothing/, raw('/order_events', '{"method":"call","name":"nothing"}'));
my $dropped = raw('/order_events?channel=dishes');
wait_for(sub { sql(q{SELECT count(*) FROM notifyd.clients WHERE channels = '{dishes}'}) == 1 }, 'a subscription');
sql(q{SELECT notify_unwatch('dishes')});
closed('a channel that ends', 4404, qr/dishes/, $dropped);

# Tokens
my $token = notifyd_token({ role => 'reader', exp => time + 3600 });
sql('GRANT SELECT ON secrets TO reader');
my $reader = raw("/order_events?access_token=$token&channel=secrets");
my $later = raw('/order_events', qq({"method":"auth","token":"$token"}), '{"method":"subscribe","channel":"secrets"}');
wait_for(sub { sql(q{SELECT count(*) FROM notifyd.clients WHERE role = 'reader' AND channels = '{secrets}'}) == 2 }, 'a token by the query string and by auth');
sql('INSERT INTO secrets VALUES (7)');
is(decode_json($_->next_text)->{key}{id}, 7, 'what the role of the token may read') foreach $reader, $later;
closed('an expired token', 4401, qr/^JWT expired/, raw('/order_events?access_token=' . notifyd_token({ role => 'reader', exp => time - 600 })));

# pg_notifyd.endpoints: what it refuses, and a reload
sub refused
{
	my ($setting, $value, $detail, $hint) = @_;
	my (undef, undef, $error) = $node->psql('postgres', "ALTER SYSTEM SET pg_notifyd.$setting = '$value'");
	like($error, qr/ERROR:  invalid value for parameter "pg_notifyd\.$setting": .*\nDETAIL:  $detail\nHINT:  $hint/, "$setting: $value");
	return;
}
my $formats = qr/Write entries such as "\/order_events=payload"\. The formats are: "jsonrpc", "payload"/;
refused('endpoints', '/a=payload, b=payload', qr/Entry "b=payload" does not begin with a path of .*/, $formats);
refused('endpoints', '/a=msgpack', qr/Entry "\/a=msgpack" does not end with "=" and the name of a format\./, $formats);
refused('endpoints', '/rpc/x=payload', qr/Entry "\/rpc\/x=payload" has a path that pg_notifyd uses itself\./, $formats);
refused('endpoints', '/ws=payload', qr/Entry "\/ws=payload" changes the format of "\/ws"\./, $formats);
refused('endpoints', '/a=payload, /a=jsonrpc', qr/Entry "\/a=jsonrpc" has the path of an earlier entry\./, $formats);
my $names = qr/Use names or addresses such as/;
refused('listen_addresses', "localhost, $_", qr/"\Q$_\E" is neither a host name, nor an IP address, nor an absolute path\./, $names)
  foreach 'localhost:0', 'localhost:65536', '[::1]8000', '::1]:80', '*:';
$node->append_conf('postgresql.conf', q{pg_notifyd.endpoints = '/v2/order_events=payload'});
$node->reload;
wait_for(sub { raw('/v2/order_events')->connected }, 'the new path');
is(raw('/order_events')->status, 404, 'the old one is gone');
$orders->send_text('{"method":"subscribe","channel":"secrets"}');
closed('a client of before the reload', 4403, qr/^secrets: permission denied/, $orders);

# Ports: both listen, and a new one joins them without closing clients.
is(notifyd_client($node, database => 'shop')->subscribe('orders')->{channel}, 'orders', 'pg_notifyd.port has the same clients');
my $third = PostgreSQL::Test::Cluster::get_free_port();
$node->append_conf('postgresql.conf', "pg_notifyd.listen_addresses = '127.0.0.1:$third, 127.0.0.1'");
$node->reload;
wait_for(sub { slurp_file($node->logfile) =~ /pg_notifyd is listening on 127\.0\.0\.1, port $third\n/ }, 'a line in the log');
wait_for(sub { eval { NotifydTest::Client->new(port => $third, path => '/v2/order_events', raw => 1)->connected } }, 'the third port');
ok(listens(notifyd_port($node)), 'an entry without a port has pg_notifyd.port');
wait_for(sub { !listens($port) }, 'the port that is not listed any more is closed');
done_testing();
