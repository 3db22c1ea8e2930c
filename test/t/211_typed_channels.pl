# Channels whose messages have a type: messages of clients by WebSocket and HTTP, the description of
# the interface, other sessions, dumps and restores.
use strict;
use warnings;

use Mojo::JSON qw(decode_json encode_json false);
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TYPE device AS (name text, at timestamptz);
	CREATE TYPE post_reads AS (user_id int, date date, devices device[]);
	SELECT notify_grant(c, 'member', p) FROM unnest('{"post reads",free}'::text[]) AS c, unnest('{subscribe,publish}'::text[]) AS p;
	SELECT notify_channel('post reads', 'post_reads');
});

my $client = notifyd_client($node, headers => { notifyd_bearer('member', 1) });
$client->subscribe('post reads');
my @wrong = (
	[ { user_id => 1, date => undef }, '2203A', qr/^field "devices" of the message for channel "post reads" is missing$/ ],
	[ { user_id => 1, date => undef, devices => [], x => 1 }, '2203E', qr/^field "x" of the message .* is unknown$/ ],
	[ { user_id => 1, date => undef, devices => [ { name => 'a', at => 'never' } ] }, '22007', qr/^field "devices\[0\].at" of the message .* is invalid$/ ]);

# by WebSocket
foreach my $wrong (@wrong)
{
	my ($payload, $sqlstate, $message) = @$wrong;
	my $answer = $client->call('send', { channel => 'post reads', payload => $payload });
	is($answer->{error}{data}{sqlstate}, $sqlstate, "SQLSTATE $sqlstate");
	like($answer->{error}{message}, $message, 'with the name');
}
my $payload = { devices => [ { at => '2026-01-02 04:04:05+01', name => 'phone' } ], date => '2026-1-2', user_id => 7 };
is_deeply($client->call('send', { channel => 'post reads', payload => $payload })->{result}, {}, 'a message by WebSocket');
my $text = '{"user_id":7,"date":"2026-01-02","devices":[{"name":"phone","at":"2026-01-02T03:04:05+00:00"}]}';
is_deeply($client->next_event->{payload}, decode_json($text), 'arrives as PostgreSQL writes it');

# by HTTP
my @bearer = map { join ': ', @$_ } [ notifyd_bearer('member', 1) ];
sub post
{
	my ($channel, $body) = @_;
	return curl($node, "/send/$channel", '-H', @bearer, '-H', 'Content-Type: application/json', '-d', encode_json($body));
}
foreach my $wrong (@wrong)
{
	my ($status, $body) = split / /, post('post%20reads', $wrong->[0]), 2;
	is($status, 400, "HTTP status for $wrong->[1]");
	is(decode_json($body)->{code}, $wrong->[1], 'the SQLSTATE');
	like(decode_json($body)->{message}, $wrong->[2], 'and the message');
}
is(post('post%20reads', $payload), '200 {}', 'a message by HTTP');
is_deeply($client->next_event->{payload}, decode_json($text), 'arrives, too');

# the description
sub description { return decode_json((split / /, curl($node, '/openapi.json', '-H', @bearer), 2)[1]); }
my $paths = description()->{paths};
is_deeply($paths->{'/send/{channel}'}{parameters}[0]{schema}{enum}, ['free'], 'channels without a type');
is_deeply(
	$paths->{'/send/post%20reads'}{post}{requestBody}{content}{'application/json'}{schema},
	{ '$ref' => '#/components/schemas/post_reads', required => [ 'user_id', 'date', 'devices' ], unevaluatedProperties => false },
	'the schema of the message');
is(description()->{components}{schemas}{post_reads}{properties}{date}{anyOf}[0]{format}
	  // description()->{components}{schemas}{post_reads}{properties}{date}{format}, 'date', 'which refers to the type');

# a session that has sent messages follows what others change
my $writer = $node->background_psql('postgres', on_error_stop => 0);
my $send = q{SELECT notify_send('post reads', '{"user_id": 1, "date": null, "devices": null}') > 0};
is($writer->query($send), 't', 'a message');
sql('ALTER TYPE post_reads ADD ATTRIBUTE place text');
is($writer->query($send), '', 'ALTER TYPE of another session');
sql('ALTER TYPE post_reads DROP ATTRIBUTE place');
is($writer->query($send), 't', 'and back');
sql(q{SELECT notify_channel('post reads', NULL)});
is($writer->query(q{SELECT notify_send('post reads', '1') > 0}), 't', 'the declaration is taken back');
is_deeply(description()->{paths}{'/send/{channel}'}{parameters}[0]{schema}{enum}, [ 'free', 'post reads' ], 'also in the description');
sql(q{SELECT notify_channel('post reads', 'post_reads')});
is($writer->query(q{SELECT notify_send('post reads', '1') > 0}), '', 'and comes back');

# dumps: a declaration that is restored takes effect in sessions that have sent before
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-s', '-d', 'restored', $dump ], 'definitions are restored');
my $other = $node->background_psql('restored', on_error_stop => 0);
is($other->query(q{SELECT notify_send('post reads', '1') > 0}), 't', 'they have no declarations');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-a', '-d', 'restored', $dump ], 'then the data');
is($other->query(q{SELECT notify_send('post reads', '1') > 0}), '', 'which takes effect');
$node->safe_psql('restored', 'DELETE FROM notifyd.channel_type');
is($other->query(q{SELECT notify_send('post reads', '1') > 0}), 't', 'as have rows that are deleted');
$node->safe_psql('restored', q{INSERT INTO notifyd.channel_type VALUES ('post reads', 'post_reads')});
is($other->query(q{SELECT notify_send('post reads', '1') > 0}), '', 'or inserted');
is($node->safe_psql('restored', 'SELECT * FROM notifyd.channels'), 'post reads|post_reads', 'the view');
$_->quit for $writer, $other;

done_testing();
