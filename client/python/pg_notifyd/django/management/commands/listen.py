"""manage.py listen: call the listeners of all modules listeners.py of the installed apps."""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import functools
import inspect
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.module_loading import autodiscover_modules

from ....listeners import dispatch
from ....workers import work
from ... import begin, fresh, notifier


class Command(BaseCommand):
    help = 'Calls the listeners of the modules listeners.py when rows change, until it is interrupted.'

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument('--database', default='default', help='alias of the database')
        parser.add_argument('--no-watch', action='store_true', help='do not watch the tables: migrations have done that')
        parser.add_argument('--group', help='share the events of this consumer group with other processes')

    def handle(self, *arguments: Any, **options: Any) -> None:
        autodiscover_modules('listeners')
        with contextlib.suppress(KeyboardInterrupt):
            if options['group']:
                self.work(options['database'], options['group'])
            else:
                asyncio.run(self.listen(options['database'], not options['no_watch']))

    def work(self, alias: str, group: str) -> None:
        self.stdout.write('working')
        self.stdout.flush()
        transactions = functools.partial(begin, alias)
        work(transactions, group, lambda delivery, cursor: dispatch(delivery.event), parse_float=decimal.Decimal)

    async def listen(self, alias: str, watch: bool) -> None:
        source = notifier(alias)
        source.add_listeners(watch, lambda function: function if inspect.iscoroutinefunction(function) else fresh(function))
        async with source:
            self.stdout.write('listening')
            self.stdout.flush()
            await source.wait()
