# Attacks on WAMP-CRA: who exists, replayed and guessed signatures, strange names, methods in any order, roles and users that end under a
# session, and who can read keys and secrets.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use Encode qw(encode_utf8);
use MIME::Base64 qw(encode_base64);
use Mojo::JSON qw(encode_json from_json);
use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $failed = 'wamp.error.authentication_failed';
my $secret = q{a secret that nobody sees};
my $node = notifyd_node('main', roles => [ 'member', 'other' ], conf => <<'EOS');
pg_notifyd.gateways = 2
pg_notifyd.max_message_size = 1MB
EOS

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
	SELECT notify_expose('who()', 'com.example.who')});
sql("SELECT notify_wamp_user('joe', 'member', '$secret', 1000)");
my $watcher = wamp_client($node, realm => 'postgres');
my @gateways = gateway_pids($node);

# PBKDF2 with HMAC-SHA256 (RFC 8018), one block, and the signature of a challenge with that key.
sub signature
{
	my ($extra, $with) = @_;
	my $block = hmac_sha256($extra->{salt} . pack('N', 1), $with);
	my $key = $block;
	for (2 .. $extra->{iterations})
	{
		$block = hmac_sha256($block, $with);
		$key ^= $block;
	}
	return encode_base64(hmac_sha256(encode_utf8($extra->{challenge}), encode_base64($key, '')), '');
}

