"""Subscriptions over one WebSocket, which outlive it.

The stream handles one message after the other. It stores an event's position when the handler has returned, and resumes
after that position on the next connection. So each event is handled once, in order, as long as the process lives.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Union

import websockets

from .events import NotifydError

logger = logging.getLogger('pg_notifyd')

Token = Union[str, None, Callable[[], Union[str, None, Awaitable[Union[str, None]]]]]

_NOT_AUTHENTICATED = {4001, 4401, -32001}
_ENDED = {1002, 1003, 1007, 1009}
_BUSY = {-32011, -32603}
_BUSY_SQLSTATES = ('08', '40', '53', '55', '57')
_BUSY_STATUSES = {408, 429}


@dataclass(eq=False)
class Subscription:
    """A subscription: parameters of "subscribe", where it resumes, and what gets its events and resets.

    `failed` is called when the server ends the subscription. It may not raise an error, nor may the other two.
    """

    channel: str
    parameters: dict[str, Any]
    position: str | None
    event: Callable[[dict[str, Any]], Awaitable[None]]
    reset: Callable[[dict[str, Any]], Awaitable[None]]
    failed: Callable[[NotifydError], Awaitable[None]]
    tag: str | None = field(default=None, init=False)
    live: bool = field(default=False, init=False)


class Stream:
    """A connection to the gateway at `url`, again and again, with these subscriptions (at most 100).

    `token` is a token, or a function that returns one, with or without asyncio, which is called before each connection.
    `parse_float` is that of json.loads(). `options` are those of websockets.connect(), such as `ssl`.
    """

    def __init__(
        self,
        url: str,
        subscriptions: list[Subscription],
        token: Token = None,
        parse_float: Callable[[str], Any] = float,
        **options: Any,
    ) -> None:
        self._url = url
        self._subscriptions = list(subscriptions)
        self._token = token
        self._parse_float = parse_float
        # Events may be larger than the library's limit of 1 MiB, and it would wait long for the end of what is not read.
        self._options = {'max_size': None, 'close_timeout': 1, **options}
        self._began = False
        channels = set()
        for number, subscription in enumerate(self._subscriptions):
            # Events of a subscription without a tag are the same bytes for all clients, which is cheaper for the server.
            subscription.tag = str(number) if subscription.channel in channels else None
            channels.add(subscription.channel)

    async def run(self, ready: Callable[[], None], min_delay: float, max_delay: float) -> None:
        """Run until cancelled. `ready` is called once, when all subscriptions have begun.

        Raises NotifydError if a subscription is refused before that, or if another connection would be refused like the
        last one. Waits between connections, in seconds, are random parts of `min_delay`, which doubles up to `max_delay`.
        """
        clock = asyncio.get_running_loop().time
        delay = min_delay
        while True:
            start = clock()
            try:
                await self._connection(ready)
            except websockets.InvalidURI as problem:
                raise NotifydError(f'{problem}, as in ws://localhost:7432/ws', 400) from None
            except (OSError, asyncio.TimeoutError, websockets.WebSocketException, NotifydError) as problem:
                problem = _translate(problem)
                if isinstance(problem, NotifydError) and self._final(problem):
                    raise problem
                logger.warning('pg_notifyd: the connection is lost, and will be opened again: %s', problem)
            if clock() - start > delay:
                delay = min_delay
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(delay * 2, max_delay)

    def _final(self, problem: NotifydError) -> bool:
        """Would another connection end in the same way?"""
        if problem.code in _NOT_AUTHENTICATED:
            return not callable(self._token)
        if 200 <= problem.code < 400:
            return not self._began  # later, it may be the page of a proxy whose server is away
        if 400 <= problem.code < 500:
            return problem.code not in _BUSY_STATUSES
        return problem.code in _ENDED or (problem.code < 0 and not _busy(problem))

    async def _connection(self, ready: Callable[[], None]) -> None:
        token = self._token() if callable(self._token) else self._token
        if inspect.isawaitable(token):
            token = await token
        protocols = ['pg_notifyd.v1', *([f'bearer.{token}'] if token else [])]
        async with websockets.connect(self._url, subprotocols=protocols, **self._options) as socket:
            for number, subscription in enumerate(self._subscriptions):
                subscription.live = False
                names = {'channel': subscription.channel, 'tag': subscription.tag, 'since': subscription.position}
                parameters = {**subscription.parameters, **{name: value for name, value in names.items() if value}}
                await socket.send(json.dumps({'id': number, 'method': 'subscribe', 'params': parameters}))
            requests = dict(enumerate(self._subscriptions))
            while True:
                message = json.loads(await socket.recv(), parse_float=self._parse_float)
                if 'id' in message:
                    await self._answer(requests[message['id']], message)
                    if not self._began and all(subscription.live for subscription in self._subscriptions):
                        self._began = True
                        ready()
                else:
                    await self._notification(message['method'], message['params'])

    async def _answer(self, subscription: Subscription, message: dict[str, Any]) -> None:
        if 'error' in message:
            return await self._failed(subscription, message['error'])
        subscription.live = True
        subscription.position = message['result']['position']

    async def _notification(self, method: str, members: dict[str, Any]) -> None:
        if method == 'position':
            for subscription in self._subscriptions:
                if subscription.live and _id(members['position']) > _id(subscription.position):
                    subscription.position = members['position']
            return
        about = (members.get('data') or {}) if method == 'error' else members
        for subscription in self._subscriptions:
            if (subscription.channel, subscription.tag) == (about.get('channel'), about.get('tag')):
                break
        else:
            return
        if method == 'error':
            return await self._failed(subscription, members)
        if method in ('event', 'reset'):
            await _to_its_end(subscription.event(members) if method == 'event' else subscription.reset(members))
            subscription.position = members.get('position', subscription.position)

    async def _failed(self, subscription: Subscription, error: dict[str, Any]) -> None:
        message = error['message']
        if json.dumps(subscription.channel) not in message:
            message = f'channel "{subscription.channel}": {message}'
        problem = NotifydError(message, error['code'], error.get('data'))
        if not self._began or _busy(problem) or problem.code in _NOT_AUTHENTICATED:
            raise problem  # ends the connection; the next one, if there is one, resumes all subscriptions
        self._subscriptions.remove(subscription)
        await subscription.failed(problem)


def _translate(problem: Exception) -> Exception:
    """What says why a connection ended: an error with the close code or HTTP status if there is one."""
    if isinstance(problem, websockets.ConnectionClosed) and problem.rcvd:
        return NotifydError(problem.rcvd.reason or 'the server has closed the connection', problem.rcvd.code)
    status = getattr(problem, 'status_code', None) or getattr(getattr(problem, 'response', None), 'status_code', None)
    if status and status < 400:
        return NotifydError(f'{problem}: the path of the URL is not that of a WebSocket, by default /ws', status)
    return NotifydError(str(problem), status) if status else problem


def _busy(problem: NotifydError) -> bool:
    return problem.code in _BUSY or str(problem.data.get('sqlstate', '-'))[:2] in _BUSY_SQLSTATES


def _id(position: str | None) -> int:
    """A position ends with the id of the last event that it covers."""
    text = (position or '').rpartition('-')[2]
    return int(text) if text.isdecimal() else 0


async def _to_its_end(work: Awaitable[None]) -> None:
    """Await `work` also if this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
