# TLS: handshakes that end anywhere, what clients may not do after them, large messages, and a new certificate.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Net::SSLeay;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;

my $gateway = Gateway->new(ssl => 1);
my $feed = $gateway->feed('postgres');
my $id = 100;

# A client of channel c, whose events have the number 1.
sub subscriber
{
	my (%options) = @_;
	my $client = $gateway->client(%options);

	$client->request('subscribe', channel => 'c');
	my $subscribe = $feed->expect('SUBSCRIBE');
	$feed->subscribed($subscribe->{sub}, 1, $id);
	$client->reply;
	return $client;
}

# Whether all of these clients get an event.
sub all_get
{
	my @clients = @_;
	$feed->event(++$id, 0x01, [1], qq({"id":$id}));
	return @clients == grep { ($_->next_text // '') eq qq({"id":$id}) } @clients;
}

# A client of this version of the protocol. OpenSSL reads and writes memory, so that what it writes can be cut off.
package Cut
{
	sub new
	{
		my ($class, $version, $limit) = @_;
		my $self = bless { socket => $gateway->connect_plain, context => Net::SSLeay::CTX_new(), left => $limit // 1e9, sent => 0 }, $class;

		Net::SSLeay::CTX_set_max_proto_version($self->{context}, $version);
		$self->{ssl} = Net::SSLeay::new($self->{context});
		@$self{qw(in out)} = map { Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem()) } 1 .. 2;
		Net::SSLeay::set_bio($self->{ssl}, $self->{in}, $self->{out});
		Net::SSLeay::set_connect_state($self->{ssl});
		return $self;
	}

	sub DESTROY
	{
		my ($self) = @_;
		Net::SSLeay::free($self->{ssl});
		Net::SSLeay::CTX_free($self->{context});
	}

	# Send what OpenSSL has written, as far as it may be. Returns false if that is not all.
	sub send
	{
		my ($self) = @_;
		my $data = Net::SSLeay::BIO_read($self->{out}) // '';
		my $part = substr $data, 0, $self->{left};
		local $SIG{PIPE} = 'IGNORE';

		syswrite $self->{socket}, $part if length $part;
		$self->{left} -= length $part;
		$self->{sent} += length $part;
		return length $part == length $data;
	}

	# Give OpenSSL what has come. Returns false at the end of the connection.
	sub receive
	{
		my ($self) = @_;
		die 'nothing comes' unless IO::Select->new($self->{socket})->can_read($Gateway::TIMEOUT);
		my $n = sysread $self->{socket}, my $data, 65536;
		Net::SSLeay::BIO_write($self->{in}, $data) if $n;
		return $n;
	}

	sub handshake
	{
		my ($self) = @_;
		until (Net::SSLeay::do_handshake($self->{ssl}) == 1)
		{
			return 0 unless $self->send && $self->receive;
		}
		return $self->send;
	}

	sub write
	{
		my ($self, $text) = @_;
		Net::SSLeay::write($self->{ssl}, $text);
		return $self->send;
	}

	# All that comes until the end of the connection, or until it is like this.
	sub read
	{
		my ($self, $pattern) = @_;
		my $text = '';
		while (1)
		{
			my $data = Net::SSLeay::read($self->{ssl});
			$text .= $data // '';
			return $text if $pattern && $text =~ $pattern;
			return $text if !length($data // '') && !$self->receive;
		}
	}

	# What a client does from the first byte to the last. Returns false if it was cut off.
	sub run
	{
		my ($self) = @_;
		$self->handshake or return 0;
		$self->write($gateway->handshake =~ s/\n/\r\n/gr) or return 0;
		$self->read(qr/\r\n\r\n/);
		return $self->write(Gateway::Client->frame(1, '{"id":1,"method":"ping","x":"' . 'x' x 1000 . '"}')) && $self->read(qr/"id":1/);
	}
}

my %versions = ('TLS 1.2' => 0x0303, 'TLS 1.3' => 0x0304);
my $healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
my $watcher = subscriber();
my $clients = 1;

sub only_watcher { return $gateway->stats(sub { $_[0]{clients} == $clients }) && all_get($watcher); }

# A client is cut off after any number of bytes, and ends in several ways. Its whole output is about 2 kB.
foreach my $name (sort keys %versions)
{
	my $whole = Cut->new($versions{$name});
	ok($whole->run, "$name: a client that is not cut off");
	my $length = $whole->{sent};
	undef $whole;
	only_watcher();
	my $descriptors = $gateway->descriptors;
	my %ends = (
		closes => sub { },
		resets => sub { setsockopt $_[0]{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0) },
		'sends garbage and closes' => sub { local $SIG{PIPE} = 'IGNORE'; syswrite $_[0]{socket}, "\x17\x03\x03\x00\x20" . 'y' x 32; });

	foreach my $end (sort keys %ends)
	{
		for (my $limit = 1; $limit < $length; $limit += $limit < 10 ? 3 : 41)
		{
			my $cut = Cut->new($versions{$name}, $limit);
			!$cut->run or die "not cut off at $limit of $length";
			$ends{$end}->($cut);
		}
		ok(only_watcher(), "$name: whatever a client has sent when it $end, another gets its events");
	}
	ok($gateway->until(sub { $gateway->descriptors <= $descriptors }), "$name: no connection stays");

	# What it has sent is not complete, but all has been received: it gets its end without waiting for more.
	for (my $limit = 1; $limit < 300; $limit += 60)
	{
		my $cut = Cut->new($versions{$name}, $limit);
		$cut->run;
		shutdown $cut->{socket}, 1;
		1 while $cut->receive;
	}
	pass("$name: a half-closed handshake is ended");
}

# Renegotiation
{
	my $client = Cut->new($versions{'TLS 1.2'});
	$client->handshake;
	Net::SSLeay::renegotiate($client->{ssl});
	Net::SSLeay::do_handshake($client->{ssl});
	$client->send;
	$client->receive;
	isnt(Net::SSLeay::do_handshake($client->{ssl}), 1, 'renegotiation is refused');
	like(Net::SSLeay::ERR_error_string(Net::SSLeay::ERR_get_error()), qr/no renegotiation/, 'by the alert for that');
	undef $client;
}

# The end of TLS, with more behind it
foreach my $name (sort keys %versions)
{
	my $client = Cut->new($versions{$name});
	$client->handshake;
	$client->write($healthz =~ s/healthz/metrics/r =~ s/close/keep-alive/r);
	Net::SSLeay::shutdown($client->{ssl});
	Net::SSLeay::set_shutdown($client->{ssl}, 0);
	$client->write($healthz) for 1 .. 100;
	my $answer = $client->read;
	is_deeply([ $answer =~ m{^HTTP/1\.1 (\d+) }gm ], [404], "$name: what comes before the end of TLS is answered, and what comes behind it is not")
	  or diag $answer;
}
ok(only_watcher(), 'another client gets its events');

# Large messages, in large records and in small ones
$gateway->configure(max_message => 1 << 20);
{
	my $large = '{"x":"' . 'y' x 5_000_000 . '"}';
	my $other = subscriber();
	$feed->event(++$id, 0x01, [1], $large);
	ok($_->next_text eq $large, 'an event of 5 MB') for $watcher, $other;
	foreach my $size (1 << 20, 16384, 1000, 7)
	{
		my $bytes = 7 * $size < 1e6 ? 7 * $size : 1e6;
		my $message = $other->frame(1, '{"id":"large","method":"ping","x":"' . 'x' x $bytes . '"}');
		utf8::downgrade($message);
		$other->raw(substr $message, 0, $size, '') while length $message;
		is($other->message->{id}, 'large', "a message of $bytes bytes in writes of $size");
	}
}
only_watcher();

# An event stream
{
	my $socket = $gateway->connect;
	my $text = '';
	print $socket "GET /events?channel=c HTTP/1.1\r\nHost: localhost\r\n\r\n";
	my $subscribe = $feed->expect('SUBSCRIBE');
	$feed->subscribed($subscribe->{sub}, 1, $id);
	$gateway->stats(sub { $_[0]{clients} == 2 });
	all_get($watcher);
	while ($text !~ /^data: .*"id":$id/m && Gateway::readable($socket, $Gateway::TIMEOUT))
	{
		sysread($socket, $text, 65536, length $text) or last;
	}
	like($text, qr{^HTTP/1\.1 200 .*^data: .*"id":$id}ms, 'an event stream');
}
only_watcher();

# A new certificate, while clients are connected, in the middle of their handshakes, and before them
sub presented { return Net::SSLeay::PEM_get_string_X509($gateway->connect->peer_certificate); }
{
	my @clients = map { subscriber() } 1 .. 5;
	my @half = map { my $cut = Cut->new($versions{'TLS 1.3'}, $_ * 100); $cut->run; $cut } 0 .. 5;
	$clients = 6;
	foreach my $round (1 .. 3)
	{
		my ($chain, $key) = Gateway::certificate();
		$gateway->configure(chain => $chain, key => $key);
		ok($gateway->until(sub { presented() eq $chain }), 'another certificate');
		ok(all_get($watcher, @clients), 'clients of the last one get their events');
	}
	undef @half;
	my $last = presented();
	$gateway->configure(chain => 'no certificate');
	$gateway->configure(key => 'no key');
	ok($gateway->until(sub { $gateway->health(''); 2 == grep { /^could not use the certificate: / } @{ $gateway->{channel}{log} } }), 'a wrong one is refused');
	is(presented(), $last, 'and the last one stays');
	ok(all_get($watcher, @clients), 'all get their events');
}

# Off, and on again
$clients = 1;
only_watcher();
{
	my ($chain, $key) = Gateway::certificate();
	$gateway->configure(ssl => 0);
	ok($gateway->until(sub { eval { $gateway->request($healthz, raw => 1) =~ m{^HTTP/1\.1 } } }), 'without TLS');
	ok(all_get($watcher), 'a client of before gets its events');
	$gateway->configure(ssl => 1, chain => $chain, key => $key);
	like($gateway->answer(do { my $plain = $gateway->connect_plain; print $plain $healthz; $plain }), qr{^HTTP/1\.1 400 .*speaks TLS}s, 'on again: a plain request is told');
	ok(all_get($watcher, subscriber()), 'and clients are served');
}

$gateway->stop;
is($watcher->closed->[0], 1001, 'it stops');
is($gateway->wait, 0, 'without a complaint of a sanitizer');

done_testing();
