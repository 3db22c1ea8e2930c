"""The package pg_notifyd with a server: DSN, URL, TOKEN, EXPIRED are in the environment."""

import asyncio
import datetime
import decimal
import logging
import os
import uuid

import psycopg
import sqlalchemy
from sqlalchemy.orm import declarative_base
from tap import await_for, ok, raises, same, wait_for

from pg_notifyd import ChangeEvent, NotifydError, Notifier, Operation, Reset, listeners
from pg_notifyd import post_delete_listener, post_insert_listener, post_truncate_listener, post_update_listener
from pg_notifyd.database import gateway_of

DSN, URL = os.environ['DSN'], os.environ['URL']
database = psycopg.connect(DSN, autocommit=True)
Base = declarative_base()


class User(Base):
    __tablename__ = 'users'
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    mail = sqlalchemy.Column('email', sqlalchemy.Text)
    name = sqlalchemy.Column(sqlalchemy.Text)
    balance = sqlalchemy.Column(sqlalchemy.Numeric)
    born = sqlalchemy.Column(sqlalchemy.Date)


class Item(Base):
    __tablename__ = 'items'
    __table_args__ = {'schema': 'shop'}
    order_id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    item_id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    quantity = sqlalchemy.Column(sqlalchemy.Integer)


def watch_of(channel):
    row = database.execute('SELECT ops::text, cols::text, update_of::text, key::text, old_values FROM notifyd.watches WHERE channel = %s', [channel])
    return row.fetchone()


def watches():
    notifier = Notifier(database, URL)
    notifier.watch(User, Operation.INSERT, extra_columns=['mail'])
    notifier.watch(User, 'update', extra_columns=['mail', 'name'], trigger_columns=['mail'])
    notifier.watch(Item, [Operation.UPDATE, 'delete'], extra_columns=[], primary_keys=['order_id', 'item_id'], old_values=False)
    notifier.watch('Odd "names', channel_label='odd')
    notifier.watch('users', 'delete', channel_label='gone')
    notifier.install()
    same(watch_of('users')[:3], ('insert,update', '{email,name}', '{email}'), 'several declarations are one watch, attributes are columns')
    same(watch_of('shop.items')[1:], ('{}', None, '{order_id,item_id}', False), 'another schema, keys, no columns, further parameters')
    same(watch_of('odd')[1], None, 'a name that needs quotes, and all columns by default')
    raises(ValueError, lambda: notifier.watch(User, 'delete', primary_keys=['mail']), 'watches that contradict each other')
    raises(ValueError, lambda: notifier.watch(User, 'upsert'), 'an operation that does not exist')
    notifier.uninstall()
    same(database.execute('SELECT count(*) FROM notifyd.watches').fetchone(), (0,), 'uninstall')
    wrong = Notifier(DSN, URL)
    wrong.watch(User, extra_columns=['nonsense'])
    raises(psycopg.Error, wrong.start, 'a column that does not exist')
    same(gateway_of('host=db.example port=5433 dbname=a/b'), 'ws://db.example:7432/ws?database=a%2Fb', "the gateway's address of a connection string")
    same(gateway_of('postgresql://ann@[::1]/shop'), 'ws://[::1]:7432/ws?database=shop', 'and of an URL')
    same(Notifier(database).url, 'ws://localhost:7432/ws?database=postgres', 'and of a connection')
    same(Notifier(DSN, URL).url, URL, 'or as it is given')


