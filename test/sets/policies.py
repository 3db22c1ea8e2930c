"""Random policies, what they use, and changes of both."""

from values import USERS, literal

FUNCTIONS = """
CREATE FUNCTION {s}.uid() RETURNS text LANGUAGE sql STABLE AS $$ SELECT notify_claims() ->> 'sub' $$;
CREATE FUNCTION {s}.uid_pl() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN RETURN current_setting('request.jwt.claims', true)::json ->> 'sub'; END $$;
CREATE FUNCTION {s}.tenants() RETURNS SETOF int LANGUAGE sql STABLE SECURITY DEFINER
	AS $$ SELECT tenant FROM {s}.members WHERE u = {s}.uid() $$;
CREATE FUNCTION {s}.rank() RETURNS int LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN RETURN (SELECT max(lvl) FROM {s}.members WHERE u = {s}.uid()); END $$;
CREATE FUNCTION {s}.can_see(t int) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN RETURN EXISTS (SELECT FROM {s}.members WHERE u = {s}.uid() AND tenant = t); END $$;
CREATE TABLE {s}.teams (tenant int, boss text);
ALTER TABLE {s}.teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE {s}.teams OWNER TO owner;
ALTER TABLE {s}.teams FORCE ROW LEVEL SECURITY;
GRANT SELECT ON {s}.teams TO PUBLIC;
CREATE POLICY own ON {s}.teams USING (boss = {s}.uid());
CREATE POLICY member ON {s}.teams TO app USING (tenant IN (SELECT {s}.tenants()));
INSERT INTO {s}.teams VALUES (1, 'u1'), (2, 'u2'), (2, 'u1');
CREATE FUNCTION {s}.my_teams() RETURNS int[] LANGUAGE plpgsql STABLE
	AS $$ BEGIN RETURN ARRAY(SELECT tenant FROM {s}.teams); END $$;
CREATE FUNCTION {s}.small(n int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT n < 3 $$;
CREATE FUNCTION {s}.volatile() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN random() >= 0; END $$;
"""

# What only the user mad runs. Others must not be disturbed.
HOSTILE = """
CREATE FUNCTION {s}.hostile(how text, value text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF {s}.uid() IS DISTINCT FROM 'mad' THEN
		RETURN true;
	END IF;
	CASE how
		WHEN 'raise' THEN RAISE EXCEPTION 'HOSTILE %', value;
		WHEN 'cast' THEN RETURN ('HOSTILE' || value)::int = 1;
		WHEN 'sleep' THEN PERFORM pg_sleep(100);
		WHEN 'loop' THEN LOOP END LOOP;
		WHEN 'catch' THEN
			IF current_setting('application_name') = 'oracle' THEN
				RAISE EXCEPTION 'nothing would end this';
			END IF;
			LOOP
				BEGIN
					PERFORM pg_sleep(100);
				EXCEPTION WHEN query_canceled THEN NULL;
				END;
			END LOOP;
		WHEN 'terminate' THEN PERFORM pg_terminate_backend(pg_backend_pid());
		WHEN 'terminate all' THEN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity;
		WHEN 'write' THEN INSERT INTO {s}.members VALUES ('mad', 1, 1);
		WHEN 'role' THEN PERFORM set_config('role', 'boss', false);
		WHEN 'reset' THEN EXECUTE 'RESET ROLE';
		WHEN 'user' THEN EXECUTE 'SET SESSION AUTHORIZATION DEFAULT';
		WHEN 'path' THEN PERFORM set_config('search_path', '', false), set_config('request.jwt.claims', '{{}}', false);
		WHEN 'temporary' THEN CREATE TEMPORARY TABLE hostile_rows (n int);
		WHEN 'lock' THEN PERFORM pg_advisory_lock(1);
		WHEN 'listen' THEN EXECUTE 'LISTEN hostile';
	END CASE;
	RETURN false;
END $$;
"""
HOWS = ["raise", "cast", "sleep", "loop", "catch", "terminate", "terminate all", "write", "role", "reset", "user", "path",
        "temporary", "lock", "listen"]

