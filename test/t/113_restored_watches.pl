# Watches in schema-only dumps, restored by another owner, and with conditions whose operators are
# in another schema: triggers carry their watches, and a broken watch is reported.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main');
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
my $watches = q{SELECT string_agg(concat_ws('|', relation, channel, ops, cols, key, update_of, condition, old_values, notify,
	notify_rows, state), E'\n' ORDER BY channel) FROM notifyd.watches};

# definitions alone, and the data later
$node->safe_psql('postgres', q{CREATE DATABASE source});
$node->safe_psql('source', q{
	CREATE EXTENSION pg_notifyd;
	CREATE TABLE orders (id int PRIMARY KEY, "it's \ ""a"",b" text, price numeric);
	CREATE TABLE parts (id int, region int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
	GRANT SELECT ON orders, parts TO guest;
	CREATE TABLE other (id int PRIMARY KEY);
	SELECT notify_watch('other'), notify_unwatch('other');
	SELECT notify_watch('orders', 'insert,update', cols => ARRAY['it''s \ "a",b', 'price'], update_of => '{price}',
		condition => 'NEW.price > 1', old_values => false);
	SELECT notify_watch('orders', channel => 'all', cols => '{}', key => '{id}', notify => true);
	SELECT notify_watch('parts');
	ALTER TABLE orders RENAME COLUMN price TO cost;
	INSERT INTO orders VALUES (1, 'one', 1);
});
my $before = $node->safe_psql('source', $watches);
is(scalar(split /\n/, $before), 3, 'three watches');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'source' ], 'pg_dump');

$node->safe_psql('postgres', q{CREATE DATABASE target});
$node->command_ok([ 'pg_restore', '--exit-on-error', '-s', '-d', 'target', $dump ], 'definitions are restored');
is($node->safe_psql('target', $watches), $before, 'the watches exist');
wait_healthy($node, 'target');
my $client = notifyd_client($node, database => 'target');
$client->subscribe($_) for 'orders', 'all', 'parts';
my (undef, undef, $said) = $node->psql('target', q{INSERT INTO orders VALUES (2, 'two', 2); INSERT INTO parts VALUES (1, 1)});
is($said, '', 'no warning');
is(join(', ', sort map { "$_->{channel} $_->{key}{id}" } $client->next_events(3)), 'all 2, orders 2, parts 1', 'and capture');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-a', '-d', 'target', $dump ], 'then the data');
is($node->safe_psql('target', $watches), $before, 'the watches are the same');
$node->safe_psql('target', q{SELECT notify_watch('other')});
is($node->safe_psql('target', q{SELECT count(DISTINCT id) FROM notifyd.watches}), 4, 'ids are not used twice');
$client->close;

# another owner, who has nothing to say in the extension
$node->safe_psql('postgres', q{CREATE ROLE owner LOGIN; CREATE DATABASE theirs});
$node->safe_psql('theirs', q{CREATE EXTENSION pg_notifyd; GRANT CREATE ON SCHEMA public TO owner});
$node->command_ok([ 'pg_dump', '-O', '-x', '-t', 'orders', '-f', "$dump.sql", 'source' ], 'pg_dump of one table');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-U', 'owner', '-f', "$dump.sql", 'theirs' ], 'another owner restores it');
is($node->safe_psql('theirs', $watches), join("\n", grep { !/parts/ } split /\n/, $before), 'the watches exist');
(undef, undef, $said) = $node->psql('theirs', q{
	SET ROLE owner; CREATE TABLE forged (id int PRIMARY KEY);
	CREATE TRIGGER t AFTER INSERT ON forged FOR EACH ROW
		EXECUTE FUNCTION notifyd.capture('1', 'lobby', 'insert', '', '', '', '', '', '')});
is($said, '', 'a trigger for an unused channel works like notify_watch()');
$node->safe_psql('theirs', q{CREATE TABLE mine (id int PRIMARY KEY); SELECT notify_watch('mine', channel => 'ours')});
(undef, undef, $said) = $node->psql('theirs', q{
	SET ROLE owner;
	CREATE TRIGGER u AFTER INSERT ON forged FOR EACH ROW
		EXECUTE FUNCTION notifyd.capture('1', 'ours', 'insert', '', '', '', '', '', '')});
like($said, qr/permission denied for channel "ours"/, 'and for that of another owner refused');

