# Stream numbers wrap around while an older stream still uses one of them. With fail points they
# have 8 bits.

use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('numbers');
$node->safe_psql('postgres', q{
	CREATE TABLE old (id int PRIMARY KEY);
	CREATE TABLE new (id int PRIMARY KEY);
	GRANT SELECT ON old, new TO guest;
	SELECT notify_watch('old'), notify_watch('new');
});
my $keeps = notifyd_client($node);
$keeps->subscribe('old');
my $changes = notifyd_client($node);
for my $i (1 .. 600)
{
	$changes->subscribe('new');
	$changes->unsubscribe('new');
}
$changes->subscribe('new');
$node->safe_psql('postgres', 'INSERT INTO old VALUES (1); INSERT INTO new VALUES (2)');
is($keeps->next_event->{table}, 'old', 'a stream that stays has its events');
is($changes->next_event->{table}, 'new', 'one of the others has its own');
$node->safe_psql('postgres', 'INSERT INTO new VALUES (3); INSERT INTO old VALUES (4)');
is($keeps->next_event->{new}{id}, 4, 'neither has those of the other');
is($changes->next_event->{new}{id}, 3, 'from then on');
unlike(slurp_file($node->logfile), qr/unexpected frame/, 'and the gateway was told no number twice');

$_->close for $keeps, $changes;
$node->stop;
done_testing();
