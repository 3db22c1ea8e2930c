// A server without a network, and a clock that only advance() moves.
let now = 1e12, timers = [], sequence = 0;

Object.assign(globalThis, {
	setTimeout: (f, delay = 0, ...args) => add({ f, args, delay }),
	setInterval: (f, delay) => add({ f, args: [], delay, every: delay }),
	clearTimeout: remove,
	clearInterval: remove,
});
Date.now = () => now;

function add(timer)
{
	timers.push(Object.assign(timer, { at: now + timer.delay, id: ++sequence }));
	return timer.id;
}

function remove(id)
{
	timers = timers.filter(timer => timer.id !== id);
}

// Promises that are settled call what waits for them.
export const settle = () => new Promise(resolve => setImmediate(resolve));

// Let this time pass, in milliseconds.
export async function advance(time)
{
	await settle();
	for (const end = now + time;;)
	{
		const [next] = timers.filter(timer => timer.at <= end).sort((a, b) => a.at - b.at || a.id - b.id);
		if (!next)
		{
			now = end;
			return;
		}
		now = Math.max(now, next.at);
		if (next.every)
			next.at = now + next.every;
		else
			remove(next.id);
		next.f(...next.args);
		await settle();
	}
}

// The sockets that the library has opened.
export const sockets = [];
export const last = () => sockets.at(-1);

export class FakeWebSocket
{
	readyState = 0;
	sent = [];

	constructor(url, protocols)
	{
		Object.assign(this, { url, protocols, openedAt: now });
		sockets.push(this);
	}

	send(text)
	{
		this.sent.push(JSON.parse(text));
	}

	close(code)
	{
		this.closed = code ?? true;
		this.readyState = 3;
	}

	// What the server does
	open()
	{
		this.readyState = 1;
		this.onopen();
	}

	say(message)
	{
		this.onmessage({ data: JSON.stringify({ jsonrpc: '2.0', ...message }) });
	}

	notify(method, params)
	{
		this.say({ method, params });
	}

	// The requests of a method
	requests(method)
	{
		return this.sent.filter(message => message.method === method);
	}

	// Answer the last request of a method.
	answer(method, result)
	{
		this.say({ id: this.requests(method).at(-1).id, result });
	}

	refuse(method, code, data)
	{
		this.say({ id: this.requests(method).at(-1).id, error: { code, message: `error ${code}`, data } });
	}

	// Open, and accept the token and all subscriptions from here.
	accept(position = '1-100')
	{
		this.open();
		this.answer('ping', { position });
		for (const { id, params } of this.requests('subscribe'))
			this.say({ id, result: { channel: params.channel, tag: params.tag, position: params.since ?? position } });
	}

	end(code, reason = '')
	{
		this.readyState = 3;
		this.onclose({ code, reason });
	}
}
