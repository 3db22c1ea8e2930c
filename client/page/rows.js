/*
 * Rows: those of one table of a channel, by key and in order, with what has happened to them since they were drawn.
 */

const sameValue = (a, b) => a === b || (a !== null && typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b));

// NULLs come last in both directions.
function compareValues(a, b, sign)
{
	const plain = value => value instanceof Decimal ? Number(value) : value;
	return a == null || b == null ? (a == null) - (b == null) : sign * compare(plain(a), plain(b), less);
}

class Rows
{
	constructor(name, key)
	{
		this.name = name;
		this.key = key;
		this.columns = [...key];
		this.records = new Map();
		this.sorted = [];
		this.sort = null;				// { column, sign }
		this.left = [];					// records that have left since they were drawn
		this.complete = true;			// false: the set has rows that are not here
	}

	keyOf(row)
	{
		return this.key.length ? JSON.stringify(this.key.map(name => row[name])) : String(this.records.size);
	}

	// The default order: by key, and new rows first if the key is a number that grows.
	chooseOrder(row)
	{
		const [first] = this.key;
		this.sort = { column: first ?? null, sign: this.key.length === 1 && isNumber(row[first]) ? -1 : 1 };
	}

	compare(a, b)
	{
		const { column, sign } = this.sort;
		const result = column === null ? 0 : compareValues(a.row[column], b.row[column], sign);
		if (result)
			return result;
		for (const name of this.key)
		{
			const byKey = compareValues(a.row[name], b.row[name], sign);
			if (byKey)
				return byKey;
		}
		return a.number - b.number;
	}

	// The place of a record in the order, or where it belongs
	place(record)
	{
		let low = 0, high = this.sorted.length;
		while (low < high)
		{
			const middle = (low + high) >> 1;
			if (this.compare(this.sorted[middle], record) < 0)
				low = middle + 1;
			else
				high = middle;
		}
		return low;
	}

	orderBy(column, sign)
	{
		this.sort = { column, sign };
		this.sorted.sort((a, b) => this.compare(a, b));
	}

	notice(row)
	{
		for (const name in row)
			if (!this.columns.includes(name))
				this.columns.push(name);
	}

	// A row comes or changes. Returns its record.
	put(row, mark = true)
	{
		const id = this.keyOf(row);
		const old = this.records.get(id);

		if (!this.sort)
			this.chooseOrder(row);
		this.notice(row);
		if (!old)
		{
			const record = { id, row, number: this.records.size, entered: mark, changed: null, node: null };
			this.records.set(id, record);
			this.sorted.splice(this.place(record), 0, record);
			return record;
		}
		const changed = Object.keys(row).filter(name => !sameValue(row[name], old.row[name]));
		const moves = changed.includes(this.sort.column);
		if (moves)
			this.sorted.splice(this.place(old), 1);
		old.row = row;
		if (moves)
			this.sorted.splice(this.place(old), 0, old);
		if (changed.length && mark)
			old.changed = new Set([...old.changed ?? [], ...changed]);
		old.stale ||= changed.length > 0;
		return old;
	}

	remove(row)
	{
		const record = this.records.get(this.keyOf(row));
		if (!record)
			return;
		this.records.delete(record.id);
		this.sorted.splice(this.place(record), 1);
		this.left.push(record);
	}

	clear()
	{
		this.left.push(...this.sorted);
		this.records.clear();
		this.sorted = [];
	}

	// Become these rows, with the marks of what differs.
	replace(rows)
	{
		if (!this.key.length)
			this.clear();
		const next = this.key.length ? new Set(rows.map(row => this.keyOf(row))) : null;
		const fresh = this.records.size === 0 && this.left.length === 0;
		if (next)
			[...this.records.values()].filter(record => !next.has(record.id)).forEach(record => this.remove(record.row));
		if (fresh)
			this.load(rows);
		else
			rows.forEach(row => this.put(row, next !== null));
	}

	// Many rows at once, into none
	load(rows)
	{
		if (!rows.length)
			return;
		this.sort ?? this.chooseOrder(rows[0]);
		this.notice(rows[0]);
		for (const row of rows)
		{
			const id = this.keyOf(row);
			this.records.set(id, { id, row, number: this.records.size, entered: false, changed: null, node: null });
		}
		this.sorted = [...this.records.values()].sort((a, b) => this.compare(a, b));
	}

	// Keep the first ones in the order.
	trim(size)
	{
		this.sorted.splice(size).forEach(record => this.records.delete(record.id));
		this.complete = false;
	}
}
