# A lock that another session holds on a composite type delays no client: neither when the feed reads a
# value of the type, nor when a client filters by it.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', conf => "pg_notifyd.anonymous_role = 'visitor'\npg_notifyd.authenticator_role = 'authenticator'\n");

$node->safe_psql('postgres', q{
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE visitor;
	GRANT visitor TO authenticator;
	CREATE TYPE pair AS (a int, b text);
	CREATE TYPE nest AS (p pair[]);
	CREATE TABLE pairs (id int PRIMARY KEY, c pair, n nest);
	CREATE TABLE others (id int PRIMARY KEY);
	CREATE TABLE failing (id int PRIMARY KEY, name text);
	GRANT SELECT ON pairs, others, failing TO visitor;
	SELECT notify_watch('pairs'), notify_watch('others'), notify_watch('failing');
});

my $other = notifyd_client($node);
$other->subscribe('others');
my $since = $other->ping->{position};
$node->safe_psql('postgres', q{INSERT INTO pairs VALUES (1, '(1,x)', '("{""(1,x)""}")')});

my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; ALTER TYPE pair ADD ATTRIBUTE z int');
my @clients = map { notifyd_client($node) } 1 .. 2;
$clients[0]->subscribe('pairs', filter => 'c=is.null', since => $since);
$clients[1]->subscribe('pairs', filter => 'n=is.null', since => $since);
$node->safe_psql('postgres', 'INSERT INTO others VALUES (1)');
is($other->next_event->{key}{id}, 1, 'others get their events while the type is locked');
like($clients[$_]->next_message->{reason}, qr/cannot be read/, 'the event is withheld') for 0, 1;
$session->query_safe('ROLLBACK');
$session->quit;
$node->safe_psql('postgres', q{INSERT INTO pairs VALUES (2, NULL, NULL)});
is($clients[$_]->next_event->{key}{id}, 2, 'and later ones are judged') for 0, 1;

# The server's log has one line for what fails again and again.
foreach my $i (1 .. 5)
{
	my $client = notifyd_client($node);

	$client->subscribe('failing', filter => 'name=like.a\\');
	$node->safe_psql('postgres', "INSERT INTO failing VALUES ($i, 'ab')");
	like($client->next_message->{message}, qr/the filter of table "failing" raised an error \(SQLSTATE 22025\)/, 'a filter fails') if $i == 1;
	$client->next_message if $i > 1;
}
my @lines = grep { /the filter of table "failing" raised/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile);
is(scalar @lines, 1, 'one line in the log');

done_testing;
