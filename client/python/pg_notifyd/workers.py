"""Workers: each event of a consumer group is handled by one of them, in the transaction that acknowledges it.

Take, handle and COMMIT are one transaction. If the handler raises an error, or the process ends, nothing of it has happened, and
the events are delivered again; after the group's max_attempts they are set aside. See doc/groups.md.

An error gives all events of the transaction back, and each of them has used an attempt. So that one which always fails does not take
its neighbours along until all of them are set aside, what comes again is alone in its transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import threading
from dataclasses import dataclass
from typing import Any, AsyncIterator, Awaitable, Callable, ContextManager, Iterator, Union

import psycopg

from .events import ChangeEvent

logger = logging.getLogger('pg_notifyd')

_TAKE = 'SELECT id, attempt, event::text FROM notify_take(%s, %s, wait => make_interval(secs => %s))'


@dataclass(frozen=True)
class Delivery:
    """An event for one worker. `attempt` is 1 for the first delivery of the event; `id` is the number of the delivery.

    If retention has removed events of the group, the operation is Operation.RESET.
    """

    id: int
    attempt: int
    event: ChangeEvent


Begin = Union[str, Callable[[], ContextManager[Any]]]


def work(
    database: Begin,
    group: str,
    handler: Callable[[Delivery, Any], Any],
    *,
    count: int = 1,
    wait: float = 10,
    stop: threading.Event | None = None,
    parse_float: Callable[[str], Any] = float,
) -> None:
    """Call handler(delivery, cursor) for each event of a group, until `stop` is set. Returns at most `wait` seconds later.

    `database` is a connection string, or a function that returns the context manager of a transaction, whose value is a
    cursor. What the handler does with the cursor commits with the acknowledgement. `count` events at most are one
    transaction: with more it is faster, and an error gives all of them back. After that, each of them has a transaction of
    its own. An error is logged, and the loop goes on after up to a second, with another connection if this one is lost.
    """
    stop = stop or threading.Event()
    with contextlib.ExitStack() as stack:
        begin = stack.enter_context(_transactions(database)) if isinstance(database, str) else database
        while not stop.is_set():
            try:
                with begin() as cursor:
                    cursor.execute(_TAKE, (group, 1, wait))
                    rows = cursor.fetchall()
                    if count > 1 and _is_first(rows):
                        cursor.execute(_TAKE, (group, count - 1, 0))
                        rows += cursor.fetchall()
                    for delivery in _deliveries(rows, parse_float):
                        handler(delivery, cursor)
            except Exception:
                logger.exception('pg_notifyd: events of the group "%s" are given back', group)
                stop.wait(random.random())


async def awork(
    database: str,
    group: str,
    handler: Callable[[Delivery, psycopg.AsyncCursor], Awaitable[Any]],
    *,
    count: int = 1,
    wait: float = 10,
    parse_float: Callable[[str], Any] = float,
) -> None:
    """As work(), for asyncio: until it is cancelled, which cancels the handler, too, and gives the events back."""
    async with contextlib.AsyncExitStack() as stack:
        begin = await stack.enter_async_context(_atransactions(database))
        while True:
            try:
                async with begin() as cursor:
                    await _interruptible(cursor, cursor.execute(_TAKE, (group, 1, wait)))
                    rows = await cursor.fetchall()
                    if count > 1 and _is_first(rows):
                        await cursor.execute(_TAKE, (group, count - 1, 0))
                        rows += await cursor.fetchall()
                    for delivery in _deliveries(rows, parse_float):
                        await handler(delivery, cursor)
            except Exception:
                logger.exception('pg_notifyd: events of the group "%s" are given back', group)
                await asyncio.sleep(random.random())


async def _interruptible(cursor: psycopg.AsyncCursor, statement: Awaitable[Any]) -> None:
    """Await a statement. If this is cancelled, so is the statement: otherwise the server would go on waiting for events."""
    task = asyncio.ensure_future(statement)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        cursor.connection.cancel()
        await asyncio.wait({task})
        task.exception()  # QueryCanceled, usually
        raise


def _is_first(rows: list[tuple[int, int, str]]) -> bool:
    """Whether the event has not failed before. Events that were given back are the first in the order of the log, so they are seen here."""
    return bool(rows) and rows[0][1] == 1


def _deliveries(rows: list[tuple[int, int, str]], parse_float: Callable[[str], Any]) -> Iterator[Delivery]:
    for number, attempt, text in rows:
        yield Delivery(number, attempt, ChangeEvent.of(json.loads(text, parse_float=parse_float)))


@contextlib.contextmanager
def _transactions(conninfo: str) -> Iterator[Callable[[], ContextManager[psycopg.Cursor]]]:
    """Transactions of one connection, which is opened again when it is lost."""
    connection: psycopg.Connection | None = None

    @contextlib.contextmanager
    def begin() -> Iterator[psycopg.Cursor]:
        nonlocal connection
        if connection is None or connection.closed:
            connection = psycopg.connect(conninfo)
        with connection.transaction(), connection.cursor() as cursor:
            yield cursor

    try:
        yield begin
    finally:
        if connection:
            connection.close()


@contextlib.asynccontextmanager
async def _atransactions(conninfo: str) -> AsyncIterator[Callable[[], Any]]:
    connection: psycopg.AsyncConnection | None = None

    @contextlib.asynccontextmanager
    async def begin() -> AsyncIterator[psycopg.AsyncCursor]:
        nonlocal connection
        if connection is None or connection.closed:
            connection = await psycopg.AsyncConnection.connect(conninfo)
        async with connection.transaction(), connection.cursor() as cursor:
            yield cursor

    try:
        yield begin
    finally:
        if connection:
            await connection.close()
