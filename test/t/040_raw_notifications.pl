# Raw NOTIFY: channels of any name, LISTEN only while a client is subscribed, and no growing
# notification queue.
use strict;
use warnings;
use utf8;

use Mojo::Util;
use NotifydTest;
use Test::More;

my $node = notifyd_node('main');
my $client = notifyd_client($node);

my @channels = ('simple', 'With Spaces', q{quo'te"s}, 'Straße 🍔', 'x' x 63, 'back\\slash', '1; DROP TABLE x');

sub quoted
{
	my $name = shift;
	$name =~ s/'/''/g;
	utf8::encode($name);
	return "'$name'";
}

foreach my $channel (@channels)
{
	$node->safe_psql('postgres', 'SELECT notify_grant(' . quoted($channel) . q{, 'guest')});
	my $name = Mojo::Util::encode('UTF-8', $channel);
	is($client->subscribe($channel)->{channel}, $channel, "subscribed to $name");
	$node->safe_psql('postgres', 'SELECT pg_notify(' . quoted($channel) . ', ' . quoted("für $channel") . ')');
	my $event = $client->next_event;
	is_deeply([ @$event{qw(op channel payload)} ], [ 'NOTIFY', $channel, "für $channel" ], 'its notification');
	ok(!exists $event->{position}, 'without a position');
}

# In one transaction with the same payload NOTIFY sends once; with others, in order.
$node->safe_psql('postgres', q{BEGIN; NOTIFY simple, 'a'; NOTIFY simple, 'b'; NOTIFY simple, 'a'; NOTIFY simple; COMMIT});
is_deeply([ map { $_->{payload} } $client->next_events(3) ], [ 'a', 'b', '' ], 'several notifications');
$node->safe_psql('postgres', q{BEGIN; NOTIFY simple, 'never'; ROLLBACK; NOTIFY simple, 'then'});
is($client->next_event->{payload}, 'then', 'none of a transaction that is rolled back');

# A filter; nobody else's channel; and messages beside notifications.
my $picky = notifyd_client($node);
$picky->subscribe('simple', ops => ['MESSAGE']);
$node->safe_psql('postgres', q{NOTIFY simple, 'raw'; NOTIFY "not granted", 'x'; SELECT notify_send('simple', '1')});
is($picky->next_event->{op}, 'MESSAGE', 'filtered by operation');
is_deeply([ sort map { $_->{op} } $client->next_events(2) ], [ 'MESSAGE', 'NOTIFY' ], 'both without a filter');
$picky->close;

# Nothing that a role can send is like an event of a row: op and the absence of table are ours.
$node->safe_psql('postgres', q{
	CREATE TABLE bills (id int PRIMARY KEY);
	CREATE TABLE closed (id int PRIMARY KEY);
	GRANT SELECT ON bills, closed TO guest;
	SELECT notify_watch('bills'), notify_watch('closed'), notify_grant('bills', 'guest');
});
$picky = notifyd_client($node);
$picky->subscribe($_) for 'bills', 'closed';
my $row = q{{"op": "INSERT", "schema": "public", "table": "bills", "channel": "bills", "key": {"id": 7}, "new": {"id": 7}}};
$node->safe_psql('postgres', "NOTIFY bills, '$row'");
is_deeply($picky->next_event, { op => 'NOTIFY', channel => 'bills', payload => $row }, 'a raw NOTIFY with an event in it is text');
$node->safe_psql('postgres', "SELECT notify_send('bills', '$row')");
my $sent = $picky->next_event;
is_deeply([ @$sent{qw(op channel by)} ], [ 'MESSAGE', 'bills', $node->safe_psql('postgres', 'SELECT current_user') ], 'a message is a MESSAGE');
is_deeply([ grep { exists $sent->{$_} } qw(schema table key new old) ], [], 'and of no table');
is($sent->{payload}{op}, 'INSERT', 'whatever its payload is');
$node->safe_psql('postgres', "NOTIFY closed, '$row'; NOTIFY bills, 'later'");
is($picky->next_event->{payload}, 'later', 'on a watched channel that was not granted a raw NOTIFY is not sent');
$picky->close;

# Who is no longer subscribed gets nothing more; the feed follows.
$client->unsubscribe('simple');
$node->safe_psql('postgres', q{NOTIFY simple, 'late'; NOTIFY "With Spaces", 'next'});
is($client->next_event->{payload}, 'next', 'unsubscribed');

# The feed's own LISTENs do not hold the queue back: neither while it is busy, nor when nobody is
# there.
sub fill_queue
{
	$node->safe_psql('postgres', q{
		DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_notify('With Spaces', i || repeat('.', 4000)); END LOOP; END $$});
	return;
}
fill_queue();
is_deeply([ map { $_->{payload} =~ /^(\d+)/ && $1 } $client->next_events(1000) ], [ 1 .. 1000 ], 'many, in order');
ok($node->poll_query_until('postgres', 'SELECT pg_notification_queue_usage() = 0'), 'the queue is empty again');
$client->stop_reading;
fill_queue();
ok($node->poll_query_until('postgres', 'SELECT pg_notification_queue_usage() = 0'), 'also while a client does not read');
$client->start_reading;
is_deeply([ map { $_->{payload} =~ /^(\d+)/ && $1 } $client->next_events(1000) ], [ 1 .. 1000 ], 'who then has them all');
$client->close;
fill_queue();
ok($node->poll_query_until('postgres', 'SELECT pg_notification_queue_usage() = 0'), 'and without listeners');

# notify => true: the ids of a watch's events for plain LISTEN clients; with notify_rows the whole
# events, which subscribers do not get twice.
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders', notify => true);
	SELECT notify_grant('orders', 'guest');
});
$client = notifyd_client($node);
$client->subscribe('orders');
my $heard = $node->safe_psql('postgres', q{LISTEN orders; INSERT INTO orders VALUES (1, 'Wrap')});
like($heard, qr/Asynchronous notification "orders" with payload "\{"id":\s*\d+\}" received/, 'LISTEN gets ids alone');
unlike($heard, qr/Wrap|INSERT/, 'because everybody may LISTEN');
$heard = $node->safe_psql('postgres', q{
	SELECT notify_watch('orders', notify => true, notify_rows => true) > 0;
	LISTEN orders;
	UPDATE orders SET name = 'Taco'});
like($heard, qr/Asynchronous notification "orders" with payload ".*Taco.*" received/, 'with notify_rows the whole');
is_deeply([ map { [ $_->{op}, $_->{key}{id} ] } $client->next_events(2) ], [ [ 'INSERT', 1 ], [ 'UPDATE', 1 ] ],
	'a subscriber gets each once');
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (2, 'Lemonade')});
is_deeply([ $client->next_event->{key}{id} ], [2], 'and the next');
$heard = $node->safe_psql('postgres', q{LISTEN orders; INSERT INTO orders VALUES (3, repeat('x', 9000))});
like($heard, qr/with payload "\{"id":\s*\d+\}"/, 'one too large for NOTIFY has its id alone');
my ($id) = $heard =~ /"id":\s*(\d+)/;
is($node->safe_psql('postgres', "SELECT length(notify_fetch($id)->'new'->>'name')"), 9000, 'by which it is fetched');

done_testing();
