"""A client that resumes far behind: how fast it gets what it has missed, beside plain reading of the same log rows."""

import subprocess

from programs import SUBSCRIBE, Program

TITLE = "Replay: %s events to one client"


def log_tables(bench):
    return [name for (name,) in bench.cluster.sql(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'notifyd'::regnamespace "
        "AND c.relname ~ '^log_[0-7]$' AND pg_relation_size(c.oid) > 0 ORDER BY 1")]


def read_plainly(bench, rows, sql):
    """Seconds to read all log rows through a client that throws them away."""
    begun = bench.now()
    for table in log_tables(bench):
        subprocess.run([bench.cluster.bindir + "/psql", "-X", "-q", "-o", "/dev/null", "-c", sql % table,
                        bench.cluster.conninfo()], check=True, stdout=subprocess.DEVNULL)
    return rows / (bench.now() - begun)


def replay(bench, position, rows):
    subscribe = '{"id":1,"method":"subscribe","channel":"replay","since":"%s"}' % position
    with Program([bench.program("client"), "-p", str(bench.cluster.port), "-s", subscribe]) as client:
        got = client.ask("wait %d 120" % rows)
        if got["messages"] != rows:
            raise RuntimeError("%d of %d events have come" % (got["messages"], rows))
        return rows / got["last"]


def run(bench, figures):
    rows = bench.scale(1000000, 20000)
    figures.title = TITLE % "{:,}".format(rows)
    cluster = bench.cluster
    cluster.sql("CREATE TABLE replay (id bigint PRIMARY KEY, name text NOT NULL, quantity integer NOT NULL, "
                "price numeric(8,2) NOT NULL); GRANT SELECT ON replay TO reader; SELECT notify_watch('replay')")
    with Program([bench.program("client"), "-p", str(cluster.port), "-s", SUBSCRIBE % "replay"]) as client:
        position = client.ready["answer"]["result"]["position"]
    # Like after many small transactions: a hundred rows in each.
    bench.progress("filling the log")
    cluster.sql("CREATE PROCEDURE fill(n integer) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 0 .. n / 100 - 1 LOOP "
                "INSERT INTO replay SELECT i * 100 + k, 'Cheeseburger', 2, 5.90 FROM generate_series(1, 100) k; "
                "COMMIT; END LOOP; END $$")
    connection = cluster.connect()
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute("CALL fill(%d)" % rows)
    connection.close()
    cluster.settle()
    for _ in bench.rounds("replay"):
        figures.add("pg_notifyd", "events/s", replay(bench, position, rows))
        figures.add("COPY of the log's rows", "events/s", read_plainly(bench, rows, "COPY %s TO STDOUT"))
        figures.add("COPY of them in order", "events/s",
                    read_plainly(bench, rows, "COPY (SELECT * FROM %s WHERE id > 0 ORDER BY id) TO STDOUT"))
    figures.compare("pg_notifyd", "COPY of the log's rows")
    figures.compare("pg_notifyd", "COPY of them in order")
    figures.bar("pg_notifyd", at_least=min(300000, 0.5 * max(
        sorted(figures.samples[label])[len(figures.samples[label]) // 2] for label in figures.samples
        if label.startswith("COPY"))))
