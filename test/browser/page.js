// In the pages of 001_browser.pl: connects to the gateway as the page's address says, reconnects with "since" when the
// connection is lost, and reports everything that happens to the test.
const parameters = new URLSearchParams(location.search);
const seen = [];
let position;

function report(what)
{
	seen.push(what);
	navigator.sendBeacon('/report', JSON.stringify({ page: parameters.get('page'), seen }));
}

function connect()
{
	const socket = new WebSocket(parameters.get('ws'), 'pg_notifyd.v1');
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
			report(error ? `error ${error.code}` : `subscribed with ${socket.protocol}`);
		if (method === 'event')
			report(`${params.op} ${params.key.id} ${params.new?.name}`);
		if (method === 'reset')
			report('reset');
	};
	socket.onclose = ({ code }) =>
	{
		report(opened ? `closed ${code}` : 'refused');
		if (opened || seen.includes('subscribed with pg_notifyd.v1'))
			setTimeout(connect, 100);
	};
}
connect();
