# Consumers by WebSocket and HTTP while processes and identities end: gateways and workers are ended, the server crashes,
# no worker is free, clients crash on an event, tokens expire and privileges go. Nothing is lost, and nothing is
# acknowledged twice.
use strict;
use warnings;

use Mojo::IOLoop;
use Mojo::UserAgent;
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main', roles => [ 'worker', 'other' ], conf => <<"EOC");
pg_notifyd.statement_timeout = '1h'
pg_notifyd.query_workers = 1
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

# Leases are so long that only what is given back comes again.
sub group { my ($name, %options) = @_; sql("SELECT notify_group('$name', '{jobs}', lease => '" . ($options{lease} // '1h') . "', max_attempts => " . ($options{max} // 1000) . ')'); return; }
sub row { my ($columns, $name) = @_; return sql("SELECT $columns FROM notifyd.groups WHERE name = '" . ($name // 'mailers') . "'"); }
sub becomes { my ($code, $value, $what) = @_; return ok(wait_for(sub { $code->() eq $value }, $what), $what); }

sql(q{
	CREATE TABLE jobs (id int PRIMARY KEY);
	GRANT SELECT ON jobs TO worker, other, guest;
	CREATE FUNCTION slow() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(3600)';
	CREATE FUNCTION quick() RETURNS int LANGUAGE sql AS 'SELECT 1';
	SELECT notify_watch('jobs', op => 'insert'), notify_expose('slow()'), notify_expose('quick()');
});
group('mailers');
sql(q{SELECT notify_grant('mailers', 'worker', 'consume')});

sub insert { sql("INSERT INTO jobs SELECT generate_series($_[0], $_[1])"); return; }
sub client { my ($role, %claims) = @_; return notifyd_client($node, headers => { notifyd_bearer($role // 'worker', 'a', %claims) }); }
sub deliveries { return map { $_->{params} } grep { ($_->{method} // '') eq 'delivery' } $_[0]->received; }
sub jobs { return join ',', map { $_->{event}{key}{id} } deliveries($_[0]); }
sub consume { my ($client, $window, $name) = @_; return $client->call('consume', { group => $name // 'mailers', window => $window // 1 }); }
sub ack { my ($client, @ids) = @_; return $client->call('ack', { group => 'mailers', ids => [@ids] }); }
sub last_of { return (deliveries($_[0]))[-1]; }
sub code { my ($answer) = @_; return $answer->{error} ? $answer->{error}{code} : 'no error'; }

# The client crashes: nothing more is sent or read.
sub crash { my ($client) = @_; Mojo::IOLoop->remove($client->{tx}->connection); return; }

my $ua = Mojo::UserAgent->new(max_redirects => 0, inactivity_timeout => 0);
my $base = 'http://127.0.0.1:' . notifyd_port($node) . '/groups';
sub post { my ($path, @body) = @_; return $ua->post("$base/$path" => { notifyd_bearer('worker') } => @body)->result; }

# ---------------- an event on which clients crash ----------------

group('fragile', max => 3);
sql(q{SELECT notify_grant('fragile', 'worker', 'consume')});
insert(1, 3);
my @attempts;
my @handled;
while (@attempts < 10 && @handled < 2)
{
	my $client = client();
	my $seen = 0;

	consume($client, 1, 'fragile');
	while ($client->connected && @handled < 2)
	{
		$client->wait_for(sub { deliveries($client) > $seen }, 'a delivery');
		my $delivery = (deliveries($client))[ $seen++ ];
		if ($delivery->{event}{key}{id} == 1)
		{
			push @attempts, $delivery->{attempt};
			last;
		}
		push @handled, $delivery->{event}{key}{id};
		$client->call('ack', { group => 'fragile', ids => [ $delivery->{id} ] });
	}
	crash($client);
}
is("@attempts", '1 2 3', 'an event on which clients crash comes max_attempts times');
is("@handled", '2 3', 'and does not keep the others from being handled');
becomes(sub { row('failed', 'fragile') }, 1, 'it is set aside');
is(sql(q{SELECT attempts, error FROM notifyd.failed_events}), '3|the client has disconnected', 'and says why');
sql(q{SELECT notify_ungroup('fragile')});

# A client that stops first, and answers what it has, leaves without a failure.
my ($one, $two) = (client(), client());
consume($one, 2);
wait_for(sub { deliveries($one) == 2 }, 'two deliveries');
consume($one, 0);
is(ack($one, map { $_->{id} } deliveries($one))->{result}{acknowledged}, 2, 'it has stopped, and acknowledges');
$one->close;
consume($two, 1);
wait_for(sub { deliveries($two) == 1 }, 'the next one comes');
is(last_of($two)->{attempt}, 1, 'for the first time');
is(ack($two, last_of($two)->{id})->{result}{acknowledged}, 1, 'done');

# ---------------- no worker is free ----------------

# A query that does not end, and 1,000 that wait behind it.
sub waiting { return sql('SELECT coalesce(max(waiting_queries), 0) FROM notifyd.stats'); }
my @crowd;
sub crowd
{
	@crowd = map { client() } 1 .. 64;
	$crowd[0]->send({ id => 'first', method => 'call', params => { name => 'slow' } });
	becomes(sub { sql(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'call of "slow"%'}) }, 1, 'the only worker is busy');
	foreach my $client (@crowd)
	{
		$client->send({ id => "c$_", method => 'call', params => { name => 'slow' } }) foreach 1 .. 16;
	}
	# One of the queries is refused.
	wait_for(sub { grep { grep { code($_) eq '-32011' } $_->received } @crowd }, 'the queue is full');
	return;
}
sub disperse { crash($_) foreach splice @crowd; return; }

$one = client();
consume($one, 1);
insert(11, 12);
wait_for(sub { deliveries($one) + deliveries($two) == 3 }, 'each has one');
my %job = map { $_ => last_of($_)->{event}{key}{id} } $one, $two;
my $third = client();
crowd();
is(join(' ', map { code($_) } ack($two, last_of($two)->{id}), $two->call('nack', { group => 'mailers', ids => [ last_of($two)->{id} ] }), consume($third)),
	'-32011 -32011 -32011', 'ack, nack and consume are refused');
$third->close;
is(join(' ', map { $_->code . ' ' . $_->headers->header('Retry-After') } post('mailers/take'), post('mailers/ack', json => { ids => [1] }), post('mailers/nack', json => { ids => [1] })),
	'503 1 503 1 503 1', 'and so they are by HTTP');
my $clients = sql('SELECT count(*) FROM notifyd.clients');
crash($one);
wait_for(sub { sql('SELECT count(*) FROM notifyd.clients') < $clients }, 'a consumer is gone');
is(row('leased'), 2, 'there is nobody to give back');
disperse();
is(ack($two, last_of($two)->{id})->{result}{acknowledged}, 1, 'what was refused can be done later');
wait_for(sub { last_of($two)->{event}{key}{id} == $job{$one} }, 'the other one gets what the first had');
is(last_of($two)->{attempt}, 2, 'as a second attempt');
ack($two, last_of($two)->{id});
is(row('pending + leased'), 0, 'nothing is left');

# The last client, after which the gateway has nobody.
insert(13, 13);
wait_for(sub { last_of($two)->{event}{key}{id} == 13 }, 'another event');
sql(q{ALTER SYSTEM SET pg_notifyd.query_workers = 0}, 'SELECT pg_reload_conf()');
wait_for(sub { code($two->call('call', { name => 'quick' })) eq '-32011' }, 'there are no workers');
crash($two);
wait_for(sub { sql('SELECT count(*) FROM notifyd.clients') eq '0' }, 'there is no client');
is(row('leased'), 1, 'it is not given back');
sql(q{ALTER SYSTEM SET pg_notifyd.query_workers = 2}, 'SELECT pg_reload_conf()');
becomes(sub { row('pending') }, 1, 'it is when there are workers');

# ---------------- identities ----------------

($one, $two) = (client(), client(undef, exp => time + 5));
consume($two, 1);
wait_for(sub { jobs($two) eq '13' }, 'a client has the event');
like($two->call('auth', { token => notifyd_token({ role => 'other', sub => 'a', exp => time + 100 }) })->{error}{message}, qr/another|of another subject or role/,
	'a token of another role is refused');
consume($one, 1);
is_deeply([ $two->wait_closed ], [ 4001, 'the token has expired' ], 'its token expires');
wait_for(sub { jobs($one) eq '13' }, 'another client gets the event');
is(ack($one, last_of($one)->{id})->{result}{acknowledged}, 1, 'and can acknowledge it');
$one->close;

# A fresh token lets it go on.
my $expires = time + 5;
$one = client(undef, exp => $expires);
consume($one, 1);
is($one->call('auth', { token => notifyd_token({ role => 'worker', sub => 'a', exp => time + 1000 }) })->{result}{role}, 'worker', 'a fresh token');
wait_for(sub { time > $expires + 1.5 }, 'the first one has expired');
insert(21, 21);
wait_for(sub { jobs($one) eq '21' }, 'deliveries go on');

# The privilege goes, and comes again.
sql(q{SELECT notify_revoke('mailers', 'worker', 'consume')});
is(code(ack($one, last_of($one)->{id})), -32003, 'without the privilege nothing can be acknowledged');
sql(q{SELECT notify_grant('mailers', 'worker', 'consume')});
is(ack($one, last_of($one)->{id})->{result}{acknowledged}, 1, 'with it, what it has can be');
sql(q{SELECT notify_revoke('mailers', 'worker', 'consume')});
insert(22, 22);
my $error;
wait_for(sub { ($error) = grep { ($_->{method} // '') eq 'error' } $one->received; $error }, 'the consumer is told');
is("$error->{params}{code} $error->{params}{data}{name}", '-32003 mailers', 'that it may not take any more');
is(jobs($one), '21', 'and gets nothing');
sql(q{SELECT notify_grant('mailers', 'worker', 'consume')});
consume($one, 1);
wait_for(sub { jobs($one) eq '21,22' }, 'it can begin again');
is(ack($one, last_of($one)->{id})->{result}{acknowledged}, 1, 'and go on');
$one->close;

# Nobody becomes somebody.
sql(q{SELECT notify_grant('mailers', 'guest', 'consume')});
$one = notifyd_client($node);
consume($one, 2);
insert(23, 23);
wait_for(sub { jobs($one) eq '23' }, 'an anonymous consumer');
is($one->call('auth', { token => notifyd_token({ role => 'other', sub => 'a', exp => time + 100 }) })->{result}{role}, 'other', 'authenticates');
is(code(ack($one, last_of($one)->{id})), -32003, 'its new role may not acknowledge');
insert(24, 24);
$one->wait_for(sub { grep { ($_->{method} // '') eq 'error' && $_->{params}{code} == -32003 } $one->received }, 'nor take');
is(jobs($one), '23', 'and gets nothing more');
$one->close;
wait_for(sub { row('pending') eq '2' }, 'it gives back');
my $got = post('mailers/take?count=2')->json;
is(scalar @$got, 2, 'for others');
post('mailers/ack', json => { ids => [ map { $_->{id} } @$got ] });

# ---------------- processes that end, while many consume ----------------

my %asked;			# events whose acknowledgement was sent
my %acknowledged;	# events, and how often an answer has said so
my $again = 0;		# deliveries of acknowledged events
my $requests = 0;

sub robot { return { taken => 0, asked => {} }; }

# Acknowledge what has come since, note the answers, and connect again if the connection has ended.
sub work
{
	my ($robot) = @_;
	my $client = $robot->{client};

	if (!$client || !$client->connected)
	{
		%$robot = %{ robot() };
		$client = eval { client() };
		return if !$client || !$client->connected;
		$robot->{client} = $client;
		$client->send({ id => 'consume', method => 'consume', params => { group => 'mailers', window => 5 } });
	}
	for (; $robot->{taken} < @{ $client->{received} } && $client->connected; $robot->{taken}++)
	{
		my $message = $client->{received}[ $robot->{taken} ];
		my $id = $message->{id} // '';

		if (($message->{method} // '') eq 'delivery')
		{
			my $key = $message->{params}{event}{key}{id};
			$again++ if $acknowledged{$key};
			$id = 'a' . ++$requests;
			$asked{$key} = 1;
			$robot->{asked}{$id} = { key => $key, delivery => $message->{params}{id} };
		}
		elsif ($id eq 'consume' && $message->{error})
		{
			$client->send({ id => 'consume', method => 'consume', params => { group => 'mailers', window => 5 } });
			next;
		}
		elsif ($robot->{asked}{$id})
		{
			$acknowledged{ $robot->{asked}{$id}{key} }++ if $message->{result} && $message->{result}{acknowledged} == 1;
			next if $message->{result};
		}
		else
		{
			next;
		}
		$client->send({ id => $id, method => 'ack', params => { group => 'mailers', ids => [ $robot->{asked}{$id}{delivery} ] } });
	}
	return;
}

# Let robots handle n events, which are written meanwhile, and do something after each 100 of them.
sub storm
{
	my ($what, $n, $act, %options) = @_;
	my @robots = map { robot() } 1 .. 8;
	my $began = sql('SELECT max(id) FROM jobs');
	my $written = 0;
	my $acted = 0;

	group('mailers', lease => $options{lease} // '1h');
	%asked = %acknowledged = ();
	$again = 0;
	wait_for(
		sub {
			work($_) foreach @robots;
			if ($written < $n && keys %asked >= $written - 50)
			{
				insert($began + $written + 1, $began + $written + 100);
				$written += 100;
				work($_) foreach @robots;
				$acted += $act->();
			}
			return $written == $n && keys %asked == $n && row(q{pending + claimed + leased + delayed}) eq '0';
		},
		"$what: all events to be handled");
	ok($acted > 0, "$what: $acted times");
	is($again, 0, "$what: no event comes again after it was acknowledged");
	is(scalar(grep { $_ > 1 } values %acknowledged), 0, "$what: none is acknowledged twice");
	cmp_ok(scalar(keys %acknowledged), '>', $n / 4, "$what: there were answers");
	crash($_->{client}) foreach grep { $_->{client} && $_->{client}->connected } @robots;
	return;
}

my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' ORDER BY random() LIMIT 1};

storm('workers end', 1000, sub { return sql("SELECT count(pg_terminate_backend(pid)) FROM ($worker) AS w"); }, lease => '3s');

# A gateway that is restarted gives back.
storm('gateways are restarted', 300, sub { return kill 'TERM', gateway_pids($node); });

# One that is killed does not; the leases end.
$node->append_conf('postgresql.conf', "pg_notifyd.gateways = 3\n");
$node->reload;
becomes(sub { scalar(gateway_pids($node)) }, 3, 'three gateways');
storm('gateways are killed', 400, sub { my @gateways = gateway_pids($node); return @gateways ? kill 'KILL', $gateways[ rand @gateways ] : 0; }, lease => '3s');

storm('the server crashes', 300, sub { $node->stop('immediate'); $node->start; return 1; }, lease => '1h');

done_testing();
