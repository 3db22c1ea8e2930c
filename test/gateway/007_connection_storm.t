# Clients connect, die and half-close in great numbers while events flow; best under a sanitizer.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;

my $rounds = $ENV{PG_NOTIFYD_STORM} // 300;
my $gateway = Gateway->new(client_buffer => 100_000, max_clients => 100_000);
my $feed = $gateway->feed('postgres');
my $id = 100;
my $handshake = $gateway->handshake =~ s/\n/\r\n/gr;
my $ping = Gateway::Client::frame(undef, 1, '{"id":1,"method":"ping"}');
my $subscribe = Gateway::Client::frame(undef, 1, '{"id":1,"method":"subscribe","channel":"c"}');
my $replay = Gateway::Client::frame(undef, 1, '{"id":2,"method":"subscribe","channel":"d","since":"1-1"}');
my %streams = (c => 1, d => 2, steady => 99);

my $steady;

# The feed's side: answer requests, and send some events.
sub pump
{
	while (my $message = $feed->next(0))
	{
		my $sub = $message->{sub};
		if ($message->{type} eq 'SUBSCRIBE')
		{
			my $again = $message->{has_since} ? 1 : 0;
			$feed->subscribed($sub, $streams{ $message->{channel} }, $again ? $message->{id} : $id, replay => $again);
			next unless $again;
			$feed->replay_event($sub, $_, '{"r":"' . ('x' x 5000) . '"}') for $message->{id} + 1 .. $message->{id} + 20;
			$feed->replay_done($sub, $message->{id} + 20);
		}
	}
	# The steady client answers its pings, however long the storm takes.
	1 while $steady->message(0.001);
	$id++;
	$feed->event($id, 0x01, [1, 2], '{"e":"' . ('x' x (int rand 20_000)) . '"}');
}

$steady = $gateway->client;
$steady->request('subscribe', channel => 'steady');
my $s = $feed->expect('SUBSCRIBE');
$feed->subscribed($s->{sub}, 99, 100);
$steady->reply;

my $descriptors = $gateway->descriptors;
$SIG{PIPE} = 'IGNORE';
srand 1;
my @open;
for my $round (1 .. $rounds)
{
	my $socket = $gateway->connect;
	my $bytes = $handshake . $subscribe . $replay . $ping;
	# Some are cut off anywhere in between.
	$bytes = substr $bytes, 0, int rand length $bytes if rand() < 0.3;
	syswrite $socket, $bytes;
	push @open, $socket;
	pump();
	while (@open > 20)
	{
		my $victim = splice @open, int rand @open, 1;
		my $kind = int rand 4;
		if ($kind == 0) { setsockopt $victim, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0); close $victim; }	  # a reset
		elsif ($kind == 1) { shutdown $victim, 1; push @open, $victim if rand() < 0.5; }					# half-closed
		elsif ($kind == 2) { syswrite $victim, Gateway::Client::frame(undef, 8, pack 'n', 1000); close $victim; }
		else { close $victim; }
	}
	if ($round % 100 == 0)
	{
		# The feed goes away in the middle of it, and comes back.
		close $feed->{socket};
		$feed = $gateway->feed('postgres', id => $id);
	}
}
@open = ();
my $stats = $gateway->stats(sub { pump(); $_[0]{clients} == 1 && $_[0]{queued} == 0 });
is($stats->{clients}, 1, 'all clients but one have ended');
is($stats->{subscriptions}, 1, 'and so are their subscriptions');
cmp_ok($stats->{accepted}, '>', $rounds / 10, 'many had come');
ok($gateway->until(sub { $gateway->descriptors <= $descriptors }), 'no descriptor is leaked') or diag $gateway->descriptors;
$feed->event($id += 100, 0x01, [99], '{"e":"steady"}');
my $message = $steady->message;
$message = $steady->message while $message && !$message->{e};
is_deeply($message, { e => 'steady' }, 'the one that stayed is served');

# A thousand at once, each with a subscription; then all end at once.
my @clients = map { $gateway->connect } 1 .. 500;
syswrite $_, $handshake . $subscribe for @clients;
$stats = $gateway->stats(sub { pump(); $_[0]{clients} == 501 });
is($stats->{clients}, 501, 'five hundred at once');
@clients = ();
$stats = $gateway->stats(sub { pump(); $_[0]{clients} == 1 });
is($stats->{subscriptions}, 1, 'and none');

$gateway->stop;
is($gateway->wait, 0, 'it ends, and a sanitizer has found nothing');

done_testing;
