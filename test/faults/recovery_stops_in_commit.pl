# Recovery stops after a commit that has overtaken another one, which took its ids earlier and did
# not finish. Clients that saw both get a reset; after a crash no client can have. Needs a library
# with fail points.

use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', init => { has_archiving => 1, allows_streaming => 1 });
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
$node->backup('base');

sub insert
{
	my ($server, $id) = @_;
	return $server->safe_psql('postgres',
		"SET pg_notifyd.fail_points = ''; BEGIN; INSERT INTO t VALUES ($id); SELECT pg_current_xact_id()::xid; COMMIT");
}

# A new client, and the position that it begins at.
sub client
{
	my ($server, @since) = @_;
	wait_healthy($server);
	my $client = notifyd_client($server);
	return ($client, $client->subscribe('t', @since)->{position});
}

# The events behind a position, up to that of a row.
sub events
{
	my ($server, $since, $upto) = @_;
	my ($client) = client($server, since => $since);
	my @events;
	push @events, $client->next_event while !@events || $events[-1]{key}{id} != $upto;
	$client->close;
	return @events;
}

# What a client that resumes gets: which rows, up to one that is inserted then, or that it is told.
sub resumed
{
	my ($server, $since, $next) = @_;
	my ($client) = client($server, since => $since);
	insert($server, $next);
	$client->wait_for(sub { grep { $_->{key}{id} == $next } $client->events }, 'the event of the row');
	$client->close;
	return 'told' if grep { ($_->{method} // '') eq 'reset' } $client->received;
	return join(' ', map { $_->{key}{id} } $client->events);
}

# A writer that is held at a point, and one that overtakes it.
sub overtake
{
	my ($point, $first, $second) = @_;
	$node->safe_psql('postgres', $_)
	  for "ALTER SYSTEM SET pg_notifyd.fail_points = '$point=pause'", 'SELECT pg_reload_conf()';
	$node->poll_query_until('postgres', q{SELECT current_setting('pg_notifyd.fail_points') <> ''}) or die 'no fail point';
	my $held = $node->background_psql('postgres');
	$held->query_until(qr/began/, qq{
		\\echo began
		INSERT INTO t VALUES ($first);
	});
	$node->poll_query_until('postgres', q{SELECT in_flight > 0 FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'})
	  or die 'nobody is held';
	return (insert($node, $second), $held);
}

sub let_go
{
	$node->append_conf('postgresql.auto.conf', "pg_notifyd.fail_points = ''");
	return;
}

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

# The row of the one that is overtaken is there, or not.
my $id = 0;
foreach my $point ('log-advance', 'pending-reserved')
{
	my $begin = $id += 100;
	my (undef, $early) = client($node);
	my ($xid, $held) = overtake($point, $begin + 1, $begin + 2);
	let_go();
	$node->reload;
	my @seen = events($node, $early, $begin + 2);
	is(join(' ', map { $_->{key}{id} } @seen), join(' ', $begin + 1, $begin + 2), "$point: the one that was overtaken comes first");
	$held->quit;
	$node->safe_psql('postgres', 'SELECT pg_switch_wal()');

	my $restored = PostgreSQL::Test::Cluster->new("restored_$begin");
	$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	$restored->{notifyd_port} = PostgreSQL::Test::Cluster::get_free_port();
	$restored->append_conf('postgresql.conf', "
		pg_notifyd.port = $restored->{notifyd_port}
		pg_notifyd.fail_points = ''
		recovery_target_xid = '$xid'
		recovery_target_timeline = 'current'
		recovery_target_action = 'promote'");
	$restored->start;
	$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'still in recovery';
	is($restored->safe_psql('postgres', "SELECT id FROM t WHERE id > $begin"), $begin + 2, "$point: only the other is restored");
	is(resumed($restored, $early, $begin + 10), join(' ', $begin + 2, $begin + 10), "$point: a position of before both is good");
	is(resumed($restored, $seen[0]{position}, $begin + 11), 'told', "$point: who saw the one that is not there is told");
	is(resumed($restored, $seen[1]{position}, $begin + 12), 'told', "$point: so is who saw both");
	$restored->stop;

	(undef, $held) = overtake($point, $begin + 3, $begin + 4);
	let_go();
	crash();
	is(resumed($node, $seen[1]{position}, $begin + 5), join(' ', $begin + 4, $begin + 5), "$point: a crash undoes the one that was overtaken");
	my ($survivor) = events($node, $seen[1]{position}, $begin + 4);
	crash();
	is(resumed($node, $survivor->{position}, $begin + 6), join(' ', $begin + 5, $begin + 6),
		"$point: and the position of the other stays good after the next");

	(undef, $held) = overtake($point, $begin + 7, $begin + 8);
	let_go();
	crash();
	my (undef, $now) = client($node);
	crash();
	is(resumed($node, $now, $begin + 9), $begin + 9, "$point: so does one that was told in between, with nothing written");
}
$node->stop;
done_testing();
