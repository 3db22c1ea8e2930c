/*
 * Panel: one channel with its filter and columns: the rows of its tables as they are, its messages, and how much happens.
 */

const LOADED_ROWS = 10000;		// of each table; beyond that the page has a part of the set
const MESSAGES = 200;
const RATE_SECONDS = 60;

const errorHints = {
	'-32001': 'This page needs a token: sign in.',
	'-32003': 'The role of this page needs SELECT on the table and USAGE on its schema, or the channel (notify_grant). To read rows, the role of pg_notifyd.authenticator_role must be a member of it. Or sign in with another token.',
	'-32004': 'Watch the table in this database: SELECT notify_watch(\'table\'). A channel for messages needs notify_grant(\'channel\', \'role\').',
	'-32602': 'Filters look like quantity=gt.2&name=like.*fries*, and columns like id,name. Write %26 for & in a value.',
	'-32013': 'A filter with an index, fewer columns, or a longer pg_notifyd.snapshot_timeout helps.',
	'-32011': 'The page tries again. If this stays: pg_notifyd.authenticator_role needs a role with LOGIN, and pg_notifyd.query_workers must not be 0.',
};

class Panel
{
	// options: { channel, filter, columns }; actions: { closed(panel), code(panel) }
	constructor(options, actions)
	{
		Object.assign(this, options);
		this.actions = actions;
		this.paused = false;
		this.waiting = 0;			// changes that are not drawn, because of the pause
		this.events = 0;
		this.order = undefined;
		this.rates = new Array(RATE_SECONDS).fill(0);
		this.parts = new Map();		// name of the table: { rows, view, section }
		this.staged = null;			// rows of a snapshot that is not complete
		this.messages = [];
		this.paint = painter(now => this.draw(now));
		this.build();
	}

	build()
	{
		const { channel, filter, columns } = this;
		const title = `panel-${Panel.count = (Panel.count ?? 0) + 1}`;
		const chips = [filter, writeColumns(columns)].filter(Boolean).map(text => element('span.chip', {}, text));

		this.rateText = element('output', { 'aria-label': 'Events per second' }, '0 /s');
		this.plot = drawing(`${RATE_SECONDS} 20`, '');
		this.plot.setAttribute('preserveAspectRatio', 'none');
		this.plot.setAttribute('role', 'img');
		this.plot.removeAttribute('aria-hidden');
		this.pauseButton = button('Pause', () => this.pause(!this.paused), { 'aria-pressed': 'false' });
		this.note = element('div.note', { role: 'status' }, 'Loading …');
		this.tables = element('div');
		this.list = element('ol.messages');
		this.messageBox = element('div.scroll', { tabindex: '0', role: 'region', 'aria-label': `Messages of ${channel}`, hidden: true }, this.list);
		this.amount = element('span.amount');
		this.positionText = element('span.position', { title: 'The position up to which this page has everything' });
		this.node = element('section.card.panel', { 'aria-labelledby': title },
			element('header', {}, element('h2', { id: title }, channel), element('div.what', {}, ...chips),
				element('div.rate', {}, this.plot, this.rateText),
				element('div.tools', {}, this.pauseButton, button('Clear', () => this.clear()), button('Code', () => this.actions.code(this)),
					button('Close', () => this.close(), { 'aria-label': `Close ${channel}` }))),
			this.note, this.tables, this.messageBox, element('footer.foot', {}, this.amount, this.positionText));
	}

	/* ---- the subscription ---- */

	attach(db)
	{
		this.db = db;
		this.subscription?.unsubscribe();
		this.staged = new Map();
		clearTimeout(this.timer);
		this.startedAt = Date.now();
		this.subscription = db.subscribe(this.channel, event => this.event(event), {
			filter: this.filter || undefined,
			columns: this.columns,
			snapshot: { limit: LOADED_ROWS, order: this.order },
			onRows: params => this.takeRows(params),
			onReset: () => { this.staged = new Map(); },
			onRetry: error => this.loaded || this.fail(error),
			onError: error => this.fail(error),
		});
		this.subscription.ready.then(() => this.say(this.loaded ? '' : 'Loading …'), () => {});
	}

