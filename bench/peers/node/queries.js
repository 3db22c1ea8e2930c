// queries.js PORT HOST DATABASE WORKERS: what many would write instead of snapshots and calls: a WebSocket server that runs
// queries of its clients by a pool of the same size, each in a transaction with the client's role and claims.
'use strict';

const { Pool } = require('pg');
const { WebSocketServer } = require('ws');

const [port, host, database, workers] = process.argv.slice(2);
const claims = JSON.stringify({ role: 'customer', sub: 'c1' });

async function transaction(pool, text, values) {
	const db = await pool.connect();
	try {
		await db.query('BEGIN');
		await db.query({ name: 'become', text: "SELECT set_config('role', 'customer', true), set_config('request.jwt.claims', $1, true)",
			values: [claims] });
		const result = await db.query({ name: text, text, values });
		await db.query('COMMIT');
		return result.rows;
	} catch (error) {
		await db.query('ROLLBACK');
		throw error;
	} finally {
		db.release();
	}
}

async function answer(pool, socket, { id, method, params }) {
	if (method === 'call') {
		const rows = await transaction(pool, 'SELECT add_one($1) AS result', [params.args.a]);
		socket.send(JSON.stringify({ id, result: rows[0].result }));
	} else {
		const owner = params.filter.slice('owner=eq.'.length);
		const rows = await transaction(pool, 'SELECT * FROM items WHERE owner = $1 ORDER BY id', [owner]);
		socket.send(JSON.stringify({ method: 'rows', params: { rows } }));
	}
}

const pool = new Pool({ host, database, user: 'authenticator', max: Number(workers) });
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
server.on('connection', (socket) => {
	socket.on('message', (data) => {
		const request = JSON.parse(data);
		answer(pool, socket, request).catch((error) => socket.send(JSON.stringify({ id: request.id, error: error.message })));
	});
	socket.on('error', () => {});
});
