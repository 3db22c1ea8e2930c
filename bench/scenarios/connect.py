"""What a connection costs, from the handshake to the answer to its first subscribe: without a token, and with tokens of the
usual algorithms. The feed verifies every token that a client presents, so it makes no difference that the clients of a
run present the same one."""

from cluster import cpu_seconds, wait_until
from identities import make_tokens
from programs import SUBSCRIBE, Program

TITLE = "Connections: handshake to the answer to the first subscribe"

SUBJECT = "0f6e1b1c-7f0a-4c64-9a53-7f3f6f1f2f11"
ALGORITHMS = ["HS256", "ES256", "EdDSA", "RS256"]
NO_TOKEN = "no token"
PROCESSOR = ": processor, gateway and feed"
WINDOW = 64  # handshakes at the same time


class Connect:
    def __init__(self, bench, figures, tokens):
        self.bench = bench
        self.figures = figures
        self.paths = {label: "/ws?access_token=" + token for label, token in tokens.items()}
        self.paths[NO_TOKEN] = "/ws"
        self.clients = bench.scale(2000, 200)

    def connect(self, label):
        """So many connections: how long that takes, and the processor time of gateway and feed."""
        cluster = self.bench.cluster
        groups = [cluster.gateways(), cluster.feed()]
        before = [cpu_seconds(pids) for pids in groups]
        with Program([self.bench.program("client"), "-p", str(cluster.port), "-n", str(self.clients), "-w", str(WINDOW),
                      "-P", self.paths[label], "-s", SUBSCRIBE % "quiet"]) as client:
            spent = [(cpu_seconds(pids) - was) * 1e6 / self.clients for pids, was in zip(groups, before)]
            seconds = client.ready["answered"]
        wait_until(lambda: cluster.sql("SELECT count(*) FROM notifyd.clients")[0][0] == 0, 60, "the clients to go")
        return seconds, spent

    def measure(self, label):
        seconds, (gateway, feed) = self.connect(label)
        self.figures.add(label, "connections/s", self.clients / seconds)
        self.figures.add(label + PROCESSOR, "µs a connection", gateway + feed)
        self.figures.add(label + ": processor, feed", "µs a connection", feed)


def run(bench, figures):
    bench.cluster.sql("CREATE TABLE quiet (id bigint PRIMARY KEY); SELECT notify_watch('quiet')")
    tokens = dict(zip(ALGORITHMS, make_tokens(bench, [(algorithm, SUBJECT) for algorithm in ALGORITHMS])))
    bench.cluster.sql("GRANT SELECT ON quiet TO reader, customer")
    connect = Connect(bench, figures, tokens)
    labels = [NO_TOKEN] + ALGORITHMS
    for label in labels:  # starts the feed, and loads what the first use needs
        connect.connect(label)
    bench.interleave("connect", [(label, connect.measure) for label in labels], share=3)
    for label in ALGORITHMS:
        figures.compare(label, NO_TOKEN)
        figures.compare(label + PROCESSOR, NO_TOKEN + PROCESSOR)
