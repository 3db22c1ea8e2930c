# The whole path, from a watch to a client: every operation, transactions, resuming, two databases.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main');
$node->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, name text NOT NULL, quantity int, price numeric(8,2));
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders', 'insert,update,delete,truncate');
});

my $client = notifyd_client($node, subprotocols => ['pg_notifyd.v1']);
ok($client->connected, 'a client gets in') or BAIL_OUT($client->reason);
is($client->subprotocol, 'pg_notifyd.v1', 'the subprotocol is chosen');
my $subscribed = $client->subscribe('orders');
is($subscribed->{channel}, 'orders', 'the reply names the channel');
like($subscribed->{position}, qr/^[1-9][0-9]*-(0|[1-9][0-9]*)$/, 'and the position');

sub sql
{
	my $sql = shift;
	return $node->safe_psql('postgres', $sql);
}

# One of each.
sql(q{INSERT INTO orders VALUES (1, 'Lemonade', 2, 2.20)});
my $insert = $client->next_event;
is_deeply([ @$insert{qw(op schema table channel seq of)} ], [ 'INSERT', 'public', 'orders', 'orders', 1, 1 ], 'INSERT');
is_deeply($insert->{key}, { id => 1 }, 'its key');
is_deeply($insert->{new}, { id => 1, name => 'Lemonade', quantity => 2, price => 2.2 }, 'its new row');
ok(!defined $insert->{old}, 'no old row');
like($insert->{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/, 'its time');
like($insert->{position}, qr/^[1-9]\d*-$insert->{id}$/, 'its position');

sql(q{UPDATE orders SET quantity = 3 WHERE id = 1});
my $update = $client->next_event;
is($update->{op}, 'UPDATE', 'UPDATE');
is($update->{new}{quantity}, 3, 'new value');
is($update->{old}{quantity}, 2, 'old value');
cmp_ok($update->{id}, '>', $insert->{id}, 'ids grow');

sql(q{DELETE FROM orders WHERE id = 1});
my $delete = $client->next_event;
is($delete->{op}, 'DELETE', 'DELETE');
is($delete->{old}{name}, 'Lemonade', 'the deleted row');
ok(!defined $delete->{new}, 'no new row');

sql('TRUNCATE orders');
is($client->next_event->{op}, 'TRUNCATE', 'TRUNCATE');

# Transactions: in statement order, together; nothing of one that is rolled back, whole or in part.
sql(q{BEGIN; INSERT INTO orders VALUES (10, 'never'); ROLLBACK;});
sql(q{
	BEGIN;
	INSERT INTO orders VALUES (11, 'first');
	SAVEPOINT a; INSERT INTO orders VALUES (12, 'undone'); ROLLBACK TO a;
	INSERT INTO orders VALUES (13, 'second');
	UPDATE orders SET name = 'third' WHERE id = 11;
	COMMIT;
});
my @events = $client->next_events(3);
is_deeply([ map { [ @$_{qw(op seq of)}, $_->{new}{id} ] } @events ],
	[ [ 'INSERT', 1, 3, 11 ], [ 'INSERT', 2, 3, 13 ], [ 'UPDATE', 3, 3, 11 ] ], 'a transaction in order');
is($_->{tx}, $events[0]{tx}, 'one transaction') for @events[ 1, 2 ];

# Two clients, one of them for deletions only.
my $other = notifyd_client($node);
$other->subscribe('orders', ops => ['DELETE']);
sql(q{INSERT INTO orders VALUES (20, 'x'); DELETE FROM orders WHERE id = 20});
is($other->next_event->{op}, 'DELETE', 'a filter by operation');
is_deeply([ map { $_->{op} } $client->next_events(2) ], [ 'INSERT', 'DELETE' ], 'no filter');

# Away and back: everything in between, nothing twice, also inside a transaction.
my $since = ($client->events)[-1]{position};
$client->close;
sql(q{INSERT INTO orders SELECT i, 'away' FROM generate_series(100, 149) i});
my $back = notifyd_client($node);
$back->subscribe('orders', since => $since);
my @missed = $back->next_events(50);
is_deeply([ map { $_->{key}{id} } @missed ], [ 100 .. 149 ], 'resumed');
$back->close;
$back = notifyd_client($node);
$back->subscribe('orders', since => $missed[19]{position});
sql(q{INSERT INTO orders VALUES (150, 'live')});
is_deeply([ map { $_->{key}{id} } $back->next_events(31) ], [ 120 .. 150 ], 'resumed inside a transaction');

# A message in the log.
$node->safe_psql('postgres', q{SELECT notify_grant('kitchen', 'guest')});
$back->subscribe('kitchen');
sql(q{SELECT notify_send('kitchen', '{"text": "two lemonades"}')});
my $message = $back->next_event;
is($message->{op}, 'MESSAGE', 'notify_send');
is($message->{channel}, 'kitchen', 'on its channel');
is_deeply($message->{payload}, { text => 'two lemonades' }, 'its payload');

# Another database, which gets the extension later, and whose events stay there.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{
	CREATE EXTENSION pg_notifyd;
	CREATE TABLE orders (id int PRIMARY KEY);
	GRANT SELECT ON orders TO guest;
	SELECT notify_watch('orders');
});
wait_healthy($node, 'other');
my $there = notifyd_client($node, database => 'other');
$there->subscribe('orders');
sql(q{INSERT INTO orders VALUES (200, 'here')});
$node->safe_psql('other', 'INSERT INTO orders VALUES (201)');
is($there->next_event->{key}{id}, 201, 'the other database');
is($back->next_event->{key}{id}, 200, 'this database');
is($back->ping->{position}, ($back->events)[-1]{position}, 'a ping tells the position');

# DROP EXTENSION, and DROP DATABASE while a client is connected.
$node->safe_psql('other', 'DROP EXTENSION pg_notifyd');
is(($there->wait_closed)[0], 1001, 'the clients of a database that is no longer served are closed');
is($node->safe_psql('other', q{SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal}), 0, 'no trigger is left');
is($node->safe_psql('other', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'notifyd'}), 0, 'nor the schema');
$node->safe_psql('other', 'CREATE EXTENSION pg_notifyd');
wait_healthy($node, 'other');
$there = notifyd_client($node, database => 'other');
ok($there->connected, 'and with CREATE EXTENSION it is served again');
$node->safe_psql('postgres', 'DROP DATABASE other');
is(($there->wait_closed)[0], 1001, 'DROP DATABASE closes them too');

# Stopping tells the clients.
$node->stop('fast');
is(($back->wait_closed)[0], 1001, 'a server that stops');

done_testing();
