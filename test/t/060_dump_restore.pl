# pg_dump and restore bring back watches and grants, with any names of tables and columns. Events
# are not dumped.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE DATABASE source;
	CREATE DATABASE plain;
	CREATE DATABASE archive;
});
$node->safe_psql('source', q{
	CREATE EXTENSION pg_notifyd;
	CREATE SCHEMA "Odd Schema";
	CREATE TABLE orders (id int PRIMARY KEY, name text, price numeric);
	CREATE TABLE "Odd Schema"."it's ""quoted""" ("key.col" int PRIMARY KEY, "a,b" text, gone int, "ä" text);
	ALTER TABLE "Odd Schema"."it's ""quoted""" DROP COLUMN gone;
	CREATE TABLE parts (id int, region int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
	SELECT notify_watch('orders', 'insert,update', cols => '{id,price}', update_of => '{price}',
		condition => 'NEW.price > 1', old_values => false);
	SELECT notify_watch('orders', channel => 'all orders', notify => true, notify_rows => true);
	SELECT notify_watch('"Odd Schema"."it''s ""quoted"""', cols => '{"key.col","ä","a,b"}', channel => 'odd');
	SELECT notify_watch('parts');
	SELECT notify_grant('lobby', 'guest'), notify_grant('lobby', 'guest', 'publish');
	CREATE FUNCTION "Odd Schema"."odd ""function"""(a orders, b int[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
	SELECT notify_expose(p.oid::regprocedure, 'odd') FROM pg_proc AS p WHERE proname LIKE 'odd %';
	SELECT notify_expose('orders', 'all-orders');
	GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest;
	INSERT INTO orders VALUES (1, 'before the dump', 5);
});
wait_healthy($node, 'source');
my $source = notifyd_client($node, database => 'source');
$source->subscribe('parts');
$node->safe_psql('source', 'INSERT INTO parts VALUES (7, 1)');
my $position = $source->next_event->{position};
$source->close;

# Everything about the watches, and the grants, that is the same in every database.
my $watches = q{SELECT string_agg(concat_ws('|', relation, channel, ops, cols, key, update_of, condition, old_values, notify,
	notify_rows), E'\n' ORDER BY channel) || E'\n' FROM notifyd.watches;
	SELECT string_agg(concat_ws('|', channel, role, privilege), E'\n' ORDER BY privilege) FROM notifyd.grants;
	SELECT string_agg(concat_ws('|', name, function, relation, label), E'\n' ORDER BY name) FROM notifyd.exposed};
my $before = $node->safe_psql('source', $watches);
is(scalar(grep { /./ } split /\n/, $before), 8, 'four watches, two grants, a function and a table that are exposed');

my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
$node->command_ok([ 'pg_dump', '-f', "$dump.sql", 'source' ], 'pg_dump, plain');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.sql", 'plain' ], 'psql reads it');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.custom", 'source' ], 'pg_dump, custom format');
$node->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', 'archive', "$dump.custom" ], 'pg_restore with two jobs');
unlike(slurp_file("$dump.sql"), qr/before the dump.*INSERT/, 'the log is not dumped');

foreach my $database ('plain', 'archive')
{
	is($node->safe_psql($database, $watches), $before, "$database: the watches are the same");
	wait_healthy($node, $database);
	my $client = notifyd_client($node, database => $database);
	$client->subscribe($_) for 'orders', 'all orders', 'lobby';
	$client->subscribe('parts', since => $position);
	is($client->next_message('reset')->{channel}, 'parts', "$database: a position of the source gets a reset");
	$node->safe_psql($database, q{
		INSERT INTO orders VALUES (2, 'x', 0.5);
		UPDATE orders SET name = 'y' WHERE id = 2;
		UPDATE orders SET price = 7 WHERE id = 2;
		INSERT INTO parts VALUES (1, 1);
		SELECT notify_send('lobby', '1');
	});
	is_deeply(
		[ sort map { "$_->{op} $_->{channel}" } $client->next_events(6) ],
		[ 'INSERT all orders', 'INSERT parts', 'MESSAGE lobby', 'UPDATE all orders', 'UPDATE all orders', 'UPDATE orders' ],
		"$database: and they work");
	is(scalar(grep { ($_->{method} // '') eq 'reset' } $client->received), 1, "$database: without a further reset");
	$client->close;
	is($node->safe_psql($database, q{SELECT notify_watch('parts') > 0}), 't', "$database: the same call changes nothing");
	is($node->safe_psql($database, $watches), $before, "$database: indeed");
}

done_testing();
