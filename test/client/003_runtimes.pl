# The client library in each runtime that has it, and with a WebSocket of another package.
use strict;
use warnings;

use Mojo::File qw(curfile);
use NotifydTest;
use NotifydTest::Node;
use Test::More;

my $top = curfile->dirname->dirname->dirname;
my $node = notifyd_node('main', roles => ['web']);
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id bigint PRIMARY KEY, name text);
	GRANT SELECT, INSERT ON orders TO web;
	CREATE FUNCTION place_order(id bigint, name text) RETURNS bigint
		LANGUAGE sql AS 'INSERT INTO orders VALUES (place_order.id, place_order.name) RETURNING orders.id';
	SELECT notify_watch('orders'), notify_expose('place_order(bigint, text)');
	SELECT notify_grant('news', 'web'), notify_grant('news', 'web', 'publish');
});
my ($modules, $why);

# A name, the packages of npm that it needs, and the command from their folder.
my @runtimes = (
	[ 'Node 22', ['node@22.23.3'], ['node/bin/node'] ],
	[ 'Deno', ['deno@2.9.6'], [ '.bin/deno', 'run', '--allow-all', '--quiet' ] ],
	[ 'Bun', ['bun@1.4.5'], ['.bin/bun'] ],
	[ 'Node with ws', ['ws@8.23.0'], undef, 'ws/wrapper.mjs' ]);

foreach my $runtime (@runtimes)
{
	my ($name, $packages, $command, $ws) = @$runtime;
	SKIP: {
		($modules, $why) = npm_modules(@$packages);
		skip "$name: $why", 1 if !defined $modules;
		my ($program, @options) = @{ $command // [] };
		subtest $name => sub {
			$node->safe_psql('postgres', q{TRUNCATE orders; INSERT INTO orders VALUES (1, 'Lemonade')});
			run_script(
				[ defined $program ? "$modules/$program" : 'node', @options ],
				$top->child('test/client/runtime.mjs'), $top->child('client/client.js'), notifyd_port($node),
				notifyd_token({ role => 'web', sub => 'one', exp => time + 600 }), defined $ws ? "$modules/$ws" : ());
		};
	}
}

done_testing();
