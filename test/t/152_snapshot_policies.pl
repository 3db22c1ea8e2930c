# Rows of a snapshot and the events after it are those of the same row security, whenever it changes.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => ['reader']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }
sub user { my ($sub) = @_; return notifyd_client($node, headers => { notifyd_bearer('reader', $sub) }); }

sql(q{
	CREATE TABLE members (u int, tenant int);
	CREATE TABLE orders (id int PRIMARY KEY, tenant int);
	CREATE TABLE marks (id int PRIMARY KEY);
	INSERT INTO members VALUES (1, 10), (2, 20);
	INSERT INTO orders VALUES (1, 10), (2, 20), (3, 30);
	INSERT INTO marks VALUES (0);
	GRANT SELECT ON orders, members, marks TO reader;
	ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY members ON orders USING (tenant IN (SELECT tenant FROM members WHERE u = (notify_claims() ->> 'sub')::int));
	CREATE TABLE plain (id int PRIMARY KEY);
	CREATE TABLE odd (id int PRIMARY KEY);
	INSERT INTO odd VALUES (1), (2);
	ALTER TABLE odd ENABLE ROW LEVEL SECURITY;
	CREATE POLICY odd ON odd USING (id > -pg_backend_pid());
	GRANT SELECT ON plain, odd TO reader;
	SELECT notify_watch('orders');
	SELECT notify_watch('orders', channel => 'both');
	SELECT notify_watch('plain', channel => 'both');
	SELECT notify_watch('odd');
	SELECT notify_watch('marks');
});

# The ids of the set of a channel that a client keeps by the rules.
sub set_of
{
	my ($client, $channel) = @_;
	my %set;
	for my $message ($client->received)
	{
		my $params = $message->{params} or next;
		next if ($params->{channel} // '') ne $channel;
		%set = () if $message->{method} eq 'reset';
		$set{ $_->{id} } = 1 for @{ $params->{rows} // [] };
		next if $message->{method} ne 'event';
		$params->{op} eq 'DELETE' ? delete $set{ $params->{key}{id} } : ($set{ $params->{key}{id} } = 1);
	}
	return join ' ', sort { $a <=> $b } keys %set;
}

# Wait for the end of a snapshot of the channel.
sub whole
{
	my ($client, $channel) = @_;
	$client->wait_for(sub { grep { ($_->{method} // '') eq 'rows' && $_->{params}{channel} eq $channel && $_->{params}{done} } $client->received }, "the rows of $channel");
	return;
}

sub processes { my ($type, $what) = @_; return sql("SELECT coalesce(string_agg($what, ','), '') FROM pg_stat_activity WHERE backend_type = 'pg_notifyd $type'"); }
sub worker_states { return processes('worker', q{state || coalesce(' ' || wait_event_type, '')}); }
sub request { my ($client, $channel) = @_; return $client->send({ jsonrpc => '2.0', id => 1, method => 'subscribe', params => { channel => $channel, snapshot => \1 } }); }
sub has_rows { my ($client, $channel) = @_; return $client->wait_for(sub { grep { ($_->{method} // '') eq 'rows' && $_->{params}{channel} eq $channel && @{ $_->{params}{rows} } } $client->received }, "rows of $channel"); }

# The feed cannot know the policies' values when the subscription begins, and they change before it can.
my $other = user(1);
$other->subscribe('marks', snapshot => \1);
has_rows($other, 'marks');
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE members IN ACCESS EXCLUSIVE MODE; UPDATE members SET tenant = tenant + 10');
my $late = user(1);
request($late, 'orders');
$late->subscribe('marks');
my $third = user(1);
$third->subscribe('marks', snapshot => \1);
has_rows($third, 'marks');
wait_for(sub { worker_states() !~ /active(?! Lock)/ }, 'workers that wait for the lock or for queries');
$session->query_safe('COMMIT');
has_rows($late, 'orders');
sql('INSERT INTO orders VALUES (4, 20)');
$late->wait_for(sub { set_of($late, 'orders') =~ /\b4\b/ }, 'the last row');
is(set_of($late, 'orders'), '2 4', 'rows that are read before the feed knows the policies are those of the policies that it finds');

# They change while the feed does not look, and back again; the rows are read in between.
$session->query_safe('BEGIN; LOCK TABLE plain IN ACCESS EXCLUSIVE MODE');
my $between = user(1);
request($between, 'both');
wait_for(sub { worker_states() =~ /active Lock/ }, 'a worker that waits for the lock');
my $feed = processes('feed', 'pid::text');
kill STOP => $feed;
sql('UPDATE members SET tenant = tenant + 10');
$session->query_safe('COMMIT');
has_rows($between, 'both');
is(set_of($between, 'both'), '3', 'rows of values that the feed does not see');
sql('UPDATE members SET tenant = tenant - 10');
kill CONT => $feed;
sql('INSERT INTO orders VALUES (5, 20)');
$between->wait_for(sub { set_of($between, 'both') =~ /\b5\b/ }, 'the last row');
is(set_of($between, 'both'), '2 4 5', 'are read again');

# A policy that is never the same in two processes.
my $odd = user(1);
$odd->subscribe('odd', snapshot => \1);
whole($odd, 'odd');
sql('INSERT INTO odd VALUES (3)');
$odd->wait_for(sub { grep { ($_->{channel} // '') eq 'odd' } $odd->events }, 'an event');
ok((grep { ($_->{method} // '') eq 'reset' } $odd->received), 'its rows are read again');
is(set_of($odd, 'odd'), '1 2 3', 'policies that cannot be compared do not keep the stream from beginning');

$session->quit;
$_->close for $other, $late, $third, $between, $odd;
done_testing();
