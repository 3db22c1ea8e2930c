// The servers of a test: psql, pg_ctl, tokens, and a proxy in front of the gateway. The Perl script sets PGHOST and so on.
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { connect as dial, createServer } from 'node:net';
import { promisify } from 'node:util';

const run = promisify(execFile);
const environment = process.env;

export const gatewayPort = Number(environment.GATEWAY_PORT);

// The result of SQL, as text without alignment.
export async function sql(text)
{
	const { stdout } = await run('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', text]);
	return stdout.trimEnd();
}

// Restart the server: fast, immediate.
export function restart(mode)
{
	return run('pg_ctl', ['-D', environment.PGDATA, '-m', mode, '-w', '-l', environment.LOGFILE, 'restart']);
}

export function token(claims, lifetime = 600)
{
	const parts = [{ alg: 'HS256', typ: 'JWT' }, { exp: Math.floor(Date.now() / 1000) + lifetime, ...claims }];
	const signed = parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
	return `${signed}.${createHmac('sha256', environment.SECRET).update(signed).digest('base64url')}`;
}

// psql whose standard input takes statements; lines() gets what they print. It ends with the server.
export function session(lines, ended)
{
	const psql = spawn('psql', ['-XqAt'], { stdio: ['pipe', 'pipe', 'ignore'] });
	let rest = '';
	psql.stdout.on('data', (data) =>
	{
		const parts = (rest + data).split('\n');
		rest = parts.pop();
		parts.forEach(lines);
	});
	psql.stdin.on('error', () => {});
	psql.on('exit', ended);
	return psql;
}

/*
 * A proxy in front of the gateway. While it is "faulty" it cuts, stalls and half-closes connections at random moments,
 * and passes bytes on in pieces. While it is "closed" it has no connections.
 */
export async function proxy(random)
{
	const pairs = new Set();
	const state = { faulty: false, closed: false, faults: { cut: 0, stall: 0, half: 0, refused: 0 } };
	const server = createServer({ allowHalfOpen: true }, (near) =>
	{
		near.on('error', () => {});
		if (state.closed || state.faulty && random(6) === 0)
		{
			state.faults.refused++;
			near.destroy();
			return;
		}
		const far = dial({ port: gatewayPort, host: '127.0.0.1', allowHalfOpen: true });
		const pair = { near, far, stalled: false };
		const end = () => { pairs.delete(pair); near.destroy(); far.destroy(); };
		pairs.add(pair);
		far.on('error', end);
		for (const [from, to] of [[near, far], [far, near]])
		{
			const waiting = [];
			let busy = false;
			const pass = () =>
			{
				if (pair.stalled || busy || !waiting.length)
					return;
				// In two pieces, which the receiver may see apart
				const data = waiting.shift(), cut = state.faulty ? random(data.length + 1) : data.length;
				if (cut < data.length)
					waiting.unshift(data.subarray(cut));
				busy = true;
				to.write(data.subarray(0, cut), () => { busy = false; setImmediate(pass); });
			};
			pair.pass = [...pair.pass ?? [], pass];
			from.on('data', (data) => { waiting.push(data); pass(); });
			from.on('end', () => { const last = () => waiting.length ? setTimeout(last, 5) : to.end(); last(); });
			from.on('close', () => setTimeout(end, 20));
			to.on('error', end);
		}
	});
	const fault = () =>
	{
		for (const pair of state.faulty ? pairs : [])
			switch (random(10))
			{
				case 0:
					state.faults.cut++;
					pair.near.destroy();
					pair.far.destroy();
					break;
				case 1:
					state.faults.half++;
					(random(2) ? pair.near : pair.far).end();
					break;
				case 2:
					state.faults.stall++;
					pair.stalled = true;
					setTimeout(() => { pair.stalled = false; pair.pass.forEach(pass => pass()); }, random(1500));
					break;
			}
	};
	setInterval(fault, 100).unref();
	await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
	return Object.assign(state, {
		port: server.address().port,
		close()
		{
			state.closed = true;
			pairs.forEach(({ near, far }) => { near.destroy(); far.destroy(); });
		},
	});
}

// A reproducible random(n): 0 to n - 1
export function randomness(seed)
{
	let state = BigInt(seed) + 0x9e3779b97f4a7c15n;
	return (n) =>
	{
		state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
		return Number((state >> 33n) % BigInt(n));
	};
}
