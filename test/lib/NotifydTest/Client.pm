package NotifydTest::Client;

=head1 NAME

NotifydTest::Client - a WebSocket client of pg_notifyd, for TAP tests

=head1 SYNOPSIS

	my $client = NotifydTest::Client->new(port => 7432);
	my $position = $client->subscribe('orders')->{position};
	my $event = $client->next_event;
	$client->close;

Everything that comes is kept, in order. All clients share one event loop, which runs while one of the methods here
waits; each waits at most PG_TEST_TIMEOUT_DEFAULT seconds (180) and dies then, with what came so far.

=cut

use strict;
use warnings;

use Carp qw(croak);
use Mojo::IOLoop;
use Mojo::JSON qw(decode_json encode_json);
use Mojo::UserAgent;
use Mojo::Util qw(url_escape);
use Time::HiRes qw(time);

my $timeout = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;

=head1 METHODS

=over

=item new(port => PORT, %options)

Connects, C<from> another address of this host if it is given. C<host> (127.0.0.1), C<path> (/ws), C<database>, C<headers> (a hash), C<subprotocols> (a list). C<ca>: uses
TLS, and trusts the certificates in this file. C<raw>: messages are texts, and not decoded. A refused handshake is no error: then connected() is false, and status()
and reason() say why.

=cut

