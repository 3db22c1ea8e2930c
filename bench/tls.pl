#!/usr/bin/perl
# What TLS costs the gateway, beside the same clients without: a new client, memory of an idle one, and an event for all of them; with a
# certificate for ECDSA and one for RSA. The script plays launcher, feed and clients, as test/gateway does; the three gateways take turns.
# PG_NOTIFYD_GATEWAY is the program, CLIENTS=300 and ROUNDS=7 the size. Prints a table for doc/tls.md.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/gateway";

use Gateway;
use IO::Socket::SSL::Utils qw(KEY_create_ec KEY_create_rsa);

my $clients = $ENV{CLIENTS} // 300;
my $rounds = $ENV{ROUNDS} // 7;
my $newcomers = 100;
my $events = 60;
my @sizes = (200, 2000, 16000);
my @names = ('plain', 'TLS 1.3, ECDSA P-256', 'TLS 1.3, RSA 2048');

# Processor time of the gateway in microseconds.
sub cpu
{
	my ($side) = @_;
	open my $stat, '<', "/proc/$side->{gateway}{pid}/schedstat" or die "schedstat: $!";
	return (split ' ', <$stat>)[0] / 1000;
}

# Memory of the gateway in kB.
sub memory
{
	my ($side) = @_;
	open my $status, '<', "/proc/$side->{gateway}{pid}/smaps_rollup" or die "smaps_rollup: $!";
	return (join('', <$status>) =~ /^Private_Dirty:\s+(\d+)/m)[0];
}

sub start
{
	my (@certificate) = @_;
	my $gateway = Gateway->new(max_clients => 2000, @certificate ? (ssl => 1, chain => $certificate[0], key => $certificate[1]) : ());
	my $side = { gateway => $gateway, feed => $gateway->feed('postgres'), id => 100 };
	my $before;

	# Some come first, so that what the gateway takes only once does not count.
	for my $i (1 .. 20 + $clients)
	{
		my $client = $gateway->client;
		$client->request('subscribe', channel => 'orders');
		$side->{feed}->accept(1, 100);
		$client->reply;
		push @{ $side->{clients} }, $client;
		$before = memory($side) if $i == 20;
	}
	$side->{memory} = (memory($side) - $before) / $clients;
	return $side;
}

# The processor time of a new client, from accept() to the answer to its WebSocket handshake.
sub connections
{
	my ($side) = @_;
	my $before = cpu($side);
	my @new = map { $side->{gateway}->client } 1 .. $newcomers;
	my $took = (cpu($side) - $before) / $newcomers;

	close $_->{socket} for @new;
	$side->{gateway}->stats(sub { $_[0]{clients} == @{ $side->{clients} } });
	return $took;
}

# The processor time of an event for one client. The next event is sent when all clients have the last one.
sub fan_out
{
	my ($side, $size) = @_;
	my ($first, @others) = @{ $side->{clients} };
	my $before = cpu($side);

	for (1 .. $events)
	{
		$side->{feed}->event(++$side->{id}, 0x01, [1], sprintf '{"new":"%s"}', 'x' x $size);
		$first->{buffer} = '';
		my $frame = $first->next_frame // die 'no event';
		my $bytes = length($frame->[1]) + (length $frame->[1] < 126 ? 2 : 4);
		for my $client (@others)
		{
			my $left = $bytes;
			while ($left > 0) { $left -= sysread($client->{socket}, my $buffer, $left) || die 'the connection has ended'; }
		}
	}
	return (cpu($side) - $before) / $events / @{ $side->{clients} };
}

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ]; }

my @sides = (start(), start(Gateway::certificate(KEY_create_ec('prime256v1'))), start(Gateway::certificate(KEY_create_rsa(2048))));
my @measures = (['a new client', \&connections], map { my $size = $_; [ sprintf('an event of %.1f kB for a client', $size / 1000), sub { fan_out($_[0], $size) } ] } @sizes);

# The first round is not counted. Ratios are the medians of the rounds' own.
for my $round (0 .. $rounds)
{
	for my $measure (@measures)
	{
		my @took;
		$took[$_] = $measure->[1]->($sides[$_]) for $round % 2 ? (0 .. $#sides) : reverse 0 .. $#sides;
		next if $round == 0;
		push @{ $measure->[2][$_] }, $took[$_] for 0 .. $#sides;
		push @{ $measure->[3][$_] }, $took[$_] / $took[0] for 0 .. $#sides;
	}
}

print '| | ', join(' | ', @names), " |\n|---|", '---|' x @names, "\n";
printf "| memory of an idle client, kB | %s |\n", join ' | ', map { sprintf '%.1f', $_->{memory} } @sides;
for my $measure (@measures)
{
	my (undef, undef, $took, $ratios) = @$measure;
	printf "| %s, µs | %s |\n", $measure->[0],
	  join ' | ', map { sprintf('%.1f', median(@{ $took->[$_] })) . ($_ ? sprintf(' (× %.2f)', median(@{ $ratios->[$_] })) : '') } 0 .. $#sides;
}
printf "| events/s of 0.2 kB to %d clients that the processor time allows | %s |\n", scalar @{ $sides[0]{clients} },
  join ' | ', map { sprintf '%.0f', 1e6 / median(@{ $measures[1][2][$_] }) / @{ $sides[0]{clients} } } 0 .. $#sides;
