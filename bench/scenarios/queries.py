"""Queries of clients: snapshots and calls, beside COPY and beside a WebSocket server in Node with a pool of as many
sessions as there are workers, which runs each query in a transaction with the client's role and claims."""

import contextlib
import os
import time

import psycopg2

import queries_rest
from cluster import cpu_seconds, wait_until
from identities import make_tokens
from programs import Peer, Program, pgbench

TITLE = "Queries: snapshots and calls"

WORKERS = 2
NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../peers/node/queries.js")

TABLES = """
CREATE TABLE large (id bigint PRIMARY KEY, owner int, name text, price numeric(10,2), at timestamptz DEFAULT now());
INSERT INTO large SELECT i, i %% 1000, 'item ' || i, (i %% 10000) / 100.0 FROM generate_series(1, %d) AS i;
CREATE TABLE items (id bigint PRIMARY KEY, owner int, name text, price numeric(10,2), at timestamptz DEFAULT now());
INSERT INTO items SELECT i, i %% 1000, 'item ' || i, (i %% 10000) / 100.0 FROM generate_series(1, 100000) AS i;
CREATE INDEX ON items (owner);
CREATE TABLE busy (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int);
CREATE FUNCTION add_one(a int) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + 1';
GRANT SELECT ON large, items TO customer;
SELECT notify_watch('large'), notify_watch('items'), notify_watch('busy');
SELECT notify_expose('add_one(int)');
ANALYZE;
"""

SNAPSHOT = '{"id":1,"method":"subscribe","params":{"channel":"large","snapshot":true}}'
SMALL = '{"id":#,"method":"subscribe","params":{"channel":"items","filter":"owner=eq.#","snapshot":true}}'
CALL = '{"id":#,"method":"call","params":{"name":"add_one","args":{"a":#}}}'


class Nowhere:
    """A file that forgets."""

    @staticmethod
    def write(data):
        return len(data)


class Queries:
    def __init__(self, bench, figures):
        self.bench = bench
        self.figures = figures
        self.rows = bench.scale(1000000, 20000)
        self.token = make_tokens(bench, [("HS256", "c1")])[0]
        bench.cluster.sql("GRANT reader TO authenticator")
        bench.cluster.set(query_workers=WORKERS)
        bench.cluster.sql(TABLES % self.rows)

    def client(self, port, message, clients, each=1):
        path = "/ws?access_token=" + self.token
        return Program([self.bench.program("client"), "-p", str(port), "-n", str(clients), "-P", path, "-s", message,
                        "-S", str(each), "-w", "64"])

    # ---------------- one large snapshot ----------------

    def copy(self, label):
        connection = psycopg2.connect(self.bench.cluster.conninfo("bench"))
        with contextlib.closing(connection), connection.cursor() as cursor:
            began = time.monotonic()
            cursor.copy_expert("COPY (SELECT row_to_json(t) FROM (SELECT * FROM large ORDER BY id) AS t) TO STDOUT", Nowhere)
            self.figures.add(label, "rows/s", self.rows / (time.monotonic() - began))

    def snapshot(self, label):
        began = time.monotonic()
        with self.client(self.bench.cluster.port, SNAPSHOT, 1) as client:
            received = -1
            while True:
                got = client.ask("report")
                if got["messages"] == received:
                    break
                received = got["messages"]
                ended = time.monotonic()
                self.bench.sleep(0.1)
        self.figures.add(label, "rows/s", self.rows / (ended - began))

    def large(self):
        name = "snapshot of {:,} rows".format(self.rows)
        self.bench.interleave("large", [("COPY of the same rows", self.copy), (name, self.snapshot)])
        self.figures.compare(name, "COPY of the same rows", at_least=0.5)

    def writes(self):
        """Writers' transactions while snapshots are read."""
        script = "INSERT INTO busy (n) VALUES (1);"
        for _ in self.bench.rounds("writes"):
            alone, _ = pgbench(self.bench, "bench", script, 4, seconds=self.bench.scale(5, 1))
            reading = self.bench.background(lambda: [self.snapshot("snapshot, beside writers")
                                                     for _ in range(self.bench.scale(3, 1))])
            beside, _ = pgbench(self.bench, "bench", script, 4, seconds=self.bench.scale(5, 1))
            reading.result()
            self.figures.add("4 writers, alone", "tps", alone)
            self.figures.add("4 writers, while snapshots are read", "tps", beside)
        self.figures.compare("4 writers, while snapshots are read", "4 writers, alone")

    # ---------------- many clients, beside Node ----------------

    def many(self, label, port, pids):
        clients = self.bench.scale(1000, 100)
        before = cpu_seconds(pids())
        with self.client(port, SMALL, clients) as client:
            self.figures.add("%s: 1,000 clients with 100 rows each" % label, "clients/s", clients / client.ready["answered"])
        self.figures.add("%s: 1,000 clients with 100 rows each, processor" % label, "µs a client",
                         (cpu_seconds(pids()) - before) * 1e6 / clients)

    def calls(self, label, port, pids):
        clients, each = 32, self.bench.scale(3000, 100)
        before = cpu_seconds(pids())
        with self.client(port, CALL, clients, each) as client:
            self.figures.add("%s: calls, 32 at a time" % label, "calls/s", clients * each / client.ready["answered"])
            self.figures.add("%s: calls, 32 at a time, p99" % label, "ms", client.ready["answers"]["p99"] / 1000)
        self.figures.add("%s: calls, 32 at a time, processor" % label, "µs a call",
                         (cpu_seconds(pids()) - before) * 1e6 / (clients * each))

    def sessions(self, condition):
        return [pid for pid, in self.bench.cluster.sql("SELECT pid FROM pg_stat_activity WHERE " + condition)]

    def own_processes(self):
        return self.bench.cluster.gateways() + self.sessions("backend_type = 'pg_notifyd worker'")

    def beside_node(self):
        bench, port = self.bench, self.bench.free_port()
        node = Peer(["node", NODE, str(port), bench.cluster.directory, "bench", str(WORKERS)], port,
                    os.path.join(bench.work, "Node.log"))
        variants = {
            "pg_notifyd": (bench.cluster.port, self.own_processes),
            "Node": (port, lambda: [node.process.pid] + self.sessions(
                "usename = 'authenticator' AND backend_type = 'client backend'")),
        }
        with contextlib.closing(node):
            for name, (at, pids) in variants.items():  # starts workers and sessions
                self.client(at, CALL, 8, 10).close()
                wait_until(pids, 10, "sessions of " + name)
            for measure in (self.many, self.calls):
                bench.interleave(measure.__name__, [(name, lambda name, measure=measure: measure(name, *variants[name]))
                                                    for name in variants])
        for what, bar in (("1,000 clients with 100 rows each", 2), ("calls, 32 at a time", 2)):
            self.figures.compare("pg_notifyd: " + what, "Node: " + what, at_least=bar)
            self.figures.compare("pg_notifyd: %s, processor" % what, "Node: %s, processor" % what)
        self.figures.compare("pg_notifyd: calls, 32 at a time, p99", "Node: calls, 32 at a time, p99", at_most=1)


def run(bench, figures):
    queries = Queries(bench, figures)
    queries.large()
    queries.writes()
    queries.beside_node()
    queries_rest.run(queries, WORKERS)
