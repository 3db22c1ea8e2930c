# The live page, in a real browser: rows and messages as they change, filters, columns, calls; what comes from the database
# stays text; the Content-Security-Policy; narrow windows, labels and colours.
use strict;
use warnings;
use utf8;

use Mojo::JSON qw(to_json);
use NotifydTest;
use NotifydTest::Page;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);
my $markup = q{<b>bold</b><img src=x onerror="window.planted=1"><script>window.planted=2</script>};

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE orders (name text, id int PRIMARY KEY, quantity int, more jsonb);
	CREATE TABLE odd ("<i>key</i>" text PRIMARY KEY, "<img src=x onerror=window.planted=3>" text);
	CREATE TABLE plain (a int, b text);
	CREATE TABLE prices (id int PRIMARY KEY, price numeric, more json);
	INSERT INTO prices VALUES (1, 8.80, '{"a":1.50}'), (2, 8.75, '[2.0,3]'), (3, 10.00, '0.10');
	INSERT INTO orders VALUES ('Lemonade', 1, 2, NULL), ('Burger', 2, 1, '{"a": [1, 2]}'), ('Fries', 10, NULL, '"x"');
	GRANT SELECT ON orders, odd, plain, prices TO guest; GRANT INSERT ON orders TO guest;
	SELECT notify_watch('orders'), notify_watch('odd'), notify_watch('prices'), notify_watch('plain', cols => '{a,b}'), notify_grant('news', 'guest');
	CREATE FUNCTION place_order(id int, name text, extra text DEFAULT '') RETURNS text LANGUAGE sql AS
		'INSERT INTO orders (id, name, quantity) VALUES ($1, $2, 1) RETURNING $2 || $3';
	SELECT notify_expose('place_order(int,text,text)');
});
sql(q{INSERT INTO odd VALUES ('k', '} . $markup . q{')});
my $page = NotifydTest::Page->new($node, '#channel=orders');

# A script that counts what the policy refuses, before anything else happens
$page->evaluate(q{window.refused = []; addEventListener('securitypolicyviolation', event => refused.push(event.effectiveDirective))});

# Rows
my $all = q{SELECT id, name, quantity, more FROM orders ORDER BY id DESC};
$page->is_live;
$page->wait_for(q{document.querySelectorAll('tbody tr').length === 3}, 'the rows');
is($page->rows, "10|Fries|NULL|x\n2|Burger|1|{\"a\":[1,2]}\n1|Lemonade|2|NULL", 'the rows, the key first, the newest first');
is($page->evaluate(q{[...document.querySelectorAll('tbody tr:nth-child(2) td')].map(cell => cell.className).join()}), 'number,,number,json', 'numbers and JSON');
is($page->evaluate(q{document.querySelector('td.null').textContent}), 'NULL', 'NULL is not an empty text');
is($page->evaluate(q{[...document.querySelectorAll('tr.entered, td.changed')].length}), 0, 'rows that were there are not marked');
is($page->evaluate(q{document.querySelector('th.key').textContent + document.querySelector('th[aria-sort=descending]').textContent}), 'idid', 'the key, and the order');

# Changes. Marks go by themselves, so a script keeps what it has seen.
$page->evaluate(q{window.marked = new Set(); new MutationObserver(() => document.querySelectorAll('td.changed, tr.entered, tr.leaving')
	.forEach(node => marked.add(`${node.className} ${node.textContent}`))).observe(document.getElementById('panels'), { subtree: true, attributes: true, childList: true })});
