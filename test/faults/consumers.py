"""Consumers of groups: threads that take events and write an effect for each, in the transaction that acknowledges it."""

import threading
import time
import random

import psycopg2
import psycopg2.extras

from group_history import Delivery, Effect, Group
from history import Event
import workload

LEASE = 1.0         # s
SHARE = 2           # consumers of each group

PARALLEL = Group("parallel", workload.CHANNELS)
ORDERED = Group("ordered", ("a", "b", "p", "t", workload.NOTICES), ordered=True)
FRAGILE = Group("fragile", ("a", "h", "secret"), again=True)      # its events are set aside after two attempts
GROUPS = (PARALLEL, ORDERED, FRAGILE)

SCHEMA = """
CREATE ROLE consumer LOGIN BYPASSRLS;
CREATE TABLE effects (n bigserial PRIMARY KEY, grp text, channel text, op text, tag text, key bigint, id bigint);
CREATE TABLE group_resets (grp text, low bigint, high bigint);
GRANT INSERT ON effects, group_resets TO consumer;
GRANT USAGE ON SEQUENCE effects_n_seq TO consumer;
GRANT SELECT ON a, b, p, d, secret, t, h TO consumer;
SELECT notify_grant('news', 'consumer');
"""


def make_groups(cluster):
    """Before any event is written."""
    cluster.query(SCHEMA)
    for group in GROUPS:
        cluster.query("SELECT notify_group('%s', '{%s}', lease => '%s s', max_attempts => %d, ordered => %s);"
                      "SELECT notify_grant('%s', 'consumer', 'consume')"
                      % (group.name, ",".join(group.channels), LEASE, 2 if group is FRAGILE else 30000,
                         "'key'" if group.ordered else "NULL", group.name))


class Undo(Exception):
    """The transaction is to be rolled back, and the rest of what was taken with it is left alone."""


