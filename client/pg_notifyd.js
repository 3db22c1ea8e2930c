/*
 * pg_notifyd.js: the client library of pg_notifyd, for browsers, Node, Deno and Bun. doc/client.md describes it,
 * doc/protocol.md what it speaks. client.js is this file, minified by `make client`.
 *
 *	connect()		one WebSocket, its token, and the waits between two of them
 *	  stream		one subscription on the wire, with its position, which outlives the socket
 *	    grouped		a stream whose events come as whole transactions
 *	      table		the rows of a channel, kept as its transactions leave them
 */
const PROTOCOL = 'pg_notifyd.v1';

// What no other attempt would change: close codes, and codes of errors that may pass
const FATAL_CLOSES = [1002, 1003, 1007, 1009];
const BUSY = [-32011, -32603];
const BUSY_SQLSTATE = /^(08|40|53|55|57)/;
const NOT_AUTHENTICATED = -32001;

const failure = (message, more) => Object.assign(new Error(message), more);
const keyOf = (row, names) => JSON.stringify(names.map(name => row[name]));
// A position ends with the id of the last event that it covers. Inside of a snapshot it covers nothing for certain.
const covered = position => Number(/-(\d+)$/.exec(position)?.[1] ?? 0);

const log = problem => console.error(`pg_notifyd: ${problem.message}`, problem.data ?? '');

// Call a function of the application. What it throws is reported, and does not concern us.
function guard(f, value)
{
	try
	{
		f?.(value);
	}
	catch (error)
	{
		setTimeout(() => { throw error; });
	}
}

function emitter()
{
	const listeners = {};
	return {
		on(type, f)
		{
			const entry = { f };
			(listeners[type] ??= new Set()).add(entry);
			return () => { listeners[type].delete(entry); };
		},
		// Returns false if nobody listens.
		emit(type, value)
		{
			const all = [...listeners[type] ?? []];
			all.forEach(({ f }) => guard(f, value));
			return all.length > 0;
		},
	};
}

function deferred()
{
	const result = {};
	result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
	result.promise.catch(() => {});		// nobody has to wait for it
	return result;
}

/* ---------------- one connection ---------------- */

