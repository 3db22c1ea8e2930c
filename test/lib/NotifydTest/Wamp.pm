package NotifydTest::Wamp;

=head1 NAME

NotifydTest::Wamp - a client of WAMP, for TAP tests

=head1 SYNOPSIS

	use NotifydTest;
	use NotifydTest::Wamp;

	my $client = wamp_client($node, realm => 'postgres');
	$client->subscribe('orders');
	is($client->next_event->{kwargs}{op}, 'INSERT');
	is($client->result('add', [ 1, 2 ]), 3);
	is(error_uri($client->call('no such')), 'wamp.error.no_such_procedure');
	$client->goodbye;

It is a L<NotifydTest::Client>, whose other methods it has: C<received> are all messages as they came, as lists. Where a
message's type is meant, its name may stand: C<'SUBSCRIBE'> for 32.

=cut

use strict;
use warnings;

use B ();
use Carp qw(croak);
use Exporter 'import';
use List::Util qw(pairmap);
use Mojo::JSON qw(decode_json encode_json);
use NotifydTest::Client;

our @ISA = ('NotifydTest::Client');
our @EXPORT = qw(wamp_client error_uri wamp_type);

my %types = (
	HELLO => 1, WELCOME => 2, ABORT => 3, CHALLENGE => 4, AUTHENTICATE => 5, GOODBYE => 6, ERROR => 8,
	PUBLISH => 16, PUBLISHED => 17, SUBSCRIBE => 32, SUBSCRIBED => 33, UNSUBSCRIBE => 34, UNSUBSCRIBED => 35, EVENT => 36,
	CALL => 48, CANCEL => 49, RESULT => 50, REGISTER => 64, REGISTERED => 65, UNREGISTER => 66, UNREGISTERED => 67,
	INVOCATION => 68, INTERRUPT => 69, YIELD => 70);

# What a client says of itself, if the test says nothing else.
my %roles = (
	publisher => { features => { publisher_identification => \1, publisher_exclusion => \1, subscriber_blackwhite_listing => \1 } },
	subscriber => { features => { publisher_identification => \1, pattern_based_subscription => \1, event_history => \1 } },
	caller => { features => { caller_identification => \1, progressive_call_results => \1, call_canceling => \1, call_timeout => \1 } },
	callee => {
		features => {
			caller_identification => \1, progressive_call_results => \1, call_canceling => \1, pattern_based_registration => \1,
			shared_registration => \1
		}
	});

# A value with other truth values in place of JSON's, and all strings as text. Other objects are left to the coder.
sub _plain
{
	my ($value, @booleans) = @_;
	my $ref = ref $value;

	return { pairmap { _plain($a) => _plain($b, @booleans) } %$value } if $ref eq 'HASH';
	return [ map { _plain($_, @booleans) } @$value ] if $ref eq 'ARRAY';
	return $booleans[ $$value ? 1 : 0 ] if $ref eq 'SCALAR' || $ref =~ /Boolean/;
	return $value if $ref;
	my $flags = B::svref_2object(\$value)->FLAGS;
	return 0 + $value if $flags & (B::SVp_IOK | B::SVp_NOK) && !($flags & B::SVf_POK);
	utf8::upgrade($value) if $flags & B::SVp_POK;
	return $value;
}

# How messages are written and read in the formats that are binary.
my %coders = (
	cbor => sub {
		require CBOR::XS;
		my $cbor = CBOR::XS->new->text_keys;
		my @booleans = (Types::Serialiser::false(), Types::Serialiser::true());
		return { encode => sub { $cbor->encode(_plain(shift, @booleans)) }, decode => sub { $cbor->decode(shift) } };
	},
	msgpack => sub {
		require Data::MessagePack;
		my $msgpack = Data::MessagePack->new->utf8;
		my @booleans = (Data::MessagePack::false(), Data::MessagePack::true());
		return { encode => sub { $msgpack->pack(_plain(shift, @booleans)) }, decode => sub { $msgpack->unpack(shift) } };
	});

