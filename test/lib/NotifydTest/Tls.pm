package NotifydTest::Tls;

=head1 NAME

NotifydTest::Tls - certificates, and what openssl s_client sees of a server, for TAP tests

=cut

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use NotifydTest;

our @EXPORT = qw(tls_certificate tls_node tls_handshake tls_serial);

=head1 FUNCTIONS

=over

=item tls_certificate(FILE, %options)

Makes a self-signed certificate for localhost, 127.0.0.1 and ::1 in FILE.crt and its key in FILE.key. C<key>: what
openssl req makes (ec with the curve prime256v1). C<passphrase> encrypts the key.

=cut

sub tls_certificate
{
	my ($file, %options) = @_;
	my @key = @{ $options{key} // [ 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1' ] };
	my @secret = $options{passphrase} ? ('-passout', "pass:$options{passphrase}") : '-nodes';
	my ($out, $in) = ('', '');
	IPC::Run::run([ 'openssl', 'req', '-x509', '-newkey', @key, @secret, '-days', $options{days} // 10,
			'-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1',
			'-keyout', "$file.key", '-out', "$file.crt" ], '<', \$in, '>&', \$out) or die "openssl req: $out";
	chmod 0600, "$file.key" or die "$file.key: $!";
	return "$file.crt";
}

=item tls_node(NAME, %options)

A server as notifyd_node() makes it, which speaks TLS with the certificate C<tls.crt> of its data directory. It has the
table t, which guest may read and which is watched.

=cut

sub tls_node
{
	my ($name, %options) = @_;
	my $conf = ($options{conf} // '')
	  . "pg_notifyd.ssl = on\npg_notifyd.ssl_cert_file = 'tls.crt'\npg_notifyd.ssl_key_file = 'tls.key'\n";
	my $node = notifyd_node($name, %options, conf => $conf, start => 0);
	tls_certificate($node->data_dir . '/tls', %{ $options{certificate} // {} });
	$node->start;
	$node->safe_psql('postgres', q{
		CREATE ROLE guest LOGIN;
		CREATE EXTENSION pg_notifyd;
		CREATE TABLE t (id int PRIMARY KEY, name text);
		GRANT SELECT ON t TO guest;
		SELECT notify_watch('t');
	});
	return $node;
}

=item tls_handshake(NODE, ARGUMENTS...)

What openssl s_client says with these arguments; it closes the connection after the handshake.

=cut

sub tls_handshake
{
	my ($node, @arguments) = @_;
	my ($in, $out) = ('', '');
	IPC::Run::run([ 'openssl', 's_client', '-connect', '127.0.0.1:' . notifyd_port($node), @arguments ],
		'<', \$in, '>&', \$out, IPC::Run::timeout(60));
	return $out;
}

=item tls_serial(NODE)

The serial number of the certificate that the server presents, or undef.

=cut

sub tls_serial
{
	my $node = shift;
	my ($pem) = tls_handshake($node) =~ /(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----)/s or return;
	my $serial;
	IPC::Run::run([ 'openssl', 'x509', '-noout', '-serial' ], '<', \$pem, '>', \$serial) or return;
	return $serial =~ s/\s+\z//r;
}

=back

=cut

1;
