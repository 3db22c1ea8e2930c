# Clients with tokens: how they present them, what is refused, renewal, expiry and revoked roles.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => ['reader', 'other']);

$node->safe_psql('postgres', q{
	CREATE ROLE stranger;
	CREATE TABLE orders (id int PRIMARY KEY);
	GRANT SELECT ON orders TO reader;
	SELECT notify_watch('orders');
});

my $id = 0;
sub order { $node->safe_psql('postgres', 'INSERT INTO orders VALUES (' . ++$id . ')'); return $id; }
sub token { my (%claims) = @_; return notifyd_token({ role => 'reader', sub => '7', exp => time + 600, %claims }); }
sub client { return notifyd_client($node, @_); }
sub bearer { return client(headers => { Authorization => "Bearer $_[0]" }); }
sub auth { my ($client, $token) = @_; return $client->call('auth', { token => $token }); }
sub code { return (shift->wait_closed)[0]; }
sub text { return (shift->wait_closed)[1]; }

# each way
my $token = token();
for my $way (
	['a header', headers => { Authorization => "Bearer $token" }],
	['a parameter', path => "/ws?access_token=$token"],
	['a subprotocol', subprotocols => [ 'pg_notifyd.v1', "bearer.$token" ]],
	['all of them', path => "/ws?access_token=$token", headers => { Authorization => "bearer  $token" },
		subprotocols => [ "bearer.$token", 'pg_notifyd.v1' ]])
{
	my ($name, @options) = @$way;
	my $client = client(@options);
	$client->subscribe('orders');
	my $want = order();
	is($client->next_event->{new}{id}, $want, "$name: the role of the token counts");
	is($client->subprotocol, $options[0] eq 'headers' || @options == 2 && $options[0] eq 'path' ? undef : 'pg_notifyd.v1',
		"$name: subprotocol");
	$client->close;
}

