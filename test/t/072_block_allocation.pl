# Concurrent writers share blocks at the end of the log. A row that does not fit into its reserved
# space goes to another block.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('room');
my $columns = join ', ', map { "c$_ integer" } 1 .. 600;
my $names = join ', ', map { "'c$_'" } 1 .. 600;
$node->safe_psql('postgres', qq{
	CREATE TABLE narrow (id serial PRIMARY KEY, v text);
	CREATE TABLE wide (id serial PRIMARY KEY, v text, $columns);
	GRANT SELECT ON narrow, wide TO guest;
	SELECT notify_watch('narrow', channel => 'both');
	SELECT notify_watch('wide', channel => 'both', cols => ARRAY['id', 'v', $names]);
	CREATE PROCEDURE write(n integer) LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR i IN 1 .. n LOOP
			INSERT INTO narrow (v) VALUES (repeat('v', 100));
			COMMIT;
		END LOOP;
	END \$\$;
	CREATE PROCEDURE mix(n integer) LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR i IN 1 .. n LOOP
			IF i % 2 = 0 THEN
				INSERT INTO wide (v) SELECT repeat('w', 9000) FROM generate_series(1, 1 + i % 3);
			ELSE
				INSERT INTO narrow (v) SELECT repeat('v', 1 + i * 37 % 4000) FROM generate_series(1, 1 + i % 7);
			END IF;
			COMMIT;
		END LOOP;
	END \$\$;
});

# Run the same in several sessions at once.
sub together
{
	my ($sessions, $sql) = @_;
	my @sessions = map { $node->background_psql('postgres') } 1 .. $sessions;
	$_->query_until(qr/began/, "\\echo began\n$sql;\n") for @sessions;
	for my $session (@sessions)
	{
		$session->query_safe('SELECT 1');
		$session->quit;
	}
	return;
}

sub rows_by_block
{
	return map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', q{
		SELECT (ctid::text::point)[0], count(*) FROM notifyd.log_0 GROUP BY 1 ORDER BY 1});
}

together(12, 'CALL write(250)');
my @blocks = rows_by_block();
my ($most) = sort { $b <=> $a } map { $_->[1] } @blocks;
my @filled = grep { $_->[1] >= $most - 1 } @blocks;
note scalar @blocks . " blocks, $most rows in one, " . @filled . ' of them full';
cmp_ok(scalar @filled, '>=', 0.9 * @blocks, 'writers at the same time fill blocks');
cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('notifyd.log_0') / current_setting('block_size')::integer}) - @blocks,
	'<=', 40, 'and few are made before they are needed');

# Somebody else takes the room, in blocks that were made ahead: rows of his own, which are no
# events.
$node->safe_psql('postgres', q{
	INSERT INTO notifyd.log_0 SELECT 0, 0, now(), 0, 0, 0, 0, 0, 0, 0, 'I', '', '', repeat('x', 6000) FROM generate_series(1, 60)});

my $live = notifyd_client($node);
my $begin = $live->subscribe('both')->{position};
together(6, 'CALL mix(60)');
my $count = $node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM narrow) + (SELECT count(*) FROM wide) - 12 * 250});
my @events = $live->next_events($count);
my %seen;
is(scalar(grep { !$seen{"$_->{table} $_->{key}{id}"}++ } @events), $count, 'rows of all sizes come, each once');
my @ids = map { $_->{id} } @events;
is("@ids", join(' ', sort { $a <=> $b } @ids), 'in the order of their ids');
cmp_ok((rows_by_block())[-1][0], '>', @blocks + 100, 'they are in many blocks');

for my $from (-1, map { $_ * 127 } 0 .. $count / 127 - 1)
{
	my $again = notifyd_client($node);
	$again->subscribe('both', since => $from < 0 ? $begin : $events[$from]{position});
	my @got = map { $_->{id} } $again->next_events($#ids - $from);
	is("@got", "@ids[$from + 1 .. $#ids]", "and again from event $from on");
	$again->close;
}

done_testing();
