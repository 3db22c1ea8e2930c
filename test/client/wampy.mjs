// wampy.mjs FOLDER PORT TOKEN FORMAT ORDER: what Wampy.js does with tables, functions and other sessions, as its users write it,
// in the format json, cbor or msgpack. It makes two orders; ORDER is the id of the first.
import { is, ok, until } from './tap.mjs';

const [, , folder, port, token, format, first] = process.argv;
const order = Number(first);
const { Wampy } = await import(`${folder}/wampy.js`);
const [Serializer] = Object.values(await import(`${folder}/serializers/${format}-serializer.js`));
const { sign } = await import(`${folder}/auth/wampcra/wampy-cra.js`);

// A session that is open; errors tells what the library says beside its promises.
async function join(options = {})
{
	const errors = [];
	const session = new Wampy(`ws://127.0.0.1:${port}/ws`, {
		realm: 'realm1', ws: WebSocket, autoReconnect: false, uriValidation: 'loose', serializer: new Serializer(), onError: error => errors.push(error), ...options,
	});
	const details = await session.connect();
	return { session, details, errors };
}
const withTicket = { authid: 'joe', authmethods: ['ticket'], onChallenge: () => token };
const refused = promise => promise.then(() => 'not refused', error => error);

// Sessions
const guest = await join();
ok(guest.session.getSessionId() > 0, 'a session without a token');
is([guest.details.authrole, guest.details.authmethod], ['anonymous', 'anonymous'], 'is anonymous');
const joe = await join(withTicket);
is([joe.details.authid, joe.details.authrole, joe.details.authmethod], ['joe', 'web', 'ticket'], 'a token as ticket');
is((await refused(join({ ...withTicket, onChallenge: () => `${token}x` }))).errorUri, 'wamp.error.authentication_failed', 'a bad ticket');
const jane = await join({ authid: 'jane', authmethods: ['wampcra'], onChallenge: sign('jäne\'s secret') });
is([jane.details.authid, jane.details.authrole, jane.details.authmethod], ['jane', 'web', 'wampcra'], 'WAMP-CRA');
is((await refused(join({ authid: 'jane', authmethods: ['wampcra'], onChallenge: sign('a guess') }))).errorUri, 'wamp.error.authentication_failed', 'a bad secret');
is((await refused(join({ realm: 'missing' }))).errorUri, 'wamp.error.no_such_realm', 'an unknown realm');

// Calls of functions
is((await guest.session.call('com.shop.add', [1, 2])).argsList, [3], 'a call by position');
is((await guest.session.call('com.shop.add', { a: 5, b: 6 })).argsList, [11], 'by name');
is((await guest.session.call('com.shop.add', { argsList: [5], argsDict: { b: 7 } })).argsList, [12], 'by both');
is((await joe.session.call('com.shop.who')).argsList, ['web'], 'as the role of the token');
is((await guest.session.call('com.shop.numbers', [3])).argsList, [[1, 2, 3]], 'a set');
const rows = [];
const { argsList: rest, details: last } = await guest.session.call('com.shop.numbers', [3],
	{ progress_callback: ({ argsList, details }) => rows.push([argsList, details.progress]) });
is(rows, [[[1], true], [[2], true], [[3], true]], 'a set in progress');
is([rest ?? [], last.progress ?? false], [[], false], 'and its end');
is((await refused(guest.session.call('com.shop.nothing'))).errorUri, 'wamp.error.no_such_procedure', 'an unknown procedure');
is((await refused(guest.session.call('com.shop.add', ['x', 1]))).errorUri, 'wamp.error.invalid_argument', 'a bad argument');
const failure = await refused(guest.session.call('com.shop.fail'));
is([failure.errorUri, failure.argsList, failure.argsDict.sqlstate], ['wamp.error.runtime_error', ['not enough money'], 'PT402'],
	'an error of PostgreSQL');
is((await refused(guest.session.call('com.shop.place_order', { id: 1, name: 'x' }))).errorUri, 'wamp.error.not_authorized', 'no privilege');

// Topics
const events = { exact: [], prefix: [], wildcard: [] };
const exact = await guest.session.subscribe('com.shop.orders', event => events.exact.push(event));
await guest.session.subscribe('com.shop', event => events.prefix.push(event), { match: 'prefix' });
await guest.session.subscribe('com..orders', event => events.wildcard.push(event), { match: 'wildcard' });
is((await joe.session.call('com.shop.place_order', { id: order, name: 'Lemonade' })).argsList, [order], 'a call that writes');
await until(() => Object.values(events).every(list => list.length === 1), 'its event for three subscriptions');
for (const [match, [{ argsList, argsDict, details }]] of Object.entries(events))
	is([argsList, argsDict.op, argsDict.new, details.topic], [[], 'INSERT', { id: order, name: 'Lemonade' }, match === 'exact' ? undefined : 'com.shop.orders'],
		`an event of a table: ${match}`);
