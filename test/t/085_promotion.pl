# A standby is promoted, with and without the last events that clients have seen; the extension is
# dropped and created again. Ids are never reused, and clients that saw lost events get a reset.

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

my $primary = notifyd_node('primary', init => { allows_streaming => 1 });
$primary->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
my $client = notifyd_client($primary);
$client->subscribe('t');
insert($primary, 1);
insert($primary, 2);
my @seen = $client->next_events(2);

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->{notifyd_port} = PostgreSQL::Test::Cluster::get_free_port();
$standby->append_conf('postgresql.conf', "pg_notifyd.port = $standby->{notifyd_port}");
$standby->start;
insert($primary, 3);
push @seen, $client->next_event;
$primary->wait_for_catchup($standby);

# The standby is cut off, and the primary continues for a while.
$standby->stop('fast');
insert($primary, 4);
push @seen, $client->next_event;
my $timeline = $seen[3]{position} =~ s/-.*//r;
$primary->stop('immediate');
$standby->start;
$standby->promote;
wait_healthy($standby);
is($standby->safe_psql('postgres', 'SELECT max(id) FROM t'), 3, 'the promoted standby lacks the last row');

# A client that has not seen the lost part resumes without a reset.
my $lucky = notifyd_client($standby);
is($lucky->subscribe('t', since => $seen[1]{position})->{position} =~ s/^\d+-//r,
	$seen[1]{id}, 'a position of the common history is good');
insert($standby, 5);
my @rest = $lucky->next_events(2);
is_deeply([ map { $_->{key}{id} } @rest ], [ 3, 5 ], 'the events in between and later ones');
is($rest[0]{id}, $seen[2]{id}, 'an event has the same id on both');
unlike($rest[1]{position}, qr/^$timeline-/, 'and the timeline is a new one');
cmp_ok($rest[1]{id}, '>', $seen[3]{id}, 'ids continue after those of the lost part');
is(scalar(grep { ($_->{method} // '') eq 'reset' } $lucky->received), 0, 'without a reset');

# Also who has seen the last event that is common.
my $edge = notifyd_client($standby);
$edge->subscribe('t', since => $seen[2]{position});
is($edge->next_event->{key}{id}, 5, 'the last common position is good');

# A client that has seen it gets a reset.
my $unlucky = notifyd_client($standby);
my $result = $unlucky->subscribe('t', since => $seen[3]{position});
my $reset = $unlucky->next_message('reset');
like($reset->{reason}, qr/timeline/, 'a position of the lost part gets a reset');
insert($standby, 6);
is($unlucky->next_event->{key}{id}, 6, 'and continues');

# Dropped and created again: other tables, other ids, and old positions are known to be too old.
my $old = ($lucky->events)[-1]{position};
my $old_id = ($lucky->events)[-1]{id};
$standby->safe_psql('postgres', q{DROP EXTENSION pg_notifyd; CREATE EXTENSION pg_notifyd; SELECT notify_watch('t')});
wait_for(
	sub {
		my $again = notifyd_client($standby);
		return 0 if !$again->served;
		my $answer = $again->call('subscribe', { channel => 't', since => $old });
		return 0 if $answer->{error};
		$client = $again;
		return 1;
	},
	'the new feed');
like($client->next_message('reset')->{reason}, qr/retained/, 'a position of before gets a reset');
insert($standby, 7);
my $event = $client->next_event;
is($event->{key}{id}, 7, 'and it continues');
cmp_ok($event->{id}, '>', $old_id, 'with ids that were not used before');

$standby->stop;
done_testing();