sub marks
{
	my ($mark, $name) = @_;
	$page->wait_for('marked.has(' . to_json([$mark]) . '[0])', $name);
	pass($name);
	return;
}
sql(q{UPDATE orders SET quantity = 77 WHERE id = 2});
marks('number changed 77', 'a changed value is marked');
sql(q{INSERT INTO orders VALUES ('Tea', 11, 1, '[]')});
marks('entered 11Tea1[]', 'a row that enters is marked');
sql(q{DELETE FROM orders WHERE id = 1});
marks('leaving 1Lemonade2NULL', 'a row that leaves is marked');
$page->wait_for(q{!document.querySelector('.leaving, .changed, .entered')}, 'marks end');
$page->shows($node, q{SELECT id, name, quantity, replace(more #>> '{}', ' ', '') FROM orders ORDER BY id DESC}, 'the rows, after changes');
ok(!$page->evaluate(q{[...marked].some(mark => mark.startsWith('number changed') && mark !== 'number changed 77')}), 'no other value was marked');
sql(q{UPDATE orders SET id = 5 WHERE id = 10});
$page->shows($node, q{SELECT id, name, quantity, replace(more #>> '{}', ' ', '') FROM orders ORDER BY id DESC}, 'a row whose key has changed');
$page->evaluate(q{document.querySelector('th:nth-child(2) button').click()});
$page->shows($node, q{SELECT id, name, quantity, replace(more #>> '{}', ' ', '') FROM orders ORDER BY name COLLATE "C"}, 'in another order');
sql(q{TRUNCATE orders}, q{INSERT INTO orders VALUES ('A', 1, 1, NULL), ('B', 2, 5, NULL)});
$page->shows($node, q{SELECT id, name, quantity, more FROM orders ORDER BY name}, 'after TRUNCATE');

# Pause and clear
$page->press('Pause');
sql(q{UPDATE orders SET quantity = 9 WHERE id = 1}, q{INSERT INTO orders VALUES ('C', 3, 3, NULL)});
$page->has('paused, 2 changes waiting', 'paused');
is($page->rows, "1|A|1|NULL\n2|B|5|NULL", 'a paused channel does not change');
$page->press('Resume');
$page->shows($node, q{SELECT id, name, quantity, more FROM orders ORDER BY name}, 'resumed');
like($page->text, qr/\b3 rows · \d+ events/, 'events are counted');
$page->press('Clear');
$page->has('3 rows · 0 events', 'cleared: the rows stay');
$page->press('Close');
is($page->evaluate(q{document.querySelectorAll('.panel').length + location.hash}), '0', 'closed');
$page->has('See rows change as they are committed', 'the page says what to do');

# A filter and columns, from the form
$page->fill(channel => 'orders');
$page->fill(filter => 'quantity=gt.2');
$page->fill(columns => 'id,quantity');
$page->press('Open');
$page->shows($node, q{SELECT id, quantity FROM orders WHERE quantity > 2 ORDER BY id DESC}, 'the filter and the columns');
sql(q{UPDATE orders SET quantity = 1 WHERE id = 2});
marks('leaving 25', 'an UPDATE that takes a row out of the filter');
$page->shows($node, q{SELECT id, quantity FROM orders WHERE quantity > 2 ORDER BY id DESC}, 'it is gone');
is($page->evaluate('location.hash'), '#channel=orders&filter=quantity%3Dgt.2&columns=id%2Cquantity', 'the address has what is open');
$page->reload;
$page->is_live('loaded again');
$page->shows($node, q{SELECT id, quantity FROM orders WHERE quantity > 2 ORDER BY id DESC}, 'the same is open');
$page->evaluate(q{window.refused = []; addEventListener('securitypolicyviolation', event => refused.push(event.effectiveDirective))});
$page->fill(channel => 'orders');
$page->fill(filter => 'nothing=eq.1');
$page->press('Open');
$page->has('"nothing"', 'a bad filter: PostgreSQL says what is wrong');
$page->fill(channel => 'nothing');
$page->press('Open');
$page->has('Watch the table in this database', 'an unknown channel: what to do');
is($page->evaluate(q{document.querySelectorAll('.panel').length}), 3, 'several channels are open');

# Numbers as PostgreSQL writes them, in their order
$page->go('#channel=prices');
$page->is_live('prices');
$page->shows($node, q{SELECT * FROM prices ORDER BY id DESC}, 'zeros at the end stay');
sql(q{UPDATE prices SET price = 20.00 WHERE id = 1}, q{INSERT INTO prices VALUES (4, 100, '{"a":3.0}')});
$page->shows($node, q{SELECT * FROM prices ORDER BY id DESC}, 'also in events');
is($page->evaluate(q{[...document.querySelectorAll('tbody td:nth-child(2)')].every(cell => cell.classList.contains('number'))}), 1, 'these are numbers');
$page->evaluate(q{document.querySelector('th:nth-child(2) button').click()});
$page->shows($node, q{SELECT * FROM prices ORDER BY price}, 'in the order of their values');

# Rows without a key, and more rows than are shown
sql(q{INSERT INTO plain SELECT i, 'row ' || i FROM generate_series(1, 600) AS i});
$page->go('?channel=plain');
$page->has('showing 500 of 600 rows', 'many rows: the page says how many it shows');
is($page->evaluate(q{document.querySelectorAll('tbody tr').length}), 500, 'so many');
sql(q{DELETE FROM plain WHERE a > 3}, q{UPDATE plain SET b = 'new' WHERE a = 1});
$page->wait_for(q{document.querySelectorAll('tbody tr:not(.leaving)').length === 3}, 'without a key, rows come again');
like($page->rows, qr/^1\|new$/m, 'as they are');

# Markup is text
$page->go('#channel=odd&channel=news&channel=%3Cb%3Ex%3C/b%3E&call=place_order&name=%3Cb%3Ename%3C/b%3E');
$page->is_live('another address');
$page->evaluate(q{window.refused = []; addEventListener('securitypolicyviolation', event => refused.push(event.effectiveDirective))});
$page->has('<script>window.planted=2</script>', 'a value that has markup is shown');
$page->has('<i>key</i>', 'so is the name of a column');
sql(qq{SELECT notify_send('news', to_json('$markup'::text))}, qq{SELECT pg_notify('news', 'raw $markup')});
$page->has('raw <b>bold</b>', 'and a message');
$page->has('<b>x</b>', 'and a channel');
$page->wait_for(q{document.getElementById('argument-name')}, 'the function');
is($page->evaluate(q{document.getElementById('argument-name').value}), '<b>name</b>', 'an argument from the address');
$page->fill('argument-id', 20);
$page->fill('argument-extra', '<b>extra</b>');
$page->press('Call place_order');
$page->has('"<b>name</b><b>extra</b>"', 'the result of a call');
is(sql('SELECT name FROM orders WHERE id = 20'), '<b>name</b>', 'which was executed');
$page->press('Call place_order');
$page->has('duplicate key value', 'a call that fails');
$page->evaluate(q{document.getElementById('frames').open = true});
$page->wait_for(q{document.querySelectorAll('#frames-list li').length > 3}, 'frames');
$page->evaluate(q{document.querySelectorAll('#frames-list details').forEach(frame => { frame.open = true; })});
$page->wait_for(q{document.querySelector('#frames-list pre')?.textContent.includes('"jsonrpc": "2.0"')}, 'a frame opens');
ok($page->evaluate(q|[...document.querySelectorAll('#frames-list summary')].some(line => /\u2191 subscribe ."channel":"news"/.test(line.textContent))|),
	'what the page has sent');
$page->press('Code');
is($page->evaluate(q{document.querySelectorAll('main b, main i:not(.empty i), main img, aside b, aside i, aside img, dialog b, main script').length}), 0, 'nothing of it has become an element');
is($page->evaluate('window.planted'), undef, 'and no script ran');
$page->evaluate(q{document.getElementById('code').close()});

# The policy
is(to_json($page->evaluate('refused')), '[]', 'the page needs nothing that its policy refuses');
$page->evaluate(<<'EOS');
	const script = document.createElement('script');
	try { script.append('window.planted = 4'); document.body.append(script); } catch { refused.push('trusted types'); }
	const link = document.createElement('a');
	try { link.setAttribute('onclick', 'window.planted = 5'); link.click(); } catch { refused.push('trusted types'); }
	try { document.body.insertAdjacentHTML('beforeend', '<p id=planted>'); } catch { refused.push('trusted types'); }
	const image = new Image(); image.src = 'http://shop.example/x.png';
	fetch('http://127.0.0.1:1/').catch(() => {});
EOS
$page->wait_for(q{refused.includes('img-src') && refused.includes('connect-src')}, 'images and requests to other servers are refused');
is($page->evaluate('window.planted'), undef, 'a planted script does not run');
is($page->evaluate(q{document.getElementById('planted')}), undef, 'text does not become markup');
is($page->evaluate(q{[...new Set(refused)].sort().join()}), 'connect-src,img-src,require-trusted-types-for,trusted types', 'both were refused');

# Everybody can use it
is($page->evaluate(q{[...document.querySelectorAll('input, select, textarea')].filter(field => !field.labels?.length && !field.ariaLabel).length}), 0, 'each field has a label');
is($page->evaluate(q{[...document.querySelectorAll('button')].filter(button => !button.textContent.trim() && !button.ariaLabel).length}), 0, 'and each button a name');
is($page->evaluate(q{[...document.querySelectorAll('[role=status], [role=alert]')].length > 3}), 1, 'states and errors are told');
$page->go('?channel=orders&channel=odd&call=place_order');
$page->is_live('with everything open');
$page->wait_for(q{document.querySelectorAll('tbody tr').length > 3 && document.getElementById('argument-id')}, 'all of it');
$page->evaluate(q{document.getElementById('frames').open = true});
foreach my $width (390, 320, 1280)
{
	$page->device($width, 844);
	cmp_ok($page->evaluate('document.documentElement.scrollWidth'), '<=', $width, "no scrolling sideways at $width");
}
$page->evaluate(<<'EOS');
	// The contrast of two colours (WCAG 2.2, 1.4.3)
	window.contrast = () => {
		const [context] = [Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true })];
		const luminance = name => {
			const probe = document.createElement('p');
			document.body.append(probe);
			probe.style.color = `var(--${name})`;
			context.fillStyle = getComputedStyle(probe).color;
			probe.remove();
			context.fillRect(0, 0, 1, 1);
			const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
			return 0.2126 * r + 0.7152 * g + 0.0722 * b;
		};
		const low = [];
		for (const front of ['text', 'muted', 'accent', 'good', 'wait', 'bad'])
			for (const back of ['ground', 'surface', 'raised', ...front === 'text' ? ['changed', 'entered', 'left'] : []]) {
				const [a, b] = [luminance(front), luminance(back)];
				if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5)
					low.push(`${front} on ${back}`);
			}
		const [a, b] = [luminance('on-accent'), luminance('accent')];
		return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5 ? [...low, 'button'] : low;
	};
EOS
my %ground;
foreach my $scheme ('light', 'dark')
{
	$page->device(1280, 800, $scheme);
	is(to_json($page->evaluate('contrast()')), '[]', "$scheme: contrast of at least 4.5");
	$ground{$scheme} = $page->evaluate('getComputedStyle(document.body).backgroundColor');
}
isnt($ground{light}, $ground{dark}, 'light and dark as the system');
my $switch = q{document.getElementById('theme').click(); getComputedStyle(document.body).backgroundColor};
is($page->evaluate($switch), $ground{light}, 'the switch: light');
is($page->evaluate($switch), $ground{dark}, 'dark');
$page->reload;
$page->is_live('loaded again');
is($page->evaluate('document.documentElement.dataset.theme'), 'dark', 'which the browser remembers');

done_testing();
