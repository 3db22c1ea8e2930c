"""Which rows a member may see: the row security of the tables t and h, memberships, and filters; in SQL, and what it means.

A state is what row security and memberships are after a transaction of the ruler (ruler.py):
{"t": {"on": True, "policies": {"p": "own"}}, "h": …, "members": [["u1", 2]]}.
"""

import collections
import json

ROLE = "member"
TABLES = ("t", "h")             # with row security; of h the watch captures id and tag only
CARRIED = {"b": ("id", "tag"), "h": ("id", "tag")}
USERS = 5
TENANTS = 4

Policy = collections.namedtuple("Policy", "sql sees")   # sees(row, claims, tenants)

MINE = "(SELECT notify_claims() ->> 'sub')"
PERMISSIVE = {
    "own": Policy("owner = " + MINE, lambda row, claims, tenants: row["owner"] == claims["sub"]),
    "tenant": Policy("tenant = (notify_claims() ->> 'tenant')::int",
                     lambda row, claims, tenants: row["tenant"] == claims["tenant"]),
    "members": Policy("tenant IN (SELECT m.tenant FROM members m WHERE m.u = notify_claims() ->> 'sub')",
                      lambda row, claims, tenants: row["tenant"] in tenants),
    "exists": Policy("EXISTS (SELECT FROM members m WHERE m.tenant = {table}.tenant AND m.u = notify_claims() ->> 'sub')",
                     lambda row, claims, tenants: row["tenant"] in tenants),
    "function": Policy("tenant = ANY (my_tenants())", lambda row, claims, tenants: row["tenant"] in tenants),
    "new": Policy("v < 2", lambda row, claims, tenants: row["v"] < 2),
}
RESTRICTIVE = {
    "not 0": Policy("tenant <> 0", lambda row, claims, tenants: row["tenant"] != 0),
    "low": Policy("v < 5", lambda row, claims, tenants: row["v"] < 5),
    "known": Policy("tenant IN (SELECT tenant FROM members) OR owner = " + MINE,
                    lambda row, claims, tenants: row["tenant"] in tenants or row["owner"] == claims["sub"]),
}
POLICIES = {**PERMISSIVE, **RESTRICTIVE}
BY_MEMBERSHIP = {"members", "exists", "function", "known"}
SLOTS = {"p": PERMISSIVE, "q": PERMISSIVE, "r": RESTRICTIVE}   # the policies that a table may have

FIRST = {"t": {"on": True, "policies": {"p": "own", "q": "members"}}, "h": {"on": True, "policies": {"p": "function"}},
         "members": [["u1", 1], ["u2", 1], ["u2", 2]]}

Filter = collections.namedtuple("Filter", "text sql selects")
ALL = Filter(None, "true", lambda row: True)
BY_TAG = (
    Filter("tag=like.1.*", "tag LIKE '1.%'", lambda row: row["tag"].startswith("1.")),
    Filter("id=lte.30", "id <= 30", lambda row: row["id"] <= 30),
    Filter("id=in.(1,2,3,5,8,13,21)", "id IN (1, 2, 3, 5, 8, 13, 21)", lambda row: row["id"] in (1, 2, 3, 5, 8, 13, 21)),
)
BY_VALUE = BY_TAG + (
    Filter("v=gte.2", "v >= 2", lambda row: row["v"] >= 2),
    Filter("v=eq.1", "v = 1", lambda row: row["v"] == 1),
)
FILTERS = {
    "a": BY_VALUE, "p": BY_VALUE, "b": BY_TAG, "h": BY_TAG,
    "t": BY_VALUE + (
        Filter("tenant=eq.1", "tenant = 1", lambda row: row["tenant"] == 1),
        Filter("tenant=in.(0,2)&v=lt.4", "tenant IN (0, 2) AND v < 4", lambda row: row["tenant"] in (0, 2) and row["v"] < 4),
        Filter("or=(owner.eq.u2,tenant.neq.1)", "owner = 'u2' OR tenant <> 1",
               lambda row: row["owner"] == "u2" or row["tenant"] != 1),
    ),
}

