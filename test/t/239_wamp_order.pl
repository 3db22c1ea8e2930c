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
	q{SELECT notify_expose('numbers(int)', 'com.sql.numbers')});
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

$node->stop;
done_testing();
