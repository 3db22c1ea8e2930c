# The package eventsource for Node, which sends a fresh token with each request, and curl.
use strict;
use warnings;

use IPC::Run;
use NotifydTest;
use NotifydTest::Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['reader']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql('CREATE TABLE orders (id int PRIMARY KEY)', 'GRANT SELECT ON orders TO guest, reader', q{SELECT notify_watch('orders')});
my $url = 'http://localhost:' . notifyd_port($node) . '/events?channel=orders';

# curl -N
my ($out, $err) = ('', '');
my $curl = IPC::Run::start([ 'curl', '-sN', $url ], \undef, \$out, \$err);
wait_for(sub { $curl->pump_nb; $out =~ /^event: position\n/m }, 'the beginning of the stream');
sql('INSERT INTO orders VALUES (1)');
wait_for(sub { $curl->pump_nb; $out =~ /^data: .*"id":1\}.*\nid: \d+-\d+\n\n/m }, 'an event');
pass('curl -N shows an event at once');
$curl->kill_kill;

SKIP:
{
	my ($modules, $why) = npm_modules('eventsource@4.1.1');
	skip $why, 3 if !$modules;
	my $script = PostgreSQL::Test::Utils::tempdir . '/events.mjs';
	append_to_file($script, <<"EOS");
import { createHmac } from 'node:crypto';
import { EventSource } from '$modules/eventsource/dist/index.js';

const part = object => Buffer.from(JSON.stringify(object)).toString('base64url');
// 28 seconds late, of the 30 that are allowed.
const token = () =>
{
	const signed = part({ alg: 'HS256' }) + '.' + part({ role: 'reader', sub: '1', exp: Math.floor(Date.now() / 1000) - 27 });
	return signed + '.' + createHmac('sha256', 'a secret of at least thirty-two bytes').update(signed).digest('base64url');
};
const source = new EventSource('$url', { fetch: (input, init) =>
	fetch(input, { ...init, headers: { ...init.headers, Authorization: 'Bearer ' + token() } }) });
source.onopen = () => console.log('open');
source.onmessage = ({ data }) => console.log('event ' + JSON.parse(data).key.id);
source.addEventListener('error', ({ data, code }) => console.log(data ? 'error ' + JSON.parse(data).code : 'closed ' + (code ?? '')));
EOS
	my $log = '';
	my $program = IPC::Run::start([ 'node', $script ], \undef, '>&', \$log);
	my $saw = sub { my $what = shift; wait_for(sub { $program->pump_nb; $log =~ $what }, "$what; only $log"); pass("it saw $what"); };
	$saw->(qr/open/);
	$saw->(qr/error 4001/);
	sql('INSERT INTO orders VALUES (2)');
	$saw->(qr/error 4001.*open.*event 2\n/s);
	$program->kill_kill;
}
done_testing();
