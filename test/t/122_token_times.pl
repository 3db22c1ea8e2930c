# When tokens end: renewed during a replay, while the client does not read, under load, while there is
# no feed, and by a clock that jumps.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $secret = 'a secret of at least thirty-two bytes';
my $clock = "$ENV{TESTDIR}/test/faults/clock.c";
my $library = PostgreSQL::Test::Utils::tempdir() . '/clock.so';
system('cc', '-shared', '-fPIC', '-o', $library, $clock, '-ldl') == 0 or die "could not compile $clock";

# The server's clock, as seconds from the true one. Tokens are made by the true one.
my $clock_file = PostgreSQL::Test::Utils::tempdir() . '/offset';
sub set_clock
{
	open my $file, '+>>', $clock_file or die "$clock_file: $!";
	close $file;
	open $file, '+<', $clock_file or die "$clock_file: $!";
	syswrite $file, pack('q', shift);
	close $file;
	return;
}
set_clock(0);

my $node = notifyd_node('main', start => 0,
	conf => "pg_notifyd.jwt_secret = '$secret'\npg_notifyd.authenticator_role = 'authenticator'\npg_notifyd.idle_timeout = 0\n");
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{CLOCK_FILE} = $clock_file;
	$node->start;
}
sub sql { return $node->safe_psql('postgres', shift); }
sql(q{
	CREATE EXTENSION pg_notifyd;
	CREATE ROLE guest;
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE reader;
	GRANT reader TO authenticator;
	CREATE TABLE t (id serial PRIMARY KEY, x text);
	GRANT SELECT ON t TO reader;
	SELECT notify_watch('t');
});
wait_healthy($node);

sub token { my ($seconds, %claims) = @_; return notifyd_token({ role => 'reader', sub => '7', exp => time + $seconds, %claims }, $secret); }
sub client
{
	my $client = notifyd_client($node, headers => { Authorization => "Bearer $_[0]" });
	$client->ping;
	return $client;
}
sub is_expired { my ($client, $name) = @_; is_deeply([ $client->wait_closed ], [ 4001, 'the token has expired' ], $name); return; }

# A token that replaces another one during a replay.
my $client = client(token(600));
my $start = $client->subscribe('t')->{position};
$client->close;
sql(q{INSERT INTO t (x) SELECT repeat('x', 1000) FROM generate_series(1, 40000)});
my $short = token(4);
my $replaying = client($short);
my $other = client($short);
$replaying->subscribe('t', since => $start);
$replaying->next_event;
$replaying->stop_reading;
$replaying->send({ id => 1, method => 'auth', params => { token => token(600) } });
is_expired($other, 'a token expires');
$replaying->start_reading;
$replaying->wait_for(sub { ($replaying->events)[-1]{new}{id} == 40000 }, 'the end of the replay');
is_deeply([ map { $_->{new}{id} } $replaying->events ], [ 1 .. 40000 ], 'renewed during a replay: each event once, and in order');
is((grep { ($_->{id} // 0) == 1 } $replaying->received)[0]{result}{role}, 'reader', 'and an answer');
$replaying->close;

# A client that reads nothing.
my $expiry = time + 3;
my $deaf = client(token(3));
$deaf->subscribe('t', since => $start);
$deaf->stop_reading;
wait_for(sub { sql('SELECT count(*) FROM notifyd.clients WHERE queued_bytes > 0') == 1 }, 'a full queue');
wait_for(sub { sql('SELECT count(*) FROM notifyd.clients') == 0 }, 'the end of a client that does not read');
cmp_ok(time, '>=', $expiry, 'not before its token has expired');
cmp_ok(time, '<', $expiry + 20, 'and not as late as one that is too slow');
$deaf->start_reading;
wait_for(sub { $deaf->closed }, 'the end of the connection');
cmp_ok(scalar($deaf->events), '<', 40000, 'what was queued is not sent');

# Under load: the events of two seconds after the expiry are not there.
$client = client(token(600));
my $writer = $node->background_psql('postgres');
$writer->query_until(qr/go/, qq{\\echo go
	DO \$\$ BEGIN LOOP
		INSERT INTO t (x) SELECT 'y' FROM generate_series(1, 20);
		COMMIT;
		EXIT WHEN EXISTS (SELECT FROM pg_class WHERE relname = 'enough');
	END LOOP; END \$\$;\n});
$client->subscribe('t');
$expiry = time + 2;
my $loaded = client(token(2));
$loaded->subscribe('t');
is_expired($loaded, 'under load');
cmp_ok(scalar($loaded->events), '>', 20, 'after many events');
my $late = sql(sprintf q{SELECT to_char(to_timestamp(%d) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')}, $expiry + 2);
is(scalar(grep { $_->{at} gt $late } $loaded->events), 0, 'and none from later');
sql('CREATE TABLE enough ()');
$writer->quit;
$client->close;

# A token that expires while no feed can run, because a session has locked its table.
$client = client(token(600));
$client->subscribe('t');
$loaded = client(token(4));
$loaded->subscribe('t');
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN');
$lock->query_safe('LOCK TABLE notifyd.log_0');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'});
is_expired($loaded, 'without a feed');
$lock->query_safe('COMMIT');
$lock->quit;
sql(q{INSERT INTO t (x) VALUES ('again')});
$client->wait_for(sub { grep { $_->{new}{x} eq 'again' } $client->events }, 'an event of the next feed');
pass('the other subscription goes on');
wait_healthy($node);
$loaded = client(token(2));
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'});
is_expired($loaded, 'while the feed restarts');
$client->ping;
wait_healthy($node);

# A clock that jumps. The feed ends identities by the server's clock.
$loaded = client(token(3000));
set_clock(3600);
is_expired($loaded, 'the clock jumps forward: what has expired by it is closed');
is_expired($client, 'all of it');
$client = client(token(7200));
$client->subscribe('t');
set_clock(0);
$loaded = client(token(2));
set_clock(-3600);
is_expired($loaded, 'the clock jumps back: a connection ends no later');
sql(q{INSERT INTO t (x) VALUES ('back')});
$client->wait_for(sub { grep { $_->{new}{x} eq 'back' } $client->events }, 'an event after the jumps');
pass('others go on');
$client->close;
set_clock(0);

# A forward jump ends rows of notifyd.disconnected for good, but not what they refuse.
$node->append_conf('postgresql.conf', "pg_notifyd.jwt_max_lifetime = '1h'\n");
$node->reload;
my $stolen = token(600, iat => time - 60);
$client = client($stolen);
is(sql(q{SELECT notify_disconnect('{"sub": "7"}')}), 1, 'disconnected');
is(($client->wait_closed)[0], 4401, 'and closed');
set_clock(7200);
$node->poll_query_until('postgres', q{SELECT claims = '{}' FROM notifyd.disconnected}) or die 'the row stays';
set_clock(0);
is_deeply([ notifyd_client($node, headers => { Authorization => "Bearer $stolen" })->wait_closed ],
	[ 4401, 'JWT was issued before notify_disconnect() was called for it' ], 'refused after the clock was wrong, too');

$node->stop;
done_testing();
