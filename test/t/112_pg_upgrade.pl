# pg_upgrade keeps the log: clients resume on the new cluster, with positions of any timeline of the
# old one.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = notifyd_node('old', init => { allows_streaming => 1 });
$old->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
	SELECT notify_grant('lobby', 'guest');
	CREATE FUNCTION f(a t) RETURNS int LANGUAGE sql AS 'SELECT 1';
	SELECT notify_expose('f(t)'), notify_expose('t');
	CREATE FUNCTION message(op text, old t, new t) RETURNS json LANGUAGE sql AS 'SELECT to_json(new.id)';
	SELECT notify_watch('t', channel => 'payloads', payload => 'message');
	CREATE TYPE typed AS (a int);
	SELECT notify_channel('typed', 'typed');
});
my $client = notifyd_client($old);
$client->subscribe('t');
$old->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
my $first = $client->next_event;
$client->close;

# On a later timeline of PostgreSQL, which the new cluster does not continue.
$old->stop;
$old->set_standby_mode;
$old->start;
$old->promote;
wait_healthy($old);
$client = notifyd_client($old);
$client->subscribe('t');
$old->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
$old->safe_psql('postgres', 'INSERT INTO t SELECT * FROM generate_series(1001, 2000)');
my $second = ($client->next_events(1001))[0];
$client->close;
$old->stop;

my $new = notifyd_node('new', start => 0);
chdir $PostgreSQL::Test::Utils::tmp_check or die;
my $bin = $old->config_data('--bindir');
command_ok([ 'pg_upgrade', '--link', '--no-sync', '-b', $bin, '-B', $bin, '-d', $old->data_dir, '-D', $new->data_dir,
	'-p', $old->port, '-P', $new->port, '-s', $new->host, '-U', (getpwuid $<)[0] ], 'pg_upgrade');
$new->start;
wait_healthy($new);
is($new->safe_psql('postgres', 'SELECT timeline_id FROM pg_control_checkpoint()'), 1, 'the new cluster is on a timeline of its own');
is($new->safe_psql('postgres', q{SELECT string_agg(concat(name, function, relation), ' ' ORDER BY name) FROM notifyd.exposed}), 'ff(t) tt',
	'what is exposed still is');
is($new->safe_psql('postgres', q{SELECT payload, state FROM notifyd.watches WHERE channel = 'payloads'}), 'public.message|active',
	'a watch still has its payload function');
like(($new->psql('postgres', 'DROP FUNCTION message'))[2], qr/because a watch uses it/, 'which is kept');
is($new->safe_psql('postgres', 'SELECT * FROM notifyd.channels'), 'typed|typed', 'a channel still has its type');

foreach my $case ([ $first, 2 ], [ $second, 1001 ])
{
	my ($event, $next) = @$case;
	my $again = notifyd_client($new);
	$again->subscribe($_, since => $event->{position}) for 't', 'lobby';
	is($again->next_event->{key}{id}, $next, "an event of before follows on row $event->{key}{id}");
	$new->safe_psql('postgres', 'INSERT INTO t SELECT max(id) + 1 FROM t');
	my $last = $new->safe_psql('postgres', 'SELECT max(id) FROM t');
	$again->wait_for(sub { grep { $_->{key}{id} == $last } $again->events }, 'the event of the new cluster');
	is(scalar(grep { ($_->{method} // '') eq 'reset' } $again->received), 0, 'without a reset');
}

$new->stop;
done_testing();
