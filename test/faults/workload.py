"""What is written: the tables, the ledger that tells the truth about them, and the writers.

Every row version has a tag that no other has. A trigger of its own on each watched table writes what happens to the
ledger, in the same transaction; so after a run the ledger has exactly what was committed. A transaction's name is in
faults.tx; when it began and ended to commit is noted here, in the driver, on one clock.
"""

import io
import random
import threading
import time

import psycopg2

import rules

TABLES = ("a", "b", "p", "d", "secret") + rules.TABLES
NOTICES = "news"        # the channel of messages and raw notifications
CHANNELS = TABLES + (NOTICES,)
TRUNCATED = ("b", "h")
HOT_KEYS = 60

SCHEMA = """
CREATE ROLE reader;
CREATE ROLE customer;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT customer TO authenticator;
CREATE EXTENSION pg_notifyd;

CREATE TABLE ledger (
	ord bigserial, tx text, xid bigint DEFAULT pg_current_xact_id()::text::bigint, channel text, op text, key bigint,
	tag text, new jsonb, old jsonb);

CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ledger (tx, channel, op, key, tag, new, old)
		VALUES (current_setting('faults.tx'), TG_ARGV[0], TG_OP,
			CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END,
			CASE TG_OP WHEN 'DELETE' THEN OLD.tag ELSE NEW.tag END,
			CASE TG_OP WHEN 'DELETE' THEN NULL ELSE to_jsonb(NEW) END,
			CASE TG_OP WHEN 'INSERT' THEN NULL ELSE to_jsonb(OLD) END);
	RETURN NULL;
END $$;

CREATE FUNCTION note_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ledger (tx, channel, op, tag) VALUES (current_setting('faults.tx'), TG_ARGV[0], TG_OP,
		pg_current_xact_id()::text);
	RETURN NULL;
END $$;

CREATE TABLE a (id bigint PRIMARY KEY, v int, tag text);
CREATE TABLE b (id bigint PRIMARY KEY, v int, tag text, hidden text DEFAULT 'hidden');
CREATE TABLE p (id bigint PRIMARY KEY, v int, tag text, pad text) PARTITION BY HASH (id);
CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE d (id bigint PRIMARY KEY REFERENCES a ON DELETE CASCADE, v int, tag text);
CREATE TABLE secret (id bigint PRIMARY KEY, v int, tag text);
CREATE TABLE notices (ord bigserial, tx text);
CREATE TABLE due (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
INSERT INTO due VALUES (1);

SELECT notify_watch('a');
SELECT notify_watch('b', cols => '{id,tag}', op => 'insert,update,delete,truncate');
SELECT notify_watch('p');
SELECT notify_watch('d');
SELECT notify_watch('secret');
SELECT notify_grant('news', 'reader');
SELECT notify_grant('news', 'customer');
GRANT SELECT ON a, b, p, d, secret TO reader, customer;
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
REVOKE ALL ON secret FROM PUBLIC;
"""

LEDGER_TRIGGER = """
CREATE TRIGGER ledger AFTER INSERT OR UPDATE OR DELETE ON {0} FOR EACH ROW EXECUTE FUNCTION note('{0}');
"""

TRUNCATE_TRIGGER = """
CREATE TRIGGER ledger_truncate AFTER TRUNCATE ON {0} FOR EACH STATEMENT EXECUTE FUNCTION note_truncate('{0}');
"""


def make_schema(cluster):
    """In a running server: databases shop and other, and what the writers need."""
    cluster.query("CREATE DATABASE shop", "postgres")
    cluster.query("CREATE DATABASE other", "postgres")
    cluster.query(SCHEMA + rules.SCHEMA)
    for sql in rules.first_state():
        cluster.query(sql)
    for table in TABLES:
        cluster.query(LEDGER_TRIGGER.format(table))
    for table in TRUNCATED:
        cluster.query(TRUNCATE_TRIGGER.format(table))
    cluster.query("CREATE TABLE elsewhere (n int)", "other")


class Transactions:
    """When each transaction began to commit and when that had returned; None: not known. Shared by all writers."""

    def __init__(self):
        self.begin = {}
        self.end = {}
        self.events = 0   # committed, as far as is known
        self.lock = threading.Lock()

    def committing(self, name):
        self.begin[name] = time.monotonic()

    def committed(self, name, events):
        self.end[name] = time.monotonic()
        with self.lock:
            self.events += events


