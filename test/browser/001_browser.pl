# A real browser: pages of localhost get their events and resume, pages of other sites are refused, and the pages in the
# documentation do what they say.
use strict;
use warnings;

use Mojo::File qw(curfile path);
use Mojo::JSON qw(decode_json);
use Mojo::Server::Daemon;
use Mojo::Util qw(url_escape);
use Mojolicious;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = curfile->dirname->dirname->dirname;
my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text, quantity int, price numeric);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders');
});
my $ws = 'ws://localhost:' . notifyd_port($node) . '/ws';

# The web server of the pages, in this process.
my %reports;
my $app = Mojolicious->new;
$app->log->level('fatal');

# A page of the documentation, with the port of this test's gateway, and the probe.
sub documented
{
	my ($c, $html) = @_;
	my $port = notifyd_port($node);
	$html =~ s/7432/$port/g;
	$c->render(text => $html . '<script>' . $top->child('test/browser/probe.js')->slurp . '</script>', format => 'html');
}
my ($readme) = $top->child('README.md')->slurp =~ /^```html\n(.*?)^```/ms or BAIL_OUT('no page in README.md');
$app->routes->get('/page' => sub {
	shift->render(text => '<script>' . $top->child('test/browser/page.js')->slurp . '</script>', format => 'html');
});
$app->routes->get('/demo' => sub { documented(shift, $top->child('doc/demo/index.html')->slurp) });
$app->routes->get('/readme' => sub { documented(shift, $readme) });
$app->routes->post('/report' => sub {
	my $c = shift;
	my $report = decode_json($c->req->body);

	# All of them are kept: they may overtake each other.
	push @{ $reports{ $report->{page} } }, $report->{seen};
	$c->render(text => 'ok');
});
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1']);
$daemon->start;
my $port = $daemon->ports->[0];

my @browsers;

# Open a page in a browser of its own; name is what it reports as.
sub browse
{
	my ($url) = @_;
	my $profile = PostgreSQL::Test::Utils::tempdir;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>', "$profile/log";
		open STDERR, '>&', \*STDOUT;
		setpgrp;
		exec 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
		  '--no-proxy-server', "--user-data-dir=$profile", '--host-resolver-rules=MAP *.example 127.0.0.1', $url;
	}
	push @browsers, $pid;
	return;
}

END
{
	my $status = $?;
	kill 'KILL', map { -$_ } @browsers;
	waitpid $_, 0 for @browsers;
	$? = $status;
}

sub open_page
{
	my ($name, $host, $to) = @_;
	browse("http://$host:$port/page?page=$name&ws=" . url_escape($to));
	return;
}

# Wait until a page has reported this; returns the report.
sub reported
{
	my ($page, $what) = @_;
	my $found;
	my $look = sub {
		($found) = grep { grep { $_ =~ $what } @$_ } @{ $reports{$page} // [] };
		return $found;
	};
	if (eval { wait_for($look, "$page: $what") })
	{
		pass("$page: $what");
		return @$found;
	}
	fail("$page: $what");
	diag(explain($reports{$page}));
	return;
}

open_page('local', 'localhost', $ws);
reported('local', qr/^subscribed with pg_notifyd\.v1$/);
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 'Lemonade', 1, 2.2)});
reported('local', qr/^INSERT 1 Lemonade$/);

# While the server is away, nothing is lost, and nothing comes twice afterwards.
$node->restart;
$node->safe_psql('postgres', qq{INSERT INTO orders VALUES ($_, 'Wrap', 1, 6.5)}) for 2 .. 5;
my @seen = reported('local', qr/^INSERT 5 Wrap$/);
is_deeply([ grep { /^INSERT/ } @seen ], [ 'INSERT 1 Lemonade', map { "INSERT $_ Wrap" } 2 .. 5 ], 'resumed: all, once');
ok(!(grep { $_ eq 'reset' } @seen), 'without a reset');

# Pages of other sites, also where their name was rebound to this machine.
wait_healthy($node);
open_page('foreign', 'shop.example', $ws);
reported('foreign', qr/^refused$/);
open_page('rebound', 'rebound.example', 'ws://rebound.example:' . notifyd_port($node) . '/ws');
reported('rebound', qr/^refused$/);
$node->safe_psql('postgres', qq{ALTER SYSTEM SET pg_notifyd.allowed_origins = 'http://shop.example:$port'});
$node->reload;
wait_for(
	sub {
		my ($socket, $head) = raw_handshake($node, "Origin: http://shop.example:$port");
		return $head =~ / 101 /;
	},
	'the allowed origin');
open_page('allowed', 'shop.example', $ws);
reported('allowed', qr/^subscribed/);

# The pages of the documentation.
browse("http://localhost:$port/demo");
reported('/demo', qr/^connected/);
browse("http://localhost:$port/readme");
reported('/readme', qr/connected/);
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (10, 'Onion rings', 2, 3.4)});
reported($_, qr/Onion rings/) for '/demo', '/readme';

done_testing();
