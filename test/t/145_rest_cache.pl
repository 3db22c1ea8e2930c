# A worker keeps what it knows of exposed tables, and plans. Changes of tables, routes and privileges take effect with the next
# request all the same. There is one worker, so it has processed the request before each change.
use strict;
use warnings;

use IPC::Run ();
use NotifydTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = notifyd_node('main', roles => ['member', 'other'], conf => <<"EOC");
pg_notifyd.query_workers = 1
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE ROLE users;
	GRANT users TO member;
	CREATE TABLE notes (id int PRIMARY KEY, title text, secret text);
	INSERT INTO notes VALUES (1, 'one', 's'), (2, 'two', 't');
	GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO guest, member, other;
	SELECT notify_expose('notes');
	CREATE TABLE more (id int PRIMARY KEY, note text);
	INSERT INTO more VALUES (1, 'more');
	GRANT SELECT ON more TO guest;
});

my %auth = (guest => []);
$auth{$_} = [ '-H', join ': ', notifyd_bearer($_, $_) ] for 'member', 'other';

sub request { my ($role, $path, @arguments) = @_; return curl($node, $path, @{ $auth{$role} }, @arguments); }
sub get { return request('guest', @_); }
sub body { return ('-H', 'Content-Type: application/json', '-d', $_[0]); }

my $not_found = '404 {"detail":"Not Found"}';
my ($one, $both) = ('200 {"id":1,"title":"one","secret":"s"}', '200 [{"id":1,"title":"one","secret":"s"},{"id":2,"title":"two","secret":"t"}]');
wait_healthy($node);
is(get('/notes/1/'), $one, 'a row');
is(get('/notes/'), $both, 'all rows');
my $worker = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'});

# columns
sql(q{ALTER TABLE notes ADD COLUMN n int DEFAULT 7});
is(get('/notes/1/'), '200 {"id":1,"title":"one","secret":"s","n":7}', 'a new column');
sql(q{ALTER TABLE notes RENAME COLUMN n TO "Number"});
is(get('/notes/1/?Number=eq.7'), '200 {"id":1,"title":"one","secret":"s","Number":7}', 'another name');
sql(q{ALTER TABLE notes ALTER COLUMN "Number" TYPE text});
is(get('/notes/1/'), '200 {"id":1,"title":"one","secret":"s","Number":"7"}', 'another type');
like(request('guest', '/notes/', body('{"id":3}')), qr/^201 .*"Number":"7"/, 'a default');
sql(q{ALTER TABLE notes ALTER COLUMN "Number" DROP DEFAULT, ALTER COLUMN "Number" SET NOT NULL});
like(request('guest', '/notes/', body('{"id":4}')), qr/^422 .*"loc":\["body","Number"\],"msg":"field required"/, 'a column that must be given');
sql(q{ALTER TABLE notes DROP COLUMN "Number"; DELETE FROM notes WHERE id > 2});
is(get('/notes/1/'), $one, 'a dropped column');
like(get('/notes/?select=Number'), qr/^400 /, 'which nobody can select');

# the key
sql(q{ALTER TABLE notes DROP CONSTRAINT notes_pkey});
is(get('/notes/1/'), $not_found, 'no key, no path of a row');
sql(q{ALTER TABLE notes ADD PRIMARY KEY (title)});
is(get('/notes/one/'), $one, 'another key');
sql(q{ALTER TABLE notes DROP CONSTRAINT notes_pkey, ALTER COLUMN title DROP NOT NULL, ADD PRIMARY KEY (id)});
is(get('/notes/1/'), $one, 'the old one');

# names
sql(q{ALTER TABLE notes RENAME TO renamed});
is(get('/notes/1/'), $one, 'a renamed table keeps its path');
sql(q{CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO guest; ALTER TABLE renamed SET SCHEMA app});
is(get('/notes/1/'), $one, 'in another schema');
sql(q{ALTER SCHEMA app RENAME TO "Other app"});
is(get('/notes/1/'), $one, 'whose name changes');
sql(q{ALTER TABLE "Other app".renamed RENAME TO notes; ALTER TABLE "Other app".notes SET SCHEMA public});
is(get('/notes/1/'), $one, 'and back');

