# 005_slow_clients.t once more, over TLS.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;

$Gateway::SSL = 1;
do "$FindBin::Bin/005_slow_clients.t" or die $@ || $!;
