# Pages of the log that are damaged, and log tables that have been altered, are reported, and no
# process crashes by them.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Checksums would find the damage before we do.
my $node = notifyd_node('damaged', init => { no_data_checksums => 1 });
$node->safe_psql('postgres', q{
	CREATE TABLE a (id serial PRIMARY KEY, v text);
	GRANT SELECT ON a TO guest;
	SELECT notify_watch('a');
});
my $client = notifyd_client($node);
my $begin = $client->subscribe('a')->{position};
$node->safe_psql('postgres', q{
	DO $$ BEGIN
		FOR i IN 1 .. 20 LOOP
			INSERT INTO a (v) SELECT repeat('v', 500) FROM generate_series(1, 10);
			COMMIT;
		END LOOP;
	END $$});
$client->next_events(200);
$client->close;
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', q{SELECT pg_relation_filepath('notifyd.log_0')});
$node->stop;
my $sound = slurp_file($file);

# While the server is down: put the table back as it was, with these bytes of one block overwritten.
sub damage
{
	my ($block, $at, $bytes) = @_;
	my $content = $sound;
	substr($content, $block * 8192 + $at, length $bytes) = $bytes;
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $content;
	close $out or die "$file: $!";
	return;
}

# Where the second row of block 2 is: its line pointer has 15 bits of offset, 2 of flags, 15 of
# length.
my $pointer = unpack 'L', substr($sound, 2 * 8192 + 24 + 4, 4);
my $row = $pointer & 0x7fff;
my $length = $pointer >> 17;
my %damages = (
	'a row that ends behind its page' => [ 28, pack('L', $row | 1 << 15 | 0x7fff << 17) ],
	'a row that begins behind its page' => [ 28, pack('L', 0x7ff8 | 1 << 15 | $length << 17) ],
	'a row that is shorter than its columns' => [ 28, pack('L', $row | 1 << 15 | 40 << 17) ],
	'more line pointers than a page can have' => [ 12, pack('SS', 8192, 8192) ],
	'a header that is too long' => [ $row + 22, pack('C', 248) ],
	'another number of columns' => [ $row + 18, pack('S', 1600) ],
	'a column that ends behind its row' => [ $row + 24 + 57, pack('C', 0xff) ],
	'a row of a later block' => [ $row + 24 + 28, pack('l', 1000000) ],
);
for my $damage (sort keys %damages)
{
	damage(2, @{ $damages{$damage} });
	$node->start;
	wait_healthy($node);
	my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	my $log = -s $node->logfile;
	my $reader = notifyd_client($node);
	$reader->send({ jsonrpc => '2.0', id => 1, method => 'subscribe', params => { channel => 'a', since => $begin } });
	wait_for(sub { slurp_file($node->logfile, $log) =~ /ERROR:  block 2 of table "notifyd.log_0" is damaged/ }, "$damage is reported");
	like(slurp_file($node->logfile, $log), qr/DETAIL:  The block has .*HINT:  Check the server/s, "$damage: reported");
	$reader->close;

	# Those who do not read that block are served.
	my $live;
	wait_for(sub { $live = eval { my $new = notifyd_client($node); $new->subscribe('a'); $new } }, 'a feed');
	my $id = $node->safe_psql('postgres', q{INSERT INTO a (v) VALUES ('after') RETURNING id});
	is($live->next_event->{key}{id}, $id, 'others get events');
	$live->close;
	unlike(slurp_file($node->logfile, $log), qr/terminated by signal|PANIC/, 'and nothing crashes');
	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server still runs');
	$node->stop;
}

# A table that was altered while the library was not loaded, or of another version of the extension.
damage(2, '');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->start;
$node->safe_psql('postgres', 'ALTER TABLE notifyd.log_0 ALTER COLUMN seq TYPE bigint');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'pg_notifyd'");
my $log = -s $node->logfile;
$node->restart;
my ($result, undef, $stderr) = $node->psql('postgres', "INSERT INTO a (v) VALUES ('altered')");
like($stderr, qr/ERROR:  table "notifyd.log_0" has been altered.*DETAIL:.*HINT:/s, 'a writer does not write to an altered table');
wait_for(sub { slurp_file($node->logfile, $log) =~ /has been altered.*"pg_notifyd feed".*exited/s }, 'the feed reports it, too');
$node->safe_psql('postgres', 'DROP EXTENSION pg_notifyd');
$node->safe_psql('postgres', q{CREATE EXTENSION pg_notifyd; SELECT notify_watch('a')});
wait_healthy($node);
$client = notifyd_client($node);
$client->subscribe('a');
$node->safe_psql('postgres', q{INSERT INTO a (v) VALUES ('anew')});
is($client->next_event->{new}{v}, 'anew', 'a new extension works');

done_testing();
