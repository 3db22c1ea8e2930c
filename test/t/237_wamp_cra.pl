# WAMP-CRA: users with secrets, challenges and their signatures, what ends sessions, and that nobody can tell who exists.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use MIME::Base64 qw(encode_base64);
use Mojo::JSON qw(decode_json encode_json);
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $failed = 'wamp.error.authentication_failed';
my $node = notifyd_node('main', roles => [ 'member', 'other' ]);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
	CREATE FUNCTION claims() RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT notify_claims()';
	SELECT notify_expose('who()', 'com.example.who'), notify_expose('claims()', 'com.example.claims');
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO member;
	SELECT notify_watch('t');
	SELECT notify_wamp_user('joe', 'member', 'joe''s secret');
});
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION pg_notifyd');
wait_healthy($node, 'shop');

# PBKDF2 with HMAC-SHA256 (RFC 8018), one block: keylen is at most 32.
sub derive
{
	my ($secret, $extra) = @_;
	my $block = hmac_sha256($extra->{salt} . pack('N', 1), $secret);
	my $key = $block;
	for (2 .. $extra->{iterations})
	{
		$block = hmac_sha256($block, $secret);
		$key ^= $block;
	}
	return encode_base64(substr($key, 0, $extra->{keylen}), '');
}

sub signature
{
	my ($secret, $extra) = @_;
	return encode_base64(hmac_sha256($extra->{challenge}, derive($secret, $extra)), '');
}

my @challenges;

