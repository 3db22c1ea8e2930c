"""Listeners of Django's models, called by `manage.py listen`."""

import datetime
import decimal
import os
import signal
import subprocess
import sys

import django
from tap import same, spawn, wait_for

os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'
django.setup()

from django.core.management import call_command
from django.db import connection, transaction

from pg_notifyd.django import notifier
from shop.models import Author, Post, Seen

call_command('migrate', run_syncdb=True, verbosity=0)
with connection.cursor() as cursor:
    cursor.execute('GRANT SELECT ON ALL TABLES IN SCHEMA public TO customer')
# In another directory, because the one of the tests has a pg_notifyd.so, which Python would import.
listening = spawn([sys.executable, '-m', 'django', 'listen'], stdout=subprocess.PIPE, text=True, cwd=os.path.dirname(__file__))
same(listening.stdout.readline(), 'listening\n', 'manage.py listen')


def seen(count):
    wait_for(lambda: Seen.objects.count() >= count or listening.poll() is not None, f'{count} calls')
    return list(Seen.objects.order_by('id').values_list('what', flat=True))


moment = datetime.datetime(2024, 2, 29, 12, 30, 0, 5000, datetime.timezone.utc)
author = Author(name='Ann', born=datetime.date(2000, 1, 1), seen=moment, fee=decimal.Decimal('1.50'), tags=['a', 'b'], photo=b'\0x')
author.save()
expected = repr(('insert', author, 1, 'Ann', author.born, moment.isoformat(), author.fee, ['a', 'b'], b'\0x'))
same(seen(2)[:2], [expected, repr(('post', 1, 'Ann'))], 'post_insert_listener: instances, and their own changes are heard')
with transaction.atomic():
    with connection.cursor() as cursor:
        cursor.execute("""SET LOCAL pg_notifyd.context = '{"tenant": 7}'""")
    Author.objects.update(name='Eve')
same(seen(3)[2], repr(('update', 'Ann', 'Eve', True, decimal.Decimal('1.50'), {'tenant': 7})), 'post_update_listener: old, new and the context')
with connection.cursor() as cursor:
    others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
    cursor.execute(f'SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}')
    wait_for(lambda: cursor.execute(f'SELECT FROM pg_stat_activity WHERE {others}') or not cursor.rowcount, 'the end of other sessions')
Post.objects.all().delete()
same(seen(4)[3], repr(('delete', 'Welcome')), 'post_delete_listener: with a filter; a lost connection of Django is opened again')
listening.send_signal(signal.SIGINT)
same(listening.wait(), 0, 'ends when interrupted')

messages = []
source = notifier()
source.subscribe('news')(lambda event: messages.append(event.payload))
with source:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            source.notify('news', 'rolled back', connection=cursor)
            raise KeyError
    except KeyError:
        pass
    with transaction.atomic(), connection.cursor() as cursor:
        source.notify('news', {'day': author.born}, connection=cursor)
    wait_for(lambda: messages, 'a message')
same(messages, [{'day': '2000-01-01'}], "messages in Django's transactions")
