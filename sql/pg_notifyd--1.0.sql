/* pg_notifyd 1.0 */

-- complain if the script is sourced in psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION pg_notifyd" to load this file. \quit

CREATE SCHEMA notifyd;
COMMENT ON SCHEMA notifyd IS 'pg_notifyd: watches, event log and statistics';
GRANT USAGE ON SCHEMA notifyd TO PUBLIC;

-- A column, as regclass is a relation: stored by number, so that a rename is followed, written by name, so
-- that a dump restores it.

CREATE TYPE notifyd.column_ref;

CREATE FUNCTION notifyd.column_ref_in(cstring) RETURNS notifyd.column_ref
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'column_ref_in';
CREATE FUNCTION notifyd.column_ref_out(notifyd.column_ref) RETURNS cstring
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'column_ref_out';

CREATE TYPE notifyd.column_ref (
	INPUT = notifyd.column_ref_in,
	OUTPUT = notifyd.column_ref_out,
	INTERNALLENGTH = 8,
	ALIGNMENT = int4,
	STORAGE = plain
);

CREATE FUNCTION notifyd.column_names(columns notifyd.column_ref[]) RETURNS name[]
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'column_ref_names';

COMMENT ON TYPE notifyd.column_ref IS 'a column of a table, written schema.table.column';
COMMENT ON FUNCTION notifyd.column_ref_in(cstring) IS 'I/O';
COMMENT ON FUNCTION notifyd.column_ref_out(notifyd.column_ref) IS 'I/O';
COMMENT ON FUNCTION notifyd.column_names(notifyd.column_ref[]) IS 'the bare names of these columns';

-- Watches. The C code relies on the order of the columns.

CREATE SEQUENCE notifyd.watch_id_seq;

CREATE TABLE notifyd.watch (
	id bigint NOT NULL CONSTRAINT watch_pkey PRIMARY KEY,
	relation regclass NOT NULL,
	channel text NOT NULL,
	ops text NOT NULL,
	cols notifyd.column_ref[],
	key notifyd.column_ref[],
	update_of notifyd.column_ref[],
	condition text,
	old_values boolean NOT NULL,
	notify boolean NOT NULL,
	CONSTRAINT watch_relation_channel_key UNIQUE (relation, channel)
);

CREATE TABLE notifyd.channel_grant (
	channel text NOT NULL,
	role regrole NOT NULL,
	CONSTRAINT channel_grant_pkey PRIMARY KEY (channel, role)
);

SELECT pg_catalog.pg_extension_config_dump('notifyd.watch', '');
SELECT pg_catalog.pg_extension_config_dump('notifyd.watch_id_seq', '');
-- a role that has been dropped would be dumped as a number, and that may be another role where it is restored
SELECT pg_catalog.pg_extension_config_dump('notifyd.channel_grant',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) role)');

COMMENT ON SEQUENCE notifyd.watch_id_seq IS 'ids of watches';
COMMENT ON TABLE notifyd.watch IS 'what is watched, kept by notify_watch(); to be read through notifyd.watches';
COMMENT ON TABLE notifyd.channel_grant IS 'who may subscribe to channels that are no watched table, kept by notify_grant()';

CREATE VIEW notifyd.watches WITH (security_barrier = true) AS
	SELECT w.id, w.relation, w.channel, w.ops,
		notifyd.column_names(w.cols) AS cols,
		notifyd.column_names(w.key) AS key,
		notifyd.column_names(w.update_of) AS update_of,
		w.condition, w.old_values, w.notify
	FROM notifyd.watch AS w
		JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) w.relation
	WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE')
		OR pg_catalog.has_table_privilege(c.oid, 'SELECT')
		OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT');
COMMENT ON VIEW notifyd.watches IS 'what is watched, of the tables that the current user owns or may read';
GRANT SELECT ON notifyd.watches TO PUBLIC;

