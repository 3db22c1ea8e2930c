# Start, inherited descriptors, reload, limits, and every way to end.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

# by hand
my $program = Gateway::program();
my $said = qx("$program" 2>&1 3<&-);
is($? >> 8, 64, 'started by hand it exits with 64');
like($said, qr/^pg_notifyd-gateway is [^\n]+\n\z/, 'and one line about the program');
qx("$program" 2>&1 3</dev/null);
is($? >> 8, 64, 'a descriptor 3 that is no socket is not enough');

# ways to end
for my $way (
	['STOP 1001', sub { $_[0]->stop(1001) }, 1001],
	['STOP 1012', sub { $_[0]->stop(1012) }, 1012],
	['SIGTERM', sub { kill 'TERM', $_[0]{pid} }, 1012])
{
	my ($name, $do, $code) = @$way;
	my $gateway = Gateway->new;
	my $feed = $gateway->feed('postgres');
	my $client = $gateway->client;
	my $pending = $gateway->connect;
	my $mute = $gateway->client;
	kill $_, $gateway->{pid} for 'HUP', 'INT', 'PIPE';
	ok($client->quiet, 'SIGHUP, SIGINT and SIGPIPE are ignored');
	$do->($gateway);
	is($client->closed->[0], $code, "$name closes clients with $code");
	is($gateway->wait(5), 0, 'and ends the gateway with 0, even if a client does not answer');
	ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $gateway->{port}), 'nothing listens any more');
}
{
	my $gateway = Gateway->new;
	my $client = $gateway->feed('postgres') && 1;
	close $gateway->{channel}{socket};
	$gateway->{channel}{eof} = 1;
	is($gateway->wait(5), 0, 'it ends with the channel');
}
{
	my $gateway = Gateway->new;
	kill 'QUIT', $gateway->{pid};
	is($gateway->wait(5) >> 8, 2, 'SIGQUIT ends it at once');
}

# the queue is still sent after STOP
{
	my $gateway = Gateway->new;
	my $feed = $gateway->feed('postgres');
	my $client = $gateway->client;
	$client->request('subscribe', channel => 'c');
	$feed->accept(1, 100);
	$client->reply;
	$feed->event(101, 0x01, [1], '{"x":"' . ('y' x 6_000_000) . '"}');
	$gateway->stats(sub { $_[0]{events} == 1 });
	$gateway->stop;
	is(length $client->next_text, 6_000_008, 'a large event is still delivered after STOP');
	is($client->closed->[0], 1001, 'and then the close');
	is($gateway->wait(5), 0, 'it ends');
}

# nothing to do: it sleeps, until there is something that has a time limit
{
	my $gateway = Gateway->new;
	my $feed = $gateway->feed('postgres');
	my $client = $gateway->client;
	close $client->{socket};
	$gateway->stats(sub { $_[0]{accepted} == 1 && $_[0]{clients} == 0 });
	$gateway->{channel}->next(1.5);
	my $wakeups = $gateway->wakeups;
	$gateway->{channel}->next(3);
	is($gateway->wakeups, $wakeups, 'without clients it sleeps');
	my $slow = $gateway->connect;
	syswrite $slow, "GET /ws HTTP/1.1\r\n";
	like($gateway->answer($slow), qr/^HTTP\/1\.1 408 /, 'but a handshake that is not complete in time is answered with 408');
	$gateway->stop;
	is($gateway->wait(5), 0, 'it ends');
}

# its descriptors and command line
my $gateway = Gateway->new(limit => 100, max_clients => 1000);
my $feed = $gateway->feed('postgres');
open my $environ, '<', "/proc/$gateway->{pid}/environ";
unlike(do { local $/; <$environ> } // '', qr/PG_NOTIFYD|HOME|PATH=/, 'nothing of the environment is left');
open my $cmdline, '<', "/proc/$gateway->{pid}/cmdline";
is(scalar(() = do { local $/; <$cmdline> } =~ /\0/g), 1, 'nothing but a name on the command line');
like(join("\n", @{ $gateway->{channel}{log} }), qr/1000 clients need more file descriptors than are available; \d+ are accepted/,
	'too few descriptors for max_clients are reported');
open my $oom, '<', "/proc/$gateway->{pid}/oom_score_adj";
is(<$oom> + 0, 1000, 'out of memory, the kernel ends it before any other');

# no descriptors left: the limit is lower than the number of open ones
my $descriptors = $gateway->descriptors;
system('prlimit', "--pid=$gateway->{pid}", "--nofile=$descriptors:100") == 0 or die 'prlimit';
my @sockets = map { $gateway->connect } 1 .. 10;
syswrite $_, 'GET ' for @sockets;
ok($gateway->until(sub { $gateway->{channel}->next(0); grep {/could not accept a connection/} @{ $gateway->{channel}{log} } }),
	'it says that descriptors are used up');
my $cpu = $gateway->cpu;
$gateway->{channel}->next(2);
cmp_ok($gateway->cpu - $cpu, '<', 1, 'and does not turn in circles');
is(scalar(grep {/could not accept a connection/} @{ $gateway->{channel}{log} }), 1, 'nor says it again and again');
@sockets = ();
system('prlimit', "--pid=$gateway->{pid}", '--nofile=100:100') == 0 or die 'prlimit';
is($gateway->status($gateway->handshake), 101, 'it accepts again when some are free');
ok($gateway->until(sub { $gateway->descriptors < 40 }), 'none is leaked') or diag $gateway->descriptors;

# counters come at most once a second, and only when something changes
my $client = $gateway->client;
$gateway->stats(sub { $_[0]{clients} == 1 });
my ($type) = map { $_ ? $_->{type} : 'nothing' } $gateway->{channel}->next(2.5);
is($type, 'nothing', 'no counters while nothing changes');

# a warning for an invalid origin
$gateway->configure(origins => 'https://ok.example, nonsense');
ok($gateway->until(sub { $gateway->{channel}->next(0); grep {/"nonsense" .* is no origin/} @{ $gateway->{channel}{log} } }),
	'an entry of allowed_origins that is none is reported');

# a slow handshake is ended in time; other connections continue
my $slow = $gateway->connect;
syswrite $slow, "GET /ws HTTP/1.1\r\n";
ok($client->quiet, 'others are served meanwhile');
like($gateway->answer($slow), qr/^HTTP\/1\.1 408 /, 'a handshake that is not complete in time is answered with 408');

# frames of the launcher that are none
$gateway->{channel}->send(99, 'x');
is($gateway->wait(5), 0, 'garbage on the channel ends it');

done_testing;
