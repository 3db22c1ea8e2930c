# Clients that do not read, do not answer, or have vanished.
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

# What the feed has sent of one channel, by id; and what it does for subscriptions that are made
# anew: a replay, with credit.
my %log;
my $id = 100;
my $filler = 'x' x 20_000;
my @asked;
my %replay;

sub text { return sprintf '{"id":%d,"x":"%s"}', $_[0], $filler }

sub publish
{
	$id++;
	$log{$id} = text($id);
	$feed->event($id, 0x01, [1], $log{$id});
	return $id;
}

# Process the gateway's frames; record them in @asked.
sub serve
{
	while (my $message = $feed->next(0))
	{
		my $number = $message->{sub};
		push @asked, $message;
		if ($message->{type} eq 'SUBSCRIBE')
		{
			my $replayed = $message->{has_since} && $message->{id} < $id;
			$feed->subscribed($number, 1, $message->{has_since} ? $message->{id} : $id, replay => $replayed);
			$replay{$number} = { at => $message->{id}, credit => 256 * 1024 } if $replayed;
		}
		elsif ($message->{type} eq 'UNSUBSCRIBE') { delete $replay{$number} }
		elsif ($replay{$number}) { $replay{$number}{credit} += $message->{bytes} }
	}
	for my $number (keys %replay)
	{
		my $its = $replay{$number};
		while ($its->{credit} > 0 && $its->{at} < $id)
		{
			my $text = $log{ ++$its->{at} };
			$feed->replay_event($number, $its->{at}, $text);
			$its->{credit} -= length $text;
		}
		next if $its->{at} < $id;
		$feed->replay_done($number, $id);
		delete $replay{$number};
	}
}

# The number of the next event; undef when none comes, or another message. (Decoding it as JSON
# takes long.)
sub event_id
{
	my ($client, $limit) = @_;
	my $text = $client->next_text($limit) // return undef;
	return $text =~ /^\{"id":(\d+),"x":"x+"\}$/ ? $1 : -1;
}

# The same, while the feed does its part.
sub next_id
{
	my ($client) = @_;
	my $until = time + $Gateway::TIMEOUT;

	while (time < $until && !$client->{close} && !$client->{eof})
	{
		serve();
		my $got = event_id($client, 0.01) // next;
		return $got;
	}
	return undef;
}

# How many of the numbers from this one on to the newest the client gets, each once and in order.
sub read_from
{
	my ($client, $from) = @_;
	my $last = $from;

	while ($last < $id)
	{
		my $got = next_id($client) // last;
		$got == $last + 1 or last;
		$last = $got;
	}
	return $last - $from;
}

