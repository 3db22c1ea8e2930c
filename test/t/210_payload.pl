# Events with a payload instead of rows: row security, filters, columns and privileges; live, in
# replays and by server-sent events; snapshots; limits of size; dumps and restores.
use strict;
use warnings;

use Mojo::JSON qw(encode_json);
use NotifydTest;
use NotifydTest::Events;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => [ 'reader', 'partial' ], conf => "pg_notifyd.max_event_size = '64kB'\n");

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE FUNCTION uid() RETURNS int LANGUAGE sql STABLE AS $$
		SELECT (current_setting('request.jwt.claims', true)::json->>'sub')::int $$;
	CREATE TABLE orders (id int PRIMARY KEY, owner int, status text, secret text);
	GRANT SELECT ON orders TO reader;
	GRANT SELECT (id, owner, status) ON orders TO partial;
	CREATE FUNCTION order_message(op text, old orders, new orders) RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		RETURN CASE WHEN new.status = 'quiet' THEN NULL ELSE
			json_build_object('was', old.status, 'is', new.status, 'secret', coalesce(new.secret, old.secret)) END;
	END $$;
	SELECT notify_watch('orders', payload => 'order_message'),
		notify_watch('orders', channel => 'some', cols => '{owner,status}', payload => 'order_message');
	CREATE TABLE mine (LIKE orders INCLUDING ALL);
	GRANT SELECT ON mine TO reader;
	CREATE FUNCTION mine_message(op text, old mine, new mine) RETURNS json LANGUAGE sql RETURN
		json_build_object('old', old.secret, 'new', new.secret);
	ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
	CREATE POLICY mine ON mine USING (owner = uid());
	SELECT notify_watch('mine', payload => 'mine_message', cols => '{status,secret}');
	CREATE TABLE plain (id int PRIMARY KEY, name text);
	GRANT SELECT ON plain TO reader, partial;
	SELECT notify_watch('plain'), notify_watch('plain', channel => 'orders');
});

sub user { return notifyd_client($node, headers => { notifyd_bearer(@_) }); }

# An event, shortly.
sub brief
{
	my ($event) = @_;
	return join ' ', substr($event->{op}, 0, 1) . ($event->{key} ? $event->{key}{id} : ''), $event->{cause} ? "<$event->{cause}" : (),
		map { exists $event->{$_} ? "$_=" . encode_json($event->{$_}) : () } qw(new old payload truncated);
}

sub next_briefs { my ($client, $n) = @_; return [ map { brief($_) } $client->next_events($n) ]; }

# filters judge the rows, whose columns clients do not get
my $client = user('reader', 1);
$client->subscribe('orders', filter => 'status=neq.draft&owner=eq.1');
my $all = user('reader', 1);
$all->subscribe('orders');
sql(q{INSERT INTO orders VALUES (1, 1, 'new', 's'), (2, 2, 'new', 's'), (3, 1, 'quiet', 's'), (4, 1, 'draft', 's')},
	q{UPDATE orders SET status = 'paid' WHERE id = 1},
	q{UPDATE orders SET owner = 2 WHERE id = 1},
	q{UPDATE orders SET status = 'sent', owner = 1, id = 5 WHERE id = 2},
	q{UPDATE orders SET id = 6, status = 'draft' WHERE id = 5},
	q{TRUNCATE orders});
my $expected = [ 'I1 payload={"is":"new","secret":"s","was":null}', 'U1 payload={"is":"paid","secret":"s","was":"new"}',
	'D1 <UPDATE', 'I5 <UPDATE payload={"is":"sent","secret":"s","was":"new"}', 'D5 <UPDATE old={"id":5}',
	'T payload={"is":null,"secret":null,"was":null}' ];
