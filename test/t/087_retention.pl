# Retention by size: under load the log stays within 1.5 times pg_notifyd.retention_size, nobody
# waits for that, and a larger transaction still reaches clients.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = 8 * 1024 * 1024;
my $node = notifyd_node('retention', conf => "pg_notifyd.retention_size = '8MB'\n");
my $logs = join ', ', map { "notifyd.log_$_" } 0 .. 7;
$node->safe_psql(
	'postgres', q{
	CREATE TABLE a (id serial PRIMARY KEY, v text);
	GRANT SELECT ON a TO guest;
	SELECT notify_watch('a');
	CREATE VIEW log_size AS SELECT sum(pg_total_relation_size(format('notifyd.%s_%s', t, i)::regclass))::bigint AS bytes
		FROM generate_series(0, 7) AS i, unnest('{log,bulk}'::text[]) AS t;
	CREATE PROCEDURE write(rows integer, bytes integer) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. rows LOOP
			-- what cannot be compressed
			INSERT INTO a (v) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, bytes / 32);
			COMMIT;
		END LOOP;
	END $$;
	-- the largest and the smallest size of the log while anybody is writing
	CREATE FUNCTION sizes(OUT largest bigint, OUT smallest bigint) LANGUAGE plpgsql AS $$
	DECLARE
		size bigint;
	BEGIN
		LOOP
			PERFORM pg_stat_clear_snapshot();
			SELECT bytes INTO size FROM log_size;
			largest := greatest(largest, size);
			smallest := least(smallest, size);
			EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'writer' AND state = 'active');
			PERFORM pg_sleep(0.005);
		END LOOP;
	END $$;
});

sub stat_of
{
	my ($column) = @_;
	return $node->safe_psql('postgres', "SELECT $column FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'");
}

# The largest and the smallest size of the log while these calls run, each in a session of its own.
sub sizes_while
{
	my @calls = @_;
	my @writers;

	for my $call (@calls)
	{
		my $writer = $node->background_psql('postgres');
		$writer->query_until(qr/begun/, "SET application_name = 'writer'; SET lock_timeout = '1s';\n\\echo begun\n$call;\n");
		push @writers, $writer;
	}
	my @sizes = split /\|/, $node->safe_psql('postgres', 'SELECT * FROM sizes()');
	$_->quit for @writers;
	return @sizes;
}

sub settled
{
	$node->poll_query_until('postgres', "SELECT bytes <= $limit * 1.5 FROM log_size") or die 'the log does not shrink';
	return;
}

# Many small events, and then large ones, whose texts are out of line.
for my $load ([ 8000, 640, 'small events' ], [ 400, 32_000, 'large events' ])
{
	my ($rows, $bytes, $what) = @$load;
	my $written = stat_of('events_written');
	my ($size) = sizes_while(("CALL write($rows, $bytes)") x 3);
	is(stat_of('events_written') - $written, 3 * $rows, "$what: all are written, without waiting for a lock");
	cmp_ok($size, '>', $limit * 0.7, "$what: the log is used");
	note("$what: largest size ", $size / $limit, ' of the limit');
	cmp_ok($size, '<=', $limit * 1.5, "$what: and stays within its bound");
}
cmp_ok(stat_of('segments'), '>', 1, 'segments are counted');
cmp_ok(stat_of('log_bytes'), '<=', $limit * 1.5, 'and measured');
cmp_ok(stat_of(q{split_part(newest, '-', 2)::bigint - split_part(oldest, '-', 2)::bigint}), '>', 0, 'oldest and newest');

