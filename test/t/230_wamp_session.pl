# A session of WAMP against a server: HELLO to GOODBYE, realms and authentication, topics, calls.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
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
	CREATE FUNCTION large() RETURNS bigint LANGUAGE sql AS 'SELECT 9007199254740993';
	CREATE FUNCTION forbidden() RETURNS int LANGUAGE sql AS 'SELECT 1';
	REVOKE EXECUTE ON FUNCTION forbidden() FROM PUBLIC;
	SELECT notify_expose('add(int,int)', 'com.example.add'), notify_expose('rows(int)', 'com.example.rows'),
		notify_expose('who()', 'com.example.who'), notify_expose('fail()', 'com.example.fail'),
		notify_expose('forbidden()', 'com.example.forbidden'), notify_expose('large()', 'com.example.large');
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
	'postgres guest ' . $client->subprotocol, 'notifyd.clients');
is(sql('SELECT session FROM notifyd.clients'), $client->session, 'it has the number of the session');
is(error_uri(wamp_client($node)->hello('missing')), 'wamp.error.no_such_realm', 'an unknown realm');
wait_for(sub { $node->log_contains(qr/refused client 127\.0\.0\.1:\d+: realm "missing" is neither in pg_notifyd\.realms nor/) }, 'the log names client and realm');
wait_for(sub { sql(q{SELECT sum((refused_by->>'database')::int) FROM notifyd.stats}) == 1 }, 'it is counted');
is(wamp_client($node, realm => 'realm1')->welcome->{realm}, 'realm1', 'a realm of the setting');

# A realm of the setting whose database is not served, as while it is restored
$node->safe_psql('shop', 'DROP EXTENSION pg_notifyd');
my $early = wamp_client($node);
$early->send([ 'HELLO', 'realm1', {} ]);
is(error_uri(wamp_client($node)->hello('shop')), 'wamp.error.no_such_realm', 'a database is no realm of the setting');
$node->safe_psql('shop', 'CREATE EXTENSION pg_notifyd');
is($early->next_message('WELCOME', 'ABORT')->[0], wamp_type('WELCOME'), 'HELLO waits for the database');

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

# PUBLISH to a topic of the log: after the commit, in the order in which it was sent
sql(q{SELECT notify_grant('com.shop.news', 'member'), notify_grant('com.shop.news', 'member', 'publish'), notify_grant('com.shop.news', 'guest')});
my $news = $client->subscribe('com.shop.news');
my $joes = $joe->subscribe('com.shop.news');
is($joes, $news, 'all sessions have the same number for a topic');
my $id = $joe->publish('com.shop.news', undef, { a => 1 });
$event = $client->next_event;
is_deeply([ @$event{qw(subscription publication args kwargs)} ], [ $news, $id, [], { a => 1 } ], 'keyword arguments');
is_deeply([ sort keys %{ $event->{details} } ], ['position'], 'nothing of the publisher');
my $undisclosed = decode_json(sql("SELECT notify_fetch($id)"))->{publisher};
is_deeply([ keys %$undisclosed ], ['mark'], 'nor in other protocols');
isnt($undisclosed->{mark}, $joe->session, 'which does not say the session');
$joe->publish('com.shop.news', [ 1, 'x' ], undef, disclose_me => \1);
$event = $client->next_event;
is_deeply([ @$event{qw(args kwargs)} ], [ [ 1, 'x' ], undef ], 'arguments');
is_deeply([ @{ $event->{details} }{qw(publisher publisher_authid publisher_authrole)} ], [ $joe->session, 'joe', 'member' ], 'disclose_me');
$joe->publish('com.shop.news', [2], { b => 2 }, exclude_me => \0);
$event = $client->next_event;
is_deeply([ @$event{qw(args kwargs)} ], [ [2], { b => 2 } ], 'both');
$event = $joe->next_event;
is_deeply([ @$event{qw(args kwargs)} ], [ [2], { b => 2 } ], 'the publisher gets only what it does not exclude itself from');
$joe->publish('com.shop.news', undef, { c => 3 }, exclude_me => \0, disclose_me => \1);
is($joe->next_event->{details}{publisher}, $joe->session, 'the publisher gets it, and knows who it is');
is($client->next_event->{kwargs}{c}, 3, 'the others, too');
sql(q{SELECT notify_send('com.shop.news', '{"x":1}')});
is_deeply($client->next_event->{kwargs}{payload}, { x => 1 }, 'notify_send: the event');
sql(q!SELECT notify_send('com.shop.news', '{"args" : [1, {"y":"}"}] , "kwargs": {"z":2}}')!);
$event = $client->next_event;
is_deeply([ @$event{qw(args kwargs)} ], [ [ 1, { y => '}' } ], { z => 2 } ], 'notify_send: arguments');
my $replayed = wamp_client($node, realm => 'postgres');
$replayed->subscribe('com.shop.news', x_since => $welcome{x_position});
is_deeply([ map { $replayed->next_event->{publication} } 1 .. 6 ], [ map { $_->{publication} } ($client->events)[ -6 .. -1 ] ], 'a replay');
$joe->start('PUBLISH', {}, 'com.shop.news', [$_]) foreach 1 .. 30;
is_deeply([ map { $client->next_event->{args}[0] } 1 .. 30 ], [ 1 .. 30 ], 'events of one publisher are in order');
is_deeply([ map { $_->[0] } grep { $_->[0] == 17 } $joe->received ], [ (17) x 4 ], 'PUBLISHED only if it is asked for');
is(error_uri($client->request('PUBLISH', { acknowledge => \1 }, 'com.shop.news')), 'wamp.error.not_authorized', 'the role may not publish');
is(error_uri($joe->request('PUBLISH', { acknowledge => \1, exclude => [1] }, 'com.shop.news')), 'wamp.error.option_not_allowed', 'a list of sessions');
is(error_uri($joe->request('PUBLISH', { acknowledge => \1 }, 'a b')), 'wamp.error.invalid_uri', 'no URI');

