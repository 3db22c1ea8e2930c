# The client library as a file beside a page, in a real browser: a table lives, and survives a restart of the server.
use strict;
use warnings;

use Mojo::File qw(curfile);
use Mojo::Server::Daemon;
use Mojolicious;
use NotifydTest;
use NotifydTest::Browser;
use Test::More;

my $top = curfile->dirname->dirname->dirname;
my $node = notifyd_node('main', roles => ['web']);
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id bigint PRIMARY KEY, name text, quantity int);
	INSERT INTO orders VALUES (1, 'Lemonade', 2), (9007199254740993, 'Burger', 1);
	GRANT SELECT ON orders TO guest, web;
	SELECT notify_watch('orders');
});

# The page gets the address of the gateway, and keeps what it has seen.
my $page = <<'HTML';
<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Orders</title><ol></ol>
<script type="module">
	import { connect } from './client.js';

	const parameters = new URLSearchParams(location.search);
	const db = connect(parameters.get('ws'), { token: parameters.get('jwt') ?? undefined, bigint: true });
	const table = db.table('orders', { order: 'quantity.desc' });
	Object.assign(window, { db, table, changes: 0, states: [], texts: () => [...document.querySelectorAll('li')].map(item => item.textContent) });
	db.on('state', ({ state, error }) => states.push(error ? `${state} ${error.code}` : state));
	table.on('change', () =>
	{
		changes++;
		document.querySelector('ol').replaceChildren(...table.rows.map(({ id, name, quantity }) =>
			Object.assign(document.createElement('li'), { textContent: `${id} ${name} ${quantity}` })));
	});
</script>
HTML
my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->get('/' => sub { shift->render(text => $page, format => 'html') });
$app->routes->get(
	'/client.js' => sub {
		my $c = shift;
		$c->res->headers->content_type('text/javascript');
		$c->render(data => $top->child('client/client.js')->slurp);
	});
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1'])->start;
my $address = 'http://localhost:' . $daemon->ports->[0] . '/?ws=ws://localhost:' . notifyd_port($node) . '/ws';

sub rows
{
	my ($browser, $expected, $name) = @_;
	$browser->wait_for("window.texts && texts().join() === '$expected'", "$name: $expected");
	pass($name);
	return;
}

my $browser = NotifydTest::Browser->new($address);
rows($browser, '1 Lemonade 2,9007199254740993 Burger 1', 'the rows that there are, with a large key');
$node->safe_psql('postgres', q{UPDATE orders SET quantity = 5 WHERE name = 'Burger'; INSERT INTO orders VALUES (2, 'Fries', 3)});
rows($browser, '9007199254740993 Burger 5,2 Fries 3,1 Lemonade 2', 'their changes, in order');
my $changes = $browser->evaluate('changes');
$node->safe_psql('postgres', q{BEGIN; DELETE FROM orders WHERE id = 2; UPDATE orders SET quantity = 1 WHERE id > 2; COMMIT});
rows($browser, '1 Lemonade 2,9007199254740993 Burger 1', 'a transaction');
is($browser->evaluate('changes') - $changes, 1, 'is one change');

$node->restart;
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (3, 'Wrap', 9)});
rows($browser, '3 Wrap 9,1 Lemonade 2,9007199254740993 Burger 1', 'after a restart of the server');
is($browser->evaluate('table.get("9007199254740993").name'), 'Burger', 'get()');
my @states = @{ $browser->evaluate('states') };
like(join(', ', @states), qr/^open, waiting 1\d+, connecting.*, open$/, "states: @states");

# With a token, which a browser sends as a subprotocol.
my $other = NotifydTest::Browser->new("$address&jwt=" . notifyd_token({ role => 'web', exp => time + 6000 }));
rows($other, '3 Wrap 9,1 Lemonade 2,9007199254740993 Burger 1', 'with a token');
my $refused = NotifydTest::Browser->new("$address&jwt=" . notifyd_token({ role => 'web', exp => time - 6000 }));
$refused->wait_for(q{window.db && db.state === 'closed'}, 'the refused token');
like($refused->evaluate('db.error.message'), qr/expired/, 'a page learns why its token is refused');

done_testing();
