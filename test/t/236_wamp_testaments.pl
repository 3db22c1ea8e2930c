# Testaments of WAMP: messages that are published when a session has ended, however it ends.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Wamp;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{SELECT notify_grant('com.left', r, p) FROM unnest('{guest,member}'::regrole[]) AS r, unnest('{subscribe,publish}'::text[]) AS p;
	SELECT notify_grant('com.closed', 'member', 'subscribe')});
my $heir = wamp_client($node, realm => 'postgres', headers => { notifyd_bearer('member', 'heir') });
$heir->subscribe('com.left');

sub testator { return wamp_client($node, realm => 'postgres', headers => { notifyd_bearer('member', 'joe') }); }
sub add { my $client = shift; return $client->call('wamp.session.add_testament', @_); }

# GOODBYE
my $client = testator();
is($client->result('wamp.session.add_testament', [ 'com.left', [ 1, 'two' ], { three => 4 } ]), undef, 'a testament');
add($client, [ 'com.left', [], { five => 6 } ], { publish_options => { disclose_me => \1 }, scope => 'detached' });
my $session = $client->session;
$client->goodbye;
my $event = $heir->next_event;
is_deeply([ @$event{qw(args kwargs)} ], [ [ 1, 'two' ], { three => 4 } ], 'published after GOODBYE');
ok(!exists $event->{details}{publisher}, 'not by whom');
is(sql("SELECT notify_fetch($event->{publication})->'publisher'->>'session'"), '', 'nor in other protocols');
$event = $heir->next_event;
is_deeply([ @$event{qw(args kwargs)} ], [ [], { five => 6 } ], 'the second one');
is_deeply([ @{ $event->{details} }{qw(publisher publisher_authid publisher_authrole)} ], [ $session, 'joe', 'member' ], 'disclosed');
is(sql(q{SELECT notify_fetch(} . $event->{publication} . q{)->>'by'}), 'member', 'as the role of the session');

# a connection that is lost, and a session that the server ends
$client = testator();
add($client, [ 'com.left', ['lost'] ]);
$client->close;
is_deeply($heir->next_event->{args}, ['lost'], 'after the connection was lost');
$client = wamp_client($node, realm => 'postgres');
add($client, [ 'com.left', ['violation'] ]);
$client->send([ 1, 'postgres', {} ]);
is_deeply($heir->next_event->{args}, ['violation'], 'after a violation of the protocol, of an anonymous client');

# flushing
$client = testator();
add($client, [ 'com.left', ['destroyed'] ]);
add($client, [ 'com.left', ['detached'] ], { scope => 'detached' });
is($client->result('wamp.session.flush_testaments'), 1, 'one is flushed');
is($client->result('wamp.session.flush_testaments'), 0, 'and no other');
$client->close;
is_deeply($heir->next_event->{args}, ['detached'], 'that of the other scope is published');

# limits and errors
$client = testator();
is(error_uri(add($client, @$_)), 'wamp.error.invalid_argument', 'malformed') for [ [] ], [ ['com.left', 1] ], [ ['com.left'], { scope => 'x' } ];
is(error_uri(add($client, ['com..left'])), 'wamp.error.invalid_uri', 'an invalid topic');
is(error_uri(add($client, ['wamp.session.on_leave'])), 'wamp.error.invalid_uri', 'one of the meta events');
is(error_uri(add($client, ['com.left'], { publish_options => { exclude => [1] } })), 'wamp.error.option_not_allowed', 'not for some subscribers');
is_deeply([ map { error_uri(add($client, [ 'com.left', [ 'x' x 30000 ] ])) // '' } 1 .. 3 ], [ '', '', 'wamp.error.unavailable' ], 'too large together');
is($client->result('wamp.session.flush_testaments'), 2, 'flushed');
add($client, ['com.closed']) for 1 .. 15;
is(add($client, [ 'com.left', ['last'] ])->[0], wamp_type('RESULT'), 'sixteen');
is(error_uri(add($client, ['com.left'])), 'wamp.error.unavailable', 'not more');
$client->close;
is_deeply($heir->next_event->{args}, ['last'], 'those without the privilege are left out');
wait_for(sub { $node->log_contains(qr/a testament of a client of database "postgres" was not published: permission denied/) }, 'the log says so');
pass('and the log says so');

done_testing();
