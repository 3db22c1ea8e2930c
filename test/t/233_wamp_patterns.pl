# Subscriptions of patterns by WAMP, with two gateways: every event once for each subscription that matches, in order, as
# far as the role may see it; under load, when processes end, and for channels that have their first event.
use strict;
use warnings;

use List::Util qw(max min);
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member'], conf => "pg_notifyd.gateways = 2\npg_notifyd.idle_timeout = 0\n");
sub sql { return $node->safe_psql('postgres', join ';', @_); }

# Clients of this gateway. The kernel chooses the gateway of a connection.
sub client_of
{
	my ($gateway, %options) = @_;
	my $client;
	wait_for(
		sub {
			$client->close if $client;
			$client = wamp_client($node, realm => 'postgres', %options);
			my $port = $client->{tx}->connection && $client->{tx}->local_port;
			return sql("SELECT gateway FROM notifyd.clients WHERE port = $port") eq $gateway;
		}, "a client of gateway $gateway");
	return $client;
}

sub token_of { my $sub = shift; return (headers => { notifyd_bearer('member', $sub) }); }

# An event as words: the topic if its details have it, and what it is about.
sub words
{
	my $event = shift;
	my %kwargs = %{ $event->{kwargs} };
	return join ' ', $event->{details}{topic} // '-', $kwargs{op}, $kwargs{channel}, ($kwargs{new} // {})->{id} // $kwargs{payload} // ();
}

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY);
	CREATE TABLE items (id int PRIMARY KEY, owner text);
	CREATE TABLE hidden (id int PRIMARY KEY);
	CREATE TABLE fence (id int PRIMARY KEY);
	GRANT SELECT ON orders, fence TO guest, member;
	GRANT SELECT ON items TO member;
	ALTER TABLE items ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON items FOR SELECT TO member USING (owner = (current_setting('request.jwt.claims')::json ->> 'sub'));
	SELECT notify_watch('orders', channel => 'com.shop.orders'), notify_watch('items', channel => 'com.shop.items'),
		notify_watch('hidden', channel => 'com.shop.hidden'), notify_watch('fence', channel => 'com.shop.zfence');
	SELECT notify_grant('com.shop.news', 'guest', 'subscribe');
});
wait_healthy($node);
my $fences = 0;
# Every client of the pattern gets this event, so that nothing else is on its way to them.
sub fence
{
	my @clients = @_;
	sql('INSERT INTO fence VALUES (' . ++$fences . ')');
	foreach my $client (@clients)
	{
		$client->wait_for(sub { grep { $_->{kwargs}{channel} eq 'com.shop.zfence' && $_->{kwargs}{new}{id} == $fences } $client->events }, "fence $fences");
	}
	return;
}
# The events of a client without fences, since the last call.
my %taken;

