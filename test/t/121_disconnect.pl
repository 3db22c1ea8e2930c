# notify_disconnect(): whom it closes, which tokens it refuses from then on, and what notifyd.clients shows of identities.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => ['reader']);

$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY);
	GRANT SELECT ON orders TO reader;
	SELECT notify_watch('orders');
	CREATE DATABASE other;
});
$node->safe_psql('other', 'CREATE EXTENSION pg_notifyd');
wait_healthy($node, 'other');

my $now = time;
sub sql { return $node->safe_psql('postgres', shift); }
sub token { my (%claims) = @_; return notifyd_token({ role => 'reader', sub => '7', iat => $now - 60, %claims }); }

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
is(refused(token(iat => undef)), '4401 JWT has no claim "iat", and notify_disconnect() was called for it', 'and one without a time');
sub verify { return ($node->psql('postgres', "SELECT notify_verify('$_[0]')"))[2]; }
like(verify(token()), qr/token is refused: JWT was issued before notify_disconnect\(\) was called for it/, 'notify_verify says so');
like(verify(token(iat => undef)), qr/token is refused: JWT has no claim "iat", and notify_disconnect\(\) was called for it/, 'for both');
is(verify(token(sub => '8')), '', 'and accepts others');
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

# with a limit of tokens' lifetimes, a row goes when all tokens that it concerns have expired
sql(q{DELETE FROM notifyd.disconnected});
$node->append_conf('postgresql.conf', "pg_notifyd.jwt_max_lifetime = '10h'\n");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('pg_notifyd.jwt_max_lifetime') = '10h'}) or die;
my $limit = '4401 JWT must have the claims "iat" and "exp", at most 36000 s apart (pg_notifyd.jwt_max_lifetime)';
is(refused(token(@$_)), $limit, 'a token that may be valid for longer is refused')
  for [], [ iat => undef, exp => $now + 60 ], [ iat => $now, exp => $now + 36001 ];
my $short = client(token(iat => $now, exp => $now + 36000));
sub hours_ago { my $hours = shift; return sprintf q{to_timestamp(%d)}, $now - $hours * 3600; }
sub disconnect { my ($sub, $hours) = @_; return sql(sprintf q{SELECT notify_disconnect('{"sub": "%s"}', %s)}, $sub, hours_ago($hours)); }
sub rows
{
	return sql(qq{SELECT string_agg(claims::text || ' ' || ($now - extract(epoch FROM issued_before)::bigint) / 3600, ', ' ORDER BY issued_before)
		FROM notifyd.disconnected});
}
disconnect(5, 9);
disconnect(6, 20);
$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM notifyd.disconnected WHERE claims @> '{"sub": "6"}')}) or die;
is(rows(), '{} 20, {"sub": "5"} 9', 'the feed has replaced the row that was over by one for all tokens');
$short->ping;
pass('which concerns no token that is valid');
$short->close;
wait_for(sub { sql('SELECT count(*) FROM notifyd.clients') == 1 }, 'the client to leave');
sql(sprintf q{INSERT INTO notifyd.disconnected VALUES ('{"sub": "4"}', %s), ('{"sub": "3"}', %s)}, hours_ago(30), hours_ago(15));
disconnect(8, 5);
is(rows(), '{} 15, {"sub": "5"} 9, {"sub": "8"} 5', 'notify_disconnect() does the same');
$node->append_conf('postgresql.conf', "pg_notifyd.jwt_max_lifetime = 0\n");
$node->reload;
my $old = token(sub => '6', iat => $now - 16 * 3600);
wait_for(sub { refused($old) ne $limit }, 'the reload');
is(refused($old), '4401 JWT was issued before notify_disconnect() was called for it', 'a row that has gone counts without the limit, too');
sql(q{DELETE FROM notifyd.disconnected});

# rows that are inserted, updated and deleted by statements
my $revoked = '4401 JWT was issued before notify_disconnect() was called for it';
my $nine = client(token(sub => '9'));
sql(q{INSERT INTO notifyd.disconnected VALUES ('{"sub": "9"}', now())});
is_deeply([ $nine->wait_closed ], [ 4401, 'disconnected by notify_disconnect()' ], 'INSERT closes clients');
is(refused(token(sub => '9')), $revoked, 'and makes their tokens invalid');
sql(q{UPDATE notifyd.disconnected SET claims = '{"sub": "10"}'});
is(refused(token(sub => '10')), $revoked, 'UPDATE');
client(token(sub => '9'))->close;
sql(q{DELETE FROM notifyd.disconnected});
client(token(sub => '10'))->close;
pass('DELETE makes tokens valid again');
sql(qq{SET session_replication_role = replica;\nCOPY notifyd.disconnected FROM stdin;\n{"sub": "9"}\tinfinity\n\\.\n});
is(refused(token(sub => '9')), $revoked, 'COPY as in a dump that is restored');
sql(q{BEGIN; DELETE FROM notifyd.disconnected; ROLLBACK});
is(refused(token(sub => '9')), $revoked, 'a DELETE that is rolled back');
sql(q{TRUNCATE notifyd.disconnected});
client(token(sub => '9'))->close;

# many rows, and the claims that find them
sql(q{INSERT INTO notifyd.disconnected SELECT jsonb_build_object('role', 'reader', 'sub', i::text), 'infinity' FROM generate_series(100, 1099) AS i});
sql(qq{SELECT notify_disconnect('$_', 'infinity')}) for '{"n": 1.50, "role": "reader"}', '{"roles": ["b"]}', '{"deep": {"a": {"b": null}}}',
  '{"flag": true, "roles": []}';
is(refused(token(@$_)), '4401 JWT was issued before notify_disconnect() was called for it', "refused: @$_")
  for [ sub => '100' ], [ sub => '1099' ], [ n => 1.5 ], [ roles => [ 'a', 'b' ] ], [ deep => { a => { b => undef, c => 1 } } ],
  [ flag => \1, roles => [] ];
client(token(@$_))->close for [ sub => '99' ], [ n => '1.5' ], [ n => 2 ], [ roles => 'b' ], [ roles => ['c'] ], [ deep => { a => undef } ],
  [ flag => \0, roles => [] ];
pass('others are not');

# who may, and with what
sub fails { my ($rc, $out, $err) = $node->psql('postgres', $_[0]); like($err, $_[1], $_[2]); return; }
fails('SET ROLE reader; SELECT notify_disconnect()', qr/permission denied for notify_disconnect\(\)/, 'not everybody may');
fails(q{SELECT notify_disconnect('[]')}, qr/claims must be a JSON object/, 'claims are an object');
fails(q{SELECT notify_disconnect(NULL)}, qr/claims must not be null/, 'and not null');
fails(q{SET default_transaction_read_only = on; SELECT notify_disconnect()}, qr/read-only transaction/, 'not on a standby');

$node->stop;
done_testing();
