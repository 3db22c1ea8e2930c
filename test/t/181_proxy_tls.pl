# Proxies that pass on TLS without reading it, by the configurations of doc/proxies.md: the PROXY protocol comes before TLS,
# and a Unix socket stays plain.
use strict;
use warnings;

use IPC::Run ();
use NotifydTest;
use NotifydTest::Tls;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = tls_node('main', conf => <<CONF);
pg_notifyd.trusted_proxies = '127.0.0.1, unix'
pg_notifyd.listen_addresses = 'localhost, $dir/notifyd.sock'
CONF
my $port = notifyd_port($node);
my $ca = $node->data_dir . '/tls.crt';
my %ports = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(tls unix nginx nginx_unix);

my $document = slurp_file('doc/proxies.md');
my ($listen) = $document =~ /^```haproxy\n(listen .*?)^```$/ms or BAIL_OUT('doc/proxies.md has no block that begins with listen');
my $tls = $listen =~ s/bind :7443/bind 127.0.0.1:$ports{tls}/r =~ s/127\.0\.0\.1:7432/127.0.0.1:$port/r =~ s/\t+# with TLS also:/ /r;
my $unix = $listen =~ s/pg_notifyd_tcp/socket/r =~ s/bind :7443/bind 127.0.0.1:$ports{unix}/r =~ s{127\.0\.0\.1:7432}{$dir/notifyd.sock}r;
append_to_file("$dir/haproxy.cfg", "$tls\n$unix");

my ($stream) = $document =~ /^```nginx\n(stream .*?)^```$/ms or BAIL_OUT('doc/proxies.md has no block that begins with stream');
my $nginx = $stream =~ s/listen 7443/listen 127.0.0.1:$ports{nginx}/r =~ s/127\.0\.0\.1:7432/127.0.0.1:$port/r;
my ($server) = $stream =~ /^(\tserver .*?^\t\}\n)/ms;
$server = $server =~ s/listen 7443/listen 127.0.0.1:$ports{nginx_unix}/r =~ s{127\.0\.0\.1:7432}{unix:$dir/notifyd.sock}r;
append_to_file("$dir/nginx.conf", <<CONF . $nginx =~ s/^\}/$server}/mr);
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid $dir/nginx.pid;
events {}
CONF
my @proxies;

sub END { local $?; $_->kill_kill foreach @proxies; return; }

push @proxies, IPC::Run::start([ '/usr/sbin/nginx', '-p', $dir, '-e', "$dir/nginx.log", '-c', "$dir/nginx.conf" ], '<', \undef, '>>', "$dir/log", '2>&1');
push @proxies, IPC::Run::start([ '/usr/sbin/haproxy', '-db', '-f', "$dir/haproxy.cfg" ], '<', \undef, '>>', "$dir/log", '2>&1');

# The address that a client has, once the proxy has found the server healthy
sub address_of
{
	my (%options) = @_;
	my $client;

	wait_for(sub { $client = notifyd_client($node, from => '127.0.0.7', %options); ($client->status // 0) eq 101 }, "a client of port $options{port}");
	$client->ping;
	my $address = $node->safe_psql('postgres', 'SELECT string_agg(host(address), $$ $$) FROM notifyd.clients');
	$client->close;
	$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM notifyd.clients') or die 'clients stay';
	return $address;
}

is(address_of(port => $port, ca => $ca), '127.0.0.7', 'without the proxy');
is(address_of(port => $ports{tls}, ca => $ca), '127.0.0.7', 'TLS through HAProxy');
is(address_of(port => $ports{unix}), '127.0.0.7', 'through HAProxy and the Unix socket, without TLS');
is(address_of(port => $ports{nginx}, ca => $ca), '127.0.0.7', 'TLS through nginx');
is(address_of(port => $ports{nginx_unix}), '127.0.0.7', 'through nginx and the Unix socket, without TLS');

# Somebody who is no trusted proxy
my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, LocalAddr => '127.0.0.7') or die "connect: $!";
print $socket "PROXY TCP4 203.0.113.1 127.0.0.1 1 2\r\n";
$socket->flush;
unlike(raw_receive($socket, qr/\z.^/s), qr{^HTTP/1\.1 [123]}, 'gets nothing');

done_testing();
