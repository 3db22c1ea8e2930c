-- What policies and filters are bound to for an identity, and what events do to sets.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

CREATE FUNCTION set_add(name text, role regrole, claims text, relation oid, filter text, OUT condition text, OUT refreshed boolean, OUT error text)
	LANGUAGE c AS 'pg_notifyd', 'notifyd_set_add';
CREATE FUNCTION set_remove(name text) RETURNS void LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_remove';
CREATE FUNCTION set_look(name text) RETURNS text LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_look';
CREATE FUNCTION set_unchanged(name text) RETURNS boolean LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_unchanged';
CREATE FUNCTION set_judge(id bigint, names text[] DEFAULT NULL, OUT name text, OUT change text, OUT error text) RETURNS SETOF record
	LANGUAGE c AS 'pg_notifyd', 'notifyd_set_judge';

-- The last event, for the sets in the index and, without it, for named ones.
CREATE FUNCTION last_event() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	part text;
	each bigint;
	last bigint := 0;
BEGIN
	FOR part IN SELECT format('notifyd.log_%s', i) FROM generate_series(0, 7) AS i LOOP
		EXECUTE format('SELECT max(id) FROM %s', part) INTO each;
		last := greatest(last, each);
	END LOOP;
	RETURN last;
END
$$;
CREATE FUNCTION judged(names text[] DEFAULT NULL) RETURNS TABLE (name text, change text, error text) LANGUAGE sql AS
	$$SELECT * FROM set_judge(last_event(), names) ORDER BY 1, 2$$;

CREATE ROLE sets_user;
CREATE ROLE sets_other;
CREATE ROLE sets_group;
CREATE ROLE sets_member IN ROLE sets_group;
CREATE ROLE sets_owner;
CREATE ROLE sets_bypasses BYPASSRLS;
CREATE SCHEMA auth;
CREATE SCHEMA sets;
GRANT USAGE ON SCHEMA auth, sets TO PUBLIC;

-- auth.uid() as Supabase has it.
CREATE FUNCTION auth.uid() RETURNS int LANGUAGE sql STABLE AS
	$$SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::int$$;
CREATE FUNCTION auth.plpgsql_uid() RETURNS int LANGUAGE plpgsql STABLE AS
	$$BEGIN RETURN current_setting('request.jwt.claims', true)::jsonb ->> 'sub'; END$$;

CREATE TABLE sets.members (user_id int, tenant_id int);
INSERT INTO sets.members VALUES (7, 3), (7, 1), (7, 2), (7, 2), (8, 4);
CREATE TABLE sets.t (id int PRIMARY KEY, owner int, tenant_id int, pub boolean, name text, role name, created timestamptz, day date);
ALTER TABLE sets.t ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON sets.t, sets.members TO PUBLIC;
SELECT notify_watch('sets.t');

-- bind(policy): what a policy that applies to everybody is bound to.
CREATE FUNCTION bind(policy text, filter text DEFAULT NULL, claims text DEFAULT '{"sub": 7}', role text DEFAULT 'sets_user', OUT condition text, OUT refreshed boolean, OUT error text)
LANGUAGE plpgsql AS $$
BEGIN
	DROP POLICY IF EXISTS p ON sets.t;
	EXECUTE format('CREATE POLICY p ON sets.t USING (%s)', policy);
	SELECT * INTO condition, refreshed, error FROM public.set_add('bound', role::regrole, claims, 'sets.t'::regclass, filter) AS a;
	IF error IS NULL THEN
		PERFORM public.set_remove('bound');
	END IF;
END
$$;

-- The five usual policies.
SELECT * FROM bind('owner = auth.uid()');
SELECT * FROM bind('owner = (SELECT auth.uid())');
SELECT * FROM bind('tenant_id IN (SELECT tenant_id FROM sets.members WHERE user_id = auth.uid())');
SELECT * FROM bind('pub OR (owner = auth.uid() AND tenant_id > (SELECT min(tenant_id) FROM sets.members WHERE user_id = (SELECT auth.uid())))');
SELECT * FROM bind('EXISTS (SELECT FROM sets.members AS m WHERE m.tenant_id = t.tenant_id AND m.user_id = auth.uid())');