	// The rows again, for events that do not say what the rows are now
	reload()
	{
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.attach(this.db), Math.max(0, this.startedAt + 1000 - Date.now()));
	}

	say(text, isError = false, ...more)
	{
		this.note.hidden = !text;
		this.note.classList.toggle('error', isError);
		this.note.replaceChildren(text, ...more);
	}

	fail(error)
	{
		const hint = error.data?.hint ?? errorHints[error.code];
		this.say(`${error.message}${error.data?.detail ? ` (${error.data.detail})` : ''}.`.replace(/\.\.$/, '.'), true,
			...hint ? [element('span.muted', {}, hint)] : [], button('Try again', () => this.attach(this.db)));
	}

	part(name, key)
	{
		let part = this.parts.get(name);
		if (part && key.length && !part.rows.key.length && part.rows.records.size === 0)
			part.rows.key = key;
		if (!part)
		{
			const rows = new Rows(name, key);
			const view = new TableView(rows, (column, sign) => this.orderBy(part, column, sign));
			part = { rows, view, section: element('div', {}, element('h3', {}, name), view.scroll) };
			this.parts.set(name, part);
			this.tables.append(part.section);
		}
		return part;
	}

	takeRows({ done, schema, table, key, rows })
	{
		if (!done)
		{
			const name = `${schema}.${table}`;
			if (!this.staged.has(name))
				this.staged.set(name, { key, rows: [] });
			this.staged.get(name).rows.push(...rows);
			if (!this.loaded)
				this.say(`Loading … ${count(this.staged.get(name).rows.length, 'row')}`);
			return;
		}
		for (const [name, staged] of this.staged)
		{
			const part = this.part(name, staged.key);
			part.rows.complete = staged.rows.length < LOADED_ROWS;
			part.rows.replace(staged.rows);
		}
		for (const [name, { rows }] of this.parts)
			if (!this.staged.has(name))
				rows.replace([]);
		this.staged = new Map();
		this.loaded = true;
		this.say('');
		this.changed();
	}

	event(event)
	{
		const { op, schema, table, key, old } = event;
		this.events++;
		this.rates[0]++;
		if (op === 'MESSAGE' || op === 'NOTIFY')
			this.message(event);
		else
		{
			const { rows } = this.part(`${schema}.${table}`, Object.keys(key ?? {}));
			const names = rows.key;
			if (op === 'TRUNCATE')
				rows.clear();
			else if (event.truncated || (!names.length && op !== 'INSERT'))
				this.reload();
			else if (op === 'DELETE')
				rows.remove(key);
			else
			{
				if (old && names.some(name => name in old && !sameValue(old[name], key[name])))
					rows.remove({ ...key, ...old });
				rows.put(event.new);
			}
			if (rows.records.size > 2 * LOADED_ROWS)
				rows.trim(LOADED_ROWS);
		}
		this.changed();
	}

	message({ op, at, by, payload })
	{
		const text = op === 'NOTIFY' ? payload : textOf(payload);
		this.messages.push({ at: at ?? Date.now(), by: by ?? (op === 'NOTIFY' ? 'NOTIFY' : ''), text });
		if (this.messages.length > 2 * MESSAGES)
			this.messages.splice(0, MESSAGES);
	}

	/* ---- drawing ---- */

	changed()
	{
		if (this.paused)
			this.waiting++;
		this.paint();
	}

	orderBy(part, column, sign)
	{
		part.rows.orderBy(column, sign);
		if (!part.rows.complete)		// PostgreSQL knows the first rows of that order
		{
			this.order = `"${column.replace(/[\\"]/g, '\\$&')}".${sign > 0 ? 'asc' : 'desc'}.nullslast`;
			this.attach(this.db);
		}
		this.paint();
	}

	pause(paused)
	{
		this.paused = paused;
		this.waiting = 0;
		this.pauseButton.setAttribute('aria-pressed', paused);
		setText(this.pauseButton, paused ? 'Resume' : 'Pause');
		this.node.classList.toggle('paused', paused);
		this.paint();
	}

	clear()
	{
		this.messages = [];
		this.list.replaceChildren();
		this.events = this.waiting = 0;
		this.rates.fill(0);
		this.tick(0);
		this.paint();
	}

	draw(now)
	{
		setText(this.amount, this.amountText());
		setText(this.positionText, this.subscription?.position ?? '');
		if (this.paused)
			return;
		for (const { rows, view } of this.parts.values())
			view.draw(now);
		this.drawMessages();
	}

	drawMessages()
	{
		const fresh = this.messages.splice(0).slice(-MESSAGES);
		if (!fresh.length)
			return;
		this.messageBox.hidden = false;
		this.list.prepend(...fresh.reverse().map(({ at, by, text }) => element('li', {}, element('time', {}, clock(at)),
			element('span.payload', { title: cut(text, 4000) }, cut(text, 1000)), element('span.by', {}, by))));
		while (this.list.childElementCount > MESSAGES)
			this.list.lastChild.remove();
	}

	amountText()
	{
		const all = [...this.parts.values()].map(({ rows }) => rows);
		const total = all.reduce((sum, { records }) => sum + records.size, 0);
		const more = all.some(({ complete }) => !complete) ? 'more than ' : '';
		const shown = all.reduce((sum, { records }) => sum + Math.min(SHOWN_ROWS, records.size), 0);
		const parts = [];

		if (all.length)
			parts.push(shown < total || more ? `showing ${shown.toLocaleString('en')} of ${more}${count(total, 'row')}` : count(total, 'row'));
		else if (this.loaded && !this.list.childElementCount && !this.messages.length)
			parts.push('no rows; rows and messages appear as they come');
		parts.push(count(this.events, 'event'));
		if (this.paused)
			parts.push(`paused, ${count(this.waiting, 'change')} waiting`);
		return parts.join(' · ');
	}

	// Once a second
	tick()
	{
		const now = performance.now();
		const peak = Math.max(4, ...this.rates);
		const bars = this.rates.map((rate, i) => rate ? `M${RATE_SECONDS - i - 1} 20v-${(18 * rate / peak + 1).toFixed(1)}h.75V20z` : '');

		this.plot.firstChild.setAttribute('d', bars.join(''));
		const text = `${this.rates[0].toLocaleString('en')} /s`;
		setText(this.rateText, text);
		this.plot.setAttribute('aria-label', `Events in the last minute: ${this.rates.reduce((a, b) => a + b).toLocaleString('en')}`);
		this.rates.pop();
		this.rates.unshift(0);
		this.sweep(now);
	}

	sweep(now)
	{
		for (const { view } of this.parts.values())
			view.sweep(now);
	}

	close()
	{
		clearTimeout(this.timer);
		this.subscription?.unsubscribe();
		this.node.remove();
		this.actions.closed(this);
	}
}
