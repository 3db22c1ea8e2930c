# A database's own settings, and rolled-back commands that need the database alone, do not stop its
# feed.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main');
my $database = 'shop';

sub sql
{
	my ($sql, $in) = @_;
	return $node->safe_psql($in // 'postgres', $sql);
}

sub feed_pid
{
	return sql("SELECT coalesce(max(pid), 0) FROM pg_stat_activity
		WHERE backend_type = 'pg_notifyd feed' AND datname = '$database'");
}

my $next_id = 1;

# A change of the database reaches a client.
sub works
{
	my $what = shift;
	my $id = $next_id++;
	my $client;

	# A feed that is just leaving may let a client down once.
	wait_for(sub { eval { $client = notifyd_client($node, database => $database); $client->subscribe('t'); 1 } },
		'a subscription');
	sql("INSERT INTO t VALUES ($id)", $database);
	is($client->next_event->{key}{id}, $id, $what);
	$client->close;
	return;
}

# Replace the database's feed; the new one connects with the present settings.
sub restart_feed
{
	my $old = feed_pid();
	sql("SELECT pg_terminate_backend($old)");
	wait_for(sub { my $new = feed_pid(); $new != 0 && $new != $old }, 'another feed');
	return;
}

sql('CREATE ROLE owner LOGIN');
sql("CREATE DATABASE $database OWNER owner ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
sql(q{
	CREATE EXTENSION pg_notifyd;
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO guest;
	SELECT notify_watch('t');
}, $database);
works('it works');

# Settings that the owner may set, each of which would end or change a process that takes it.
foreach my $settings (
	['session_authorization = owner'],
	[ 'role = owner', "client_encoding = 'SJIS'" ],
	[
		"search_path = 'nowhere'", 'default_transaction_read_only = on',
		"default_transaction_isolation = 'serializable'", 'default_transaction_deferrable = on',
		'lock_timeout = 1', 'statement_timeout = 1', 'idle_in_transaction_session_timeout = 1',
		'row_security = off', 'exit_on_error = on'
	])
{
	my $what = join ', ', map { /^(\w+)/ } @$settings;
	my $offset = -s $node->logfile;

	sql("SET ROLE owner; ALTER DATABASE $database SET $_") foreach @$settings;
	restart_feed();
	sql("ALTER DATABASE $database RESET ALL");
	works("a feed that starts with another $what works");
	my @ends = slurp_file($node->logfile, $offset) =~ /(background worker "pg_notifyd feed[^\n]* exited with exit code 1)/g;
	cmp_ok(scalar @ends, '<=', 1, 'and no other ended before it');
}

# A hold ends with the savepoint in which the command was.
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my @sequence = (
		[ "DROP DATABASE $database", 'DROP DATABASE that fails' ],
		[ "ALTER DATABASE $database SET TABLESPACE pg_default", 'SET TABLESPACE that fails' ],
		[ "ALTER DATABASE $database RENAME TO store", 'RENAME' ],
		[ "DO \$\$BEGIN EXECUTE 'DROP DATABASE $database'; EXCEPTION WHEN OTHERS THEN NULL; END\$\$; SELECT 1/0",
			'DROP DATABASE in an exception block' ]);

	foreach my $case (@sequence)
	{
		my ($command, $what) = @$case;

		$session->query("BEGIN; SAVEPOINT s");
		$session->query($_) foreach split /; (?=SELECT)/, $command;
		$session->query("ROLLBACK TO s");
		works("$what ends its hold on the database with its savepoint");
		is($session->query('SELECT pg_current_xact_id_if_assigned() IS NULL OR true'), 't', 'the transaction is still open');
		$session->query('ROLLBACK');
	}

	# The exception block alone, without an end of the savepoint around it.
	$session->query('BEGIN');
	$session->query($sequence[3][0] =~ s/; SELECT.*//r);
	works('so does an exception block by itself');
	$session->query('ROLLBACK');

	# A hold of the savepoint's outside stays with its transaction.
	$session->query("BEGIN; ALTER DATABASE $database RENAME TO store");
	wait_for(sub { feed_pid() == 0 }, 'the feed to leave');
	$session->query("SAVEPOINT s; ALTER DATABASE store RENAME TO store2; ROLLBACK TO s");
	is(sql("SELECT state FROM notifyd.stats WHERE name = '$database'"), 'held', 'an outer hold is kept');
	$session->query('ROLLBACK');
	works('until its transaction ends');

	# One that was made in a savepoint that is released belongs to the transaction.
	$session->query("BEGIN; SAVEPOINT s; ALTER DATABASE $database RENAME TO store; RELEASE s");
	wait_for(sub { feed_pid() == 0 }, 'the feed to leave');
	is(sql("SELECT state FROM notifyd.stats WHERE name = '$database'"), 'held', 'a released savepoint keeps its hold');
	$session->query('ROLLBACK');
	works('and the end of the transaction ends it');
	$session->quit;
}

$node->stop;
done_testing();