async def asynchronous():
    engine = sqlalchemy.create_engine(sqlalchemy.engine.URL.create('postgresql+psycopg2', query=psycopg.conninfo.conninfo_to_dict(DSN)))
    notifier = Notifier(engine, URL)
    notifier.watch(User)
    notifier.watch(Item, primary_keys=['order_id', 'item_id'])
    notifier.watch('Odd "names', channel_label='odd')
    seen, threads = [], []

    @notifier.subscribe(User, Operation.INSERT)
    async def inserted(event: ChangeEvent):
        await asyncio.sleep(0)
        seen.append(('inserted', event.operation, event.id, event.new))
        if event.id == 2:
            raise ValueError('of the function')

    @notifier.subscribe(User, [Operation.UPDATE, Operation.DELETE], filters=[{'column': 'mail', 'value': 'a&b=c,"d" \\ü%'}], columns=['name'])
    def named(event: ChangeEvent):
        threads.append(asyncio._get_running_loop())
        seen.append(('named', event.operation, event.id, event.extra_columns))

    @notifier.subscribe(User, 'INSERT', filters=[{'column': 'id', 'value': [1, 3]}, {'column': 'name', 'value': None}])
    async def listed(event):
        seen.append(('listed', event.id))

    @notifier.subscribe('users', filters='balance=gte.10.5')
    async def rich(event):
        seen.append(('rich', event.operation, event.id))

    async def item(event):
        seen.append(('item', event.id))

    notifier.subscribe(Item)(lambda event: item(event))

    @notifier.subscribe('odd', filters=[{'column': 'a b', 'operator': 'like', 'value': 'x*'}])
    async def odd(event):
        seen.append(('odd', event.new))

    async with notifier:
        connection = await psycopg.AsyncConnection.connect(DSN, autocommit=True)
        for statement in (
            "INSERT INTO users VALUES (1, 'a', NULL, 10.5, '2000-01-01'), (2, 'b', 'x', 1, NULL)",
            """UPDATE users SET email = 'a&b=c,"d" \\ü%', balance = 11 WHERE id = 1""",
            "UPDATE users SET name = 'Ann', balance = 0 WHERE id = 1",
            'DELETE FROM users',
            'INSERT INTO shop.items VALUES (7, 8, 9)',
            """INSERT INTO "Odd ""names" VALUES (1, 'y'), (2, 'xy')""",
        ):
            await connection.execute(statement)
        await await_for(lambda: seen and seen[-1][0] == 'odd', 'the last event')
        await connection.close()
    row = {'id': 1, 'email': 'a', 'name': None, 'balance': 10.5, 'born': '2000-01-01'}
    expected = {
        'inserted': [('INSERT', 1, row), ('INSERT', 2, {'id': 2, 'email': 'b', 'name': 'x', 'balance': 1, 'born': None})],
        'named': [('UPDATE', 1, {'name': 'Ann'}), ('DELETE', 1, {'name': 'Ann'})],
        'listed': [(1,)],
        'rich': [('INSERT', 1), ('UPDATE', 1), ('DELETE', 1)],
        'item': [((7, 8),)],
        'odd': [({'id': 2, 'a b': 'xy'},)],
    }
    for name, events in expected.items():
        same([event[1:] for event in seen if event[0] == name], events, f'asyncio: {name}')
    same(set(threads), {None}, 'a function without async runs beside the event loop')
    ok('ValueError: of the function' in log.text, 'and its error is logged')


def messages():
    seen = []
    notifier = Notifier(database, URL)

    @notifier.subscribe('news')
    def news(event):
        seen.append((event.operation, event.payload, event.id))

    raises(psycopg.Error, lambda: notifier.notify('x' * 64, 1), 'a name that is no channel')
    with notifier:
        day, number = datetime.date(2024, 2, 29), uuid.UUID(int=1)
        notifier.notify('news', {'day': day, 'id': number, 'price': decimal.Decimal('1.50'), 'tags': {'a'}})
        with psycopg.connect(DSN) as transaction:
            notifier.notify('news', 'rolled back', connection=transaction)
            transaction.rollback()
            notifier.notify('news', 'committed', connection=transaction)
        asyncio.run(notifier.anotify('news', None))
        wait_for(lambda: len(seen) == 3, 'messages')
    message = {'day': '2024-02-29', 'id': str(number), 'price': '1.50', 'tags': ['a']}
    same(seen, [('MESSAGE', message, None), ('MESSAGE', 'committed', None), ('MESSAGE', None, None)], 'messages, in transactions')
    raises(TypeError, lambda: notifier.notify('news', object()), 'what has no JSON')


def positions():
    seen, resets = [], []
    stored = database.execute("SELECT notify_watch('users')") and None
    notifier = Notifier(None, URL, on_reset=resets.append)

    @notifier.subscribe('users', 'insert', since=lambda: stored)
    def inserted(event):
        nonlocal stored
        stored = event.position
        seen.append(event.id)

    with notifier:
        database.execute('INSERT INTO users SELECT i FROM generate_series(1, 3) i')
        wait_for(lambda: len(seen) == 3, 'events')
    database.execute('INSERT INTO users SELECT i FROM generate_series(4, 6) i')
    with notifier:
        wait_for(lambda: len(seen) >= 6, 'events of the time between')
        same(seen, [1, 2, 3, 4, 5, 6], 'a stored position: nothing is lost, and nothing comes twice')
        database.execute('ALTER TABLE users DISABLE TRIGGER ALL')
        wait_for(lambda: resets, 'a reset')
        ok(isinstance(resets[0], Reset) and resets[0].channel == 'users' and resets[0].reason, 'a reset')
        database.execute('ALTER TABLE users ENABLE TRIGGER ALL')
    database.execute('DELETE FROM users')


