# The live page's connection and identity, in a real browser: tokens, their expiry, no anonymous access, restarts.
use strict;
use warnings;
use utf8;

use NotifydTest;
use NotifydTest::Page;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE orders (id int PRIMARY KEY, owner text, quantity int);
	INSERT INTO orders VALUES (1, 'anna', 1), (2, 'ben', 2);
	ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON orders TO member USING (owner = notify_claims()->>'sub');
	CREATE POLICY none ON orders TO guest USING (false);
	GRANT SELECT ON orders TO guest, member;
	SELECT notify_watch('orders');
});

sub token { my ($subject, $seconds) = @_; return notifyd_token({ role => 'member', sub => $subject, exp => time + $seconds }); }

sub sign_in
{
	my ($page, $token) = @_;
	$page->evaluate(q{document.getElementById('sign-in').open || document.getElementById('identity').click()});
	$page->fill(token => $token);
	$page->press('Use this token');
	return;
}

# Tokens
my $page = NotifydTest::Page->new($node, '#channel=orders');
$page->is_live;
$page->has('no rows', 'an anonymous client sees no rows');
sign_in($page, 'not a token');
$page->has('This is no token', 'what is no token is not sent');
sign_in($page, notifyd_token({ role => 'member', sub => 'anna' }, 'another secret of thirty-two bytes'));
$page->has('Sign in with another token', 'a token that PostgreSQL refuses');
$page->wait_for(q{document.getElementById('state').textContent === 'Not connected'}, 'not connected');
my $token = token('anna', 7200);
sign_in($page, "  Bearer $token\n");
$page->is_live('a good token');
$page->wait_for(q{/^member, expires in \d+ (hours|minutes)$/.test(document.getElementById('identity').textContent)}, 'role and expiry');
$page->shows($node, q{SELECT * FROM orders WHERE owner = 'anna'}, 'the rows of its subject');
sql(q{INSERT INTO orders VALUES (3, 'ben', 1), (4, 'anna', 4)});
$page->shows($node, q{SELECT * FROM orders WHERE owner = 'anna' ORDER BY id DESC}, 'and no others');

# Where the token is
$page->evaluate(q{document.getElementById('frames').open = true});
$page->wait_for(q{document.getElementById('frames-list').textContent.includes('bearer.\u2022\u2022\u2022')}, 'the log of frames masks it');
$page->evaluate(q{document.querySelectorAll('#frames-list details').forEach(frame => { frame.open = true; })});
$page->wait_for(q{document.querySelectorAll('#frames-list pre').length > 3}, 'frames are open');
my ($signature) = $token =~ /([^.]+)$/;
is($page->evaluate("document.documentElement.outerHTML.includes('$signature')"), 0, 'nothing in the page has it');
is($page->evaluate("(JSON.stringify(localStorage) + location.href + document.cookie).includes('$signature')"), 0, 'neither local storage, nor the address, nor a cookie');
$page->press('Code');
ok($page->evaluate(q{document.getElementById('code-text').textContent.includes('process.env.TOKEN')}), 'code reads it from the environment');
$page->evaluate(q{document.getElementById('code').close()});
$page->reload;
$page->wait_for(q{document.getElementById('identity').textContent.startsWith('member')}, 'the tab keeps it');
$page->evaluate(q{document.getElementById('identity').click()});
$page->press('Sign out');
$page->is_live('signed out');
$page->wait_for(q{document.getElementById('identity').textContent === 'Sign in'}, 'nobody');
$page->wait_for(q{!document.querySelector('tbody tr')}, 'its rows are gone');

# A token that expires. The server allows 30 seconds of skew for a token that is presented, and none afterwards.
sign_in($page, token('anna', 2));
$page->has('The token has expired: sign in with a fresh one', 'an expired token');
sign_in($page, token('ben', 7200));
$page->is_live('a fresh one');
$page->shows($node, q{SELECT * FROM orders WHERE owner = 'ben' ORDER BY id DESC}, 'the rows of another subject');

# The server is restarted. The page has what has happened meanwhile.
$node->stop;
$page->wait_for(q{document.getElementById('state').textContent === 'Connection lost'}, 'the connection is lost');
is($page->wait_for(q{/^Next attempt in \d+ s$/.test(document.getElementById('next').textContent) && document.getElementById('reason').textContent &&
	document.getElementById('retry').checkVisibility() && document.getElementById('retry').textContent}, 'why, and when it tries again'), 'Try now', 'it can be told to try now');
my $before = $page->rows;
ok(length $before, 'the rows stay');
$node->start;
sql(q{UPDATE orders SET quantity = 99 WHERE id = 2}, q{DELETE FROM orders WHERE id = 3}, q{INSERT INTO orders VALUES (5, 'ben', 5)});
wait_healthy($node);
$page->evaluate(q{document.getElementById('retry').click()});
$page->is_live('connected again');
$page->shows($node, q{SELECT * FROM orders WHERE owner = 'ben' ORDER BY id DESC}, 'what has happened meanwhile');

# Another database
$page->fill(database => 'nothing');
$page->has('Create the extension in this database', 'a database that is not served');
like($page->evaluate('location.hash'), qr/&database=nothing$/, 'which is in the address');
$page->fill(database => '');
$page->is_live('back');

# The channel is taken away, and comes back.
sql('REVOKE SELECT ON orders FROM member');
$page->has('The role of this page needs SELECT', 'without the privilege');
sql('GRANT SELECT ON orders TO member');
wait_for(sub { eval { $page->press('Try again') }; return $page->evaluate(q{document.querySelector('.note').hidden}) }, 'with it');
$page->shows($node, q{SELECT * FROM orders WHERE owner = 'ben' ORDER BY id DESC}, 'its rows again');

# No worker reads the rows: the page says so, and has them when one does.
sql(q{ALTER SYSTEM SET pg_notifyd.query_workers = 0});
$node->reload;
wait_for(sub {
	$page->reload;
	$page->wait_for(q{document.querySelector('.note.error, tbody tr')}, 'rows or an error');
	return $page->text =~ /pg_notifyd\.query_workers must not be 0/;
}, 'why the rows do not come');
sql(q{ALTER SYSTEM RESET pg_notifyd.query_workers});
$node->reload;
$page->shows($node, q{SELECT * FROM orders WHERE owner = 'ben' ORDER BY id DESC}, 'the rows come by themselves');

# Nobody is anonymous.
$page->evaluate(q{document.getElementById('identity').click()});
$page->press('Sign out');
sql(q{ALTER SYSTEM SET pg_notifyd.anonymous_role = ''});
$node->reload;
$page->has('There is no anonymous access: sign in with a token', 'no anonymous access');
$page->wait_for(q{document.getElementById('sign-in').open}, 'the page asks for a token');
sign_in($page, token('ben', 7200));
$page->is_live('with a token');
$page->shows($node, q{SELECT * FROM orders WHERE owner = 'ben' ORDER BY id DESC}, 'its rows');

done_testing();
