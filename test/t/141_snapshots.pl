# Subscriptions that begin with their rows: what the rows are, where they meet the stream, in any number of
# transactions at the same time, and what a client gets that is interrupted.
use strict;
use warnings;

use IPC::Run;
use Mojo::JSON qw(encode_json);
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['reader'], conf => <<"EOC");
pg_notifyd.client_buffer = '64kB'
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE items (id int PRIMARY KEY, owner int, name text, price numeric, data jsonb, at timestamptz DEFAULT '2026-01-01', secret text);
	INSERT INTO items SELECT i, i % 2, 'item ' || i, i / 4.0, jsonb_build_object('n', i), '2026-01-01 12:00+02', 'CANARY' FROM generate_series(1, 6) AS i;
	CREATE TABLE parts (a int, b text, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
	INSERT INTO parts VALUES (1, 'x'), (2, 'y');
	GRANT SELECT ON parts TO reader;
	GRANT SELECT (id, owner, name, price, data, at) ON items TO reader;
	ALTER TABLE items ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON items TO reader USING (owner = (notify_claims() ->> 'sub')::int OR price > 100);
	SELECT notify_watch('items', cols => '{id,owner,name,price,data,at}');
	SELECT notify_watch('parts');
});

sub user { my ($sub) = @_; return notifyd_client($node, headers => { notifyd_bearer('reader', $sub) }); }

# Subscribe, and return the rows of the first snapshot, and the params of its last message.
sub snapshot
{
	my ($client) = @_;
	my (@rows, $part);
	do { $part = $client->next_message('rows'); push @rows, @{ $part->{rows} }; } until $part->{done};
	return (\@rows, $part);
}

sub ids { return join ' ', map { $_->{id} } @{ $_[0] }; }

