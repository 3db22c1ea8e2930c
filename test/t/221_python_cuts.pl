# The package for Python behind a proxy that cuts connections, while transactions are written and the server restarts: each event
# reaches its functions once, in order.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Node;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, quantity int);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders'), notify_watch('orders', 'delete', channel => 'gone');
});
local $ENV{DSN} = $node->connstr('postgres') . ' user=postgres';
local $ENV{GATEWAY_PORT} = notifyd_port($node);
local $ENV{PYTHONPATH} = 'client/python';
local $ENV{PGDATA} = $node->data_dir;
local $ENV{LOGFILE} = $node->logfile;
local $ENV{SEED} = $ENV{SEED} // time;
note("SEED=$ENV{SEED}");
run_script(['/usr/bin/python3'], 'test/python/cuts.py');
done_testing();
