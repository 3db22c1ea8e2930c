"""Thousands of clients over TLS for half an hour, while rows change, certificates are replaced by reloads, and connections are
cut: what the processes' memory is at the start and at the end. MINUTES sets how long."""

import json
import os
import random
import subprocess
import sys
import threading

from cluster import process_status
from programs import Program

TITLE = "Soak: %s clients over TLS for %d minutes, with reloads and cuts"
HERE = os.path.dirname(os.path.abspath(__file__))
GROUPS = 500
WRITES = 20  # transactions a second


def make_certificate(cluster, number):
    """Replace the server's certificate, as an ACME client does."""
    files = [os.path.join(cluster.directory, name) for name in ("soak.key", "soak.crt")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=soak-%d" % number, "-keyout", files[0], "-out", files[1]], check=True,
                   stderr=subprocess.DEVNULL)
    os.chmod(files[0], 0o600)
    return files


class Writer(threading.Thread):
    """Increases n of one group in each transaction, until it is stopped."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.connection = cluster.connect()
        self.stopped = threading.Event()
        self.written = 0

    def run(self):
        with self.connection.cursor() as cursor:
            while not self.stopped.wait(1 / WRITES):
                cursor.execute("UPDATE soak SET n = n + 1 WHERE grp = %s", (random.randrange(GROUPS),))
                self.written += 1

    def stop(self):
        self.stopped.set()
        self.join()


def memory(cluster):
    """Resident memory of their own in MB, by process. Shared memory counts when a process first touches it, as the feed does
    with the log's pages."""
    groups = {"gateway": cluster.gateways(), "feed": cluster.feed(), "launcher": cluster.launcher()}
    return {name: sum(process_status(pid, "RssAnon") for pid in pids) / 1024 for name, pids in groups.items()}


def run(bench, figures):
    clients = bench.scale(5000, 500)
    minutes = float(os.environ.get("MINUTES") or bench.scale(30, 0.5))
    cluster = bench.cluster
    bench.nrounds = 1
    figures.title = TITLE % ("{:,}".format(clients), minutes)
    key, certificate = make_certificate(cluster, 0)
    cluster.set(ssl_key_file=key, ssl_cert_file=certificate, ssl="on")
    cluster.sql("CREATE TABLE soak (grp int PRIMARY KEY, n bigint); INSERT INTO soak SELECT g, 0 FROM generate_series(0, %d) g; "
                "GRANT SELECT ON soak TO reader; SELECT notify_watch('soak')" % (GROUPS - 1))
    writer = Writer(cluster)
    gateways = cluster.gateways()
    with Program([sys.executable, os.path.join(HERE, "..", "soak_clients.py"), str(cluster.port), str(clients),
                  str(GROUPS)]) as program:
        writer.start()
        end = bench.now() + 60 * minutes
        bench.sleep(min(60, 10 * minutes))
        start = memory(cluster)
        turn = 0
        while bench.now() < end:
            turn += 1
            make_certificate(cluster, turn)
            cluster.sql("SELECT pg_reload_conf()")
            report = program.ask("cut %d" % (clients // 10))
            now = memory(cluster)
            bench.progress("after %d cuts and reloads: gateway %.1f MB, feed %.1f MB, %d events, %d errors" % (
                turn, now["gateway"], now["feed"], report["events"], report["errors"]))
            bench.sleep(max(0, min(20, end - bench.now())))
        writer.stop()
        cluster.sql("UPDATE soak SET n = n + 1")
        final = [n for (n,) in cluster.sql("SELECT n FROM soak ORDER BY grp")]
        report = program.ask("settle " + json.dumps(final))
        now = memory(cluster)
    if cluster.gateways() != gateways:
        raise RuntimeError("the gateway was replaced")
    for name in start:
        figures.add("%s: memory at the start" % name, "MB", start[name])
        figures.add("%s: memory at the end" % name, "MB", now[name])
        figures.compare("%s: memory at the end" % name, "%s: memory at the start" % name, at_most=1.1)
    figures.add("connections that were cut, or ended by themselves", "", report["lost"])
    figures.add("certificates that clients saw", "", len(report["certificates"]))
    figures.add("transactions", "", writer.written + 1)
    figures.add("events received", "", report["events"])
    figures.add("events lost, repeated or out of order", "", report["errors"])
    figures.add("clients whose last event is not the last one", "", report["behind"] + report["silent"])
    figures.add("resets", "", report["resets"])
    for label in ("events lost, repeated or out of order", "clients whose last event is not the last one", "resets"):
        figures.bar(label, at_most=0)
