"""WAMP beside JSON-RPC, at the same gateway: calls of an SQL function, and one channel to many clients."""

import contextlib

from cluster import cpu_seconds, wait_until
from programs import SUBSCRIBE, Program

TITLE = "WAMP beside JSON-RPC"

WORKERS = 2
BAR = 0.8
HELLO = '[1,"bench",{"roles":{"caller":{},"subscriber":{}}}]'

TABLES = """
CREATE TABLE news (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL);
CREATE FUNCTION add_one(a int) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + 1';
GRANT SELECT ON news TO reader;
SELECT notify_watch('news', 'insert', '{}'), notify_expose('add_one(int)');
"""

# The protocols: options of the client, the message that calls, and the one that subscribes. A request of WAMP has a
# number from 1 on.
PROTOCOLS = {
    "JSON-RPC": ([], '{"id":1#,"method":"call","params":{"name":"add_one","args":[#]}}', SUBSCRIBE % "news"),
    "WAMP": (["-u", "wamp.2.json", "-g", HELLO], '[48,1#,{},"add_one",[#]]', '[32,1,{},"news"]'),
}


class Wamp:
    def __init__(self, bench, figures):
        self.bench = bench
        self.figures = figures
        self.subscribers = bench.scale(1000, 200)
        bench.cluster.sql("CREATE ROLE authenticator LOGIN NOINHERIT; GRANT reader TO authenticator")
        bench.cluster.set(query_workers=WORKERS, authenticator_role="authenticator")
        bench.cluster.sql(TABLES)

    def client(self, protocol, message, clients, each=1):
        return Program([self.bench.program("client"), "-p", str(self.bench.cluster.port), "-n", str(clients), "-s", message,
                        "-S", str(each)] + PROTOCOLS[protocol][0])

    def workers(self):
        return [pid for pid, in self.bench.cluster.sql(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker'")]

    def calls(self, protocol):
        clients, each = 32, self.bench.scale(3000, 100)
        pids = self.bench.cluster.gateways() + self.workers()
        before = cpu_seconds(pids)
        with self.client(protocol, PROTOCOLS[protocol][1], clients, each) as client:
            ready = client.ready
        label = protocol + ": calls, 32 at a time"
        self.figures.add(label, "calls/s", clients * each / ready["answered"])
        self.figures.add(label + ", p99", "ms", ready["answers"]["p99"] / 1000)
        self.figures.add(label + ", processor", "µs a call", (cpu_seconds(pids) - before) * 1e6 / (clients * each))

    def events(self, protocol):
        bench, events = self.bench, self.bench.scale(5000, 500)
        expected = events * self.subscribers
        gateways = bench.cluster.gateways()
        with contextlib.closing(self.client(protocol, PROTOCOLS[protocol][2], self.subscribers)) as client:
            client.ask("mark")
            before = cpu_seconds(gateways)
            bench.cluster.sql("INSERT INTO news (sent) SELECT 0 FROM generate_series(1, %d)" % events)
            got = client.ask("wait %d 120" % expected)
            spent = cpu_seconds(gateways) - before
        if got["messages"] != expected or got["fewest"] != events:
            raise RuntimeError("%s: %d of %d messages, %d closed" % (protocol, got["messages"], expected, got["closed"]))
        label = "%s: events to %s" % (protocol, "{:,} clients".format(self.subscribers))
        self.figures.add(label, "messages/s", expected / got["last"])
        self.figures.add(label + ", processor", "µs a message", spent * 1e6 / expected)
        self.figures.add(label + ", size", "bytes", got["bytes"] / expected)

    def compare(self, what, **bar):
        self.figures.compare("WAMP: " + what, "JSON-RPC: " + what, **bar)


def run(bench, figures):
    wamp = Wamp(bench, figures)
    for protocol, (_, call, _) in PROTOCOLS.items():  # starts the workers
        wamp.client(protocol, call, 8, 10).close()
    wait_until(wamp.workers, 10, "workers")
    for measure in (wamp.calls, wamp.events):
        bench.interleave(measure.__name__, [(name, measure) for name in PROTOCOLS])
    to = "events to {:,} clients".format(wamp.subscribers)
    wamp.compare("calls, 32 at a time", at_least=BAR)
    wamp.compare("calls, 32 at a time, p99", at_most=1 / BAR)
    wamp.compare("calls, 32 at a time, processor")
    wamp.compare(to, at_least=BAR)
    wamp.compare(to + ", processor")
    wamp.compare(to + ", size")
