# What only a gateway that has been taken over sends to a feed ends the link, with a line in the log,
# and the feed continues. The test takes the place of the gateway's link socket.
use strict;
use warnings;

use Cwd;
use Digest::SHA qw(hmac_sha256);
use IO::Select;
use IO::Socket::UNIX;
use MIME::Base64 qw(encode_base64);
use NotifydTest;
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;

local $SIG{PIPE} = 'IGNORE';
# Three clients for each gateway. The database "other" is not served, so only one feed connects.
my $node = notifyd_node('main', roles => ['reader'], conf => "pg_notifyd.idle_timeout = 0\npg_notifyd.gateways = 2\npg_notifyd.max_clients = 6\npg_notifyd.databases = 'postgres'\n");
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest, reader;
	SELECT notify_watch('t');
});
wait_healthy($node);

sub token { return notifyd_token({ role => 'reader', sub => shift, iat => time }); }

# A client with a token on the other gateway, which nothing here may disturb.
my $client;
wait_for(
	sub {
		$client->close if $client;
		$client = notifyd_client($node, headers => { Authorization => 'Bearer ' . token('honest') });
		return $node->safe_psql('postgres', q{SELECT count(*) FROM notifyd.clients WHERE gateway = 1}) == 1;
	}, 'a client of gateway 1');
$client->subscribe('t');
my $rows = 0;

# Take the place of gateway 0. The absolute path may be too long for a socket's address.
sub take_link
{
	my $node = shift;
	my $home = Cwd::getcwd();
	chdir $node->data_dir or die "chdir: $!";
	my $path = 'pg_notifyd/pgsql_tmp.gateway.0.sock';
	unlink $path or die "unlink: $!";
	my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 8) or die "listen: $!";
	chdir $home or die "chdir: $!";
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'});
	return $listener;
}
my $listener = take_link($node);

sub frame
{
	my ($type, $payload) = @_;
	return pack('VCCv', length $payload, $type, 0, 0) . $payload;
}

sub hello
{
	my (%hello) = (gateway => 0, database => '', @_);
	return frame(20, pack('vvVVQ<V/a*', 2, $hello{gateway}, 0, 0, 0, $hello{database}));
}

sub subscribe
{
	my (%s) = (sub => 1, kinds => 1, ops => 1, session => 1, identity => 0, channel => 't', filter => '', columns => '', match => 0, @_);
	return frame(30, pack('VCCCVQ<VVVV/a*V/a*CV/a*CCQ<', @s{qw(sub kinds ops)}, 0, 0, 0, $s{session}, 1000, @s{qw(identity channel filter)},
		length $s{columns} > 0, $s{columns}, 0, $s{match}, 0));
}

# A subscription of a pattern, and a message for others.
sub pattern { return subscribe(kinds => 2, ops => 0, match => 1, channel => 'a.', @_); }
sub route
{
	my (%r) = (kind => 9, flags => 0, session => 1, identity => 0, request => 1, id => 1, name => 'a.b', options => '', payload => '[]', @_);
	return frame(36, pack('CCVVQ<Q<Q<VQ<V/a*V/a*V/a*', @r{qw(kind flags session identity request id)}, 0, 0, 0, @r{qw(name options payload)}));
}

sub auth { my ($session, $token) = @_; return frame(33, pack('VV/a*', $session, $token)); }
sub auth_user { my ($session, $user) = @_; return frame(37, pack('VQ<V/a*', $session, 77, $user)); }
sub auth_signature { my ($session, $signature) = @_; return frame(38, pack('VV/a*', $session, $signature)); }
sub forget { return frame(34, pack('V', shift)); }

# The next frame, as type and payload; empty: the link has ended.
sub next_frame
{
	my $link = shift;
	my $buffer = '';
	while (1)
	{
		my $want = 8;
		$want += unpack 'V', $buffer if length $buffer >= 8;
		return ((unpack 'VC', $buffer)[1], substr $buffer, 8) if length $buffer >= 8 && length $buffer == $want;
		die 'nothing arrives' if !IO::Select->new($link)->can_read(60);
		sysread($link, $buffer, $want - length $buffer, length $buffer) or return;
	}
}

