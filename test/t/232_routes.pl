# Sessions of WAMP call each other through the feed. The test takes the place of two gateways: what
# they send for their sessions, and what a gateway that has been taken over gets with it.
use strict;
use warnings;

use Cwd;
use IO::Select;
use IO::Socket::UNIX;
use NotifydTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use Socket;
use Test::More;

local $SIG{PIPE} = 'IGNORE';
# Three clients for each gateway.
my $node = notifyd_node('main', roles => [qw(reader callee boss)],
	conf => "pg_notifyd.idle_timeout = 0\npg_notifyd.gateways = 2\npg_notifyd.max_clients = 6\n");
$node->safe_psql('postgres', q{
	CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;
	SELECT notify_expose('f()', 'com.exposed');
	SELECT notify_grant('com.a', 'callee', 'register'), notify_grant('com.exposed', 'callee', 'register');
	SELECT notify_grant('com.a', 'reader', 'call'), notify_grant('wamp.session.get', 'reader', 'call');
	SELECT notify_grant('wamp.session.' || name, 'boss', 'call') FROM unnest('{list,kill}'::text[]) name;
});
wait_healthy($node);

# ---------------- gateways ----------------

my @listeners;
my $home = Cwd::getcwd();
chdir $node->data_dir or die "chdir: $!";
foreach my $gateway (0, 1)
{
	my $path = "pg_notifyd/pgsql_tmp.gateway.$gateway.sock";
	unlink $path or die "unlink: $!";
	push @listeners, IO::Socket::UNIX->new(Local => $path, Listen => 8) || die "listen: $!";
}
chdir $home or die "chdir: $!";
my $end_feed = q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'};
$node->safe_psql('postgres', $end_feed);

sub frame
{
	my ($type, $payload) = @_;
	return pack('VCCv', length $payload, $type, 0, 0) . $payload;
}
sub hello { return frame(20, pack('vvVVQ<V/a*', 2, shift, 0, 0, 0, '')); }

my %kinds = (JOIN => 1, LEAVE => 2, REGISTER => 3, UNREGISTER => 4, CALL => 5, CANCEL => 6, YIELD => 7, FAIL => 8,
	REGISTERED => 40, UNREGISTERED => 41, INVOKE => 42, INTERRUPT => 43, RESULT => 44, ERROR => 47, KILL => 49);
my %names = reverse %kinds;
my %identities;

