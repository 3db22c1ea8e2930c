# Consumer groups for clients: by HTTP and by WebSocket. Deliveries are shared, windows are kept, a client that is cut
# off gives back at once, and nobody who waits needs a worker.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
use Mojo::UserAgent;
use NotifydTest;
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main', roles => ['worker', 'nobody'], conf => <<"EOC");
pg_notifyd.gateways = 1
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE TABLE jobs (id int PRIMARY KEY, v text);
	GRANT SELECT ON jobs TO worker, guest;
	SELECT notify_watch('jobs'), notify_group('mailers', '{jobs}', lease => '5min', max_attempts => 2);
	SELECT notify_grant('mailers', 'worker', 'consume');
});

my $base = 'http://127.0.0.1:' . notifyd_port($node) . '/groups';
my $ua = Mojo::UserAgent->new(max_redirects => 0);
my %worker = notifyd_bearer('worker');
my %nobody = notifyd_bearer('nobody');

sub insert { sql("INSERT INTO jobs SELECT i, 'v' || i FROM generate_series($_[0], $_[1]) i"); return; }
sub row { return sql("SELECT $_[0] FROM notifyd.groups WHERE name = 'mailers'"); }
sub post { my ($path, $headers, @body) = @_; return $ua->post("$base/$path" => $headers => @body)->result; }
sub ids { return [map { $_->{id} } @{ $_[0] }]; }
sub keys_of { return join ',', map { $_->{event}{key}{id} } @{ $_[0] }; }

# ---------------- HTTP ----------------

insert(1, 5);
my $res = post('mailers/take?count=2', \%worker);
is($res->code, 200, 'take');
is($res->headers->content_type, 'application/json', 'JSON');
my $got = $res->json;
is(keys_of($got), '1,2', 'the first ones');
is_deeply([sort keys %{ $got->[0] }], [qw(attempt event id position)], 'what a delivery has');
is($got->[0]{attempt}, 1, 'first attempt');
is($got->[0]{event}{new}{v}, 'v1', 'the event is as for subscribers');
is(row('leased'), 2, 'they are leased');
is_deeply(post('mailers/ack', \%worker, json => { ids => ids($got) })->json, { acknowledged => 2 }, 'ack');
is_deeply(post('mailers/ack', \%worker, json => { ids => ids($got) })->json, { acknowledged => 0 }, 'once');
is(row(q{acknowledged || ' ' || leased}), '2 0', 'the group says so');

$got = post('mailers/take', \%worker)->json;
is(keys_of($got), '3', 'one without count');
is_deeply(post('mailers/nack', \%worker, json => { ids => ids($got), delay => '1 hour', error => 'no mail' })->json,
	{ returned => 1 }, 'nack');
is(row('delayed'), 1, 'delayed');
$got = post('mailers/take?count=10', \%worker)->json;
is(keys_of($got), '4,5', 'the others');
is_deeply(post('mailers/nack', \%worker, json => { ids => ids($got) })->json, { returned => 2 }, 'nack without delay');
$got = post('mailers/take?count=10', \%worker)->json;
is(join(',', map { $_->{attempt} } @$got), '2,2', 'second attempts');
post('mailers/ack', \%worker, json => { ids => ids($got) });
is_deeply(post('mailers/take', \%worker)->json, [], 'nothing is left');

# Refusals.
sub refused
{
	my ($what, $res, $code, $message) = @_;

	is($res->code, $code, $what);
	like($res->json->{message}, $message, "$what: why");
	return;
}

refused('unknown group', post('none/take', \%worker), 404, qr/consumer group "none" does not exist/);
refused('no privilege', post('mailers/take', \%nobody), 403, qr/permission denied for consumer group "mailers"/);
refused('no privilege to acknowledge', post('mailers/ack', \%nobody, json => { ids => [1] }), 403, qr/permission denied/);
refused('anonymous', post('mailers/take', {}), 401, qr/permission denied/);
refused('bad token', post('mailers/take', { Authorization => 'Bearer x.y.z' }), 401, qr/./);
refused('count', post('mailers/take?count=0', \%worker), 400, qr/count/);
refused('wait', post('mailers/take?wait=1000', \%worker), 400, qr/wait/);
refused('a parameter', post('mailers/take?cuont=10', \%worker), 400, qr/unknown parameter/);
refused('no ids', post('mailers/ack', \%worker, json => {}), 400, qr/ids/);
refused('ids', post('mailers/ack', \%worker, json => { ids => ['x'] }), 400, qr/bigint/);
refused('unknown parameter', post('mailers/ack', \%worker, json => { ids => [], delay => 1 }), 400, qr/delay/);
refused('delay', post('mailers/nack', \%worker, json => { ids => [], delay => 'soon' }), 400, qr/interval/);
is($ua->get("$base/mailers/take")->result->code, 405, 'GET is not allowed');

