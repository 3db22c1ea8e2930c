"""The programs that generate load: our own, which read commands and answer with JSON, pgbench, and the peers."""

import json
import os
import re
import subprocess

from cluster import cpu_seconds, wait_until

# All programs end with this process, even if their input stays open.
RUN = ["setpriv", "--pdeathsig", "TERM"]
WRK_REPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrk.lua")
SUBSCRIBE = '{"id":1,"method":"subscribe","channel":"%s"}'


class Program:
    """A program that prints a line of JSON when it is ready, and one for each command."""

    def __init__(self, arguments):
        self.name = os.path.basename(arguments[0])
        self.process = subprocess.Popen(RUN + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("%s has ended with status %d" % (self.name, self.process.wait()))
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Writers(Program):
    """writers.c: sessions that write, and stay connected between runs."""

    def spent(self):
        """The processor time of the backends of these sessions."""
        return cpu_seconds(self.ready["pids"])

    def touch_buffers(self, table):
        """Let the backends use all shared memory for data and WAL: a table that fills the shared buffers, and as much WAL
        as there are buffers. The kernel maps each page when a process first uses it, and sessions of a pool that has run
        for a while have used all of them."""
        self.ask("each BEGIN; SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SELECT count(id) FROM %s; "
                 "SELECT pg_logical_emit_message(false, '', repeat('x', pg_size_bytes(current_setting('wal_buffers'))::int)); "
                 "COMMIT" % table)


def pgbench(bench, database, script, clients, seconds=None, transactions=None, rate=None, variables=()):
    """Run pgbench, and return its transactions a second without the time to connect."""
    path = os.path.join(bench.work, "pgbench.sql")
    with open(path, "w", encoding="utf-8") as file:
        file.write(script)
    arguments = [bench.cluster.bindir + "/pgbench", "-n", "-M", "prepared", "-h", bench.cluster.directory, "-U",
                 "postgres", "-c", str(clients), "-j", str(min(clients, 2)), "-f", path]
    arguments += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
    arguments += ["-R", str(rate)] if rate else []
    for name, value in variables:
        arguments += ["-D", "%s=%s" % (name, value)]
    run = subprocess.run(RUN + arguments + [database], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         check=False)
    found = re.search(r"^tps = ([0-9.]+)", run.stdout, re.M)
    if run.returncode != 0 or found is None:
        raise RuntimeError("pgbench: %s%s" % (run.stdout, run.stderr))
    return float(found.group(1)), int(re.search(r"actually processed: ([0-9]+)", run.stdout).group(1))


def wrk(port, path, connections, seconds):
    """Send requests with GET by wrk for so long, each connection the next one after the answer to the last. Returns the numbers
    of requests, bytes and failures, the seconds, and the p50 and p99 of the answers in ms."""
    run = subprocess.run(RUN + ["wrk", "-t", "1", "-c", str(connections), "-d", "%ds" % seconds, "-s", WRK_REPORT,
                                "http://127.0.0.1:%d%s" % (port, path)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


class Peer:
    """A bridge from LISTEN to WebSocket clients, as users would write it; see peers/."""

    def __init__(self, arguments, port, log):
        self.port = port
        with open(log, "ab") as file:
            self.process = subprocess.Popen(RUN + arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        wait_until(self._listens, 30, "%s to listen, see %s" % (arguments[0], log))

    def _listens(self):
        import socket
        if self.process.poll() is not None:
            raise RuntimeError("the bridge has ended with status %d" % self.process.returncode)
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
