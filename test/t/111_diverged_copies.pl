# Histories that diverge: a recovery that stops within a commit, a restored data directory, copies
# that run beside the original. Clients that saw events outside a server's history get a reset, and
# no others.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub insert
{
	my ($node, $id, $database) = @_;
	$node->safe_psql($database // 'postgres', "INSERT INTO t VALUES ($id)");
	return;
}

# Check whether a client that resumes from a position gets a reset for a diverged history, and the
# first event that it gets.
sub resume
{
	my ($node, $position, $id, $database) = @_;
	wait_healthy($node, $database);
	my $client = notifyd_client($node, database => $database);
	$client->subscribe('t', since => $position);
	insert($node, $id, $database);
	my @events;
	push @events, $client->next_event while !@events || $events[-1]{key}{id} != $id;
	my $reset = grep { ($_->{method} // '') eq 'reset' } $client->received;
	$client->close;
	return ($reset, $events[0]);
}

sub is_good
{
	my ($node, $event, $want, $id, $what, $database) = @_;
	my ($reset, $first) = resume($node, $event->{position}, $id, $database);
	is("$reset $first->{key}{id}", "0 $want", $what);
	return $first;
}

sub is_told
{
	my ($node, $event, $id, $what, $database) = @_;
	my ($reset) = resume($node, $event->{position}, $id, $database);
	is($reset, 1, $what);
	return;
}

sub clone
{
	my ($name, $from, $backup, $conf, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($from, $backup, %options);
	$node->{notifyd_port} = PostgreSQL::Test::Cluster::get_free_port();
	$node->append_conf('postgresql.conf', "pg_notifyd.port = $node->{notifyd_port}\n$conf");
	return $node;
}

my $node = notifyd_node('main', init => { has_archiving => 1, allows_streaming => 1 });
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
my $client = notifyd_client($node);
$client->subscribe('t');
$node->backup('base');
insert($node, 1);
my $kept = $client->next_event;

# Ordinary ends of a server do not make histories diverge, on any server, however often.
my $last = $kept;
my @chain = $last;
for my $mode ('immediate', 'fast', 'immediate', 'immediate')
{
	$node->stop($mode);
	$node->start;
	$last = is_good($node, $last, $last->{key}{id} + 1, $last->{key}{id} + 1, "a position outlives a stop that is $mode");
	push @chain, $last;
}
my $again = is_good($node, $kept, 2, 6, 'and all of them');
is($again->{position}, $chain[1]{position}, 'an event that is sent again has the position that it had first');
isnt($chain[4]{position} =~ s/-.*//r, $chain[3]{position} =~ s/-.*//r, 'each start has a timeline of its own');
is($node->safe_psql('postgres', "SELECT notify_fetch($chain[2]{id}) ->> 'position'"), $chain[2]{position}, 'so does notify_fetch()');

# A transaction whose log row is there and whose commit is not: recovery stops right before the
# commit.
$client = notifyd_client($node);
$client->subscribe('t');
insert($node, 10);
my $xid = $node->safe_psql('postgres', 'BEGIN; INSERT INTO t VALUES (11); SELECT pg_current_xact_id()::xid; COMMIT');
insert($node, 12);
my ($before, $within, $after) = $client->next_events(3);
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$client->close;
my $restored = clone('restored', $node, 'base', "
recovery_target_xid = '$xid'
recovery_target_inclusive = off
recovery_target_timeline = 'current'
	recovery_target_action = 'promote'", has_restoring => 1, standby => 0);
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'still in recovery';
is($restored->safe_psql('postgres', 'SELECT max(id) FROM t'), 10, 'the table is as it was before that commit');
is_good($restored, $kept, 2, 20, 'recovery: an early position is good');
is_good($restored, $before, 20, 21, 'recovery: so is the last one');
is_told($restored, $within, 22, 'recovery: a client that saw the transaction in its commit gets a reset');
is_told($restored, $after, 23, 'recovery: so is who saw more');

# The same after a crash of the restored server: the histories stay diverged.
$restored->stop('immediate');
$restored->start;
is_good($restored, $before, 20, 24, 'recovery: the last one is good still');
is_told($restored, $within, 25, 'recovery: and a client that saw a lost event gets a reset');
$restored->stop;

# A copy that is started as it is, beside the original.
$node->backup('copy');
my $copy = clone('copy', $node, 'copy', '');
$copy->start;
is_good($copy, $after, 30, 30, 'copy: a position of before is good');
$client = notifyd_client($node);
$client->subscribe('t');
insert($node, 40);
my $original = $client->next_event;
$client->close;
insert($copy, $_) for 31 .. 33;
is_told($copy, $original, 34, 'copy: one that the original has given out since is not');
$copy->stop;

# A data directory that is put back.
my ($there, $aside) = ($node->data_dir, $node->data_dir . '.aside');
$node->stop;
system_or_bail('cp', '-a', $there, $aside);
$node->start;
wait_healthy($node);
$client = notifyd_client($node);
$client->subscribe('t');
insert($node, 41);
my $lost = $client->next_event;
$client->close;
$node->stop;
system_or_bail('rm', '-rf', $there);
system_or_bail('mv', $aside, $there);
$node->start;
is_good($node, $original, 42, 42, 'put back: a position of before is good');
is_told($node, $lost, 43, 'put back: one of after is not');

# What version 1.0 has left behind: for each timeline of PostgreSQL's up to which id the ones before
# are good.
my ($middle, $late) = @chain[2, 3];
$node->safe_psql('postgres', "DELETE FROM notifyd.timeline; INSERT INTO notifyd.timeline (timeline, last_id, at) VALUES (1, 0, now()), (2, $middle->{id}, now())");
$node->restart;
is_good($node, { position => "1-$middle->{id}" }, 4, 50, 'version 1.0: a position of the part in common is good');
is_told($node, { position => "1-$late->{id}" }, 51, 'version 1.0: one of the other part is not');
is_good($node, { position => "2-$late->{id}" }, 5, 52, 'version 1.0: one of the last timeline is good');

# A database made from another one as a template, which takes its place.
$node->safe_psql('postgres', 'CREATE DATABASE m');
$node->safe_psql('m', q{
	CREATE EXTENSION pg_notifyd;
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
wait_healthy($node, 'm');
$client = notifyd_client($node, database => 'm');
$client->subscribe('t');
insert($node, 1, 'm');
my $common = $client->next_event;
$client->close;
$node->safe_psql('postgres', 'CREATE DATABASE c TEMPLATE m');
wait_healthy($node, $_) for 'm', 'c';
$client = notifyd_client($node, database => 'm');
$client->subscribe('t');
insert($node, 2, 'm');
my $of_template = $client->next_event;
$client->close;
insert($node, $_, 'c') for 3 .. 5;
$node->safe_psql('postgres', $_) for 'ALTER DATABASE m RENAME TO old', 'ALTER DATABASE c RENAME TO m';
is_good($node, $common, 3, 6, 'template: a position of before is good', 'm');
is_told($node, $of_template, 7, 'template: one that the template has given out since is not', 'm');

$node->stop;
done_testing();