-- The log, see src/ext/log.c and log_place.c. Rows are only ever added, and whole tables truncated, so there is nothing
-- for vacuum to do (but against wraparound, which this setting does not prevent) or for the planner to know.

CREATE TABLE notifyd.log_0 (
	id bigint NOT NULL,
	tx bigint NOT NULL,
	at timestamptz NOT NULL,
	file oid NOT NULL,
	block integer NOT NULL,
	behind integer NOT NULL,
	seq integer NOT NULL,
	"of" integer NOT NULL,
	head integer NOT NULL,
	rel oid NOT NULL,
	op "char" NOT NULL,
	columns bytea NOT NULL,
	channel text NOT NULL,
	event text NOT NULL
) USING heap;
-- what fits a page stays in the row, as chunks of bulk writes do; not compressed: that would cost the writers, and slices of the text are read
ALTER TABLE notifyd.log_0
	ALTER COLUMN columns SET STORAGE MAIN,
	ALTER COLUMN channel SET STORAGE MAIN,
	ALTER COLUMN event SET STORAGE EXTERNAL;

DO $$
BEGIN
	FOR i IN 0..7 LOOP
		IF i > 0 THEN
			EXECUTE pg_catalog.format('CREATE TABLE notifyd.log_%s (LIKE notifyd.log_0 INCLUDING STORAGE) USING heap', i);
		END IF;
		EXECUTE pg_catalog.format('ALTER TABLE notifyd.log_%s SET (autovacuum_enabled = false, toast.autovacuum_enabled = false,'
			' vacuum_truncate = false, toast_tuple_target = 8160)', i);
		EXECUTE pg_catalog.format('COMMENT ON TABLE notifyd.log_%s IS ''event log''', i);
		EXECUTE pg_catalog.format('CREATE TABLE notifyd.bulk_%s (LIKE notifyd.log_0 INCLUDING STORAGE) USING heap'
			' WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false, toast_tuple_target = 8160)', i);
		EXECUTE pg_catalog.format('CREATE INDEX bulk_%s_id ON notifyd.bulk_%1$s (id) WITH (deduplicate_items = off)', i);
		EXECUTE pg_catalog.format('COMMENT ON TABLE notifyd.bulk_%s IS ''event log: members of large transactions''', i);
	END LOOP;
END
$$;

CREATE TABLE notifyd.log_segment (
	segment integer NOT NULL CONSTRAINT log_segment_pkey PRIMARY KEY,
	first_id bigint NOT NULL,
	since timestamptz NOT NULL
);
CREATE TABLE notifyd.log_pin (
	segment integer NOT NULL,
	last_id bigint NOT NULL
) USING heap;
CREATE TABLE notifyd.timeline (
	timeline integer NOT NULL CONSTRAINT timeline_pkey PRIMARY KEY,
	last_id bigint NOT NULL,
	at timestamptz NOT NULL
);
COMMENT ON TABLE notifyd.log_segment IS 'which log tables are in use, and the first id of each';
COMMENT ON TABLE notifyd.log_pin IS 'events whose rows are in an earlier log table than their ids say';
COMMENT ON TABLE notifyd.timeline IS 'where this database''s history branched off';

-- Functions

CREATE FUNCTION notify_watch(
	relation regclass,
	op text DEFAULT 'insert,update,delete',
	cols name[] DEFAULT NULL,
	channel text DEFAULT NULL,
	update_of name[] DEFAULT NULL,
	key name[] DEFAULT NULL,
	condition text DEFAULT NULL,
	old_values boolean DEFAULT true,
	notify boolean DEFAULT false
) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_watch';
COMMENT ON FUNCTION notify_watch(regclass, text, name[], text, name[], name[], text, boolean, boolean) IS
	'watch a table, or alter the watch that this table and channel have; returns its id';

CREATE FUNCTION notify_unwatch(relation regclass, channel text DEFAULT NULL) RETURNS integer
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_unwatch';
COMMENT ON FUNCTION notify_unwatch(regclass, text) IS
	'remove the watch of a table on a channel, or all of its watches; returns how many';

