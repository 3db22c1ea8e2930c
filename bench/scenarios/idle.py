"""Thousands of connections that are subscribed and hear nothing: memory, processor, and how fast they are made; and what
the server does when nobody is connected at all."""

import os
import signal

from cluster import cpu_seconds, memory_kb, wait_until, wakeups
from programs import SUBSCRIBE, Program

TITLE = "Idle connections: %s of them, subscribed"


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
        figures.add("%s: %s" % (when, name), "% of a core", (cpu_seconds(pids) - before[name][0]) / seconds * 100)
        figures.add("%s: %s, wakeups" % (when, name), "a second", (wakeups(pids) - before[name][1]) / seconds)


def run(bench, figures):
    clients = bench.scale(10000, 1000)
    cluster = bench.cluster
    figures.title = TITLE % "{:,}".format(clients)
    cluster.sql("CREATE TABLE quiet (id bigint PRIMARY KEY); GRANT SELECT ON quiet TO reader; "
                "SELECT notify_watch('quiet')")
    for _ in bench.rounds("idle", share=0.6):
        gateways = fresh_gateway(bench)
        seconds = bench.scale(30, 2)
        rest(bench, figures, "nobody connected", seconds)
        before = sum(memory_kb(pid) for pid in gateways)
        with Program([bench.program("client"), "-p", str(cluster.port), "-n", str(clients), "-s",
                      SUBSCRIBE % "quiet"]) as client:
            ready = client.ready
            bench.sleep(2)
            figures.add("memory of the gateway for a connection", "kB",
                        (sum(memory_kb(pid) for pid in gateways) - before) / clients)
            figures.add("connected", "connections/s", clients / ready["open"])
            figures.add("connected and subscribed", "connections/s", clients / ready["answered"])
            rest(bench, figures, "all connected", seconds)
            if client.ask("report")["closed"] > 0:
                raise RuntimeError("connections were closed")
    figures.bar("memory of the gateway for a connection", at_most=4)
    figures.bar("connected", at_least=5000)
    # 0 % as a figure with two digits behind the point would show it.
    for label in ("nobody connected: gateway", "nobody connected: feed"):
        figures.bar(label, at_most=0.05)
    # Each of the connections is asked now and then whether it is still there (pg_notifyd.keepalive), as it has to be.
    figures.bar("all connected: gateway", at_most=0.05)
    for label in ("gateway", "feed"):
        figures.bar("nobody connected: %s, wakeups" % label, at_most=1)
