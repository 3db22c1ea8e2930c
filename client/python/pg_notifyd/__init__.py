"""Committed changes of PostgreSQL tables, as the server with the extension pg_notifyd sends them.

Modules, each of which uses only those above it:

    events      what a handler gets
    models      tables, columns and rows of SQLAlchemy and Django
    database    statements in a transaction, with or without asyncio
    stream      subscriptions over one WebSocket, which outlive it
    listeners   functions that are registered where no notifier exists yet
    notifier    watches, subscriptions and messages of a program
    workers     loops that handle the events of a consumer group
"""

from .events import ChangeEvent, NotifydError, Operation, Reset
from .listeners import post_delete_listener, post_insert_listener, post_truncate_listener, post_update_listener
from .notifier import Notifier
from .workers import Delivery, awork, work

__all__ = [
    'ChangeEvent',
    'Delivery',
    'NotifydError',
    'Notifier',
    'Operation',
    'Reset',
    'awork',
    'post_delete_listener',
    'post_insert_listener',
    'post_truncate_listener',
    'post_update_listener',
    'work',
]
