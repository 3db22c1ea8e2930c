# The owner of a database who is no superuser dumps it whole, and restores all but the rows of the
# extension's own tables, which a superuser restores from the same dump.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main');
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
$node->safe_psql('postgres', 'CREATE ROLE alice LOGIN');
foreach my $database ('source', 'target')
{
	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER alice");
	$node->safe_psql($database, 'CREATE EXTENSION pg_notifyd');
}
$node->command_ok([ 'psql', '-X', '-q', '-U', 'alice', '-d', 'source', '-c', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text);
	INSERT INTO orders VALUES (1, 'one');
	SELECT notify_watch('orders', cols => '{name}')} ], 'the owner watches a table');
$node->safe_psql('source', q{SELECT notify_grant('lobby', 'guest')});

my $what = q{SELECT relation, channel, cols, state FROM notifyd.watches; SELECT * FROM notifyd.grants; SELECT * FROM orders};
my $before = $node->safe_psql('source', $what);
is($before, "orders|orders|{name}|active\nlobby|guest|subscribe|exact\n1|one", 'the contents');

$node->command_ok([ 'pg_dump', '-U', 'alice', '-Fc', '-f', $dump, 'source' ], 'the owner dumps the database');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-U', 'alice', '--no-comments', '-N', 'notifyd', '-d', 'target', $dump ],
	'and restores it without the tables of the extension');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-a', '-n', 'notifyd', '-d', 'target', $dump ],
	'a superuser restores these');
is($node->safe_psql('target', $what), $before, 'watches, grants and rows are the same');

# When there are users of WAMP-CRA, the owner may not read their keys.
$node->safe_psql('source', q{SELECT notify_wamp_user('joe', 'guest', 'secret', 1000)});
$node->command_fails_like([ 'pg_dump', '-U', 'alice', '-Fc', '-f', $dump, 'source' ], qr/permission denied for table wamp_user/, 'the keys of users');
$node->command_ok([ 'pg_dump', '-U', 'alice', '-Fc', '-f', $dump, '--exclude-table-data=notifyd.wamp_user', 'source' ], 'are left out');

# Nobody else reads the tables past the views.
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');
foreach my $table ('watch', 'watch_id_seq', 'channel_grant', 'wamp_user')
{
	my (undef, undef, $error) = $node->psql('source', "SET ROLE mallory; SELECT * FROM notifyd.$table");
	like($error, qr/permission denied for (table|sequence) $table/, "$table is not for others");
}

done_testing();