class Undo(Exception):
    """This transaction was to be rolled back all along."""


class Writer(threading.Thread):
    """One connection that writes at random until stop is set."""

    LEVELS = ("READ COMMITTED",) * 6 + ("REPEATABLE READ", "SERIALIZABLE")

    def __init__(self, number, seed, cluster, transactions, goal, async_share):
        super().__init__(name="writer %d" % number, daemon=True)
        self.number = number
        self.random = random.Random("%d writer %d" % (seed, number))
        self.cluster = cluster
        self.transactions = transactions
        self.goal = goal
        self.async_share = async_share
        self.stopping = threading.Event()
        self.connection = None
        self.cursor = None
        self.count = 0
        self.statement = 0
        self.events = 0
        self.fresh = 1000 + number * 10 ** 9
        self.mine = []      # ranges of keys in a that only this writer has
        self.failures = {}
        self.kinds = (
            (30, self.small), (10, self.multi), (6, self.savepoints), (4, self.undone), (3, self.failing),
            (1.5, self.long), (3, self.bulk), (3, self.message), (3, self.notice), (3, self.copy), (2, self.cascade),
            (0.4, self.truncate), (2, self.refused), (3, self.rewrite))

    # ---------------- statements ----------------

    def do(self, sql, *arguments):
        self.cursor.execute(sql, arguments or None)
        return max(self.cursor.rowcount, 0)

    def next_tag(self):
        self.statement += 1
        return "%s.%d." % (self.name_now, self.statement)

    def key(self):
        return self.random.randint(1, HOT_KEYS)

    def some_keys(self, n):
        return [self.key() for _ in range(n)]

    def insert(self, table):
        tag = self.next_tag()
        if self.random.random() < 0.4:
            self.fresh += 1
            key = self.fresh
        else:
            key = self.key()
        if table == "d":
            key = self.key()
            return self.do("INSERT INTO d SELECT id, 1, %s || id FROM a WHERE id = %s ON CONFLICT (id) DO UPDATE"
                           " SET tag = EXCLUDED.tag", tag, key)
        return self.do("INSERT INTO " + table + " (id, v, tag) VALUES (%s, 1, %s || %s) ON CONFLICT (id) DO UPDATE"
                       " SET v = " + table + ".v + 1, tag = EXCLUDED.tag", key, tag, str(key))

    def update(self, table, keys):
        return self.do("UPDATE " + table + " SET v = v + 1, tag = %s || id WHERE id = ANY (%s)", self.next_tag(), keys)

    def delete(self, table, keys):
        return self.do("DELETE FROM " + table + " WHERE id = ANY (%s)", keys)

    def move(self, table, keys):
        """Give rows of a table with row security to others."""
        return self.do("UPDATE " + table + " SET tenant = %s, owner = %s, v = %s, tag = %s || id WHERE id = ANY (%s)",
                       self.random.randrange(rules.TENANTS), "u%d" % self.random.randrange(rules.USERS),
                       self.random.randrange(3), self.next_tag(), keys)

    def change(self):
        return self.change_in(self.random.choice(TABLES))

    def change_in(self, table):
        kind = self.random.random()
        if kind < 0.5:
            return self.insert(table)
        if table in rules.TABLES and kind < 0.7:
            return self.move(table, self.some_keys(self.random.randint(1, 3)))
        if kind < 0.85:
            return self.update(table, self.some_keys(self.random.randint(1, 3)))
        return self.delete(table, self.some_keys(1))

    # ---------------- kinds of transactions ----------------

    def small(self):
        return sum(self.change() for _ in range(self.random.randint(1, 4)))

    def multi(self):
        table = self.random.choice(("a", "b", "p", "secret") + rules.TABLES)
        n = self.random.randint(5, 60)
        if self.random.random() < 0.5:
            change = self.move if table in rules.TABLES and self.random.random() < 0.5 else self.update
            return change(table, self.some_keys(n))
        first = self.fresh + 1
        self.fresh += n
        return self.do("INSERT INTO " + table + " (id, v, tag) SELECT i, 0, %s || i FROM generate_series(%s, %s) i",
                       self.next_tag(), first, self.fresh)

    def savepoints(self):
        events = 0
        depth = 0
        for _ in range(self.random.randint(2, 8)):
            turn = self.random.random()
            if turn < 0.4:
                depth += 1
                self.do("SAVEPOINT s%d" % depth)
            elif turn < 0.6 and depth > 0:
                self.do("ROLLBACK TO SAVEPOINT s%d" % depth)
                depth -= self.random.random() < 0.5
            elif turn < 0.7 and depth > 0:
                self.do("RELEASE SAVEPOINT s%d" % depth)
                depth -= 1
            events += self.change()
            if self.random.random() < 0.1:
                events += self.multi()
        return events

    def undone(self):
        self.small() if self.random.random() < 0.7 else self.multi()
        raise Undo

    def failing(self):
        """Fails inside of blocks that catch it."""
        events = self.change()
        tag = self.next_tag()
        self.do("DO $$ BEGIN FOR i IN 1..5 LOOP BEGIN UPDATE a SET tag = '" + tag + "' || i || '.' || id"
                " WHERE id = i + %d; IF i %% 2 = 0 THEN PERFORM 1 / (i - i); END IF;"
                " EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$" % self.key())
        return events + self.change()

    def refused(self):
        """Fails when it commits."""
        events = self.small()
        self.do("INSERT INTO due VALUES (1)")
        return events

    def long(self):
        events = self.small()
        self.stopping.wait(self.random.uniform(0.2, 1.2))
        return events + self.change()

    def bulk(self):
        n = self.random.choice((257, 300, 600, 1500, 4000))
        table = self.random.choice(("a", "a", "b", "p", "secret") + rules.TABLES)
        events = 0
        if table == "a" and self.mine and self.random.random() < 0.5:
            first, last = self.mine[0]
            if self.random.random() < 0.5:
                self.mine.pop(0)
                return self.do("DELETE FROM a WHERE id BETWEEN %s AND %s", first, last)
            return self.do("UPDATE a SET v = v + 1, tag = %s || id WHERE id BETWEEN %s AND %s",
                           self.next_tag(), first, last)
        if self.random.random() < 0.3:
            events += self.change()
        first = self.fresh + 1
        self.fresh += n
        if table == "p":
            # Of some, every few rows a large one: what is written in pieces is not all of one kind.
            size, every = self.random.choice(((0, 1), (300, 1), (1000, 1), (5000, 7), (20000, 50)))
            return events + self.do("INSERT INTO p (id, v, tag, pad) SELECT i, 0, %s || i,"
                                    " repeat('x', CASE WHEN i %% %s = 0 THEN %s ELSE 10 END)"
                                    " FROM generate_series(%s, %s) i", self.next_tag(), every, size, first, self.fresh)
        events += self.do("INSERT INTO " + table + " (id, v, tag) SELECT i, 0, %s || i FROM generate_series(%s, %s) i",
                          self.next_tag(), first, self.fresh)
        if table == "a":
            self.mine.append((first, self.fresh))
        return events

    def message(self):
        tag = self.next_tag()
        events = self.change() if self.random.random() < 0.5 else 0
        self.do("SELECT notify_send('news', json_build_object('tag', %s::text))", tag)
        self.do("INSERT INTO ledger (tx, channel, op, tag) VALUES (%s, 'news', 'MESSAGE', %s)", self.name_now, tag)
        return events + 1

    def notice(self):
        self.do("INSERT INTO notices (tx) VALUES (%s)", self.name_now)
        self.do("SELECT pg_notify('news', %s)", self.name_now)
        return self.change() if self.random.random() < 0.5 else 0

    def copy(self):
        n = self.random.randint(1, 40)
        tag = self.next_tag()
        first = self.fresh + 1
        self.fresh += n
        rows = "".join("%d\t0\t%s%d\n" % (i, tag, i) for i in range(first, first + n))
        self.cursor.copy_expert("COPY p (id, v, tag) FROM STDIN", io.StringIO(rows))
        return n

    def cascade(self):
        return self.insert("d") + self.delete("a", self.some_keys(3))

    def truncate(self):
        self.do("TRUNCATE " + self.random.choice(TRUNCATED))
        return 1 + self.change()

    def rewrite(self):
        """The same row more than once."""
        key = self.key()
        table = self.random.choice(("a", "p", "b", "t"))
        return sum(self.update(table, [key]) for _ in range(3)) + self.delete(table, [key]) + self.insert(table)

    # ---------------- the loop ----------------

    def run(self):
        while not self.stopping.is_set():
            try:
                if self.connection is None:
                    self.connection = self.cluster.connect(options="-c lock_timeout=1500 -c statement_timeout=20000")
                    self.cursor = self.connection.cursor()
                self.transaction()
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if self.connection is None or self.connection.closed:
                    self.disconnect()
                    self.stopping.wait(0.05)
                else:
                    self.failed(error)
            except psycopg2.Error as error:
                self.failed(error)
            if self.transactions.events > self.goal * 1.3:
                self.stopping.wait(0.05)
        self.disconnect()

    def failed(self, error):
        self.failures[error.pgcode] = self.failures.get(error.pgcode, 0) + 1
        try:
            if self.connection.closed:
                self.disconnect()
            else:
                self.do("ROLLBACK")
        except psycopg2.Error:
            self.disconnect()

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def transaction(self):
        self.count += 1
        self.statement = 0
        self.name_now = "%d.%d" % (self.number, self.count)
        level = self.random.choice(self.LEVELS)
        off = self.random.random() < self.async_share
        kind = self.random.choices([k for _, k in self.kinds], [w for w, _ in self.kinds])[0]
        self.do("BEGIN ISOLATION LEVEL %s; SET LOCAL synchronous_commit = %s; SET LOCAL faults.tx = '%s'"
                % (level, "off" if off else "on", self.name_now))
        try:
            events = kind()
        except Undo:
            self.do("ROLLBACK")
            return
        self.transactions.committing(self.name_now)
        self.do("COMMIT")
        self.transactions.committed(self.name_now, events)

    def stop(self):
        self.stopping.set()


