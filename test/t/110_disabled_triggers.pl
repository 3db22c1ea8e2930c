# DISABLE and ENABLE TRIGGER, pg_restore --disable-triggers, and table rewrites: subscribers get a
# reset, live and in replays, and the triggers are ENABLE ALWAYS again.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main');
my $state = q{SELECT state FROM notifyd.watches WHERE channel = 'orders'};
my $enabled = q{SELECT string_agg(DISTINCT tgenabled, '') FROM pg_trigger WHERE tgname LIKE 'notifyd%'};

sub sql
{
	my ($out, $err);
	$node->psql('postgres', shift, stdout => \$out, stderr => \$err, on_error_die => 1);
	return ($out, $err);
}

# The next message: 'reset', or an event's operation and id.
sub next_told
{
	my $params = shift->next_message;
	return $params->{reason} ? 'reset' : join ' ', $params->{op}, $params->{key} ? $params->{key}{id} : ();
}

$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, n int);
	CREATE TABLE parts (id int, region int, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
	GRANT SELECT ON orders, parts TO guest;
	SELECT notify_watch('orders', 'insert,update,delete,truncate');
	SELECT notify_watch('parts');
});
my $client = notifyd_client($node);
my $begin = $client->subscribe('orders')->{position};
$client->subscribe('parts');
is($node->safe_psql('postgres', $state), 'active', 'a watch is active');

# a disabled window
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 1)});
is($client->next_event->{key}{id}, 1, 'an event before');
my (undef, $warning) = sql(q{ALTER TABLE orders DISABLE TRIGGER USER});
like($warning, qr/WARNING:  changes of table "orders" are not captured while its triggers are disabled/, 'DISABLE TRIGGER warns');
is($client->next_message('reset')->{channel}, 'orders', 'and subscribers get a reset');
is($node->safe_psql('postgres', $state), 'disabled', 'the watch is disabled');
$node->safe_psql('postgres', q{INSERT INTO orders VALUES (2, 1)});
$node->safe_psql('postgres', q{ALTER TABLE orders ENABLE TRIGGER USER; INSERT INTO orders VALUES (3, 1)});
my $reset = $client->next_message('reset');
is($reset->{channel}, 'orders', 'ENABLE TRIGGER resets subscribers again');
like($reset->{reason}, qr/not captured before/, 'and says why');
my $event = $client->next_event;
is($event->{key}{id}, 3, 'an event after it');
is($node->safe_psql('postgres', $state), 'active', 'the watch is active again');
is($node->safe_psql('postgres', $enabled), 'A', 'its triggers are ENABLE ALWAYS again');
$node->safe_psql('postgres', q{SET session_replication_role = replica; INSERT INTO orders VALUES (4, 1)});
is($client->next_event->{key}{id}, 4, 'changes of a logical subscription are captured again');

# the same in a replay: in the same place, and once each
my $replay = notifyd_client($node);
$replay->subscribe('orders', since => $begin);
is(join(', ', map { next_told($replay) } 1 .. 5), 'INSERT 1, reset, reset, INSERT 3, INSERT 4',
	'a replay has the resets in their places');
