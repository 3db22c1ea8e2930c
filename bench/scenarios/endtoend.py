"""From writers at full speed to ten clients that receive all of it, beside the bridges: how fast it commits, how much has
come by the time of the last commit, how late each event is, and how long the rest takes."""

import contextlib
import functools

from programs import SUBSCRIBE, Program

TITLE = "End to end: %d writers at full speed, 10 clients"

WRITERS = 32
NCLIENTS = 10
EACH = 10000000  # keys of a session
TABLE = """CREATE TABLE orders (id bigint PRIMARY KEY, name text NOT NULL, quantity integer NOT NULL,
	price numeric(8,2) NOT NULL, sent bigint NOT NULL)"""
NOTIFYING = TABLE + "; CREATE TRIGGER push AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION push('orders')"
INSERT = "INSERT INTO orders VALUES ($1, 'Cheeseburger', 2, 5.90, $2)"
DELIVERED = "%s: delivered of committed"


def turn(bench, figures, database, port, name):
    """One run, by sessions of its own; the peers are idle while another is measured, for each has a database of its own."""
    bench.cluster.sql("TRUNCATE orders", database=database)
    bench.cluster.settle()
    with bench.writers(database, WRITERS) as writers, \
            Program([bench.program("client"), "-p", str(port), "-n", str(NCLIENTS), "-t", "sent", "-s",
                     SUBSCRIBE % "orders"]) as client:
        writers.ask("prepare 0 " + INSERT)
        client.ask("mark")
        wrote = writers.ask("run 0 %d %d %d" % (EACH, EACH, bench.scale(3000, 500)))
        done = wrote["transactions"]
        come = client.ask("report")
        got = client.ask("wait %d %d" % (done * NCLIENTS, bench.scale(60, 20)))
    if got["most"] > done or (name == "pg_notifyd" and got["fewest"] < done):
        raise RuntimeError("%s: %d to %d of %d events have come" % (name, got["fewest"], got["most"], done))
    figures.add("%s: committed" % name, "tps", done / wrote["seconds"])
    figures.add("%s: delivered by the last commit, of committed" % name, "×", come["messages"] / NCLIENTS / done)
    figures.add(DELIVERED % name, "×", got["fewest"] / done)
    figures.add("%s: the rest came after" % name, "ms", max(got["last"] - wrote["seconds"], 0) * 1000)
    for part in ("p50", "p99"):
        figures.add("%s: INSERT sent to committed, %s" % (name, part), "ms", wrote["latency"][part] / 1000)
        figures.add("%s: INSERT sent to event, %s" % (name, part), "ms", got["latency"][part] / 1000)


def run(bench, figures):
    figures.title = TITLE % WRITERS
    bench.cluster.sql(TABLE + "; GRANT SELECT ON orders TO reader; SELECT notify_watch('orders')")
    bench.cluster.make_wal()
    with contextlib.ExitStack() as stack:
        variants = []
        targets = {"pg_notifyd": ("bench", bench.cluster.port)}
        for name, peer in bench.peers("orders", NOTIFYING).items():
            stack.callback(peer.close)
            targets[name] = (name.lower(), peer.port)
        for name, (database, port) in targets.items():
            variants.append((name, functools.partial(turn, bench, figures, database, port)))
        bench.interleave("at full speed", variants, share=0.75)
    for name in ("Node", "Python"):
        figures.compare("pg_notifyd: committed", "%s: committed" % name)
        figures.compare("pg_notifyd: INSERT sent to event, p99", "%s: INSERT sent to event, p99" % name)
    figures.bar(DELIVERED % "pg_notifyd", at_least=1)