sub route
{
	my ($kind, $session, %r) = @_;
	%r = (flags => 0, identity => $identities{$session} // 0, request => 0, id => 0, name => '', options => '', payload => '', %r);
	return frame(36, pack('CCVVQ<Q<Q<VQ<V/a*V/a*V/a*', $kinds{$kind} // $kind, $r{flags}, $session, @r{qw(identity request id)}, 0, 0, 0,
		@r{qw(name options payload)}));
}

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

# The next ROUTE as text: what it is, for which session, and the fields that are set.
sub next_route
{
	my $link = shift;
	my %r;
	while (my ($type, $payload) = next_frame($link))
	{
		next if $type != 66;
		@r{qw(kind flags session identity request id registration timeline position name options payload)} =
		  unpack 'CCVVQ<Q<Q<VQ<V/a*V/a*V/a*', $payload;
		return join ' ', $names{ $r{kind} }, $r{session},
		  map { $r{$_} eq '' || $r{$_} eq '0' ? () : "$_=$r{$_}" } qw(flags request id name options payload);
	}
	return 'the link has ended';
}

sub next_link
{
	my $gateway = shift;
	die 'the feed does not connect' if !IO::Select->new($listeners[$gateway])->can_read(60);
	my $link = $listeners[$gateway]->accept;
	syswrite $link, hello($gateway);
	return $link;
}

# Give a session an identity. Sessions of gateway 1 have numbers from 11 on.
sub authenticate
{
	my ($link, $session, $role, $sub) = @_;
	syswrite $link, frame(33, pack('VV/a*', $session, notifyd_token({ role => $role, sub => $sub // $role, iat => time })));
	while (my ($type, $payload) = next_frame($link))
	{
		return $identities{$session} = (unpack 'VV', $payload)[1] if $type == 60;
		last if $type == 61;
	}
	die 'no identity';
}

# ---------------- a call across gateways ----------------

my @links = map { next_link($_) } 0, 1;
authenticate($links[0], 1, 'callee', 'Carla');
authenticate($links[1], 11, 'reader', 'Rita');
syswrite $links[0], route('JOIN', 1, id => 1001, flags => 4 + 8, options => '{"authid":"lie","authrole":"lie","authmethod":"ticket"}');
syswrite $links[1], route('JOIN', 11, id => 2011, options => '{"authid":"lie"}');
syswrite $links[0], route('REGISTER', 1, request => 1, name => 'com.a') . route('REGISTER', 1, request => 2, name => 'com.b')
  . route('REGISTER', 1, request => 3, name => 'com.exposed');
my ($id) = next_route($links[0]) =~ /^REGISTERED 1 request=1 id=(\d+)$/;
ok($id, 'a session registers a procedure');
is(next_route($links[0]), 'ERROR 1 request=2 name=wamp.error.not_authorized payload=["the role does not have the privilege \"register\" on \"com.b\""]',
	'but not without the privilege');
is(next_route($links[0]), 'ERROR 1 request=3 name=wamp.error.procedure_already_exists payload=["a function of the database is exposed with this name"]',
	'and not with the name of a function');

syswrite $links[1], route('CALL', 11, request => 7, name => 'com.a', options => '{"disclose_me":true}', payload => '[1],{"x":"ä"}');
is(next_route($links[0]), 'INVOKE 1 id=1 options={"caller":2011,"caller_authid":"Rita","caller_authrole":"reader"} payload=[1],{"x":"ä"}',
	'it is called by a session of another gateway, whose name is not what the gateway says');
syswrite $links[1], route('YIELD', 11, id => 1, payload => '["forged"]') . route('YIELD', 1, id => 1, payload => '["forged"]');
syswrite $links[0], route('YIELD', 1, id => 1, payload => '["result"]');
is(next_route($links[1]), 'RESULT 11 request=7 payload=["result"]', 'its result goes back, and no other');
syswrite $links[1], route('CALL', 11, request => 8, name => 'com.b') . route('CALL', 11, request => 9, name => 'wamp.session.list')
  . route('CALL', 11, request => 10, name => 'wamp.session.get', payload => '[1001]');
sub refused { return qq{name=wamp.error.not_authorized payload=["the role does not have the privilege \\"call\\" on \\"$_[0]\\""]} }
is(next_route($links[1]), 'ERROR 11 flags=2 request=8 name=wamp.error.no_such_procedure payload=["no session has registered the procedure"]', 'a procedure that nobody has registered');
is(next_route($links[1]), 'ERROR 11 request=9 ' . refused('wamp.session.list'), 'the router\'s procedures need it, too');
is(next_route($links[1]), 'RESULT 11 request=10 payload=[{"session":1001,"authid":"Carla","authrole":"callee","authmethod":"ticket"}]',
	'what the router knows of a session');

# A large payload.
my $large = '["' . 'x' x 20_000_000 . '"]';
$links[0]->blocking(1);
syswrite $links[1], route('CALL', 11, request => 12, name => 'com.a');
is(next_route($links[0]), 'INVOKE 1 id=2 options={}', 'another call');
my $frame = route('YIELD', 1, id => 2, payload => $large);
my $writer = fork // die "fork: $!";
if ($writer == 0)
{
	my $at = 0;
	while ($at < length $frame) { $at += syswrite($links[0], $frame, 65536, $at) // POSIX::_exit(1); }
	POSIX::_exit(0);
}
ok(next_route($links[1]) eq "RESULT 11 request=12 payload=$large", 'its result has 20 MB');
waitpid $writer, 0;

# ---------------- timeouts, cancelling ----------------

syswrite $links[1], route('CALL', 11, request => 13, name => 'com.a', options => '{"timeout":20}')
  . route('CALL', 11, request => 14, name => 'com.a');
is(next_route($links[0]), 'INVOKE 1 id=3 options={}', 'a call with a timeout') ;
is(next_route($links[0]), 'INVOKE 1 id=4 options={}', 'and one without');
is(next_route($links[0]), 'INTERRUPT 1 id=3 options={"mode":"killnowait","reason":"wamp.error.timeout"}', 'the first times out');
is(next_route($links[1]), 'ERROR 11 request=13 name=wamp.error.timeout payload=["the call has timed out"]', 'its caller learns of it');
syswrite $links[1], route('CANCEL', 11, request => 14, options => '{"mode":"killnowait"}');
is(next_route($links[0]), 'INTERRUPT 1 id=4 options={"mode":"killnowait","reason":"wamp.error.canceled"}', 'the second is cancelled');
is(next_route($links[1]), 'ERROR 11 request=14 name=wamp.error.canceled payload=["the call was cancelled"]', 'and its caller learns of that');

# ---------------- changes ----------------

$node->safe_psql('postgres', q{SELECT notify_revoke('com.a', 'reader', 'call')});
syswrite $links[1], route('CALL', 11, request => 15, name => 'com.a');
is(next_route($links[1]), 'ERROR 11 request=15 ' . refused('com.a'), 'without the privilege, nothing is called any more');
$node->safe_psql('postgres', q{SELECT notify_grant('com.a', 'reader', 'call'), notify_revoke('com.a', 'callee', 'register')});
is(next_route($links[0]), "UNREGISTERED 1 id=$id name=wamp.error.not_authorized", 'without the privilege, the registration ends');
syswrite $links[1], route('CALL', 11, request => 16, name => 'com.a');
is(next_route($links[1]), 'ERROR 11 flags=2 request=16 name=wamp.error.no_such_procedure payload=["no session has registered the procedure"]', 'so there is no procedure');
$node->safe_psql('postgres', q{SELECT notify_grant('com.a', 'callee', 'register')});

# A callee whose identity ends, and one whose gateway does.
sub call_and_wait
{
	my ($session, $request) = @_;
	syswrite $links[0], route('REGISTER', $session, request => 1, name => 'com.a');
	like(next_route($links[0]), qr/^REGISTERED $session request=1 id=$id$/, 'the same id again');
	syswrite $links[1], route('CALL', 11, request => $request, name => 'com.a');
	like(next_route($links[0]), qr/^INVOKE $session/, 'the procedure is called');
	return;
}
my $gone = 'name=wamp.error.canceled payload=["the session that answers the call has ended"]';
call_and_wait(1, 17);
$node->safe_psql('postgres', 'REVOKE callee FROM authenticator');
is(next_route($links[1]), "ERROR 11 request=17 $gone", 'a call ends with the identity of its callee');
$node->safe_psql('postgres', 'GRANT callee TO authenticator');
authenticate($links[0], 2, 'callee');
syswrite $links[0], route('LEAVE', 1) . route('JOIN', 2, id => 1002, flags => 4);
call_and_wait(2, 18);
close $links[0];
is(next_route($links[1]), "ERROR 11 request=18 $gone", 'and with its gateway');

# The caller's gateway, and a session that another one ends.
$links[0] = next_link(0);
authenticate($links[0], 2, 'callee');
syswrite $links[0], route('JOIN', 2, id => 1002, flags => 4);
call_and_wait(2, 19);
close $links[1];
is(next_route($links[0]), 'INTERRUPT 2 id=1 options={"mode":"killnowait","reason":"wamp.error.canceled"}', 'a call ends with the gateway of its caller');
$links[1] = next_link(1);
authenticate($links[1], 11, 'boss');
syswrite $links[1], route('JOIN', 11, id => 2011);
syswrite $links[1], route('CALL', 11, request => 20, name => 'wamp.session.kill', payload => '[1002],{"reason":"com.bye","message":"Go"}');
is(next_route($links[1]), 'RESULT 11 request=20 payload=[null]', 'a session ends another one');
is(next_route($links[0]), 'KILL 2 name=com.bye payload=Go', 'which is told so');
syswrite $links[1], route('CALL', 11, request => 21, name => 'wamp.session.list');
is(next_route($links[1]), 'RESULT 11 request=21 payload=[[2011]]', 'and is gone');

# ---------------- what no gateway sends ----------------

foreach my $case (
	[ 'JOIN twice', 'JOIN names a session that has joined.', route('JOIN', 3, id => 5) x 2 ],
	[ 'more sessions than clients', 'More sessions have joined than the gateway may have clients.',
		join '', map { route('JOIN', $_, id => $_) } 3 .. 6 ],
	[ 'an identity that was never given', 'A request has another identity than its session.', route('JOIN', 3, id => 5, identity => 9) ],
	[ 'a call with another identity', 'A request has another identity than its session.',
		route('JOIN', 3, id => 5) . route('CALL', 3, name => 'com.a', identity => 9) ],
	[ 'a name that is not text', 'The name or the payload of a ROUTE is not valid UTF-8.', route('CALL', 3, name => "com.\xff") ],
	[ 'a payload that is not text', 'The name or the payload of a ROUTE is not valid UTF-8.', route('YIELD', 3, id => 1, payload => "[\"\xff\"]") ],
	[ 'options that are too long', 'The name or the options of a ROUTE are too long.', route('CALL', 3, name => 'com.a', options => 'x' x 8193) ],
	(map { [ "a payload $_", 'The payload of a ROUTE is no array and object.', route('YIELD', 3, id => 1, payload => $_) ] }
		'{}', '[1', '[]]', '[],[36,1]', '[],{}]', '[],{},{}', '["]', '1', '[],', ' []'),
	[ 'a route of feeds', 'A gateway does not send routes of this kind to a feed.', route(44, 3) ])
{
	my ($what, $detail, $bytes) = @$case;
	my $from = -s $node->logfile;
	close $links[0];
	$links[0] = next_link(0);
	syswrite $links[0], $bytes;
	is(next_route($links[0]), 'the link has ended', "$what: the link ends");
	like(slurp_file($node->logfile, $from), qr/DETAIL:  \Q$detail\E\n/, 'the log says why');
}
# An id that another session has. The other one stays.
close $links[0];
$links[0] = next_link(0);
syswrite $links[0], route('JOIN', 3, id => 2011);
is(next_route($links[0]), 'KILL 3 name=wamp.error.unavailable', 'a session with the id of another one ends');
syswrite $links[1], route('CALL', 11, request => 22, name => 'wamp.session.list');
is(next_route($links[1]), 'RESULT 11 request=22 payload=[[2011]]', 'the other one does not');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'nothing has crashed');

close $_ for @links;
$node->stop;
done_testing();
