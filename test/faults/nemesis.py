"""What goes wrong: a thread that does one thing after the other to the server, the network and the clients' rights."""

import os
import random
import signal
import threading
import time

import psycopg2

import cluster

GATEWAY = "^(?!postgres:).*pg_notifyd.*gateway"
FEED = "^postgres: pg_notifyd feed"
LAUNCHER = "^postgres: pg_notifyd launcher"
WORKER = "^postgres: pg_notifyd worker"
BACKEND = "^postgres: postgres shop"
SESSION = "^postgres: (postgres|consumer) shop"

CRASHES = ("pending-reserved=crash:0.02", "log-insert=crash:0.01", "commit-before=crash:0.02", "commit-after=crash:0.02",
           "feed-before-send=crash:0.05", "replay-live=crash:0.2", "snapshot-read=crash:0.2")
ERRORS = ("pending-reserved=error:0.2", "log-insert=error:0.1", "commit-before=error:0.2", "feed-before-send=error:0.05",
          "replay-live=error:0.2", "snapshot-taken=error:0.2")
PAUSES = ("pending-reserved=pause", "pending-reserved=pause:0.7,log-extend=pause:0.7", "log-prepare=pause:0.7",
          "log-extend=pause", "log-advance=pause:0.8", "log-insert=pause:0.5", "commit-before=pause:0.9", "commit-after=pause",
          "feed-before-send=pause", "feed-before-send=pause:0.8", "replay-live=pause:0.95", "replay-live=pause")

GONE_SECONDS = 30


