/*
 * Calls: the functions that the client may call, from /openapi.json, each with a field for every argument.
 */

// A field for an argument, as its schema says. value() is undefined if it was left empty.
function argumentField(name, schema, required, given)
{
	const types = [schema.type].flat().filter(type => type !== 'null');
	const type = types.length === 1 ? types[0] : undefined;
	const choices = schema.enum?.filter(value => value !== null);
	const id = `argument-${name}`;
	let input;

	if (choices || type === 'boolean')
		input = element('select', { id }, ...required ? [] : [element('option', { value: '' }, '')],
			...(choices ?? ['true', 'false']).map(value => element('option', { value, selected: String(value) === given }, String(value))));
	else
		input = element('input', { id, required, autocomplete: 'off', value: given, placeholder: schema.format ?? types.join(' or '),
			inputmode: type === 'integer' || type === 'number' ? 'decimal' : undefined });
	return {
		node: element('div.field', {}, element('label', { for: id }, name, required ? '' : element('span.optional', {}, ' optional')), input),
		value()
		{
			if (input.value === '')
				return undefined;
			if (type === 'string' || choices)
				return input.value;
			try
			{
				const value = JSON.parse(input.value);
				return Number.isInteger(value) && !Number.isSafeInteger(value) ? input.value : value;
			}
			catch
			{
				return input.value;			// PostgreSQL says what is wrong with it
			}
		},
	};
}

function functionsOf(document)
{
	return Object.entries(document.paths ?? {}).filter(([path]) => path.startsWith('/rpc/')).map(([path, item]) =>
	{
		const schema = item.post?.requestBody?.content?.['application/json']?.schema ?? {};
		return { name: decodeURIComponent(path.slice(5)), description: item.post?.description ?? item.get?.description ?? '', schema };
	});
}

/*
 * session: { base, database, token, db }. wanted: a function's name and values for its arguments, from the page's address.
 */
function startCalls(session, wanted)
{
	const box = byId('calls'), body = byId('calls-body');
	let loadedFor;

	function showFunction(functions, name, values)
	{
		const chosen = functions.find(each => each.name === name) ?? functions[0];
		const { properties = {}, required = [] } = chosen.schema;
		const fields = Object.entries(properties).map(([key, schema]) => [key, argumentField(key, schema, required.includes(key), values.get(key) ?? undefined)]);
		const result = element('pre', { role: 'status', 'aria-label': 'Result', tabindex: '0' });
		const submit = element('button.primary', { type: 'submit' }, `Call ${chosen.name}`);
		const choose = element('select', { id: 'function', onchange: () => showFunction(functions, choose.value, new Map()) },
			...functions.map(each => element('option', { value: each.name, selected: each === chosen }, each.name)));
		body.replaceChildren(element('form', {
			async onsubmit(event)
			{
				event.preventDefault();
				const args = Object.fromEntries(fields.map(([key, field]) => [key, field.value()]).filter(([, value]) => value !== undefined));
				submit.disabled = true;
				result.classList.remove('error');
				try
				{
					setText(result, JSON.stringify(await session.db.call(chosen.name, args), null, 2) ?? '');
				}
				catch (error)
				{
					result.classList.add('error');
					setText(result, [error.message, error.data?.detail, error.data?.hint].filter(Boolean).join('\n'));
				}
				submit.disabled = false;
			},
		}, element('div.field', {}, element('label', { for: 'function' }, 'Function'), choose),
		...chosen.description ? [element('p.muted', {}, chosen.description)] : [], ...fields.map(([, field]) => field.node), submit, result));
	}

	async function load()
	{
		const mine = loadedFor = session.db;
		const url = new URL('openapi.json', session.base);
		if (session.database)
			url.searchParams.set('database', session.database);
		body.replaceChildren(element('p.muted', { role: 'status' }, 'Loading …'));
		try
		{
			const answer = await fetch(url, { headers: session.token ? { Authorization: `Bearer ${session.token}` } : {} });
			const document = await answer.json();
			if (mine !== session.db)
				return;
			if (!answer.ok)
				throw new Error(document.message ?? `status ${answer.status}`);
			const functions = functionsOf(document);
			if (functions.length)
				showFunction(functions, wanted.get('call'), wanted);
			else
				body.replaceChildren(element('p.muted', {}, 'There is no function that this role may call. Expose one: ', element('code', {}, "SELECT notify_expose('f(int)')")));
		}
		catch (error)
		{
			loadedFor = undefined;
			body.replaceChildren(element('p.error', { role: 'alert' }, `The functions are not known: ${error.message}.`), button('Try again', load));
		}
	}

	const look = () => box.open && session.db.state === 'open' && loadedFor !== session.db && load();
	box.addEventListener('toggle', look);
	box.open = wanted.has('call');
	return look;
}
