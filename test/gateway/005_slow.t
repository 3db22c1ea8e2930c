# Clients that do not read, do not answer, or are not there any more.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Socket qw(:DEFAULT IPPROTO_TCP TCP_MAXSEG);
use Test::More;
use Time::HiRes qw(time);

my $gateway = Gateway->new(client_buffer => 1024 * 1024);
my $feed = $gateway->feed('postgres', id => 100);

sub subscriber
{
	my (%options) = @_;
	my $client = $gateway->client(%options);

	$client->request('subscribe', channel => 'c', $options{since} ? (since => $options{since}) : ());
	my $subscribe = $feed->expect('SUBSCRIBE');
	$feed->subscribed($subscribe->{sub}, 1, $options{id} // 100, replay => $options{replay});
	$client->reply;
	$client->{sub} = $subscribe->{sub};
	return $client;
}

# One that does not read while another does.
my $slow = subscriber(receive_buffer => 65536);
my $fast = subscriber();
my $id = 100;
my $filler = 'x' x 20_000;
my $received = 0;
while (!$gateway->{stats} || !$gateway->{stats}{closed_slow})
{
	for (1 .. 50)
	{
		$id++;
		$feed->event($id, 0x01, [1], qq({"id":$id,"x":"$filler"}));
		my $message = $fast->message or last;
		$received++ if $message->{id} == $id;
	}
	last if $id > 5000;
	while (my $message = $gateway->{channel}->next(0))
	{
		$gateway->{stats} = $message if $message->{type} eq 'STATS';
	}
}
is($received, $id - 100, 'the fast one gets every event at once');
is($gateway->{stats}{closed_slow}, 1, 'the slow one is closed');
cmp_ok($id, '<', 2000, 'before too much is queued');
my $last = 100;
while (my $message = $slow->message)
{
	$message->{id} == $last + 1 or fail("gap at $last");
	$last = $message->{id};
}
is($slow->{close}[0], 4008, 'with 4008') or diag explain $slow->{close};
is($slow->{close}[1], "too slow; resume from 1-$last", 'and the position of the last event it got');
cmp_ok($last, '>', 100, 'after it got some');
cmp_ok($last, '<', $id, 'and not all');

# The same in a replay: its credit keeps the feed from sending more than fits.
my $replay = subscriber(receive_buffer => 65536, since => '1-1', id => 1, replay => 1);
my $credit = 256 * 1024;
my $r = 1;
my $sent = 0;
while ($r < 1000)
{
	while ($credit > 0)
	{
		my $text = sprintf '{"id":%d,"x":"%s"}', ++$r, $filler;
		$feed->replay_event($replay->{sub}, $r, $text);
		$credit -= length $text;
		$sent += length $text;
	}
	my $message = $feed->next(2) // last;
	$credit += $message->{bytes} if $message->{type} eq 'REPLAY_CREDIT';
}
cmp_ok($r, '<', 1000, 'a replay stops when its client does not read');
my $stats = $gateway->stats(sub { $_[0]{queued} > 0 && $_[0]{queued} < 400_000 });
cmp_ok($stats->{queued}, '<', 256 * 1024 + 100_000, 'with no more queued than the window');
$last = 1;
while ($last < $r)
{
	my $message = $replay->message or last;
	$last = $message->{id} if $message->{id} == $last + 1;
}
is($last, $r, 'nothing of it is lost');
ok($feed->expect('REPLAY_CREDIT'), 'and it goes on when the client reads');
$feed->replay_done($replay->{sub}, $id);

# A slow client with a replay behind is told the smaller position.
my $both = subscriber(receive_buffer => 65536);
$both->request('subscribe', channel => 'replayed', since => '1-40');
my $second = $feed->expect('SUBSCRIBE');
$feed->subscribed($second->{sub}, 2, 40, replay => 1);
$both->reply;
$feed->replay_event($second->{sub}, 41, '{"id":41}');
is($both->message->{id}, 41, 'a replay has begun');
my $start = $id;
while (!$both->{done} && $id < $start + 3000)
{
	$id++;
	$feed->event($id, 0x01, [1], qq({"id":$id,"x":"$filler"}));
	$fast->message;
	$replay->message;
	while (my $message = $gateway->{channel}->next(0))
	{
		$both->{done} = 1 if $message->{type} eq 'STATS' && $message->{closed_slow} > 1;
	}
}
1 while $both->message;
is_deeply($both->{close}, [4008, 'too slow; resume from 1-41'], 'the position of what is furthest behind');
undef $both;

# One event that is larger than the buffer is no reason to close.
$id++;
$feed->event($id, 0x01, [1], '{"x":"' . ('y' x 5_000_000) . '"}');
is(length $fast->next_text, 5_000_008, 'an event larger than the buffer arrives');
is(length $replay->next_text, 5_000_008, 'for each');

# It shuts its side down while the WebSocket library keeps a part of a write for it: the library would then turn in
# circles until a timeout of its own, 5 s later. Small segments make the kernel's buffer so small that it has to.
$gateway->configure(client_buffer => 64 * 1024 * 1024);
socket my $socket, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
setsockopt $socket, IPPROTO_TCP, TCP_MAXSEG, 536;
setsockopt $socket, SOL_SOCKET, SO_RCVBUF, 4096;
connect $socket, sockaddr_in($gateway->{port}, INADDR_LOOPBACK) or die "connect: $!";
my $half = subscriber(socket => $socket);
for (1 .. 8)
{
	$id++;
	$feed->event($id, 0x01, [1], '{"x":"' . ('y' x 1_000_000) . '"}');
	$_->next_text for $fast, $replay;
}
$gateway->stats(sub { $_[0]{queued} > 1_000_000 });
my $since = time;
shutdown $half->{socket}, 1;
$gateway->stats(sub { $_[0]{clients} == 2 });
cmp_ok(time - $since, '<', 4, 'a half-closed client is soon gone');
undef $half;
undef $socket;

# keepalive
$gateway->configure(keepalive => 1000);
my $dead = subscriber();
$dead->{no_pong} = 1;
my $alive = $gateway->client;
my $quiet = $gateway->client;
is($quiet->next_frame->[0], 9, 'a quiet client is pinged');
is_deeply([$dead->closed(10)->[0], scalar @{ $dead->{pings} }], [1008, 1], 'one that does not answer is closed');
$gateway->configure(keepalive => 0);
undef $dead;

# max_message, client_buffer and so on are taken over while running
$gateway->configure(max_message => 100);
ok($gateway->until(sub { my $c = $gateway->client; $c->text('{"method":"ping","id":1,"x":"' . ('x' x 100) . '"}');
	$c->closed->[0] == 1009 }) , 'a smaller max_message applies');
$gateway->configure(anonymous => 0);
is($fast->closed->[0], 1008, 'anonymous clients are closed when they are no longer let in');
is($feed->expect('UNSUBSCRIBE')->{type}, 'UNSUBSCRIBE', 'and the feed is told');

$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
