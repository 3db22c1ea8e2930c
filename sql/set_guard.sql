-- Code of users that filters and policies run: as the client, restricted, and without effects on others.
CREATE EXTENSION pg_notifyd;
SET client_min_messages = warning;

CREATE FUNCTION set_add(name text, role regrole, claims text, relation oid, filter text, OUT condition text, OUT refreshed boolean, OUT error text)
	LANGUAGE c AS 'pg_notifyd', 'notifyd_set_add';
CREATE FUNCTION set_remove(name text) RETURNS void LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_remove';
CREATE FUNCTION set_judge(id bigint, names text[] DEFAULT NULL, OUT name text, OUT change text, OUT error text) RETURNS SETOF record
	LANGUAGE c AS 'pg_notifyd', 'notifyd_set_judge';
CREATE FUNCTION judged() RETURNS TABLE (name text, change text, error text) LANGUAGE sql AS $$
	SELECT * FROM set_judge((SELECT max(id) FROM (SELECT id FROM notifyd.log_0 UNION SELECT id FROM notifyd.log_1) AS log)) ORDER BY 1$$;
-- What a filter is bound to for a role, or why not.
CREATE FUNCTION try(filter text, role text, relation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result record;
BEGIN
	SELECT * INTO result FROM public.set_add('tried', role::regrole, '{"sub": 7}', relation::regclass, filter);
	IF result.error IS NULL THEN
		PERFORM public.set_remove('tried');
	END IF;
	RETURN coalesce(result.condition, 'refused: ' || result.error);
EXCEPTION WHEN internal_error THEN
	RETURN 'refused: ' || SQLERRM;
END
$$;
CREATE ROLE guard_user;
CREATE ROLE guard_other;
CREATE ROLE guard_operator IN ROLE pg_execute_server_program;
CREATE ROLE guard_owner;
CREATE SCHEMA guard AUTHORIZATION guard_owner;
GRANT USAGE ON SCHEMA guard TO PUBLIC;

-- The input of a value checks constraints of domains.
SET ROLE guard_owner;
CREATE FUNCTION guard.who(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF $1 = 'who' THEN
		RAISE EXCEPTION '% %', current_user, current_setting('transaction_read_only');
	ELSIF $1 = 'long' THEN
		PERFORM pg_sleep(100);
	END IF;
	RETURN true;
END
$$;
CREATE DOMAIN guard.checked AS text CHECK (guard.who(VALUE));
CREATE TYPE guard.pair AS (a int, b guard.checked);
CREATE TYPE guard.mood AS ENUM ('a', 'b');
CREATE TABLE guard.t (id int PRIMARY KEY, c guard.checked, l guard.checked[], p guard.pair, m guard.mood, name text, tenant int);
GRANT SELECT ON guard.t TO PUBLIC;
RESET ROLE;
SELECT notify_watch('guard.t');
SELECT try('l=eq.{who}', 'guard_user', 'guard.t');
SELECT try('l=cs.{who}', 'guard_user', 'guard.t');
SELECT try('p=eq.(1,who)', 'guard_user', 'guard.t');
SELECT try('l=eq.{long}', 'guard_user', 'guard.t');
SELECT try('l=eq.{a,b}', 'guard_user', 'guard.t');
SELECT try('c=eq.who', 'guard_user', 'guard.t');
SELECT current_user, current_setting('transaction_read_only');

-- A function that may execute programs of the server must not be of somebody else.
SELECT filter, try(filter, 'guard_operator', 'guard.t') FROM unnest(ARRAY['l=eq.{a}', 'p=is.null', 'm=eq.a', 'c=eq.a', 'name=eq.a']) AS filter;
SELECT try('l=eq.{a}', current_user, 'guard.t');

-- Operators are PostgreSQL's, or those that a superuser has made for the type.
CREATE FUNCTION public.mood_equal(guard.mood, guard.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1::text = $2::text';
SET ROLE guard_owner;
CREATE FUNCTION guard.equal(guard.mood, guard.mood) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
CREATE OPERATOR guard.= (LEFTARG = guard.mood, RIGHTARG = guard.mood, FUNCTION = guard.equal);
RESET ROLE;
SELECT try('m=eq.a', 'guard_user', 'guard.t');
DROP OPERATOR guard.= (guard.mood, guard.mood);
CREATE OPERATOR guard.= (LEFTARG = guard.mood, RIGHTARG = guard.mood, FUNCTION = guard.equal);
SELECT try('m=eq.a', 'guard_user', 'guard.t');
DROP OPERATOR guard.= (guard.mood, guard.mood);
CREATE OPERATOR guard.= (LEFTARG = guard.mood, RIGHTARG = guard.mood, FUNCTION = public.mood_equal);
SELECT try('m=eq.a', 'guard_user', 'guard.t');
DROP OPERATOR guard.= (guard.mood, guard.mood);
DROP FUNCTION public.mood_equal;

-- Patterns that are none, and what fails later.
SELECT filter, try(filter, 'guard_user', 'guard.t') FROM unnest(ARRAY['name=match.((((', 'name=imatch(any).{a,((((}', 'name=match.^a+$', 'c=match.[', 'name=not.match(all).{a,b}']) AS filter;
SELECT error FROM set_add('filter', 'guard_user', NULL, 'guard.t'::regclass, 'name=like.a\');
INSERT INTO guard.t (id, name) VALUES (1, 'ab');
SELECT * FROM judged();
SELECT set_remove('filter');

-- What a policy sets for one identity is not set for the next one.
ALTER TABLE guard.t ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION public.my_tenant() RETURNS int LANGUAGE sql STABLE AS
	$$SELECT (current_setting('request.jwt.claims', true)::jsonb ->> 'tenant')::int$$;
CREATE FUNCTION public.can_see(int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce(current_setting('app.tenant', true), '') = '' THEN
		PERFORM set_config('app.tenant', public.my_tenant()::text, true);
	END IF;
	RETURN $1 = current_setting('app.tenant')::int;
END
$$;
CREATE POLICY p ON guard.t TO guard_user USING (can_see(tenant));
CREATE FUNCTION add_tenants() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT error FROM (VALUES ('one', '{"tenant": 1}'), ('two', '{"tenant": 2}')) AS c (name, claims),
		set_add(name, 'guard_user', claims, 'guard.t'::regclass, NULL) WHERE error IS NOT NULL$$;
CREATE FUNCTION remove_tenants() RETURNS void LANGUAGE sql AS $$SELECT set_remove('one'), set_remove('two')$$;
SELECT add_tenants();
INSERT INTO guard.t (id, tenant) VALUES (2, 1);
SELECT * FROM judged();
INSERT INTO guard.t (id, tenant) VALUES (3, 2);
SELECT * FROM judged();
SELECT remove_tenants();

-- Code behind domains and PostgreSQL's own functions sees the claims of its identity.
CREATE DOMAIN my_tenant AS int CHECK (VALUE = my_tenant());
CREATE POLICY other ON guard.t TO guard_other USING (tenant::my_tenant IS NOT NULL);
SELECT add_tenants();
SELECT error FROM set_add('other', 'guard_other', '{"tenant": 2}', 'guard.t'::regclass, NULL);
INSERT INTO guard.t (id, tenant) VALUES (4, 1);
SELECT * FROM judged();
SELECT remove_tenants(), set_remove('other');
ALTER POLICY p ON guard.t USING ((xpath('//my_tenant/text()', query_to_xml('SELECT public.my_tenant()', true, false, '')))[1]::text = tenant::text);
SELECT add_tenants();
INSERT INTO guard.t (id, tenant) VALUES (5, 2);
SELECT * FROM judged();
SELECT remove_tenants();

-- Locks, and other effects that do not end with the evaluation.
ALTER POLICY p ON guard.t USING (pg_try_advisory_lock(id));
SELECT add_tenants();
CREATE FUNCTION locked(bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_xact_lock($1); RETURN true; END$$;
ALTER POLICY p ON guard.t USING (locked(id));
SELECT add_tenants();
INSERT INTO guard.t (id, tenant) VALUES (6, 2);
SELECT * FROM judged();
SELECT remove_tenants();
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
ALTER POLICY p ON guard.t USING (pg_current_xact_id() IS NOT NULL);
SELECT add_tenants();

CREATE FUNCTION execute(code text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN EXECUTE code; RETURN true; END$$;
ALTER POLICY other ON guard.t TO guard_operator USING (execute(name));
SELECT error FROM set_add('operator', 'guard_operator', NULL, 'guard.t'::regclass, NULL);
INSERT INTO guard.t (id, name) VALUES (11, 'COPY (SELECT 1) TO PROGRAM ''cat >/dev/null''');
SELECT * FROM judged();
INSERT INTO guard.t (id, name) VALUES (12, 'SET LOCAL work_mem = 64');
SELECT * FROM judged();
SELECT set_remove('operator');

-- A function that catches its cancellation and returns.
CREATE FUNCTION caught(int, OUT result boolean) LANGUAGE plpgsql AS
	$$BEGIN result := true; PERFORM pg_sleep($1); EXCEPTION WHEN query_canceled THEN END$$;
ALTER POLICY p ON guard.t USING (caught(tenant));
SELECT add_tenants();
INSERT INTO guard.t (id, tenant) VALUES (7, 100);
SELECT * FROM judged();
SELECT remove_tenants();

-- Comparing texts can fail: which collation decides?
ALTER TABLE guard.t ADD x text COLLATE "C", ADD y text COLLATE "POSIX";
ALTER POLICY p ON guard.t USING (x = y);
SELECT add_tenants();
INSERT INTO guard.t (id, x, y) VALUES (8, 'x', 'x');
SELECT * FROM judged();
SELECT remove_tenants();
CREATE TABLE guard.one AS SELECT text 'x' COLLATE "POSIX" AS y;
GRANT SELECT ON guard.one TO PUBLIC;
ALTER POLICY p ON guard.t USING (x = (SELECT y FROM guard.one) OR x > (SELECT y FROM guard.one));
SELECT add_tenants();
INSERT INTO guard.t (id, x) VALUES (9, 'x');
SELECT * FROM judged();
SELECT remove_tenants();
ALTER TABLE guard.t DISABLE ROW LEVEL SECURITY;

DROP FUNCTION set_add, set_remove, set_judge, judged, try, add_tenants, remove_tenants;
DROP SCHEMA guard CASCADE;
DROP DOMAIN my_tenant;
DROP FUNCTION can_see, my_tenant, locked, caught, execute;
DROP EXTENSION pg_notifyd CASCADE;
DROP ROLE guard_user, guard_other, guard_operator, guard_owner;
