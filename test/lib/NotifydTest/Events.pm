package NotifydTest::Events;

=head1 NAME

NotifydTest::Events - a client of GET /events, for TAP tests

=head1 SYNOPSIS

	my $stream = NotifydTest::Events->new($node, 'channel=orders');
	my $message = $stream->next;
	print "$message->{id}: $message->{data}{op}\n";

=cut

use strict;
use warnings;

use IO::Socket::INET;
use Mojo::JSON qw(decode_json);
use PostgreSQL::Test::Utils ();

=head1 METHODS

=over

=item new(NODE, QUERY, %options)

Sends the request, and reads the head of the response. C<headers>: lines of the request; C<version>: of HTTP (1.1);
C<method> (GET); C<buffer>: bytes of the socket's receive buffer.

=cut

sub new
{
	my ($class, $node, $query, %options) = @_;
	my @socket = (PeerAddr => '127.0.0.1', PeerPort => $options{port} // $node->{notifyd_port}, Proto => 'tcp');
	my $socket = IO::Socket::INET->new(@socket) || die "connection: $!";
	my $version = $options{version} // '1.1';
	my $self = bless { socket => $socket, raw => '', text => '', ended => 0 }, $class;

	$socket->sockopt(SO_RCVBUF, $options{buffer}) if $options{buffer};
	syswrite $socket, join "\r\n", ($options{method} // 'GET') . " /events?$query HTTP/$version", 'Host: localhost',
	  @{ $options{headers} // [] }, '', '';
	$self->_read(qr/\r\n\r\n/) or die "no response to /events?$query: $self->{raw}";
	($self->{head}, $self->{raw}) = split /\r\n\r\n/, $self->{raw}, 2;
	($self->{status}) = $self->{head} =~ m{^HTTP/1.1 (\d+)};
	$self->{chunked} = $self->{head} =~ /^Transfer-Encoding: chunked/mi;
	($self->{length}) = $self->{head} =~ /^Content-Length: (\d+)/mi;
	return $self;
}

# Read until what was read matches, or has this many bytes. False at the end of the connection.
sub _read
{
	my ($self, $enough) = @_;
	my $done = ref $enough ? sub { $self->{raw} =~ $enough } : sub { length $self->{raw} >= $enough };
	local $SIG{ALRM} = sub { die "nothing more on the stream, only: " . substr "$self->{text}$self->{raw}", -1000 };
	alarm $PostgreSQL::Test::Utils::timeout_default;
	while (!$done->())
	{
		if (!sysread $self->{socket}, $self->{raw}, 65536, length $self->{raw})
		{
			alarm 0;
			return 0;
		}
	}
	alarm 0;
	return 1;
}

# Read more of the body. False at its end.
sub _more
{
	my $self = shift;
	return 0 if $self->{ended};
	if ($self->{chunked})
	{
		if ($self->_read(qr/^[0-9a-f]+\r\n/) && $self->{raw} =~ s/^([0-9a-f]+)\r\n//)
		{
			my $size = hex $1;
			if ($self->_read($size + 2))
			{
				$self->{text} .= substr $self->{raw}, 0, $size;
				substr($self->{raw}, 0, $size + 2) = '';
				return 1 if $size > 0;
				$self->{clean} = 1;
			}
		}
	}
	elsif (defined $self->{length})
	{
		$self->_read($self->{length});
		$self->{text} .= substr $self->{raw}, 0, $self->{length}, '';
	}
	else
	{
		my $more = $self->_read(1);
		$self->{text} .= $self->{raw};
		$self->{raw} = '';
		return 1 if $more;
	}
	$self->{ended} = 1;
	return defined $self->{length};
}

=item next

The next message: C<event>, C<data> (decoded), C<id>, C<retry>, as far as it has them. Comments, bookmarks and messages
without data are left out, but change C<< $stream->{id} >> and C<< $stream->{retry} >>, as in EventSource. undef at the end.

=cut

sub next		## no critic: the name fits
{
	my $self = shift;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	while (1)
	{
		my $end;
		while (($end = index $self->{text}, "\n\n") < 0)
		{
			die 'only comments come on the stream' if time > $deadline;
			return undef if !$self->_more && index($self->{text}, "\n\n") < 0;
		}
		my $block = substr $self->{text}, 0, $end + 2, '';
		my %message;
		foreach my $line (split /\n/, $block)
		{
			my ($name, $value) = $line =~ /^([^:]*):? ?(.*)$/s;
			$self->{comments}++ if $name eq '';
			$message{$name} = $name eq 'data' && defined $message{data} ? "$message{data}\n$value" : $value if $name ne '';
		}
		$self->{id} = $message{id} if defined $message{id};
		$self->{retry} = $message{retry} if defined $message{retry};
		next if !defined $message{data} || ($message{event} // '') eq 'position';
		$self->{last} = $message{data};
		$message{data} = decode_json($message{data});
		return \%message;
	}
}

=item take(N)

The next N messages.

=cut

sub take
{
	my ($self, $n) = @_;
	return map { $self->next // die 'the stream has ended' } 1 .. $n;
}

=item rest

What comes until the end of the response.

=cut

sub rest
{
	my $self = shift;
	while ($self->_more) { }
	return $self->{text};
}

=item close

Closes the connection.

=cut

sub close		## no critic: the name fits
{
	my $self = shift;
	close $self->{socket};
	return;
}

=back

=cut

1;
