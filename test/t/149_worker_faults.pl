# What happens to workers: they start, end, are killed, find no slot, run functions that never end. Each query is
# answered as documented, and meanwhile events, other clients and writers go on.
use strict;
use warnings;

use Mojo::UserAgent;
use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => [ 'member', 'leaver' ], conf => <<"EOC");
pg_notifyd.idle_timeout = '300ms'
pg_notifyd.statement_timeout = '1s'
restart_after_crash = on
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE SCHEMA app;
	GRANT USAGE ON SCHEMA app TO PUBLIC;
	CREATE TABLE orders (id serial PRIMARY KEY);
	GRANT SELECT ON orders TO member, leaver;
	SELECT notify_watch('orders');
	CREATE TABLE items (id int PRIMARY KEY, name text);
	INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) AS i;
	GRANT SELECT ON items TO member;
	SELECT notify_watch('items');
	CREATE TABLE slow (id int);
	GRANT INSERT ON slow TO member;
	CREATE FUNCTION app.slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
	CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.slowly();
	CREATE FUNCTION app.at_commit() RETURNS void LANGUAGE sql AS 'INSERT INTO slow VALUES (1)';
	CREATE FUNCTION app.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION app.pid() RETURNS int LANGUAGE sql AS 'SELECT pg_backend_pid()';
	CREATE FUNCTION app.sleep(s float8) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(s); RETURN 'slept'; END$$;
	CREATE FUNCTION app.loop() RETURNS void LANGUAGE plpgsql AS 'BEGIN LOOP END LOOP; END';
	CREATE FUNCTION app.stubborn() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN LOOP BEGIN LOOP END LOOP; EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;
	CREATE FUNCTION app.lock() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN LOCK TABLE orders; END';
	CREATE FUNCTION app.write() RETURNS int LANGUAGE plpgsql STABLE AS $$
		BEGIN PERFORM set_config('transaction_read_only', 'off', true); INSERT INTO slow VALUES (1); RETURN 1; END $$;
	CREATE FUNCTION app.setting(name text) RETURNS text LANGUAGE sql AS 'SELECT current_setting(''pg_notifyd.'' || name)';
	CREATE FUNCTION app.leave() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT pg_terminate_backend(pg_backend_pid())';
	SELECT notify_expose(oid::regprocedure) FROM pg_proc WHERE pronamespace = 'app'::regnamespace AND proname <> 'slowly';
});

my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'};
my $busy = "$workers AND state = 'active'";