# triggers of version 1.0 have the id alone: notify_watch() takes them over
$node->safe_psql('theirs', q{
	CREATE TABLE old (id int PRIMARY KEY);
	CREATE TRIGGER notifyd_1_row AFTER INSERT OR UPDATE OR DELETE ON old FOR EACH ROW EXECUTE FUNCTION notifyd.capture('1');
	SELECT notify_watch('old')});
is($node->safe_psql('theirs', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'old'::regclass}), 2, 'triggers of version 1.0 are taken over');
is($node->safe_psql('theirs', q{SELECT state FROM notifyd.watches WHERE channel = 'old'}), 'active', 'and active');

# also if the watch exists
$node->safe_psql('theirs', q{
	CREATE TABLE older (id int PRIMARY KEY);
	INSERT INTO notifyd.watch (id, relation, channel, ops, old_values, notify) VALUES (78, 'older', 'older', 'insert', true, false);
	CREATE TRIGGER notifyd_78_row AFTER INSERT ON older FOR EACH ROW EXECUTE FUNCTION notifyd.capture('78');
	ALTER TABLE older ENABLE ALWAYS TRIGGER notifyd_78_row;
	SELECT notify_watch('older', 'insert')});
is($node->safe_psql('theirs', q{SELECT tgnargs > 1 FROM pg_trigger WHERE tgrelid = 'older'::regclass}), 't', 'and carry their watch');

# operators in a schema of their own
foreach my $database ('citext_source', 'citext_target')
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
}
$node->safe_psql('citext_source', q{
	CREATE EXTENSION pg_notifyd;
	CREATE SCHEMA ops;
	CREATE EXTENSION citext SCHEMA ops;
	SET search_path = public, ops;
	CREATE TABLE names (id int PRIMARY KEY, c citext);
	GRANT SELECT ON names TO guest;
	GRANT USAGE ON SCHEMA ops TO guest;
	SELECT notify_watch('names', 'update', condition => 'OLD.c IS DISTINCT FROM NEW.c');
	INSERT INTO names VALUES (1, 'a');
});
my $state = q{SELECT state FROM notifyd.watches};
is($node->safe_psql('citext_source', $state), 'active', 'the watch is active where it was made');
$node->safe_psql('citext_source', q{ALTER SCHEMA ops RENAME TO operators});
is($node->safe_psql('citext_source', $state), 'active', 'also when the schema is renamed');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.citext", 'citext_source' ], 'pg_dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'citext_target', "$dump.citext" ], 'pg_restore');
is($node->safe_psql('citext_target', $state), 'broken condition', 'the restored condition compares text');
wait_healthy($node, 'citext_target');
$client = notifyd_client($node, database => 'citext_target');
my $answer = $client->call('subscribe', { channel => 'names' });
is($answer->{error}{code}, -32004, 'subscriptions are refused');
like($answer->{error}{message}, qr/watch of table "names" .* does not work \(broken condition\)/, 'with the reason');
$node->safe_psql('citext_target', q{ALTER TABLE names RENAME COLUMN id TO number});
is($node->safe_psql('citext_target', $state), 'broken condition', 'that stays so');
$node->safe_psql('citext_target', q{SET search_path = public, operators;
	SELECT notify_watch('names', 'update', condition => 'OLD.c IS DISTINCT FROM NEW.c')});
is($node->safe_psql('citext_target', $state), 'active', 'notify_watch() mends it');
$client->subscribe('names');
$node->safe_psql('citext_target', q{UPDATE names SET c = 'A'; UPDATE names SET c = 'b'});
is($client->next_event->{new}{c}, 'b', 'and the condition is the old one');

# a watch without a trigger, as it comes from a dump of version 1.0 where the trigger could not be
# restored
$node->safe_psql('citext_target', q{
	CREATE TABLE lost (id int PRIMARY KEY);
	GRANT SELECT ON lost TO guest;
	INSERT INTO notifyd.watch (id, relation, channel, ops, old_values, notify) VALUES (77, 'lost', 'lost', 'insert,truncate', true, false)});
is($node->safe_psql('citext_target', qq{$state WHERE channel = 'lost'}), 'missing trigger', 'a watch without triggers');
like($client->call('subscribe', { channel => 'lost' })->{error}{message}, qr/missing trigger/, 'refuses subscriptions');
$node->safe_psql('citext_target', q{SELECT notify_watch('lost')});
ok($client->subscribe('lost'), 'until notify_watch() has mended it');

done_testing();
