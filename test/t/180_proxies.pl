# Behind nginx and HAProxy, with the configurations of doc/proxies.md: whose address clients have, whatever they send, and
# that WebSocket, event streams and other requests get through.
use strict;
use warnings;

use IPC::Run ();
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $document = slurp_file('doc/proxies.md');
my $node = notifyd_node('main', roles => ['app'], conf => <<CONF);
pg_notifyd.trusted_proxies = '127.0.0.1, unix'
pg_notifyd.allowed_origins = 'https://shop.example'
pg_notifyd.listen_addresses = 'localhost, $dir/notifyd.sock'
CONF
my $port = notifyd_port($node);
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY);
	SELECT notify_watch('orders');
	GRANT SELECT ON orders TO guest;
});

# The block of the document that begins like this, with these replacements, each of which must be possible.
sub block
{
	my ($begin, %replacements) = @_;
	my ($block) = grep { /^\Q$begin/ } $document =~ /^```\w*\n(.*?)^```$/gms;

	$block // BAIL_OUT("doc/proxies.md has no block that begins with: $begin");
	foreach my $text (sort keys %replacements)
	{
		$block =~ s/\Q$text\E/$replacements{$text}/g or BAIL_OUT("doc/proxies.md does not have: $text");
	}
	return $block;
}

# Start a program in the foreground, and wait until it listens on these ports.
my @running;

sub start
{
	my ($command, @ports) = @_;

	push @running, IPC::Run::start($command, '<', \undef, '>>', "$dir/log", '2>&1');
	foreach my $listening (@ports)
	{
		wait_for(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $listening) }, "a proxy on port $listening");
	}
	return;
}

sub END { local $?; $_->kill_kill foreach @running; return; }

my %ports = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(nginx old unix stream haproxy v1 v2 haproxy_unix);

