# What the gateway reports about its clients to backends.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;
use Time::HiRes qw(time);

my $gateway = Gateway->new;
my $feed = $gateway->feed('postgres', id => 100);
my $filler = 'x' x 20_000;

is_deeply($gateway->clients, {}, 'no clients');
my $idle = $gateway->backend;
is_deeply($gateway->clients($idle), {}, 'nor for another backend');

# the row of a client
my $since = time;
my $client = $gateway->client(headers => { 'Sec-WebSocket-Protocol' => 'pg_notifyd.v1' });
my $port = $client->{socket}->sockport;
for my $channel ("caf\xc3\xa9", 'b')
{
	$client->request('subscribe', channel => $channel);
	$feed->accept(1 + ($channel eq 'b'), 100);
	$client->reply;
}
$feed->event(101, 0x01, [1], '{"e":101}');
$client->message;
$feed->position(103);
$client->call('ping');
my $told = $gateway->clients->{$port};
my $connected_at = delete $told->{connected_at};
ok($connected_at >= ($since - 1) * 1e6 && $connected_at <= (time + 1) * 1e6, 'when it connected');
cmp_ok(delete $told->{bytes}, '>', 100, 'bytes written to it');
is_deeply($told,
	{ type => 'CLIENT', port => $port, address => '127.0.0.1', database => 'postgres', role => '',
		subprotocol => 'pg_notifyd.v1', channels => [ 'b', "caf\xc3\xa9" ], timeline => 1, id => 103, lag => 0,
		queued => 0, queued_us => 0, messages => 4, subject => '', claims => '', expires_at => 0, number => 0 },
	'all else');
my $plain = $gateway->client;
is_deeply([ @{ $gateway->clients->{ $plain->{socket}->sockport } }{qw(subprotocol channels messages)} ], [ '', [], 0 ],
	'one that has asked for nothing');
is($gateway->clients->{$port}{connected_at}, $connected_at, 'the time is the same whenever one asks');
close $plain->{socket};
$gateway->stats(sub { $_[0]{clients} == 1 });
is_deeply([ keys %{ $gateway->clients } ], [$port], 'who has left is not told of');

# one that does not read: its position is that of what was written
my $slow = $gateway->client(receive_buffer => 65536);
$slow->request('subscribe', channel => 'slow');
$feed->accept(5, 103);
$slow->reply;
my $id = 103;
while ($id < 1103)
{
	$feed->event(++$id, 0x01, [5], qq({"id":$id,"x":"$filler"})) for 1 .. 10;
	$feed->event($id + 1, 0x01, [1], '{}');
	$id++;
	$client->next_text;
	$told = $gateway->clients->{ $slow->{socket}->sockport };
	last if $told->{queued} > 1_000_000;
}
cmp_ok($told->{queued}, '>', 1_000_000, 'what is queued for one that does not read');
is($told->{id} + $told->{lag}, $id, 'its position is as far behind as is said');
cmp_ok($told->{lag}, '>=', int($told->{queued} / 21_000), 'by all that is queued');
cmp_ok($told->{id}, '>=', 103, 'but not further than it was');
my $expected = $told->{id};
my $last = 103;
my $events = 0;
while ($last < $id - 1)
{
	my ($next) = $slow->next_text =~ /"id":(\d+)/;
	$last = $next;
	$events++;
}
cmp_ok($expected, '<', $last, 'what is queued comes after the position');
ok($gateway->until(sub { my $t = $gateway->clients->{ $slow->{socket}->sockport }; $t->{lag} == 0 && $t->{queued} == 0 }),
	'nothing is left when it has read all');
is($gateway->clients->{ $slow->{socket}->sockport }{messages}, $events + 1, 'all messages are counted');
undef $slow;
$gateway->stats(sub { $_[0]{clients} == 1 });

# Many clients, and a backend that does not read: others are served, clients come and go, the list
# is right.
my @many = map { $gateway->client } 1 .. 150;
my %stay = map { $_->{socket}->sockport => 1 } $client, @many;
my $number = 10;
for my $i (0 .. $#many)
{
	for my $c (1 .. 40)
	{
		$many[$i]->text(sprintf '{"method":"subscribe","channel":"%s%03d%02d"}', 'c' x 50, $i, $c);
	}
	$feed->accept($number++, $id) for 1 .. 40;
}
my $stuck = $gateway->backend;
my $whole = $gateway->clients;
is_deeply([ sort keys %$whole ], [ sort keys %stay ], 'every client is told of once');
is(scalar @{ $whole->{ $many[7]{socket}->sockport }{channels} }, 40, 'with all of its channels');
my @closed = map { splice @many, rand @many, 1 } 1 .. 60;
delete $stay{ $_->{socket}->sockport } for @closed;
my %perhaps = map { $_->{socket}->sockport => 1 } @closed;
undef @closed;
$gateway->stats(sub { $_[0]{clients} == 91 });
is($client->quiet, 1, 'a backend that does not read is in nobody\'s way');
my $late = $gateway->client;
is_deeply([ sort keys %{ $gateway->clients } ], [ sort keys %stay, $late->{socket}->sockport ],
	'nor in that of another backend');
my $rest = $gateway->clients($stuck);
is_deeply([ grep { !$rest->{$_} } keys %stay ], [], 'when it goes on, it gets all that have stayed');
is_deeply([ grep { !$stay{$_} && !$perhaps{$_} } keys %$rest ], [], 'no one else');
cmp_ok(scalar keys %$rest, '<', 151, 'and not all who have left meanwhile');

# A backend that leaves in the middle, or does not hang up, leaves nothing behind.
my $descriptors = $gateway->descriptors;
for (1 .. 20)
{
	my $backend = $gateway->backend;
	$backend->expect('HELLO');
}
undef $stuck;
ok($gateway->until(sub { $gateway->descriptors < $descriptors }), 'connections of backends that left are closed');
is_deeply([ sort keys %{ $gateway->clients } ], [ sort keys %stay, $late->{socket}->sockport ], 'and others are told all');
ok($idle->ended, 'a backend that does not hang up is hung up on');
my $rude = $gateway->backend;
$rude->send(20, pack('vvVVQ<V/a*', 1, 0, 5, 1, 1, 'postgres'));
ok($rude->ended, 'a backend cannot become a feed');
is($client->quiet, 1, 'the feed is still that of before');

$gateway->stop;
is($gateway->wait, 0, 'it ends');

done_testing;
