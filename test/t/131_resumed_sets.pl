# Clients of tables with row security that come back: without a reset, unless other policies apply to them, or
# the policies read other values, than when they left; also after restarts of the feed and the server.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => ['reader'], conf => "pg_notifyd.idle_timeout = 1\n");

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE ROLE staff;
	CREATE TABLE members (u text, tenant int);
	INSERT INTO members VALUES ('1', 10), ('2', 20);
	CREATE FUNCTION may_see(tenant int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN tenant > 0; END';
});
for my $table (qw(owned shared checked open))
{
	sql(qq{CREATE TABLE $table (id int PRIMARY KEY, tenant int, owner text)}, "GRANT SELECT ON $table, members TO reader",
		"SELECT notify_watch('$table')", "SELECT notify_grant('$table', 'reader')");
	sql("ALTER TABLE $table ENABLE ROW LEVEL SECURITY") if $table ne 'open';
}
sql(q{CREATE POLICY p ON owned FOR SELECT TO reader USING (owner = (SELECT notify_claims() ->> 'sub'))},
	q{CREATE POLICY p ON shared FOR SELECT TO reader USING (tenant IN (SELECT tenant FROM members WHERE u = notify_claims() ->> 'sub'))},
	q{CREATE POLICY p ON checked FOR SELECT TO reader USING (may_see(tenant))});

my $id = 0;

sub token { my ($sub, %claims) = @_; return notifyd_token({ role => 'reader', sub => $sub, exp => time + 6000, %claims }); }

sub user
{
	my ($token, $table, %params) = @_;
	my $client = notifyd_client($node, headers => { Authorization => "Bearer $token" });
	$client->subscribe($table, %params);
	return $client;
}

# What a client gets up to a message to all, and the position there.
sub up_to_now
{
	my ($client, $table) = @_;
	my @got;
	$id++;
	sql("SELECT notify_send('$table', '$id')");
	while (1)
	{
		my $message = $client->next_message;
		if (exists $message->{reason})
		{
			# This one is about raw notifications while there was no feed.
			next if $message->{reason} eq 'notifications were lost';
			like($message->{reason}, qr/may see/, 'the reset says why');
			push @got, 'reset';
		}
		elsif ($message->{op} eq 'MESSAGE')
		{
			return (join(' ', @got), $message->{position}) if $message->{payload} == $id;
		}
		else
		{
			push @got, substr($message->{op}, 0, 1);
		}
	}
}