is((grep { ($_->{method} // '') eq 'reset' } $replay->received)[1]{params}{position}, $reset->{position},
	'with the positions that the live ones had');
$replay->close;
$replay = notifyd_client($node);
$replay->subscribe('orders', since => $reset->{position});
is($replay->next_event->{key}{id}, 3, 'the position of a reset can be resumed from');
$replay->close;

# disabled and enabled within one transaction, and rolled back
$node->safe_psql('postgres', q{BEGIN; ALTER TABLE orders DISABLE TRIGGER ALL; ROLLBACK; INSERT INTO orders VALUES (5, 1)});
is($client->next_event->{key}{id}, 5, 'a rollback causes no reset');
$node->safe_psql('postgres', q{
	BEGIN; ALTER TABLE orders DISABLE TRIGGER ALL; INSERT INTO orders VALUES (6, 1); ALTER TABLE orders ENABLE TRIGGER ALL; COMMIT});
is(next_told($client), 'reset', 'a window inside a transaction resets');
is(next_told($client), 'reset', 'at both ends');

# one trigger by its name, ENABLE REPLICA
my $name = $node->safe_psql('postgres', q{SELECT tgname FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND tgname LIKE '%truncate'});
sql(qq{ALTER TABLE orders ENABLE REPLICA TRIGGER $name});
is($node->safe_psql('postgres', $state), 'replica only', 'a trigger that fires for logical replication only');
sql(qq{ALTER TABLE orders DISABLE TRIGGER $name});
is($node->safe_psql('postgres', $state), 'disabled', 'one trigger of two is disabled');

# notify_watch() repairs it, also the result of an earlier version
sql(q{SELECT notify_watch('orders', 'insert,update,delete,truncate')});
is($node->safe_psql('postgres', $state), 'active', 'notify_watch() mends the triggers');
is(next_told($client), 'reset', 'with a reset') for 1 .. 3;
$node->safe_psql('postgres', q{UPDATE pg_trigger SET tgenabled = 'O' WHERE tgrelid = 'orders'::regclass});
is($node->safe_psql('postgres', $state), 'origin only', 'triggers as ENABLE TRIGGER USER leaves them');
$node->safe_psql('postgres', q{SELECT notify_watch('orders', 'insert,update,delete,truncate')});
is($node->safe_psql('postgres', $enabled), 'A', 'notify_watch() mends them too');
is($client->next_message('reset')->{channel}, 'orders', 'with a reset');
$node->safe_psql('postgres', q{SELECT notify_watch('orders', 'insert,update,delete,truncate'); INSERT INTO orders VALUES (7, 1)});
is(next_told($client), 'INSERT 7', 'the same call again is no reset');

# partitions
sql(q{ALTER TABLE parts_2 DISABLE TRIGGER USER});
is($client->next_message('reset')->{channel}, 'parts', 'a partition of a watched table');
is($node->safe_psql('postgres', q{SELECT state FROM notifyd.watches WHERE channel = 'parts'}), 'disabled', 'counts for the whole');
$node->safe_psql('postgres', q{SELECT notify_watch('parts')});
is($node->safe_psql('postgres', $enabled), 'A', 'notify_watch() mends partitions');
is($client->next_message('reset')->{channel}, 'parts', 'with a reset');
sql(q{ALTER TABLE parts DISABLE TRIGGER USER});
$node->safe_psql('postgres', q{ALTER TABLE parts ENABLE TRIGGER USER});
is($client->next_message('reset')->{channel}, 'parts', 'a partitioned table') for 1 .. 2;
is($node->safe_psql('postgres', $enabled), 'A', 'its partitions are ENABLE ALWAYS again');

# rewrites
$node->safe_psql('postgres', q{ALTER TABLE orders ALTER COLUMN n TYPE bigint USING n * 100});
is($client->next_message('reset')->{reason}, 'the table was rewritten by ALTER TABLE', 'a column is retyped');
$node->safe_psql('postgres', q{ALTER TABLE orders ADD COLUMN m float DEFAULT random()});
is($client->next_message('reset')->{channel}, 'orders', 'a column with a value for each row is added');
$node->safe_psql('postgres', q{ALTER TABLE orders ADD COLUMN o int DEFAULT 5; INSERT INTO orders VALUES (8, 1)});
is(next_told($client), 'INSERT 8', 'one that rewrites nothing is no reset');

# the commands of pg_restore
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
$node->command_ok([ 'pg_dump', '-Fc', '-a', '-t', 'orders', '-f', $dump, 'postgres' ], 'pg_dump -a');
$node->safe_psql('postgres', q{TRUNCATE orders});
is($client->next_event->{op}, 'TRUNCATE', 'an event of TRUNCATE');
$node->command_ok([ 'pg_restore', '-a', '--disable-triggers', '-d', 'postgres', $dump ], 'pg_restore -a --disable-triggers');
is($client->next_message('reset')->{channel}, 'orders', 'it resets') for 1 .. 2;
is($node->safe_psql('postgres', $enabled), 'A', 'and the triggers are ENABLE ALWAYS');

# only subscriptions with row operations get the reset
$node->safe_psql('postgres', q{
	SELECT notify_grant('orders', 'guest');
});
my $narrow = notifyd_client($node);
$narrow->subscribe('orders', ops => ['MESSAGE']);
sql(q{ALTER TABLE orders DISABLE TRIGGER USER});
$node->safe_psql('postgres', q{SELECT notify_send('orders', '1')});
is(next_told($narrow), 'MESSAGE', 'no reset for messages alone');
$node->safe_psql('postgres', q{SELECT notify_watch('orders', 'insert,update,delete,truncate')});

done_testing();
