# Recovery to an earlier point in time: ids are not reused, clients that saw lost events get a
# reset, and the others continue.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub insert
{
	my ($node, $id) = @_;
	$node->safe_psql('postgres', "INSERT INTO t VALUES ($id)");
	return;
}

my $primary = notifyd_node('primary', init => { has_archiving => 1, allows_streaming => 1 });
$primary->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
my $client = notifyd_client($primary);
my $begin = $client->subscribe('t')->{position};
$primary->backup('base');
insert($primary, $_) for 1 .. 2;

# A large transaction, whose events have ids of another kind first.
$primary->safe_psql('postgres', 'INSERT INTO t SELECT * FROM generate_series(1001, 2000)');
insert($primary, 3);
$primary->safe_psql('postgres', q{SELECT pg_create_restore_point('before')});
insert($primary, 4);
$primary->safe_psql('postgres', 'INSERT INTO t SELECT * FROM generate_series(2001, 3000)');
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
my @seen = $client->next_events(2004);
is($seen[-1]{key}{id}, 3000, 'a client has seen everything');
my ($last_kept) = grep { $_->{key}{id} == 3 } @seen;
my ($first_lost) = grep { $_->{key}{id} == 4 } @seen;
$primary->stop('fast');

my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$restored->{notifyd_port} = PostgreSQL::Test::Cluster::get_free_port();
$restored->append_conf('postgresql.conf', "
pg_notifyd.port = $restored->{notifyd_port}
recovery_target_name = 'before'
recovery_target_action = 'promote'");
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'still in recovery';
wait_healthy($restored);
is($restored->safe_psql('postgres', 'SELECT count(*) FROM t WHERE id IN (3, 4)'), 1, 'the table is as it was at that point');

# The common history, from its begin, from inside of a large transaction and from its end
my %good = (begin => $begin, inside => $seen[502]{position}, 'end' => $last_kept->{position});
insert($restored, 5);
my $fifth;
for my $where (sort keys %good)
{
	my $again = notifyd_client($restored);
	$again->subscribe('t', since => $good{$where});
	my @want = map { $_->{id} } grep { $_->{id} > $good{$where} =~ s/^\d+-//r && $_->{id} <= $last_kept->{id} } @seen;
	my @events = $again->next_events(@want + 1);
	is_deeply([ map { $_->{id} } @events[ 0 .. $#want ] ], \@want, "from $where: the same events with the same ids");
	is($events[-1]{key}{id}, 5, "from $where: and what came after the restore");
	is(scalar(grep { ($_->{method} // '') eq 'reset' } $again->received), 0, "from $where: without a reset");
	$fifth = $events[-1];
}
cmp_ok($fifth->{id}, '>', $seen[-1]{id}, 'ids go on beyond those that are lost');

# What is lost
for my $event ($first_lost, $seen[1500], $seen[-1])
{
	my $again = notifyd_client($restored);
	$again->subscribe('t', since => $event->{position});
	like($again->next_message('reset')->{reason}, qr/timeline/, "who saw the lost row $event->{key}{id} is told");
}

$restored->stop;
done_testing();
