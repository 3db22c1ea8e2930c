# Live tables behind a proxy that cuts, stalls and half-closes connections, while transactions are written, tokens expire and the
# server restarts. The same with faults planted in the library, each of which must be noticed.
use strict;
use warnings;

use Mojo::File qw(curfile path);
use NotifydTest;
use NotifydTest::Node;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = curfile->dirname->dirname->dirname;
my $source = $top->child('client/pg_notifyd.js')->slurp;
my $node_command = [ node_command() ];
plan skip_all => 'no Node from version 20 on, and npm cannot fetch one' if !@$node_command;
my $seconds = $ENV{SECONDS} // 15;
my $seed = $ENV{SEED} // time;

# What is planted: a name, and pairs of what stands in the library and what takes its place.
my %planted = (
	'resumes from where it began' => [ 'since: stream.position }' => 'since: stream.begin ??= stream.position }' ],
	'begins anew after a reconnection' => [ 'since: stream.position }' => 'since: undefined }' ],
	'ignores resets' => [ "method === 'position'" => "method === 'reset') return;\n\t\tif (method === 'position'" ],
	'stores a position before processing' => [
		"guard(stream[method], params);\n\t\tstream.position = params.position ?? stream.position;" =>
		  "stream.position = params.position ?? stream.position;\n\t\tguard(stream[method], params);"
	],
	'shows halves of transactions' => [ 'if (event.seq === event.of)' => 'if (true)' ],
	'forgets the unfinished transaction' => [ "stream.started?.();" => "stream.started?.();\n\t\tstream.take?.();" ],
	'leaves the row with the old key' => [ 'old && names.every(name => name in old) ? old : key' => 'key' ],
	'ignores TRUNCATE' => [ "\t\t\tpart.rows.forEach((_, each) => forget(part, each));\n" => '' ],
	'never refills' => [ 'part.border && part.rows.size < limit' => 'false' ],
);

sub run_faults
{
	my ($library, $name) = @_;
	my $node = notifyd_node(
		$name =~ s/\W/_/gr,
		roles => ['web'],
		conf => "fsync = off\n");
	$node->safe_psql(
		'postgres', q{
		CREATE TABLE orders (id int PRIMARY KEY, name text, quantity int);
		CREATE TABLE items (id int PRIMARY KEY, n int);
		CREATE SEQUENCE steps;
		GRANT SELECT ON orders, items TO web;
		SELECT notify_watch('orders'), notify_watch('items');
	});
	local %ENV = (
		%ENV,
		GATEWAY_PORT => notifyd_port($node),
		PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'postgres', PGDATABASE => 'postgres',
		PGDATA => $node->data_dir, LOGFILE => $node->logfile,
		SECRET => 'a secret of at least thirty-two bytes');
	note("SEED=$seed");
	my @results = script_results($node_command, $top->child('test/client/faults.mjs'), $library, $seconds, $seed);
	$node->stop('immediate');
	return @results;
}

if (!$ENV{PLANTED})
{
	ok($_->{good}, $_->{name}) foreach run_faults($top->child('client/client.js'), 'library');
	done_testing();
	exit;
}

# PLANTED=1: all of them, or those whose name matches.
foreach my $fault (sort grep { $ENV{PLANTED} eq '1' || /$ENV{PLANTED}/ } keys %planted)
{
	my ($old, $new) = @{ $planted{$fault} };
	my $library = path(PostgreSQL::Test::Utils::tempdir())->child('planted.mjs');
	my $count = () = $source =~ /\Q$old\E/g;
	is($count, 1, "$fault: can be planted");
	$library->spurt($source =~ s/\Q$old\E/$new/r);
	local $ENV{PG_TEST_TIMEOUT_DEFAULT} = 20;
	my @noticed = map { $_->{name} } grep { !$_->{good} } run_faults($library, $fault);
	ok(@noticed, "$fault: is noticed");
	diag("$fault: $_") foreach @noticed;
}
done_testing();