is_deeply(next_briefs($client, 6), $expected, 'what a filter makes of changes');
is_deeply([ map { s/ .*//r } @{ next_briefs($all, 8) } ], [qw(I1 I2 I4 U1 U1 U5 U6 T)], 'NULL leaves an event out');
my $replayed = user('reader', 1);
$replayed->subscribe('orders', filter => 'status=neq.draft&owner=eq.1', since => ($all->events)[0]{position});
is_deeply(next_briefs($replayed, 5), [ @$expected[ 1 .. 5 ] ], 'and in a replay');

# row security judges the old and the new row
my $one = user('reader', 1);
my $two = user('reader', 2);
$_->subscribe('mine') for $one, $two;
sql(q{INSERT INTO mine VALUES (1, 1, 'a', 'CANARY-1'), (2, 2, 'b', 'CANARY-2')},
	q{UPDATE mine SET owner = 2, secret = 'CANARY-22' WHERE id = 1},
	q{UPDATE mine SET secret = 'CANARY-222' WHERE id = 1},
	q{DELETE FROM mine WHERE id = 1});
is_deeply(next_briefs($one, 2), [ 'I1 payload={"new":"CANARY-1","old":null}', 'D1 <UPDATE' ], 'the first owner');
is_deeply(
	next_briefs($two, 4),
	[ 'I2 payload={"new":"CANARY-2","old":null}', 'I1 <UPDATE', 'U1 payload={"new":"CANARY-222","old":"CANARY-22"}',
		'D1 payload={"new":null,"old":"CANARY-222"}' ],
	'the second owner, without a payload that tells of the row of the first');
unlike(encode_json([ $one->received ]), qr/CANARY-2/, 'nothing of hidden rows');
unlike(encode_json([ $two->received ]), qr/CANARY-1/, 'in either direction');
sql(q{ALTER TABLE mine DISABLE ROW LEVEL SECURITY});
my $replay = user('reader', 2);
$replay->subscribe('mine', filter => 'secret=eq.CANARY-22', since => ($one->events)[0]{position});
is_deeply(next_briefs($replay, 1), ['I1 <UPDATE payload={"new":"CANARY-22","old":"CANARY-1"}'],
	'a role that may see both rows gets it when a filter brings the row in');
sql(q{ALTER TABLE mine ENABLE ROW LEVEL SECURITY});

# privileges: on all columns that the event stands for
my $partial = user('partial', 3);
is(eval { $partial->subscribe('mine'); 1 }, undef, 'no privilege at all');
is(eval { $partial->subscribe('some'); 1 }, 1, 'the columns that the watch names');
sql(q{INSERT INTO orders VALUES (7, 1, 'new', 's')});
is_deeply(next_briefs($partial, 1), ['I7 payload={"is":"new","secret":"s","was":null}'], 'what the owner of the table makes public');
my $columns = user('partial', 3);
is(eval { $columns->subscribe('some', columns => ['status']); 1 }, undef, 'there are no columns to choose');
like($@, qr/no event of channel .* has a column/, 'with the reason');
is(eval { $columns->subscribe('orders', columns => [ 'id', 'name' ]); 1 }, 1, 'unless another table of the channel has them');
sql(q{INSERT INTO orders VALUES (8, 1, 'new', 's')}, q{INSERT INTO plain VALUES (1, 'x')});
is_deeply(next_briefs($columns, 1), ['I1 new={"id":1,"name":"x"}'], 'without payloads of columns that the role may not read');
my $both = user('reader', 3);
$both->subscribe('orders', columns => ['id']);
sql(q{INSERT INTO orders VALUES (9, 1, 'new', 's')}, q{INSERT INTO plain VALUES (2, 'x')});
is_deeply(next_briefs($both, 2), [ 'I9 payload={"is":"new","secret":"s","was":null}', 'I2 new={"id":2}' ], 'which others get');

# no snapshot
my $snapshot = user('reader', 1);
is(eval { $snapshot->subscribe('some', snapshot => Mojo::JSON::true); 1 }, undef, 'a snapshot is refused');
like($@, qr/have a payload instead of rows/, 'with the reason');

# server-sent events, too large events, notify_fetch
my $stream = NotifydTest::Events->new($node, 'channel=some', headers => [ join ': ', notifyd_bearer('reader', 1) ]);
sql(q{UPDATE orders SET secret = repeat('x', 100000), id = 10 WHERE id = 9});
my $event = $stream->next->{data};
is(brief($event), 'U10 old={"id":9} truncated=true', 'a payload that is too large is left out');
is(sql("SELECT length(notify_fetch($event->{id}) #>> '{payload,secret}')"), 100000, 'notify_fetch returns it');
sql(q{UPDATE orders SET secret = 'y' WHERE id = 10});
is(brief($stream->next->{data}), 'U10 payload={"is":"new","secret":"y","was":"new"}', 'server-sent events');

# another function, in the middle of a session and for other sessions
sql(q{CREATE FUNCTION other_message(op text, old orders, new orders) RETURNS json LANGUAGE sql RETURN to_json(op)});
my $writer = $node->background_psql('postgres');
$writer->query_safe(q{UPDATE orders SET status = 'a' WHERE id = 10});
sql(q{SELECT notify_watch('orders', channel => 'some', cols => '{owner,status}', payload => 'other_message')});
$writer->query_safe(q{UPDATE orders SET status = 'b' WHERE id = 10});
sql(q{CREATE OR REPLACE FUNCTION other_message(op text, old orders, new orders) RETURNS json LANGUAGE sql RETURN to_json(new.status)});
$writer->query_safe(q{UPDATE orders SET status = 'c' WHERE id = 10});
sql(q{ALTER FUNCTION other_message RENAME TO "third message"});
$writer->query_safe(q{UPDATE orders SET status = 'd' WHERE id = 10});
$writer->quit;
is_deeply([ map { $_->{data}{payload} } $stream->take(4) ], [ { was => 'new', is => 'a', secret => 'y' }, 'UPDATE', 'c', 'd' ],
	'a session notices that the function has changed');

# dumps: definitions alone, and all; another owner
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
my $watches = q{SELECT string_agg(concat_ws('|', relation, channel, cols, payload, state), E'\n' ORDER BY relation::text, channel) FROM notifyd.watches};
my $before = sql($watches);
like($before, qr/^orders\|some\|\{owner,status\}\|public\."third message"\|active$/m, 'the view');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
foreach my $options ([], ['-s'])
{
	my $name = 'restored' . @$options;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->command_ok([ 'pg_restore', '--exit-on-error', @$options, '-d', $name, $dump ], "pg_restore @$options");
	is($node->safe_psql($name, $watches), $before, 'the watches are as before');
	is($node->safe_psql($name, q{INSERT INTO orders VALUES (100, 1, 'new', 's')}), '', 'and capture');
	my (undef, undef, $said) = $node->psql($name, q{DROP FUNCTION "third message"});
	like($said, qr/cannot drop function public."third message" because a watch uses it/, 'the function is kept');
}

done_testing();
