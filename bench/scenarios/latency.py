"""From an INSERT that is sent to its event at a client: on an idle server beside a libpq client that LISTENs and the
bridges, and at half of the load that the server can take, beside an INSERT alone and the libpq client."""

import contextlib
import statistics

from programs import SUBSCRIBE, Program, pgbench

TITLE = "Latency: INSERT sent to event at the client"

TABLE = "CREATE TABLE %s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL)"
NOTIFYING = TABLE % "probe" + "; CREATE TRIGGER push AFTER INSERT ON probe FOR EACH ROW EXECUTE FUNCTION push('probe')"
WINDOWS = 5
INSERTED = "INSERT into an unwatched table, sent to done"
LISTENED = "libpq LISTEN"
EACH = "half of that: p99 in each of %d windows, %%s" % WINDOWS
MINUTES = "half of that for five minutes: p99 of each minute, %s"
GROWTH = "half of that for five minutes: p99 of the last two minutes to the first two, %s"
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
    targets = {"pg_notifyd": ["pg_notifyd", own, "loaded", "ws:%d" % bench.cluster.port],
               INSERTED: ["INSERT", own, "plain", "none"],
               LISTENED: ["libpq LISTEN", bench.cluster.conninfo("libpq"), "probe", "listen:probe"]}
    return {label: [bench.program("probe"), "-s", SUBSCRIBE % "loaded"] + target for label, target in targets.items()}


@contextlib.contextmanager
def load(bench, figures, client, fastest_label, seconds):
    """32 writers for so long, at half of what they reach just before; and the probes."""
    fastest, _ = pgbench(bench, "bench", INSERT, 32, seconds=bench.scale(5, 1))
    figures.add(fastest_label, "tps", fastest)
    client.ask("wait 1000000000 1")
    running = bench.background(lambda: pgbench(bench, "bench", INSERT, 32, seconds=seconds + bench.scale(6, 2),
                                               rate=int(fastest / 2)))
    # Start after its sessions have connected. The probes connect only now, because they read only
    # while they measure.
    bench.sleep(bench.scale(3, 1))
    with contextlib.ExitStack() as stack:
        yield {label: stack.enter_context(Program(probe)) for label, probe in probes(bench).items()}
    running.result()


def window(bench, figures, programs, seconds, label):
    """A probe a hundred times a second in the same stream as the load."""
    answers = {what: bench.background(lambda program=program: program.ask("pace %d 10000" % (seconds * 100)))
               for what, program in programs.items()}
    for what, answer in answers.items():
        (measured,) = answer.result().values()
        figures.add(label % what, "ms", measured["p99"] / 1000)


def loaded(bench, figures):
    """Half of the load that the server can take, 10 clients. Beside it what the server alone takes for an INSERT at that
    load, commit included: a disk that hesitates is seen there, too. The files of WAL that all of it fills are there: to
    make one takes tens of milliseconds, in which no commit ends.

    What a virtual machine can do changes by the minute, so that half of what it was some minutes ago may be all that it
    can. So each window is at half of what was reached just before it. Then there are five minutes without a break, at
    half of what was reached before the first, to see whether anything grows."""
    seconds = bench.scale(30, 1)
    with Program([bench.program("client"), "-p", str(bench.cluster.port), "-n", "10", "-t", "at", "-s",
                  SUBSCRIBE % "loaded"]) as client:
        bench.cluster.make_wal(bench.scale(128, 8))
        for i in range(WINDOWS):
            bench.progress("loaded, window %d of %d" % (i + 1, WINDOWS))
            with load(bench, figures, client, "32 writers at full speed, 10 clients", seconds) as programs:
                window(bench, figures, programs, seconds, EACH)
        seconds = bench.scale(60, 1)
        bench.cluster.make_wal(bench.scale(128, 8))
        with load(bench, figures, client, "32 writers at full speed, before five minutes", WINDOWS * seconds) as programs:
            for i in range(WINDOWS):
                bench.progress("loaded, minute %d of %d" % (i + 1, WINDOWS))
                window(bench, figures, programs, seconds, MINUTES)
    own = EACH % "pg_notifyd"
    figures.bar(own, at_most=10)
    for other in (INSERTED, LISTENED):
        figures.compare(own, EACH % other)
        figures.compare(MINUTES % "pg_notifyd", MINUTES % other)
    for what in ("pg_notifyd", INSERTED):
        minutes = figures.samples[MINUTES % what]
        figures.add(GROWTH % what, "×", statistics.median(minutes[-2:]) / statistics.median(minutes[:2]))
    figures.bar(GROWTH % "pg_notifyd", at_most=1.5)


def run(bench, figures):
    prepare(bench)
    idle(bench, figures)
    loaded(bench, figures)