# Waiting: more clients than there can be workers, and each event goes to one of them.
my @waiting;
my @answers;
for my $i (1 .. 20)
{
	$waiting[$i] = $ua->post_p("$base/mailers/take?count=3&wait=30" => \%worker)->then(sub { push @answers, $_[0]->result->json; });
}
sub until_true
{
	my ($condition, $what) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	Mojo::IOLoop->one_tick until $condition->() || time > $end;
	ok($condition->(), $what);
	return;
}
my $timer = Mojo::IOLoop->recurring(0.05 => sub { });
my $queries = sql("SELECT sum(value::int) FROM notifyd.stats, jsonb_each_text(answers) WHERE key = 'take done'");

until_true(sub { sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'take from%' AND state = 'active'}) eq '0' },
	'no worker is busy with those that wait');
insert(11, 11);
until_true(sub { @answers == 1 }, 'one is answered');
is(keys_of($answers[0]), '11', 'with the event');
insert(12, 20);
until_true(sub { @answers >= 4 }, 'others are answered');
is(join(',', sort { $a <=> $b } map { $_->{event}{key}{id} } map { @$_ } @answers), join(',', 11 .. 20), 'each event once');
post('mailers/ack', \%worker, json => { ids => ids([map { @$_ } @answers]) });
$ua = Mojo::UserAgent->new(max_redirects => 0);
@waiting = ();
my $began = time;
is_deeply(post('mailers/take?wait=1', \%worker)->json, [], 'nothing comes');
cmp_ok(time - $began, '>=', 1, 'after the time to wait');

# A client that leaves while it waits gets nothing.
insert(21, 22);
$got = post('mailers/take?count=10&wait=5', \%worker)->json;
is(keys_of($got), '21,22', 'those that have left have nothing');
post('mailers/ack', \%worker, json => { ids => ids($got) });

# ---------------- WebSocket ----------------

