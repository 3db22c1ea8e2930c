"""What the gateway's sandbox costs: connecting, and fan-out. In the sandbox the kernel looks each system call up in a
list. The server has one core and the clients another."""

from cluster import cpu_seconds, wait_until
from fanout import pin
from programs import SUBSCRIBE, Program

TITLE = "The gateway's sandbox: one channel to %s clients"

LABELS = {"sandbox": "on", "no sandbox": "off"}
FIGURES = [("fan-out", "messages/s"), ("fan-out, processor", "µs a message"),
           ("connecting, processor", "µs a connection")]


class Sandbox:
    def __init__(self, bench, figures):
        self.bench = bench
        self.figures = figures
        self.clients = bench.scale(1000, 200)
        self.events = bench.scale(10000, 500)

    def measure(self, label):
        cluster = self.bench.cluster
        cluster.set_sandbox(LABELS[label])
        pin(cluster.processes(), 0)
        pids = cluster.gateways()
        expected = self.events * self.clients
        begun = cpu_seconds(pids)
        with Program([self.bench.program("client"), "-p", str(cluster.port), "-n", str(self.clients), "-s",
                      SUBSCRIBE % "fanout"]) as client:
            connected = cpu_seconds(pids)
            pin([client.process.pid], 1)
            cluster.settle()
            client.ask("mark")
            before = cpu_seconds(pids)
            cluster.sql("INSERT INTO fanout (sent) SELECT 0 FROM generate_series(1, %d)" % self.events)
            got = client.ask("wait %d 120" % expected)
            spent = cpu_seconds(pids) - before
        if got["messages"] != expected or got["fewest"] != self.events:
            raise RuntimeError("%d of %d messages" % (got["messages"], expected))
        values = expected / got["last"], spent * 1e6 / expected, (connected - begun) * 1e6 / self.clients
        for (what, unit), value in zip(FIGURES, values):
            self.figures.add("%s: %s" % (label, what), unit, value)
        wait_until(lambda: cluster.sql("SELECT count(*) FROM notifyd.clients")[0][0] == 0, 60, "the clients to go")


def run(bench, figures):
    sandbox = Sandbox(bench, figures)
    figures.title = TITLE % "{:,}".format(sandbox.clients)
    bench.cluster.sql("CREATE TABLE fanout (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL); "
                      "GRANT SELECT ON fanout TO reader; SELECT notify_watch('fanout', 'insert', '{}')")
    bench.interleave("fan-out", [(label, sandbox.measure) for label in LABELS], share=2)
    on, off = LABELS
    for what, _ in FIGURES:
        figures.compare("%s: %s" % (on, what), "%s: %s" % (off, what))
