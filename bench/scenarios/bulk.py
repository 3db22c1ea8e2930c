"""INSERT ... SELECT of many rows: its time and memory beside the same on a table that is not watched, and what other
sessions' events notice of it, while it runs and while its own events are sent."""

import threading

from cluster import process_status
from programs import SUBSCRIBE, Program

TITLE = "Bulk: INSERT … SELECT of %s rows"


class Peak(threading.Thread):
    """The most private memory that a process has had."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.kb = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.005):
            self.kb = max(self.kb, process_status(self.pid, "RssAnon"))


def insert(bench, table, rows):
    """Seconds, and the backend's memory in kB. In a session of its own, so that its memory is its own."""
    connection = bench.cluster.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE %s" % table)
            bench.cluster.settle()
            cursor.execute("SELECT pg_backend_pid()")
            peak = Peak(cursor.fetchone()[0])
            peak.start()
            begun = bench.now()
            cursor.execute("INSERT INTO %s SELECT i, 'Cheeseburger', 2, 5.90 FROM generate_series(1, %d) i"
                           % (table, rows))
            seconds = bench.now() - begun
            peak.over.set()
            peak.join()
            return seconds, peak.kb
    finally:
        connection.close()


def after_commit(bench, probe, client, rows):
    """Until the client has all events of the rows: p99 of others' events in ms, and how many of its own a second."""
    # The TRUNCATE before the rows has an event, too.
    work = bench.background(lambda: client.ask("wait %d 120" % (rows + 1)))
    latency = probe.ask("pace 20 5000")["pg_notifyd"]
    while not work.done():
        latency = probe.ask("on 20 5000")["pg_notifyd"]
    got = work.result()
    if got["messages"] != rows + 1:
        raise RuntimeError("%d of %d events have come" % (got["messages"], rows + 1))
    return latency["p99"] / 1000, rows / got["last"]


def run(bench, figures):
    rows = bench.scale(1000000, 20000)
    figures.title = TITLE % "{:,}".format(rows)
    for table in ("plain", "bulk"):
        bench.cluster.sql("CREATE TABLE %s (id bigint PRIMARY KEY, name text NOT NULL, quantity integer NOT NULL, "
                          "price numeric(8,2) NOT NULL); GRANT SELECT ON %s TO reader" % (table, table))
    bench.cluster.sql("CREATE TABLE probe (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL); "
                      "GRANT SELECT ON probe TO reader; SELECT notify_watch('bulk'), notify_watch('probe')")
    with Program([bench.program("probe"), "-s", SUBSCRIBE % "probe", "pg_notifyd", bench.cluster.conninfo(), "probe",
                  "ws:%d" % bench.cluster.port]) as probe, \
            Program([bench.program("client"), "-p", str(bench.cluster.port), "-s", SUBSCRIBE % "bulk"]) as client:
        for _ in bench.rounds("bulk"):
            for table, name in (("plain", "unwatched"), ("bulk", "watched")):
                client.ask("mark")
                work = bench.background(lambda: insert(bench, table, rows))
                latest = latency = probe.ask("pace 20 5000")["pg_notifyd"]
                while not work.done():
                    latency = latest
                    latest = probe.ask("on 20 5000")["pg_notifyd"]
                seconds, kb = work.result()
                figures.add("%s, time" % name, "s", seconds)
                figures.add("%s, memory of the backend" % name, "MB", kb / 1024)
                # The last twenty may have been sent after its commit, and then come after its events.
                figures.add("%s, p99 of others' events meanwhile" % name, "ms", latency["p99"] / 1000)
                figures.add("%s, longest of others' events, with those just after its commit" % name, "ms",
                            latest["max"] / 1000)
            p99, speed = after_commit(bench, probe, client, rows)
            figures.add("watched, p99 of others' events after its commit, until a client has its last event", "ms", p99)
            figures.add("watched: events to a client", "events/s", speed)
            figures.add("watched, memory above unwatched", "MB",
                        figures.samples["watched, memory of the backend"][-1] -
                        figures.samples["unwatched, memory of the backend"][-1])
    figures.compare("watched, time", "unwatched, time", at_most=2)
    figures.bar("watched, memory above unwatched", at_most=64)
    figures.bar("watched, p99 of others' events meanwhile", at_most=50)
    figures.bar("watched, p99 of others' events after its commit, until a client has its last event", at_most=50)
