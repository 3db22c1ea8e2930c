// The library against a server and a clock of this test: library.mjs FILE, the library's.
import { is, ok } from './tap.mjs';
import { advance, FakeWebSocket, last, settle, sockets } from './fake.mjs';

const { connect } = await import(process.argv[2]);
const base = { WebSocket: FakeWebSocket, idle: 1e9 };
const url = 'ws://localhost:7432/ws';

// The longest waits
Math.random = () => 1 - Number.EPSILON;

async function test(name, f)
{
	sockets.length = 0;
	try
	{
		await f(name);
	}
	catch (error)
	{
		ok(false, `${name}: ${error.stack}`.replace(/\n/g, ' '));
	}
}

// A connection that the server has accepted
function opened(options, before)
{
	const db = connect(url, { ...base, ...options });
	before?.(db);
	last().accept();
	return db;
}

let lastId = 100;
const position = id => `1-${id}`;
const orders = { schema: 'public', table: 'orders', channel: 'orders' };

// The events of a transaction, each { op, key, new, old }; of: more than these, for other channels.
function transaction(tx, changes, of = changes.length)
{
	const first = lastId + 1;
	lastId += of;
	return changes.map((change, i) =>
		({ ...orders, id: first + i, position: position(first + i), tx, seq: i + 1, of, at: '2026-01-01T00:00:00+00:00', ...change }));
}

const put = (row, op = 'INSERT') => ({ op, key: { id: row.id }, new: row });
const gone = id => ({ op: 'DELETE', key: { id } });
const say = events => events.forEach(event => last().notify('event', event));

// The rows of a snapshot
function rows(list, more)
{
	last().notify('rows', { ...orders, key: ['id'], rows: list, ...more });
	last().notify('rows', { channel: 'orders', done: true, position: position(lastId), rows: [], ...more });
}

await test('addresses', async (name) =>
{
	const address = (given, options) =>
	{
		connect(given, { ...base, ...options }).close();
		return last().url;
	};
	is(address('ws://localhost:7432/ws'), 'ws://localhost:7432/ws', `${name}: that of the WebSocket`);
	is(address('https://shop.example/live/page.html?tab=2#top'), 'wss://shop.example/live/ws', `${name}: that of a page`);
	is(address('http://localhost:7432', { database: 'a b', bigint: true }), 'ws://localhost:7432/ws?database=a+b&bigint=string',
		`${name}: with database and bigint`);
	is(address('ws://localhost/ws?database=shop'), 'ws://localhost/ws?database=shop', `${name}: with a database in it`);
});

await test('states', async (name) =>
{
	const seen = [];
	const db = connect(url, base);
	db.on('state', ({ state, error }) => seen.push(error ? `${state}: ${error.code}` : state));
	is(db.state, 'connecting', `${name}: at first`);
	last().open();
	is(db.state, 'connecting', `${name}: not open until the server has answered`);
	last().answer('ping', { position: '1-1' });
	last().end(1012, 'the gateway is restarted');
	is([db.state, db.retryAt > Date.now(), db.error.message], ['waiting', true, 'the gateway is restarted'], `${name}: waiting`);
	await advance(1000);
	last().accept();
	db.close();
	db.close();
	is(seen, ['open', 'waiting: 1012', 'connecting: 1012', 'open', 'closed'], `${name}: all of them`);
	ok(last().closed, `${name}: close() closes the socket`);
	await advance(100000);
	is(sockets.length, 2, `${name}: and there is no other`);
});

await test('back-off', async (name) =>
{
	const waits = [];
	const db = connect(url, base);
	for (let i = 0; i < 8; i++)
	{
		const end = Date.now();
		const count = sockets.length;
		last().end(1006);
		while (sockets.length === count)
			await advance(1);
		waits.push(Math.round((last().openedAt - end) / 100) * 100);
	}
	is(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000], `${name}: longer each time, up to a limit`);

	// Open, but not longer than one would wait now: no reason to hurry
	last().accept();
	await advance(10000);
	let end = Date.now();
	last().end(1001);
	await advance(29990);
	is(sockets.length, 9, `${name}: a connection that did not last changes nothing`);
	await advance(1000);
	last().accept();
	await advance(31000);
	end = Date.now();
	last().end(1001);
	await advance(600);
	is(sockets.length, 11, `${name}: after one that lasted, it begins again`);
	db.close();

	const random = Math.random;
	Math.random = () => 0.25;
	const other = connect(url, base);
	end = Date.now();
	last().end(1006);
	is(other.retryAt - end, 125, `${name}: a random part`);
	Math.random = random;
	other.close();
});

