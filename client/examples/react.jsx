// npm install react react-dom
import { useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from 'pg_notifyd';

const db = connect('ws://localhost:7432/ws?database=shop');
const orders = db.table('orders', { order: 'id.desc', limit: 10 });

function State() {
	return <p>{useSyncExternalStore(changed => db.on('state', changed), () => db.state)}</p>;
}

function Orders() {
	const rows = useSyncExternalStore(orders.subscribe, orders.getSnapshot);

	return <ul>{rows.map(({ id, quantity, name }) => <li key={id}>{quantity} × {name}</li>)}</ul>;
}

createRoot(document.querySelector('#app')).render(<><State /><Orders /></>);
