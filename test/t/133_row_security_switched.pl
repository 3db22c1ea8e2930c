# Row security that is switched on or off while the feed is in the middle of a round.
use strict;
use warnings;

use NotifydTest;
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main', roles => ['reader']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }
sub user { my ($sub) = @_; return notifyd_client($node, headers => { notifyd_bearer('reader', $sub) }); }

sql(q{
	CREATE FUNCTION uid() RETURNS int LANGUAGE sql STABLE AS $$
		SELECT (current_setting('request.jwt.claims', true)::json->>'sub')::int $$;
	CREATE FUNCTION slow(id int) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
		BEGIN PERFORM pg_sleep(0.2); RETURN true; END $$;
	CREATE TABLE gate (id int PRIMARY KEY);
	CREATE TABLE members (u int, tenant int);
	CREATE TABLE orders (id int PRIMARY KEY, tenant int);
	INSERT INTO members VALUES (1, 10);
	ALTER TABLE gate ENABLE ROW LEVEL SECURITY;
	ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON gate USING (uid() < 0 OR slow(id));
	CREATE POLICY p ON orders USING (tenant IN (SELECT tenant FROM members WHERE u = (SELECT uid())));
	GRANT SELECT ON gate, members, orders TO reader;
});
sql("SELECT notify_watch('$_')") for qw(gate orders);

my $gate = user(1);
$gate->subscribe('gate');
my $client = user(1);
$client->subscribe('orders');
my $order = 0;
my $tenant = 100;
my $asleep = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_notifyd feed%' AND wait_event = 'PgSleep'};

# Without a reset that may come before it.
sub next_order { return $client->next_event->{key}{id}; }

# One round has the events of this transaction. While the first one is evaluated, switch; the second one
# then has its subscriptions placed again, because a membership has changed.
sub switch
{
	my ($change, $name) = @_;

	$order++;
	sql("INSERT INTO orders VALUES ($order, 10)");
	is(next_order(), $order, "$name: an event before");
	$order++;
	$tenant++;
	my $had = my @had = $gate->received;
	sql('BEGIN', "INSERT INTO gate VALUES ($order)", "INSERT INTO members VALUES (2, $tenant)", "INSERT INTO orders VALUES ($order, 10)", 'COMMIT');
	wait_for(sub { scalar(my @now = $gate->received) > $had || sql($asleep) }, 'the evaluation, or its end');
	sql("ALTER TABLE orders $change ROW LEVEL SECURITY");
	is(next_order(), $order, "$name: the event of the round is not lost");
	$order++;
	sql("INSERT INTO orders VALUES ($order, 10)");
	is(next_order(), $order, "$name: an event after");
	is($gate->next_message('event')->{op}, 'INSERT', "$name: the event that was evaluated");
}

switch('DISABLE', 'switched off');
switch('ENABLE', 'switched on');
switch('DISABLE', 'switched off again');

done_testing();
