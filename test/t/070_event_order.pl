# The order of events: a transaction in flight delays later events, nothing else does. Bulk
# transactions. Clients resume between any two events.

use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('order', init => { allows_streaming => 1 }, conf => "pg_notifyd.client_buffer = '64MB'\n");
$node->safe_psql('postgres', q{
	CREATE TABLE a (id int PRIMARY KEY, v text);
	CREATE TABLE b (id int PRIMARY KEY, v text);
	GRANT SELECT ON a, b TO guest;
	SELECT notify_watch('a');
	SELECT notify_watch('b', 'insert', '{}');
});

sub summary
{
	return join ' ', map { "$_->{op}:$_->{table}:$_->{key}{id}:$_->{seq}/$_->{of}" } @_;
}

# A transaction that has reserved its ids and waits for its commit to end (here: for a synchronous
# standby that there is not) holds back every later one, and when it ends they come in the order of
# their ids.
{
	my $client = notifyd_client($node);
	$client->subscribe('a');
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'nobody'});

	my $early = $node->background_psql('postgres');
	$early->query_until(qr/began/, q{
		\echo began
		SET synchronous_commit = on;
		INSERT INTO a VALUES (1, 'early');
	});
	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')})
	  or die 'nobody waits';
	$node->safe_psql('postgres', q{SET synchronous_commit = local; INSERT INTO a VALUES (2, 'late')});
	is($node->safe_psql('postgres', q{SELECT in_flight > 0 FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'}),
		't', 'the transaction in flight is seen in notifyd.stats');
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
	is($node->safe_psql('postgres', q{SELECT oldest_in_flight_pid FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'}),
		$pid, 'with its process');
	wait_for(sub { slurp_file($node->logfile) =~ /the commit of process $pid delays the events of later transactions/ }, 'it in the log');
	is(scalar($client->events), 0, 'nothing has come while the first is in flight');

	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	is(summary($client->next_events(2)), 'INSERT:a:1:1/1 INSERT:a:2:1/1', 'then both come, in order of id');
	$early->quit;
}

# A backend that is terminated while it commits leaves nothing in flight.
{
	my $client = notifyd_client($node);
	$client->subscribe('a');
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'nobody'});
	my $ended = $node->background_psql('postgres', on_error_stop => 0);
	$ended->query_until(qr/began/, q{
		\echo began
		INSERT INTO a VALUES (3, 'terminated');
	});
	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')})
	  or die 'nobody waits';
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
	$node->poll_query_until('postgres', q{SELECT in_flight = 0 FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'})
	  or die 'something is left in flight';
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	is(summary($client->next_event), 'INSERT:a:3:1/1', 'an event that a terminated backend had committed arrives');
	eval { $ended->quit };
}

# A long transaction, here and in another database, and a prepared one hold back nothing.
{
	my $client = notifyd_client($node);
	$client->subscribe('a');
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	my $long = $node->background_psql('postgres');
	my $other = $node->background_psql('other');
	$long->query_safe(q{BEGIN; INSERT INTO a VALUES (10, 'long'); SELECT 1});
	$other->query_safe(q{BEGIN; CREATE TABLE t (i int); SELECT 1});
	$node->safe_psql('postgres', q{INSERT INTO a VALUES (11, 'short')});
	is(summary($client->next_event), 'INSERT:a:11:1/1', 'a long transaction holds back nothing');
	$long->query_safe('COMMIT');
	is(summary($client->next_event), 'INSERT:a:10:1/1', 'its own event comes when it commits');
	$other->query_safe('COMMIT');
	$long->quit;
	$other->quit;
}

# A transaction's events are together, in the order of its statements, across tables; what was rolled
# back is missing.
{
	my $client = notifyd_client($node);
	$client->subscribe('a');
	$client->subscribe('b');
	$node->safe_psql('postgres', q{
		BEGIN;
		INSERT INTO a VALUES (20, 'x');
		SAVEPOINT s;
		INSERT INTO a VALUES (21, 'gone');
		INSERT INTO b VALUES (21, 'gone');
		ROLLBACK TO s;
		INSERT INTO b VALUES (20, 'y');
		SAVEPOINT t;
		UPDATE a SET v = 'z' WHERE id = 20;
		RELEASE t;
		DELETE FROM a WHERE id = 20;
		COMMIT;
		BEGIN; INSERT INTO a VALUES (22, 'gone'); ROLLBACK;
		INSERT INTO a VALUES (23, 'end');
	});
	is(summary($client->next_events(5)),
		'INSERT:a:20:1/4 INSERT:b:20:2/4 UPDATE:a:20:3/4 DELETE:a:20:4/4 INSERT:a:23:1/1',
		'in the order of statements, across tables, without what was rolled back');
	my @events = $client->events;
	is_deeply([ map { $_->{id} - $events[0]{id} } @events[ 0 .. 3 ] ], [ 0, 1, 2, 3 ], 'ids of a transaction are dense');
	is(scalar(grep { $_->{tx} != $events[0]{tx} } @events[ 0 .. 3 ]), 0, 'and it has one tx');
	is($events[1]{new}, undef, 'cols {} is the key alone');
}

# A bulk transaction: its events are whole, in order, and do not hold up small ones while it is
# being written.
{
	my $n = 12_000;
	my $client = notifyd_client($node);
	my $small = notifyd_client($node);
	my $position = $client->subscribe('b')->{position};
	$small->subscribe('a');

	my $bulk = $node->background_psql('postgres');
	$bulk->query_safe(qq{BEGIN; INSERT INTO b SELECT i, 'bulk' FROM generate_series(1001, 1000 + $n) AS i; SELECT 1});
	$node->safe_psql('postgres', q{INSERT INTO a VALUES (30, 'meanwhile')});
	is(summary($small->next_event), 'INSERT:a:30:1/1', 'a small transaction is not held up');
	$bulk->query_safe('COMMIT');
	$bulk->quit;

	$client->wait_for(sub { scalar($client->events) >= $n }, 'the bulk events');
	my @events = $client->events;
	is(scalar(@events), $n, 'all events of the bulk transaction');
	my $wrong = grep {
		$events[$_]{key}{id} != 1001 + $_ || $events[$_]{seq} != $_ + 1 || $events[$_]{of} != $n
		  || $events[$_]{id} != $events[0]{id} + $_
	} 0 .. $n - 1;
	is($wrong, 0, 'in order, numbered, dense');

	# Resume between any two of its events; each time one more event comes after it.
	my $after = 0;
	for my $at (0, 1, 255, 256, 499, 500, 6_000, $n - 2, $n - 1)
	{
		my $resumed = notifyd_client($node);
		my $result = $resumed->subscribe('b', since => $events[$at]{position});
		is($result->{position}, $events[$at]{position}, "resumes behind event $at");
		my $want = $n - 1 - $at + $after++;
		$resumed->wait_for(sub { scalar($resumed->events) >= $want }, "the rest behind event $at") if $want;
		$node->safe_psql('postgres', qq{INSERT INTO b VALUES ($at - 100000, 'after')});
		$resumed->wait_for(sub { scalar($resumed->events) >= $want + 1 }, 'the event after');
		my @rest = $resumed->events;
		is(scalar(@rest), $want + 1, "nothing lost or doubled behind event $at");
		is($rest[-1]{key}{id}, $at - 100000, 'and then live');
		is($rest[0]{id}, $events[ $at + 1 ]{id}, 'the first is the next one') if $at < $n - 1;
		$resumed->close;
	}
}

# Resume under writes: a client that reconnects all the time sees each event once, in order.
{
	my $writer = $node->background_psql('postgres');
	my $client = notifyd_client($node);
	my $position = $client->subscribe('a')->{position};
	my @seen;
	$writer->query_until(qr/go/, q{
		\echo go
		DO $$ BEGIN FOR i IN 100001 .. 101500 LOOP
			INSERT INTO a VALUES (i, 'w'); UPDATE a SET v = 'x' WHERE id = i; COMMIT; END LOOP; END $$;
		\echo done
	});
	my $rounds = 0;
	while (@seen < 3000)
	{
		$client->wait_for(sub { scalar($client->events) }, 'some events');
		push @seen, $client->events;
		$position = $seen[-1]{position};
		$client->close;
		$client = notifyd_client($node);
		$client->subscribe('a', since => $position);
		$rounds++;
	}
	my $wrong = grep { $seen[$_]{key}{id} != 100001 + int($_ / 2) || $seen[$_]{seq} != $_ % 2 + 1 } 0 .. 2999;
	is($wrong, 0, "each event once and in order over $rounds reconnects");
	is(scalar(@seen), 3000, 'and none too many');
	$writer->quit;
}

# Positions that a client cannot resume from.
{
	my $client = notifyd_client($node);
	my $position = $client->subscribe('a')->{position};
	my ($timeline, $id) = split /-/, $position;

	for my $case (
		[ "$timeline-1", qr/no longer retained/, 'too old' ],
		[ "$timeline-" . ($id + 10**12), qr/ahead/, 'from the future' ],
		[ ($timeline + 7) . "-$id", qr/timeline/, 'of another timeline' ])
	{
		my ($since, $reason, $name) = @$case;
		my $other = notifyd_client($node);
		my $result = $other->subscribe('a', since => $since);
		my $reset = $other->next_message('reset');
		like($reset->{reason}, $reason, "a position $name gets a reset");
		is($reset->{channel}, 'a', 'for the channel');
		is($reset->{position}, $result->{position}, 'with the position to resume from');
	}
	my $answer = $client->call('subscribe', { channel => 'b', since => 'yesterday' });
	is($answer->{error}{code}, -32602, 'a malformed position is an error');
}

# After a crash with synchronous_commit = off, no client has seen lost events, and ids increase.
{
	my $client = notifyd_client($node);
	$client->subscribe('a');
	$node->safe_psql('postgres', q{
		SET synchronous_commit = off;
		DO $$ BEGIN FOR i IN 200001 .. 200500 LOOP INSERT INTO a VALUES (i, 'w'); COMMIT; END LOOP; END $$;
	});
	$node->stop('immediate');
	$node->start;
	wait_healthy($node);
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT id FROM a WHERE id > 200000');
	my @events = $client->events;
	is(scalar(grep { !$there{ $_->{key}{id} } } @events), 0, 'every event seen is of a row that survived');

	my $again = notifyd_client($node);
	if (@events)
	{
		$again->subscribe('a', since => $events[-1]{position});
	}
	else
	{
		$again->subscribe('a');
	}
	$node->safe_psql('postgres', q{INSERT INTO a VALUES (300000, 'after the crash')});
	$again->wait_for(sub { grep { $_->{key}{id} == 300000 } $again->events }, 'the event after the crash');
	my @all = (@events, $again->events);
	is(scalar(grep { $all[$_]{id} <= $all[ $_ - 1 ]{id} } 1 .. $#all), 0, 'ids only grow');
	my %seen = map { $_->{key}{id} => 1 } @all;
	is(scalar(grep { !$seen{$_} } keys %there), 0, 'every row that survived has been seen') if @events;
}

# Retention: older events are removed, a position before them gets a reset, and the log does not
# grow.
{
	my $client = notifyd_client($node);
	my $old = $client->subscribe('a')->{position};
	$node->append_conf('postgresql.conf', "pg_notifyd.retention = '200ms'");
	$node->reload;
	$node->poll_query_until('postgres', q{SELECT current_setting('pg_notifyd.retention') = '200ms'});
	$node->safe_psql('postgres', q{INSERT INTO a VALUES (400001, 'one')});
	my $first = $client->next_event;
	my $i = 400001;
	$node->poll_query_until('postgres',
		q{SELECT split_part(oldest, '-', 2)::int8 >= } . $first->{id} . q{ FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'})
	  or die 'nothing was trimmed';
	my $resumed = notifyd_client($node);
	my $result = $resumed->subscribe('a', since => $old);
	like($resumed->next_message('reset')->{reason}, qr/retained/, 'a position before the retained events gets a reset');
	$node->safe_psql('postgres', q{INSERT INTO a VALUES (400002, 'two')});
	is($resumed->next_event->{key}{id}, 400002, 'and continues');
	is($client->next_event->{key}{id}, 400002, 'the one that was connected missed nothing');
	is($node->safe_psql('postgres', 'SELECT notify_fetch(' . $first->{id} . ') IS NULL'), 't', 'notify_fetch() has it no more');
}

$node->stop;
done_testing();
