/** Types of pg_notifyd's client library. doc/client.md describes it, doc/protocol.md the members of events. */

/** A place in the order of a database's events, as the server sends it. Store it, and send it back as `since`. */
export type Position = string;

export type Json = null | boolean | number | string | Json[] | { [member: string]: Json };

export type Row = Record<string, any>;

export interface RowEvent<R extends Row = Row> {
	position: Position;
	/** Increases from event to event, and is never reused in a database. */
	id: number;
	/** The transaction. Its events stand together. */
	tx: number;
	/** The place of the event in its transaction, and how many events this has on all channels. */
	seq: number;
	of: number;
	/** When the commit began, in UTC. */
	at: string;
	/** What the change does to the rows of the subscription. */
	op: 'INSERT' | 'UPDATE' | 'DELETE' | 'TRUNCATE';
	/** An UPDATE has brought the row into the set, or out of it. */
	cause?: 'UPDATE';
	schema: string;
	table: string;
	channel: string;
	/** Not for TRUNCATE. */
	key: Partial<R>;
	/** For INSERT and UPDATE. */
	new?: R;
	/** For UPDATE and DELETE, if the watch has old_values; at least the old key if an UPDATE changes it. */
	old?: Partial<R>;
	/** What the payload function of the watch has made of the rows, which the event lacks then. */
	payload?: Json;
	/** What the writer's transaction has set as pg_notifyd.context. */
	context?: Json;
	/** The event is too large, and has only its keys. */
	truncated?: true;
}

export interface MessageEvent {
	position: Position;
	id: number;
	tx: number;
	seq: number;
	of: number;
	at: string;
	op: 'MESSAGE';
	channel: string;
	/** The role that sent it. */
	by: string;
	payload?: Json;
	context?: Json;
	truncated?: true;
}

/** A raw NOTIFY. It is not logged, and has no position. */
export interface NotifyEvent {
	position?: undefined;
	id?: undefined;
	tx?: undefined;
	op: 'NOTIFY';
	channel: string;
	payload: string;
}

export type Event<R extends Row = Row> = RowEvent<R> | MessageEvent | NotifyEvent;

export interface Reset {
	channel: string;
	reason: string;
	/** The stream goes on from here; some changes before it are not sent. */
	position: Position;
}

/** An error of the server (code and data as in doc/protocol.md), or the end of a connection (its close code). */
export interface NotifydError extends Error {
	code?: number;
	data?: { channel?: string; parameter?: string; name?: string; sqlstate?: string; detail?: string; hint?: string };
}

export interface ConnectOptions {
	/**
	 * A JWT, or a function that returns a valid one, called before each connection and before the last one expires.
	 * Without a token, or with undefined, the client is anonymous.
	 */
	token?: string | (() => string | undefined | Promise<string | undefined>);
	/** The database; else that of the url, else the server's default one. */
	database?: string;
	/** Numbers that a JavaScript number does not hold exactly come as strings. */
	bigint?: boolean;
	/** What reads a message; JSON.parse without it. */
	parse?: (text: string) => unknown;
	/** A WebSocket class, where there is no global one. */
	WebSocket?: unknown;
	/** The first reconnection is after a random part of this time (500 ms). It doubles with each attempt, */
	minDelay?: number;
	/** up to this one (30,000 ms). */
	maxDelay?: number;
	/** A connection on which nothing comes for this time, not even an answer, is given up (45,000 ms). */
	idle?: number;
	/** How long a call waits for a connection (30,000 ms). */
	callTimeout?: number;
}

export interface Selection {
	/** PostgREST's syntax, such as "branch_id=eq.7&price=gt.10". */
	filter?: string;
	/** Only these columns, and the key. */
	columns?: string[];
}

export interface SubscribeOptions<R extends Row = Row> extends Selection {
	ops?: ('INSERT' | 'UPDATE' | 'DELETE' | 'TRUNCATE' | 'MESSAGE' | 'NOTIFY')[];
	/** Begin after this position; without it, or with null, now. */
	since?: Position | null;
	/** Rows first, see doc/snapshots.md. */
	snapshot?: boolean | { order?: string; limit?: number };
	onRows?(rows: { schema?: string; table?: string; key?: string[]; rows: R[]; done?: true; position?: Position }): void;
	/** Changes are missing: load again what was made of them. */
	onReset?(reset: Reset): void;
	/** A bookmark on a quiet connection: everything before it has come. */
	onPosition?(bookmark: { position: Position }): void;
	/** The server cannot serve the subscription at present, and the library subscribes again later. */
	onRetry?(error: NotifydError): void;
	/** The subscription has been refused or has ended for good. */
	onError?(error: NotifydError): void;
}

