"""Clients that never read, and clients that read the whole log again: what they do to the latency of the others, and to
the memory of gateway and feed. The same events go to ten healthy clients in each run, beside nobody and beside these."""

import os

from cluster import process_status, wait_until
from programs import SUBSCRIBE, Program

TITLE = "Slow clients: ten healthy ones beside %s that never read or replay"

SETUP = """
CREATE TABLE slow (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL, filler text NOT NULL
	DEFAULT repeat('x', 200));
GRANT SELECT ON slow TO reader;
SELECT notify_watch('slow', 'insert', '{sent,filler}');
CREATE TABLE history (id bigint PRIMARY KEY);
GRANT SELECT ON history TO reader;
SELECT notify_watch('history', 'insert')
"""

# One transaction with more than client_buffer: clients that do not read lag after it.
BURST = "INSERT INTO slow (sent, filler) SELECT 0, repeat('x', 4000) FROM generate_series(1, %d)"

HEALTHY = 10
INTERVAL = 5000  # µs, from one event to the next
CLIENT_BUFFER = 8  # MB
TOTAL = 32  # client_buffers: what all clients of a gateway may have queued, see doc/settings.md


class Slow:
    """One cluster, its healthy clients, and who is connected beside them."""

    def __init__(self, bench, figures):
        self.bench = bench
        self.figures = figures
        self.cluster = bench.cluster
        self.burst = bench.scale(2500, 2500)
        self.events = bench.scale(2000, 200)

    def subscribers(self, clients, *options, channel="slow", since=None):
        message = SUBSCRIBE % channel
        if since:
            message = message[:-1] + ',"since":"%s"}' % since
        return Program([self.bench.program("client"), "-p", str(self.cluster.port), "-n", str(clients), "-s", message]
                       + list(options))

    def watch_memory(self):
        """From now on VmHWM of the gateways is what they have used at most (proc(5), clear_refs)."""
        for pid in self.cluster.gateways():
            with open("/proc/%d/clear_refs" % pid, "w", encoding="ascii") as file:
                file.write("5")

    def note_memory(self, label):
        """What the gateway has used at most; what the feed has beside shared memory; what lies in the kernel."""
        with open("/proc/net/sockstat", encoding="ascii") as file:
            pages = next(int(line.split()[-1]) for line in file if line.startswith("TCP:"))
        for name, kb in (("gateway, at most", sum(process_status(pid, "VmHWM") for pid in self.cluster.gateways())),
                         ("feed", sum(process_status(pid, "RssAnon") for pid in self.cluster.feed())),
                         ("kernel's socket buffers, all of the machine", pages * os.sysconf("SC_PAGESIZE") / 1024)):
            self.figures.add("%s: %s" % (label, name), "MB", kb / 1024)

    def latency(self, label, healthy, writer, events):
        """Each event, sent at its time whatever those before do, to each healthy client."""
        healthy.ask("mark")
        writer.ask("pace %d %d" % (events, INTERVAL))
        got = healthy.ask("wait %d 60" % (events * HEALTHY))
        if got["messages"] != events * HEALTHY or got["fewest"] != events or got["closed"] > 0:
            raise RuntimeError("%s: %d of %d events came to the healthy, %d of them were closed" % (
                label, got["messages"], events * HEALTHY, got["closed"]))
        for part in ("p50", "p99"):
            self.figures.add("%s: %s" % (label, part), "µs", got["latency"][part])

    def beside(self, label, clients, *options, burst=True, closing=None, **how):
        """The healthy ones' latency beside so many others."""
        others = None
        self.cluster.settle()
        self.watch_memory()
        with self.subscribers(HEALTHY, "-t", "sent") as healthy, \
                Program([self.bench.program("probe"), "writer", self.cluster.conninfo(), "slow", "none"]) as writer:
            try:
                if clients:
                    others = self.subscribers(clients, *options, **how)
                if burst:
                    self.cluster.sql(BURST % self.burst)
                    got = healthy.ask("wait %d 60" % (self.burst * HEALTHY))
                    if got["fewest"] != self.burst:
                        raise RuntimeError("the burst has not reached the healthy")
                self.latency(label, healthy, writer, self.events)
                if closing:
                    self.latency(closing, healthy, writer, self.bench.scale(5500, 200))
                self.note_memory(label)
            finally:
                if others:
                    others.close()
        wait_until(lambda: self.cluster.sql("SELECT count(*) FROM notifyd.clients")[0][0] == 0, 60, "the clients to go")


def history(slow, rows):
    """Fill the log with events; the position before them."""
    with slow.subscribers(1, channel="history") as client:
        position = client.ready["answer"]["result"]["position"]
    slow.cluster.sql("INSERT INTO history SELECT generate_series(1, %d)" % rows)
    return position


def run(bench, figures):
    slow = Slow(bench, figures)
    many = bench.scale(1000, 100)
    replays = bench.scale(200, 20)
    figures.title = TITLE % "{:,}".format(many)
    bench.cluster.set(client_buffer="%dMB" % CLIENT_BUFFER)
    bench.cluster.set_sandbox("off")  # a gateway in its sandbox refuses others to write clear_refs
    bench.cluster.sql(SETUP)
    nobody, one, all_of_them = "nobody else", "1 never reads", "{:,} never read".format(many)
    closing = "{:,} never read, while they are closed".format(many)
    replaying = "%d replay %s events" % (replays, "{:,}".format(bench.scale(100000, 10000)))
    position = history(slow, bench.scale(100000, 10000))
    bench.interleave("latency", [
        (nobody, lambda label: slow.beside(label, 0)),
        (one, lambda label: slow.beside(label, 1, "-d")),
        (all_of_them, lambda label: slow.beside(label, many, "-d", closing=closing)),
        (replaying, lambda label: slow.beside(label, replays, burst=False, channel="history", since=position)),
    ], share=0.6)
    for label in (one, all_of_them, closing, replaying):
        for part in ("p50", "p99"):
            figures.compare("%s: %s" % (label, part), "%s: %s" % (nobody, part))
    for label in (one, all_of_them, replaying):
        figures.bar("%s: gateway, at most" % label, at_most=TOTAL * CLIENT_BUFFER)
