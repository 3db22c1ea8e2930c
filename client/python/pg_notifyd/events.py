"""What a handler gets."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Operation(str, enum.Enum):
    """What an event is about. MESSAGE is one of notify(), NOTIFY one of PostgreSQL's NOTIFY.

    RESET is for workers: retention has removed events of their group.
    """

    INSERT = 'INSERT'
    UPDATE = 'UPDATE'
    DELETE = 'DELETE'
    TRUNCATE = 'TRUNCATE'
    MESSAGE = 'MESSAGE'
    NOTIFY = 'NOTIFY'
    RESET = 'RESET'


class NotifydError(Exception):
    """The server has refused a request or a connection, or has ended it.

    `code` is an error code or close code of doc/protocol.md, or an HTTP status; `data` is what an error has as data.
    """

    def __init__(self, message: str, code: int, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data or {}


@dataclass(frozen=True)
class Reset:
    """Some changes of `channel` before `position` will not come as events: load again what was made of them."""

    channel: str
    reason: str
    position: str


@dataclass(frozen=True)
class ChangeEvent:
    """A committed change of a row, or a message. Members that the event does not have are None.

    `new` and `old` are rows as dicts by column, with values as JSON has them. `position` is where a program that starts
    again may resume, once it has processed the event. `data` is the whole event of doc/protocol.md.
    """

    operation: Operation
    channel: str | None
    position: str | None
    schema: str | None
    table: str | None
    key: dict[str, Any] | None
    new: dict[str, Any] | None
    old: dict[str, Any] | None
    payload: Any
    context: Any
    data: dict[str, Any]

    @classmethod
    def of(cls, data: dict[str, Any]) -> ChangeEvent:
        """The event with these members."""
        members = ('channel', 'position', 'schema', 'table', 'key', 'new', 'old', 'payload', 'context')
        return cls(operation=Operation(data['op']), data=data, **{name: data.get(name) for name in members})

    @property
    def id(self) -> Any:
        """The value of the key, or a tuple of values if it has several columns. None without a key."""
        values = tuple((self.key or {}).values())
        return values[0] if len(values) == 1 else values or None

    @property
    def extra_columns(self) -> dict[str, Any]:
        """The row: the new one, or the old one of a DELETE; {} if the event has neither."""
        return self.new or self.old or {}

    @property
    def truncated(self) -> bool:
        """The event is larger than pg_notifyd.max_event_size, and has its key only."""
        return bool(self.data.get('truncated'))
