# Where the rows of a snapshot and the events meet: transactions of all kinds that are open when the snapshot is taken,
# with transaction ids beyond 32 bits; what changes the table meanwhile; several snapshots of one connection.
use strict;
use warnings;

use IPC::Run;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'a secret of at least thirty-two bytes';
my $node = notifyd_node('main', start => 0, init => { allows_streaming => 1 }, conf => <<"EOC");
pg_notifyd.jwt_secret = '$secret'
pg_notifyd.authenticator_role = 'authenticator'
pg_notifyd.client_buffer = '64kB'
max_prepared_transactions = 5
EOC
# Transaction ids of the seventh epoch
PostgreSQL::Test::Utils::system_or_bail('pg_resetwal', '-e', 7, '-D', $node->data_dir);
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE guest; CREATE EXTENSION pg_notifyd');
wait_healthy($node);

sub sql { return $node->safe_psql('postgres', join ';', @_); }
sub background { my (@commands) = @_; my $session = $node->background_psql('postgres'); $session->query_safe($_) for @commands; return $session; }

sql(q{
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE reader;
	GRANT reader TO authenticator;
	CREATE TABLE items (id int PRIMARY KEY, name text);
	INSERT INTO items SELECT i, 'old' FROM generate_series(1, 3) AS i;
	GRANT SELECT ON items TO reader;
	CREATE TABLE unwatched (id int);
	SELECT notify_watch('items');
});
cmp_ok(sql('SELECT pg_current_xact_id()'), '>', 7 * 2**32, 'transaction ids beyond 32 bits');

sub user { return notifyd_client($node, headers => { Authorization => 'Bearer ' . notifyd_token({ role => 'reader', sub => 'x', exp => time + 6000 }, $secret) }); }

