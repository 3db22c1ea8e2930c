# Which role receives which events: the anonymous role, grants on tables and columns, row security,
# grants on channels.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE public_menu (id int PRIMARY KEY, name text, purchase_price numeric);
	CREATE TABLE marker (id int PRIMARY KEY);
	GRANT SELECT ON marker TO guest;
	SELECT notify_watch('public_menu'), notify_watch('marker');
	CREATE ROLE staff;
});

sub sql
{
	my $sql = shift;
	return $node->safe_psql('postgres', $sql);
}

# The code of the error that subscribing gives, or 0.
sub refused
{
	my ($client, $channel, %params) = @_;
	my $answer = $client->call('subscribe', { channel => $channel, %params });
	return $answer->{error} ? $answer->{error}{code} : 0;
}

# Subscribe again and again until the answer is this one: a change of privileges takes effect within
# a moment.
sub becomes
{
	my ($client, $channel, $code, $what) = @_;
	wait_for(
		sub {
			my $got = refused($client, $channel);
			$client->unsubscribe($channel) if !$got && $code;
			return $got == $code;
		},
		$what);
	return pass($what);
}

my $client = notifyd_client($node);
is(refused($client, 'public_menu'), -32003, 'no privilege, no events');
is($client->call('subscribe', { channel => 'public_menu' })->{error}{message}, 'permission denied for a watched table: role "guest" needs SELECT',
	'and no name of the table');
is(refused($client, 'marker'), 0, 'with SELECT it is allowed');

# GRANT and REVOKE while it runs.
sql('GRANT SELECT ON public_menu TO guest');
becomes($client, 'public_menu', 0, 'GRANT takes effect');
sql(q{INSERT INTO public_menu VALUES (1, 'Lemonade', 0.35)});
is($client->next_event->{new}{name}, 'Lemonade', 'the event comes');
sql('REVOKE SELECT ON public_menu FROM guest');
my $error = $client->next_message('error');
is($error->{code}, -32003, 'REVOKE ends the subscription');
is($error->{data}{channel}, 'public_menu', 'and says which');
sql(q{INSERT INTO public_menu VALUES (2, 'canary-revoked', 1); INSERT INTO marker VALUES (1)});
is($client->next_event->{table}, 'marker', 'and nothing of it comes any more');
my $position = ($client->events)[-1]{position};

# Not in a replay either.
is(refused($client, 'public_menu', since => $position), -32003, 'nor by resuming');

# By the role's membership, its schema, its ownership.
sql('GRANT SELECT ON public_menu TO staff; GRANT staff TO guest');
becomes($client, 'public_menu', 0, 'a member of a role has its privileges');
sql('REVOKE staff FROM guest');
is($client->next_message('error')->{code}, -32003, 'until it is one no more');
sql('CREATE SCHEMA kitchen; CREATE TABLE kitchen.plan (id int PRIMARY KEY); GRANT SELECT ON kitchen.plan TO guest');
sql(q{SELECT notify_watch('kitchen.plan')});
is(refused($client, 'kitchen.plan'), -32003, 'without USAGE on the schema');
is($client->call('subscribe', { channel => 'kitchen.plan' })->{error}{message}, 'permission denied for the schema of a watched table: role "guest" needs USAGE',
	'and no name of it');
sql('GRANT USAGE ON SCHEMA kitchen TO guest');
becomes($client, 'kitchen.plan', 0, 'with it');

# Columns: a watch that carries more than the role may read is refused, one that does not is not.
sql('GRANT SELECT (id, name) ON public_menu TO guest');
is($client->call('subscribe', { channel => 'public_menu' })->{error}{message},
	'permission denied for some columns of table "public_menu"; "columns" can leave them out', 'not with privileges on some columns');
is($client->call('subscribe', { channel => 'public_menu', columns => ['id'], filter => 'purchase_price=gt.1' })->{error}{message},
	'permission denied for column "purchase_price" of table "public_menu"', 'nor with a filter on another one');
sql(q{SELECT notify_watch('public_menu', cols => '{id,name}', channel => 'names')});
is(refused($client, 'names'), 0, 'but on a channel with these columns alone');
sql(q{UPDATE public_menu SET name = 'Limonade', purchase_price = 8.15004711 WHERE id = 1});
my $event = $client->next_event;
is_deeply($event->{new}, { id => 1, name => 'Limonade' }, 'which has no others');
is_deeply($event->{old}, { id => 1, name => 'Lemonade' }, 'neither in the old row');

