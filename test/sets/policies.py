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
CREATE FUNCTION {s}.small(n int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT n < 3 $$;
CREATE FUNCTION {s}.volatile() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN random() >= 0; END $$;
"""

# How each depends on something else than the row and the token: "" not at all; members: on rows of that table, by
# values that are the same for all rows; rows: on rows of that table that belong to the row; now: on the time.
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
    ("", "{t}.* IS NOT NULL OR pub"),
    ("", "length({t}::text) % 2 = 0"),
    ("", "starts_with(owner, 'u') AND right(owner, 1)::int <= 2"),
    ("", "{s}.volatile() AND pub"),
    ("", "md5(tag) < '8'"),
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
    ("rows", "EXISTS (SELECT FROM {s}.members m WHERE m.tenant = {t}.tenant AND m.u = {s}.uid())"),
    ("rows", "{s}.can_see(tenant)"),
    ("rows", "level <= (SELECT max(m.lvl) FROM {s}.members m WHERE m.tenant = {t}.tenant)"),
]


def make_condition(rng, maker, memberships):
    """Returns (what it depends on, condition with {s} and {t})."""
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


def make_policy(rng, maker, name, memberships):
    """memberships: mostly by these. Returns (what it depends on, CREATE POLICY with {s}, {t} and {table})."""
    uses, condition = make_condition(rng, maker, memberships)
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
        "UPDATE {s}.members SET tenant = %d WHERE u = %s" % (tenant, user),
        "UPDATE {s}.members SET lvl = lvl %% 4 + 1 WHERE u = %s" % user))


def function_change(rng):
    return rng.choice((
        "CREATE OR REPLACE FUNCTION {s}.uid_pl() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN %s; END $$"
        % literal(rng.choice(USERS)),
        "CREATE OR REPLACE FUNCTION {s}.small(n int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT n < %d $$"
        % rng.randint(0, 5)))