# How each depends on something else than the row and the token: "" not at all; members: on rows of that table, by
# values that are the same for all rows; rows: on rows of that table that belong to the row; now: on the time; whole:
# on columns that are added or dropped later.
CONDITIONS = [
    ("", "owner = notify_claims() ->> 'sub'"),
    ("", "owner = {s}.uid()"),
    ("", "owner = (SELECT {s}.uid())"),
    ("", "(SELECT {s}.uid()) = owner"),
    ("", "owner = {s}.uid_pl()"),
    ("", "owner = (SELECT {s}.uid_pl())"),
    ("", "owner = current_setting('request.jwt.claims', true)::jsonb ->> 'sub'"),
    ("", "level <= (notify_claims() ->> 'level')::int"),
    ("", "level::text = notify_claims() ->> 'level'"),
    ("", "tenant = (notify_claims() ->> 'tenant')::int"),
    ("", "pub"),
    ("", "NOT pub"),
    ("", "pub IS NOT TRUE"),
    ("", "pub OR owner = {s}.uid()"),
    ("", "pub OR (owner = (SELECT {s}.uid()) AND tenant > 2)"),
    ("", "owner = {s}.uid() AND (level = 1 OR level = 2 OR pub)"),
    ("", "hid < 3"),
    ("", "hid_owner = {s}.uid()"),
    ("", "hid_owner = {s}.uid() OR owner = {s}.uid()"),
    ("", "{s}.small(hid)"),
    ("", "{s}.small(level) AND owner IS NOT NULL"),
    ("", "true"),
    ("", "false"),
    ("", "NULL::boolean"),
    ("", "owner IN ('u1', 'u2')"),
    ("", "owner = ANY ('{{u1,u3}}'::text[])"),
    ("", "owner <> {s}.uid()"),
    ("", "owner IS DISTINCT FROM {s}.uid()"),
    ("", "current_user = 'app'"),
    ("", "pg_has_role(current_user, 'app', 'member') AND pub"),
    ("", "viewers @> ARRAY[{s}.uid()]"),
    ("", "{s}.uid() = ANY (viewers)"),
    ("", "doc ->> 'owner' = {s}.uid()"),
    ("", "doc @> jsonb_build_object('owner', {s}.uid())"),
    ("", "CASE WHEN pub THEN true WHEN tenant = 1 THEN owner = {s}.uid() ELSE level > 2 END"),
    ("", "coalesce(owner, 'u1') = {s}.uid()"),
    ("whole", "{t}.* IS NOT NULL OR pub"),
    ("whole", "length({t}::text) % 2 = 0"),
    ("", "starts_with(owner, 'u') AND right(owner, 1)::int <= 2"),
    ("", "{s}.volatile() AND pub"),
    ("", "md5(tag) < '8'"),
    ("", "session_user = 'authenticator' AND pub"),
    ("", "current_setting('request.jwt.claims', true)::json ->> 'role' = current_user AND pub"),
    ("", "current_setting('request.jwt.claim.sub', true) = owner"),
    ("", "owner = ANY (string_to_array({s}.uid() || ',u1', ','))"),
    ("", "tenant::text LIKE (notify_claims() ->> 'tenant') || '%'"),
    ("", "int4range(1, (notify_claims() ->> 'level')::int) @> level"),
    ("", "hid BETWEEN 1 AND (notify_claims() ->> 'level')::int"),
    ("", "(tenant, level) = (1, 2) OR (tenant, owner) IN ((1, 'u1'), (2, {s}.uid()))"),
    ("", "(tenant, level) < (2, 2) OR (owner, tenant) >= ({s}.uid(), 3)"),
    ("", "has_table_privilege(current_user, '{s}.members', 'select') AND pub"),
    ("", "row_security_active('{s}.teams') AND pub"),
    ("", "owner ~ ('^' || {s}.uid() || '$')"),
    ("", "{s}.uid() IS NOT NULL AND level IS NULL"),
    ("", "nullif(owner, 'u1') = {s}.uid() OR greatest(level, 2) = 2"),
    ("", "CASE WHEN notify_claims() ? 'level' THEN level <= (notify_claims() ->> 'level')::int ELSE pub END"),
    ("", "hid > 0 AND 6 / hid > 1"),
    ("", "CASE WHEN hid > 0 THEN 6 / hid > (notify_claims() ->> 'level')::int END"),
    ("", "owner = (SELECT x FROM (VALUES ({s}.uid())) AS v (x))"),
    ("", "tenant = ANY (ARRAY[1, (notify_claims() ->> 'tenant')::int])"),
    ("", "tenant <> ALL (ARRAY[1, (notify_claims() ->> 'tenant')::int])"),
    ("", "owner = {s}.uid() COLLATE \"C\""),
    ("", "owner::varchar(2)::name = {s}.uid()"),
    ("", "viewers && string_to_array({s}.uid(), ',') IS TRUE"),
    ("", "doc ->> 'owner' IN ({s}.uid(), 'u1') AND NOT doc ? 'a'"),
    ("", "random() >= 0 AND owner = {s}.uid()"),
    ("", "owner = {s}.uid() AND gen_random_uuid() IS NOT NULL"),
    ("now", "now() > '2000-01-01' AND owner = {s}.uid()"),
    ("now", "pub AND clock_timestamp() > '2000-01-01'"),
    ("members", "tenant IN (SELECT m.tenant FROM {s}.members m WHERE m.u = {s}.uid())"),
    ("members", "tenant = ANY (SELECT m.tenant FROM {s}.members m WHERE m.u = (SELECT {s}.uid()))"),
    ("members", "tenant = ANY (ARRAY(SELECT m.tenant FROM {s}.members m WHERE m.u = {s}.uid()))"),
    ("members", "tenant IN (SELECT {s}.tenants())"),
    ("members", "tenant NOT IN (SELECT m.tenant FROM {s}.members m WHERE m.u = {s}.uid())"),
    ("members", "EXISTS (SELECT FROM {s}.members m WHERE m.u = {s}.uid() AND m.lvl > 1) AND pub"),
    ("members", "NOT EXISTS (SELECT FROM {s}.members m WHERE m.u = {s}.uid()) OR owner = {s}.uid()"),
    ("members", "level <= (SELECT max(m.lvl) FROM {s}.members m WHERE m.u = {s}.uid())"),
    ("members", "level <= {s}.rank()"),
    ("members", "pub OR tenant IN (SELECT m.tenant FROM {s}.members m WHERE m.u = {s}.uid() AND m.lvl >= 2)"),
    ("members", "tenant IN (SELECT e.tenant FROM {s}.teams e)"),
    ("members", "tenant = ANY ({s}.my_teams())"),
    ("members", "EXISTS (SELECT FROM {s}.teams e WHERE e.boss = {s}.uid()) OR pub"),
    ("members", "level = (SELECT count(*) FROM {s}.teams)"),
    ("rows", "EXISTS (SELECT FROM {s}.teams e WHERE e.tenant = {t}.tenant)"),
    ("rows", "EXISTS (SELECT FROM {s}.members m WHERE m.tenant = {t}.tenant AND m.u = {s}.uid())"),
    ("rows", "(tenant, owner) IN (SELECT m.tenant, m.u FROM {s}.members m WHERE m.lvl > 1)"),
    ("rows", "{s}.can_see(tenant)"),
    ("rows", "level <= (SELECT max(m.lvl) FROM {s}.members m WHERE m.tenant = {t}.tenant)"),
]