export function connect(url = globalThis.location, options = {})
{
	const { token, database, bigint, parse = JSON.parse, WebSocket = globalThis.WebSocket } = options;
	const { minDelay = 500, maxDelay = 30000, idle = 45000, callTimeout = 30000 } = options;
	const base = new URL(url, globalThis.location?.href);
	const target = new URL('ws', base);
	const { on, emit } = emitter();
	const streams = new Set();		// what the application wants
	const waiting = new Set();		// calls that wait for the connection
	let state = 'connecting', error, retryAt;
	let socket, attempts = 0, refused = false, openedAt, timer, renewal, watch, quiet;
	let wire = new Map();			// streams as the server knows them, by channel and tag
	let requests = new Map();		// what is called with the answer, by the request's id
	let ids = 0, asking = false, askDelay = 0;

	if (!WebSocket)
		throw new Error('there is no WebSocket: give one as an option, or use Node 22');
	target.protocol = base.protocol.replace('http', 'ws');
	const name = database ?? base.searchParams.get('database');
	if (name)
		target.searchParams.set('database', name);
	if (bigint)
		target.searchParams.set('bigint', 'string');

	function become(next, why, at)
	{
		state = next;
		error = why;
		retryAt = at;
		emit('state', { state, error, retryAt });
	}

	// done(error, result) is called at once when the answer is here, because events may stand right behind it.
	function request(method, params, done)
	{
		requests.set(++ids, done);
		socket.send(JSON.stringify({ id: ids, method, params }));
	}

	/* ---- the socket ---- */

	async function open()
	{
		const mine = socket = {};
		become('connecting', error);
		try
		{
			const bearer = typeof token === 'function' ? await token() : token;
			if (socket !== mine)
				return;
			socket = new WebSocket(target.href, bearer ? [PROTOCOL, `bearer.${bearer}`] : [PROTOCOL]);
			begin(socket, bearer);
		}
		catch (cause)
		{
			if (socket === mine)
				lost({ reason: cause.message });
		}
	}

	function begin(mine, bearer)
	{
		const current = f => event => socket === mine && f(event);
		let heard = false;

		mine.onopen = current(() =>
		{
			request('ping', {}, problem => problem ? drop(problem) : opened(bearer));
			streams.forEach(start);
		});
		mine.onmessage = current(({ data }) =>
		{
			heard = true;
			receive(parse(data));
		});
		mine.onclose = current(lost);
		mine.onerror = () => {};		// a close follows
		quiet = 0;
		watch = setInterval(() =>
		{
			quiet = heard ? 0 : quiet + 1;
			heard = false;
			if (quiet > 1)
				drop({ message: 'the server does not answer' });
			else if (quiet && mine.readyState === 1)
				request('ping', {}, () => {});
		}, idle / 3);
	}

	// The server has answered, so it has accepted the token.
	function opened(bearer)
	{
		refused = false;
		openedAt = Date.now();
		renewLater(bearer);
		become('open');
		waiting.forEach(call => call());
		ask();
	}

	// Give up this socket, which may be one that never closes.
	function drop({ code, message })
	{
		const old = socket;
		lost({ code: code === NOT_AUTHENTICATED ? 4401 : code, reason: message });
		old.close?.();
	}

	function lost({ code = 1006, reason })
	{
		const unauthorized = code === 4001 || code === 4401;
		const asked = requests;
		const why = failure(reason || (openedAt ? 'the connection was lost' : `${target.host} does not answer, or refuses this page`),
			{ code });
		const wait = () => Math.min(maxDelay, minDelay * 2 ** attempts);

		stop();
		const calls = [...asked.values()].filter(done => done.query);
		calls.forEach(done => done(failure(`${why.message}; the request was perhaps executed`, { code })));
		if (FATAL_CLOSES.includes(code) && !calls.length)
			return end(why);
		if (unauthorized && (refused || typeof token !== 'function'))
			return end(why);
		refused ||= unauthorized;
		if (openedAt && Date.now() - openedAt > wait())
			attempts = 0;
		openedAt = undefined;
		const delay = Math.random() * wait();
		attempts++;
		timer = setTimeout(open, delay);
		become('waiting', why, Date.now() + delay);
	}

	function stop()
	{
		clearInterval(watch);
		clearTimeout(renewal);
		clearTimeout(timer);
		socket = undefined;
		wire = new Map();
		requests = new Map();
		asking = false;
		streams.forEach(stream => { stream.live = false; });
	}

	// It is over: closed by the application, or for a reason that would come again.
	function end(why)
	{
		stop();
		globalThis.removeEventListener?.('online', hurry);
		become('closed', why);
		waiting.forEach(call => call(why ?? failure('the connection was closed')));
		[...streams].forEach(stream => { streams.delete(stream); stream.ended(why); });
	}

	const hurry = () => state === 'waiting' && (clearTimeout(timer), open());

	/* ---- tokens ---- */

	// Get another token when four fifths of the time that is left have passed.
	function renewLater(bearer)
	{
		const mine = socket;
		if (typeof token !== 'function' || !bearer)
			return;
		const { exp, iat } = claims(bearer);
		if (!exp)
			return;
		const left = exp * 1000 - Date.now();
		const wait = (left > 0 ? left : (exp - (iat ?? exp - 60)) * 1000) * 0.8;	// or this clock is wrong
		renewal = setTimeout(async () =>
		{
			let fresh;
			try
			{
				fresh = await token();
			}
			catch
			{
				// There will be another attempt in time.
			}
			if (socket !== mine)
				return;
			if (!fresh || fresh === bearer)
				return renewLater(bearer);
			request('auth', { token: fresh }, problem => problem ? drop(problem) : renewLater(fresh));
		}, Math.min(Math.max(wait, 1000), 1e9));
	}

	function claims(bearer)
	{
		try
		{
			return JSON.parse(atob(bearer.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
		}
		catch
		{
			return {};
		}
	}

	/* ---- subscriptions ---- */

	const keyOnWire = ({ channel, tag }) => `${tag ?? ''} ${channel}`;
	const onChannel = channel => [...wire.values()].filter(other => other.channel === channel);

	/*
	 * The first subscription to a channel has no tag, so that its events are the same bytes for all clients. It stays until
	 * the others of the channel have ended, because without a tag only all of a channel can be ended.
	 */
	function start(stream)
	{
		stream.tag = onChannel(stream.channel).length ? String(++ids) : undefined;
		stream.live = false;
		wire.set(keyOnWire(stream), stream);
		stream.started?.();
		request('subscribe', { channel: stream.channel, tag: stream.tag, ...stream.params, since: stream.position },
			(problem, result) =>
			{
				if (!streams.has(stream))
					return;
				if (problem)
					return failed(stream, problem);
				stream.live = true;
				stream.position = result.position;
				stream.ready?.();
			});
	}

	function add(stream)
	{
		if (state === 'closed')
			setTimeout(stream.ended, 0, error);
		else
		{
			streams.add(stream);
			if (socket?.readyState === 1)
				start(stream);
		}
		return stream;
	}

	function remove(stream)
	{
		const { channel, tag } = stream;
		streams.delete(stream);
		if (wire.get(keyOnWire(stream)) !== stream)
			return;
		const rest = onChannel(channel);
		const all = !rest.some(other => streams.has(other));
		if (all || tag)
		{
			(all ? rest : [stream]).forEach(other => wire.delete(keyOnWire(other)));
			request('unsubscribe', { channel, tag: all ? undefined : tag }, () => {});
		}
	}

	// The server has refused or ended a subscription.
	function failed(stream, problem)
	{
		const { code, data } = problem;
		wire.delete(keyOnWire(stream));
		stream.live = false;
		if (code === NOT_AUTHENTICATED)
			return drop(problem);
		if (BUSY.includes(code) || BUSY_SQLSTATE.test(data?.sqlstate))
		{
			const delay = Math.min(maxDelay, minDelay * 2 ** (stream.attempts = (stream.attempts ?? 0) + 1));
			guard(stream.retrying ?? log, problem);
			setTimeout(() => streams.has(stream) && socket?.readyState === 1 && !onWire(stream) && start(stream),
				delay * (0.5 + Math.random() / 2));
			return;
		}
		streams.delete(stream);
		stream.ended(problem);
	}

	const onWire = stream => wire.get(keyOnWire(stream)) === stream;

	/* ---- messages ---- */

	function receive({ id, result, error: problem, method, params })
	{
		if (id != null)
		{
			const done = requests.get(id);
			requests.delete(id);
			return done?.(problem && failure(problem.message, problem), result);
		}
		if (method === 'position')
			return streams.forEach(stream => stream.live && move(stream, params, 'bookmark'));
		const stream = wire.get(keyOnWire(method === 'error' ? params.data ?? {} : params));
		if (!stream || !streams.has(stream) || !stream.live)
			return;
		if (method === 'error')
			failed(stream, failure(params.message, params));
		else
			move(stream, params, method);
	}

	// The position is stored when everything up to it has been processed.
	function move(stream, params, method)
	{
		stream.attempts = 0;
		guard(stream[method], params);
		stream.position = params.position ?? stream.position;
	}

	/*
	 * Is a transaction complete? The reply to a ping says up to where everything has been sent, and so does a bookmark. Streams
	 * with an unfinished transaction have the id of its last event in "until".
	 */
	function ask()
	{
		const unfinished = () => [...streams].some(stream => stream.until);
		if (asking || state !== 'open' || !unfinished())
			return;
		asking = true;
		const mine = socket;
		request('ping', {}, (problem, result) =>
		{
			if (problem)
				return;
			streams.forEach(stream => stream.live && stream.settle?.(result));
			askDelay = Math.min(unfinished() ? askDelay * 2 + 50 : 50, 1000);
			setTimeout(() =>
			{
				if (socket === mine)
				{
					asking = false;
					ask();
				}
			}, askDelay);
		});
	}

	/* ---- whole transactions ---- */

	// As add(), with commit({ tx, at, position, events }) in place of event().
	function addGrouped(stream)
	{
		let events = stream.events ?? [];
		return add(Object.assign(stream, {
			event(event)
			{
				if (!event.tx)			// a raw NOTIFY
					return stream.commit({ events: [event] });
				if (events.length && events[0].tx !== event.tx)
					stream.flush();
				events.push(event);
				if (event.seq === event.of)
					return stream.flush();
				if (!stream.until)
					setTimeout(ask);
				stream.until = event.id + event.of - event.seq;
			},
			flush()
			{
				const [first] = events, last = events.at(-1), all = events;
				stream.until = undefined;
				events = [];
				if (first)
					guard(stream.commit, { tx: first.tx, at: first.at, position: last.position, events: all });
			},
			settle({ position })
			{
				if (stream.until <= covered(position))
					stream.flush();
			},
			bookmark(params)
			{
				stream.settle(params);
				stream.bookmarked?.(params);
			},
			// What is unfinished: a reset covers it, and another stream may go on with it.
			take()
			{
				const all = events;
				stream.until = undefined;
				events = [];
				return all;
			},
		}));
	}

	/* ---- what applications call ---- */

	function report(problem)
	{
		if (problem && !emit('error', problem))
			log(problem);
	}

	function query(method, params)
	{
		return new Promise((resolve, reject) =>
		{
			const done = (problem, result) => problem ? reject(problem) : resolve(result);
			done.query = true;
			if (state === 'open')
				return request(method, params, done);
			if (state === 'closed')
				return reject(failure('the connection is closed'));
			const late = setTimeout(() => call(failure('there is no connection; the request was not sent')), callTimeout);
			const call = (problem) =>
			{
				waiting.delete(call);
				clearTimeout(late);
				problem ? reject(problem) : request(method, params, done);
			};
			waiting.add(call);
		});
	}

	function subscribe(channel, onEvent, { since, onReset, onRows, onPosition, onRetry, onError, ...params } = {})
	{
		const ready = deferred();
		const stream = add({
			channel, params, position: since ?? undefined,
			event: onEvent,
			rows: onRows,
			reset: onReset,
			retrying: onRetry,
			bookmark: onPosition,
			ready: ready.resolve,
			ended(problem)
			{
				ready.reject(problem ?? failure('the connection was closed'));
				if (problem && onError)
					guard(onError, problem);
				else
					report(problem);
			},
		});
		return {
			ready: ready.promise,
			get position() { return stream.position; },
			unsubscribe: () => remove(stream),
		};
	}

	async function* transactions(channel, { since, onPosition, ...params } = {})
	{
		const queue = [];
		let stream, size = 0, wake, over, problem;
		const put = (item) =>
		{
			queue.push(item);
			size += item.events.length;
			wake?.();
			if (size > 1000)			// read on from the log when these are processed
			{
				remove(stream);
				stream.paused = true;
			}
		};
		const go = position => stream = addGrouped({
			channel, params, position, events: stream?.take(),
			commit: put,
			bookmarked: p => queue.length || onPosition?.(p),
			reset({ reason, position })
			{
				stream.take();
				put({ reset: reason, position, events: [] });
			},
			ended(why)
			{
				over = true;
				problem = why;
				wake?.();
			},
		});
		try
		{
			for (go(since ?? undefined);;)
			{
				const item = queue.shift();
				if (item)
				{
					size -= item.events.length;
					yield item;
				}
				else if (problem)
					throw problem;
				else if (over)
					return;
				else if (stream.paused)
					go(stream.position);
				else
					await new Promise(resolve => { wake = resolve; });
			}
		}
		finally
		{
			remove(stream);
		}
	}

	function close()
	{
		const old = socket;
		if (state === 'closed')
			return;
		requests.forEach(done => done.query && done(failure('the connection was closed; the request was perhaps executed')));
		end();
		old?.close?.();
	}

	globalThis.addEventListener?.('online', hurry);
	open();
	return {
		on, subscribe, transactions, close,
		get state() { return state; },
		get error() { return error; },
		get retryAt() { return retryAt; },
		call: (name, args) => query('call', { name, args }),
		send: (channel, payload) => query('send', { channel, payload: payload ?? null }),
		table: (channel, options) => table(channel, options, { addGrouped, remove, report }),
	};
}

/* ---------------- a live table ---------------- */

// The terms of "price.desc.nullslast,data->size" as functions that compare two rows.
function readOrder(order, compareValues)
{
	return (order?.match(/("(\\.|[^"\\])*"|[^,])+/g) ?? []).map(term =>
	{
		const [, path, words] = /^((?:"(?:\\.|[^"\\])*"|[^".])+)(.*)$/.exec(term);
		const steps = path.split(/(->>?)/);
		const [column, ...rest] = steps.filter((_, i) => i % 2 === 0)
			.map(step => step.startsWith('"') ? step.slice(1, -1).replace(/\\(.)/g, '$1') : step);
		const asText = steps.at(-2) === '->>';
		const sign = words.includes('.desc') ? -1 : 1;
		const nulls = words.includes('.nullsfirst') || (sign < 0 && !words.includes('.nullslast')) ? -1 : 1;
		const value = (row) =>
		{
			const found = rest.reduce((inner, step) => inner?.[step], row[column]) ?? null;
			return asText && found !== null ? typeof found === 'object' ? JSON.stringify(found) : String(found) : found;
		};
		return Object.assign((a, b) =>
		{
			const x = value(a), y = value(b);
			return x === null || y === null ? ((x === null) - (y === null)) * nulls : sign * compareValues(x, y);
		}, { column });
	});
}