# The rows that a client keeps by the rules, from all that it has got; dies if an event does not fit to them.
sub set_of
{
	my ($client, $tag) = @_;
	my %set;
	for my $message ($client->received)
	{
		my $params = $message->{params} or next;
		next if defined $tag and ($params->{tag} // '') ne $tag;
		%set = () if $message->{method} eq 'reset' or ($params->{op} // '') eq 'TRUNCATE';
		if ($message->{method} eq 'rows') { $set{ $_->{id} } = $_->{name} for @{ $params->{rows} }; next; }
		next if $message->{method} ne 'event' or $params->{op} eq 'TRUNCATE';
		my $id = $params->{key}{id};
		die "$params->{op} $id" if exists $set{$id} xor $params->{op} ne 'INSERT';
		$params->{op} eq 'DELETE' ? delete $set{$id} : ($set{$id} = $params->{new}{name});
	}
	return join ' ', map { "$_=$set{$_}" } sort { $a <=> $b } keys %set;
}

sub subscribed
{
	my (%params) = @_;
	my $client = user();
	$client->subscribe('items', snapshot => \1, %params);
	return whole($client);
}

# Wait for the end of a snapshot.
sub whole { my ($client) = @_; 1 until $client->next_message('rows')->{done}; return $client; }

my $last = 0;
# Whether the clients have what the table has.
sub agree
{
	my ($what, @clients) = @_;
	my $id = --$last;
	sql("INSERT INTO items VALUES ($id, 'last')");
	my $table = sql(q{SELECT string_agg(id || '=' || name, ' ' ORDER BY id) FROM items});
	for my $client (@clients)
	{
		$client->wait_for(sub { grep { ($_->{key}{id} // 0) == $id } $client->events }, 'the last event');
		my $set = eval { set_of($client) } // "wrong: $@";
		is(substr($set, 0, 300), substr($table, 0, 300), $what);
		ok($set eq $table, "$what: all of it") if length $table > 300;
	}
	return;
}

# Transactions that are open when the snapshot is taken
my @open = (
	background('BEGIN', q{INSERT INTO items VALUES (10, 'plain')}, q{UPDATE items SET name = 'plain' WHERE id = 1}),
	background('BEGIN', 'SAVEPOINT a', q{INSERT INTO items VALUES (20, 'released')}, 'SAVEPOINT b', q{INSERT INTO items VALUES (21, 'nested')},
		'RELEASE b', 'RELEASE a', 'SAVEPOINT c', q{INSERT INTO items VALUES (22, 'rolled back')}, 'ROLLBACK TO c', q{INSERT INTO items VALUES (23, 'again')}),
	background('BEGIN', q{INSERT INTO items SELECT i, repeat('large', 100) FROM generate_series(1000, 5999) AS i}),
);
# A prepared transaction cannot have events, but its id is among those that the snapshot does not see.
sql('BEGIN', 'INSERT INTO unwatched VALUES (1)', q{PREPARE TRANSACTION 'p'});
sql(q{INSERT INTO items VALUES (40, 'committed')}, q{INSERT INTO items SELECT i, repeat('large', 100) FROM generate_series(10000, 14999) AS i});
my $before = subscribed();
is((split / /, set_of($before))[3], '40=committed', 'rows of open transactions are not in the snapshot');
is(scalar(split / /, set_of($before)), 5004, 'those of committed ones are, a large transaction, too');
$open[2]->query_safe('COMMIT');
my $amid = subscribed();
sql(q{COMMIT PREPARED 'p'});
$open[1]->query_safe('COMMIT');
my $late = subscribed();
$open[0]->query_safe('COMMIT');
$_->quit for @open;
agree('open transactions', $before, $amid, $late, subscribed());

# Commits that take long after their events have got ids: clients that begin meanwhile get positions inside the snapshot.
sql('TRUNCATE items', 'ALTER SYSTEM SET fsync = on', 'ALTER SYSTEM SET commit_delay = 100000', 'ALTER SYSTEM SET commit_siblings = 0', 'SELECT pg_reload_conf()');
$node->poll_query_until('postgres', q{SELECT current_setting('commit_siblings') = '0'});
my $script = PostgreSQL::Test::Utils::tempdir() . '/write.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'EOS');
\set id random(1, 40)
\set size random(1, 5) / 5 * 20000
BEGIN;
INSERT INTO items VALUES (:id, 'a') ON CONFLICT (id) DO UPDATE SET name = left(items.name, 10) || 'b' || repeat('x', :size);
DELETE FROM items WHERE id = :id + 1;
INSERT INTO items VALUES (:id + 2, 'c') ON CONFLICT (id) DO UPDATE SET name = 'd';
COMMIT;
EOS
my ($in, $out, $err) = ('', '', '');
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', 6, '-t', 15, '--max-tries=100', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'<', \$in, '>', \$out, '2>', \$err);
my @begun;
push @begun, subscribed() while $writers->pumpable && @begun < 30;
$writers->finish or diag($err);
agree("during commits, client $_", $begun[$_]) for 0 .. $#begun;
my @inside = grep { ($_->{position} // '') =~ /s$/ } map { $_->events } @begun;
cmp_ok(scalar @inside, '>', 0, 'some events are inside a snapshot');
my ($cut) = $inside[0]{position};
my $resumed = user();
$resumed->subscribe('items', snapshot => \1, since => $cut);
agree('a client that resumes from such a position', whole($resumed));
sql('ALTER SYSTEM RESET fsync', 'ALTER SYSTEM RESET commit_delay', 'SELECT pg_reload_conf()');

# Commands that change the whole table while clients begin
sub between
{
	my ($what, @commands) = @_;
	my $client = user();
	my $session = background('BEGIN', @commands);
	$client->send({ id => 1, method => 'subscribe', params => { channel => 'items', snapshot => \1 } });
	$client->wait_for(sub { sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND wait_event_type = 'Lock'}) eq '1' }, "$what: the snapshot waits");
	$session->query_safe('COMMIT');
	$session->quit;
	agree("$what while a snapshot begins", whole($client));
	is(scalar(grep { $_->{op} eq 'TRUNCATE' } $client->events), 0, "$what: its event is not sent after the rows");
	return;
}
between('TRUNCATE', 'TRUNCATE items', q{INSERT INTO items VALUES (50, 'after TRUNCATE')});
between('a new column', 'ALTER TABLE items ADD COLUMN more int DEFAULT 7', q{INSERT INTO items VALUES (51, 'more')});
between('a rewrite', 'ALTER TABLE items ALTER COLUMN more TYPE bigint', q{UPDATE items SET more = 8});

# The same while the rows wait for a slow client
sql(q{INSERT INTO items SELECT i, repeat('x', 500) FROM generate_series(20000, 39999) AS i});
my $spooled = q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND (state <> 'idle' OR backend_xmin IS NOT NULL)};
for my $command (q{UPDATE items SET name = 'changed' WHERE id = 20001}, 'ALTER TABLE items DROP COLUMN more', 'TRUNCATE items')
{
	my $slow = user();
	$slow->subscribe('items', snapshot => \1);
	$slow->stop_reading;
	wait_for(sub { sql($spooled) eq 't' }, 'the rows are read');
	sql($command, q{DELETE FROM items WHERE id = 20000}, q{INSERT INTO items VALUES (20000, 'new')});
	$slow->start_reading;
	agree("$command while rows wait", $slow);
}
sql(q{INSERT INTO items SELECT i, repeat('x', 500) FROM generate_series(50000, 59999) AS i});

# A connection that is lost within a snapshot
my $lost = user();
my $position = $lost->subscribe('items', snapshot => \1)->{position};
$lost->next_message('rows');
$lost->close;
my $back = user();
$back->subscribe('items', snapshot => \1, since => $position);
is($back->next_message->{reason}, 'the connection ended before the snapshot was complete', 'a client that comes back is told why');
agree('a client that comes back', whole($back));
$position =~ s/-.*/-0/;
$back = user();
$back->subscribe('items', snapshot => \1, since => $position);
ok($back->next_message->{reason}, 'the position of a client that is closed within a snapshot leads to a reset');
agree('a client that was closed', whole($back));

# Several subscriptions of one connection, each with its own snapshot
sql('DELETE FROM items WHERE id >= 1000', 'DELETE FROM items WHERE id < 0', q{INSERT INTO items SELECT i, 'n' || i FROM generate_series(100, 120) AS i});
my $many = user();
my %filters = (low => 'id=lt.105', high => 'id=gte.105', even => 'id=in.(100,102,104)', named => 'name=eq.n110');
for my $tag (sort keys %filters)
{
	$many->send({ id => $tag, method => 'subscribe', params => { channel => 'items', snapshot => \1, filter => $filters{$tag}, tag => $tag } });
}
$many->wait_for(sub { 4 == grep { ($_->{method} // '') eq 'rows' && $_->{params}{done} } $many->received }, 'all snapshots');
sql(q{UPDATE items SET name = 'n110' WHERE id = 104}, q{DELETE FROM items WHERE id = 110}, q{INSERT INTO items VALUES (121, 'n110')});
my %where = (low => 'id < 105', high => 'id >= 105', even => 'id IN (100, 102, 104)', named => q{name = 'n110'});
$many->wait_for(sub { 2 <= grep { $_->{key}{id} == 121 } $many->events }, 'the last event of two sets');
for my $tag (sort keys %where)
{
	is(set_of($many, $tag), sql("SELECT string_agg(id || '=' || name, ' ' ORDER BY id) FROM items WHERE $where{$tag}"), "its own rows and events: $tag");
}

# Channels with several tables, with none, and with one that is gone in the end
sql('CREATE TABLE others (a int, b text, PRIMARY KEY (b, a))', q{INSERT INTO others VALUES (1, 'x'), (2, 'y')}, 'GRANT SELECT ON others TO reader',
	q{SELECT notify_watch('others', channel => 'both'), notify_watch('items', channel => 'both')}, q{SELECT notify_grant('news', 'reader')});
sub parts
{
	my ($channel) = @_;
	my $client = user();
	$client->subscribe($channel, snapshot => \1);
	whole($client);
	my @parts = map { $_->{params} } grep { ($_->{method} // '') eq 'rows' } $client->received;
	return join ' ', map { ($_->{table} // 'end') . '(' . join(',', @{ $_->{key} // [] }) . ')' . @{ $_->{rows} } } @parts;
}
my $count = sql('SELECT count(*) FROM items');
is(join(' ', sort split / /, parts('both')), "end()0 items(id)$count others(b,a)2", 'a channel with two tables');
is(parts('news'), 'end()0', 'a channel without tables');
my $gone = background('SET client_min_messages = warning', 'BEGIN', 'DROP TABLE others');
my $both = user();
$both->send({ id => 1, method => 'subscribe', params => { channel => 'both', snapshot => \1 } });
$both->wait_for(sub { sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND wait_event_type = 'Lock'}) eq '1' }, 'the snapshot waits');
$gone->query_safe('COMMIT');
$gone->quit;
whole($both);
is(scalar(grep { ($_->{params}{table} // '') eq 'others' } $both->received), 0, 'a table that is dropped while a snapshot begins');
sql(q{SELECT notify_unwatch('items', 'both')});

# A limit is one of the rows, and not of the events.
my $limited = user();
$limited->subscribe('items', snapshot => { order => 'id.desc', limit => 2 });
whole($limited);
is(set_of($limited), sql(q{SELECT string_agg(id || '=' || name, ' ' ORDER BY id) FROM (SELECT * FROM items ORDER BY id DESC LIMIT 2) AS i}), 'the first rows in the order');
sql(q{INSERT INTO items VALUES (99, 'behind')}, 'DELETE FROM items WHERE id = 99', q{UPDATE items SET name = 'not sent' WHERE id = 100});
is(join(' ', map { "$_->{op}$_->{key}{id}" } $limited->next_events(3)), 'INSERT99 DELETE99 UPDATE100', 'and the changes of all');

# Operators of the table's own that have the names of PostgreSQL's
sql('CREATE SCHEMA own', 'CREATE FUNCTION own.always(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$SELECT true$$',
	'CREATE OPERATOR own.= (LEFTARG = int, RIGHTARG = int, FUNCTION = own.always)', 'GRANT USAGE ON SCHEMA own TO PUBLIC',
	'ALTER ROLE authenticator SET search_path = own, public, pg_catalog', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'});
is(set_of(subscribed(filter => 'id=eq.101')), '101=n101', 'operators of a filter are those of PostgreSQL, whatever the search_path is');
sql('ALTER ROLE authenticator RESET search_path');

# Rows must be as safe as events.
sql(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'}, 'SELECT pg_reload_conf()');
$node->poll_query_until('postgres', 'SHOW synchronous_standby_names', 'nobody');
sql('SET synchronous_commit = local', q{INSERT INTO items VALUES (60, 'not confirmed')});
my $unsafe = user();
$unsafe->send({ id => 1, method => 'subscribe', params => { channel => 'items', snapshot => \1 } });
$unsafe->wait_for(sub { sql(q{SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND state = 'active'}) eq 'Extension' }, 'the snapshot waits for a standby');
is(scalar $unsafe->received, 0, 'the client gets no rows that a standby has not confirmed');
sql('SET synchronous_commit = local', 'ALTER SYSTEM RESET synchronous_standby_names', 'SELECT pg_reload_conf()');
agree('after that', whole($unsafe));

# Limits: time, and space for the rows of slow clients
sql(q{INSERT INTO items SELECT i, repeat('x', 500) FROM generate_series(100000, 119999) AS i},
	q{ALTER SYSTEM SET pg_notifyd.snapshot_timeout = '10ms'}, q{ALTER SYSTEM SET pg_notifyd.snapshot_spool_size = '4MB'}, 'SELECT pg_reload_conf()');
sub fails
{
	my $client = user();
	$client->send({ id => 1, method => 'subscribe', params => { channel => 'items', snapshot => \1 } });
	$client->stop_reading if $_[0];
	$client->wait_for(sub { sql($spooled) eq 't' }, 'the worker has read') if $_[0];
	$client->start_reading if $_[0];
	$client->wait_for(sub { grep { $_->{error} || ($_->{method} // '') eq 'error' || ($_->{params}{done}) } $client->received }, 'the end');
	my ($error) = map { $_->{error} // ($_->{method} eq 'error' ? $_->{params} : ()) } $client->received;
	return $error ? join ': ', $error->@{qw(code message)}, grep { defined } $error->{data}{hint} : 'done';
}
my $failed;
wait_for(sub { ($failed = fails()) ne 'done' }, 'a snapshot that takes too long');
like($failed, qr/^-32013: the query took too long: Subscribe with .* or increase pg_notifyd\.snapshot_timeout\.$/, 'the error says what to do');
sql('ALTER SYSTEM RESET pg_notifyd.snapshot_timeout', 'SELECT pg_reload_conf()');
wait_for(sub { ($failed = fails(1)) !~ /^-32013/ }, 'enough time');
is($failed, '-32012: too many rows wait for clients that are slow: Try again later, or ask for fewer rows.', 'and that more rows wait than may');
sql('ALTER SYSTEM RESET pg_notifyd.snapshot_spool_size', 'SELECT pg_reload_conf()');
my $workers = q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'};
sql(q{ALTER ROLE authenticator SET temp_file_limit = '1MB'}, $workers);
like($failed = fails(1), qr/^-32012: temporary file size exceeds temp_file_limit/, 'and a file that cannot be written to');
sql('ALTER ROLE authenticator RESET temp_file_limit', $workers);
agree('and then it goes on', whole(user_again()));
sub user_again { my $client; wait_for(sub { $client = user(); $client->subscribe('items', snapshot => \1); $client->stop_reading; wait_for(sub { sql($spooled) eq 't' }, 'read'); $client->start_reading; !grep { ($_->{method} // '') eq 'error' } $client->received }, 'again'); return $client; }

done_testing();
