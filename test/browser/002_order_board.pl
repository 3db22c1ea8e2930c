# doc/order-board.md, as it stands there: its settings, its SQL and its page, in a real browser. The page always comes to
# show the rows of the table, whatever changes them and whatever happens to its connection.
use strict;
use warnings;

use IPC::Run;
use Mojo::File qw(curfile);
use Mojo::Server::Daemon;
use Mojolicious;
use NotifydTest;
use NotifydTest::Browser;
use PostgreSQL::Test::Utils;
use Test::More;

# The blocks of the document: the settings, the SQL to set it up, the command that serves the page, the SQL to try.
my $doc = curfile->dirname->dirname->dirname->child('doc');
my ($conf, $setup, $serve, $try) = map { s/^ {3}//gmr } $doc->child('order-board.md')->slurp =~ /^ *```(?:sql)?\n(.*?)^ *```$/gms;

my $node = notifyd_node('main', conf => $conf, extension => 0);
$node->safe_psql('postgres', $setup);
wait_healthy($node, 'board');
sub sql { return $node->safe_psql('board', join ';', @_); }

# The web server of the page, with the port of this test's gateway.
my $port = notifyd_port($node);
my $html = $doc->child('order-board.html')->slurp =~ s/7432/$port/r;
my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->get('/order-board.html' => sub { shift->render(text => $html, format => 'html') });
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1'])->start;
my $page = NotifydTest::Browser->new('http://localhost:' . $daemon->ports->[0] . '/order-board.html');

# Wait until the page shows the rows of the table, and no others.
sub shows_table
{
	my ($what) = @_;
	my ($shown, $table);
	my $cells = q{[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent).join(' ')).join('\n')};

	eval { wait_for(sub { $shown = $page->evaluate($cells); $table = sql(q{SELECT concat_ws(' ', id, dish, quantity, state) FROM orders ORDER BY id}); $shown eq $table }, $what) };
	is($shown, $table, $what);
	return;
}

# Place an order with the form, and wait for its number.
sub order
{
	my ($dish, $quantity, $number) = @_;
	$page->evaluate("form.elements.dish.value = '$dish'; form.elements.quantity.value = '$quantity'; button.click()");
	$page->wait_for("answer.textContent === 'Order $number is placed.'", "the answer to order $number");
	return;
}

sub is_live { my ($what) = @_; return $page->wait_for(q{state.textContent === 'live' && !button.disabled}, $what); }

is_live('the page is connected');
shows_table('the rows that there are');
is(sql('SELECT count(*) FROM orders'), 3, 'three of them');

# Changes
sql(q{INSERT INTO orders (dish, quantity) VALUES ('Wrap', 5)}, q{INSERT INTO orders (id, dish, quantity) OVERRIDING SYSTEM VALUE VALUES (0, 'Water', 1)});
shows_table('rows that SQL has inserted, in the order of their keys');
order('Onion rings', 2, 5);
shows_table('an order placed with the form');
is(sql('SELECT dish, quantity FROM orders WHERE id = 5'), 'Onion rings|2', 'which is in the table');
order('<b>Burger</b><img src=x onerror=x()>', 1, 6);
shows_table('an order that has markup');
like($page->text, qr/<b>Burger<\/b>/, 'is shown');
is($page->evaluate(q{board.querySelectorAll('b, img').length}), 0, 'which stays text');
$page->evaluate(q{request('call', { name: 'place_order', args: { dish: 'Tea', quantity: 1000 } })});
$page->wait_for(q{answer.textContent.includes('orders_quantity_check')}, 'an order that PostgreSQL refuses');
is_live('the page stays connected');
$page->screenshot("$ENV{TESTLOGDIR}/order_board_$_.png", $_) for 1280, 390;
is($page->evaluate('document.documentElement.scrollWidth'), 390, 'a telephone shows the page without scrolling sideways');
foreach my $statement (split /(?<=;)\n/, $try)
{
	sql($statement);
	shows_table($statement);
}

# The gateway ends while rows change.
$page->evaluate(q{var came = []; for (const name of ['rows', 'reset']) { const usual = apply[name]; apply[name] = params => { came.push(name); usual(params); }; }});
my $script = PostgreSQL::Test::Utils::tempdir() . '/write.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'EOS');
INSERT INTO orders (dish, quantity) VALUES ('Milkshake', :client_id + 1);
UPDATE orders SET quantity = quantity % 99 + 1 WHERE id IN (SELECT id FROM orders ORDER BY id DESC LIMIT 3);
DELETE FROM orders WHERE id = (SELECT min(id) FROM orders) AND (SELECT count(*) FROM orders) > 10;
EOS
my ($in, $out) = ('', '');
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', 3, '-t', 300, '-R', 200, '-f', $script, '-h', $node->host, '-p', $node->port, 'board' ],
	'<', \$in, '>&', \$out);
$page->evaluate(q{var lost = 0; new MutationObserver(() => { lost += button.disabled; }).observe(button, { attributes: true })});
for my $turn (1 .. 2)
{
	my $rows = $page->wait_for('orders.size > 5 && Math.max(...orders.keys())', 'orders come');
	$page->wait_for("Math.max(...orders.keys()) > $rows", 'more orders come');
	kill 'KILL', gateway_pids($node);
	$page->wait_for("lost >= $turn", 'the page has lost its connection');
	is_live("the page is connected again, $turn");
}
$writers->finish or diag($out);
shows_table('the rows after a connection was lost');
is($page->evaluate('came.join()'), '', 'the page has resumed');

# The server is restarted.
$node->restart;
sql(q{INSERT INTO orders (dish, quantity) VALUES ('Salad', 1)}, 'DELETE FROM orders WHERE id IN (SELECT id FROM orders LIMIT 3)', q{UPDATE orders SET state = 'ready'});
shows_table('the rows after a restart');
is($page->evaluate('came.join()'), '', 'the page has resumed');

# Changes that have no events, while it is away
$node->stop;
$node->start;
sql('ALTER TABLE orders DISABLE TRIGGER ALL', 'DELETE FROM orders WHERE id IN (SELECT id FROM orders LIMIT 2)', 'ALTER TABLE orders ENABLE TRIGGER ALL');
shows_table('the rows after changes without events');
like($page->evaluate('came.join()'), qr/^reset,rows/, 'which the page has got again');

# The subscription ends, and comes back.
sql('REVOKE SELECT ON orders FROM web_client');
$page->wait_for(q{answer.textContent.includes('privilege') || answer.textContent.includes('permission')}, 'the page says that it may not read the table');
sql(q{UPDATE orders SET state = 'late'}, 'GRANT SELECT ON orders TO web_client');
is_live('it comes back');
shows_table('the rows after that');

done_testing();
