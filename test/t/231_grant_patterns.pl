# Grants on patterns: subscriptions follow them, sessions that have asked before do, the description
# of the HTTP interface has them, dumps keep them, and they open no tables.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sub refused
{
	my ($client, $channel) = @_;
	my $answer = $client->call('subscribe', { channel => $channel });
	return $answer->{error} ? $answer->{error}{code} : 0;
}

# Grants take effect within a moment.
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

# subscriptions
my $client = notifyd_client($node, headers => { notifyd_bearer('member', 1) });
is(refused($client, 'com.shop.news'), -32004, 'without a grant');
sql(q{SELECT notify_grant('com.shop.*', 'member')});
becomes($client, 'com.shop.news', 0, 'a grant on a pattern');
is(refused($client, 'com.shop.a.b'), 0, 'opens all channels that it matches');
is(refused($client, 'com.shops'), -32004, 'and no others');
sql(q{SELECT notify_send('com.shop.news', '1')});
is($client->next_event->{payload}, 1, 'messages arrive');

# A more specific grant without the privilege ends a subscription, the others stay.
sql(q{SELECT notify_grant('com.shop.a.b', 'member', 'call')});
is($client->next_message('error')->{data}{channel}, 'com.shop.a.b', 'a grant on the name replaces that on the pattern');
becomes($client, 'com.shop.a.b', -32004, 'and closes the channel');
sql(q{SELECT notify_grant('.shop.news', 'member', 'publish')});
is($client->next_message('error')->{data}{channel}, 'com.shop.news', 'so does one on a wildcard');
sql(q{SELECT notify_revoke('.shop.news', 'member')});
becomes($client, 'com.shop.news', 0, 'until it is revoked');
is(refused($client, 'com.shop.c'), 0, 'another channel');
sql(q{SELECT notify_revoke('com.shop.*', 'member')});
is_deeply([ sort map { $client->next_message('error')->{data}{channel} } 1 .. 2 ],
	[ 'com.shop.c', 'com.shop.news' ], 'revoking the pattern ends all');

# Tables stay closed.
sql(q{
	CREATE TABLE secret (id int PRIMARY KEY);
	SELECT notify_watch('secret', channel => 'org.secret'), notify_grant('*', 'member');
});
becomes($client, 'org.secret', 0, 'a grant on everything opens a channel with a table');
sql(q{INSERT INTO secret VALUES (1); SELECT notify_send('org.secret', '"message"')});
is($client->next_event->{payload}, 'message', 'for messages, and not for its rows');
is(refused($client, 'wamp.session.on_join'), -32004, 'and none of the names of WAMP');
sql(q{SELECT notify_grant('wamp.session.*', 'member', p) FROM unnest('{subscribe,publish}'::text[]) p});
becomes($client, 'wamp.session.on_join', 0, 'which have patterns of their own');
is($client->call('send', { channel => 'wamp.session.on_join', payload => {} })->{error}{data}{sqlstate}, '42939', 'nobody forges a meta event');
sql(q{SELECT notify_revoke('wamp.session.*', 'member')});
is($client->next_message('error')->{data}{channel}, 'wamp.session.on_join', 'revoked');
sql(q{SELECT notify_revoke('*', 'member')});
is($client->next_message('error')->{data}{channel}, 'org.secret', 'until it is revoked');

# A session that knows the patterns learns of changes by others.
my $writer = $node->background_psql('postgres', on_error_stop => 0);
$writer->query_safe('SET ROLE member');
my $send = q{SELECT notify_send('net.a', '1') > 0};
is($writer->query($send), '', 'a session without a grant');
sql(q{SELECT notify_grant('net.*', 'member', 'publish')});
is($writer->query($send), 't', 'gets one');
my $other = $node->background_psql('postgres');
$other->query_safe(q{BEGIN; SELECT notify_revoke('net.*', 'member')});
is($writer->query($send), 't', 'a revocation that is not committed');
$other->query_safe('ROLLBACK');
is($writer->query($send), 't', 'and that is rolled back');
$other->query_safe(q{BEGIN; SELECT notify_revoke('net.*', 'member')});
is($writer->query($send), 't', 'another one');
$other->query_safe('COMMIT');
is($writer->query($send), '', 'that is committed');

# the description
sub parameter
{
	my $answer = curl($node, '/openapi.json', '-H', join(': ', notifyd_bearer('member', 1)));
	my $paths = decode_json((split / /, $answer, 2)[1])->{paths};
	return ($paths->{'/send/{channel}'}{parameters}[0]{schema}, [ grep { m{^/send/\w} } sort keys %$paths ]);
}
is_deeply([parameter()], [ undef, [] ], 'no channels to send to');
sql(q{
	CREATE TYPE note AS (text text);
	SELECT notify_channel(c, 'note') FROM unnest('{net.typed,net.closed,other.typed}'::text[]) AS c;
	SELECT notify_grant(c, 'member', 'publish') FROM unnest('{net.*,co(m)..a,plain,com.}'::text[]) AS c;
});
sql(q{SELECT notify_grant('net.closed', 'member', 'subscribe')});
my ($schema, $typed) = parameter();
is_deeply($schema->{anyOf}[0], { enum => ['plain'] }, 'names in the description');
my @patterns = map { $_->{pattern} } @{ $schema->{anyOf} }[1 .. 3];
is_deeply(\@patterns, [ '^co\(m\)\.[^.]*\.a$', '^com\.[^.]*$', '^net\.' ], 'and patterns');
ok('co(m).x.a' =~ /$patterns[0]/ && 'co(m).x.y.a' !~ /$patterns[0]/ && 'net.a' =~ /$patterns[2]/, 'as regular expressions');
is_deeply($typed, ['/send/net.typed'], 'and a channel with a type');

# dumps
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'pg_restore');
is($node->safe_psql('restored', q{SELECT channel, privilege, match FROM notifyd.grants WHERE channel IN ('net.*', 'com.', 'plain') ORDER BY channel COLLATE "C"}),
	"com.|publish|wildcard\nnet.*|publish|prefix\nplain|publish|exact", 'grants on patterns are restored');
$_->quit for $writer, $other;

done_testing();
