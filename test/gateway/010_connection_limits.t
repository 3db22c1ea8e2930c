# Many connections from one address, too many clients, and no descriptors for more.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

my $gateway = Gateway->new;
my $feed = $gateway->feed('postgres');
my $handshake = $gateway->handshake =~ s/\n/\r\n/gr;

# As many as there may be pending, and then some.
my $crowd = 4500;

sub let_in
{
	my ($socket, $name) = @_;
	my $answer = eval { $gateway->answer($socket) } // '';
	like($answer, qr{^HTTP/1\.1 101 }, $name) or diag $@;
}

# Those that only connect keep nobody out, not even one of the same address.
{
	my $early = $gateway->connect;
	my @idle = map { $gateway->connect } 1 .. 1000;
	my $descriptors = $gateway->descriptors;
	cmp_ok($descriptors, '<', 500, 'the gateway has nothing to do with most of those that only connect');
	push @idle, map { $gateway->connect } 1 .. $crowd - 1000;
	my $late = $gateway->connect;
	push @idle, map { $gateway->connect } 1 .. 1000;
	syswrite $_, $handshake for $early, $late;
	let_in($early, 'a client is accepted whose request comes after thousands have connected');
	let_in($late, 'and so is one that came among them');
}

# Those that send a little keep out none of another address, however long that takes.
{
	my @slow = map { $gateway->connect("127.0.0.$_") } 2 .. 4;
	syswrite $_, substr $handshake, 0, 20 for @slow;
	my @crowd = map { my $socket = $gateway->connect; syswrite $socket, 'G'; $socket } 1 .. $crowd;
	my $another = $gateway->connect('127.0.0.5');
	syswrite $another, $handshake;
	let_in($another, 'a client of another address is accepted');
	for my $slow (@slow)
	{
		syswrite $slow, substr $handshake, 20;
		let_in($slow, 'so is one that had begun before the crowd came');
	}
	my $ended = grep { IO::Select->new($_)->can_read(0) } @crowd;
	cmp_ok($ended, '>=', $crowd - 4096, 'some of the crowd had to go');
	let_in($_, 'a client of the same address that sends everything at once is accepted') for map { syswrite $_, $handshake; $_ } $gateway->connect;
}

# Those that are kept alive after a request keep out none of another address either.
{
	my $healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
	my $slow = $gateway->connect('127.0.0.2');
	syswrite $slow, substr $handshake, 0, 20;
	my @crowd = map { my $socket = $gateway->connect; syswrite $socket, $healthz; $gateway->answer($socket); $socket } 1 .. $crowd;
	my $another = $gateway->connect('127.0.0.5');
	syswrite $another, $handshake;
	let_in($another, 'thousands of idle connections keep out none of another address');
	syswrite $slow, substr $handshake, 20;
	let_in($slow, 'nor one that had begun before');
	my $ended = grep { IO::Select->new($_)->can_read(0) } @crowd;
	cmp_ok($ended, '>=', $crowd - 4096, 'some of them had to go');
	my $last = pop @crowd;
	syswrite $last, $healthz;
	like($gateway->answer($last), qr/^HTTP\/1\.1 /, 'which were the oldest');
}

# Answers that nobody fetches are held no longer either.
{
	my $slow = $gateway->connect('127.0.0.2');
	syswrite $slow, substr $handshake, 0, 20;
	my @crowd = map { my $socket = $gateway->connect; syswrite $socket, "\n"; $socket } 1 .. $crowd;
	syswrite $slow, substr $handshake, 20;
	let_in($slow, 'many that are refused keep none out of another address');
}

# A limit for each address.
{
	$gateway->configure(per_address => 2);
	$gateway->stats(sub { $_[0]{clients} == 0 });
	my @clients = map { $gateway->client } 1 .. 2;
	my $answer = $gateway->request($gateway->handshake);
	like($answer, qr/^HTTP\/1\.1 503 /, 'a third of one address is refused');
	like($answer, qr/\r\n\r\ntoo many clients from this address$/, 'with the reason');
	push @clients, eval { $gateway->client(from => '127.0.0.2') };
	is(scalar @clients, 3, 'a client of another address is accepted');
	$gateway->health('');
	# The crowds may have taken longer than a feed may be silent.
	$feed->position(101);
	1 until $clients[0]->call('ping')->{position} eq '1-101';
	is($gateway->status("GET /healthz HTTP/1.1\nHost: localhost\n\n"), 200, 'who asks for the health is no client');
	shift @clients;
	$gateway->stats(sub { $_[0]{clients} == 2 });
	push @clients, eval { $gateway->client };
	is(scalar @clients, 3, 'and one of the first again when one has left');
	$clients[1]->send_frame(8, pack 'n', 1000);
	$gateway->stats(sub { $_[0]{clients} == 2 });
	push @clients, eval { $gateway->client(from => '127.0.0.2') };
	push @clients, eval { $gateway->client(from => '127.0.0.2') };
	is($gateway->status($gateway->handshake, from => '127.0.0.2'), 503, 'the limit is that of each');
	$gateway->configure(per_address => 0);
	ok($gateway->until(sub { $gateway->status($gateway->handshake) == 101 }), 'none after a reload: no limit');
}
$gateway->stop;
is($gateway->wait, 0, 'it ends');

# All descriptors that clients may have are taken: feeds and backends connect nevertheless.
{
	my $gateway = Gateway->new(limit => 200, max_clients => 1000);
	my $feed = $gateway->feed('postgres');
	my @clients = map { $gateway->connect } 1 .. 250;
	syswrite $_, $handshake for @clients;
	my @let_in = grep { $gateway->answer($_) =~ /^HTTP\/1\.1 101 / } @clients;
	cmp_ok(scalar @let_in, '>=', 50, 'many are accepted');
	cmp_ok(scalar @let_in, '<', 200, 'but not as many as there are descriptors');
	like($gateway->request($gateway->handshake), qr/^HTTP\/1\.1 503 .*\r\n\r\ntoo many clients$/s, 'the others get 503');
	my @pending = map { my $socket = $gateway->connect; syswrite $socket, 'GET '; $socket } 1 .. 250;
	is(scalar(keys %{ $gateway->clients }), scalar @let_in, 'a backend gets the connected clients');
	my @others = map { $gateway->feed("database $_") } 1 .. 5;
	close $feed->{socket};
	ok(eval { $feed = $gateway->feed('postgres', id => 200) }, 'a feed connects again');
	$gateway->health('');
	ok($gateway->until(sub { $gateway->status("GET /healthz HTTP/1.1\nHost: localhost\n\n") == 200 }), 'and serves');
	unlike(join("\n", @{ $gateway->{channel}{log} // [] }), qr/could not accept/, 'nothing was ever used up');
	@clients = @pending = @let_in = ();
	$gateway->stats(sub { $_[0]{clients} == 0 });
	is($gateway->status($gateway->handshake), 101, 'and clients are accepted again');
	$gateway->stop;
	is($gateway->wait, 0, 'it ends');
}

done_testing;
