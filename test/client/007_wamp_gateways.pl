# AutobahnJS and two gateways: when one of them dies, or the server restarts, sessions reconnect by themselves, and go on without a
# gap.
use strict;
use warnings;

use IPC::Run ();
use Mojo::File qw(curfile);
use Mojo::JSON qw(decode_json encode_json);
use NotifydTest;
use NotifydTest::Node;
use Test::More;

my ($modules, $why) = npm_modules('autobahn@26.3.1', 'node@22.23.3', 'ws@8.23.0');
plan skip_all => $why if !defined $modules;

my $number = 4;		# of each program
my $node = notifyd_node('main', conf => "pg_notifyd.gateways = 2\n", roles => []);
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders', channel => 'com.shop.orders');
});
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM notifyd.stats WHERE kind = 'gateway' AND state = 'running'})
  or die 'no two gateways';

my @programs;
END
{
	my $status = $?;
	$_->{handle}->kill_kill foreach @programs;
	$? = $status;
}

sub start_program
{
	my %program = (in => '', out => '', err => '');
	my @command = ("$modules/node/bin/node", curfile->dirname->child('wamp_gateways.mjs'), $modules, notifyd_port($node), $number);
	$program{handle} = IPC::Run::start(\@command, \$program{in}, \$program{out}, \$program{err});
	push @programs, \%program;
	return;
}

# What the sessions of a program have now: its last whole line.
sub sessions
{
	my $program = shift;
	$program->{handle}->pump_nb;
	die "the program has ended: $program->{err}" if !$program->{handle}->pumpable;
	$program->{out} =~ s/.*\n(?=.*\n)//s;
	my ($line) = $program->{out} =~ /^(.*)\n/ or return;
	return @{ decode_json($line) };
}

# Wait until all sessions have this; returns them.
sub all_have
{
	my ($code, $what) = @_;
	my @all;
	eval {
		wait_for(sub { @all = map { sessions($_) } @programs; @all == @programs * $number && !grep { !$code->() } @all }, $what);
		1;
	} or die "$@ The sessions have: " . encode_json(\@all);
	pass($what);
	return @all;
}

sub insert { my ($from, $to) = @_; return $node->safe_psql('postgres', "INSERT INTO orders SELECT generate_series($from, $to)"); }
sub have_keys { my $last = shift; my $keys = join ',', 1 .. $last; return sub { $_->{open} && join(',', @{ $_->{keys} }) eq $keys }; }

# The second program connects while the gateway that has sessions of the first one stops, so that both have some.
start_program();
all_have(sub { $_->{open} }, 'sessions');
my $stopped = $node->safe_psql('postgres', q{
	SELECT min(s.pid) FROM notifyd.stats AS s JOIN notifyd.clients AS c ON s.name = c.gateway::text WHERE s.kind = 'gateway'});
kill 'STOP', $stopped;
start_program();
wait_for(sub { (grep { $_->{open} } sessions($programs[1])) == $number }, 'sessions with the other gateway');
kill 'CONT', $stopped;
all_have(sub { $_->{open} && $_->{joined} == 1 }, 'more sessions');
insert(1, 5);
all_have(have_keys(5), 'each has all events');

# A gateway that dies
my $lost = $node->safe_psql('postgres', qq{
	SELECT count(*) FROM notifyd.stats AS s JOIN notifyd.clients AS c ON s.name = c.gateway::text WHERE s.pid = $stopped});
cmp_ok($lost, '<', 2 * $number, 'another gateway has sessions, too');
kill 'KILL', $stopped;
insert(6, 10);
my @all = all_have(have_keys(10), 'after the end of a gateway: all events, once, in order');
is(scalar(grep { $_->{joined} == 2 } @all), $lost, 'the sessions of that gateway have joined again');
is(scalar(grep { $_->{joined} == 1 } @all), 2 * $number - $lost, 'and no others');

# The server, whose gateways tell clients that they close
my @joined = map { $_->{joined} } @all;
$node->restart;
insert(11, 15);
@all = all_have(have_keys(15), 'after a restart of the server: all events, once, in order');
ok(!(grep { $all[$_]{joined} == $joined[$_] } 0 .. $#all), 'all have joined again');

done_testing();
