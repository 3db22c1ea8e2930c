# The package for Python: workers of a consumer group, with and without asyncio and in Django, some of which are killed: each effect
# is done once.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Node;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE jobs (id int PRIMARY KEY, price numeric);
	CREATE TABLE done (job int, worker int);
	SELECT notify_watch('jobs', 'insert'), notify_group('workers', '{jobs}', max_attempts => 1000);
});
local $ENV{DSN} = $node->connstr('postgres') . ' user=postgres';
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{URL} = 'ws://localhost:' . notifyd_port($node) . '/ws?database=postgres';
local $ENV{PYTHONPATH} = "$ENV{TESTDIR}/client/python:$ENV{TESTDIR}/test/python";
run_script(['/usr/bin/python3'], 'test/python/workers.py');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT job), count(DISTINCT worker) > 3 FROM done}), '2000|2000|t', 'each effect once, by several workers');
done_testing();