const less = (a, b) => (a > b) - (a < b);
const collator = new Intl.Collator();

// Two values of a column, which are not null. compareText is for strings.
function compare(a, b, compareText)
{
	if (typeof a === 'number' && typeof b === 'number')
		return a - b;
	if (typeof a === 'object')
		[a, b] = [JSON.stringify(a), JSON.stringify(b)];
	if (typeof a !== typeof b || /^-?\d{16,}$/.test(a) && /^-?\d{16,}$/.test(b))
		try
		{
			return less(BigInt(a), BigInt(b));		// integers, of which large ones are strings
		}
		catch
		{
			return less(...[a, b].map(x => Number.isNaN(x = Number(x)) ? Infinity : x));		// NaN and fractions
		}
	return typeof a === 'string' ? compareText(a, b) : less(a, b);
}

function table(channel, { filter, columns, order, limit, compareText } = {}, { addGrouped, remove, report })
{
	const { on, emit } = emitter();
	const ready = deferred();
	const spare = limit && Math.max(10, limit >> 1);
	let textOrder = compareText ?? less;
	let parts = {}, staged, rows = [], stale = false, stream, loadedAt, timer, error;

	const terms = readOrder(order, (a, b) => compare(a, b, textOrder));
	const byOrder = (a, b, names) =>
	{
		for (const term of terms)
		{
			const result = term(a, b);
			if (result)
				return result;
		}
		return names ? names.reduce((result, name) => result || compare(a[name], b[name], textOrder), 0) : 0;
	};
	const inOrder = part => (a, b) => byOrder(a, b, part.names);
	// The rows in order. Most were sorted before, so there is little to do.
	const sort = (part) =>
	{
		part.sorted = [...part.sorted, ...part.fresh].filter(row => !part.gone.has(row)).sort(inOrder(part));
		part.fresh = [];
		part.gone.clear();
		return part.sorted;
	};
	const forget = (part, key) =>
	{
		part.gone.add(part.rows.get(key));
		part.rows.delete(key);
	};
	const store = (part, key, row) =>
	{
		forget(part, key);
		part.rows.set(key, row);
		part.fresh.push(row);
		if (part.fresh.length > 2 * part.rows.size + 100)		// nobody reads them
			sort(part);
	};
	/*
	 * Rows of one table of the channel. With a limit they are all rows of the set up to the border, in the order of the
	 * table; without a border they are all.
	 */
	const partOf = (all, { schema, table: name }, names) => all[`${schema}.${name}`] ??= { name, names, rows: new Map(), sorted: [], fresh: [], gone: new Set() };
	const look = () =>
	{
		if (stale)
			rows = Object.values(parts).flatMap(part => sort(part).slice(0, limit));
		stale = false;
		return rows;
	};

	function publish(change)
	{
		stale = true;
		if (limit)
			look();				// later changes may wait for rows that are to be loaded
		emit('change', change);
	}

	// Begin again with a new snapshot. What is shown stays until it is complete.
	function reload()
	{
		remove(stream);
		clearTimeout(timer);
		timer = setTimeout(load, Math.max(0, loadedAt + 1000 - Date.now()));
	}

	function load()
	{
		loadedAt = Date.now();
		stream = addGrouped({
			channel,
			params: {
				filter,
				columns: columns && [...new Set([...columns, ...terms.map(term => term.column)])],
				ops: ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'],
				snapshot: order || limit ? { order, limit: limit && limit + spare } : true,
			},
			started: clear,
			reset: clear,
			rows: take,
			commit: apply,
			ended(problem)
			{
				error = problem;
				ready.reject(problem ?? failure('the connection was closed'));
				if (problem && !emit('error', problem))
					report(problem);
			},
		});
	}

	function clear(reset)
	{
		staged = {};
		if (reset)
			stream.take();
	}

	function take(params)
	{
		if (!params.done)
		{
			const part = partOf(staged, params, params.key);
			for (const row of params.rows)
				store(part, part.names.length ? keyOf(row, part.names) : part.rows.size, row);
			return;
		}
		parts = staged;
		staged = {};
		for (const part of Object.values(parts))
		{
			const all = [...part.rows.values()];
			const fits = () => all.every((row, i) => !i || inOrder(part)(all[i - 1], row) <= 0);
			// The database may compare text by a collation.
			if (!compareText && !fits())
			{
				textOrder = collator.compare;
				if (!fits())
					textOrder = less;
			}
			if (limit && all.length >= limit + spare)
				part.border = all.at(-1);
		}
		publish({ snapshot: true, position: params.position, events: [] });
		ready.resolve(result);
	}

	// The events of a transaction; then all of it is visible.
	function apply(transaction)
	{
		// These do not say what the rows are now.
		if (transaction.events.some(({ op, key, truncated }) => op !== 'TRUNCATE' && (truncated || !Object.keys(key).length)))
			return reload();
		transaction.events.forEach(put);
		const all = limit ? Object.values(parts) : [];
		for (const part of all)
			if (part.rows.size > 2 * (limit + spare))
			{
				sort(part).splice(limit + spare).forEach(row => part.rows.delete(keyOf(row, part.names)));
				part.border = part.sorted.at(-1);
			}
		if (all.some(part => part.border && part.rows.size < limit))
			reload();
		else
			publish(transaction);
	}

	function put(event)
	{
		const { op, key, old } = event;
		const part = partOf(parts, event, []);

		if (op === 'TRUNCATE')
		{
			part.rows.forEach((_, each) => forget(part, each));
			part.border = undefined;
			return;
		}
		const names = part.names = Object.keys(key);
		forget(part, keyOf(old && names.every(name => name in old) ? old : key, names));
		if (op !== 'DELETE' && !(part.border && byOrder(event.new, part.border, !terms.length && names) > 0))
			store(part, keyOf(key, names), event.new ?? key);
	}

	const result = {
		ready: ready.promise,
		on,
		get rows() { return look(); },
		get error() { return error; },
		get position() { return stream.position; },
		getSnapshot: look,
		// For useSyncExternalStore of React, and as a store of Svelte
		subscribe(f)
		{
			guard(f, look());
			return on('change', () => f(look()));
		},
		get(key, name)
		{
			const part = Object.values(parts).find(each => each.name === (name ?? each.name));
			if (!part)
				return undefined;
			const values = part.names.length === 1 && typeof key !== 'object' ? { [part.names[0]]: key } : key;
			const wanted = keyOf(values, part.names);
			return limit ? look().find(row => keyOf(row, part.names) === wanted) : part.rows.get(wanted);
		},
		close()
		{
			clearTimeout(timer);
			remove(stream);
		},
	};
	load();
	return result;
}
