"""suite.py [NAME...]: runs benchmarks in the directory WORK, with the programs that were built into BIN and PostgreSQL's
in BINDIR; prints a table for each, and writes WORK/results/NAME.json and .svg.

ROUNDS is how many interleaved runs a figure is the median of. QUICK=1 makes everything small: it shows that the
benchmarks work, and its figures say nothing. If one of them fails the others are still run, and the status is 1."""

import concurrent.futures
import datetime
import importlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "scenarios")]

from cluster import Cluster  # noqa: E402
from programs import Peer, Writers  # noqa: E402
from report import Figures  # noqa: E402

NAMES = ["write", "endtoend", "fanout", "gateways", "latency", "bulk", "idle", "connect", "sandbox",
         "replay", "slow", "sets", "queries", "groups", "wamp"]
ONLY_BY_NAME = ["soak"]


class Bench:
    """What a scenario works with."""

    def __init__(self, name):
        self.name = name
        self.work = os.path.join(os.environ["WORK"], name)
        self.quick = os.environ.get("QUICK", "0") not in ("", "0")
        self.nrounds = int(os.environ.get("ROUNDS") or (1 if self.quick else 4))
        self.executor = concurrent.futures.ThreadPoolExecutor()
        self.now = time.monotonic
        self.sleep = time.sleep
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        self.cluster = Cluster(self.work, os.environ["BINDIR"], self.free_port())

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    @staticmethod
    def program(name):
        return os.path.join(os.environ["BIN"], name)

    def writers(self, database, sessions):
        return Writers([self.program("writers"), self.cluster.conninfo(database), str(sessions)])

    def scale(self, size, quick):
        return quick if self.quick else size

    def background(self, work):
        return self.executor.submit(work)

    def progress(self, what):
        print("  %s: %s ..." % (self.name, what), file=sys.stderr, flush=True)

    def rounds(self, what, share=1.0):
        """So many rounds, or a share of them where one takes long, or where the figures scatter."""
        n = 1 if self.nrounds == 1 else max(2, round(self.nrounds * share))
        for i in range(n):
            self.progress("%s, round %d of %d" % (what, i + 1, n))
            yield i

    def interleave(self, what, variants, share=1.0):
        """Run each (label, function of the label) once in each round; every other round goes backwards, so that what
        drifts with time cancels, and the first in turn changes."""
        for i in self.rounds(what, share):
            k = i // 2 % len(variants)
            for label, run in (variants[k:] + variants[:k])[::-1 if i % 2 else 1]:
                run(label)

    def peers(self, channel, setup):
        """The bridges, by name, listening to the channel, each in a database of its own which setup has prepared: a
        NOTIFY wakes all that listen in its database, and none of them is to work while another one is measured."""
        peers = {}
        programs = {"Node": ["node", os.path.join(HERE, "peers/node/bridge.js")],
                    "Python": [sys.executable, os.path.join(HERE, "peers/python/bridge.py")]}
        for name, arguments in programs.items():
            port = self.free_port()
            database = name.lower()
            self.cluster.create_peer(database, setup)
            peers[name] = Peer(arguments + [str(port), self.cluster.directory, database, channel], port,
                               os.path.join(self.work, name + ".log"))
        return peers


# ---------------- about the machine ----------------

def first(pattern, path):
    with open(path, encoding="utf-8") as file:
        found = re.search(pattern, file.read(), re.M)
    return found.group(1) if found else ""


def output(*arguments):
    try:
        return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def about(bench, load, seconds):
    return {
        "machine": "%d × %s" % (os.cpu_count(), first(r"^model name\s*: (.*)$", "/proc/cpuinfo")),
        "memory_kB": int(first(r"^MemTotal:\s*(\d+)", "/proc/meminfo")),
        "kernel": platform.release(),
        "system": first(r'^PRETTY_NAME="(.*)"', "/etc/os-release"),
        "postgresql": output(bench.cluster.bindir + "/pg_config", "--version").replace("PostgreSQL ", ""),
        "libwebsockets": output("pkg-config", "--modversion", "libwebsockets"),
        "libuv": output("pkg-config", "--modversion", "libuv"),
        "node": output("node", "--version"),
        "python": platform.python_version(),
        "commit": os.environ.get("COMMIT", ""),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load_before": load,
        "seconds": round(seconds),
        "rounds": bench.nrounds,
        "quick": bench.quick,
    }


def run(name):
    load = os.getloadavg()[0]
    if load > 0.5:
        print("The machine is not idle (load %.1f): these figures are not worth keeping." % load, file=sys.stderr)
    begun = time.monotonic()
    scenario = importlib.import_module(name)
    bench = Bench(name)
    figures = Figures(name, scenario.TITLE)
    try:
        bench.cluster.start()
        scenario.run(bench, figures)
        print(figures.table() + "\n", flush=True)
        figures.save(os.path.join(os.environ["WORK"], "results"), about(bench, load, bench.now() - begun))
    finally:
        bench.cluster.stop()
        shutil.rmtree(bench.cluster.data, ignore_errors=True)


def main():
    names = sys.argv[1:] or NAMES
    unknown = [name for name in names if name not in NAMES + ONLY_BY_NAME]
    if unknown:
        sys.exit("no such benchmark: %s; there are %s" % (", ".join(unknown), ", ".join(NAMES + ONLY_BY_NAME)))
    failed = []
    begun = time.monotonic()
    for i, name in enumerate(names):
        print("%s, %d of %d, after %d s ..." % (name, i + 1, len(names), time.monotonic() - begun), file=sys.stderr,
              flush=True)
        try:
            run(name)
        except Exception:  # whatever it is, the others are not to suffer from it
            traceback.print_exc()
            failed.append(name)
    print("%d of %d benchmarks in %d s" % (len(names) - len(failed), len(names), time.monotonic() - begun))
    if failed:
        sys.exit("FAILED: " + ", ".join(failed))


if __name__ == "__main__":
    main()
