"""One event to many clients: what the gateway takes for a message, beside a bare loop that only writes, and beside the
bridges. Servers have one core and the clients another, so that nobody's figure depends on where the scheduler puts him.

Where events are spaced, what a write costs depends above all on whether it wakes a client that sleeps on another core
of the same machine, which no remote client does: so the clients do not sleep then, PostgreSQL has their core, too, and
the gateway and the loop take turns of a fifth of a second, so that both meet the same machine."""

import contextlib
import os
import statistics

from cluster import cpu_seconds
from programs import SUBSCRIBE, Program

TITLE = "Fan-out: one channel to %s clients"

COST = "µs a message"

TABLE = """CREATE TABLE fanout (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL)"""
NOTIFYING = TABLE + "; CREATE TRIGGER push AFTER INSERT ON fanout FOR EACH ROW EXECUTE FUNCTION push('fanout')"


def pin(pids, core):
    """All threads of these processes to one core, where there is more than one; None: to any. Some may have ended."""
    if os.cpu_count() > 1:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                for task in os.listdir("/proc/%d/task" % pid):
                    os.sched_setaffinity(int(task), {core} if core is not None else range(os.cpu_count()))


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

    def measure(self, action, events, mark="mark"):
        """Processor time for a message, messages a second from when the first INSERT is sent, and a message's size."""
        expected = events * self.clients
        self.client.ask(mark)
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

    def measure(self, command, events, mark="mark"):
        expected = events * self.clients
        self.client.ask(mark)
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


def product(bench):
    return Server(bench, "pg_notifyd", bench.cluster.port, bench.cluster.gateways(), "bench")


def take_turns(bench, server, loop, events, interval):
    """The median of each one's turns, and the size of the event's frame, which the first turn of the server tells."""
    size = frame_size(server.measure(lambda: server.spaced(events, interval), events)[2])
    turns = {
        server: lambda: server.measure(lambda: server.spaced(events, interval), events, mark="spin"),
        loop: lambda: loop.measure("spaced %d %d %d" % (events, size, interval), events, mark="spin"),
    }
    costs = {server: [], loop: []}
    for i in range(bench.scale(20, 2)):
        for each in (server, loop) if i % 2 else (loop, server):
            costs[each].append(turns[each]()[0])
    return statistics.median(costs[server]), statistics.median(costs[loop]), size


def measure_spaced(bench, figures, peers):
    events, interval = 10, 20000
    postgres = [bench.cluster.postmaster.pid] + bench.cluster.launcher() + bench.cluster.feed()
    pin(postgres, 1)
    for _ in bench.rounds("spaced"):
        # New connections in each round, because the kernel distributes them at random.
        with contextlib.closing(product(bench)) as server, contextlib.closing(Loop(bench)) as loop:
            cost, limit, size = take_turns(bench, server, loop, events, interval)
        figures.add("event's size, with the frame's header", "bytes", size)
        figures.add("spaced: pg_notifyd", COST, cost)
        figures.add("spaced: bare loop", COST, limit)
        for peer in peers:
            cost, _, _ = peer.measure(lambda: peer.spaced(4 * events, interval), 4 * events, mark="spin")
            figures.add("spaced: %s" % peer.name, COST, cost)
    pin(postgres, None)
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
            figures.add("saturated: %s, processor" % server.name, COST, cpu)
        for name, events, frames in (("one frame in a write", bench.scale(1000, 100), 1),
                                     ("ten frames in a write", bench.scale(5000, 500), 10),
                                     ("64 kB in a write", bench.scale(20000, 1000), 65536 // size)):
            cpu, rate, client = loop.measure("burst %d %d %d" % (events, size, frames), events)
            figures.add("saturated: bare loop, %s" % name, "messages/s", rate)
            figures.add("saturated: bare loop, %s, processor" % name, COST, cpu)
            figures.add("saturated: the load client itself, %s" % name, COST, client)
    figures.compare("saturated: pg_notifyd", "saturated: bare loop, ten frames in a write", at_least=0.7)
    figures.compare("saturated: pg_notifyd", "saturated: bare loop, 64 kB in a write")
    figures.compare("saturated: pg_notifyd", "saturated: Node", at_least=5)
    figures.compare("saturated: pg_notifyd", "saturated: Python")


def run(bench, figures):
    cluster = bench.cluster
    figures.title = TITLE % "{:,}".format(bench.scale(1000, 200))
    cluster.sql(TABLE + "; GRANT SELECT ON fanout TO reader; SELECT notify_watch('fanout', 'insert', '{}')")
    peers = bench.peers("fanout", NOTIFYING)
    with contextlib.ExitStack() as stack:
        for peer in peers.values():
            stack.callback(peer.close)
        bridges = [Server(bench, name, peer.port, [peer.process.pid], name.lower()) for name, peer in peers.items()]
        for bridge in bridges:
            stack.callback(bridge.close)
        size = measure_spaced(bench, figures, bridges)
        servers = [stack.enter_context(contextlib.closing(product(bench)))] + bridges
        loop = stack.enter_context(contextlib.closing(Loop(bench)))
        measure_saturated(bench, figures, servers, loop, size)
