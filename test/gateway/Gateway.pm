# A gateway under test, with the launcher and the feeds played by the test.
#
#	my $gateway = Gateway->new(anonymous => 1);		starts the program in $PG_NOTIFYD_GATEWAY, waits for READY
#	my $feed = $gateway->feed('postgres');			connects as that database's feed
#	my $client = $gateway->client;					a WebSocket client, see package Gateway::Client
#
# With the setting ssl, or $Gateway::SSL = 1 for all gateways of a test, it speaks TLS, and so do the clients.
#
# Nothing sleeps: whatever is waited for is waited for with a limit of time.
package Gateway;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Temp;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use IO::Socket::SSL::Utils qw(CERT_create KEY_create_ec PEM_cert2string PEM_key2string);
use IO::Socket::UNIX;
use MIME::Base64 qw(decode_base64);
use POSIX ();
use Socket;
use Time::HiRes qw(time);

our $TIMEOUT = 30;
our $SSL = 0;

sub program
{
	my $program = $ENV{PG_NOTIFYD_GATEWAY} or die "PG_NOTIFYD_GATEWAY is not set\n";
	return abs_path($program);
}

# Start the program, and say nothing to it.
sub start
{
	my ($class, %settings) = @_;
	my $directory = File::Temp->newdir('gatewayXXXXXX', TMPDIR => 1);
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1024, ReuseAddr => 1)
	  or die "listen: $!";
	my $self = bless {
		directory => $directory,
		port => $listener->sockport,
		settings => {
			version => 2, gateway => 0, listeners => 1, port => $listener->sockport, anonymous => 1,
			max_clients => 1000, per_address => 0, max_message => 65536, client_buffer => 8 * 1024 * 1024, keepalive => 0, sandbox => 1,
			page => 0, compression => 0, max_handshakes => 0, max_failed_tokens => 0, ssl => $SSL, ssl_min => 0x0303, chain => '', key => '',
			database => 'postgres', origins => '', addresses => 'localhost', trusted_proxies => '', metrics => '', endpoints => '', realms => '',
			%settings
		},
	}, $class;
	@{ $self->{settings} }{qw(chain key)} = certificate() if $self->{settings}{ssl} && $self->{settings}{chain} eq '';

	my $link = IO::Socket::UNIX->new(Local => "$directory/link.sock", Listen => 128) or die "listen: $!";
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
	$self->{pid} = _spawn($directory, [$theirs, $link, $listener], $settings{limit});
	close $_ for $theirs, $link, $listener;
	$self->{channel} = Gateway::Peer->new($ours);
	return $self;
}

sub new
{
	my $self = start(@_);

	$self->configure;
	$self->{channel}->expect('READY');
	$self->health('');
	return $self;
}

