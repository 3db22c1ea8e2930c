# What only a gateway that has been taken over sends to a feed ends the link, with a line in the log,
# and the feed continues. The test takes the place of the gateway's link socket.
use strict;
use warnings;

use Cwd;
use IO::Select;
use IO::Socket::UNIX;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;

my $node = notifyd_node('main', conf => "pg_notifyd.idle_timeout = 0\n");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
wait_healthy($node);

# The absolute path may be too long for a socket's address.
my $home = Cwd::getcwd();
chdir $node->data_dir or die "chdir: $!";
my $path = 'pg_notifyd/pgsql_tmp.gateway.0.sock';
unlink $path or die "unlink: $!";
my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 8) or die "listen: $!";
chdir $home or die "chdir: $!";
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'});

sub frame
{
	my ($type, $payload) = @_;
	return pack('VCCv', length $payload, $type, 0, 0) . $payload;
}

sub hello
{
	my (%hello) = (gateway => 0, database => '', @_);
	return frame(20, pack('vvVVQ<V/a*', 2, $hello{gateway}, 0, 0, 0, $hello{database}));
}

sub subscribe
{
	my (%s) = (sub => 1, kinds => 1, ops => 1, session => 1, identity => 0, channel => 't', filter => '', columns => '', @_);
	return frame(30, pack('VCCCVQ<VVVV/a*V/a*CV/a*', @s{qw(sub kinds ops)}, 0, 0, 0, $s{session}, 1000, @s{qw(identity channel filter)},
		length $s{columns} > 0, $s{columns}));
}

# The next frame, as type and payload; empty: the link has ended.
sub next_frame
{
	my $link = shift;
	my $buffer = '';
	while (1)
	{
		my $want = 8;
		$want += unpack 'V', $buffer if length $buffer >= 8;
		return ((unpack 'VC', $buffer)[1], substr $buffer, 8) if length $buffer >= 8 && length $buffer == $want;
		die 'nothing arrives' if !IO::Select->new($link)->can_read(60);
		sysread($link, $buffer, $want - length $buffer, length $buffer) or return;
	}
}

# The feed's next connection.
sub next_link
{
	die 'the feed does not connect' if !IO::Select->new($listener)->can_read(60);
	return $listener->accept;
}

local $SIG{PIPE} = 'IGNORE';
foreach my $case (
	[ 'SUBSCRIBE before HELLO', 'The first frame is not HELLO.', subscribe() ],
	[ 'HELLO of another gateway', 'HELLO names another gateway or a database.', hello(gateway => 1) ],
	[ 'HELLO with a database', 'HELLO names another gateway or a database.', hello(database => 'template1') ],
	[ 'two HELLOs', 'The gateway sent HELLO twice.', hello() . hello() ],
	[ 'no kind of events', 'SUBSCRIBE has unknown kinds or operations.', hello() . subscribe(kinds => 0) ],
	[ 'an unknown operation', 'SUBSCRIBE has unknown kinds or operations.', hello() . subscribe(ops => 0x40) ],
	[ 'a channel that is not text', 'The channel of SUBSCRIBE is not valid UTF-8.', hello() . subscribe(channel => "t\xff") ],
	[ 'a filter that is not text', 'The filter or a column of SUBSCRIBE is not valid UTF-8.', hello() . subscribe(filter => "a=eq.\xff") ],
	[ 'a column that is not text', 'The filter or a column of SUBSCRIBE is not valid UTF-8.', hello() . subscribe(columns => pack('V/a*', "\xff")) ],
	[ 'a filter that is too long', 'The filter or the columns of SUBSCRIBE are too long.', hello() . subscribe(filter => 'a' x 8193) ],
	[ 'a list of columns that is too long', 'The filter or the columns of SUBSCRIBE are too long.', hello() . subscribe(columns => pack('V/a*', 'a' x 8189)) ],
	[ 'columns that are no list', 'The frame is malformed.', hello() . subscribe(columns => 'id') ],
	[ 'too many subscriptions of a session', 'A session has too many subscriptions.',
		hello() . join('', map { subscribe(sub => $_) } 1 .. 101) ],
	[ 'a frame of feeds', 'A gateway does not send frames of this type to a feed.', hello() . frame(47, pack('Q<Q<V', 1, 1, 0)) ],
	[ 'an unknown frame', 'The frame is malformed.', hello() . frame(99, '') ],
	[ 'a frame that is too long', 'The frame is malformed.', hello() . pack('VCCv', 200_000_000, 30, 0, 0) ],
	[ 'a frame that is too short', 'The frame is malformed.', hello() . frame(31, pack('V', 1)) ])
{
	my ($what, $detail, $bytes) = @$case;
	my $from = -s $node->logfile;
	my $link = next_link();
	syswrite $link, $bytes;
	1 while next_frame($link);
	like(slurp_file($node->logfile, $from),
		qr/LOG:  gateway 0 sent an invalid frame to the feed of database "postgres"\n.*DETAIL:  \Q$detail\E/,
		"$what: the link ends");
}

# The link still works. Numbers that are not in use are ignored, and a session without such an
# identity gets nothing.
my $link = next_link();
syswrite $link,
	hello() . frame(31, pack('VC', 77, 3)) . frame(32, pack('VV', 77, 1000)) . subscribe(sub => 200, session => 2, identity => 5)
  . join('', map { subscribe(sub => $_) } 1 .. 100, 100);
my %count = (40 => 0, 41 => 0);
while ($count{40} < 101)
{
	my ($type, $payload) = next_frame($link);
	last if !defined $type;
	$count{$type}++;
	is(unpack('V', $payload), 200, 'a SUBSCRIBE with an identity that the session does not have is refused') if $type == 41;
}
is("$count{40} $count{41}", '101 1', 'as many subscriptions as a session may have, one of them twice');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'nothing has crashed');

close $link;
done_testing();