# A client leaves; something happens; it comes back.
sub comes_back
{
	my ($name, $table, $expected, $do, %options) = @_;
	my %params = $options{filter} ? (filter => $options{filter}) : ();
	my $token = $options{token} // token('1');
	my $client = user($token, $table, %params);
	my $since = $client->ping->{position};
	(undef, $since) = up_to_now($client, $table) if !$options{filter};
	$client->close;
	$do->();
	$client = user($options{renewed} // $token, $table, since => $since, %params);
	my ($got) = $options{filter} ? rest($client) : up_to_now($client, $table);
	is($got, $expected, "$table: $name");
	$client->close;
}

# A filtered subscription gets no messages: it is complete at the position of an event of another channel.
sub rest
{
	my ($client) = @_;
	my ($id) = sql('SELECT notify_send($$owned$$, $$0$$)') =~ /(\d+)$/;
	wait_for(sub { my ($at) = $client->ping->{position} =~ /-(\d+)$/; return $at >= $id }, 'everything');
	return join ' ', map { $_->{method} eq 'reset' ? 'reset' : substr($_->{params}{op}, 0, 1) }
	  grep { ($_->{method} // '') =~ /^(reset|event)$/ } $client->received;
}

sub inserted
{
	my ($table) = @_;
	$id++;
	return sub { sql("INSERT INTO $table VALUES ($id, 10, '1'), (-$id, 20, '2')"); };
}

# The feed ends without subscribers, and the next subscriber starts another one.
sub feed_restarts
{
	wait_for(sub { return sql(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE '%feed%'}) eq 't' }, 'the end of the feed');
}

sub server_restarts { my ($mode) = @_; $node->stop($mode); $node->start; wait_healthy($node); }

my %rows = (owned => 'I', shared => 'I', checked => 'I I', open => 'I I');

for my $table (qw(owned shared checked open))
{
	my $insert = inserted($table);
	comes_back('nothing has changed', $table, $rows{$table}, $insert);
	comes_back('another token of the same subject', $table, '', sub { }, renewed => token('1', iat => time - 1, jti => 'x'));
	comes_back('the feed has restarted', $table, '', \&feed_restarts);
	comes_back('the feed has restarted, with a filter', $table, '', \&feed_restarts, filter => 'tenant=gt.5') if $table eq 'shared';
}
for my $mode ('fast', 'immediate')
{
	my %since;
	my %client = map { $_ => user(token('1'), $_) } keys %rows;
	$since{$_} = (up_to_now($client{$_}, $_))[1] for keys %rows;
	$_->close for values %client;
	server_restarts($mode);
	for my $table (sort keys %rows)
	{
		my $back = user(token('1'), $table, since => $since{$table});
		is((up_to_now($back, $table))[0], '', "$table: the server has restarted, $mode");
		$back->close;
	}
}

# Changes. What was changed back is no change.
sub changed { my @statements = @_; return sub { sql(@statements) }; }
comes_back('a policy was added', 'owned', 'reset', changed('CREATE POLICY more ON owned TO reader USING (tenant = 10)'));
comes_back('a policy was dropped', 'owned', 'reset', changed('DROP POLICY more ON owned'));
comes_back('a policy was altered, with a filter', 'owned', 'reset', changed('ALTER POLICY p ON owned USING (true)'), filter => 'tenant=gt.5');
comes_back('and back', 'owned', 'reset', changed(q{ALTER POLICY p ON owned USING (owner = (SELECT notify_claims() ->> 'sub'))}));
comes_back('a policy for another role', 'owned', '', changed('CREATE POLICY staff ON owned TO staff USING (true)'));
comes_back('the role became a member', 'owned', 'reset', changed('GRANT staff TO reader'));
comes_back('the role was a member', 'owned', 'reset', changed('REVOKE staff FROM reader'));
comes_back('a policy was created and dropped', 'owned', '',
	changed('CREATE POLICY twice ON owned TO reader USING (true)', 'DROP POLICY twice ON owned', 'DROP POLICY staff ON owned'));
comes_back('another membership', 'shared', '', changed(q{UPDATE members SET tenant = tenant + 1 WHERE u = '2'}));
comes_back('a membership was removed and added', 'shared', '',
	changed(q{DELETE FROM members WHERE u = '1'}, q{INSERT INTO members VALUES ('1', 10)}));

# Changes with the feed that was there, and with the next one
for my $restart (0, 1)
{
	my $change = sub { my @statements = @_; return sub { sql(@statements); feed_restarts() if $restart; }; };
	my $how = $restart ? ', and the feed has restarted' : '';

	comes_back("row security was switched off$how", 'owned', 'reset', $change->('ALTER TABLE owned DISABLE ROW LEVEL SECURITY'));
	comes_back("row security was switched on$how", 'owned', 'reset', $change->('ALTER TABLE owned ENABLE ROW LEVEL SECURITY'));
	comes_back("the role was exempted$how", 'owned', 'reset', $change->('ALTER ROLE reader BYPASSRLS'));
	comes_back("the role was not exempted any more$how", 'owned', 'reset', $change->('ALTER ROLE reader NOBYPASSRLS'));
	comes_back("a membership was added$how", 'shared', 'reset', $change->(q{INSERT INTO members VALUES ('1', 30)}));
	comes_back("a membership was removed, with a filter$how", 'shared', 'reset', $change->(q{DELETE FROM members WHERE tenant = 30}), filter => 'tenant=gt.5');
	comes_back("a function of the row$how", 'checked', 'reset',
		$change->("CREATE OR REPLACE FUNCTION may_see(tenant int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN tenant > $restart + 1; END'"));
	comes_back("row security of an open table$how", 'open', 'reset', $change->('ALTER TABLE open ENABLE ROW LEVEL SECURITY'));
	comes_back("no more row security$how", 'open', 'reset', $change->('ALTER TABLE open DISABLE ROW LEVEL SECURITY'));
}

# Tokens of one subject with other claims
sql(q{ALTER POLICY p ON owned USING (tenant = (SELECT (notify_claims() ->> 'org')::int))});
my ($ten, $twenty) = (token('1', org => 10), token('1', org => 20));
comes_back('with other claims', 'owned', 'reset', sub { }, token => $ten, renewed => $twenty);
comes_back('with other claims, back again', 'owned', 'reset', sub { }, token => $twenty, renewed => $ten);
my $first = user($ten, 'owned');
my $second = user($twenty, 'owned');
my (undef, $since) = up_to_now($first, 'owned');
$first->close;
$first = user($ten, 'owned', since => $since);
is((up_to_now($first, 'owned'))[0], 'reset', 'it is unknown who comes back if two have other claims');
$first->close;
$second->close;

# A client that is there while the policy changes and the feed restarts
my $present = user(token('5'), 'shared');
is((up_to_now($present, 'shared'))[0], '', 'a client');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE '%feed%'});
is((up_to_now($present, 'shared'))[0], '', 'goes on with the next feed');
sql('BEGIN', q{INSERT INTO members VALUES ('5', 10)},
	q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE '%feed%'}, 'COMMIT');
is((up_to_now($present, 'shared'))[0], 'reset', 'and gets a reset if its rows have changed');

# Rows for clients that do not come back are removed with the log.
my $rows = q{SELECT count(*) FROM notifyd.applied_policies};
cmp_ok(sql($rows), '>', 3, 'several identities are known');
$node->append_conf('postgresql.conf', 'pg_notifyd.retention = 1');
$node->reload;
wait_for(sub { inserted('shared')->(); return sql($rows) == 1 }, 'the rows of those that are away are removed');
is(sql(q{SELECT channel FROM notifyd.applied_policies}), 'shared', 'not that of the one that is there');
$present->close;
done_testing();
