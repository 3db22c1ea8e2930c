# Clients that read more slowly than events arrive receive them from the log.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $events = 200_000;
my $node = notifyd_node('slow', conf => "pg_notifyd.client_buffer = '1MB'\npg_notifyd.keepalive = 0\n");
$node->safe_psql(
	'postgres', q{
	CREATE TABLE big (id int PRIMARY KEY, name text);
	CREATE TABLE quiet (id int PRIMARY KEY);
	GRANT SELECT ON big, quiet TO guest;
	SELECT notify_watch('big'), notify_watch('quiet');
});

# Subscribed, and keeps of its events only how many came in order: a test that keeps them all needs
# gigabytes.
sub subscriber
{
	my (%params) = @_;
	my $client = notifyd_client($node);
	my $seen = { next => $params{from} // 1, wrong => 0, resets => 0 };

	$client->{tx}->unsubscribe('text');
	$client->{tx}->on(
		text => sub {
			my $text = $_[1];

			if ($text =~ /"channel":"big","key":\{"id":(\d+)\}/)
			{
				$1 == $seen->{next} ? $seen->{next}++ : $seen->{wrong}++;
			}
			elsif ($text =~ /"channel":"quiet","key"/) { $seen->{quiet}++ }
			elsif ($text =~ /"method":"reset"/) { $seen->{resets}++ }
			else { push @{ $client->{received} }, decode_json($text) }
		});
	$client->subscribe('quiet');
	$client->subscribe('big', $params{since} ? (since => $params{since}) : ());
	return ($client, $seen);
}

sub got_all
{
	my ($client, $seen, $last, $who) = @_;
	$client->wait_for(sub { $seen->{next} > $last || $seen->{wrong} }, "$who: event $last");
	is("$seen->{next} $seen->{wrong} $seen->{resets}", $last + 1 . ' 0 0', "$who gets every event once, in order");
	return;
}

# One transaction, many times the buffer.
my ($reading, $read) = subscriber();
my ($stopped, $late) = subscriber();
my ($never) = subscriber();
$stopped->stop_reading;
$never->stop_reading;
$node->safe_psql('postgres', "INSERT INTO big SELECT i, repeat('x', 50) FROM generate_series(1, $events) i");
got_all($reading, $read, $events, 'a client that reads');

# The others do not matter to it.
my $start = time;
$node->safe_psql('postgres', 'INSERT INTO quiet VALUES (1)');
$reading->wait_for(sub { $read->{quiet} }, 'the event of the quiet table');
cmp_ok(time - $start, '<', 5, 'and is not held up by those that do not');

# One that comes back has lost nothing.
$stopped->start_reading;
got_all($stopped, $late, $events, 'one that stops reading and comes back');
$stopped->wait_for(sub { $late->{quiet} }, 'the event of the quiet table');
$node->safe_psql('postgres', "INSERT INTO big VALUES ($events + 1, 'live')");
got_all($_->[0], $_->[1], $events + 1, 'live again, each') for [ $reading, $read ], [ $stopped, $late ];

# One that never reads is closed after a while, and has a position to go on from.
my $log = $node->logfile;
wait_for(sub { slurp_file($log) =~ /client \S+ is closed: \d+ bytes were queued for it/ }, 'close of the one that never reads');
my $seen = 0;
my $wrong = 0;
my $reason;
$never->{tx}->unsubscribe('text');
$never->{tx}->on(
	text => sub { $_[1] =~ /"channel":"big","key":\{"id":(\d+)\}/ and ($1 == $seen + 1 ? $seen++ : $wrong++); });
$never->start_reading;
my ($code, $why) = $never->wait_closed;
is("$code $wrong", '4008 0', 'one that never reads is closed with 4008');
like($why, qr/^too slow; resume from \d+-\d+$/, 'and a position');
my ($since) = $why =~ /(\d+-\d+)$/;
my ($resumed, $rest) = subscriber(since => $since, from => $seen + 1);
got_all($resumed, $rest, $events + 1, 'resumed from there it');

$_->close for $reading, $stopped, $resumed;
$node->stop;
done_testing();
