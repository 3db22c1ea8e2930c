# The view notifyd.clients, which asks the gateways for the connected clients.
use strict;
use warnings;
use utf8;

use IO::Socket::UNIX;
use NotifydTest;
use PostgreSQL::Test::Utils;
use POSIX ();
use Socket qw(SOCK_STREAM);
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main', conf => "pg_notifyd.gateways = 2\n");
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	CREATE TABLE items (id int PRIMARY KEY);
	GRANT SELECT ON orders, items TO guest;
	SELECT notify_watch('orders'), notify_watch('items'), notify_grant('café☃', 'guest');
	CREATE ROLE ordinary LOGIN;
	CREATE ROLE monitor LOGIN;
	GRANT pg_read_all_stats TO monitor;
	CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';
});
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM notifyd.stats WHERE kind = 'gateway' AND state = 'running'})
  or die 'no two gateways';
$node->safe_psql('latin1', 'CREATE EXTENSION pg_notifyd');

sub sql
{
	my ($sql, %options) = @_;
	my $result = $node->safe_psql($options{database} // 'postgres', $sql, %{ $options{psql} // {} });
	utf8::decode($result);
	return $result;
}

# The local port of a client, by which its row is known.
sub port_of
{
	my $client = shift;
	return Mojo::IOLoop->stream($client->{tx}->connection)->handle->sockport;
}

sub row
{
	my ($client, $columns, %options) = @_;
	return sql("SELECT $columns FROM notifyd.clients WHERE port = " . port_of($client), %options);
}

# No client, no row.
is(sql('SELECT count(*) FROM notifyd.clients'), 0, 'nobody is connected');

# Two clients.
my $before = sql('SELECT clock_timestamp()');
my $one = notifyd_client($node, subprotocols => ['pg_notifyd.v1']);
my $two = notifyd_client($node);
$one->subscribe($_) foreach 'orders', 'items', 'café☃';
$two->subscribe('orders');

is(sql('SELECT count(*) FROM notifyd.clients'), 2, 'a row for each client');
is(row($one, 'database, role, address, subprotocol, channels'),
	"postgres|guest|127.0.0.1|pg_notifyd.v1|{café☃,items,orders}", 'who it is, and what it is subscribed to');
is(row($two, 'database, role, address, subprotocol IS NULL, channels'), 'postgres|guest|127.0.0.1|t|{orders}',
	'the other, without a subprotocol');
is(row($one, "connected_at BETWEEN '$before' AND clock_timestamp() AND gateway IN (0, 1)"), 't', 'since when, and where');
is(row($one, 'connected_at'), row($one, 'connected_at'), 'which does not change');
is(row($two, 'lag, queued_bytes'), '0|0', 'nothing is left to be sent');

# What is sent is counted, the position moves on.
sql(q{INSERT INTO items VALUES (1)});
$one->next_event;
sql(q{INSERT INTO orders VALUES (1, 'x')});
$one->next_event;
my ($id) = $two->next_event->{position} =~ /-(\d+)$/;
is(row($two, 'lag, queued_bytes, messages'), '0|0|2', 'an answer and an event to the one');
is(row($one, 'messages, bytes_sent > (SELECT min(bytes_sent) FROM notifyd.clients)'), '5|t',
	'three answers and two events to the other');
is(row($two, "split_part(position, '-', 2)::int8 >= $id AND position ~ '^[1-9][0-9]*-'"), 't', 'the position is that of the event');

# The same seen from a database of another encoding: what that has not is replaced.
is(row($one, 'channels[1] = U&\'caf\00e9?\', channels[2:3], role', database => 'latin1'), 't|{items,orders}|guest',
	'in another encoding');
{
	my $latin = notifyd_client($node, database => 'latin1');
	is(row($latin, 'database, channels'), 'latin1|{}', 'a client of another database, without subscriptions');
	$latin->close;
}

# Who sees it.
is(sql('SELECT count(*) FROM notifyd.clients', psql => { extra_params => [ '-U', 'monitor' ] }), 2,
	'a member of pg_read_all_stats sees all');
is(sql('SELECT count(*) FROM notifyd.clients', psql => { extra_params => [ '-U', 'ordinary' ] }), 0,
	'an ordinary role sees none');

# Every column is described.
is(sql(q{SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = 'notifyd.clients'::regclass AND attnum > 0
		AND col_description(attrelid, attnum) IS NULL}), '', 'every column has a comment');

# Who leaves is not there any more.
my $gone = port_of($two);
$two->close;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM notifyd.clients WHERE port = $gone")
  or fail('the row of a client that has left');
is(sql('SELECT count(*) FROM notifyd.clients'), 1, 'a client that has left has no row, the other has');

# A gateway that hangs: in bounded time, with a warning, and the rows of the other one.
my ($pid) = sql(q{SELECT pid FROM notifyd.stats WHERE kind = 'gateway' AND name = '1'});
$one->close;
kill 'STOP', $pid;
my $third = notifyd_client($node);    # so this is the other one's
{
	my $since = time;
	my ($status, $stdout, $stderr) = $node->psql('postgres', 'SELECT gateway, port FROM notifyd.clients WHERE gateway = 0');
	my $took = time - $since;

	is($stdout, '0|' . port_of($third), 'a gateway that hangs does not hide the rows of another');
	like($stderr, qr/WARNING:  could not get all clients of gateway 1\nDETAIL:  It did not answer in time\./, 'it is named');
	cmp_ok($took, '>', 4, 'it was waited for');
	cmp_ok($took, '<', 15, 'but not for long');
}

# While it waits, the query can be cancelled; nothing stays open.
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $backend = $session->query('SELECT pg_backend_pid()');
	my $sockets = sub { scalar grep { (readlink($_) // '') =~ /^socket:/ } glob "/proc/$backend/fd/*" };
	my $before = $sockets->();
	my $since = time;

	$session->query(q{SET statement_timeout = '300ms'});
	$session->query('SELECT * FROM notifyd.clients');
	cmp_ok(time - $since, '<', 4, 'a query that waits can be cancelled');
	like($session->{stderr}, qr/canceling statement due to statement timeout/, 'as any other');
	is($sockets->(), $before, 'and leaves no socket behind');
	$session->quit;
}

kill 'CONT', $pid;    # before the launcher replaces it

# What no gateway would say is an error, and no more than that.
{
	my $path = $node->data_dir . '/pg_notifyd/pgsql_tmp.gateway.1.sock';
	my $hello = pack('VCCv', 24, 20, 0, 0) . pack('vvVVQ<V', 2, 1, 0, 0, 0, 0);
	my $client = sub {
		my $payload = pack('Q<VQ<Q<Q<Q<Q<Q<Q<Q<v', $_[1] // 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1)
		  . join('', map { pack 'V/a*', $_ } $_[0], 'd', '', '', '', '', '');
		return pack('VCCv', length $payload, 50, 0, 0) . $payload;
	};
	my $end = pack('VCCv', 0, 51, 0, 0);
	# A socket's path must be short, and the test's directory is not.
	my $listen = sub {
		rename $path, "$path.old" or die "rename: $!" if !-e "$path.old";
		unlink $path;
		chdir $node->data_dir . '/pg_notifyd' or die "chdir: $!";
		return IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => 'pgsql_tmp.gateway.1.sock', Listen => 5) // die "listen: $!";
	};
	my $ask = sub {
		my ($answer, $again) = @_;
		my $listener = $listen->();
		my $child = fork // die "fork: $!";
		if (!$child)
		{
			my $socket = $listener->accept;
			sysread $socket, my $request, 1000;
			syswrite $socket, $answer;
			syswrite $socket, $again while $again && !select undef, undef, undef, 0.1;
			sysread $socket, $request, 1000;
			POSIX::_exit(0);
		}
		close $listener;
		my (undef, $stdout, $stderr) = $node->psql('postgres', q{SELECT host(address) FROM notifyd.clients WHERE gateway = 1},
			extra_params => [ '-v', 'VERBOSITY=verbose' ]);
		kill 'KILL', $child;
		waitpid $child, 0;
		return "$stdout$stderr";
	};

	is($ask->($hello . $client->('fe80::1%eth0') . $client->('::1') . $end), "fe80::1\n::1", 'the test speaks as a gateway does');
	like($ask->($hello, $client->('10.0.0.1')), qr/^10\.0\.0\.1\n10\.0\.0\.1\n.*did not answer in time/s, 'a list without an end');
	like($ask->($$_[1]), qr/ERROR:  $$_[2]/, $$_[0]) foreach (
		[ 'garbage', "\xff" x 100, '08P01: malformed frame from gateway 1' ],
		[ 'a frame that is too large', pack('VCCv', 1 << 20, 50, 0, 0), '08P01: malformed frame from gateway 1' ],
		[ 'an unknown frame', pack('VCCv', 0, 99, 0, 0), '08P01: malformed frame from gateway 1' ],
		[ 'another frame', $hello . pack('VCCv', 0, 10, 0, 0), '08P01: unexpected frame of type 10 from gateway 1' ],
		[ 'no greeting', $end, '08P01: unexpected frame of type 51 from gateway 1' ],
		[ 'two greetings', $hello . $hello, '08P01: unexpected frame of type 20 from gateway 1' ],
		[ 'another version', pack('VCCv', 24, 20, 0, 0) . pack('vvVVQ<V', 9, 1, 0, 0, 0, 0), '08P01: gateway 1 uses version 9' ],
		[ 'an impossible address', $hello . $client->('nowhere'), '22P02: invalid input syntax for type inet' ],
		[ 'an impossible time', $hello . $client->('::1', 1 << 63), '08P01: a gateway sent a time out of range' ]);
	rename "$path.old", $path or die "rename: $!";
	chdir '/';
}

# It continues as before.
is(sql('SELECT count(*) FROM notifyd.clients'), 1, 'the gateway answers again');

# DROP EXTENSION takes the view along; there is none to ask.
sql('DROP EXTENSION pg_notifyd');
is(sql(q{SELECT to_regclass('notifyd.clients') IS NULL}), 't', 'the view goes with the extension');

$node->stop;
done_testing();
