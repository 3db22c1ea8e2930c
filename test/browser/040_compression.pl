# A real browser gets compressed messages, and sends some.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Browser;
use Test::More;

my $node = notifyd_node('main', conf => 'pg_notifyd.compression = on');
$node->safe_psql('postgres', q{
	CREATE TABLE notes (id int PRIMARY KEY, note text);
	GRANT SELECT ON notes TO guest;
	SELECT notify_watch('notes');
});
my $page = NotifydTest::Browser->new('http://localhost:' . notifyd_port($node) . '/healthz');

$page->evaluate(q{
	window.seen = [];
	window.ws = new WebSocket(`ws://${location.host}/ws`);
	ws.onmessage = message => seen.push(JSON.parse(message.data));
	ws.onopen = () => ws.send(JSON.stringify({id: 1, method: 'subscribe', params: {channel: 'notes'}}) + ' '.repeat(10000));
	0
});
$page->wait_for('seen.some(message => message.id === 1 && message.result)', 'the answer to a long request');
pass('a compressed request is answered');
like($page->evaluate('ws.extensions'), qr/permessage-deflate/, 'compression was negotiated');
$node->safe_psql('postgres', q{INSERT INTO notes VALUES (1, repeat('a long note ', 1000))});
$page->wait_for(q{seen.some(message => message.method === 'event')}, 'the event');
is($page->evaluate(q{seen.find(message => message.method === 'event').params.new.note.length}), 12000, 'an event arrives whole');

$node->stop;
done_testing;
