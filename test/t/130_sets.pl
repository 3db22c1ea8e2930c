# Which rows clients get: row security by claims and memberships, filters, columns; live, in replays and
# for clients that lag; after changes of policies and memberships; and policies that fail.
use strict;
use warnings;

use Mojo::JSON qw(encode_json);
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['reader', 'partial'], conf => "pg_notifyd.client_buffer = '64kB'\n");

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE FUNCTION uid() RETURNS int LANGUAGE sql STABLE AS $$
		SELECT (current_setting('request.jwt.claims', true)::json->>'sub')::int $$;
	CREATE TABLE members (u int, tenant int, PRIMARY KEY (u, tenant));
	CREATE TABLE orders (id int PRIMARY KEY, tenant int, owner int, status text DEFAULT 'new', price numeric, secret text);
	INSERT INTO members VALUES (1, 10), (2, 20);
	CREATE TABLE marks (id int PRIMARY KEY);
	GRANT SELECT ON orders, members, marks TO reader;
	GRANT SELECT ON marks TO partial;
	GRANT SELECT (id, status) ON orders TO partial;
	ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY members ON orders TO reader USING (tenant IN (SELECT tenant FROM members WHERE u = (SELECT uid())));
	CREATE POLICY partial ON orders TO partial USING (tenant = 10);
	SELECT notify_watch('orders');
	SELECT notify_watch('marks');
});

sub token { my ($sub, %claims) = @_; return notifyd_token({ role => 'reader', sub => "$sub", exp => time + 6000, %claims }); }
sub user { return notifyd_client($node, headers => { Authorization => 'Bearer ' . token(@_) }); }

# What has come of a channel up to now: every client also has a subscription of "marks", of which it
# gets an event after all others.
my $mark = 0;

sub brief
{
	my ($message) = @_;
	return 'reset' if exists $message->{reason};
	return 'error' if exists $message->{code};
	return substr($message->{op}, 0, 1) . ($message->{key} ? $message->{key}{id} : '') . ($message->{cause} ? '<' . substr($message->{cause}, 0, 1) : '');
}

