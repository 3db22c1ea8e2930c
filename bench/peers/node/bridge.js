// bridge.js PORT HOST DATABASE CHANNEL: LISTENs to the channel and sends each payload to every WebSocket client that
// has subscribed. As the documentation of pg and ws has it; compression is off, which is what ws advises and its default.
'use strict';

const { Client } = require('pg');
const { WebSocketServer, WebSocket } = require('ws');

const [port, host, database, channel] = process.argv.slice(2);
const subscribers = new Set();

async function main() {
	const db = new Client({ host, database, user: 'postgres' });
	await db.connect();

	const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
	server.on('connection', (socket) => {
		socket.on('message', (data) => {
			const request = JSON.parse(data);
			if (request.method !== 'subscribe')
				return;
			subscribers.add(socket);
			socket.send(JSON.stringify({ id: request.id, result: { channel } }));
		});
		socket.on('close', () => subscribers.delete(socket));
		socket.on('error', () => subscribers.delete(socket));
	});

	db.on('notification', ({ payload }) => {
		// One buffer for all, rather than one copy of the string for each.
		const data = Buffer.from(payload);
		for (const socket of subscribers)
			if (socket.readyState === WebSocket.OPEN)
				socket.send(data, { binary: false });
	});
	await db.query(`LISTEN ${channel}`);
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});
