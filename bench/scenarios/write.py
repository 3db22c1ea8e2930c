"""What a watch costs those who write: the same statements on a table that is not watched, one that is, with and without
clients, and one with a plpgsql trigger that calls pg_notify.

A table against itself, in turns of 75 ms or of half a second, differs by 6 % from one turn to the next: what a machine's
disk and neighbours do is not evened out by longer turns, but by more of them. So turns are short and many, of as many
transactions for each table, by sessions that stay connected; a round's ratio is the median of those of its pairs. Each
round begins alike: with as many rows, all frozen and none dead, with all that was written before on disk, WAL's next
files there, and after a short run that is not counted. The sessions have touched all shared buffers, as those of a pool
have after some minutes; what it is for sessions that have just connected is told as well."""

import contextlib
import os
import statistics

from cluster import cpu_seconds
from programs import SUBSCRIBE, Program

TITLE = "Write cost: transactions of one row a second"

COLUMNS = """(id bigint PRIMARY KEY, name text NOT NULL, quantity integer NOT NULL, price numeric(8,2) NOT NULL,
	at timestamptz NOT NULL DEFAULT now())"""
FILL = "INSERT INTO %s SELECT i, 'Cheeseburger', 1, 5.90 FROM generate_series(%d, %d) i"
NOTIFYING = """CREATE TABLE notifying %s; CREATE TRIGGER push AFTER INSERT OR UPDATE OR DELETE ON notifying
	FOR EACH ROW EXECUTE FUNCTION push('notifying')""" % COLUMNS

STATEMENTS = {
    "INSERT": "INSERT INTO %s (id, name, quantity, price) VALUES ($1 + 1000000000, 'Cheeseburger', 2, 5.90)",
    "UPDATE": "UPDATE %s SET quantity = quantity + 1 WHERE id = $1",
    "DELETE": "DELETE FROM %s WHERE id = $1",
}
FOREVER = 60000  # ms, for a turn that ends with its transactions
UNWATCHED, NOBODY, CLIENT, CLIENTS, NOTIFYING_TABLE = (
    "unwatched", "watched, nobody connected", "watched, 1 client", "watched, 10 clients", "plpgsql and pg_notify")
NCLIENTS = {NOBODY: 0, CLIENT: 1, CLIENTS: 10}
JUST_CONNECTED = " who have just connected"


class Table:
    """One of those that take turns: its name, and sessions that write to it."""

    def __init__(self, bench, name, writers, statement, database="bench"):
        self.statement = statement
        self.name = name
        self.writers = writers
        self.control = bench.cluster.connect(database)

    def close(self):
        self.control.close()

    def sql(self, *statements):
        with self.control.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def begin(self, operation, each, watched):
        """The same state for every round. A watch is made only then, so that what fills the table makes no events."""
        if watched:
            self.sql("SELECT notify_unwatch('%s')" % self.name)
        self.sql("TRUNCATE %s" % self.name,
                 FILL % (self.name, each, each * (len(self.writers.ready["pids"]) + 1) - 1),
                 "VACUUM (FREEZE, ANALYZE) %s" % self.name)
        if watched:
            self.sql("SELECT notify_watch('%s')" % self.name)
        self.writers.ask("prepare %d %s" % (self.statement, STATEMENTS[operation] % self.name))


class Tally:
    """What one of those that take turns has done in a round."""

    def __init__(self, load, label, table, transactions):
        self.label = load.what + label
        self.load = load
        self.table = table
        self.transactions = transactions
        self.tps = []
        self.server = []
        self.sessions = []
        self.done = 0

    def turn(self, pids, client, counts=True):
        """As many transactions; with all that the server and the clients do behind them."""
        sessions, server = self.table.writers.spent(), cpu_seconds(pids)
        got = self.table.writers.ask("run %d %d %d %d" % (self.table.statement, self.load.each, self.transactions,
                                                          FOREVER))
        done = got["transactions"]
        self.done += done
        if client is not None and self.table.name == "watched":
            client.ask("wait %d 60" % (self.done * self.load.nclients))
        if counts:
            self.tps.append(done / got["seconds"])
            self.server.append((cpu_seconds(pids) - server) * 1e6 / done)
            self.sessions.append((self.table.writers.spent() - sessions) * 1e6 / done)

    def figures(self):
        return [("", "tps", self.tps), (": processor, server", "µs a transaction", self.server),
                (": processor, writers' sessions", "µs a transaction", self.sessions)]