sub seen
{
	my ($client, $until) = @_;
	my @events;
	while (1)
	{
		my $message = $client->next_message;
		if (($message->{channel} // '') eq 'marks')
		{
			return join ' ', @events if $message->{key}{id} == $until;
			next;
		}
		push @events, brief($message);
	}
}

# Execute the statements in one transaction, and compare what clients get of it.
sub gets
{
	my ($name, $statements, @pairs) = @_;
	$mark++;
	sql("BEGIN", @$statements, "COMMIT");
	sql("INSERT INTO marks VALUES ($mark)");
	while (my ($client, $expected) = splice @pairs, 0, 2)
	{
		is(seen($client, $mark), $expected, $name);
	}
}

sub subscribed
{
	my ($client, %params) = @_;
	$client->subscribe('orders', %params);
	$client->subscribe('marks');
	return $client;
}

my @all;
my $one = subscribed(user(1));
my $two = subscribed(user(2));
push @all, $one, $two;

gets('rows of two tenants', ["INSERT INTO orders VALUES (1, 10, 1, 'new', 5, 'CANARY-10'), (2, 20, 2, 'new', 5, 'CANARY-20')"],
	$one, 'I1', $two, 'I2');
gets('a row moves to the other tenant', ['UPDATE orders SET tenant = 20 WHERE id = 1'], $one, 'D1<U', $two, 'I1<U');
gets('and stays there', ["UPDATE orders SET status = 'paid' WHERE id = 1"], $one, '', $two, 'U1');
gets('back, with another key', ['UPDATE orders SET tenant = 10, id = 3 WHERE id = 1'], $one, 'I3<U', $two, 'D1<U');
gets('deletions', ['DELETE FROM orders WHERE id IN (2, 3)'], $one, 'D3', $two, 'D2');
gets('TRUNCATE goes to all', ['TRUNCATE orders', "INSERT INTO orders VALUES (4, 10, 1, 'x', 1, 's')"], $one, 'T I4', $two, 'T');
unlike(encode_json([ $one->events ]), qr/CANARY-20/, 'nothing of a hidden row is sent');
unlike(encode_json([ $two->events ]), qr/CANARY-10"[^}]*\}\s*,\s*"op":"INSERT"/, 'nor to the other');

# Memberships, in one transaction with a change, in both orders
gets('a membership, then a row', ['INSERT INTO members VALUES (1, 20)', "INSERT INTO orders VALUES (5, 20, 2, 'x', 1, 's')"],
	$one, 'reset I5', $two, 'I5');
gets('a row, then the end of the membership', ['UPDATE orders SET price = 2 WHERE id = 5', 'DELETE FROM members WHERE u = 1 AND tenant = 20'],
	$one, 'reset', $two, 'U5');
gets('the end of the membership, then a row', ['DELETE FROM members WHERE u = 2', 'UPDATE orders SET price = 3 WHERE id = 5'],
	$one, '', $two, 'reset');
gets('a membership comes back', ['INSERT INTO members VALUES (2, 20)', 'UPDATE orders SET price = 4 WHERE id = 5'],
	$one, '', $two, 'reset U5');

# The feed reads events while another session has written a membership, and computes memberships again
# only if their table has changed.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; INSERT INTO members VALUES (1, 20)');
gets("a membership that is not committed ($_)", ['UPDATE orders SET price = price + 1 WHERE id = 5'], $one, '', $two, 'U5') for 1 .. 3;
$session->query_safe('COMMIT');
gets('and is committed', ['UPDATE orders SET price = 4 WHERE id = 5'], $one, 'reset U5', $two, 'U5');
$session->query_safe('BEGIN; DELETE FROM members WHERE u = 1 AND tenant = 20');
gets("one that is deleted ($_)", ['UPDATE orders SET price = price + 1 WHERE id = 5'], $one, 'U5', $two, 'U5') for 1 .. 3;
$session->query_safe('COMMIT');
gets('and the deletion is committed', ['UPDATE orders SET price = 4 WHERE id = 5'], $one, 'reset', $two, 'U5');
$session->query_safe('BEGIN; INSERT INTO members VALUES (1, 20)');
gets('one that is never committed', ['UPDATE orders SET price = 4 WHERE id = 5'], $one, '', $two, 'U5');
$session->query_safe('ROLLBACK');
$session->quit;
gets('not even later', ['UPDATE orders SET price = 4 WHERE id = 5'], $one, '', $two, 'U5');
gets('no memberships', ['TRUNCATE members', 'UPDATE orders SET price = 4 WHERE id = 5'], $one, 'reset', $two, 'reset');
gets('the same memberships in a new file', ['INSERT INTO members VALUES (1, 10), (2, 20)', 'UPDATE orders SET price = 4 WHERE id = 5'],
	$one, 'reset', $two, 'reset U5');

# Filters
my $cheap = subscribed(user(2), filter => 'price=lt.10&status=in.(new,x)');
my $key = subscribed(user(2), filter => 'id=eq.6');
push @all, $cheap, $key;
gets('filters', [ "INSERT INTO orders VALUES (6, 20, 2, 'new', 50, 's'), (7, 20, 2, 'new', 5, 's'), (8, 10, 1, 'new', 5, 's')" ],
	$cheap, 'I7', $key, 'I6', $two, 'I6 I7');
gets('into and out of a filter', [ 'UPDATE orders SET price = 55 - price WHERE id IN (6, 7)' ],
	$cheap, 'I6<U D7<U', $key, 'U6', $two, 'U6 U7');
gets('a row that policy and filter hide', [ 'UPDATE orders SET tenant = 10 WHERE id = 6' ], $cheap, 'D6<U', $key, 'D6<U', $one, 'I8 I6<U', $two, 'D6<U');

for my $case (
	['an unknown column', 'nothing=eq.1', qr/nothing/],
	['a bad value', 'id=eq.x1y', qr/x1y|id/],
	['no filter', 'id', qr/./])
{
	my ($name, $filter, $message) = @$case;
	my $error = $two->call('subscribe', { channel => 'orders', tag => 'bad', filter => $filter })->{error};
	is($error->{code}, -32602, "$name is refused");
	like($error->{message}, $message, "$name is named");
}
my $partial = notifyd_client($node, headers => { Authorization => 'Bearer ' . token(9, role => 'partial') });
is($partial->call('subscribe', { channel => 'orders' })->{error}{code}, -32003, 'columns without privilege');
is($partial->call('subscribe', { channel => 'orders', columns => ['secret'] })->{error}{code}, -32003, 'a column without privilege');
is($partial->call('subscribe', { channel => 'orders', columns => ['id'], filter => 'secret=eq.s' })->{error}{message},
	'permission denied for column "secret" of table "orders"', 'a filter on a column without privilege');
is($partial->call('subscribe', { channel => 'orders', columns => ['none'] })->{error}{code}, -32602, 'a column that does not exist');

# Columns
my $narrow = subscribed(user(1), columns => ['status'], filter => 'status=eq.narrow');
$partial->subscribe('orders', columns => [ 'id', 'status' ]);
gets('columns', [ "INSERT INTO orders VALUES (9, 10, 1, 'narrow', 5, 'CANARY-9')" ], $narrow, 'I9');
is_deeply([ map { $_->{new} } grep { $_->{channel} eq 'orders' } $narrow->events ], [ { status => 'narrow' } ], 'only the columns that were asked for');
is_deeply($partial->next_event->{new}, { id => 9, status => 'narrow' }, 'privileges on these columns are enough');
unlike(encode_json([ $narrow->received, $partial->received ]), qr/CANARY/, 'the others are not on the wire');

# Replays
my $since = $one->ping->{position};
gets('while nobody replays', [
		"INSERT INTO orders VALUES (20, 10, 1, 'new', 5, 's'), (21, 20, 2, 'new', 5, 's')",
		'UPDATE orders SET tenant = 30 - tenant WHERE id IN (20, 21)',
		'UPDATE orders SET price = 50 WHERE id = 20',
		'DELETE FROM orders WHERE id IN (20, 21)' ],
	$one, 'I9 I20 D20<U I21<U D21', $two, 'I21 I20<U D21<U U20 D20', $cheap, 'I21 I20<U D21<U D20<U');
for my $case ([ 1, undef, 'I20 D20<U I21<U D21' ], [ 2, undef, 'I21 I20<U D21<U U20 D20' ], [ 2, 'price=lt.10', 'I21 I20<U D21<U D20<U' ])
{
	my ($sub, $filter, $expected) = @$case;
	my $client = user($sub);
	$client->subscribe('orders', since => $since, defined $filter ? (filter => $filter) : ());
	$client->subscribe('marks');
	sql('INSERT INTO marks VALUES (' . ++$mark . ')');
	my $got = seen($client, $mark);
	$got .= ($got ne '' ? ' ' : '') . seen_rest($client, $expected, $got) if $got ne $expected;
	is($got, $expected, "a replay of user $sub" . (defined $filter ? ' with a filter' : ''));
}

# The mark may overtake a replay: wait for the rest.
sub seen_rest
{
	my ($client, $expected, $got) = @_;
	my @events;
	while (join(' ', grep { $_ ne '' } $got, @events) ne $expected && @events < 10)
	{
		push @events, brief($client->next_message);
	}
	return join ' ', @events;
}

# A client that does not read gets the rest from the log, as a replay.
my $slow = user(1);
$slow->subscribe('orders', filter => 'id=gte.1000');
$slow->stop_reading;
sql(q{INSERT INTO orders SELECT i, CASE i % 2 WHEN 0 THEN 10 ELSE 20 END, 1, repeat('x', 500), 5, 'CANARY-' || i % 2 FROM generate_series(1000, 3999) i});
sql(q{UPDATE orders SET tenant = 30 - tenant WHERE id BETWEEN 3998 AND 3999});
sql(q{DELETE FROM orders WHERE id >= 1000 AND id < 3999});
$one->wait_for(sub { grep { $_->{op} eq 'DELETE' && $_->{key}{id} == 3996 } $one->events }, 'another client has all');
$slow->start_reading;
$slow->wait_for(sub { my @all = $slow->events; return @all && $all[-1]{op} eq 'DELETE' && $all[-1]{key}{id} == 3996 }, 'everything');
my @slow = map { brief($_) } $slow->events;
is_deeply(\@slow, [ (map { 'I' . 2 * $_ } 500 .. 1999), 'D3998<U', 'I3999<U', (map { 'D' . 2 * $_ } 500 .. 1998) ],
	'a client that lags gets its rows only');
unlike(encode_json([ $slow->received ]), qr/CANARY-1","id":(?!3999)/, 'and no other');
$slow->close;
sql('DELETE FROM orders WHERE id >= 1000');
sub drain { my ($client) = @_; $mark++; sql("INSERT INTO marks VALUES ($mark)"); return seen($client, $mark); }
drain($one);

# A token with other claims renews the identity: other rows.
my $renewed = subscribed(user(7, org => 1));
sql(q{CREATE POLICY org ON orders TO reader USING (owner = (current_setting('request.jwt.claims', true)::json->>'org')::int + 100)});
gets('claims of the token', [ "INSERT INTO orders VALUES (50, 90, 101, 'new', 5, 's'), (51, 90, 102, 'new', 5, 's')" ], $renewed, 'reset I50');
$renewed->call('auth', { token => token(7, org => 2) });
gets('claims of the next token', [ 'UPDATE orders SET price = 6 WHERE id IN (50, 51)' ], $renewed, 'reset U51');
sql('DROP POLICY org ON orders');

# Columns that were renamed: an old event has the names of then.
$since = $one->ping->{position};
sql(q{INSERT INTO orders VALUES (60, 10, 1, 'CANARY-NAME', 5, 's')});
sql('ALTER TABLE orders RENAME COLUMN status TO hidden', 'ALTER TABLE orders RENAME COLUMN owner TO status',
	'REVOKE SELECT (status, hidden) ON orders FROM partial', 'GRANT SELECT (status) ON orders TO partial');
my $names = notifyd_client($node, headers => { Authorization => 'Bearer ' . token(9, role => 'partial') });
$names->subscribe('orders', columns => [ 'id', 'status' ], since => $since);
sql(q{INSERT INTO orders VALUES (61, 10, 7, 'x', 5, 's')});
is_deeply($names->next_event->{new}, { id => 61, status => 7 }, 'an event with another column of that name is not sent');
sql('ALTER TABLE orders RENAME COLUMN status TO owner', 'ALTER TABLE orders RENAME COLUMN hidden TO status');
drain($one);

# Messages and other tables of the channel
sql(q{CREATE TABLE notes (id int PRIMARY KEY, note text, owner date)}, q{GRANT SELECT ON notes TO reader},
	q{SELECT notify_grant('orders', 'reader')}, q{SELECT notify_watch('notes', channel => 'orders')});
# The filter is not about notes, which have no price; so its value need not fit their owner.
my $both = subscribed(user(1), filter => 'owner=eq.1&price=eq.77');
my $noted = subscribed(user(1), filter => 'note=eq.n');
my $payload = subscribed(user(1), filter => 'payload->>kind=eq.news', ops => ['MESSAGE']);
gets('filters, messages and other tables', [
		q{SELECT notify_send('orders', '{"kind": "news"}')}, q{SELECT notify_send('orders', '{"kind": "other"}')},
		q{INSERT INTO notes VALUES (1, 'n')}, q{INSERT INTO orders VALUES (70, 10, 1, 'x', 77, 's'), (71, 10, 1, 'x', 7, 's')} ],
	$both, 'I1 I70', $noted, 'I1 I70 I71', $payload, 'M', $one, 'M M I1 I70 I71');
like(user(1)->call('subscribe', { channel => 'orders', filter => 'tenant=eq.1&note=eq.n' })->{error}{message},
	qr/^no table of the channel has all columns of the filter; in table "\w+", column "\w+" does not exist$/, 'columns of two tables');

# Old events of tables that are no longer watched on the channel
$since = $one->ping->{position};
for my $table (qw(first second third))
{
	sql("CREATE TABLE $table (id int PRIMARY KEY, price int)", "GRANT SELECT ON $table TO reader",
		"SELECT notify_watch('$table', channel => 'three')", "INSERT INTO $table VALUES (1, 77), (2, 7)");
}
sql(q{SELECT notify_unwatch('first'), notify_unwatch('second')});
my $three = user(1);
$three->subscribe('three', filter => 'price=eq.77', since => $since);
is(join(' ', map { $_->{table} // 'reset' } map { $three->next_message } 1 .. 5), 'first second third reset reset',
	'old events of tables that are no longer watched');

# Policies
sql('CREATE POLICY cheap ON orders AS RESTRICTIVE TO reader USING (price < 10)');
gets('a policy is added', [ "INSERT INTO orders VALUES (30, 10, 1, 'new', 5, 's'), (31, 10, 1, 'new', 50, 's')" ], $one, 'reset I30');
sql('DROP POLICY cheap ON orders');
gets('and dropped', [ 'UPDATE orders SET price = 51 WHERE id = 31' ], $one, 'reset U31');
sql('ALTER TABLE orders DISABLE ROW LEVEL SECURITY');
gets('row security is switched off', [ "INSERT INTO orders VALUES (32, 30, 1, 'new', 5, 's')" ], $one, 'reset I32');
sql('ALTER TABLE orders ENABLE ROW LEVEL SECURITY');
gets('and on', [ "INSERT INTO orders VALUES (33, 30, 1, 'new', 5, 's'), (34, 10, 1, 'new', 5, 's')" ], $one, 'reset I34');

my $static = subscribed(notifyd_client($node, headers => { Authorization => 'Bearer ' . token(9, role => 'partial') }), columns => ['id']);
gets('a policy of constants', [ "INSERT INTO orders VALUES (35, 10, 1, 'new', 5, 's'), (36, 20, 1, 'new', 5, 's')" ], $static, 'I35', $one, 'I35');
sql('ALTER POLICY partial ON orders USING (tenant = 20)');
gets('is altered', [ 'UPDATE orders SET price = 7 WHERE id IN (35, 36)' ], $static, 'reset U36', $one, 'U35');

sql('ALTER POLICY partial ON orders USING (true)');
gets('is no limit', [ 'UPDATE orders SET price = 8 WHERE id = 35' ], $static, 'reset U35', $one, 'U35');
sql('ALTER TABLE orders DISABLE ROW LEVEL SECURITY');
gets('and not used', [ 'UPDATE orders SET price = 9 WHERE id = 35' ], $static, 'U35', $one, 'reset U35');
sql('ALTER TABLE orders ENABLE ROW LEVEL SECURITY');
gets('and used again', [ 'UPDATE orders SET price = 10 WHERE id = 35' ], $static, 'U35', $one, 'reset U35');
my $filtered = subscribed(user(1), filter => 'price=eq.11');
sql('ALTER TABLE orders ADD COLUMN note text');
gets('columns are added', [ 'UPDATE orders SET price = 11 WHERE id = 35' ], $static, 'U35', $one, 'U35', $filtered, 'I35<U');
push @all, $filtered;

# Conditions on the present time: the feed is older than the rows.
sql(q{CREATE TABLE posts (id int PRIMARY KEY, since timestamptz, until timestamptz)}, q{GRANT SELECT ON posts TO reader},
	q{ALTER TABLE posts ENABLE ROW LEVEL SECURITY}, q{SELECT notify_watch('posts', channel => 'posts')},
	q{CREATE POLICY present ON posts TO reader USING (since <= now() AND (until IS NULL OR until > statement_timestamp()))});
my $present = user(1);
$present->subscribe('posts');
$present->subscribe('marks');
gets('the time in a policy is that of the event', [
		'INSERT INTO posts VALUES (1, clock_timestamp(), NULL)',
		"INSERT INTO posts VALUES (2, '-infinity', clock_timestamp())",
		"INSERT INTO posts VALUES (3, clock_timestamp() + interval '1 hour', NULL)" ],
	$present, 'I1');
sql('ALTER POLICY present ON posts USING (since >= (SELECT current_timestamp))');
gets('and in a sub-select', [
		'INSERT INTO posts VALUES (4, clock_timestamp(), NULL)',
		"INSERT INTO posts VALUES (5, clock_timestamp() + interval '1 hour', NULL)" ],
	$present, 'reset I5');

# A membership that begins by itself: its table does not change.
sql('CREATE TABLE grants (post int, start timestamptz)', 'GRANT SELECT ON grants TO reader',
	"INSERT INTO grants VALUES (6, clock_timestamp() + interval '300 ms')",
	'ALTER POLICY present ON posts USING (id IN (SELECT post FROM grants WHERE start <= now()))');
drain($present);
$node->poll_query_until('postgres', 'SELECT clock_timestamp() > start FROM grants');
sql('INSERT INTO posts VALUES (6, NULL, NULL)');
$mark++;
sql("INSERT INTO marks VALUES ($mark)");
like(seen($present, $mark), qr/^(reset )?I6$/, 'time passes for a sub-select, too');

# A policy that fails for one user, in the row's evaluation or when it is bound
sql(q{
	CREATE FUNCTION trap(t int) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
	BEGIN
		IF uid() = 3 THEN RAISE EXCEPTION 'CANARY-TRAP %', t; END IF;
		IF uid() = 4 THEN PERFORM pg_sleep(100); END IF;
		IF uid() = 5 THEN LOOP END LOOP; END IF;
		RETURN true;
	END $$;
	CREATE POLICY trap ON orders AS RESTRICTIVE TO reader USING (trap(tenant));
	INSERT INTO members SELECT u, 10 FROM generate_series(3, 5) u ON CONFLICT DO NOTHING;
});
my %bad = map { $_ => subscribed(user($_)) } 3 .. 5;
sql("INSERT INTO orders VALUES (40, 10, 1, 'new', 5, 's')");
my $healthy;
do { $healthy = $one->next_message('event') } until $healthy->{channel} eq 'orders';
is($healthy->{key}{id}, 40, 'healthy beside failing policies');
for my $sub (3 .. 5)
{
	my $error = $bad{$sub}->next_message('error');
	is($error->{code}, -32003, "user $sub: the subscription ends");
	like($error->{message}, qr/"orders"/, "user $sub: the error names the table");
	unlike(encode_json([ $bad{$sub}->received ]), qr/CANARY|"id":40/, "user $sub: and nothing else");
}
my $log = slurp_file($node->logfile);
like($log, qr/LOG:  pg_notifyd: row security of table "orders" raised an error \(SQLSTATE P0001\)\n.*DETAIL:  CANARY-TRAP 10\n.*CONTEXT:  role "reader", subject "3"\n/, 'the log says more');
like($log, qr/took too long\n.*DETAIL:  It is canceled after 250 ms, .*\n.*CONTEXT:  role "reader", subject "[45]"\n/, 'also of what took too long');
gets('it goes on', [ "INSERT INTO orders VALUES (41, 10, 1, 'new', 5, 's')" ], $one, 'I41');

# Changes that no event of the channel follows
sql('DROP POLICY trap ON orders');
my $quiet = user(2);
$quiet->subscribe('orders');
sql('INSERT INTO members VALUES (2, 30)');
is($quiet->next_message('reset')->{channel}, 'orders', 'a membership alone resets');
sql('ALTER POLICY members ON orders USING (tenant = 20)');
is($quiet->next_message('reset')->{channel}, 'orders', 'and so does a policy');

$_->close for @all;
done_testing();