# routes
is(get('/more/'), $not_found, 'a table that is not exposed');
sql(q{SELECT notify_expose('more')});
is(get('/more/1/'), '200 {"id":1,"note":"more"}', 'is found when it is');
sql(q{BEGIN; SELECT notify_conceal('more'); ROLLBACK});
is(get('/more/1/'), '200 {"id":1,"note":"more"}', 'a change that is rolled back');
sql(q{SELECT notify_conceal('more')});
is(get('/more/1/'), $not_found, 'a concealed table');
sql(q{SELECT notify_expose('notes', 'papers')});
is(get('/notes/1/'), $not_found, 'the old path');
is(get('/papers/1/'), $one, 'and the new one');
sql(q{SELECT notify_expose('more', 'notes')});
is(get('/notes/1/'), '200 {"id":1,"note":"more"}', 'another table by the old path');
sql(q{BEGIN; SELECT notify_conceal('more'); SELECT notify_expose('notes', label => 'Memo'); INSERT INTO notes VALUES (5); COMMIT});
is(request('guest', '/notes/5/', '-X', 'DELETE'), '200 {"message":"Memo with id: 5 deleted successfully!"}', 'another label');
sql(q{UPDATE notifyd.exposed_relation SET path = 'pages' WHERE path = 'notes'});
is(get('/notes/1/') . get('/pages/1/'), $not_found . $one, 'a changed row of the catalog');
sql(q{TRUNCATE notifyd.exposed_relation});
is(get('/pages/1/'), $not_found, 'no rows');
sql(q{SELECT notify_expose('notes')});
is(get('/notes/1/'), $one, 'and a new one');

# a table that is made anew
my $make = q{CREATE TABLE notes (id int PRIMARY KEY, title text, secret text); INSERT INTO notes VALUES (1, 'one', 's'), (2, 'two', 't');
	GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO guest, member, other};
sql(q{DROP TABLE notes}, $make);
is(get('/notes/1/'), $not_found, 'a dropped table');
sql(q{SELECT notify_expose('notes')});
is(get('/notes/1/'), $one, 'a new one of the same name');
sql(q{BEGIN; DROP TABLE notes}, $make, q{SELECT notify_expose('notes'); UPDATE notes SET title = 'new'; COMMIT});
is(get('/notes/1/'), '200 {"id":1,"title":"new","secret":"s"}', 'in one transaction');
sql(q{UPDATE notes SET title = 'one' WHERE id = 1; UPDATE notes SET title = 'two' WHERE id = 2});

# a request that waits for a change
my $psql = $node->background_psql('postgres', on_error_stop => 1);
$psql->query_safe('BEGIN; ALTER TABLE notes DROP COLUMN secret');
my ($in, $out) = ('', '');
my $curl = IPC::Run::start([ 'curl', '-s', "http://127.0.0.1:$node->{notifyd_port}/notes/1/" ], \$in, \$out);
$node->poll_query_until('postgres', "SELECT true FROM pg_locks WHERE pid = $worker AND NOT granted") or die;
$psql->query_safe('COMMIT');
$psql->quit;
$curl->finish;
is($out, '{"id":1,"title":"one"}', 'a request that has waited for a change');
sql(q{ALTER TABLE notes ADD COLUMN secret text; UPDATE notes SET secret = CASE id WHEN 1 THEN 's' ELSE 't' END});

# privileges
is(request('member', '/notes/1/'), $one, 'another role');
sql(q{REVOKE SELECT ON notes FROM member});
like(request('member', '/notes/1/'), qr/^403 /, 'without the privilege');
is(get('/notes/1/'), $one, 'which the first one still has');
sql(q{GRANT SELECT (id, title) ON notes TO member});
is(request('member', '/notes/1/'), '200 {"id":1,"title":"one"}', 'some columns');
is(get('/notes/1/'), $one, 'all columns');
like(request('member', '/notes/?secret=eq.s'), qr/^403 /, 'nor a filter by the others');
sql(q{REVOKE SELECT (title) ON notes FROM member; GRANT SELECT ON notes TO users});
is(request('member', '/notes/1/'), $one, 'by membership');
sql(q{REVOKE users FROM member});
is(request('member', '/notes/1/'), '200 {"id":1}', 'which ends');
sql(q{GRANT SELECT ON notes TO member; GRANT users TO member});
is(request('member', '/notes/1/'), $one, 'and begins');

