# EventSource in a real browser: events, resuming by itself, and which refusals stop it.
use strict;
use warnings;

use Mojo::Server::Daemon;
use Mojolicious;
use NotifydTest;
use NotifydTest::Browser;
use NotifydTest::Events;
use Test::More;

my $node = notifyd_node('main', roles => ['reader']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	CREATE TABLE dishes (id int PRIMARY KEY);
	CREATE TABLE guarded (id int PRIMARY KEY);
	GRANT SELECT ON orders, dishes, guarded TO guest, reader;
	INSERT INTO orders VALUES (1, 'Tea');
	CREATE FUNCTION fail(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN IF $1 = 666 THEN RAISE 'no'; END IF; RETURN true; END $$;
	ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON guarded USING (fail(id));
	SELECT notify_watch('orders'), notify_watch('dishes'), notify_watch('guarded');
});

my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->get('/page' => sub { shift->render(text => <<"EOP", format => 'html'); });
<script>
const seen = [], states = [];
let source;
function open_events(query)
{
	source = new EventSource('http://localhost:@{[ notifyd_port($node) ]}/events?' + query);
	source.onopen = () => seen.push('open');
	source.onmessage = ({ data, lastEventId }) =>
	{
		const event = JSON.parse(data);
		seen.push(`\${event.op} \${event.channel} \${event.key.id}`);
	};
	for (const name of ['rows', 'reset'])
		source.addEventListener(name, ({ data }) => seen.push(`\${name} \${JSON.parse(data).channel} \${(JSON.parse(data).rows ?? []).length}`));
	source.onerror = ({ data }) => { seen.push(data ? `error \${JSON.parse(data).code}` : source.readyState == 2 ? 'stopped' : 'again'); };
}
</script>
EOP
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1'])->start;
my $port = $daemon->ports->[0];

sub open_page
{
	my $query = shift;
	my $page = NotifydTest::Browser->new("http://localhost:$port/page");
	$page->wait_for(q{typeof open_events === 'function'}, 'the page');
	$page->evaluate("open_events('$query')");
	return $page;
}

sub seen
{
	my ($page, $what, $times) = @_;
	$times //= 1;
	$page->wait_for("seen.filter(x => x === '$what').length >= $times", $what);
	pass("$what, $times times");
	return;
}

my $page = open_page('snapshot=true&channel=orders&channel=dishes');
seen($page, 'rows orders 1');
seen($page, 'rows dishes 0');
sql(q{INSERT INTO orders VALUES (2, 'Wrap')}, 'INSERT INTO dishes VALUES (2)');
seen($page, 'INSERT orders 2');
seen($page, 'INSERT dishes 2');
kill 'TERM', gateway_pids($node);
seen($page, 'error 1012');
sql(q{INSERT INTO orders VALUES (3, 'Soup')});
seen($page, 'INSERT orders 3');
$node->restart;
sql('INSERT INTO dishes VALUES (4)');
seen($page, 'INSERT dishes 4');
is_deeply([ grep { /INSERT/ } @{ $page->evaluate('seen') } ], [ 'INSERT orders 2', 'INSERT dishes 2', 'INSERT orders 3', 'INSERT dishes 4' ],
	'over two interruptions, each event once');
is((grep { /rows orders/ } @{ $page->evaluate('seen') }), 2, 'and the rows were not sent again');

# What is permanent stops it.
seen(open_page('channel=nothing'), 'stopped');
my $guarded = open_page('channel=guarded');
seen($guarded, 'open');
sql('INSERT INTO guarded VALUES (666)');
seen($guarded, 'error -32003');
seen($guarded, 'stopped');
is((grep { $_ eq 'open' } @{ $guarded->evaluate('seen') }), 1, 'it was not opened again');

# What is temporary does not.
$node->append_conf('postgresql.conf', 'pg_notifyd.max_clients_per_address = 1');
$node->reload;
wait_for(sub { my $stream = NotifydTest::Events->new($node, 'channel=orders'); $stream->close; $stream->{status} == 503 }, 'the limit');
my $late = open_page('channel=orders');
seen($late, 'error 4503');
$node->append_conf('postgresql.conf', 'pg_notifyd.max_clients_per_address = 0');
$node->reload;
seen($late, 'again');
wait_for(sub { sql(q{SELECT count(*) FROM notifyd.clients WHERE subprotocol = 'text/event-stream'}) >= 2 }, 'the late page');
sql(q{INSERT INTO orders VALUES (5, 'Pie')});
seen($late, 'INSERT orders 5');
done_testing();
