# What an operator reads in the log and in notifyd.stats: settings that name nothing, databases that
# allow no connections, and the normal end of a feed.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', conf => "max_worker_processes = 16\n");

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

sub health
{
	my $query = shift // '';
	my $res = http_get($node, "/healthz$query") // return '';
	return $res->code . ' ' . $res->body =~ s/\s+$//r;
}

sub log_has
{
	my ($offset, $regexp, $what) = @_;
	wait_for(sub { slurp_file($node->logfile, $offset) =~ $regexp }, $what);
	pass($what);
	return;
}

sub reload
{
	my ($line) = @_;
	my $offset = -s $node->logfile;
	$node->append_conf('postgresql.conf', $line);
	$node->reload;
	return $offset;
}

sub state_is
{
	my ($database, $expected, $what) = @_;
	ok($node->poll_query_until('postgres', "SELECT state FROM notifyd.stats WHERE name = '$database'", $expected), $what);
	return;
}

# A start of the server, to which nobody connects
$node->stop;
my $start = -s $node->logfile;
$node->start;
log_has($start, qr/listening on 127\.0\.0\.1, port|FATAL/, 'the launcher starts before the first session');
unlike(slurp_file($node->logfile, $start), qr/FATAL/, 'and needs none');

# Settings
log_has(reload("pg_notifyd.anonymous_role = 'nobody_such'"),
	qr/WARNING:  role "nobody_such" does not exist.*DETAIL:.*HINT:  [^\n]*pg_notifyd.anonymous_role/s, 'a role that does not exist is logged');
log_has(reload("pg_notifyd.anonymous_role = 'guest'\npg_notifyd.default_database = 'nosuch'"),
	qr/WARNING:  database "nosuch" does not exist.*DETAIL:.*HINT:  [^\n]*pg_notifyd.default_database/s, 'and a database');
log_has(reload("pg_notifyd.databases = 'postgres, shpo'"),
	qr/WARNING:  database "shpo" does not exist.*DETAIL:.*HINT:  [^\n]*pg_notifyd.databases/s, 'and one of the list');
reload("pg_notifyd.databases = '*'");
log_has(reload("pg_notifyd.realms = 'realm1=postgres, realm2 = shpo'"),
	qr/WARNING:  database "shpo" does not exist.*DETAIL:  [^\n]*"realm2".*HINT:  [^\n]*pg_notifyd.realms/s, 'and one of a realm');
log_has(reload("pg_notifyd.realms = 'realm1=postgres'\npg_notifyd.databases = 'template1'"),
	qr/WARNING:  pg_notifyd.databases does not contain database "postgres" of a realm.*DETAIL:  [^\n]*"realm1".*HINT:/s, 'and one that is not served');
reload("pg_notifyd.databases = '*'");
log_has(reload("pg_notifyd.authenticator_role = 'nobody_else'"),
	qr/WARNING:  role "nobody_else" does not exist.*DETAIL:  Tokens[^\n]*\n.*HINT:  [^\n]*pg_notifyd.authenticator_role/s, 'and the authenticator');
log_has(reload("pg_notifyd.authenticator_role = 'postgres'"),
	qr/WARNING:  pg_notifyd.authenticator_role is the superuser "postgres".*DETAIL:.*HINT:/s, 'and an authenticator that is a superuser');
log_has(reload("pg_notifyd.authenticator_role = ''\npg_notifyd.anonymous_role = 'postgres'"),
	qr/WARNING:  clients without a token have the role "postgres", which is a superuser/, 'and a superuser without a token');
reload("pg_notifyd.anonymous_role = 'guest'");
my $offset = -s $node->logfile;
$node->restart;
log_has($offset, qr/WARNING:  database "nosuch" does not exist/, 'also when the server starts');
$offset = reload("pg_notifyd.default_database = 'postgres'");
wait_healthy($node);
sql('CREATE DATABASE shop');
sql(q{CREATE EXTENSION pg_notifyd; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO guest; SELECT notify_watch('t')}, 'shop');
wait_healthy($node, 'shop');
unlike(slurp_file($node->logfile, $offset), qr/does not exist/, 'nothing is logged when they do');

# A database that allows no connections, however it comes to be so
my $client = notifyd_client($node, database => 'shop');
$client->subscribe('t');
$offset = -s $node->logfile;
sql('ALTER DATABASE shop ALLOW_CONNECTIONS false');
is(($client->wait_closed)[0], 1001, 'its clients are closed');
log_has($offset, qr/LOG:  pg_notifyd does not serve database "shop".*DETAIL:  The database does not allow connections/s, 'the log says why');
state_is('shop', 'closed', 'so does the view');
wait_for(sub { health() eq '200 ok' }, 'health');
like(health('?database=shop'), qr/^503/, 'it is not served');
$offset = -s $node->logfile;
$node->restart;
log_has($offset, qr/pg_notifyd does not serve database "shop"/, 'the same after a restart: the log');
state_is('shop', 'closed', 'the view');
wait_for(sub { health() eq '200 ok' }, 'health');
sql('ALTER DATABASE shop ALLOW_CONNECTIONS true');
wait_healthy($node, 'shop');
$client = notifyd_client($node, database => 'shop');
$client->subscribe('t');
sql('INSERT INTO t VALUES (1)', 'shop');
is($client->next_event->{key}{id}, 1, 'it is served again');

# A template
sql(q{ALTER DATABASE shop IS_TEMPLATE true});
is(($client->wait_closed)[0], 1001, 'the clients of a template are closed');
is(sql(q{SELECT count(*) FROM notifyd.stats WHERE name = 'shop'}), 0, 'it has no row');
sql(q{ALTER DATABASE shop IS_TEMPLATE false});
wait_healthy($node, 'shop');

# The end of a feed
$client = notifyd_client($node, database => 'shop');
$client->subscribe('t');
$offset = -s $node->logfile;
sql(q{SELECT pg_terminate_backend(pid) FROM notifyd.stats WHERE name = 'shop'});
state_is('shop', 'running', 'another feed is started');
sql('INSERT INTO t VALUES (2)', 'shop');
is($client->next_event->{key}{id}, 2, 'clients notice nothing of the change');
kill 'TERM', gateway_pids($node);
is(($client->wait_closed)[0], 1012, 'the clients of a gateway that ends while the server runs get close code 1012');
wait_healthy($node, 'shop');
$node->stop;
unlike(slurp_file($node->logfile, $offset), qr/FATAL:  terminating background worker "pg_notifyd/, 'no feed ends with an error');
unlike(slurp_file($node->logfile, $offset), qr/LOG:  background worker "pg_notifyd feed" .* exited/, 'nor is its end logged');

done_testing();
