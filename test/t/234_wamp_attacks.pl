# Clients of WAMP that are hostile: messages in the wrong state, malformed, huge, in floods, and connections that end in between.
# Nobody else is disturbed, and the gateway lives.
use strict;
use warnings;

use Mojo::JSON qw(encode_json);
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $violation = 'wamp.error.protocol_violation';
my $node = notifyd_node('main', roles => ['member'], conf => 'pg_notifyd.max_message_size = 1MB');

$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
	CREATE FUNCTION echo(a json) RETURNS json LANGUAGE sql IMMUTABLE AS 'SELECT a';
	CREATE FUNCTION nap() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(60)';
	CREATE FUNCTION add() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO t VALUES (-1)';
	SELECT notify_expose('echo(json)'), notify_expose('nap()'), notify_expose('add()');
	SELECT notify_grant(pattern, 'guest'), notify_grant(pattern, 'guest', 'publish') FROM unnest('{com.t.*,com.u.*}'::text[]) AS pattern;
});
my $watcher = wamp_client($node, realm => 'postgres');
$watcher->subscribe('t');
my @gateways = gateway_pids($node);

# All connections but the watcher's
my @clients;

sub connection
{
	push @clients, wamp_client($node, @_);
	return $clients[-1];
}

sub established { return connection(realm => 'postgres'); }

# A client that was asked for a ticket.
sub challenged
{
	my $client = connection();
	$client->hello('postgres', { authmethods => ['ticket'] });
	return $client;
}

# How the server ends the session: the last message's URI and the close code.
sub end_of
{
	my $client = shift;
	my ($code) = $client->wait_closed;
	my $last = ($client->received)[-1];
	return join ' ', $code, $last && ($last->[0] == 3 || $last->[0] == 6) ? ('-', 'ABORT', '-', 'GOODBYE')[ $last->[0] == 3 ? 1 : 3 ] . " $last->[2]" : 'nothing';
}

# What follows if a client in this state sends a text, or a frame.
sub end_after
{
	my ($client, $message) = @_;
	ref $message ? $client->send_frame($message) : $client->send_text($message);
	return end_of($client);
}

sub is_served
{
	my ($client, $name) = @_;
	is_deeply(eval { $client->result('echo', [ { a => 1 } ]) }, { a => 1 }, $name);
	return;
}

# Every message in every state
my %text = (
	HELLO => '[1,"postgres",{}]', WELCOME => '[2,1,{}]', ABORT => '[3,{},"a.b"]', CHALLENGE => '[4,"ticket",{}]',
	AUTHENTICATE => '[5,"x",{}]', GOODBYE => '[6,{},"a.b"]', ERROR => '[8,68,1,{},"a.b"]', PUBLISH => '[16,1,{},"a.b"]',
	PUBLISHED => '[17,1,1]', SUBSCRIBE => '[32,1,{},"t"]', SUBSCRIBED => '[33,1,1]', UNSUBSCRIBE => '[34,1,1]',
	UNSUBSCRIBED => '[35,1]', EVENT => '[36,1,1,{}]', CALL => '[48,1,{},"echo",[1]]', CANCEL => '[49,1,{}]', RESULT => '[50,1,{}]',
	REGISTER => '[64,1,{},"a.b"]', REGISTERED => '[65,1,1]', UNREGISTER => '[66,1,1]', UNREGISTERED => '[67,1]',
	INVOCATION => '[68,1,1,{}]', INTERRUPT => '[69,1,{}]', YIELD => '[70,1,{}]', 'no type' => '[337,1]');