sub user { my ($role) = @_; return notifyd_client($node, headers => { notifyd_bearer($role // 'member', 1) }); }

sub said { my ($answer) = @_; return exists $answer->{result} ? $answer->{result} // 'null' : "$answer->{error}{code}: $answer->{error}{message}"; }
sub calls { my ($client, $name, @args) = @_; return said($client->call('call', { name => $name, args => [@args] })); }

# Ask without waiting for the answer, and later wait for it.
my $asked = 0;
sub ask { my ($client, $name, @args) = @_; $client->send({ id => 'a' . ++$asked, method => 'call', params => { name => $name, args => [@args] } }); return "a$asked"; }
sub answer
{
	my ($client, $id) = @_;
	my $answer;
	$client->wait_for(sub { ($answer) = grep { ($_->{id} // '') eq $id } $client->received; $answer }, "answer $id");
	return said($answer);
}

my $client = user();

# Change a setting, and wait until workers have it.
sub setting
{
	my ($name, $value) = @_;
	sql("ALTER SYSTEM SET pg_notifyd.$name = '$value'", 'SELECT pg_reload_conf()');
	wait_for(sub { calls($client, 'setting', $name) eq $value }, "$name $value") if $name =~ /timeout/;
	return;
}

# Wait until a query has this result.
sub becomes { my ($query, $value, $what) = @_; return ok(wait_for(sub { sql($query) eq $value }, $what), $what); }

my $watcher = user();
$watcher->subscribe('orders');
my $inserted = 0;

# Another session commits, and a client of another channel gets the event.
sub undisturbed
{
	my ($what) = @_;
	my $id = $node->safe_psql('postgres', 'INSERT INTO orders DEFAULT VALUES RETURNING id');
	return is($watcher->next_event->{key}{id}, $id, "$what: writers and events go on");
}

# Workers start when they are needed, and end.
is(sql($workers), 0, 'no worker without queries');
is(calls($client, 'one'), 1, 'a query starts one');
becomes($workers, 0, 'which ends when it has been idle');
is(join(' ', map { calls($client, 'one') } 1 .. 50), join(' ', (1) x 50), 'queries while workers come and go');
setting('idle_timeout', '1ms');
is(join(' ', map { calls($client, 'one') } 1 .. 50), join(' ', (1) x 50), 'also if each ends at once');
setting('idle_timeout', '1min');

# Their number changes with a reload. A query that runs is not ended by it.
setting('statement_timeout', '5min');
my @clients = map { user() } 1 .. 4;
my @ids = map { ask($_, 'sleep', 200) } @clients;
becomes($busy, 2, 'two workers by default');
becomes(q{SELECT DISTINCT query FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'}, 'call of "sleep" as role "member"', 'pg_stat_activity shows what they run');
undisturbed('a busy pool');
setting('query_workers', 3);
becomes($busy, 3, 'and one more after a reload');
$_->close for splice @clients, 0, 4;
becomes($busy, 0, 'their clients leave');
setting('query_workers', 0);
wait_for(sub { calls($client, 'one') eq '-32011: queries are disabled by pg_notifyd.query_workers' }, 'no workers');
my $ua = Mojo::UserAgent->new;
my $http = 'http://127.0.0.1:' . notifyd_port($node);
my $res = $ua->post("$http/rpc/one" => { notifyd_bearer('member', 1) })->res;
is($res->code . ' ' . $res->headers->header('Retry-After'), '503 1', 'the same by HTTP');
undisturbed('no workers');
setting('query_workers', 2);
wait_for(sub { calls($client, 'one') eq '1' }, 'workers again');

# A request that reads
$res = $ua->get("$http/rpc/write" => { notifyd_bearer('member', 1) })->res;
like($res->body, qr/transaction read-write mode must be set before any query/, 'a request that reads cannot begin to write');

# Functions that never end
setting('statement_timeout', '500ms');
for my $name (qw(sleep loop stubborn lock at_commit))
{
	my $writer = $node->background_psql('postgres');
	$writer->query_safe('BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE') if $name eq 'lock';
	my $id = ask($client, $name, $name eq 'sleep' ? 100 : ());
	becomes($busy, 1, $name) if $name ne 'lock';
	undisturbed($name) if $name ne 'lock';
	is(answer($client, $id), '-32013: the query took too long', "$name: is ended");
	undisturbed($name);
	$writer->quit;
}
setting('statement_timeout', '5min');

# A full pool
@clients = map { user() } 1 .. 66;
@ids = map { ask($_, 'sleep', 200) } @clients[0, 1];
becomes($busy, 2, 'the pool is busy');
for my $n (2 .. $#clients) { ask($clients[$n], 'one') for 1 .. 16; }
my $refused;
wait_for(sub { ($refused) = grep { $_->{error} } map { $_->received } @clients; $refused }, 'too many wait');
is(said($refused), '-32011: too many queries wait for a worker', 'what they get');
$res = $ua->post("$http/rpc/one" => { notifyd_bearer('member', 1) })->res;
is($res->code . ' ' . $res->headers->header('Retry-After'), '503 1', 'the same by HTTP');
undisturbed('a full pool');
# The requests arrive in any order, so any of the clients may be the one that was refused.
wait_for(sub { grep { said($_) eq '-32011: no worker was free for too long' } map { $_->received } @clients }, 'others wait for too long');
undisturbed('a pool that stays full');
$_->close for @clients;
becomes($busy, 0, 'all leave');
is(calls($client, 'one'), 1, 'and the pool is free');

# Workers that are terminated
my $id = ask($client, 'sleep', 200);
becomes($busy, 1, 'a query runs');
my $terminate = q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'};
sql($terminate);
is(answer($client, $id), '-32603: the worker was terminated', 'a worker is terminated in a query');
undisturbed('a terminated worker');
$id = ask($client, 'sleep', 200);
becomes($busy, 1, 'another query runs');
sql($terminate =~ s/terminate/cancel/r);
is(answer($client, $id), '-32603: canceling statement due to user request', 'and is cancelled by an administrator');
is(calls($client, 'leave'), '-32603: the worker was terminated', 'a function terminates its worker');
is(calls($client, 'one'), 1, 'another worker goes on');

my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE items');
my $rows = user();
$rows->send({ id => 1, method => 'subscribe', params => { channel => 'items', snapshot => { order => 'id' } } });
becomes($busy, 1, 'a snapshot waits');
like($rows->ping->{position}, qr/^\d+-\d+s$/, 'a position while it is not complete is inside of it');
sql($terminate);
$lock->query_safe('COMMIT');
$lock->quit;
sub whole
{
	my ($reader) = @_;
	my ($n, $part) = (0);
	do { $part = $reader->next_message; $n = ($part->{reason} ? 0 : $n) + @{ $part->{rows} // [] }; } until $part->{done};
	return $n;
}
is(whole($rows), 20000, 'a snapshot of a worker that was terminated begins again');
undisturbed('a terminated snapshot');
$lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE items');
$rows = user();
$rows->send({ id => 1, method => 'subscribe', params => { channel => 'items', snapshot => \1 } });
becomes($busy, 1, 'another snapshot waits');
my $feed = q{SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'};
my $ended = sql($feed);
sql("SELECT pg_terminate_backend($ended)");
wait_for(sub { my $pid = sql($feed); $pid != 0 && $pid != $ended }, 'another feed');
$lock->query_safe('COMMIT');
$lock->quit;
is(whole($rows), 20000, 'a snapshot during which the feed is terminated is complete, too');
sql('DELETE FROM items WHERE id = 20000', "INSERT INTO items VALUES (20000, '')");
is(join(' ', map { "$_->{op}$_->{key}{id}" } $rows->next_events(2)), 'DELETE20000 INSERT20000', 'and the stream follows');
undisturbed('a terminated feed');
my $slow = user();
$slow->subscribe('items', snapshot => \1);
$slow->stop_reading;
becomes($busy, 0, 'the rows for a slow client have been read');
sql($terminate);
becomes($workers, 0, 'and are lost with the worker');
$slow->start_reading;
is(whole($slow), 20000, 'which begins again, too');
is(scalar(grep { $_->{method} // '' eq 'reset' and $_->{params}{reason} } $slow->received), 1, 'and says so');

# A role that is dropped while its query runs
my $leaver = user('leaver');
$leaver->subscribe('orders');
ask($leaver, 'sleep', 200);
becomes($busy, 1, 'a query runs');
sql('DROP OWNED BY leaver', 'DROP ROLE leaver');
is(($leaver->wait_closed)[0], 4401, 'its client is closed when its role is dropped');
becomes($busy, 0, 'and its query ends');
undisturbed('a dropped role');

# A crash restarts the server, as that of any process of PostgreSQL does; clients come back.
ask($client, 'sleep', 200);
becomes($busy, 1, 'a query runs');
my $position = $watcher->ping->{position};
kill 'SEGV', sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND state = 'active'});
$watcher->wait_closed;
$node->poll_query_until('postgres', 'SELECT 1', '1');
my $lost = $node->safe_psql('postgres', 'INSERT INTO orders DEFAULT VALUES RETURNING id');
wait_healthy($node);
$watcher = user();
$watcher->subscribe('orders', since => $position);
is($watcher->next_event->{key}{id}, $lost, 'a client resumes after a crash of a worker');
undisturbed('a crash');
$client = user();
is(calls($client, 'one'), 1, 'and calls go on');

# No slot for a worker, beside the launcher, the feed and the launcher of logical replication
sql('ALTER SYSTEM SET max_worker_processes = 3');
$node->restart;
wait_healthy($node);
$watcher = user();
$watcher->subscribe('orders');
$client = user();
is(calls($client, 'one'), '-32011: there is no free background worker slot; see max_worker_processes', 'no slot for a worker');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/LOG:  pg_notifyd could not start a worker for clients of database "postgres": there is no free background worker slot\n/, 'the log says so');
undisturbed('no slot');

done_testing();