export interface Subscription {
	/** Resolves when the subscription begins; rejects if it is refused. */
	readonly ready: Promise<void>;
	/** Everything up to here has been given to the functions of the subscription, and these have returned. */
	readonly position: Position | undefined;
	unsubscribe(): void;
}

export interface Transaction<R extends Row = Row> {
	reset?: undefined;
	/** Not for a raw NOTIFY, which stands alone. */
	tx?: number;
	at?: string;
	position?: Position;
	events: Event<R>[];
}

/** Changes are missing: load again what was made of them. */
export interface ResetTransaction {
	reset: string;
	position: Position;
	events: [];
}

export interface TableOptions extends Selection {
	/** Such as "price.desc.nullslast,name"; without it, the rows are in the order of their key. */
	order?: string;
	/** Only the first rows in this order. */
	limit?: number;
	/** Compares two texts as the database does, for example `new Intl.Collator('de').compare`. */
	compareText?(a: string, b: string): number;
}

export interface TableChange<R extends Row = Row> {
	/** The rows are new: the first ones, or after a reset. */
	snapshot?: true;
	tx?: number;
	at?: string;
	position: Position;
	events: RowEvent<R>[];
}

export interface Table<R extends Row = Row> {
	/** Resolves with the table when the first rows are here; rejects if they will not come. */
	readonly ready: Promise<Table<R>>;
	/** The rows after the last whole transaction, in order. The array is another one after each change. */
	readonly rows: readonly R[];
	/** Why the table is no longer live, if it is not. */
	readonly error: NotifydError | undefined;
	readonly position: Position | undefined;
	/** The row with this key: its value, or an object with the key's columns. `table`: of several on the channel. */
	get(key: string | number | Partial<R>, table?: string): R | undefined;
	/** Called once for each transaction. Returns a function that ends it. */
	on(type: 'change', listener: (change: TableChange<R>) => void): () => void;
	on(type: 'error', listener: (error: NotifydError) => void): () => void;
	/** For useSyncExternalStore(table.subscribe, table.getSnapshot) of React, and as a store of Svelte. */
	subscribe(listener: (rows: readonly R[]) => void): () => void;
	getSnapshot(): readonly R[];
	close(): void;
}

export type State = 'connecting' | 'open' | 'waiting' | 'closed';

export interface StateChange {
	state: State;
	/** Why there is no connection. */
	error?: NotifydError;
	/** When waiting: the time of the next attempt, as Date.now() has it. */
	retryAt?: number;
}

export interface Connection extends Readonly<StateChange> {
	on(type: 'state', listener: (change: StateChange) => void): () => void;
	/** Errors of subscriptions and tables without a listener of their own; without this one, console.error() has them. */
	on(type: 'error', listener: (error: NotifydError) => void): () => void;
	subscribe<R extends Row = Row>(channel: string, onEvent: (event: Event<R>) => void, options?: SubscribeOptions<R>): Subscription;
	/** The rows of a channel, live. */
	table<R extends Row = Row>(channel: string, options?: TableOptions): Table<R>;
	/** Whole transactions, one after the other. The subscription begins with the loop, and ends with it. */
	transactions<R extends Row = Row>(channel: string, options?: Selection & Pick<SubscribeOptions<R>, 'ops' | 'since' | 'onPosition'>):
		AsyncGenerator<Transaction<R> | ResetTransaction, void, void>;
	/** The result of an exposed function. */
	call<T = unknown>(name: string, args?: Record<string, unknown> | unknown[]): Promise<T>;
	/** Publish a message. Resolves after the commit. */
	send(channel: string, payload: Json): Promise<void>;
	close(): void;
}

/** Connect to a gateway: the address of its page or of its "/ws", in a page by default that of the page. */
export function connect(url?: string | URL | Location, options?: ConnectOptions): Connection;
