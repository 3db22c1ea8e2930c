/*
 * faults.mjs LIBRARY SECONDS SEED: live tables behind a proxy that disturbs them, while transactions are written and the server
 * restarts. At each change and at the end, a table is what SELECT returned at the end of that transaction.
 */
import { is, ok, until } from './tap.mjs';
import { proxy, randomness, restart, session, sql, token } from './database.mjs';

const [, , library, seconds, seed] = process.argv;
const { connect } = await import(library);
const random = randomness(seed);
const gateway = await proxy(random);

/* ---------------- writers ---------------- */

// What is compared: a table of the library, and the rows that it must have.
const views = {
	all: { options: {}, query: 'SELECT * FROM orders ORDER BY id' },
	some: {
		options: { filter: 'quantity=gt.5', order: 'name.desc,id', columns: ['id', 'name', 'quantity'] },
		query: `SELECT id, name, quantity FROM orders WHERE quantity > 5 ORDER BY name DESC, id`,
	},
	top: { options: { order: 'quantity.desc,id', limit: 5 }, query: 'SELECT * FROM orders ORDER BY quantity DESC, id LIMIT 5' },
	items: { channel: 'items', options: {}, query: 'SELECT * FROM items ORDER BY id' },
};
const statePart = name => `'${name}', coalesce((SELECT json_agg(v) FROM (${views[name].query}) v), '[]')`;
const stateQuery = `SELECT replace(json_build_object('tx', pg_current_xact_id()::text::bigint, 'step', nextval('steps'),
	${Object.keys(views).map(statePart).join(', ')})::text, E'\\n', '')`.replace(/\s+/g, ' ');

const states = new Map();			// by transaction
const steps = new Map();			// the steps at which a view had these rows
let writing = true, written = 0;

function note(line)
{
	if (!line.startsWith('{'))
		return;
	const state = JSON.parse(line);
	states.set(state.tx, state);
	for (const name of Object.keys(views))
	{
		const key = `${name} ${JSON.stringify(state[name])}`;
		steps.set(key, [...steps.get(key) ?? [], state.step]);
	}
	written++;
}

function change()
{
	const id = random(60), other = random(60), quantity = random(20);
	switch (random(15))
	{
		case 0: case 1: case 2:
			return `INSERT INTO orders VALUES (${id}, 'dish ${random(9)}', ${quantity}) ON CONFLICT (id) DO UPDATE SET quantity = ${quantity}`;
		case 3: case 4: case 5:
			return `UPDATE orders SET quantity = ${quantity}, name = 'dish ${random(9)}' WHERE id BETWEEN ${id} AND ${id + 3}`;
		case 6:
			return `UPDATE orders SET id = ${other} WHERE id = ${id} AND NOT EXISTS (SELECT FROM orders WHERE id = ${other})`;
		case 7: case 8:
			return `DELETE FROM orders WHERE id BETWEEN ${id} AND ${id + 1}`;
		case 9: case 10:
			return `INSERT INTO items VALUES (${id}, ${quantity}) ON CONFLICT (id) DO UPDATE SET n = items.n + 1`;
		case 11:
			return `DELETE FROM items WHERE id > ${id}`;
		case 12:
			return 'DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY quantity DESC LIMIT 7)';
		case 13:
			return `SELECT notify_send('orders', '{"a": 1}')`;
		default:
			return random(6) ? `SAVEPOINT s; DELETE FROM orders; ROLLBACK TO s` : random(4) ? 'DELETE FROM orders WHERE id % 2 = 0' : 'TRUNCATE orders';
	}
}

// One writes at a time, so that the end of each transaction has one state.
function writer()
{
	const psql = session((line) =>
	{
		note(line);
		if (line === 'done')
			next();
	}, () => writing && setTimeout(writer, 50));
	const next = () =>
	{
		if (!writing)
			return psql.stdin.end();
		const changes = Array.from({ length: 1 + random(4) }, change);
		psql.stdin.write(`BEGIN; SELECT pg_advisory_xact_lock(1); ${changes.join('; ')}; ${stateQuery}; COMMIT; SELECT pg_sleep(0.00${random(9)}); SELECT 'done';\n`);
	};
	next();
}

/* ---------------- clients ---------------- */

const seen = [];				// { view, tx, rows }
const problems = [];
const db = connect(`ws://127.0.0.1:${gateway.port}/ws`, {
	token: async () => token({ role: 'web', sub: 'one' }, 5),
	minDelay: 20, maxDelay: 500, idle: 3000,
});
let reconnections = 0;
db.on('state', ({ state }) => { reconnections += state === 'waiting'; });
db.on('error', ({ message }) => problems.push(message));

await sql(`INSERT INTO orders SELECT i, 'dish ' || i % 9, i % 20 FROM generate_series(0, 50) i`);
note(await sql(stateQuery));
const tables = {};
for (const [view, { channel = 'orders', options }] of Object.entries(views))
{
	const table = tables[view] = db.table(channel, options);
	let before = table.rows;
	table.on('change', (transaction) =>
	{
		// The same array for everybody, and another one than before
		if (table.rows === before || table.rows !== table.getSnapshot())
			problems.push(`${view}: the array is the old one`);
		before = table.rows;
		seen.push({ view, tx: transaction.tx, rows: JSON.stringify(table.rows) });
	});
}

