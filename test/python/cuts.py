"""A notifier behind a proxy that cuts its connections: DSN, GATEWAY_PORT, PGDATA, LOGFILE, SEED are in the environment."""

import asyncio
import os
import random

import psycopg
from tap import await_for, ok, same

from pg_notifyd import Notifier, Operation

CUTS = 12
chance = random.Random(int(os.environ['SEED']))


class Proxy:
    """Passes bytes on. Each connection ends after a random number of bytes from the server while `left` is not 0."""

    def __init__(self):
        self.left = CUTS
        self.cut = 0

    async def serve(self):
        self.server = await asyncio.start_server(self.connection, '127.0.0.1', 0)
        return self.server.sockets[0].getsockname()[1]

    async def connection(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection('127.0.0.1', int(os.environ['GATEWAY_PORT']))
        except OSError:
            return writer.close()
        budget = chance.randrange(100, 40000) if self.left else None
        ends = [asyncio.create_task(self.copy(reader, far_writer)), asyncio.create_task(self.copy(far_reader, writer, budget))]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        writer.transport.abort()
        far_writer.transport.abort()

    async def copy(self, reader, writer, budget=None):
        while data := await reader.read(65536):
            if budget is not None and (budget := budget - len(data)) < 0:
                self.left -= self.left > 0
                self.cut += 1
                writer.write(data[:budget])
                return await asyncio.sleep(0.01)
            writer.write(data)


async def write(proxy):
    """Transactions of a few rows until all cuts have happened, with a restart of the server in their middle."""
    last, restarted = 0, False
    while proxy.left or not restarted:
        if not restarted and proxy.left <= CUTS // 2:
            restarted = True
            command = ['pg_ctl', '-D', os.environ['PGDATA'], '-l', os.environ['LOGFILE'], '-m', 'immediate', '-w', 'restart']
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
            assert await process.wait() == 0
        async with await psycopg.AsyncConnection.connect(os.environ['DSN']) as connection:
            for _ in range(20):
                count = chance.randrange(1, 6)
                await connection.execute('INSERT INTO orders SELECT i, i %% 3 FROM generate_series(%s::int, %s) i', [last + 1, last + count])
                if chance.randrange(2):
                    await connection.execute('DELETE FROM orders WHERE id = %s', [last + 1])
                await connection.commit()
                last += count
                await asyncio.sleep(0.002)
    return last


async def main():
    proxy = Proxy()
    port = await proxy.serve()
    seen = {name: [] for name in ('all', 'some', 'gone', 'reset')}
    url = f'ws://127.0.0.1:{port}/ws?database=postgres'
    notifier = Notifier(None, url, on_reset=seen['reset'].append, min_delay=0.05, max_delay=0.2)

    @notifier.subscribe('orders')
    async def every(event):
        if chance.randrange(20) == 0:
            await asyncio.sleep(0.001)
        seen['all'].append((event.data['id'], event.operation, event.id))

    @notifier.subscribe('orders', Operation.INSERT, filters=[{'column': 'quantity', 'value': 1}])
    def some(event):
        seen['some'].append(event.id)

    @notifier.subscribe('gone')
    async def gone(event):
        seen['gone'].append(event.id)

    async with notifier:
        last = await write(proxy)
        async with await psycopg.AsyncConnection.connect(os.environ['DSN'], autocommit=True) as connection:
            await connection.execute('INSERT INTO orders VALUES (%s, 1)', [last + 1])
            await connection.execute('DELETE FROM orders WHERE id = %s', [last + 1])
            for name in ('some', 'gone'):
                await await_for(lambda: seen[name][-1:] == [last + 1], f'the last event of {name}')
            await await_for(lambda: seen['all'] and seen['all'][-1][1:] == ('DELETE', last + 1), 'the last event')
            rows = await (await connection.execute('SELECT id FROM orders ORDER BY id')).fetchall()
    ids = [each[0] for each in seen['all']]
    ok(proxy.cut >= CUTS, f'{proxy.cut} connections were cut, and {len(ids)} events came')
    same(ids, sorted(set(ids)), 'in order, and none twice')
    same([number for _, op, number in seen['all'] if op == 'INSERT'], list(range(1, last + 2)), 'none is missing')
    deleted = [number for _, op, number in seen['all'] if op == 'DELETE']
    same(sorted({*range(1, last + 2)} - {*deleted}), [row[0] for row in rows], 'nor is a DELETE')
    same(seen['some'], [number for number in range(1, last + 2) if number % 3 == 1 or number == last + 1], 'the same with a filter')
    same(seen['gone'], deleted, 'and on another channel')
    same(seen['reset'], [], 'without a reset')


asyncio.run(main())
