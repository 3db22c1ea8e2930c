# What the WAMP specification says of the order of messages ("Ordering Guarantees"), each rule as a test: between sessions of one
# gateway and of two, and with many messages at once, so that a race shows.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Wamp;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member'], init => { allows_streaming => 1 }, conf => "pg_notifyd.gateways = 2\npg_notifyd.idle_timeout = 0\n");
sub sql { return $node->safe_psql('postgres', join ';', @_); }
sub client { return wamp_client($node, realm => 'postgres', gateway => $_[0]); }

# Messages to com.log.* are in the log, those to com.talk.* are not.
sql(q{SELECT notify_grant('com.log.' || c, 'guest', p) FROM unnest('{a,b}'::text[]) c, unnest('{subscribe,publish}'::text[]) p},
	q{SELECT notify_grant('com.*', 'guest', p) FROM unnest('{subscribe,publish,call,register}'::text[]) p},
	'ALTER ROLE authenticator SET synchronous_commit = local',
	q{CREATE FUNCTION numbers(n int) RETURNS SETOF int LANGUAGE sql AS 'SELECT generate_series(1, n)'},
	q{CREATE FUNCTION fresh(n int) RETURNS int LANGUAGE sql AS 'SELECT n'},
	q{SELECT notify_expose('numbers(int)', 'com.sql.numbers'), notify_expose('fresh(int)', 'com.sql.fresh')});
wait_healthy($node);
my ($publisher, @subscribers) = map { client($_) } 0, 0, 1;

# Publish messages to these topics, numbered from 1 on, without waiting. Returns the number of the last one.
my $group = 0;

sub publish_all
{
	my ($client, @topics) = @_;
	my $n = 0;
	$group++;
	$client->start('PUBLISH', { exclude_me => \0 }, $_, [], { group => $group, n => ++$n }) foreach @topics;
	return $n;
}