my $one = user(1);
my $result = $one->subscribe('items', snapshot => \1);
like($result->{position}, qr/^\d+-\d+s$/, 'the position of the answer is inside the snapshot');
my ($rows, $end) = snapshot($one);
is(ids($rows), '1 3 5', 'the rows that row security lets through, by key');
is_deeply($rows->[0], { id => 1, owner => 1, name => 'item 1', price => 0.25, data => { n => 1 }, at => '2026-01-01T10:00:00+00:00' }, 'as events have them');
like($end->{position}, qr/^\d+-\d+$/, 'the last message has a plain position');
my ($first) = grep { ($_->{method} // '') eq 'rows' } $one->received;
is_deeply([ @{ $first->{params} }{qw(channel schema table key)} ], [ 'items', 'public', 'items', ['id'] ], 'whose rows they are');
unlike(encode_json([ $one->received ]), qr/CANARY/, 'columns that the watch does not capture stay hidden');
sql('UPDATE items SET owner = 1 WHERE id = 2', 'UPDATE items SET owner = 0 WHERE id = 3');
is(join(' ', map { "$_->{op}$_->{key}{id}" } $one->next_events(2)), 'INSERT2 DELETE3', 'then the changes of the set');

sub rows_of
{
	my (%params) = @_;
	my $client = user(1);
	my $answer = $client->call('subscribe', { channel => 'items', %params });
	return $answer->{error}{message} if $answer->{error};
	return ids((snapshot($client))[0]);
}

is(rows_of(snapshot => { order => 'price.desc' }), '5 2 1', 'an order');
is(rows_of(snapshot => { order => 'owner.asc.nullsfirst,data->n.desc', limit => 2 }), '5 2', 'more of it, and a limit');
is(rows_of(snapshot => \1, filter => 'or=(id.eq.5,name.like.*1)'), '1 5', 'a filter');
is(rows_of(snapshot => { order => 'secret' }), 'column "secret" does not exist', 'no order by a column that is not sent');
is(rows_of(snapshot => { order => 'price.up' }), 'invalid order "price.up"', 'an order that is none');
like(rows_of(snapshot => \1, filter => 'context->>a=eq.1'), qr/a filter on the context/, 'no filter on the context');
like(rows_of(snapshot => { limit => 0 }), qr/positive integer/, 'no limit of 0');
my $columns = user(1);
$columns->subscribe('items', snapshot => \1, columns => ['name']);
is_deeply((snapshot($columns))[0][0], { id => 1, name => 'item 1' }, 'columns, with the key');
my $parts = user(1);
$parts->subscribe('parts', snapshot => \1);
is_deeply((snapshot($parts))[0], [ { a => 1, b => 'x' }, { a => 2, b => 'y' } ], 'a partitioned table');

# Transactions in flight: the rows do not have them, and the stream does.
my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; INSERT INTO items VALUES (20, 1, 'in flight'); SAVEPOINT a; INSERT INTO items VALUES (21, 1, 'nested')");
my $flight = user(1);
$flight->subscribe('items', snapshot => \1);
is(ids((snapshot($flight))[0]), '1 2 5', 'rows of a transaction in flight are not there');
$writer->query_safe('COMMIT');
is(join(' ', map { "$_->{op}$_->{key}{id}" } $flight->next_events(2)), 'INSERT20 INSERT21', 'they come when it commits');
$writer->quit;
my $late = user(1);
$late->subscribe('items', snapshot => \1);
is(ids((snapshot($late))[0]), '1 2 5 20 21', 'and are rows then');

# Many writers: each client's rows and events make the table.
sql('ALTER TABLE items DISABLE ROW LEVEL SECURITY', 'TRUNCATE items');
my $script = PostgreSQL::Test::Utils::tempdir() . '/write.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'EOS');
\set id random(1, 500)
BEGIN;
INSERT INTO items VALUES (:id, 1, 'a') ON CONFLICT (id) DO UPDATE SET name = items.name || 'b';
DELETE FROM items WHERE id = :id + 1;
INSERT INTO items VALUES (:id + 2, 1, 'c') ON CONFLICT (id) DO UPDATE SET name = 'd';
COMMIT;
EOS
my ($in, $out, $err) = ('', '', '');
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', 6, '-t', 400, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'<', \$in, '>', \$out, '2>', \$err);
my @clients;
while (@clients < 12)
{
	my $client = user(1);
	$client->subscribe('items', snapshot => \1);
	snapshot($client);
	push @clients, $client;
}
$writers->finish;
sql("INSERT INTO items VALUES (0, 0, 'last')");

# The set that a client has built, and what was wrong on the way.
sub built
{
	my ($client) = @_;
	my (%set, @wrong);
	$client->wait_for(sub { grep { $_->{key}{id} == 0 } $client->events }, 'the last event');
	for my $message ($client->received)
	{
		my $params = $message->{params} or next;
		%set = () if $message->{method} eq 'reset';
		if ($message->{method} eq 'rows') { $set{ $_->{id} } = $_->{name} for @{ $params->{rows} }; next; }
		next if $message->{method} ne 'event';
		my $id = $params->{key}{id};
		push @wrong, "$params->{op} $id" if exists $set{$id} xor $params->{op} ne 'INSERT';
		$params->{op} eq 'DELETE' ? delete $set{$id} : ($set{$id} = $params->{new}{name});
	}
	return (join(' ', map { "$_=$set{$_}" } sort { $a <=> $b } keys %set), "@wrong");
}

my $table = sql(q{SELECT string_agg(id || '=' || name, ' ' ORDER BY id) FROM items});
for my $client (@clients)
{
	my ($set, $wrong) = built($client);
	is($set, $table, 'the client has what the table has');
	is($wrong, '', 'and each event concerned a row that was there, or not');
}

# A client that lost its connection inside of a snapshot
my $inside = user(1);
$inside->subscribe('items', snapshot => \1, since => $result->{position});
is($inside->next_message('reset')->{reason}, 'the connection ended before the snapshot was complete', 'it is told');
is(scalar @{ (snapshot($inside))[0] }, sql('SELECT count(*) FROM items'), 'and gets another one');

# A client that resumes gets no rows, and after a reset it does.
my $resumed = user(1);
my ($last) = reverse $clients[0]->events;
$resumed->subscribe('items', snapshot => \1, since => $last->{position});
sql("INSERT INTO items VALUES (1000, 0, 'new')");
is($resumed->next_message->{key}{id}, 1000, 'a client that resumes gets no rows');
sql('BEGIN', 'ALTER TABLE items DISABLE TRIGGER ALL', 'DELETE FROM items WHERE id > 100', 'ALTER TABLE items ENABLE TRIGGER ALL', 'COMMIT');
ok($resumed->next_message('reset'), 'changes without events');
is(scalar @{ (snapshot($resumed))[0] }, sql('SELECT count(*) FROM items'), 'and the rows again');

# A large snapshot to a client that does not read: no transaction waits for it.
sql("INSERT INTO items SELECT i, 0, repeat('x', 500) FROM generate_series(10001, 30000) AS i");
my $slow = user(1);
$slow->subscribe('items', snapshot => \1);
$slow->stop_reading;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND backend_xmin IS NOT NULL})
  or fail('a snapshot keeps its transaction');
my $beside = user(1);
$beside->subscribe('parts', snapshot => \1);
is(scalar @{ (snapshot($beside))[0] }, 2, 'others get theirs');
sql("DELETE FROM items WHERE id = 10001");
$slow->start_reading;
is(scalar @{ (snapshot($slow))[0] }, sql('SELECT count(*) + 1 FROM items'), 'all rows come when it reads');
is($slow->next_event->{key}{id}, 10001, 'and then the event');

done_testing();
