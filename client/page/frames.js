/*
 * The log of frames: what the page sends and receives, and its sockets' beginnings and ends.
 */

const FRAMES = 100;
const FRAME_TEXT = 8192;

const frameLog = {
	frames: [],			// the newest last
	total: 0,
	secret: null,		// what is masked
	paused: false,

	add(kind, text)
	{
		this.total++;
		if (this.paused)
			return;
		this.frames.push({ kind, at: Date.now(), size: text.length, text: cut(this.secret ? text.replaceAll(this.secret, '•••') : text, FRAME_TEXT) });
		if (this.frames.length > 2 * FRAMES)
			this.frames.splice(0, FRAMES);
		this.paint();
	},
};

// A WebSocket that is logged. It asks the server who the client is when it is open.
class LoggedSocket extends WebSocket
{
	constructor(url, protocols)
	{
		super(url, protocols);
		frameLog.add('connect', `${url} (${protocols.join(', ')})`);
		this.addEventListener('message', ({ data }) => frameLog.add('received', data));
		this.addEventListener('close', ({ code, reason }) => frameLog.add('closed', `${code} ${reason}`));
	}

	send(text)
	{
		frameLog.add('sent', text);
		super.send(text);
	}
}

// A message in one line, with its method first, and an event with what it does
const frameSummary = text => text.replace(/^\{"jsonrpc":"2\.0",/, '{').replace(/^\{(?:"id":[^,]*,)?"method":"(\w+)","params":/, '$1 ')
	.replace(/^event \{"position":.*?"op":"(\w+)".*?"channel":"(.*?)",/, 'event $1 $2 {… ');

function frameLine({ kind, at, size, text })
{
	const arrow = { sent: '↑', received: '↓' }[kind] ?? '•';
	const line = element('details', {
		ontoggle()
		{
			if (line.lastChild.tagName === 'PRE')
				return;
			let pretty = text;
			try
			{
				pretty = JSON.stringify(parseExactly(text), null, 2);
			}
			catch
			{
				// It is no JSON, or was cut.
			}
			line.append(element('pre', {}, pretty));
		},
	}, element('summary', { 'aria-label': `${kind}, ${clock(at)}, ${size} characters: ${cut(frameSummary(text), 120)}` },
		element('time', {}, clock(at)), ' ', element(`span.${kind}`, {}, arrow), ` ${['sent', 'received'].includes(kind) ? '' : `${kind} `}${cut(frameSummary(text), 240)}`));
	return element('li', {}, line);
}

function startFrameLog()
{
	const box = byId('frames'), list = byId('frames-list');
	let drawn = 0;			// of the total

	frameLog.paint = painter(() =>
	{
		setText(byId('frames-count'), frameLog.total.toLocaleString('en'));
		if (!box.open || frameLog.paused)
			return;
		const fresh = frameLog.frames.slice(-Math.min(FRAMES, frameLog.total - drawn, frameLog.frames.length) || frameLog.frames.length);
		drawn = frameLog.total;
		list.prepend(...fresh.map(frameLine).reverse());
		while (list.childElementCount > FRAMES)
			list.lastChild.remove();
	});
	box.addEventListener('toggle', frameLog.paint);
	byId('frames-pause').addEventListener('click', ({ target }) =>
	{
		frameLog.paused = !frameLog.paused;
		target.setAttribute('aria-pressed', frameLog.paused);
		if (!frameLog.paused)
			drawn = frameLog.total;
	});
	byId('frames-clear').addEventListener('click', () =>
	{
		frameLog.frames = [];
		frameLog.total = drawn = 0;
		list.replaceChildren();
		setText(byId('frames-count'), '0');
	});
}