my %closed = (ABORT => '1000 nothing');
my %established = (ABORT => '1000 nothing', GOODBYE => '1000 GOODBYE wamp.close.goodbye_and_out');
my %answered = map { $_ => 1 } qw(SUBSCRIBE UNSUBSCRIBE CALL REGISTER UNREGISTER);
my %ignored = map { $_ => 1 } qw(ERROR PUBLISH CANCEL YIELD);
for my $name (sort keys %text)
{
	is(end_after(connection(), $text{$name}), $closed{$name} // "1002 ABORT $violation", "$name before HELLO") if $name ne 'HELLO';
	is(end_after(challenged(), $text{$name}), $closed{$name} // "1002 ABORT $violation", "$name instead of AUTHENTICATE")
	  if $name ne 'AUTHENTICATE';
	my $client = established();
	if ($answered{$name} || $ignored{$name})
	{
		$client->send_text($text{$name});
		$client->answer($name, 1) if $answered{$name};
		$client->{last_request} = 1;
		is_served($client, "$name in a session: it goes on");
		next;
	}
	is(end_after($client, $text{$name}), $established{$name} // "1002 ABORT $violation", "$name in a session");
}
is(end_after(challenged(), '[5,"x",{}]') =~ s/^\d+ //r, 'ABORT wamp.error.authentication_failed', 'a wrong ticket');
is(end_after(challenged(), '[5,"' . 'x' x 100_000 . '",{}]') =~ s/^\d+ //r, 'ABORT wamp.error.authentication_failed', 'a long ticket');
is(end_after(challenged(), '[5,"",{}]') =~ s/^\d+ //r, 'ABORT wamp.error.authentication_failed', 'an empty ticket');
{
	my $client = challenged();
	$client->send_text('[5,"x",{}]') for 1 .. 3;
	like(end_of($client), qr/ABORT wamp\.error\.(authentication_failed|protocol_violation)$/, 'AUTHENTICATE before its answer');
}

# Malformed messages
my $deep = 300_000;
my %malformed = (
	'nothing' => '', 'no JSON' => 'hello', 'an object' => '{"id":1}', 'an empty array' => '[]', 'no end' => '[48,1,{},"echo"',
	'two messages' => '[49,1,{}][49,1,{}]', 'a string as type' => '["48",1,{},"echo"]', 'a fraction' => '[48.0,1,{},"echo"]',
	'id 0' => '[48,0,{},"echo"]', 'an id of 2^53 + 1' => '[48,9007199254740993,{},"echo"]', 'id -1' => '[48,-1,{},"echo"]',
	'an id of 2^64 + 1' => '[48,18446744073709551617,{},"echo"]', 'a list as options' => '[48,1,[],"echo"]',
	'a number as URI' => '[48,1,{},7]', 'an object as arguments' => '[48,1,{},"echo",{}]', 'null as arguments' => '[48,1,{},"echo",null]',
	'a list as keyword arguments' => '[48,1,{},"echo",[],[]]', 'one element too many' => '[48,1,{},"echo",[],{},1]',
	'one element missing' => '[48,1,{}]', 'a key twice' => '[48,1,{"a":1,"a":2},"echo"]',
	'a key twice in arguments' => '[48,1,{},"echo",[{"a":1,"a":2}]]', 'a NUL' => "[48,1,{},\"echo\",[1\0]]",
	'a NUL in the URI' => '[48,1,{},"echo\u0000"]', 'half a surrogate' => '[48,1,{},"echo",["\ud800"]]',
	'a deep array' => '[48,1,{},"echo",' . '[' x $deep . ']' x $deep . ']', 'deep options' => '[48,1,' . '{"a":' x 100_000 . '1' . '}' x 100_000 . ',"echo"]',
	'only brackets' => '[' x 900_000, 'an option of the wrong type' => '[32,1,{"match":"regex"},"t"]');
for my $name (sort keys %malformed)
{
	is(end_after(established(), $malformed{$name}), "1002 ABORT $violation", $name);
	is(end_after(connection(), $malformed{$name}), "1002 ABORT $violation", "$name before HELLO");
}

# Frames that are no texts, and texts that are too long
for my $client (connection(), challenged(), established())
{
	like(end_after($client, [ 1, 0, 0, 0, 2, '[6,{},"a.b"]' ]), qr/^1003 ABORT \Q$violation\E$/, 'a binary frame');
}
like(end_after(established(), [ 1, 0, 0, 0, 1, "[48,1,{},\"\xff\"]" ]), qr/^1007 ABORT \Q$violation\E$/, 'no UTF-8');
like(end_after(established(), '[48,1,{},"echo",["' . 'x' x 1_100_000 . '"]]'), qr/^1009 ABORT wamp\.error\.payload_size_exceeded$/, 'a long message');

# Realms
for my $realm ('', 'a b', 'a..b', 'x' x 100_000, "\x{1F600}", 'template1', 'template0', q{postgres' OR '1'='1}, '..', '#')
{
	my $client = connection();
	$client->send([ 'HELLO', $realm, {} ]);
	like(end_of($client), qr/^\d+ ABORT wamp\.error\.(no_such_realm|invalid_uri)$/, 'the realm ' . encode_json([ substr $realm, 0, 20 ]));
}
{
	my $client = connection();
	is(error_uri($client->hello('postgres', { authmethods => [ ('x') x 100_000 ] })), 'wamp.error.no_matching_auth_method', '100,000 methods');
	connection()->send([ 'HELLO', "missing$_", {} ]) for 1 .. 50;
}

# Floods: each request is answered, in order.
{
	my $client = established();
	$client->send([ 'SUBSCRIBE', $_, {}, "topic$_" ]) for 1 .. 10_000;
	my @answers = map { $client->next_message('SUBSCRIBED', 'ERROR') } 1 .. 10_000;
	is_deeply([ map { $_->[0] == 8 ? $_->[2] : $_->[1] } @answers ], [ 1 .. 10_000 ], '10,000 topics');
	$client->{last_request} = 10_000;
	is_served($client, 'the session goes on');
}
{
	my $client = established();
	$client->send([ 'SUBSCRIBE', $_, {}, 't' ]) for 1 .. 10_000;
	my @answers = map { $client->next_message('SUBSCRIBED') } 1 .. 10_000;
	is_deeply([ sort { $a <=> $b } map { $_->[1] } @answers ], [ 1 .. 10_000 ], 'one topic 10,000 times');
	my %ids = map { $_->[2] => 1 } @answers;
	is(scalar keys %ids, 1, 'with one number');
	my $id = $answers[0][2];
	$client->send([ 'UNSUBSCRIBE', 10_000 + $_, $id ]) for 1 .. 100;
	$client->answer('UNSUBSCRIBE', 10_100);
	is(scalar(grep { $_->[0] == 35 } $client->received), 1, 'one UNSUBSCRIBE ends it');
}
{
	my $client = established();
	my $n = 0;
	for my $round (1 .. 500)
	{
		$client->send([ 'SUBSCRIBE', ++$n, {}, 't' ]);
		$client->send([ 'UNSUBSCRIBE', ++$n, 1 + $round ]);
		$client->send([ 'CANCEL', ++$n, {} ]);
	}
	$client->{last_request} = $n;
	is_served($client, 'a mixture of requests');
}
{
	my $client = established();
	my @answers;
	$client->send([ 'CALL', $_, {}, 'echo', [$_] ]) for 1 .. 2_000;
	$client->wait_for(sub { @answers = grep { $_->[0] == 8 || $_->[0] == 50 } $client->received; @answers >= 2_000 }, 'answers to CALL');
	is_deeply([ grep { $_->[0] == 50 && $_->[1] != $_->[3][0] } @answers ], [], '2,000 calls at once: each result is that of its call');
	is_deeply([ grep { $_->[0] == 8 && $_->[4] ne 'wamp.error.unavailable' } @answers ], [], 'those that fail are too many');
}

{
	my $client = established();
	my @answers;
	$client->send([ 'SUBSCRIBE', $_, { match => $_ % 2 ? 'prefix' : 'wildcard' }, "a$_." ]) for 1 .. 5_000;
	$client->wait_for(sub { @answers = grep { $_->[0] == 8 || $_->[0] == 33 } $client->received; @answers >= 5_000 }, 'answers to SUBSCRIBE');
	is_deeply([ sort { $a <=> $b } map { $_->[0] == 8 ? $_->[2] : $_->[1] } @answers ], [ 1 .. 5_000 ], '5,000 patterns');
	$client->{last_request} = 5_000;
	is_served($client, 'the session goes on');
}
{
	my ($client, $reader) = (established(), established());
	my (@answers, @events);
	$reader->subscribe('com.t.', match => 'prefix');
	$client->send([ 'PUBLISH', $_, { acknowledge => \1 }, 'com.t.' . $_ % 7, [$_] ]) for 1 .. 2_000;
	$client->wait_for(sub { @answers = grep { $_->[0] == 17 } $client->received; @answers >= 2_000 }, 'answers to PUBLISH');
	is_deeply([ map { $_->[1] } @answers ], [ 1 .. 2_000 ], '2,000 messages are acknowledged in order');
	$reader->wait_for(sub { @events = $reader->events; @events >= 2_000 }, 'their events');
	is_deeply([ map { $_->{args}[0] } @events ], [ 1 .. 2_000 ], 'and arrive in order');
	$client->{last_request} = 2_000;
	for my $options ({ exclude => [ 1 .. 100_000 ] }, { eligible_authid => [ ('x') x 100_000 ] }, { exclude_authrole => [ 'x' x 900_000 ] })
	{
		my $answer = $client->request('PUBLISH', { acknowledge => \1, %$options }, 'com.t.x', ['last']);
		ok($answer->[0] == 17 || $answer->[0] == 8, 'a long list in ' . (keys %$options)[0]);
	}
	$client->send_text('[16,3000,{"acknowledge":true},"com.u.x",' . '[' x 2000 . ']' x 2000 . ']');
	is(error_uri($client->answer('PUBLISH', 3000)), 'wamp.error.invalid_argument', 'a deep message');
	$client->{last_request} = 3000;
	is_served($client, 'the session goes on');
}

# Options of our own
{
	my $client = established();
	my @bad = ({ x_since => 'x' }, { x_since => 7 }, { x_filter => 'new.id >' }, { x_filter => "'" }, { x_columns => 'id' }, { x_ops => ['DROP'] },
		{ x_ops => [] }, { x_filter => 'x' x 10_000 }, { x_columns => [ ('id') x 10_000 ] });
	is(error_uri($client->request('SUBSCRIBE', $_, 't')), 'wamp.error.invalid_argument', encode_json($_) =~ s/^(.{40}).*/$1/r) for @bad;
	is_served($client, 'the session goes on');
}

# GOODBYE: what follows it is not done, and not answered.
{
	my $client = established();
	$client->send_text($_) for '[32,1,{},"t"]', '[6,{},"wamp.close.close_realm"]', '[48,2,{},"add"]', '[48,3,{},"echo",[1]]';
	is(end_of($client), '1000 GOODBYE wamp.close.goodbye_and_out', 'GOODBYE before others');
	is_deeply([ grep { $_->[0] == 50 } $client->received ], [], 'nothing follows');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 0, 'and nothing was done');
}
{
	my $client = connection();
	$client->send_text('[1,"postgres",{}]') for 1 .. 2;
	is(end_of($client), "1002 ABORT $violation", 'two HELLOs at once');
}

# Connections that end at any time
$_->close for grep { $_->connected } @clients;
for my $round (1 .. 60)
{
	my $client = $round % 3 == 0 ? connection() : $round % 3 == 1 ? challenged() : established();
	my @texts = ($text{HELLO}, '[1,"missing",{}]', $text{AUTHENTICATE}, $text{SUBSCRIBE}, '[48,1,{},"nap"]', $text{GOODBYE}, $text{ABORT});
	$client->send_text($texts[ $round % 7 ]);
	$client->send_text($texts[ $round % 5 ]);
	Mojo::IOLoop->one_tick if $round % 2;
	Mojo::IOLoop->stream($client->{tx}->connection)->close if $client->connected;
}
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.clients') == 1 }, 'only the watcher is left');

# Random changes of messages
{
	srand 1;
	my @seeds = grep { !/^\[(3|6)/ } values %text;
	my $ended = 0;
	for my $round (1 .. 300)
	{
		my $client = established();
		for (1 .. 20)
		{
			my $text = $seeds[ rand @seeds ];
			substr $text, rand length $text, rand 3, substr '[]{}",:0-9eE\\ ' . "\x{e9}", rand 14, 1 for 1 .. rand 4;
			$client->send_text($text) if $client->connected;
		}
		$client->close;
		$ended++;
	}
	is($ended, 300, 'random messages');
}

# Nobody else was disturbed.
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
is($watcher->next_event->{kwargs}{new}{id}, 1, 'the watcher has its event');
is(scalar($watcher->events), 1, 'and no other');
is_deeply([ gateway_pids($node) ], \@gateways, 'the gateway is the same process');
$watcher->goodbye;
$node->stop;
done_testing();
