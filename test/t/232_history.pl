# The last events of a channel, as workers read them for WAMP's event history: which events, in which
# order, and what a role may see of them.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => [ 'member', 'other' ]);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE notes (id int PRIMARY KEY, owner text, text text);
	ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON notes USING (owner = current_user);
	CREATE TABLE plain (id int PRIMARY KEY, hidden text);
	GRANT SELECT ON notes TO member, other;
	GRANT SELECT (id) ON plain TO member;
	SELECT notify_watch('notes'), notify_watch('plain'), notify_watch('plain', channel => 'ids', cols => '{}');
	SELECT notify_grant('talk', 'member'), notify_grant('news.*', 'member');
});
my $member = notifyd_client($node, headers => { notifyd_bearer('member', 1) });
my $other = notifyd_client($node, headers => { notifyd_bearer('other', 1) });

sub answer
{
	my ($client, $channel, $limit) = @_;
	return $client->call('call', { name => 'wamp.subscription.get_events', args => { channel => $channel, limit => $limit // 10 } });
}

# The events, oldest first.
sub history
{
	my $result = answer(@_)->{result};
	return map { $result->{$_} } sort { $a <=> $b } keys %$result;
}

# messages
is_deeply([ history($member, 'talk') ], [], 'no events');
sql(map { "SELECT notify_send('talk', '$_'), notify_send('news.a', '-$_')" } 1 .. 20);
is_deeply([ map { $_->{payload} } history($member, 'talk') ], [ 11 .. 20 ], 'the last ten, the newest one last');
is_deeply([ map { $_->{payload} } history($member, 'talk', 3) ], [ 18 .. 20 ], 'fewer');
is_deeply([ map { $_->{payload} } history($member, 'talk', 1000) ], [ 1 .. 20 ], 'all');
is_deeply([ map { $_->{payload} } history($member, 'news.a', 2) ], [ -19, -20 ], 'by a grant on a pattern');
my ($last) = history($member, 'talk', 1);
$member->subscribe('talk', since => sprintf('%s-%d', (split /-/, $last->{position})[0], $last->{id} - 2));
is_deeply($member->next_event, $last, 'the same event as a subscriber gets');
like(answer($other, 'talk')->{error}{message}, qr/^no such channel/, 'not without the privilege');
is(answer($member, 'talk', $_)->{error}{code}, -32602, "not $_ events") for 0, 1001;

# other events between them, more than one piece of the log
sql(q{SELECT count(notify_send('news.b', to_json(i))) FROM generate_series(1, 3000) AS i},
	map { "SELECT notify_send('news.c', '$_')" } 1 .. 1500);
is_deeply([ map { $_->{payload} } history($member, 'talk', 3) ], [ 18 .. 20 ], 'behind many others');
is_deeply([ map { $_->{payload} } history($member, 'news.b', 3) ], [ 2998 .. 3000 ], 'of a large transaction');
is(scalar(() = history($member, 'news.b', 1000)), 1000, 'at most a thousand');

# privileges
sql(q{INSERT INTO plain VALUES (1, 'canary')});
is(answer($member, 'plain')->{error}{code}, -32003, 'a table of which the role may read some columns only');
is_deeply([ map { $_->{key} } history($member, 'ids') ], [ { id => 1 } ], 'events that have these only');

# row security, as for a replay
sql(q{
	INSERT INTO notes VALUES (1, 'member', 'a'), (2, 'other', 'canary');
	UPDATE notes SET owner = 'other', text = 'canary' WHERE id = 1;
	UPDATE notes SET owner = 'member', text = 'b' WHERE id = 2;
	UPDATE notes SET text = 'c' WHERE id = 2;
	DELETE FROM notes;
});
my @seen = history($member, 'notes');
my $replay = notifyd_client($node, headers => { notifyd_bearer('member', 1) });
$replay->subscribe('notes', since => sprintf('%s-%d', (split /-/, $seen[0]{position})[0], $seen[0]{id} - 1));
my @replayed = map { $replay->next_event } @seen;
is_deeply(\@seen, \@replayed, 'events of a table with row security are those of a replay');
is_deeply([ map { $_->{op} } @seen ], [ 'INSERT', 'DELETE', 'INSERT', 'UPDATE', 'DELETE' ], 'as rows come and go');
unlike(Mojo::JSON::encode_json(\@seen), qr/canary/, 'without what the role may not see');
is_deeply([ map { $_->{op} } history($other, 'notes') ], [ 'INSERT', 'INSERT', 'DELETE', 'DELETE' ], 'another role');
sql(q{REVOKE SELECT ON notes FROM other});
is(answer($other, 'notes')->{error}{code}, -32003, 'and after REVOKE none');

done_testing();
