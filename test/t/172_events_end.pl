# How streams end: tokens, privileges, policies, restarts, slow clients, clients that leave; and what a client that comes
# back gets.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Events;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => [ 'reader', 'other' ], conf => <<"EOC");
pg_notifyd.client_buffer = '64kB'
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sub stream { return NotifydTest::Events->new($node, @_); }

sub clients { return sql(q{SELECT count(*) FROM notifyd.clients WHERE subprotocol = 'text/event-stream'}); }

sub status { my $stream = stream(@_); $stream->close; return $stream->{status}; }

sub bearer { my ($role, %claims) = @_; return join ': ', notifyd_bearer($role, 7, %claims); }

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, t text);
	GRANT SELECT ON orders TO guest, reader, other;
	SELECT notify_watch('orders');
});

sub last_of
{
	my $stream = shift;
	my $last;
	while (my $message = $stream->next) { $last = $message; }
	return $last;
}

# Expiry. The token may be 30 seconds late.
my $stream = stream('channel=orders', headers => [ bearer('reader', exp => time + 2) ]);
sql('INSERT INTO orders VALUES (1)');
my $id = $stream->next->{id};
my $last = last_of($stream);
is("$last->{event} $last->{data}{code}", 'error 4001', 'the token expires');
is($stream->{clean}, 1, 'and the response is complete');
is($stream->{id}, $id, 'the client keeps its id');
is(status('channel=orders', headers => [ bearer('reader', exp => time - 100), "Last-Event-ID: $id" ]), 401, 'the old token is refused');
sql('INSERT INTO orders VALUES (2)');
is(stream('channel=orders', headers => [ bearer('reader'), "Last-Event-ID: $id" ])->next->{data}{key}{id}, 2, 'a fresh one resumes');

# Revocation, privileges.
$stream = stream('channel=orders', headers => [ bearer('reader', jti => 'x') ]);
sql(q{SELECT notify_disconnect('{"jti":"x"}')});
is(last_of($stream)->{data}{code}, 4401, 'notify_disconnect');
$stream = stream('channel=orders', headers => [ bearer('other') ]);
sql('REVOKE SELECT ON orders FROM other');
$last = last_of($stream);
is("$last->{data}{code} $last->{data}{data}{channel}", '-32003 orders', 'a privilege is revoked');
isnt($stream->{id}, 'end', 'the client may come back');
is(status('channel=orders', headers => [ bearer('other') ]), 403, 'and is refused');

# A policy that fails, and a snapshot that takes too long: coming back would not help.
sql(q{CREATE FUNCTION fail(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN IF $1 = 666 THEN RAISE 'no'; END IF; RETURN true; END $$},
	'CREATE TABLE guarded (id int PRIMARY KEY)', 'GRANT SELECT ON guarded TO reader', 'ALTER TABLE guarded ENABLE ROW LEVEL SECURITY',
	'CREATE POLICY p ON guarded USING (fail(id))', q{SELECT notify_watch('guarded')});
$stream = stream('channel=orders&channel=guarded', headers => [ bearer('reader') ]);
sql('INSERT INTO guarded VALUES (666)');
$last = last_of($stream);
is("$last->{data}{code} $last->{data}{data}{channel} $last->{id}", '-32003 guarded end', 'a policy fails: the id says that this is the end');
is(status('channel=guarded', headers => [ bearer('reader'), 'Last-Event-ID: end' ]), 204, 'which 204 repeats');

# A client that leaves, and one that only closes its sending side.
wait_for(sub { clients() == 0 }, 'no clients');
$stream = stream('channel=orders');
is(clients(), 1, 'a client');
$stream->close;
wait_for(sub { clients() == 0 }, 'the client has left');
pass('a client that leaves is gone at once');
my $half = stream('channel=orders');
shutdown $half->{socket}, 1;
sql('INSERT INTO orders VALUES (3)');
is($half->next->{data}{key}{id}, 3, 'a client that only closes its sending side gets events');
$half->close;
wait_for(sub { clients() == 0 }, 'it has left, too');

# Limits.
$node->append_conf('postgresql.conf', 'pg_notifyd.max_clients_per_address = 2');
$node->reload;
my @two = map { stream('channel=orders') } 1 .. 2;
wait_for(sub { status('channel=orders') == 503 }, 'too many');
is(clients(), 2, 'a stream counts once');
my $refused = stream('channel=orders', headers => ['Accept: text/event-stream']);
is("$refused->{status} " . $refused->next->{data}{code}, '200 4503', 'an EventSource is asked to come back');
$_->close foreach @two;
$node->append_conf('postgresql.conf', 'pg_notifyd.max_clients_per_address = 0');
$node->reload;
wait_for(sub { status('channel=orders') == 200 }, 'room again');

# A client that never reads: bounded, closed, and resumes.
my $slow = stream('channel=orders', buffer => 4096);
sql(q{INSERT INTO orders SELECT 1000 + i, repeat('x', 20000) FROM generate_series(1, 300) AS i});
wait_for(sub { sql(q{SELECT count(*) FROM notifyd.clients WHERE queued_bytes > 0}) > 0 }, 'it is behind');
cmp_ok(sql(q{SELECT max(queued_bytes) FROM notifyd.clients}), '<=', 65536, 'its queue is bounded');
wait_for(sub { clients() == 0 }, 'it is closed');
my @got;
while (my $message = $slow->next) { push @got, $message->{data}{key}{id} if !defined $message->{event}; }
my $rest = stream('channel=orders', headers => ["Last-Event-ID: $slow->{id}"]);
push @got, map { $_->{data}{key}{id} } $rest->take(300 - @got);
is_deeply(\@got, [ 1001 .. 1300 ], 'a client that was too slow resumes: each event once');

# The gateway is replaced, and the server restarts.
$stream = stream('channel=orders');
kill 'TERM', gateway_pids($node);
is(last_of($stream)->{data}{code}, 1012, 'the gateway is restarted');
is($stream->{clean}, 1, 'the response is complete');
wait_healthy($node);
$stream = stream('channel=orders');
sql('INSERT INTO orders VALUES (4)');
$stream->next;
$node->restart;
$last = last_of($stream);
is($last->{data}{code}, 1001, 'the server stops');
wait_healthy($node);
sql('INSERT INTO orders VALUES (5)');
is(stream('channel=orders', headers => ["Last-Event-ID: $stream->{id}"])->next->{data}{key}{id}, 5, 'the client resumes');
done_testing();
