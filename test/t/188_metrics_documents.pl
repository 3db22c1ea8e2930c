# doc/metrics.md, the alerts and the dashboard know the metrics that there are, and no others.
use strict;
use warnings;

use IPC::Run;
use Mojo::JSON qw(decode_json);
use NotifydTest;
use NotifydTest::Metrics;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders', key => '{id}', cols => '{id}');
	SELECT notify_group('workers', '{orders}');
});
my $client = notifyd_client($node);
$client->subscribe('orders');
$node->safe_psql('postgres', 'INSERT INTO orders VALUES (1)');
$client->next_event;
$node->safe_psql('postgres', q{SELECT notify_take('workers')});
my $metrics = NotifydTest::Metrics->new($node);
$metrics->becomes(sub { $_[0] > 0 }, 'pg_notifyd_log_bytes', database => 'postgres');

my %there = map { $_->[0] => 1 } $metrics->samples;
my $doc = slurp_file("$ENV{TESTDIR}/doc/metrics.md");
my %told = map { $_ => 1 } $doc =~ /`(pg_notifyd_[a-z_]+)`(?=[^|\n]*\| (?:gauge|counter) )/g;
is(join("\n", sort keys %told), join("\n", sort keys %there), 'doc/metrics.md has a row for each metric');

sub unknown
{
	my ($text) = @_;
	my %unknown = map { $_ => 1 } grep { !$there{$_} } $text =~ /\b(pg_notifyd_[a-z_]+)(?=[\[{ )])/g;
	return join ' ', sort keys %unknown;
}

my $alerts = slurp_file("$ENV{TESTDIR}/doc/alerts.yml");
is(unknown(join "\n", $alerts =~ /expr:(.*?)\n\s+(?:for|labels):/gs), '', 'the alerts use them');
is(join("\n", sort map { /(PgNotifyd\w+)/g } $doc =~ /^\| (`PgNotifyd[^|]+)\|/mg),
	join("\n", sort $alerts =~ /alert: (\w+)/g), 'doc/metrics.md says what to do about each');

my $dashboard = decode_json(slurp_file("$ENV{TESTDIR}/doc/grafana/pg_notifyd.json"));
my @queries = map { $_->{expr} } map { @{ $_->{targets} // [] } } @{ $dashboard->{panels} };
cmp_ok(scalar @queries, '>', 30, 'the dashboard has queries');
is(unknown(join "\n", @queries), '', 'and they use the metrics');
my %shown = map { $_ => 1 } map { /\b(pg_notifyd_[a-z_]+)/g } @queries;
is(join(' ', grep { !$shown{$_} } sort keys %there),
	'pg_notifyd_acknowledgements_total pg_notifyd_certificate_expires_timestamp_seconds pg_notifyd_feed_links pg_notifyd_feed_sent_bytes_total pg_notifyd_gateway_accepted_total '
	  . 'pg_notifyd_gateway_events_received_total pg_notifyd_gateway_last_seen_seconds pg_notifyd_gateway_sandbox '
	  . 'pg_notifyd_gateway_subscriptions pg_notifyd_group_acknowledged_total pg_notifyd_group_behind_ids pg_notifyd_group_delayed '
	  . 'pg_notifyd_group_last_take_seconds pg_notifyd_group_lost_total pg_notifyd_group_pending pg_notifyd_group_redelivered_total '
	  . 'pg_notifyd_group_set_aside_total pg_notifyd_group_taken pg_notifyd_group_waiting pg_notifyd_launcher_last_seen_seconds pg_notifyd_negative_acknowledgements_total '
	  . 'pg_notifyd_notifications_sent_total pg_notifyd_openapi_requests_total pg_notifyd_releases_total pg_notifyd_takes_total pg_notifyd_up',
	'it shows all but these');

SKIP:
{
	skip 'promtool is not installed', 2 if !grep { -x "$_/promtool" } split /:/, $ENV{PATH};
	my $text = http_get($node, '/metrics')->body;
	my $said = '';
	ok(IPC::Run::run([qw(promtool check metrics)], '<', \$text, '>&', \$said), "promtool accepts the metrics $said");
	ok(IPC::Run::run([ qw(promtool test rules), "$ENV{TESTDIR}/test/alerts/alerts.yml" ], '>&', \$said), "each alert fires $said");
}

done_testing();
