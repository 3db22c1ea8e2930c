"""How fast events find the subscriptions and identities whose rows they are, and the memory of a subscription.

Each event is for one subscription, in all of these runs. A socket gets more events in one write if there are fewer of
them, so the large runs are also made with the events of 100 subscriptions at a time."""

from cluster import cpu_seconds, process_status, wait_until
from fanout import frame_size
from idle import fresh_gateway
from programs import Program

COLUMNS = "(n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id bigint NOT NULL, owner text NOT NULL, " \
          "name text NOT NULL, price integer NOT NULL)"
FILL = """CREATE PROCEDURE fill(statement text, n integer) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 0 .. n / 100 - 1 LOOP
		EXECUTE statement USING i * 100, i * 100 + 99;
		COMMIT;
	END LOOP;
END $$"""
INSERT = ("INSERT INTO {table} (id, owner, name, price) SELECT k, 'u' || k, 'item-' || k || '-x', 10 * k + 5 "
          "FROM (SELECT {key} AS k FROM generate_series($1, $2) i) AS keys")
FUNCTIONS = """
CREATE FUNCTION sees(owner text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN RETURN owner = current_setting('request.jwt.claims', true)::json ->> 'sub'; END $$;
CREATE TABLE member (u text PRIMARY KEY, low bigint NOT NULL, high bigint NOT NULL);
INSERT INTO member SELECT 'u' || i, i, i FROM generate_series(0, 99) i;
GRANT SELECT ON member TO customer"""
POLICIES = {"mine_indexed": "owner = (SELECT uid())", "opaque": "sees(owner)",
            "correlated": "EXISTS (SELECT FROM member m WHERE m.u = (SELECT uid()) AND {t}.id BETWEEN m.low AND m.high)"}
LIKE = "SELECT count(*) FROM texts JOIN patterns ON name LIKE pattern"
RANGE = "SELECT count(*) FROM texts JOIN patterns ON price >= low AND price <= high"

PER_EVENT = "µs an event"
EVALUATION = ": one evaluation"
BLOCKS = ", events of 100 of them at a time"


def memory(cluster):
    return {"feed": sum(process_status(pid, "RssAnon") for pid in cluster.feed()),
            "gateway": sum(process_status(pid, "RssAnon") for pid in cluster.gateways())}