def refusals():
    def start(channel, **options):
        notifier = Notifier(None, URL, **options)
        notifier.subscribe(channel)(print)
        notifier.start()
        return notifier

    same(raises(NotifydError, lambda: start('nothing'), 'no such channel').code, -32004, 'its code')
    same(raises(NotifydError, lambda: start('users', token=os.environ['EXPIRED']), 'an expired token').code, 4401, 'its code')
    database.execute("SELECT notify_watch('secrets')")
    same(raises(NotifydError, lambda: start('secrets'), 'no privilege').code, -32003, 'its code')
    wrong = Notifier(None, URL.replace('/ws', '/nonsense'))
    wrong.subscribe('users')(print)
    same(raises(NotifydError, wrong.start, 'no such path').code, 404, 'its status')
    for url, code, text in ((URL.replace('ws:', 'http:'), 400, 'ws or wss'), (URL.replace('/ws', '/'), 200, '/ws')):
        wrong = Notifier(None, url)
        wrong.subscribe('users')(print)
        error = raises(NotifydError, wrong.start, f'no WebSocket: {url}')
        same((error.code, text in str(error)), (code, True), 'and it says what is wrong')
    wrong = Notifier(None, URL)
    wrong.subscribe('users', filters='nothing=eq.1')(print)
    error = raises(NotifydError, wrong.start, 'a filter with a column that does not exist')
    same('"users"' in str(error) and '"nothing"' in str(error), True, 'the error names the channel')
    raises(RuntimeError, lambda: asyncio.run(twice()), 'start twice')

    tokens = [os.environ['EXPIRED'], os.environ['TOKEN']]
    seen = []
    notifier = Notifier(None, URL, token=lambda: tokens.pop(0))
    notifier.subscribe('secrets')(lambda event: seen.append(event.id))
    with notifier:
        database.execute('INSERT INTO secrets VALUES (1)')
        wait_for(lambda: seen, 'an event')
        ok(not tokens, 'a function makes another token')
        database.execute('REVOKE SELECT ON secrets FROM customer')
        wait_for(lambda: 'subscription to channel "secrets" has ended' in log.text, 'the end of the subscription')
        ok(True, 'the end of a subscription is logged')
    database.execute("SELECT notify_unwatch('secrets')")


async def twice():
    async with Notifier(None, URL) as notifier:
        await notifier.astart()


def registered():
    seen = []

    @post_insert_listener(User)
    def inserted(old, new):
        seen.append(('insert', old, new.id, new.mail, new.balance, new.born, type(new)))

    @post_update_listener(User, filters=[{'column': 'mail', 'value': 'a'}])
    async def updated(old, new, event, context):
        seen.append(('update', old.name, new.name, event.id, context))

    @post_delete_listener('users')
    def deleted(old):
        seen.append(('delete', old['id'], old['born']))

    @post_truncate_listener('users')
    def truncated():
        seen.append(('truncate',))
        raise KeyError('of a listener')

    notifier = Notifier(DSN, URL)
    notifier.add_listeners()
    listeners.registered.clear()
    with notifier:
        database.execute("INSERT INTO users VALUES (1, 'a', 'Ann', 1.5, '2000-01-01')")
        with database.transaction():
            database.execute("""SET LOCAL pg_notifyd.context = '{"user": 7}'""")
            database.execute("UPDATE users SET name = 'Eve'")
        database.execute('DELETE FROM users')
        database.execute('TRUNCATE users')
        wait_for(lambda: len(seen) == 4, 'four calls')
        wait_for(lambda: 'error in registered.<locals>.truncated\n' in log.text, 'the name of a listener with an error in the log')
    born = datetime.date(2000, 1, 1)
    same(seen[0], ('insert', None, 1, 'a', decimal.Decimal('1.5'), born, User), 'a listener of INSERT, with a model')
    same(seen[1], ('update', 'Ann', 'Eve', 1, {'user': 7}), 'of UPDATE, with old, new and the context')
    same(seen[2], ('delete', 1, '2000-01-01'), 'of DELETE, with a dict')
    same(seen[3], ('truncate',), 'and of TRUNCATE')


class Log(logging.Handler):
    text = ''

    def emit(self, record):
        self.text += self.format(record) + '\n'


log = Log()
logging.getLogger('pg_notifyd').addHandler(log)
logging.getLogger('pg_notifyd').propagate = False
watches()
asyncio.run(asynchronous())
messages()
positions()
refusals()
registered()
