"""A throw-away server: made, started, killed in every way, and looked at through /proc."""

import os
import re
import shutil
import signal
import struct
import subprocess
import time

import psycopg2

import tokens

START_SECONDS = 60

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{directory}'
shared_preload_libraries = 'pg_notifyd'
fsync = off                     # what is killed are processes, not the machine
max_connections = 40
deadlock_timeout = 100ms
restart_after_crash = on
log_line_prefix = '%m [%p] %b '
pg_notifyd.anonymous_role = 'reader'
pg_notifyd.listen_addresses = '127.0.0.1'
pg_notifyd.default_database = 'shop'
pg_notifyd.jwt_secret = '{secret}'
pg_notifyd.authenticator_role = 'authenticator'
"""


def wait_until(condition, seconds, what):
    """Wait until condition() is true and return what it returned; TimeoutError, naming what, after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError("waited %d s for %s" % (seconds, what))
        time.sleep(0.01)


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def set_clock(path, seconds):
    """How far a program is off whose clock is set by this file, see clock.c."""
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(struct.pack("q", seconds))


class Clock:
    """The wall clock of servers that follow one another, beside time.monotonic()."""

    def __init__(self):
        self.steps = []     # (from when on, how far the wall clock is ahead)

    def set(self, seconds):
        """From now on the wall clock is off by so many seconds."""
        self.steps.append((time.monotonic(), time.time() - time.monotonic() + seconds))

    def now(self):
        return time.monotonic() + self.steps[-1][1]

    def _between(self, begin, end):
        """How far it was ahead at times between begin and end."""
        steps = list(self.steps)
        until = [when for when, _ in steps[1:]] + [float("inf")]
        return [ahead for (since, ahead), last in zip(steps, until) if since <= end and begin <= last]

    def latest(self, wall, begin, end):
        """When a server that ran at some time between begin and end shows this time, at the latest."""
        return wall - min(self._between(begin, end))

    def earliest(self, wall, begin, end):
        return wall - max(self._between(begin, end))


class Cluster:
    """One data directory. build: the directory that the script build has filled."""

    def __init__(self, build, directory):
        self.build = build
        self.bindir = build + "/bin"
        self.clock_library = build + "/clock.so"
        self.directory = directory
        self.data = os.path.join(directory, "data")
        self.log = os.path.join(directory, "server.log")
        self.port = None
        self.postmaster = None
        self.clock = 0      # how far the server's clock is off, in s
        self.wall = Clock()
        self.settings = {}  # changed by set()

    # ---------------- making ----------------

    def initdb(self):
        os.makedirs(self.directory)
        subprocess.run([self.bindir + "/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8",
                        "--locale=C.UTF-8"], check=True, stdout=subprocess.DEVNULL)
        with open(self.data + "/postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(SETTINGS.format(directory=".", secret=tokens.SECRET))
            conf.write("include_if_exists 'faults.conf'\n")

    def copy(self, directory):
        """Another one like this, which must have been stopped."""
        os.makedirs(directory)
        subprocess.run(["cp", "-a", self.data, directory], check=True)
        return Cluster(self.build, directory)

    def set(self, **settings):
        """Change settings, those of pg_notifyd without the prefix's dot: pg_notifyd__port. None: the default."""
        self.settings.update(settings)
        lines = ["unix_socket_directories = '%s'" % self.directory]
        for name, value in self.settings.items():
            if value is not None:
                lines.append("%s = '%s'" % (name.replace("__", "."), value))
        with open(self.data + "/faults.tmp", "w", encoding="utf-8") as conf:
            conf.write("\n".join(lines) + "\n")
        os.rename(self.data + "/faults.tmp", self.data + "/faults.conf")

    def reload(self, everybody=False):
        """everybody: also without a postmaster who would pass it on."""
        pids = self.pids("postgres:") if everybody else []
        if self.postmaster is not None and self.postmaster.poll() is None:
            pids.append(self.postmaster.pid)
        for pid in pids:
            self.kill(pid, signal.SIGHUP)

    # ---------------- running ----------------

    def start(self):
        """Start the server, and wait until it lets superusers in."""
        end = time.monotonic() + START_SECONDS
        while True:
            self._spawn()
            while self.postmaster.poll() is None:
                if self.accepts():
                    return
                if time.monotonic() > end:
                    raise TimeoutError("the server does not start")
                time.sleep(0.02)
            if time.monotonic() > end:
                raise TimeoutError("the server cannot be started, see %s" % self.log)
            time.sleep(0.1)

    def _spawn(self):
        environment = dict(os.environ)
        self.wall.set(self.clock)
        if self.clock:
            path = os.path.join(self.data, "server.clock")
            set_clock(path, self.clock)
            environment.update(LD_PRELOAD=self.clock_library, CLOCK_FILE=path)
        with open(self.log, "ab") as log:
            self.postmaster = subprocess.Popen([self.bindir + "/postgres", "-D", self.data], stdin=subprocess.DEVNULL,
                                               stdout=log, stderr=log, start_new_session=True, env=environment)

    def connect(self, database="shop", role="postgres", **options):
        connection = psycopg2.connect(host=self.directory, user=role, dbname=database, connect_timeout=5, **options)
        connection.autocommit = True
        return connection

    def accepts(self):
        try:
            self.connect("template1").close()
            return True
        except psycopg2.Error:
            return False

    def query(self, sql, database="shop"):
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def stop(self, signum=signal.SIGINT):
        """Stop it, by a fast shutdown or as told, and wait until it and all its processes are gone."""
        if self.postmaster is None:
            return
        if self.postmaster.poll() is None:
            self.postmaster.send_signal(signum)
            try:
                self.postmaster.wait(60)
            except subprocess.TimeoutExpired:
                self.postmaster.kill()
                self.postmaster.wait()
        self.wait_gone(30)
        self.postmaster = None

    def wait_gone(self, seconds):
        """Wait until no process of this server is left; TimeoutError naming those that are."""
        try:
            wait_until(lambda: not self.pids(""), seconds, "the server's processes to go")
        except TimeoutError as error:
            left = ["%d %s" % (pid, self._title(pid)) for pid in self.pids("")]
            for pid in self.pids(""):
                self.kill(pid, signal.SIGKILL)
            raise TimeoutError("left behind: " + ", ".join(left)) from error

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---------------- processes ----------------

    def _title(self, pid):
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    @staticmethod
    def _cwd(pid):
        """The process's working directory. A gateway in its sandbox hides its own, which is that of
        its parent, the launcher."""
        try:
            return os.readlink("/proc/%s/cwd" % pid)
        except PermissionError:
            with open("/proc/%s/stat" % pid, encoding="ascii", errors="replace") as file:
                parent = file.read().rpartition(")")[2].split()[1]
            return os.readlink("/proc/%s/cwd" % parent)

    def pids(self, title):
        """The processes that work in this data directory and whose title matches; zombies are none."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                if self._cwd(name) != self.data:
                    continue
            except OSError:
                continue
            if re.search(title, self._title(int(name))):
                found.append(int(name))
        return found

    @staticmethod
    def kill(pid, signum):
        """Returns whether there was such a process."""
        try:
            os.kill(pid, signum)
            return True
        except ProcessLookupError:
            return False
