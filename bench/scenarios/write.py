"""What a watch costs those who write: the same statements on a table that is not watched, one that is, with and without
clients, and one with a plpgsql trigger that calls pg_notify."""

from programs import Program, pgbench

TITLE = "Write cost: transactions of one row a second"

COLUMNS = """(id bigint PRIMARY KEY, name text NOT NULL, quantity integer NOT NULL, price numeric(8,2) NOT NULL,
	at timestamptz NOT NULL DEFAULT now())"""
FILL = "INSERT INTO %s SELECT i, 'Cheeseburger', 1, 5.90 FROM generate_series(0, %d) i"

# Each client of pgbench has keys of its own, one after the other; "each" is how many.
KEY = "\\set n :n + 1\n\\set id :client_id * :each + :n - 1\n"
SCRIPTS = {
    "INSERT": KEY + "INSERT INTO {0} (id, name, quantity, price) VALUES (:id, 'Cheeseburger', 2, 5.90);\n",
    "UPDATE": KEY + "UPDATE {0} SET quantity = quantity + 1 WHERE id = :id;\n",
    "DELETE": KEY + "DELETE FROM {0} WHERE id = :id;\n",
}


def prepare(bench):
    cluster = bench.cluster
    for table in ("unwatched", "watched"):
        cluster.sql("CREATE TABLE %s %s; GRANT SELECT ON %s TO reader" % (table, COLUMNS, table))
    cluster.sql("SELECT notify_watch('watched')")
    cluster.sql("CREATE TABLE notifying %s; CREATE TRIGGER push AFTER INSERT OR UPDATE OR DELETE ON notifying "
                "FOR EACH ROW EXECUTE FUNCTION push('notifying')" % COLUMNS, database="peer")


def transactions(bench, database, table, operation, writers, each):
    """One run: its tps and how many transactions that were."""
    rows = each * writers
    bench.cluster.sql("TRUNCATE %s" % table, database=database)
    if operation != "INSERT":
        bench.cluster.sql(FILL % (table, rows - 1), database=database)
    bench.cluster.settle()
    return pgbench(bench, database, SCRIPTS[operation].format(table), writers, transactions=each,
                   variables=(("n", 0), ("each", each)))


def with_clients(bench, figures, label, clients, *run):
    """The same with clients that receive everything; and how long they take to, after the last commit."""
    # What fills the table is not counted.
    subscribe = '{"id":1,"method":"subscribe","channel":"watched","ops":["%s"]}' % run[0]
    with Program([bench.program("client"), "-p", str(bench.cluster.port), "-n", str(clients), "-t", "at", "-s",
                  subscribe]) as client:
        tps, done = transactions(bench, "bench", "watched", *run)
        begun = bench.now()
        got = client.ask("wait %d 60" % (done * clients))
        if got["messages"] < done * clients:
            raise RuntimeError("%d of %d events have come" % (got["messages"], done * clients))
        figures.add(label, "tps", tps)
        return bench.now() - begun, got


def run(bench, figures):
    prepare(bench)
    for writers, operation, each in ((32, "INSERT", bench.scale(4000, 150)), (1, "INSERT", bench.scale(8000, 300)),
                                     (32, "UPDATE", bench.scale(3000, 100)), (32, "DELETE", bench.scale(3000, 100))):
        what = "%s, %d writer%s, " % (operation, writers, "s" if writers > 1 else "")
        arguments = (operation, writers, each)
        variants = [
            (what + "unwatched", lambda label: figures.add(
                label, "tps", transactions(bench, "bench", "unwatched", *arguments)[0])),
            (what + "watched, nobody connected", lambda label: figures.add(
                label, "tps", transactions(bench, "bench", "watched", *arguments)[0])),
            (what + "watched, 10 clients", lambda label: end_to_end(bench, figures, label, *arguments)),
            (what + "plpgsql and pg_notify", lambda label: notifying(bench, figures, label, *arguments)),
        ]
        if operation != "INSERT":
            del variants[3]
        bench.interleave(what.rstrip(", "), variants)
        figures.compare(variants[1][0], variants[0][0], at_least=0.9)
        figures.compare(variants[2][0], variants[0][0], at_least=0.9)
        if operation == "INSERT":
            figures.compare(variants[2][0], variants[3][0], at_least=4.5 if writers > 1 else None)


def end_to_end(bench, figures, label, operation, writers, each):
    drained, got = with_clients(bench, figures, label, 10, operation, writers, each)
    if operation == "INSERT":
        figures.add(label + ": last commit to last event", "s", drained)
        figures.add(label + ": commit to event, p99", "ms", got["latency"]["p99"] / 1000)


def notifying(bench, figures, label, *arguments):
    """As many would write it, with one client that LISTENs."""
    with Program([bench.program("listen"), bench.cluster.conninfo("peer"), "notifying"]):
        figures.add(label, "tps", transactions(bench, "peer", "notifying", *arguments)[0])