# schemas: a plan of one role must not show another one what its statement would not
sql(q{
	CREATE SCHEMA app;
	CREATE TABLE app.things (id int PRIMARY KEY);
	INSERT INTO app.things VALUES (1);
	GRANT SELECT ON app.things TO guest, member, other;
	GRANT USAGE ON SCHEMA app TO guest, users;
	SELECT notify_expose('app.things');
});
is(get('/things/1/'), '200 {"id":1}', 'a role that may use the schema');
like(request('other', '/things/1/'), qr/^403 .*permission denied for schema app/, 'one that may not');
is(request('member', '/things/1/'), '200 {"id":1}', 'one that is a member of such a role');
sql(q{REVOKE users FROM member});
like(request('member', '/things/1/'), qr/^403 .*permission denied for schema app/, 'one that was');
is(get('/things/1/'), '200 {"id":1}', 'the first one still may');
sql(q{REVOKE USAGE ON SCHEMA app FROM guest});
like(get('/things/1/'), qr/^401 .*permission denied for schema app/, 'until it may not');
sql(q{
	GRANT USAGE ON SCHEMA app TO guest, other;
	CREATE FUNCTION app.hidden() RETURNS text LANGUAGE sql STABLE AS $$SELECT 'hidden'::text$$;
	REVOKE ALL ON FUNCTION app.hidden() FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION app.hidden() TO guest;
	CREATE VIEW app.shown AS SELECT app.hidden() AS h;
	GRANT SELECT ON app.shown TO guest, other;
	SELECT notify_expose('app.shown');
});
# After five plans for certain values comes one for all values, which is kept.
is(join('', map { get('/shown/') } 1 .. 7), '200 [{"h":"hidden"}]' x 7, 'a view with a function that the planner expands');
like(request('other', '/shown/'), qr/^403 .*permission denied for function hidden/, 'for a role that may not call it');

# row security
my $mine = q{ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON notes USING (secret = CASE current_user WHEN 'member' THEN 's' ELSE 't' END)};
sql($mine);
for my $round (1, 2)
{
	is(request('member', '/notes/?select=id'), '200 [{"id":1}]', "a role's rows, $round");
	is(request('other', '/notes/?select=id'), '200 [{"id":2}]', "another role's rows, $round");
}
sql(q{CREATE POLICY all_to_member ON notes TO member USING (true)});
is(request('member', '/notes/?select=id'), '200 [{"id":1},{"id":2}]', 'a policy for one of them');
is(request('other', '/notes/?select=id'), '200 [{"id":2}]', 'not for the other one');
sql(q{GRANT member TO other});
is(request('other', '/notes/?select=id'), '200 [{"id":1},{"id":2}]', 'unless it is a member');
sql(q{REVOKE member FROM other});
is(request('other', '/notes/?select=id'), '200 [{"id":2}]', 'which ends');
sql(q{ALTER ROLE other BYPASSRLS});
is(request('other', '/notes/?select=id'), '200 [{"id":1},{"id":2}]', 'a role that bypasses row security');
sql(q{ALTER ROLE other NOBYPASSRLS; DROP POLICY all_to_member ON notes});
is(request('member', '/notes/?select=id') . request('other', '/notes/?select=id'), '200 [{"id":1}]200 [{"id":2}]', 'as before');
sql(q{ALTER TABLE notes DISABLE ROW LEVEL SECURITY});
is(request('other', '/notes/?select=id'), '200 [{"id":1},{"id":2}]', 'without row security');

# search_path
sql(q{
	CREATE SCHEMA trap;
	GRANT USAGE ON SCHEMA trap TO guest;
	CREATE TABLE trap.notes (id int PRIMARY KEY, title text, secret text);
	INSERT INTO trap.notes VALUES (1, 'trap', 'x');
	GRANT SELECT ON trap.notes TO guest;
	CREATE FUNCTION set_path() RETURNS text LANGUAGE sql AS $$SELECT set_config('search_path', 'trap', false)$$;
	SELECT notify_expose('set_path()');
});
is(get('/notes/1/'), $one, 'a row');
is(get('/rpc/set_path', '-X', 'POST'), '200 "trap"', 'a function that sets search_path for the session');
is(get('/notes/1/'), $one, 'the same row');

is(sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'}), $worker, 'all by the same worker');
done_testing();
