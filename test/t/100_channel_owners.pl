# A channel belongs to the owners of the tables watched on it. Only they can watch another table on
# it or publish to it, and a watch that a role cannot read does not affect that role.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE ROLE bob; CREATE ROLE low; CREATE ROLE team; CREATE ROLE chief SUPERUSER;
	GRANT CREATE ON SCHEMA public TO bob, low, team;
	GRANT team TO bob;
	CREATE SCHEMA hr AUTHORIZATION bob;
	CREATE SCHEMA mine AUTHORIZATION low;
	GRANT USAGE ON SCHEMA mine TO guest;
	SET ROLE bob;
	CREATE TABLE orders (id int PRIMARY KEY);
	CREATE TABLE hr.salaries (id int PRIMARY KEY);
	CREATE TABLE more (id int PRIMARY KEY);
	GRANT SELECT ON orders, more TO guest;
	SELECT notify_watch('orders'), notify_watch('hr.salaries');
	SET ROLE team;
	CREATE TABLE shared (id int PRIMARY KEY);
	GRANT SELECT ON shared TO guest;
	SET ROLE low;
	CREATE TABLE mine.forged (id int PRIMARY KEY);
	CREATE TABLE public."hr.salaries" (id int PRIMARY KEY);
	CREATE TABLE public.lobby (id int PRIMARY KEY);
	CREATE TABLE public.own (id int PRIMARY KEY);
	GRANT SELECT ON mine.forged TO PUBLIC;
	RESET ROLE;
	SELECT notify_grant('lobby', 'guest');
});

