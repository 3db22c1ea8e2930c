# A crash empties unlogged tables without an event: subscribers get a reset at the next start, and
# none after a shutdown.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main');

$node->safe_psql('postgres', q{
	CREATE UNLOGGED TABLE volatile (id int PRIMARY KEY);
	CREATE TABLE kept (id int PRIMARY KEY);
	GRANT SELECT ON volatile, kept TO guest;
	SELECT notify_watch('volatile'), notify_watch('kept');
	INSERT INTO volatile VALUES (1);
	INSERT INTO kept VALUES (1);
});

# What both channels have told after a start: the channel, and what it was.
sub told_since
{
	my ($position, $id) = @_;
	my $client = notifyd_client($node);
	my @told;

	$client->subscribe($_, since => $position) for 'volatile', 'kept';
	$node->safe_psql('postgres', "INSERT INTO volatile VALUES ($id); INSERT INTO kept VALUES ($id)");
	while ((grep { /INSERT/ } @told) < 2)
	{
		my $params = $client->next_message;
		push @told, $params->{channel} . ' ' . ($params->{op} // $params->{reason}) if $params->{channel};
	}
	$client->close;
	return join ', ', sort @told;
}

my $client = notifyd_client($node);
$client->subscribe($_) for 'volatile', 'kept';
my $position = $client->ping->{position};
$client->close;

$node->restart;
wait_healthy($node);
is(told_since($position, 2), 'kept INSERT, volatile INSERT', 'no reset after a shutdown');

$client = notifyd_client($node);
$client->subscribe('kept');
$position = $client->ping->{position};
$client->close;
$node->stop('immediate');
$node->start;
wait_healthy($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM volatile'), 0, 'a crash has emptied the table');
is(told_since($position, 3),
	'kept INSERT, volatile INSERT, volatile the table is unlogged and was emptied when the server recovered',
	'its channel is reset, and no other');

$client = notifyd_client($node);
$client->subscribe('kept');
$position = $client->ping->{position};
$client->close;
$node->restart;
wait_healthy($node);
is(told_since($position, 4), 'kept INSERT, volatile INSERT', 'and only once');

done_testing();
