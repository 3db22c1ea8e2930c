/*
 * What a panel shows as code: JavaScript with the client library, curl, Python. The token is not in it: the code reads it
 * from the environment.
 */

const quoteShell = text => `'${text.replaceAll("'", "'\\''")}'`;
const quoteScript = text => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;

const codeLanguages = {
	javascript: {
		name: 'client.js',
		file: 'mjs',
		note: ({ url }) => `Runs with Node 22 or later, Deno and Bun. In a page, begin with: import { connect } from '${url}client.js'`,
		text({ url, database, signedIn, channel, filter, columns, isTable })
		{
			const options = [
				...filter ? [`filter: ${quoteScript(filter)}`] : [],
				...columns ? [`columns: [${columns.map(quoteScript).join(', ')}]`] : [],
			].join(', ');
			const connection = [
				...database ? [`database: ${quoteScript(database)}`] : [],
				...signedIn ? ['token: process.env.TOKEN'] : [],
			].join(', ');
			const more = options && `, { ${options} }`;
			return [
				`const library = await (await fetch(${quoteScript(`${url}client.js`)})).text();`,
				'const { connect } = await import(`data:text/javascript,${encodeURIComponent(library)}`);',
				'',
				`const db = connect(${quoteScript(url)}${connection && `, { ${connection} }`});`,
				`db.on('state', ({ state, error }) => console.error(state, error?.message ?? ''));`,
				`db.on('error', error => { console.error(error.message); db.close(); });`,
				'',
				...isTable ? [
					`const table = db.table(${quoteScript(channel)}${more});`,
					'',
					"table.on('change', ({ snapshot, events }) => {",
					'\tif (snapshot)',
					'\t\tconsole.log(JSON.stringify(table.rows));',
					'\tfor (const { op, key, new: row } of events)',
					'\t\tconsole.log(op, JSON.stringify(row ?? key));',
					'});',
				] : [
					`db.subscribe(${quoteScript(channel)}, event => console.log(event.op, JSON.stringify(event.payload))${more});`,
				],
			].join('\n');
		},
	},
	curl: {
		name: 'curl',
		file: 'sh',
		note: () => 'Server-sent events: the rows first, then each change as it is committed.',
		text({ url, database, signedIn, channel, filter, columns, isTable })
		{
			const parameters = [['channel', channel], ['filter', filter], ['columns', writeColumns(columns)], ['snapshot', isTable ? 'true' : ''], ['database', database]];
			const query = parameters.filter(([, value]) => value).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
			return `curl -sSN ${signedIn ? '-H "Authorization: Bearer $TOKEN" ' : ''}${quoteShell(`${url}events?${query}`)}`;
		},
	},
	python: {
		name: 'Python',
		file: 'py',
		note: () => 'Needs the package websockets, version 10 or later. It connects again, and resumes, by itself.',
		text({ url, database, signedIn, channel, filter, columns, isTable })
		{
			const target = new URL('ws', url);
			target.protocol = target.protocol.replace('http', 'ws');
			if (database)
				target.searchParams.set('database', database);
			const parameters = [
				`"channel": ${JSON.stringify(channel)}`,
				...filter ? [`"filter": ${JSON.stringify(filter)}`] : [],
				...columns ? [`"columns": ${JSON.stringify(columns)}`] : [],
				...isTable ? ['"snapshot": True'] : [],
				'"since": position',
			].join(', ');
			return [
				'import asyncio',
				'import json',
				...signedIn ? ['import os'] : [],
				'import random',
				'',
				'import websockets',
				'',
				`URL = ${JSON.stringify(target.href)}`,
				`PROTOCOLS = ["pg_notifyd.v1"${signedIn ? ', "bearer." + os.environ["TOKEN"]' : ''}]`,
				'',
				'',
				'async def main():',
				'    position = None',
				'    async for socket in websockets.connect(URL, subprotocols=PROTOCOLS, max_size=None):',
				'        try:',
				`            params = {${parameters}}`,
				'            await socket.send(json.dumps({"id": 1, "method": "subscribe", "params": params}))',
				'            async for text in socket:',
				'                print(text, flush=True)',
				'                message = json.loads(text)',
				'                if "error" in message:',
				'                    return',
				'                position = (message.get("params") or message.get("result") or {}).get("position", position)',
				'        except websockets.ConnectionClosed as closed:',
				'            if closed.rcvd and closed.rcvd.code == 4401:',
				'                raise SystemExit(closed.rcvd.reason)',
				'            print(closed)',
				'            await asyncio.sleep(random.random())',
				'',
				'',
				'asyncio.run(main())',
			].join('\n');
		},
	},
};

// The dialog. Returns show(what), where what is what the languages' text() takes.
function startCode()
{
	const dialog = byId('code'), text = byId('code-text');
	let current, language = 'javascript';

	function draw()
	{
		setText(text, codeLanguages[language].text(current));
		setText(byId('code-note'), codeLanguages[language].note(current) + (current.signedIn ? ' Set TOKEN in the environment.' : ''));
		setText(byId('code-copied'), '');
	}
	for (const [key, { name }] of Object.entries(codeLanguages))
		byId('code-tabs').append(element('label', {}, element('input', {
			type: 'radio', name: 'language', value: key, checked: key === language,
			onchange()
			{
				language = key;
				draw();
			},
		}), name));
	byId('code-copy').addEventListener('click', async () =>
	{
		getSelection().selectAllChildren(text);
		try
		{
			await navigator.clipboard.writeText(text.textContent);
		}
		catch
		{
			document.execCommand('copy');		// pages that are not from a secure context have no clipboard
		}
		setText(byId('code-copied'), 'Copied');
	});
	byId('code-close').addEventListener('click', () => dialog.close());
	return (what) =>
	{
		current = what;
		draw();
		dialog.showModal();
	};
}