-- Other identities.
SELECT * FROM bind('owner = auth.uid()', NULL, '{"sub": 8}');
SELECT * FROM bind('owner = auth.uid()', NULL, '{}');
SELECT * FROM bind('owner = auth.uid()', NULL, NULL);
SELECT * FROM bind('owner = auth.uid()', NULL, '{"sub": "x"}');
SELECT * FROM bind('tenant_id IN (SELECT tenant_id FROM sets.members WHERE user_id = auth.uid())', NULL, '{"sub": 9}');

-- Functions, settings, users, times, casts.
SELECT * FROM bind('owner = auth.plpgsql_uid()');
SELECT * FROM bind('role = current_user AND name = current_setting(''request.jwt.claims'', true)::json ->> ''sub''');
SELECT * FROM bind('name = current_setting(''app.x'', true)');
SELECT * FROM bind('day >= current_date AND day < ''2000-01-01''::date') LIMIT 0; -- its condition has today's date
SELECT * FROM bind('created > now()');
SELECT * FROM bind('now() > ''2000-01-01''');
SELECT * FROM bind('random() < 2 AND owner = auth.uid()');
SELECT * FROM bind('(SELECT random()) < 2');
SELECT * FROM bind('tenant_id <> ALL (SELECT tenant_id FROM sets.members)');
SELECT * FROM bind('tenant_id = ANY (ARRAY(SELECT tenant_id FROM sets.members ORDER BY 1 DESC))');
SELECT * FROM bind('(tenant_id, owner) IN (SELECT tenant_id, user_id FROM sets.members)');
SELECT * FROM bind('owner = (current_setting(''pg_notifyd.context'', true)::jsonb ->> ''user'')::int');
SELECT * FROM bind('t IS NOT NULL');
SELECT * FROM bind('xmin IS NOT NULL');
SELECT * FROM bind('CASE WHEN current_setting(''app.x'', true) IS NULL THEN pub ELSE current_setting(''app.none'')::int = owner END');
SELECT * FROM bind('CASE WHEN pub THEN true ELSE current_setting(''app.none'')::int = owner END');

SELECT * FROM bind('role = session_user');
SELECT * FROM bind('session_user = ''sets_user''');
SELECT * FROM bind('tenant_id IN (SELECT generate_series(1, 20000))');
SELECT * FROM bind('NOT EXISTS (SELECT FROM sets.members AS m WHERE m.tenant_id = t.tenant_id)');
SELECT * FROM bind('owner = ANY (ARRAY[auth.uid(), 9])');
SELECT * FROM bind('owner = auth.uid() + 1 AND name = ''a''');

-- Filters.
SELECT * FROM bind('owner = auth.uid()', 'id=in.(1,2,3)&name=like.a*');
SELECT * FROM bind('true', 'id=eq.7');
SELECT * FROM set_add('messages', 'sets_user', NULL, 0, 'payload->>room=eq.5');
SELECT set_remove('messages');

-- A filter alone needs no policy.
ALTER TABLE sets.t DISABLE ROW LEVEL SECURITY;
SELECT * FROM bind('false', 'id=eq.7');
SELECT * FROM bind('false');
ALTER TABLE sets.t ENABLE ROW LEVEL SECURITY;

