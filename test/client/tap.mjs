// Results for NotifydTest::Node, which makes tests of the lines "ok - name" and "not ok - name".
import { isDeepStrictEqual, inspect } from 'node:util';

export function ok(good, name)
{
	console.log(`${good ? 'ok' : 'not ok'} - ${name}`);
	return good;
}

export function is(got, expected, name)
{
	if (!ok(isDeepStrictEqual(got, expected), name))
		console.log(`got ${inspect(got, { depth: 9 })}\nexpected ${inspect(expected, { depth: 9 })}`.replace(/^/gm, '# '));
}

const real = { setTimeout: globalThis.setTimeout, now: Date.now };
const limit = Number(process.env.PG_TEST_TIMEOUT_DEFAULT ?? 180) * 1000;

// Wait for a condition, which may be a function that returns a promise.
export async function until(condition, what)
{
	for (const end = real.now() + limit; !await condition(); await new Promise(resolve => real.setTimeout(resolve, 5)))
		if (real.now() > end)
			throw new Error(`waited in vain for ${what}`);
}

// The libraries report what a handler throws, and so do tests.
process.on('uncaughtException', (error) =>
{
	ok(false, `an error: ${error.stack}`.replace(/\n/g, ' '));
	process.exit(1);
});
