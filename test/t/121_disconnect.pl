# notify_disconnect(): whom it closes, which tokens it refuses from then on, and what notifyd.clients shows of identities.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $secret = 'a secret of at least thirty-two bytes';
my $node = notifyd_node('main', conf => "pg_notifyd.jwt_secret = '$secret'\npg_notifyd.authenticator_role = 'authenticator'\n");

$node->safe_psql('postgres', q{
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE reader;
	GRANT reader TO authenticator;
	CREATE TABLE orders (id int PRIMARY KEY);
	GRANT SELECT ON orders TO reader;
	SELECT notify_watch('orders');
	CREATE DATABASE other;
});
$node->safe_psql('other', 'CREATE EXTENSION pg_notifyd');
wait_healthy($node, 'other');

my $now = time;
sub sql { return $node->safe_psql('postgres', shift); }
sub token { my (%claims) = @_; return notifyd_token({ role => 'reader', sub => '7', iat => $now - 60, %claims }, $secret); }

sub client
{
	my ($token, @options) = @_;
	my $client = notifyd_client($node, headers => { Authorization => "Bearer $token" }, @options);
	$client->ping;
	return $client;
}
sub refused { return join ' ', notifyd_client($node, headers => { Authorization => "Bearer $_[0]" })->wait_closed; }

# the view
my $seven = client(token(exp => $now + 600));
my $eight = client(token(sub => '8', session_id => 'x'));
my $anonymous = notifyd_client($node);
$anonymous->ping;
is(sql(q{SELECT role, subject, extract(epoch FROM expires_at)::bigint FROM notifyd.clients ORDER BY subject}),
	"reader|7|" . ($now + 600) . "\nreader|8|\nguest||", 'role, subject and expiry');

# a subject
my $there = client(token(), database => 'other');
is(sql(q{SELECT notify_disconnect('{"sub": "6"}')}), 0, 'nobody has these claims');
is(sql(q{SELECT notify_disconnect('{"sub": "7"}', 'epoch')}), 0, 'or a token that old');
is(sql(q{BEGIN; SELECT notify_disconnect('{"sub": "7"}'); ROLLBACK}), 1, 'rolled back');
$_->ping for $seven, $eight, $there;
is(sql(q{SELECT notify_disconnect('{"sub": "7"}')}), 1, 'one connection of this database');
is_deeply([ $seven->wait_closed ], [ 4401, 'disconnected by notify_disconnect()' ], 'is closed');
is(refused(token()), '4401 JWT was issued before notify_disconnect() was called for it', 'its token is refused');
is(refused(token(iat => undef)), '4401 JWT was issued before notify_disconnect() was called for it', 'and one without a time');
my $again = client(token(iat => $now + 20));
$_->ping for $eight, $anonymous, $there;
pass('a later token is accepted, and others stay');

# after a restart
$node->restart;
wait_healthy($node);
is(refused(token()), '4401 JWT was issued before notify_disconnect() was called for it', 'it is refused after a restart');
$eight = client(token(sub => '8', session_id => 'x'));
$again = client(token(iat => $now + 20));

# a session; then everybody
is(sql(q{SELECT notify_disconnect('{"session_id": "x"}')}), 1, 'by another claim');
is(($eight->wait_closed)[0], 4401, 'closed');
is(sql(q{SELECT count(*) FROM notifyd.disconnected}), 3, 'a row for each set of claims');
$anonymous = notifyd_client($node);
$anonymous->ping;
is(sql(q{SELECT notify_disconnect(issued_before => now() + '1 minute')}), 1, 'everybody');
is(($again->wait_closed)[0], 4401, 'closed');
$anonymous->ping;
is(sql(q{SELECT claims FROM notifyd.disconnected}), '{}', 'one row comprises all others');

# who may, and with what
sub fails { my ($rc, $out, $err) = $node->psql('postgres', $_[0]); like($err, $_[1], $_[2]); return; }
fails('SET ROLE reader; SELECT notify_disconnect()', qr/permission denied for notify_disconnect\(\)/, 'not everybody may');
fails(q{SELECT notify_disconnect('[]')}, qr/claims must be a JSON object/, 'claims are an object');
fails(q{SELECT notify_disconnect(NULL)}, qr/claims must not be null/, 'and not null');
fails(q{SET default_transaction_read_only = on; SELECT notify_disconnect()}, qr/read-only transaction/, 'not on a standby');

$node->stop;
done_testing();
