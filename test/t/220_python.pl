# The package for Python: watches, subscriptions, filters, messages, tokens, resets, a lifespan, and the models of SQLAlchemy.
use strict;
use warnings;

use NotifydTest;
use NotifydTest::Node;
use Test::More;

my $node = notifyd_node('main', roles => ['customer']);
$node->safe_psql('postgres', q{
	CREATE SCHEMA shop;
	CREATE TABLE users (id int PRIMARY KEY, email text, name text, balance numeric, born date);
	CREATE TABLE shop.items (order_id int, item_id int, quantity int, PRIMARY KEY (item_id, order_id));
	CREATE TABLE "Odd ""names" (id int PRIMARY KEY, "a b" text);
	CREATE TABLE secrets (id int PRIMARY KEY);
	GRANT USAGE ON SCHEMA shop TO guest;
	GRANT SELECT ON users, shop.items, "Odd ""names" TO guest, customer;
	GRANT SELECT ON secrets TO customer;
	SELECT notify_grant('news', 'guest');
});
local $ENV{DSN} = $node->connstr('postgres') . ' user=postgres';
local $ENV{URL} = 'ws://localhost:' . notifyd_port($node) . '/ws?database=postgres';
local $ENV{PYTHONPATH} = 'client/python';
local $ENV{TOKEN} = notifyd_token({ role => 'customer', sub => '7', exp => time + 6000 });
local $ENV{EXPIRED} = notifyd_token({ role => 'customer', sub => '7', exp => time - 6000 });
run_script(['/usr/bin/python3'], 'test/python/notifier.py');
done_testing();
