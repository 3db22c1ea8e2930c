# Event history of WAMP: wamp.subscription.get_events.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Wamp;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, name text, "payload" text);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders', channel => 'com.shop.orders');
	SELECT notify_grant('com.shop.news', 'guest'), notify_grant('com.shop.news', 'guest', 'publish'), notify_grant('net.*', 'guest');
});
my $client = wamp_client($node, realm => 'postgres');
my $writer = wamp_client($node, realm => 'postgres');

my $news = $client->subscribe('com.shop.news');
is_deeply($client->result('wamp.subscription.get_events', [$news]), [], 'no history yet');
$writer->publish('com.shop.news', [ 1, 'two' ], undef, acknowledge => \1);
$writer->publish('com.shop.news', [3], { four => 5 }, acknowledge => \1);
$writer->publish('com.shop.news', [], { six => [7] }, acknowledge => \1, disclose_me => \1);
sql(q{SELECT notify_send('com.shop.news', '{"eight": 9}')});
my @events = map { $client->next_event } 1 .. 4;
my @history = @{ $client->result('wamp.subscription.get_events', [ $news, 10 ]) };
is(scalar(@history), 4, 'as many events as there were');
foreach my $member (qw(args kwargs publication))
{
	is_deeply([ map { $_->{$member} } @history ], [ map { $_->{$member} // ($member eq 'args' ? [] : {}) } @events ], "$member as those of EVENT");
}
is_deeply([ map { $_->{details} } @history ], [ map { $_->{details} } @events ], 'details, too');
is_deeply([ map { $_->{subscription} } @history ], [ ($news) x 4 ], 'the subscription');
like($_->{timestamp}, qr/^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/, 'when it was') for $history[0];
is_deeply($client->result('wamp.subscription.get_events', [ $news, 2 ]), [ @history[ 2, 3 ] ], 'the last two');
is_deeply($client->result('wamp.subscription.get_events', [$news], { limit => 2, reverse => \1 }), [ @history[ 3, 2 ] ], 'the newest one first');

# events of a table
my $orders = $client->subscribe('com.shop.orders');
sql(q{INSERT INTO orders VALUES (1, 'tea', '{"args": [1]}')});
my $event = $client->next_event;
my ($order) = @{ $client->result('wamp.subscription.get_events', [$orders]) };
is_deeply([ @$order{qw(args kwargs publication details)} ], [ [], @$event{qw(kwargs publication details)} ], 'an event of a table');

# errors
sub wrong { return error_uri($client->call('wamp.subscription.get_events', @_)); }
is(wrong([ $news + 1 ]), 'wamp.error.no_such_subscription', 'an unknown subscription');
is(wrong([]), 'wamp.error.no_such_subscription', 'none');
is(wrong([ $news, 1001 ]), 'wamp.error.invalid_argument', 'too many events');
is(wrong([ $news, 'x' ]), 'wamp.error.invalid_argument', 'a limit that is no number');
is(wrong([$news], { from_time => 'x' }), 'wamp.error.invalid_argument', 'an unknown argument');
is(error_uri($writer->call('wamp.subscription.get_events', [$news])), 'wamp.error.no_such_subscription', 'the subscription of another session');
is(wrong([ $client->subscribe('net.', match => 'prefix') ]), 'wamp.error.history_unavailable', 'a pattern');

# rights
sql(q{SELECT notify_revoke('com.shop.news', 'guest', 'subscribe')});
wait_for(sub { wrong([$news]) =~ /^wamp\.error\.(no_such_subscription|not_authorized)$/ }, 'revoked');
pass('no history without the privilege');

done_testing();
