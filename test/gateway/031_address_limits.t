# Limits per address: new clients a second, and refused tokens a minute.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Gateway;
use Test::More;

my $gateway = Gateway->new(max_handshakes => 5);
my $feed = $gateway->feed('postgres');

# The status of a request, and after how many seconds another one may succeed.
sub outcome
{
	my ($from, %options) = @_;
	my $answer = $gateway->request($options{text} // $gateway->handshake(%options), from => $from);

	return ($answer =~ m{^HTTP/1\.1 (\d+)})[0] . join '', map { " $_" } $answer =~ /^Retry-After: (\d+)\r$/m;
}

# Of 50 handshakes at once, 5 are let in, and one for each fifth of a second that they take.
my $began = Time::HiRes::time();
my @outcomes = map { outcome('127.0.0.1') } 1 .. 50;
my $let_in = grep { $_ eq 101 } @outcomes;
cmp_ok($let_in, '>=', 5, 'some are let in');
cmp_ok($let_in, '<=', 6 + 5 * (Time::HiRes::time() - $began), 'and no more than the limit allows');
is_deeply([ grep { $_ ne 101 && $_ ne '429 1' } @outcomes ], [], 'the others may try again in a second');
is(outcome('127.0.0.2'), 101, 'another address is let in');
is(outcome('127.0.0.1', text => "GET /healthz HTTP/1.1\nHost: localhost\nConnection: close\n\n"), 200, 'other requests are not limited');
ok($gateway->until(sub { outcome('127.0.0.1') eq 101 }), 'the address is let in again');
is($gateway->stats(sub { $_[0]{refused_handshakes} >= 50 - $let_in })->{refused_handshakes} > 0, 1, 'refusals are counted');
ok((grep { /^refused client 127\.0\.0\.1:\d+: its address has reached pg_notifyd\.max_handshakes_per_address/ } @{ $gateway->{channel}{log} }), 'and logged');

# Event streams are clients too. EventSource would give up after 429.
{
	my $stream = "GET /events?channel=c HTTP/1.1\nHost: localhost\nConnection: close\n";
	outcome('127.0.0.5') for 1 .. 20;
	is(outcome('127.0.0.5', text => "$stream\n"), '429 1', 'a stream is refused');
	outcome('127.0.0.5') for 1 .. 20;
	like($gateway->request("${stream}Accept: text/event-stream\n\n", from => '127.0.0.5'), qr{^HTTP/1\.1 200 .*^retry: \d+\n.*too many new clients from this address}ms, 'that of a page is asked to come back');
}

# Refused tokens
$gateway->configure(max_handshakes => 0, max_failed_tokens => 3);

sub refuse_token
{
	my $auth = $feed->expect('AUTH');
	$feed->send(61, pack('VCV/a*', $auth->{session}, 3, 'no'));
}

sub with_token { return { headers => { Authorization => "Bearer $_[0]" } } }

for my $i (1 .. 2)
{
	my $client = $gateway->client(%{ with_token("bad$i") });
	refuse_token();
	is($client->closed->[0], 4401, 'a token is refused');
}
my $open = $gateway->client;
is($gateway->verdict(%{ with_token('not a token') }), 4401, 'a malformed one counts too');
my ($status, $seconds) = split ' ', outcome('127.0.0.1', %{ with_token('bad') });
is($status, 429, 'then another one is not looked at');
ok($seconds > 10 && $seconds <= 20, 'until a third of a minute has passed');
is((split ' ', outcome('127.0.0.1', text => "GET /rpc/f?access_token=x HTTP/1.1\nHost: localhost\nConnection: close\n\n"))[0], 429, 'nor that of another request');
$open->request('auth', token => 'bad');
is_deeply($open->reply, { code => -32011, message => 'too many tokens from this address were refused; try again later' }, 'nor in a message');
is($gateway->verdict, 101, 'a client without a token is let in');
is(outcome('127.0.0.2', %{ with_token('bad') }), 101, 'so is one of another address');
refuse_token();
is($gateway->stats(sub { $_[0]{refused_failed_tokens} >= 2 })->{refused_failed_tokens}, 2, 'refusals are counted');

# A client that does not wait for the answer
{
	my $socket = $gateway->connect('127.0.0.3');
	print $socket $gateway->handshake(%{ with_token('bad') }) =~ s/\n/\r\n/gr;
	$gateway->answer($socket);
	close $socket;
	my $auth = $feed->expect('AUTH');
	$feed->expect('FORGET');
	$feed->send(61, pack('VCV/a*', $auth->{session}, 3, 'no'));
	for (1 .. 2)
	{
		my $client = eval { $gateway->client(%{ with_token('bad') }, from => '127.0.0.3') } or last;
		refuse_token();
		$client->closed;
	}
	is((split ' ', outcome('127.0.0.3', %{ with_token('bad') }))[0], 429, 'its token counts all the same');
}

# A lost link: tokens that were accepted are verified again, and do not count.
{
	my @clients;
	for my $number (1 .. 4)
	{
		push @clients, $gateway->client(%{ with_token('good') }, from => '127.0.0.4');
		$feed->send(60, pack('VVQ<Q<V/a*V/a*', $feed->expect('AUTH')->{session}, $number, 0, 0, 'app', ''));
		$clients[-1]->call('ping');
	}
	$feed = $gateway->feed('postgres');
	refuse_token() for @clients;
	is(join(' ', map { $_->closed->[0] } @clients), '4401 4401 4401 4401', 'tokens that are no longer valid');
	is(outcome('127.0.0.4', %{ with_token('good') }), 101, 'are no attempts');
}

done_testing();
