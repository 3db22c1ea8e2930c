# Streams of several channels that are cut and resumed after each of their messages: the parts together are the same as
# one stream without cuts, while all channels are live, one replays a large transaction, or snapshots are read.
use strict;
use warnings;

use Mojo::JSON qw(encode_json);
use NotifydTest;
use NotifydTest::Events;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['reader'], conf => <<"EOC");
pg_notifyd.client_buffer = '64kB'
pg_notifyd.keepalive = 1s
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sub stream { return NotifydTest::Events->new($node, @_); }

sql(q{
	CREATE TABLE a (id int PRIMARY KEY, t text);
	CREATE TABLE b (id int PRIMARY KEY, t text);
	CREATE TABLE c (id int PRIMARY KEY, t text);
	GRANT SELECT ON a, b, c TO guest, reader;
	SELECT notify_watch('a'), notify_watch('b'), notify_watch('c');
});

my $start = stream('channel=a&channel=b&channel=c');
sql('INSERT INTO a VALUES (0)');
my $since = $start->next->{id};

# Transactions on one channel and on several, and one so large that its channel is replayed and the others are not.
sub write_some
{
	my ($first) = @_;
	sql(map { "INSERT INTO a VALUES ($first + $_); BEGIN; INSERT INTO b VALUES ($first + $_); INSERT INTO c VALUES ($first + $_); "
			  . "UPDATE a SET t = 'x' WHERE id = $first + $_; COMMIT" } 1 .. 3);
}
write_some(100);
sql(q{INSERT INTO b SELECT 1000 + i, repeat('b', 20000) FROM generate_series(1, 80) AS i});
write_some(200);

sub event_of { my $data = shift->{data}; return "$data->{channel}$data->{id}"; }

# The same order within each channel.
sub by_channel
{
	my %by;
	push @{ $by{ substr $_, 0, 1 } }, $_ foreach @_;
	return \%by;
}

my $n = 3 * 4 * 2 + 80;
my $query = 'channel=a&channel=b&channel=c';
my $whole = stream("$query&since=$since");
my @whole = map { event_of($_) } $whole->take($n);
is(scalar @whole, $n, 'a stream without cuts');
my %seen = map { $_ => 1 } @whole;
is(scalar keys %seen, $n, 'has each event once');

# Cut after each message: each part begins with the last id of the part before.
my ($id, @parts, $composed) = ($since);
while (@parts < $n)
{
	my $part = stream($query, headers => ["Last-Event-ID: $id"]);
	my $message = $part->next;
	$id = $part->{id};
	$composed += $id =~ /;/;
	push @parts, event_of($message);
	$part->close;
}
is_deeply(by_channel(@parts), by_channel(@whole), "cut after each of its messages, $composed times in several places");
cmp_ok($composed, '>', 0, 'channels were at different places');

# From each id of the stream, what follows is the rest.
my $again = stream("$query&since=$since");
my @messages = $again->take($n);
my @wrong;
for (my $i = 0; $i < $n; $i += 7)
{
	my $rest = stream($query, headers => ["Last-Event-ID: $messages[$i]{id}"]);
	my @rest = map { event_of($_) } $rest->take($n - 1 - $i);
	push @wrong, $i if encode_json(by_channel(@rest)) ne encode_json(by_channel(map { event_of($_) } @messages[ $i + 1 .. $n - 1 ]));
	$rest->close;
}
is_deeply(\@wrong, [], 'resumed at any of its ids, nothing is missing and nothing comes twice');

# The channel of a large transaction replays while the others are live.
my $live = stream($query);
sql('INSERT INTO a VALUES (300)');
$live->next;
sql(q{INSERT INTO b SELECT 2000 + i, repeat('b', 20000) FROM generate_series(1, 80) AS i}, 'INSERT INTO a VALUES (301)', 'INSERT INTO c VALUES (301)');
my @live = $live->take(82);
my @places = grep { $live[$_]{id} =~ /;b=/ } 0 .. 81;
foreach my $i (@places ? ($places[0], $places[ @places / 2 ], $places[-1]) : ())
{
	my $rest = stream($query, headers => ["Last-Event-ID: $live[$i]{id}"]);
	is_deeply(by_channel(map { event_of($_) } $rest->take(81 - $i)), by_channel(map { event_of($_) } @live[ $i + 1 .. 81 ]),
		"resumed where b is behind, after message $i");
	$rest->close;
}

# A slow client: its channel lags, and it still gets everything once.
my $slow = stream($query, buffer => 65536);
my $before = sql('SELECT coalesce(max(id), 0) FROM c');
sql(map { "INSERT INTO c SELECT 10000 + $_ * 100 + i, repeat('c', 3000) FROM generate_series(1, 100) AS i" } 1 .. 20);
sql('INSERT INTO a VALUES (400)');
cmp_ok(sql(q{SELECT max(queued_bytes) FROM notifyd.clients}), '<=', 65536, 'its queue is bounded');
my @slow = map { $_->{data}{channel} . $_->{data}{key}{id} } $slow->take(2001);
is_deeply([ grep { /^c/ } @slow ], [ map { my $t = $_; map { 'c' . (10000 + $t * 100 + $_) } 1 .. 100 } 1 .. 20 ], 'a slow client gets everything, in order, once');
is_deeply([ grep { /^a/ } @slow ], ['a400'], 'on all channels');

# Snapshots: a cut inside begins anew with a reset; a cut after its end does not.
sql(q{TRUNCATE c}, q{INSERT INTO c SELECT i, repeat('c', 1000) FROM generate_series(1, 200) AS i});
my $snapshot = stream('snapshot=true&channel=c&channel=a&order=id');
my $first = $snapshot->next;
is($first->{event}, 'rows', 'rows first');
like($snapshot->{id}, qr/s/, 'the id is inside of the snapshots');
my $inside = stream('snapshot=true&channel=c&channel=a&order=id', headers => ["Last-Event-ID: $snapshot->{id}"]);
my %inside;
my (%rows, $done);
while ($done // 0 < 2)
{
	my $message = $inside->next;
	push @{ $inside{ $message->{data}{channel} } }, $message->{event};
	$rows{ $message->{data}{channel} } += @{ $message->{data}{rows} // [] };
	$done++ if $message->{data}{done};
	last if ($done // 0) == 2;
}
is_deeply([ map { $inside{$_}[0] } sort keys %inside ], [ 'reset', 'reset' ], 'a stream that was cut inside begins with resets');
is($rows{c}, 200, 'and then has all rows');
unlike($inside->{id}, qr/s/, 'the id after the last rows is not inside');
sql(q{INSERT INTO c VALUES (501)}, q{INSERT INTO a VALUES (501)});
my $after = stream('snapshot=true&channel=c&channel=a&order=id', headers => ["Last-Event-ID: $inside->{id}"]);
is_deeply([ sort map { ($_->{event} // '') . $_->{data}{channel} . $_->{data}{key}{id} } $after->take(2) ], [ 'a501', 'c501' ],
	'resumed after its end: events only');

# Comments keep a quiet stream.
my $quiet = stream('channel=b');
wait_for(sub { $quiet->_more; $quiet->{text} =~ /^:$/m }, 'a comment');
pass('a comment on a quiet stream');
done_testing();
