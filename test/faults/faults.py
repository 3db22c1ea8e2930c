#!/usr/bin/python3
"""
The fault checker: writers, clients and a nemesis against one server, then what was received is compared with what was
committed. See run for how it is called.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

import psycopg2

import bearer
import client
import cluster
import consumers
import group_history
import history
import member
import nemesis
import proxy
import ruler
import set_history
import tokens
import workload

STEADY, RESTLESS, SLOW, RETURNING = 2, 2, 1, 1
BEARERS = ["refreshing", "wandering", "expiring", "expiring"]
MEMBERS = ["steady", "restless", "slow", "returning"]
WRITERS = 5
FAULTS = 8                  # of a run
FAULT_SECONDS = 4.0         # within which they begin, but for what they take themselves
STUCK_SECONDS = 60          # from the last fault's end to everybody's having everything
SEED_SECONDS = 240          # for a whole run
SHOWN = 5                   # violations of a kind that are shown of a run
SUMS = ("events", "deliveries", "notices", "connections", "subscriptions", "resets", "renewals", "sets", "set events",
        "set resets", "snapshots", "snapshots with events", "rulings", "comparisons", "effects", "taken", "group resets")

WRAPPER = """
/* The gateway, with a clock that gateway.clock in the data directory sets. No script: the launcher executes a descriptor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
	char path[4096];
	if (access("gateway.clock", F_OK) == 0 && getcwd(path, 4000) != NULL)
	{
		setenv("CLOCK_FILE", strcat(path, "/gateway.clock"), 1);
		setenv("LD_PRELOAD", LIBRARY, 1);
	}
	execl(PROGRAM, PROGRAM, (char *) NULL);
	return 127;
}
"""


def total(counts):
    """The sum of dictionaries of numbers."""
    result = collections.Counter()
    for each in counts:
        result.update(each)
    return {str(name): count for name, count in result.items()}


# ---------------- one run ----------------

class Plan:
    """What a seed makes of a run, beside what its actors draw for themselves."""

    def __init__(self, seed):
        rng = random.Random("%d plan" % seed)
        self.retention = rng.choice(("1d", "1d", "100ms", "200ms"))
        self.gateways = rng.choice((1, 1, 2))
        self.client_buffer = rng.choice(("8MB", "64kB"))
        self.keepalive = rng.choice(("30s", "30s", "2s"))
        self.async_share = rng.choice((0, 0.5, 1))
        self.jitter = rng.choice(("", "", "pending-reserved=pause:0.4,commit-after=pause:0.4",
                                  "log-insert=pause:0.05,commit-before=pause:0.3",
                                  "feed-before-send=pause:0.2,replay-live=pause:0.5"))
        self.clock = rng.random() < 0.3
        self.faults = rng.randint(FAULTS // 2, FAULTS + FAULTS // 2)
        self.second = rng.choice((0, rng.randint(FAULTS // 4, FAULTS)))
        if rng.random() < 0.7:      # events are committed between a snapshot and its last rows
            self.jitter = ",".join(filter(None, (self.jitter, "snapshot-taken=pause:0.99", "snapshot-read=pause:0.99")))
        self.group_retention = rng.choice(("7d", "7d", "300ms"))

    def resets(self):
        return self.retention != "1d"

    def apply(self, server):
        server.port = cluster.free_port()
        server.set(pg_notifyd__port=server.port, pg_notifyd__retention=self.retention,
                   pg_notifyd__gateways=self.gateways, pg_notifyd__client_buffer=self.client_buffer,
                   pg_notifyd__group_retention=self.group_retention, pg_notifyd__keepalive=self.keepalive, pg_notifyd__fail_points=self.jitter,
                   wal_writer_delay="10s", wal_writer_flush_after="2GB")
        if self.clock:
            cluster.set_clock(server.data + "/gateway.clock", 0)


class Run:
    """One seed, from a copied cluster to the violations."""

    def __init__(self, options, seed):
        self.seed = seed
        self.options = options
        self.plan = Plan(seed)
        self.server = cluster.Cluster(options.build, options.template).copy(
            os.path.join(options.work, "seed.%d" % seed))
        self.transactions = workload.Transactions()
        self.seen = client.Seen()
        self.issuer = tokens.Issuer(self.server)
        self.clients = []
        self.members = []       # those of the clients that may see only some rows
        self.loop = None
        self.proxy = None
        self.nemesis = None
        self.second = None
        self.writers = []
        self.consumers = []
        self.effects = []
        self.group_resets = []
        self.sleeper = None
        self.past = None
        self.sets = None
        self.violations = []
        self.recovery = 0.0
        self.latency = 0.0
        self.ready = threading.Event()

    def execute(self):
        """Returns the result as a dictionary for the report."""
        started = time.monotonic()
        try:
            self.plan.apply(self.server)
            self.server.start()
            asyncio.run(self.main())
            self.compare()
            self.server.stop()
        except (TimeoutError, psycopg2.Error, OSError, subprocess.SubprocessError, asyncio.TimeoutError) as error:
            self.violations.append(("stuck", "".join(traceback.format_exception_only(type(error), error)).strip()
                                    + " " + "; ".join(traceback.format_tb(error.__traceback__)[-2:])))
        finally:
            self.end()
        self.read_log()
        return self.result(time.monotonic() - started)

    def end(self):
        for thread in self.writers + self.consumers + ([self.sleeper] if self.sleeper else []):
            thread.stop()
        try:
            self.server.stop(signal.SIGQUIT)
        except TimeoutError as error:
            self.violations.append(("left behind", str(error)))

    # ---------------- the loop's side ----------------

    async def main(self):
        self.loop = asyncio.get_running_loop()
        self.proxy = proxy.Proxy(self.server.port)
        await self.proxy.start()
        self.make_clients()
        tasks = [asyncio.ensure_future(each.run()) for each in self.clients]
        try:
            await self.until(lambda: all(len(each.active) == len(each.channels) for each in self.clients[:STEADY]),
                             STUCK_SECONDS, "the first subscriptions")
            self.start_threads()
            await self.in_thread(self.act)
            self.recovery = await self.catch_up()
            await self.in_thread(self.act_once_more)
            self.latency = await self.catch_up()
            await self.in_thread(self.finish_groups)
        finally:
            for each in self.clients:
                each.stop()
            self.proxy.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for task in tasks:
                if not task.cancelled() and task.exception() is not None:
                    self.violations.append(("unexpected", "the checker's client failed: %r" % task.exception()))

    def in_thread(self, function):
        return self.loop.run_in_executor(None, function)

    @staticmethod
    async def until(condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("waited %d s for %s" % (seconds, what))
            await asyncio.sleep(0.02)

    def make_clients(self):
        rng = random.Random("%d clients" % self.seed)
        direct = "ws://127.0.0.1:%d/ws" % self.server.port
        proxied = "ws://127.0.0.1:%d/ws" % self.proxy.port
        manners = ["steady"] * STEADY + ["restless"] * RESTLESS + ["slow"] * SLOW + ["returning"] * RETURNING
        for i, manner in enumerate(manners + BEARERS):
            channels, ops = list(workload.CHANNELS), None
            if manner != "steady":
                channels = sorted(rng.sample(channels, rng.randint(2, len(channels))))
                ops = rng.choice((None, None, ["INSERT", "DELETE", "MESSAGE"]))
            urls = [direct] if manner == "steady" and i == 0 else rng.choice(([direct], [proxied], [direct, proxied]))
            arguments = (i, self.seed, manner, channels, ops, urls, self.seen)
            self.clients.append(client.Client(*arguments) if i < len(manners)
                                else bearer.Bearer(*arguments, self.issuer))
        for manner in MEMBERS:
            self.members.append(member.Member(len(self.clients), self.seed, manner,
                                              rng.choice((None, None, None, ["INSERT", "DELETE", "MESSAGE"])),
                                              rng.choice(([direct], [proxied], [direct, proxied])), self.seen))
            self.clients.append(self.members[-1])

    def start_threads(self):
        goal = self.options.events
        self.writers = [workload.Writer(i + 1, self.seed, self.server, self.transactions, goal, self.plan.async_share)
                        for i in range(WRITERS)]
        self.writers.append(ruler.Ruler(WRITERS + 1, self.seed, self.server, self.transactions, goal))
        self.sleeper = workload.Sleeper(self.server)
        common = (self.seed, self.server, self.proxy, self.issuer, self.loop.call_soon_threadsafe)
        self.nemesis = nemesis.Nemesis(*common, self.plan.faults, FAULT_SECONDS, self.plan.jitter)
        self.second = nemesis.Nemesis(*common, self.plan.second, FAULT_SECONDS, self.plan.jitter, second=True)
        self.consumers = consumers.make_consumers(self.seed, self.server)
        for thread in self.writers + self.consumers + [self.sleeper, self.nemesis, self.second]:
            thread.start()

    def act(self):
        """In a thread: let everything happen, until all faults are done and enough was written; then heal."""
        for each in (self.nemesis, self.second):
            each.join()
            self.violations += each.violations
            if each.error is not None:
                raise OSError("a nemesis failed: %r" % each.error)
        # What is written from here on is kept, so that who has not got the last of it has not got
        # it yet.
        self.server.set(pg_notifyd__retention="1d", pg_notifyd__group_retention="7d")
        self.nemesis.heal()
        self.loop.call_soon_threadsafe(self.proxy.heal)
        cluster.wait_until(lambda: self.transactions.events >= self.options.events, SEED_SECONDS / 2,
                           "%d events to be written" % self.options.events)
        for each in self.consumers:
            each.calm = True
        self.stop(self.writers)
        cluster.wait_until(self.server.accepts, STUCK_SECONDS, "the server")
        cluster.wait_until(lambda: not self.server.pids(nemesis.BACKEND), STUCK_SECONDS, "the writers' backends")
        self.quiet = time.monotonic()
        self.fence = workload.write_fence(self.server, self.transactions, 1)

    @staticmethod
    def stop(threads):
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(30)
            if thread.is_alive():
                raise TimeoutError("%s hangs" % thread.name)

    def finish_groups(self):
        """The consumers do what is left."""
        try:
            cluster.wait_until(lambda: not consumers.unfinished(self.server), STUCK_SECONDS / 2, "consumers")
        except TimeoutError:
            self.violations.append(("group stuck", consumers.unfinished(self.server)))
        self.stop(self.consumers)

    def act_once_more(self):
        """The same when nothing else is going on that could make the feed look: it must be woken."""
        idle = 0
        end = time.monotonic() + STUCK_SECONDS
        while idle < 3 and time.monotonic() < end:
            idle = idle + 1 if workload.feed_is_idle(self.server) else 0
        self.fence = workload.write_fence(self.server, self.transactions, 2)

    async def catch_up(self):
        """
        Every client must come to the last transaction, in spite of another one that is still open elsewhere. Returns how
        long it took.
        """
        for each in self.clients:
            each.settle()
        tags = {channel: "%s.%s" % (self.fence, channel) for channel in workload.CHANNELS}
        try:
            await self.until(lambda: not any(each.missing(tags) for each in self.clients), STUCK_SECONDS,
                             "the clients to catch up")
        except TimeoutError:
            for each in self.clients:
                if each.missing(tags):
                    self.violations.append(("stuck", "%s has not come to the end on %s; positions %s, active %s, %s"
                                            % (each.name, each.missing(tags), each.positions, sorted(each.active),
                                               each.closes)))
        return time.monotonic() - self.transactions.end[self.fence]

    # ---------------- afterwards ----------------

    def compare(self):
        allowed = () if self.plan.keepalive == "30s" else ("close 1008",)
        for each in self.clients:
            for text in each.unexpected:
                if not text.startswith(allowed or "\0"):
                    self.violations.append(("unexpected", "%s: %s" % (each.name, text)))
        past = history.History(
            workload.read_ledger(self.server), self.transactions.begin, self.transactions.end, self.quiet,
            [subscription for each in self.clients for subscription in each.subscriptions],
            list(self.seen.texts.values()), self.nemesis.revoked, self.plan.resets(),
            workload.read_tables(self.server), workload.read_notices(self.server), self.issuer.revocations,
            self.issuer.expulsions, self.recovery)
        self.past = past
        self.sets = set_history.Past(past, workload.read_rulings(self.server), [
            subscription for each in self.members for subscription in each.sets], list(self.select()))
        self.sets.learn_ids()
        history.check(past)
        set_history.check_sets(self.sets)
        self.effects = consumers.read_effects(self.server)
        self.group_resets = consumers.read_resets(self.server)
        group_history.check_groups(past, consumers.GROUPS, self.effects, [
            delivery for each in self.consumers for delivery in each.deliveries], self.group_resets,
            self.plan.resets() and self.plan.group_retention != "7d")
        self.violations += past.violations

    def select(self):
        """What SELECT returns to each member now, if its subscription has come to the end."""
        for each in self.members:
            for want in each.wants.values():
                last = next((subscription for subscription in reversed(each.sets) if subscription.want is want), None)
                if last is not None and last.end() >= max(each.fences.values(), default=history.INFINITE):
                    yield last, want.select(self.server)

    def read_log(self):
        """What no fault of ours explains."""
        with open(self.server.log, encoding="utf-8", errors="replace") as log:
            for line in log:
                if re.search(r"PANIC|TRAP|signal (4|6|7|8|11)\b|invalid memory|corrupt|stack smashing|ERROR.*pg_notifyd"
                             r"|pg_notifyd feed (ERROR|FATAL)", line) and not re.search(
                                 r"HINT|fail point|administrator command|unexpected postmaster exit", line):
                    self.violations.append(("crashed", line.strip()[:300]))

    def result(self, seconds):
        ledger = self.past
        subscriptions = [sub for each in self.clients for sub in each.subscriptions]
        sets = [sub for each in self.members for sub in each.sets]
        return {
            "seed": self.seed, "seconds": seconds, "recovery": self.recovery, "latency": self.latency,
            "events": len(ledger.changes) if ledger else self.transactions.events,
            "deliveries": sum(len(sub.events) for sub in subscriptions + sets),
            "connections": sum(each.connections for each in self.clients),
            "subscriptions": len(subscriptions),
            "sets": len(sets),
            "notices": sum(len(sub.notices) for sub in subscriptions),
            "resets": sum(len(sub.resets()) for sub in subscriptions),
            "set events": sum(len(sub.events) for sub in sets),
            "set resets": sum(len(sub.resets()) for sub in sets),
            "snapshots": sum(len(sub.snapshots) for sub in sets),
            "snapshots with events": sum(bool(snapshot.events) for sub in sets for snapshot in sub.snapshots),
            "rulings": len(self.sets.rulings.states) if self.sets else 0,
            "comparisons": self.sets.judged if self.sets else 0,
            "effects": len(self.effects),
            "taken": sum(len(each.deliveries) for each in self.consumers),
            "group resets": len(self.group_resets),
            "faults": total(each.done for each in (self.nemesis, self.second) if each),
            "closes": total(each.closes for each in self.clients),
            "renewals": sum(each.renewals for each in self.clients),
            "failures": total(each.failures for each in self.writers + self.consumers),
            "violations": [tuple(violation) for violation in self.violations],
            "plan": vars(self.plan),
        }


# ---------------- many runs ----------------

def make_template(options):
    template = cluster.Cluster(options.build, options.template)
    template.initdb()
    template.set(pg_notifyd__port=cluster.free_port())
    template.start()
    workload.make_schema(template)
    consumers.make_groups(template)
    template.stop()


def wrap_gateway(options):
    """Put a program before the gateway that can give it another clock. It is below our own directory."""
    program = os.path.realpath(options.build + "/bin/pg_notifyd-gateway")
    with open(program, "rb") as file:
        if b"CLOCK_FILE" in file.read():
            return
    os.rename(program, program + ".program")
    macros = ['-DLIBRARY="%s/clock.so"' % options.build, '-DPROGRAM="%s.program"' % program]
    subprocess.run(["gcc", "-x", "c", "-o", program, *macros, "-"], input=WRAPPER, text=True, check=True)


class Report:
    def __init__(self):
        self.runs = 0
        self.bad_seeds = []
        self.sums = collections.Counter()
        self.faults = collections.Counter()
        self.closes = collections.Counter()
        self.violations = collections.Counter()
        self.longest = 0.0
        self.latencies = []

    def add(self, result):
        self.runs += 1
        for name in SUMS:
            self.sums[name] += result[name]
        self.faults.update(result["faults"])
        self.closes.update(result["closes"])
        self.longest = max(self.longest, result["recovery"])
        self.latencies.append(result["latency"])
        kinds = collections.Counter(kind for kind, _ in result["violations"])
        self.violations.update(kinds)
        print("seed %d: %d events, %d received on %d connections, %d resets, %s, %.1f s, caught up in %.1f s%s" % (
            result["seed"], result["events"], result["deliveries"], result["connections"], result["resets"],
            "%d faults" % sum(result["faults"].values()), result["seconds"], result["recovery"],
            "" if not kinds else ", VIOLATIONS: " + listing(kinds)), flush=True)
        if kinds:
            self.bad_seeds.append(result["seed"])
            shown = collections.Counter()
            for kind, text in result["violations"]:
                shown[kind] += 1
                if shown[kind] <= SHOWN:
                    print("    %s: %s" % (kind, text[:700]), flush=True)
            print("    plan: %s" % result["plan"])
            print("    faults: %s" % listing(collections.Counter(result["faults"])))

    def show(self, seconds):
        print("%d runs in %d s: %s" % (self.runs, seconds, listing(self.sums)))
        print("faults: %s" % listing(self.faults))
        print("connections' ends: %s" % listing(self.closes))
        self.latencies.sort()
        print("longest time to catch up: %.1f s; then the last transaction came after %.0f ms (median), %.0f ms (longest)"
              % (self.longest, 1000 * self.latencies[len(self.latencies) // 2], 1000 * self.latencies[-1]))
        print("violations: %s" % (listing(self.violations) if self.violations else "none"))
        if self.bad_seeds:
            print("seeds with violations: %s" % " ".join(str(seed) for seed in self.bad_seeds))


def listing(counter):
    return ", ".join("%d %s" % (count, name) for name, count in sorted(counter.items()))


def run_many(options):
    """Run the seeds, some at a time, each in a process of its own. Returns the report."""
    report = Report()
    begin = time.monotonic()
    waiting = collections.deque(range(options.seed, options.seed + options.seeds))
    running = {}

    def give_up(*_):
        for process, _, _ in running.values():
            process.kill()
        sys.exit(1)

    signal.signal(signal.SIGTERM, give_up)
    while waiting or running:
        late = options.bound and time.monotonic() - begin > options.bound
        if late or (options.until_bad and report.violations):
            waiting.clear()
        while waiting and len(running) < options.jobs:
            seed = waiting.popleft()
            output = os.path.join(options.work, "result.%d" % seed)
            command = [sys.executable, os.path.abspath(__file__), "--one", str(seed), "--work", options.work,
                       "--build", options.build, "--events", str(options.events), "--output", output]
            with open(output + ".err", "wb") as errors:
                running[seed] = (subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors), output,
                                 time.monotonic())
        for seed, (process, output, started) in list(running.items()):
            if process.poll() is None and time.monotonic() - started > SEED_SECONDS:
                process.kill()
                process.wait()
            if process.poll() is not None:
                del running[seed]
                report.add(read_result(options, seed, output))
        time.sleep(0.05)
    report.show(time.monotonic() - begin)
    return report


def read_result(options, seed, output):
    try:
        with open(output, encoding="utf-8") as file:
            result = json.load(file)
    except (OSError, ValueError):
        result = {"seed": seed, "seconds": SEED_SECONDS, "recovery": 0, "latency": 0, **dict.fromkeys(SUMS, 0),
                  "faults": {}, "closes": {}, "plan": {}, "violations": [("stuck", "the run gave no result")]}
        server = cluster.Cluster(options.build, os.path.join(options.work, "seed.%d" % seed))
        for pid in server.pids(""):
            server.kill(pid, signal.SIGKILL)
    directory = os.path.join(options.work, "seed.%d" % seed)
    if result["violations"] and options.keep:
        os.makedirs(options.keep, exist_ok=True)
        for path, name in ((directory + "/server.log", "log"), (output, "json"), (output + ".err", "err")):
            if os.path.exists(path):
                shutil.copy(path, "%s/seed.%d.%s" % (options.keep, seed, name))
    shutil.rmtree(directory, ignore_errors=True)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, help="the directory that the script build has filled")
    parser.add_argument("--work", required=True)
    parser.add_argument("--keep", help="where logs and results of bad runs go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--events", type=int, default=5000, help="to be committed in each run, at least")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--bound", type=float, help="begin no run after so many seconds")
    parser.add_argument("--until-bad", action="store_true", help="begin no run after one with violations")
    parser.add_argument("--one", type=int)
    parser.add_argument("--output")
    options = parser.parse_args()
    options.template = os.path.join(options.work, "template")
    if options.one is not None:
        result = Run(options, options.one).execute()
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(result, file)
        os._exit(0)     # threads that hang must not keep us
    wrap_gateway(options)
    make_template(options)
    report = run_many(options)
    shutil.rmtree(options.template, ignore_errors=True)
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
