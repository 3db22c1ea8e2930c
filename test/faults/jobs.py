#!/usr/bin/python3
"""
Many jobs, done once each: workers take the events of a group and write an effect for each in the same transaction, while
their sessions are killed.

	jobs.py --build DIR --work DIR [--jobs 1000000] [--workers 8] [--kills 200] [--count 100] [--bound 600]

A kill is, in turn, pg_terminate_backend() of a session or SIGKILL of a worker process, which is replaced. DIR of --build is
filled by the script build. The status is 0 if each job was done once. After --bound seconds it gives up.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psycopg2

import cluster

SCHEMA = """
CREATE ROLE reader;
CREATE ROLE authenticator;
CREATE EXTENSION pg_notifyd;
CREATE TABLE jobs (id bigint PRIMARY KEY, work text);
CREATE TABLE effects (job bigint, worker int);
SELECT notify_watch('jobs'), notify_group('workers', '{jobs}', max_attempts => 30000);
"""
WRITE = "INSERT INTO jobs SELECT i, 'work' FROM generate_series(%d, %d) i"
# With the effects of all events that were taken, in one statement.
WORK = """INSERT INTO effects SELECT (event #>> '{new,id}')::bigint, %s FROM notify_take('workers', %s, wait => '200 ms')"""
BATCH = 20000       # jobs in a transaction


def work(directory, number, count):
    """A worker: its own process, which ends when its parent does."""
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            connection = psycopg2.connect(host=directory, user="postgres", dbname="shop", application_name="worker")
            cursor = connection.cursor()
            while os.getppid() == parent:
                cursor.execute(WORK, (number, count))
                connection.commit()
        except psycopg2.Error:
            time.sleep(0.02)


class Jobs:
    def __init__(self, options):
        self.options = options
        self.random = random.Random("jobs %d" % options.seed)
        self.server = cluster.Cluster(options.build, os.path.join(options.work, "jobs"))
        self.workers = {}       # number -> process
        self.terminated = 0
        self.killed = 0

    def start_worker(self, number):
        options = self.options
        self.workers[number] = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--work", options.work, "--build", options.build, "--count",
             str(options.count), "--one", str(number)], stdin=subprocess.DEVNULL)

    def kill(self):
        """A session or a worker process, in turn."""
        if self.terminated <= self.killed:
            found = self.server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'worker'"
                                      " ORDER BY random() LIMIT 1")
            self.terminated += len(found)
            return
        number = self.random.choice(list(self.workers))
        self.workers[number].kill()
        self.workers[number].wait()
        self.killed += 1
        self.start_worker(number)

    def done(self):
        return self.server.query("SELECT acknowledged FROM notifyd.groups")[0][0] or 0

    def run(self):
        """The kills are spread over the jobs. Returns how long it took."""
        options = self.options
        begin = time.monotonic()
        written = kills = 0
        for number in range(options.workers):
            self.start_worker(number)
        while True:
            done = self.done()
            while written < options.jobs and written - done < 5 * BATCH:
                self.server.query(WRITE % (written + 1, min(written + BATCH, options.jobs)))
                written = min(written + BATCH, options.jobs)
            while kills < options.kills and kills * options.jobs < done * options.kills:
                self.kill()
                kills += 1
            if done >= options.jobs and kills >= options.kills:
                return time.monotonic() - begin
            if time.monotonic() - begin > options.bound:
                raise TimeoutError("%d of %d jobs after %d s" % (done, options.jobs, options.bound))
            time.sleep(0.005)

    def execute(self):
        self.server.initdb()
        self.server.set(pg_notifyd__port=cluster.free_port())
        self.server.start()
        try:
            self.server.query("CREATE DATABASE shop", "postgres")
            self.server.query(SCHEMA)
            seconds = self.run()
            return self.report(seconds)
        finally:
            for process in self.workers.values():
                process.kill()
                process.wait()
            self.server.stop(signal.SIGQUIT)
            self.server.remove()

    def report(self, seconds):
        effects, jobs = self.server.query("SELECT count(*), count(DISTINCT job) FROM effects")[0]
        again, by_worker = (self.server.query(sql)[0][0] for sql in (
            "SELECT redelivered FROM notifyd.groups", "SELECT count(DISTINCT worker) FROM effects"))
        print("%d jobs by %d workers in %.0f s, up to %d in a transaction: %d effects of %d different jobs; %d deliveries"
              " were not the first; %d sessions terminated, %d workers killed" % (
                  self.options.jobs, by_worker, seconds, self.options.count, effects, jobs, again, self.terminated,
                  self.killed))
        return effects == jobs == self.options.jobs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, help="the directory that the script build has filled")
    parser.add_argument("--work", required=True)
    parser.add_argument("--jobs", type=int, default=1000000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--bound", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", type=int)
    options = parser.parse_args()
    if options.one is not None:
        work(os.path.join(options.work, "jobs"), options.one, options.count)
    else:
        shutil.rmtree(os.path.join(options.work, "jobs"), ignore_errors=True)
        sys.exit(0 if Jobs(options).execute() else 1)


if __name__ == "__main__":
    main()
