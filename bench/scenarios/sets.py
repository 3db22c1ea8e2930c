"""Sets: clients that get only the rows that their filter and row security select. What that costs writers, how it scales
with subscriptions and identities, what conditions cost that the index cannot find, memory, and large transactions."""

import json
import os

import sets_match
import sets_write
from bulk import after_commit, insert
from identities import make_tokens
from programs import SUBSCRIBE, Program

TITLE = "Sets: row security and filters"

UID = ("CREATE FUNCTION uid() RETURNS text LANGUAGE sql STABLE AS "
       "$$ SELECT current_setting('request.jwt.claims', true)::json ->> 'sub' $$")


class Sets:
    """What the parts of this benchmark share: client k has the token of the user "uK"."""

    def __init__(self, bench, figures):
        self.bench = bench
        self.cluster = bench.cluster
        self.figures = figures
        self.tokens = os.path.join(bench.work, "tokens")
        tokens = make_tokens(bench, [("HS256", "u%d" % i) for i in range(bench.scale(10000, 500))])
        with open(self.tokens, "w", encoding="ascii") as file:
            file.write("\n".join(tokens) + "\n")
        self.cluster.sql(UID)

    def protect(self, table, condition):
        """Watch a table that customers see with row security."""
        self.cluster.sql("ALTER TABLE %s ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON %s FOR SELECT USING (%s); "
                         "GRANT SELECT ON %s TO customer; SELECT notify_watch('%s')"
                         % (table, table, condition, table, table))

    def client(self, channel, clients, tokens=False, each=1, condition=None, arguments=()):
        """Clients with so many subscriptions each. # in the condition is the subscription's number, from 0."""
        subscribe = {"id": 1, "method": "subscribe", "channel": channel}
        if condition is not None:
            subscribe["filter"] = condition
        if each > 1:
            subscribe["tag"] = "#"
        return Program([self.bench.program("client"), "-p", str(self.cluster.port), "-n", str(clients), "-w", "64",
                        "-S", str(each), "-s", json.dumps(subscribe)] +
                       (["-T", self.tokens] if tokens else []) + list(arguments))


def bulk(sets):
    """A transaction of many rows, of a table whose subscriber sees them by row security; and another channel's events."""
    bench, figures = sets.bench, sets.figures
    rows = bench.scale(1000000, 20000)
    sets.cluster.sql("CREATE TABLE bulk (id bigint PRIMARY KEY, name text NOT NULL, quantity integer NOT NULL, "
                     "price numeric(8,2) NOT NULL, owner text NOT NULL DEFAULT 'u0')")
    sets.protect("bulk", "owner = (SELECT uid())")
    sets.cluster.sql("CREATE TABLE probe (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL); "
                     "GRANT SELECT ON probe TO reader; SELECT notify_watch('probe')")
    with Program([bench.program("probe"), "-s", SUBSCRIBE % "probe", "pg_notifyd", bench.cluster.conninfo(), "probe",
                  "ws:%d" % bench.cluster.port]) as probe, sets.client("bulk", 1, tokens=True) as client:
        for _ in bench.rounds("a transaction of {:,} rows".format(rows), share=0.75):
            client.ask("mark")
            insert(bench, "bulk", rows)
            p99, speed = after_commit(bench, probe, client, rows)
            figures.add("after a large transaction, until its subscriber has its last event: p99 of others' events", "ms",
                        p99)
            figures.add("a large transaction, by policy: events to its subscriber", "events/s", speed)
    figures.bar("after a large transaction, until its subscriber has its last event: p99 of others' events", at_most=50)


def run(bench, figures):
    sets = Sets(bench, figures)
    bench.cluster.make_wal()
    for part in (sets_write.run, sets_match.run, bulk):
        part(sets)
