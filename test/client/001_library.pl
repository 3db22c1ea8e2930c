# The client library against a server and a clock of the test, as it is written and as it is served; its size and its types.
use strict;
use warnings;

use IO::Compress::Gzip qw(gzip $GzipError);
use IPC::Run ();
use Mojo::File qw(curfile);
use NotifydTest::Node;
use Test::More;

my $top = curfile->dirname->dirname->dirname;

foreach my $file ('pg_notifyd.js', 'client.js')
{
	subtest $file => sub {
		run_script(['node'], $top->child('test/client/library.mjs'), $top->child("client/$file"));
	};
}

my $script = $top->child('client/client.js')->slurp;
my $packed;
gzip(\$script => \$packed, -Level => 9) or die $GzipError;
cmp_ok(length $packed, '<=', 5000, 'at most 5 kB, compressed');
unlike($script, qr/\bimport\b/, 'needs nothing else');

# The types are those of the library, as far as a compiler can tell.
SKIP: {
	my ($modules, $why) = npm_modules('typescript@5.9.3');
	skip "types: $why", 1 if !defined $modules;
	my @compiler = ("$modules/.bin/tsc", qw(--noEmit --strict --target es2022 --module nodenext --lib), 'es2022,dom,dom.iterable');
	my $output = '';
	ok(IPC::Run::run([ @compiler, $top->child('test/client/types.mts') ], '>', \$output), "types $output");
}

done_testing();