# The result of a query by a role, or its error with all that comes with it.
sub as
{
	my ($role, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET ROLE $role; $sql");
	return $status == 0 && $err eq '' ? $out : $err;
}

sub channels
{
	my $client = shift;
	return [ sort grep { !/^stray/ } map { "$_->{op} $_->{channel}" } $client->next_events(@_) ];
}

my $client = notifyd_client($node);
$client->subscribe('orders');
$client->subscribe('lobby');

# Nobody watches a table on another's channel.
my $denied = qr/permission denied for channel/;
like(as('low', q{SELECT notify_watch('mine.forged', channel => 'orders')}), $denied, q{not on another owner's channel});
like(as('low', q{SELECT notify_watch('"hr.salaries"')}), $denied, 'nor where it is the default name');
like(as('low', q{SELECT notify_watch('mine.forged', channel => 'lobby')}), $denied, 'nor on one that was granted');
like(as('low', q{SELECT notify_watch('lobby')}), $denied, 'which the default name may be, too');
unlike(as('low', q{SELECT notify_watch('mine.forged', channel => 'hr.salaries')}), qr/bob|salaries"? of/,
	'and the message does not name the table or its owner');
like(as('low', q{SELECT notify_watch('own')}), qr/^\d+$/, 'on an unused channel');
like(as('low', q{SELECT notify_watch('own', 'insert')}), qr/^\d+$/, 'an own watch may be altered');
like(as('low', q{SELECT notify_watch('mine.forged', channel => 'own')}), qr/^\d+$/, 'and joined by a table of the same owner');
like(as('bob', q{SELECT notify_watch('more', channel => 'orders')}), qr/^\d+$/, 'several tables of one owner');
like(as('bob', q{SELECT notify_watch('shared', channel => 'orders')}), qr/^\d+$/, 'or of a role that one is a member of');
like(as('team', q{SELECT notify_watch('shared', channel => 'hr.salaries')}), $denied, 'membership counts in one direction');
like(as('chief', q{SELECT notify_watch('mine.forged', channel => 'orders')}), qr/^\d+$/, 'a superuser may');

# A channel with such a watch of somebody else's, which the subscribers cannot read or need not care
# for.
$node->safe_psql('postgres', q{
	REVOKE SELECT ON mine.forged FROM PUBLIC;
	INSERT INTO mine.forged VALUES (1);
	INSERT INTO orders VALUES (1);
});
is($client->next_event->{table}, 'orders', 'a watch that the role may not read contributes nothing');
my $second = notifyd_client($node);
is($second->call('subscribe', { channel => 'orders' })->{error}, undef, 'and does not prevent subscriptions');
$node->safe_psql('postgres', q{INSERT INTO mine.forged VALUES (2); INSERT INTO shared VALUES (1)});
is($client->next_event->{table}, 'shared', 'and ends none');
is($second->next_event->{table}, 'shared', 'whenever he came');

# What is revoked of several tables' privileges.
$node->safe_psql('postgres', q{REVOKE SELECT ON shared FROM guest; INSERT INTO shared VALUES (2); INSERT INTO more VALUES (1)});
is($client->next_event->{table}, 'more', 'a revoked table contributes nothing from then on');
$node->safe_psql('postgres', q{REVOKE SELECT ON orders, more FROM guest});
is($client->next_message('error')->{code}, -32003, 'the last one ends the subscription');
is($second->call('subscribe', { channel => 'hr.salaries' })->{error}{code}, -32003, 'which none makes possible');

# A table that changes its owner takes the channel along.
$node->safe_psql('postgres', q{ALTER TABLE own OWNER TO bob});
like(as('low', q{SELECT notify_unwatch('mine.forged', 'own'), notify_watch('mine.forged', channel => 'own')}), $denied,
	'after a change of owner the former one has no right to the channel');
like(as('bob', q{SELECT notify_watch('more', channel => 'own')}), $denied, 'nor the new one while both have watches on it');
$node->safe_psql('postgres', q{ALTER TABLE own RENAME TO renamed; SELECT notify_unwatch('mine.forged', 'own')});
like(as('bob', q{SELECT notify_watch('more', channel => 'own')}), qr/^\d+$/, 'but alone');

# Who may publish.
like(as('low', q{SELECT notify_send('lobby', '1')}), $denied, 'publishing needs a grant');
like(as('guest', q{SELECT notify_send('lobby', '1')}), $denied, 'to subscribe is another one');
like(as('low', q{SELECT notify_send('nobody knows', '1')}), $denied, 'also for a channel that does not exist');
$node->safe_psql('postgres', q{SELECT notify_grant('lobby', 'team', 'publish')});
like(as('team', q{SELECT notify_send('lobby', '{"by": "chief"}')}), qr/^1$/, 'who was granted it may');
like(as('bob', q{SELECT notify_send('lobby', '2')}), qr/^1$/, 'so may a member');
like(as('chief', q{SELECT notify_send('lobby', '3')}), qr/^1$/, 'and a superuser');
is_deeply([ map { $_->{by} } $client->next_events(3) ], [ 'team', 'bob', 'chief' ], 'the event says who');
my $id = ($client->events)[-1]{id};
like(as('bob', q{SELECT notify_send('orders', '1')}), qr/^1$/, 'an owner may publish to his channel');
is(as('postgres', q{SELECT count(*) FROM notifyd.grants}), 2, 'notifyd.grants shows all grants to roles that may grant');
is(as('bob', q{SELECT string_agg(concat_ws(' ', channel, role, privilege), ',') FROM notifyd.grants}), 'lobby team publish',
	'and their own to others');
is(as('team', q{
	BEGIN;
	SELECT notify_send('lobby', '4');
	SET LOCAL ROLE low;
	SAVEPOINT a;
	SELECT notify_send('lobby', '5');
}) =~ $denied, 1, 'the right is that of the current user at each call');
like(as('low', q{SELECT notify_revoke('lobby', 'team')}), qr/permission denied for notify_revoke/, 'not everybody may revoke');
like(as('postgres', q{SELECT notify_revoke('lobby', 'team', 'subscribe')}), qr/^psql:\S+ NOTICE:  there is no such grant on channel "lobby"\nHINT:  .*\n?$/,
	'revoking a missing grant raises only a notice');
like(as('team', q{SELECT notify_send('lobby', '6')}), qr/^1$/, 'indeed');
my $session = $node->background_psql('postgres', on_error_stop => 0);
is($session->query(q{SET ROLE team; SELECT notify_send('lobby', '7')}), 1, 'a session that has published before');
is(as('postgres', q{SELECT notify_revoke('lobby', 'team')}), '', 'without a privilege all are revoked');
is($session->query(q{SELECT notify_send('lobby', '8')}) // '', '', 'stops when the privilege is revoked');
$session->quit;
is_deeply([ map { $_->{payload} } $client->next_events(2) ], [ 6, 7 ], 'refused messages were not sent');

# A guessed id tells nothing.
is(as('guest', "SELECT notify_fetch($id)->>'payload'"), '3', 'a message that one may have');
is(as('low', "SELECT notify_fetch($id) IS NULL"), 't', 'one that one may not is as if there were none');

done_testing();
