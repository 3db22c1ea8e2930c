"""Statements in a transaction, with or without asyncio.

A database here is a connection string, a connection of psycopg, or an engine of SQLAlchemy, whose address is used. On a
connection that is inside a transaction the statements become a part of it, and otherwise they are one of their own.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import json
import urllib.parse
import uuid
from typing import Any, Iterable, Union

import psycopg
from psycopg.conninfo import conninfo_to_dict

Database = Union[str, psycopg.Connection, psycopg.AsyncConnection, Any]
Statement = tuple[str, dict[str, Any]]


def run(database: Database, statements: Iterable[Statement]) -> None:
    """Execute the statements. Raises psycopg.Error, and TypeError for an AsyncConnection."""
    database = _address(database)
    if isinstance(database, str):
        with psycopg.connect(database) as connection:
            return run(connection, statements)
    if isinstance(database, psycopg.AsyncConnection):
        raise TypeError('an AsyncConnection needs the asynchronous methods')
    with database.transaction():
        for statement, parameters in statements:
            database.execute(statement, parameters)


async def arun(database: Database, statements: Iterable[Statement]) -> None:
    """As run(), for asyncio. A connection without asyncio is used in another thread."""
    database = _address(database)
    if isinstance(database, str):
        async with await psycopg.AsyncConnection.connect(database) as connection:
            return await arun(connection, statements)
    if not isinstance(database, psycopg.AsyncConnection):
        return await asyncio.to_thread(run, database, statements)
    async with database.transaction():
        for statement, parameters in statements:
            await database.execute(statement, parameters)


def gateway_of(database: Database) -> str:
    """The usual address of the gateway of a database: port 7432 of its host."""
    database = _address(database)
    if isinstance(database, str):
        parameters = conninfo_to_dict(database)
        host, name = parameters.get('host') or parameters.get('hostaddr'), parameters.get('dbname') or parameters.get('user')
    else:
        host, name = database.info.host, database.info.dbname
    host = host if host and not host.startswith(('/', '@')) else 'localhost'
    host = f'[{host}]' if ':' in host else host
    return f'ws://{host}:7432/ws' + (f'?database={urllib.parse.quote(name, safe="")}' if name else '')


def to_json(value: Any) -> str:
    """JSON of a value, in which dates, UUIDs and decimals are texts, and dataclasses objects."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return dataclasses.asdict(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f'{type(value).__name__} has no JSON')


def _address(database: Database) -> Database:
    url = getattr(database, 'url', None)
    return url.set(drivername='postgresql').render_as_string(hide_password=False) if url is not None else database
