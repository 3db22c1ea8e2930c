# A channel name has up to 63 bytes in UTF-8, in a database of any encoding.

use strict;
use warnings;
use utf8;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('names');
my $longest = 'é' x 31;    # 62 bytes, and 31 in LATIN1
my %sql = (fits => q{repeat(U&'\00e9', 31)}, more => q{repeat(U&'\00e9', 32)});

$node->safe_psql('postgres', q{CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
$node->safe_psql('latin1', qq{
	CREATE EXTENSION pg_notifyd;
	CREATE TABLE a (id int PRIMARY KEY);
	GRANT SELECT ON a TO guest;
	SELECT notify_watch('a', channel => $sql{fits});
	SELECT notify_grant($sql{fits}, 'guest');
	DO \$\$ BEGIN EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY)', $sql{more}); END \$\$;
});
wait_healthy($node, 'latin1');

my $client = notifyd_client($node, database => 'latin1');
$client->subscribe($longest);
$node->safe_psql('latin1', "INSERT INTO a VALUES (1); SELECT notify_send($sql{fits}, '2')");
is($client->next_event->{key}{id}, 1, 'the longest name is a channel of a table');
is($client->next_event->{payload}, 2, 'and of messages');

foreach my $call (
	"notify_watch('a', channel => $sql{more})", "notify_watch(quote_ident($sql{more})::regclass)",
	"notify_send($sql{more}, '1')", "notify_grant($sql{more}, 'guest')")
{
	my ($status, $out, $err) = $node->psql('latin1', "SELECT $call");
	isnt($status, 0, "$call is refused");
	like($err, qr/DETAIL:  A channel's name must not be longer than 63 bytes in UTF-8, and this one has 64\./, 'with the reason');
}
is($client->call('subscribe', { channel => 'é' x 32 })->{error}{code}, -32602, 'as a client is');

done_testing();
