# What a feed sends a gateway for subscriptions of patterns and of topics. The test takes the place of the gateway's
# link socket, so that it sees every frame.
use strict;
use warnings;

use Cwd;
use IO::Select;
use IO::Socket::UNIX;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

local $SIG{PIPE} = 'IGNORE';
my $node = notifyd_node('main', roles => ['reader'], conf => "pg_notifyd.idle_timeout = 0\n");
$node->safe_psql('postgres', q{
	CREATE TABLE fence (id int PRIMARY KEY);
	CREATE TABLE t (id int PRIMARY KEY);
	CREATE TABLE hidden (id int PRIMARY KEY);
	GRANT SELECT ON t, fence TO guest, reader;
	SELECT notify_watch('fence'), notify_watch('t', channel => 'com.shop.t'), notify_watch('hidden', channel => 'com.shop.hidden');
	SELECT notify_grant('com.' || word, 'guest', 'subscribe') FROM unnest('{shop.news,show,shopping.x}'::text[]) word;
	SELECT notify_grant('wamp.subscription.' || word, 'guest', 'subscribe') FROM unnest('{on_create,on_subscribe,on_unsubscribe,on_delete}'::text[]) word;
});
wait_healthy($node);

# The absolute path may be too long for a socket's address.
my $home = Cwd::getcwd();
chdir $node->data_dir or die "chdir: $!";
my $path = 'pg_notifyd/pgsql_tmp.gateway.0.sock';
unlink $path or die "unlink: $!";
my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 8) or die "listen: $!";
chdir $home or die "chdir: $!";
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'});

my $link;

sub frame { my ($type, $payload) = @_; return syswrite $link, pack('VCCv', length $payload, $type, 0, 0) . $payload; }

sub next_frame
{
	my $buffer = '';
	while (1)
	{
		my $want = 8;
		$want += unpack 'V', $buffer if length $buffer >= 8;
		return ((unpack 'VC', $buffer)[1], substr $buffer, 8) if length $buffer >= 8 && length $buffer == $want;
		die 'nothing arrives' if !IO::Select->new($link)->can_read(60);
		sysread($link, $buffer, $want - length $buffer, length $buffer) or die 'the link has ended';
	}
}

# The next frame that is not about the link's position, in words.
sub next_of
{
	while (my ($type, $payload) = next_frame())
	{
		return sprintf 'subscribed %d', unpack 'V', $payload if $type == 40;
		return sprintf 'refused %d: %s', (unpack 'VCV/a*', $payload)[ 0, 2 ] if $type == 41;
		return sprintf 'stream ended: %s', (unpack 'VCV/a*', $payload)[2] if $type == 42;
		if ($type == 43)
		{
			my ($id, $op, $more, $n, $rest) = unpack 'Q<CCva*', $payload;
			my ($audience, $body) = unpack 'V/a*V/a*', substr $rest, 4 * $n;
			return "event of $n: $body" if $id == 0;
			return "id $id" if $body =~ /"table":"fence"/;
		}
		if ($type == 66)
		{
			my ($kind, undef, $session, undef, $request, $id, undef, undef, $position, $name, undef, $text) =
			  unpack 'CCVVQ<Q<Q<VQ<V/a*V/a*V/a*', $payload;
			return "channel $name for $session after $position" if $kind == 48;
			return "answer $kind to $request: $name$text";
		}
	}
	return;
}

sub subscribe
{
	my (%s) = (kinds => 2, ops => 0, match => 1, subscriber => 0, @_);
	frame(30, pack('VCCCVQ<VVVV/a*V/a*CV/a*CCQ<', @s{qw(sub kinds ops)}, 0, 0, 0, 1, 1000, 0, $s{channel}, '', 0, '', 0, @s{qw(match subscriber)}));
	return;
}

sub publish
{
	my (%r) = (flags => 0, request => 1, id => 5, options => '', payload => '[]', @_);
	frame(36, pack('CCVVQ<Q<Q<VQ<V/a*V/a*V/a*', 9, $r{flags}, 1, 0, $r{request}, $r{id}, 0, 0, 0, @r{qw(name options payload)}));
	return;
}

