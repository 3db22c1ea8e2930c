"""Workers of the group `workers`: DSN is in the environment. With an argument, this is one of them."""

import asyncio
import decimal
import os
import random
import subprocess
import sys
import threading

import psycopg
from tap import await_for, ok, same, spawn, wait_for

from pg_notifyd import Operation, awork, work

DSN = os.environ['DSN']
DONE = 'INSERT INTO done VALUES (%s, %s)'
# While the test has this lock, workers wait in their handlers.
GATE = 'SELECT pg_advisory_xact_lock_shared(1)'
AT_GATE = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def handle(delivery, cursor):
    cursor.execute(GATE)
    cursor.execute(DONE, (delivery.event.id, os.getpid()))
    if random.randrange(50) == 0:
        raise KeyError('of a handler')


async def ahandle(delivery, cursor):
    await cursor.execute(GATE)
    await cursor.execute(DONE, (delivery.event.id, os.getpid()))


def processes(database):
    """Workers of two kinds, of which one is killed every now and then. Each has a part of every hundred jobs, however fast the others are."""
    start = lambda kind: spawn([sys.executable, __file__, kind], stderr=subprocess.DEVNULL)
    workers = [start(kind) for kind in ('sync', 'async', 'sync')]
    for first in range(1, 2000, 100):
        database.execute('SELECT pg_advisory_lock(1)')
        database.execute('INSERT INTO jobs SELECT i FROM generate_series(%s::int, %s) i', [first, first + 99])
        wait_for(lambda: database.execute(AT_GATE).rowcount >= len(workers), 'work for each worker')
        database.execute('SELECT pg_advisory_unlock(1)')
        wait_for(lambda: database.execute('SELECT count(*) FROM done').fetchone()[0] > first - 100, 'work')
        if first % 400 == 1:
            victim = random.choice(workers)
            victim.kill()
            victim.wait()
            workers[workers.index(victim)] = start(random.choice(('sync', 'async')))
    wait_for(lambda: database.execute('SELECT count(*) FROM done').fetchone()[0] >= 2000, 'the rest')
    for worker in workers:
        worker.kill()
        worker.wait()
    # The server notices that a worker has ended when it has something to send.
    others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    database.execute(f'SELECT pg_terminate_backend(pid) {others}')
    wait_for(lambda: not database.execute(f'SELECT {others}').rowcount, 'the end of the sessions')


def threads(database):
    seen, stop = [], threading.Event()

    def handler(delivery, cursor):
        seen.append((delivery.attempt, delivery.event.operation, delivery.event.new['price']))
        if delivery.attempt == 1:
            raise ValueError('of a handler')
        if delivery.attempt == 2:
            database.execute('SELECT pg_terminate_backend(%s)', [cursor.connection.info.backend_pid])
            cursor.execute('SELECT 1')
        stop.set()

    worker = threading.Thread(target=work, args=(DSN, 'workers', handler), kwargs={'stop': stop, 'wait': 1, 'parse_float': decimal.Decimal})
    worker.start()
    database.execute('INSERT INTO jobs VALUES (-1, 1.50)')
    worker.join()
    price = decimal.Decimal('1.50')
    same(seen, [(attempt, Operation.INSERT, price) for attempt in (1, 2, 3)], 'an error, and a lost connection, give the event back')
    same(str(seen[0][2]), '1.50', 'with all digits')


async def neighbours(database, run):
    """One event always fails, and its neighbours in the same transaction do not."""
    database.execute("SELECT notify_group('failing', '{jobs}', max_attempts => 3)")
    database.execute('INSERT INTO jobs SELECT -i FROM generate_series(10, 19) i')
    seen = []

    def handle(key):
        seen.append(key)
        if key == -13:
            raise ValueError('always')

    await run(handle, lambda: database.execute(
        "SELECT FROM notifyd.groups WHERE name = 'failing' AND pending + claimed = 0 AND failed = 1 AND acknowledged = 9").rowcount)
    same(sorted(set(seen)), list(range(-19, -9)), 'all of them are handled')
    same(database.execute("SELECT event #>> '{key,id}', attempts FROM notifyd.failed_events WHERE name = 'failing'").fetchall(), [('-13', 3)],
         'only the one that always fails is set aside')
    database.execute("SELECT notify_ungroup('failing')")
    database.execute('DELETE FROM jobs WHERE id < 0')