# The answer to the HELLO of a user with this secret, and the client.
sub login
{
	my ($user, $secret, %options) = @_;
	my $client = wamp_client(
		$node,
		authenticate => sub {
			my ($method, $extra) = @_;
			push @challenges, { %$extra, method => $method };
			return ref $secret ? $secret->($extra) : signature($secret, $extra);
		});
	return ($client, $client->hello($options{realm} // 'postgres', { authmethods => ['wampcra'], defined $user ? (authid => $user) : () }));
}

sub refused { return error_uri((login(@_))[1]); }

# The right secret
my ($joe, $answer) = login('joe', q{joe's secret});
is($answer->[0], wamp_type('WELCOME'), 'WELCOME');
is_deeply([ @{ $joe->welcome }{qw(authid authrole authmethod authprovider)} ], [ 'joe', 'member', 'wampcra', 'pg_notifyd' ], 'its details');
my $extra = $challenges[-1];
is_deeply([ $extra->{method}, sort keys %$extra ], [ 'wampcra', qw(challenge iterations keylen method salt) ], 'CHALLENGE');
my $challenge = decode_json($extra->{challenge});
is_deeply([ sort keys %$challenge ], [qw(authid authmethod authprovider nonce session timestamp)], 'the challenge');
is_deeply([ @$challenge{qw(authid authmethod authprovider session)} ], [ 'joe', 'wampcra', 'pg_notifyd', $joe->session ],
	'is for this user and session');
like($challenge->{timestamp}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'its time');
is($joe->result('com.example.who'), 'member', 'a call as the role of the user');
ok($joe->subscribe('t'), 'a subscription');
is_deeply([ map { $joe->result('com.example.claims')->{$_} } qw(iss sub role) ], [qw(pg_notifyd.wampcra joe member)], 'the claims');
is(sql(q{SELECT role, subject FROM notifyd.clients}), 'member|joe', 'notifyd.clients');

# Wrong
is(refused('joe', 'wrong'), $failed, 'a wrong secret');
is(refused('jim', 'x'), $failed, 'an unknown user');
is(refused(undef, 'x'), $failed, 'no user');
is(refused('joe', sub { return 'x' x 44 }), $failed, 'no signature');
is(refused('joe', sub { return signature(q{joe's secret}, $_[0]) . '=' }), $failed, 'a signature with one more character');
is(refused('joe', sub { return encode_base64(hmac_sha256($_[0]{challenge}, q{joe's secret}), '') }), $failed,
	'a signature with the secret itself');

is(sql('SELECT max(refused_tokens) FROM notifyd.stats'), 5, 'those that have signed are counted');

# The signature of another session, which somebody has seen
my $seen;
my ($first) = login('joe', sub { return $seen = signature(q{joe's secret}, $_[0]) });
is($first->welcome->{authid}, 'joe', 'a session');
is(refused('joe', sub { return $seen }), $failed, 'its signature is of no use for another one');

# All challenges and refusals look the same, whoever exists, also after a restart.
sub look
{
	my $user = shift;
	my (undef, $answer) = login($user, 'wrong');
	my %extra = %{ $challenges[-1] };
	my %text = %{ decode_json($extra{challenge}) };
	return (
		encode_json([
			length $extra{salt}, @extra{qw(iterations keylen)},
			sort(keys %extra), sort(keys %text), length $text{nonce}, $answer
		]), $extra{salt});
}
my ($known, $known_salt) = look('joe');
my ($unknown, $unknown_salt) = look('jim');
is($unknown, $known, 'a user who does not exist looks like one who does');
isnt($unknown_salt, $known_salt, 'but for the salt');
is((look('jim'))[1], $unknown_salt, 'which stays the same');
is((look('joe'))[1], $known_salt, 'as that of one who exists does');
isnt((look('jack'))[1], $unknown_salt, 'each user has another one');
sql(q{SELECT notify_wamp_user('jane', 'member', 'x', 2000), notify_wamp_user('jane', 'member', 'x')});
is((look('jim'))[1], $unknown_salt, 'another user changes nothing');

# Another database has other users.
is(refused('joe', q{joe's secret}, realm => 'shop'), $failed, 'the user of another database');

# Tokens that look like the server's own
sub ticket
{
	my ($header, %claims) = @_;
	my $token = notifyd_token({ iss => 'pg_notifyd.wampcra', sub => 'joe', role => 'member', iat => time, exp => time + 600, %claims });
	if ($header)
	{
		my ($head, $body) = split /\./, $token;
		my $signed = MIME::Base64::encode_base64url('{"alg":"HS256","kid":"pg_notifyd.wampcra"}') . ".$body";
		$token = "$signed." . MIME::Base64::encode_base64url(hmac_sha256($signed, $header));
	}
	return wamp_client($node, authenticate => sub { return $token })->hello('postgres', { authmethods => ['ticket'] });
}
my $refusal = ticket(undef);
is(error_uri($refusal), $failed, 'a token of another issuer that says to be of the server');
like($refusal->[1]{message}, qr/the server's own/, 'and why');
$refusal = ticket('k' x 32);
is(error_uri($refusal), $failed, 'one that another key has signed');
like($refusal->[1]{message}, qr/signature does not match/, 'and why');
isnt(error_uri(ticket(undef, iss => 'another')), $failed, 'other issuers are as before');

# What ends sessions
sub killed
{
	my ($client, $what) = @_;
	my $last = $client->next_message('GOODBYE', 'ABORT');
	is($last->[2], 'wamp.close.killed', $what);
	like($last->[1]{message}, $_[2], 'and why');
}
my ($jane) = login('jane', 'x');
is($jane->welcome->{authid}, 'jane', 'another user');
sql(q{SELECT notify_wamp_user('joe', 'other', 'a new secret')});
killed($joe, 'a changed user', qr/user was changed or dropped/);
is($jane->result('com.example.who'), 'member', 'others stay');
is(refused('joe', q{joe's secret}), $failed, 'the old secret');
($joe) = login('joe', 'a new secret');
is($joe->result('com.example.who'), 'other', 'the new one, with the new role');
is(sql(q{SELECT notify_disconnect('{"sub": "jane"}')}), 1, 'notify_disconnect');
killed($jane, 'a disconnected user', qr/notify_disconnect/);
($jane) = login('jane', 'x');
is($jane->result('com.example.who'), 'member', 'who may come again');
is(sql(q{SELECT notify_wamp_user_drop('jane'), notify_wamp_user_drop('jane')}), 't|f', 'dropped');
killed($jane, 'a dropped user', qr/user was changed or dropped/);
is(refused('jane', 'x'), $failed, 'who cannot come again');
# A user who is changed between the challenge and the signature
is(refused('joe', sub { my $signed = signature('a new secret', $_[0]); sql(q{SELECT notify_wamp_user('joe', 'other', 'a new secret')}); return $signed }),
	$failed, 'the signature of an old challenge');
killed($joe, 'its other session', qr/user was changed or dropped/);
# A role that the authenticator loses
($joe) = login('joe', 'a new secret');
sql('REVOKE other FROM authenticator');
killed($joe, 'a role that was revoked', qr/not granted/);
is(refused('joe', 'a new secret'), $failed, 'nor can it come again');
sql('GRANT other TO authenticator');

# After a restart, from a dump, and with an end
($joe) = login('joe', 'a new secret');
$node->append_conf('postgresql.conf', "pg_notifyd.wampcra_lifetime = 3600\n");
$node->restart;
wait_healthy($node);
is((look('jim'))[1], $unknown_salt, 'the salt of a user who does not exist is the same after a restart');
($joe) = login('joe', 'a new secret');
is(sql(q{SELECT expires_at BETWEEN now() + '59 min' AND now() + '1 h' FROM notifyd.clients}), 't', 'pg_notifyd.wampcra_lifetime');
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'a dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'copy', $dump ], 'is restored');
wait_healthy($node, 'copy');
is((login('joe', 'a new secret', realm => 'copy'))[0]->welcome->{authid}, 'joe', 'and has the users');
is($node->safe_psql('copy', q{SELECT has_table_privilege('pg_database_owner', 'notifyd.wamp_user', 'SELECT')}), 'f', 'whom nobody else may read');

# The report of an error does not contain the statement.
my (undef, undef, $error) = $node->psql('postgres', q{SET log_statement = none; SELECT notify_wamp_user('x', 'member', 'hidden', 1)});
like($error, qr/iterations must be from/, 'an error');
my $log = slurp_file($node->logfile);
like($log, qr/ERROR:  iterations must be from/, 'which is in the log');
unlike($log, qr/hidden/, 'without the secret');

done_testing();
