"""Thousands of connections that are subscribed and hear nothing: memory, processor, and how fast they are made; and what
the server does when nobody is connected at all."""

import os
import signal

from cluster import cpu_seconds, memory_kb, wait_until
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


def percent(bench, pids, seconds):
    before = cpu_seconds(pids)
    bench.sleep(seconds)
    return (cpu_seconds(pids) - before) / seconds * 100


def run(bench, figures):
    clients = bench.scale(10000, 1000)
    cluster = bench.cluster
    figures.title = TITLE % "{:,}".format(clients)
    cluster.sql("CREATE TABLE quiet (id bigint PRIMARY KEY); GRANT SELECT ON quiet TO reader; "
                "SELECT notify_watch('quiet')")
    for _ in bench.rounds("idle"):
        gateways = fresh_gateway(bench)
        seconds = bench.scale(10, 2)
        figures.add("nobody connected: gateway", "% of a core", percent(bench, gateways, seconds))
        figures.add("nobody connected: feed", "% of a core", percent(bench, cluster.feed(), seconds))
        before = sum(memory_kb(pid) for pid in gateways)
        with Program([bench.program("client"), "-p", str(cluster.port), "-n", str(clients), "-s",
                      SUBSCRIBE % "quiet"]) as client:
            ready = client.ready
            bench.sleep(2)
            figures.add("memory of the gateway for a connection", "kB",
                        (sum(memory_kb(pid) for pid in gateways) - before) / clients)
            figures.add("connected", "connections/s", clients / ready["open"])
            figures.add("connected and subscribed", "connections/s", clients / ready["answered"])
            figures.add("all connected: gateway", "% of a core", percent(bench, gateways, seconds))
            figures.add("all connected: feed", "% of a core", percent(bench, cluster.feed(), seconds))
            if client.ask("report")["closed"] > 0:
                raise RuntimeError("connections were closed")
    figures.bar("memory of the gateway for a connection", at_most=4)
    figures.bar("connected", at_least=5000)