# A new certificate for localhost (PEM) and its key (DER), by default of an elliptic curve.
sub certificate
{
	my ($cert, $key) = CERT_create(subject => { commonName => 'localhost' }, key => $_[0] // KEY_create_ec('prime256v1'));
	return (PEM_cert2string($cert), decode_base64(PEM_key2string($key) =~ s/^-.*\n//gmr));
}

# Start the program with the descriptors that the launcher gives it, and nothing else.
sub _spawn
{
	my ($directory, $sockets, $limit) = @_;
	my $program = program();
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	chdir "$directory" or POSIX::_exit(71);
	my @from = map { POSIX::dup(fileno $_) } @$sockets;
	POSIX::dup2($from[$_], 100 + $_) for 0 .. $#from;
	POSIX::dup2(100 + $_, 3 + $_) for 0 .. $#from;
	POSIX::close($_) for 4 + $#from .. 110;
	my $null = POSIX::open('/dev/null', POSIX::O_RDWR());
	POSIX::dup2($null, $_) for 0 .. 1;
	POSIX::close($null);
	# Only the options of the sanitizers are passed in the environment.
	%ENV = map { $_ => $ENV{$_} } grep { exists $ENV{$_} } qw(ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS);
	my @command = ('pg_notifyd: gateway 0');
	if ($limit)
	{
		exec {'/bin/sh'} 'sh', '-c', 'ulimit -n "$1"; exec "$0"', $program, $limit;
	}
	exec {$program} @command or POSIX::_exit(127);
}

sub configure
{
	my ($self, %settings) = @_;
	my $s = $self->{settings};

	@$s{keys %settings} = values %settings;
	$self->{channel}->send(
		1,
		pack('v4CV3Q<VC3V2Cv',
			@$s{qw(version gateway listeners port anonymous max_clients per_address max_message client_buffer keepalive sandbox page compression
				max_handshakes max_failed_tokens ssl ssl_min)})
		  . join('', map { pack('V/a*', $_) } @$s{qw(chain key database origins addresses trusted_proxies metrics endpoints realms)}));
}

# What the launcher finds wrong; empty: nothing. LOOKING: it does not know all databases yet. Returns whether it is answered.
sub health
{
	my ($self, $trouble, $looking) = @_;

	$self->{channel}->send(4, pack('CV/a*', $looking // 0, $trouble));
	while (my $message = $self->{channel}->next($TIMEOUT))
	{
		$self->{stats} = $message if $message->{type} eq 'STATS';
		return 1 if $message->{type} eq 'ALIVE';
	}
	return 0;
}

sub stop
{
	my ($self, $code) = @_;
	$self->{channel}->send(2, pack('v', $code // 1001));
}

# The exit status, or undef when it does not end in time.
sub wait
{
	my ($self, $limit) = @_;
	my $until = time + ($limit // $TIMEOUT);

	return $self->{status} if defined $self->{status};
	while (time < $until)
	{
		# The channel's end of file comes with the process' end; then it is only to be reaped.
		$self->{channel}->read_some(0.05) if !$self->{channel}{eof};
		if (waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid})
		{
			$self->{status} = $?;
			return $self->{status};
		}
		select(undef, undef, undef, 0.01) if $self->{channel}{eof};
	}
	return undef;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!);
	return if defined $self->{status};
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

# The newest counters, once they fulfil the condition.
sub stats
{
	my ($self, $condition) = @_;
	my $until = time + $TIMEOUT;

	while (time < $until)
	{
		return $self->{stats} if $self->{stats} && (!$condition || $condition->($self->{stats}));
		my $message = $self->{channel}->next($until - time) // last;
		$self->{stats} = $message if $message->{type} eq 'STATS';
	}
	die "no such counters in time: " . join(', ', map { "$_=" . ($self->{stats}{$_} // '') } sort keys %{ $self->{stats} // {} });
}

# Seconds of CPU time that the program has used.
sub cpu
{
	my ($self) = @_;
	open my $stat, '<', "/proc/$self->{pid}/stat" or die "stat: $!";
	my @fields = split ' ', <$stat> =~ s/.*\) //r;
	return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# How often it has slept and been woken.
sub wakeups
{
	my ($self) = @_;

	open my $status, '<', "/proc/$self->{pid}/status" or return 0;
	return (join('', <$status>) =~ /^voluntary_ctxt_switches:\s+(\d+)/m)[0];
}

sub descriptors
{
	my ($self) = @_;
	return scalar(() = glob "/proc/$self->{pid}/fd/*");
}

# Wait until this is true.
sub until
{
	my ($self, $condition) = @_;
	my $until = time + $TIMEOUT;

	until ($condition->())
	{
		return 0 if time > $until;
		select undef, undef, undef, 0.01;
	}
	return 1;
}

sub feed
{
	my ($self, $database, %options) = @_;
	my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$self->{directory}/link.sock")
	  or die "connect: $!";
	my $feed = Gateway::Feed->new($socket);

	$feed->{timeline} = $options{timeline} // 1;
	$feed->send(20, pack('vvVVQ<V/a*', $options{version} // 2, 0, 5, $feed->{timeline}, $options{id} // 100, $database));
	$feed->expect('HELLO') unless $options{no_answer};
	$feed->position($options{id} // 100);
	return $feed;
}

# The answer to a backend that asks for the clients; the argument is its connection, after the request.
sub backend
{
	my ($self) = @_;
	my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$self->{directory}/link.sock")
	  or die "connect: $!";
	my $backend = Gateway::Peer->new($socket);

	$backend->send(20, pack('vvVVQ<V', 2, 0, 0, 0, 0, 0));
	return $backend;
}

# Who is connected, by port.
sub clients
{
	my ($self, $backend) = @_;
	my %clients;

	$backend //= $self->backend;
	$backend->expect('HELLO');
	while (my $client = $backend->next)
	{
		return \%clients if $client->{type} eq 'CLIENTS_END';
		die "a frame $client->{type}" if $client->{type} ne 'CLIENT';
		die "port $client->{port} twice" if $clients{ $client->{port} };
		$client->{channels} = [ sort(unpack '(V/a*)*', $client->{channels}) ];
		$clients{ $client->{port} } = $client;
	}
	die 'the list does not end';
}

# A connection as the gateway expects it, from another address of this host if one is given.
sub connect
{
	my ($self, $from) = @_;
	return $self->secure($self->connect_plain($from));
}

# The same without TLS.
sub connect_plain
{
	my ($self, $from) = @_;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, $from ? (LocalAddr => $from) : ())
	  // die "connect: $!";
}

# This connection, with TLS if the gateway expects it. A context takes longer to make than a handshake.
sub secure
{
	my ($self, $socket) = @_;
	our $context //= IO::Socket::SSL::SSL_Context->new(SSL_verify_mode => SSL_VERIFY_NONE);

	return $socket if !$self->{settings}{ssl};
	return IO::Socket::SSL->start_SSL($socket, SSL_reuse_ctx => $context) || die "TLS: $SSL_ERROR";
}

# Is there something to read within this many seconds? TLS may have read more from the socket than was asked for.
sub readable
{
	my ($socket, $limit) = @_;
	return $socket->can('pending') && $socket->pending || IO::Select->new($socket)->can_read($limit);
}

# Send this request (line ends are CR LF) on a connection of its own; the whole answer.
sub request
{
	my ($self, $text, %options) = @_;
	my $socket = $self->connect($options{from});

	$text =~ s/\r?\n/\r\n/g unless $options{raw};
	syswrite $socket, $text;
	return $self->answer($socket);
}

# All that comes until the end of the connection, of an answer that keeps it alive, or of the head of an
# accepted handshake.
sub answer
{
	my ($self, $socket) = @_;
	my $until = time + $TIMEOUT;
	my $answer = '';

	while (readable($socket, $until - time))
	{
		my $n = sysread $socket, $answer, 65536, length $answer;
		return $answer if !$n || $answer =~ m{^HTTP/1\.1 101 .*\r\n\r\n}s;
		return $answer if $answer =~ m{^HTTP/1\.1 .*\r\nContent-Length: (\d+)\r\nConnection: keep-alive\r\n.*?\r\n\r\n(.*)}s && length $2 >= $1;
	}
	die "the connection was not ended in time; got: $answer";
}

sub status
{
	my ($self, @request) = @_;
	my $answer = $self->request(@request);
	return $answer =~ m{^HTTP/1\.1 (\d+) } ? $1 : "no answer: $answer";
}

# What becomes of a client with this handshake: the HTTP status that refuses it, the code that closes it, or 101.
sub verdict
{
	my ($self, %options) = @_;
	my $ping = Gateway::Client->frame(1, '{"id":1,"method":"ping"}');
	my $client = eval { $self->client(%options, pipelined => $ping) };

	return $@ =~ m{^refused: HTTP/1\.1 (\d+) } ? $1 : "no answer: $@" if !$client;
	return $client->message ? 101 : $client->closed->[0];
}

# A handshake's text, with headers to be added or (undef) left out.
sub handshake
{
	my ($self, %options) = @_;
	my %headers = (
		Host => "localhost:$self->{port}", Upgrade => 'websocket', Connection => 'Upgrade',
		'Sec-WebSocket-Version' => 13, 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==', %{ $options{headers} // {} });
	my $target = $options{target} // '/ws';

	return "GET $target HTTP/1.1\n"
	  . join('', map { "$_: $headers{$_}\n" } grep { defined $headers{$_} } sort keys %headers) . "\n";
}

sub client
{
	my ($self, %options) = @_;
	return Gateway::Client->new($self, %options);
}

# One end of a connection that carries frames of wire.h.
package Gateway::Peer;

use IO::Select;
use Time::HiRes qw(time);

sub new
{
	my ($class, $socket) = @_;
	return bless { socket => $socket, buffer => '', waiting => [] }, $class;
}

sub send
{
	my ($self, $type, $payload) = @_;
	my $frame = pack('VCCv', length $payload, $type, 0, 0) . $payload;

	$self->send_raw($frame);
}

sub send_raw
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';

	while (length $bytes)
	{
		my $n = syswrite($self->{socket}, $bytes) // return 0;
		substr($bytes, 0, $n, '');
	}
	return 1;
}

# The order of WireRefusal.
my @refusals = qw(request host origin token database clients clients_per_address handshakes failed_tokens proxy ssl metrics resources);

my %messages = (
	10 => ['READY', '', []],
	11 => ['LOG', 'CV/a*', [qw(level message)]],
	12 => ['STATS', 'VVQ<' . (6 + @refusals) . 'VVV', [qw(clients subscriptions accepted), (map { "refused_$_" } @refusals), qw(closed_slow events messages bytes queued slow waiting busy_ms)]],
	13 => ['ALIVE', '', []],
	14 => ['WAKE', 'V/a*', [qw(database)]],
	15 => ['SANDBOX', 'C', [qw(missing)]],
	16 => ['WANT_WORKER', 'V/a*', [qw(database)]],
	17 => ['LOAD', 'VVVQ<V/a*', [qw(clients slow waiting queued database)]],
	20 => ['HELLO', 'vvVVQ<V/a*', [qw(version gateway oid timeline id database)]],
	30 => ['SUBSCRIBE', 'VCCCVQ<VVVV/a*V/a*CV/a*CCQ<',
		[qw(sub kinds ops has_since timeline id session window identity channel filter has_columns columns hold match subscriber)]],
	31 => ['UNSUBSCRIBE', 'VC', [qw(sub kinds)]],
	32 => ['REPLAY_CREDIT', 'VV', [qw(sub bytes)]],
	33 => ['AUTH', 'VV/a*', [qw(session token)]],
	34 => ['FORGET', 'V', [qw(session)]],
	36 => ['ROUTE_UP', 'CCVVQ<Q<Q<VQ<V/a*V/a*V/a*', [qw(kind flags session identity request id registration timeline at name options payload)]],
	37 => ['AUTH_USER', 'VQ<V/a*', [qw(session number user)]],
	38 => ['AUTH_SIGNATURE', 'VV/a*', [qw(session signature)]],
	50 => ['CLIENT', 'Q<VQ<Q<Q<Q<Q<Q<Q<Q<v' . 'V/a*' x 7,
		[qw(connected_at timeline id lag queued queued_us messages bytes expires_at number port address database role subject claims
			subprotocol channels)]],
	51 => ['CLIENTS_END', '', []],
);

sub read_some
{
	my ($self, $limit) = @_;

	return 0 if $self->{eof} || !IO::Select->new($self->{socket})->can_read($limit);
	my $n = sysread $self->{socket}, $self->{buffer}, 1 << 20, length $self->{buffer};
	$self->{eof} = 1 unless $n;
	return $n;
}

# The next frame, or undef when there is none in time or the connection has ended.
sub next
{
	my ($self, $limit) = @_;
	my $until = time + ($limit // $Gateway::TIMEOUT);

	while (1)
	{
		if (length $self->{buffer} >= 8)
		{
			my ($length, $type) = unpack 'VC', $self->{buffer};
			if (length $self->{buffer} >= 8 + $length)
			{
				my $frame = substr $self->{buffer}, 0, 8 + $length, '';
				my ($name, $format, $fields) = @{ $messages{$type} // die "frame of type $type" };
				my %message = (type => $name);
				@message{@$fields} = unpack $format, substr($frame, 8);
				push @{ $self->{log} }, $message{message} if $name eq 'LOG';
				return \%message;
			}
		}
		my $left = $until - time;
		return undef if $self->{eof} || !$self->read_some($left > 0 ? $left : 0);
	}
}

# The next frame of this type; others that come before are passed over.
sub expect
{
	my ($self, $type, $limit) = @_;
	my $until = time + ($limit // $Gateway::TIMEOUT);

	while (my $message = $self->next($until - time))
	{
		return $message if $message->{type} eq $type;
	}
	die "no $type" . ($self->{eof} ? ': connection closed' : ' in time');
}

# Has the other side ended the connection?
sub ended
{
	my ($self) = @_;
	my $until = time + $Gateway::TIMEOUT;

	while (!$self->{eof} && time < $until)
	{
		$self->next($until - time);
	}
	return $self->{eof};
}

package Gateway::Feed;

our @ISA = ('Gateway::Peer');

sub subscribed
{
	my ($self, $sub, $stream, $id, %options) = @_;
	$self->send(40, pack('VVCCVQ<', $sub, $stream, $options{replay} ? 1 : 0, $options{notifies} ? 1 : 0, $self->{timeline}, $id));
}

# Reasons: 1 not permitted, 2 no such channel.
sub refused { my ($self, $sub, $reason, $text) = @_; $self->send(41, pack('VCV/a*V/a*', $sub, $reason, $text, '')); }
sub ended_stream { my ($self, $stream, $reason, $text) = @_; $self->send(42, pack('VCV/a*', $stream, $reason, $text)); }

sub event_frame
{
	my ($self, $id, $op, $streams, $text) = @_;
	my $payload = pack('Q<CCv', $id, $op, 0, scalar @$streams) . pack('V*', @$streams) . pack('V/a*V/a*', '', $text);
	return pack('VCCv', length $payload, 43, 0, 0) . $payload;
}

sub event { my ($self, @event) = @_; $self->send_raw($self->event_frame(@event)); }
sub replay_event { my ($self, $sub, $id, $text) = @_; $self->send(44, pack('Q<CvVV/a*', $id, 0x01, 1, $sub, $text)); }
sub replay_done { my ($self, $sub, $id) = @_; $self->send(45, pack('VQ<', $sub, $id)); }

sub reset
{
	my ($self, $sub, $id, $reason) = @_;
	$self->send(46, pack('VCVQ<V/a*', $sub, 0x01, $self->{timeline}, $id, $reason));
}

sub position { my ($self, $id, $behind) = @_; $self->send(47, pack('Q<Q<V', $id, 0, $behind // 0)); }
sub goodbye { my ($self, $reason) = @_; $self->send(48, pack('V/a*', $reason)); }

# Take the next SUBSCRIBE and answer it: live from this id on.
sub accept
{
	my ($self, $stream, $id) = @_;
	my $subscribe = $self->expect('SUBSCRIBE');
	$self->subscribed($subscribe->{sub}, $stream, $id);
	return $subscribe;
}

# A WebSocket client that can also do what one should not.
package Gateway::Client;

use IO::Select;
use JSON::PP;
use Time::HiRes qw(time);

sub new
{
	my ($class, $gateway, %options) = @_;
	my $self = bless { socket => $gateway->secure($options{socket} // $gateway->connect_plain($options{from})), buffer => '' }, $class;
	my $request = $gateway->handshake(%options);

	if (my $size = $options{receive_buffer})
	{
		setsockopt $self->{socket}, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), $size;
	}
	$request =~ s/\n/\r\n/g;
	$self->raw($request . ($options{pipelined} // ''));
	my $until = time + $Gateway::TIMEOUT;
	until ($self->{buffer} =~ /\r\n\r\n/)
	{
		$self->read_some($until - time) or die "no answer to the handshake: $self->{buffer}";
	}
	$self->{head} = substr $self->{buffer}, 0, $+[0], '' if $self->{buffer} =~ /\r\n\r\n/;
	$self->{head} =~ m{^HTTP/1\.1 101 } or die "refused: $self->{head}$self->{buffer}";
	return $self;
}

sub raw
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';

	utf8::downgrade($bytes);		# Net::SSLeay would send the bytes that Perl stores
	while (length $bytes)
	{
		my $n = syswrite($self->{socket}, $bytes) // return 0;
		substr($bytes, 0, $n, '');
	}
	return 1;
}

# A masked frame: opcode 1 text, 2 binary, 0 continuation, 8 close, 9 ping, 10 pong.
sub frame
{
	my ($self, $opcode, $payload, %options) = @_;
	my $length = length $payload;
	my $mask = "\x12\x34\x56\x78";
	my $head = pack 'C', ($options{more} ? 0 : 0x80) | $opcode;

	$head .= $length < 126 ? pack('C', 0x80 | $length) : $length < 65536 ? pack('Cn', 0xfe, $length) : pack('CQ>', 0xff, $length);
	return $head . $mask . ($payload ^ substr($mask x (1 + $length / 4), 0, $length));
}

sub send_frame { my ($self, @frame) = @_; return $self->raw($self->frame(@frame)); }
sub text { my ($self, $text) = @_; return $self->send_frame(1, $text); }

my $json = JSON::PP->new->canonical;

# A request; its result, or its error.
sub call
{
	my ($self, $method, %params) = @_;

	$self->request($method, %params);
	return $self->reply;
}

sub request
{
	my ($self, $method, %params) = @_;
	$self->text($json->encode({ jsonrpc => '2.0', id => ++$self->{id}, method => $method, params => \%params }));
}

sub reply
{
	my ($self) = @_;
	my $message = $self->message // die "no reply: " . ($self->{close} ? "closed $self->{close}[0]" : 'nothing came');
	return $message->{result} // $message->{error} // die 'no reply but ' . $json->encode($message);
}

sub read_some
{
	my ($self, $limit) = @_;

	return 0 if $limit <= 0 || !Gateway::readable($self->{socket}, $limit);
	my $n = sysread $self->{socket}, $self->{buffer}, 1 << 18, length $self->{buffer};
	$self->{eof} = 1 unless $n;
	return $n;
}

# The next frame as [opcode, payload, final], or undef at the end or when none comes in time.
sub next_frame
{
	my ($self, $limit) = @_;
	my $until = time + ($limit // $Gateway::TIMEOUT);

	while (1)
	{
		if ($self->{buffer} =~ /^(.)(.)/s)
		{
			my ($first, $code) = (ord $1, ord $2);
			my ($head, $format) = $code == 126 ? (4, 'x2n') : $code == 127 ? (10, 'x2Q>') : (2, 'xC');
			my $length = length $self->{buffer} >= $head ? unpack($format, $self->{buffer}) : 0;
			if (length $self->{buffer} >= $head + $length)
			{
				my $frame = substr $self->{buffer}, 0, $head + $length, '';
				return [$first & 0x0f, substr($frame, $head), ($first & 0x80) != 0];
			}
		}
		return undef if $self->{eof} || !$self->read_some($until - time);
	}
}

# What an event is sent in.
our $EVENT = '{"jsonrpc":"2.0","method":"event","params":';

# The next text message, an event without what it is sent in; pings are answered, a close frame is kept and answered.
sub next_text
{
	my ($self, $limit) = @_;
	my $text = '';

	while (my $frame = $self->next_frame($limit))
	{
		my ($opcode, $payload, $final) = @$frame;
		if ($opcode == 9)
		{
			push @{ $self->{pings} }, $payload;
			$self->send_frame(10, $payload) unless $self->{no_pong};
		}
		elsif ($opcode == 10) { push @{ $self->{pongs} }, $payload; }
		elsif ($opcode == 8)
		{
			$self->{close} = [unpack 'na*', $payload];
			$self->send_frame(8, substr $payload, 0, 2);
			return undef;
		}
		else
		{
			$text .= $payload;
			next unless $final;
			return index($text, $EVENT) == 0 ? substr($text, length $EVENT, -1) : $text;
		}
	}
	return undef;
}

# What the next pong carries.
sub pong
{
	my ($self) = @_;

	until (@{ $self->{pongs} // [] })
	{
		my $frame = $self->next_frame // return undef;
		push @{ $self->{pongs} }, $frame->[1] if $frame->[0] == 10;
	}
	return shift @{ $self->{pongs} };
}

sub message
{
	my ($self, $limit) = @_;
	my $text = $self->next_text($limit) // return undef;
	return $json->decode($text);
}

# Whatever comes until the connection is closed; the close frame's code and reason.
sub closed
{
	my ($self, $limit) = @_;
	my $until = time + ($limit // $Gateway::TIMEOUT);

	while (!$self->{close} && !$self->{eof} && time < $until)
	{
		$self->next_text($until - time);
	}
	return $self->{close} // ($self->{eof} ? [0, 'connection ended'] : [-1, 'still open']);
}

# Is nothing more sent to it? After a call has been answered, everything before it is there.
sub quiet
{
	my ($self) = @_;
	my $message = $self->call('ping');
	return exists $message->{position};
}

1;