# On the topic of a table, a message cannot pass for an event of the table.
sql(q{SELECT notify_grant('com.shop.orders', 'member', 'publish'), notify_grant('com.shop.orders', 'guest')});
$client->unsubscribe($since);
my %forged = (op => 'DELETE', table => 'orders', key => { id => 1 });
my $watcher = wamp_client($node, realm => 'postgres');
$watcher->subscribe('com.shop.orders');
$joe->publish('com.shop.orders', undef, \%forged);
$event = $watcher->next_event;
is_deeply([ $event->{args}, @{ $event->{kwargs} }{qw(op by payload)} ], [ [], 'MESSAGE', 'member', \%forged ], 'named arguments like an event');
$joe->publish('com.shop.orders', [1], \%forged, disclose_me => \1);
$event = $watcher->next_event;
is_deeply([ @{ $event->{kwargs} }{qw(op payload)} ], [ 'MESSAGE', { args => [1], kwargs => \%forged } ], 'and positional ones');
is($event->{details}{publisher_authid}, 'joe', 'whose publisher is disclosed');
sql(q!SET ROLE member; SELECT notify_send('com.shop.orders', '{"args": [], "kwargs": {"op": "RESET"}}')!);
is($watcher->next_event->{kwargs}{op}, 'MESSAGE', 'by notify_send');
is_deeply([ map { $_->{kwargs}{op} } @{ $watcher->result('wamp.subscription.get_events', [ $since, 3 ]) } ], [ ('MESSAGE') x 3 ], 'in the history');

# Topics of a pattern that are not declared: not in the log
sql(q{SELECT notify_grant('com.chat.*', 'member', 'publish'), notify_grant('com.chat.*', 'guest')});
my $chat = $client->subscribe('com.chat.one');
my $pattern = $client->subscribe('com.chat.', match => 'prefix');
$id = $joe->publish('com.chat.one', ['hi'], undef, disclose_me => \1);
my %got = map { $_->{subscription} => $_ } map { $client->next_event } 1 .. 2;
is_deeply([ map { $_->{publication} } @got{ $chat, $pattern } ], [ $id, $id ], 'one EVENT for each subscription, with one publication');
is_deeply([ $got{$chat}{args}, $got{$pattern}{details}{topic}, $got{$chat}{details}{publisher} ], [ ['hi'], 'com.chat.one', $joe->session ], 'its arguments and details');
$joe->publish('com.chat.one', ['not you'], undef, exclude => [ 0 + $client->session ]);
$joe->start('PUBLISH', {}, 'com.chat.one', [$_]) foreach 1 .. 30;
my @heard = map { $client->next_event } 1 .. 60;
foreach my $which ($chat, $pattern)
{
	is_deeply([ map { $_->{args}[0] } grep { $_->{subscription} == $which } @heard ], [ 1 .. 30 ], 'in order, and without what was not for the session');
}

# Numbers that a double does not hold
my $bigint = wamp_client($node, realm => 'postgres', path => '/ws?bigint=string');
is_deeply([ map { $_->result('com.example.large') } $bigint, $client ], [ '9007199254740993', 9007199254740993 ], '?bigint=string');
$bigint->subscribe('com.shop.news');
$joe->publish('com.shop.news', [9007199254740993], { x => 9007199254740993 });
is_deeply([ @{ $bigint->next_event }{qw(args kwargs)} ], [ ['9007199254740993'], { x => '9007199254740993' } ], 'the same for events');

# Calls
is($client->result('com.example.add', [ 1, 2 ]), 3, 'arguments by position');
is($client->result('com.example.add', [], { a => 1 }), 11, 'arguments by name');
is($client->result('com.example.add', [5], { b => 2 }), 7, 'both');
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
is(($joe->wait_closed)[0], 1001, 'the server stops');
is(scalar(grep { $_->[0] == wamp_type('GOODBYE') } $joe->received), 0, 'without GOODBYE, for clients reconnect then');
done_testing();
