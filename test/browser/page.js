// In the pages of 001_browser.pl: connects to the gateway as the page's address says, reconnects with "since" when the
// connection is lost, and keeps in "seen" everything that happens.
const seen = [];
let position;

function connect()
{
	const socket = new WebSocket(new URLSearchParams(location.search).get('ws'), 'pg_notifyd.v1');
	let opened = false;
	socket.onopen = () =>
	{
		opened = true;
		socket.send(JSON.stringify({ id: 1, method: 'subscribe', params: { channel: 'orders', since: position } }));
	};
	socket.onmessage = ({ data }) =>
	{
		const { id, result, error, method, params } = JSON.parse(data);
		position = params?.position ?? result?.position ?? position;
		if (id === 1)
			seen.push(error ? `error ${error.code}` : `subscribed with ${socket.protocol}`);
		if (method === 'event')
			seen.push(`${params.op} ${params.key.id} ${params.new?.name}`);
		if (method === 'reset')
			seen.push('reset');
	};
	socket.onclose = ({ code }) =>
	{
		seen.push(opened ? `closed ${code}` : 'refused');
		if (opened || seen.includes('subscribed with pg_notifyd.v1'))
			setTimeout(connect, 100);
	};
}
connect();
