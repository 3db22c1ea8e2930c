# New files are installed while the server runs: the gateway continues as the program that the
# server was started with. A gateway of another version is refused with a message, and the right one
# is used when it is installed.
use strict;
use warnings;

use File::Copy qw(copy);
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main');
my $program = $node->config_data('--bindir') . '/pg_notifyd-gateway';
my $kept = "$program.kept";
END { rename $kept, $program if defined $kept && -e $kept; }

# Put another program in the gateway's place, as an installation does: under its name there is
# another file.
sub replace
{
	my $by = shift;
	-e $kept || rename($program, $kept) || die "$program: $!";
	return if !defined $by;
	copy($by, "$program.new") && chmod(0755, "$program.new") && rename("$program.new", $program) or die "$program: $!";
	return;
}

sub logged
{
	my ($from, $regexp) = @_;
	return slurp_file($node->logfile, $from) =~ $regexp;
}

$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});
my $client = notifyd_client($node);
$client->subscribe('t');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
my $position = $client->next_event->{position};

my $id = 1;
foreach my $case ([ '/bin/true', 'with another program in its place' ], [ undef, 'without one' ])
{
	my ($by, $what) = @$case;
	my $from = -s $node->logfile;
	unlink $program if -e $kept;
	replace($by);
	my ($pid) = gateway_pids($node);
	kill 'KILL', $pid;
	$client->wait_closed;
	$node->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$id . ')');
	wait_for(sub { $client = notifyd_client($node); $client->served }, "a gateway $what");
	$client->subscribe('t', since => $position);
	my $event = $client->next_event;
	is($event->{key}{id}, $id, "$what: the server keeps using the gateway it was started with, and nothing is lost");
	$position = $event->{position};
	ok(!logged($from, qr/could not|version/), "$what: and has nothing to complain of");
}

# A server that is started with a program of another version: that of 1.0 ended like this.
replace('/bin/true');
my $from = -s $node->logfile;
$node->restart;
my $said = qr/could not start a gateway of pg_notifyd: "[^"]*" is of another version than the loaded library, which is of version .*\n.*HINT:  Install the files of one version and restart the server/;
wait_for(sub { logged($from, $said) }, 'the report');
pass('a program of another version is reported with a hint');
unlike(slurp_file($node->logfile, $from), qr/unexpected frame|exited with exit code 0/, 'in plain words alone');
rename $kept, $program or die "$program: $!";
wait_healthy($node);
$client = notifyd_client($node);
is($client->subscribe('t', since => $position)->{channel}, 't', 'the right program is used as soon as it exists');
my @said = slurp_file($node->logfile, $from) =~ /is of another version/g;
is(scalar @said, 1, 'it was said once');

done_testing();
