"""One event to many clients: what the gateway takes for a message, beside a bare loop that only writes, and beside the
bridges. Servers have one core and the clients another, so that nobody's figure depends on where the scheduler puts him."""

import os

from cluster import cpu_seconds
from programs import SUBSCRIBE, Program

TITLE = "Fan-out: one channel to %s clients"

TABLE = """CREATE TABLE fanout (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL)"""
NOTIFYING = TABLE + "; CREATE TRIGGER push AFTER INSERT ON fanout FOR EACH ROW EXECUTE FUNCTION push('fanout')"


def pin(pids, core):
    """All threads of these processes to one core, where there is more than one."""
    if os.cpu_count() > 1:
        for pid in pids:
            for task in os.listdir("/proc/%d/task" % pid):
                os.sched_setaffinity(int(task), {core})


class Server:
    """Something that sends events to all clients: how to make it do so, and the processes that this costs."""

    def __init__(self, bench, name, port, pids, database):
        self.name = name
        self.pids = pids
        self.database = database
        self.bench = bench
        self.clients = bench.scale(1000, 200)
        self.client = Program([bench.program("client"), "-p", str(port), "-n", str(self.clients), "-e", "100", "-s",
                               SUBSCRIBE % "fanout"])
        pin([self.client.process.pid], 1)
        pin(pids, 0)
        self.writer = Program([bench.program("probe"), "writer", bench.cluster.conninfo(database), "fanout", "none"])

    def spaced(self, events, interval):
        self.writer.ask("pace %d %d" % (events, interval))

    def burst(self, events):
        self.bench.cluster.sql("INSERT INTO fanout (sent) SELECT 0 FROM generate_series(1, %d)" % events,
                               database=self.database)

    def measure(self, action, events):
        """Processor time for a message, messages a second from when the first INSERT is sent, and a message's size."""
        expected = events * self.clients
        self.client.ask("mark")
        before = cpu_seconds(self.pids)
        action()
        got = self.client.ask("wait %d 120" % expected)
        spent = cpu_seconds(self.pids) - before
        if got["messages"] != expected or got["fewest"] != events:
            raise RuntimeError("%s: %d of %d messages, %d closed" % (self.name, got["messages"], expected,
                                                                     got["closed"]))
        return spent * 1e6 / expected, expected / got["last"], got["bytes"] // expected

    def close(self):
        self.client.close()
        self.writer.close()


class Loop:
    """The limit: loop.c, with frames of the same size as the gateway's."""

    def __init__(self, bench):
        self.clients = bench.scale(1000, 200)
        port = bench.free_port()
        self.loop = Program([bench.program("loop"), str(port), str(self.clients)])
        self.client = Program([bench.program("client"), "-p", str(port), "-n", str(self.clients)])
        pin([self.client.process.pid], 1)
        pin([self.loop.process.pid], 0)

    def measure(self, command, events):
        expected = events * self.clients
        self.client.ask("mark")
        spent = self.loop.ask(command)["cpu"]
        got = self.client.ask("wait %d 120" % expected)
        if got["messages"] != expected:
            raise RuntimeError("loop: %d of %d messages" % (got["messages"], expected))
        return spent * 1e6 / expected, expected / got["last"], got["cpu"] * 1e6 / expected

    def close(self):
        self.client.close()
        self.loop.close()


def frame_size(text):
    return text + (2 if text < 126 else 4)


def measure_spaced(bench, figures, servers, loop):
    events, interval = bench.scale(200, 40), 20000
    size = 240
    for _ in bench.rounds("spaced"):
        for server in servers:
            cpu, _, text = server.measure(lambda: server.spaced(events, interval), events)
            if server is servers[0]:
                size = frame_size(text)
                figures.add("event's size, with the frame's header", "bytes", size)
            figures.add("spaced: %s" % server.name, "µs a message", cpu)
        cpu, _, client = loop.measure("spaced %d %d %d" % (events, size, interval), events)
        figures.add("spaced: bare loop", "µs a message", cpu)
        figures.add("spaced: the load client itself", "µs a message", client)
    figures.compare("spaced: pg_notifyd", "spaced: bare loop", at_most=1.05)
    figures.compare("spaced: pg_notifyd", "spaced: Node")
    figures.compare("spaced: pg_notifyd", "spaced: Python")
    return size


def measure_saturated(bench, figures, servers, loop, size):
    for _ in bench.rounds("saturated"):
        for server in servers:
            events = {"pg_notifyd": bench.scale(10000, 500), "Node": bench.scale(500, 100)}.get(
                server.name, bench.scale(150, 50))
            cpu, rate, _ = server.measure(lambda: server.burst(events), events)
            figures.add("saturated: %s" % server.name, "messages/s", rate)
            figures.add("saturated: %s, processor" % server.name, "µs a message", cpu)
        for name, events, frames in (("one frame in a write", bench.scale(1000, 100), 1),
                                     ("ten frames in a write", bench.scale(5000, 500), 10),
                                     ("64 kB in a write", bench.scale(20000, 1000), 65536 // size)):
            cpu, rate, client = loop.measure("burst %d %d %d" % (events, size, frames), events)
            figures.add("saturated: bare loop, %s" % name, "messages/s", rate)
            figures.add("saturated: bare loop, %s, processor" % name, "µs a message", cpu)
            figures.add("saturated: the load client itself, %s" % name, "µs a message", client)
    figures.compare("saturated: pg_notifyd", "saturated: bare loop, ten frames in a write", at_least=0.7)
    figures.compare("saturated: pg_notifyd", "saturated: bare loop, 64 kB in a write")
    figures.compare("saturated: pg_notifyd", "saturated: Node", at_least=5)
    figures.compare("saturated: pg_notifyd", "saturated: Python")


def run(bench, figures):
    cluster = bench.cluster
    figures.title = TITLE % "{:,}".format(bench.scale(1000, 200))
    cluster.sql(TABLE + "; GRANT SELECT ON fanout TO reader; SELECT notify_watch('fanout', 'insert', '{}')")
    peers = bench.peers("fanout", NOTIFYING)
    servers = []
    loop = None
    try:
        servers.append(Server(bench, "pg_notifyd", cluster.port, cluster.gateways(), "bench"))
        servers += [Server(bench, name, peer.port, [peer.process.pid], name.lower()) for name, peer in peers.items()]
        loop = Loop(bench)
        size = measure_spaced(bench, figures, servers, loop)
        measure_saturated(bench, figures, servers, loop, size)
    finally:
        for each in servers + [loop] * (loop is not None) + list(peers.values()):
            each.close()
