// follow.mjs URL COUNT: the same as follow.py by Node's WebSocket, before Node 22 with --experimental-websocket.
// NODE_EXTRA_CA_CERTS names the certificates to trust.
const [url, count] = [process.argv[2], Number(process.argv[3])];
const client = new WebSocket(url);
let seen = 0;

client.onopen = () => client.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'subscribe', params: { channel: 't' } }));
client.onerror = error => { console.log('error', error.message ?? ''); process.exit(1); };
client.onmessage = ({ data }) => {
	const message = JSON.parse(data);
	if (message.id === 1)
		console.log(message.result ? 'subscribed' : data);
	else if (message.method === 'event')
	{
		console.log(JSON.stringify(message.params));
		if (++seen === count)
			process.exit(0);
	}
};
