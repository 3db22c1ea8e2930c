"""Consumers of a group beside those of a jobs table: events a second, their cost, and how long an event takes to its
consumer.

A jobs table is measured in the two ways in which people write it: DELETE, and UPDATE of a status, of the rows that
SELECT ... FOR UPDATE SKIP LOCKED finds. All get the same rows, written by transactions of ten, and each returns the
text of what it has taken to the client. VACUUM runs before each turn, so that no consumer pays for the dead rows of an
earlier one; those of its own turn are part of its cost."""

import contextlib

from cluster import cpu_seconds
from programs import Program

TITLE = "Groups: 8 consumers"

CONSUMERS = 8
FOREVER = 600000  # ms, for a turn that ends with its transactions
ROW = """(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text NOT NULL DEFAULT 'pending',
	item text NOT NULL, quantity integer NOT NULL, price numeric(8,2) NOT NULL, at timestamptz NOT NULL DEFAULT now())"""
FILL = """DO $$ BEGIN SET synchronous_commit = off; FOR i IN 1..%d LOOP
	INSERT INTO %s (item, quantity, price) SELECT 'Cheeseburger', 2, 5.90 FROM generate_series(1, 10); COMMIT;
END LOOP; END $$"""
FOUND = "ARRAY (SELECT id FROM %s ORDER BY id FOR UPDATE SKIP LOCKED LIMIT %d)"

# $1 is the number of the turn, which writers.c sends with each statement.
TAKE, DELETE, UPDATE = "notify_take", "DELETE … SKIP LOCKED", "UPDATE … SKIP LOCKED"
STATEMENTS = {
    TAKE: lambda n: "SELECT string_agg(event::text, chr(10)) FROM notify_take('workers', %d) WHERE $1 > 0" % n,
    DELETE: lambda n: "WITH taken AS (DELETE FROM jobs WHERE id = ANY (%s) RETURNING *) "
                      "SELECT string_agg(row_to_json(taken)::text, chr(10)) FROM taken WHERE $1 > 0"
                      % (FOUND % ("jobs", n)),
    UPDATE: lambda n: "WITH taken AS (UPDATE kept_jobs SET status = 'done' WHERE id = ANY (%s) RETURNING *) "
                      "SELECT string_agg(row_to_json(taken)::text, chr(10)) FROM taken WHERE $1 > 0"
                      % (FOUND % ("kept_jobs WHERE status = 'pending'", n)),
}
TABLES = {TAKE: "orders", DELETE: "jobs", UPDATE: "kept_jobs"}
LEFT = {TAKE: "SELECT count(*) FROM notify_take('workers', 8192)", DELETE: "SELECT count(*) FROM jobs",
        UPDATE: "SELECT count(*) FROM kept_jobs WHERE status = 'pending'"}