// All transactions, once and in order, and what a client makes of them
const copy = new Map();
let lastId = 0, resets = 0;
(async () =>
{
	for await (const { reset, events } of db.transactions('orders', { ops: ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] }))
	{
		resets += Boolean(reset);
		for (const { id, op, key, old, new: row } of events)
		{
			if (id <= lastId)
				problems.push(`event ${id} after ${lastId}`);
			lastId = id;
			if (op === 'TRUNCATE')
				copy.clear();
			else
				copy.delete((old ?? key).id);
			if (row)
				copy.set(key.id, row);
		}
	}
})();

// The position of an event is stored after it has been processed.
let early = 0, told = 0;
const counted = db.subscribe('orders', ({ position }) =>
{
	told++;
	early += counted.position === position;
});

await Promise.all([counted.ready, ...Object.values(tables).map(table => table.ready)]);
JSON.parse(await sql(`SELECT coalesce(json_agg(o), '[]') FROM orders o`)).forEach(row => copy.set(row.id, row));

/* ---------------- the run ---------------- */

gateway.faulty = true;
writer();
writer();
const end = Date.now() + seconds * 1000;
await until(() => written > 100 && reconnections > 3, 'transactions and faults');
await restart('immediate');
await until(() => written > 300 && Date.now() > end - seconds * 500, 'transactions after a crash');
await restart('fast');
await until(() => written > 500 && reconnections > 20 && Date.now() > end, 'transactions after a restart');
gateway.faulty = false;
writing = false;

const expected = view => sql(`SELECT coalesce(json_agg(v), '[]') FROM (${views[view].query}) v`).then(text => JSON.stringify(JSON.parse(text)));
const final = {};
let last = '';
await until(async () =>
{
	const count = written;
	for (const view of Object.keys(views))
		final[view] = await expected(view);
	const text = JSON.stringify(final);
	const quiet = text === last && count === written && (await sql(`SELECT count(*) FROM pg_stat_activity WHERE state LIKE '%transaction%'`)) === '0';
	last = text;
	return quiet;
}, 'the end of the writers');
for (const [view, table] of Object.entries(tables))
	await until(() => db.state === 'closed' || JSON.stringify(table.rows) === final[view], `${view}: ${final[view]}, not ${JSON.stringify(table.rows)}`)
		.then(() => ok(db.state !== 'closed', `${view} is what SELECT returns at the end`), error => ok(false, error.message));
const copied = () => JSON.stringify([...copy.values()].sort((a, b) => a.id - b.id));
await until(() => resets || db.state === 'closed' || copied() === final.all, 'the copy').catch(() => {});
ok(copied() === final.all, 'and so is a copy made of transactions');

/* ---------------- what was visible ---------------- */

const reached = {};
let wrong = 0, compared = 0, unknown = 0;
for (const { view, tx, rows } of seen)
{
	const at = tx ? [states.get(tx)] : (steps.get(`${view} ${rows}`) ?? []).map(step => ({ step, [view]: JSON.parse(rows) }));
	if (tx && !at[0])
	{
		unknown++;			// the server ended after the commit, before it could say so
		continue;
	}
	const found = at.find(state => state.step >= (reached[view] ?? 0) && JSON.stringify(state[view]) === rows);
	compared++;
	if (found)
		reached[view] = found.step;
	else if (++wrong < 4)
		console.log(`# ${view} after ${tx ?? 'a snapshot'}: ${rows}, not ${JSON.stringify(at[0]?.[view])}`);
}
is(wrong, 0, 'at each change, a table is what SELECT returned after that transaction');
ok(compared > 300 && unknown < 20, `${compared} changes of tables by ${written} transactions`);
is(problems, [], 'no problems');
is([resets, early], [0, 0], 'no resets, and positions are stored after processing');
ok(told > 300, `${told} events of a subscription`);
console.log(`# ${reconnections} reconnections, ${JSON.stringify(gateway.faults)}`);

/* ---------------- a position that is no longer kept ---------------- */

gateway.close();
await until(() => db.state === 'waiting', 'the loss of the connection');
await sql(`ALTER SYSTEM SET pg_notifyd.retention = '100ms'`);
await sql('SELECT pg_reload_conf()');
await until(async () =>
{
	await sql(`INSERT INTO orders VALUES (1000, 'last', 1000) ON CONFLICT (id) DO UPDATE SET quantity = orders.quantity + 1`);
	return Number(await sql(`SELECT split_part(oldest, '-', 2) FROM notifyd.stats WHERE kind = 'database' AND name = 'postgres'`)) > lastId;
}, 'retention');
const before = seen.length;
gateway.closed = false;
for (const view of Object.keys(views))
	final[view] = await expected(view);
for (const [view, table] of Object.entries(tables))
	await until(() => db.state === 'closed' || JSON.stringify(table.rows) === final[view], `${view} after a reset`)
		.then(() => ok(db.state !== 'closed', `${view} is what SELECT returns after a reset`), error => ok(false, error.message));
ok(seen.slice(before).some(({ view, tx }) => view === 'all' && !tx), 'by a new snapshot');
await until(() => resets, 'reset').catch(() => {});
is(resets, 1, 'transactions() has the reset');
db.close();
process.exit(0);
