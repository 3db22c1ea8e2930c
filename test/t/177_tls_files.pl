# Certificate and key: reloads, files that cannot be used, and where the key must not stand.
use strict;
use warnings;

use File::Copy;
use NotifydTest;
use NotifydTest::Tls;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = tls_node('main', conf => "pg_notifyd.gateways = 2\n");
my $dir = $node->data_dir;
my $port = notifyd_port($node);
my $offset = 0;

tls_certificate("$dir/next", days => 20);
tls_certificate("$dir/rsa", key => ['rsa:2048'], days => 30);
tls_certificate("$dir/small", key => ['rsa:512']);
tls_certificate("$dir/secret", passphrase => 'open sesame');

# Both files of one certificate, at once.
sub put
{
	my $name = shift;
	copy("$dir/$name.$_", "$dir/tls.$_") or die "$name.$_: $!" for 'crt', 'key';
	chmod 0600, "$dir/tls.key" or die $!;
	return;
}

sub reload
{
	$offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', shift) if @_;
	$node->reload;
	return;
}

# Waits until the log says this since the last reload.
sub says
{
	my ($pattern, $what) = @_;
	wait_for(sub { substr(slurp_file($node->logfile), $offset) =~ $pattern }, $what);
	return pass($what);
}

# What all gateways present.
sub serials
{
	my %serials = map { (tls_serial($node) // 'none') => 1 } 1 .. 8;
	return join ' ', sort keys %serials;
}

# Whether the metrics say when this certificate expires, or 0 without one.
sub expires
{
	my ($name) = @_;
	my $end = $name ? `date +%s -d "\$(openssl x509 -noout -enddate -in $dir/$name.crt | cut -d= -f2)"` : 0;
	my $text = `curl -sk @{[ $name ? 'https' : 'http' ]}://127.0.0.1:$port/metrics`;
	return $text =~ /^pg_notifyd_certificate_expires_timestamp_seconds (\S+)$/m && $1 == $end;
}

sub serial_of
{
	my $serial = `openssl x509 -noout -serial -in $dir/$_[0].crt`;
	return $serial =~ s/\s+\z//r;
}

copy("$dir/tls.$_", "$dir/first.$_") for 'crt', 'key';
my $ca = "$dir/first.crt";
wait_for(sub { defined tls_serial($node) }, 'a certificate');
is(serials(), serial_of('first'), 'both gateways present the first certificate');
my @clients = map { notifyd_client($node, ca => $ca) } 1 .. 6;
$_->subscribe('t') for @clients;

# The files' contents change.
put('next');
reload();
says(qr/LOG:  pg_notifyd uses the certificate in file "tls.crt"\n.*DETAIL:  It expires on /, 'the log names the new one');
wait_for(sub { serials() eq serial_of('next') }, 'both gateways present the second');
put('rsa');
reload();
wait_for(sub { serials() eq serial_of('rsa') }, 'an RSA certificate');
wait_for(sub { expires('rsa') }, 'when it expires');
put('next');
reload();
wait_for(sub { serials() eq serial_of('next') }, 'and back');

# Files that cannot be used: the certificate stays.
my @wrong = (
	[ sub { copy("$dir/first.key", "$dir/tls.key") }, qr/private key file "tls.key" does not fit the certificate: key values mismatch/, 'a foreign key' ],
	[ sub { unlink "$dir/tls.key" }, qr/could not open file "tls.key": No such file or directory/, 'no key' ],
	[ sub { put('next'); chmod 0644, "$dir/tls.key" }, qr/private key file "tls.key" has group or world access/, 'a key that others may read' ],
	[ sub { put('next'); append_to_file("$dir/empty", ''); copy("$dir/empty", "$dir/tls.crt") }, qr/file "tls.crt" is not a certificate/, 'an empty file' ],
	[ sub { put('next'); copy("$dir/postgresql.conf", "$dir/tls.crt") }, qr/could not load server certificate file "tls.crt": no start line/, 'no certificate' ],
	[ sub { put('next'); copy("$dir/tls.crt", "$dir/tls.key") }, qr/could not load private key file "tls.key"/, 'no private key' ],
	[ sub { put('small') }, qr/could not load server certificate file "tls.crt": ee key too small/, 'a weak key' ],
	[ sub { put('secret') }, qr/"tls.key": it needs a passphrase, and ssl_passphrase_command is empty/, 'an encrypted key' ],
);
for my $wrong (@wrong)
{
	my ($do, $pattern, $what) = @$wrong;
	$do->();
	reload();
	says(qr/LOG:  pg_notifyd: .*$pattern.*\n.*DETAIL:  The last certificate stays in use\.\n.*HINT:  /, $what);
	is(serials(), serial_of('next'), "$what: the certificate stays in use");
	ok(expires('next'), 'and the metrics say when it expires');
}

# A gateway that starts now has the last certificate too. The one with fewer clients is replaced.
my $gateway = $node->safe_psql('postgres', "SELECT pid FROM notifyd.stats WHERE kind = 'gateway' ORDER BY clients LIMIT 1");
kill 'KILL', $gateway;
wait_for(sub { my @pids = gateway_pids($node); @pids == 2 && !grep { $_ == $gateway } @pids }, 'another gateway');
wait_for(sub { serials() eq serial_of('next') }, 'it presents the last certificate');
cmp_ok(scalar(grep { $_->served } @clients), '>=', 1, 'clients of the other gateway are connected since the first certificate');

# A key with a passphrase
reload("ssl_passphrase_command = 'echo open sesame'\n");
says(qr/ssl_passphrase_command_supports_reload is off/, 'a passphrase is not asked for at a reload');
reload("ssl_passphrase_command_supports_reload = on\n");
wait_for(sub { serials() eq serial_of('secret') }, 'an encrypted key');
reload("ssl_passphrase_command = 'echo wrong'\n");
says(qr/could not load private key file "tls.key": /, 'a wrong passphrase');
is(serials(), serial_of('secret'), 'the certificate stays');
$node->append_conf('postgresql.conf', "ssl_passphrase_command = 'echo open sesame'\nssl_passphrase_command_supports_reload = off");
$node->restart;
wait_for(sub { serials() eq serial_of('secret') }, 'an encrypted key at the start');

# Where the key stands
{
	my @pids = gateway_pids($node);
	my $secret = substr scalar(`openssl pkey -in $dir/secret.key -passin 'pass:open sesame' -outform DER`), 40, 16;
	my $found = 0;
	for my $file ($node->logfile, map { ("/proc/$_/cmdline", "/proc/$_/environ") } @pids)
	{
		open my $in, '<', $file or next;
		local $/ = undef;
		$found++ if (<$in> // '') =~ /\Q$secret\E|PRIVATE KEY/;
	}
	is($found, 0, 'the key is in no log, command line or environment');
	is(process_status($pids[0], 'NoNewPrivs'), 1, 'the sandbox is in force');
}
$node->append_conf('postgresql.conf', 'pg_notifyd.sandbox = off');
my ($sandboxed) = gateway_pids($node);
$node->reload;
wait_for(sub { my ($pid) = gateway_pids($node); $pid && $pid != $sandboxed && defined tls_serial($node) }, 'no sandbox');
SKIP:
{
	skip 'root sees everything', 1 if $> == 0;
	my ($pid) = gateway_pids($node);
	my $memory;
	ok(!open($memory, '<', "/proc/$pid/mem"), 'also without the sandbox nobody can read its memory');
}

# Off, and on again without a file.
put('next');
reload('pg_notifyd.ssl = off');
wait_for(sub { my $res = http_get($node, '/healthz'); $res && $res->code == 200 }, 'plain HTTP');
ok(expires(), 'no certificate expires');
unlink "$dir/tls.crt";
reload('pg_notifyd.ssl = on');
says(qr/could not open file "tls.crt": .*\n.*DETAIL:  pg_notifyd.ssl is on, so clients are not served\./, 'the log says that nothing is served');
wait_for(sub { !gateway_pids($node) }, 'no gateway');
ok(!http_get($node, '/healthz'), 'plain HTTP is not served');
$node->restart;
says(qr/clients are not served/, 'nor after a start');
ok(!gateway_pids($node), 'there is no gateway');
put('first');
reload();
wait_for(sub { (tls_serial($node) // '') eq serial_of('first') }, 'the next reload finds the file');

# The server's own certificate by default
copy("$dir/next.crt", "$dir/server.crt");
copy("$dir/next.key", "$dir/server.key");
chmod 0600, "$dir/server.key";
reload("pg_notifyd.ssl_cert_file = ''\npg_notifyd.ssl_key_file = ''\n");
wait_for(sub { serials() eq serial_of('next') }, "the server's own certificate");
pass('the settings of the server are the default');

done_testing();
