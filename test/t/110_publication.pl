# A publication FOR ALL TABLES includes the extension's tables. The publisher continues when its log
# is rotated, and a subscriber with the extension keeps its own log, watches and grants.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $setup = q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
};
my $publisher = notifyd_node('publisher', init => { allows_streaming => 'logical' });
my $subscriber = notifyd_node('subscriber', conf => "max_worker_processes = 16\n");
$_->safe_psql('postgres', $setup) for $publisher, $subscriber;
$publisher->safe_psql('postgres', q{
	CREATE TABLE elsewhere (id int PRIMARY KEY);
	SELECT notify_watch('elsewhere');
	SELECT notify_grant('lobby', 'guest');
});
$subscriber->safe_psql('postgres', 'CREATE TABLE elsewhere (id int PRIMARY KEY)');

my $own = notifyd_client($subscriber);
my $begin = $own->subscribe('t')->{position};
$subscriber->safe_psql('postgres', 'INSERT INTO t VALUES (-1)');
is($own->next_event->{key}{id}, -1, 'the subscriber has an event of its own');

# The first rows go over when the subscription copies the tables, the others one by one.
my $client = notifyd_client($publisher);
$client->subscribe('t');
$publisher->safe_psql('postgres', 'INSERT INTO t VALUES (1); CREATE PUBLICATION everything FOR ALL TABLES');
$subscriber->safe_psql('postgres',
	sprintf(q{CREATE SUBSCRIPTION s CONNECTION 'host=%s port=%d dbname=postgres' PUBLICATION everything},
		$publisher->host, $publisher->port));
$subscriber->wait_for_subscription_sync($publisher, 's');
$publisher->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
$publisher->safe_psql('postgres', "INSERT INTO t VALUES (3), (4), (5)");
$publisher->safe_psql('postgres', 'INSERT INTO t SELECT * FROM generate_series(1001, 3000)');
is(($client->next_events(2005))[-1]{key}{id}, 3000, 'the publisher delivers');

# Rotation, a few times over, with large transactions in it.
$publisher->append_conf('postgresql.conf', "pg_notifyd.retention = '100ms'");
$publisher->reload;
my $last = 10;
for my $round (1 .. 2)
{
	my $oldest = $publisher->safe_psql('postgres', q{SELECT oldest FROM notifyd.stats WHERE name = 'postgres'});
	wait_for(
		sub {
			$last++;
			$publisher->safe_psql('postgres', "INSERT INTO t VALUES ($last)");
			$client->next_event->{key}{id} == $last or die 'another event';
			return $publisher->safe_psql('postgres', q{SELECT oldest FROM notifyd.stats WHERE name = 'postgres'}) ne $oldest;
		},
		'the log is truncated');
	$publisher->safe_psql('postgres', 'DELETE FROM t WHERE id > 1000') if $round == 1;
	$client->next_events(2000) if $round == 1;
}
pass('the publisher continues after it has truncated a part of its log');
unlike(slurp_file($publisher->logfile), qr/replica identity/, 'and has nothing to complain of');
$publisher->wait_for_catchup('s');

# What has been applied is an event on the subscriber, once, beside what it had; nothing of the
# publisher's log is there.
my @want = (-1, 1, 2, 3, 4, 5, (1001 .. 3000), (11 .. $last), (1001 .. 3000));
my @got = map { $_->{key}{id} } $own->next_events(@want - 1);
is_deeply([ sort @got ], [ sort @want[ 1 .. $#want ] ], 'the subscriber delivers the changes that it has applied, once');
is($subscriber->safe_psql('postgres', q{SELECT string_agg(channel, ',') FROM notifyd.watch}), 't', 'it has its own watches');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM notifyd.channel_grant}), '0', 'and grants');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM notifyd.log_segment}), '1', 'its log is in its first table');
my $replay = notifyd_client($subscriber);
$replay->subscribe('t', since => $begin);
is(scalar(grep { $_->{key}{id} == -1 } $replay->next_events(scalar @want)), 1, 'and can be replayed from its begin');
is(scalar(grep { ($_->{method} // '') eq 'reset' } $replay->received, $own->received), 0, 'without a reset');

# A dump that is restored with triggers off is no logical replication.
$subscriber->safe_psql('postgres', q{
	SET session_replication_role = replica;
	INSERT INTO notifyd.channel_grant VALUES ('restored', 'guest');
});
is($subscriber->safe_psql('postgres', q{SELECT channel FROM notifyd.channel_grant}),
	'restored', 'session_replication_role alone discards nothing');

# TRUNCATE of a table of ours on the publisher does not empty that of the subscriber.
$publisher->safe_psql('postgres', 'TRUNCATE notifyd.log_pin');
wait_for(sub { slurp_file($subscriber->logfile) =~ /cannot truncate table "log_pin" by logical replication/ }, 'the refusal');
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION s DISABLE');
my $still = notifyd_client($subscriber);
$still->subscribe('t', since => $begin);
is($still->next_event->{key}{id}, -1, 'the log is still there');

is($publisher->safe_psql('postgres', q{
	SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class
	WHERE relnamespace = 'notifyd'::regnamespace AND relkind = 'r' AND relpersistence = 'p' AND NOT relname ~ '^(log|bulk)_[0-7]$'
		AND relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)
}), '', 'every table that is updated or deleted from has a replica identity');
is($publisher->safe_psql('postgres', q{
	SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class
	WHERE relnamespace = 'notifyd'::regnamespace AND relkind = 'r'
		AND (SELECT count(*) FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname LIKE 'keep_own%' AND tgenabled = 'R') <> 2
}), '', 'every table is protected from logical replication');

done_testing();
