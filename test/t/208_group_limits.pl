# Consumer groups of roles that mean harm: more groups than there are slots, guessed deliveries, and filters with code.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', conf => "pg_notifyd.max_groups = 2\npg_notifyd.retention = '500ms'");

$node->safe_psql('postgres', q{
	CREATE ROLE mgr LOGIN;
	CREATE ROLE red LOGIN;
	CREATE ROLE blue LOGIN;
	CREATE TABLE jobs (id int PRIMARY KEY, tenant text);
	ALTER TABLE jobs OWNER TO mgr;
	ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
	CREATE POLICY mine ON jobs USING (tenant = current_user);
	GRANT SELECT ON jobs TO red, blue;
	SELECT notify_watch('jobs');
});

sub as
{
	my ($role, $sql) = @_;

	return ($node->psql('postgres', $sql, extra_params => [ '-U', $role ]))[1, 2];
}

# ---------------- more groups than slots ----------------

as('mgr', "SELECT notify_group('g' || i, '{jobs}') FROM generate_series(1, 4) i");
for my $group (1 .. 3)
{
	like((as('blue', "SELECT notify_take('g$group')"))[1], qr/permission denied for consumer group/, "group $group is not for everybody");
}
for my $group (1, 2)
{
	is((as('mgr', "SELECT notify_take('g$group')"))[1], '', "which has not taken the slot of group $group");
}
like((as('mgr', "SELECT notify_take('g3')"))[1], qr/too many consumer groups are in use/, 'the third one has none');

sub segments
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.log_segment');
}

my $restarts = "SELECT restarts FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'";
wait_for(sub { $node->safe_psql('postgres', "INSERT INTO jobs SELECT coalesce(max(id), 0) + 1, 'red' FROM jobs"); segments() >= 4 },
	'the groups keep segments of the log');
is($node->safe_psql('postgres', $restarts), '0', 'while the feed goes on');
unlike(slurp_file($node->logfile), qr/feed" \(PID \d+\) exited with exit code 1/, 'and has never failed');
as('mgr', "SELECT notify_ungroup('g' || i) FROM generate_series(1, 4) i");

# ---------------- deliveries cannot be guessed ----------------

$node->safe_psql('postgres', q{
	SELECT notify_group('g', '{jobs}'), notify_grant('g', 'red', 'consume'), notify_grant('g', 'blue', 'consume');
});
$node->safe_psql('postgres', q{INSERT INTO jobs VALUES (1000001, 'blue'), (1000002, 'red'), (1000003, 'blue'), (1000004, 'red')});
my ($red) = as('red', "SELECT id FROM notify_take('g', 9, hold => true)");
is(scalar(split /\n/, $red), 2, 'a role has two deliveries');
my ($blue) = as('blue', "SELECT id FROM notify_take('g', 9, hold => true)");
is(scalar(split /\n/, $blue), 2, 'another role has two, too');
my ($guess) = as('blue', qq{SELECT notify_ack('g', array(SELECT id + i FROM unnest('{@{[ join ',', split /\n/, $blue ]}}'::bigint[]) id,
	generate_series(-10000, 10000) i))});
is($guess, '2', 'its own deliveries tell it nothing about the others');
is((as('red', "SELECT notify_ack('g', '{@{[ join ',', split /\n/, $red ]}}')"))[0], '2', 'which are still leased');
is((grep { $_ <= 0 || $_ >= 2**53 } split /\n/, "$red\n$blue"), 0, 'JavaScript can read their numbers');

# ---------------- code of a group's owner ----------------

$node->safe_psql('postgres', q{GRANT CREATE ON SCHEMA public TO mgr});
as('mgr', q{
	CREATE TYPE colour AS ENUM ('red', 'blue');
	CREATE FUNCTION as_text(colour) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'cast as %', current_user; RETURN 'red'; END $$;
	CREATE CAST (colour AS text) WITH FUNCTION as_text(colour) AS IMPLICIT;
	CREATE TABLE things (id int PRIMARY KEY, c colour);
	SELECT notify_watch('things');
	SELECT notify_group('things', '{things}', filter => 'c=eq.red');
	INSERT INTO things VALUES (1, 'red')});
my $offset = -s $node->logfile;
is($node->safe_psql('postgres', "SELECT event #>> '{key,id}' FROM notify_take('things')"), '1', 'a superuser takes from the group of another role');
my $log = slurp_file($node->logfile, $offset);
like($log, qr/cast as mgr/, 'whose filter runs a function');
unlike($log, qr/cast as (?!mgr)/, 'as that role only');

done_testing();