await test('close codes', async (name) =>
{
	for (const code of [1002, 1003, 1007, 1009])
	{
		const db = opened();
		last().end(code, 'why');
		is([db.state, db.error.code, db.error.message], ['closed', code, 'why'], `${name}: ${code} is fatal`);
	}
	for (const code of [1000, 1001, 1005, 1006, 1008, 1011, 1012, 4008, 4503])
	{
		const db = opened();
		last().end(code);
		is(db.state, 'waiting', `${name}: ${code} may pass`);
		db.close();
	}
	const db = opened();
	const call = db.call('f', { text: 'long' }).catch(error => error.code);
	last().end(1009);
	is([db.state, await call], ['waiting', 1009], `${name}: 1009 for a call ends the call only`);
	db.close();
});

const jwt = claims => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
const seconds = () => Math.floor(Date.now() / 1000);

await test('tokens', async (name) =>
{
	let db = opened({ token: 'abc' });
	is(last().protocols, ['pg_notifyd.v1', 'bearer.abc'], `${name}: one as a subprotocol`);
	last().end(4001, 'the token has expired');
	is([db.state, db.error.code], ['closed', 4001], `${name}: a text that has expired is fatal`);

	for (const code of [4001, 4401])
	{
		let count = 0;
		db = connect(url, { ...base, token: async () => `t${++count}` });
		await settle();
		last().accept();
		is(last().protocols[1], 'bearer.t1', `${name}: of a function`);
		last().end(code);
		await advance(1000);
		is([db.state, last().protocols[1]], ['connecting', 'bearer.t2'], `${name}: a fresh one after ${code}`);
		last().accept();
		last().end(code);
		await advance(2000);
		is([db.state, last().protocols[1]], ['connecting', 'bearer.t3'], `${name}: again after it was accepted`);
		last().open();
		last().end(code, 'no');
		is([db.state, db.error.message, count], ['closed', 'no', 3], `${name}: refused twice is fatal`);
	}

	let broken = true;
	db = connect(url, { ...base, token: async () => { if (broken) throw new Error('no network'); return 'good'; } });
	await settle();
	is([db.state, db.error.message], ['waiting', 'no network'], `${name}: a function that fails is called again`);
	broken = false;
	await advance(1000);
	is(last().protocols[1], 'bearer.good', `${name}: later`);
	db.close();

	db = connect(url, base);
	last().open();
	last().refuse('ping', -32001);
	is([db.state, db.error.code], ['closed', 4401], `${name}: missing, where one is needed`);
});

await test('renewal', async (name) =>
{
	let lifetime = 100, subject = 1;
	const db = connect(url, { ...base, token: async () => jwt({ sub: subject, exp: seconds() + lifetime }) });
	await settle();
	last().accept();
	db.subscribe('orders', () => {});
	await advance(79000);
	is(last().requests('auth').length, 0, `${name}: not too early`);
	await advance(2000);
	is(last().requests('auth').length, 1, `${name}: before it expires`);
	last().answer('auth', { role: 'web', expires_at: null });
	await advance(81000);
	is(last().requests('auth').length, 2, `${name}: again and again`);
	is([db.state, sockets.length], ['open', 1], `${name}: on the same connection`);

	subject = 2;
	last().refuse('auth', -32001);
	ok(last().closed, `${name}: that of somebody else needs another connection`);
	await advance(1000);
	is([sockets.length, db.state], [2, 'connecting'], `${name}: which follows`);
	last().accept();
	is(last().requests('subscribe').length, 1, `${name}: with the subscriptions`);
	db.close();

	// A clock that is ahead by an hour
	const ahead = connect(url, { ...base, token: async () => jwt({ iat: seconds() - 3600, exp: seconds() - 3600 + lifetime }) });
	await settle();
	last().accept();
	await advance(70000);
	is(last().requests('auth').length, 0, `${name}: not all the time where the clock is wrong`);
	await advance(20000);
	is(last().requests('auth').length, 1, `${name}: but in time`);
	ahead.close();
	lifetime = 1e9;
	const long = connect(url, { ...base, token: async () => jwt({ exp: seconds() + lifetime }) });
	await settle();
	last().accept();
	await advance(10000);
	is(last().requests('auth').length, 0, `${name}: a token for 30 years`);
	long.close();
});