# The numbers of the messages of the last publish_all() that a client has got for a subscription; without one: for all.
sub numbers
{
	my ($client, $subscription) = @_;
	return map { $_->{kwargs}{n} }
	  grep { ($_->{kwargs}{group} // 0) == $group && (!defined $subscription || $_->{subscription} == $subscription) } $client->events;
}

# Begins with the first number that is not in its place; empty if all are.
sub disorder
{
	my ($count, @numbers) = @_;
	my @wrong = grep { $numbers[$_] != $_ + 1 } 0 .. $#numbers;
	return @wrong ? "$numbers[$wrong[0]] in place $wrong[0] of @numbers" : @numbers != $count ? scalar(@numbers) . " of $count" : '';
}

# Wait until a client has so many of the messages.
sub await
{
	my ($client, $count, $subscription) = @_;
	$client->wait_for(sub { numbers($client, $subscription) >= $count }, "$count messages");
	return;
}

# ---------------- subscriptions ----------------

subtest 'the same id for a repeated SUBSCRIBE' => sub {
	foreach my $options ({}, { match => 'prefix' }, { match => 'wildcard' })
	{
		my $topic = 'com.same.' . (($options->{match} // '') eq 'wildcard' ? '.x' : 'x');
		my @requests = map { $subscribers[0]->start('SUBSCRIBE', $options, $topic) } 1 .. 5;
		my %ids = map { $subscribers[0]->answer('SUBSCRIBE', $_)->[2] => 1 } @requests;
		$ids{ $subscribers[0]->subscribe($topic, %$options) } = 1;
		$ids{ $subscribers[1]->subscribe($topic, %$options) } = 1;
		is(scalar(keys %ids), 1, "$topic, in one go, later, and of another session");
		$_->unsubscribe(keys %ids) foreach @subscribers;
		is($subscribers[0]->request('UNSUBSCRIBE', 0 + (keys %ids)[0])->[4], 'wamp.error.no_such_subscription', 'one UNSUBSCRIBE ends it');
	}
};

# What a client has got of a subscription when it had none; empty: nothing. %$asked has the subscriptions of its UNSUBSCRIBEs.
sub strays
{
	my ($client, $asked) = @_;
	my (%has, $events);

	foreach my $message ($client->received)
	{
		my ($type, $first, $second) = @$message;
		$has{$second} = 1 if $type == 33;
		$has{ $asked->{$first} } = 0 if $type == 35 && $asked->{$first};
		next if $type != 36;
		return "an EVENT of $first after $events others" if !$has{$first};
		$events++;
	}
	return $events ? '' : 'no events';
}

subtest 'SUBSCRIBED before the first EVENT, and nothing after UNSUBSCRIBED' => sub {
	foreach my $topic ('com.log.a', 'com.talk.a')
	{
		my @publishers = map { client($_) } 0, 1;
		foreach my $client (map { client($_) } 0, 1)
		{
			my @wanted = ([ {}, $topic ], [ { match => 'prefix' }, $topic =~ s/\w$//r ], [ { match => 'wildcard' }, $topic =~ s/\.\w+\./../r ]);
			my (%asked, $last);
			# The ids are the same next time.
			my @ids = map { $client->subscribe($_->[1], %{ $_->[0] }) } @wanted;
			$client->unsubscribe($_) foreach @ids;
			foreach my $round (1 .. 15)
			{
				$_->start('PUBLISH', {}, $topic) foreach map { ($_) x 5 } @publishers;
				my $n = 0;
				$client->start('SUBSCRIBE', @$_) foreach @wanted;
				# It gets something while it has the subscriptions.
				$publishers[0]->publish($topic) if $round % 3;
				$client->wait_for(sub { $n = grep { $_->[0] == 33 } $client->received; $n == 3 * ($round + 1) }, 'subscriptions') if $round % 2;
				$asked{ $last = $client->start('UNSUBSCRIBE', 0 + $_) } = $_ foreach @ids;
				$client->answer('UNSUBSCRIBE', $last) if $round % 3;
			}
			$client->answer('UNSUBSCRIBE', $last);
			is(strays($client, \%asked), '', "$topic, " . grep({ $_->[0] == 36 } $client->received) . ' events');
			$client->close;
		}
		$_->close foreach @publishers;
	}
};

subtest 'one EVENT for each subscription that matches, with one publication id' => sub {
	foreach my $topic ('com.log.a', 'com.talk.a')
	{
		my %ids;
		foreach my $client (@subscribers)
		{
			%ids = (
				exact => $client->subscribe($topic),
				prefix => $client->subscribe('com.', match => 'prefix'),
				wildcard => $client->subscribe('com..a', match => 'wildcard'));
		}
		my $count = publish_all($publisher, ($topic) x 50);
		foreach my $client (@subscribers)
		{
			await($client, $count, $_) foreach values %ids;
			my %of;
			push @{ $of{ $_->{kwargs}{n} }{ $_->{publication} } }, $_->{subscription} foreach grep { ($_->{kwargs}{group} // 0) == $group } $client->events;
			is(scalar(grep { keys %$_ != 1 } values %of), 0, "$topic: one publication id");
			is(scalar(grep { "@{[ sort @{ (values %$_)[0] } ]}" ne "@{[ sort values %ids ]}" } values %of), 0, 'one event for each of three');
			$client->unsubscribe($_) foreach values %ids;
		}
	}
};

# ---------------- the events of one publisher ----------------

# The topics of many messages, by name.
my %orders = (
	'one topic in the log' => [ ('com.log.a') x 100 ],
	'one topic that is not' => [ ('com.talk.a') x 100 ],
	'two topics in the log' => [ (qw(com.log.a com.log.b)) x 50 ],
	'two topics that are not' => [ (qw(com.talk.a com.talk.b)) x 50 ],
	'in the log and not, in turn' => [ (qw(com.log.a com.talk.a)) x 50 ],
	'in the log and not, many of each' => [ map { ($_) x 10 } (qw(com.log.a com.talk.a com.log.b com.talk.b)) x 3 ],
	'all mixed' => [ map { (qw(com.log.a com.log.b com.talk.a com.talk.b))[ ($_ * $_ + $_ / 3) % 4 ] } 1 .. 100 ]);

subtest 'the events of one publisher come in its order' => sub {
	foreach my $client (@subscribers)
	{
		$client->subscribe($_) foreach qw(com.log.a com.log.b com.talk.a com.talk.b);
	}
	foreach my $name (sort keys %orders)
	{
		my $count = publish_all($publisher, @{ $orders{$name} });
		await($_, $count) foreach @subscribers;
		is(disorder($count, numbers($_)), '', $name) foreach @subscribers;
	}
};

# A pattern learns of a channel by its first event, and catches up with this one.
subtest 'and so for a subscription of a pattern that knows the channels' => sub {
	my @others = map { client($_) } 0, 1;
	my $prefix;
	$prefix = $_->subscribe('com.', match => 'prefix') foreach @others;
	foreach my $topic (qw(com.log.a com.log.b))
	{
		my $count = publish_all($publisher, $topic);
		await($_, $count, $prefix) foreach @others;
	}
	# Where they are live, they get what follows in order.
	$publisher->publish('com.talk.a', [], {});
	foreach my $name (sort keys %orders)
	{
		my $count = publish_all($publisher, @{ $orders{$name} });
		await($_, $count, $prefix) foreach @others;
		is(disorder($count, numbers($_, $prefix)), '', $name) foreach @others;
	}
	$_->close foreach @others;
};

# The feed sends events of the log when the synchronous standby has confirmed them. The worker does not wait for it.
subtest 'also while the feed waits before it sends an event of the log' => sub {
	my $other = client(0);
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	wait_for(sub { sql('SHOW synchronous_standby_names') eq 'nobody' }, 'the setting');
	my $count = publish_all($publisher, qw(com.talk.a com.log.a com.talk.a com.talk.b com.log.b com.talk.b com.talk.a));
	# The last one has been published, too.
	$publisher->publish('com.talk.a', [], {});
	$other->publish('com.talk.b', [], { fence => 1 });
	foreach my $client (@subscribers)
	{
		$client->wait_for(sub { grep { $_->{kwargs}{fence} } $client->events }, 'a message of another session');
		is_deeply([ numbers($client) ], [1], 'what comes after an event of the log waits for it, and nothing else does');
	}
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->reload;
	await($_, $count) foreach @subscribers;
	is(disorder($count, numbers($_)), '', 'then all come in order') foreach @subscribers;
};

# ---------------- calls ----------------

my ($caller, $callee, $neighbour) = (client(1), client(0), client(1));
# What the callees were asked, in order.
my %asked;
foreach my $client ($callee, $neighbour)
{
	my $note = sub { my ($args) = @_; push @{ $asked{$client} }, $args->[0]; return ([ $args->[0] ]); };
	$client->register("com.$_." . ($client == $callee ? 'far' : 'near'), $note) foreach qw(one two);
	$client->register('com.any.' . ($client == $callee ? 'far.' : 'near.'), $note, match => 'prefix');
}

# Call procedures without waiting; returns the requests.
sub call_all { my ($client, @procedures) = @_; my $n = 0; return map { $client->start('CALL', {}, $_, [ ++$n ]) } @procedures; }

subtest 'the calls of one caller reach a callee in their order' => sub {
	my $new = 0;
	# Names that nobody has called before are those of which a gateway knows nothing.
	my @calls = (
		'one procedure' => sub { ("com.one.$_[0]") x 60 },
		'two procedures' => sub { ("com.one.$_[0]", "com.two.$_[0]") x 30 },
		'new names' => sub { my $to = shift; map { $new++; ("com.any.$to.n$new") x 2 } 1 .. 30 },
		'new names and others' => sub { my $to = shift; map { $new++; ("com.one.$to", "com.any.$to.n$new", "com.two.$to") } 1 .. 20 });
	while (my ($name, $procedures) = splice @calls, 0, 2)
	{
		foreach my $to ([ far => $callee ], [ near => $neighbour ])
		{
			my ($where, $client) = @$to;
			my @procedures = $procedures->($where);
			$asked{$client} = [];
			my @requests = call_all($caller, @procedures);
			is(scalar(grep { $caller->answer('CALL', $_)->[0] != 50 } @requests), 0, "$name, $where: all have results");
			is(disorder(scalar(@procedures), @{ $asked{$client} }), '', 'and were asked for in order');
		}
	}
};

subtest 'results come after their progress, and once' => sub {
	$callee->register('com.count', sub {
			my ($args, $kwargs, $details, $invocation) = @_;
			$callee->send([ 'YIELD', $invocation, { progress => \1 }, [$_] ]) for 1 .. $args->[0];
			# The second result, and the error, are for nobody.
			$callee->send([ 'YIELD', $invocation, {}, ['done'] ]) for 1, 2;
			$callee->send([ 'ERROR', wamp_type('INVOCATION'), $invocation, {}, 'com.error.late' ]);
			return undef;		## no critic: the test has answered
		});
	my @requests = map { ($_ => $caller->start('CALL', { receive_progress => \1 }, $_ % 2 ? 'com.count' : 'com.sql.numbers', [20])) } 1 .. 40;
	my %requests = reverse @requests;
	$caller->answer('CALL', $_) foreach keys %requests;
	# Anything that comes late comes before this answer.
	$caller->result('com.one.far', [1]);
	my (%progress, %answers, @late);
	foreach my $message ($caller->received)
	{
		my ($type, $request, $details, $args) = @$message;
		$request = $details if $type == 8;
		next if !$requests{$request} || ($type != 50 && $type != 8);
		push @late, $request if $answers{$request};
		if ($type == 50 && $details->{progress}) { push @{ $progress{$request} }, $args->[0]; }
		else { $answers{$request}++; }
	}
	is_deeply(\@late, [], 'nothing after the last result');
	is(scalar(grep { ($answers{$_} // 0) != 1 } keys %requests), 0, 'one last result for each call');
	is_deeply([ grep { disorder(20, @{ $progress{$_} // [] }) ne '' } keys %requests ], [], 'all of the progress before it, in order');
};

subtest 'many calls at once, of names that nobody has called before' => sub {
	my %answers;
	$answers{ $_->[0] == 50 ? 'result' : $_->[4] }++ foreach map { $neighbour->answer('CALL', $_) } call_all($neighbour, ('com.sql.fresh') x 1500);
	is_deeply(\%answers, { result => 1500 }, 'a function');
	%answers = ();
	# The session reads what it is asked, although it has many calls under way.
	$answers{ $_->[0] == 50 ? 'result' : $_->[4] }++
	  foreach map { $neighbour->answer('CALL', $_) } call_all($neighbour, map { "com.any.near.itself$_" } 1 .. 100);
	is_deeply(\%answers, { result => 100 }, 'procedures of the session itself');
};

subtest 'one RESULT or ERROR, however a call ends' => sub {
	$callee->register('com.slow', sub { return undef; });		## no critic: nobody answers
	my @requests;
	foreach my $n (1 .. 30)
	{
		my $request = $caller->start('CALL', { timeout => 300 }, $n % 3 ? 'com.slow' : 'com.one.far', [$n]);
		push @requests, $request;
		$caller->send([ 'CANCEL', $request, { mode => (qw(kill killnowait skip))[ $n % 3 ] } ]) for 1 .. $n % 4;
	}
	$caller->answer('CALL', $_) foreach @requests;
	# The callee answers what was interrupted.
	foreach my $interrupt (grep { $_->[0] == 69 } $callee->received)
	{
		$callee->send([ 'ERROR', wamp_type('INVOCATION'), $interrupt->[1], {}, 'wamp.error.canceled' ]);
	}
	$caller->result('com.one.far', [1]) for 1 .. 3;
	my %answers;
	$answers{ $_->[0] == 8 ? $_->[2] : $_->[1] }++ foreach grep { $_->[0] == 50 || $_->[0] == 8 } $caller->received;
	is_deeply([ map { $answers{$_} } @requests ], [ (1) x @requests ], 'one for each');
};

# What a callee was asked for a registration that it did not have; empty: nothing.
sub stray_invocations
{
	my ($client, $of_request) = @_;
	my (%has, $invocations);

	foreach my $message ($client->received)
	{
		my ($type, $first, $second) = @$message;
		$has{$second} = 1 if $type == 65;
		$has{ $of_request->{$first} } = 0 if $type == 67 && $of_request->{$first};
		next if $type != 68;
		return "an INVOCATION of $second after $invocations others" if !$has{$second};
		$invocations++;
	}
	return $invocations ? '' : 'no invocations';
}

subtest 'REGISTERED before the first INVOCATION, and nothing after UNREGISTERED' => sub {
	foreach my $client ($callee, $neighbour)
	{
		my $procedure = $client == $callee ? 'com.often.far' : 'com.often.near';
		my $id = $client->register($procedure, sub { return (['x']); });
		$client->unregister($id);
		my (%of_request, @requests, $last);
		foreach my $round (1 .. 20)
		{
			my $register = $client->start('REGISTER', {}, $procedure);
			$client->{registering}{$register} = sub { return (['x']); };
			push @requests, call_all($caller, ($procedure) x 10);
			$client->answer('REGISTER', $register);
			push @requests, call_all($caller, ($procedure) x 10);
			$caller->answer('CALL', $requests[-1]) if $round % 2;
			$of_request{ $last = $client->start('UNREGISTER', 0 + $id) } = $id;
			$client->answer('UNREGISTER', $last) if $round % 3;
		}
		$client->answer('UNREGISTER', $last);
		my %uris = map { ($_->[0] == 50 ? 'result' : $_->[4]) => 1 } map { $caller->answer('CALL', $_) } @requests;
		is_deeply([ sort keys %uris ], [ 'result', 'wamp.error.no_such_procedure' ], 'the calls have results, or there is no procedure');
		is(stray_invocations($client, \%of_request), '', $procedure);
	}
};

$node->stop;
done_testing();
