#!/usr/bin/python3
"""readme.py: writes README.md from the files in results/, so that nobody copies figures by hand."""

import json
import os

from report import rounded

HERE = os.path.dirname(os.path.abspath(__file__))

# The rows of the summary: text, benchmark, figure, and the figure that it is divided by.
IN, IN1 = "INSERT, 32 writers, ", "INSERT, 1 writer, "
PROCESSOR = ": processor, gateway and feed"
NOBODY, CLIENTS, UNWATCHED = "watched, nobody connected", "watched, 10 clients", "unwatched"
NOTE = "GET /notes/2/, 32 connections"
MINE = "32 writers, row security, 500 clients"
REQUIREMENTS = [
    ("write cost, 32 writers, one-row INSERT a transaction, 10 clients that receive all events; to the unwatched table",
     "write", IN + CLIENTS, IN + UNWATCHED),
    ("the same, to a plpgsql trigger with `pg_notify` and one client that listens",
     "write", IN + CLIENTS, IN + "plpgsql and pg_notify"),
    ("write cost, 1 writer, 10 clients", "write", IN1 + CLIENTS, IN1 + UNWATCHED),
] + [
    ("write cost, %s by key, %s, 10 clients" % (operation, writers), "write",
     "%s, %s, %s" % (operation, writers, CLIENTS), "%s, %s, %s" % (operation, writers, UNWATCHED))
    for operation in ("UPDATE", "DELETE") for writers in ("32 writers", "1 writer")
] + [
    ("write cost without clients, %s, %s" % (operation, writers), "write",
     "%s, %s, %s" % (operation, writers, NOBODY), "%s, %s, %s" % (operation, writers, UNWATCHED))
    for operation in ("INSERT", "UPDATE", "DELETE") for writers in ("32 writers", "1 writer")
] + [
    ("write cost with one client, as the plpgsql trigger has, INSERT, 32 writers", "write", IN + "watched, 1 client",
     IN + UNWATCHED),
    ("write cost without clients, INSERT, 32 writers that have just connected", "write",
     "INSERT, 32 writers who have just connected, " + NOBODY, "INSERT, 32 writers who have just connected, " + UNWATCHED),
    ("bulk: INSERT … SELECT of 1,000,000 rows, time", "bulk", "watched, time", "unwatched, time"),
    ("bulk: memory of the backend, above that for an unwatched table", "bulk", "watched, memory above unwatched", None),
    ("bulk: p99 of other sessions' events during the transaction", "bulk", "watched, p99 of others' events meanwhile", None),
    ("bulk: the longest delay of another session's event, just after the commit of the transaction", "bulk",
     "watched, longest of others' events, with those just after its commit", None),
    ("bulk: p99 of other sessions' events from the commit until a client has the last event of the transaction", "bulk",
     "watched, p99 of others' events after its commit, until a client has its last event", None),
    ("latency, idle server, INSERT sent to event at the client, p50; to a libpq client that LISTENs",
     "latency", "pg_notifyd, idle, p50", "libpq LISTEN, idle, p50"),
    ("the same, p99", "latency", "pg_notifyd, idle, p99", "libpq LISTEN, idle, p99"),
    ("latency at half of the maximum load, 10 clients: p99 of five windows of 30 s, each at half of the load reached just "
     "before", "latency", "half of that: p99 in each of 5 windows, pg_notifyd", None),
    ("the same; to an INSERT alone, sent to done, in the same windows", "latency",
     "half of that: p99 in each of 5 windows, pg_notifyd",
     "half of that: p99 in each of 5 windows, INSERT into an unwatched table, sent to done"),
    ("the same; to a libpq client that LISTENs, in the same windows", "latency",
     "half of that: p99 in each of 5 windows, pg_notifyd", "half of that: p99 in each of 5 windows, libpq LISTEN"),
    ("the same for five minutes without a break, at half of the load reached before: p99 of each minute", "latency",
     "half of that for five minutes: p99 of each minute, pg_notifyd", None),
    ("the same; to an INSERT alone, sent to done, in the same minutes", "latency",
     "half of that for five minutes: p99 of each minute, pg_notifyd",
     "half of that for five minutes: p99 of each minute, INSERT into an unwatched table, sent to done"),
    ("the same; to a libpq client that LISTENs", "latency", "half of that for five minutes: p99 of each minute, pg_notifyd",
     "half of that for five minutes: p99 of each minute, libpq LISTEN"),
    ("the same: growth, as the p99 of the last two minutes to that of the first two", "latency",
     "half of that for five minutes: p99 of the last two minutes to the first two, pg_notifyd", None),
    ("of an INSERT alone, the last two minutes to the first two", "latency",
     "half of that for five minutes: p99 of the last two minutes to the first two, INSERT into an unwatched table, sent to "
     "done", None),
    ("end to end, 32 writers at full speed, 10 clients: delivered of committed", "endtoend",
     "pg_notifyd: delivered of committed", None),
    ("the same: INSERT sent to event, p99, which is how far clients lag", "endtoend",
     "pg_notifyd: INSERT sent to event, p99", None),
    ("the same: INSERT sent to committed, p99, which is the server's part of it", "endtoend",
     "pg_notifyd: INSERT sent to committed, p99", None),
    ("the same: commits a second, to those with a plpgsql trigger, `pg_notify` and the Node bridge", "endtoend",
     "pg_notifyd: committed", "Node: committed"),
    ("the same, with the Python bridge", "endtoend", "pg_notifyd: committed", "Python: committed"),
    ("fan-out, 1,000 clients of one channel, spaced: processor time for a message; to the bare loop's", "fanout",
     "spaced: pg_notifyd", "spaced: bare loop"),
    ("fan-out, saturated; to the coalescing loop, ten frames in a write", "fanout", "saturated: pg_notifyd",
     "saturated: bare loop, ten frames in a write"),
    ("the same; to the loop that writes 64 kB at a time from one full buffer", "fanout",
     "saturated: pg_notifyd", "saturated: bare loop, 64 kB in a write"),
    ("fan-out, saturated; to the Node bridge", "fanout", "saturated: pg_notifyd", "saturated: Node"),
    ("fan-out with two gateways, to one; both share the cores with the clients", "gateways",
     "2 gateways", "1 gateway"),
    ("the same, by the processor time of the busier one: the speed if each had a core", "gateways",
     "2 gateways, server on one core: messages in a second of the busiest one's processor time",
     "1 gateway, server on one core: messages in a second of the busiest one's processor time"),
    ("the same: clients of the gateway with most of them", "gateways",
     "2 gateways, server on one core: clients of the one that has most", None),
    ("the same, processor time of both for a message; to one gateway", "gateways",
     "2 gateways, server on one core: processor, all of them", "1 gateway, server on one core: processor, all of them"),
    ("10,000 idle connections: memory of the gateway for each", "idle", "memory of the gateway for a connection", None),
    ("10,000 idle connections, keepalive off: processor time of the gateway", "idle",
     "all connected, keepalive off: gateway", None),
    ("10,000 idle connections, pinged every 30 s: processor time of the gateway", "idle", "pings of keepalive: gateway",
     None),
    ("the same; to a bare loop that sends as many pings and reads the answers", "idle", "pings of keepalive: gateway",
     "pings by the bare loop"),
    ("10,000 idle connections: how fast they connect", "idle", "connected", None),
    ("a connection without a token, handshake to the answer to its first subscribe: processor time of gateway and feed",
     "connect", "no token" + PROCESSOR, None),
] + [
    ("the same with a token, %s; to that without" % algorithm, "connect", algorithm + PROCESSOR, "no token" + PROCESSOR)
    for algorithm in ("HS256", "ES256", "EdDSA", "RS256")
] + [
    ("the gateway in its sandbox, to one without: fan-out, saturated", "sandbox", "sandbox: fan-out", "no sandbox: fan-out"),
    ("the same: processor time for a message", "sandbox", "sandbox: fan-out, processor", "no sandbox: fan-out, processor"),
    ("the same: processor time for a connection", "sandbox", "sandbox: connecting, processor",
     "no sandbox: connecting, processor"),
    ("replay of 1,000,000 events to one client", "replay", "pg_notifyd", None),
    ("sets: 32 writers at full speed, 500 clients with claims of their own, a policy that gives each row to one of them: "
     "delivered of committed", "sets", MINE + ", without a break: delivered of committed", None),
    ("the same: INSERT sent to event, p99", "sets", MINE + ", without a break: INSERT sent to event, p99", None),
    ("the same: transactions a second; to clients with a filter instead, without row security", "sets", MINE,
     "32 writers, no row security, 500 clients with a filter"),
    ("the same; to one client that gets all events, without row security", "sets", MINE,
     "32 writers, no row security, 1 client that gets all"),
    ("sets: a filtered subscription's cost to 32 writers, processor time of their sessions; to a channel without "
     "subscriptions", "sets", "32 writers, 1 client with a filter that selects nothing: processor, writers' sessions",
     "32 writers, nobody subscribed to the channel: processor, writers' sessions"),
    ("sets: 100,000 subscriptions `id=eq.N` on 1,000 connections, throughput; to 100 subscriptions", "sets",
     "100,000 subscriptions by filter", "100 subscriptions by filter"),
    ("the same, with the events of 100 subscriptions at a time", "sets",
     "100,000 subscriptions by filter, events of 100 of them at a time", "100 subscriptions by filter"),
    ("sets: 10,000 identities with the policy `owner = (SELECT uid())`, throughput; to 100 identities", "sets",
     "10,000 identities by policy", "100 identities by policy"),
    ("the same, with the events of 100 identities at a time", "sets",
     "10,000 identities by policy, events of 100 of them at a time", "100 identities by policy"),
    ("the same, events spread over all 10,000; to 10,000 clients with a filter, without row security", "sets",
     "10,000 identities by policy", "10,000 clients, a filter each"),
    ("the same; to a loop that writes each frame to another of 10,000 connections", "sets",
     "10,000 identities by policy", "a loop that writes each frame to another of 10,000 connections"),
    ("such a loop; to one with 100 connections", "sets", "a loop that writes each frame to another of 10,000 connections",
     "a loop that writes each frame to another of 100 connections"),
    ("sets: memory of a subscription with a filter, feed and gateway", "sets", "memory of a subscription", None),
] + [
    (what, "sets", "%s%s" % (label, suffix), None)
    for name, label in (
        ("100 identities, a policy that calls a plpgsql function of the row",
         "100 identities, policy with a plpgsql function of the row"),
        ("100 identities, a policy with a correlated EXISTS", "100 identities, policy with a correlated EXISTS"),
        ("1,000 subscriptions, a `like` filter", "1,000 subscriptions, name=like.item-N-*"))
    for what, suffix in (
        ("sets: %s: throughput" % name, ""),
        ("the same: one evaluation", ": one evaluation"))
] + [
    ("sets: one evaluation of a `like` filter; to a loop of PostgreSQL's executor over all filters", "sets",
     "1,000 subscriptions, name=like.item-N-*: one evaluation",
     "1,000 subscriptions, name=like.item-N-*: naive loop, one evaluation"),
    ("sets: 1,000 subscriptions, a filter of a range: throughput", "sets", "1,000 subscriptions, price.gte and price.lte",
     None),
    ("the same: processor time of the feed for an event; to such a loop over all filters", "sets",
     "1,000 subscriptions, price.gte and price.lte: processor, feed",
     "1,000 subscriptions, price.gte and price.lte: naive loop"),
    ("sets: after a transaction of 1,000,000 rows whose subscriber sees them by policy, until it has its last event: p99 of "
     "another channel's events", "sets",
     "after a large transaction, until its subscriber has its last event: p99 of others' events", None),
    ("snapshot of 1,000,000 rows, rows a second; to `COPY (SELECT row_to_json(…)) TO STDOUT`", "queries",
     "snapshot of 1,000,000 rows", "COPY of the same rows"),
    ("while such snapshots are read: transactions a second of 4 writers; to the same without snapshots", "queries",
     "4 writers, while snapshots are read", "4 writers, alone"),
] + [
    (what, "queries", "pg_notifyd: " + label, "%s: %s" % (peer, label)) for what, peer, label in (
        ("1,000 clients that each take a snapshot of 100 rows and stay: clients a second; to a Node server with as many sessions",
         "Node", "1,000 clients with 100 rows each"),
        ("the same: processor time for a client", "Node", "1,000 clients with 100 rows each, processor"),
        ("calls of an SQL function, 32 at a time: calls a second; to that Node server", "Node", "calls, 32 at a time"),
        ("the same: p99", "Node", "calls, 32 at a time, p99"),
        ("the same: processor time for a call", "Node", "calls, 32 at a time, processor"),
        ("a row by HTTP, `GET /notes/2/`, 32 connections: requests a second; to FastAPI and asyncpg with as many processes and "
         "sessions", "FastAPI", NOTE),
        ("the same: p50", "FastAPI", NOTE + ", p50"),
        ("the same: p99", "FastAPI", NOTE + ", p99"),
        ("the same: processor time for a request", "FastAPI", NOTE + ", processor"))
] + [
    ("groups: 8 consumers, %s in a transaction: events a second; to %s on a jobs table" % (count, other), "groups",
     "notify_take, %d at a time" % number, "%s, %d at a time" % (other, number))
    for count, number in (("one event", 1), ("100 events", 100))
    for other in ("DELETE … SKIP LOCKED", "UPDATE … SKIP LOCKED")
] + [
    ("the same, %s: processor time of the server for an event; to %s" % (count, other), "groups",
     "notify_take, %d at a time: processor, server" % number, "%s, %d at a time: processor, server" % (other, number))
    for count, number in (("one event", 1), ("100 events", 100))
    for other in ("DELETE … SKIP LOCKED", "UPDATE … SKIP LOCKED")
] + [
    ("groups: idle server, INSERT sent to event with a consumer that waits, %s; to a libpq client that LISTENs" % part,
     "groups", "idle, INSERT sent to event, %s, notify_take" % part,
     "idle, INSERT sent to event, %s, libpq LISTEN" % part)
    for part in ("p50", "p99")
] + [
    ("groups: a take of one event with 1,000,000 pending, time; to that with ten", "groups",
     "1 consumer, 1,000,000 events pending", "1 consumer, 10 events pending"),
    ("WAMP: calls of an SQL function, 32 at a time: calls a second; to the JSON-RPC protocol of the same gateway", "wamp",
     "WAMP: calls, 32 at a time", "JSON-RPC: calls, 32 at a time"),
    ("the same: p99", "wamp", "WAMP: calls, 32 at a time, p99", "JSON-RPC: calls, 32 at a time, p99"),
    ("the same: processor time for a call", "wamp", "WAMP: calls, 32 at a time, processor",
     "JSON-RPC: calls, 32 at a time, processor"),
    ("WAMP: events to 1,000 clients, messages a second; to the JSON-RPC protocol", "wamp", "WAMP: events to 1,000 clients",
     "JSON-RPC: events to 1,000 clients"),
    ("the same: processor time for a message", "wamp", "WAMP: events to 1,000 clients, processor",
     "JSON-RPC: events to 1,000 clients, processor"),
    ("no clients: processor time of the gateway", "idle", "nobody connected: gateway", None),
    ("no clients: processor time of the feed", "idle", "nobody connected: feed", None),
    ("no clients: wakeups of the gateway", "idle", "nobody connected: gateway, wakeups", None),
    ("no clients: wakeups of the feed", "idle", "nobody connected: feed, wakeups", None),
    ("5,000 clients over TLS for half an hour, with reloads and cuts: memory of the gateway at the end; to that at the start", "soak",
     "gateway: memory at the end", "gateway: memory at the start"),
    ("the same, of the feed", "soak", "feed: memory at the end", "feed: memory at the start"),
    ("the same: events lost, repeated or out of order", "soak", "events lost, repeated or out of order", None),
]

