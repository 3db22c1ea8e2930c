# 003_malformed.t once more, over TLS.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;

$Gateway::SSL = 1;
do "$FindBin::Bin/003_malformed.t" or die $@ || $!;