class Sleeper(threading.Thread):
    """Holds a transaction with an id of its own open in another database, for the whole run."""

    def __init__(self, cluster):
        super().__init__(name="sleeper", daemon=True)
        self.cluster = cluster
        self.stopping = threading.Event()

    def run(self):
        connection = None
        while not self.stopping.is_set():
            try:
                if connection is None or connection.closed:
                    connection = self.cluster.connect("other")
                    connection.cursor().execute("BEGIN; INSERT INTO elsewhere VALUES (1)")
                connection.cursor().execute("SELECT 1")
            except psycopg2.Error:
                pass
            self.stopping.wait(0.2)
        if connection is not None:
            connection.close()

    def stop(self):
        self.stopping.set()


def write_fence(cluster, transactions, number):
    """The last transaction of a run: something for every channel. Returns its name."""
    name = "fence.%d" % number
    connection = cluster.connect()
    cursor = connection.cursor()
    cursor.execute("BEGIN; SET LOCAL faults.tx = '%s'" % name)
    for i, table in enumerate(TABLES):
        if table == "d":
            cursor.execute("INSERT INTO a (id, v, tag) VALUES (%s, 0, %s)", (-number, "%s.parent" % name))
            cursor.execute("INSERT INTO d (id, v, tag) VALUES (%s, 0, %s)", (-number, "%s.d" % name))
        else:
            cursor.execute("INSERT INTO " + table + " (id, v, tag) VALUES (%s, 0, %s)",
                           (-number - 100 * (i + 1), "%s.%s" % (name, table)))
    cursor.execute("SELECT notify_send('news', %s)", ('{"tag": "%s.news"}' % name,))
    cursor.execute("INSERT INTO ledger (tx, channel, op, tag) VALUES (%s, 'news', 'MESSAGE', %s)",
                   (name, name + ".news"))
    transactions.committing(name)
    cursor.execute("COMMIT")
    transactions.committed(name, len(TABLES) + 2)
    connection.close()
    return name


def feed_is_idle(cluster):
    """Whether the feed has nothing to do and sleeps."""
    return cluster.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd feed'"
                         " AND datname = 'shop' AND state = 'idle'")[0][0] == 1


def read_ledger(cluster):
    """(ord, tx, xid, channel, op, key, tag, new, old) of every change that is committed, in order of ord."""
    return cluster.query("SELECT ord, tx, xid, channel, op, key, tag, new, old FROM ledger ORDER BY ord")


def read_rulings(cluster):
    """(tx, state) of each transaction that has changed policies or memberships, in their order."""
    return cluster.query("SELECT tx, state FROM rulings ORDER BY n")


def read_notices(cluster):
    """The transactions that sent a raw notification, in the order of each session."""
    return [tx for tx, in cluster.query("SELECT tx FROM notices ORDER BY ord")]


def read_tables(cluster):
    """table -> {key: tag}, as they are now."""
    return {table: dict(cluster.query("SELECT id, tag FROM " + table)) for table in TABLES}
