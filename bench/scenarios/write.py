"""What a watch costs those who write: the same statements on a table that is not watched, one that is, with and without
clients, and one with a plpgsql trigger that calls pg_notify."""

from cluster import wait_until
from programs import Program, pgbench

TITLE = "Write cost: transactions of one row a second"

COLUMNS = """(id bigint PRIMARY KEY, name text NOT NULL, quantity integer NOT NULL, price numeric(8,2) NOT NULL,
	at timestamptz NOT NULL DEFAULT now())"""
FILL = "INSERT INTO %s SELECT i, 'Cheeseburger', 1, 5.90 FROM generate_series(0, %d) i"
NOTIFYING = """CREATE TABLE notifying %s; CREATE TRIGGER push AFTER INSERT OR UPDATE OR DELETE ON notifying
	FOR EACH ROW EXECUTE FUNCTION push('notifying')""" % COLUMNS

# Each client of pgbench has keys of its own, one after the other; "each" is how many there are in the table.
SCRIPTS = {
    "INSERT": "\\set n :n + 1\n\\set id :client_id * 1000000 + :n\n"
              "INSERT INTO {0} (id, name, quantity, price) VALUES (:id, 'Cheeseburger', 2, 5.90);\n",
    "UPDATE": "\\set n (:n + 1) % :each\n\\set id :client_id * :each + :n\n"
              "UPDATE {0} SET quantity = quantity + 1 WHERE id = :id;\n",
    "DELETE": "\\set n :n + 1\n\\set id :client_id * :each + :n - 1\n"
              "DELETE FROM {0} WHERE id = :id;\n",
}


class Load:
    """One kind of statement by so many writers; all tables in turn."""

    def __init__(self, bench, figures, operation, writers):
        self.bench = bench
        self.figures = figures
        self.operation = operation
        self.writers = writers
        # Rows to each writer, and the seconds or, where the rows would run out, the transactions of a run.
        self.each = bench.scale(8000 if writers == 1 else 800, 300 if writers == 1 else 50)
        self.length = {"transactions": self.each} if operation == "DELETE" else {"seconds": bench.scale(2, 1)}

    def transactions(self, label, table, database="bench"):
        """One run: how many transactions it was; tps and the server's processor time are noted."""
        cluster = self.bench.cluster
        cluster.sql("TRUNCATE %s" % table, database=database)
        if self.operation != "INSERT":
            cluster.sql(FILL % (table, self.each * self.writers - 1), database=database)
        cluster.settle()
        others = set(cluster.children())
        spent = cluster.spent()
        tps, done = pgbench(self.bench, database, SCRIPTS[self.operation].format(table), self.writers,
                            variables=(("n", 0), ("each", self.each)), **self.length)
        wait_until(lambda: others.issuperset(cluster.children()), 30, "the writers' sessions to end")
        self.figures.add(label, "tps", tps)
        self.figures.add(label + ": processor, server", "µs a transaction", (cluster.spent() - spent) * 1e6 / done)
        return done

    def unwatched(self, label):
        self.transactions(label, "unwatched")

    def watched(self, label):
        self.transactions(label, "watched")

    def received(self, label, clients=10):
        """With clients that receive everything; and how long they take to, after the last commit."""
        # What fills the table is not counted.
        subscribe = '{"id":1,"method":"subscribe","channel":"watched","ops":["%s"]}' % self.operation
        with Program([self.bench.program("client"), "-p", str(self.bench.cluster.port), "-n", str(clients), "-t", "at",
                      "-s", subscribe]) as client:
            client.ask("mark")
            done = self.transactions(label, "watched")
            got = client.ask("wait %d 60" % (done * clients))
            if got["messages"] != done * clients or got["fewest"] != done:
                raise RuntimeError("%d of %d events have come" % (got["messages"], done * clients))
        self.figures.add(label + ": delivered of committed", "×", got["fewest"] / done)
        self.figures.add(label + ": commit to event, p50", "ms", got["latency"]["p50"] / 1000)
        self.figures.add(label + ": commit to event, p99", "ms", got["latency"]["p99"] / 1000)

    def notifying(self, label):
        """As many would write it, with one client that LISTENs."""
        with Program([self.bench.program("listen"), self.bench.cluster.conninfo("libpq"), "notifying"]):
            self.transactions(label, "notifying", "libpq")

    def run(self):
        what = "%s, %d writer%s, " % (self.operation, self.writers, "s" if self.writers > 1 else "")
        unwatched, nobody, clients, notifying = (
            what + name for name in ("unwatched", "watched, nobody connected", "watched, 10 clients",
                                     "plpgsql and pg_notify"))
        variants = [(unwatched, self.unwatched), (nobody, self.watched), (clients, self.received)]
        if self.operation == "INSERT":
            variants.append((notifying, self.notifying))
        self.bench.interleave(what.rstrip(", "), variants, share=1.4)
        for label in (nobody, clients):
            self.figures.compare(label, unwatched, at_least=0.9)
            self.figures.compare(label + ": processor, server", unwatched + ": processor, server")
        self.figures.compare(clients, notifying, at_least=4.5 if self.writers > 1 else None)
        self.figures.bar(clients + ": delivered of committed", at_least=1)


def run(bench, figures):
    for table in ("unwatched", "watched"):
        bench.cluster.sql("CREATE TABLE %s %s; GRANT SELECT ON %s TO reader" % (table, COLUMNS, table))
    bench.cluster.sql("SELECT notify_watch('watched')")
    bench.cluster.create_peer("libpq", NOTIFYING)
    for operation in ("INSERT", "UPDATE", "DELETE"):
        for writers in (32, 1):
            Load(bench, figures, operation, writers).run()
