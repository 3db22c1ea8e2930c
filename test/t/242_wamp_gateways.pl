# Two gateways: what wamp.subscription.* says of the subscriptions of both, and a gateway that is killed while calls are under way
# between their sessions.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['boss'], conf => "pg_notifyd.gateways = 2\npg_notifyd.idle_timeout = 0\n");
sub sql { return $node->safe_psql('postgres', join ';', @_); }
sql(q{SELECT notify_grant('com.*', r, p) FROM unnest('{guest,boss}'::regrole[]) r, unnest('{subscribe,publish,call,register}'::text[]) p},
	q{SELECT notify_grant('wamp.*', 'boss', p) FROM unnest('{call,subscribe}'::text[]) p},
	q{SELECT notify_grant('com.log.a', 'guest', p) FROM unnest('{subscribe,publish}'::text[]) p});
wait_healthy($node);
sub client { my ($gateway, %options) = @_; return wamp_client($node, realm => 'postgres', gateway => $gateway, %options); }

# ---------------- wamp.subscription.* ----------------

my ($here, $there) = map { client($_) } 0, 1;
my $boss = client(1, headers => { notifyd_bearer('boss', 'Bea') });
my @meta = map { "wamp.subscription.$_" } qw(on_create on_subscribe on_unsubscribe on_delete);
my %event_of = map { $boss->subscribe($_) => s/.*\.//r } @meta;

# The meta events so far about a subscription: names and sessions, and then they are forgotten.
sub told
{
	my ($id, @wanted) = @_;
	my @told;
	my $of = sub { my $what = $_[0]{args}[1]; return ref $what ? $what->{id} : $what; };
	$boss->wait_for(sub { @told = grep { $event_of{ $_->{subscription} } && $of->($_) == $id } $boss->events; @told >= @wanted }, 'meta events');
	is_deeply([ map { "$event_of{$_->{subscription}} $_->{args}[0]" } @told ], \@wanted, 'events about it: ' . join ' ', map { /(\w+)/ } @wanted);
	$boss->{received} = [];
	return @told;
}

foreach my $case ([ 'com.log.a', 'exact' ], [ 'com.talk.', 'prefix' ], [ 'com..a', 'wildcard' ])
{
	my ($topic, $match) = @$case;
	my $id = $here->subscribe($topic, match => $match);
	is($there->subscribe($topic, match => $match), $id, "$match: the same id with the other gateway");
	is($there->subscribe($topic, match => $match), $id, 'and again');
	my ($create) = told($id, 'on_create ' . $here->session, map { "on_subscribe $_" } $here->session, $there->session);
	is_deeply([ @{ $create->{args}[1] }{qw(id uri match)} ], [ $id, $topic, $match ], 'what on_create says');
	like($create->{args}[1]{created}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'and when it was');
	is_deeply($boss->result('wamp.subscription.get', [ 0 + $id ]), $create->{args}[1], 'get');
	is(scalar(grep { $_ == $id } @{ $boss->result('wamp.subscription.list')->{$match} }), 1, 'it is in the list');
	is($boss->result('wamp.subscription.lookup', [ $topic, { match => $match } ]), $id, 'lookup');
	is(scalar(grep { $_ == $id } @{ $boss->result('wamp.subscription.match', [ $match eq 'prefix' ? 'com.talk.b' : 'com.log.a' ]) }), 1, 'match');
	is_deeply([ sort @{ $boss->result('wamp.subscription.list_subscribers', [ 0 + $id ]) } ], [ sort $here->session, $there->session ], 'subscribers of both gateways');
	is($boss->result('wamp.subscription.count_subscribers', [ 0 + $id ]), 2, 'their number');
	$here->unsubscribe($id);
	told($id, 'on_unsubscribe ' . $here->session);
	is_deeply($boss->result('wamp.subscription.list_subscribers', [ 0 + $id ]), [ $there->session ], 'one has left');
	$there->unsubscribe($id);
	told($id, map { "$_ " . $there->session } qw(on_unsubscribe on_delete));
	is($boss->result('wamp.subscription.lookup', [ $topic, { match => $match } ]), undef, 'nobody has it');
	is(error_uri($boss->call('wamp.subscription.get', [ 0 + $id ])), 'wamp.error.no_such_subscription', 'so there is none');
}
is(error_uri($here->call('wamp.subscription.list')), 'wamp.error.not_authorized', 'others may not ask');
is($here->request('SUBSCRIBE', {}, 'wamp.subscription.on_create')->[4], 'wamp.error.not_authorized', 'nor listen');

# A session that ends takes its subscriptions along.
my $id = $there->subscribe('com.talk.x');
my $gone = $there->session;
told($id, "on_create $gone", "on_subscribe $gone");
$there->goodbye;
told($id, "on_unsubscribe $gone", "on_delete $gone");

# ---------------- a gateway is killed ----------------

# Sessions of the gateway that stays, 0, and of the one that does not, 1. Both have procedures that nobody answers, and others.
my %stays = map { $_ => client(0) } qw(caller callee);
my %dies = map { $_ => client(1) } qw(caller callee);
my $observer = client(0, headers => { notifyd_bearer('boss', 'Bob') });
$observer->subscribe("wamp.$_") foreach qw(session.on_leave registration.on_delete subscription.on_delete);
my @asked;

sub register_all
{
	my ($client, $where) = @_;
	$client->register("com.$where.echo", sub { return ($_[0]); });
	return $client->register("com.$where.never", sub { push @asked, $client; return undef; });		## no critic: nobody answers
}
register_all($stays{callee}, 'stays');
register_all($dies{callee}, 'dies');
$stays{callee}->register('com.both', sub { return (['stays']); }, invoke => 'first');
$dies{callee}->register('com.both', sub { return (['dies']); }, invoke => 'first');
my $mortal = $dies{callee}->subscribe('com.talk.mortal');
is($stays{caller}->result('com.dies.echo', [1]), 1, 'a call of the one');
is($dies{caller}->result('com.stays.echo', [2]), 2, 'and of the other');

my @lost = map { $stays{caller}->start('CALL', {}, 'com.dies.never') } 1 .. 20;
$dies{caller}->start('CALL', { receive_progress => \1 }, 'com.stays.never') for 1 .. 20;
wait_for(sub { @asked == 40 }, 'invocations on both sides');
my $pid = sql(q{SELECT pid FROM notifyd.stats WHERE kind = 'gateway' AND name = '1'});
kill 'KILL', $pid;

is_deeply({ map { error_uri($stays{caller}->answer('CALL', $_)) => 1 } @lost }, { 'wamp.error.canceled' => 1 }, 'each caller of its callees gets an error');
my @interrupts;
$stays{callee}->wait_for(sub { (@interrupts = grep { $_->[0] == 69 } $stays{callee}->received) >= 20 }, 'INTERRUPT');
my %invoked = map { $_->[1] => 1 } grep { $_->[0] == 68 } $stays{callee}->received;
is(scalar(grep { $invoked{ $_->[1] } } @interrupts), 20, 'each callee of its callers gets INTERRUPT');
is($interrupts[0][2]{mode}, 'killnowait', 'and nobody waits for an answer');
# One of them answers all the same; nobody gets it.
$stays{callee}->send([ 'YIELD', $interrupts[0][1], {}, ['late'] ]);
is(error_uri($stays{caller}->call('com.dies.echo', [1])), 'wamp.error.no_such_procedure', 'its registrations are gone');
is($stays{caller}->result('com.both'), 'stays', 'a shared one goes on without it');
foreach my $session (map { $_->session } values %dies)
{
	$observer->wait_for(sub { grep { ($_->{args}[0] // 0) == $session } $observer->events }, 'on_leave');
}
$observer->wait_for(sub { grep { @{ $_->{args} } > 1 && $_->{args}[1] eq $mortal } $observer->events }, 'on_delete of a subscription');
pass('its sessions and subscriptions have ended, and who listens knows');
is($observer->result('wamp.session.count'), 2 + 2, 'sessions are counted without them');
is($stays{caller}->result('com.stays.echo', [3]), 3, 'the sessions of the other gateway call each other');

# Everything works again when the gateway is back.
ok(!$_->connected || ($_->wait_closed)[0], 'the connection has ended') foreach values %dies;
$dies{$_} = client(1) foreach keys %dies;
isnt(sql(q{SELECT pid FROM notifyd.stats WHERE kind = 'gateway' AND name = '1'}), $pid, 'another gateway');
register_all($dies{callee}, 'dies');
$dies{callee}->register('com.both', sub { return (['dies']); }, invoke => 'first');
is($stays{caller}->result('com.dies.echo', [4]), 4, 'a procedure that was registered again');
is($dies{caller}->result('com.stays.echo', [5]), 5, 'a call from there');
$dies{callee}->subscribe($_) foreach 'com.talk.mortal', 'com.log.a';
$stays{caller}->publish('com.log.a', ['log']);
$stays{caller}->publish('com.talk.mortal', ['talk']);
is_deeply([ map { $dies{callee}->next_event->{args} } 1 .. 2 ], [ ['log'], ['talk'] ], 'subscriptions');

# A call whose caller and callee are both gone leaves nothing behind.
@asked = ();
$dies{caller}->start('CALL', {}, 'com.dies.never') for 1 .. 5;
wait_for(sub { @asked == 5 }, 'invocations');
kill 'KILL', sql(q{SELECT pid FROM notifyd.stats WHERE kind = 'gateway' AND name = '1'});
$dies{caller}->wait_closed;
my $again = client(1);
register_all($again, 'dies');
is($stays{caller}->result('com.dies.echo', [6]), 6, 'after calls within the gateway');

$node->stop;
done_testing();
