"""Django: listeners of models, and the command `manage.py listen`, which calls them.

Put 'pg_notifyd.django' into INSTALLED_APPS, and what Notifier needs into the setting PG_NOTIFYD:

    PG_NOTIFYD = {'url': 'ws://localhost:7432/ws?database=shop', 'token': 'shop.tokens.make_token'}
"""

from __future__ import annotations

import contextlib
import decimal
import functools
from typing import Any, Callable, Iterator

from django.conf import settings
from django.db import close_old_connections, connections, transaction
from django.utils.module_loading import import_string
from psycopg.conninfo import make_conninfo

from ..notifier import Notifier


def notifier(alias: str = 'default') -> Notifier:
    """A Notifier for one of Django's databases, with the setting PG_NOTIFYD, in which `token` and `on_reset` may be dotted names.

    Numbers with a fraction are read as decimal.Decimal, from which Django's fields make what they need.
    """
    options = {'parse_float': decimal.Decimal, **getattr(settings, 'PG_NOTIFYD', {})}
    for name in ('token', 'on_reset'):
        if isinstance(options.get(name), str):
            options[name] = import_string(options[name])
    return Notifier(conninfo(alias), **options)


def conninfo(alias: str = 'default') -> str:
    """The connection string of one of Django's databases."""
    names = {'NAME': 'dbname', 'USER': 'user', 'PASSWORD': 'password', 'HOST': 'host', 'PORT': 'port'}
    values = connections[alias].settings_dict
    return make_conninfo(**{name: values[key] for key, name in names.items() if values.get(key)})


@contextlib.contextmanager
def begin(alias: str = 'default') -> Iterator[Any]:
    """A transaction of Django with a cursor: work(begin, 'mailers', handler) handles events in Django's transactions."""
    close_old_connections()
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        yield cursor


def fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """Call `function` as Django calls a view: without connections that the server has closed."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        close_old_connections()
        return function(*arguments, **named)

    return call