=head1 FUNCTIONS

=over

=item wamp_client(NODE, %options)

A client of this node, see new(). C<gateway>: of the gateway with this number; the client has said HELLO then.

=cut

sub wamp_client
{
	my ($node, %options) = @_;
	my $gateway = delete $options{gateway};
	my $client;

	return NotifydTest::Wamp->new(port => $node->{notifyd_port}, %options) if !defined $gateway;
	# The kernel chooses the gateway of a connection.
	NotifydTest::Client::wait_until(
		sub {
			$client->close if $client;
			$client = eval { NotifydTest::Wamp->new(port => $node->{notifyd_port}, %options) } or return 0;
			my $port = $client->{tx}->local_port;
			return $node->safe_psql('postgres', "SELECT gateway FROM notifyd.clients WHERE port = $port") eq $gateway;
		},
		"a client of gateway $gateway");
	return $client;
}

=item wamp_type(NAME)

The number of a type of messages.

=cut

sub wamp_type
{
	my $name = shift;
	return $name =~ /^\d+$/ ? 0 + $name : $types{$name} // croak "no such type of messages: $name";
}

=item error_uri(ANSWER)

The URI of an ERROR or an ABORT; empty if the message is another one.

=back

=cut

sub error_uri
{
	my $answer = shift;
	return $answer->[0] == 8 ? $answer->[4] : $answer->[0] == 3 ? $answer->[2] : '';
}

=head1 METHODS

=over

=item new(port => PORT, %options)

Connects, offers C<wamp.2.json> and, if C<realm> is given, says HELLO; dies if the answer is not WELCOME. C<format>:
C<cbor> or C<msgpack> in place of C<json>; the environment's NOTIFYD_WAMP_FORMAT sets the default, so that any test can be
run with it. C<details>: more members of HELLO's details, as C<authid> and C<authmethods>. C<authenticate>: a function that gets the method and the extra
of a CHALLENGE, and returns the signature. The other options are those of L<NotifydTest::Client>.

=cut

sub new
{
	my ($class, %options) = @_;
	my $format = $options{format} // $ENV{NOTIFYD_WAMP_FORMAT} // 'json';
	my $self = $class->SUPER::new(subprotocols => ["wamp.2.$format"], %options);

	@$self{qw(last_request procedures coder)} = (0, {}, $coders{$format} ? $coders{$format}->() : undef);
	return $self if !defined $options{realm};
	croak "no connection: $self->{status} $self->{reason}" if !$self->{tx};
	my $answer = $self->hello($options{realm}, $options{details});
	croak 'no WELCOME: ' . encode_json($answer) if $answer->[0] != $types{WELCOME};
	return $self;
}

=item hello(REALM, DETAILS)

Says HELLO and returns the answer, WELCOME, ABORT or CHALLENGE. With C<authenticate> in new(), the client answers a
CHALLENGE, and this returns what comes then.

=cut

