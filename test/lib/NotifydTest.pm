package NotifydTest;

=head1 NAME

NotifydTest - servers with pg_notifyd, their processes and their WebSocket clients, for TAP tests

=head1 SYNOPSIS

	use NotifydTest;

	my $node = notifyd_node('main');
	$node->safe_psql('postgres', q{
		CREATE TABLE orders (id int PRIMARY KEY, name text);
		GRANT SELECT ON orders TO guest;
		SELECT notify_watch('orders');
	});
	my $client = notifyd_client($node);
	$client->subscribe('orders');
	$node->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 'Lemonade')});
	is($client->next_event->{new}{name}, 'Lemonade');

Nothing here sleeps for a fixed time: everything waits for a condition, at most PG_TEST_TIMEOUT_DEFAULT seconds (180),
and dies then, saying what it waited for.

=cut

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use Exporter 'import';
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64url);
use Mojo::IOLoop;
use Mojo::JSON qw(encode_json);
use Mojo::UserAgent;
use NotifydTest::Client;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  notifyd_node notifyd_port notifyd_client notifyd_token notifyd_bearer wait_for wait_healthy http_get curl
  raw_connect raw_handshake raw_receive
  children_of process_name process_status gateway_pids listens
);

=head1 FUNCTIONS

=over

=item notifyd_node(NAME, %options)

A started server with pg_notifyd preloaded, a port of its own for the gateway, the role C<guest> as
C<pg_notifyd.anonymous_role>, and the extension in the database postgres, healthy. C<conf>: more lines for
postgresql.conf. C<extension>, C<start>, C<preload>: 0 leaves that out. C<init>: parameters for init(). C<roles>: a
list of roles, which tokens may choose: the node has the secret of notifyd_token(), and the role C<authenticator>
may become these roles and C<guest>.

=cut

my $secret = 'a secret of at least thirty-two bytes';