await test('positions', async (name) =>
{
	const db = connect(url, base);
	const seen = [];
	const a = db.subscribe('orders', ({ id }) => seen.push([id, a.position]), { filter: 'id=gt.1' });
	const b = db.subscribe('other', () => {}, { since: '1-50', onPosition: () => seen.push('bookmark') });
	const c = db.subscribe('third', () => {}, { since: null });
	last().open();
	is(last().requests('subscribe').map(({ params }) => params),
		[{ channel: 'orders', filter: 'id=gt.1' }, { channel: 'other', since: '1-50' }, { channel: 'third' }],
		`${name}: since, where one is given`);
	last().answer('ping', { position: '1-60' });
	const [first, second] = last().requests('subscribe');
	last().say({ id: first.id, result: { channel: 'orders', position: '1-60' } });
	last().say({ id: second.id, result: { channel: 'other', position: '1-50' } });
	await a.ready;
	const [event, next] = transaction(1, [put({ id: 2 }), put({ id: 3 })]);
	last().notify('event', event);
	last().notify('event', next);
	is(seen, [[event.id, '1-60'], [next.id, event.position]], `${name}: of an event, when it has been processed`);
	is([a.position, b.position], [next.position, '1-50'], `${name}: each subscription has its own`);
	last().notify('position', { position: '1-900' });
	is([a.position, b.position, c.position], ['1-900', '1-900', undefined], `${name}: a bookmark moves those that have begun`);
	is(seen.at(-1), 'bookmark', `${name}: and is reported`);
	last().end(4008, 'too slow; resume from 1-1');
	await advance(1000);
	last().open();
	is(last().requests('subscribe').map(({ params }) => params.since), ['1-900', '1-900', undefined], `${name}: resumed`);
	last().answer('ping', { position: '1-901' });
	last().notify('position', { position: '1-999' });
	is(a.position, '1-900', `${name}: a bookmark does not move those that have not resumed yet`);
	last().answer('subscribe', { channel: 'third', position: '1-901' });
	a.unsubscribe();
	b.unsubscribe();
	c.unsubscribe();
	is(last().requests('unsubscribe').map(({ params }) => params), [{ channel: 'orders' }, { channel: 'other' }, { channel: 'third' }],
		`${name}: unsubscribed`);
	db.close();
});

await test('handlers that fail', async (name) =>
{
	const errors = [];
	const { setTimeout } = globalThis;
	globalThis.setTimeout = (f, ...more) => setTimeout(() => { try { f(); } catch (error) { errors.push(error.message); } }, ...more);
	const db = opened({}, (it) => it.subscribe('orders', () => { throw new Error('mine'); }));
	say(transaction(1, [put({ id: 1 }), put({ id: 2 })]));
	await advance(1);
	is(errors, ['mine', 'mine'], `${name}: are reported, and get the next event`);
	globalThis.setTimeout = setTimeout;
	db.close();
});

await test('several subscriptions to a channel', async (name) =>
{
	const seen = [];
	const db = opened();
	const add = (label) =>
	{
		const sub = db.subscribe('orders', () => seen.push(label));
		const { tag } = last().requests('subscribe').at(-1).params;
		last().answer('subscribe', { channel: 'orders', tag, position: position(lastId) });
		return Object.assign(sub, { tag });
	};
	const first = add('first'), second = add('second');
	ok(first.tag === undefined && second.tag, `${name}: only the first has no tag`);
	const [event] = transaction(1, [put({ id: 1 })]);
	last().notify('event', { ...event, tag: second.tag });
	last().notify('event', event);
	is(seen, ['second', 'first'], `${name}: each gets its own`);
	first.unsubscribe();
	is(last().requests('unsubscribe').length, 0, `${name}: without a tag, all of the channel would end`);
	last().notify('event', event);
	is(seen.length, 2, `${name}: but its events are ignored`);
	const third = add('third');
	ok(third.tag && third.tag !== second.tag, `${name}: the next has another tag`);
	second.unsubscribe();
	third.unsubscribe();
	is(last().requests('unsubscribe').map(({ params }) => params), [{ channel: 'orders', tag: second.tag }, { channel: 'orders' }],
		`${name}: one by its tag, and with the last one all`);

	// The old one's events until the reply are not the new one's.
	db.subscribe('orders', () => seen.push('new'));
	is(last().requests('subscribe').at(-1).params.tag, undefined, `${name}: again without a tag`);
	last().notify('event', event);
	last().answer('unsubscribe', { channel: 'orders' });
	last().answer('subscribe', { channel: 'orders', position: position(lastId) });
	is(seen.length, 2, `${name}: events before the reply are those of an old subscription`);
	last().notify('event', transaction(2, [put({ id: 2 })])[0]);
	is(seen.at(-1), 'new', `${name}: and then come its own`);
	db.close();
});

