# Feeds connect and disconnect; replays; resets.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;
use Time::HiRes qw(time);

my $gateway = Gateway->new;
my $feed = $gateway->feed('postgres', id => 100);
my $client = $gateway->client;

# replay
$client->request('subscribe', channel => 'r', since => '1-50');
my $sub = $feed->expect('SUBSCRIBE');
is("$sub->{has_since} $sub->{timeline}-$sub->{id}", '1 1-50', 'the feed gets the position');
$feed->subscribed($sub->{sub}, 3, 50, replay => 1);
is_deeply($client->reply, { channel => 'r', position => '1-50' }, 'the answer says so too');
$feed->event(101, 0x01, [3], '{"e":"live, too early"}');
$feed->replay_event($sub->{sub}, 60, '{"e":60}');
is_deeply($client->message, { e => 60 }, 'a replayed event comes, a live one does not yet');
is_deeply($client->call('ping'), { position => '1-60' }, 'the position is that of the replay');
$feed->replay_event($sub->{sub}, 101, '{"e":101}');
$feed->replay_done($sub->{sub}, 101);
$feed->event(102, 0x01, [3], '{"e":102}');
is_deeply($client->message, { e => 101 }, 'the live one, in its turn');
is_deeply($client->message, { e => 102 }, 'and live events');

# credit
my $credit = 0;
$client->request('subscribe', channel => 'credit', since => '1-1');
my $bulk = $feed->expect('SUBSCRIBE');
$feed->subscribed($bulk->{sub}, 4, 1, replay => 1);
$client->reply;
my $text = '{"e":"' . ('x' x 9992) . '"}';
for my $i (2 .. 101)
{
	$feed->replay_event($bulk->{sub}, $i, $text);
	$client->next_text eq $text or die;
}
while ($credit < 100 * length $text)
{
	my $message = $feed->expect('REPLAY_CREDIT');
	is($message->{sub}, $bulk->{sub}, 'credit for the replay') if $credit == 0;
	$credit += $message->{bytes};
}
is($credit, 100 * length $text, 'as much credit as was written');

# reset
$feed->reset($bulk->{sub}, 102, 'too old');
is_deeply($client->message,
	{ jsonrpc => '2.0', method => 'reset', params => { channel => 'credit', reason => 'too old', position => '1-102' } },
	'the client gets a reset for events that are not retained');

# the link is lost: r is live at 105, credit is replaying at 103
$feed->event(105, 0x01, [3], '{"e":105}');
$client->message;
$feed->replay_event($bulk->{sub}, 103, '{"e":103}');
$client->message;
$feed->position(107);
is_deeply($client->call('ping'), { position => '1-103' }, 'the position is that of the one behind');
my $waiting = $gateway->client;
$waiting->request('subscribe', channel => 'w');
$feed->expect('SUBSCRIBE');
close $feed->{socket};
my $until = time + $Gateway::TIMEOUT;
1 while $gateway->verdict != 4503 && time < $until;
is($gateway->verdict, 4503, 'no new client is accepted meanwhile');
is_deeply($client->call('ping'), { position => '1-103' }, 'connected clients can send requests');
$client->request('subscribe', channel => 'meanwhile', since => '1-7');

$feed = $gateway->feed('postgres', id => 200, timeline => 2);
my %sub;
for (1 .. 4)
{
	my $s = $feed->expect('SUBSCRIBE');
	$sub{ $s->{channel} } = $s;
}
is("$sub{r}{has_since} $sub{r}{timeline}-$sub{r}{id}", '1 1-107', 'a live subscription resumes at the position of the link');
is("$sub{credit}{has_since} $sub{credit}{timeline}-$sub{credit}{id}", '1 1-103', 'a replay where it was');
is($sub{w}{has_since}, 0, 'one that was not answered as it was asked for');
is("$sub{meanwhile}{has_since} $sub{meanwhile}{timeline}-$sub{meanwhile}{id}", '1 1-7', 'so is one made meanwhile');
$feed->subscribed($sub{r}{sub}, 13, 107, replay => 1);
$feed->subscribed($sub{w}{sub}, 14, 200);
is_deeply($waiting->reply, { channel => 'w', position => '2-200' }, 'which is answered now');
$feed->subscribed($sub{meanwhile}{sub}, 15, 7, replay => 1);
is_deeply($client->message->{result}, { channel => 'meanwhile', position => '2-7' }, 'the other, too; of the rest nothing is to be seen');
$feed->refused($sub{credit}{sub}, 1, 'no longer');
is_deeply($client->message,
	{ jsonrpc => '2.0', method => 'error', params => { code => -32003, message => 'no longer', data => { channel => 'credit' } } },
	'a subscription that is refused now ends with an error');
$feed->replay_event($sub{r}{sub}, 150, '{"e":150}');
$feed->replay_done($sub{r}{sub}, 150);
$feed->event(201, 0x01, [13, 14], '{"e":201}');
is_deeply($client->message, { e => 150 }, 'missed events arrive');
is_deeply($client->message, { e => 201 }, 'and then the new');
is_deeply($waiting->message, { e => 201 }, 'for both');

# a second feed of one database replaces the first
my $old = $feed;
$feed = $gateway->feed('postgres', id => 210, timeline => 2);
ok($old->ended, 'the first one is closed');
%sub = map { $_->{channel} => $_ } map { $feed->expect('SUBSCRIBE') } 1 .. 3;
is("$sub{r}{timeline}-$sub{r}{id}", '2-201', 'and the second link is used');
is("$sub{meanwhile}{timeline}-$sub{meanwhile}{id}", '2-7', 'from where each was');

# bad feeds
for my $bad (
	['an unknown frame', sub { $_[0]->send(99, '') }],
	['a truncated payload', sub { $_[0]->send(47, 'xx') }],
	['a frame of ours', sub { $_[0]->send(30, pack 'VCCVQ<VV', 1, 1, 0, 0, 0, 0, 0) }],
	['a second HELLO', sub { $_[0]->send(20, pack 'vvVVQ<V/a*', 2, 0, 5, 1, 1, 'bad') }],
	['a replay that was not begun', sub { $_[0]->send(40, pack 'VVCVQ<', 1, 1, 0, 1, 1); $_[0]->send(46, '') }],
	['garbage', sub { $_[0]->send_raw("\xff" x 64) }])
{
	my ($name, $do) = @$bad;
	my $feed = $gateway->feed('bad');
	$do->($feed);
	ok($feed->ended, "given up: $name");
}
ok($gateway->feed('new', version => 99, no_answer => 1)->ended, 'given up: another version');
my $mute = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM, Peer => "$gateway->{directory}/link.sock");
ok($mute, 'the socket takes others all the while');

# goodbye
$feed->goodbye('the extension was dropped');
is_deeply($client->closed, [1001, 'the extension was dropped'], 'goodbye closes the database\'s clients');
is_deeply($waiting->closed, [1001, 'the extension was dropped'], 'all of them');
is($gateway->verdict, 4503, 'and it is not served any more');
$gateway->feed('other');
$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