# An event is judged by what it carries: an older one of the whole row is not had through the
# narrower watch.
my $since = $client->ping->{position};
sql(q{SELECT notify_unwatch('public_menu', 'public_menu')});
sql(q{SELECT notify_watch('public_menu', channel => 'late')});
sql(q{INSERT INTO public_menu VALUES (3, 'late', 8.15004711)});
sql(q{SELECT notify_watch('public_menu', cols => '{id,name}', channel => 'late')});
my $late = notifyd_client($node);
is(refused($late, 'late', since => $since), 0, 'a channel whose watch was narrowed');
sql(q{INSERT INTO public_menu VALUES (4, 'Wrap', 1)});
my $next;
do { $next = $late->next_message } while $next->{reason} || !$next->{op};
is($next->{key}{id}, 4, 'the older event of the whole row is not sent');
$late->close;

# Row security: without a policy a role sees no rows. 130_sets.pl has the rest.
sql(q{
	CREATE TABLE tips (id int PRIMARY KEY, whose text);
	GRANT SELECT ON tips TO guest;
	SELECT notify_watch('tips');
});
is(refused($client, 'tips'), 0, 'before row security');
sql('ALTER TABLE tips ENABLE ROW LEVEL SECURITY');
sql(q{INSERT INTO tips VALUES (1, 'hidden')});
is($client->next_message('reset')->{channel}, 'tips', 'ENABLE ROW LEVEL SECURITY hides the rows');
sql(q{CREATE POLICY own ON tips TO guest USING (whose = 'guest')});
sql(q{INSERT INTO tips VALUES (2, 'guest')});
is($client->next_event->{key}{id}, 2, 'a policy shows some');

# Channels that are no table.
is(refused($client, 'lobby'), -32004, 'a channel without grants');
sql(q{SELECT notify_grant('lobby', 'guest')});
becomes($client, 'lobby', 0, 'notify_grant');
sql(q{SELECT notify_send('lobby', '"hello"')});
is($client->next_event->{payload}, 'hello', 'its messages');
sql(q{SELECT notify_revoke('lobby', 'guest')});
$error = $client->next_message('error');
is($error->{data}{channel}, 'lobby', 'notify_revoke');
becomes($client, 'lobby', -32004, 'which refuses it');

# What the privileges of SQL say.
my ($status, $out, $err) = $node->psql('postgres', q{SET ROLE staff; SELECT notify_grant('lobby', 'staff')});
like($err, qr/permission denied/, 'notify_grant is not for everybody');
($status, $out, $err) = $node->psql('postgres', q{SET ROLE staff; SELECT notify_watch('marker')});
like($err, qr/must be owner of table marker/, 'nor is notify_watch');
my $id = $event->{id};
($status, $out, $err) = $node->psql('postgres', "SET ROLE guest; SELECT notify_fetch($id)->>'op'");
is($out, 'UPDATE', 'notify_fetch of an event that one may read');
sql('REVOKE ALL ON public_menu FROM guest');
sql('REVOKE ALL (id, name) ON public_menu FROM guest');
($status, $out, $err) = $node->psql('postgres', "SET ROLE guest; SELECT notify_fetch($id) IS NULL");
is_deeply([ $out, $err ], [ 't', '' ], 'one that one may not read is as if there were none');

# Nobody anonymous.
sql(q{ALTER SYSTEM SET pg_notifyd.anonymous_role = ''});
$node->reload;
is(($client->wait_closed)[0], 4401, 'without an anonymous role such clients are closed');
is(notifyd_client($node)->call('ping')->{error}{code}, -32001, 'and may do nothing');
sql(q{ALTER SYSTEM SET pg_notifyd.anonymous_role = 'guest'});
$node->reload;
wait_for(sub { notifyd_client($node)->call('ping')->{result} }, 'anonymous clients');
pass('with it they are again');
sql(q{ALTER SYSTEM SET pg_notifyd.anonymous_role = 'nobody there'});
$node->reload;
wait_for(sub { my $c = notifyd_client($node); !$c->served || refused($c, 'marker') == -32003 }, 'no such role');
pass('a role that does not exist may nothing');

unlike(join('', map { Mojo::JSON::encode_json($_) } $client->received), qr/canary|8\.15004711/, 'nothing hidden was seen');

done_testing();
