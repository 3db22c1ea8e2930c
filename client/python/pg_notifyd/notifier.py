"""Watches, subscriptions and messages of a program."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import re
import threading
import urllib.parse
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, AsyncIterator, Callable, Iterable, Mapping, Sequence, Union

from .database import Database, Statement, arun, gateway_of, run, to_json
from .events import ChangeEvent, NotifydError, Operation, Reset
from .listeners import Function, registered
from .models import Model, channel_of, column_of, table_of
from .stream import Stream, Subscription, Token

logger = logging.getLogger('pg_notifyd')

Operations = Union[Operation, str, Iterable[Union[Operation, str]], None]
Filters = Union[str, Sequence[Mapping[str, Any]], None]

_WATCHED = ('insert', 'update', 'delete', 'truncate')


class Notifier:
    """The watches and subscriptions of a program.

    `database` is a connection string, a connection of psycopg, or an engine of SQLAlchemy. It is used for watches and
    messages, and may be None without them. `url` is the address of the gateway, by default port 7432 of the database's
    host, with the database's name. `token` is a token, or a function that returns one, which is called before each
    connection to the gateway. `on_reset` is called with a Reset if events are missing, for subscriptions that have no
    function of their own. Waits between connections, in seconds, are random parts of `min_delay`, which doubles up to
    `max_delay`. `parse_float` reads JSON's numbers with a fraction: decimal.Decimal keeps all digits of a numeric.
    `options` are those of websockets.connect(), such as `ssl`.

    Start it with `async with notifier:`, `with notifier:`, as a lifespan, or by astart() or start(). Functions are called
    one after the other, in the order of the events: those with `async` in the event loop, others in one thread beside it.
    An error in a function is logged, and the next event follows.
    """

    def __init__(
        self,
        database: Database = None,
        url: str | None = None,
        *,
        token: Token = None,
        on_reset: Callable[[Reset], Any] | None = None,
        min_delay: float = 0.5,
        max_delay: float = 30,
        parse_float: Callable[[str], Any] = float,
        **options: Any,
    ) -> None:
        self.database = database
        self.url = url or ('ws://localhost:7432/ws' if database is None else gateway_of(database))
        self._token = token
        self._on_reset = on_reset
        self._delays = min_delay, max_delay
        self._parse_float = parse_float
        self._options = options
        self._watches: dict[tuple[tuple[str | None, str], str], dict[str, Any]] = {}
        self._subscriptions: list[dict[str, Any]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], Any] | None = None
        self._worker: ThreadPoolExecutor | None = None

    # ---- watches ----

    def watch(
        self,
        model: Model,
        operation: Operations = None,
        extra_columns: Sequence[str] | None = None,
        trigger_columns: Sequence[str] | None = None,
        primary_keys: Sequence[str] | None = None,
        channel_label: str | None = None,
        **options: Any,
    ) -> None:
        """Declare that a table is watched. install() and start() call notify_watch, which doc/sql.md describes.

        `operation` is one or several of INSERT, UPDATE, DELETE, TRUNCATE, by default all. Events contain `extra_columns`,
        by default all columns; [] means only the key. An UPDATE has an event only if it changes one of
        `trigger_columns`. `primary_keys` are the key's columns, by default those of the table. `channel_label` is the
        channel, by default the table's name. `options` are further parameters of notify_watch, such as `condition`.

        A table has one watch on each channel. Several declarations for the same one are added up: it has all their
        operations and columns. Raises ValueError if their other parameters differ.
        """
        table, channel = table_of(model), channel_label or channel_of(model)
        watch = {
            'op': {name.lower() for name in _names(operation)} or set(_WATCHED),
            'cols': _columns(model, extra_columns),
            'update_of': _columns(model, trigger_columns),
            'rest': {'key': _columns(model, primary_keys), **options},
        }
        before = self._watches.get((table, channel))
        if before:
            if before['rest'] != watch['rest']:
                raise ValueError(f'two watches of table {table[1]!r} on channel {channel!r} differ: give one a channel_label')
            watch['cols'] = _union(before['cols'], watch['cols'])
            if 'update' in before['op'] and 'update' in watch['op']:
                watch['update_of'] = _union(before['update_of'], watch['update_of'])
            elif 'update' in before['op']:
                watch['update_of'] = before['update_of']
            watch['op'] |= before['op']
        self._watches[table, channel] = watch

    def install(self) -> None:
        """Make the declared watches in one transaction, for example in a migration. Raises psycopg.Error."""
        run(self.database, self._installation())

    async def ainstall(self) -> None:
        """As install(), for asyncio."""
        await arun(self.database, self._installation())

    def uninstall(self) -> None:
        """Remove the declared watches. Raises psycopg.Error."""
        run(self.database, self._removal())

    async def auninstall(self) -> None:
        """As uninstall(), for asyncio."""
        await arun(self.database, self._removal())

    def _installation(self) -> list[Statement]:
        statements = []
        for (table, channel), watch in self._watches.items():
            values = {
                'op': ','.join(name for name in _WATCHED if name in watch['op']),
                'cols': watch['cols'],
                'channel': channel,
                'update_of': watch['update_of'] if 'update' in watch['op'] else None,
                **watch['rest'],
            }
            types = {'cols': '::name[]', 'update_of': '::name[]', 'key': '::name[]'}
            named = ', '.join(f'{name} => %({name})s{types.get(name, "")}' for name in values)
            statements.append((f'SELECT notify_watch(%(relation)s::regclass, {named})', {'relation': _quoted(table), **values}))
        return statements

    def _removal(self) -> list[Statement]:
        return [
            ('SELECT notify_unwatch(%(relation)s::regclass, %(channel)s)', {'relation': _quoted(table), 'channel': channel})
            for table, channel in self._watches
        ]

    # ---- subscriptions ----

    def subscribe(
        self,
        model: Model,
        operation: Operations = None,
        filters: Filters = None,
        *,
        columns: Sequence[str] | None = None,
        channel_label: str | None = None,
        since: str | Callable[[], str | None] | None = None,
        on_reset: Callable[[Reset], Any] | None = None,
    ) -> Callable[[Function], Function]:
        """Call the decorated function with each ChangeEvent of a channel.

        The channel is `channel_label`, by default that of the model's table; `model` may also be the name of a channel.
        `operation` is one or several of an Operation, by default all. `filters` is a filter in the grammar of doc/sets.md,
        or a list of {"column": …, "value": …} that must all be true, with an optional "operator", by default "eq"; a list
        of values means one of them, and None means NULL. `columns` limits `new` and `old`. `since` is a position, or a
        function that returns one when the notifier starts: the events after it come first.
        """
        parameters = {
            'ops': [name.upper() for name in _names(operation)],
            'filter': _filter(model, filters),
            'columns': _columns(model, columns),
        }
        subscription = {
            'channel': channel_label or channel_of(model),
            'parameters': {name: value for name, value in parameters.items() if value},
            'since': since,
            'on_reset': on_reset,
        }

        def register(function: Function) -> Function:
            self._subscriptions.append({**subscription, 'function': function})
            return function

        return register

    def add_listeners(self, watch: bool = True, around: Callable[[Callable], Callable] = lambda function: function) -> None:
        """Subscribe the functions of post_insert_listener() and its kind that have been registered so far.

        With `watch`, their tables are watched too. `around` decorates each function.
        """
        for listener in registered:
            if watch:
                self.watch(listener.model, listener.operation, channel_label=listener.options.get('channel_label'))
            self.subscribe(listener.model, listener.operation, **listener.options)(_listening(listener, around))

    # ---- messages ----

    def notify(self, channel: Model, payload: Any = None, *, connection: Any = None) -> None:
        """Send a message to a channel, or to that of a model: subscribers get it as Operation.MESSAGE.

        With a `connection` of psycopg, or a cursor, also one of Django, the message is a part of its transaction, and is sent
        when that commits. `payload` is a value that JSON has; dates, UUIDs, decimals and dataclasses are converted.
        Raises psycopg.Error, or that of the connection.
        """
        message = _message(channel, payload)
        if connection is None:
            run(self.database, [message])
        else:
            connection.execute(*message)

    async def anotify(self, channel: Model, payload: Any = None, *, connection: Any = None) -> None:
        """As notify(), for asyncio, with an AsyncConnection."""
        message = _message(channel, payload)
        if connection is None:
            await arun(self.database, [message])
        else:
            await connection.execute(*message)

    # ---- start and stop ----

    async def astart(self) -> None:
        """Make the watches and begin the subscriptions. Returns when all of them have begun.

        Waits for a server that is not there yet. Raises psycopg.Error if a watch cannot be made, and NotifydError if a
        subscription or the connection is refused.
        """
        if self._task:
            raise RuntimeError('the notifier has been started')
        if self._watches:
            await self.ainstall()
        ready = asyncio.get_running_loop().create_future()
        self._worker = ThreadPoolExecutor(1, 'pg_notifyd')
        self._task = asyncio.create_task(self._run(lambda: ready.done() or ready.set_result(None)))
        try:
            await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not ready.done():
                task = self._task
                await self.astop()
        if not ready.done():
            task.result()

    async def astop(self) -> None:
        """End the subscriptions, when the function that is running has returned. Not for calls from such a function."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.wait({task})
            self._worker.shutdown(wait=False)
            task.cancelled() or task.exception()  # was logged when it happened

    async def wait(self) -> None:
        """Wait for the end of the connection, after astart(). Raises NotifydError if the server refuses to go on."""
        if self._task:
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()

    def start(self) -> None:
        """As astart(), with the event loop in a thread of its own."""
        if self._thread:
            raise RuntimeError('the notifier has been started')
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._threaded(started)), name='pg_notifyd', daemon=True)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """As astop(), after start()."""
        thread, self._thread = self._thread, None
        if thread:
            if self._stop:
                self._stop()
            thread.join()

    async def __aenter__(self) -> Notifier:
        await self.astart()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.astop()

    def __enter__(self) -> Notifier:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """A lifespan of an ASGI application: Starlette(lifespan=notifier.lifespan)."""
        async with self:
            yield

    # ---- inside ----

    async def _threaded(self, started: Future[None]) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        main = asyncio.current_task()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set if started.done() else main.cancel)
        try:
            await self.astart()
        except BaseException as problem:
            self._stop = None
            started.set_exception(problem)
            return
        started.set_result(None)
        await stop.wait()
        await self.astop()

    async def _run(self, ready: Callable[[], None]) -> None:
        if not self._subscriptions:
            return ready()
        subscriptions = [self._begin(each) for each in self._subscriptions]
        stream = Stream(self.url, subscriptions, self._token, self._parse_float, **self._options)
        try:
            await stream.run(ready, *self._delays)
        except NotifydError as problem:
            logger.error('pg_notifyd: the server refuses the connection: %s', problem)
            raise

    def _begin(self, subscription: dict[str, Any]) -> Subscription:
        channel, since = subscription['channel'], subscription['since']

        async def event(members: dict[str, Any]) -> None:
            await self._call(subscription['function'], ChangeEvent.of(members))

        async def reset(members: dict[str, Any]) -> None:
            what = Reset(channel, members['reason'], members['position'])
            function = subscription['on_reset'] or self._on_reset
            if function:
                return await self._call(function, what)
            logger.warning('pg_notifyd: changes of channel "%s" are missing, and there is no on_reset: %s', channel, what.reason)

        async def failed(problem: NotifydError) -> None:
            logger.error('pg_notifyd: the subscription to channel "%s" has ended: %s', channel, problem)

        position = since() if callable(since) else since
        return Subscription(channel, subscription['parameters'], position, event, reset, failed)

    async def _call(self, function: Callable[[Any], Any], argument: Any) -> None:
        try:
            if inspect.iscoroutinefunction(function):
                return await function(argument)
            result = await asyncio.get_running_loop().run_in_executor(self._worker, function, argument)
            if inspect.isawaitable(result):
                await result
        except Exception:
            logger.exception('pg_notifyd: error in %s', getattr(function, '__qualname__', function))