const again = [];
const other = await join();
await other.session.subscribe('com.shop.orders', event => again.push(event), { _since: joe.details.x_position });
await until(() => again.length === 1, 'an event since a position');
is(again[0].argsDict.new, { id: order, name: 'Lemonade' }, 'an event since a position');
is((await refused(guest.session.subscribe('com.shop.secrets', () => {}))).errorUri, 'wamp.error.not_authorized', 'a topic without the privilege');
await guest.session.unsubscribe(exact.subscriptionId);
await joe.session.call('com.shop.place_order', { id: order + 1, name: 'Fries' });
await until(() => events.prefix.length === 2, 'the next event');
is(events.exact.length, 1, 'no event after the end of the subscription');

// Messages: to a topic that is declared, and to another one that a pattern allows
for (const topic of ['com.shop.news', 'com.chat.room'])
{
	const got = [];
	await guest.session.subscribe(topic, ({ argsList, argsDict }) => got.push([argsList, argsDict]));
	const { publicationId } = await joe.session.publish(topic, { argsList: ['open', 1.5], argsDict: { until: 18 } }, {});
	ok(publicationId > 0, `${topic}: an acknowledgement`);
	await until(() => got.length === 1, `the message of ${topic}`);
	is(got, [[['open', 1.5], { until: 18 }]], `${topic}: the arguments`);
	is((await refused(guest.session.publish(topic, ['x']))).errorUri, 'wamp.error.not_authorized', `${topic}: no privilege`);
}

// Payload passthru
const sealed = { ppt_scheme: 'x_seal', ppt_serializer: 'json' };
for (const topic of ['com.shop.sealed', 'com.chat.sealed'])
{
	const got = [];
	await guest.session.subscribe(topic, ({ argsList, argsDict, details }) => got.push([argsList, argsDict, details.ppt_scheme]));
	await joe.session.publish(topic, { argsList: [1], argsDict: { a: 2 } }, sealed);
	await until(() => got.length === 1, `the sealed message of ${topic}`);
	is(got, [[[1], { a: 2 }, 'x_seal']], `${topic}: payload passthru`);
}
await joe.session.register('com.proc.sealed', ({ argsList, details }) => ({ argsList: [argsList[0] + 1], options: { ...sealed, ppt_keyid: details.ppt_scheme } }));
const opened = await guest.session.call('com.proc.sealed', [41], sealed);
is([opened.argsList, opened.details.ppt_keyid], [[42], 'x_seal'], 'a call with payload passthru');

// Procedures of clients
await joe.session.register('com.proc.double', ({ argsList, argsDict, details }) =>
	({ argsList: [argsList[0] * 2], argsDict: { named: argsDict, procedure: details.procedure } }));
const doubled = await guest.session.call('com.proc.double', { argsList: [21], argsDict: { a: 'b' } });
is([doubled.argsList, doubled.argsDict.named], [[42], { a: 'b' }], 'a call of a client\'s procedure');
await joe.session.register('com.proc.fails', () =>
{
	throw { error: 'com.proc.error.empty', argsList: ['nothing left'], argsDict: { code: 7 } };	// eslint-disable-line
});
const left = await refused(guest.session.call('com.proc.fails'));
is([left.errorUri, left.argsList, left.argsDict], ['com.proc.error.empty', ['nothing left'], { code: 7 }], 'its error');
await joe.session.register('com.proc.steps', async ({ result_handler: send }) =>
{
	send({ argsList: [1], options: { progress: true } });
	send({ argsList: [2], options: { progress: true } });
	return [3];
});
const steps = [];
const done = await guest.session.call('com.proc.steps', [], { progress_callback: ({ argsList }) => steps.push(argsList[0]) });
is([steps, done.argsList], [[1, 2], [3]], 'its results in progress');
await joe.session.register('com.proc.endless', () => new Promise(() => {}));
const endless = refused(guest.session.call('com.proc.endless'));
guest.session.cancel(guest.session.getOpStatus().reqId, { mode: 'kill' });
is((await endless).errorUri, 'wamp.error.canceled', 'a call that the caller cancels');
is((await refused(guest.session.call('com.proc.endless', [], { timeout: 50 }))).errorUri, 'wamp.error.timeout', 'and one with a time limit');
is((await guest.session.call('com.proc.double', [4])).argsList, [8], 'the callee lives on');
await joe.session.unregister('com.proc.double');
is((await refused(guest.session.call('com.proc.double', [1]))).errorUri, 'wamp.error.no_such_procedure', 'a procedure that is gone');

is([guest, joe, jane, other].map(({ errors }) => errors), [[], [], [], []], 'no errors beside these');
for (const { session } of [guest, joe, jane, other])
	await session.disconnect();
ok(true, 'GOODBYE');
