"""A temporary server with the settings of all benchmarks, and the cost of its processes."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import psycopg2

# The same for every table and peer, so that none is favoured. fsync and
# synchronous_commit stay on. No checkpoint and no vacuum starts during a run; a
# checkpoint runs before each, see Cluster.settle().
SETTINGS = """
listen_addresses = ''
max_connections = 100
shared_buffers = 1GB
max_wal_size = 16GB
min_wal_size = 2GB
checkpoint_timeout = 1h
autovacuum = off
log_checkpoints = off
shared_preload_libraries = 'pg_notifyd'
pg_notifyd.anonymous_role = 'reader'
pg_notifyd.listen_addresses = '127.0.0.1'
pg_notifyd.default_database = 'bench'
pg_notifyd.max_clients = 12000
pg_notifyd.retention = 1d
pg_notifyd.retention_size = 32GB
"""

# Created in the database of each peer.
PEER_TRIGGER = """
CREATE FUNCTION push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify(TG_ARGV[0], json_build_object('op', TG_OP, 'table', TG_TABLE_NAME,
		CASE TG_OP WHEN 'DELETE' THEN 'old' ELSE 'new' END,
		CASE TG_OP WHEN 'DELETE' THEN row_to_json(OLD) ELSE row_to_json(NEW) END)::text);
	RETURN NULL;
END $$;
"""


def wait_until(condition, seconds, what):
    """Wait until condition() is true and return its result. Raises TimeoutError, with what, after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError("waited %d s for %s" % (seconds, what))
        time.sleep(0.02)


def cpu_seconds(pids):
    """The processor time of these processes, with all threads (proc(5), schedstat)."""
    total = 0
    for pid in pids:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task), encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def wakeups(pids):
    """How often these processes, with all threads, were woken."""
    total = 0
    for pid in pids:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/status" % (pid, task), encoding="ascii") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches:"))
    return total


def process_status(pid, field):
    """A number in /proc/PID/status: of memory in kB."""
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


class Cluster:
    """One data directory below a directory of its own. Port is that of the gateway."""

    def __init__(self, directory, bindir, port):
        self.directory = directory
        self.bindir = bindir
        self.port = port
        self.data = os.path.join(directory, "data")
        self.postmaster = None

    def start(self):
        subprocess.run([self.bindir + "/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                        "--locale=C.UTF-8"], check=True, stdout=subprocess.DEVNULL)
        with open(self.data + "/postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(SETTINGS)
            conf.write("unix_socket_directories = '%s'\npg_notifyd.port = %d\n" % (self.directory, self.port))
        with open(self.directory + "/server.log", "ab") as log:
            self.postmaster = subprocess.Popen([self.bindir + "/postgres", "-D", self.data], stdin=subprocess.DEVNULL,
                                               stdout=log, stderr=log)
        wait_until(self._accepts, 60, "the server to start")
        self.sql("CREATE DATABASE bench", database="postgres")
        self.fill_buffers()
        self.sql("CREATE ROLE reader; CREATE EXTENSION pg_notifyd")
        self.wait_healthy()

    def create_peer(self, database, setup):
        """Create a database for a client that LISTENs, with the trigger function push()."""
        self.sql("CREATE DATABASE %s" % database, database="postgres")
        self.sql(PEER_TRIGGER + setup, database=database)

    def stop(self):
        if self.postmaster is not None and self.postmaster.poll() is None:
            self.postmaster.send_signal(signal.SIGINT)
            self.postmaster.wait(120)

    def conninfo(self, database="bench"):
        return "host=%s user=postgres dbname=%s" % (self.directory, database)

    def connect(self, database="bench"):
        connection = psycopg2.connect(self.conninfo(database))
        connection.autocommit = True
        return connection

    def _accepts(self):
        try:
            self.connect("template1").close()
            return True
        except psycopg2.Error:
            if self.postmaster.poll() is not None:
                raise
            return False

    def sql(self, statement, database="bench"):
        """Run a statement in a new session, and return its rows, if any."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def set(self, **settings):
        """Change settings of pg_notifyd with a reload."""
        for name, value in settings.items():
            self.sql("ALTER SYSTEM SET pg_notifyd.%s = '%s'" % (name, value))
        self.sql("SELECT pg_reload_conf()")

    def fill_buffers(self, database="bench", sessions=None):
        """Use every shared buffer once, like a server that has run for a while. Otherwise the sessions that use a page
        first would pay for its allocation. sessions: they use all buffers too."""
        # Two rows in a block, one in each page of 4 kB.
        self.sql("CREATE UNLOGGED TABLE filler (id integer, filling text)", database)
        self.sql("ALTER TABLE filler ALTER filling SET STORAGE PLAIN", database)
        self.sql("INSERT INTO filler SELECT 1, repeat('x', 4000) FROM generate_series(1, "
                 "(SELECT 2 * setting::int FROM pg_settings WHERE name = 'shared_buffers'))", database)
        if sessions is not None:
            sessions.touch_buffers("filler")
        self.sql("DROP TABLE filler", database)

    def make_wal(self, segments=64):
        """Fill this many files of WAL. The following checkpoint recycles them, like on a server that has run for a while.
        Otherwise the first writers would have to create the files."""
        connection = self.connect()
        with connection.cursor() as cursor:
            for _ in range(segments):
                cursor.execute("SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()")
            cursor.execute("CHECKPOINT")
        connection.close()

    def settle(self):
        """Called before a run: write the data of earlier runs to disk."""
        self.sql("CHECKPOINT")

    def healthy(self):
        try:
            url = "http://127.0.0.1:%d/healthz?database=bench" % self.port
            return urllib.request.urlopen(url, timeout=5).status == 200
        except (OSError, urllib.error.HTTPError):
            return False

    def wait_healthy(self):
        wait_until(self.healthy, 60, "the gateway to be healthy")

    # ---------------- processes ----------------

    @staticmethod
    def descendants(pid):
        """The pids of a process and its descendants (proc(5), stat)."""
        children = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/stat" % name, encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(name))
        pids = [pid]
        for pid in pids:
            pids += children.get(pid, [])
        return pids

    def _titles(self):
        """Yield pid and title of the postmaster and its descendants (proc(5), cmdline)."""
        for pid in self.descendants(self.postmaster.pid):
            with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as file:
                title = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
                if title:  # a process that has ended has none
                    yield pid, title

    def processes(self):
        """The pids of all processes of the server."""
        return [pid for pid, _ in self._titles()]

    def gateways(self):
        return sorted(pid for pid, title in self._titles() if title.startswith("pg_notifyd: gateway"))

    def set_sandbox(self, value):
        """Change pg_notifyd.sandbox, and wait for the gateways that obey it."""
        self.set(sandbox=value)
        filtered = 0 if value == "off" else 2  # proc(5), status: Seccomp
        wait_until(lambda: {process_status(pid, "Seccomp") for pid in self.gateways()} == {filtered}, 30,
                   "gateways with sandbox = %s" % value)
        self.wait_healthy()

    def spent(self):
        """The processor time of all processes of the server so far, including ended ones (proc(5), stat)."""
        with open("/proc/%d/stat" % self.postmaster.pid, encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        return ended + cpu_seconds(pid for pid, _ in self._titles())

    def feed(self):
        return [pid for pid, title in self._titles() if 'pg_notifyd feed "bench"' in title]

    def launcher(self):
        return [pid for pid, title in self._titles() if "pg_notifyd launcher" in title]