# A transaction larger than all that is kept: whole to who is connected, also to one who reads less
# fast than it is sent.
{
	my $n = 60_000;
	my %next;
	my @clients = map { notifyd_client($node) } 1 .. 2;
	my ($fast, $slow) = @clients;
	for my $client (@clients)
	{
		$next{$client} = 1;
		$client->{tx}->unsubscribe('text');
		$client->{tx}->on(
			text => sub {
				my $text = $_[1];
				if ($text =~ /"seq":(\d+),"of":$n,/) { $next{$client} = $1 == $next{$client} ? $1 + 1 : "$1 after $next{$client}" }
				elsif ($text !~ /"seq":1,"of":1,/) { push @{ $client->{received} }, Mojo::JSON::decode_json($text) }
			});
		$client->subscribe('a');
	}
	$slow->stop_reading;
	$node->safe_psql('postgres', "INSERT INTO a (v) SELECT repeat(md5(i::text), 12) FROM generate_series(1, $n) AS i");
	cmp_ok($node->safe_psql('postgres', 'SELECT bytes FROM log_size'), '>', 2 * $limit, 'a transaction of twice the size');
	$fast->wait_for(sub { $next{$fast} eq $n + 1 || $next{$fast} !~ /^\d+$/ }, 'the large transaction');
	$slow->start_reading;
	$slow->wait_for(sub { $next{$slow} eq $n + 1 || $next{$slow} !~ /^\d+$/ }, 'the large transaction, slowly');
	for my $client (@clients)
	{
		is($next{$client}, $n + 1, 'it arrives whole and in order');
		is(scalar(grep { ($_->{method} // '') eq 'reset' } $client->received), 0, 'without a reset');
	}
	settled();
	pass('then the log shrinks again');
	$_->close for @clients;
}

# A session with a lock on the log's tables, such as a dump, does not block others; the log shrinks
# when it ends.
{
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; LOCK TABLE $logs IN ACCESS SHARE MODE; SELECT 1");
	my $written = stat_of('events_written');
	my ($size) = sizes_while(('CALL write(8000, 640)') x 3);
	is(stat_of('events_written') - $written, 24_000, 'writers wait neither for a reader of the log nor for its retention');
	cmp_ok($size, '>', $limit * 1.5, 'which cannot be kept meanwhile');
	$holder->query_safe('COMMIT');
	$holder->quit;
	settled();
	pass('but is then');
}

# VACUUM of a TOAST table takes such a lock.
{
	my $toasts = join ', ',
	  split /\n/,
	  $node->safe_psql('postgres',
		q{SELECT reltoastrelid::regclass FROM pg_class WHERE relname ~ '^log_\d$' AND relnamespace = 'notifyd'::regnamespace});
	my $holder = $node->background_psql('postgres');
	$holder->query_safe(join "\n", 'BEGIN;', (map { "SELECT count(*) FROM $_;" } split /, /, $toasts), 'SELECT 1');
	my $client = notifyd_client($node);
	$client->subscribe('a');
	sizes_while(('CALL write(8000, 640)') x 3);
	$node->safe_psql('postgres', q{INSERT INTO a (v) VALUES ('last')});
	$client->wait_for(sub { grep { ($_->{new}{v} // '') eq 'last' } $client->events }, 'events while a TOAST table is locked');
	pass('the feed does not wait for a lock on a TOAST table');
	$holder->query_safe('COMMIT');
	$holder->quit;
	settled();
}

# Tables that are each larger than the retention size: the log shrinks again while sessions write.
{
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; LOCK TABLE $logs IN ACCESS SHARE MODE; SELECT 1");
	for my $i (1 .. 3)
	{
		my $newest = $node->safe_psql('postgres', 'SELECT max(first_id) FROM notifyd.log_segment');
		$node->safe_psql('postgres', 'INSERT INTO a (v) SELECT repeat(md5(i::text), 12) FROM generate_series(1, 30000) AS i');
		$node->poll_query_until('postgres',
			"SELECT count(*) = 8 OR max(first_id) > $newest FROM notifyd.log_segment")
		  or die 'no new table is begun';
	}
	$holder->query_safe('COMMIT');
	$holder->quit;
	my ($largest, $smallest) = sizes_while(('CALL write(8000, 640)') x 3);
	note('large tables: sizes ', $largest / $limit, ' to ', $smallest / $limit, ' of the limit');
	cmp_ok($smallest, '<=', $limit, 'after large transactions the log returns to its size under load');
}

# What follows a transaction larger than all that is to be kept is not kept for a client that does not read.
{
	my $deaf = notifyd_client($node);
	$deaf->subscribe('a');
	$deaf->stop_reading;
	my $before = $node->safe_psql('postgres', 'SELECT bytes FROM log_size');
	$node->safe_psql('postgres', q{INSERT INTO a (v) SELECT repeat(md5(i::text), 12) FROM generate_series(1, 60000) AS i});
	my $large = $node->safe_psql('postgres', 'SELECT bytes FROM log_size') - $before;
	my ($largest, $smallest) = sizes_while(('CALL write(8000, 640)') x 3);
	note("a large transaction and a client that does not read: ", $large / $limit, ', then ', $largest / $limit, ' to ',
		$smallest / $limit, ' of the limit');
	cmp_ok($largest, '<=', $large + 2.5 * $limit, 'a large transaction is kept, not all that follows it');
	cmp_ok($smallest, '<=', $limit, 'and the log returns to its size under load');
	$deaf->start_reading;
	$deaf->close;
}

# What has not been sent to live subscribers is kept, within twice the size.
{
	settled();
	$node->append_conf('postgresql.conf', "pg_notifyd.client_buffer = '64MB'");
	$node->reload;
	my $client = notifyd_client($node);
	$client->subscribe('a');
	my @gateways = gateway_pids($node);
	kill 'STOP', @gateways;
	$node->safe_psql('postgres', 'CALL write(6000, 1600)');
	my $size = $node->safe_psql('postgres', 'SELECT bytes FROM log_size');
	kill 'CONT', @gateways;
	note('not sent: ', $size / $limit, ' of the limit');
	cmp_ok($size, '>', $limit * 1.1, 'more than the size has not been sent');
	cmp_ok($size, '<=', $limit * 2.2, 'no more than twice the size is kept');
	$node->safe_psql('postgres', q{INSERT INTO a (v) VALUES ('sent')});
	$client->wait_for(sub { grep { ($_->{new}{v} // '') eq 'sent' } $client->events }, 'the events that had not been sent');
	is(scalar(grep { ($_->{method} // '') eq 'reset' } $client->received), 0, 'it arrives without a reset');
	is(scalar($client->events), 6001, 'and whole');
	$client->close;
	settled();
}

# A client whose replay retention overtakes gets a reset, and what comes after it
# without a gap.
{
	$node->append_conf('postgresql.conf', "pg_notifyd.client_buffer = '64kB'");
	$node->reload;
	my $client = notifyd_client($node);
	my $position = $client->subscribe('a')->{position};
	$node->safe_psql('postgres', 'CALL write(6000, 640)');
	$client->close;
	my $reader = notifyd_client($node);
	$reader->subscribe('a', since => $position);
	$reader->stop_reading;
	$node->safe_psql('postgres', 'CALL write(24000, 640)');
	$reader->start_reading;
	like($reader->next_message('reset')->{reason}, qr/retained/, 'a replay that retention passes by gets a reset');
	$node->safe_psql('postgres', q{INSERT INTO a (v) VALUES ('end')});
	$reader->wait_for(sub { grep { ($_->{new}{v} // '') eq 'end' } $reader->events }, 'the end of the replay');

	# There was one writer: rows were committed in the order of their numbers.
	my @all = $reader->received;
	my ($reset) = grep { ($all[$_]{method} // '') eq 'reset' } reverse 0 .. $#all;
	my @ids = map { $_->{params}{key}{id} } grep { ($_->{method} // '') eq 'event' } @all;
	my @after = map { $_->{params}{key}{id} } grep { ($_->{method} // '') eq 'event' } @all[ $reset .. $#all ];
	is(scalar(grep { $ids[$_] <= $ids[ $_ - 1 ] } 1 .. $#ids), 0, 'each event once and in order');
	is(scalar(@after), $node->safe_psql('postgres', "SELECT count(*) FROM a WHERE id >= $after[0]"),
		'and behind the reset without a gap');
}

# A subscriber without events gets a bookmark in time: it can resume from that when its old position
# is long gone.
{
	my $quiet = notifyd_client($node);
	my $old = $quiet->subscribe('a', ops => ['DELETE'])->{position};
	my $writer = $node->background_psql('postgres');
	$writer->query_until(
		qr/begun/, q{
		SET application_name = 'writer';
		\echo begun
		DO $$ BEGIN LOOP
			INSERT INTO a (v) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 20);
			COMMIT;
			PERFORM pg_sleep(0.0005);
		END LOOP; END $$;
	});
	my $last;
	$last = $quiet->next_message('position')->{position} for 1 .. 4;
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'writer'});
	my $gone = notifyd_client($node);
	$gone->subscribe('a', ops => ['DELETE'], since => $old);
	like($gone->next_message('reset')->{reason}, qr/retained/, 'its first position is not retained any more');
	my $resumed = notifyd_client($node);
	$resumed->subscribe('a', ops => ['DELETE'], since => $last);
	$node->safe_psql('postgres', 'DELETE FROM a WHERE id = (SELECT min(id) FROM a)');
	$resumed->next_event;
	is_deeply([ map { $_->{method} } grep { ($_->{method} // '') =~ /reset|event/ } $resumed->received ],
		['event'], 'its bookmark is');
	eval { $writer->quit };
}

$node->stop;
done_testing();
