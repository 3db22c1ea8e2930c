# The code that the live page offers runs as it is: with curl, Python and Node, for rows and for messages, without and with a
# token.
use strict;
use warnings;

use IPC::Run;
use Mojo::File qw(path);
use NotifydTest;
use NotifydTest::Page;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE "it's" (id int PRIMARY KEY, "a,b" text, quantity int, more text);
	GRANT SELECT ON "it's" TO guest, member;
	INSERT INTO "it's" VALUES (1, 'first', 5, 'x');
	SELECT notify_watch('"it''s"'), notify_grant('news', 'guest'), notify_grant('news', 'member');
});
my $dir = path(PostgreSQL::Test::Utils::tempdir());
my %run = (
	javascript => [ 'node', '--experimental-websocket', '--no-warnings' ],
	curl => ['bash'],
	python => ['/usr/bin/python3']);

# Save the code of the panel that is open.
sub save
{
	my ($page, $language, $file) = @_;
	$page->press('Code');
	$page->evaluate("document.querySelector('[name=language][value=$language]').click()");
	my $code = $page->evaluate(q{document.getElementById('code-text').textContent});
	$page->evaluate(q{document.getElementById('code').close()});
	open my $out_file, '>:encoding(UTF-8)', "$dir/$file" or die "$dir/$file: $!";
	print $out_file "$code\n";
	close $out_file;
	return $code;
}

# Run the code of the panel that is open, and check that its output comes to have this.
sub runs
{
	my ($page, $language, $file, $name, $token, $make, @expected) = @_;
	my $code = save($page, $language, $file);
	local $ENV{TOKEN} = $token // '';
	my ($in, $out, $err) = ('', '', '');
	my $process = IPC::Run::start([ @{ $run{$language} }, "$dir/$file" ], '<', \$in, '>', \$out, '2>', \$err);
	my $seen = eval {
		foreach my $expected (@expected)
		{
			wait_for(sub { $process->pump_nb if $process->pumpable; $make->() if !ref $expected; return $out =~ (ref $expected ? $expected : qr/\Q$expected/) || !$process->pumpable }, $name);
			return 0 if $out !~ (ref $expected ? $expected : qr/\Q$expected/);
		}
		1;
	};
	$process->kill_kill;
	$seen &&= $out !~ /hidden/;
	ok($seen, "$language: $name") or diag("$code\n--\n$out\n--\n$err");
	return;
}

my %file = (javascript => 'code.mjs', curl => 'code.sh', python => 'code.py');
foreach my $signed_in (0, 1)
{
	my $token = $signed_in ? notifyd_token({ role => 'member', sub => 'anna', exp => time + 6000 }) : undef;
	my $page = NotifydTest::Page->new($node, q{#channel=it's&filter=quantity%3Dgt.2&columns=id,%22a,b%22});
	$page->is_live;
	if ($signed_in)
	{
		$page->evaluate(q{document.getElementById('identity').click()});
		$page->fill(token => $token);
		$page->press('Use this token');
		$page->wait_for(q{document.getElementById('identity').textContent.startsWith('member')}, 'signed in');
		sql(q{ALTER SYSTEM SET pg_notifyd.anonymous_role = ''});
		$node->reload;
	}
	$page->wait_for(q{document.querySelectorAll('tbody tr').length > 0}, 'the rows');
	foreach my $language ('curl', 'python', 'javascript')
	{
		sql(q{DELETE FROM "it's" WHERE id > 1});
		runs($page, $language, $file{$language}, 'the rows, and a change' . ($signed_in ? ', with a token' : ''), $token,
			sub { sql(q{INSERT INTO "it's" VALUES (2, 'hidden', 1), (3, 'new', 9) ON CONFLICT (id) DO UPDATE SET quantity = "it's".quantity + 1}) }, qr/"first"/, '"new"');
	}
	if ($signed_in)
	{
		# A program that is never let in ends, and says why.
		local $ENV{TOKEN} = notifyd_token({ role => 'member', sub => 'anna' }, 'another secret of thirty-two bytes');
		my %says = (
			curl => qr/\A\{"code":4401,"message":"JWT signature does not match any key"\}\s*\z/,
			python => qr/\AJWT signature does not match any key\n\z/,
			javascript => qr/^closed JWT signature does not match any key$/m);
		foreach my $language ('curl', 'python', 'javascript')
		{
			my $code = save($page, $language, $file{$language});
			my $out = '';
			my $ended = eval { IPC::Run::run([ @{ $run{$language} }, "$dir/$file{$language}" ], '<', \'', '>&', \$out, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)); 1 };
			ok($ended, "$language: with a token that is refused, the program ends");
			like($out, $says{$language}, "$language: and says why");
		}
		next;
	}
	$page->press('Close');
	$page->fill(channel => 'news');
	$page->press('Open');
	$page->has('no rows; rows and messages appear as they come', 'a channel for messages');
	sql(q{SELECT notify_send('news', '"hello"')});
	$page->has('hello', 'a message');
	runs($page, $_, $file{$_}, 'messages', undef, sub { sql(q{SELECT notify_send('news', '{"a": "it''s new"}')}) }, q{it's new}) for 'curl', 'python', 'javascript';

	$page->go(q{#channel=it's&filter=quantty%3Dgt.2});
	$page->has('column "quantty" does not exist', 'a filter with a wrong name');
	save($page, 'javascript', 'code.mjs');
	IPC::Run::run([ @{ $run{javascript} }, "$dir/code.mjs" ], '<', \'', '>', \my $out, '2>', \my $err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	is($err, qq{open \ncolumn "quantty" does not exist\nclosed \n}, 'javascript: the program says what is wrong, and ends');
}

done_testing();