sub client { my (%claims) = @_; return notifyd_client($node, headers => { notifyd_bearer('worker', $claims{sub} // 'a') }); }
sub deliveries { return map { $_->{params} } grep { ($_->{method} // '') eq 'delivery' } $_[0]->received; }
sub jobs { return join ',', map { $_->{event}{key}{id} } deliveries($_[0]); }
sub ack { my ($client, @ids) = @_; return $client->call('ack', { group => 'mailers', ids => \@ids })->{result}{acknowledged}; }

my ($one, $two) = (client(), client(sub => 'b'));
is_deeply($one->call('consume', { group => 'mailers', window => 2 })->{result}, { group => 'mailers' }, 'consume');
is_deeply($two->call('consume', { group => 'mailers', window => 3 })->{result}, { group => 'mailers' }, 'another one');
insert(101, 108);
wait_for(sub { deliveries($one) == 2 && deliveries($two) == 3 }, 'both windows are full');
is(join(',', sort map { $_->{event}{key}{id} } deliveries($one), deliveries($two)), '101,102,103,104,105', 'they share the events');
is_deeply([sort keys %{ (deliveries($one))[0] }], [qw(attempt event group id position)], 'what a delivery has');
$one->ping;
$two->ping;
is(deliveries($one) + deliveries($two), 5, 'not more than the windows');
is(row('leased'), 5, 'the group says so');
is(ack($one, (deliveries($one))[0]{id}), 1, 'ack');
wait_for(sub { deliveries($one) == 3 }, 'makes room for one more');
$one->ping;
is(jobs($one) =~ /,106$/ && deliveries($one), 3, 'for one');
is(ack($one, (deliveries($one))[0]{id}), 0, 'an acknowledgement counts once');

# Give back.
my ($id) = (deliveries($two))[0]{id};
my $job = (deliveries($two))[0]{event}{key}{id};
is_deeply($two->call('nack', { group => 'mailers', ids => [$id], delay => 3600, error => 'later' })->{result}, { returned => 1 }, 'nack');
wait_for(sub { deliveries($two) == 4 }, 'makes room, too');
is(row('delayed'), 2, 'delayed, with the one of before');

# A connection that is cut off gives back at once, and this is a failed attempt.
my %mine = map { $_->{event}{key}{id} => 1 } (deliveries($two))[ 1 .. 3 ];
Mojo::IOLoop->remove($two->{tx}->connection);
$one->call('consume', { group => 'mailers', window => 100 });
wait_for(sub { my %got = map { $_->{event}{key}{id} => $_ } deliveries($one); !grep { !$got{$_} } keys %mine }, 'the other one gets them');
is(join(',', map { $_->{attempt} } grep { $mine{ $_->{event}{key}{id} } } deliveries($one)), '2,2,2', 'as second attempts');
wait_for(sub { deliveries($one) == 7 }, 'and the last one');
is(ack($one, map { $_->{id} } deliveries($one)), 6, 'all that it still had');
is(row(q{leased || ' ' || pending}), '0 0', 'nothing is left');

# What is written while somebody waits comes at once; without a consumer it stays.
insert(110, 110);
wait_for(sub { jobs($one) =~ /,110$/ }, 'a new event');
is_deeply($one->call('consume', { group => 'mailers', window => 0 })->{result}, { group => 'mailers' }, 'stop');
insert(111, 112);
$one->ping;
is(row('leased'), 1, 'no more deliveries');
is(ack($one, (deliveries($one))[-1]{id}), 1, 'what it had can be acknowledged');
$one->call('consume', { group => 'mailers', window => 10 });
wait_for(sub { jobs($one) =~ /,111,112$/ }, 'and begin again');
$one->close;
wait_for(sub { row('pending') == 2 }, 'closing gives back');

# Refusals.
sub error { my ($client, $method, $params) = @_; my $error = $client->call($method, $params)->{error}; return "$error->{code} $error->{message}"; }
my $three = client();
my $other = notifyd_client($node, headers => {%nobody});
like(error($three, 'consume', { group => 'none' }), qr/^-32004 consumer group "none" does not exist/, 'unknown group');
like(error($other, 'consume', { group => 'mailers' }), qr/^-32003 permission denied for consumer group/, 'no privilege');
like(error($other, 'ack', { group => 'mailers', ids => [1] }), qr/^-32003 permission denied/, 'nor to acknowledge');
like(error($three, 'consume', { group => 'mailers', window => 1001 }), qr/^-32602 window/, 'window');
like(error($three, 'ack', { group => 'mailers' }), qr/^-32602 ids is missing/, 'ids');
like(error($three, 'nack', { group => 'mailers', ids => [], delay => 'x' }), qr/^-32602 .*interval/, 'delay');

# A group that is dropped and defined anew.
is($three->call('consume', { group => 'mailers', window => 1 })->{result}{group}, 'mailers', 'consume again');
wait_for(sub { deliveries($three) == 1 }, 'one delivery');

# Events that this consumer may not see stay, and do not keep anybody busy.
sql(q{CREATE TABLE secrets (id int PRIMARY KEY); SELECT notify_watch('secrets'), notify_group('hidden', '{secrets}'); SELECT notify_grant('hidden', 'worker', 'consume')});
is($three->call('consume', { group => 'hidden', window => 1 })->{result}{group}, 'hidden', 'consume what one may not read');
my $answers = sub { return sql(q{SELECT coalesce(sum((answers->>'take done')::int), 0) FROM notifyd.stats}); };
sql('INSERT INTO secrets VALUES (1)');
wait_for(sub { sql(q{SELECT pending FROM notifyd.groups WHERE name = 'hidden'}) eq '1' }, 'the event is pending');
my $before = $answers->();
wait_for(sub { $answers->() > $before }, 'the consumer looks again');
$began = time;
$before = $answers->();
wait_for(sub { $answers->() >= $before + 2 }, 'and again');
cmp_ok(time - $began, '>=', 1, 'but seldom');

done_testing();
