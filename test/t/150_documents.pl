# doc/start.md and the documents of snapshots, calls, HTTP and rows, followed step by step: each block of settings, SQL, messages
# and commands, and what the documents say that comes back.
use strict;
use warnings;

use Mojo::JSON qw(decode_json encode_json);
use NotifydTest;
use NotifydTest::Document;
use PostgreSQL::Test::Utils;
use Test::More;

# Messages as JSON, without what differs each time: positions, ids of events and transactions, and times. Only whether a
# position is inside a snapshot stays.
sub messages
{
	return map { decode_json(s/"position":"[\d-]+(s?)"/"position":"P$1"/r =~ s/"(id|tx)":\d{3,}/"$1":0/gr =~ s/"at":"[^"]*"/"at":0/r) } @_;
}

# Compare the messages of a block, which may have several lines each, with what has come.
sub messages_are
{
	my ($block, $got, $what) = @_;
	is_deeply([ messages(map { encode_json($_) } @$got) ], [ messages(split /\n(?=\{)/, $block) ], $what);
	return;
}

my $node = notifyd_node('main', conf => block('doc/start.md', 'shared_preload_libraries'), extension => 0);
sub psql { my ($sql) = @_; return $node->safe_psql('shop', $sql); }

# doc/start.md, whose settings take the place of the node's own
$node->safe_psql('postgres', 'CREATE DATABASE shop');
psql(block('doc/start.md', 'CREATE TABLE'));
psql(block('doc/start.md', "SELECT notify_watch('orders');\n"));
wait_healthy($node, 'shop');
like(psql(block('doc/start.md', '-- Only some operations')), qr/^\d+\|orders\|large\|.*^database\|shop\|running\|/ms, 'doc/start.md: watches and statistics');

# Tokens
my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/make_keys", block('doc/authentication.md', "base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }\nopenssl"));
append_to_file("$dir/make_token", block('doc/authentication.md', "base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }\nnow"));
system_or_bail('sh', '-c', "cd $dir && sh make_keys && chmod 600 token_keys.json");
psql(block('doc/authentication.md', 'CREATE ROLE customer') =~ s{/etc/postgresql}{$dir}r);
chomp(my $token = `cd $dir && sh make_token 7 customer`);
$node->poll_query_until('shop', q{SELECT setting <> '' FROM pg_settings WHERE name = 'pg_notifyd.jwt_keys'});

# Snapshots, with and without a token
psql(block('doc/snapshots.md', 'INSERT INTO orders'));
my @clients = map { notifyd_client($node, database => 'shop', headers => $_) } {}, { Authorization => "Bearer $token" };
foreach my $client (@clients)
{
	$client->send_text(block('doc/snapshots.md', '{"id":2,"method":"subscribe"') =~ s/,"since".*?"(?=\})//r);
	$client->wait_for(sub { $client->received == 3 }, 'the rows');
	messages_are(block('doc/snapshots.md', '{"jsonrpc":"2.0","id":2,'), [ $client->received ], 'doc/snapshots.md: rows');
}
my ($update) = slurp_file('doc/snapshots.md') =~ /`(UPDATE orders [^`]*)`/;
psql($update);
$_->next_event for @clients;
messages_are(block('doc/snapshots.md', '{"jsonrpc":"2.0","method":"event"'), [ ($_->received)[-1] ], 'doc/snapshots.md: an event') for @clients;

# Calls
psql(block('doc/calls.md', 'CREATE FUNCTION place_order'));
my ($call, $result) = split /\n/, block('doc/calls.md', '{"id":1,"method":"call"');
my $client = notifyd_client($node, database => 'shop', headers => { Authorization => "Bearer $token" });
$client->send_text($call);
$client->wait_for(sub { $client->received }, 'the result');
messages_are($result, [ $client->received ], 'doc/calls.md: a call');

# Commands, and their output
local $ENV{TOKEN} = $token;

sub commands
{
	my ($document, $begin) = @_;
	my $port = notifyd_port($node);

	foreach my $line (split /^\$ /m, block($document, $begin))
	{
		my ($command, $output) = $line =~ /(.*)\n(.*)\n/s or next;
		my $got = qx{@{[ $command =~ s/7432/$port/r =~ s/^curl/curl -sS/r ]}};
		is($got, $output, "$document: $command");
	}
	return;
}
psql(block('doc/http.md', 'CREATE FUNCTION price'));
commands('doc/http.md', '$ curl');
psql(block('doc/rest.md', 'CREATE TABLE notes'));
commands('doc/rest.md', '$ curl');

done_testing();
