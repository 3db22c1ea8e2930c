# Clients of WAMP that others wrote, unmodified: AutobahnJS in a page and in Node, Wampy.js, kraftfahrstrasse, Autobahn|Python.
use strict;
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
my $node = notifyd_node('main', roles => ['web'], conf => "pg_notifyd.realms = 'realm1=postgres'\n");
$node->safe_psql('postgres', q{
	CREATE FUNCTION now_sql() RETURNS text LANGUAGE sql AS 'SELECT now()::text';
	CREATE FUNCTION now_plpgsql() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN now(); END';
	CREATE FUNCTION now_standard() RETURNS text RETURN now();
	SELECT notify_expose('now_sql()', 'com.example.now.v1'), notify_expose('now_plpgsql()', 'com.example.now.v2'),
		notify_expose('now_standard()', 'com.example.now.v3');

	CREATE TABLE orders (id int PRIMARY KEY, name text);
	CREATE TABLE secrets (id int PRIMARY KEY);
	GRANT SELECT ON orders TO guest, web;
	GRANT INSERT ON orders TO web;
	SELECT notify_watch('orders', channel => 'com.shop.orders'), notify_watch('secrets', channel => 'com.shop.secrets');
	SELECT notify_grant(topic, role, privilege) FROM (VALUES ('com.shop.news'), ('com.shop.sealed'), ('com.chat.*')) AS t (topic),
		(VALUES ('guest'::regrole, 'subscribe'), ('web', 'subscribe'), ('web', 'publish')) AS r (role, privilege);
	SELECT notify_grant('com.proc.*', 'web', 'call'), notify_grant('com.proc.*', 'guest', 'call'), notify_grant('com.proc.*', 'web', 'register');
	SELECT notify_grant('com.echo.*', 'web', privilege) FROM unnest('{call,register}'::text[]) AS privilege;
	CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b';
	CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
	CREATE FUNCTION numbers(n int) RETURNS SETOF int LANGUAGE sql AS 'SELECT generate_series(1, n)';
	CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'not enough money' USING ERRCODE = 'PT402'; END $$;
	CREATE FUNCTION place_order(id int, name text) RETURNS int
		LANGUAGE sql AS 'INSERT INTO orders VALUES (place_order.id, place_order.name) RETURNING orders.id';
	REVOKE EXECUTE ON FUNCTION place_order FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION place_order TO web;
	SELECT notify_wamp_user('jane', 'web', 'jäne''s secret');
	SELECT notify_expose('add(int, int)', 'com.shop.add'), notify_expose('who()', 'com.shop.who'),
		notify_expose('numbers(int)', 'com.shop.numbers'), notify_expose('fail()', 'com.shop.fail'),
		notify_expose('place_order(int, text)', 'com.shop.place_order');
});
my $port = notifyd_port($node);
my $token = notifyd_token({ role => 'web', sub => 'joe', exp => time + 6000 });
my ($modules, $why) = npm_modules('autobahn-browser@22.11.1', 'autobahn@26.3.1', 'wampy@8.0.2',
	'@verkehrsministerium/kraftfahrstrasse@0.9.0', 'node@22.23.3');
plan skip_all => $why if !defined $modules;

# A page as that of Crossbar's tutorial about databases, whose component in Python these functions replace.
my $page = <<"EOS";
<!DOCTYPE html>
<meta charset="utf-8">
<script src="autobahn.min.js"></script>
<script>
const log = [];
const connection = new autobahn.Connection({ url: 'ws://127.0.0.1:$port/ws', realm: 'realm1' });
connection.onopen = session => {
	log.push('connected');
	for (const version of ['v1', 'v2', 'v3'])
		session.call('com.example.now.' + version).then(
			result => log.push(version + ' ' + result),
			error => log.push(version + ' error ' + error.error));
};
connection.onclose = reason => log.push(reason);
connection.open();
</script>
EOS
my %files = ('/' => [ 'text/html', $page ], '/autobahn.min.js' => [ 'text/javascript', path("$modules/autobahn-browser/autobahn.min.js")->slurp ]);
my $app = Mojolicious->new;
$app->log->level('fatal');
$app->routes->get(
	'/*file' => { file => '' } => sub {
		my $c = shift;
		my ($type, $text) = @{ $files{ $c->req->url->path } // [ 'text/plain', '' ] };
		$c->res->headers->content_type($type);
		$c->render(data => $text);
	});
my $daemon = Mojo::Server::Daemon->new(app => $app, silent => 1, listen => ['http://127.0.0.1'])->start;
my $browser = NotifydTest::Browser->new('http://127.0.0.1:' . $daemon->ports->[0] . '/');
$browser->wait_for('log.length >= 4', 'the results of three procedures');
my ($connected, @results) = @{ $browser->evaluate('log') };
is($connected, 'connected', 'AutobahnJS in Chromium connects');
like($results[ $_ - 1 ], qr/^v$_ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d/, "it calls com.example.now.v$_") foreach 1 .. 3;

subtest 'AutobahnJS in Node' => sub {
	run_script(["$modules/node/bin/node"], $top->child('test/client/wamp.mjs'), "$modules/autobahn/index.js", $port, $token);
};

subtest 'Wampy.js' => sub {
	run_script(["$modules/node/bin/node"], $top->child('test/client/wampy.mjs'), "$modules/wampy/dist/esm", $port, $token, @$_)
		foreach [ 'json', 102 ], [ 'cbor', 104 ], [ 'msgpack', 106 ];
};

subtest 'kraftfahrstrasse' => sub {
	run_script(["$modules/node/bin/node"], $top->child('test/client/kraftfahrstrasse.mjs'),
		"$modules/\@verkehrsministerium/kraftfahrstrasse/build/cjs/index.js", $port, $token);
};

subtest 'Autobahn|Python' => sub {
	run_script(['/usr/bin/python3'], $top->child('test/client/wamp.py'), $port, 'ticket', $token, $_) foreach qw(json cbor msgpack);
	run_script(['/usr/bin/python3'], $top->child('test/client/wamp.py'), $port, 'wampcra', "jäne's secret", 'cbor');
};

# The programs of doc/wamp.md, as they are printed but for the port and the realm
my ($section) = $top->child('doc/wamp.md')->slurp =~ /^### WAMP-CRA\n(.*?)^## /ms or die 'no section about WAMP-CRA';
my ($sql, $js, $python) = map { $section =~ /^```$_\n(.*?)^```/ms ? $1 : die "no $_ in it" } qw(sql js python);
my $work = path(PostgreSQL::Test::Utils::tempdir);
$sql =~ s/^CREATE ROLE .*\n|^GRANT .*\n//mg;		# the node has these roles
$node->safe_psql('postgres', $sql);
s{127\.0\.0\.1:7432}{127.0.0.1:$port} && s/(["'])shop\1/${1}postgres$1/ or die 'no address in it' for $js, $python;
$work->child('joe.mjs')->spurt($js);
$work->child('joe.py')->spurt($python);
symlink $modules, $work->child('node_modules') or die "symlink: $!";
foreach my $program ([ "$modules/node/bin/node", 'joe.mjs' ], [ '/usr/bin/python3', 'joe.py' ])
{
	my ($command, $file) = @$program;
	my ($out, $error) = ('', '');
	IPC::Run::run([ $command, $work->child($file) ], '<', \undef, '>', \$out, '2>', \$error, IPC::Run::timeout(180));
	like($out, qr/^joe has the role web$/m, "$file: signs in") or diag $out, $error;
	like($out, qr/^3$/m, "$file: and calls");
}

done_testing();