class Consumer(threading.Thread):
    """One connection that consumes until stop is set. calm: it does all that it gets, at once."""

    def __init__(self, number, seed, cluster, group):
        super().__init__(name="consumer %d" % number, daemon=True)
        self.random = random.Random("%d consumer %d" % (seed, number))
        self.cluster = cluster
        self.group = group
        self.stopping = threading.Event()
        self.calm = False
        self.connection = None
        self.cursor = None
        self.deliveries = []
        self.failures = {}

    def stop(self):
        self.stopping.set()

    def chance(self, share):
        return not self.calm and self.random.random() < share

    # ---------------- statements ----------------

    def do(self, sql, *arguments):
        self.cursor.execute(sql, arguments or None)
        return self.cursor.fetchall() if self.cursor.description else []

    def ask(self, held, sql, *arguments):
        """A statement that works shows that the session was there when it was sent, and had these events."""
        sent = time.monotonic()
        rows = self.do(sql, *arguments)
        for delivery, limit in held:
            delivery.end = max(delivery.end, min(sent, limit))
        return rows

    def take(self, hold):
        """Returns (number, event) of each."""
        taken = self.do("SELECT id, attempt, event FROM notify_take(%s, %s, hold => %s, wait => %s)", self.group.name,
                        self.random.choice((1, 1, 3, 20, 200)), hold, self.random.choice(("0", "0", "200 ms")))
        now = time.monotonic()
        made = []
        for number, attempt, event in taken:
            event["id"] = int(event["position"].partition("-")[2])
            made.append((Delivery(self.group.name, event["id"], number, attempt, now, self.name), event))
        self.deliveries += [delivery for delivery, _ in made]
        return made

    def write_effects(self, held, events):
        resets = [(self.group.name, event["from"], event["to"]) for event in events if event["op"] == "RESET"]
        effects = [(self.group.name, each.channel, each.op, each.tag, each.key, each.id)
                   for each in (Event(event) for event in events if event["op"] != "RESET")]
        sent = time.monotonic()
        for table, rows in (("group_resets", resets), ("effects (grp, channel, op, tag, key, id)", effects)):
            if rows:
                psycopg2.extras.execute_values(self.cursor, "INSERT INTO %s VALUES %%s" % table, rows, page_size=1000)
        for delivery, limit in held:
            delivery.end = max(delivery.end, min(sent, limit))

    # ---------------- the end of a transaction ----------------

    def break_off(self):
        """Something that keeps a transaction from committing."""
        kind = self.random.random()
        if kind < 0.4:
            raise Undo
        if kind < 0.6:
            self.do("SELECT 1 / 0")
        if kind < 0.7:
            self.do("INSERT INTO effects (n) VALUES (0), (0)")
        if kind < 0.85:
            self.do("SELECT pg_terminate_backend(pg_backend_pid())")
        self.disconnect()
        raise Undo

    def begin(self):
        self.do("BEGIN ISOLATION LEVEL %s; SET LOCAL synchronous_commit = %s" % (
            self.random.choice(("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ")), self.random.choice(("on", "off"))))

    # ---------------- kinds ----------------

    def directly(self):
        """COMMIT acknowledges."""
        self.begin()
        if self.chance(0.1):    # what a savepoint took is given back
            self.do("SAVEPOINT s")
            self.take(False)
            self.do("ROLLBACK TO SAVEPOINT s")
        taken = self.take(False)
        held = [(delivery, float("inf")) for delivery, _ in taken]
        if taken and self.chance(0.1):
            self.stopping.wait(self.random.uniform(0, 0.3))
        if self.chance(0.15):
            self.break_off()
        self.write_effects(held, [event for _, event in taken])
        if self.chance(0.1):
            self.break_off()
        self.ask(held, "COMMIT")
        return len(taken)

    def held(self):
        """The lease outlives the transaction; notify_ack() and an effect for each event, in order."""
        self.begin()
        taken = self.take(True)
        if self.chance(0.1):
            self.break_off()
        limit = time.monotonic() + LEASE
        held = [(delivery, limit) for delivery, _ in taken]
        self.ask(held, "COMMIT")
        end = time.monotonic() + (self.random.uniform(0, 1.5 * LEASE) if taken and self.chance(0.2) else 0)
        while time.monotonic() < end:
            self.ask(held, "SELECT 1")
            self.stopping.wait(0.05)
        self.acknowledge(taken, held)
        return len(taken)

    def acknowledge(self, taken, held):
        """In transactions of some events. After one that does not commit, or a lease that is over, the rest is left."""
        while taken:
            n = self.random.choice((1, 5, 300))
            some, taken = taken[:n], taken[n:]
            mine, held = held[:n], held[n:]
            if self.chance(0.05):
                self.do("SELECT notify_nack(%s, %s, delay => %s, error => 'not now')", self.group.name,
                        [delivery.number for delivery, _ in some[:1]], self.random.choice(("0", "100 ms", "500 ms")))
                return
            self.begin()
            for delivery, event in some:
                sent = time.monotonic()
                if self.do("SELECT notify_ack(%s, %s)", self.group.name, [delivery.number])[0][0] == 0:
                    taken = []
                    break
                self.write_effects([], [event])
                if self.chance(0.01):
                    self.break_off()
                delivery.end = max(delivery.end, min(sent, limit_of(mine, delivery)))
            self.do("COMMIT")

    # ---------------- the loop ----------------

    def run(self):
        while not self.stopping.is_set():
            try:
                if self.connection is None:
                    self.connection = self.cluster.connect(role="consumer",
                                                           options="-c lock_timeout=1500 -c statement_timeout=20000")
                    self.cursor = self.connection.cursor()
                got = self.held() if self.random.random() < 0.4 else self.directly()
                if self.group is FRAGILE and (self.calm or self.chance(0.1)):
                    self.do("SELECT notify_retry(%s)", self.group.name)
                if got == 0:
                    self.stopping.wait(0.05)
            except (Undo, psycopg2.Error) as error:
                self.failed(error)
        self.disconnect()

    def failed(self, error):
        name = getattr(error, "pgcode", None) or type(error).__name__
        self.failures[name] = self.failures.get(name, 0) + 1
        try:
            if self.connection is not None and not self.connection.closed:
                self.do("ROLLBACK")
                return
        except psycopg2.Error:
            pass
        self.disconnect()
        self.stopping.wait(0.05)

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def limit_of(held, delivery):
    return next(limit for each, limit in held if each is delivery)


def make_consumers(seed, cluster):
    return [Consumer(i, seed, cluster, GROUPS[i % len(GROUPS)]) for i in range(SHARE * len(GROUPS))]


def read_effects(cluster):
    return [Effect(*row) for row in cluster.query("SELECT n, grp, channel, op, tag, key, id FROM effects")]


def read_resets(cluster):
    return cluster.query("SELECT grp, low, high FROM group_resets")


def unfinished(cluster):
    """What groups have still to do, as text; empty: nothing."""
    wanted = dict(cluster.query("SELECT channel, count(*) FROM ledger GROUP BY 1"))
    done = dict(cluster.query("SELECT grp, count(DISTINCT (channel, op, tag)) FROM effects GROUP BY 1"))
    reset = {group for group, _, _ in read_resets(cluster)}
    states = {row[0]: row[1:] for row in cluster.query(
        "SELECT name, pending, claimed, leased, delayed, failed FROM notifyd.groups")}
    left = []
    for group in GROUPS:
        events = sum(wanted.get(channel, 0) for channel in group.channels)
        if any(states[group.name]) or (group.name not in reset and done.get(group.name, 0) < events):
            left.append("%s: %d of %d done, %s" % (group.name, done.get(group.name, 0), events, states[group.name]))
    return "; ".join(left)