await test('errors of subscriptions', async (name) =>
{
	const errors = [];
	const db = opened({}, (it) => it.on('error', ({ code }) => errors.push(`db ${code}`)));
	const refused = db.subscribe('orders', () => {}, { onError: ({ code, data }) => errors.push(`${code} ${data.channel}`) });
	const rejected = refused.ready.then(() => 'ready', ({ code }) => code);
	last().refuse('subscribe', -32004, { channel: 'orders' });
	is([errors, await rejected], [['-32004 orders'], -32004], `${name}: fatal ones are reported once`);
	await advance(100000);
	is(last().requests('subscribe').length, 1, `${name}: and not tried again`);

	const seen = [];
	db.subscribe('orders', ({ id }) => seen.push(id));
	last().refuse('subscribe', -32011);
	await advance(2000);
	is(last().requests('subscribe').length, 3, `${name}: busy ones are`);
	last().answer('subscribe', { channel: 'orders', position: '1-7' });
	last().notify('error', { code: -32603, message: 'the worker ended', data: { channel: 'orders' } });
	await advance(2000);
	is(last().requests('subscribe').at(-1).params.since, '1-7', `${name}: one that has ended goes on where it was`);
	last().answer('subscribe', { channel: 'orders', position: '1-7' });
	last().notify('error', { code: -32012, message: 'no space', data: { channel: 'orders', sqlstate: '53100' } });
	await advance(5000);
	last().answer('subscribe', { channel: 'orders', position: '1-7' });
	is(last().requests('subscribe').length, 5, `${name}: also without resources`);
	last().notify('error', { code: -32003, message: 'no longer', data: { channel: 'orders' } });
	is(errors.at(-1), 'db -32003', `${name}: without a listener of its own, the connection's has it`);
	await advance(100000);
	db.close();
	is(sockets[0].requests('subscribe').length, 5, `${name}: privileges do not come back by themselves`);
	const late = db.subscribe('orders', () => {});
	await advance(1);
	is(await late.ready.then(() => 'ready', error => error.message), 'the connection was closed', `${name}: after close()`);
});

await test('subscriptions that are tried again', async (name) =>
{
	const { error: write } = console, written = [], tried = [];
	console.error = text => written.push(text);
	const db = opened();
	const orders = db.table('orders');
	for (let attempt = 1; attempt <= 2; attempt++, await advance(5000))
		last().refuse('subscribe', -32011);
	is([written, orders.error], [Array(2).fill('pg_notifyd: error -32011'), undefined], `${name}: the console says why nothing comes`);
	db.subscribe('dishes', () => {}, { onRetry: ({ code }) => tried.push(code) });
	for (let attempt = 1; attempt <= 2; attempt++, await advance(5000))
		last().refuse('subscribe', -32603);
	is([tried, written.length], [[-32603, -32603], 2], `${name}: onRetry has it instead`);
	db.close();
	console.error = write;
});

/* ---------------- tables ---------------- */

// A table with these rows, and what was visible at each change
async function shown(options, list, connection)
{
	const db = opened(connection);
	const table = db.table('orders', options);
	const seen = [];
	table.on('change', () => seen.push(table.rows.map(({ id }) => id)));
	last().answer('subscribe', { channel: 'orders', position: `${position(lastId)}s` });
	rows(list);
	await table.ready;
	return { db, table, seen };
}

