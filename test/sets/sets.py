#!/usr/bin/python3
"""
The property test of sets: random tables, policies, filters, clients and transactions. After each transaction the set
that a client has built from events must be what SELECT returns to its role with its claims and its filter.
"""

import argparse
import asyncio
import collections
import copy
import json
import os
import sys
import threading
import time

import psycopg2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "faults"))

import cluster
import tokens

import plan
import player

SHRINK_SECONDS = 60


def show(text):
    print(text, flush=True)


def play(made, server, log=None):
    run = player.Player(made, server, log)
    asyncio.run(run.play())
    return run


class Noise(threading.Thread):
    """Analyzes the tables all the time, as autovacuum does now and then: others then read the catalogs again."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.stopping = False

    def run(self):
        while not self.stopping:
            try:
                connection = self.server.connect(options="-c lock_timeout=100 -c client_min_messages=error")
                with connection.cursor() as cursor:
                    while not self.stopping:
                        cursor.execute("SELECT format('ANALYZE %I.%I', relnamespace::regnamespace, relname) FROM pg_class"
                                       " WHERE relnamespace::regnamespace::text ~ '^s[0-9]' AND relkind IN ('r', 'p')")
                        for sql, in cursor.fetchall():
                            time.sleep(0.01)
                            cursor.execute(sql)
                        time.sleep(0.01)
                connection.close()
            except psycopg2.Error:
                time.sleep(0.01)    # dropped meanwhile, or the server restarts


# ---------------- a smaller plan that fails alike ----------------

class Shrinker:
    def __init__(self, made, server, kind):
        self.made = made
        self.server = server
        self.kind = kind
        self.end = time.monotonic() + SHRINK_SECONDS

    def fails(self, made):
        if time.monotonic() > self.end:
            return None
        run = play(made, self.server)
        return run if any(kind == self.kind for kind, _ in run.violations) else None

    def shrink(self, run):
        """Returns (plan, run)."""
        made = copy.deepcopy(self.made)
        del made["steps"][run.step + 1:]
        best = made, run
        for path in ("steps", "clients", "subs", "ddl", "statements"):
            size = None
            while time.monotonic() < self.end:
                lists = self.lists(best[0], path)
                count = sum(map(len, lists))
                size = max(1, count // 2) if size is None else size
                changed = False
                at = count
                while at > 0:
                    at = max(0, at - size)
                    smaller = copy.deepcopy(best[0])
                    if self.remove(self.lists(smaller, path), at, size, path):
                        shorter = self.fails(smaller)
                        if shorter is not None:
                            best = smaller, shorter
                            changed = True
                if not changed and size == 1:
                    break
                size = max(1, size // 2)
        return best

    @staticmethod
    def lists(made, path):
        if path in ("steps", "clients", "ddl"):
            return [made[path]]
        if path == "subs":
            return [client["subs"] for client in made["clients"]]
        return [step["statements"] for step in made["steps"] if step["do"] == "transaction"]

    @staticmethod
    def remove(lists, at, size, path):
        """Remove so many elements from there on. Returns whether that can make sense."""
        removed = False
        for each in lists:
            for i in range(len(each) - 1, -1, -1):
                place = sum(len(one) for one in lists[:[id(one) for one in lists].index(id(each))]) + i
                if not at <= place < at + size:
                    continue
                if path in ("clients", "subs") and each is lists[0] and (path == "subs" or i == 0):
                    continue    # the one that says what was executed
                if path == "ddl" and not each[i].startswith(("INSERT", "CREATE POLICY", "ALTER TABLE")):
                    continue
                if path == "ddl" and "OWNER TO" in each[i]:
                    continue
                if path == "clients":
                    each[i]["subs"] = []    # others keep their numbers
                    removed = True
                    continue
                del each[i]
                removed = True
        return removed


def describe(made, run):
    """What is left of a plan, to be read and repeated in psql."""
    usual = ("CREATE SCHEMA", "CREATE FUNCTION", "GRANT SELECT ON")
    lines = ["DDL, beside what is the same in all runs:"]
    lines += ["  " + sql.strip() for sql in made["ddl"] if "_all" not in sql and not sql.strip().startswith(usual)]
    lines.append("clients:")
    for i, client in enumerate(made["clients"]):
        for sub in client["subs"]:
            lines.append("  %d: %s %s" % (i, json.dumps(client["claims"]), json.dumps(
                {name: sub[name] for name in player.ASKED if sub[name] is not None})))
    lines.append("steps:")
    for i, step in enumerate(made["steps"]):
        if step["do"] == "transaction":
            statements = [each["sql"] for each in step["statements"] if "_all " not in each["sql"]]
            lines.append("  %d: %s" % (i, "; ".join(statements + ["COMMIT" if step["commit"] else "ROLLBACK"])))
            lines += ["     meanwhile: %s" % json.dumps(each) for each in step.get("joins", ())]
        else:
            lines.append("  %d: %s" % (i, json.dumps(step, ensure_ascii=False)))
    lines += ["violations:"] + ["  %s: %s" % each for each in run.violations[:8]]
    return "\n".join(lines)


# ---------------- all runs ----------------

def make_server(options):
    """Started, with the roles and a database."""
    server = cluster.Cluster(options.build, os.path.join(options.work, "server"))
    server.initdb()
    server.port = cluster.free_port()
    server.set(pg_notifyd__port=server.port, pg_notifyd__anonymous_role="", max_connections=60,
               pg_notifyd__snapshot_timeout="5s")
    server.start()
    server.query("CREATE DATABASE shop", "postgres")
    server.query(plan.CLUSTER)
    return server


def run_seed(seed, options, server, counts):
    if options.plan:
        with open(options.plan, encoding="utf-8") as file:
            made = json.load(file)
    else:
        made = plan.make_plan(seed, options)
    run = play(made, server, show if options.verbose else None)
    first = run
    counts.update(runs=1, comparisons=run.comparisons, chosen=run.echoes, events=run.events, resets=run.resets,
                  refused=run.refused, snapshots=run.snapshots, met=run.met)
    if not run.violations:
        return True
    kinds = collections.Counter(kind for kind, _ in run.violations)
    show("seed %d: %s" % (seed, dict(kinds)))
    for kind, text in run.violations[:3]:
        show("  %s: %s" % (kind, text[:600]))
    if options.shrink:
        made, run = Shrinker(made, server, run.violations[0][0]).shrink(run)
        show(describe(made, run))
    if options.keep:
        os.makedirs(options.keep, exist_ok=True)
        with open(os.path.join(options.keep, "seed.%d.json" % seed), "w", encoding="utf-8") as file:
            json.dump(made, file, indent=1)
        with open(os.path.join(options.keep, "seed.%d.txt" % seed), "w", encoding="utf-8") as file:
            file.write("\n".join([describe(made, run), "received, before the plan was made smaller:"] + first.received) + "\n")
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, help="directory with bin/, see test/faults/build")
    parser.add_argument("--work", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--transactions", type=int, default=20)
    parser.add_argument("--bound", type=float, default=1e9, help="begin no run after so many seconds")
    parser.add_argument("--policies", type=int, default=2, help="0: none, 1: not now(), 2: not of other tables' rows")
    parser.add_argument("--filters", type=int, default=1)
    parser.add_argument("--changes", type=int, default=2, help="of policies, 0: none, 1: not while a client is away")
    parser.add_argument("--alters", type=float, default=0.4, help="share of the runs that change tables and watches")
    parser.add_argument("--replays", type=int, default=1)
    parser.add_argument("--snapshots", type=float, default=0.4, help="share of the subscriptions that begin with rows")
    parser.add_argument("--until-bad", action="store_true")
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--keep", help="directory for the plans of bad runs")
    parser.add_argument("--plan", help="play this plan instead")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()

    started = time.monotonic()
    counts = collections.Counter()
    bad = []
    server = make_server(options)
    noise = Noise(server)
    noise.start()
    try:
        started = time.monotonic()
        for seed in range(options.seed, options.seed + options.seeds):
            if time.monotonic() - started > options.bound or bad and options.until_bad:
                break
            if not run_seed(seed, options, server, counts):
                bad.append(seed)
    finally:
        noise.stopping = True
        noise.join()
        server.stop()
    show("%d runs with %d comparisons of sets, %d events received, %d chosen by context or operation, %d resets, %d refusals,"
         " %d snapshots, %d of them during a transaction, in %d s" % (
             counts["runs"], counts["comparisons"], counts["events"], counts["chosen"], counts["resets"],
             counts["refused"], counts["snapshots"], counts["met"], time.monotonic() - started))
    show("bad seeds: %s" % (" ".join(map(str, bad)) or "none"))
    sys.exit(bool(bad))


main()
