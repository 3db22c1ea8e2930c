#!/usr/bin/perl
# What permessage-deflate costs the gateway and saves on the network, beside the same events uncompressed: for events of three sizes,
# and for 1, 100 and 1,000 clients. The script plays launcher, feed and clients, as test/gateway does, and sends an event when all
# clients have the last one. PG_NOTIFYD_GATEWAY is the program. Prints a table for doc/compression.md.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../test/gateway";

use Gateway;
use List::Util qw(sum);

my @words = ('pending', 'shipped', 'Berlin', 'Sophie Martin', 'customer', 'invoice', '2026-11-27T21:10:55.123456+00:00', 'express',
	'notes about the order that a clerk has typed', 'street', 'postcode', 'EUR');
my $rounds = $ENV{ROUNDS} // 5;

sub row
{
	my ($id, $columns) = @_;
	return join ',', qq("id":$id), map { sprintf '"column_%d":"%s %d"', $_, $words[ rand @words ], rand 100_000 } 1 .. $columns;
}

# An event as the feed sends it: of a row with so many columns, or as many such rows as a snapshot sends at a time.
sub event
{
	my ($id, $columns, $rows) = @_;
	my $new = join ',', map { '{' . row($id + $_, $columns) . '}' } 1 .. $rows;

	return qq({"position":"1-$id","channel":"orders","op":"UPDATE","schema":"public","table":"orders","key":{"id":$id},"new":)
	  . ($rows > 1 ? "[$new]" : $new) . '}';
}

# Seconds of processor time of the gateway, in nanoseconds.
sub cpu
{
	my ($gateway) = @_;
	open my $stat, '<', "/proc/$gateway->{pid}/schedstat" or die "schedstat: $!";
	return (split ' ', <$stat>)[0];
}

# Memory of the gateway in kB.
sub memory
{
	my ($gateway) = @_;
	open my $status, '<', "/proc/$gateway->{pid}/smaps_rollup" or die "smaps_rollup: $!";
	return (join('', <$status>) =~ /^Private_Dirty:\s+(\d+)/m)[0];
}

# A gateway with so many clients that have subscribed.
sub start
{
	my ($compressed, $clients) = @_;
	my $gateway = Gateway->new(compression => 1, max_clients => 2000);
	my $feed = $gateway->feed('postgres');
	my %offer = $compressed ? (headers => { 'Sec-WebSocket-Extensions' => 'permessage-deflate' }) : ();
	my @clients;
	my $before = memory($gateway);

	for (1 .. $clients)
	{
		my $client = $gateway->client(%offer);
		$client->request('subscribe', channel => 'orders');
		$feed->accept(1, 100);
		$client->reply;
		push @clients, $client;
	}
	return { gateway => $gateway, feed => $feed, clients => \@clients, id => 100, memory => (memory($gateway) - $before) / $clients };
}

# Send events; the bytes of one on the network, and the gateway's microseconds for one.
sub measure
{
	my ($side, $texts) = @_;
	my ($first, @others) = @{ $side->{clients} };
	my ($bytes, $before) = (0, cpu($side->{gateway}));

	for my $text (@$texts)
	{
		$side->{feed}->event(++$side->{id}, 0x01, [1], $text);
		$first->{buffer} = '';
		my $frame;
		my $size = 0;
		do
		{
			$frame = $first->next_frame // die 'no event';
			$size += length($frame->[1]) + (length $frame->[1] < 126 ? 2 : 4);
		} until $frame->[2];
		$bytes += $size;
		for my $client (@others)
		{
			my $left = $size;
			while ($left > 0) { $left -= sysread($client->{socket}, my $buffer, $left) || die 'the connection has ended'; }
		}
	}
	return ($bytes / @$texts, (cpu($side->{gateway}) - $before) / 1000 / @$texts);
}

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ]; }

srand 1;
print "| event | clients | bytes, plain | compressed | µs of the gateway, plain | compressed |\n|---|---|---|---|---|---|\n";
my %memory;
for my $clients (1, 100, 1000)
{
	my @sides = map { start($_, $clients) } 0, 1;

	$memory{$clients} = [ map { $_->{memory} } @sides ];
	for my $kind ([ 3, 1, 300 ], [ 58, 1, 150 ], [ 10, 200, 30 ])
	{
		my ($columns, $rows, $count) = @$kind;
		my @texts = map { event($_, $columns, $rows) } 1 .. $count;
		my (@bytes, @micros);

		for (0 .. $rounds)
		{
			for my $i (0, 1)
			{
				my ($bytes, $micros) = measure($sides[$i], \@texts);
				$bytes[$i] = $bytes;
				# The first round is not counted.
				push @{ $micros[$i] }, $micros if $_ > 0;
			}
		}
		printf "| %s | %d | %d | %d (%d %%) | %.0f | %.0f |\n", sprintf('%.1f kB', $bytes[0] / 1000), $clients, @bytes, 100 * $bytes[1] / $bytes[0],
		  map { median(@$_) } @micros;
	}
}
printf "\nMemory of the gateway for a client, with 1,000: %.1f kB plain, %.1f kB compressed\n", @{ $memory{1000} };