SCHEMA = """
CREATE ROLE member;
GRANT member TO authenticator;
CREATE TABLE members (u text, tenant int, PRIMARY KEY (u, tenant));
CREATE TABLE rulings (n bigserial PRIMARY KEY, tx text, state jsonb);
CREATE FUNCTION my_tenants() RETURNS int[] STABLE LANGUAGE plpgsql AS $$
BEGIN
	RETURN ARRAY (SELECT tenant FROM members WHERE u = notify_claims() ->> 'sub');
END $$;
ALTER TABLE members ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON members USING (u = (SELECT notify_claims() ->> 'sub'));
CREATE TABLE t (
	id bigint PRIMARY KEY, tenant int NOT NULL DEFAULT floor(random() * 4),
	owner text NOT NULL DEFAULT 'u' || floor(random() * 5), v int, tag text);
CREATE TABLE h (LIKE t INCLUDING ALL);
SELECT notify_watch('t');
SELECT notify_watch('h', cols => '{id,tag}', op => 'insert,update,delete,truncate');
CREATE POLICY all_rows ON t FOR SELECT TO reader, customer USING (true);
CREATE POLICY all_rows ON h FOR SELECT TO reader, customer USING (true);
GRANT SELECT ON t, h TO reader, customer;
GRANT SELECT ON a, b, p, t, h, members TO member;
SELECT notify_grant('news', 'member');
"""


# ---------------- states ----------------

def using(table, variant):
    return " USING (%s)" % POLICIES[variant].sql.format(table=table)


def create(table, slot, variant):
    return "CREATE POLICY %s ON %s AS %s FOR SELECT TO member%s" % (
        slot, table, "RESTRICTIVE" if SLOTS[slot] is RESTRICTIVE else "PERMISSIVE", using(table, variant))


def enable(table, on):
    return "ALTER TABLE %s %s ROW LEVEL SECURITY" % (table, "ENABLE" if on else "DISABLE")


def first_state():
    """The statements that make the state FIRST."""
    yield from ("INSERT INTO members VALUES ('%s', %d)" % tuple(each) for each in FIRST["members"])
    for table in TABLES:
        yield enable(table, FIRST[table]["on"])
        yield from (create(table, slot, variant) for slot, variant in FIRST[table]["policies"].items())
    yield "INSERT INTO rulings (tx, state) VALUES ('first', '%s')" % json.dumps(FIRST)


def tenants_of(state, claims):
    return frozenset(tenant for user, tenant in state["members"] if user == claims["sub"])


def key(state, table, claims):
    """
    What a member sees of a table, comparable: two states in which it may see the same rows for sure have the same key.
    None: all rows. Otherwise the variants of its policies, and its tenants if these use them.
    """
    if table not in TABLES or not state[table]["on"]:
        return None
    variants = frozenset(state[table]["policies"].values())
    if not variants & PERMISSIVE.keys():
        return frozenset(), None
    return variants, tenants_of(state, claims) if variants & BY_MEMBERSHIP else None


def sees(known, row, claims):
    """Whether a member may see a row if its key is this."""
    if known is None:
        return True
    variants, tenants = known
    return (any(POLICIES[each].sees(row, claims, tenants) for each in variants & PERMISSIVE.keys())
            and all(POLICIES[each].sees(row, claims, tenants) for each in variants & RESTRICTIVE.keys()))


# ---------------- subscriptions of members ----------------

class Want:
    """What a member subscribes to. name: the subscription's tag; columns: None, or those of new and old."""

    def __init__(self, name, channel, chosen, columns, snapshot, claims):
        self.name = name
        self.channel = channel
        self.filter = chosen
        self.columns = columns
        self.snapshot = snapshot    # whether it begins with the rows
        self.claims = claims

    def request(self):
        params = {"channel": self.channel, "filter": self.filter.text, "columns": self.columns, "tag": self.name,
                  "snapshot": self.snapshot or None}
        return {name: value for name, value in params.items() if value is not None}

    def shown(self, row):
        """Of a row of the ledger, what events have."""
        names = self.columns or CARRIED.get(self.channel)
        return row if names is None or row is None else {name: row[name] for name in names}

    def selects(self, known, row):
        """Whether a row is in the set if the member's key is this."""
        return self.filter.selects(row) and sees(known, row, self.claims)

    def select(self, cluster):
        """The set as it is now: key -> tag."""
        connection = cluster.connect()
        try:
            connection.autocommit = False
            cursor = connection.cursor()
            cursor.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps(self.claims),))
            cursor.execute("SET LOCAL ROLE member")
            cursor.execute("SELECT id, tag FROM %s WHERE %s" % (self.channel, self.filter.sql))
            return dict(cursor.fetchall())
        finally:
            connection.close()

    def __str__(self):
        return "%s %s" % (self.claims["sub"], json.dumps(self.request()))


def make_wants(rng, claims):
    """Both tables with row security as they are, and some with filters."""
    wants = [("t", ALL, None), ("h", ALL, None)]
    for channel in ("t", rng.choice(("a", "b", "p", "h"))):
        columns = ["id", "tag"] if rng.random() < 0.3 else None
        wants.append((channel, rng.choice(FILTERS[channel]), columns))
    return [Want("s%d" % i, *want, rng.random() < 0.5, claims) for i, want in enumerate(wants)]
