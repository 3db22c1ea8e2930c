"""What row security and filters of the clients cost writers, and how far clients lag behind writers at full speed."""

import contextlib
import os
import statistics

from cluster import cpu_seconds

WRITERS = 32
CLIENTS = 500
EACH = 10000000  # keys of a session
FOREVER = 60000  # ms, for a turn that ends with its transactions

COLUMNS = """(id bigint PRIMARY KEY, owner text NOT NULL, name text NOT NULL, quantity integer NOT NULL,
	price numeric(8,2) NOT NULL, sent bigint NOT NULL)"""
INSERT = "INSERT INTO %s VALUES ($1::bigint, 'u' || $1::bigint %% %d, 'Cheeseburger', 2, 5.90, $2::bigint)"

POLICY, FILTER = "32 writers, row security, 500 clients", "32 writers, no row security, 500 clients with a filter"
PLAIN = "32 writers, no row security, 1 client that gets all"
ONE, NOBODY = "32 writers, 1 client with a filter that selects nothing", "32 writers, nobody subscribed to the channel"
SESSIONS = ": processor, writers' sessions"


class Table:
    """One of those that take turns: its clients, and what share of the events they get."""

    def __init__(self, name, label, client, gets):
        self.name = name
        self.label = label
        self.client = client
        self.gets = gets
        self.done = 0
        self.begin()

    def begin(self):
        self.tps = []
        self.sessions = []

    def turn(self, writers, statement, transactions, counts):
        before = writers.spent()
        got = writers.ask("run %d %d %d %d" % (statement, EACH, transactions, FOREVER))
        done = got["transactions"]
        self.done += done
        if self.gets:
            self.client.ask("wait %d 60" % self.done)
        if counts:
            self.tps.append(done / got["seconds"])
            self.sessions.append((writers.spent() - before) * 1e6 / done)


def create(sets):
    for table in ("mine", "filtered", "plain", "one", "none"):
        sets.cluster.sql("CREATE TABLE %s %s" % (table, COLUMNS))
        if table == "mine":
            sets.protect(table, "owner = (SELECT uid())")
        else:
            sets.cluster.sql("GRANT SELECT ON %s TO reader, customer; SELECT notify_watch('%s')" % (table, table))


def connect(sets, stack):
    stamp = ["-t", "sent"]
    return [
        Table("mine", POLICY, stack.enter_context(sets.client("mine", CLIENTS, tokens=True, arguments=stamp)), True),
        Table("filtered", FILTER, stack.enter_context(sets.client("filtered", CLIENTS, condition="owner=eq.u#",
                                                                  arguments=stamp)), True),
        Table("plain", PLAIN, stack.enter_context(sets.client("plain", 1, arguments=stamp)), True),
        Table("one", ONE, stack.enter_context(sets.client("one", 1, condition="owner=eq.nobody")), False),
        Table("none", NOBODY, None, False),
    ]


def round_of_turns(sets, writers, tables):
    """Turns of all tables, every other time backwards. A ratio is the median of those of neighbouring turns."""
    sets.cluster.settle()
    os.sync()
    for table in tables:
        table.begin()
        table.done = 0
        if table.client is not None:
            table.client.ask("mark")
    for i in range(sets.bench.scale(24, 2) + 1):
        for k in list(range(len(tables)))[::-1 if i % 2 else 1]:
            tables[k].turn(writers, k, sets.bench.scale(3000, 500), counts=i > 0)
    for table in tables:
        sets.figures.add(table.label, "tps", statistics.median(table.tps))
        sets.figures.add(table.label + SESSIONS, "µs a transaction", statistics.median(table.sessions))
    by_label = {table.label: table for table in tables}
    for label, base in ((POLICY, FILTER), (POLICY, PLAIN), (POLICY, NOBODY), (ONE, NOBODY)):
        for suffix, part in (("", "tps"), (SESSIONS, "sessions")):
            sets.figures.pair(label + suffix, base + suffix, statistics.median(
                a / b for a, b in zip(getattr(by_label[label], part), getattr(by_label[base], part))))


def full_speed(sets, writers, statement, table):
    """Some seconds of writing without a break: what is delivered, and how late."""
    cluster = sets.cluster
    cluster.settle()
    table.client.ask("mark")
    groups = {"feed": cluster.feed(), "gateway": cluster.gateways()}
    before = {name: cpu_seconds(pids) for name, pids in groups.items()}
    wrote = writers.ask("run %d %d %d %d" % (statement, EACH, EACH, sets.bench.scale(10000, 1000)))
    done = wrote["transactions"]
    got = table.client.ask("wait %d 60" % done)
    if got["messages"] > done:
        raise RuntimeError("%s: %d events of %d have come" % (table.label, got["messages"], done))
    label = table.label + ", without a break"
    sets.figures.add(label + ": delivered of committed", "×", got["messages"] / done)
    sets.figures.add(label + ": committed", "tps", done / wrote["seconds"])
    for part in ("p50", "p99"):
        sets.figures.add("%s: INSERT sent to committed, %s" % (label, part), "ms", wrote["latency"][part] / 1000)
        sets.figures.add("%s: INSERT sent to event, %s" % (label, part), "ms", got["latency"][part] / 1000)
    for name, pids in groups.items():
        sets.figures.add("%s: processor, %s" % (label, name), "µs an event",
                         (cpu_seconds(pids) - before[name]) * 1e6 / done)


def run(sets):
    create(sets)
    figures = sets.figures
    with contextlib.ExitStack() as stack:
        writers = stack.enter_context(sets.bench.writers("bench", WRITERS))
        tables = connect(sets, stack)
        sets.cluster.fill_buffers("bench", writers)
        for k, table in enumerate(tables):
            writers.ask("prepare %d %s" % (k, INSERT % (table.name, CLIENTS)))
        for _ in sets.bench.rounds("writers", share=0.75):
            round_of_turns(sets, writers, tables)
            for k in range(3):
                full_speed(sets, writers, k, tables[k])
    figures.compare(POLICY, FILTER, at_least=0.95)
    figures.compare(POLICY, PLAIN)
    figures.compare(POLICY, NOBODY)
    figures.compare(POLICY + SESSIONS, PLAIN + SESSIONS)
    figures.compare(ONE, NOBODY)
    figures.compare(ONE + SESSIONS, NOBODY + SESSIONS, at_most=1.02)
    figures.bar(POLICY + ", without a break: delivered of committed", at_least=1)
    figures.bar(POLICY + ", without a break: INSERT sent to event, p99", at_most=100)
