# Peers that vanish without closing: no packet arrives from them, not even an acknowledgement.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Socket qw(SOL_SOCKET SO_ATTACH_FILTER);
use Test::More;
use Time::HiRes qw(time);

my $keepalive = 1;
my $gateway = Gateway->new(keepalive => 0, client_buffer => 1024 * 1024);
my $feed = $gateway->feed('postgres', id => 100);
my $id = 100;

# Have the kernel throw away what arrives for this client (socket(7)): a filter with one
# instruction, keep 0 bytes. Where that is not permitted, packets are acknowledged, but nobody reads
# or answers.
sub black_hole
{
	my ($client) = @_;
	my $filter = pack 'SCCL', 0x06, 0, 0, 0;

	$client->{deaf} = setsockopt $client->{socket}, SOL_SOCKET, SO_ATTACH_FILTER, pack('S x![J] P', 1, $filter)
	  or note "no filter: $!";
}

sub subscriber
{
	my $client = $gateway->client;

	$client->request('subscribe', channel => 'c');
	$client->{sub} = $feed->accept(1, $id)->{sub};
	$client->reply;
	return $client;
}

# Events go on meanwhile, each to the healthy client at once. Returns after how many seconds the
# dead one is ended at the feed.
sub ended
{
	my ($dead, $healthy, $size) = @_;
	my $start = time;

	$gateway->configure(keepalive => $keepalive * 1000);
	black_hole($dead);
	while (time < $start + $Gateway::TIMEOUT)
	{
		if ($size)
		{
			$feed->event(++$id, 0x01, [1], sprintf '{"id":%d,"x":"%s"}', $id, 'x' x $size);
			($healthy->next_text // '') =~ /^\{"id":$id,/ or return undef;
		}
		else { $healthy->next_text(0.05) }
		while (my $message = $feed->next(0.02))
		{
			next unless $message->{type} eq 'UNSUBSCRIBE' && $message->{sub} == $dead->{sub};
			$gateway->configure(keepalive => 0);
			return time - $start;
		}
	}
	return undef;
}

my $healthy = subscriber();
my $descriptors = $gateway->descriptors;
my $quiet = subscriber();
my $seconds = ended($quiet, $healthy, 0);
cmp_ok($seconds, '>=', $keepalive, 'a peer that is gone is asked first');
cmp_ok($seconds, '<', 4 * $keepalive, 'and found by keepalive');
is($gateway->stats(sub { $_[0]{clients} == 1 })->{closed_slow}, 0, 'its connection ends, though it never answers');

my $busy = subscriber();
ok(ended($busy, $healthy, 5000), 'so it is where there is something to send all the time');
$gateway->stats(sub { $_[0]{clients} == 1 });
ok($gateway->until(sub { $gateway->descriptors <= $descriptors }), 'nothing is left of either');
ok(!$_->{deaf} || !$_->read_some(0.01), 'nothing has reached a peer that is gone') for $quiet, $busy;

$gateway->stop;
is($healthy->closed->[0], 1001, 'the healthy one was there throughout');
is($gateway->wait, 0, 'it ends');

done_testing;