CREATE FUNCTION notify_send(channel text, payload json) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_send';
COMMENT ON FUNCTION notify_send(text, json) IS
	'publish a message when the transaction commits; returns its place among the events of the transaction';

CREATE FUNCTION notify_fetch(id bigint) RETURNS json
	LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_fetch';
COMMENT ON FUNCTION notify_fetch(bigint) IS
	'the whole event with this id, if it is still retained and the current user may read it';

CREATE FUNCTION notify_grant(channel text, role regrole) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_grant';
COMMENT ON FUNCTION notify_grant(text, regrole) IS
	'let a role subscribe to a channel that is no watched table';

CREATE FUNCTION notify_revoke(channel text, role regrole) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_revoke';
COMMENT ON FUNCTION notify_revoke(text, regrole) IS
	'undo notify_grant()';

-- Triggers

CREATE FUNCTION notifyd.capture() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_capture';
COMMENT ON FUNCTION notifyd.capture() IS 'turns changes of watched tables into events; notify_watch() makes the triggers';

CREATE FUNCTION notifyd.on_drop() RETURNS event_trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_on_drop';
COMMENT ON FUNCTION notifyd.on_drop() IS 'keeps watches in step with dropped tables, columns and triggers';

-- Statistics

CREATE FUNCTION notifyd.stats_rows() RETURNS TABLE (
	kind text,
	name text,
	pid integer,
	state text,
	started_at timestamptz,
	restarts integer,
	"position" text,
	lag interval,
	oldest text,
	newest text,
	events_written bigint,
	events_sent bigint,
	notifies_sent bigint,
	bytes_sent bigint,
	log_bytes bigint,
	segments integer,
	in_flight integer,
	oldest_in_flight_pid integer,
	links integer,
	subscriptions integer,
	clients integer,
	accepted bigint,
	refused bigint,
	closed_slow bigint,
	events_received bigint,
	messages bigint,
	queued_bytes bigint)
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'notifyd_stats_rows';
COMMENT ON FUNCTION notifyd.stats_rows() IS 'the rows of notifyd.stats';

CREATE VIEW notifyd.stats AS SELECT * FROM notifyd.stats_rows();
GRANT SELECT ON notifyd.stats TO PUBLIC;

COMMENT ON VIEW notifyd.stats IS 'counters and lag per database and gateway; members of pg_read_all_stats see all of them, others the row of the current database without process ids; what does not apply is NULL';
COMMENT ON COLUMN notifyd.stats.kind IS 'database or gateway';
COMMENT ON COLUMN notifyd.stats.name IS 'name of the database, number of the gateway';
COMMENT ON COLUMN notifyd.stats.pid IS 'process id of the feed or the gateway';
COMMENT ON COLUMN notifyd.stats.state IS 'running; starting; waiting to be started; held: a command such as DROP DATABASE needs the database';
COMMENT ON COLUMN notifyd.stats.started_at IS 'when the feed or the gateway was started';
COMMENT ON COLUMN notifyd.stats.restarts IS 'how often the gateway was started again';
COMMENT ON COLUMN notifyd.stats.position IS 'events up to this position have been sent to every gateway';
COMMENT ON COLUMN notifyd.stats.lag IS 'how far sending to the slowest gateway is behind';
COMMENT ON COLUMN notifyd.stats.oldest IS 'events up to and with this position can no longer be had';
COMMENT ON COLUMN notifyd.stats.newest IS 'newest position that was given out, possibly to a transaction that is rolled back';
COMMENT ON COLUMN notifyd.stats.events_written IS 'events written to the log since the server''s start';
COMMENT ON COLUMN notifyd.stats.events_sent IS 'events sent to gateways since the server''s start';
COMMENT ON COLUMN notifyd.stats.notifies_sent IS 'raw notifications sent to gateways since the server''s start';
COMMENT ON COLUMN notifyd.stats.bytes_sent IS 'bytes sent, by the feed to gateways since the server''s start, by the gateway to clients since its own';
COMMENT ON COLUMN notifyd.stats.log_bytes IS 'size of the log, measured now and then';
COMMENT ON COLUMN notifyd.stats.segments IS 'how many of the log''s tables are in use';
COMMENT ON COLUMN notifyd.stats.in_flight IS 'transactions that are committing events now';
COMMENT ON COLUMN notifyd.stats.oldest_in_flight_pid IS 'process id of the one among them that holds up the others'' events';
COMMENT ON COLUMN notifyd.stats.links IS 'gateways that the feed is connected to';
COMMENT ON COLUMN notifyd.stats.subscriptions IS 'subscriptions of clients';
COMMENT ON COLUMN notifyd.stats.clients IS 'connected clients';
COMMENT ON COLUMN notifyd.stats.accepted IS 'WebSocket connections since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.refused IS 'handshakes refused since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.closed_slow IS 'clients closed because they read too slowly, since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.events_received IS 'events that the gateway has had from feeds since its start';
COMMENT ON COLUMN notifyd.stats.messages IS 'messages queued to clients since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.queued_bytes IS 'bytes that are queued to clients now';

