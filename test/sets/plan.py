"""
What a seed makes: tables, policies, clients and transactions, all as text. A plan does not depend on how it is played,
so a part of it can be played again alone, and it can be stored as JSON.

Every table has a shadow with the same policies, which keeps all versions of its rows. So SELECT can also tell whether
today's policies let a role see a version that is gone. Canaries: a version has its own tag, and values of
secret and withheld that begin with SECRET and WITHHELD.
"""

import random

from alters import alteration
from filters import Maker, array
from policies import FUNCTIONS, HOSTILE, function_change, make_policy, member_change
from values import KEY_TYPES, TYPES, USERS, identifier, literal

# Roles of the cluster. narrow has privileges on some columns only.
ROLES = ("app", "staff", "apart", "owner", "bypass", "boss", "narrow")
CLUSTER = """
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE app; CREATE ROLE owner; CREATE ROLE bypass BYPASSRLS; CREATE ROLE boss SUPERUSER; CREATE ROLE narrow;
CREATE ROLE staff IN ROLE app; CREATE ROLE apart NOINHERIT IN ROLE app;
GRANT app, staff, apart, owner, bypass, boss, narrow TO authenticator;
CREATE EXTENSION pg_notifyd;
CREATE EXTENSION citext;
SELECT notify_grant('fence', 'boss');
CREATE SEQUENCE tags;
GRANT USAGE ON SEQUENCE tags TO PUBLIC;
"""

SCHEMA = """
CREATE SCHEMA {s} AUTHORIZATION owner;
GRANT USAGE ON SCHEMA {s} TO PUBLIC;
CREATE TYPE {s}.mood AS ENUM ('low', 'mid', 'High one', 'x,y');
CREATE DOMAIN {s}.positive AS int CHECK (VALUE > 0);
CREATE TYPE {s}.spot AS (x int, y text);
CREATE TABLE {s}.members (u text, tenant int, lvl int);
GRANT SELECT ON {s}.members TO PUBLIC;
"""

# The version of a row gets its canaries, and goes to the shadow. An UPDATE without a change is none.
TRIGGERS = """
CREATE FUNCTION {s}.{t}_mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'INSERT' OR NEW IS DISTINCT FROM OLD THEN
		NEW.tag := 'T' || nextval('public.tags') || '.';
		NEW.secret := 'SECRET' || NEW.tag;
		NEW.withheld := 'WITHHELD' || NEW.tag;
	END IF;
	RETURN NEW;
END $$;
CREATE FUNCTION {s}.{t}_keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN EXECUTE 'INSERT INTO {s}.{t}_all SELECT ($1).*' USING NEW; RETURN NULL; END $$;
CREATE TRIGGER mark BEFORE INSERT OR UPDATE ON {s}.{t} FOR EACH ROW EXECUTE FUNCTION {s}.{t}_mark();
CREATE TRIGGER keep AFTER INSERT OR UPDATE ON {s}.{t} FOR EACH ROW EXECUTE FUNCTION {s}.{t}_keep();
"""

FIXED = [("owner", "text"), ("tenant", "int"), ("pub", "boolean"), ("level", "int"), ("viewers", "text[]"),
         ("doc", "jsonb"), ("hid", "int"), ("hid_owner", "text")]
CANARIES = [("tag", "text"), ("secret", "text"), ("withheld", "text")]
NAMES = ["name", "Odd name", "a.b", "x,y", "price", "not", "or", "ein Ä", 'q"q', "select"]
POOLS = {"owner": USERS + [None], "hid_owner": USERS, "tenant": ["1", "2", "3", "4", None],
         "level": ["0", "1", "2", "3", "5"], "hid": ["0", "1", "2", "3", "4", "5"], "pub": ["true", "false", "false", None],
         "viewers": ["{}", "{u1}", "{u2,u3}", "{u1,NULL}", None],
         "doc": ["{}", '{"owner": "u1"}', '{"owner": "u2", "a": 1}', '{"owner": "u3"}', "null", None, "[1]"]}


