// wamp.mjs LIBRARY PORT TOKEN: what AutobahnJS does with tables and functions, as its users write it.
import { createRequire } from 'node:module';
import { is, ok, until } from './tap.mjs';

const [, , library, port, token] = process.argv;
console.warn = () => {};	// AutobahnJS tells why connections end
const autobahn = createRequire(import.meta.url)(library);
const url = `ws://127.0.0.1:${port}/ws`;

// A session that is open, and what it ends with.
function join(options = {})
{
	const connection = new autobahn.Connection({ url, realm: 'realm1', max_retries: 0, ...options });
	const joined = new Promise((resolve, reject) =>
	{
		connection.onopen = (session, details) => resolve({ connection, session, details });
		connection.onclose = (reason, details) =>
		{
			reject({ reason, ...details });
			return true;	// no further attempt
		};
	});
	connection.open();
	return joined;
}
const withTicket = { authmethods: ['ticket'], authid: 'joe', onchallenge: () => token };
const withSecret = secret => ({
	authmethods: ['wampcra', 'ticket'], authid: 'jane',
	onchallenge: (session, method, { challenge, salt, iterations, keylen }) =>
		autobahn.auth_cra.sign(autobahn.auth_cra.derive_key(secret, salt, iterations, keylen), challenge)
});
const refused = promise => promise.then(() => 'not refused', error => error);

// Sessions
const { connection, session, details } = await join();
ok(Number.isInteger(session.id) && session.id > 0, 'a session without a token');
is([details.authrole, details.authmethod], ['anonymous', 'anonymous'], 'is anonymous');
const joe = await join(withTicket);
is([joe.details.authid, joe.details.authrole, joe.details.authmethod], ['joe', 'web', 'ticket'], 'a token as ticket');
is((await refused(join({ ...withTicket, onchallenge: () => `${token}x` }))).reason, 'wamp.error.authentication_failed', 'a bad ticket');
const jane = await join(withSecret('jäne\'s secret'));
is([jane.details.authid, jane.details.authrole, jane.details.authmethod], ['jane', 'web', 'wampcra'], 'a secret');
is(await jane.session.call('com.shop.who'), 'web', 'a call as the role of the user');
jane.connection.close();
is((await refused(join(withSecret('x')))).reason, 'wamp.error.authentication_failed', 'a wrong secret');
is((await refused(join({ realm: 'missing' }))).reason, 'wamp.error.no_such_realm', 'an unknown realm');

// Calls
is(await session.call('com.shop.add', [1, 2]), 3, 'a call by position');
is(await session.call('com.shop.add', [], { a: 5, b: 6 }), 11, 'by name');
is(await joe.session.call('com.shop.who'), 'web', 'as the role of the token');
is((await refused(session.call('com.shop.nothing'))).error, 'wamp.error.no_such_procedure', 'an unknown procedure');
is((await refused(session.call('com.shop.add', ['x', 1]))).error, 'wamp.error.invalid_argument', 'a bad argument');
const failure = await refused(session.call('com.shop.fail'));
is([failure.error, failure.args[0], failure.kwargs.sqlstate], ['wamp.error.runtime_error', 'not enough money', 'PT402'], 'an error of PostgreSQL');
is(await session.call('com.shop.numbers', [3]), [1, 2, 3], 'a set');
is((await refused(session.call('com.shop.place_order', [], { id: 1, name: 'x' }))).error, 'wamp.error.not_authorized', 'no privilege');

// Topics
const events = [];
const subscription = await session.subscribe('com.shop.orders', (args, kwargs, info) => events.push({ args, kwargs, info }));
is(await joe.session.call('com.shop.place_order', [], { id: 2, name: 'Lemonade' }), 2, 'a call that writes');
await until(() => events.length === 1, 'its event');
const { args, kwargs, info } = events[0];
is([args, kwargs.op, kwargs.key, kwargs.new], [[], 'INSERT', { id: 2 }, { id: 2, name: 'Lemonade' }], 'an event of a table');
ok(Number.isInteger(info.publication), 'has the number of a publication');
is((await refused(session.subscribe('com.shop.secrets', () => {}))).error, 'wamp.error.not_authorized', 'a topic without the privilege');
await subscription.unsubscribe();
await joe.session.call('com.shop.place_order', [], { id: 3, name: 'Fries' });
is(events.length, 1, 'no event after the end of the subscription');

// Messages: to a topic that is declared, and to another one that a pattern allows
for (const topic of ['com.shop.news', 'com.chat.room'])
{
	const got = [];
	await session.subscribe(topic, (args, kwargs, { publication }) => got.push([args, kwargs, publication]));
	const { id } = await joe.session.publish(topic, ['open', 1.5], { until: 18 }, { acknowledge: true });
	joe.session.publish(topic, [], { last: true });
	await until(() => got.length === 2, `the messages of ${topic}`);
	is(got[0], [['open', 1.5], { until: 18 }, id], `${topic}: the arguments, and the number of the publication`);
	is(got[1].slice(0, 2), [[], { last: true }], `${topic}: named arguments alone`);
	is((await refused(session.publish(topic, ['x'], {}, { acknowledge: true }))).error, 'wamp.error.not_authorized', `${topic}: no privilege`);
}
const rooms = [];
await session.subscribe('com.chat.', (args, kwargs, { topic }) => rooms.push([topic, args]), { match: 'prefix' });
await joe.session.publish('com.chat.kitchen', ['hello'], {}, { acknowledge: true });
await until(() => rooms.length === 1, 'a message by a pattern');
is(rooms, [['com.chat.kitchen', ['hello']]], 'a subscription of a prefix');

// Other formats of messages: the same, and values that they have and JSON has not
for (const format of ['CBOR', 'Msgpack'])
{
	const serializer = new autobahn.serializer[`${format}Serializer`]();
	const other = await join({ ...withTicket, serializers: [serializer] });
	const peer = other.session;
	is(peer._socket.info.protocol, `wamp.2.${serializer.SERIALIZER_ID}`, `${format}: a session`);
	is(await peer.call('com.shop.add', [], { a: 5, b: 6 }), 11, `${format}: a call`);
	const failed = await refused(peer.call('com.shop.fail'));
	is([failed.error, failed.args[0], failed.kwargs.sqlstate], ['wamp.error.runtime_error', 'not enough money', 'PT402'], `${format}: an error`);
	const got = [];
	await peer.subscribe('com.shop.news', (args, kwargs) => got.push([args, kwargs]));
	await joe.session.publish('com.shop.news', ['ä', null, 1.5], { until: 18 }, { acknowledge: true });
	await until(() => got.length === 1, 'a message');
	is(got, [[['ä', null, 1.5], { until: 18 }]], `${format}: a message of a session in JSON`);

	await peer.register(`com.echo.${format}`, ([value]) => value);
	const values = [1.7, 'hello', [1, 2, -3], { a: 5, b: 'hello2', c: [] }, [-9007199254740991, 9007199254740991], null, true, '\u{1f600}', -0.5, 2 ** 40];
	for (const caller of [peer, joe.session])
		is(await Promise.all(values.map(value => caller.call(`com.echo.${format}`, [value]))), values, `${format}: arguments and results`);
	const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
	is([...await peer.call(`com.echo.${format}`, [bytes])], [...bytes], `${format}: bytes`);
	const large = [1558266424841951553n, -(2n ** 63n), 2n ** 128n - 1n, -(2n ** 128n)];
	if (format === 'CBOR')
		is((await Promise.all(large.map(value => peer.call('com.echo.CBOR', [value])))).map(String), large.map(String), `${format}: BigInt`);
	other.connection.close();
}

connection.close();
joe.connection.close();