NAMES = ["write", "endtoend", "fanout", "gateways", "latency", "bulk", "idle", "connect", "sandbox",
         "replay", "slow", "sets", "queries", "groups", "wamp"]
ONLY_BY_NAME = ["soak"]

HEAD = """# Benchmarks

`make bench` runs all benchmarks, `make bench-NAME` runs one: %s. They take about an hour on two
cores. `make bench-soak` is for its own half hour. `QUICK=1` runs everything small in 3 minutes, to check that it works, and writes no results; `ROUNDS=n` sets the
number of runs. Each prints all of its figures and writes `results/NAME.json` and `results/NAME.svg`. `bench/readme.py`
makes this page from them.

`bench/tls.pl` and `bench/compression.pl` measure the gateway alone, with and without TLS and compression. They need
no server, and print tables: [results/tls.md](results/tls.md), [results/compression.md](results/compression.md).

Each figure is the median of several short runs. The runs that are compared take turns, and a ratio is the median of the
rounds' own ratios. [doc/performance.md](../doc/performance.md) says how each figure is measured, what limits it, and
why a figure misses its bar.

## Summary

%sA dash means that the figure has no bar.

| what | bar | measured | min … max | runs | reached |
|---|---|--:|---|--:|---|
"""


def load():
    results = {}
    for name in NAMES + ONLY_BY_NAME:
        path = os.path.join(HERE, "results", name + ".json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                results[name] = json.load(file)
    return results


def spread(figure):
    return "%s … %s" % (rounded(figure["min"]), rounded(figure["max"]))


def bar(figure):
    for key, sign in (("at_least", "≥"), ("at_most", "≤")):
        if figure and key in figure:
            return "%s %s" % (sign, rounded(figure[key]))
    return "–"


def verdict(figure):
    return {True: "yes", False: "**no**", None: "–"}[(figure or {}).get("reached")]


def requirement(results, what, name, label, base):
    missing = "| %s | – | not measured | – | – | – |\n" % what
    figures = {figure["label"]: figure for figure in results.get(name, {"figures": []})["figures"]}
    figure = figures.get(label)
    if figure is None:
        return missing
    if base is None:
        return row(what, figure["bar"], figure, ("%s %s" % (rounded(figure["median"]), figure["unit"])).strip())
    ratio = next((ratio for ratio in figure["ratios"] if ratio["to"] == base), None)
    return row(what, ratio, ratio, "× " + rounded(ratio["median"])) if ratio else missing


def row(what, judged, figure, median):
    return "| %s | %s | %s | %s | %d | %s |\n" % (what, bar(judged), median, spread(figure), figure["runs"],
                                                 verdict(judged))


def origin(results):
    """The commits that the figures were measured on."""
    commits = {}
    for name, result in results.items():
        commits.setdefault(result["about"]["commit"] or "unknown", []).append(name)
    if len(commits) == 1 and "," not in next(iter(commits)):
        return "All of commit %s.\n\n" % next(iter(commits))
    return "**Measured on several commits**: %s.\n\n" % "; ".join(
        "%s of commit %s" % (", ".join(names), commit) for commit, names in commits.items())


def chart(result):
    """The chart of a benchmark, with the machine and the commit that it was measured on."""
    about = result["about"]
    return "\n### %s\n\n![%s](results/%s.svg)\n\n%s; PostgreSQL %s; commit %s; %s; %s.\n" % (
        result["title"], result["title"], result["name"], about["machine"], about["postgresql"], about["commit"],
        about["date"][:10], "1 round" if about["rounds"] == 1 else "%d rounds" % about["rounds"])


def main():
    results = load()
    with open(os.path.join(HERE, "README.md"), "w", encoding="utf-8") as file:
        file.write(HEAD % (", ".join("`%s`" % name for name in NAMES), origin(results)))
        for row in REQUIREMENTS:
            file.write(requirement(results, *row))
        file.write("\n## Charts\n")
        for result in results.values():
            file.write(chart(result))


if __name__ == "__main__":
    main()
