"""Thousands of connections that are subscribed and hear nothing: memory, processor, and how fast they are made; and what
the server does when nobody is connected at all."""

import os
import signal

from cluster import cpu_seconds, process_status, wait_until, wakeups
from programs import SUBSCRIBE, Program

TITLE = "Idle connections: %s of them, subscribed"

CORE = "% of a core"
KEEPALIVE = 30  # seconds, the default
PING = 12  # bytes of the gateway's


def fresh_gateway(bench):
    """Another gateway, that has never had a client."""
    old = bench.cluster.gateways()
    for pid in old:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: set(bench.cluster.gateways()).isdisjoint(old), 30, "the gateway to end")
    bench.cluster.wait_healthy()
    return wait_until(bench.cluster.gateways, 30, "another gateway")


def rest(bench, figures, when, seconds):
    """What gateway, feed and launcher do while nothing happens."""
    groups = {"gateway": bench.cluster.gateways(), "feed": bench.cluster.feed(), "launcher": bench.cluster.launcher()}
    before = {name: (cpu_seconds(pids), wakeups(pids)) for name, pids in groups.items()}
    bench.sleep(seconds)
    for name, pids in groups.items():
        figures.add("%s: %s" % (when, name), CORE, (cpu_seconds(pids) - before[name][0]) / seconds * 100)
        figures.add("%s: %s, wakeups" % (when, name), "a second", (wakeups(pids) - before[name][1]) / seconds)


def pinging(bench, figures, client, clients, seconds):
    """What the pings of pg_notifyd.keepalive cost. Each connection has been there for as long as that."""
    bench.sleep(bench.scale(KEEPALIVE, 1))
    client.ask("mark")
    before = cpu_seconds(bench.cluster.gateways())
    rest(bench, figures, "pings of keepalive", seconds)
    spent = cpu_seconds(bench.cluster.gateways()) - before
    report = client.ask("report")
    if report["closed"] > 0:
        raise RuntimeError("connections were closed")
    figures.add("pings of keepalive: how many", "a second", report["pings"] / seconds)
    figures.add("pings of keepalive: a ping and its answer", "µs", spent * 1e6 / max(report["pings"], 1))


def bare_loop(bench, figures, clients, seconds):
    """The limit: what sending as many pings, and reading what comes back, takes without anything else."""
    port = bench.free_port()
    with Program([bench.program("loop"), str(port), str(clients)]) as loop, \
            Program([bench.program("client"), "-p", str(port), "-n", str(clients)]):
        bench.sleep(2)
        got = loop.ask("ping %d %d %d" % (seconds, PING, KEEPALIVE))
    figures.add("pings by the bare loop", CORE, got["cpu"] / seconds * 100)
    figures.add("pings by the bare loop: a ping and its answer", "µs", got["cpu"] * 1e6 / got["messages"])


def run(bench, figures):
    clients = bench.scale(10000, 1000)
    seconds = bench.scale(KEEPALIVE, 2)
    cluster = bench.cluster
    figures.title = TITLE % "{:,}".format(clients)
    cluster.sql("CREATE TABLE quiet (id bigint PRIMARY KEY); GRANT SELECT ON quiet TO reader; "
                "SELECT notify_watch('quiet')")
    for _ in bench.rounds("idle", share=0.6):
        cluster.set(keepalive=0)
        gateways = fresh_gateway(bench)
        bench.sleep(2)  # until the clock that whoever asked for its health has set going stands still again
        rest(bench, figures, "nobody connected", seconds)
        before = sum(process_status(pid, "VmRSS") for pid in gateways)
        with Program([bench.program("client"), "-p", str(cluster.port), "-n", str(clients), "-s",
                      SUBSCRIBE % "quiet"]) as client:
            ready = client.ready
            bench.sleep(2)
            figures.add("memory of the gateway for a connection", "kB",
                        (sum(process_status(pid, "VmRSS") for pid in gateways) - before) / clients)
            figures.add("connected", "connections/s", clients / ready["open"])
            figures.add("connected and subscribed", "connections/s", clients / ready["answered"])
            rest(bench, figures, "all connected, keepalive off", seconds)
            cluster.set(keepalive="%ds" % KEEPALIVE)
            pinging(bench, figures, client, clients, seconds)
        bare_loop(bench, figures, clients, seconds)
    figures.bar("memory of the gateway for a connection", at_most=4)
    figures.bar("connected", at_least=5000)
    # 0 % when rounded to two decimal places.
    for label in ("nobody connected: gateway", "nobody connected: feed", "all connected, keepalive off: gateway"):
        figures.bar(label, at_most=0.05)
    # Sending costs at least the time in the kernel.
    figures.compare("pings of keepalive: a ping and its answer", "pings by the bare loop: a ping and its answer")
    figures.compare("pings of keepalive: gateway", "pings by the bare loop")
    for label in ("gateway", "feed"):
        # Once a second; there may be one more wakeup than seconds.
        figures.bar("nobody connected: %s, wakeups" % label, at_most=round(1 + 1 / seconds, 3))
