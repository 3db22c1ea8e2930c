// What applications in TypeScript write, for the compiler alone.
import { connect, type Transaction, type RowEvent } from '../../client/pg_notifyd.js';
interface Order { id: number; name: string }
const db = connect('ws://x/ws', { token: async () => 'x', database: 'shop', bigint: true });
const t = db.table<Order>('orders', { order: 'id.desc', limit: 3 });
t.on('change', ({ events, snapshot }) => { const e: RowEvent<Order> | undefined = events[0]; console.log(e?.new?.name, snapshot); });
const rows: readonly Order[] = t.getSnapshot(); const one: Order | undefined = t.get(1);
const sub = db.subscribe<Order>('orders', e => { if (e.op === 'INSERT') console.log(e.new!.name); else if (e.op === 'MESSAGE') console.log(e.payload, e.by); }, { onReset: r => r.reason, since: null });
for await (const tx of db.transactions<Order>('orders')) { if (tx.reset !== undefined) console.log(tx.reset); else console.log((tx as Transaction<Order>).events.length); }
const n: number = await db.call<number>('f', { a: 1 }); await db.send('x', { a: [1] });
db.on('state', ({ state, error, retryAt }) => console.log(state, error?.code, retryAt));
console.log(rows, one, sub.position, n);

