# The server's side of RFC 6455, case by case. doc/conformance.md has the table of the cases, which this test compares; with
# UPDATE=1 it writes the table instead.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More;

my $document = "$FindBin::Bin/../../doc/conformance.md";
my $gateway = Gateway->new(max_message => 300_000, origins => 'https://app.example.com');
my $feed = $gateway->feed('postgres');
my @table;

sub chapter { my ($title) = @_; push @table, "\n### $title\n\n| section | case | the gateway |\n|---|---|---|\n"; }

sub row { my ($section, $case, $outcome) = @_; push @table, "| $section | $case | $outcome |\n"; }

# The bytes of a masked frame, and of a close frame.
sub frame { return Gateway::Client->frame(@_); }
sub more { my ($opcode, $payload) = @_; return frame($opcode, $payload, more => 1); }
sub closing { my ($code, $reason) = @_; return frame(8, pack('n', $code) . ($reason // '')); }

# A request with this id, in a text of exactly this length.
sub text
{
	my ($id, $length) = @_;
	my $text = qq({"id":"$id","method":"ping"});

	$text .= ' ' x ($length - length $text) if $length;
	return $text;
}

my $request = frame(1, text('a'));

sub connected
{
	my $client = $gateway->client;

	setsockopt $client->{socket}, IPPROTO_TCP, TCP_NODELAY, 1;
	return $client;
}

# A case: send each of these inputs on a connection of its own, at once and byte by byte, and check what comes.
sub each_input
{
	my ($section, $case, $outcome, $check, @inputs) = @_;
	my $number = 0;

	row($section, $case, $outcome);
	for my $input (@inputs)
	{
		$number++;
		for my $piece (length $input, length $input < 2000 ? 1 : 997)
		{
			my $client = connected();

			$client->raw($_) for unpack "(a$piece)*", $input;
			my $problem = $check->($client, $input);
			ok(!$problem, "$section: $case" . (@inputs > 1 ? " ($number)" : '') . ", in pieces of $piece") or diag $problem;
		}
	}
}

# What is wrong with the end of a connection, which must have a close frame with this code, and then close itself.
sub bad_end
{
	my ($client, $code) = @_;
	my $close = $client->closed;

	return "closed with $close->[0] $close->[1]" if $close->[0] != $code;
	return 'a frame after the close frame' if $client->next_frame;
	return $client->{eof} ? undef : 'the connection does not end';
}

sub closes
{
	my ($section, $case, $code, @inputs) = @_;
	each_input($section, $case, "closes with $code", sub { bad_end($_[0], $code) }, @inputs);
}

# The id of the next answer.
sub answered
{
	my ($client) = @_;
	my $message = $client->message;

	return $message ? $message->{id} // 'null' : 'nothing';
}

# Each input is a request with the id "a", or these.
sub answers
{
	my ($section, $case, @inputs) = @_;
	each_input($section, $case, 'answers', sub { my $id = answered($_[0]); return $id eq 'a' ? undef : "answered $id" }, @inputs);
}

# The frames that the client gets must be these, as [opcode, payload], and the connection must still work.
sub gets
{
	my ($section, $case, $outcome, $frames, @inputs) = @_;
	each_input(
		$section, $case, $outcome,
		sub {
			my ($client) = @_;

			for my $expected (@$frames)
			{
				my $frame = $client->next_frame // return 'a frame is missing';
				return "opcode $frame->[0], payload $frame->[1]" if $frame->[0] != $expected->[0] || $frame->[1] ne $expected->[1];
			}
			$client->raw(frame(1, text('b')));
			my $id = answered($client);
			return $id eq 'b' ? undef : "then $id";
		},
		@inputs);
}

# ---------------- section 4: the handshake ----------------

chapter('The handshake (section 4)');

# Headers as for Gateway->handshake, or a function that changes the request.
sub handshake
{
	my ($section, $case, $status, @changes) = @_;

	row($section, $case, $status == 101 ? 'accepts' : "refuses with $status");
	for my $change (@changes)
	{
		my $text = ref $change eq 'CODE' ? $change->($gateway->handshake) : $gateway->handshake(headers => $change);
		is($gateway->status($text), $status, "$section: $case");
	}
}

handshake('4.2.1', 'the headers that are required, and nothing else', 101, {});
handshake('4.2.1 (1)', 'a method that is not GET', 405, sub { $_[0] =~ s/^GET/POST/r });
handshake('4.2.1 (1)', 'HTTP/1.0', 400, sub { $_[0] =~ s/HTTP\/1.1/HTTP\/1.0/r });
handshake('4.2.1 (1)', 'another path', 404, sub { $_[0] =~ s/ \/ws / \/ws\/ /r });
handshake('4.2.1 (2)', 'no `Host`', 400, { Host => undef });
handshake('4.2.1 (3)', 'no `Upgrade`', 426, { Upgrade => undef });
handshake('4.2.1 (3)', '`Upgrade` to something else', 400, { Upgrade => 'h2c' });
handshake('4.2.1 (3)', '`websocket` in other letter case', 101, { Upgrade => 'WebSocket' }, { Upgrade => 'WEBSOCKET' });
handshake('4.2.1 (4)', 'no `Connection`, or one without `Upgrade`', 400, { Connection => undef }, { Connection => 'keep-alive' });
handshake('4.2.1 (4)', '`Upgrade` as one of several tokens, in any letter case', 101, { Connection => 'keep-alive, upgrade' }, { Connection => 'UPGRADE' });
handshake('4.2.1 (5)', 'no `Sec-WebSocket-Key`', 400, { 'Sec-WebSocket-Key' => undef });
handshake('4.2.1 (5)', 'a key that is not the base64 of 16 bytes', 400,
	map { { 'Sec-WebSocket-Key' => $_ } } '', 'AAAA', 'dGhlIHNhbXBsZSBub25jZQ', 'dGhlIHNhbXBsZSBub25jZR==', 'dGhlIHNhbXBsZSBub25jZQ===', 'dGhlIHNhb*BsZSBub25jZQ==');
handshake('4.2.1 (6), 4.4', 'no version, or another one than 13', 426, map { { 'Sec-WebSocket-Version' => $_ } } undef, 0, 8, 12, 14, '13, 8');
handshake('4.2.1 (7)', 'an `Origin` that is not allowed', 403, { Origin => 'https://evil.example' });
handshake('4.2.1 (7)', 'an `Origin` that is allowed', 101, { Origin => 'https://app.example.com' });
handshake('11.3', '`Sec-WebSocket-Key` twice', 400, sub { $_[0] =~ s/(Sec-WebSocket-Key: .*\n)/$1$1/r });
handshake('11.3', '`Sec-WebSocket-Version` twice', 400, sub { $_[0] =~ s/(Sec-WebSocket-Version: .*\n)/$1$1/r });

# A handshake that is accepted, and what its answer must contain.
sub accepted
{
	my ($section, $case, $outcome, $headers, $like) = @_;

	row($section, $case, $outcome);
	like($gateway->client(headers => $headers)->{head}, $like, "$section: $case");
}

accepted('4.2.2 (5.2, 5.3)', 'the answer', 'has `Upgrade: websocket` and `Connection: Upgrade`', {},
	qr/^HTTP\/1\.1 101 [^\r]*(?=.*\r\nUpgrade: websocket\r\n)(?=.*\r\nConnection: Upgrade\r\n)/s);
accepted('1.3, 4.2.2 (5.4)', 'the key of the RFC\'s example', 'answers with the example\'s `Sec-WebSocket-Accept`', {},
	qr/\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
accepted('4.2.2 (5.5)', 'subprotocols that it does not know', 'selects none', { 'Sec-WebSocket-Protocol' => 'chat, superchat' },
	qr/^(?!.*Sec-WebSocket-Protocol)/s);
accepted('4.2.2 (5.5)', 'subprotocols of which it knows one', 'selects that one', { 'Sec-WebSocket-Protocol' => 'chat, pg_notifyd.v1' },
	qr/\r\nSec-WebSocket-Protocol: pg_notifyd\.v1\r\n/);
accepted('4.2.2 (5.6), 9.1', 'extensions that it does not know', 'selects none', { 'Sec-WebSocket-Extensions' => 'x-unknown; a="b", mux' },
	qr/^(?!.*Sec-WebSocket-Extensions)/s);

# ---------------- section 5: frames ----------------

chapter('Frames (5.1 to 5.3)');

answers('5.2', 'a text of 124 to 128, 65,535, 65,536 and 300,000 bytes', map { frame(1, text('a', $_)) } 124 .. 128, 65_535, 65_536, 300_000);
each_input('5.2', 'a text of 0 bytes', 'answers that it is not a request', sub { $_[0]->message->{error}{code} == -32700 ? undef : 'another answer' }, frame(1, ''));
closes('5.2', 'a text of more than `pg_notifyd.max_message_size`', 1009, frame(1, ' ' x 300_001));
row('5.2, 10.4', 'the head of a frame that is longer, and nothing more', 'closes with 1009');
{
	my $client = connected();

	$client->raw(substr frame(1, ' ' x 300_001), 0, 15);
	is($client->closed->[0], 1009, '10.4: the length alone is enough');
}
closes('5.6, 7.4.1', 'a binary message of 0, 1, 125, 126 and 65,536 bytes', 1003, map { frame(2, 'x' x $_) } 0, 1, 125, 126, 65_536);

my $zeros = "\0\0\0\0";
my $plain = "\x81" . chr(length text('a')) . text('a');
answers('5.3', 'masks of zeros, of ones, and others',
	map { my $mask = $_; "\x81" . chr(0x80 | length text('a')) . $mask . (text('a') ^ substr($mask x 10, 0, length text('a'))) } $zeros,
	"\xff\xff\xff\xff", "\0\xff\0\xff", "\x37\xfa\x21\x3d");
closes('5.1', 'a text, a ping or a close without a mask', 1002, $plain, "\x89\0", "\x88\x02\x03\xe8");
closes('5.1', 'a continuation without a mask', 1002, more(1, '{') . "\x80\x01}");
closes('5.1', 'a frame without a mask after one with a mask', 1002, more(1, ' ') . frame(0, text('a')) . $plain);
closes('5.2', 'each combination of reserved bits, in a text', 1002, map { frame(1 | $_ << 4, text('a')) } 1 .. 7);
closes('5.2', 'a reserved bit in a ping, a pong or a close', 1002, map { frame($_ | 0x40, '') } 8 .. 10);
closes('5.2', 'a reserved bit in a continuation', 1002, more(1, '{') . frame(0x40, '}'));
closes('5.2', 'a reserved bit after a valid message', 1002, $request . frame(0x21, text('a')) . $request);
closes('5.2', 'a reserved opcode for data, 3 to 7, without and with a payload', 1002, map { frame($_, ''), frame($_, 'x') } 3 .. 7);
closes('5.2', 'a reserved opcode for control frames, 11 to 15, without and with a payload', 1002, map { frame($_, ''), frame($_, 'x') } 11 .. 15);
closes('5.2', 'a reserved opcode after a valid message', 1002, map { $request . frame($_, '') } 3, 11);
closes('5.2', 'a length that is written in more bytes than it needs', 1002,
	"\x81\xfe\0\0$zeros", "\x81\xfe\0\x7d$zeros" . ' ' x 125, "\x81\xff" . pack('Q>', 125) . $zeros . ' ' x 125, "\x81\xff" . pack('Q>', 65_535) . $zeros);
closes('5.2', 'a length of 64 bits whose highest bit is set', 1002, "\x81\xff\x80\0\0\0\0\0\0\0$zeros");
closes('5.2', 'the first byte of a frame that must be refused, and nothing more', 1002, "\x91", "\x83", "\x80", "\x09");

chapter('Fragments (5.4)');

my ($left, $right) = (substr(text('a'), 0, 9), substr(text('a'), 9));
answers('5.4', 'a text in two fragments', more(1, $left) . frame(0, $right));
answers('5.4', 'a text with one byte in each fragment', more(1, substr $left, 0, 1) . join('', map { more(0, $_) } split //, substr($left, 1) . $right) . frame(0, ''));
answers('5.4', 'empty fragments at the beginning, inside and at the end', more(1, '') . more(0, $left) . more(0, '') . more(0, $right) . frame(0, ''));
gets('5.4, 5.5', 'a ping between two fragments', 'answers the ping, then the text', [[10, 'ping'], [1, '{"jsonrpc":"2.0","id":"a","result":{"position":"1-100"}}']],
	more(1, $left) . frame(9, 'ping') . frame(0, $right));
gets('5.4, 5.5', 'pings and pongs among five fragments', 'answers the pings, then the text',
	[[10, '1'], [10, '2'], [1, '{"jsonrpc":"2.0","id":"a","result":{"position":"1-100"}}']],
	more(1, $left) . more(0, '') . frame(9, '1') . more(0, $right) . more(0, ' ') . frame(10, 'x') . frame(9, '2') . frame(0, ' '));
closes('5.4', 'a continuation without a message, final or not', 1002, frame(0, 'x'), more(0, 'x'), more(0, '') . frame(0, ''));
closes('5.4', 'a continuation after a message that is complete', 1002, $request . frame(0, 'x'), more(1, $left) . frame(0, $right) . more(0, ''));
closes('5.4', 'a second message inside a message', 1002, more(1, $left) . frame(1, $right), more(1, $left) . more(1, $right), more(1, $left) . frame(2, 'x'));
closes('5.4', 'a binary message in fragments', 1003, more(2, 'x') . frame(0, 'y'));
closes('5.4', 'fragments that are longer together than `pg_notifyd.max_message_size`', 1009, more(1, ' ' x 200_000) . frame(0, ' ' x 100_001));
closes('5.4', 'more than 1,000 fragments in a message', 1008, more(1, '') . more(0, '') x 1001);

chapter('Control frames (5.5)');

my $payload = "\0\xff\xfe\x80ping" x 16;
gets('5.5.2', 'a ping without a payload', 'answers with a pong without a payload', [[10, '']], frame(9, ''));
gets('5.5.2', 'a ping with 125 bytes', 'answers with a pong with the same payload', [[10, substr $payload, 0, 125]], frame(9, substr $payload, 0, 125));
each_input('5.5.2, 5.5.3', 'ten pings', 'answers with one to ten pongs, the last of them for the last ping',
	sub {
		my ($client) = @_;
		my $last = -1;

		for (1 .. 10)
		{
			my $pong = $client->pong // return 'no pong';
			return "pong $pong after $last" if $pong <= $last;
			$last = $pong;
			return undef if $last == 9;
		}
		return "the last is $last";
	},
	join '', map { frame(9, "$_") } 0 .. 9);
gets('5.5.3', 'a pong that nobody asked for, without and with a payload', 'ignores it', [], frame(10, ''), frame(10, 'unasked'));
gets('5.5.3', 'a pong that nobody asked for, then a ping', 'answers the ping', [[10, 'p']], frame(10, 'unasked') . frame(9, 'p'));
closes('5.5', 'a control frame of 126 bytes', 1002, map { frame($_, 'x' x 126) } 8 .. 10);
closes('5.5', 'a control frame of 65,536 bytes', 1002, map { substr(frame($_, 'x' x 65_536), 0, 100) } 8 .. 10);
closes('5.5', 'a control frame in fragments', 1002, map { more($_, '') . frame(0, '') } 8 .. 10);

# ---------------- section 7: closing ----------------

chapter('Closing (5.5.1 and 7)');

# A close frame and what follows it. The answer must have the payload (undef: the code of the first frame, which is a close); no
# other frame may follow, and the gateway ends the connection.
sub closed_by_client
{
	my ($section, $case, $outcome, $payload, @inputs) = @_;

	each_input(
		$section, $case, $outcome,
		sub {
			my ($client, $input) = @_;
			my $expected = $payload // (substr($input, 2, 2) ^ substr($input, 6, 2));
			my $frame;

			while ($frame = $client->next_frame) { last if $frame->[0] == 8; }
			return 'no close frame' if !$frame;
			return 'another payload: ' . unpack('H*', $frame->[1]) if $frame->[1] ne $expected;
			return 'a frame after the close frame' if $client->next_frame;
			return $client->{eof} ? undef : 'the connection does not end';
		},
		@inputs);
}

closed_by_client('5.5.1', 'a close without a code', 'answers with one, and ends the connection', '', frame(8, ''));
closed_by_client('5.5.1', 'a close with a code', 'answers with the same code, and ends the connection', pack('n', 1000), closing(1000));
closed_by_client('5.5.1', 'a close with a code and a reason', 'answers with the code, and ends the connection', pack('n', 1000), closing(1000, 'done'), closing(1000, "\xc3\xa9" x 61 . 'x'));
closed_by_client('5.5.1', 'frames after a close', 'ignores them', pack('n', 1000), map { closing(1000) . $_ } closing(1001), frame(9, 'x'), $request, "\xff\xff", frame(0, 'x'));
closed_by_client('5.5.1', 'a close between two fragments', 'answers the close, not the text', pack('n', 1000), more(1, $left) . closing(1000) . frame(0, $right));
closed_by_client('5.5.1', 'a close after a long message', 'may answer the message, then answers the close', pack('n', 1000), frame(1, text('a', 262_144)) . closing(1000) . frame(9, 'x'));
closed_by_client('7.4', 'a close with a code that is allowed: 1000 to 1003, 1007 to 1014, 3000 to 4999', 'answers with the same code', undef,
	map { closing($_, 'reason') } 1000 .. 1003, 1007 .. 1014, 3000, 3999, 4000, 4999);
closes('7.4', 'a close with a code that must not be sent: 1004, 1005, 1006, 1015', 1002, map { closing($_) } 1004 .. 1006, 1015);
closes('7.4.2', 'a close with a code outside of all ranges or not assigned: 0, 1, 999, 1016, 1100, 2000, 2999, 5000, 65535', 1002,
	map { closing($_, 'x') } 0, 1, 999, 1016, 1100, 2000, 2999, 5000, 65_535);
closes('5.5.1', 'a close with half a code', 1002, frame(8, "\x03"));
closes('5.5, 5.5.1', 'a close with a reason of 124 bytes', 1002, closing(1000, 'x' x 124));
closes('5.5.1, 8.1', 'a close whose reason is not UTF-8', 1007, map { closing(1000, $_) } "\xff", "x\xc3", "\xed\xa0\x80", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited");

row('7.1.1, 7.1.5', 'the gateway closes first, and the client answers', 'ends the connection at once');
{
	my $client = connected();

	$client->text('x');
	$client->message;
	$client->raw(frame(2, 'x'));
	is(unpack('n', $client->next_frame->[1]), 1003, '7.1.5: the gateway closes');
	$client->raw(closing(1003));
	is($client->next_frame, undef, '7.1.1: no second close frame');
	ok($client->{eof}, '7.1.1: and then the connection ends');
}

# ---------------- section 8: UTF-8 ----------------

chapter('UTF-8 (8.1)');

# Texts that are a request with this string as its id, whole and in fragments of one byte. The id must come back unchanged.
sub valid_text
{
	my ($case, @strings) = @_;

	each_input(
		'5.6, 8.1', $case, 'answers',
		sub {
			my ($client, $input) = @_;
			my $message = $client->message // return 'no answer';

			return exists $message->{result} && grep({ $_ eq $message->{id} } @strings) ? undef : 'another answer';
		},
		map { frame(1, text($_)), more(1, '') . join('', map { more(0, $_) } split //, text($_)) . frame(0, '') } @strings);
}

sub invalid_text
{
	my ($case, @strings) = @_;

	closes('5.6, 8.1', $case, 1007, map { frame(1, text($_)), more(1, '') . join('', map { more(0, $_) } split //, text($_)) . frame(0, '') } @strings);
}

sub bytes_of { return map { pack 'H*', $_ =~ s/ //gr } @_; }

valid_text('characters of one to four bytes', "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", "\xf0\x9f\x98\x80");
valid_text('the first and the last character of each length', bytes_of('20', '7f', 'c280', 'dfbf', 'e0a080', 'efbfbf', 'f0908080', 'f48fbfbf'));
valid_text('the characters beside the surrogates, and U+FFFD', bytes_of('ed9fbf', 'ee8080', 'efbfbd'));
valid_text('noncharacters', bytes_of('efbfbe', 'efb790', 'f09fbfbe', 'f09fbfbf', 'f3bfbfbf', 'f48fbfbe'));
each_input('5.6, 8.1', 'U+0000', 'answers that it is not a request', sub { ($_[0]->message // {})->{error}{code} ? undef : 'another answer' }, frame(1, "\0"));
invalid_text('bytes that continue nothing', bytes_of('80', 'bf', '8080', '80bf80bf80bf', join '', map { sprintf '%02x', $_ } 0x80 .. 0xbf));
invalid_text('a first byte that nothing follows', bytes_of(map({ sprintf('%02x20', $_) } 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4)));
invalid_text('a character whose last byte is missing', bytes_of('c3', 'e080', 'e1bd', 'f08080', 'f09f98', 'f48fbf', 'dfefbff48fbf'));
invalid_text('bytes that are never in UTF-8', bytes_of('fe', 'ff', 'fefeffff', 'c0', 'c1', 'f5', 'f8', 'fc'));
invalid_text('sequences of five and six bytes', bytes_of('f888808080', 'fbbfbfbfbf', 'fc8480808080', 'fdbfbfbfbfbf'));
invalid_text('characters beyond U+10FFFF', bytes_of('f4908080', 'f7bfbfbf'));
invalid_text('overlong forms', bytes_of('c0af', 'e080af', 'f08080af', 'c1bf', 'e09fbf', 'f08fbfbf', 'c080', 'e08080', 'f0808080'));
invalid_text('surrogates, alone and in pairs', bytes_of('eda080', 'edadbf', 'edae80', 'edafbf', 'edb080', 'edbe80', 'edbfbf', 'eda080edb080', 'edafbfedbfbf'));
closes('5.6, 8.1', 'a text that ends inside a character', 1007, frame(1, "\xce\xba\xe1\xbd"), more(1, "\xce\xba\xe1") . frame(0, "\xbd"));
closes('5.6, 8.1', 'a ping between the bytes of a character that is not valid', 1007, more(1, "\xed") . frame(9, 'x') . frame(0, "\xa0\x80"));

# ---------------- what the gateway sends ----------------

chapter('What the gateway sends');

my $subscriber = connected();
$subscriber->request('subscribe', channel => 'c');
$feed->accept(1, 100);
$subscriber->reply;

# The next frame that the gateway has sent, with all that its head says.
sub sent_frame
{
	my ($client) = @_;

	while (length $client->{buffer} < 14) { $client->read_some($Gateway::TIMEOUT) or last; }
	my ($first, $second, $sixteen) = unpack 'CCn', $client->{buffer};
	my $minimal = $second < 126 || ($second == 126 && $sixteen >= 126);
	my $frame = $client->next_frame;
	return { masked => $second & 0x80, reserved => $first & 0x70, minimal => $minimal, opcode => $frame->[0], text => $frame->[1], final => $frame->[2] };
}

row('5.1, 5.2', 'an event of 1 to 100,000 bytes', 'sends frames without a mask and reserved bits, whose length has the shortest form');
row('5.4', 'an event of more than 32,768 bytes', 'sends fragments of at most 32,768 bytes');
for my $length (1, 60, 70 .. 80, 32_768, 65_536, 100_000)
{
	my $event = '{"e":"' . ('x' x $length) . '"}';
	my ($bad, $text, $frames, $frame) = (0, '', 0);

	$feed->event(100 + $length, 0x01, [1], $event);
	do
	{
		$frame = sent_frame($subscriber);
		$bad++ if $frame->{masked} || $frame->{reserved} || !$frame->{minimal} || length $frame->{text} > 32_768;
		$bad++ if $frame->{opcode} != ($frames == 0 ? 1 : 0);
		$text .= $frame->{text};
		$frames++;
	} until $frame->{final};
	is($bad, 0, "5.2: an event of $length bytes: well-formed frames");
	is($text, "$Gateway::Client::EVENT$event}", "5.4: an event of $length bytes: its text");
}

row('5.4, 5.5.2', 'a ping while a long event is being sent', 'sends the pong between two fragments');
{
	my $client = $gateway->client(receive_buffer => 4096);
	my ($frame, $pong, $final);

	$client->request('subscribe', channel => 'c');
	$feed->accept(2, 1_000_000);
	$client->reply;
	$feed->event(1_000_001, 0x01, [2], '{"e":"' . ('x' x 7_000_000) . '"}');
	$gateway->stats(sub { $_[0]{queued} > 1_000_000 });
	$client->send_frame(9, 'between');
	while (!$pong && ($frame = $client->next_frame))
	{
		$pong = $frame->[0] == 10;
		$final ||= $frame->[0] <= 1 && $frame->[2];
	}
	ok($pong && !$final, '5.4: a pong between fragments');
}

row('7.4.1', 'the gateway stops', 'closes with 1001');
$gateway->stop;
is($subscriber->closed->[0], 1001, '7.4.1: 1001 when it stops');
is($gateway->wait, 0, 'it ends');

# ---------------- the table ----------------

my $mark = "<!-- written by test/gateway/020_rfc6455.t -->\n";
my $table = join '', @table;

sub read_document
{
	open my $in, '<', $document or die "$document: $!";
	local $/;
	return scalar <$in>;
}

my ($head, $written) = split /\Q$mark\E/, read_document();
if ($ENV{UPDATE})
{
	open my $out, '>', $document or die "$document: $!";
	print $out $head, $mark, $table;
	close $out or die "$document: $!";
	($head, $written) = split /\Q$mark\E/, read_document();
}
is($written, $table, 'doc/conformance.md has these cases');

done_testing;