sub taken
{
	my $client = shift;
	my @events = grep { $_->{kwargs}{channel} ne 'com.shop.zfence' } $client->events;
	my $before = $taken{$client} // 0;
	$taken{$client} = @events;
	return @events[ $before .. $#events ];
}

# ---------------- what a subscription gets ----------------

my @clients = (client_of(0), client_of(1));
my %ids;
foreach my $client (@clients)
{
	$ids{exact} = $client->subscribe('com.shop.orders');
	$ids{prefix} = $client->subscribe('com.shop.', match => 'prefix');
	$ids{wildcard} = $client->subscribe('com..orders', match => 'wildcard');
	is($client->subscribe('com.shop.', match => 'prefix'), $ids{prefix}, 'the same number for the same pattern');
}
isnt($ids{prefix}, $ids{wildcard}, 'another number for another one');
is($clients[0]->request('SUBSCRIBE', { match => 'wildcard' }, 'com. .x')->[4], 'wamp.error.invalid_uri', 'a pattern that is none');
sql(q{INSERT INTO orders VALUES (1), (2)}, q{SELECT notify_send('com.shop.news', '3')});
fence(@clients);
foreach my $client (@clients)
{
	my @events = taken($client);
	my %of;
	push @{ $of{ $_->{subscription} } }, $_ foreach @events;
	is_deeply([ map { words($_) } @{ $of{ $ids{exact} } } ], [ '- INSERT com.shop.orders 1', '- INSERT com.shop.orders 2' ], 'of a topic');
	is_deeply(
		[ map { words($_) } @{ $of{ $ids{prefix} } } ],
		[ 'com.shop.orders INSERT com.shop.orders 1', 'com.shop.orders INSERT com.shop.orders 2', 'com.shop.news MESSAGE com.shop.news 3' ],
		'of a prefix, with the topic');
	is_deeply(
		[ map { words($_) } @{ $of{ $ids{wildcard} } } ],
		[ 'com.shop.orders INSERT com.shop.orders 1', 'com.shop.orders INSERT com.shop.orders 2' ],
		'of a wildcard');
	is_deeply([ map { $_->{publication} } @{ $of{ $ids{wildcard} } } ], [ map { $_->{publication} } @{ $of{ $ids{exact} } } ], 'with one publication id');
}
is_deeply([ map { $_->{publication} } $clients[0]->events ], [ map { $_->{publication} } $clients[1]->events ], 'the same with both gateways')
  or diag explain [ map { words($_) } $clients[1]->events ];

# Nothing after UNSUBSCRIBED; other subscriptions go on.
$clients[0]->unsubscribe($ids{prefix});
$clients[0]->unsubscribe($ids{wildcard});
my $seen = () = $clients[0]->events;
sql('INSERT INTO orders VALUES (3)');
$clients[0]->wait_for(sub { $clients[0]->events > $seen }, 'an event of the topic');
fence($clients[1]);
is_deeply([ map { words($_) } ($clients[0]->events)[ $seen .. $seen ] ], ['- INSERT com.shop.orders 3'], 'after UNSUBSCRIBED');
is($clients[0]->request('UNSUBSCRIBE', 0 + $ids{prefix})->[4], 'wamp.error.no_such_subscription', 'a second UNSUBSCRIBE');
is(scalar(grep { $_->{subscription} != $ids{exact} } ($clients[0]->events)[ $seen .. $clients[0]->events - 1 ]), 0, 'nothing of the patterns');
taken($clients[1]);

# Privileges are those of each channel, and change.
sql('INSERT INTO hidden VALUES (1)', q{INSERT INTO items VALUES (1, 'joe')});
fence($clients[1]);
is_deeply([ taken($clients[1]) ], [], 'nothing of channels without privilege');
sql('GRANT SELECT ON hidden TO guest');
sql('INSERT INTO hidden VALUES (2)');
fence($clients[1]);
is_deeply([ map { words($_) } taken($clients[1]) ], ['com.shop.hidden INSERT com.shop.hidden 2'], 'with a new privilege');
sql('REVOKE SELECT ON hidden FROM guest');
sql('INSERT INTO hidden VALUES (3)');
fence($clients[1]);
is_deeply([ taken($clients[1]) ], [], 'and without it again');
sql('GRANT SELECT ON hidden TO guest');
sql('INSERT INTO hidden VALUES (4)');
fence($clients[1]);
is_deeply([ map { words($_) } taken($clients[1]) ], ['com.shop.hidden INSERT com.shop.hidden 4'], 'and with it again');

# Row security
my %member = map { $_ => client_of($_ eq 'joe' ? 0 : 1, token_of($_)) } qw(joe ann);
$_->subscribe('com.shop.', match => 'prefix') foreach values %member;
sql(q{INSERT INTO items VALUES (2, 'joe'), (3, 'ann'), (4, 'joe'), (5, 'nobody')});
sql(q{UPDATE items SET owner = 'ann' WHERE id = 4});
fence(values %member);
is_deeply([ map { "$_->{kwargs}{op} $_->{kwargs}{key}{id}" } taken($member{joe}) ], [ 'INSERT 2', 'INSERT 4', 'DELETE 4' ], 'rows of one');
is_deeply([ map { "$_->{kwargs}{op} $_->{kwargs}{key}{id}" } taken($member{ann}) ], [ 'INSERT 3', 'INSERT 4' ], 'rows of another one');
$_->close foreach values %member;

# From a position on: channels whose events are in the log only.
my $again = client_of(0);
$again->subscribe('com.', match => 'prefix', x_since => $clients[0]->welcome->{x_position});
fence($again);
my %again = map { $_->{publication} => 1 } taken($again);
is(scalar(grep { !$again{ $_->{publication} } } grep { $_->{kwargs}{channel} =~ /orders|news/ } $clients[1]->events), 0, 'events since a position');
is_deeply([ taken($again) ], [], 'once');
$again->close;

# ---------------- messages that are not in the log ----------------

sql(q{SELECT notify_grant('talk.*', r, p) FROM unnest('{guest,member}'::regrole[]) r, unnest('{subscribe,publish}'::text[]) p});
sql(q{SELECT notify_grant('talk.secret.*', 'guest', 'publish'), notify_grant('talk.secret.*', 'member', 'subscribe')});
# On both gateways: guests, and joe.
my ($publisher, $here, $there, $joe) = (client_of(0), client_of(0), client_of(1), client_of(1, token_of('joe')));
my %talk;
foreach my $client ($publisher, $here, $there, $joe)
{
	$talk{exact} = $client->subscribe('talk.a.b');
	$talk{prefix} = $client->subscribe('talk.', match => 'prefix');
	$talk{wildcard} = $client->subscribe('talk..b', match => 'wildcard');
}
# What came of a publication, as kinds of subscriptions.
sub heard
{
	my ($client, $publication) = @_;
	my %kind = reverse %talk;
	return join ' ', sort map { $kind{ $_->{subscription} } } grep { $_->{publication} == $publication } $client->events;
}
# A message that all of them get, after everything else.
sub settle
{
	my $last = $publisher->publish('talk.z', ['settle'], undef, exclude_me => \0);
	foreach my $client ($publisher, $here, $there, $joe)
	{
		$client->wait_for(sub { grep { $_->{publication} == $last } $client->events }, 'the last message');
	}
	return;
}
sub all_heard { my $publication = shift; settle(); return [ map { heard($_, $publication) } $publisher, $here, $there, $joe ]; }
my $three = 'exact prefix wildcard';
is_deeply(all_heard($publisher->publish('talk.a.b', [ 1, 'x' ], { n => 2 })), [ '', $three, $three, $three ], 'every subscription that matches, but not the publisher');
is_deeply([ map { [ @$_{qw(args kwargs)} ] } grep { $_->{subscription} == $talk{exact} } $there->events ], [ [ [ 1, 'x' ], { n => 2 } ] ], 'its arguments');
is_deeply([ sort map { $_->{details}{topic} // 'none' } grep { @{ $_->{args} } == 2 } $there->events ], [ 'none', 'talk.a.b', 'talk.a.b' ], 'the topic, for patterns');
is_deeply(all_heard($publisher->publish('talk.a.b', undef, undef, exclude_me => \0)), [ $three, $three, $three, $three ], 'the publisher, too');
is_deeply(all_heard($publisher->publish('talk.a.b', undef, undef, exclude => [ 0 + $there->session ])), [ '', $three, '', $three ], 'without a session');
is_deeply(all_heard($publisher->publish('talk.a.b', undef, undef, eligible => [ 0 + $there->session ])), [ '', '', $three, '' ], 'for a session');
is_deeply(all_heard($publisher->publish('talk.a.b', undef, undef, eligible_authid => ['joe'])), [ '', '', '', $three ], 'for an authid');
is_deeply(all_heard($publisher->publish('talk.a.b', undef, undef, exclude_authrole => ['member'])), [ '', $three, $three, '' ], 'without a role');
is_deeply(all_heard($publisher->publish('talk.secret.b')), [ '', '', '', 'prefix wildcard' ], 'for those who may read the topic');
is($joe->request('PUBLISH', { acknowledge => \1 }, 'talk.secret.b')->[4], 'wamp.error.not_authorized', 'and not from those who may only read it');

# The messages of one publisher come in their order, while a gateway is killed and its clients come back.
sub shout { $publisher->send([ 'PUBLISH', ++$publisher->{last_request}, {}, 'talk.a.b', [], { order => $_[0] } ]); return; }
shout($_) foreach 1 .. 300;
settle();
foreach my $client ($here, $there, $joe)
{
	my @ids = map { $_->{publication} } grep { ($_->{kwargs} // {})->{order} && $_->{subscription} == $talk{exact} } $client->events;
	my @order = map { $_->{kwargs}{order} } grep { ($_->{kwargs} // {})->{order} && $_->{subscription} == $talk{prefix} } $client->events;
	is_deeply(\@order, [ 1 .. 300 ], 'in the order of their publisher');
	is(scalar(keys %{ { map { $_ => 1 } @ids } }), 300, 'each with an id of its own');
}
kill 'KILL', sql(q{SELECT pid FROM notifyd.stats WHERE kind = 'gateway' AND name = '1'});
shout($_) foreach 301 .. 600;
$there->wait_closed;
my $back = client_of(1);
$back->subscribe('talk.', match => 'prefix');
shout($_) foreach 601 .. 900;
$back->wait_for(sub { grep { ($_->{kwargs} // {})->{order} && $_->{kwargs}{order} == 900 } $back->events }, 'the last message');
is_deeply([ map { $_->{kwargs}{order} } grep { ($_->{kwargs} // {})->{order} } $back->events ], [ 601 .. 900 ], 'a client that comes back');
$here->wait_for(sub { grep { ($_->{kwargs} // {})->{order} && $_->{kwargs}{order} == 900 } $here->events }, 'the last message');
is_deeply([ map { $_->{kwargs}{order} } grep { ($_->{kwargs} // {})->{order} && $_->{subscription} == $talk{wildcard} } $here->events ], [ 1 .. 900 ],
	'others do not notice');

# ---------------- under load ----------------

# Writers whose channels have their first event again and again, while clients come.
my ($writers, $channels) = (4, 240);
sql(qq{SELECT count(notify_grant(format('load.%s.%s', w, c), 'guest', 'subscribe')) FROM generate_series(1, $writers) w, generate_series(0, $channels - 1) c},
	'CREATE TABLE written (writer int, n int)', 'CREATE TABLE stop ()');
my @early = (client_of(0), client_of(1));
$_->subscribe('load.', match => 'prefix') foreach @early;
my @writing;
foreach my $writer (1 .. $writers)
{
	my $session = $node->background_psql('postgres');
	$session->{stdin} .= qq{
		CREATE PROCEDURE write$writer() LANGUAGE plpgsql AS \$\$
		DECLARE
			i int := 0;
			channel text;
		BEGIN
			WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'stopped') LOOP
				channel := format('load.%s.%s', $writer, i / 2 % $channels);
				PERFORM notify_send(channel, to_json(i)), notify_send(channel, to_json(-i));
				INSERT INTO written VALUES ($writer, i);
				COMMIT;
				i := i + 1;
				PERFORM pg_sleep(0.002 * (i % 5));
			END LOOP;
		END \$\$;
		CALL write$writer();\n};
	$session->{run}->pump_nb;
	push @writing, $session;
}
my @late;
foreach my $n (1 .. 6)
{
	$_->{run}->pump_nb foreach @writing;
	my $client;
	wait_for(sub { $client = eval { wamp_client($node, realm => 'postgres') } }, 'a client');
	$client->subscribe('load.', match => 'prefix');
	$client->subscribe('load..3', match => 'wildcard') if @late % 2;
	push @late, $client;
	$client->wait_for(sub { $client->events > 400 }, 'events of a client that came later');
	# Subscriptions go on with another feed, also those of channels that had their first event without one.
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'}) if $n % 2;
}
sql('ALTER TABLE stop RENAME TO stopped');
$_->query_safe('SELECT 1') foreach @writing;
$_->quit foreach @writing;
my $total = 2 * sql('SELECT count(*) FROM written');
note("$total events");
sub loaded { return grep { $_->{kwargs}{op} ne 'RESET' } shift->events; }
$early[0]->wait_for(sub { loaded($early[0]) >= $total }, 'all events');
my %all = map { $_->{publication} => join ' ', @{ $_->{kwargs} }{qw(channel payload)} } loaded($early[0]);
is(scalar(keys %all), $total, 'a client has all events');

# What is wrong with the events of a subscription, if it has to have all after the first one that it has; empty: nothing.
sub problem
{
	my ($client, $subscription, $wanted) = @_;
	my $last = max(grep { $wanted->($all{$_}) } keys %all);
	$client->wait_for(sub { grep { $_->{subscription} == $subscription && $_->{publication} == $last } $client->events }, 'the last event');
	my @events = grep { $_->{subscription} == $subscription } loaded($client);
	my (%of, %had);
	foreach my $event (@events)
	{
		my ($id, $topic) = ($event->{publication}, $event->{details}{topic});
		return "$id twice" if $had{$id}++;
		return "$id after $of{$topic} on $topic" if $id <= ($of{$topic} // 0);
		$of{$topic} = $id;
		return "$id is wrong" if ($all{$id} // '') ne join ' ', @{ $event->{kwargs} }{qw(channel payload)};
	}
	my $first = min(keys %had);
	my @missing = grep { $_ >= $first && !$had{$_} && $wanted->($all{$_}) } sort keys %all;
	return @missing ? scalar(@missing) . " missing, the first one is $all{$missing[0]}" : '';
}
sub id_of { my ($client, $n) = @_; return (grep { $_->[0] == 33 } $client->received)[$n]->[2]; }
is(problem($_, id_of($_, 0), sub { 1 }), '', 'every event once and in order, for clients that were there first') foreach @early;
foreach my $client (@late)
{
	is(problem($client, id_of($client, 0), sub { 1 }), '', 'and for one that came later');
	my $wildcard = grep({ $_->[0] == 33 } $client->received) > 1 ? id_of($client, 1) : next;
	is(problem($client, $wildcard, sub { shift =~ /^load\.\d+\.3 / }), '', 'and for its other pattern') if grep { $_->{subscription} == $wildcard } $client->events;
}
my @resets = grep { $_->{kwargs}{op} eq 'RESET' } map { $_->events } @early, @late;
is_deeply([ grep { $_ ne 'load. notifications were lost' && $_ ne 'load..3 notifications were lost' } map { "$_->{kwargs}{channel} $_->{kwargs}{reason}" } @resets ],
	[], 'only messages that are not in the log may have been lost');
is_deeply([ slurp_file($node->logfile) =~ /(terminated by signal \d+|sent an invalid frame)/g ], ['terminated by signal 9'], 'nothing has crashed but what was killed');

$node->stop;
done_testing();
