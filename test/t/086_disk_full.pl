# The log cannot be written: the transaction that needs it fails as a whole, others continue, and
# all succeed when there is space again. A limit on file sizes, set on the postmaster and inherited
# by backends, simulates a full disk.

use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('full', conf => "pg_notifyd.client_buffer = '256MB'\n");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
	SELECT notify_grant('big', 'guest');
});
my $client = notifyd_client($node);
$client->subscribe('t');
$client->subscribe('big');

my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

sub limit_file_size
{
	system_or_bail('prlimit', '--pid', $postmaster, '--fsize=' . shift() . ':unlimited');
	return;
}

# A row, and a message that is large in the log and nowhere else, until the log's file is at its
# limit.
limit_file_size(24 * 1024 * 1024);
my ($id, $status, $out, $err) = (0, 0);
while ($status == 0 && $id < 100)
{
	$id++;
	($status, $out, $err) = $node->psql('postgres',
		qq{BEGIN; INSERT INTO t VALUES ($id); SELECT notify_send('big', json_build_object('n', $id, 'v', repeat('x', 1000000))); COMMIT},
		on_error_stop => 1);
}
isnt($status, 0, "transaction $id fails");
like($err, qr/could not (?:extend|write)/, 'and says why');
is($node->safe_psql('postgres', "SELECT count(*) FROM t WHERE id >= $id"), 0, 'as a whole');
is($node->safe_psql('postgres', 'CREATE TABLE unwatched AS SELECT 1 AS one; SELECT one FROM unwatched'), 1, 'other sessions continue');

limit_file_size('unlimited');
$node->safe_psql('postgres', "INSERT INTO t VALUES (1000)");
$client->wait_for(sub { grep { $_->{op} eq 'INSERT' && $_->{key}{id} == 1000 } $client->events }, 'the event with space back');
pass('with space back events come again');
is_deeply(
	[ map { $_->{op} eq 'INSERT' ? $_->{key}{id} : $_->{payload}{n} } $client->events ],
	[ (map { ($_, $_) } 1 .. $id - 1), 1000 ],
	'and all committed events arrived once');
is($node->safe_psql('postgres', q{SELECT in_flight FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'}),
	0, 'nothing is left in flight');

$node->stop;
done_testing();