DOCUMENTS = TYPES["jsonb"].values
ODD_CLAIMS = ["2", "x", "", 2.5, 1e2, None, True, [1], {"a": [{"b": "\u0001\"\\"}]}, -1, 2**40, "\u00fc"]


class Table:
    """columns: (name, type). captured: names of columns in events, None: all. watches: channel -> (captured, old_values)."""

    def __init__(self, rng, number, seed):
        self.rng = rng
        self.name = "t%d" % number
        self.channel = "s%d.t%d" % (seed, number)
        kinds = list(KEY_TYPES)
        self.key = [(identifier_name, rng.choice(kinds)) for identifier_name in
                    (["id"] if rng.random() < 0.6 else rng.choice((["id", "k2"], ["Key one", "id"])))]
        extra = rng.sample(NAMES, rng.randint(2, 4))
        kinds = list(TYPES)
        self.extra = [(name, rng.choice(kinds)) for name in extra]
        self.columns = self.key + FIXED + self.extra + CANARIES
        rng.shuffle(self.columns)
        self.partitioned = rng.random() < 0.15
        names = [name for name, _ in self.columns]
        self.granted = sorted(set(rng.sample(names, rng.randint(3, len(names) - 1)) +
                                  [name for name, _ in self.key] + ["tag"]) - {"withheld", "secret"})
        self.watches = {self.channel + "." * i: self.make_watch() for i in range(rng.choice((1, 1, 2)))}

    def make_watch(self):
        rng = self.rng
        names = [name for name, _ in self.columns]
        captured = None
        if rng.random() < 0.6:
            captured = sorted(set(rng.sample(names, rng.randint(3, len(names) - 2))) - {"secret"} | {"tag"})
        return captured, rng.random() < 0.6

    def captured(self, channel):
        """Names of columns in events."""
        names = self.watches[channel][0]
        return [name for name, _ in self.columns] if names is None else names

    def kind(self, name):
        return dict(self.columns)[name]

    def ddl(self, schema):
        full = "%s.%s" % (schema, self.name)
        columns = ", ".join("%s %s" % (identifier(name), kind.format(s=schema)) for name, kind in self.columns)
        key = ", ".join(identifier(name) for name, _ in self.key)
        yield "CREATE TABLE %s (%s, PRIMARY KEY (%s))%s" % (
            full, columns, key, " PARTITION BY HASH (%s)" % identifier(self.key[0][0]) if self.partitioned else "")
        if self.partitioned:
            for i in range(2):
                yield "CREATE TABLE %s_p%d PARTITION OF %s FOR VALUES WITH (MODULUS 2, REMAINDER %d)" % (full, i, full, i)
            yield "ALTER TABLE %s_p0 ENABLE ROW LEVEL SECURITY" % full      # means nothing for the whole
        yield "CREATE TABLE %s_all (%s)" % (full, columns)
        yield TRIGGERS.format(s=schema, t=self.name)
        for name in (full, full + "_all"):
            yield "ALTER TABLE %s OWNER TO owner" % name
        yield "GRANT SELECT ON %s TO app, staff, apart, bypass" % full
        yield "GRANT SELECT (%s) ON %s TO narrow" % (", ".join(identifier(name) for name in self.granted), full)
        yield "GRANT SELECT ON %s_all TO PUBLIC" % full
        for channel in self.watches:
            yield self.watch(schema, channel)

    def watch(self, schema, channel):
        captured, old_values = self.watches[channel]
        return "SELECT notify_watch(%s, channel => %s, cols => %s, old_values => %s)" % (
            literal("%s.%s" % (schema, self.name)), literal(channel),
            "NULL" if captured is None else literal(array(captured)), old_values)

    # ---------------- rows ----------------

    def pool(self, name):
        for key, kind in self.key:
            if key == name:
                return KEY_TYPES[kind]
        return POOLS.get(name) or TYPES[self.kind(name)].values + [None]

    def value(self, name):
        return self.rng.choice(self.pool(name))

    def settable(self):
        return [name for name, _ in self.columns if (name, "text") not in CANARIES]