class Match:
    def __init__(self, sets, table, label, clients, each=1, condition=None, events=None, blocks=False, fresh=False):
        self.sets = sets
        self.table = table
        self.label = label
        self.clients = clients
        self.each = each
        self.condition = condition
        self.events = events or sets.bench.scale(200000, 2000)
        self.n = clients * each
        self.key = "(i / %d * 100 + i %% 100) %% %d" % (self.events // 20, self.n) if blocks else "i %% %d" % self.n
        self.fresh = fresh  # measure the memory, in processes that have had no subscriptions

    def restart(self):
        """Other processes, which have had no subscription."""
        cluster = self.sets.cluster
        for pid in cluster.feed():
            cluster.sql("SELECT pg_terminate_backend(%d)" % pid)
        fresh_gateway(self.sets.bench)

    def add_memory(self, client, before):
        figures = self.sets.figures
        after = memory(self.sets.cluster)
        for name in before:
            figures.add("memory of a subscription: " + name, "kB", (after[name] - before[name]) / self.n)
        figures.add("memory of a subscription", "kB", sum(after[name] - before[name] for name in before) / self.n)
        figures.add(self.label + ": made", "subscriptions/s", self.n / client.ready["answered"])

    def measure(self, _):
        sets, cluster, figures = self.sets, self.sets.cluster, self.sets.figures
        if self.fresh:
            self.restart()
            with sets.client(self.table, 1, condition=self.condition, tokens=self.condition is None):
                before = memory(cluster)
        with sets.client(self.table, self.clients, tokens=self.condition is None, each=self.each,
                         condition=self.condition) as client:
            if self.fresh:
                self.add_memory(client, before)
            self.fill(100)
            client.ask("wait 100 60")
            cluster.settle()
            groups = {"feed": cluster.feed(), "gateway": cluster.gateways()}
            client.ask("mark")
            spent = {name: cpu_seconds(pids) for name, pids in groups.items()}
            written = self.fill(self.events)
            got = client.ask("wait %d 120" % self.events)
            spent = {name: (cpu_seconds(pids) - spent[name]) * 1e6 / self.events for name, pids in groups.items()}
        if got["messages"] != self.events:
            raise RuntimeError("%s: %d of %d events have come" % (self.label, got["messages"], self.events))
        wait_until(lambda: cluster.sql("SELECT count(*) FROM notifyd.clients")[0][0] == 0, 60, "the clients to go")
        figures.add(self.label, "events/s", self.events / got["last"])
        figures.add(self.label + ": written", "events/s", written)
        spent["clients"] = got["cpu"] * 1e6 / self.events
        self.size = frame_size(got["bytes"] // self.events)
        for name, value in spent.items():
            figures.add("%s: processor, %s" % (self.label, name), PER_EVENT, value)

    def fill(self, events):
        """Write events in transactions of 100 rows. Returns how many a second."""
        connection = self.sets.cluster.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = off")
                begun = self.sets.bench.now()
                cursor.execute("CALL fill(%s, %s)", (INSERT.format(table=self.table, key=self.key), events))
                return events / (self.sets.bench.now() - begun)
        finally:
            connection.close()


class Loop:
    """The limit: a loop that writes one frame after the other, each to another connection. run: with frames of its size."""

    def __init__(self, run, clients):
        self.run = run
        self.label = "a loop that writes each frame to another of {:,} connections".format(clients)
        self.clients = clients

    def measure(self, _):
        bench, figures = self.run.sets.bench, self.run.sets.figures
        port = bench.free_port()
        each = self.run.events // self.clients
        with Program([bench.program("loop"), str(port), str(self.clients)]) as loop, \
                Program([bench.program("client"), "-p", str(port), "-n", str(self.clients), "-w", "64"]) as client:
            client.ask("mark")
            spent = loop.ask("burst %d %d 1" % (each, self.run.size))["cpu"]
            got = client.ask("wait %d 120" % (each * self.clients))
        figures.add(self.label, "events/s", each * self.clients / got["last"])
        figures.add(self.label + ": processor, loop", PER_EVENT, spent * 1e6 / (each * self.clients))
        figures.add(self.label + ": processor, clients", PER_EVENT, got["cpu"] * 1e6 / (each * self.clients))


def measure(sets, what, runs, share):
    sets.bench.interleave(what, [(run.label, run.measure) for run in runs], share)


def compare(sets, runs, base, at_least=None):
    for run in runs:
        sets.figures.compare(run.label, base.label, at_least=at_least)
        for name in ("feed", "gateway"):
            processor = ": processor, " + name
            sets.figures.compare(run.label + processor, base.label + processor)


def scale(sets):
    """Many subscriptions by filter, and many identities by policy."""
    many = sets.bench.scale(1000, 100)
    each = sets.bench.scale(100, 10)
    identities = sets.bench.scale(10000, 500)
    what = "{:,} subscriptions by filter".format(many * each)
    base = Match(sets, "item", "100 subscriptions by filter", 100, condition="id=eq.#")
    runs = [Match(sets, "item", what, many, each, "id=eq.#", fresh=True),
            Match(sets, "item", what + BLOCKS, many, each, "id=eq.#", blocks=True)]
    measure(sets, "filters", [base] + runs, 0.75)
    compare(sets, runs[:1], base, at_least=0.8)
    compare(sets, runs[1:], base)
    sets.figures.bar("memory of a subscription", at_most=2)
    what = "{:,} identities by policy".format(identities)
    base = Match(sets, "mine_indexed", "100 identities by policy", 100)
    runs = [Match(sets, "mine_indexed", what, identities),
            Match(sets, "mine_indexed", what + BLOCKS, identities, blocks=True)]
    filtered = Match(sets, "item", "{:,} clients, a filter each".format(identities), identities, condition="id=eq.#")
    loops = [Loop(base, 100), Loop(base, identities)]
    measure(sets, "identities", [base, filtered] + runs + loops, 0.75)
    sets.figures.compare(loops[1].label, loops[0].label)
    sets.figures.compare(runs[0].label, loops[1].label)
    compare(sets, runs[:1], base, at_least=0.8)
    compare(sets, runs[:1], filtered)
    compare(sets, runs[1:], base)


def evaluation(sets, run, base):
    """What one evaluation takes: the feed's time for an event above that with an index, for each condition."""
    figures = sets.figures
    for value, other in zip(figures.samples[run.label + ": processor, feed"],
                            figures.samples[base.label + ": processor, feed"]):
        figures.add(run.label + EVALUATION, "ns", (value - other) * 1000 / run.n)


def conditions(sets):
    """Policies and filters that the index cannot find, and ranges, which it can."""
    events = sets.bench.scale(5000, 300)
    base = Match(sets, "mine_indexed", "100 identities, indexed policy", 100, events=events)
    runs = [Match(sets, "opaque", "100 identities, policy with a plpgsql function of the row", 100, events=events),
            Match(sets, "correlated", "100 identities, policy with a correlated EXISTS", 100, events=events)]
    measure(sets, "policies without an index", [base] + runs, 0.75)
    for run in runs:
        evaluation(sets, run, base)
    clients = sets.bench.scale(100, 10)
    base = Match(sets, "item", "1,000 subscriptions, id=eq.N", clients, 10, "id=eq.#", events=events)
    runs = [Match(sets, "item", "1,000 subscriptions, name=like.item-N-*", clients, 10, "name=like.item-#-*", events=events),
            Match(sets, "item", "1,000 subscriptions, price.gte and price.lte", clients, 10,
                  "and=(price.gte.#0,price.lte.#9)", events=events)]
    measure(sets, "like and range", [base] + runs, 0.75)
    like, range_ = runs
    evaluation(sets, like, base)
    naive(sets, like, LIKE, ": naive loop, one evaluation", "ns", 1e9 / 1e6)
    sets.figures.compare(like.label + EVALUATION, like.label + ": naive loop, one evaluation")
    naive(sets, range_, RANGE, ": naive loop", PER_EVENT, 1e6 / 1e3)
    sets.figures.compare(range_.label + ": processor, feed", range_.label + ": naive loop")


def naive(sets, run, query, suffix, unit, factor):
    """A loop of PostgreSQL's executor over all 1,000 conditions, for each of 1,000 rows."""
    connection = sets.cluster.connect()
    with connection.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0; SET jit = off")
        cursor.execute(query)  # once before, for the caches
        for _ in sets.figures.samples[run.label]:
            begun = sets.bench.now()
            cursor.execute(query)
            sets.figures.add(run.label + suffix, unit, (sets.bench.now() - begun) * factor)
    connection.close()


def run(sets):
    cluster = sets.cluster
    cluster.sql(FUNCTIONS)
    cluster.sql(FILL)
    cluster.sql("CREATE TABLE item %s; GRANT SELECT ON item TO reader, customer; SELECT notify_watch('item')" % COLUMNS)
    for table, condition in POLICIES.items():
        cluster.sql("CREATE TABLE %s %s" % (table, COLUMNS))
        sets.protect(table, condition.format(t=table))
    cluster.sql("CREATE TABLE texts AS SELECT 'item-' || i || '-x' AS name, 10 * i + 5 AS price "
                "FROM generate_series(0, 999) i; CREATE TABLE patterns AS SELECT 'item-' || i || '-%' AS pattern, "
                "10 * i AS low, 10 * i + 9 AS high FROM generate_series(0, 999) i; ANALYZE texts, patterns")
    scale(sets)
    conditions(sets)
