// kraftfahrstrasse.mjs LIBRARY PORT TOKEN: what kraftfahrstrasse does with tables, functions and other sessions.
import { createRequire } from 'node:module';
import { is, ok, until } from './tap.mjs';

const [, , library, port, token] = process.argv;
const { AnonymousAuthProvider, Connection, JSONSerializer, NodeWebSocketTransport, TicketAuthProvider, WampError } = createRequire(import.meta.url)(library);

// A connection that is open; complaints are what the library says at its highest level.
async function join(authProvider = new AnonymousAuthProvider(), realm = 'realm1')
{
	const complaints = [];
	const connection = new Connection({
		endpoint: `ws://127.0.0.1:${port}/ws`, realm, serializer: new JSONSerializer(), transport: NodeWebSocketTransport, authProvider,
		logFunction: (level, at, file, text) => level === 'ERROR' && complaints.push(text),
	});
	const details = await connection.Open();
	return { connection, details, complaints };
}
const ticket = text => new TicketAuthProvider('joe', async () => ({ signature: text }));
const refused = promise => promise.then(() => 'not refused', error => error.message ?? error);

// Sessions
const guest = await join();
is([guest.details.authrole, guest.details.authmethod], ['anonymous', 'anonymous'], 'a session without a token is anonymous');
const joe = await join(ticket(token));
is([joe.details.authid, joe.details.authrole, joe.details.authmethod], ['joe', 'web', 'ticket'], 'a token as ticket');
is(await refused(join(ticket(`${token}x`))), 'wamp.error.authentication_failed', 'a bad ticket');
is(await refused(join(undefined, 'missing')), 'wamp.error.no_such_realm', 'an unknown realm');

// Calls of functions. The library passes no more of an error than its name.
const call = ({ connection }, ...rest) => connection.Call(...rest)[0];
is((await call(guest, 'com.shop.add', [1, 2])).args, [3], 'a call by position');
is((await call(guest, 'com.shop.add', [], { a: 5, b: 6 })).args, [11], 'by name');
is((await call(joe, 'com.shop.who')).args, ['web'], 'as the role of the token');
is(await refused(call(guest, 'com.shop.nothing')), 'wamp.error.no_such_procedure', 'an unknown procedure');
is(await refused(call(guest, 'com.shop.add', ['x', 1])), 'wamp.error.invalid_argument', 'a bad argument');
is(await refused(call(guest, 'com.shop.fail')), 'wamp.error.runtime_error', 'an error of PostgreSQL');
is(await refused(call(guest, 'com.shop.place_order', [], { id: 1, name: 'x' })), 'wamp.error.not_authorized', 'no privilege');
async function results(first)
{
	const list = [];
	let result = await first;
	for (; result.nextResult; result = await result.nextResult)
		list.push(result.args[0]);
	return [list, result.args];
}
is(await results(call(guest, 'com.shop.numbers', [3], {}, { receive_progress: true })), [[1, 2, 3], []], 'a set in progress');

// Topics
const events = [];
for (const [topic, match] of [['com.shop.orders', 'exact'], ['com.shop.', 'prefix'], ['com..orders', 'wildcard']])
	await guest.connection.Subscribe(topic, (args, kwargs, { topic: name }) => events.push([match, name, args, kwargs.new]), { match });
is((await call(joe, 'com.shop.place_order', [], { id: 202, name: 'Tea' })).args, [202], 'a call that writes');
await until(() => events.length === 3, 'its event for three subscriptions');
const row = { id: 202, name: 'Tea' };
is(events.sort(), ['exact', 'prefix', 'wildcard'].map(match => [match, 'com.shop.orders', [], row]), 'an event of a table for each');
is(await refused(guest.connection.Subscribe('com.shop.secrets', () => {})), 'wamp.error.not_authorized', 'a topic without the privilege');

// Messages: to a topic that is declared, and to another one that a pattern allows
for (const topic of ['com.shop.news', 'com.chat.room'])
{
	const got = [];
	const subscription = await guest.connection.Subscribe(topic, (args, kwargs) => got.push([args, kwargs]));
	const publication = await joe.connection.Publish(topic, ['open'], { until: 18 }, { acknowledge: true });
	ok(await publication.OnPublished() > 0, `${topic}: an acknowledgement`);
	await until(() => got.length === 1, `the message of ${topic}`);
	is(got, [[['open'], { until: 18 }]], `${topic}: the arguments`);
	await subscription.Unsubscribe();
	is(await refused(guest.connection.Publish(topic, ['x'], {}, { acknowledge: true }).then(late => late.OnPublished())),
		'wamp.error.not_authorized', `${topic}: no privilege`);
}

// Procedures of clients
const steps = await joe.connection.Register('com.proc.steps', async (args, kwargs) =>
	({ args: [1], nextResult: Promise.resolve({ args: [args[0] * 2], kwArgs: { named: kwargs } }) }));
is(await results(call(guest, 'com.proc.steps', [21], {}, { receive_progress: true })), [[1], [42]], 'a client\'s procedure, in progress');
is((await call(guest, 'com.proc.steps', [2], { a: 'b' })).kwArgs, { named: { a: 'b' } }, 'its result');
await joe.connection.Register('com.proc.fails', async () => Promise.reject(new WampError('com.proc.error.empty', ['nothing left'])));
is(await refused(call(guest, 'com.proc.fails')), 'com.proc.error.empty', 'its error');
await joe.connection.Register('com.proc.endless', () => new Promise(() => {}));
for (const mode of ['skip', 'kill', 'killnowait'])
{
	const [endless, id] = guest.connection.Call('com.proc.endless');
	guest.connection.CancelCall(id, mode);
	is(await refused(endless), 'wamp.error.canceled', `a call that the caller cancels: ${mode}`);
}
is(await refused(call(guest, 'com.proc.endless', [], {}, { timeout: 50 })), 'wamp.error.timeout', 'a call with a time limit');
await steps.Unregister();
is(await refused(call(guest, 'com.proc.steps', [1])), 'wamp.error.no_such_procedure', 'a procedure that is gone');

is([guest.complaints, joe.complaints], [[], []], 'no complaints');
for (const { connection } of [guest, joe])
	is((await connection.Close()).code, 1000, 'GOODBYE');
