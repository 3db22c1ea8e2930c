"""From an INSERT that is sent to its event at a client: on an idle server beside a libpq client that LISTENs and the
bridges, and at half of the load that the server can take, beside an INSERT alone and the libpq client."""

import contextlib
import statistics

from programs import SUBSCRIBE, Program, pgbench

TITLE = "Latency: INSERT sent to event at the client"

TABLE = "CREATE TABLE %s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL)"
NOTIFYING = TABLE % "probe" + "; CREATE TRIGGER push AFTER INSERT ON probe FOR EACH ROW EXECUTE FUNCTION push('probe')"
WINDOWS = 5
P99 = "half of that: p99 in each of %d windows, one after the other" % WINDOWS
ALONE = "half of that: p99 in the same windows, %s"
INSERTED = ALONE % "INSERT into an unwatched table, sent to done"
LISTENED = ALONE % "libpq LISTEN"
FASTEST = "32 writers at full speed, 10 clients"
SEEN = "half of that: commit to event, p99"
GROWTH = "half of that: p99 as a multiple of the INSERT's, the last two windows to the first two"
INSERT = "INSERT INTO loaded (sent) VALUES (0);\n"


def prepare(bench):
    for table in ("probe", "loaded"):
        bench.cluster.sql(TABLE % table + "; GRANT SELECT ON %s TO reader; SELECT notify_watch('%s')" % (table, table))
    bench.cluster.sql(TABLE % "plain")
    bench.cluster.create_peer("libpq", NOTIFYING)


def measure_idle(bench, figures, label, targets, rounds):
    with Program([bench.program("probe"), "-s", SUBSCRIBE % "probe"] + targets) as probe:
        probe.ask("run 200 1000")
        for _ in bench.rounds(rounds):
            for name, latency in probe.ask("run %d 3000" % bench.scale(1000, 100)).items():
                for part in ("p50", "p99"):
                    figures.add(label % (name, part), "µs", latency[part])


def idle(bench, figures):
    """First with the libpq client alone, as nothing else is at work on an idle server, then with the bridges: their
    programs are large, and whoever comes after one of them finds little of its own in the processor's caches."""
    targets = ["pg_notifyd", bench.cluster.conninfo(), "probe", "ws:%d" % bench.cluster.port,
               "libpq LISTEN", bench.cluster.conninfo("libpq"), "probe", "listen:probe"]
    measure_idle(bench, figures, "%s, idle, %s", targets, "idle")
    peers = bench.peers("probe", NOTIFYING)
    try:
        for name, peer in peers.items():
            targets += [name, bench.cluster.conninfo(name.lower()), "probe", "ws:%d" % peer.port]
        measure_idle(bench, figures, "%s, idle, in turn with the bridges, %s", targets, "idle, with the bridges")
    finally:
        for peer in peers.values():
            peer.close()
    figures.compare("pg_notifyd, idle, p50", "libpq LISTEN, idle, p50", at_most=1.1)
    figures.compare("pg_notifyd, idle, p99", "libpq LISTEN, idle, p99", at_most=1.25)
    for name in ["libpq LISTEN"] + list(peers):
        for part in ("p50", "p99"):
            figures.compare("pg_notifyd, idle, in turn with the bridges, " + part,
                            "%s, idle, in turn with the bridges, %s" % (name, part))


def probes(bench):
    """What measures each figure: programs of their own, so that none waits for another one's events."""
    own = bench.cluster.conninfo()
    targets = {P99: ["pg_notifyd", own, "loaded", "ws:%d" % bench.cluster.port],
               INSERTED: ["INSERT", own, "plain", "none"],
               LISTENED: ["libpq LISTEN", bench.cluster.conninfo("libpq"), "probe", "listen:probe"]}
    return {label: [bench.program("probe"), "-s", SUBSCRIBE % "loaded"] + target for label, target in targets.items()}


def window(bench, figures, client, i):
    """32 writers at half of what they have just reached; a probe a hundred times a second in the same stream. What a
    virtual machine can do changes by the minute, so that half of what it was some minutes ago may be all that it can."""
    bench.progress("loaded, window %d of %d" % (i + 1, WINDOWS))
    seconds = bench.scale(60, 1)
    fastest, _ = pgbench(bench, "bench", INSERT, 32, seconds=bench.scale(5, 1))
    figures.add(FASTEST, "tps", fastest)
    client.ask("wait 1000000000 1")
    load = bench.background(lambda: pgbench(bench, "bench", INSERT, 32, seconds=seconds + bench.scale(6, 2),
                                            rate=int(fastest / 2)))
    with contextlib.ExitStack() as stack:
        # Not while its sessions begin. The probes connect only now: they do not read while they do not measure.
        bench.sleep(bench.scale(3, 1))
        programs = {label: stack.enter_context(Program(probe)) for label, probe in probes(bench).items()}
        command = "pace %d 10000" % (seconds * 100)
        client.ask("mark")
        answers = {label: bench.background(lambda program=program: program.ask(command))
                   for label, program in programs.items()}
        for label, answer in answers.items():
            (measured,) = answer.result().values()
            figures.add(label, "ms", measured["p99"] / 1000)
        figures.add(SEEN, "ms", client.ask("report")["latency"]["p99"] / 1000)
    load.result()


def loaded(bench, figures):
    """Half of the load that the server can take, 10 clients. Beside it what the server alone takes for an INSERT at that
    load, commit included: a disk that hesitates is seen there, too. The files of WAL that all of it fills are there: to
    make one takes tens of milliseconds, in which no commit ends."""
    with Program([bench.program("client"), "-p", str(bench.cluster.port), "-n", "10", "-t", "at", "-s",
                  SUBSCRIBE % "loaded"]) as client:
        bench.cluster.make_wal(bench.scale(128, 8))
        for i in range(WINDOWS):
            window(bench, figures, client, i)
    # As a multiple, for what a disk that hesitates does to a window is no growth.
    multiples = [a / b for a, b in zip(figures.samples[P99], figures.samples[INSERTED])]
    figures.add(GROWTH, "×", statistics.median(multiples[-2:]) / statistics.median(multiples[:2]))
    figures.bar(P99, at_most=10)
    figures.compare(P99, INSERTED)
    figures.compare(P99, LISTENED)
    figures.bar(GROWTH, at_most=1.5)


def run(bench, figures):
    prepare(bench)
    idle(bench, figures)
    loaded(bench, figures)
