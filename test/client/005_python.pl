# Large events and Python's websockets, which closes a connection (1009) that sends it more than 1 MiB at once.
use strict;
use warnings;

use IPC::Run ();
use Mojo::File qw(curfile);
use NotifydTest;
use Test::More;

my $top = curfile->dirname->dirname->dirname;
my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE files (id int PRIMARY KEY, data text);
	GRANT SELECT ON files TO guest;
	SELECT notify_watch('files');
});

# A client of this kind, whose output is what it has seen, line by line.
sub start_client
{
	my %client = (out => '', err => '');
	$client{handle} = IPC::Run::start(
		[ '/usr/bin/python3', $top->child('test/client/large_events.py'), 'ws://localhost:' . notifyd_port($node) . '/ws', @_ ],
		\undef, \$client{out}, \$client{err});
	return \%client;
}

sub sees
{
	my ($client, $regexp, $name) = @_;
	wait_for(
		sub {
			$client->{handle}->pump_nb;
			die "$name: $client->{err}" if $client->{out} !~ $regexp && !$client->{handle}->pumpable;
			return $client->{out} =~ $regexp;
		},
		"$name: $regexp");
	pass($name);
	return;
}

sub write_files
{
	my ($first, $last) = @_;
	$node->safe_psql('postgres', "INSERT INTO files SELECT i, repeat('x', 3000000) FROM generate_series($first, $last) i");
	return;
}

my $all = start_client('any');
sees($all, qr/^subscribed$/m, 'a client without a limit');
my $small = start_client('default');
sees($small, qr/^subscribed$/m, 'one with the limit of 1 MiB');
write_files(1, 30);
sees($all, qr/^30 3000000$/m, 'max_size=None: all events');
sees($small, qr/^sent 1009$/m, 'by default, the client closes the connection');
unlike($small->{out}, qr/3000000/, 'and has got none');

# It reads nothing more, and waits for the end of the connection. The server does not wait for it.
wait_for(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM notifyd.clients') eq '1' }, 'the end of its session');
pass('the server has forgotten it');
$_->{handle}->kill_kill foreach $all, $small;

# A client that closes while 90 MB are queued for it: the answer is the next frame, behind what was on its way.
my ($socket) = raw_handshake($node);
my $send = sub {
	my ($opcode, $text) = @_;
	my $length = length $text;
	print {$socket} pack('CC', 0x80 | $opcode, 0x80 | ($length < 126 ? $length : 126)) . ($length < 126 ? '' : pack 'n', $length) . "\0\0\0\0$text";
	$socket->flush;
};
$send->(1, '{"id":1,"method":"subscribe","params":{"channel":"files"}}');
raw_receive($socket, qr/"position"/);
write_files(31, 60);
wait_for(sub { $node->safe_psql('postgres', q{SELECT queued_bytes > 0 FROM notifyd.clients}) eq 't' }, 'queued events');
$send->(8, pack 'n', 1009);
my ($read, $count) = ('', 0);
while (sysread $socket, $read, 1 << 20, length $read)
{
	$count += length($read) > 4 ? length($read) - 4 : 0;
	$read = substr $read, -4 if length $read > 4;
}
is(unpack('H*', $read), '880203f1', 'the last frame is the answer to the close');
cmp_ok($count, '<', 30 * 3_000_000 / 2, "and it did not wait for what was queued: $count bytes before it");

# The setting
$node->append_conf('postgresql.conf', "pg_notifyd.max_event_size = '900kB'");
$node->reload;
wait_for(sub { $node->safe_psql('postgres', 'SHOW pg_notifyd.max_event_size') eq '900kB' }, 'the setting');
my $limited = start_client('default');
sees($limited, qr/^subscribed$/m, 'a client with the limit of 1 MiB');
write_files(61, 62);
sees($limited, qr/^62 truncated$/m, 'max_event_size: gets keys, and stays connected');
$limited->{handle}->kill_kill;

done_testing();
