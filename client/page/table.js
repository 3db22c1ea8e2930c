/*
 * TableView: draws the first rows of a Rows as a table. It touches only the cells that differ from what it has drawn.
 */

const SHOWN_ROWS = 500;
const MARK_MS = 1200;		// that a change stays marked, and a row that has left stays
const MARKS = 200;			// marks of one kind at a time: more are noise, and slow
const LEAVING = 20;			// rows that fade at a time: others go at once
const COLUMN_MIN = 4;		// characters
const COLUMN_MAX = 34;
const CELL_MAX = 300;

function textOf(value)
{
	if (value === null)
		return 'NULL';
	if (value === undefined)
		return '';
	return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function setCell(cell, value)
{
	const text = textOf(value);
	cell.className = value === null ? 'null' : isNumber(value) ? 'number' : typeof value === 'object' ? 'json' : '';
	cell.textContent = cut(text, CELL_MAX);
	if (text.length > COLUMN_MAX - 6)
		cell.title = cut(text, 4000);
	else
		cell.removeAttribute('title');
}

class TableView
{
	constructor(rows, onOrder)
	{
		this.rows = rows;
		this.onOrder = onOrder;
		this.drawn = [];			// columns
		this.shown = new Set();		// records in the page
		this.leaving = new Set();	// lines of records that have left
		this.marks = new Map();		// marked nodes: until when
		this.widths = [];
		this.columns = element('colgroup');
		this.head = element('tr');
		this.body = element('tbody');
		this.table = element('table', {}, this.columns, element('thead', {}, this.head), this.body);
		this.scroll = element('div.scroll', { tabindex: '0', role: 'region', 'aria-label': `Rows of ${rows.name}` }, this.table);
	}

	drawHead()
	{
		const { columns, key, sort } = this.rows;
		this.drawn = [...columns];
		this.widths.length = columns.length;
		this.columns.replaceChildren(...columns.map(() => element('col')));
		this.head.replaceChildren(...columns.map(name =>
		{
			const order = sort?.column !== name ? 'none' : sort.sign > 0 ? 'ascending' : 'descending';
			const isKey = key.includes(name);
			return element(`th${isKey ? '.key' : ''}`, { scope: 'col', 'aria-sort': order },
				element('button', { type: 'button', title: isKey ? `${name}, part of the key` : name,
					onclick: () => this.onOrder(name, order === 'ascending' ? -1 : 1) }, element('span', {}, name)));
		}));
		this.columns.childNodes.forEach((col, i) => this.setWidth(i, this.widths[i] ?? columns[i].length + 3));
		for (const record of this.shown)
			this.drawCells(record, null);
	}

	// Widths only grow, so that the table does not jump.
	setWidth(i, width)
	{
		this.widths[i] = Math.min(COLUMN_MAX, Math.max(COLUMN_MIN, width));
		this.columns.childNodes[i].style.width = `calc(${this.widths[i]}ch + 1.7rem)`;
	}

	// changed: the names of the columns to draw; null: all
	drawCells(record, changed)
	{
		const { node, row } = record;
		while (node.cells.length < this.drawn.length)
			node.append(element('td'));
		this.drawn.forEach((name, i) =>
		{
			if (changed && !changed.has(name))
				return;
			const cell = node.cells[i], value = row[name];
			setCell(cell, value);
			if (isNumber(value))
				this.head.cells[i].classList.add('number');
			const length = Math.min(cell.textContent.length, COLUMN_MAX);
			if (length > this.widths[i])
				this.setWidth(i, length + 1);
		});
	}

	mark(node, name, now)
	{
		if (this.marks.size >= MARKS && !this.marks.has(node))
			return;
		node.classList.add(name);
		this.marks.set(node, now + MARK_MS);
	}

	// Take marks away whose time is over. Returns true if some are left.
	sweep(now)
	{
		for (const [node, until] of this.marks)
			if (until <= now || !node.isConnected)
			{
				this.marks.delete(node);
				if (this.leaving.delete(node))
					node.remove();
				else
					node.classList.remove('changed', 'entered');
			}
		return this.marks.size > 0;
	}

	drawRecord(record, now, first)
	{
		if (!record.node)
		{
			record.node = element('tr');
			this.drawCells(record, null);
			if (record.entered && !first)
				this.mark(record.node, 'entered', now);
		}
		else if (record.stale)
		{
			this.drawCells(record, record.changed);
			if (record.changed)
				this.drawn.forEach((name, i) => record.changed.has(name) && this.mark(record.node.cells[i], 'changed', now));
		}
		record.entered = record.stale = false;
		record.changed = null;
	}

	// Lines of records that are shown no more: those that have left the set fade, the others go at once.
	drawLeft(visible, now)
	{
		for (const record of this.rows.left)
			if (this.shown.delete(record) && record.node)
			{
				if (this.leaving.size >= LEAVING || this.rows.left.length > LEAVING || this.marks.size >= MARKS)
					record.node.remove();
				else
				{
					this.leaving.add(record.node);
					this.mark(record.node, 'leaving', now);
				}
				record.node = null;
			}
		this.rows.left = [];
		for (const record of this.shown)
			if (!visible.has(record))
			{
				record.node.remove();
				record.node = null;
				this.shown.delete(record);
			}
	}

	draw(now)
	{
		const { rows } = this;
		const list = rows.sorted.slice(0, SHOWN_ROWS);
		const first = this.drawn.length === 0;

		this.drawLeft(new Set(list), now);
		if (rows.columns.length !== this.drawn.length || this.headSort !== rows.sort)
			this.drawHead();
		this.headSort = rows.sort;
		this.table.classList.toggle('busy', this.marks.size > MARKS / 4);
		let next = this.body.firstChild;
		for (const record of list)
		{
			this.drawRecord(record, now, first);
			while (next && this.leaving.has(next))
				next = next.nextSibling;
			if (record.node === next)
				next = next.nextSibling;
			else
				this.body.insertBefore(record.node, next);
			this.shown.add(record);
		}
	}
}
