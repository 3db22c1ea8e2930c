# The live page under 1,000 events a second: it answers meanwhile, has no more than it says, and shows the table afterwards.
use strict;
use warnings;

use IPC::Run;
use NotifydTest;
use NotifydTest::Page;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE load (id int PRIMARY KEY, name text, quantity int);
	INSERT INTO load SELECT i, 'row ' || i, 0 FROM generate_series(1, 300) AS i;
	GRANT SELECT ON load TO guest;
	SELECT notify_watch('load');
});
my $page = NotifydTest::Page->new($node, '#channel=load');
$page->is_live;
$page->wait_for(q{document.querySelectorAll('tbody tr').length === 300}, 'the rows');
$page->evaluate(q{document.getElementById('frames').open = true});
$page->evaluate(q{window.longest = window.ticks = 0; { let last = performance.now(); setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; ticks++; }, 20); }});

# Five changes in a transaction, of which one in ten comes or goes
my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'EOS');
\set id random(1, 300)
\set other random(301, 900)
BEGIN;
UPDATE load SET quantity = quantity + 1 WHERE id BETWEEN :id AND :id + 3;
INSERT INTO load VALUES (:other, 'new', 0) ON CONFLICT (id) DO NOTHING;
DELETE FROM load WHERE id = 301 + (:other * 7) % 600;
COMMIT;
EOS
my ($in, $out) = ('', '');
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-t', 1000, '-R', 200, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'<', \$in, '>&', \$out);
my $asked = 0;
my $start = time;
while ($writers->pumpable)
{
	$page->evaluate('document.querySelectorAll("tbody tr").length');
	$asked++;
	wait_for(sub { $writers->pump_nb if $writers->pumpable; return 1 }, 'a moment');
}
$writers->finish or diag($out);
my $duration = 1000 * (time - $start);
$page->wait_for(q{+/([\d,]+) events/.exec(document.querySelector('.amount').textContent)[1].replaceAll(',', '') > 5000}, 'so many events');
my ($events) = $page->evaluate(q{document.querySelector('.amount').textContent}) =~ /([\d,]+) events/;
$events =~ s/,//g;
cmp_ok($asked, '>', 20, 'the page answered all the time');
cmp_ok($page->evaluate('longest'), '<', $duration / 4, 'and never was busy for long');
$page->shows($node, 'SELECT * FROM load ORDER BY id DESC LIMIT 500', 'it shows the table');
is($page->evaluate(q{document.querySelectorAll('#frames-list li').length}), 100, 'the log of frames is bounded');
cmp_ok($page->evaluate(q{document.querySelectorAll('tbody tr').length}), '<=', 700, 'so are the rows');
diag("$events events, $asked answers, longest pause " . int($page->evaluate('longest')) . ' ms, ' . $page->evaluate('ticks') . ' ticks');

done_testing();