await test('a table', async (name) =>
{
	const { db, table, seen } = await shown({ filter: 'id=gt.0', columns: ['id', 'n'], order: 'n.desc' }, [{ id: 1, n: 5 }, { id: 2, n: 4 }]);
	is(last().requests('subscribe')[0].params, { channel: 'orders', filter: 'id=gt.0', columns: ['id', 'n'],
		ops: ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'], snapshot: { order: 'n.desc' } }, `${name}: what it asks for`);
	const before = table.getSnapshot();
	ok(before === table.rows && before === table.getSnapshot(), `${name}: the same array until it changes`);
	say(transaction(1, [put({ id: 3, n: 9 }), put({ id: 2, n: 6 }, 'UPDATE'), gone(1)]));
	is([table.rows, before], [[{ id: 3, n: 9 }, { id: 2, n: 6 }], [{ id: 1, n: 5 }, { id: 2, n: 4 }]], `${name}: another one then`);
	is(seen.length, 2, `${name}: one change for a transaction`);
	is([table.get(2), table.get({ id: 3 }), table.get(1)], [{ id: 2, n: 6 }, { id: 3, n: 9 }, undefined], `${name}: get()`);
	const kept = table.get(3);
	say(transaction(2, [{ ...put({ id: 8, n: 6 }, 'UPDATE'), old: { id: 2 } }]));
	is([table.get(2), table.rows.map(({ id }) => id)], [undefined, [3, 8]], `${name}: an UPDATE of the key`);
	ok(table.get(3) === kept, `${name}: rows that have not changed are the same`);
	const calls = [];
	const off = table.subscribe(list => calls.push(list.length));
	say(transaction(3, [{ op: 'TRUNCATE' }, put({ id: 4, n: 1 })]));
	is([seen.at(-1), calls], [[4], [2, 1]], `${name}: TRUNCATE`);
	off();
	say(transaction(4, [gone(4)]));
	is([seen.at(-1), calls.length], [[], 2], `${name}: subscribe() ends`);
	table.close();
	is(last().requests('unsubscribe').length, 1, `${name}: close() unsubscribes`);
	db.close();
});

await test('transactions', async (name) =>
{
	const { db, seen, table } = await shown({}, []);
	seen.length = 0;

	// Part of a larger one: what ends it?
	const part = tx => say(transaction(tx, [put({ id: tx })], 3));
	const pings = () => last().requests('ping').length;
	part(1);
	is(seen, [], `${name}: nothing of an unfinished one is visible`);
	part(2);
	is(seen, [[1]], `${name}: the next one ends it`);
	last().notify('position', { position: position(lastId - 1) });
	is(seen.length, 1, `${name}: a bookmark from within it does not`);
	last().notify('position', { position: position(lastId) });
	is(seen, [[1], [1, 2]], `${name}: one from its end does`);
	const before = pings();
	part(3);
	await advance(1);
	is(pings(), before + 1, `${name}: else the client asks`);
	last().answer('ping', { position: position(lastId - 1) });
	is(seen.length, 2, `${name}: an answer from within it does not end it`);
	await advance(1000);
	is(pings(), before + 2, `${name}: so it asks again`);
	last().answer('ping', { position: `${position(lastId)}s` });
	is(seen.length, 2, `${name}: neither does one from within a snapshot`);
	await advance(1000);
	last().answer('ping', { position: position(lastId) });
	is(seen.at(-1), [1, 2, 3], `${name}: one from its end does`);
	await advance(10000);
	is(pings(), before + 3, `${name}: and then there is nothing to ask`);

	// Across two connections
	const [one, two] = transaction(4, [put({ id: 4 }), put({ id: 5 })]);
	last().notify('event', one);
	last().end(1006);
	await advance(1000);
	last().open();
	is(last().requests('subscribe')[0].params.since, one.position, `${name}: a connection is lost within one`);
	last().answer('ping', { position: position(lastId) });
	await advance(10);
	is([seen.length, pings()], [3, 2], `${name}: asked before it has resumed`);
	last().answer('ping', { position: position(lastId) });
	is(seen.length, 3, `${name}: which does not count`);
	last().answer('subscribe', { channel: 'orders', position: one.position });
	last().notify('event', two);
	is([seen.length, seen.at(-1)], [4, [1, 2, 3, 4, 5]], `${name}: the rest comes on the next one`);
	is(table.position, two.position, `${name}: its position`);
	db.close();
});

await test('resets', async (name) =>
{
	const { db, table, seen } = await shown({}, [{ id: 1 }, { id: 2 }]);
	const [half] = transaction(5, [put({ id: 6 })], 2);
	last().notify('event', half);
	last().notify('reset', { channel: 'orders', reason: 'too old', position: `${position(lastId)}s` });
	is([seen.length, table.rows.length], [1, 2], `${name}: the old rows stay for a moment`);
	last().notify('rows', { ...orders, key: ['id'], rows: [{ id: 3 }] });
	last().notify('reset', { channel: 'orders', reason: 'again', position: `${position(lastId)}s` });
	rows([{ id: 4 }]);
	is([seen.length, seen.at(-1)], [2, [4]], `${name}: then all new ones at once`);
	say(transaction(6, [put({ id: 5 })]));
	is(seen.at(-1), [4, 5], `${name}: what was unfinished before is not applied`);
	last().notify('reset', { channel: 'orders', reason: 'too old', position: `${position(lastId)}s` });
	last().notify('rows', { channel: 'orders', done: true, position: position(lastId), rows: [] });
	is(seen.at(-1), [], `${name}: there may be no rows any more`);

	// Lost within a snapshot
	last().notify('reset', { channel: 'orders', reason: 'too old', position: `${position(lastId)}s` });
	last().notify('rows', { ...orders, key: ['id'], rows: [{ id: 7 }] });
	last().end(1006);
	await advance(1000);
	last().accept();
	is(last().requests('subscribe')[0].params.since, `${position(lastId)}s`, `${name}: a position within a snapshot`);
	last().notify('reset', { channel: 'orders', reason: 'within', position: `${position(lastId)}s` });
	rows([{ id: 8 }]);
	is(seen.at(-1), [8], `${name}: the rows of the lost one are forgotten`);
	db.close();

	const resets = [];
	const other = opened({}, it => it.subscribe('orders', () => {}, { onReset: ({ reason }) => resets.push(reason) }));
	last().notify('reset', { channel: 'orders', reason: 'too old', position: '1-5' });
	last().end(1006);
	await advance(1000);
	last().open();
	is([resets, last().requests('subscribe')[0].params.since], [['too old'], '1-5'], `${name}: onReset`);
	other.close();
});

await test('what needs the rows again', async (name) =>
{
	const { db, seen, table } = await shown({}, [{ id: 1, n: 1 }]);
	say(transaction(7, [put({ id: 2, n: 2 }), { op: 'INSERT', key: { id: 3 }, truncated: true }]));
	is([seen.length, last().requests('unsubscribe').length], [1, 1], `${name}: an event without its row`);
	await advance(1000);
	is(last().requests('subscribe').at(-1).params.since, undefined, `${name}: a snapshot`);
	last().answer('subscribe', { channel: 'orders', position: `${position(lastId)}s` });
	is(table.rows.length, 1, `${name}: nothing else meanwhile`);
	rows([{ id: 1, n: 1 }, { id: 2, n: 2 }, { id: 3, n: 'long' }]);
	is(seen.at(-1), [1, 2, 3], `${name}: then it is right`);
	db.close();

	const keyless = opened();
	const all = keyless.table('orders');
	last().answer('subscribe', { channel: 'orders', position: `${position(lastId)}s` });
	rows([{ n: 1 }, { n: 1 }], { key: [] });
	is(all.rows, [{ n: 1 }, { n: 1 }], `${name}: a table without a key is shown`);
	say(transaction(8, [{ op: 'INSERT', key: {}, new: { n: 2 } }]));
	await advance(1000);
	is(last().requests('subscribe').length, 2, `${name}: each change of it needs a snapshot`);
	keyless.close();
});

await test('errors of tables', async (name) =>
{
	const errors = [];
	const db = opened({}, it => it.on('error', ({ code }) => errors.push(code)));
	const table = db.table('orders');
	last().refuse('subscribe', -32003, { channel: 'orders' });
	is([errors, table.error.code, await table.ready.catch(({ code }) => code)], [[-32003], -32003, -32003], `${name}: fatal`);
	const mine = db.table('orders');
	mine.on('error', ({ code }) => errors.push(`mine ${code}`));
	last().refuse('subscribe', -32013, { channel: 'orders' });
	is(errors.at(-1), 'mine -32013', `${name}: with a listener of its own`);
	db.close();
});

await test('order', async (name) =>
{
	const order = async (text, list, options) =>
	{
		const { db, seen } = await shown({ order: text, ...options }, [], { bigint: true });
		say(transaction(lastId, list.map((row, i) => put({ id: i, ...row }))));
		db.close();
		return seen.at(-1).join(' ');
	};
	is(await order('n', [{ n: 10 }, { n: 9 }, { n: null }, { n: -1 }]), '3 1 0 2', `${name}: numbers, NULL last`);
	is(await order('n.desc', [{ n: 10 }, { n: 9 }, { n: null }]), '2 0 1', `${name}: descending, NULL first`);
	is(await order('n.desc.nullslast,m', [{ n: 1, m: 2 }, { n: null }, { n: 1, m: 1 }]), '2 0 1', `${name}: several columns`);
	is(await order('n.asc.nullsfirst', [{ n: 1 }, { n: null }]), '1 0', `${name}: NULL first`);
	is(await order('n', [{ n: '9223372036854775807' }, { n: 5 }, { n: '-9007199254740993' }, { n: '9223372036854775806' }]), '2 1 3 0',
		`${name}: large integers`);
	is(await order('n', [{ n: 'NaN' }, { n: 1.5 }, { n: 'Infinity' }, { n: '-Infinity' }]).then(ids => ids.slice(0, 3)), '3 1',
		`${name}: special numbers`);
	is(await order('data->size', [{ data: { size: 10 } }, { data: { size: 9 } }]), '1 0', `${name}: inside JSON`);
	is(await order('data->>size', [{ data: { size: 10 } }, { data: { size: 9 } }]), '0 1', `${name}: as text`);
	is(await order('"a.b,c".desc', [{ 'a.b,c': 1 }, { 'a.b,c': 2 }]), '1 0', `${name}: a name in quotes`);
	is(await order('t', [{ t: '2026-01-01T00:00:00.5+00:00' }, { t: '2026-01-01T00:00:00+00:00' }]), '1 0', `${name}: times`);
	is(await order('t', [{ t: 'b' }, { t: 'A' }, { t: 'a' }, { t: 'B' }]), '1 3 2 0', `${name}: text by its codes`);
	is(await order('t', [{ t: 'b' }, { t: 'A' }, { t: 'a' }], { compareText: new Intl.Collator('en').compare }), '2 1 0',
		`${name}: text by a collation`);
	is(await order('flag.desc', [{ flag: false }, { flag: true }]), '1 0', `${name}: booleans`);

	// The rows of the snapshot show that the database uses a collation.
	const { db, seen } = await shown({ order: 't' }, [{ id: 1, t: 'a' }, { id: 2, t: 'B' }]);
	say(transaction(1, [put({ id: 3, t: 'Ab' })]));
	is(seen.at(-1), [1, 3, 2], `${name}: text in the order of the snapshot`);
	db.close();
});

/*
 * A server with a table of its own, whose client must show the first rows after each transaction, or none new. Rows that the
 * window has not seen, ties, and moves of rows in all directions are likely.
 */
await test('limit', async (name) =>
{
	const all = new Map();
	const first = n => [...all.values()].sort((a, b) => b.n - a.n || a.id - b.id).slice(0, n);
	let seed = 7, wrong = 0, shownCount = 0, asked = 0;
	const random = n => ((seed = Math.imul(seed, 1664525) + 1013904223 >>> 0) >>> 8) % n;

	for (let i = 0; i < 60; i++)
		all.set(i, { id: i, n: random(40) });
	const db = opened();
	const table = db.table('orders', { order: 'n.desc,id', limit: 10 });
	const check = () =>
	{
		shownCount++;
		wrong += JSON.stringify(table.rows) !== JSON.stringify(first(10));
	};
	table.on('change', check);
	for (let round = 0; round < 3000; round++)
	{
		const requests = last().requests('subscribe');
		if (requests.length > asked)
		{
			asked = requests.length;
			const { params } = requests.at(-1);
			last().answer('subscribe', { channel: 'orders', position: `${position(lastId)}s` });
			rows(first(params.snapshot.limit));
		}
		const changes = Array.from({ length: 1 + random(3) }, () =>
		{
			const id = random(200);
			const known = all.has(id);
			if (random(2000) === 0)
			{
				all.clear();
				return { op: 'TRUNCATE' };
			}
			// More rows leave than come for a while, and then the other way round
			if (random(100) < (round % 600 < 300 ? 85 : 20))
				return known && all.delete(id) && gone(id);
			const row = { id, n: random(40) };
			all.set(id, row);
			return put(row, known ? 'UPDATE' : 'INSERT');
		}).filter(change => change);
		if (changes.length)
			say(transaction(round, changes));
		await advance(300);
	}
	is(wrong, 0, `${name}: the right rows at each change`);
	ok(shownCount > 2000, `${name}: ${shownCount} changes`);
	ok(asked > 1 && asked < 200, `${name}: ${asked} snapshots`);
	db.close();
});

/* ---------------- calls and transactions ---------------- */

await test('calls', async (name) =>
{
	const db = connect(url, base);
	const early = db.call('f', { a: 1 });
	const sent = db.send('news', { text: 'hi' });
	last().open();
	is(last().requests('call').length, 0, `${name}: wait for the connection`);
	last().answer('ping', { position: '1-1' });
	is([last().requests('call')[0].params, last().requests('send')[0].params],
		[{ name: 'f', args: { a: 1 } }, { channel: 'news', payload: { text: 'hi' } }], `${name}: then they are sent`);
	last().answer('call', [1, 2]);
	last().answer('send', {});
	is([await early, await sent], [[1, 2], {}], `${name}: results`);
	const failing = db.call('g').catch(({ code, data, message }) => ({ code, data, message }));
	last().refuse('call', -32012, { sqlstate: 'P0001' });
	is(await failing, { code: -32012, data: { sqlstate: 'P0001' }, message: 'error -32012' }, `${name}: errors`);
	const lost = db.call('h').catch(({ message }) => message);
	last().end(1001, 'the server stops');
	is(await lost, 'the server stops; the request was perhaps executed', `${name}: a connection that is lost`);
	const late = db.call('i').catch(({ message }) => message);
	for (let i = 0; i < 40; i++)
	{
		await advance(1000);
		if (last().readyState === 0)
			last().end(1006);
	}
	is(await late, 'there is no connection; the request was not sent', `${name}: too long without a connection`);
	const queued = db.call('j').catch(({ message }) => message);
	db.close();
	is([await queued, await db.call('k').catch(({ message }) => message)], ['the connection was closed', 'the connection is closed'],
		`${name}: after close()`);
});

await test('transactions()', async (name) =>
{
	const db = opened();
	const seen = [];
	let hold;
	const loop = (async () =>
	{
		for await (const tx of db.transactions('orders', { filter: 'id=gt.0', since: '1-9' }))
		{
			seen.push(tx.reset ?? `${tx.tx}: ${tx.events.length}`);
			await hold;
			if (tx.tx === 99)
				break;
		}
		return 'left';
	})();
	await settle();
	is(last().requests('subscribe')[0].params, { channel: 'orders', filter: 'id=gt.0', since: '1-9' }, `${name}: what it asks for`);
	last().answer('subscribe', { channel: 'orders', position: '1-9' });
	say(transaction(1, [put({ id: 1 }), put({ id: 2 })]));
	say(transaction(2, [put({ id: 3 })], 2));
	say(transaction(3, [put({ id: 4 })]));
	last().notify('event', { op: 'NOTIFY', channel: 'orders', payload: 'x' });
	last().notify('reset', { channel: 'orders', reason: 'too old', position: position(lastId) });
	await settle();
	is(seen, ['1: 2', '2: 1', '3: 1', 'undefined: 1', 'too old'], `${name}: whole ones, and resets`);

	let release;
	hold = new Promise((resolve) => { release = resolve; });
	for (let i = 10; i < 15; i++)
	{
		say(transaction(i, Array.from({ length: 300 }, (_, id) => put({ id })), 301));
		if (i === 11)
			await settle();			// the loop has the one before
	}
	is(last().requests('unsubscribe').length, 0, `${name}: an unfinished transaction`);
	const cut = transaction(15, [put({ id: 1 }), put({ id: 2 })]);
	last().notify('event', cut[0]);
	is(last().requests('unsubscribe').length, 1, `${name}: a slow loop stops the stream`);
	const stopped = lastId - 1;
	release();
	await advance(1);
	is([seen.slice(5), last().requests('subscribe').at(-1).params.since], [['10: 300', '11: 300', '12: 300', '13: 300', '14: 300'], position(stopped)],
		`${name}: which goes on when the loop has caught up`);
	last().answer('subscribe', { channel: 'orders', position: position(stopped) });
	last().notify('event', cut[1]);
	say(transaction(99, [put({ id: 1 })]));
	is([await loop, last().requests('unsubscribe').length], ['left', 2], `${name}: ends with the loop`);
	is(seen.slice(10), ['15: 2', '99: 1'], `${name}: a transaction is whole, although the stream stopped within it`);

	const failing = (async () => { for await (const tx of db.transactions('none')) void tx; })().catch(({ code }) => code);
	await settle();
	last().refuse('subscribe', -32004, { channel: 'none' });
	is(await failing, -32004, `${name}: throws what is fatal`);
	const ended = (async () => { for await (const tx of db.transactions('more')) void tx; return 'ended'; })();
	await settle();
	db.close();
	is(await ended, 'ended', `${name}: ends with the connection`);
});

await test('silence', async (name) =>
{
	const db = opened({ idle: 45000 });
	await advance(31000);
	is(last().requests('ping').length, 2, `${name}: the client asks`);
	last().answer('ping', { position: '1-200' });
	await advance(44000);
	is(sockets.length, 1, `${name}: an answer is enough`);
	await advance(20000);
	ok(sockets[0].closed && sockets.length === 2, `${name}: without one, another connection`);
	await advance(60000);
	ok(sockets.length > 2, `${name}: and another, if that is never accepted`);
	db.close();
});

process.exit(0);
