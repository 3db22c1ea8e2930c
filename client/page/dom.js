/*
 * The live page. client/page/embed puts its files behind the library, in this order: dom.js, rows.js, table.js, frames.js,
 * panel.js, code.js, calls.js, page.js.
 *
 * What comes from the database is text: it gets into the page by textContent, as an attribute's value, or not at all.
 */

const byId = id => document.getElementById(id);

// element('td.number', { title: 'x', hidden: true, onclick: f }, 'text', another)
function element(what, properties = {}, ...children)
{
	const [name, ...classes] = what.split('.');
	const node = document.createElement(name);

	node.classList.add(...classes);
	for (const [key, value] of Object.entries(properties))
		if (typeof value === 'function')
			node.addEventListener(key.slice(2), value);
		else if (typeof value === 'boolean')
			node.toggleAttribute(key, value);
		else if (value != null)
			node.setAttribute(key, value);
	node.append(...children);
	return node;
}

function drawing(size, ...paths)
{
	const make = (name, attributes) =>
	{
		const node = document.createElementNS('http://www.w3.org/2000/svg', name);
		Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
		return node;
	};
	const svg = make('svg', { viewBox: `0 0 ${size}`, 'aria-hidden': 'true' });
	svg.append(...paths.map(d => make('path', { d })));
	return svg;
}

const button = (text, onclick, more = {}) => element('button.small', { type: 'button', onclick, ...more }, text);

// Setting a text that is there already costs nothing.
function setText(node, text)
{
	if (node.textContent !== text)
		node.textContent = text;
}

// A number that JavaScript would write in another way than PostgreSQL, such as 8.80
class Decimal extends Number
{
	constructor(text)
	{
		super(text);
		this.text = text;
	}

	toJSON()
	{
		return JSON.rawJSON(this.text);
	}
}

const isNumber = value => typeof value === 'number' || value instanceof Decimal;

// JSON.parse() with such numbers. Older browsers do not tell the source of a value: then it is a plain number.
const parseExactly = text => JSON.parse(text, (name, value, { source } = {}) =>
	typeof value === 'number' && JSON.rawJSON && source !== String(value) ? new Decimal(source) : value);

const count = (number, what) => `${number.toLocaleString('en')} ${what}${number === 1 ? '' : 's'}`;
const clock = time => new Date(time).toLocaleTimeString('en-GB');
const cut = (text, length) => text.length > length ? `${text.slice(0, length)}…` : text;

/*
 * A function that has draw() called in an animation frame, at most once a frame. If drawing takes long, with what the
 * browser does for it, the next drawing waits so long that two thirds of the time are left to the page. A hidden page
 * draws nothing.
 */
function painter(draw)
{
	let wanted = false, busy = false;

	function paint()
	{
		const start = performance.now();
		wanted = false;
		busy = true;
		draw(start);
		setTimeout(() => setTimeout(() =>			// the first one begins when the browser has drawn
		{
			busy = false;
			if (wanted)
				requestAnimationFrame(paint);
		}, 2 * (performance.now() - start)));
	}
	return () =>
	{
		if (!wanted && !busy)
			requestAnimationFrame(paint);
		wanted = true;
	};
}

// Names of columns as text with commas between them, and back. A name with a comma stands in quotes.
const writeColumns = names => names?.map(name => /[,"\\]/.test(name) ? `"${name.replace(/[\\"]/g, '\\$&')}"` : name).join(',');

function readColumns(text)
{
	const names = (text.match(/"(\\.|[^"\\])*"|[^,]+/g) ?? []).map(name => name.trim())
		.map(name => /^".*"$/.test(name) ? name.slice(1, -1).replace(/\\(.)/g, '$1') : name).filter(Boolean);
	return names.length ? names : undefined;
}

// What the browser remembers over visits, if it may. A token is never among it.
const memory = {
	get(name)
	{
		try
		{
			return JSON.parse(localStorage.getItem(`pg_notifyd.${name}`));
		}
		catch
		{
			return null;
		}
	},
	set(name, value)
	{
		try
		{
			localStorage.setItem(`pg_notifyd.${name}`, JSON.stringify(value));
		}
		catch
		{
			// The browser may forbid it.
		}
	},
};
