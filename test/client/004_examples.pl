# The examples: pages with and without frameworks in a browser, and programs in Python.
use strict;
use utf8;
use warnings;

use IPC::Run ();
use Mojo::File qw(curfile path);
use Mojo::Server::Daemon;
use Mojolicious;
use NotifydTest;
use NotifydTest::Browser;
use NotifydTest::Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = curfile->dirname->dirname->dirname;
my $node = notifyd_node('main', roles => ['customer']);
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text, quantity int);
	INSERT INTO orders VALUES (1, 'Lemonade', 2);
	GRANT SELECT ON orders TO guest, customer;
	SELECT notify_watch('orders');
});
my $server = '/ws?database=postgres';
my $work = path(PostgreSQL::Test::Utils::tempdir);

# An example as it stands, but for this server.
sub example
{
	my $file = shift;
	my $copy = $work->child($file);
	my $text = $top->child("client/examples/$file")->slurp;
	my $port = notifyd_port($node);
	$text =~ s{localhost:7432/ws\?database=shop}{localhost:$port/ws?database=postgres} or die "no address in $file";
	$copy->spurt($text);
	return $copy;
}

# The web server of the pages
my %files = ('/client.js' => [ 'text/javascript', $top->child('client/client.js')->slurp ]);
my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->get(
	'/*file' => sub {
		my $c = shift;
		my ($type, $text) = @{ $files{ $c->req->url->path } };
		$c->res->headers->content_type($type);
		$c->render(data => $text);
	});
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1'])->start;

my $next = 2;

sub expect_live
{
	my ($name, $path) = @_;
	my $page = NotifydTest::Browser->new('http://localhost:' . $daemon->ports->[0] . $path);
	$page->wait_for(q{document.body && document.body.innerText.includes('2 × Lemonade')}, "$name: the rows");
	$page->wait_for(q{document.querySelector('p').textContent === 'open'}, "$name: the state");
	$node->safe_psql('postgres', "INSERT INTO orders VALUES ($next, 'Wrap', $next)");
	$page->wait_for("document.querySelector('li').textContent.trim() === '$next × Wrap'", "$name: a new row");
	$node->safe_psql('postgres', "UPDATE orders SET quantity = 70 WHERE id = $next; DELETE FROM orders WHERE id > 1 AND id < $next");
	$page->wait_for(q{[...document.querySelectorAll('li')].map(item => item.textContent.trim()).join() === '70 × Wrap,2 × Lemonade'},
		"$name: a change");
	$next++;
	pass("$name lives");
	return;
}

$files{'/page.html'} = [ 'text/html', example('page.html')->slurp ];
expect_live('a plain page', '/page.html');

foreach my $framework (
	[ 'React', 'react.jsx', 'react@19.3.1', 'react-dom@19.3.1' ],
	[ 'Vue', 'Orders.vue', 'vue@3.5.45' ],
	[ 'Svelte', 'Orders.svelte', 'svelte@5.57.3' ])
{
	my ($name, $file, @packages) = @$framework;
	SKIP: {
		my ($modules, $why) = npm_modules(@packages);
		skip "$name: $why", 1 if !defined $modules;
		my $script = $work->child("$file.js");
		IPC::Run::run([ 'node', $top->child('test/client/bundle.mjs'), $modules, example($file), $top->child('client/client.js'), $script ])
		  or die "cannot bundle $file";
		$files{'/script.js'} = [ 'text/javascript', $script->slurp ];
		$files{'/framework.html'} =
		  [ 'text/html', '<!DOCTYPE html><meta charset="utf-8"><div id="app"></div><script type="module" src="script.js"></script>' ];
		expect_live($name, '/framework.html');
	}
}

# Python: the rows, what follows, and again after a restart
my @python = ('/usr/bin/python3');
my $start = sub {
	my @command = @_;
	my %run = (out => '', err => '');
	local $ENV{PYTHONPATH} = $work;
	local $ENV{JWT_SECRET} = 'a secret of at least thirty-two bytes';
	$run{handle} = IPC::Run::start([ @python, @command ], \undef, \$run{out}, \$run{err});
	return \%run;
};
my $wait_out = sub {
	my ($run, $regexp, $what) = @_;
	wait_for(
		sub {
			$run->{handle}->pump_nb;
			die "$what: $run->{err}" if !$run->{handle}->pumpable;
			return $run->{out} =~ $regexp;
		},
		"$what: $regexp");
	pass($what);
	return;
};
$node->safe_psql('postgres', 'DELETE FROM orders WHERE id > 1');
my $follower = $start->(example('orders.py'));
$wait_out->($follower, qr/^1 orders/m, 'Python: the rows');
$node->safe_psql('postgres', q{INSERT INTO orders SELECT i, repeat('x', 2000000), i FROM generate_series(2, 4) i});
$wait_out->($follower, qr/^4 orders INSERT/m, 'Python: events of 2 MB');
$node->restart;
$node->safe_psql('postgres', q{DELETE FROM orders WHERE id > 2});
$wait_out->($follower, qr/^2 orders DELETE/m, 'Python: after a restart');
my $anonymous = $node->safe_psql('postgres', 'SHOW pg_notifyd.anonymous_role');
$node->safe_psql('postgres', q{ALTER SYSTEM SET pg_notifyd.anonymous_role = ''});
$node->reload;
wait_for(sub { $follower->{handle}->pump_nb; !$follower->{handle}->pumpable }, 'Python: the end');
like($follower->{err}, qr/^anonymous/m, 'Python: ends when another attempt would be refused, too');
eval { $follower->{handle}->finish };
$node->safe_psql('postgres', "ALTER SYSTEM SET pg_notifyd.anonymous_role = '$anonymous'");
$node->reload;
wait_for(sub { notifyd_client($node)->served }, 'anonymous access');

# FastAPI
my $port = PostgreSQL::Test::Cluster::get_free_port();
example('orders.py');
$work->child('app.py')->spurt($top->child('client/examples/app.py')->slurp);
my $fastapi = $start->('-m', 'uvicorn', '--port', $port, '--log-level', 'error', 'app:app');
my $ua = Mojo::UserAgent->new;
my $get = sub { my $res = eval { $ua->get("http://127.0.0.1:$port$_[0]" => $_[1] // {})->res }; return $res && $res->code ? $res : undef; };
wait_for(sub { my $res = $get->('/orders'); $res && @{ $res->json // [] } == 2 }, 'FastAPI: the rows');
$node->safe_psql('postgres', q{UPDATE orders SET name = 'Fries' WHERE id = 2});
wait_for(sub { my $res = $get->('/orders'); $res && $res->json->[1]{name} eq 'Fries' }, 'FastAPI: a change');
pass('FastAPI answers from rows that live');
is($get->('/token')->code, 401, 'and gives a token only to users');
my $token = $get->('/token', { 'X-Session' => 'secret of ann' })->body;
my $client = notifyd_client($node, headers => { Authorization => "Bearer $token" });
ok($client->subscribe('orders')->{position}, 'which pg_notifyd accepts');
$fastapi->{handle}->kill_kill;

done_testing();
