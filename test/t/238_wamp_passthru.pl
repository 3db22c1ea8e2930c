# Payload passthru of WAMP: payloads that only the receiver can read, with the options that tell it how.
use strict;
use warnings;

use Mojo::JSON;
use NotifydTest;
use NotifydTest::Wamp;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);
sub sql { return $node->safe_psql('postgres', join ';', @_); }
sql(q{
	CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT 2 * a';
	SELECT notify_expose('twice(int)', 'com.twice');
	SELECT notify_grant(name, role, privilege) FROM (VALUES ('guest'::regrole), ('member')) AS r (role), (VALUES ('com.news'), ('com.chat.*')) AS n (name),
		(VALUES ('publish'), ('subscribe')) AS p (privilege);
	SELECT notify_grant('com.*', 'guest', 'call'), notify_grant('com.*', 'guest', 'register');
});
my %all = map { $_ => { features => { payload_passthru_mode => \1, call_canceling => \1, progressive_call_results => \1 } } }
	qw(publisher subscriber caller callee);
sub client { my %roles = @_; return wamp_client($node, realm => 'postgres', details => { roles => { %all, %roles } }); }
my $client = client();
my $other = client();
my %ppt = (ppt_scheme => 'wamp', ppt_serializer => 'cbor', ppt_cipher => 'xsalsa20poly1305', ppt_keyid => "k\x{e9}y");
my $bytes = "\0omVhcmdzgA==";

is($client->welcome->{roles}{$_}{features}{payload_passthru_mode}, 1, "announced by the $_") foreach qw(broker dealer);

# Events
foreach my $topic ('com.news', 'com.chat.x')
{
	my $id = $client->subscribe($topic);
	$other->publish($topic, [$bytes], undef, acknowledge => \1, %ppt, x_other => 1);
	my $event = $client->next_event;
	my %details = %{ $event->{details} };
	my $position = delete $details{position};
	is_deeply([ \%details, @$event{qw(args kwargs)} ], [ \%ppt, [$bytes], undef ], "$topic: EVENT has the options and the payload");
	$other->publish($topic, [1], undef, acknowledge => \1, ppt_keyid => 'k');
	$event = $client->next_event;
	is($event->{details}{ppt_keyid}, undef, "$topic: nothing without a scheme");
	next if $topic ne 'com.news';
	my ($first) = @{ $client->result('wamp.subscription.get_events', [$id]) };
	is_deeply([ @$first{qw(args details)} ], [ [$bytes], { position => $position, %ppt } ], 'history, too');
}
$other->publish('com.chat.x', [$bytes], undef, acknowledge => \1, %ppt, exclude => [ $client->session ]);
$other->publish('com.chat.x', ['last'], undef, acknowledge => \1);
is_deeply($client->next_event->{args}, ['last'], 'not for all');

# Calls
my @seen;
$client->register('com.secret', sub {
		my ($args, $kwargs, $details, $invocation) = @_;
		push @seen, [ $args, $details ];
		$client->send([ 'YIELD', $invocation, { progress => \1, %ppt }, ["\0AQ=="] ]) if $details->{receive_progress};
		$client->send([ 'YIELD', $invocation, { ppt_scheme => 'x_mine' }, [$bytes] ]);
		return undef;		## no critic: it has answered
	});
my $request = $other->start('CALL', { %ppt, receive_progress => \1 }, 'com.secret', [$bytes]);
my $result = $other->answer('CALL', $request);
is_deeply(\@seen, [ [ [$bytes], { %ppt, receive_progress => Mojo::JSON->true } ] ], 'INVOCATION has the options and the payload');
is_deeply([ $other->progress($request) ], [ [ 50, $request, { %ppt, progress => Mojo::JSON->true }, ["\0AQ=="] ] ], 'a RESULT in progress, too');
is_deeply($result, [ 50, $request, { ppt_scheme => 'x_mine' }, [$bytes] ], 'and the last one has its own');
$client->register('com.fails', sub { $client->send([ 'ERROR', 68, $_[3], {%ppt}, 'com.error.secret', [$bytes] ]); return undef; });		## no critic
is_deeply([ @{ $other->call('com.fails', [$bytes], undef, %ppt) }[ 3 .. 5 ] ], [ \%ppt, 'com.error.secret', [$bytes] ], 'ERROR, too');
is(error_uri($other->call('com.none', [$bytes], undef, %ppt)), 'wamp.error.no_such_procedure', 'nobody has registered it');
foreach my $when ('before', 'after')
{
	is(error_uri($other->call('com.twice', [$bytes], undef, %ppt)), 'wamp.error.feature_not_supported', "a function cannot read it, $when another call");
	is($other->result('com.twice', [4]), 8, 'the function is there for others');
}

# Who does not have it
my $plain = client(map { $_ => {} } qw(publisher caller callee));
$plain->register('com.plain', sub { return ($_[0]); });
is(error_uri($other->call('com.plain', [$bytes], undef, %ppt)), 'wamp.error.feature_not_supported', 'a callee without it');
is($other->result('com.plain', [$bytes]), $bytes, 'which takes other calls');
is(error_uri($plain->call('com.secret')), 'wamp.error.feature_not_supported', 'a caller without it');
foreach my $message ([ 'PUBLISH', 90, {%ppt}, 'com.chat.x', [$bytes] ], [ 'CALL', 91, {%ppt}, 'com.secret', [$bytes] ],
	[ 'YIELD', 92, {%ppt}, [$bytes] ], [ 'ERROR', 68, 93, {%ppt}, 'com.error', [$bytes] ])
{
	my $bad = client(map { $_ => {} } qw(publisher caller callee));
	$bad->send($message);
	my $answer = $bad->next_message('ABORT');
	is_deeply([ @$answer[ 1, 2 ] ], [ { message => 'payload passthru that HELLO has not announced' }, 'wamp.error.protocol_violation' ], "$message->[0]: not announced");
}

done_testing();
