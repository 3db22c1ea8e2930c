"""Fan-out with two gateways beside one, with as many clients. Where gateways and clients share two cores two
gateways cannot be twice as fast, so what is also told is that they share nothing: a message costs each as much as it
costs a single one. That is measured with the whole server on one core and the clients on the other, so that it does
not depend on where the scheduler puts them, and on what else is at work beside a gateway then."""

import os

from cluster import cpu_seconds, wait_until
from fanout import pin
from programs import SUBSCRIBE, Program

TITLE = "Fan-out with two gateways: one channel to %s clients"

COUNTS = {"1 gateway": 1, "2 gateways": 2}
COST = ", server on one core: processor, all of them"
BUSIEST = ", server on one core: messages in a second of the busiest one's processor time"
SHARE = ", server on one core: clients of the one that has most"


class Fanout:
    def __init__(self, bench, figures):
        self.bench = bench
        self.figures = figures
        self.clients = bench.scale(1000, 200)
        self.events = bench.scale(5000, 500)

    def gateways(self, count):
        """So many gateways, all of them fresh ones that listen."""
        cluster = self.bench.cluster
        cluster.set(gateways=count)
        wait_until(lambda: len(cluster.gateways()) == count, 30, "%d gateways" % count)
        cluster.wait_healthy()
        return cluster.gateways()

    def dealt(self):
        """How many clients each gateway says it has."""
        return [clients for (clients,) in
                self.bench.cluster.sql("SELECT clients FROM notifyd.stats WHERE kind = 'gateway'")]

    def measure(self, count, pinned):
        """The events in one transaction, to all clients: messages a second, what they cost each gateway, and how many of the
        clients the kernel has dealt to one of them."""
        pids = self.gateways(count)
        expected = self.events * self.clients
        pin(self.bench.cluster.processes(), 0 if pinned else None)
        with Program([self.bench.program("client"), "-p", str(self.bench.cluster.port), "-n", str(self.clients), "-s",
                      SUBSCRIBE % "fanout"]) as client:
            pin([client.process.pid], 1 if pinned else None)
            self.bench.cluster.settle()
            wait_until(lambda: sum(self.dealt()) == self.clients, 30, "the gateways' count of clients")
            most = max(self.dealt())
            client.ask("mark")
            before = [cpu_seconds([pid]) for pid in pids]
            self.bench.cluster.sql("INSERT INTO fanout (sent) SELECT 0 FROM generate_series(1, %d)" % self.events)
            got = client.ask("wait %d 120" % expected)
            spent = [cpu_seconds([pid]) - was for pid, was in zip(pids, before)]
        if got["messages"] != expected or got["fewest"] != self.events:
            raise RuntimeError("%d of %d messages" % (got["messages"], expected))
        return expected / got["last"], spent, expected, most / self.clients

    def free(self, label):
        rate, _, _, _ = self.measure(COUNTS[label], pinned=False)
        self.figures.add(label, "messages/s", rate)

    def pinned(self, label):
        _, spent, messages, share = self.measure(COUNTS[label], pinned=True)
        self.figures.add(label + COST, "µs a message", sum(spent) * 1e6 / messages)
        # The speed if each had a core: the busier one is the limit.
        self.figures.add(label + BUSIEST, "messages/s", messages / max(spent))
        self.figures.add(label + SHARE, "of all", share)


def run(bench, figures):
    fanout = Fanout(bench, figures)
    figures.title = TITLE % "{:,}".format(fanout.clients)
    bench.cluster.sql("CREATE TABLE fanout (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sent bigint NOT NULL); "
                      "GRANT SELECT ON fanout TO reader; SELECT notify_watch('fanout', 'insert', '{}')")
    one, two = COUNTS
    bench.interleave("free", [(one, fanout.free), (two, fanout.free)])
    bench.interleave("server on one core", [(one, fanout.pinned), (two, fanout.pinned)], share=4)
    # With three cores, each gateway and the clients have one.
    figures.compare(two, one, at_least=1.7 if os.cpu_count() > 2 else None)
    figures.compare(two + COST, one + COST)
    figures.compare(two + BUSIEST, one + BUSIEST, at_least=1.7)