my $client = client();
is($client->call('subscribe', { channel => 'orders' })->{error}{code}, -32003, 'a client without a token has the anonymous role');
my $answer = auth($client, $token);
is($answer->{result}{role}, 'reader', 'auth: the role');
like($answer->{result}{expires_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/, 'auth: the expiry');
$client->subscribe('orders');
is(auth($client, token(exp => undef))->{result}{expires_at}, undef, 'a token that does not expire renews it');
is(order(), $client->next_event->{new}{id}, 'the subscription goes on');
for my $bad (
	['another subject', token(sub => '8'), qr/another subject or role/],
	['no subject', token(sub => undef), qr/another subject or role/],
	['another role', token(role => 'other'), qr/another subject or role/],
	['an expired token', token(exp => time - 100), qr/^JWT expired 10\d s ago$/],
	['garbage', 'garbage', qr/./])
{
	my ($name, $token, $like) = @$bad;
	my $error = auth($client, $token)->{error};
	is($error->{code}, -32001, "auth with $name is refused");
	like($error->{message}, $like, 'with a text');
	ok(!exists $error->{data}, 'and without data');
}
is(order(), $client->next_event->{new}{id}, 'the subscription still goes on');
$client->close;

# presented and bad: refused, never anonymous
for my $bad (
	['garbage', 'garbage', qr/./],
	['another secret', notifyd_token({ role => 'reader' }, 'x' x 32), qr/signature|verif/i],
	['expired', token(exp => time - 100), qr/^JWT expired 10\d s ago$/],
	['not yet valid', token(nbf => time + 100), qr/not valid before/],
	['a role that is not granted', token(role => 'stranger'), qr/role "stranger" is not granted to "authenticator"/],
	['a role that does not exist', token(role => 'nobody'), qr/role "nobody" does not exist/])
{
	my ($name, $token, $like) = @$bad;
	my $client = bearer($token);
	is($client->status, 101, "$name: the WebSocket is accepted");
	is(code($client), 4401, 'and closed');
	like(text($client), $like, 'with the reason');
}
for my $bad (
	['?token=', qr/the parameter is "access_token"/, path => '/ws?token=garbage'],
	['two tokens', qr/several tokens that differ/, path => "/ws?access_token=$token", headers => { Authorization => 'Bearer ' . token(sub => 9) }],
	['another scheme', qr/must be "Bearer"/, headers => { Authorization => 'Basic abc' }],
	['an empty token', qr/empty/, path => '/ws?access_token='])
{
	my ($name, $like, @options) = @$bad;
	my $client = client(@options);
	is(code($client), 4401, "$name is refused");
	like(text($client), $like, 'with the reason');
}

# an operator sees it
my $refused = $node->safe_psql('postgres', q{SELECT refused_tokens FROM notifyd.stats WHERE name = 'postgres'});
is($refused, 11, 'the tokens that PostgreSQL refused are counted');
my @refusals = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /LOG:  a client's token is refused in database "postgres": (.*)/g;
is_deeply(\@refusals, ['JWT is of another subject or role than the connection; open another connection for it'], 'the log has a reason, once a minute');

# an anonymous client that has subscriptions stays anonymous
$node->safe_psql('postgres', 'GRANT SELECT ON orders TO guest');
$client = client();
$client->subscribe('orders');
is(auth($client, $token)->{error}{code}, -32001, 'no other identity while there are subscriptions');
$client->unsubscribe('orders');
is(auth($client, $token)->{result}{role}, 'reader', 'without them there can be');
$client->close;

# expiry
$client = bearer(token(exp => time + 2));
$client->subscribe('orders');
my $renewed = bearer(token(exp => time + 2));
$renewed->subscribe('orders');
is(auth($renewed, token())->{result}{role}, 'reader', 'renewed in time');
is(code($client), 4001, 'a client is closed when its token expires');
is(text($client), 'the token has expired', 'with the reason');
is(order(), $renewed->next_event->{new}{id}, 'one with a fresh token is not');
my $late = bearer(token(exp => time - 10));
is($late->call('ping')->{result} ? 1 : 0, 1, 'clocks may differ by 30 s');

# roles
my $other = bearer(token(role => 'other'));
is($other->call('subscribe', { channel => 'orders' })->{error}{code}, -32003, 'another role has no privilege');
$node->safe_psql('postgres', 'REVOKE reader FROM authenticator');
is(code($renewed), 4401, 'a revoked membership closes the clients of the role');
like(text($renewed), qr/role "reader" is not granted to "authenticator"/, 'with the reason');
is($other->call('ping')->{result} ? 1 : 0, 1, 'others stay');
$node->safe_psql('postgres', 'ALTER ROLE authenticator NOLOGIN');
is(code($other), 4401, 'an authenticator that may not log in closes all');
$node->safe_psql('postgres', 'ALTER ROLE authenticator LOGIN; GRANT reader TO authenticator');

# the feed restarts: tokens are verified again, and subscriptions go on
$client = bearer(token());
$client->subscribe('orders');
my $pid = $node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE '%feed%'});
is(order(), $client->next_event->{new}{id}, 'an identity survives the feed');
is(auth($client, token(sub => 8))->{error}{code}, -32001, 'with its subject');
$node->safe_psql('postgres', 'DROP OWNED BY reader; DROP ROLE reader');
is(code($client), 4401, 'a dropped role closes its clients');

# without anonymous access
$node->append_conf('postgresql.conf', "pg_notifyd.anonymous_role = ''\n");
my $anonymous = client();
$node->reload;
is(code($anonymous), 4401, 'anonymous clients are closed');
$client = client();
is($client->status, 101, 'a client without a token is let in');
is($client->call($_->[0], $_->[1])->{error}{code}, -32001, "$_->[0] needs a token")
  for [ 'ping', {} ], [ 'subscribe', { channel => 'orders' } ], [ 'unsubscribe', { channel => 'orders' } ];
is(auth($client, 'garbage')->{error}{code}, -32001, 'a bad one is refused');
my $silent = client();
is(auth($client, token(role => 'other'))->{result}{role}, 'other', 'a good one is not');
is($client->call('ping')->{result} ? 1 : 0, 1, 'then it is one like others');
is(code($silent), 4401, 'who sends none in time is closed');
is(text($silent), 'not authenticated: no valid token within 10 seconds', 'with the reason');
ok($client->connected, 'who has sent one stays');

unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/\Q@{[ substr $token, 20, 60 ]}\E/, 'no token is in the log');
$node->stop;
done_testing();
