# Clients that subscribe and unsubscribe in a loop do not disturb other clients or close the feed's
# link.
use strict;
use warnings;

use IO::Select;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $clients = 30;
my $seconds = 4;
my $node = notifyd_node('flood');
$node->safe_psql(
	'postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders');
});

# A masked text frame; the mask is zero.
sub frame { return pack('CC', 0x81, 0x80 | length $_[0]) . "\0\0\0\0$_[0]" }

# Have a process of its own send such requests, and read the answers, on so many connections.
sub flood
{
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	my $text = join('', map { frame(qq({"method":"$_","channel":"orders"})) } qw(subscribe unsubscribe)) x 100;
	my %at;
	my @sockets = map { (raw_handshake($node))[0] } 1 .. $clients;
	my ($in, $out) = (IO::Select->new(@sockets), IO::Select->new(@sockets));

	$_->blocking(0) for @sockets;
	while ($out->count)
	{
		my ($readable, $writable) = IO::Select->select($in, $out, undef, 1);
		for my $socket (@{ $readable // [] })
		{
			next if sysread $socket, my $answers, 262144;
			$_->remove($socket) for $in, $out;
		}
		for my $socket (@{ $writable // [] })
		{
			my $at = $at{$socket} // 0;
			$at{$socket} = ($at + (syswrite($socket, $text, 8192, $at) // 0)) % length $text;
		}
	}
	POSIX::_exit(0);
}

my $client = notifyd_client($node);
my $healthy = notifyd_client($node);
my $position = $healthy->subscribe('orders')->{position};

# The longest of the times that it takes to subscribe, in this many seconds.
sub longest
{
	my ($limit) = @_;
	my ($longest, $count) = (0, 0);
	my $until = time + $limit;

	while (time < $until)
	{
		my $start = time;
		$client->subscribe('orders');
		$longest = time - $start if time - $start > $longest;
		$client->unsubscribe('orders');
		$count++;
	}
	note sprintf '%d subscriptions, the longest took %.1f ms', $count, $longest * 1000;
	return $longest;
}

longest(0.5);
my $pid = flood();
cmp_ok(longest($seconds), '<', 1, "$clients clients with many requests hardly delay others' subscriptions");
$node->safe_psql('postgres', 'INSERT INTO orders SELECT generate_series(1, 1000)');
is($healthy->next_event->{new}{id}, $_, "event $_ of a client that was there before") for 1, 2;
$healthy->wait_for(sub { grep { ($_->{params}{new}{id} // 0) == 1000 } @{ $healthy->{received} } }, 'the last event');
is(scalar(grep { $_->{method} && $_->{method} eq 'reset' } @{ $healthy->{received} }), 0, 'its link was not lost');
kill 'KILL', $pid;
waitpid $pid, 0;
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.clients') == 2 }, 'the end of the flood');
cmp_ok(longest(0.5), '<', 1, 'and afterwards all is as before');

$_->close for $client, $healthy;
$node->stop;
done_testing();
