# After a start every database with the extension is found quickly, however few worker slots there are,
# and the one that a client asks for comes first.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'time';

# Slots for the launcher, PostgreSQL's logical replication launcher, and two feeds.
my $node = notifyd_node('main', conf => "max_worker_processes = 4\n");
my @names = map { "d$_" } 1 .. 30;

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

sub health
{
	my $query = shift // '';
	my $res = http_get($node, "/healthz$query") // return '';
	return $res->code . ' ' . $res->body =~ s/\s+$//r;
}

sub log_since
{
	my $offset = shift;
	return slurp_file($node->logfile, $offset);
}

sql(q{CREATE EXTENSION pg_notifyd; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO guest; SELECT notify_watch('t')}, 'template1');
sql("CREATE DATABASE $_") foreach @names;

# All are looked at as fast as slots allow.
{
	$node->restart;
	my $offset = -s $node->logfile;
	my %answers;
	my $began = time;
	wait_for(
		sub {
			my $answer = health();
			push @{ $answers{order} }, $answer if $answer ne '' && (!$answers{order} || $answers{order}[-1] ne $answer);
			return sql(q{SELECT count(*) = 31 AND bool_and(state IN ('asleep', 'running')) FROM notifyd.stats WHERE kind = 'database'}) eq 't';
		},
		'all databases to be looked at');
	my $each = (time - $began) / 31;
	note sprintf('%.0f ms for each of 31 databases, two at a time', $each * 1000);
	cmp_ok($each, '<', 0.5, 'a look takes as long as a process does, not as long as a pause');
	wait_for(sub { push @{ $answers{order} }, health(); $answers{order}[-1] eq '200 ok' }, 'health');
	unlike(join("\n", @{ $answers{order} }), qr/^200.*\n503/s, 'health does not flip while databases are looked at');
	note join ', ', @{ $answers{order} };
	unlike(log_since($offset), qr/no free background worker slot/, 'the log has no errors about missing slots');
}

# A client of the last database is accepted as soon as that one is checked, before others.
{
	$node->restart;
	my $client = notifyd_client($node, database => $names[-1]);
	pass('a client that comes while databases are looked at is not refused');
	my $rest = sql(q{SELECT count(*) FROM notifyd.stats WHERE kind = 'database' AND state NOT IN ('asleep', 'running')});
	note "$rest others not looked at yet";
	$client->subscribe('t');
	sql('INSERT INTO t VALUES (1)', $names[-1]);
	is($client->next_event->{key}{id}, 1, 'and gets events');
	$client->close;
}

$node->stop;
done_testing();