sub notifyd_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my @roles = @{ $options{roles} // [] };

	$node->init(%{ $options{init} // {} }, extra => [ '-E', 'UTF8' ]);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_notifyd'") if $options{preload} // 1;
	$node->{notifyd_port} = PostgreSQL::Test::Cluster::get_free_port();
	$node->append_conf('postgresql.conf',
		"pg_notifyd.port = $node->{notifyd_port}\npg_notifyd.anonymous_role = 'guest'\n"
		  . (@roles ? "pg_notifyd.jwt_secret = '$secret'\npg_notifyd.authenticator_role = 'authenticator'\n" : '')
		  . ($options{conf} // ''));
	return $node if !($options{start} // 1);
	$node->start;
	$node->safe_psql('postgres',
		join ';', 'CREATE ROLE guest', map { "CREATE ROLE $_" } @roles, @roles ? 'authenticator LOGIN NOINHERIT' : ());
	$node->safe_psql('postgres', 'GRANT ' . join(', ', 'guest', @roles) . ' TO authenticator') if @roles;
	return $node if !($options{extension} // 1);
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_notifyd');
	wait_healthy($node) if $options{preload} // 1;
	return $node;
}

=item notifyd_port(NODE)

The port of the node's gateway.

=cut

sub notifyd_port
{
	my $node = shift;
	return $node->{notifyd_port};
}

=item notifyd_client(NODE, %options)

A connected L<NotifydTest::Client>; its options.

=cut

sub notifyd_client
{
	my ($node, %options) = @_;
	return NotifydTest::Client->new(port => $node->{notifyd_port}, %options);
}

=item notifyd_token(CLAIMS, SECRET)

A token with these claims, without those that are undef, signed by HS256. Without SECRET it is one for a node with
C<roles>.

=cut

sub notifyd_token
{
	my ($claims, $key) = @_;
	my %claims = map { $_ => $claims->{$_} } grep { defined $claims->{$_} } keys %$claims;
	my $signed = join '.', map { encode_base64url(encode_json($_)) } { alg => 'HS256', typ => 'JWT' }, \%claims;

	return "$signed." . encode_base64url(hmac_sha256($signed, $key // $secret));
}

=item notifyd_bearer(ROLE, SUBJECT, %claims)

The name and value of the header with a token of this role and subject, for a node with C<roles>.

=cut

sub notifyd_bearer
{
	my ($role, $subject, %claims) = @_;
	my $token = notifyd_token({ role => $role, sub => "$subject", exp => time + 6000, %claims });
	return (Authorization => "Bearer $token");
}

=item wait_for(CODE, WHAT)

Runs the event loop until CODE returns true; returns that.

=cut

sub wait_for
{
	my ($code, $what) = @_;
	return NotifydTest::Client::wait_until($code, $what);
}

=item http_get(NODE, PATH, %headers)

The Mojo response to an HTTP request, or undef if there is no connection.

=cut

sub http_get
{
	my ($node, $path, %headers) = @_;
	my $ua = Mojo::UserAgent->new(ioloop => Mojo::IOLoop->new, max_redirects => 0);
	my $tx = $ua->get("http://127.0.0.1:$node->{notifyd_port}$path" => \%headers);
	return $tx->res->code ? $tx->res : undef;
}

=item curl(NODE, PATH, ARGUMENTS...)

Status and body of the response that curl gets with these arguments, as "200 body".

=cut

sub curl
{
	my ($node, $path, @arguments) = @_;
	my $url = "http://127.0.0.1:$node->{notifyd_port}$path";
	open my $curl, '-|', 'curl', '-s', '-w', ' %{http_code}', @arguments, $url or die "curl: $!";
	my $answer = do { local $/ = undef; <$curl> };
	close $curl;
	return $answer =~ s/(.*) (\d+)\z/$2 $1/sr;
}

=item wait_healthy(NODE, DATABASE)

Waits until the gateway says that the database (default: postgres) is served.

=cut

sub wait_healthy
{
	my ($node, $database) = @_;
	my $path = '/healthz?database=' . ($database // 'postgres');
	wait_for(sub { my $res = http_get($node, $path); $res && $res->code == 200 }, "health of $path");
	return;
}

=item raw_connect(NODE)

A plain TCP connection to the gateway.

=cut

sub raw_connect
{
	my $node = shift;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{notifyd_port}, Proto => 'tcp')
	  || die "connection to port $node->{notifyd_port}: $!";
}

=item raw_receive(SOCKET, REGEXP)

Reads until what was read matches, or the end of file; returns what was read.

=cut

sub raw_receive
{
	my ($socket, $regexp) = @_;
	my $read = '';
	local $SIG{ALRM} = sub { die "no answer to the raw request, only: $read" };
	alarm $PostgreSQL::Test::Utils::timeout_default;
	while ($read !~ $regexp)
	{
		last if !sysread($socket, $read, 65536, length $read);
	}
	alarm 0;
	return $read;
}

=item raw_handshake(NODE, HEADERS...)

Sends a WebSocket handshake on a new TCP connection and returns the socket and the head of the answer. HEADERS are
lines; one with the name of a usual one takes its place, and one with an empty value leaves it out.

=cut

sub raw_handshake
{
	my ($node, @headers) = @_;
	my %given = map { /^([^:]+):/ ? (lc $1 => 1) : () } @headers;
	my @usual = (
		"Host: localhost:$node->{notifyd_port}",
		'Upgrade: websocket',
		'Connection: Upgrade',
		'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
		'Sec-WebSocket-Version: 13');
	my @lines = ((grep { /^([^:]+):/ && !$given{ lc $1 } } @usual), grep { /:\s*\S/ } @headers);
	my $socket = raw_connect($node);
	print $socket join("\r\n", 'GET /ws HTTP/1.1', @lines, '', '');
	$socket->flush;
	return ($socket, raw_receive($socket, qr/\r\n\r\n/));
}

=item children_of(PID)

The processes whose parent this is.

=cut

sub children_of
{
	my $parent = shift;
	my @children;
	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open my $stat, '<', $file or next;
		my $line = <$stat> // '';
		push @children, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) /s && $2 == $parent;
	}
	return @children;
}

=item process_name(PID)

What the process calls itself: its command line, with spaces between the words.

=cut

sub process_name
{
	my $pid = shift;
	open my $file, '<', "/proc/$pid/cmdline" or return '';
	local $/ = undef;
	my $name = <$file> // '';
	$name =~ s/\0+$//;
	$name =~ tr/\0/ /;
	return $name;
}

=item process_status(PID, FIELD)

This field of the process's status (proc(5)); empty if there is none. It is readable also where a
process hides the rest of itself.

=cut

sub process_status
{
	my ($pid, $field) = @_;
	open my $file, '<', "/proc/$pid/status" or return '';
	local $/ = undef;
	my $status = <$file> // '';
	return $status =~ /^$field:\s*(.*)$/m ? $1 : '';
}

=item gateway_pids(NODE)

The gateways: descendants of the postmaster that run the gateway's program.

=cut

sub gateway_pids
{
	my $node = shift;
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	return grep { process_status($_, 'Name') eq 'pg_notifyd-gate' }
	  map { children_of($_) } children_of($postmaster);
}

=item listens(PORT)

Whether a TCP socket listens on this port.

=cut

sub listens
{
	my $port = sprintf '%04X', shift;
	foreach my $file ('/proc/net/tcp', '/proc/net/tcp6')
	{
		open my $table, '<', $file or next;
		while (<$table>)
		{
			my @field = split;
			return 1 if $field[1] =~ /:$port$/ && $field[3] eq '0A';
		}
	}
	return 0;
}

=back

=cut

1;
