# A launcher of another version: the gateway ends with an exit status that says so.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

# The status with which it ends after this first frame.
sub status_after
{
	my ($type, $payload) = @_;
	my $gateway = Gateway->start;
	$gateway->{channel}->send($type, $payload);
	return $gateway->wait >> 8;
}

my $config = Gateway->start(version => 99);
$config->configure;
is($config->wait >> 8, 76, 'a configuration of another version');
is(status_after(1, pack('v', 99)), 76, 'one that is of another shape, too');
is(status_after(99, ''), 76, 'a frame that there is not yet');

my $gateway = Gateway->new;
$gateway->stop;
is($gateway->wait, 0, 'a launcher of its own version');

done_testing();