# So many events; whether each of these clients gets each at once.
sub publish_to
{
	my ($count, @clients) = @_;
	my $missed = 0;

	for (1 .. $count)
	{
		publish();
		for my $client (@clients)
		{
			$missed++ unless (event_id($client) // -1) == $id;
		}
		serve();
	}
	return $missed == 0;
}

# One that does not read while another does, and then comes back.
my $slow = subscriber(receive_buffer => 65536);
my $fast = subscriber();
ok(publish_to(1000, $fast), 'the fast one gets every event at once');
my ($lagging) = grep { $_->{type} eq 'UNSUBSCRIBE' && $_->{sub} == $slow->{sub} } @asked;
is($lagging->{kinds}, 0x01, 'the events of the slow one are ended at the feed, and not its raw notifications');
cmp_ok($gateway->stats(sub { $_[0]{messages} >= 1000 })->{queued}, '<', 1024 * 1024, 'no more is queued than may be');
@asked = ();
is(read_from($slow, 100), $id - 100, 'when it reads again all of them come');
my @again = grep { $_->{type} eq 'SUBSCRIBE' } @asked;
is_deeply([map { @$_{qw(sub kinds ops has_since)} } @again], [$slow->{sub}, 0x03, 0x1f, 1], 'from a replay');
ok(publish_to(10, $fast, $slow), 'then it gets events as they come');
is($gateway->stats(sub { $_[0]{queued} == 0 })->{closed_slow}, 0, 'no client was closed');

# A burst that is more than the buffer, for one that reads as fast as it can.
publish() for 1 .. 500;
is(read_from($fast, $id - 500), 500, 'a burst beyond the buffer is taken as a whole');
is(read_from($slow, $id - 500), 500, 'by each');

# One that reads a little at a time, with every event published meanwhile.
my $since = $id;
for (1 .. 300)
{
	publish_to(2, $fast);
	next_id($slow) == ++$since or last;
}
is(read_from($slow, $since), $id - $since, 'one that reads more slowly than events come gets them all');

# Asking, and unsubscribing, while lagging.
publish_to(500, $fast);
@asked = ();
$slow->request('ping');
$slow->request('unsubscribe', channel => 'c');
$feed->expect('UNSUBSCRIBE');
publish_to(3, $fast);
my @got;
while (my $text = $slow->next_text)
{
	push @got, $text =~ /^\{"id":(\d+),"x"/ ? $1 : $text;
	last if $text =~ /"result":\{"channel"/;
}
like($got[-1], qr/"result":\{"channel":"c"\}/, 'unsubscribing is answered');
like($got[-2], qr/"result":\{"position":"1-$got[-3]"\}/, 'and so is ping before, with the position of the received events');
ok($slow->quiet, 'and nothing follows');
undef $slow;
serve();

# The link is lost while one lags.
$slow = subscriber(receive_buffer => 65536);
$since = $id;
publish_to(500, $fast);
%replay = ();
$feed = $gateway->feed('postgres', id => $id);
is(read_from($slow, $since), $id - $since, 'a lost link loses no events of lagging subscriptions');
serve();
publish_to(1, $fast, $slow);
undef $slow;

# Notifications are not in the log: a reset reports lost ones.
$slow = subscriber(receive_buffer => 65536);
for my $n (1 .. 500)
{
	$feed->event(0, 0x20, [1], qq({"n":$n,"x":"$filler"}));
	$fast->next_text =~ /^\{"n":$n,/ or die "notification $n";
}
my $n = 0;
my $reset;
while (my $text = $slow->next_text)
{
	$reset = $text;
	$text =~ /^\{"n":(\d+),/ && $1 == $n + 1 ? $n++ : last;
}
cmp_ok($n, '>', 0, 'notifications come');
cmp_ok($n, '<', 500, 'until there are too many');
is($reset, '{"jsonrpc":"2.0","method":"reset","params":{"channel":"c","reason":"notifications were lost",'
	  . qq("position":"1-$id"}}), 'and then a reset');
publish_to(1, $fast, $slow);
undef $slow;

# Those that never read, with a hundred of them.
my @never = map { subscriber(receive_buffer => 65536) } 1 .. 100;
my $begun = $id;
ok(publish_to(400, $fast), 'a hundred that do not read change nothing for the one that does');
$gateway->stats(sub { $_[0]{queued} > 100 * 100_000 });
cmp_ok($gateway->stats(sub { $_[0]{messages} >= 400 })->{queued}, '<', 100 * 1024 * 1024, 'and no more is queued than may be');
$gateway->configure(keepalive => 1000);
my $until = time + 20;
while (time < $until && !(($gateway->{stats}{closed_slow} // 0) == 100))
{
	publish_to(1, $fast);
	$fast->next_text(0.05);
	while (my $message = $gateway->{channel}->next(0))
	{
		$gateway->{stats} = $message if $message->{type} eq 'STATS';
	}
}
is($gateway->{stats}{closed_slow}, 100, 'clients that neither read nor answer pings are closed');
$gateway->configure(keepalive => 0);
my $right = 0;
my $resume;
for my $client (@never)
{
	my $last = $begun;
	while (my $got = event_id($client))
	{
		$got == ++$last or die "gap at $last";
	}
	$resume = $last;
	$right++ if $client->{close}[0] == 4008 && $client->{close}[1] eq "too slow; resume from 1-$last";
}
is($right, 100, 'with 4008 and the position of the last event they got');
undef @never;
$feed->next(0) for 1 .. 1000;
my $resumed = $gateway->client;
$resumed->request('subscribe', channel => 'c', since => "1-$resume");
serve() until keys %replay;
$resumed->reply;
is(read_from($resumed, $resume), $id - $resume, 'and nothing is lost from there');
undef $resumed;

# A slow client with a replay gets the lower position.
my $both = subscriber(receive_buffer => 65536);
$both->request('subscribe', channel => 'replayed', since => '1-40');
my $second = $feed->expect('SUBSCRIBE');
$feed->subscribed($second->{sub}, 2, 40, replay => 1);
$both->reply;
$feed->replay_event($second->{sub}, 41, '{"id":41}');
is($both->message->{id}, 41, 'a replay has begun');
publish_to(400, $fast);
$gateway->configure(keepalive => 1000);
$until = time + 20;
while (time < $until && $gateway->{stats}{closed_slow} < 101)
{
	$fast->next_text(0.05);
	while (my $message = $gateway->{channel}->next(0))
	{
		$gateway->{stats} = $message if $message->{type} eq 'STATS';
	}
}
$gateway->configure(keepalive => 0);
1 while $both->next_text;
is_deeply($both->{close}, [4008, 'too slow; resume from 1-41'], 'the lowest position');
undef $both;

# In a replay credit keeps the feed from sending more than fits.
my $replayed = subscriber(receive_buffer => 65536, since => '1-1', id => 1, replay => 1);
my $credit = 256 * 1024;
my $r = 1;
while ($r < 1000)
{
	while ($credit > 0)
	{
		my $text = text(++$r);
		$feed->replay_event($replayed->{sub}, $r, $text);
		$credit -= length $text;
	}
	my $message = $feed->next(2) // last;
	$credit += $message->{bytes} if $message->{type} eq 'REPLAY_CREDIT';
}
cmp_ok($r, '<', 1000, 'a replay stops when its client does not read');
my $stats = $gateway->stats(sub { $_[0]{queued} > 0 && $_[0]{queued} < 400_000 });
cmp_ok($stats->{queued}, '<', 256 * 1024 + 100_000, 'with no more queued than the window');
my $last = 1;
while ($last < $r)
{
	(event_id($replayed) // 0) == $last + 1 ? $last++ : last;
}
is($last, $r, 'nothing of it is lost');
ok($feed->expect('REPLAY_CREDIT'), 'and it continues when the client reads');
$feed->replay_done($replayed->{sub}, $id);

# One event that is larger than the buffer is no reason to close.
$id++;
$feed->event($id, 0x01, [1], '{"x":"' . ('y' x 5_000_000) . '"}');
is(length $fast->next_text, 5_000_008, 'an event larger than the buffer arrives');
is(length $replayed->next_text, 5_000_008, 'for each');

# It shuts its side down while the WebSocket library keeps a part of a write for it: the library
# would then turn in circles until a timeout of its own, 5 s later. Small segments make the kernel's
# buffer so small that it has to.
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
	$_->next_text for $fast, $replayed;
}
$gateway->stats(sub { $_[0]{queued} > 1_000_000 });
$since = time;
shutdown $half->{socket}, 1;
$gateway->stats(sub { $_[0]{clients} == 2 });
cmp_ok(time - $since, '<', 4, 'a half-closed client is soon closed');
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
is($fast->closed->[0], 1008, 'anonymous clients are closed when they are not allowed any more');
is($feed->expect('UNSUBSCRIBE')->{type}, 'UNSUBSCRIBE', 'and the feed is told');

$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