class Nemesis(threading.Thread):
    """
    count: how many faults, within about so many seconds. call: runs a function in the clients' loop. proxy, issuer: theirs.
    jitter: fail points that are set whenever no others are. second: it helps another one, at the same time, and leaves
    alone what only one can do.
    """

    def __init__(self, seed, server, proxy, issuer, call, count, seconds, jitter, second=False):
        super().__init__(name="nemesis", daemon=True)
        self.random = random.Random("%d nemesis %d" % (seed, second))
        self.server = server
        self.proxy = proxy
        self.issuer = issuer
        self.call = call
        self.count = count
        self.seconds = seconds
        self.jitter = jitter
        self.done = {}          # fault -> how often
        self.revoked = []       # (from when on, until when)
        self.columns = 0
        self.violations = []    # (kind, text)
        self.error = None
        self.faults = (
            (6, self.kill_gateway), (5, self.kill_feed), (5, self.kill_backend), (3, self.kill_launcher),
            (6, self.kill_postmaster), (2, self.restart), (4, self.terminate_feed), (5, self.freeze_feed),
            (6, self.terminate_worker), (2, self.kill_worker), (3, self.freeze_worker),
            (5, self.freeze_gateway), (5, self.fail_crash), (4, self.fail_error), (8, self.fail_pause),
            (4, self.reset_some), (3, self.half_close_some), (3, self.delay), (3, self.black_hole), (6, self.revoke),
            (12, self.disconnect), (9, self.expel), (4, self.alter), (2, self.step_gateway_clock), (2, self.vacuum))
        if second:
            self.faults = (
                (4, self.kill_gateway), (2, self.kill_backend), (4, self.terminate_feed), (4, self.freeze_feed),
                (4, self.terminate_worker), (2, self.freeze_worker), (4, self.freeze_gateway), (4, self.reset_some), (3, self.half_close_some), (3, self.delay),
                (3, self.black_hole), (8, self.disconnect), (2, self.step_gateway_clock), (2, self.vacuum))

    def run(self):
        try:
            for _ in range(self.count):
                time.sleep(self.random.expovariate(self.count / self.seconds))
                self.inflict()
        except Exception as error:  # whatever it is, the run reports it
            self.error = error

    def inflict(self):
        """One fault. Those that could not be, because there is no such process at present, make room for another."""
        for fault in self.random.choices([f for _, f in self.faults], [w for w, _ in self.faults], k=5):
            if fault() is not False:
                self.done[fault.__name__] = self.done.get(fault.__name__, 0) + 1
                return

    def pause(self, low=0.1, high=0.7):
        time.sleep(self.random.uniform(low, high))

    def heal(self):
        """Nothing is held up any more, and the server runs."""
        self.set_fail_points("")
        for title in (FEED, GATEWAY, WORKER):
            for pid in self.server.pids(title):
                self.server.kill(pid, signal.SIGCONT)
        if self.server.postmaster is None or self.server.postmaster.poll() is not None:
            self.start_again()
        self.server.reload(everybody=True)

    # ---------------- processes ----------------

    def one(self, title):
        pids = self.server.pids(title)
        return self.random.choice(pids) if pids else None

    def signal_one(self, title, signum):
        pid = self.one(title)
        return pid is not None and self.server.kill(pid, signum)

    def kill_one(self, title):
        """Kill a child of the postmaster, and wait until the postmaster knows: it still accepts connections before."""
        pid = self.one(title)
        if pid is None or not self.server.kill(pid, signal.SIGKILL):
            return False
        cluster.wait_until(lambda: not os.path.exists("/proc/%d" % pid), GONE_SECONDS, "the end of a killed process")
        return True

    def kill_gateway(self):
        return self.signal_one(GATEWAY, signal.SIGKILL)

    def kill_feed(self):
        return self.kill_one(FEED + ".*shop")

    def kill_backend(self):
        return self.kill_one(SESSION)

    def kill_worker(self):
        return self.kill_one(WORKER)

    def terminate_worker(self):
        return self.signal_one(WORKER, signal.SIGTERM)

    def freeze_worker(self):
        return self.freeze(WORKER)

    def kill_launcher(self):
        return self.kill_one(LAUNCHER)

    def terminate_feed(self):
        return self.signal_one(FEED + ".*shop", signal.SIGTERM)

    def freeze(self, title):
        pid = self.one(title)
        if pid is None or not self.server.kill(pid, signal.SIGSTOP):
            return False
        self.pause(0.1, 1.5)
        self.server.kill(pid, signal.SIGCONT)
        return True

    def freeze_feed(self):
        return self.freeze(FEED + ".*shop")

    def freeze_gateway(self):
        return self.freeze(GATEWAY)

    def kill_postmaster(self):
        self.server.postmaster.kill()
        self.server.postmaster.wait()
        self.start_again()

    def restart(self):
        self.server.stop(self.random.choice((signal.SIGINT, signal.SIGQUIT)))
        self.start_again()

    def start_again(self):
        """Nothing may be left of the former server after a while; then the next one starts, with another clock at times."""
        try:
            self.server.reload(everybody=True)
            self.server.wait_gone(GONE_SECONDS)
        except TimeoutError as error:
            self.violations.append(("left behind", str(error)))
        if self.random.random() < 0.4:
            self.server.clock = self.random.choice((0, -3600, -60, 60, 3600))
        self.server.start()

    # ---------------- fail points ----------------

    def set_fail_points(self, points):
        self.server.set(pg_notifyd__fail_points=points)
        self.server.reload()

    def fail(self, points):
        self.set_fail_points(self.random.choice(points))
        self.pause(0.1, 0.6)
        self.set_fail_points(self.jitter)

    def fail_crash(self):
        self.fail(CRASHES)

    def fail_error(self):
        self.fail(ERRORS)

    def fail_pause(self):
        self.fail(PAUSES)

    # ---------------- network ----------------

    def with_some(self, share, action):
        """action(connection) for some of the proxy's connections. Returns whether there were any."""
        done = threading.Event()
        found = []

        def act():
            found.extend(self.proxy.some(self.random, share))
            for connection in found:
                action(connection)
            done.set()

        self.call(act)
        done.wait(10)
        return bool(found)

    def reset_some(self):
        return self.with_some(0.6, lambda connection: connection.reset())

    def half_close_some(self):
        return self.with_some(0.6, lambda connection: connection.half_close())

    def black_hole(self):
        def swallow(connection):
            connection.hole = True
        return self.with_some(0.5, swallow)

    def delay(self):
        self.proxy.delay = self.random.uniform(0.01, 0.3)
        self.pause()
        self.proxy.delay = 0.0

    # ---------------- DDL ----------------

    def attempt(self, sql):
        """Run it in a connection of its own. Returns whether it worked."""
        try:
            connection = self.server.connect(options="-c lock_timeout=300 -c statement_timeout=10000")
        except psycopg2.Error:
            return False
        try:
            connection.cursor().execute(sql)
            return True
        except psycopg2.Error:
            return False
        finally:
            connection.close()

    GRANT = "GRANT SELECT ON secret TO reader, customer"

    def revoke(self):
        """What was committed after REVOKE had returned may not be received before GRANT was sent."""
        if not self.attempt("REVOKE SELECT ON secret FROM reader, customer"):
            self.grant(self.GRANT)
            return False
        begin = time.monotonic()
        if self.random.random() < 0.8:
            self.pause(0.05, 0.5)
        self.revoked.append((begin, time.monotonic()))
        self.grant(self.GRANT)
        return True

    def disconnect(self):
        return self.issuer.revoke(self.random)

    def expel(self):
        return self.issuer.expel(self.attempt, lambda: self.pause(0.1, 1), self.grant)

    def grant(self, sql):
        while not self.attempt(sql):
            if self.server.postmaster.poll() is not None:
                self.start_again()
            time.sleep(0.05)

    def alter(self):
        table = self.random.choice(("a", "p", "d", "secret", "b", "t", "h"))
        kind = self.random.random()
        if kind < 0.5 or not self.columns:
            self.columns += 1
            return self.attempt("ALTER TABLE %s ADD COLUMN extra%d int DEFAULT %d"
                                % (table, self.columns, self.columns))
        number = self.random.randint(1, self.columns)
        if kind < 0.75:
            return self.attempt("ALTER TABLE %s RENAME COLUMN extra%d TO renamed%d" % (table, number, number))
        return self.attempt("ALTER TABLE %s DROP COLUMN %s%d"
                            % (table, self.random.choice(("extra", "renamed")), number))

    def vacuum(self):
        table = "notifyd.%s_%d" % (self.random.choice(("log", "log", "bulk")), self.random.randrange(3))
        return self.attempt(self.random.choice(("VACUUM " + table, "VACUUM (TRUNCATE) " + table, "VACUUM FULL " + table,
                                                "VACUUM FREEZE", "CHECKPOINT", "ANALYZE")))

    def step_gateway_clock(self):
        path = os.path.join(self.server.data, "gateway.clock")
        if not os.path.exists(path):
            return False
        cluster.set_clock(path, self.random.choice((-86400, -3600, -5, 5, 3600, 86400)))
        return True