async def in_threads(handle, is_done):
    stop = threading.Event()
    handler = lambda delivery, cursor: handle(delivery.event.id)
    workers = [threading.Thread(target=work, args=(DSN, 'failing', handler), kwargs={'stop': stop, 'wait': 1, 'count': 10}) for _ in range(2)]
    for worker in workers:
        worker.start()
    await await_for(is_done, 'the events')
    stop.set()
    for worker in workers:
        worker.join()


async def in_tasks(handle, is_done):
    async def handler(delivery, cursor):
        handle(delivery.event.id)

    workers = [asyncio.create_task(awork(DSN, 'failing', handler, count=10)) for _ in range(2)]
    await await_for(is_done, 'the events')
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)


async def cancelled(database):
    seen = []

    async def handler(delivery, cursor):
        seen.append(delivery.attempt)
        await asyncio.sleep(0 if len(seen) > 1 else 1000)

    for attempt in (1, 2):
        worker = asyncio.create_task(awork(DSN, 'workers', handler, wait=100))
        if attempt == 1:
            database.execute('INSERT INTO jobs VALUES (-2)')
        await await_for(lambda: len(seen) == attempt, 'an event')
        open_events = 'SELECT pending + claimed FROM notifyd.groups'
        await await_for(lambda: database.execute(open_events).fetchone()[0] == 2 - attempt, 'the acknowledgement')
        worker.cancel()
        await asyncio.wait({worker})
        ok(worker.cancelled(), f'asyncio: cancelled while it {"works" if attempt == 1 else "waits"}')
    sessions = "SELECT FROM pg_stat_activity WHERE query ~ 'notify_take' AND pid <> pg_backend_pid()"
    await await_for(lambda: not database.execute(sessions).rowcount, 'the end of the sessions')
    same(seen, [1, 2], 'the event comes again after the first time')


def in_django():
    import django

    os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from shop.models import Author, Post, Seen

    call_command('migrate', run_syncdb=True, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT notify_watch('shop_author'), notify_watch('shop_post', 'insert'), notify_group('django', '{shop_author,shop_post}')")
    command = [sys.executable, '-m', 'django', 'listen', '--group', 'django']
    working = [spawn(command, cwd=os.path.dirname(__file__), stdout=subprocess.DEVNULL) for _ in range(2)]
    for number in range(20):
        Author.objects.create(name=f'Author {number}', seen='2024-02-29T12:30:00Z', photo=b'x')
    wait_for(lambda: Post.objects.count() >= 20 and Seen.objects.count() >= 40, 'calls')
    same(Post.objects.values('author').distinct().count(), 20, 'Django: each author has one post')
    for process in working:
        process.kill()
        process.wait()
    with connection.cursor() as cursor:
        wait_for(lambda: cursor.execute("SELECT FROM notifyd.groups WHERE name = 'django' AND pending + claimed = 0") or cursor.rowcount, 'the acknowledgements')
    same((Post.objects.count(), Seen.objects.count()), (20, 40), 'Django: each effect once')


if sys.argv[1:] == ['sync']:
    work(DSN, 'workers', handle, count=5)
elif sys.argv[1:] == ['async']:
    asyncio.run(awork(DSN, 'workers', ahandle, count=7))
else:
    with psycopg.connect(DSN, autocommit=True) as database:
        processes(database)
        threads(database)
        asyncio.run(cancelled(database))
        asyncio.run(neighbours(database, in_threads))
        asyncio.run(neighbours(database, in_tasks))
    in_django()