CREATE FUNCTION notifyd.client_rows() RETURNS TABLE (
	gateway integer,
	address inet,
	port integer,
	database name,
	role name,
	connected_at timestamptz,
	subprotocol text,
	channels text[],
	"position" text,
	lag bigint,
	queued_bytes bigint,
	messages bigint,
	bytes_sent bigint)
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'notifyd_client_rows';
COMMENT ON FUNCTION notifyd.client_rows() IS 'the rows of notifyd.clients';

CREATE VIEW notifyd.clients AS SELECT * FROM notifyd.client_rows();
GRANT SELECT ON notifyd.clients TO PUBLIC;

COMMENT ON VIEW notifyd.clients IS 'who is connected now, as the gateways say when they are asked; members of pg_read_all_stats see all clients, others none';
COMMENT ON COLUMN notifyd.clients.gateway IS 'number of the gateway that it is connected to';
COMMENT ON COLUMN notifyd.clients.address IS 'address that it is connected from';
COMMENT ON COLUMN notifyd.clients.port IS 'TCP port there';
COMMENT ON COLUMN notifyd.clients.database IS 'database whose events it gets';
COMMENT ON COLUMN notifyd.clients.role IS 'role whose privileges it has';
COMMENT ON COLUMN notifyd.clients.connected_at IS 'when it connected';
COMMENT ON COLUMN notifyd.clients.subprotocol IS 'subprotocol that it asked for and got; NULL: it asked for none';
COMMENT ON COLUMN notifyd.clients.channels IS 'channels that it is subscribed to, or has asked for';
COMMENT ON COLUMN notifyd.clients.position IS 'all it is to get up to this position has been written to it; it could resume from here';
COMMENT ON COLUMN notifyd.clients.lag IS 'by how many event ids that is behind the newest that its gateway has: at most so many events are still to be written to it';
COMMENT ON COLUMN notifyd.clients.queued_bytes IS 'bytes that are queued to it now';
COMMENT ON COLUMN notifyd.clients.messages IS 'messages queued to it since it connected';
COMMENT ON COLUMN notifyd.clients.bytes_sent IS 'bytes written to it since it connected';

-- End of statistics

-- Now that everything is there: tell the launcher, and warn where there is none.

CREATE FUNCTION notifyd.created() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_created';
SELECT notifyd.created();
DROP FUNCTION notifyd.created();

CREATE EVENT TRIGGER notifyd_on_drop ON sql_drop EXECUTE FUNCTION notifyd.on_drop();
ALTER EVENT TRIGGER notifyd_on_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER notifyd_on_drop IS 'keeps pg_notifyd''s watches in step with dropped tables, columns and triggers';
