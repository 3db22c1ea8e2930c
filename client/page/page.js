/*
 * The page: its connection, who the client is, and which channels are open. Its address has what is open, behind the #,
 * which browsers do not send to the server: #channel=orders&filter=…&columns=id,name&channel=news&database=shop&call=f
 */

const session = {
	base: new URL('.', location.href.replace(/[?#].*/, '')),
	database: '',
	token: null,
	identity: null,			// { role, expires_at } of the token, as the server says
	db: null,
};
const panels = new Set();
let lookAtCalls = () => {};

/* ---- the address ---- */

function readAddress()
{
	const text = location.hash.slice(1) || location.search.slice(1);
	const parameters = new URLSearchParams(text.includes('=') || !text ? text : `channel=${text}`);
	const open = [];

	for (const [name, value] of parameters)
		if (name === 'channel')
			open.push({ channel: value });
		else if (name === 'filter' && open.length)
			open.at(-1).filter = value;
		else if (name === 'columns' && open.length)
			open.at(-1).columns = readColumns(value);
	return { open, database: parameters.get('database') ?? '', parameters };
}

function writeAddress()
{
	const parameters = new URLSearchParams();

	for (const { channel, filter, columns } of panels)
	{
		parameters.append('channel', channel);
		if (filter)
			parameters.append('filter', filter);
		if (columns)
			parameters.append('columns', writeColumns(columns));
	}
	if (session.database)
		parameters.set('database', session.database);
	history.replaceState(null, '', `${session.base.pathname}${parameters.size ? `#${parameters}` : ''}`);
}

/* ---- the connection ---- */

const stateTexts = { connecting: 'Connecting', open: 'Live', waiting: 'Connection lost', closed: 'Not connected' };

function closedHint({ code })
{
	if (code === 4401 && !session.token)
		return 'There is no anonymous access: sign in with a token.';
	if (code === 4001)
		return 'The token has expired: sign in with a fresh one.';
	if (code === 4401)
		return 'Sign in with another token.';
	if (code === 4503)
		return 'Create the extension in this database, or choose another one.';
	return '';
}

function sentence(text)
{
	return text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}` : '';
}

function showState()
{
	const { state, error, retryAt } = session.db;
	const why = state === 'open' || !error ? '' : `${sentence(error.message)} ${closedHint(error)}`;

	byId('connection').dataset.state = state;
	setText(byId('state'), stateTexts[state]);
	setText(byId('reason'), state === 'open' ? `on ${session.base.host}` : why);
	byId('retry').hidden = state !== 'waiting' && state !== 'closed';
	setText(byId('retry'), state === 'waiting' ? 'Try now' : 'Connect');
	setText(byId('next'), state === 'waiting' ? `Next attempt in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s` : '');
	showIdentity();
}

function onState({ state, error })
{
	showState();
	if (state === 'open')
		lookAtCalls();
	if (state === 'closed' && error && (error.code === 4401 || error.code === 4001))
		askForToken(`${sentence(error.message)} ${closedHint(error)}`);
}

/*
 * The socket asks for the role and expiry of its token, under an id that the library does not use. The answer stays in this
 * socket.
 */
class PageSocket extends LoggedSocket
{
	constructor(url, protocols)
	{
		const { token } = session;
		super(url, protocols);
		if (!token)
			return;
		this.addEventListener('open', () => this.send(JSON.stringify({ id: 'identity', method: 'auth', params: { token } })));
		this.addEventListener('message', ({ data }) =>
		{
			if (session.identity || token !== session.token || !data.includes('"id":"identity"'))
				return;
			session.identity = JSON.parse(data).result ?? null;
			showIdentity();
		});
	}
}

function reconnect()
{
	session.db?.close();
	session.identity = null;
	frameLog.secret = session.token;
	session.db = connect(session.base, { token: session.token ?? undefined, database: session.database || undefined, bigint: true, parse: parseExactly, WebSocket: PageSocket });
	const mine = session.db;
	mine.on('state', state => mine === session.db && onState(state));
	showState();
	panels.forEach(panel => panel.attach(mine));
}

/* ---- who the client is ---- */

function identityText()
{
	if (!session.token)
		return 'Sign in';
	if (!session.identity)
		return 'Token';
	return session.identity.role;
}

function expiryText()
{
	const at = session.identity?.expires_at;
	if (!at)
		return session.identity ? 'it does not expire' : '';
	const seconds = Math.round((Date.parse(at) - Date.now()) / 1000);
	const span = seconds < 120 ? count(Math.max(0, seconds), 'second') : seconds < 7200 ? count(Math.round(seconds / 60), 'minute')
		: seconds < 172800 ? count(Math.round(seconds / 3600), 'hour') : count(Math.round(seconds / 86400), 'day');
	return `expires in ${span}`;
}

function showIdentity()
{
	const { token, identity } = session;
	setText(byId('identity'), identity ? `${identityText()}, ${expiryText()}` : identityText());
	setText(byId('identity-now'), identity ? `You have the role ${identity.role}. The token ${expiryText().replace(/^it /, '')}${identity.expires_at ? ` (${new Date(identity.expires_at).toLocaleString()})` : ''}.`
		: token ? 'The server has not accepted the token.' : 'You are anonymous: without a token, you have the role that pg_notifyd.anonymous_role names.');
	byId('sign-out').hidden = !token;
}

function tokenError(text)
{
	byId('token-error').hidden = !text;
	setText(byId('token-error'), text);
}

function askForToken(why = '')
{
	showIdentity();
	tokenError(why);
	if (!byId('sign-in').open)
		byId('sign-in').showModal();
}

function useToken(token)
{
	session.token = token;
	try
	{
		if (token)
			sessionStorage.setItem('token', token);
		else
			sessionStorage.removeItem('token');
	}
	catch
	{
		// It is kept in memory only.
	}
	byId('token').value = '';
	byId('sign-in').close();
	reconnect();
}

function startIdentity()
{
	try
	{
		session.token = sessionStorage.getItem('token');
	}
	catch
	{
		session.token = null;
	}
	byId('identity').addEventListener('click', () => askForToken());
	byId('sign-in-cancel').addEventListener('click', () => byId('sign-in').close());
	byId('sign-out').addEventListener('click', () => useToken(null));
	byId('sign-in-form').addEventListener('submit', (event) =>
	{
		const token = byId('token').value.replace(/^\s*Bearer\s/i, '').replace(/\s/g, '');
		event.preventDefault();
		if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token))
			return tokenError('This is no token: a JWT has three parts with a point between them, such as eyJhbGci….eyJyb2xl….c2lnbmF0….');
		useToken(token);
	});
}

/* ---- channels ---- */

function remember(channel)
{
	const recent = [channel, ...(memory.get('channels') ?? []).filter(name => name !== channel)].slice(0, 12);
	memory.set('channels', recent);
	offer(recent);
}

const offer = recent => byId('recent').replaceChildren(...recent.map(value => element('option', { value })));

function openPanel(options)
{
	const panel = new Panel(options, {
		code: ({ channel, filter, columns, parts, list }) => showCode({
			url: session.base.href, database: session.database, signedIn: session.token !== null, channel, filter, columns,
			isTable: parts.size > 0 || !list.childElementCount,
		}),
		closed(closed)
		{
			panels.delete(closed);
			showPanels();
		},
	});
	panels.add(panel);
	byId('panels').prepend(panel.node);
	if (session.db)
		panel.attach(session.db);
	return panel;
}

function showPanels()
{
	byId('empty').hidden = panels.size > 0;
	writeAddress();
}

function startChannels()
{
	offer(memory.get('channels') ?? []);
	byId('open-form').addEventListener('submit', (event) =>
	{
		event.preventDefault();
		const channel = byId('channel').value.trim();
		if (!channel)
			return;
		openPanel({ channel, filter: byId('filter').value.trim(), columns: readColumns(byId('columns').value) });
		remember(channel);
		event.target.reset();
		showPanels();
	});
	byId('database-form').addEventListener('submit', event => event.preventDefault());
	byId('database').addEventListener('change', ({ target }) =>
	{
		session.database = target.value.trim();
		writeAddress();
		reconnect();
	});
}

/* ---- colours ---- */

const themes = {
	auto: ['as the system', 'light dark', 'M4 5h16v11H4zM9 20h6'],
	light: ['light', 'light', 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5'],
	dark: ['dark', 'dark', 'M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z'],
};

function setTheme(name)
{
	const [text, scheme, path] = themes[name] ?? themes.auto;
	document.documentElement.style.colorScheme = scheme;
	document.documentElement.dataset.theme = name;
	byId('theme').setAttribute('aria-label', `Colours: ${text}`);
	byId('theme').title = `Colours: ${text}`;
	byId('theme').replaceChildren(drawing('24 24', path));
}

function startTheme()
{
	const names = Object.keys(themes);
	const saved = memory.get('theme');
	setTheme(names.includes(saved) ? saved : 'auto');
	byId('theme').addEventListener('click', () =>
	{
		const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
		setTheme(next);
		memory.set('theme', next);
	});
}

/* ---- all of it ---- */

const showCode = startCode();

function start()
{
	const { open, database, parameters } = readAddress();

	startTheme();
	startFrameLog();
	startIdentity();
	startChannels();
	session.database = byId('database').value = database;
	open.forEach(openPanel);
	lookAtCalls = startCalls(session, parameters);
	byId('empty').hidden = panels.size > 0;
	byId('retry').addEventListener('click', () => session.db.state === 'waiting' ? dispatchEvent(new Event('online')) : reconnect());
	reconnect();
	setInterval(() =>
	{
		panels.forEach(panel => panel.tick());
		showState();
	}, 1000);
	setInterval(() => panels.forEach(panel => panel.sweep(performance.now())), 200);
}

start();