-- The policies that apply to a role.
DROP POLICY p ON sets.t;
CREATE FUNCTION bind_for(role text, filter text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result record;
BEGIN
	SELECT * INTO result FROM set_add('bound', role::regrole, '{"sub": 7}', 'sets.t'::regclass, filter);
	IF result.error IS NULL THEN
		PERFORM set_remove('bound');
	END IF;
	RETURN coalesce(result.condition, result.error);
END
$$;
SELECT bind_for('sets_user');
ALTER TABLE sets.t OWNER TO sets_owner;
CREATE POLICY a ON sets.t TO sets_group USING (id > 0);
CREATE POLICY b ON sets.t FOR SELECT USING (owner = 1);
CREATE POLICY c ON sets.t AS RESTRICTIVE USING (pub);
CREATE POLICY d ON sets.t FOR UPDATE USING (id < 0);
SELECT role, bind_for(role) FROM unnest('{sets_user,sets_group,sets_member,sets_owner,sets_bypasses,postgres}'::text[]) AS role;
ALTER TABLE sets.t FORCE ROW LEVEL SECURITY;
SELECT bind_for('sets_owner');
ALTER TABLE sets.t NO FORCE ROW LEVEL SECURITY;
REVOKE sets_group FROM sets_member;
SELECT bind_for('sets_member');
GRANT sets_group TO sets_member;
SELECT bind_for('sets_member');
SELECT bind_for('sets_member', 'name=eq.x');

-- A partitioned table's own policies apply, and tables in sub-selects have theirs.
CREATE TABLE sets.parts (id int, owner int) PARTITION BY LIST (owner);
CREATE TABLE sets.part PARTITION OF sets.parts DEFAULT;
ALTER TABLE sets.parts ENABLE ROW LEVEL SECURITY;
ALTER TABLE sets.part ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON sets.parts USING (owner IN (SELECT tenant_id FROM sets.members));
CREATE POLICY p ON sets.part USING (false);
SELECT * FROM set_add('parts', 'sets_user', '{"sub": 7}', 'sets.parts'::regclass, NULL);
ALTER TABLE sets.members ENABLE ROW LEVEL SECURITY;
SELECT set_look('parts');
CREATE POLICY p ON sets.members USING (user_id = auth.uid());
SELECT set_look('parts');
SELECT set_remove('parts');
REVOKE SELECT ON sets.members FROM PUBLIC;
SELECT * FROM set_add('parts', 'sets_user', '{"sub": 7}', 'sets.parts'::regclass, NULL);
GRANT SELECT ON sets.members TO PUBLIC;
ALTER TABLE sets.members DISABLE ROW LEVEL SECURITY;

-- What changes a binding, and what does not.
DROP POLICY a ON sets.t;
DROP POLICY b ON sets.t;
DROP POLICY c ON sets.t;
DROP POLICY d ON sets.t;
CREATE POLICY p ON sets.t USING (tenant_id IN (SELECT tenant_id FROM sets.members WHERE user_id = auth.plpgsql_uid()));
SELECT * FROM set_add('seven', 'sets_user', '{"sub": 7}', 'sets.t'::regclass, NULL);
SELECT * FROM set_add('seven again', 'sets_user', '{"sub": 7, "other": 1}', 'sets.t'::regclass, NULL);
SELECT * FROM set_add('eight', 'sets_user', '{"sub": 8}', 'sets.t'::regclass, 'id=gt.0');
SELECT set_look('seven');
ANALYZE sets.t;
ANALYZE sets.members;
CREATE ROLE sets_unrelated;
SELECT set_look('seven');
INSERT INTO sets.members VALUES (7, 5);
SELECT set_look('seven'), set_look('eight');
DELETE FROM sets.members WHERE tenant_id = 5;
INSERT INTO sets.members VALUES (7, 3);
SELECT set_look('seven');
CREATE OR REPLACE FUNCTION auth.plpgsql_uid() RETURNS int LANGUAGE plpgsql STABLE AS
	$$BEGIN RETURN (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')::int + 0; END$$;
SELECT set_look('seven');
ALTER TABLE sets.t RENAME COLUMN tenant_id TO tenant;
SELECT set_look('seven');
ALTER TABLE sets.t RENAME COLUMN tenant TO tenant_id;
ALTER POLICY p ON sets.t USING (owner = auth.uid());
SELECT set_look('seven'), set_look('eight');
ALTER ROLE sets_user RENAME TO sets_client;
SELECT set_look('seven');
ALTER ROLE sets_client RENAME TO sets_user;
SELECT set_look('seven');
SELECT set_remove('seven'), set_remove('seven again'), set_remove('eight');

-- Events.
CREATE FUNCTION auth.may_see(int) RETURNS boolean LANGUAGE plpgsql STABLE AS
	$$BEGIN RETURN $1 = (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')::int; END$$;
CREATE FUNCTION add_all(policy text) RETURNS TABLE (name text, condition text, error text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER POLICY p ON sets.t USING (%s)', policy);
	RETURN QUERY SELECT n, s.condition, s.error FROM (VALUES ('seven', '{"sub": 7}'), ('eight', '{"sub": 8}'), ('none', '{}')) AS c (n, claims),
		set_add(n, 'sets_user', claims, 'sets.t'::regclass, NULL) AS s;
END
$$;
CREATE FUNCTION remove_all() RETURNS void LANGUAGE sql AS $$SELECT set_remove(n) FROM unnest('{seven,eight,none}'::text[]) AS n$$;
-- What the last event does, with and without the index.
CREATE FUNCTION both_ways() RETURNS TABLE (name text, change text, error text) LANGUAGE plpgsql AS $$
DECLARE
	indexed text := (SELECT string_agg(j::text, ' ' ORDER BY j) FROM judged() AS j);
	direct text := (SELECT string_agg(j::text, ' ' ORDER BY j) FROM judged('{seven,eight,none}') AS j WHERE j.change <> 'nothing');
BEGIN
	IF indexed IS DISTINCT FROM direct THEN
		RAISE EXCEPTION 'the index finds %, without it there are %', indexed, direct;
	END IF;
	RETURN QUERY SELECT * FROM judged();
END
$$;
INSERT INTO sets.t VALUES (0, 0, 0, false);

SELECT * FROM add_all('owner = auth.uid()');
INSERT INTO sets.t VALUES (1, 7, 1, false);
SELECT * FROM both_ways();
UPDATE sets.t SET pub = true WHERE id = 1;
SELECT * FROM both_ways();
UPDATE sets.t SET owner = 8 WHERE id = 1;
SELECT * FROM both_ways();
UPDATE sets.t SET owner = NULL WHERE id = 1;
SELECT * FROM both_ways();
UPDATE sets.t SET owner = 7 WHERE id = 1;
SELECT * FROM both_ways();
DELETE FROM sets.t WHERE id = 1;
SELECT * FROM both_ways();
SELECT remove_all();

SELECT * FROM add_all('tenant_id IN (SELECT tenant_id FROM sets.members WHERE user_id = auth.uid())');
UPDATE sets.t SET tenant_id = 3 WHERE id = 0;
SELECT * FROM both_ways();
UPDATE sets.t SET tenant_id = 4 WHERE id = 0;
SELECT * FROM both_ways();
SELECT remove_all();

SELECT * FROM add_all('pub OR auth.may_see(owner)');
INSERT INTO sets.t VALUES (2, 8, 1, false);
SELECT * FROM both_ways();
UPDATE sets.t SET pub = true WHERE id = 2;
SELECT * FROM both_ways();
SELECT remove_all();

SELECT * FROM add_all('(tenant_id, auth.uid()) IN (SELECT tenant_id, user_id FROM sets.members) OR t.name = ''all''');
UPDATE sets.t SET tenant_id = 2 WHERE id = 2;
SELECT * FROM both_ways();
UPDATE sets.t SET name = 'all' WHERE id = 2;
SELECT * FROM both_ways();
SELECT remove_all();

SELECT * FROM add_all('owner = (current_setting(''pg_notifyd.context'', true)::jsonb ->> ''user'')::int AND (t.* IS NULL) IS NOT NULL');
SET pg_notifyd.context = '{"user": 8}';
UPDATE sets.t SET pub = false WHERE id = 2;
SELECT * FROM both_ways();
RESET pg_notifyd.context;
SELECT remove_all();

-- Whether what sub-selects read has changed. That is decided when the transactions that wrote before have ended.
CREATE FUNCTION settles(seconds float8 DEFAULT 10) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + seconds * interval '1 second';
BEGIN
	WHILE clock_timestamp() < until LOOP
		IF set_unchanged('seven') THEN
			RETURN true;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN false;
END
$$;
CREATE TABLE sets.lookup (u int, tenant int, until timestamptz DEFAULT 'infinity');
INSERT INTO sets.lookup VALUES (7, 1);
CREATE VIEW sets.lookup_view AS SELECT * FROM sets.lookup WHERE u > 0;
CREATE TABLE sets.parted (u int, tenant int) PARTITION BY LIST (u);
GRANT SELECT ON sets.lookup, sets.lookup_view, sets.parted TO PUBLIC;
CREATE FUNCTION auth.deep(n int) RETURNS int LANGUAGE sql STABLE AS $$SELECT CASE WHEN n > 0 THEN auth.deep(n - 1) ELSE 7 END$$;
CREATE FUNCTION add_one(policy text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER POLICY p ON sets.t USING (%s)', policy);
	RETURN (SELECT condition FROM set_add('seven', 'sets_user', '{"sub": 7}', 'sets.t'::regclass, NULL));
END
$$;
SELECT add_one('tenant_id IN (SELECT tenant FROM sets.lookup_view WHERE u = auth.uid()) AND (SELECT count(*) FROM sets.members) > 0');
SELECT settles();
SELECT set_unchanged('seven');
INSERT INTO sets.lookup VALUES (8, 8);
SELECT set_unchanged('seven');
SELECT settles();
INSERT INTO sets.members VALUES (9, 9);
SELECT set_unchanged('seven');
SELECT settles();
BEGIN;
DELETE FROM sets.members WHERE user_id = 9;
SELECT set_unchanged('seven');
SELECT settles(0.1);
ROLLBACK;
SELECT settles();
TRUNCATE sets.lookup;
SELECT set_unchanged('seven');
SELECT settles();
CREATE INDEX ON sets.lookup (u);
SELECT set_unchanged('seven');
SELECT settles();
CREATE TABLE sets.lookup_child () INHERITS (sets.lookup);
SELECT settles(0.1);
DROP TABLE sets.lookup_child;
ALTER TABLE sets.lookup SET UNLOGGED;
SELECT settles(0.1);
SELECT set_remove('seven');
-- What cannot be told.
SELECT add_one('tenant_id IN (SELECT tenant FROM sets.parted WHERE u = auth.uid())');
SELECT settles(0.1), set_remove('seven');
SELECT add_one('owner = auth.plpgsql_uid() AND tenant_id IN (SELECT tenant_id FROM sets.members)');
SELECT settles(0.1), set_remove('seven');
SELECT add_one('tenant_id IN (SELECT tenant_id FROM sets.members WHERE user_id = auth.deep(3))');
SELECT settles(0.1), set_remove('seven');
SELECT add_one('tenant_id IN (SELECT tenant_id FROM sets.members TABLESAMPLE SYSTEM (100))');
SELECT settles(0.1), set_remove('seven');
SELECT add_one('tenant_id IN (SELECT tenant FROM sets.lookup WHERE until > now())');
SELECT settles(0.1), set_remove('seven');
SELECT add_one('owner IN (SELECT oid::int FROM pg_catalog.pg_class WHERE relname = ''none'')');
SELECT settles(0.1), set_remove('seven');
DELETE FROM sets.members WHERE user_id = 9;
DROP VIEW sets.lookup_view;
DROP TABLE sets.lookup, sets.parted;

-- Ranges. Events are judged with and without the index, while filters come and go.
CREATE TABLE sets.r (id serial PRIMARY KEY, i int, n numeric, f float8, s text COLLATE "C", d date, z timestamptz, b bit(3));
GRANT SELECT ON sets.r TO PUBLIC;
SELECT notify_watch('sets.r');
-- Numbers below n that look random, and are the same in every run.
CREATE FUNCTION pick(n int, what text, VARIADIC seed int[]) RETURNS int LANGUAGE sql AS
	$$SELECT abs(hashtext(what || seed::text) % n)$$;
CREATE FUNCTION pick_value(name text, VARIADIC seed int[]) RETURNS text LANGUAGE sql AS $$
	SELECT v[1 + pick(8, name, VARIADIC seed)] FROM (SELECT (CASE name
		WHEN 'i' THEN '{-2147483648,-3,0,1,2,3,5,8}' WHEN 'n' THEN '{-1.50,0,0.0,1.0,1.00,2.5,1e20,NaN}'
		WHEN 'f' THEN '{-Infinity,-1.5,-0,0,1.5,2,Infinity,NaN}' WHEN 's' THEN '{"",a,A,b,ab,Z,z,"a b"}'
		WHEN 'd' THEN '{-infinity,1999-12-31,2024-02-28,2024-02-29,2024-03-01,infinity,NULL,2024-03-02}'
		WHEN 'z' THEN '{2024-01-01 00:00Z,2024-01-01 01:00+01,2024-02-29 12:00Z,infinity,-infinity,2024-01-02 00:00Z,2024-01-03 00:00Z,NULL}'
		ELSE '{000,001,010,011,100,101,110,111}' END)::text[] AS v) AS v$$;
CREATE FUNCTION pick_filter(k int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s=%s%s.%s', c, CASE WHEN pick(8, 'not', k, j) = 0 THEN 'not.' END,
		(ARRAY['gt', 'gte', 'lt', 'lte', 'gte', 'lte', CASE WHEN c = 'b' THEN 'eq' ELSE 'gt' END])[1 + pick(7, 'op', k, j)],
		coalesce(pick_value(c, k, j), 'infinity')), '&' ORDER BY j)
	FROM generate_series(0, pick(4, 'n', k)) AS j, substr('infsdzb', 1 + pick(7, 'column', k, j / 3), 1) AS c$$;
CREATE FUNCTION add_ranges(low int, high int) RETURNS TABLE (filters bigint, errors bigint) LANGUAGE sql AS $$
	SELECT count(*), count(error) FROM generate_series(low, high) AS k,
		set_add('r' || k, 'sets_user', NULL, 'sets.r'::regclass,
			CASE WHEN k % 20 = 0 THEN format('or=(i.lt.%s,n.gt.%s,s.eq.a)', k % 7, k % 4) ELSE pick_filter(k) END) AS s$$;
CREATE FUNCTION compare_ranges(first bigint, low int, high int) RETURNS TABLE (events bigint, changes bigint) LANGUAGE plpgsql AS $$
DECLARE
	names text[] := (SELECT array_agg('r' || k) FROM generate_series(low, high) AS k);
	each bigint;
BEGIN
	events := 0;
	changes := 0;
	FOR each IN SELECT id FROM notifyd.log_0 WHERE id > first UNION SELECT id FROM notifyd.log_1 WHERE id > first ORDER BY id LOOP
		IF (SELECT string_agg(j::text, ' ' ORDER BY j) FROM set_judge(each) AS j) IS DISTINCT FROM
			(SELECT string_agg(j::text, ' ' ORDER BY j) FROM set_judge(each, names) AS j WHERE j.change <> 'nothing') THEN
			RAISE EXCEPTION 'the index finds other sets for event %', each;
		END IF;
		events := events + 1;
		changes := changes + (SELECT count(*) FROM set_judge(each));
	END LOOP;
	RETURN NEXT;
END
$$;
SELECT pick_filter(k) FROM generate_series(1, 3) AS k;
SELECT last_event() AS before \gset
INSERT INTO sets.r (i, n, f, s, d, z, b) SELECT pick_value('i', k)::int, pick_value('n', k)::numeric, pick_value('f', k)::float8,
	pick_value('s', k), pick_value('d', k)::date, pick_value('z', k)::timestamptz, pick_value('b', k)::bit(3) FROM generate_series(1, 60) AS k;
UPDATE sets.r SET i = pick_value('i', id + 1)::int, n = pick_value('n', id + 1)::numeric, s = pick_value('s', id + 1),
	d = pick_value('d', id + 1)::date WHERE id % 3 = 0;
UPDATE sets.r SET i = NULL, f = pick_value('f', id + 1)::float8, b = NULL WHERE id % 3 = 1;
DELETE FROM sets.r WHERE id % 2 = 0;
SELECT * FROM add_ranges(1, 300);
SELECT * FROM compare_ranges(:before, 1, 300);
SELECT count(set_remove('r' || k)) FROM generate_series(1, 150) AS k;
SELECT * FROM compare_ranges(:before, 151, 300);
SELECT * FROM add_ranges(301, 400);
SELECT * FROM compare_ranges(:before, 151, 400);
SELECT count(set_remove('r' || k)) FROM generate_series(151, 400) AS k;
-- Values of another type than the column's, and functions that might fail.
ALTER TABLE sets.r ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON sets.r USING (auth.uid()::bigint <= i AND i < (auth.uid() + 3)::smallint AND d >= '2024-02-28 12:00'::timestamp);
SELECT s.condition FROM generate_series(1, 2) AS k, set_add('r' || k, 'sets_user', format('{"sub": %s}', k), 'sets.r'::regclass, NULL) AS s;
SELECT count(s.condition) FROM generate_series(3, 10) AS k, set_add('r' || k, 'sets_user', format('{"sub": %s}', k - 5), 'sets.r'::regclass, NULL) AS s;
SELECT * FROM compare_ranges(:before, 1, 10);
SELECT count(set_remove('r' || k)) FROM generate_series(1, 10) AS k;
DROP TABLE sets.r;

-- Arrays whose elements have no hash function.
CREATE TABLE sets.h (id int PRIMARY KEY, b bit(3)[], m money[], n int[]);
GRANT SELECT ON sets.h TO PUBLIC;
SELECT notify_watch('sets.h');
SELECT name, s.* FROM (VALUES ('seven', 'b=eq.{101}'), ('eight', 'm=eq.{1}'), ('none', 'n=eq.{1}')) AS f (name, filter),
	set_add(name, 'sets_user', NULL, 'sets.h'::regclass, filter) AS s;
INSERT INTO sets.h VALUES (1, '{101}', '{2}', '{1}');
SELECT * FROM both_ways();
SELECT remove_all();
DROP TABLE sets.h;

-- A binding is not used for a table that has changed under it.
SELECT name, condition FROM add_all('owner = auth.uid() OR tenant_id = 1');
ALTER POLICY p ON sets.t USING (true);
ALTER TABLE sets.t ALTER owner TYPE text;
UPDATE sets.t SET owner = '7' WHERE id = 2;
SELECT * FROM judged();
SELECT * FROM judged('{seven,eight,none}');
SELECT set_look('seven'), set_look('eight'), set_look('none');
SELECT * FROM both_ways();
ALTER TABLE sets.t ALTER owner TYPE int USING owner::int;
SELECT remove_all();
-- A reset has no rows.
SELECT name, condition FROM add_all('owner = auth.uid()');
SELECT * FROM both_ways();
SELECT remove_all();

-- Messages.
SELECT name, s.* FROM (VALUES ('room 5', 'payload->>room=eq.5'), ('room 6', 'payload->>room=eq.6'), ('from', 'context->>user=eq.1'), ('both', 'payload->n=gt.1')) AS f (name, filter),
	set_add(name, 'sets_user', NULL, 0, filter) AS s;
SELECT notify_send('talk', '{"room": 5, "n": 2}');
SELECT * FROM judged();
SELECT * FROM judged('{room 5,room 6,from,both}');
SELECT set_remove(n) FROM unnest('{room 5,room 6,from,both}'::text[]) AS n;

-- Functions see the search_path of a session, not the feed's.
CREATE FUNCTION auth.tenants() RETURNS SETOF int LANGUAGE plpgsql STABLE AS
	$$BEGIN RETURN QUERY SELECT tenant_id FROM sets_lookup; END$$;
CREATE TABLE public.sets_lookup AS SELECT 1 AS tenant_id;
GRANT SELECT ON public.sets_lookup TO PUBLIC;
SET search_path = pg_catalog;
SELECT * FROM public.bind('tenant_id IN (SELECT auth.tenants())');
RESET search_path;
DROP TABLE public.sets_lookup;

-- Policies that fail for one identity alone. The row's name is what the policy executes.
CREATE FUNCTION auth.hostile(code text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF current_setting('request.jwt.claims', true) LIKE '%8%' THEN
		EXECUTE code;
	END IF;
	RETURN true;
END
$$;
SELECT error FROM add_all('auth.hostile(name)');
CREATE TABLE sets.target (id int);
GRANT ALL ON sets.target TO PUBLIC;
GRANT CREATE ON SCHEMA sets TO PUBLIC;
\set VERBOSITY terse
INSERT INTO sets.t (id, name) VALUES (10, 'SELECT 1');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (11, 'SELECT 1/0');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (12, 'DO $$BEGIN LOOP NULL; END LOOP; END$$');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (13, 'SELECT pg_sleep(100)');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (14, 'INSERT INTO sets.target VALUES (1)');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (15, 'SET ROLE postgres');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (16, 'CREATE TABLE sets.made ()');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (17, 'CREATE TEMPORARY TABLE made ()');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (18, 'SELECT pg_terminate_backend(pg_backend_pid())');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (19, 'DO $$BEGIN LOOP BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled OR assert_failure THEN END; END LOOP; END$$');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (20, 'DO $$BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN END$$');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (21, 'RESET SESSION AUTHORIZATION');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (22, 'SET transaction_read_only = off');
SELECT * FROM both_ways();
-- What these leave is undone.
INSERT INTO sets.t (id, name) VALUES (23, 'LOCK TABLE sets.target IN ACCESS EXCLUSIVE MODE');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (24, 'SELECT set_config(''work_mem'', ''99kB'', false)');
SELECT * FROM both_ways();
INSERT INTO sets.t (id, name) VALUES (25, 'LISTEN leftover');
SELECT * FROM both_ways();
SELECT count(*) FROM pg_locks WHERE relation = 'sets.target'::regclass;
SELECT current_setting('work_mem') = '99kB', current_user, session_user, current_setting('transaction_read_only'), current_setting('request.jwt.claims', true);
SELECT pg_listening_channels();
SELECT remove_all();

-- A policy that fails while it is bound.
SELECT error FROM add_all('owner = auth.plpgsql_uid() / 0');

DROP SCHEMA sets CASCADE;
DROP SCHEMA auth CASCADE;
DROP FUNCTION set_add, set_remove, set_look, set_judge, last_event, judged, bind, bind_for, add_all, remove_all, both_ways;
DROP EXTENSION pg_notifyd CASCADE;
DROP ROLE sets_user, sets_other, sets_member, sets_group, sets_owner, sets_bypasses, sets_unrelated;
