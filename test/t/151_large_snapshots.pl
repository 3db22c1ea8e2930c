# A million rows for a client that reads slowly: memory of gateway and worker stays bounded, the transaction ends long
# before the client has the rows, and then the client has all of them, and the events since.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $secret = 'a secret of at least thirty-two bytes';
my $node = notifyd_node('main', conf => <<"EOC");
pg_notifyd.jwt_secret = '$secret'
pg_notifyd.authenticator_role = 'authenticator'
pg_notifyd.keepalive = 0
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE reader;
	GRANT reader TO authenticator;
	CREATE TABLE big (id int PRIMARY KEY, name text);
	INSERT INTO big SELECT i, 'a name of some length, as rows of tables usually have one ' || i FROM generate_series(1, 1000000) AS i;
	CREATE TABLE small (id int PRIMARY KEY);
	INSERT INTO small VALUES (1);
	GRANT SELECT ON big, small TO reader;
	SELECT notify_watch('big'), notify_watch('small');
});

my $bearer = 'Authorization: Bearer ' . notifyd_token({ role => 'reader', sub => 'x', exp => time + 6000 }, $secret);

# A connection that reads only when it is told to, and its first request.
sub subscribed
{
	my ($channel) = @_;
	my ($socket) = raw_handshake($node, $bearer);
	my $request = qq({"id":1,"method":"subscribe","params":{"channel":"$channel","snapshot":true}});
	print $socket pack('CCN', 0x81, 0x80 | length $request, 0), $request;
	$socket->flush;
	return $socket;
}

# The memory of a process that is its own, in MB.
sub memory { my ($pid) = @_; return process_status($pid, 'RssAnon') =~ /(\d+)/ ? $1 / 1024 : die "no process $pid"; }

like(raw_receive(subscribed('small'), qr/"done":true/), qr/"rows":\[\{"id":1\}\]/, 'a small snapshot');
my ($gateway) = gateway_pids($node);
my $worker = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'});
my %before = map { $_ => memory($_) } $gateway, $worker;
my %most = %before;

my $slow = subscribed('big');
my $rest = raw_receive($slow, qr/"rows"/);
my $state = q{SELECT coalesce(extract(epoch FROM clock_timestamp() - xact_start), -1), coalesce(backend_xmin::text, '') FROM pg_stat_activity WHERE pid = };
my $longest = 0;
sub look
{
	for my $pid ($gateway, $worker) { my $is = memory($pid); $most{$pid} = $is if $is > $most{$pid}; }
	my ($seconds, $xmin) = split /\|/, sql("$state $worker");
	$longest = $seconds if $seconds > $longest;
	return $seconds < 0 && $xmin eq '';
}
ok(wait_for(\&look, 'the end of the transaction'), 'the transaction ends although the client does not read');
cmp_ok($longest, '<', 60, 'and has not lasted longer than snapshot_timeout');
sql('INSERT INTO big VALUES (0, $$new$$)', 'DELETE FROM big WHERE id = 1');
like(raw_receive(subscribed('small'), qr/"done":true/), qr/"rows":\[\{"id":1\}\]/, 'the worker runs other queries');

my ($rows, $bytes, $deleted) = (0, 0, 0);
while (!$deleted)
{
	my $got = sysread($slow, my $part, 1024 * 1024) or die 'end of file';
	$bytes += $got;
	$rest .= $part;
	$deleted = $rest =~ /"op":"DELETE".*\}\}/;
	$rows += () = $rest =~ /"name":"a name/g;
	$rest =~ s/.*"name":"a name//s;
	look() if $bytes % 16 == 0;
}
is($rows, 1_000_000, 'all rows came, and then the events');
for ([ gateway => $gateway ], [ worker => $worker ])
{
	my ($name, $pid) = @$_;
	my $more = $most{$pid} - $before{$pid};
	cmp_ok($more, '<', 32, sprintf '%s: %.1f MB more for %.0f MB of rows', $name, $more, $bytes / 1024 / 1024);
}

done_testing();
