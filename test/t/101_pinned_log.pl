# A session that locks the log's tables makes the log grow. The server's log names the session once,
# and the log shrinks when the lock is released.
use strict;
use warnings;

use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('pinned', conf => "pg_notifyd.retention_size = '8MB'\n");
$node->safe_psql('postgres', q{
	CREATE ROLE low LOGIN;
	CREATE TABLE a (id serial PRIMARY KEY, v text);
	SELECT notify_watch('a', old_values => false);
	CREATE VIEW log_size AS SELECT sum(pg_total_relation_size(format('notifyd.%s_%s', t, i)::regclass))::bigint AS bytes
		FROM generate_series(0, 7) AS i, unnest('{log,bulk}'::text[]) AS t;
});

# Write 24 MB of events, in transactions that are not large, and let the feed look at the log.
sub fill
{
	$node->safe_psql('postgres', q{
		DO $$ BEGIN
			FOR i IN 1 .. 400 LOOP
				INSERT INTO a (v) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 2000);
				COMMIT;
			END LOOP;
		END $$});
	return;
}

# nextval() of a table fails, and keeps its lock until the transaction ends.
my $low = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'low' ]);
my $pid = $low->query('SELECT pg_backend_pid()');
$low->query(q{BEGIN});
$low->query(q{
	DO $$
	DECLARE
		tables oid[] := (SELECT array_agg(oid) FROM pg_class WHERE relname ~ '^(log|bulk)_\d$');
		t oid;
	BEGIN
		FOREACH t IN ARRAY tables LOOP
			BEGIN
				PERFORM nextval(t::regclass);
			EXCEPTION WHEN OTHERS THEN
			END;
		END LOOP;
	END $$});
is($node->safe_psql('postgres',
		"SELECT count(*) FROM pg_locks WHERE pid = $pid AND mode = 'RowExclusiveLock' AND granted AND relation::regclass::text ~ 'log_'"),
	8, 'any role can lock the log');

my $from = -s $node->logfile;
fill();
my $said = qr/LOG:  process $pid prevents the event log from being truncated\n.*DETAIL:  The size of the log is \d+ MB, .*holds a lock on table "log_\d"/;
wait_for(sub { slurp_file($node->logfile, $from) =~ $said }, 'the report');
pass('the server log says who it is');
fill();
$low->query('ROLLBACK');
ok($node->poll_query_until('postgres', 'SELECT bytes < 12 * 1024 * 1024 FROM log_size'), 'and shrinks when that has ended');
my @said = slurp_file($node->logfile, $from) =~ /prevents the event log/g;
is(scalar @said, 1, 'it was said once');
$low->quit;

done_testing();
