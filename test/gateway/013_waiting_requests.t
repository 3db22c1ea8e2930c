# While the launcher does not know all databases yet, a client of one that is not served waits.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use IO::Select;
use Test::More;

my $gateway = Gateway->new;
$gateway->configure(per_address => 3);

sub ask
{
	my ($database) = @_;
	my $socket = $gateway->connect;
	syswrite $socket, $gateway->handshake(target => "/ws?database=$database") =~ s/\n/\r\n/gr;
	return $socket;
}

# What the launcher is asked for.
sub wanted
{
	return $gateway->{channel}->expect('WAKE')->{database};
}

$gateway->health('');
is($gateway->verdict(target => '/ws?database=d1'), 4503, 'a database that is not known is not served');

$gateway->health('starting', 1);
my %sockets = map { my $socket = ask($_); (wanted() => $socket) } qw(d1 d2 d3);
is(join(' ', sort keys %sockets), 'd1 d2 d3', 'the launcher is asked for databases that are not known, whether they exist or not');
like($gateway->request($gateway->handshake(target => '/ws?database=d4')), qr/too many clients from this address/,
	'those who wait count as clients of their address');

my $feed = $gateway->feed('d2');
like($gateway->answer($sockets{d2}), qr/^HTTP\/1\.1 101 /, 'a client is accepted as soon as its feed has connected');
ok(!IO::Select->new($sockets{d1}, $sockets{d3})->can_read(0), 'the others wait');
$gateway->health('still starting', 1);
my $descriptors = $gateway->descriptors;
close $sockets{d3};
ok($gateway->until(sub { $gateway->descriptors < $descriptors }), 'one that leaves is gone');

# Asleep
my $socket = ask('d5');
is(wanted(), 'd5', 'asked for');
$gateway->{channel}->send(5, pack('VQ<V/a*', 1, 100, 'd5'));
like($gateway->answer($socket), qr/^HTTP\/1\.1 101 /, 'or as it is known to be asleep');

$gateway->health('', 0);
like($gateway->answer($sockets{d1}), qr/^HTTP\/1\.1 101 /, 'the rest is answered at the end');
close $sockets{d1};
ok($gateway->until(sub { $gateway->verdict(target => '/ws?database=d1') == 4503 }), 'and nobody waits from then on');

# A gateway that is stopped does not wait for them.
$gateway->configure(per_address => 0);
$gateway->health('starting', 1);
my $last = ask('d6');
wanted();
$gateway->stop;
is($gateway->wait, 0, 'one that waits does not keep the gateway from its end');

done_testing();
