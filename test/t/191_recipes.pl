# The recipes, followed step by step: their SQL, their programs, and what they say that clients get.
use strict;
use warnings;

use IPC::Run qw(start);
use Mojo::JSON qw(decode_json);
use NotifydTest;
use NotifydTest::Document;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The database of doc/start.md and the tokens of doc/authentication.md
my $node = notifyd_node('main', conf => block('doc/start.md', 'shared_preload_libraries') . "max_connections = 40\n", extension => 0, init => { allows_streaming => 1 });
my $dir = PostgreSQL::Test::Utils::tempdir;
my $port = notifyd_port($node);

sub psql { my ($sql) = @_; return $node->safe_psql('shop', $sql); }

sub recipe { my ($name, $begin) = @_; return block("doc/recipes/$name.md", $begin); }

$node->safe_psql('postgres', 'CREATE DATABASE shop');
psql(block('doc/start.md', 'CREATE TABLE'));
psql(block('doc/start.md', "SELECT notify_watch('orders');\n"));
psql(block('doc/start.md', 'INSERT INTO orders'));
wait_healthy($node, 'shop');
save("$dir/make_keys", block('doc/authentication.md', "base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }\nopenssl"));
save("$dir/make_token", block('doc/authentication.md', "base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }\nnow"));
system_or_bail('sh', '-c', "cd $dir && sh make_keys && chmod 600 token_keys.json token_key.pem");
psql(block('doc/authentication.md', 'CREATE ROLE customer') =~ s{/etc/postgresql}{$dir}r);
$node->poll_query_until('shop', q{SELECT setting <> '' FROM pg_settings WHERE name = 'pg_notifyd.jwt_keys'});

# A client with a token that make_token makes with these arguments.
sub customer
{
	my ($arguments) = @_;
	chomp(my $token = `cd $dir && sh make_token $arguments`);
	return notifyd_client($node, database => 'shop', headers => { Authorization => "Bearer $token" });
}

# Run a statement, and return for each client the events that it gets: "INSERT 1", and "DELETE UPDATE 1" for one with a
# cause. A message of the same transaction, on a channel of which all clients are subscribers, is the last.
sub events_of
{
	my ($statement, @clients) = @_;
	my @all;

	psql("BEGIN; $statement; SELECT notify_send('done', 'null'); COMMIT");
	foreach my $client (@clients)
	{
		my @events;
		while ((my $event = $client->next_event)->{op} ne 'MESSAGE')
		{
			push @events, join ' ', $event->{op}, $event->{cause} // (), $event->{key}{id};
		}
		push @all, \@events;
	}
	return @all;
}

# Run a program in the background, with output and errors to one file; ended by kill_kill.
sub program
{
	my ($log, @command) = @_;
	return start [@command], '<', \undef, '>&', $log;
}