# The payload of the next frame of one of these types.
sub next_of
{
	my ($link, @types) = @_;
	while (my ($type, $payload) = next_frame($link))
	{
		return wantarray ? ($type, $payload) : $payload if grep { $_ == $type } @types;
	}
	die "the link has ended before a frame of type @types";
}

# Read until the link has ended. The feed sends positions meanwhile.
sub expect_end
{
	my $link = shift;
	local $SIG{ALRM} = sub { die 'the link does not end' };
	alarm 30;
	1 while next_frame($link);
	alarm 0;
	return;
}

# The feed's next connection, perhaps with HELLO and a token for session 1; and the number of the identity.
sub next_link
{
	die 'the feed does not connect' if !IO::Select->new($listener)->can_read(60);
	return $listener->accept;
}
sub next_identity
{
	my $link = next_link();
	syswrite $link, hello() . auth(1, token('forged'));
	return ($link, (unpack 'VV', next_of($link, 60))[1]);
}

# Send frames that end the link; bytes, or a function of the number of the identity that session 1 has then.
foreach my $case (
	[ 'SUBSCRIBE before HELLO', 'The first frame is not HELLO.', subscribe() ],
	[ 'HELLO of another gateway', 'HELLO names another gateway or a database.', hello(gateway => 1) ],
	[ 'HELLO with a database', 'HELLO names another gateway or a database.', hello(database => 'template1') ],
	[ 'two HELLOs', 'The gateway sent HELLO twice.', hello() . hello() ],
	[ 'no kind of events', 'SUBSCRIBE has unknown kinds or operations.', hello() . subscribe(kinds => 0) ],
	[ 'an unknown operation', 'SUBSCRIBE has unknown kinds or operations.', hello() . subscribe(ops => 0x40) ],
	[ 'a channel that is not text', 'The channel of SUBSCRIBE is not valid UTF-8.', hello() . subscribe(channel => "t\xff") ],
	[ 'a filter that is not text', 'The filter or a column of SUBSCRIBE is not valid UTF-8.', hello() . subscribe(filter => "a=eq.\xff") ],
	[ 'a column that is not text', 'The filter or a column of SUBSCRIBE is not valid UTF-8.', hello() . subscribe(columns => pack('V/a*', "\xff")) ],
	[ 'a filter that is too long', 'The filter or the columns of SUBSCRIBE are too long.', hello() . subscribe(filter => 'a' x 8193) ],
	[ 'a list of columns that is too long', 'The filter or the columns of SUBSCRIBE are too long.', hello() . subscribe(columns => pack('V/a*', 'a' x 8189)) ],
	[ 'columns that are no list', 'The frame is malformed.', hello() . subscribe(columns => 'id') ],
	[ 'no channel', 'The channel of SUBSCRIBE is empty or too long.', hello() . subscribe(channel => '') ],
	[ 'a channel that is too long', 'The channel of SUBSCRIBE is empty or too long.', hello() . subscribe(channel => 't' x 64) ],
	[ 'a match that does not exist', 'SUBSCRIBE has an invalid pattern.', hello() . pattern(match => 3) ],
	[ 'a pattern with white space', 'SUBSCRIBE has an invalid pattern.', hello() . pattern(channel => 'a b') ],
	[ 'a pattern with events', 'SUBSCRIBE of a pattern has what only those of a channel have.', hello() . pattern(kinds => 3) ],
	[ 'a pattern with a filter', 'SUBSCRIBE of a pattern has what only those of a channel have.', hello() . pattern(filter => 'a=eq.1') ],
	[ 'too many patterns of a session', 'A session has too many subscriptions of patterns.',
		hello() . join('', map { pattern(sub => $_) } 1 .. 21) ],
	[ 'too many subscriptions of a session with patterns', 'A session has too many subscriptions.',
		hello() . pattern() . join('', map { subscribe(sub => $_) } 2 .. 1101) ],
	[ 'a message with an identity that was never given', 'A request has another identity than its session.', hello() . route(identity => 5) ],
	[ 'a route of feeds', 'A gateway does not send routes of this kind to a feed.', hello() . route(kind => 48) ],
	[ 'UNSUBSCRIBE from nothing', 'UNSUBSCRIBE has unknown kinds.', hello() . subscribe() . frame(31, pack('VC', 1, 2)) ],
	[ 'an identity that was never given', 'A request has another identity than its session.', hello() . subscribe(identity => 5) ],
	[ 'an identity that another session was given', 'A request has another identity than its session.',
		sub { subscribe(session => 2, identity => $_[0]) } ],
	[ 'an identity of another link', 'A request has another identity than its session.', sub { subscribe(session => 2, identity => $_[0] - 1) } ],
	[ 'the next identity', 'A request has another identity than its session.', sub { subscribe(identity => $_[0] + 1) } ],
	[ 'no identity in a session that has one', 'A request has another identity than its session.', sub { subscribe() } ],
	[ 'an identity that is forgotten', 'A request has another identity than its session.', sub { forget(1) . subscribe(identity => $_[0]) } ],
	[ 'an identity after a refused token', 'A request has another identity than its session.', hello() . auth(1, 'x') . subscribe(identity => 1) ],
	[ 'a token that is too long', 'The token, user or signature is empty or too long.', hello() . auth(1, 'x' x 8193) ],
	[ 'an empty token', 'The token, user or signature is empty or too long.', hello() . auth(1, '') ],
	[ 'a user without a name', 'The token, user or signature is empty or too long.', hello() . auth_user(1, '') ],
	[ 'a user whose name is too long', 'The token, user or signature is empty or too long.', hello() . auth_user(1, 'x' x 256) ],
	[ 'a user whose name is not text', 'The user is not valid UTF-8.', hello() . auth_user(1, "x\xff") ],
	[ 'a signature that is too long', 'The token, user or signature is empty or too long.', hello() . auth_signature(1, 'x' x 8193) ],
	[ 'more users than clients', 'More sessions have tokens than the gateway may have clients.',
		hello() . join('', map { auth_user($_, 'joe') } 1 .. 4) ],
	[ 'more tokens than clients', 'More sessions have tokens than the gateway may have clients.',
		hello() . join('', map { auth($_, token($_)) } 1 .. 4) ],
	[ 'more tokens at a time than a gateway sends', 'More tokens wait for an answer than a gateway sends.', hello() . auth(1, 'x') x 65 ],
	[ 'more sessions than clients', 'More sessions have subscriptions than the gateway may have clients.',
		hello() . join('', map { subscribe(sub => $_, session => $_) } 1 .. 4) ],
	[ 'FORGET of a session without a token', 'FORGET names a session that has presented no token.', hello() . subscribe() . forget(1) ],
	[ 'a second FORGET', 'FORGET names a session that has presented no token.', sub { forget(1) . forget(1) } ],
	[ 'a subscription of another session', 'The number of SUBSCRIBE belongs to another session.', hello() . subscribe() . subscribe(session => 2) ],
	[ 'too many subscriptions of a session', 'A session has too many subscriptions.',
		hello() . join('', map { subscribe(sub => $_) } 1 .. 101) ],
	[ 'a frame of feeds', 'A gateway does not send frames of this type to a feed.', hello() . frame(47, pack('Q<Q<V', 1, 1, 0)) ],
	[ 'an identity from a gateway', 'A gateway does not send frames of this type to a feed.',
		hello() . frame(60, pack('VVQ<Q<V/a*V/a*', 1, 1, 0, 1000, 'postgres', '')) ],
	[ 'an unknown frame', 'The frame is malformed.', hello() . frame(99, '') ],
	[ 'a frame that is too long', 'The frame is malformed.', hello() . pack('VCCv', 200_000_000, 30, 0, 0) ],
	[ 'a frame that is too short', 'The frame is malformed.', hello() . frame(31, pack('V', 1)) ])
{
	my ($what, $detail, $bytes) = @$case;
	my $from = -s $node->logfile;
	my ($link, $number) = ref $bytes ? next_identity() : next_link();
	syswrite $link, ref $bytes ? $bytes->($number) : $bytes;
	expect_end($link);
	my $log = slurp_file($node->logfile, $from);
	like($log, qr/LOG:  gateway 0 sent an invalid frame to the feed of database "postgres"\n.*DETAIL:  \Q$detail\E\n/,
		"$what: the link ends");
	is(scalar(() = $log =~ /sent an invalid frame/g), 1, 'with one message in the log');
	$node->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$rows . ')');
}
is_deeply([ map { $client->next_event->{new}{id} } 1 .. $rows ], [ 1 .. $rows ], 'a client of another gateway gets all events');
is(scalar(grep { ($_->{method} // '') eq 'reset' } @{ $client->{received} }), 0, 'and no reset');

# The link still works. Numbers of subscriptions that are not in use are ignored.
my $link = next_link();
syswrite $link,
	hello() . frame(31, pack('VC', 77, 3)) . frame(32, pack('VV', 77, 1000)) . join('', map { subscribe(sub => $_) } 1 .. 100, 100);
is(unpack('V', next_of($link, 40, 41)), $_, 'as many subscriptions as a session may have') for 1 .. 100;
is((next_of($link, 40, 41))[0], 40, 'one of them twice');
close $link;

# WAMP-CRA: one challenge for a session, which one signature uses up, and a token for this database only.
$node->safe_psql('postgres', q{SELECT notify_wamp_user('joe', 'reader', 'a secret', 1000)});
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION pg_notifyd');
my $key = $node->safe_psql('postgres', q{SELECT key FROM notifyd.wamp_user WHERE authid = 'joe'});
sub signed { my ($text, $key) = @_; return encode_base64(hmac_sha256($text, $key), ''); }
$link = next_link();
syswrite $link, hello() . auth_signature(1, 'x') . auth_user(1, 'joe') . auth_user(1, 'joe') . auth_user(2, 'jim');
is_deeply([ unpack 'VCV/a*', next_of($link, 61, 67) ], [ 1, 3, 'the challenge is too old' ], 'a signature before the challenge');
my ($session, $iterations, $keylen, $text, $salt) = unpack 'VVVV/a*V/a*', next_of($link, 61, 67);
is_deeply([ $session, $iterations, $keylen ], [ 1, 1000, 32 ], 'a challenge');
is_deeply([ unpack 'VCV/a*', next_of($link, 61, 67) ], [ 1, 3, 'a session gets one challenge' ], 'no second one');
is_deeply([ unpack 'VVV', next_of($link, 61, 67) ], [ 2, 1000, 32 ], 'a challenge for a user who does not exist');
syswrite $link, auth_signature(1, signed($text, $key)) . auth_signature(1, signed($text, $key)) . auth_signature(2, signed($text, $key));
my ($type, $payload) = next_of($link, 61, 68);
is($type, 68, 'the signature is right');
my ($issued_session, $issued) = unpack 'VV/a*', $payload;
is($issued_session, 1, 'for this session');
is_deeply([ unpack 'VCV/a*', next_of($link, 61, 68) ], [ 1, 3, 'the challenge is too old' ], 'once');
is_deeply([ unpack 'VCV/a*', next_of($link, 61, 68) ], [ 2, 3, 'the user or the signature is wrong' ], 'not for another user');
syswrite $link, auth(3, $issued);
is_deeply([ (unpack 'VVQ<Q<V/a*V/a*', next_of($link, 60, 61))[ 0, 4, 5 ] ], [ 3, 'reader', 'joe' ], 'the token is valid');
close $link;
sub verify
{
	my ($database, $token) = @_;
	my (undef, $out, $error) = $node->psql($database, "SELECT notify_verify('$token') ->> 'role'");
	return $error =~ /token is refused: (.*)/ ? $1 : $out;
}
is(verify('postgres', $issued), 'reader', 'notify_verify');
is(verify('other', $issued), 'JWT is for another database', 'but not in another database');
is(verify('postgres', $issued =~ s/\.[^.]*\./.eyJzdWIiOiJ4In0./r), 'JWT signature does not match any key', 'nor with other claims');
$node->safe_psql('postgres', q{SELECT notify_wamp_user('joe', 'reader', 'a secret', 1000)});
is(verify('postgres', $issued), 'the user was changed or dropped', 'nor after a change of the user');

# What crosses the end of an identity on its way is refused, and so is what follows a refused token.
($link, my $number) = next_identity();
$node->safe_psql('postgres', q{INSERT INTO notifyd.disconnected VALUES ('{"sub": "forged"}', 'infinity'); SELECT notify_disconnect('{"sub": "x"}')});
is_deeply([ unpack 'VVCV/a*', next_of($link, 62) ], [ 1, $number, 6, 'disconnected by notify_disconnect()' ], 'the identity has ended');
syswrite $link, subscribe(identity => $number) . auth(1, token('other')) . auth(2, 'x') . subscribe(sub => 2, session => 2) . auth(2, 'y')
  . auth(3, token('gone')) . forget(3);
my @answers = (40, 41, 61);
is_deeply([ unpack 'VCV/a*', next_of($link, @answers) ], [ 1, 3, 'the identity has ended' ], 'a subscription of it is refused');
is(unpack('V', next_of($link, @answers)), 2, 'a request waits for no token, and the session has no identity');
is_deeply([ unpack 'VCV/a*', next_of($link, @answers) ], [ 1, 3, 'the identity has ended' ], 'another token of the first session is refused');
is((unpack 'VC', next_of($link, @answers))[0], 2, 'a bad token is refused');
is((unpack 'VC', next_of($link, @answers))[0], 2, 'a second one is refused, too');
is_deeply([ unpack 'VCV/a*', next_of($link, @answers) ], [ 3, 3, 'the connection has ended' ], 'a token need not be verified when its session has ended');
syswrite $link, forget(2) . forget(1) . auth(1, token('new'));
is((unpack 'VV', next_of($link, 60))[0], 1, 'the number of a session can be used again');
close $link;
$node->stop;

# Where anonymous access is disabled, only a reload makes a difference.
$node = notifyd_node('closed', conf => "pg_notifyd.idle_timeout = 0\npg_notifyd.anonymous_role = ''\n");
$node->safe_psql('postgres', q{CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO guest; SELECT notify_watch('t')});
$listener = take_link($node);
$link = next_link();
syswrite $link, hello() . subscribe();
expect_end($link);
like(slurp_file($node->logfile), qr/DETAIL:  A request has no identity, and anonymous access is disabled\./, 'no identity: the link ends');
sub reload { $node->append_conf('postgresql.conf', "pg_notifyd.anonymous_role = '$_[0]'\n"); $node->reload; return; }
sub answers { my $link = shift; syswrite $link, subscribe(); return eval { (next_of($link, 40, 41))[0] } // 0; }
reload('guest');
wait_for(sub { $link = next_link(); syswrite $link, hello(); answers($link) == 40 }, 'anonymous access');
reload('');
wait_for(sub { answers($link) != 40 }, 'the end of anonymous access');
is(answers($link), 41, 'a gateway that has not read a setting yet keeps its link');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'nothing has crashed');

close $link;
$node->stop;
done_testing();