class Planner:
    """Makes the plan of a seed."""

    def __init__(self, seed, options):
        self.seed = seed
        self.rng = random.Random("%d sets" % seed)
        self.options = options
        self.schema = "s%d" % seed
        self.tables = [Table(self.rng, i, seed) for i in range(self.rng.choice((1, 1, 2)))]
        if len(self.tables) > 1 and self.rng.random() < 0.7:
            for table in self.tables:
                table.watches[self.schema + ".both"] = table.make_watch()
        self.channels = sorted({channel for table in self.tables for channel in table.watches})
        self.talk = {channel: self.rng.choice((ROLES, ROLES, ("boss", "owner", "app", "staff"))) for channel in self.channels}
        self.policies = {}      # table -> [name], those that there may be
        self.uses = set()       # what policies depend on
        self.memberships = self.rng.random() < 0.35     # a run that is about these
        self.altering = self.rng.random() < options.alters
        self.hostile = options.policies and self.rng.random() < 0.15

    def make(self):
        rng = self.rng
        ddl = [SCHEMA, FUNCTIONS, HOSTILE]
        for i in range(rng.randint(0, 8)):
            ddl.append("INSERT INTO {s}.members VALUES (%s, %d, %d)"
                       % (literal(rng.choice(USERS)), rng.randint(1, 4), rng.randint(1, 4)))
        if self.options.changes and rng.random() < 0.2:
            ddl.append("ALTER TABLE {s}.members ENABLE ROW LEVEL SECURITY")
            ddl.append("CREATE POLICY own ON {s}.members USING (u = {s}.uid())")
        ddl = [each.format(s=self.schema) for each in ddl]
        for table in self.tables:
            ddl.extend(table.ddl(self.schema))
            if self.options.policies and rng.random() < 0.85:
                for name in rng.sample("abcdef", rng.choice((1, 1, 2, 2, 3))):
                    ddl.extend(self.create_policy(table, name))
                ddl.extend(self.both(table, "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
        for channel in self.channels:
            ddl.extend("SELECT notify_grant(%s, %s)" % (literal(channel), literal(role)) for role in self.talk[channel])
        for table in self.tables:
            ddl.extend(self.insert(table)["sql"] for _ in range(rng.randint(0, 5)))
        clients = self.make_clients()
        self.used = {(part["table"], name) for client in clients for sub in client["subs"] for part in sub["parts"]
                     for name in part["uses"]}   # by filters
        steps = self.make_steps(clients)
        self.ask_snapshots(clients, steps)
        return {"seed": self.seed, "schema": self.schema, "ddl": ddl, "clients": clients, "steps": steps,
                "now": "now" in self.uses, "across": self.options.changes > 1}

    def both(self, table, sql, **names):
        """For a table and its shadow."""
        return [sql.format(s=self.schema, t=name, table="%s.%s" % (self.schema, name), **names)
                for name in (table.name, table.name + "_all")]

    def maker(self, table, columns=None):
        return Maker(self.rng, [(name, kind) for name, kind in table.columns
                                if (columns is None or name in columns) and name not in ("secret", "withheld", "tag")],
                     self.schema)

    def policy(self, table, name):
        while True:
            uses, sql = make_policy(self.rng, self.maker(table), name, self.memberships, self.hostile)
            if self.options.policies >= 3 or "rows" not in uses and (self.options.policies >= 2 or "now" not in uses):
                self.uses.update(uses.split())
                return sql

    def create_policy(self, table, name):
        sql = self.policy(table, name)
        self.policies.setdefault(table.name, []).append(name)
        return self.both(table, sql)

    # ---------------- clients ----------------

    def make_clients(self):
        rng = self.rng
        clients = [{"role": "boss", "claims": {"role": "boss", "sub": "god"},
                    "subs": [self.plain(channel, "boss") for channel in self.channels]}]
        for _ in range(rng.randint(3, 7)):
            role = rng.choice(("app", "app", "app", "app", "staff", "apart", "owner", "bypass", "boss", "narrow", "narrow"))
            subs = []
            for i in range(rng.choice((1, 1, 2, 3))):
                sub = self.subscription(role)
                sub["tag"] = "tag%d" % i if i or rng.random() < 0.3 else None
                subs.append(sub)
                if self.options.filters and rng.random() < 0.3:
                    subs.append(self.echo(sub, len(subs) - 1))
            clients.append({"role": role, "claims": self.claims(role), "subs": subs})
        return clients

    def claims(self, role, subject=None):
        rng = self.rng
        claims = {"role": role, "sub": subject or rng.choice(USERS + ["mad"] * (2 * bool(self.hostile)))}
        if subject is None and rng.random() < 0.04:
            del claims["sub"]
        for name, most in (("level", 0), ("tenant", 1)):
            if rng.random() < 0.8:
                claims[name] = rng.randint(most, 4)
            if rng.random() < 0.05:
                claims[name] = rng.choice(ODD_CLAIMS)
        return claims

    def plain(self, channel, role):
        """A subscription without limits."""
        parts = [{"table": table.name, "key": [name for name, _ in table.key], "captured": table.captured(channel),
                  "old_values": table.watches[channel][1], "sql": None, "uses": [], "blind": False}
                 for table in self.tables if channel in table.watches]
        return {"channel": channel, "tag": None, "columns": None, "filter": None, "ops": None, "parts": parts, "may": True,
                "must_not": False, "messages": "true" if role in self.talk[channel] else None, "echo": None,
                "snapshot": None}

    def subscription(self, role):
        """may: the server has to accept it; must_not: it has to refuse it."""
        rng = self.rng
        sub = self.plain(rng.choice(self.channels), role)
        tables = {table.name: table for table in self.tables}
        readable = {name: {column for column, _ in table.columns} if role != "narrow" else set(table.granted)
                    for name, table in tables.items()}
        first = rng.choice(sub["parts"])
        if self.options.filters:
            if rng.random() < (0.9 if role == "narrow" else 0.3):
                choice = [name for name in first["captured"] if name in readable[first["table"]] or rng.random() < 0.02]
                if choice:
                    sub["columns"] = sorted(rng.sample(choice, rng.randint(1, len(choice))))
                    if rng.random() < 0.7 and "tag" not in sub["columns"]:
                        sub["columns"].append("tag")
            if rng.random() < 0.6:
                usable = [name for name in first["captured"] if name in readable[first["table"]] or rng.random() < 0.05]
                self.filter(sub, self.maker(tables[first["table"]], usable), readable)
        for part in sub["parts"]:
            # A client gets the events of which it may read all columns, or all that it has asked for.
            seen = {name for name, _ in tables[part["table"]].columns} & set(sub["columns"] or part["captured"])
            part["blind"] = not any(each | set(part["key"]) <= readable[part["table"]]
                                    for each in (seen, set(part["captured"])))
            if sub["columns"] is not None and part["blind"]:
                sub["may"] = False
        if all(part["blind"] for part in sub["parts"]):
            sub["may"] = False
        return sub

    def filter(self, sub, maker, readable):
        rng = self.rng
        kind = rng.random()
        if kind < 0.1 and sub["messages"]:
            sub["filter"], sub["messages"] = maker.pseudo("payload")
            used = []
            if kind < 0.01 and maker.columns:
                text, _, used = maker.make()
                sub["filter"] += "&" + text
                sub["must_not"] = True      # nothing has all of the columns
                sub["may"] = False
            return
        if not maker.columns:
            return
        sub["filter"], sql, used = maker.make()
        if used:
            sub["messages"] = None
        for part in sub["parts"]:
            if set(used) <= set(part["captured"]) | set(part["key"]):
                part["sql"], part["uses"] = sql, used
                if not set(used) <= readable[part["table"]]:
                    sub["may"] = False
                    sub["must_not"] = True

    def echo(self, sub, number):
        """
        The same subscription with other limits, which an event by itself meets or not. So its events are some of those
        of the other one. echo: (the other one's number, condition on the context).
        """
        rng = self.rng
        sql = "true"
        echo = {**sub, "tag": "echo%d" % number, "echo": [number, sql]}
        if rng.random() < 0.7:
            text, echo["echo"][1] = self.maker(self.tables[0]).pseudo("context")
            echo["filter"] = "&".join(rng.sample([each for each in (sub["filter"], text) if each], 2 if sub["filter"] else 1))
        if rng.random() < 0.5 or echo["echo"][1] == sql:
            echo["ops"] = sorted(rng.sample(("INSERT", "UPDATE", "DELETE", "TRUNCATE", "MESSAGE"), rng.randint(1, 4)))
        return echo

    # ---------------- snapshots ----------------

    def ask_snapshots(self, clients, steps):
        """Let some subscriptions begin with the rows of their sets, also while a transaction is open or commits."""
        rng = random.Random("%d snapshots" % self.seed)
        found = []
        for i, client in enumerate(clients[1:], 1):
            for j, sub in enumerate(client["subs"]):
                # An echo has no set of its own. What mad's policies do to a query is not limited to a set.
                if sub["echo"] or client["claims"].get("sub") == "mad":
                    continue
                if rng.random() < self.options.snapshots:
                    sub["snapshot"] = self.snapshot(rng, sub)
                    found.append((i, j))
        for step in steps:
            if step["do"] == "return":
                step["inside"] = rng.random() < 0.2
            if step["do"] != "transaction" or not found or rng.random() >= 0.5:
                continue
            step["joins"] = [{"client": i, "sub": j, "at": rng.randint(0, len(step["statements"]) + 1),
                              "pause": rng.choice((0, 0, 0.001, 0.003, 0.01))}
                             for i, j in rng.sample(found, min(len(found), rng.randint(1, 3)))]

    @staticmethod
    def snapshot(rng, sub):
        part = sub["parts"][0]
        if len(sub["parts"]) > 1 or rng.random() < 0.85:
            return True
        asked = {"limit": rng.randint(1, 4)}
        if "level" in set(sub["columns"] or part["captured"]) & set(part["captured"]) and rng.random() < 0.5:
            asked["order"] = "level.desc.nullslast"
        return asked

    # ---------------- what happens ----------------

    def make_steps(self, clients):
        rng = self.rng
        steps = []
        away = set()
        for _ in range(self.options.transactions):
            steps.append(self.transaction(self.options.changes > (1 if away else 0)))
            if self.altering and rng.random() < (0.4 if away else 0.15):
                steps.append(alteration(self, rng.choice(self.tables), bool(away) and self.options.changes < 2))
            if self.options.replays:
                for i in sorted(away):
                    if rng.random() < 0.4:
                        away.discard(i)
                        steps.append({"do": "return", "client": i, "back": rng.choice((0, 0, 0, 1, 3)),
                                      "quick": rng.random() < 0.3})
                if rng.random() < 0.35:
                    i = rng.randrange(1, len(clients))
                    if i not in away:
                        away.add(i)
                        steps.append({"do": "leave", "client": i})
            if rng.random() < 0.15:
                steps.append({"do": "resubscribe", "client": rng.randrange(1, len(clients)), "sub": rng.randrange(3)})
            if rng.random() < 0.1:
                i = rng.randrange(1, len(clients))
                claims = clients[i]["claims"]
                if "sub" in claims:
                    steps.append({"do": "renew", "client": i, "claims": self.claims(claims["role"], claims["sub"])})
        for i in sorted(away):
            steps.append({"do": "return", "client": i, "back": 0, "quick": False})
        return steps

    def transaction(self, changes):
        rng = self.rng
        statements = []
        changes = changes and rng.random() < (0.4 if self.memberships else 0.15)
        alone = changes and rng.random() < 0.3
        depth = 0
        if rng.random() < 0.4:
            statements.append(self.context())
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            if changes and (alone or rng.random() < 0.5):
                statements.extend({"do": "change", "sql": sql} for sql in self.change())
            if alone:
                continue
            if rng.random() < 0.1:
                depth += 1
                statements.append({"do": "row", "sql": "SAVEPOINT p%d" % depth})
            if rng.random() < 0.2:
                statements.append({"do": "row", "sql": "SELECT notify_send(%s, %s)"
                                   % (literal(rng.choice(self.channels)), literal(rng.choice(DOCUMENTS)))})
            if rng.random() < 0.05:
                statements.append(self.context())
            statements.append(self.row_statement(rng.choice(self.tables)))
            if depth and rng.random() < 0.3:
                statements.append({"do": "row", "sql": "%s SAVEPOINT p%d"
                                   % (rng.choice(("ROLLBACK TO", "RELEASE")), depth)})
                depth -= 1
        return {"do": "transaction", "statements": statements, "commit": rng.random() < 0.92}

    def context(self):
        return {"do": "row", "sql": "SET LOCAL pg_notifyd.context = %s" % literal(self.rng.choice(DOCUMENTS + [""]))}

    def change(self):
        rng = self.rng
        table = rng.choice(self.tables)
        kind = rng.choice(("member", "member", "member", "policy", "policy", "drop", "alter", "enable", "force", "function",
                           "bypass", "role"))
        known = self.policies.get(table.name, [])
        if kind == "member" or (self.memberships and rng.random() < 0.7) or (kind in ("drop", "alter") and not known):
            return [member_change(rng).format(s=self.schema)]
        if kind == "function":
            return [function_change(rng).replace("{s}", self.schema)]
        if kind == "policy":
            return self.create_policy(table, "n%d" % rng.randrange(1000))
        if kind == "drop":
            return self.both(table, "DROP POLICY IF EXISTS %s ON {table}" % rng.choice(known))
        if kind == "alter":
            sql = self.policy(table, "x")
            return self.both(table, "ALTER POLICY %s ON {table} USING %s"
                             % (rng.choice(known), sql.partition(" USING ")[2]))
        if kind == "enable":
            return self.both(table, "ALTER TABLE {table} %s ROW LEVEL SECURITY" % rng.choice(("ENABLE", "ENABLE", "DISABLE")))
        if kind == "force":
            return self.both(table, "ALTER TABLE {table} %s ROW LEVEL SECURITY" % rng.choice(("FORCE", "NO FORCE")))
        if kind == "bypass":
            return ["ALTER ROLE bypass %s" % rng.choice(("BYPASSRLS", "NOBYPASSRLS"))]
        return [rng.choice(("REVOKE app FROM staff", "GRANT app TO staff"))]

    # ---------------- statements ----------------

    def row_statement(self, table):
        rng = self.rng
        kind = rng.choices(("insert", "update", "rekey", "delete", "truncate", "copy", "upsert", "many", "same"),
                           (30, 40, 8, 12, 1.5, 4, 8, 1, 3))[0]
        if kind == "insert":
            return self.insert(table)
        return getattr(self, kind)(table)

    def row(self, table, names):
        return [table.value(name) for name in names]

    def insert(self, table, end=" ON CONFLICT DO NOTHING"):
        names = self.rng.sample(table.settable(), self.rng.randint(len(table.settable()) // 2, len(table.settable())))
        names = sorted(set(names) | {name for name, _ in table.key})
        rows = [self.row(table, names) for _ in range(self.rng.choice((1, 1, 1, 2, 4)))]
        return {"do": "row", "sql": "INSERT INTO %s.%s (%s) VALUES %s%s" % (
            self.schema, table.name, ", ".join(map(identifier, names)),
            ", ".join("(%s)" % ", ".join(map(literal, row)) for row in rows), end)}

    def upsert(self, table):
        names = self.rng.sample([name for name, _ in FIXED + table.extra], 3)
        return self.insert(table, " ON CONFLICT (%s) DO UPDATE SET %s" % (
            ", ".join(identifier(name) for name, _ in table.key),
            ", ".join("%s = EXCLUDED.%s" % (identifier(name), identifier(name)) for name in names)))

    def copy(self, table):
        names = sorted(table.settable())
        lines = []
        for _ in range(self.rng.randint(1, 4)):
            lines.append(",".join("" if value is None else '"%s"' % value.replace('"', '""')
                                  for value in self.row(table, names)))
        return {"do": "copy", "sql": "COPY %s.%s (%s) FROM STDIN (FORMAT csv)" % (
            self.schema, table.name, ", ".join(map(identifier, names))), "data": "\n".join(lines) + "\n"}

    def where(self, table):
        rng = self.rng
        choice = rng.random()
        if choice < 0.5:
            name, _ = table.key[0]
            return "%s IN (%s)" % (identifier(name), ", ".join(literal(table.value(name)) for _ in range(rng.randint(1, 3))))
        if choice < 0.7:
            return "tenant = %d" % rng.randint(1, 4)
        if choice < 0.85:
            return self.maker(table).condition()
        return rng.choice(("true", "pub", "owner = 'u1'", "level < 3"))

    def update(self, table):
        rng = self.rng
        names = rng.sample([name for name, _ in FIXED + table.extra], rng.choice((1, 1, 2, 3)))
        return {"do": "row", "sql": "UPDATE %s.%s SET %s WHERE %s" % (
            self.schema, table.name, ", ".join("%s = %s" % (identifier(name), literal(table.value(name)))
                                               for name in names), self.where(table))}

    def same(self, table):
        return {"do": "row", "sql": "UPDATE %s.%s SET level = level WHERE %s" % (
            self.schema, table.name, self.where(table))}

    def rekey(self, table):
        """One row gets another key, and perhaps another owner."""
        rng = self.rng
        name, _ = rng.choice(table.key)
        sets = ["%s = %s" % (identifier(name), literal(table.value(name)))]
        if rng.random() < 0.3:
            sets.append("owner = %s" % literal(rng.choice(USERS)))
        return {"do": "row", "sql": "UPDATE %s.%s SET %s WHERE (%s)" % (
            self.schema, table.name, ", ".join(sets),
            " AND ".join("%s = %s" % (identifier(key), literal(table.value(key))) for key, _ in table.key))}

    def delete(self, table):
        return {"do": "row", "sql": "DELETE FROM %s.%s WHERE %s" % (self.schema, table.name, self.where(table))}

    def truncate(self, table):
        return {"do": "row", "sql": "TRUNCATE %s.%s" % (self.schema, table.name)}

    def many(self, table):
        """Some hundred events in one statement."""
        name, kind = table.key[0]
        if len(table.key) > 1 or kind not in ("int", "bigint", "text"):
            return self.update(table)
        return {"do": "row", "sql": "INSERT INTO %s.%s (%s, owner, tenant, level) SELECT (n %% 1000)::text::%s,"
                " 'u' || n %% 5, n %% 5, n %% 4 FROM generate_series(100, %d) AS n ON CONFLICT DO NOTHING" % (
                    self.schema, table.name, identifier(name), kind, self.rng.choice((150, 400)))}


def make_plan(seed, options):
    return Planner(seed, options).make()
