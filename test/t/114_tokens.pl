# Tokens made by a foreign library: which are accepted, why others are refused, and that nothing shows a
# secret.
use strict;
use warnings;

use IPC::Run;
use JSON::PP;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $json = JSON::PP->new->canonical;

# Tokens of requests, see test/lib/tokens.py.
sub tokens
{
	my (@requests) = @_;
	my ($out, $err);
	my $in = join '', map { $json->encode($_) . "\n" } @requests;
	IPC::Run::run([ '/usr/bin/python3', 'test/lib/tokens.py', $dir ], '<', \$in, '>', \$out, '2>', \$err) or die "tokens.py: $err";
	return split /\n/, $out;
}

sub token
{
	my ($claims, %options) = @_;
	return (tokens({ alg => 'HS256', claims => $claims, %options }))[0];
}

tokens();
my $secret = slurp_file("$dir/secret");
my $node = notifyd_node('main', conf => "log_statement = none\n");

# What notify_verify() returns for a token, or the text of the refusal.
sub verify
{
	my ($token) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT notify_verify('$token')");
	return $rc == 0 ? $json->decode($out) : $err =~ /token is refused: (.*)/ ? $1 : "unexpected: $err";
}

# Change settings, and wait until new sessions have them.
my $generation = 0;

sub configure
{
	my (%settings) = @_;
	my $lines = join '', map { "pg_notifyd.$_ = '" . $settings{$_} =~ s/'/''/gr . "'\n" } sort keys %settings;
	$generation++;
	$node->append_conf('postgresql.conf', $lines . "test.generation = '$generation'\n");
	$node->reload;
	$node->poll_query_until('postgres', 'SELECT current_setting(\'test.generation\', true)', $generation) or die;
	return;
}

sub accepted
{
	my ($token, $what) = @_;
	my $result = verify($token);
	ok(ref $result, $what) or diag $result;
	return ref $result ? $result : {};
}

sub refused
{
	my ($token, $regexp, $what) = @_;
	my $result = verify($token);
	like(ref $result ? 'accepted' : $result, $regexp, $what);
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE authenticator LOGIN NOINHERIT; CREATE ROLE app; CREATE ROLE stranger; GRANT app TO authenticator');
my $now = time;
my %claims = (role => 'app', sub => '7', exp => $now + 3600);

# Settings
refused(token(\%claims), qr/^no key to verify a JWT with is configured$/, 'no key');
configure(jwt_secret => $secret);
refused(token(\%claims), qr/^JWT names a role, and the setting pg_notifyd.authenticator_role is empty$/, 'no authenticator');
configure(authenticator_role => 'authenticator');
my $result = accepted(token(\%claims), 'a secret in the settings');
is($result->{role}, 'app', 'role');
is($result->{subject}, '7', 'subject');
is_deeply($result->{claims}, \%claims, 'claims');
my @utc = gmtime $claims{exp};
is($result->{expires_at},
	sprintf('%04d-%02d-%02dT%02d:%02d:%02d+00:00', $utc[5] + 1900, $utc[4] + 1, @utc[ 3, 2, 1, 0 ]), 'expiry');
is($node->safe_psql('postgres', 'SHOW pg_notifyd.jwt_secret'), '********', 'a superuser sees that there is a secret');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE pg_settings::text LIKE '%$secret%'"), '0', 'pg_settings');
configure(jwt_secret => 'x' x 64);
refused(token(\%claims), qr/^JWT signature does not match any key$/, 'another secret');
configure(jwt_secret => 'x' x 31);
is($node->safe_psql('postgres', 'SHOW pg_notifyd.jwt_secret'), '********', 'a secret that is too short leaves the old one');
refused(token(\%claims), qr/^JWT signature does not match any key$/, 'which is not empty');
configure(jwt_secret => "\@$dir/secret", jwt_keys => "$dir/keys.json");
is($node->safe_psql('postgres', 'SHOW pg_notifyd.jwt_secret'), "\@$dir/secret", 'a path is shown');

# Algorithms and keys
my @algorithms = qw(HS256 HS384 HS512 RS256 RS384 RS512 ES256 ES384 EdDSA);
my %kid = (RS256 => 'rsa', ES256 => 'p256', ES384 => 'p384', EdDSA => 'ed25519');
my @made = tokens(map { { alg => $_, claims => \%claims } } @algorithms);
accepted($made[$_], $algorithms[$_]) for 0 .. $#algorithms;
@made = tokens(map { { alg => $_, claims => \%claims, kid => $kid{$_} } } sort keys %kid);
accepted($_, 'with a kid') for @made;
refused(token(\%claims, alg => 'RS256', kid => 'p256'), qr/^no key for algorithm "RS256" has the kid "p256"$/, 'the kid of another key');
refused(token(\%claims, alg => 'RS256', kid => "a\x{e9}\"\n"), qr/^no key for algorithm "RS256" has the kid "a\?+"$/, 'a strange kid');
accepted(token(\%claims, kid => 'anything'), 'a secret has no kid');

# Times
my @times = (
	[ { exp => $now - 20 }, undef, 'within the skew' ],
	[ { exp => $now - 40 }, qr/^JWT expired [4-9]\d s ago$/, 'expired' ],
	[ { exp => undef }, qr/^JWT claim "exp" is not a number of seconds$/, 'exp: null' ],
	[ { exp => "$now" }, qr/^JWT claim "exp" is not a number of seconds$/, 'exp: text' ],
	[ { exp => $now * 1000 }, qr/^JWT claim "exp" is out of range: it must be in seconds since 1970$/, 'exp: milliseconds' ],
	[ { exp => $now + 10.5 }, undef, 'exp: a fraction' ],
	[ { nbf => $now + 10 }, undef, 'nbf within the skew' ],
	[ { nbf => $now + 1000 }, qr/^JWT is not valid before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/, 'nbf' ],
	[ { iat => $now + 1000 }, qr/^JWT is issued in the future, at \d{4}-/, 'iat' ],
	[ { iat => $now - 1000, nbf => -5 }, undef, 'iat and nbf in the past' ],
	[ { sub => 7 }, qr/^JWT claim "sub" is not a string$/, 'sub: a number' ],
	[ { session_id => [] }, qr/^JWT claim "session_id" is not a string$/, 'session_id: an array' ],
	[ { aud => 'whatever' }, undef, 'any audience' ],
	[ { nothing => "\x{0}" }, qr/^JWT payload is not a JSON object$/, 'U+0000' ],
	[ { other => "\x{e9}\x{1f600}" }, undef, 'other characters' ],
);
@made = tokens(map { { alg => 'HS256', claims => { %claims, %{ $_->[0] } } } } @times);
foreach my $case (@times)
{
	my $token = shift @made;
	$case->[1] ? refused($token, @$case[ 1, 2 ]) : accepted($token, $case->[2]);
}
my $forever = accepted(token({ role => 'app' }), 'a token that never expires');
is($forever->{expires_at}, undef, 'and has no expiry');

# Audience
configure(jwt_audience => 'shop');
accepted(token(\%claims), 'no audience');
accepted(token({ %claims, aud => 'shop' }), 'the audience');
accepted(token({ %claims, aud => [ 'x', 'shop' ] }), 'the audience in an array');
refused(token({ %claims, aud => $_ }), qr/^JWT is for another audience \(claim "aud"\)$/, 'another audience') for 'shops', [], [ 'x', ['shop'] ];
configure(jwt_audience => '');

# Roles
refused(token({ %claims, role => 'nobody' }), qr/^role "nobody" does not exist$/, 'no such role');
refused(token({ %claims, role => "no\n\e[31m\x7fbody" }), qr/^role "no\?\?\[31m\?body" does not exist$/, 'control characters');
refused(token({ %claims, role => '' }), qr/^role "" does not exist$/, 'an empty role');
refused(token({ %claims, role => 'stranger' }), qr/^role "stranger" is not granted to "authenticator"$/, 'a role that is not granted');
refused(token({ %claims, role => 'postgres' }), qr/^role "postgres" is not granted to "authenticator"$/, 'a superuser');
refused(token({ %claims, role => ['app'] }), qr/^JWT claim "role" is not a string$/, 'a role in an array');
refused(token({ %claims, role => 'a' x 100 }), qr/^role "a{63}" does not exist$/, 'a long role');
is(accepted(token({ sub => '1' }), 'no role')->{role}, 'guest', 'is the anonymous one');
$node->safe_psql('postgres', 'ALTER ROLE authenticator NOLOGIN');
refused(token(\%claims), qr/^role "authenticator" \(pg_notifyd.authenticator_role\) does not exist or may not log in$/, 'NOLOGIN');
$node->safe_psql('postgres', 'ALTER ROLE authenticator LOGIN; REVOKE app FROM authenticator');
refused(token(\%claims), qr/^role "app" is not granted to "authenticator"$/, 'revoked');
$node->safe_psql('postgres', 'GRANT app TO authenticator');
configure(anonymous_role => '');
refused(token({ sub => '1' }), qr/^JWT names no role \(claim role\), and anonymous access is disabled$/, 'no role, and none for it');
my %paths = (
	'$.realm.role' => { realm => { role => 'app' } },
	'.realm.roles[1]' => { realm => { roles => [ 'x', 'app' ] } },
	'."https://example.com/role"' => { 'https://example.com/role' => 'app' },
	'app_metadata.role' => { app_metadata => { role => 'app' }, role => 'authenticated' },
);
foreach my $path (sort keys %paths)
{
	configure(jwt_role_claim => $path);
	is(accepted(token($paths{$path}), $path)->{role}, 'app', "role at $path");
}
configure(jwt_role_claim => 'role');

# Files that change
my $keys = slurp_file("$dir/keys.json");
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $token = token(\%claims, alg => 'ES256');

sub in_session
{
	return $session->query("SELECT notify_verify('$token') ->> 'role'");
}
is(in_session(), 'app', 'a session has the keys');
my $offset = -s $node->logfile;
PostgreSQL::Test::Utils::append_to_file("$dir/keys.json", 'x');
is(in_session(), 'app', 'a file that becomes wrong leaves the keys');
is(in_session(), 'app', 'also later');
my @lines = slurp_file($node->logfile, $offset) =~ /(could not load keys of parameter "pg_notifyd.jwt_keys")/g;
is(scalar @lines, 1, 'the log says so once');
unlink "$dir/keys.json";
is(in_session(), 'app', 'a file that disappears leaves the keys');
PostgreSQL::Test::Utils::append_to_file("$dir/keys.json", '{"keys": [{"kty": "oct", "k": "' . 'A' x 43 . '"}]}');
like(in_session() // '', qr/^$/, 'another file replaces the keys');
unlink "$dir/keys.json";
PostgreSQL::Test::Utils::append_to_file("$dir/keys.json", $keys);
is(in_session(), 'app', 'and back');
like(slurp_file($node->logfile, $offset), qr/read 4 keys from file "\Q$dir\E\/keys\.json"/, 'the log says that keys were read');
$session->quit;

# A file that has gone, and is not there yet when the server starts
rename "$dir/keys.json", "$dir/later.json" or die;
my $parallel = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SELECT count(*) > 0 FROM pg_class';
like($node->safe_psql('postgres', "SET max_parallel_workers_per_gather = 2; $parallel" =~ s/SELECT/EXPLAIN SELECT/r), qr/Gather/, 'a plan with workers');
is($node->safe_psql('postgres', "SET max_parallel_workers_per_gather = 2; $parallel"), 't', 'parallel workers do not need the file');
$offset = -s $node->logfile;
$node->restart;
like(slurp_file($node->logfile, $offset), qr/LOG:  could not load keys of parameter "pg_notifyd.jwt_keys"\n.*File "\Q$dir\E\/keys\.json": It cannot be opened/,
	'the server starts without the file of the keys');
is($node->safe_psql('postgres', 'SHOW pg_notifyd.jwt_keys'), "$dir/keys.json", 'and keeps the path');
refused($token, qr/^configured keys could not be loaded; see the server's log$/, 'which is the reason of refusals');
unlike(slurp_file($node->logfile, $offset), qr/previous keys/, 'and there are no previous keys');
rename "$dir/later.json", "$dir/keys.json" or die;
accepted($token, 'the file is read when it has come');

# jose, the library of most JavaScript programs. It comes from the network.
SKIP:
{
	my ($out, $err) = ('', '');
	mkdir "$dir/jose" or die;
	system("cp test/lib/tokens.mjs '$dir/jose/'") == 0 or die;
	skip 'no npm, or it cannot fetch jose', 9
	  if !eval { IPC::Run::run([ 'npm', 'install', '--no-audit', '--no-fund', '--prefix', "$dir/jose", 'jose@5.10.0' ], '>', \$out, '2>', \$err) };
	IPC::Run::run([ 'node', "$dir/jose/tokens.mjs", $json->encode(\%claims) ], '>', \$out, '2>', \$err) or die $err;
	my $made = $json->decode($out);
	unlink "$dir/keys.json";
	PostgreSQL::Test::Utils::append_to_file("$dir/keys.json", $json->encode({ keys => $made->{keys} }));
	accepted($made->{tokens}{$_}, "$_ of jose") for @algorithms;
}

# The example of the documentation
my ($make_keys, $make_token) = grep { /openssl/ } slurp_file('doc/authentication.md') =~ /```sh\n(.*?)```/gs;
PostgreSQL::Test::Utils::append_to_file("$dir/make_token", $make_token);
my ($made, $error);
IPC::Run::run([ 'sh', '-ec', $make_keys ], '>', \$made, '2>', \$error, init => sub { chdir $dir }) or die $error;
IPC::Run::run([ 'sh', '-e', 'make_token', '7', 'app' ], '>', \$made, '2>', \$error, init => sub { chdir $dir }) or die $error;
configure(jwt_keys => "$dir/token_keys.json");
$result = accepted($made =~ s/\n//r, 'a token of openssl');
is($result->{subject}, '7', 'has its subject');
is($result->{claims}{exp} - $result->{claims}{iat}, 3600, 'and its time of issue');
unlink "$dir/token_key.pem" or die;
my $status = IPC::Run::run([ 'sh', 'make_token', '7', 'app' ], '>', \$made, '2>', \$error, init => sub { chdir $dir });
ok(!$status && $made eq '', 'without the key there is no token');

# ALTER SYSTEM, and roles that may read all settings
$node->safe_psql('postgres', "ALTER SYSTEM SET pg_notifyd.jwt_secret = '$secret'; CREATE ROLE monitor; GRANT pg_monitor, pg_read_all_settings TO monitor");
configure(jwt_keys => '');
accepted(token(\%claims), 'a secret of ALTER SYSTEM');
is($node->safe_psql('postgres', 'SET ROLE monitor; SHOW pg_notifyd.jwt_secret'), '********', 'a monitoring role does not see it');
is($node->safe_psql('postgres', "SET ROLE monitor; SELECT count(*) FROM pg_settings AS s WHERE s::text LIKE '%$secret%'"), '0', 'nor in pg_settings');
isnt($node->psql('postgres', 'SET ROLE monitor; SELECT * FROM pg_file_settings'), 0, 'and cannot read pg_file_settings');
$node->restart;
accepted(token(\%claims), 'after a restart');

# Nothing shows a secret or token.
my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$secret\E/, 'the log does not contain the secret');
unlike($log, qr/x{31}/, 'nor one that was refused');
unlike($log, qr/parameter "pg_notifyd.jwt_secret" changed/, 'not even that it has changed');
unlike($log, qr/eyJ/, 'and no token');
like($log, qr/invalid value for parameter "pg_notifyd.jwt_secret"\n.*DETAIL:  The secret is not usable: a secret must have at least 32 bytes/, 'but the problem');
unlike(`ps -eo args`, qr/\Q$secret\E/, 'no process title does');

done_testing();