# An event that the link gets, so that everything before it has come. Returns what has come, and notes the id.
my ($fences, $fence) = (0, 0);

sub before_fence
{
	my @found;
	$node->safe_psql('postgres', 'INSERT INTO fence VALUES (' . ++$fences . ')');
	while (my $next = next_of())
	{
		return @found if $next =~ /^id (\d+)/ && ($fence = $1);
		push @found, $next;
	}
	return;
}

sub connected
{
	die 'the feed does not connect' if !IO::Select->new($listener)->can_read(60);
	$link = $listener->accept;
	frame(20, pack('vvVVQ<V/a*', 2, 0, 0, 0, 0, ''));
	subscribe(sub => 1, kinds => 1, ops => 1, match => 0, channel => 'fence');
	is(next_of(), 'subscribed 1', 'a new link');
	return;
}
connected();

# ---------------- patterns ----------------

subscribe(sub => 2, channel => 'com.shop.');
subscribe(sub => 3, channel => 'com..', match => 2);
is_deeply([ next_of(), next_of() ], [ 'subscribed 2', 'subscribed 3' ], 'patterns need no privilege');
before_fence();
my $at = $fence;
$node->safe_psql('postgres', q{INSERT INTO t VALUES (1), (2)});
my @named = before_fence();
is_deeply([ map { s/ after \d+//r } @named ], [ 'channel com.shop.t for 2', 'channel com.shop.t for 3' ], 'the first event names the channel');
ok((grep { / after (\d+)/ && $1 >= $at && $1 < $fence - 2 } @named) == 2, 'with the position before it');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (3); INSERT INTO hidden VALUES (1)});
is_deeply([ before_fence() ], [], 'once, and not a channel without privilege');
$node->safe_psql('postgres', q{SELECT notify_send('com.shop.news', '1'), notify_send('com.show', '1'), notify_send('com.shopping.x', '1')});
is_deeply([ map { s/ after \d+//r } before_fence() ], [ 'channel com.shop.news for 2', 'channel com.shop.news for 3', 'channel com.shopping.x for 3' ],
	'messages of channels that match');

# A subscription that comes later is told of channels that others know.
subscribe(sub => 4, channel => 'com.shop.');
is(next_of(), 'subscribed 4', 'one more of the same pattern');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (4)});
is_deeply([ map { s/ after \d+//r } before_fence() ], ['channel com.shop.t for 4'], 'only the new one is told');

# With a new privilege, the next event names the channel; all are named again.
$node->safe_psql('postgres', q{GRANT SELECT ON hidden TO guest});
$node->safe_psql('postgres', q{INSERT INTO hidden VALUES (2); INSERT INTO t VALUES (5)});
is_deeply([ map { s/ after \d+//r } before_fence() ], [ map { ("channel com.shop.$_ for 4", "channel com.shop.$_ for 2", "channel com.shop.$_ for 3") } qw(hidden t) ],
	'after a GRANT');
$node->safe_psql('postgres', q{CREATE TABLE x (); INSERT INTO t VALUES (6)});
is_deeply([ before_fence() ], [], 'other DDL makes no difference');

# A large transaction is left out of the live events, but its channels are named; then one with more channels than its marker names.
subscribe(sub => 5, channel => 'com.shop.');
is(next_of(), 'subscribed 5', 'another one');
$node->safe_psql('postgres', q{INSERT INTO t SELECT generate_series(1000, 30000)});
is_deeply([ map { s/ after \d+//r } before_fence() ], ['channel com.shop.t for 5'], 'the channel of a large transaction');
$node->safe_psql('postgres', q{SELECT notify_grant('many.' || i, 'guest', 'subscribe') FROM generate_series(1, 20) i});
subscribe(sub => 6, channel => 'many.');
is(next_of(), 'subscribed 6', 'and another one');
$node->safe_psql('postgres', q{SELECT count(notify_send('many.' || i % 20 + 1, to_json(repeat('x', 200)))) FROM generate_series(1, 20000) i});
is(scalar(grep { /^channel many\.\d+ for 6 / } before_fence()), 20, 'all channels of one with many of them');

# ---------------- messages ----------------

publish(name => 'com.shop.news');
is(next_of(), 'answer 47 to 1: wamp.error.not_authorized["permission denied to publish to topic \"com.shop.news\""]', 'a message without privilege');
$node->safe_psql('postgres', q{SELECT notify_grant('com.shop.news', 'guest', 'publish')});
before_fence();
publish(name => 'com.shop.news', request => 2);
is(next_of(), 'answer 46 to 2: com.shop.news', 'messages of a declared channel are for a worker');
publish(name => 'wamp.session.on_join');
is(next_of(), 'answer 47 to 1: wamp.error.invalid_uri["the topic is reserved"]', 'a name of the router');
publish(name => 'x' x 64);
like(next_of(), qr/^answer 47 to 1: wamp.error.invalid_uri/, 'a name that is too long');

# Grants on patterns do not declare a channel: its messages go at once to all that match.
$node->safe_psql('postgres', q{
	SELECT notify_grant('open.*', 'guest', 'publish'), notify_grant('open.*', 'guest', 'subscribe');
	SELECT notify_grant('closed.*', 'guest', 'publish'), notify_grant('open.secret', 'reader', 'publish');
});
subscribe(sub => 7, channel => 'open.');
subscribe(sub => 8, channel => 'open..b', match => 2);
subscribe(sub => 9, channel => 'open.a.b', match => 0);
is_deeply([ map { next_of() } 1 .. 3 ], [ map { "subscribed $_" } 7 .. 9 ], 'subscriptions of channels that nobody has declared');
# What came of a message, with the id of its publication in the answer and in the event as 1.
sub published
{
	my @found;
	while (1)
	{
		my ($type, $payload) = next_frame();
		if ($type == 43)
		{
			my ($id, $op, $more, $n, $rest) = unpack 'Q<CCva*', $payload;
			my ($audience, $body) = unpack 'V/a*V/a*', substr $rest, 4 * $n;
			push @found, "to $n" . ($audience ne '' && " but $audience"), $body if !$id;
		}
		elsif ($type == 66)
		{
			my ($kind, undef, undef, undef, undef, $id, undef, undef, undef, $name) = unpack 'CCVVQ<Q<Q<VQ<V/a*V/a*V/a*', $payload;
			return [ map { s/"publication":$id\b/"publication":1/r } @found, $kind == 45 && $id >= 1 && $id <= 2**53 ? 'published' : "$kind $name" ];
		}
	}
	return;
}
sub body { my ($channel, $publisher, $payload) = @_; return qq({"op":"NOTIFY","channel":"$channel","publication":1,"publisher":{$publisher},"payload":$payload}); }
publish(name => 'open.a.b', payload => '[1,"x"]');
is_deeply(published(), [ 'to 3', body('open.a.b', '"args":true', '{"args":[1,"x"]}'), 'published' ], 'arguments');
publish(name => 'open.a.b', payload => '[ ] , {"a": 12345678901234567890}');
is_deeply(published(), [ 'to 3', body('open.a.b', '', '{"a": 12345678901234567890}'), 'published' ], 'arguments with names only');
publish(name => 'open.a.b', payload => '[[]],{"a":{}}');
is_deeply(published(), [ 'to 3', body('open.a.b', '"args":true', '{"args":[[]],"kwargs":{"a":{}}}'), 'published' ], 'both');
publish(name => 'open.a.b', payload => '["\u0000AQI="]');
is_deeply(published(), [ 'to 3', body('open.a.b', '"args":true', '{"args":["\u0000AQI="]}'), 'published' ], 'bytes, as strings that begin with a NUL');
publish(name => 'open.a.b', payload => '');
is_deeply(published(), [ 'to 3', body('open.a.b', '"args":true', '{"args":[]}'), 'published' ], 'none');
publish(name => 'open.x', flags => 0x80, options => '{"exclude":[5]}');
is_deeply(published(), [ 'to 1 but {"exclude":[5]}', body('open.x', '"session":5,"authrole":"anonymous","args":true', '{"args":[]}'), 'published' ],
	'with its publisher, and not for all');
publish(name => 'closed.x');
is_deeply(published(), ['published'], 'nobody has subscribed');
publish(name => 'open.secret');
is_deeply(published(), ['46 open.secret'], 'a grant on its name declares a channel');
foreach my $case (
	[ '[' x 40 . ']' x 40, 'nested too deeply' ], [ '[1', 'no JSON' ], [ '{}', 'no array' ], [ '[],[]', 'no object' ], [ '[],{},1', 'more' ])
{
	publish(name => 'open.a.b', payload => $case->[0]);
	is_deeply(published(), ['47 wamp.error.invalid_argument'], "arguments: $case->[1]");
}
publish(name => 'open.a.b', options => '[]');
is_deeply(published(), ['47 wamp.error.invalid_argument'], 'options that are no object');
publish(name => 'open.a.b', payload => '["' . 'x' x (4 * 1024 * 1024) . '"]');
is_deeply(published(), ['47 wamp.error.payload_size_exceeded'], 'a message that is too large');
publish(name => 'open.a.b', request => 0);
publish(name => 'open.x', request => 0);
is(scalar(grep { /^event of [13]: / } before_fence()), 2, 'no answer where none is wanted');
$node->safe_psql('postgres', q{SELECT notify_revoke('open.*', 'guest', 'subscribe')});
before_fence();
publish(name => 'open.a.b');
is_deeply(published(), ['published'], 'nobody may read it any more');

# ---------------- subscription meta events ----------------

my $n = 10;
foreach my $word (qw(on_create on_subscribe on_unsubscribe on_delete))
{
	subscribe(sub => $n, match => 0, channel => "wamp.subscription.$word");
	is(next_of(), 'subscribed ' . $n++, "$word");
}
# The events of a topic: their names and arguments.
sub told { return map { /"channel":"wamp.subscription.(\w+)".*"publisher":\{"args":true\},"payload":\{"args":(.*)\}\}$/ ? "$1 $2" : $_ } @_; }
subscribe(sub => 20, match => 0, channel => 'com.shop.t', subscriber => 77);
is(next_of(), 'subscribed 20', 'a subscription of a session of WAMP');
my ($created, $subscribed) = told(next_of(), next_of());
my ($id) = $created =~ /^on_create \[77,\{"id":(\d+),"created":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ","uri":"com.shop.t","match":"exact"\}\]$/ or diag $created;
is($subscribed, "on_subscribe [77,$id]", 'its events');
subscribe(sub => 21, match => 0, channel => 'com.shop.t', subscriber => 78);
is_deeply([ told(next_of(), next_of()) ], [ 'subscribed 21', "on_subscribe [78,$id]" ], 'another session');
subscribe(sub => 20, match => 0, channel => 'com.shop.t', subscriber => 77);
is(next_of(), 'subscribed 20', 'the same subscription again');
is_deeply([ before_fence() ], [], 'tells nobody');
frame(31, pack('VC', 20, 3));
is_deeply([ told(before_fence()) ], ["on_unsubscribe [77,$id]"], 'the end of one');
frame(31, pack('VC', 21, 3));
is_deeply([ told(before_fence()) ], [ "on_unsubscribe [78,$id]", "on_delete [78,$id]" ], 'and of the last one');
subscribe(sub => 22, channel => 'com.', subscriber => 79);
my (undef, $pattern) = told(next_of(), next_of());
like($pattern, qr/^on_create \[79,\{"id":\d+,.*"uri":"com\.","match":"prefix"\}\]$/, 'a pattern');
subscribe(sub => 22, channel => 'com.', match => 0, subscriber => 79);
is_deeply([ map { s/ .*//r } told(before_fence()) ], [qw(on_subscribe refused on_unsubscribe on_delete)], 'a subscription that is replaced by one that is refused');

# The role may not use the database any more.
$node->safe_psql('postgres', q{REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; INSERT INTO t VALUES (7)});
my $ended = '';
wait_for(sub { ($ended = next_of()) =~ /^stream ended/ }, 'the end of a stream');
is($ended, 'stream ended: permission denied for database "postgres"', 'patterns end, too');
unlike(slurp_file($node->logfile), qr/terminated by signal|sent an invalid frame/, 'nothing has crashed');

close $link;
$node->stop;
done_testing();