class Consumers:
    """All ways in turn, with so many events in each transaction."""

    def __init__(self, bench, figures, count):
        self.bench = bench
        self.figures = figures
        self.count = count
        self.transactions = bench.scale(6000 if count == 1 else 1000, 100)

    def label(self, what):
        return "%s, %d at a time" % (what, self.count)

    def measure(self, what):
        cluster = self.bench.cluster
        events = self.transactions * self.count
        for table in ("jobs", "kept_jobs"):
            cluster.sql("TRUNCATE %s" % table)
        cluster.sql(FILL % ((events + 9) // 10, TABLES[what]))
        cluster.sql("VACUUM (ANALYZE) %s" % TABLES[what])
        cluster.settle()
        with self.bench.writers("bench", CONSUMERS) as consumers:
            consumers.ask("prepare 0 " + STATEMENTS[what](self.count))
            before = cpu_seconds(cluster.processes())
            got = consumers.ask("run 0 1 %d %d" % (self.transactions, FOREVER))
            spent = cpu_seconds(cluster.processes()) - before
        left = cluster.sql(LEFT[what])[0][0]
        if left > events * 0.05:    # a transaction gets fewer while another one reads the log, or has locked the rest
            raise RuntimeError("%s: %d of %d events were not taken" % (self.label(what), left, events))
        events -= left
        self.figures.add(self.label(what), "events/s", events / got["seconds"])
        self.figures.add(self.label(what) + ": processor, server", "µs an event", spent * 1e6 / events)

    def run(self, at_least):
        self.bench.interleave("%d at a time" % self.count, [(what, self.measure) for what in STATEMENTS])
        for other in (DELETE, UPDATE):
            self.figures.compare(self.label(TAKE), self.label(other), at_least=at_least)
            self.figures.compare(self.label(TAKE) + ": processor, server", self.label(other) + ": processor, server")


def latency(bench, figures):
    """A transaction that waits in notify_take() beside a client that LISTENs, and the INSERT alone, idle server."""
    own = bench.cluster.conninfo()
    peer = bench.cluster.conninfo("libpq")
    with Program([bench.program("probe"), "notify_take", own, "probe", "take:probers", "libpq LISTEN", peer, "probe",
                  "listen:probe", "INSERT, sent to done", own, "plain", "none"]) as probe:
        probe.ask("run %d 5000" % bench.scale(200, 20))
        for _ in bench.rounds("latency"):
            for name, measured in probe.ask("run %d 5000" % bench.scale(1000, 100)).items():
                for part in ("p50", "p99"):
                    figures.add("idle, INSERT sent to event, %s, %s" % (part, name), "µs", measured[part])
    for part in ("p50", "p99"):
        for other in ("libpq LISTEN", "INSERT, sent to done"):
            figures.compare("idle, INSERT sent to event, %s, notify_take" % part,
                            "idle, INSERT sent to event, %s, %s" % (part, other),
                            at_most=1.2 if other == "libpq LISTEN" else None)


def pending(bench, figures):
    """One consumer that takes single events, with few and with many behind them."""
    ten, million = "1 consumer, 10 events pending", "1 consumer, 1,000,000 events pending"
    cluster = bench.cluster
    cluster.sql(FILL % (bench.scale(100000, 1000), "backlog"))
    with contextlib.ExitStack() as stack:
        consumer = {}
        for label, group in ((ten, "tens"), (million, "millions")):
            consumer[label] = stack.enter_context(bench.writers("bench", 1))
            consumer[label].ask("prepare 0 SELECT string_agg(event::text, '') FROM notify_take('%s') WHERE $1 > 0" % group)

        def measure(label):
            seconds = transactions = 0
            for _ in range(bench.scale(100, 5)):
                if label == ten:
                    cluster.sql(FILL % (1, "few"))
                got = consumer[label].ask("run 0 1 10 %d" % FOREVER)
                seconds += got["seconds"]
                transactions += got["transactions"]
            figures.add(label, "µs a take of 1", seconds * 1e6 / transactions)

        bench.interleave("10 and 1,000,000 pending", [(label, measure) for label in (ten, million)])
    figures.compare(million, ten, at_most=1.2)


def run(bench, figures):
    cluster = bench.cluster
    for table in ("orders", "jobs", "kept_jobs", "few", "backlog"):
        cluster.sql("CREATE TABLE %s %s" % (table, ROW))
    cluster.sql("CREATE INDEX ON kept_jobs (id) WHERE status = 'pending'")
    for table in ("probe", "plain"):
        cluster.sql("CREATE TABLE %s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL)" % table)
    cluster.create_peer("libpq", """CREATE TABLE probe (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        sent bigint NOT NULL); CREATE TRIGGER push AFTER INSERT ON probe FOR EACH ROW EXECUTE FUNCTION push('probe')""")
    for table, group in (("orders", "workers"), ("few", "tens"), ("backlog", "millions"), ("probe", "probers")):
        cluster.sql("SELECT notify_watch('%s'), notify_group('%s', '{%s}')" % (table, group, table))
    cluster.make_wal(bench.scale(64, 8))
    for count, at_least in ((1, 2), (100, 5)):
        Consumers(bench, figures, count).run(at_least)
    latency(bench, figures)
    pending(bench, figures)
