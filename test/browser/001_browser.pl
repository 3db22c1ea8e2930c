# A real browser: pages of localhost get their events and resume, pages of other sites are refused, and the page in the
# documentation does what it says.
use strict;
use warnings;

use Mojo::File qw(curfile);
use Mojo::Server::Daemon;
use Mojo::Util qw(url_escape);
use Mojolicious;
use NotifydTest;
use NotifydTest::Browser;
use NotifydTest::Document;
use Test::More;

my $top = curfile->dirname->dirname->dirname;
my $node = notifyd_node('main', roles => ['customer']);		# whose authenticator reads the rows
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text, quantity int, price numeric);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders');
});
my $ws = 'ws://localhost:' . notifyd_port($node) . '/ws';

# The web server of the pages, in this process. Those of the documentation get the port of this test's gateway.
my %pages = (
	page => '<script>' . $top->child('test/browser/page.js')->slurp . '</script>',
	map { $_ => block("doc/$_.md", '<!DOCTYPE html>') } 'start', 'protocol');
my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->get('/:page' => sub {
	my $c = shift;
	$c->render(text => $pages{ $c->param('page') } =~ s/7432/notifyd_port($node)/egr, format => 'html');
});
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1'])->start;
my $port = $daemon->ports->[0];

# A page of this host that connects to the gateway.
sub open_page
{
	my ($host, $to) = @_;
	return NotifydTest::Browser->new("http://$host:$port/page?ws=" . url_escape($to));
}

# Wait until such a page has seen this; returns all that it has seen.
sub seen
{
	my ($page, $what, $name) = @_;
	$page->wait_for("seen.includes('$what')", "$name: $what");
	pass("$name: $what");
	return @{ $page->evaluate('seen') };
}

my $local = open_page('localhost', $ws);
seen($local, 'subscribed with pg_notifyd.v1', 'a page of localhost');
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 'Lemonade', 1, 2.2)});
seen($local, 'INSERT 1 Lemonade', 'a page of localhost');

# While the server is away, nothing is lost, and nothing comes twice afterwards.
$node->restart;
$node->safe_psql('postgres', qq{INSERT INTO orders VALUES ($_, 'Wrap', 1, 6.5)}) for 2 .. 5;
my @seen = seen($local, 'INSERT 5 Wrap', 'after a restart');
is_deeply([ grep { /^INSERT/ } @seen ], [ 'INSERT 1 Lemonade', map { "INSERT $_ Wrap" } 2 .. 5 ], 'resumed: all, once');
ok(!(grep { $_ eq 'reset' } @seen), 'without a reset');

# Pages of other sites, also where their name was rebound to this machine.
wait_healthy($node);
seen(open_page('shop.example', $ws), 'refused', 'a page of another site');
seen(open_page('rebound.example', 'ws://rebound.example:' . notifyd_port($node) . '/ws'), 'refused', 'a name that was rebound');
$node->safe_psql('postgres', qq{ALTER SYSTEM SET pg_notifyd.allowed_origins = 'http://shop.example:$port'});
$node->reload;
wait_for(
	sub {
		my ($socket, $head) = raw_handshake($node, "Origin: http://shop.example:$port");
		return $head =~ / 101 /;
	},
	'the allowed origin');
seen(open_page('shop.example', $ws), 'subscribed with pg_notifyd.v1', 'a page of an allowed site');

# The pages of the documentation
my @documented = map { NotifydTest::Browser->new("http://localhost:$port/$_") } 'start', 'protocol';
$_->wait_for(q{/^(connected|open)/.test(document.getElementById('state').textContent)}, 'connected') foreach @documented;
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (10, 'Onion rings', 2, 3.4)});
foreach my $page (@documented)
{
	$page->wait_for(q{document.body.innerText.includes('Onion rings')}, 'the order');
	pass('a documented page shows the order');
}

done_testing();