subtest 'tenants' => sub {
	psql(recipe('tenants', 'CREATE TABLE invoices'));
	psql("SELECT notify_grant('done', 'customer')");
	my @clients = map { customer("$_ customer '\"tenant\": $_'") } 1, 2;
	foreach my $client (@clients)
	{
		$client->subscribe('done');
		$client->send_text(recipe('tenants', '{"id":1'));
		ok($client->next_message('rows')->{done}, 'no rows yet');
	}
	my %expected = (
		'INSERT INTO invoices (tenant_id, amount) VALUES (1, 10)' => [ ['INSERT 1'], [] ],
		'UPDATE invoices SET tenant_id = 2 WHERE tenant_id = 1' => [ ['DELETE UPDATE 1'], ['INSERT UPDATE 1'] ],
		'UPDATE invoices SET paid = true' => [ [], ['DELETE UPDATE 1'] ]);
	my @statements = slurp_file('doc/recipes/tenants.md') =~ /^\| `([A-Z]+ [^`]*)` \|/gm;
	is_deeply([ sort @statements ], [ sort keys %expected ], 'the statements of the table');
	is_deeply([ events_of($_, @clients) ], $expected{$_}, $_) foreach @statements;
	psql(recipe('tenants', 'CREATE TABLE members'));
	$_->next_message('reset') foreach @clients;
	psql("INSERT INTO members VALUES ('1', 2)");
	is($clients[0]->next_message('reset')->{channel}, 'invoices', 'a membership resets');
	is(psql(recipe('tenants', 'BEGIN') =~ s/"7"/"1"/r), "1|2|10|t", 'what a customer sees');
};

subtest 'worker pool' => sub {
	psql(recipe('worker-pool', 'CREATE TABLE jobs'));
	save("$dir/worker.py", recipe('worker-pool', 'import asyncio'), 7432 => $port);
	my $dsn = $node->connstr('shop') . ' user=worker';
	my @workers = map { program("$dir/worker$_.log", '/usr/bin/python3', "$dir/worker.py", $dsn) } 1 .. 3;
	my $listening = "SELECT count(*) = 3 FROM notifyd.clients WHERE channels = '{jobs}'";

	$node->poll_query_until('shop', $listening) or die 'no workers';
	psql(q{INSERT INTO jobs (task) SELECT 'task ' || n FROM generate_series(1, 60) n});
	$node->poll_query_until('shop', 'SELECT count(*) = 60 FROM jobs WHERE done_at IS NOT NULL') or die 'jobs are left';
	is(join("\n", sort map { split /\n/, slurp_file("$dir/worker$_.log") } 1 .. 3), join("\n", sort map { "task $_" } 1 .. 60),
		'each job is done once');

	# The others go on without one of them.
	$workers[0]->kill_kill;
	psql(q{INSERT INTO jobs (task) VALUES ('more')});
	$node->poll_query_until('shop', 'SELECT count(*) = 61 FROM jobs WHERE done_at IS NOT NULL') or die 'a job is left';
	pass('two workers go on');

	# Jobs that come while nobody listens
	$node->restart;
	wait_healthy($node, 'shop');
	$_->kill_kill foreach @workers[ 1, 2 ];
	psql(q{INSERT INTO jobs (task) VALUES ('missed')});
	my $worker = program("$dir/worker4.log", '/usr/bin/python3', "$dir/worker.py", $dsn);
	$node->poll_query_until('shop', 'SELECT count(*) = 62 FROM jobs WHERE done_at IS NOT NULL') or die 'a job is left';
	is(slurp_file("$dir/worker4.log"), "missed\n", 'a job from before the worker started');
	$worker->kill_kill;
};

subtest 'cache' => sub {
	my $start = recipe('cache', 'cache = Cache(') =~ s/^/    /gmr;
	save("$dir/cache.py", recipe('cache', 'import asyncio') . <<"EOF", 7432 => $port);
import os, signal, sys
import psycopg2

connection = psycopg2.connect(sys.argv[1])
connection.autocommit = True
cursor = connection.cursor()
loads = 0
meanwhile = None

async def load_order(key):
    global loads, meanwhile
    loads += 1
    cursor.execute('SELECT name FROM orders WHERE id = %s', (key,))
    row = cursor.fetchone()
    if meanwhile:
        await meanwhile
        meanwhile = None
    return row and row[0]

async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)

async def change(sql):
    changes = cache.changes
    cursor.execute(sql)
    await until(lambda: cache.changes > changes)

async def main():
    global cache, meanwhile
$start
    await until(lambda: cache.live)
    cursor.execute("TRUNCATE orders RESTART IDENTITY; INSERT INTO orders (name) VALUES ('Tea'), ('Soup')")
    await until(lambda: cache.changes >= 3)
    print('twice:', await cache.get(1), await cache.get(1), loads)
    await change("UPDATE orders SET name = 'Iced tea' WHERE id = 1")
    print('changed:', await cache.get(1), loads)
    meanwhile = change("UPDATE orders SET name = 'Hot soup' WHERE id = 2")
    print('changed while it is loaded:', await cache.get(2), await cache.get(2), loads)
    await change('UPDATE orders SET id = DEFAULT WHERE id = 1')
    await until(lambda: 1 not in cache.rows)
    print('another key:', await cache.get(1), await cache.get(3), loads)
    await change('TRUNCATE orders')
    print('truncated:', await cache.get(2), loads)
    cursor.execute("SELECT pid FROM notifyd.stats WHERE kind = 'gateway'")
    os.kill(cursor.fetchone()[0], signal.SIGTERM)
    await until(lambda: not cache.live)
    print('connection lost:', cache.rows)
    await until(lambda: cache.live)
    print('and back')

asyncio.run(asyncio.wait_for(main(), 180))
EOF
	my $got = qx{/usr/bin/python3 $dir/cache.py '@{[ $node->connstr('shop') ]}' 2>&1};
	is($got, <<'EOF', 'a cache');
twice: Tea Tea 1
changed: Iced tea 2
changed while it is loaded: Soup Hot soup 4
another key: None Iced tea 6
truncated: None 7
connection lost: {}
and back
EOF
};

# Node, with its WebSocket where it is not there by itself
system_or_bail('sh', '-c', "cd $dir && " . recipe('node', 'curl') =~ s/7432/$port/r);
my @node = ('node', `node -e 'console.log(typeof WebSocket)'` =~ /function/ ? () : '--experimental-websocket');

# Wait until the last line of a file is this.
sub last_line_is
{
	my ($file, $line, $what) = @_;
	my $got;
	eval { wait_for(sub { $got = (split /\n/, slurp_file($file))[-1] // ''; $got eq $line }, $what); 1 } or diag $@;
	is($got, $line, $what);
	return;
}

# A script of a page, in Node: what the page would have, then the script. It shows the names of the rows.
sub page_script
{
	my ($recipe, $port, $before) = @_;
	my $show = 'globalThis.render = (rows) => console.log(rows.map(({ name }) => name).join(", "));';
	return save("$dir/$recipe.mjs", "$before\n$show\n" . recipe($recipe, 'import { connect }'),
		'http://localhost:7432/client.js' => './client.mjs', 7432 => $port);
}

subtest 'load, then follow' => sub {
	save("$dir/table.mjs", recipe('load-then-follow', 'import'), 'http://localhost:7432/client.js' => './client.mjs', 7432 => $port);
	psql(q{TRUNCATE orders RESTART IDENTITY; INSERT INTO orders (name) VALUES ('Tea'), ('Soup'), ('Bread'), ('Butter')});
	my $program = program("$dir/table.log", @node, "$dir/table.mjs");
	last_line_is("$dir/table.log", '4 Butter, 3 Bread, 2 Soup', 'the rows');
	psql(q{UPDATE orders SET name = 'Hot soup' WHERE id = 2; DELETE FROM orders WHERE id = 4});
	last_line_is("$dir/table.log", '3 Bread, 2 Hot soup, 1 Tea', 'their changes');
	$node->restart;
	psql(q{INSERT INTO orders (name) VALUES ('Cake')});
	last_line_is("$dir/table.log", '5 Cake, 3 Bread, 2 Hot soup', 'and those from while the server was away');
	$program->kill_kill;
};

subtest 'Node' => sub {
	my @command = (@node, save("$dir/follow.mjs", recipe('node', 'import')), "ws://localhost:$port/ws?database=shop", "$dir/orders.log");
	my $connected = q{SELECT count(*) = 1 FROM notifyd.clients WHERE channels = '{orders}'};
	my $lines = sub { return [ map { join ' ', map { "@$_[0] $_->[1]{id}" } @{ decode_json($_)->{rows} } } slurp_file("$dir/orders.log") =~ /(.+)\n/g ] };

	wait_healthy($node, 'shop');
	my $program = program("$dir/follow.err", @command);
	$node->poll_query_until('shop', $connected) or die 'the program does not connect';
	psql(q{INSERT INTO orders (name) VALUES ('Fries'), ('Salad')});
	wait_for(sub { @{ $lines->() } == 1 }, 'a transaction');
	$program->kill_kill;
	psql(q{UPDATE orders SET quantity = 1 WHERE id = 6});
	append_to_file("$dir/orders.log", '{"posi');
	$program = program("$dir/follow2.err", @command);
	wait_for(sub { @{ $lines->() } == 2 }, 'what was missed');
	psql(q{DELETE FROM orders WHERE id = 7});
	wait_for(sub { @{ $lines->() } == 3 }, 'another transaction');
	is_deeply($lines->(), [ 'INSERT 6 INSERT 7', 'UPDATE 6', 'DELETE 7' ], 'each transaction once');
	$program->kill_kill;
};

my $uri = 'postgresql:///DATABASE?host=' . $node->host . '&port=' . $node->port . '&user=';

# POST with curl to an application, when it listens; the body as JSON.
sub post
{
	my ($url, @arguments) = @_;
	my $body = '';

	wait_for(sub { $body = `curl -s -X POST $url @arguments`; $? == 0 }, $url);
	return decode_json($body);
}

subtest 'FastAPI' => sub {
	my $app_port = PostgreSQL::Test::Cluster::get_free_port();
	local $ENV{TOKEN_KEY} = "$dir/token_key.pem";
	local $ENV{DSN} = $uri =~ s/DATABASE/shop/r . 'postgres';
	save("$dir/shop.py", recipe('fastapi', 'import os'));
	my $app = start([ '/usr/bin/python3', '-m', split(/ /, recipe('fastapi', 'TOKEN_KEY') =~ s/.*(?=uvicorn)//r =~ s/\n//r), '--port', $app_port, '--app-dir', $dir ],
		'<', \undef, '>&', "$dir/fastapi.log");

	my $token = post("localhost:$app_port/token", '-H "Authorization: Session alice"')->{token};
	my $client = notifyd_client($node, database => 'shop', headers => { Authorization => "Bearer $token" });
	$client->subscribe('orders');
	my $order = post("localhost:$app_port/orders", q{-H "Authorization: Session alice" -H "Content-Type: application/json" -d '{"name": "Tea", "quantity": 2}'});
	my $event = $client->next_event;
	is_deeply([ @$event{qw(op key context)} ], [ 'INSERT', $order, { user => 'alice' } ], 'an order, and who has placed it');
	is(psql("SELECT role, subject FROM notifyd.clients WHERE subject IS NOT NULL AND channels = '{orders}'"), 'customer|alice', 'the user is the subject');

	psql('TRUNCATE orders');
	my $page = program("$dir/fastapi-page.log", @node,
		page_script('fastapi', $port, "const get = fetch; globalThis.fetch = (path, options) => get('http://localhost:$app_port' + path, options);"));
	post("localhost:$app_port/orders", q{-H "Authorization: Session alice" -H "Content-Type: application/json" -d '{"name": "Soup", "quantity": 1}'});
	last_line_is("$dir/fastapi-page.log", 'Soup', 'the page');
	$_->kill_kill foreach $page, $app;
};

subtest 'Django' => sub {
	my $site = "$dir/site";
	$node->safe_psql('postgres', 'CREATE ROLE django LOGIN; CREATE DATABASE django OWNER django');
	$node->safe_psql('django', 'CREATE EXTENSION pg_notifyd');
	mkdir $_ or die "$_: $!" foreach $site, "$site/shop", "$site/shop/migrations";
	save("$site/shop/$_", '') foreach '__init__.py', 'migrations/__init__.py';
	save("$site/shop/models.py", recipe('django', 'from django.db import models'));
	save("$site/shop/views.py", recipe('django', 'import time'));
	save("$site/urls.py", "from django.urls import path\nfrom shop.views import token\nurlpatterns = [path('token', token)]\n");
	save("$site/settings.py", <<"EOF");
SECRET_KEY = 'only for the test'
ROOT_URLCONF = 'urls'
USE_TZ = True
ALLOWED_HOSTS = ['testserver']
INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth', 'django.contrib.sessions', 'shop']
MIDDLEWARE = ['django.contrib.sessions.middleware.SessionMiddleware', 'django.middleware.csrf.CsrfViewMiddleware',
              'django.contrib.auth.middleware.AuthenticationMiddleware']
DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': 'django', 'USER': 'django',
                         'HOST': '@{[ $node->host ]}', 'PORT': '@{[ $node->port ]}'}}
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
TOKEN_KEY = open('$dir/token_key.pem').read()
EOF
	my $django = "cd $site && DJANGO_SETTINGS_MODULE=settings PYTHONPATH=$site /usr/bin/python3 -m django";
	system_log('sh', '-c', "$django makemigrations -v0 shop");
	save("$site/shop/migrations/0002_watch.py", recipe('django', 'from django.db import migrations'));
	is(system_log('sh', '-c', "$django migrate -v0"), 0, 'the migrations');
	is($node->safe_psql('django', 'SELECT relation, channel, state FROM notifyd.watches'), 'shop_dish|dishes|active', 'watch the table');

	save("$site/sign_in.txt", <<'EOF');
from django.contrib.auth.models import User
from django.test import Client
user = User.objects.create_user('alice')
client = Client()
assert client.post('/token').status_code == 302, 'only for users who have signed in'
client.force_login(user)
print(client.post('/token').json()['token'])
EOF
	chomp(my $token = `$django shell <$site/sign_in.txt`);
	wait_healthy($node, 'django');
	my $client = notifyd_client($node, database => 'django', headers => { Authorization => "Bearer $token" });
	$client->subscribe('dishes', filter => 'available=is.true', snapshot => \1);
	$client->next_message('rows');
	save("$site/write.txt", <<'EOF');
from django.db import transaction
from shop.models import Dish
with transaction.atomic():
    Dish.objects.bulk_create([Dish(name='Tea', price='2.50'), Dish(name='Soup', price='4.00')])
    Dish.objects.filter(name='Soup').update(available=False)
EOF
	is(system_log('sh', '-c', "$django shell <$site/write.txt"), 0, 'writes by the ORM');
	my @events = $client->next_events(3);
	is_deeply([ map { "$_->{op} $_->{key}{id}" } @events ], [ 'INSERT 1', 'INSERT 2', 'DELETE 2' ], 'have events');
	is_deeply([ map { $_->{tx} } @events ], [ ($events[0]{tx}) x 3 ], 'of one transaction');
	my $page = program("$dir/django-page.log", @node, page_script('django', $port, <<"EOF"));
globalThis.document = { querySelector: () => ({ value: 'token' }) };
globalThis.fetch = async () => ({ json: async () => ({ token: '$token' }) });
EOF
	last_line_is("$dir/django-page.log", 'Tea', 'the page');
	$page->kill_kill;
	is(system_log('sh', '-c', "$django migrate -v0 shop 0001"), 0, 'the migration is undone');
	is($node->safe_psql('django', 'SELECT count(*) FROM notifyd.watches'), '0', 'and the watch');
};

subtest 'replicas' => sub {
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	local $ENV{PRIMARY} = $node->connstr('postgres');
	delete local $ENV{PGAPPNAME};		# which the standby would have, too
	local $ENV{STANDBY} = $standby->data_dir;
	my ($on_primary, $on_standby) = split /\n/, recipe('replicas', 'synchronous_standby_names');

	is(system_log('sh', '-c', recipe('replicas', 'pg_basebackup')), 0, 'a base backup');
	$standby->{notifyd_port} = PostgreSQL::Test::Cluster::get_free_port();
	$standby->append_conf('postgresql.conf', "port = @{[ $standby->port ]}\npg_notifyd.port = $standby->{notifyd_port}\n$on_standby");
	$standby->start;
	$node->append_conf('postgresql.conf', $on_primary);
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT sync_state = 'quorum' FROM pg_stat_replication}) or die 'no synchronous standby';

	my $client = notifyd_client($node, database => 'shop');
	$client->subscribe('orders');
	psql(q{INSERT INTO orders (name) VALUES ('Bread')});
	my $event = $client->next_event;
	is($standby->safe_psql('shop', recipe('replicas', 'SELECT notify_fetch') =~ s/\d{16}/$event->{id}/r =~ s/;/::json ->> 'position';/r), $event->{position},
		'a client gets what the standby has');
	ok(!listens($standby->{notifyd_port}), 'which serves no clients');

	$node->stop('immediate');
	$standby->promote;
	wait_healthy($standby, 'shop');
	my $resumed = notifyd_client($standby, database => 'shop');
	$resumed->subscribe('orders', since => $event->{position});
	$standby->safe_psql('shop', q{INSERT INTO orders (name) VALUES ('Butter')});
	is($resumed->next_message->{new}{name}, 'Butter', 'a client resumes on the promoted standby');
	$standby->stop;
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->start;
	wait_healthy($node, 'shop');
};

subtest 'upgrade' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE old');
	$node->safe_psql('old', q{CREATE TABLE t (id int PRIMARY KEY); CREATE EXTENSION pg_notifyd VERSION '1.0'});
	my (undef, undef, $error) = $node->psql('old', q{SELECT notify_watch('t')});
	chomp(my $expected = recipe('upgrade', 'ERROR'));
	is($error =~ s/^psql:\S+ //r, $expected, 'functions fail before the update');
	my $versions = recipe('upgrade', 'SELECT installed_version');
	is($node->safe_psql('old', $versions), '1.0|1.1', 'an update is due');
	$node->safe_psql('old', recipe('upgrade', 'ALTER EXTENSION'));
	is($node->safe_psql('old', $versions), '1.1|1.1', 'the extension is updated');
	is($node->safe_psql('old', q{SELECT notify_watch('t')}), '1', 'and works');
};

subtest 'uninstall' => sub {
	my $drop = recipe('uninstall', 'SET lock_timeout');
	is(join(' ', sort split /\n/, psql(recipe('uninstall', 'SELECT name'))), 'django old shop', 'the databases');
	my (undef, undef, $error) = $node->psql('shop', $drop);
	like($error, qr/cannot drop extension pg_notifyd because other objects depend on it/, 'a policy uses notify_claims()');
	psql('DROP POLICY tenant ON invoices');
	psql($drop);
	$node->safe_psql($_, $drop) foreach 'django', 'old';
	is(psql(q{SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal}), 0, 'no trigger is left');
	is(psql(q{SELECT to_regnamespace('notifyd') IS NULL AND to_regclass('orders') IS NOT NULL}), 't', 'the table stays');
	psql(recipe('uninstall', "SELECT format"));
	unlike(slurp_file($node->data_dir . '/postgresql.auto.conf'), qr/notifyd/, 'no setting is left in postgresql.auto.conf');
	$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
	$node->restart;
	psql(q{INSERT INTO orders (name) VALUES ('Water')});
	psql('DROP OWNED BY web_client; DROP ROLE web_client');
	is_deeply([ grep { !-S } glob $node->data_dir . '/pg_notifyd/*' ], [], 'nothing but sockets is left in the data directory');
};

done_testing();