def _listening(listener: Any, around: Callable[[Callable], Callable]) -> Callable[[ChangeEvent], Any]:
    function = around(listener.function)
    if inspect.iscoroutinefunction(function):

        async def call(event: ChangeEvent) -> None:
            await function(**listener.arguments(event))

    else:

        def call(event: ChangeEvent) -> None:
            function(**listener.arguments(event))

    call.__qualname__ = listener.function.__qualname__  # for the log
    return call


def _names(operation: Operations) -> list[str]:
    if operation is None:
        return []
    return [Operation(each.upper()).value for each in ([operation] if isinstance(operation, str) else operation)]


def _columns(model: Model, names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else [column_of(model, name) for name in names]


def _union(some: list[str] | None, others: list[str] | None) -> list[str] | None:
    """Columns of two watches; None are all."""
    return None if some is None or others is None else list(dict.fromkeys(some + others))


def _quoted(table: tuple[str | None, str]) -> str:
    return '.'.join('"' + part.replace('"', '""') + '"' for part in table if part)


def _message(channel: Model, payload: Any) -> Statement:
    return 'SELECT notify_send(%(channel)s, %(payload)s::json)', {'channel': channel_of(channel), 'payload': to_json(payload)}


def _filter(model: Model, filters: Filters) -> str | None:
    if not filters or isinstance(filters, str):
        return filters or None
    conditions = []
    for condition in filters:
        name = column_of(model, condition['column'])
        name = name if re.fullmatch(r'[a-z_][a-z0-9_]*', name) else '"' + re.sub(r'(["\\])', r'\\\1', name) + '"'
        text = _operand(condition.get('operator', 'eq'), condition['value'])
        conditions.append(f'{urllib.parse.quote(name, safe="")}={urllib.parse.quote(text, safe="")}')
    return '&'.join(conditions)


def _operand(operator: str, value: Any) -> str:
    if operator == 'eq' and (value is None or isinstance(value, bool)):
        return f'is.{"null" if value is None else str(value).lower()}'
    if operator == 'eq' and isinstance(value, (list, tuple, set, frozenset)):
        return 'in.(' + ','.join('"' + re.sub(r'(["\\])', r'\\\1', str(each)) + '"' for each in value) + ')'
    return f'{operator}.{value}'