# nginx: as in the document, with HTTP/1.0, over the Unix socket, and with the PROXY protocol
my $nginx = block('upstream', 'server 127.0.0.1:7432' => "server 127.0.0.1:$port", 'listen 80' => "listen 127.0.0.1:$ports{nginx}");
my ($server) = $nginx =~ /^(server \{.*)/ms;
my $old = $server =~ s/127.0.0.1:$ports{nginx}/127.0.0.1:$ports{old}/r =~ s/^\t\tproxy_http_version.*\n|^\t\tproxy_set_header (?:Upgrade|Connection).*\n//gmr;
my $socket = $server =~ s/127.0.0.1:$ports{nginx}/127.0.0.1:$ports{unix}/r =~ s{http://pg_notifyd}{http://socket}r;
my $stream = block('stream', 'proxy_pass 127.0.0.1:7432' => "proxy_pass 127.0.0.1:$port", 'listen 7443' => "listen 127.0.0.1:$ports{stream}");
append_to_file("$dir/nginx.conf", <<CONF);
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events {}
$stream
http {
access_log off;
@{[ map { "${_}_temp_path $dir/$_;\n" } qw(client_body proxy fastcgi uwsgi scgi) ]}
$nginx
$old
upstream socket { server unix:$dir/notifyd.sock; }
$socket
}
CONF
start([ '/usr/sbin/nginx', '-p', $dir, '-e', "$dir/nginx.log", '-c', "$dir/nginx.conf" ], @ports{qw(nginx old unix stream)});

# HAProxy: as in the document, with version 1 of the PROXY protocol, and over the Unix socket
my $haproxy = block('defaults', 'server notifyd1 127.0.0.1:7432' => "server notifyd1 127.0.0.1:$port", 'bind :80' => "bind 127.0.0.1:$ports{haproxy}");
my $tcp = block('listen', 'server notifyd1 127.0.0.1:7432' => "server notifyd1 127.0.0.1:$port", 'bind :7443' => "bind 127.0.0.1:$ports{v2}");
my ($sections) = $haproxy =~ /^(frontend .*)/ms;
$sections =~ s/127\.0\.0\.1:$ports{haproxy}/127.0.0.1:$ports{haproxy_unix}/;
$sections =~ s/127\.0\.0\.1:$port/$dir\/notifyd.sock/;
append_to_file("$dir/haproxy.cfg", join "\n", $haproxy, $tcp,
	$tcp =~ s/pg_notifyd_tcp/version1/r =~ s/$ports{v2}/$ports{v1}/r =~ s/send-proxy-v2/send-proxy/r,
	$sections =~ s/frontend shop/frontend shop2/r =~ s/(backend|default_backend) pg_notifyd/$1 socket/gr);
start([ '/usr/sbin/haproxy', '-db', '-f', "$dir/haproxy.cfg" ], @ports{qw(haproxy v1 v2 haproxy_unix)});

# The addresses of the clients that are connected now
sub addresses
{
	return $node->safe_psql('postgres', 'SELECT string_agg(host(address), $$ $$ ORDER BY address) FROM notifyd.clients');
}

# The address that a client has which connects to this port and sends these headers, or its status
sub address_of
{
	my ($to, %headers) = @_;
	my $client = notifyd_client($node, port => $to, from => '127.0.0.7', headers => { Host => 'shop.example', %headers });

	return $client->status . ' ' . $client->reason if !$client->connected;
	$client->ping;
	my $address = addresses();
	$client->close;
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM notifyd.clients') or die 'clients stay';
	return $address;
}

# The proxies check the health first.
foreach my $name (qw(haproxy v1 v2 haproxy_unix))
{
	wait_for(sub { my $client = notifyd_client($node, port => $ports{$name}); my $status = $client->status // ''; $client->close if $status eq 101; $status eq 101 },
		"$name to find the server healthy");
}
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM notifyd.clients');

my @spoofs = (
	[ 'X-Forwarded-For' => '203.0.113.1' ],
	[ 'X-Forwarded-For' => '203.0.113.1, 127.0.0.1' ],
	[ 'Forwarded'       => 'for=203.0.113.1' ],
	[ 'Forwarded'       => 'for="' ]);

foreach my $name (qw(nginx unix stream haproxy haproxy_unix v1 v2))
{
	is(address_of($ports{$name}), '127.0.0.7', "$name: the client's own address");
	is(address_of($ports{$name}, @$_), '127.0.0.7', "$name: with @$_") foreach @spoofs;
	is(address_of($ports{$name}, Origin => 'https://shop.example'), '127.0.0.7', "$name: from the site's page");
	like(address_of($ports{$name}, Origin => 'https://evil.example'), qr/^403 /, "$name: not from others");

	my $client = notifyd_client($node, port => $ports{$name}, from => '127.0.0.7');
	$client->subscribe('orders');
	$node->safe_psql('postgres', 'INSERT INTO orders SELECT coalesce(max(id), 0) + 1 FROM orders');
	is($client->next_event->{op}, 'INSERT', "$name: events get through");
	$client->close;
}
is(address_of($port, 'X-Forwarded-For' => '203.0.113.1'), '127.0.0.7', 'without a proxy the header does not count');
is(address_of($port, 'Forwarded' => 'for=203.0.113.1'), '127.0.0.7', 'nor does the other');

# Other requests
foreach my $name (qw(nginx old unix stream haproxy haproxy_unix v1 v2))
{
	my @ask = ({ notifyd_port => $ports{$name} });
	is(curl(@ask, '/healthz', '-H', 'Host: shop.example'), "200 ok\n", "$name: a request");
	is(curl(@ask, '/rpc/nothing', '-X', 'POST', '-o', '/dev/null'), '404 ', "$name: one to the API");
	is(curl(@ask, '/metrics', '-o', '/dev/null', '--interface', '127.0.0.7'), $name =~ /^(v|stream)/ ? '403 ' : '404 ', "$name: no metrics for everybody");
}

# Event streams
foreach my $name (qw(nginx old unix stream haproxy haproxy_unix v1 v2))
{
	my ($out, $in) = ('', '');
	my $curl = IPC::Run::start([ 'curl', '-sN', '--interface', '127.0.0.7', "http://127.0.0.1:$ports{$name}/events?channel=orders" ], \$in, \$out);
	wait_for(sub { $curl->pump_nb; $out =~ /^retry:/m }, "$name: the start of a stream");
	is(addresses(), '127.0.0.7', "$name: whose stream it is");
	$node->safe_psql('postgres', 'INSERT INTO orders SELECT max(id) + 1 FROM orders');
	ok(wait_for(sub { $curl->pump_nb; $out =~ /^data: .*"INSERT"/m }, "$name: an event"), "$name: events of a stream get through");
	$curl->kill_kill;
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM notifyd.clients');
}

done_testing();
