# Clients that send requests without end or do not read answers: what they cost the gateway, its
# link and other clients.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use IO::Select;
use Test::More;
use Time::HiRes qw(time);

my $gateway = Gateway->new(max_clients => 1000);
my $feed = $gateway->feed('postgres', id => 100);
my $other = $gateway->client;

# Megabytes that the gateway takes; 0 where a sanitizer keeps what is freed.
sub memory
{
	my ($status, $maps) = map { open my $file, '<', "/proc/$gateway->{pid}/$_" or die "$_: $!"; join '', <$file> } qw(status maps);
	return $maps =~ /libasan/ ? 0 : ($status =~ /^VmRSS:\s+(\d+)/m)[0] / 1024;
}

# Have each of these clients send all of this, as far as it is taken; until none has taken any for a
# while.
sub pour
{
	my ($bytes, @clients) = @_;
	my %left = map { fileno $_->{socket} => $bytes } @clients;
	my $select = IO::Select->new(map { $_->{socket} } @clients);
	my $sent = 0;

	$_->{socket}->blocking(0) for @clients;
	while ($select->count and my @ready = $select->can_write(1))
	{
		for my $socket (@ready)
		{
			my $n = syswrite($socket, $left{ fileno $socket }) // 0;
			substr $left{ fileno $socket }, 0, $n, '';
			$sent += $n;
			$select->remove($socket) if !length $left{ fileno $socket };
		}
	}
	$_->{socket}->blocking(1) for @clients;
	return $sent;
}

# Wait until the gateway has dealt with all that it wants to.
sub settled
{
	my ($cpu, $since) = ($gateway->cpu, time);
	$gateway->until(sub {
		my $now = $gateway->cpu;
		($cpu, $since) = ($now, time) if $now > $cpu;
		return time - $since > 0.3;
	}) or die 'the gateway is busy without end';
}

# Sixty that subscribe and unsubscribe, each thousands of times, while the feed answers nothing.
my @flood = map { $gateway->client } 1 .. 60;
my ($subscribe, $unsubscribe) = map { $flood[0]->frame(1, qq({"method":"$_","channel":"c"})) } qw(subscribe unsubscribe);
my $before = memory();
pour("$subscribe$unsubscribe" x 4000, @flood);
settled();
cmp_ok(memory() - $before, '<', 30, 'requests that the feed does not answer do not fill memory');

my @frames;
while (my $frame = $feed->next(1)) { push @frames, $frame }
cmp_ok(scalar(grep { $_->{type} eq 'SUBSCRIBE' } @frames), '<=', 128, 'few of them are sent');
cmp_ok(scalar(@frames), '<=', 256, 'and what takes them back');

# Another one's turn comes soon, however much the others still have to ask for.
my $stream = 1;
sub serve
{
	my ($frame) = @_;
	$feed->subscribed($frame->{sub}, $stream++, 100) if $frame->{type} eq 'SUBSCRIBE';
}
$other->request('subscribe', channel => 'other');
serve($_) for @frames;
my ($served, $found) = (0, 0);
while (!$found and my $frame = $feed->next)
{
	serve($frame);
	$served++ if $frame->{type} eq 'SUBSCRIBE';
	$found = ($frame->{channel} // '') eq 'other';
}
ok($found, 'another one subscribes');
cmp_ok($served, '<=', 1 + 128 + @flood, 'before that, each of the others has had no more than its turn');
is($other->reply->{channel}, 'other', 'and has its answer');
is($gateway->stats(sub { $_[0]{accepted} == 61 })->{clients}, 61, 'nobody is closed');
close $_->{socket} for @flood;
undef @flood;
while ($gateway->{stats}{clients} > 1)
{
	while (my $frame = $feed->next(0)) { serve($frame) }
	my $message = $gateway->{channel}->next(0.01) // next;
	$gateway->{stats} = $message if $message->{type} eq 'STATS';
}

# Those that do not take the answers to what is no request at all.
my @silent = map { $gateway->client(receive_buffer => 4096) } 1 .. 100;
$before = memory();
pour($silent[0]->frame(1, '{}') x 11000, @silent);
settled();
ok($other->call('ping'), 'others are answered');
cmp_ok((memory() - $before) * 1024 / @silent, '<', 160, 'none of them costs much memory');
my $stats = $gateway->stats(sub { $_[0]{clients} == 101 });
while (my $message = $gateway->{channel}->next(1.5)) { $stats = $message if $message->{type} eq 'STATS' }
cmp_ok($stats->{queued} / @silent, '<', 65536, 'for none of them much is queued');
is($stats->{closed_slow}, 0, 'and none of them is closed for that');

# One that reads again has its answers, and can go on.
my $back = pop @silent;
my $answers = 0;
while ($answers < 600 and my $text = $back->next_text) { $answers++ if $text =~ /-32600/ }
is($answers, 600, 'one that reads again gets the answers, more of them than were queued');
$back->{socket}->blocking(1);

# They are gone: nothing stays behind, though what they had sent was never read.
my $descriptors = $gateway->descriptors;
my $count = @silent;
close $_->{socket} for @silent;
undef @silent;
ok($gateway->until(sub { $gateway->descriptors <= $descriptors - $count }), 'those that leave unread are found to be gone');
ok($other->call('ping'), 'the others are still there');

$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