# A client whose HELLO was answered by this message.
sub greeted
{
	my ($details, %options) = @_;
	my $client = wamp_client($node, %options);
	return ($client, $client->hello($options{database} // 'postgres', $details));
}

sub challenge
{
	my ($user, %options) = @_;
	my ($client, $answer) = greeted({ authmethods => ['wampcra'], authid => $user }, %options);
	die encode_json($answer) if $answer->[0] != wamp_type('CHALLENGE');
	return ($client, $answer->[2]);
}

# The answer to a signature.
sub signed
{
	my ($client, $signature) = @_;
	$client->send([ 'AUTHENTICATE', $signature, {} ]);
	return $client->next_message(qw(WELCOME ABORT));
}

sub login
{
	my ($user, $with, %options) = @_;
	my ($client, $extra) = challenge($user, %options);
	my $answer = signed($client, signature($extra, $with));
	@$client{qw(session welcome)} = @$answer[ 1, 2 ];
	return ($client, $answer);
}

sub is_alive
{
	my $name = shift;
	is($watcher->result('com.example.who'), 'guest', "$name: others are served");
	is_deeply([ gateway_pids($node) ], \@gateways, "$name: the gateways are the same");
	return;
}

# Users with different iterations: those who do not exist have them, too.
my @strangers = map { "stranger $_" } 1 .. 30;
sub iterations { return map { (challenge($_))[1]{iterations} } @_; }
is_deeply([ iterations(@strangers) ], [ (1000) x 30 ], 'who does not exist has the iterations of the only user');
sql(map { "SELECT notify_wamp_user('user $_', 'member', 'x', @{[ 1000 + $_ % 3 * 500 ]})" } 1 .. 12);
my @iterations = iterations(@strangers);
my %known = map { $_ => 1 } 1000, 1500, 2000;
is_deeply([ grep { !$known{$_} } @iterations ], [], 'of several users');
cmp_ok(keys %{ { map { $_ => 1 } @iterations } }, '>', 1, 'not all the same');
is_deeply([ iterations(@strangers) ], \@iterations, 'always the same of a name');
sql(q{SELECT notify_wamp_user('another', 'member', 'x', 3000)});
my @changed = iterations(@strangers);
cmp_ok(scalar(grep { $changed[$_] != $iterations[$_] } 0 .. 29), '<', 20, 'another user changes those of few names');
sql(map { "SELECT notify_wamp_user_drop('$_')" } 'another', map { "user $_" } 1 .. 12);

# A signature is for one challenge: not for another connection, of this gateway or another one, not twice, and not after a restart.
my ($first, $extra) = challenge('joe');
my $seen = signature($extra, $secret);
my @others = map { (challenge('joe'))[0] } 1 .. 8;
is(signed($first, $seen)->[2]{authid}, 'joe', 'a signature');
is_deeply([ map { error_uri(signed($_, $seen)) } @others ], [ ($failed) x 8 ], 'is not for another connection');
$first->send([ 'AUTHENTICATE', $seen, {} ]);
is(error_uri($first->next_message('ABORT')), 'wamp.error.protocol_violation', 'nor twice for the same one');
{
	my ($client, $asked) = challenge('joe');
	my $right = signature($asked, $secret);
	$client->send([ 'AUTHENTICATE', $_, {} ]) for 'x' x 44, $right;
	is(error_uri($client->next_message('ABORT', 'WELCOME')), $failed, 'a wrong signature, and a right one behind it');
}
{
	my ($client, $asked) = challenge('joe');
	$client->send_text('[1,"postgres",{"authmethods":["wampcra"],"authid":"joe"}]');
	is(error_uri($client->next_message('ABORT')), 'wamp.error.protocol_violation', 'no second challenge');
}
my ($waiting, $old) = challenge('joe');
$node->restart;
wait_healthy($node);
is(error_uri(signed((challenge('joe'))[0], signature($old, $secret))), $failed, 'nor after a restart');
$watcher = wamp_client($node, realm => 'postgres');
@gateways = gateway_pids($node);

# Guessing
$node->append_conf('postgresql.conf', "pg_notifyd.max_failed_tokens_per_address = 6\n");
$node->reload;
wait_for(sub { sql('SHOW pg_notifyd.max_failed_tokens_per_address') == 6 }, 'the setting');
my $before = sql('SELECT max(refused_tokens) FROM notifyd.stats');
my @guesses = map { [ challenge($_ % 2 ? 'joe' : 'jim', from => '127.0.0.2') ] } 1 .. 30;
$_->[0]->send([ 'AUTHENTICATE', signature($_->[1], 'guess'), {} ]) for @guesses;
my @messages = map { $_->[0]->next_message('ABORT')->[1]{message} } @guesses;
my $tried = sql('SELECT max(refused_tokens) FROM notifyd.stats') - $before;
cmp_ok($tried, '<=', 6, '30 guesses at once, and as many as the limit says are tried');
is(scalar(grep { /signature is wrong/ } @messages), $tried, 'what others get does not depend on the signature');
is(scalar(grep { /too many tokens/ } @messages), 30 - $tried, 'and says why');
my $limited;
for (1 .. 10)
{
	my (undef, $answer) = greeted({ authmethods => ['wampcra'], authid => 'joe' }, from => '127.0.0.2');
	$limited++ if $answer->[0] == wamp_type('ABORT') && $answer->[1]{message} =~ /too many tokens/;
}
ok($limited, 'then there is no challenge for this address');
is((login('joe', $secret))[0]->result('com.example.who'), 'member', 'but for others');
$node->append_conf('postgresql.conf', "pg_notifyd.max_failed_tokens_per_address = 0\n");
$node->reload;
wait_for(sub { sql('SHOW pg_notifyd.max_failed_tokens_per_address') == 0 }, 'the setting');

# Strange names
for my $name (q{'; DROP TABLE notifyd.wamp_user; --}, q{x"\\y}, "\x{1F600}", "\t\n\x01", 'x' x 255, ' ', '%s%n', 'joe ', 'JOE')
{
	my $quoted = encode_utf8($name =~ s/'/''/gr);
	my $shown = encode_json([ substr $name, 0, 20 ]);
	my ($client, $asked) = challenge($name);
	is(from_json($asked->{challenge})->{authid}, $name, "a challenge for $shown");
	is(error_uri(signed($client, signature($asked, $secret))), $failed, 'who is nobody');
	$node->safe_psql('postgres', "SELECT notify_wamp_user('$quoted', 'member', 's', 1000)");
	($client) = login($name, 's');
	is($client->{welcome}{authid}, $name, 'and signs in once there is this user');
	is($client->result('com.example.who'), 'member', 'and calls');
	sql("SELECT notify_wamp_user_drop('$quoted')");
}
for my $id ('""', 'null', '"' . 'x' x 256 . '"', '"' . 'x' x 900_000 . '"')
{
	my $client = wamp_client($node);
	$client->send_text(qq{[1,"postgres",{"authmethods":["wampcra"],"authid":$id}]});
	is(error_uri($client->next_message('ABORT', 'CHALLENGE')), $failed, 'the name ' . substr $id, 0, 20);
}
for my $id ('7', '["joe"]', '{"a":"joe"}', 'true', '"joe\u0000"', '"\ud800"', "\"joe\0\"")
{
	my $client = wamp_client($node);
	$client->send_text(qq{[1,"postgres",{"authmethods":["wampcra"],"authid":$id}]});
	is(error_uri($client->next_message('ABORT', 'CHALLENGE')), 'wamp.error.protocol_violation', 'a name that is no text');
}
{
	my $client = wamp_client($node);
	$client->send_frame([ 1, 0, 0, 0, 1, qq{[1,"postgres",{"authmethods":["wampcra"],"authid":"\xff\xfe"}]} ]);
	is(($client->wait_closed)[0], 1007, 'a name that is not in UTF-8');
}
for my $text ('"' . 'x' x 9000 . '"', '"' . 'x' x 900_000 . '"', '""', "\"\x{263a}\"", '"' . "'" x 44 . '"')
{
	my ($client) = challenge('joe');
	$client->send_text("[5,$text,{}]");
	is(error_uri($client->next_message('ABORT')), $failed, 'the signature ' . encode_json([ substr $text, 1, 5 ]));
}
is_alive('strange names');

# A database whose encoding does not have all characters
$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->safe_psql('latin', q{CREATE EXTENSION pg_notifyd; SELECT notify_wamp_user(U&'j\00E4ne', 'member', U&'s\00E4', 1000)});
wait_healthy($node, 'latin');
my $jane = "j\x{e4}ne";
is((login($jane, "s\xc3\xa4", database => 'latin'))[0]{welcome}{authid}, $jane, 'a name and a secret in another encoding');
is(error_uri((login("\x{2603}", 's', database => 'latin'))[1]), $failed, 'a name that this encoding lacks');

# Methods in all orders, with and without a name: the client's first that there is decides.
my %answer = (wampcra => 'CHALLENGE wampcra', ticket => 'CHALLENGE ticket', anonymous => 'WELCOME anonymous');
sub permutations
{
	my @items = @_;
	return ([]) if !@items;
	return map { my $i = $_; map { [ $items[$i], @$_ ] } permutations(@items[ grep { $_ != $i } 0 .. $#items ]) } 0 .. $#items;
}
for my $methods (permutations(qw(wampcra ticket anonymous scram)))
{
	for my $details ({ authid => 'joe' }, {})
	{
		my ($first) = grep { $answer{$_} } @$methods;
		my (undef, $got) = greeted({ authmethods => $methods, %$details });
		my $said = $got->[0] == wamp_type('WELCOME') ? "WELCOME $got->[2]{authmethod}" : $got->[0] == wamp_type('CHALLENGE') ? "CHALLENGE $got->[1]" : $got->[2];
		is($said, $first eq 'wampcra' && !%$details ? $failed : $answer{$first}, "@$methods" . (%$details ? ' of joe' : ''));
	}
}
{
	# A ticket is no signature, and a signature is no ticket.
	my ($client) = challenge('joe');
	is(error_uri(signed($client, notifyd_token({ role => 'member', sub => 'joe' }))), $failed, 'a token as signature');
	my ($other) = greeted({ authmethods => ['ticket'], authid => 'joe' });
	my (undef, $asked) = challenge('joe');
	is(error_uri(signed($other, signature($asked, $secret))), $failed, 'a signature as ticket');
}

# Roles and users that end under a session
sub ends
{
	my ($client, $what) = @_;
	is($client->next_message('GOODBYE', 'ABORT')->[2], 'wamp.close.killed', $what);
	return;
}
my ($joe) = login('joe', $secret);
sql('ALTER ROLE member RENAME TO renamed');
ends($joe, 'a role that is renamed');
($joe) = login('joe', $secret);
is($joe->result('com.example.who'), 'renamed', 'is still that of the user');
sql('CREATE ROLE member', 'GRANT member TO authenticator', 'DROP ROLE renamed');
ends($joe, 'a role that is dropped');
is(error_uri((login('joe', $secret))[1]), $failed, 'another role of the name is not that of the user');
sql("SELECT notify_wamp_user('joe', 'member', '$secret', 1000)");
($joe) = login('joe', $secret);
sql('BEGIN', 'DROP ROLE member', 'CREATE ROLE member', 'GRANT member TO authenticator', 'COMMIT');
ends($joe, 'a role that another one replaces');
sql("SELECT notify_wamp_user('joe', 'member', '$secret', 1000)");
($joe, $extra) = challenge('joe');
$seen = signature($extra, $secret);
sql(q{SELECT notify_wamp_user_drop('joe')});
is(error_uri(signed($joe, $seen)), $failed, 'a user who is dropped between challenge and signature');
sql("SELECT notify_wamp_user('joe', 'member', '$secret', 1000)");
($joe) = login('joe', $secret);
sql("BEGIN", "SELECT notify_wamp_user_drop('joe')", "SELECT notify_wamp_user('joe', 'member', '$secret', 1000)", 'COMMIT');
ends($joe, 'a user who is dropped and made again');
($joe) = login('joe', $secret);
sql(q{DELETE FROM notifyd.wamp_user WHERE authid = 'joe'});
ends($joe, 'a user whose row is deleted');
sql("SELECT notify_wamp_user('joe', 'member', '$secret', 1000)");

# Settings for other tokens do not stand in the way, and the shorter lifetime counts.
$node->append_conf('postgresql.conf', <<'EOS');
pg_notifyd.jwt_audience = 'shop'
pg_notifyd.jwt_role_claim = 'app.role'
pg_notifyd.jwt_max_lifetime = 600
pg_notifyd.wampcra_lifetime = 7200
EOS
$node->reload;
wait_for(sub { sql('SHOW pg_notifyd.jwt_max_lifetime') eq '10min' }, 'the settings');
wait_for(sub { ($joe) = login('joe', $secret); sql(q{SELECT max(expires_at) <= now() + '10 min' FROM notifyd.clients WHERE subject = 'joe'}) eq 't' },
	'a session with an end');
is($joe->result('com.example.who'), 'member', 'with other settings for tokens');

# Who can read what
sub reads { return $node->safe_psql('postgres', "SELECT has_table_privilege('$_[0]', 'notifyd.wamp_user', 'SELECT')"); }
is(reads($_), 'f', "$_ cannot read the keys") for qw(member guest authenticator pg_database_owner pg_monitor);
# Two statements in one message
my $query = "SELECT notify_wamp_user('jim', 'member', '$secret', 1000); SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()";
my ($activity) = run_command([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $query ]);
is($activity =~ s/^\n//r, 'notify_wamp_user()', 'pg_stat_activity shows what is running without the secret');
my $key = sql(q{SELECT key FROM notifyd.wamp_user WHERE authid = 'jim'});
my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$key/, 'no key is in the log');
unlike($log, qr/\Q$_/, 'no salt') for split /\n/, sql('SELECT salt FROM notifyd.wamp_user WHERE role IS NOT NULL');
foreach my $row (q{'x', 'member', 'salt', 0, 32, 'k'}, q{'x', 'member', 'salt', -1, 32, 'k'}, q{'x', 'member', 'salt', 2147483647, 32, 'k'},
	q{'x', 'member', 'salt', 1000, 2147483647, 'k'}, q{'x', 'member', 'salt', 1000, -1, 'k'})
{
	my (undef, undef, $error) = $node->psql('postgres', "INSERT INTO notifyd.wamp_user VALUES ($row)");
	like($error, qr/violates check constraint/, "no row ($row)");
}

# Rows that are restored into an extension that is there already: the database's owner cannot read them either.
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump";
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->safe_psql('copy', 'CREATE EXTENSION pg_notifyd');
$node->safe_psql('latin', q{SELECT notify_wamp_user(U&'j\00E4ne', 'member', U&'s\00E4', 1000)});
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'latin' ], 'a dump');
sub owner_reads { return $node->safe_psql('copy', q{SELECT has_table_privilege('pg_database_owner', 'notifyd.wamp_user', 'SELECT')}); }
$node->safe_psql('copy', 'COPY notifyd.wamp_user FROM STDIN');
is(owner_reads(), 't', 'before there are users, the owner of the database can dump the table');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-a', '-n', 'notifyd', '-t', 'wamp_user', '-d', 'copy', $dump ], 'the rows are restored');
is($node->safe_psql('copy', q{SELECT count(*) FROM notifyd.wamp_user}), 2, 'both');
is(owner_reads(), 'f', 'and the owner cannot read them');
wait_healthy($node, 'copy');
is((login($jane, "s\xc3\xa4", database => 'copy'))[0]{welcome}{authid}, $jane, 'the user signs in');

is_alive('at the end');
done_testing();
