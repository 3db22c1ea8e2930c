# The package for Python in ASGI applications, served by uvicorn, and in Django; the examples of doc/python.md.
use strict;
use warnings;

use IPC::Run ();
use Mojo::UserAgent;
use NotifydTest;
use NotifydTest::Document;
use NotifydTest::Node;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['customer']);
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	GRANT SELECT ON orders TO guest;
	SELECT notify_grant('news', 'customer');
});
local $ENV{DSN} = $node->connstr('postgres') . ' user=postgres';
local $ENV{URL} = 'ws://localhost:' . notifyd_port($node) . '/ws?database=postgres';
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PYTHONPATH} = "$ENV{TESTDIR}/client/python:$ENV{TESTDIR}/test/python";
local $ENV{TOKEN} = notifyd_token({ role => 'customer', sub => '7', exp => time + 6000 });

my $ua = Mojo::UserAgent->new;
foreach my $app (qw(starlette fastapi))
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $server = IPC::Run::start([ '/usr/bin/uvicorn', '--app-dir', 'test/python', '--port', $port, '--log-level', 'error', "asgi:$app" ], '<', \undef);
	my $page = sub { my $res = eval { $ua->get("http://127.0.0.1:$port/")->res }; return $res && $res->code ? $res->json : undef; };
	wait_for(sub { $page->() }, "$app: the page");
	$node->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 'Lemonade'), (2, 'Burger'); DELETE FROM orders});
	wait_for(sub { @{ $page->() } == 2 }, "$app: events");
	is_deeply($page->(), [ 1, 2 ], "$app: events in order");
	$server->signal('TERM');
	$server->finish;
	wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.clients') eq '0' }, "$app: the end");
	pass("$app: the application ends, and its connection with it");
}

run_script(['/usr/bin/python3'], 'test/python/django_listeners.py');

# The examples
my $dir = PostgreSQL::Test::Utils::tempdir;
my $out = '';
my $start = sub { return IPC::Run::start([@_], '<', \undef, '>', \$out) };
local $ENV{PYTHONUNBUFFERED} = 1;
$node->safe_psql('postgres', q{
	ALTER TABLE orders ADD status text;
	CREATE TABLE mails (order_id int);
	SELECT notify_group('mailers', '{orders}', filter => 'status=eq.paid');
});
save("$dir/first.py", "from starlette.applications import Starlette\n" . block('doc/python.md', 'from pg_notifyd import ChangeEvent') . "print('loaded')\n",
	"'host=localhost dbname=shop'" => qq{"$ENV{DSN}", '$ENV{URL}'});
my $application = $start->('/usr/bin/uvicorn', '--app-dir', $dir, '--port', PostgreSQL::Test::Cluster::get_free_port(), 'first:app');
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.clients') eq '1' }, 'the first example');
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (3, 'Lemonade', 'new'), (4, 'Burger', 'paid')});
wait_for(sub { $application->pump_nb; return $out =~ /^loaded\n4 \{.*'Burger'/ }, 'its output');
pass('doc/python.md: a subscription');
$application->kill_kill;
save("$dir/worker.py", block('doc/python.md', 'from pg_notifyd import Delivery'), "'dbname=shop'" => qq{"$ENV{DSN}"});
my $worker = $start->('/usr/bin/python3', "$dir/worker.py");
is($node->poll_query_until('postgres', 'SELECT array_agg(order_id) FROM mails', '{4}'), 1, 'doc/python.md: a worker');
$worker->kill_kill;
done_testing();
