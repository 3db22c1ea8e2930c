# The gateway's sandbox, its setting, and systems that lack a part of it. What the sandbox refuses is
# tested by test/unit/test_sandbox.c.
use strict;
use warnings;

use Config;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
});

my $id = 0;

sub works
{
	my $what = shift;
	wait_healthy($node);
	my $client = notifyd_client($node);
	$client->subscribe('t');
	$node->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$id . ')');
	is($client->next_event->{key}{id}, $id, "$what: an event arrives");
	$client->close;
}

# The gateway, once it is another one than this.
sub next_gateway
{
	my $old = shift;
	my $new;
	wait_for(sub { ($new) = gateway_pids($node); $new && $new != $old }, 'a new gateway');
	return $new;
}

# A reload with this setting replaces the gateway.
sub set_sandbox
{
	my $sandbox = shift;
	my ($old) = gateway_pids($node);
	$node->append_conf('postgresql.conf', "pg_notifyd.sandbox = $sandbox");
	$node->reload;
	return next_gateway($old);
}

# How often the log says this.
sub logged
{
	my $pattern = shift;
	return scalar(() = slurp_file($node->logfile) =~ /$pattern/g);
}

# Whether this user may see what the process has open.
sub hidden
{
	my $pid = shift;
	return !opendir my $directory, "/proc/$pid/fd";
}

my $incomplete = qr/LOG:  the sandbox of pg_notifyd's gateways is incomplete/;
my $refused = qr/LOG:  pg_notifyd starts no gateway, because its sandbox would be incomplete/;

works('as installed');
my ($gateway) = gateway_pids($node);
is(process_status($gateway, 'Seccomp'), 2, 'a filter of system calls is in force');
is(process_status($gateway, 'NoNewPrivs'), 1, 'the process can gain no privileges');
SKIP:
{
	skip 'root sees everything', 1 if $> == 0;
	ok(hidden($gateway), 'other processes of the user cannot look into it');
}

$gateway = set_sandbox('off');
works('off');
is(process_status($gateway, 'Seccomp'), 0, 'off: there is no filter');
is(process_status($gateway, 'NoNewPrivs'), 0, 'off: nor anything else');

my $complete = !logged($incomplete);
note($complete ? 'this system offers everything' : 'this system does not offer everything');
SKIP:
{
	skip 'a part of the sandbox is missing here', 2 if !$complete;
	$gateway = set_sandbox('require');
	works('require');
	is(process_status($gateway, 'Seccomp'), 2, 'require: the filter is in force');
}
$node->append_conf('postgresql.conf', 'pg_notifyd.sandbox = on');
$node->stop;

# From here on landlock_create_ruleset() is missing for this process and what it starts: a filter of
# its own (seccomp(2)) makes it fail with ENOSYS.
my $prctl = { x86_64 => 157, aarch64 => 167 }->{ (split /-/, $Config{archname})[0] };
SKIP:
{
	skip 'the number of prctl() is not known here', 5 if !defined $prctl;
	my $program = pack('SCCL' x 4,
		0x20, 0, 0, 0,                         # load the number of the call
		0x15, 0, 1, 444,                       # is it landlock_create_ruleset()?
		0x06, 0, 0, 0x00050000 | 38,           # it is: ENOSYS
		0x06, 0, 0, 0x7fff0000);               # no: allow
	my $filter = pack('S x![P] P', 4, $program);
	syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "PR_SET_NO_NEW_PRIVS: $!";
	syscall($prctl, 22, 2, $filter) == 0 or die "PR_SET_SECCOMP: $!";

	my $before = logged($incomplete);
	$node->start;
	works('without Landlock');
	($gateway) = gateway_pids($node);
	is(process_status($gateway, 'Seccomp_filters'), 2, 'without Landlock: the filter is in force');
	kill 'KILL', $gateway;
	next_gateway($gateway);
	works('after another start');
	is(logged($incomplete) - $before, 1, 'the log says once that the sandbox is incomplete');
	like(slurp_file($node->logfile), qr/does not offer Landlock\./, 'and what is missing');

	$node->append_conf('postgresql.conf', 'pg_notifyd.sandbox = require');
	$node->reload;
	wait_for(sub { logged($refused) }, 'a line in the log');
	wait_for(sub { logged(qr/gateway 0 \(PID \d+\): .*exited with exit code 1/) }, 'a gateway that ends');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.clients'), 0, 'require: there are no clients');
	$node->append_conf('postgresql.conf', 'pg_notifyd.sandbox = on');
	$node->reload;
	works('on again');
	is(logged($refused), 1, 'the log said once that there is no gateway');
}

done_testing();
