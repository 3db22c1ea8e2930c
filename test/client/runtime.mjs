// runtime.mjs LIBRARY PORT TOKEN [WS]: what the library does, in any runtime. WS is a module with a WebSocket.
import { is, ok, until } from './tap.mjs';

const [, , library, port, token, ws] = process.argv;
const { connect } = await import(library);
const options = ws ? { WebSocket: (await import(ws)).default } : {};
const db = connect(`http://localhost:${port}/`, { ...options, token: async () => token, bigint: true });
const messages = [], large = '9223372036854775807';

const table = db.table('orders', { order: 'id.desc' });
is(await table.ready, table, 'the rows of a table');
const news = db.subscribe('news', ({ payload, by }) => messages.push({ payload, by }));
await news.ready;
is(db.state, 'open', 'state');

is(await db.call('place_order', { id: large, name: 'Burger' }), large, 'a call, whose result is a large number');
await until(() => table.rows.length === 2, 'the order');
is(table.rows, [{ id: large, name: 'Burger' }, { id: 1, name: 'Lemonade' }], 'its row');
is(await db.call('place_order', { id: 1, name: 'x' }).catch(({ code, data }) => [code, data.sqlstate]), [-32012, '23505'], 'an error of PostgreSQL');
is(await db.call('nothing').catch(({ code }) => code), -32004, 'an unknown function');

await db.send('news', { text: 'é' });
await until(() => messages.length, 'the message');
is(messages, [{ payload: { text: 'é' }, by: 'web' }], 'a message');

const ids = [], since = table.position;
await db.call('place_order', { id: 2, name: 'Fries' });
for await (const { events } of db.transactions('orders', { since }))
{
	ids.push(...events.map(({ key }) => key.id));
	break;
}
is(ids, [2], 'transactions()');
table.close();
is(await db.subscribe('nowhere', () => {}, { onError: () => {} }).ready.catch(({ code }) => code), -32004, 'an unknown channel');
db.close();
is(db.state, 'closed', 'the end');

const bad = connect(`ws://localhost:${port}/ws`, { ...options, token: `${token}x` });
await until(() => bad.state === 'closed', 'the refused token');
ok(bad.error.code === 4401, `a refused token: ${bad.error.message}`);
