// wamp_gateways.mjs MODULES PORT SESSIONS: sessions of AutobahnJS that subscribe to a table, reconnect, and go on where they were.
// After each change it prints what they have: how many are open, how often they have joined, and the keys of their events.
import { createRequire } from 'node:module';

const [, , modules, port, number] = process.argv;
const require = createRequire(import.meta.url);
// Node's own does not say that a connection was refused, so AutobahnJS would not try again.
globalThis.WebSocket = class extends require(`${modules}/ws`)
{
	constructor(...args)
	{
		super(...args);
		this.on('error', () => {});	// the close follows
	}
};
const autobahn = require(`${modules}/autobahn`);

const all = Array.from({ length: Number(number) }, () => ({ open: false, joined: 0, keys: [] }));
const print = () => console.log(JSON.stringify(all.map(({ open, joined, keys }) => ({ open, joined, keys }))));

for (const one of all)
{
	const connection = new autobahn.Connection({ url: `ws://127.0.0.1:${port}/ws`, realm: 'postgres', max_retries: -1, initial_retry_delay: 0.1, max_retry_delay: 0.5 });
	connection.onopen = async session =>
	{
		await session.subscribe('com.shop.orders', (args, { op, key, reason, position }) =>
		{
			one.position = position;
			one.keys.push(op === 'INSERT' ? key.id : `${op} ${reason}`);
			print();
		}, one.position ? { x_since: one.position } : {});
		one.open = true;
		one.joined++;
		print();
	};
	connection.onclose = () =>
	{
		one.open = false;
		print();
	};
	connection.open();
}