sub new
{
	my ($class, %options) = @_;
	my $self = bless {
		options => \%options,
		received => [],
		seen => 0,
		last_id => 1000,		# not to be confused with ids that a test sends by itself
		ua => Mojo::UserAgent->new(inactivity_timeout => 0, max_redirects => 0),
	}, $class;
	$self->{ua}->ca($options{ca}) if $options{ca};
	$self->{ua}->socket_options->{LocalAddr} = $options{from} if $options{from};
	my $url = ($options{ca} ? 'wss://' : 'ws://') . ($options{host} // '127.0.0.1') . ":$options{port}" . ($options{path} // '/ws');
	my $done = 0;

	$url .= '?database=' . url_escape($options{database}) if defined $options{database};
	my $tx = $self->{ua}->build_websocket_tx($url, $options{headers} // {}, $options{subprotocols} // []);
	$self->{ua}->start($tx => sub { my ($ua, $answer) = @_; $self->_answered($answer); $done = 1; });
	wait_until(sub { $done }, "handshake with $url");
	return $self;
}

sub _answered
{
	my ($self, $tx) = @_;

	$self->{status} = $tx->res->code;
	$self->{reason} = $tx->is_websocket ? '' : $tx->res->body;
	return if !$tx->is_websocket;
	$self->{tx} = $tx;
	$tx->max_websocket_size(512 * 1024 * 1024);
	$tx->on(text => sub { $self->_arrived($_[1]); });
	$tx->on(binary => sub { $self->_arrived_binary($_[1]); });
	$tx->on(finish => sub { my ($socket, $code, $reason) = @_; $self->{closed} = [ $code, $reason ]; });
	return;
}

# Keep a message. NotifydTest::Wamp has other methods for it.
sub _arrived
{
	my ($self, $text) = @_;
	push @{ $self->{received} }, $self->{options}{raw} ? $text : decode_json($text);
	return;
}
sub _arrived_binary { croak 'a binary message'; }

=item connected, status, reason, subprotocol

Whether the handshake succeeded and the connection is still open; the status and the text of the answer to the
handshake; the subprotocol the server chose.

=cut

sub connected { my $self = shift; return $self->{tx} && !$self->{closed}; }
sub status { return shift->{status}; }
sub reason { return shift->{reason}; }
sub subprotocol { my $self = shift; return $self->{tx} && $self->{tx}->protocol; }

=item served

Whether the server answers a request. A client that it accepts only to close it, or to wait for a token, is connected
and not served.

=cut

sub served { my $self = shift; return $self->connected && eval { $self->ping; 1 }; }

=item send(MESSAGE), send_text(TEXT), send_frame(FRAME)

Sends a message as JSON, a text as it is, or a frame as [FIN, RSV1, RSV2, RSV3, OPCODE, PAYLOAD].

=cut

sub send
{
	my ($self, $message) = @_;
	return $self->send_frame([ 1, 0, 0, 0, 1, encode_json($message) ]);
}

sub send_text
{
	my ($self, $text) = @_;
	utf8::encode($text) if utf8::is_utf8($text);
	return $self->send_frame([ 1, 0, 0, 0, 1, $text ]);
}

sub send_frame
{
	my ($self, $frame) = @_;
	croak 'not connected' if !$self->connected;
	$self->{tx}->send($frame);
	return;
}

=item call(METHOD, PARAMS)

Sends a request and returns the whole answer, with C<result> or C<error>.

=cut

sub call
{
	my ($self, $method, $params) = @_;
	my $id = ++$self->{last_id};
	my $answer;

	$self->send({ jsonrpc => '2.0', id => $id, method => $method, params => $params // {} });
	$self->wait_for(
		sub {
			($answer) = grep { exists $_->{id} && defined $_->{id} && $_->{id} eq $id } @{ $self->{received} };
		},
		"answer to $method");
	return $answer;
}

=item subscribe(CHANNEL, %params), unsubscribe(CHANNEL), ping

The result of that call; dies if it is an error.

=cut

sub subscribe
{
	my ($self, $channel, %params) = @_;
	return $self->_result('subscribe', { channel => $channel, %params });
}

sub unsubscribe
{
	my ($self, $channel) = @_;
	return $self->_result('unsubscribe', { channel => $channel });
}

sub ping { return shift->_result('ping', {}); }

sub _result
{
	my ($self, $method, $params) = @_;
	my $answer = $self->call($method, $params);
	croak "$method: " . encode_json($answer->{error}) if $answer->{error};
	return $answer->{result};
}

=item received

Every message so far, decoded.

=cut

sub received { return @{ shift->{received} }; }

=item events

The params of every C<event> so far.

=cut

sub events { return map { $_->{params} } grep { ($_->{method} // '') eq 'event' } shift->received; }

=item next_message(METHOD)

The params of the next notification, or of the next one of this method, behind the last one returned; the ones
between are passed over.

=cut

sub next_message
{
	my ($self, $method) = @_;
	my $message;

	$self->wait_for(
		sub {
			while (!$message && $self->{seen} < @{ $self->{received} })
			{
				my $candidate = $self->{received}[ $self->{seen}++ ];
				$message = $candidate
				  if exists $candidate->{method} && (!defined $method || $candidate->{method} eq $method);
			}
			return $message;
		},
		'notification ' . ($method // ''));
	return $message->{params};
}

=item next_text

The next text of a raw client.

=cut

sub next_text
{
	my ($self) = @_;
	$self->wait_for(sub { $self->{seen} < @{ $self->{received} } }, 'a text');
	return $self->{received}[ $self->{seen}++ ];
}

=item next_event, next_events(N)

The next event, or a list of the next N.

=cut

sub next_event { return shift->next_message('event'); }

sub next_events
{
	my ($self, $n) = @_;
	return map { $self->next_event } 1 .. $n;
}

=item wait_for(CODE, WHAT)

Waits until CODE returns true, or the connection is closed, which is an error unless CODE looks at closed().

=cut

sub wait_for
{
	my ($self, $code, $what) = @_;
	my $found;
	my $ended = sub {
		return 1 if $found = $code->();
		return $self->{closed};
	};
	eval { wait_until($ended, $what); 1 } or croak "$@ Received so far: " . encode_json($self->{received});
	croak "connection closed (@{ $self->{closed} }) instead of: $what" if !$found;
	return $found;
}

=item closed, wait_closed

The close code and the reason, once the connection is closed.

=cut

sub closed { my $self = shift; return $self->{closed} ? @{ $self->{closed} } : (); }

sub wait_closed
{
	my $self = shift;
	$self->wait_for(sub { $self->{closed} }, 'close');
	return $self->closed;
}

=item close(CODE)

Closes the connection and waits until it is closed.

=cut

sub close
{
	my ($self, $code) = @_;
	return if !$self->connected;
	$self->{tx}->finish($code // 1000);
	$self->wait_closed;
	return;
}

=item stop_reading, start_reading

Leaves what comes in the socket's buffers; takes it again.

=cut

sub stop_reading { shift->_stream->stop; return; }
sub start_reading { shift->_stream->start; return; }

sub _stream { return Mojo::IOLoop->stream(shift->{tx}->connection); }

=back

=head1 FUNCTIONS

=over

=item wait_until(CODE, WHAT)

Runs the event loop until CODE returns true; returns that.

=back

=cut

sub wait_until
{
	my ($code, $what) = @_;
	my $deadline = time + $timeout;
	my $wake = Mojo::IOLoop->recurring(0.02 => sub { });
	my $found;

	while (!($found = $code->()))
	{
		if (time > $deadline)
		{
			Mojo::IOLoop->remove($wake);
			croak "waited in vain for: $what";
		}
		Mojo::IOLoop->one_tick;
	}
	Mojo::IOLoop->remove($wake);
	return $found;
}

1;
