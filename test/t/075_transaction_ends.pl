# A transaction with events ends in any way, at any step: it leaves no ids in flight, sends nothing,
# and later events are sent.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('ends');
$node->safe_psql(
	'postgres', q{
	CREATE TABLE a (id serial PRIMARY KEY, v text, other integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO a (v, other) VALUES ('first', 0);
	GRANT SELECT ON a TO guest;
	SELECT notify_watch('a');
	CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(300); RETURN NULL; END $$;
	CREATE TABLE slow (id integer);
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
});
my $client = notifyd_client($node);
$client->subscribe('a');

# The next event of the client is the one of this change: no earlier one came, and
# nothing holds it back.
sub all_is_well
{
	my ($what) = @_;
	$node->safe_psql('postgres', "INSERT INTO a (v) VALUES ('after $what')");
	is($client->next_event->{new}{v}, "after $what", "$what: the next event is the one after it");
	is($node->safe_psql('postgres', q{SELECT in_flight FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'}),
		'0', "$what: nothing is in flight");
	return;
}

sub backend_waits
{
	my ($name, $for) = @_;
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$name' AND $for")
	  or die "$name does not come to wait";
	return;
}

# How a transaction is stopped, from within or from outside, and where that is possible: PostgreSQL
# has no statement_timeout at COMMIT.
my @stops = (
	{ name => 'statement_timeout', set => "SET statement_timeout = '300ms'", where => [qw(statement)] },
	{ name => 'lock_timeout', set => "SET lock_timeout = '300ms'", where => [qw(log)] },
	{ name => 'cancel', function => 'pg_cancel_backend', where => [qw(statement trigger log)] },
	{ name => 'terminate', function => 'pg_terminate_backend', where => [qw(statement trigger log)] });

# Where it waits, having captured events: while a statement runs; at COMMIT, in a deferred trigger;
# while the log is written, when a small transaction has its ids already.
my %places = (
	statement => { sql => 'SELECT pg_sleep(300)', wait => q{wait_event = 'PgSleep'} },
	trigger => { sql => 'INSERT INTO slow VALUES (1); COMMIT', wait => q{wait_event = 'PgSleep'} },
	log => { sql => 'COMMIT', wait => q{wait_event_type = 'Lock'} });

sub stop_transaction
{
	my ($stop, $where, $rows) = @_;
	my $place = $places{$where};
	my $what = "$stop->{name}, $where, $rows rows";
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $holder;

	if ($where eq 'log')
	{
		my $logs = join ', ', map { "notifyd.log_$_" } 0 .. 7;
		$holder = $node->background_psql('postgres');
		$holder->query_safe("BEGIN; LOCK TABLE $logs IN EXCLUSIVE MODE; SELECT 1");
	}

	# Wait for sessions that end by themselves, and let those run that are terminated.
	my ($before, $after) = $stop->{set} ? ('', '\echo now') : ('\echo now', '');
	$session->query_until(
		qr/now/, "
		SET application_name = 'victim';
		" . ($stop->{set} // '') . ";
		$before
		BEGIN;
		INSERT INTO a (v) SELECT 'lost' FROM generate_series(1, $rows);
		$place->{sql};
		$after
	");
	if ($stop->{function})
	{
		backend_waits('victim', $place->{wait});
		$node->safe_psql('postgres', "SELECT $stop->{function}(pid) FROM pg_stat_activity WHERE application_name = 'victim'");
	}

	# An error ends a transaction in COMMIT; after one in a statement it is still there, and
	# aborted.
	$node->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'victim' AND state IN ('active', 'idle in transaction')})
	  or die "$what: it goes on";
	$holder->quit if $holder;
	all_is_well($what);
	eval { $session->quit };
	return;
}

for my $stop (@stops)
{
	for my $where (@{ $stop->{where} })
	{
		stop_transaction($stop, $where, $_) for 1, 300;
	}
}

# Idle with events
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(
		qr/begun/, q{
		SET application_name = 'victim';
		SET idle_in_transaction_session_timeout = '200ms';
		BEGIN;
		INSERT INTO a (v) VALUES ('lost');
		\echo begun
	});
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'victim'})
	  or die 'it stays';
	eval { $session->quit };
	all_is_well('idle_in_transaction_session_timeout');
}

# A client that goes away in the middle
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe(q{SET application_name = 'victim'; BEGIN; INSERT INTO a (v) VALUES ('lost'); SELECT 1});
	$session->{run}->kill_kill;
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'victim'})
	  or die 'it stays';
	all_is_well('a client that goes away');
}

# What COMMIT itself refuses
$node->psql('postgres', q{BEGIN; INSERT INTO a (v, other) VALUES ('lost', 0), ('lost', 1); COMMIT});
all_is_well('a deferred constraint');
{
	my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
	$_->query_safe(q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM a}) for @sessions;
	$sessions[$_]->query_safe("INSERT INTO a (v) VALUES ('serializable $_'); SELECT 1") for 0 .. 1;
	$sessions[$_]->query('COMMIT') for 0 .. 1;
	eval { $_->quit } for @sessions;
	is($client->next_event->{new}{v}, 'serializable 0', 'the one of two that is committed');
	all_is_well('a serialization failure');
}
$node->psql('postgres', q{BEGIN; INSERT INTO a (v) VALUES ('lost'); SELECT 1 / 0; COMMIT});
all_is_well('an error');

$client->close;
$node->stop;
done_testing();