def make_condition(rng, maker, memberships, hostile):
    """Returns (what it depends on, condition with {s} and {t})."""
    if hostile and rng.random() < 0.5:
        how = rng.choice(HOWS)
        return "", rng.choice(("{s}.hostile('%s', withheld)", "{s}.hostile('%s')", "(SELECT {s}.hostile('%s'))",
                               "pub OR {s}.hostile('%s', owner)", "pub AND {s}.hostile('%s', owner)")) % how
    if memberships and rng.random() < 0.7:
        return rng.choice([each for each in CONDITIONS if each[0] in ("members", "rows")])
    if rng.random() < 0.15:
        return "", maker.condition().replace("{", "{{").replace("}", "}}")
    uses, condition = rng.choice(CONDITIONS)
    if rng.random() < 0.15:
        more, other = rng.choice(CONDITIONS)
        condition = "(%s) %s (%s)" % (condition, rng.choice(("AND", "OR")), other)
        uses = " ".join(sorted({*uses.split(), *more.split()}))
    return uses, condition


def make_policy(rng, maker, name, memberships, hostile):
    """memberships: mostly by these; hostile: often with HOSTILE. Returns (what it depends on, CREATE POLICY with {s}, {t} and {table})."""
    uses, condition = make_condition(rng, maker, memberships, hostile)
    return uses, "CREATE POLICY %s ON {table} AS %s FOR %s TO %s USING (%s)" % (
        name, "RESTRICTIVE" if rng.random() < 0.2 else "PERMISSIVE", rng.choice(("SELECT", "SELECT", "ALL", "UPDATE")),
        rng.choice(("PUBLIC", "PUBLIC", "PUBLIC", "app", "staff", "app, narrow", "owner")), condition)


def member_change(rng):
    user, tenant = literal(rng.choice(USERS)), rng.randint(1, 4)
    return rng.choice((
        "INSERT INTO {s}.members VALUES (%s, %d, %d)" % (user, tenant, rng.randint(1, 4)),
        "INSERT INTO {s}.members VALUES (%s, %d, %d)" % (user, tenant, rng.randint(1, 4)),
        "DELETE FROM {s}.members WHERE u = %s AND tenant = %d" % (user, tenant),
        "DELETE FROM {s}.members WHERE u = %s" % user,
        "INSERT INTO {s}.teams VALUES (%d, %s)" % (tenant, user),
        "DELETE FROM {s}.teams WHERE boss = %s" % user,
        "UPDATE {s}.teams SET tenant = %d WHERE boss = %s" % (tenant, user),
        "UPDATE {s}.members SET tenant = %d WHERE u = %s" % (tenant, user),
        "UPDATE {s}.members SET lvl = lvl %% 4 + 1 WHERE u = %s" % user))


def function_change(rng):
    return rng.choice((
        "CREATE OR REPLACE FUNCTION {s}.uid_pl() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN %s; END $$"
        % literal(rng.choice(USERS)),
        "CREATE OR REPLACE FUNCTION {s}.small(n int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT n < %d $$"
        % rng.randint(0, 5)))