class Load:
    """One kind of statement by so many writers."""

    def __init__(self, bench, figures, operation, writers, tables, who=""):
        self.bench = bench
        self.figures = figures
        self.operation = operation
        self.tables = tables
        self.what = "%s, %d writer%s%s, " % (operation, writers, "s" if writers > 1 else "", who)
        # With one writer the cores are idle half of the time, and the processes need part of a second
        # until they have settled on the cores, so a turn takes half a second. 32 writers keep the
        # cores busy and need 150 ms: then the few events that the feed has not read at the end of
        # a turn do not matter.
        self.transactions, pairs = (3000, 24) if writers > 1 else (bench.scale(2000, 300), 20)
        self.pairs = bench.scale(pairs, 2)
        # Each DELETE needs a row, and fast sessions delete more than others.
        self.each = 2 * self.transactions * (self.pairs + 2) // writers

    def round(self, watched, *others):
        """The unwatched table, the watched one and others in turn, every other time backwards."""
        self.nclients = NCLIENTS[watched]
        tables = {UNWATCHED: self.tables[UNWATCHED], watched: self.tables["watched"]}
        tables.update({label: self.tables[label] for label in others})
        # One checkpoint before all tables are filled, so that no turn has to write full-page images
        # after it.
        self.bench.cluster.settle()
        for label, table in tables.items():
            table.begin(self.operation, self.each, watched=table.name == "watched")
        with contextlib.ExitStack() as stack:
            client = None
            if self.nclients:
                client = stack.enter_context(Program([
                    self.bench.program("client"), "-p", str(self.bench.cluster.port), "-n", str(self.nclients), "-t", "at",
                    "-s", SUBSCRIBE % "watched"]))
            # A slow one takes no more time than the others.
            tallies = [Tally(self, label, table, self.transactions // (5 if label == NOTIFYING_TABLE else 1))
                       for label, table in tables.items()]
            # Write out everything now, so that the kernel does not do it during a turn.
            os.sync()
            pids = self.bench.cluster.processes()
            for i in range(self.pairs + 1):
                for tally in tallies[::-1 if i % 2 else 1]:
                    tally.turn(pids, client, counts=i > 0)
            got = client.ask("report") if client is not None else None
        for tally in tallies:
            for what, unit, values in tally.figures():
                self.figures.add(tally.label + what, unit, statistics.median(values))
        pairs = [(tally, tallies[0]) for tally in tallies[1:]] + [(tallies[1], other) for other in tallies[2:]]
        for tally, base in pairs:
            for (what, _, values), (_, _, others) in zip(tally.figures(), base.figures()):
                self.figures.pair(tally.label + what, base.label + what,
                                  statistics.median(a / b for a, b in zip(values, others)))
        if got is not None:
            self.received(got, tallies[1])

    def received(self, got, tally):
        if got["messages"] != tally.done * self.nclients or got["fewest"] != tally.done:
            raise RuntimeError("%d of %d events have come" % (got["messages"], tally.done * self.nclients))
        for part in ("p50", "p99"):
            self.figures.add("%s: commit to event, %s" % (tally.label, part), "ms", got["latency"][part] / 1000)

    def run(self):
        insert = self.operation == "INSERT"
        one_client = insert and "32" in self.what
        for _ in self.bench.rounds(self.what.rstrip(", ")):
            self.round(NOBODY)
            if one_client:
                self.round(CLIENT)
            self.round(CLIENTS, *[NOTIFYING_TABLE] * insert)
        for label in [NOBODY] + [CLIENT] * one_client + [CLIENTS]:
            self.figures.compare(self.what + label, self.what + UNWATCHED, at_least=0.9 if label != CLIENT else None)
            for processor in (": processor, server", ": processor, writers' sessions"):
                self.figures.compare(self.what + label + processor, self.what + UNWATCHED + processor)
        self.figures.compare(self.what + CLIENTS, self.what + NOTIFYING_TABLE,
                             at_least=4.5 if "32" in self.what else None)


def connect(bench, stack, writers):
    """Sessions, and the two tables of ours that they write to."""
    sessions = stack.enter_context(bench.writers("bench", writers))
    return sessions, {name: stack.enter_context(contextlib.closing(Table(bench, name, sessions, i)))
                      for i, name in enumerate(("unwatched", "watched"))}


def measure(bench, figures, writers):
    """All kinds of statements by so many writers."""
    with contextlib.ExitStack() as stack:
        sessions, tables = connect(bench, stack, writers)
        peers = stack.enter_context(bench.writers("libpq", writers))
        bench.cluster.fill_buffers("bench", sessions)
        bench.cluster.fill_buffers("libpq", peers)
        # The usual alternative, with one client that LISTENs.
        stack.enter_context(Program([bench.program("listen"), bench.cluster.conninfo("libpq"), "notifying"]))
        tables[NOTIFYING_TABLE] = stack.enter_context(
            contextlib.closing(Table(bench, "notifying", peers, 0, "libpq")))
        for operation in STATEMENTS:
            Load(bench, figures, operation, writers, tables).run()


def measure_just_connected(bench, figures, writers):
    """With sessions of each round's own, which touch every buffer for the first time."""
    for _ in bench.rounds("INSERT, %d writers%s" % (writers, JUST_CONNECTED)):
        with contextlib.ExitStack() as stack:
            _, tables = connect(bench, stack, writers)
            load = Load(bench, figures, "INSERT", writers, tables, JUST_CONNECTED)
            load.round(NOBODY)
    figures.compare(load.what + NOBODY, load.what + UNWATCHED)


def run(bench, figures):
    cluster = bench.cluster
    for table in ("unwatched", "watched"):
        cluster.sql("CREATE TABLE %s %s; GRANT SELECT ON %s TO reader" % (table, COLUMNS, table))
    cluster.sql("SELECT notify_watch('watched')")
    cluster.create_peer("libpq", NOTIFYING)
    # With the log's usual growth and rotation.
    cluster.set(retention="1h", retention_size="1GB")
    cluster.make_wal()
    for writers in (32, 1):
        measure(bench, figures, writers)
    measure_just_connected(bench, figures, 32)
