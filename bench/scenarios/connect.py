"""What a connection costs, from the handshake to the answer to its first subscribe: without a token, and with tokens of the
usual algorithms. The feed verifies every token that a client presents, so it makes no difference that the clients of a
run present the same one."""

import json
import os
import subprocess
import sys
import time

from cluster import cpu_seconds, wait_until
from programs import SUBSCRIBE, Program

TITLE = "Connections: handshake to the answer to the first subscribe"

TOKENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../test/lib/tokens.py")
ALGORITHMS = ["HS256", "ES256", "EdDSA", "RS256"]
NO_TOKEN = "no token"
PROCESSOR = ": processor, gateway and feed"
WINDOW = 64  # handshakes at the same time


def make_tokens(bench):
    """A token of each algorithm, whose keys the server knows."""
    now = int(time.time())
    claims = {"iss": "https://shop.example/auth", "sub": "0f6e1b1c-7f0a-4c64-9a53-7f3f6f1f2f11", "role": "customer",
              "aud": "shop", "iat": now, "exp": now + 86400, "session_id": "a1c3d2f8-53e1-4c0f-8c1d-0a6f1c2d3e4f"}
    requests = "".join(json.dumps({"alg": algorithm, "claims": claims}) + "\n" for algorithm in ALGORITHMS)
    made = subprocess.run([sys.executable, TOKENS, bench.work], input=requests, stdout=subprocess.PIPE, text=True, check=True)
    bench.cluster.sql("CREATE ROLE authenticator LOGIN NOINHERIT; CREATE ROLE customer; GRANT customer TO authenticator")
    bench.cluster.set(authenticator_role="authenticator", jwt_audience="shop", jwt_secret="@%s/secret" % bench.work,
                      jwt_keys="%s/keys.json" % bench.work)
    return dict(zip(ALGORITHMS, made.stdout.split()))


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
    tokens = make_tokens(bench)
    bench.cluster.sql("GRANT SELECT ON quiet TO reader, customer")
    connect = Connect(bench, figures, tokens)
    labels = [NO_TOKEN] + ALGORITHMS
    for label in labels:  # starts the feed, and loads what the first use needs
        connect.connect(label)
    bench.interleave("connect", [(label, connect.measure) for label in labels], share=3)
    for label in ALGORITHMS:
        figures.compare(label, NO_TOKEN)
        figures.compare(label + PROCESSOR, NO_TOKEN + PROCESSOR)
