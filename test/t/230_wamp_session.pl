# A session of WAMP against a server: HELLO to GOODBYE, realms and authentication, topics, calls.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member'], conf => "pg_notifyd.realms = 'realm1=shop'");

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders', channel => 'com.shop.orders');
	CREATE TABLE secrets (id int PRIMARY KEY);
	GRANT SELECT ON secrets TO member;
	SELECT notify_watch('secrets');
	CREATE FUNCTION add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b';
	CREATE FUNCTION rows(n int) RETURNS TABLE (i int) LANGUAGE sql AS 'SELECT generate_series(1, n)';
	CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
	CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'no money' USING ERRCODE = 'PT402', DETAIL = 'none', HINT = 'pay'; END $$;
	CREATE FUNCTION forbidden() RETURNS int LANGUAGE sql AS 'SELECT 1';
	REVOKE EXECUTE ON FUNCTION forbidden() FROM PUBLIC;
	SELECT notify_expose('add(int,int)', 'com.example.add'), notify_expose('rows(int)', 'com.example.rows'),
		notify_expose('who()', 'com.example.who'), notify_expose('fail()', 'com.example.fail'),
		notify_expose('forbidden()', 'com.example.forbidden');
});
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION pg_notifyd');
wait_healthy($node, 'shop');

# HELLO
my $client = wamp_client($node, realm => 'postgres');
like($client->session, qr/^[1-9]\d*$/, 'the number of the session');
my %welcome = %{ $client->welcome };
is_deeply([ @welcome{qw(realm authrole authmethod)} ], [ 'postgres', 'anonymous', 'anonymous' ], 'WELCOME');
like($welcome{x_position}, qr/^\d+-\d+$/, 'WELCOME has a position');
is_deeply([ sort keys %{ $welcome{roles} } ], [ 'broker', 'dealer' ], 'roles');
is(sql(q{SELECT string_agg(format('%s %s %s', database, role, subprotocol), ',') FROM notifyd.clients}),
	'postgres guest wamp.2.json', 'notifyd.clients');
is(error_uri(wamp_client($node)->hello('missing')), 'wamp.error.no_such_realm', 'an unknown realm');
is(wamp_client($node, realm => 'realm1')->welcome->{realm}, 'realm1', 'a realm of the setting');

# Tokens
my $token = notifyd_token({ role => 'member', sub => 'joe', exp => time + 3600 });
my $joe = wamp_client($node, realm => 'postgres', details => { authmethods => ['ticket'] }, authenticate => sub { return $token; });
is_deeply([ @{ $joe->welcome }{qw(authid authrole authmethod)} ], [ 'joe', 'member', 'ticket' ], 'a ticket');
is($joe->result('com.example.who'), 'member', 'a call as the role of the ticket');
my $bad = wamp_client($node, authenticate => sub { return "$_[0]x"; });
is(error_uri($bad->hello('postgres', { authmethods => ['ticket'] })), 'wamp.error.authentication_failed', 'a bad ticket');
is(error_uri(wamp_client($node)->hello('postgres', { authmethods => ['cookie'] })), 'wamp.error.no_matching_auth_method', 'no method');
my $bearer = wamp_client($node, realm => 'postgres', headers => { notifyd_bearer('member', '7') });
is_deeply([ @{ $bearer->welcome }{qw(authid authrole)} ], [ '7', 'member' ], 'the token of the handshake');
ok($joe->subscribe('secrets'), 'a topic of the role');

# Topics
my $orders = $client->subscribe('com.shop.orders');
is($client->subscribe('com.shop.orders'), $orders, 'the same subscription again');
sql(q{INSERT INTO orders VALUES (1, 'Tea')});
my $event = $client->next_event;
is_deeply([ $event->{subscription}, $event->{args}, $event->{kwargs}{op}, $event->{kwargs}{new} ],
	[ $orders, [], 'INSERT', { id => 1, name => 'Tea' } ], 'an EVENT');
is($event->{details}{position}, $event->{kwargs}{position}, 'its position');
is($event->{publication}, $event->{details}{position} =~ s/.*-//r, 'its publication');
is(error_uri($client->request('SUBSCRIBE', {}, 'secrets')), 'wamp.error.not_authorized', 'a topic that the role may not read');
is(error_uri($client->request('SUBSCRIBE', {}, 'a b')), 'wamp.error.invalid_uri', 'a topic that is no URI');
$client->unsubscribe($orders);
is(error_uri($client->request('UNSUBSCRIBE', $orders)), 'wamp.error.no_such_subscription', 'UNSUBSCRIBE once more');
sql(q{INSERT INTO orders VALUES (2, 'Soup')});
my $since = $client->subscribe('com.shop.orders', x_since => $event->{details}{position});
is($client->next_event->{kwargs}{new}{name}, 'Soup', 'x_since: events between');

# Calls
is($client->result('com.example.add', [ 1, 2 ]), 3, 'arguments by position');
is($client->result('com.example.add', [], { a => 1 }), 11, 'arguments by name');
is_deeply($client->result('com.example.rows', [2]), [ { i => 1 }, { i => 2 } ], 'a set');
is_deeply([ @{ $client->call('com.example.fail') }[ 1, 4 .. 6 ] ],
	[ 48, 'wamp.error.runtime_error', ['no money'], { sqlstate => 'PT402', detail => 'none', hint => 'pay' } ], 'an error of SQL');
is(error_uri($client->call('com.example.missing')), 'wamp.error.no_such_procedure', 'an unknown procedure');
is(error_uri($client->call('com.example.forbidden')), 'wamp.error.not_authorized', 'one that the role may not execute');
is(error_uri($client->call('com.example.add', ['x'])), 'wamp.error.invalid_argument', 'a bad argument');

# The end
is($client->goodbye, 'wamp.close.goodbye_and_out', 'GOODBYE');
my $second = wamp_client($node, realm => 'postgres');
is(error_uri($second->hello('postgres')), 'wamp.error.protocol_violation', 'a second HELLO');
is($joe->result('com.example.add', [ 1, 2 ]), 3, 'nobody else is disturbed');
$node->stop;
is($joe->next_message('GOODBYE')->[2], 'wamp.close.system_shutdown', 'the server stops');
done_testing();
