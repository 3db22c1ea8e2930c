# doc/recipes/raw-websocket.md in a real browser: the page of the tutorial, as it stands there, once from a web server of
# its own and once opened as a file.
use strict;
use warnings;

use Mojo::Server::Daemon;
use Mojolicious;
use NotifydTest;
use NotifydTest::Browser;
use NotifydTest::Document;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $recipe = 'doc/recipes/raw-websocket.md';
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = notifyd_node('main', conf => block($recipe, 'pg_notifyd.listen_addresses') =~ s/8000/$port/gr, extension => 0);

$node->safe_psql('postgres', 'CREATE DATABASE shop');
sub sql { return $node->safe_psql('shop', join ';', @_); }
sql('CREATE EXTENSION pg_notifyd', block($recipe, 'CREATE TABLE orders'));
wait_healthy($node, 'shop');

my $html = block($recipe, '<ul id="orders">') =~ s/8000/$port/gr;
my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->get('/' => sub { shift->render(text => $html, format => 'html') });
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1'])->start;
my $file = save(PostgreSQL::Test::Utils::tempdir . '/orders.html', $html);

my %pages = (
	'a page of localhost' => NotifydTest::Browser->new('http://localhost:' . $daemon->ports->[0] . '/'),
	'a page opened as a file' => NotifydTest::Browser->new("file://$file"));
wait_for(sub { sql(q{SELECT count(*) FROM notifyd.clients WHERE channels = '{orders}'}) == 2 }, 'two subscribers');
sql($_) foreach split /(?<=;)\n/, block($recipe, 'INSERT INTO orders');
sql(q{INSERT INTO orders (name) VALUES ('Soup')});
foreach my $name (sort keys %pages)
{
	my $page = $pages{$name};
	$page->wait_for(q{document.querySelectorAll('li').length >= 3}, $name);
	is($page->evaluate(q{[...document.querySelectorAll('li')].map(item => item.textContent).join('; ')}),
		'New order: 1 Tea, new; Order update: 1 Tea, paid; New order: 2 Soup, new', $name);
	is($page->evaluate(q{new Promise(resolve => { socket.onclose = ({ code }) => resolve(code); socket.send("ping") })}), 1003,
		"$name: text that is no JSON closes it");
}
done_testing();
