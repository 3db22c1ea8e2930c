"""From an INSERT that is sent to its event at a client: on an idle server beside a libpq client that LISTENs and the
bridges, and at half of the load that the server can take."""

import statistics

from programs import SUBSCRIBE, Program, pgbench

TITLE = "Latency: INSERT sent to event at the client"

TABLE = "CREATE TABLE %s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL)"
NOTIFYING = TABLE % "probe" + "; CREATE TRIGGER push AFTER INSERT ON probe FOR EACH ROW EXECUTE FUNCTION push('probe')"
WINDOWS = 5
P99 = "half of that: p99 in each of %d windows, one after the other" % WINDOWS
GROWTH = "half of that: p99 of the last two windows to the first two"
INSERT = "INSERT INTO loaded (sent) VALUES (0);\n"


def prepare(bench):
    for table in ("probe", "loaded"):
        bench.cluster.sql(TABLE % table + "; GRANT SELECT ON %s TO reader; SELECT notify_watch('%s')" % (table, table))
    bench.cluster.create_peer("libpq", NOTIFYING)


def idle(bench, figures):
    targets = ["pg_notifyd", bench.cluster.conninfo(), "probe", "ws:%d" % bench.cluster.port,
               "libpq LISTEN", bench.cluster.conninfo("libpq"), "probe", "listen:probe"]
    peers = bench.peers("probe", NOTIFYING)
    try:
        for name, peer in peers.items():
            targets += [name, bench.cluster.conninfo(name.lower()), "probe", "ws:%d" % peer.port]
        with Program([bench.program("probe"), "-s", SUBSCRIBE % "probe"] + targets) as probe:
            probe.ask("run 200 1000")
            for _ in bench.rounds("idle"):
                for name, latency in probe.ask("run %d 3000" % bench.scale(1000, 100)).items():
                    for part in ("p50", "p99"):
                        figures.add("%s, idle, %s" % (name, part), "µs", latency[part])
    finally:
        for peer in peers.values():
            peer.close()
    figures.compare("pg_notifyd, idle, p50", "libpq LISTEN, idle, p50", at_most=1.1)
    figures.compare("pg_notifyd, idle, p99", "libpq LISTEN, idle, p99", at_most=1.25)
    for name in peers:
        for part in ("p50", "p99"):
            figures.compare("pg_notifyd, idle, " + part, "%s, idle, %s" % (name, part))


def loaded(bench, figures):
    """32 writers at half of what they reach, 10 clients; a probe a hundred times a second in the same stream."""
    with Program([bench.program("client"), "-p", str(bench.cluster.port), "-n", "10", "-t", "at", "-s",
                  SUBSCRIBE % "loaded"]) as client, \
            Program([bench.program("probe"), "-s", SUBSCRIBE % "loaded", "pg_notifyd", bench.cluster.conninfo(),
                     "loaded", "ws:%d" % bench.cluster.port]) as probe:
        fastest, _ = pgbench(bench, "bench", INSERT, 32, seconds=bench.scale(10, 2))
        figures.add("32 writers at full speed, 10 clients", "tps", fastest)
        client.ask("wait 1000000000 %d" % bench.scale(5, 1))
        seconds = bench.scale(300, 6)
        window = seconds / WINDOWS
        load = bench.background(lambda: pgbench(bench, "bench", INSERT, 32, seconds=int(seconds + window) + 1,
                                                rate=int(fastest / 2)))
        client.ask("mark")
        windows = []
        for i in range(WINDOWS):
            bench.progress("loaded, window %d of %d" % (i + 1, WINDOWS))
            windows.append(probe.ask("pace %d 10000" % (window * 100))["pg_notifyd"]["p99"] / 1000)
            figures.add(P99, "ms", windows[-1])
        got = client.ask("report")
        load.result()
        figures.add("half of that: commit to event, p99", "ms", got["latency"]["p99"] / 1000)
        figures.add(GROWTH, "×", statistics.median(windows[-2:]) / statistics.median(windows[:2]))
    figures.bar(P99, at_most=10)
    figures.bar(GROWTH, at_most=1.5)


def run(bench, figures):
    prepare(bench)
    idle(bench, figures)
    loaded(bench, figures)