sub hello
{
	my ($self, $realm, $details) = @_;
	my $authenticate = $self->{options}{authenticate};

	$self->send([ 'HELLO', $realm, { roles => \%roles, %{ $details // {} } } ]);
	my $answer = $self->next_message(qw(WELCOME ABORT CHALLENGE));
	if ($answer->[0] == $types{CHALLENGE} && $authenticate)
	{
		$self->send([ 'AUTHENTICATE', $authenticate->(@$answer[ 1, 2 ]), {} ]);
		$answer = $self->next_message(qw(WELCOME ABORT));
	}
	@$self{qw(session welcome)} = @$answer[ 1, 2 ] if $answer->[0] == $types{WELCOME};
	return $answer;
}

=item session, welcome

The id of the session, and the details of its WELCOME.

=cut

sub session { return shift->{session}; }
sub welcome { return shift->{welcome}; }

=item send(MESSAGE)

Sends a message, whose first element may be a name. C<send_text> and C<send_frame> send anything.

=cut

sub send		## no critic: the name fits
{
	my ($self, $message) = @_;
	my ($type, @rest) = @$message;
	return $self->SUPER::send([ wamp_type($type), @rest ]) if !$self->{coder};
	return $self->send_frame([ 1, 0, 0, 0, 2, $self->{coder}{encode}->([ wamp_type($type), @rest ]) ]);
}

=item start(TYPE, ARGUMENTS...)

Sends a message with the next request id in front of the arguments, and returns the id.

=cut

sub start
{
	my ($self, $type, @arguments) = @_;
	my $id = ++$self->{last_request};

	$self->send([ $type, $id, @arguments ]);
	return $id;
}

=item answer(TYPE, ID)

Waits for the answer to this request, the next message's number or an ERROR, and returns it. Results that are in progress
are no answers.

=cut

sub answer
{
	my ($self, $type, $id) = @_;
	my $code = wamp_type($type);
	my $reply = $code == $types{CALL} ? $types{RESULT} : $code + 1;
	my $answer;

	$self->wait_for(
		sub {
			($answer) = grep {
				$_->[0] == 8
				  ? $_->[1] == $code && $_->[2] == $id
				  : $_->[0] == $reply && $_->[1] == $id && !($code == $types{CALL} && $_->[2]{progress})
			} @{ $self->{received} };
		},
		"answer to $type $id");
	return $answer;
}

=item progress(ID)

The results in progress of this CALL so far.

=cut

sub progress
{
	my ($self, $id) = @_;
	return grep { $_->[0] == $types{RESULT} && $_->[1] == $id && $_->[2]{progress} } @{ $self->{received} };
}

=item request(TYPE, ARGUMENTS...)

Both: the answer to such a request.

=cut

sub request
{
	my ($self, $type, @arguments) = @_;
	return $self->answer($type, $self->start($type, @arguments));
}

# The answer to a request; dies if it is an ERROR.
sub _granted
{
	my ($self, $type, @arguments) = @_;
	my $answer = $self->request($type, @arguments);
	croak "$type: " . encode_json($answer) if $answer->[0] == $types{ERROR};
	return $answer;
}

# The end of a message: arguments, and named ones, as far as there are any.
sub _payload
{
	my ($args, $kwargs) = @_;
	return defined $kwargs ? ($args // [], $kwargs) : defined $args ? $args : ();
}

=item subscribe(TOPIC, %options), unsubscribe(ID)

The id of the subscription; dies if it is refused.

=cut

sub subscribe
{
	my ($self, $topic, %options) = @_;
	return $self->_granted('SUBSCRIBE', \%options, $topic)->[2];
}

sub unsubscribe
{
	my ($self, $id) = @_;
	$self->_granted('UNSUBSCRIBE', 0 + $id);
	return;
}

=item publish(TOPIC, ARGS, KWARGS, %options)

Publishes with an acknowledgement, and returns the id of the publication; dies if it is refused. ARGS and KWARGS may be
undef.

=cut

sub publish
{
	my ($self, $topic, $args, $kwargs, %options) = @_;
	return $self->_granted('PUBLISH', { acknowledge => \1, %options }, $topic, _payload($args, $kwargs))->[2];
}

=item call(PROCEDURE, ARGS, KWARGS, %options), result(the same)

The answer to a call, RESULT or ERROR; or the first argument of the result, where an ERROR dies.

=cut

sub call
{
	my ($self, $procedure, $args, $kwargs, %options) = @_;
	return $self->request('CALL', \%options, $procedure, _payload($args, $kwargs));
}

sub result
{
	my ($self, @arguments) = @_;
	my $answer = $self->call(@arguments);
	croak "CALL: " . encode_json($answer) if $answer->[0] == $types{ERROR};
	return ($answer->[3] // [])->[0];
}

=item register(PROCEDURE, CODE, %options), unregister(ID)

The id of the registration; dies if it is refused. While a method waits, CODE answers the invocations of the procedure: it gets
the list and the hash of the arguments, the details, and the id of the invocation, and returns the rest of a YIELD behind
its options. If it dies with a list, that is the rest of an ERROR behind its details; if it returns undef, the test answers
by itself. Without CODE, the test answers all.

=cut

sub register
{
	my ($self, $procedure, $code, %options) = @_;
	my $request = $self->start('REGISTER', \%options, $procedure);

	# An INVOCATION may come right behind the answer.
	$self->{registering}{$request} = $code;
	my $answer = $self->answer('REGISTER', $request);
	croak 'REGISTER: ' . encode_json($answer) if $answer->[0] == $types{ERROR};
	return $answer->[2];
}

sub unregister
{
	my ($self, $id) = @_;
	$self->_granted('UNREGISTER', 0 + $id);
	delete $self->{procedures}{$id};
	return;
}

# In place of the parent's method: keep a message, and answer an INVOCATION.
sub _arrived
{
	my ($self, $text) = @_;
	croak "a text message: $text" if $self->{coder};
	return $self->_arrived_message(decode_json($text));
}

sub _arrived_binary
{
	my ($self, $data) = @_;
	croak 'a binary message' if !$self->{coder};
	return $self->_arrived_message(_plain($self->{coder}{decode}->($data), Mojo::JSON->false, Mojo::JSON->true));
}

sub _arrived_message
{
	my ($self, $message) = @_;

	push @{ $self->{received} }, $message;
	$self->{procedures}{ $message->[2] } = delete $self->{registering}{ $message->[1] } if $message->[0] == $types{REGISTERED};
	$self->_invoked(@$message) if $message->[0] == $types{INVOCATION};
	return;
}

sub _invoked
{
	my ($self, $type, $id, $registration, $details, $args, $kwargs) = @_;
	my $code = $self->{procedures}{$registration} or return;
	my @result = eval { $code->($args // [], $kwargs // {}, $details, $id) };
	if (my $failure = $@)
	{
		die $failure if ref $failure ne 'ARRAY';
		$self->send([ 'ERROR', $types{INVOCATION}, $id, {}, @$failure ]);
	}
	elsif (!(@result == 1 && !defined $result[0]))
	{
		$self->send([ 'YIELD', $id, {}, @result ]);
	}
	return;
}

=item next_message(TYPE...)

The next message, or the next one of these types, behind the last one returned; the ones between are passed over.

=cut

sub next_message
{
	my ($self, @names) = @_;
	my %wanted = map { wamp_type($_) => 1 } @names;
	my $found;

	$self->wait_for(
		sub {
			while (!$found && $self->{seen} < @{ $self->{received} })
			{
				my $message = $self->{received}[ $self->{seen}++ ];
				$found = $message if !@names || $wanted{ $message->[0] };
			}
			return $found;
		},
		"message @names");
	return $found;
}

=item next_event, events

The next EVENT, or all so far, as { subscription, publication, details, args, kwargs }.

=cut

sub next_event { return _event(shift->next_message('EVENT')); }
sub events { return map { _event($_) } grep { $_->[0] == $types{EVENT} } shift->received; }

sub _event
{
	my $message = shift;
	my %event;
	@event{qw(subscription publication details args kwargs)} = @$message[ 1 .. 5 ];
	return \%event;
}

=item goodbye(REASON)

Says GOODBYE and returns the answer's reason, once the connection is closed.

=cut

sub goodbye
{
	my ($self, $reason) = @_;

	$self->send([ 'GOODBYE', {}, $reason // 'wamp.close.close_realm' ]);
	my $answer = $self->next_message('GOODBYE');
	$self->close;
	return $answer->[2];
}

=back

=cut

1;
