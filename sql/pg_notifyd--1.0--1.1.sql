/* pg_notifyd 1.0 to 1.1 */

-- complain if the script is sourced in psql rather than by ALTER EXTENSION
\echo Use "ALTER EXTENSION pg_notifyd UPDATE TO '1.1'" to load this file. \quit

-- CREATE EXTENSION runs this script after that of 1.0, so a new and an updated installation are the same.

/* ---------------- locks: first of all, and in the order in which a writer's transaction takes its own ---------------- */

-- Watched tables, whose triggers are altered below. This lock blocks no reader or writer.
DO $$
DECLARE
	watched regclass;
BEGIN
	FOR watched IN
		SELECT DISTINCT c.oid
		FROM notifyd.watch AS w JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) w.relation
		ORDER BY c.oid
	LOOP
		EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', watched);
	END LOOP;
END
$$;

-- A transaction reads watches and grants while it runs; its commit then writes to the log and reads other tables.
LOCK TABLE notifyd.watch, notifyd.channel_grant IN ACCESS EXCLUSIVE MODE;
LOCK TABLE notifyd.bulk_0, notifyd.bulk_1, notifyd.bulk_2, notifyd.bulk_3,
	notifyd.bulk_4, notifyd.bulk_5, notifyd.bulk_6, notifyd.bulk_7,
	notifyd.log_0, notifyd.log_1, notifyd.log_2, notifyd.log_3,
	notifyd.log_4, notifyd.log_5, notifyd.log_6, notifyd.log_7 IN SHARE ROW EXCLUSIVE MODE;
-- No writer has a lock on these tables now. A reader locks a log table before the bulk table.
LOCK TABLE notifyd.log_0, notifyd.log_1, notifyd.log_2, notifyd.log_3,
	notifyd.log_4, notifyd.log_5, notifyd.log_6, notifyd.log_7,
	notifyd.bulk_0, notifyd.bulk_1, notifyd.bulk_2, notifyd.bulk_3,
	notifyd.bulk_4, notifyd.bulk_5, notifyd.bulk_6, notifyd.bulk_7 IN ACCESS EXCLUSIVE MODE;

/* ---------------- watches: every operation by default, and what NOTIFY carries ---------------- */

-- The library looks up the columns after the tenth by name, because a database of version 1.0 lacks them.
ALTER TABLE notifyd.watch ADD COLUMN notify_rows boolean NOT NULL DEFAULT false;

-- For the lookup of channels by notify_watch(), notify_send() and subscriptions.
CREATE INDEX watch_channel_idx ON notifyd.watch (channel COLLATE pg_catalog."C");

DROP FUNCTION @extschema@.notify_watch(regclass, text, name[], text, name[], name[], text, boolean, boolean);
CREATE FUNCTION @extschema@.notify_watch(
	relation regclass,
	op text DEFAULT 'insert,update,delete,truncate',
	cols name[] DEFAULT NULL,
	channel text DEFAULT NULL,
	update_of name[] DEFAULT NULL,
	key name[] DEFAULT NULL,
	condition text DEFAULT NULL,
	old_values boolean DEFAULT true,
	notify boolean DEFAULT false,
	notify_rows boolean DEFAULT false
) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_watch';
COMMENT ON FUNCTION @extschema@.notify_watch(regclass, text, name[], text, name[], name[], text, boolean, boolean, boolean) IS
	'watch a table, or change the watch of this table and channel; returns the id of the watch';

CREATE FUNCTION notifyd.watch_state(id bigint) RETURNS text
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notifyd_watch_state';
COMMENT ON FUNCTION notifyd.watch_state(bigint) IS
	'whether the triggers of a watch capture everything, as notifyd.watches shows it';

CREATE FUNCTION notifyd.watch_carried(id bigint) RETURNS boolean
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notifyd_watch_carried';
COMMENT ON FUNCTION notifyd.watch_carried(bigint) IS
	'whether the triggers of a watch contain its definition, so that pg_dump need not dump its row';

-- The columns that watched tables had when events were written. The C code relies on the order of the columns.
CREATE TABLE notifyd.shape (
	relation oid NOT NULL,
	shape integer NOT NULL,
	attnums smallint[] NOT NULL,
	names name[] NOT NULL,
	types oid[] NOT NULL,
	typmods integer[] NOT NULL,
	CONSTRAINT shape_pkey PRIMARY KEY (relation, shape)
);
COMMENT ON TABLE notifyd.shape IS 'columns that watched tables have or had, to which events refer';
COMMENT ON COLUMN notifyd.shape.relation IS 'the watched table';
COMMENT ON COLUMN notifyd.shape.shape IS 'a hash of the columns, with which hidden values of events begin';
COMMENT ON COLUMN notifyd.shape.attnums IS 'numbers of the columns';
COMMENT ON COLUMN notifyd.shape.names IS 'their names';
COMMENT ON COLUMN notifyd.shape.types IS 'their types';
COMMENT ON COLUMN notifyd.shape.typmods IS 'the modifiers of their types';

-- Triggers contain their watches, and CREATE TRIGGER creates a missing watch. Triggers of version 1.0 contain only the id.
CREATE FUNCTION notifyd.carry_watches() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_carry_watches';
SELECT notifyd.carry_watches();
DROP FUNCTION notifyd.carry_watches();
SELECT pg_catalog.pg_extension_config_dump('notifyd.watch', 'WHERE NOT notifyd.watch_carried(id)');

CREATE FUNCTION notifyd.watch_condition(id bigint, stored text) RETURNS text
	LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'notifyd_watch_condition';
COMMENT ON FUNCTION notifyd.watch_condition(bigint, text) IS
	'condition of a watch with the current names of columns, as notifyd.watches shows it';

DROP VIEW notifyd.watches;
CREATE VIEW notifyd.watches WITH (security_barrier = true) AS
	SELECT w.id, w.relation, w.channel, w.ops,
		notifyd.column_names(w.cols) AS cols,
		notifyd.column_names(w.key) AS key,
		notifyd.column_names(w.update_of) AS update_of,
		notifyd.watch_condition(w.id, w.condition) AS condition, w.old_values, w.notify, w.notify_rows,
		notifyd.watch_state(w.id) AS state
	FROM notifyd.watch AS w
		JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) w.relation
	WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE')
		OR pg_catalog.has_table_privilege(c.oid, 'SELECT')
		OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT');
COMMENT ON VIEW notifyd.watches IS 'watches of tables that the current user owns or may read';
COMMENT ON COLUMN notifyd.watches.state IS
	'active; no key: events do not identify their row; origin only: changes applied by a logical replication subscription are not captured; replica only: only these are captured; disabled; broken condition: it now uses other operators; missing trigger';
GRANT SELECT ON notifyd.watches TO PUBLIC;

/* ---------------- channels: privileges to subscribe and publish ---------------- */

ALTER TABLE notifyd.channel_grant ADD COLUMN privilege text NOT NULL DEFAULT 'subscribe';
ALTER TABLE notifyd.channel_grant DROP CONSTRAINT channel_grant_pkey;
ALTER TABLE notifyd.channel_grant ADD CONSTRAINT channel_grant_pkey PRIMARY KEY (channel, role, privilege);
COMMENT ON TABLE notifyd.channel_grant IS
	'privileges to subscribe and publish to channels, maintained by notify_grant(); use the view notifyd.grants';

CREATE VIEW notifyd.grants WITH (security_barrier = true) AS
	SELECT g.channel, g.role, g.privilege
	FROM notifyd.channel_grant AS g
		JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) g.role
	WHERE pg_catalog.pg_has_role(r.oid, 'USAGE')
		OR EXISTS (SELECT FROM pg_catalog.pg_extension AS e
			WHERE e.extname OPERATOR(pg_catalog.=) 'pg_notifyd' AND pg_catalog.pg_has_role(e.extowner, 'USAGE'));
COMMENT ON VIEW notifyd.grants IS
	'privileges to subscribe and publish to channels; roles that may grant see all, others their own';
GRANT SELECT ON notifyd.grants TO PUBLIC;

DROP FUNCTION @extschema@.notify_grant(text, regrole);
CREATE FUNCTION @extschema@.notify_grant(channel text, role regrole, privilege text DEFAULT 'subscribe') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_grant';
COMMENT ON FUNCTION @extschema@.notify_grant(text, regrole, text) IS
	'grant a role the privilege to subscribe or publish to a channel';

DROP FUNCTION @extschema@.notify_revoke(text, regrole);
CREATE FUNCTION @extschema@.notify_revoke(channel text, role regrole, privilege text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_revoke';
COMMENT ON FUNCTION @extschema@.notify_revoke(text, regrole, text) IS
	'revoke one privilege, or all privileges, of a role on a channel';

-- pg_dump reads these. The owner of a database can dump it without being a superuser.
GRANT SELECT ON notifyd.watch, notifyd.watch_id_seq, notifyd.channel_grant TO pg_database_owner;

-- Warn of changed behaviour.
DO $$
DECLARE
	notifying bigint := (SELECT pg_catalog.count(*) FROM notifyd.watch WHERE notify);
	granted bigint := (SELECT pg_catalog.count(*) FROM notifyd.channel_grant);
	shared text := (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(channel), ', ' ORDER BY channel)
		FROM (SELECT w.channel FROM notifyd.watch AS w JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) w.relation
			GROUP BY w.channel HAVING pg_catalog.count(DISTINCT c.relowner) OPERATOR(pg_catalog.>) 1) AS channels);
BEGIN
	IF notifying OPERATOR(pg_catalog.>) 0 THEN
		RAISE WARNING USING
			MESSAGE = 'watches with "notify" send {"id": ...} by NOTIFY from now on, instead of whole events',
			DETAIL = pg_catalog.format('Watches with "notify": %s.', notifying),
			HINT = 'LISTEN checks no privilege. Call notify_watch() with notify_rows => true for those whose rows every role may see.';
	END IF;
	IF granted OPERATOR(pg_catalog.>) 0 THEN
		RAISE WARNING USING
			MESSAGE = 'notify_send() needs the privilege "publish" on the channel from now on',
			HINT = 'Call notify_grant(channel, role, ''publish'') for the roles that send messages.';
	END IF;
	IF shared IS NOT NULL THEN
		RAISE WARNING USING
			MESSAGE = 'tables of several owners are watched on the same channel',
			DETAIL = pg_catalog.format('Channels: %s.', shared),
			HINT = 'From now on that takes membership in the roles of all of them. Call notify_unwatch() for those that do not belong there.';
	END IF;
END
$$;

/* ---------------- end of watches and channels ---------------- */

/* ---------------- tokens ---------------- */

CREATE FUNCTION @extschema@.notify_claims() RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN NULLIF(pg_catalog.current_setting('request.jwt.claims', true), ''::text)::jsonb;
COMMENT ON FUNCTION @extschema@.notify_claims() IS
	'claims of the token of the client that this runs for; NULL without a token';

CREATE FUNCTION @extschema@.notify_verify(token text) RETURNS jsonb
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_verify';
REVOKE ALL ON FUNCTION @extschema@.notify_verify(text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.notify_verify(text) IS
	'verify a token: role, subject, expiry and claims, or an error that says why clients are refused with it';

CREATE TABLE notifyd.disconnected (claims jsonb NOT NULL, issued_before timestamptz NOT NULL);
COMMENT ON TABLE notifyd.disconnected IS 'tokens that are refused, maintained by notify_disconnect()';
COMMENT ON COLUMN notifyd.disconnected.claims IS 'tokens whose claims contain these are refused';
COMMENT ON COLUMN notifyd.disconnected.issued_before IS 'if they were issued before this time, or without a time';
SELECT pg_catalog.pg_extension_config_dump('notifyd.disconnected', '');
GRANT SELECT ON notifyd.disconnected TO pg_database_owner;

-- Dumps are often restored with session_replication_role = replica.
CREATE FUNCTION notifyd.disconnected_changed() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_disconnected_changed';
COMMENT ON FUNCTION notifyd.disconnected_changed() IS 'lets the feed read notifyd.disconnected again';
CREATE TRIGGER disconnected_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.disconnected
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.disconnected_changed();
ALTER TABLE notifyd.disconnected ENABLE ALWAYS TRIGGER disconnected_changed;
COMMENT ON TRIGGER disconnected_changed ON notifyd.disconnected IS 'lets rows that are restored or deleted take effect';

CREATE FUNCTION @extschema@.notify_disconnect(claims jsonb DEFAULT '{}', issued_before timestamptz DEFAULT pg_catalog.now())
	RETURNS integer
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_disconnect';
COMMENT ON FUNCTION @extschema@.notify_disconnect(jsonb, timestamptz) IS
	'close the connections whose tokens have these claims and were issued before, and refuse these tokens; returns their number';

/* ---------------- row-level security: what applied to clients, see src/ext/feed/feed_applied.c ---------------- */

-- The C code relies on the order of the columns.
CREATE TABLE notifyd.applied_policies (
	channel name NOT NULL,
	identity bigint NOT NULL,
	policies bigint NOT NULL,
	since bigint NOT NULL,
	seen bigint NOT NULL,
	CONSTRAINT applied_policies_pkey PRIMARY KEY (channel, identity)
);
COMMENT ON TABLE notifyd.applied_policies IS
	'the row-level security that applied to the subscriptions of clients, to notice that it has changed while they were away';
COMMENT ON COLUMN notifyd.applied_policies.channel IS 'the channel that they subscribed to';
COMMENT ON COLUMN notifyd.applied_policies.identity IS 'a hash of the role and the subject of their tokens';
COMMENT ON COLUMN notifyd.applied_policies.policies IS
	'a hash of the policies and of the values that they had; 0: they let all rows pass';
COMMENT ON COLUMN notifyd.applied_policies.since IS 'these applied after this id; the largest bigint: not all had the same';
COMMENT ON COLUMN notifyd.applied_policies.seen IS 'there was such a subscription at this id or later';

/* ---------------- statistics ---------------- */

DROP VIEW notifyd.stats;
DROP FUNCTION notifyd.stats_rows();
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
	queued_bytes bigint,
	refused_tokens bigint,
	queries bigint,
	failed_queries bigint)
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'notifyd_stats_rows';
COMMENT ON FUNCTION notifyd.stats_rows() IS 'rows of notifyd.stats';

CREATE VIEW notifyd.stats AS SELECT * FROM notifyd.stats_rows();
GRANT SELECT ON notifyd.stats TO PUBLIC;

COMMENT ON VIEW notifyd.stats IS 'counters and lag per database and gateway, and workers; members of pg_read_all_stats see all of them, others the row of the current database without process ids; what does not apply is NULL';
COMMENT ON COLUMN notifyd.stats.kind IS 'database, gateway or worker';
COMMENT ON COLUMN notifyd.stats.name IS 'name of the database, also of a worker''s, or number of the gateway';
COMMENT ON COLUMN notifyd.stats.pid IS 'process id of the feed, the gateway or the worker';
COMMENT ON COLUMN notifyd.stats.state IS 'running; not responding; starting; waiting to be started; asleep: nobody is subscribed; excluded by pg_notifyd.databases; closed: the database allows no connections; held: a command such as DROP DATABASE needs the database for itself; of a worker: starting, idle, or busy with a query';
COMMENT ON COLUMN notifyd.stats.started_at IS 'time when the feed or the gateway was started';
COMMENT ON COLUMN notifyd.stats.restarts IS 'number of times that the gateway was started again';
COMMENT ON COLUMN notifyd.stats.lag IS 'age of the oldest commit that has not been sent to every gateway';
COMMENT ON COLUMN notifyd.stats.position IS 'events up to this position have been sent to every gateway';
COMMENT ON COLUMN notifyd.stats.oldest IS 'events up to this position are no longer available';
COMMENT ON COLUMN notifyd.stats.newest IS 'newest position that was assigned, possibly to a transaction that is rolled back';
COMMENT ON COLUMN notifyd.stats.events_written IS 'events written to the log since the server''s start';
COMMENT ON COLUMN notifyd.stats.events_sent IS 'events sent to gateways since the server''s start';
COMMENT ON COLUMN notifyd.stats.notifies_sent IS 'raw notifications sent to gateways since the server''s start';
COMMENT ON COLUMN notifyd.stats.bytes_sent IS 'bytes sent, by the feed to gateways since the server''s start, by the gateway to clients since its own';
COMMENT ON COLUMN notifyd.stats.log_bytes IS 'size of the log, measured from time to time';
COMMENT ON COLUMN notifyd.stats.segments IS 'number of tables of the log in use';
COMMENT ON COLUMN notifyd.stats.in_flight IS 'number of transactions that are committing events now';
COMMENT ON COLUMN notifyd.stats.oldest_in_flight_pid IS 'process id of the one that delays the events of the others';
COMMENT ON COLUMN notifyd.stats.links IS 'number of gateways that the feed is connected to';
COMMENT ON COLUMN notifyd.stats.subscriptions IS 'number of subscriptions of clients';
COMMENT ON COLUMN notifyd.stats.clients IS 'number of connected clients';
COMMENT ON COLUMN notifyd.stats.accepted IS 'WebSocket connections since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.refused IS 'handshakes refused since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.closed_slow IS 'clients closed because they read too slowly, since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.events_received IS 'events that the gateway has received from feeds since its start';
COMMENT ON COLUMN notifyd.stats.messages IS 'messages queued to clients since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.queued_bytes IS 'bytes that are queued to clients now';
COMMENT ON COLUMN notifyd.stats.refused_tokens IS 'tokens of clients that the feed has refused since the server''s start';
COMMENT ON COLUMN notifyd.stats.queries IS 'queries of clients that workers have run since the server''s start';
COMMENT ON COLUMN notifyd.stats.failed_queries IS 'those of them that were refused or ended with an error';

DROP VIEW notifyd.clients;
DROP FUNCTION notifyd.client_rows();
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
	bytes_sent bigint,
	subject text,
	expires_at timestamptz)
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'notifyd_client_rows';
COMMENT ON FUNCTION notifyd.client_rows() IS 'rows of notifyd.clients';

CREATE VIEW notifyd.clients AS SELECT * FROM notifyd.client_rows();
GRANT SELECT ON notifyd.clients TO PUBLIC;
COMMENT ON VIEW notifyd.clients IS 'connected clients, as the gateways report them; members of pg_read_all_stats see all clients, others none';
COMMENT ON COLUMN notifyd.clients.gateway IS 'number of its gateway';
COMMENT ON COLUMN notifyd.clients.address IS 'address of the client';
COMMENT ON COLUMN notifyd.clients.port IS 'TCP port of the client';
COMMENT ON COLUMN notifyd.clients.database IS 'database whose events it gets';
COMMENT ON COLUMN notifyd.clients.role IS 'role whose privileges it has';
COMMENT ON COLUMN notifyd.clients.connected_at IS 'time when it connected';
COMMENT ON COLUMN notifyd.clients.subprotocol IS 'subprotocol that it requested and got; NULL: none';
COMMENT ON COLUMN notifyd.clients.channels IS 'channels of its subscriptions and requests to subscribe';
COMMENT ON COLUMN notifyd.clients.position IS 'everything up to this position was written to it; it could resume from here';
COMMENT ON COLUMN notifyd.clients.lag IS 'number of ids between position and the newest id that its gateway has';
COMMENT ON COLUMN notifyd.clients.queued_bytes IS 'bytes in its queue';
COMMENT ON COLUMN notifyd.clients.messages IS 'messages queued to it since it connected';
COMMENT ON COLUMN notifyd.clients.bytes_sent IS 'bytes written to it since it connected';
COMMENT ON COLUMN notifyd.clients.subject IS 'subject of its token (claim sub); NULL: none, or no token';
COMMENT ON COLUMN notifyd.clients.expires_at IS 'time when its token expires; NULL: never, or no token';

/* ---------------- unlogged tables ---------------- */

-- Recovery empties this table together with all other unlogged tables. This tells the feed.
CREATE UNLOGGED TABLE notifyd.unlogged_mark (kept boolean NOT NULL);
INSERT INTO notifyd.unlogged_mark VALUES (true);
COMMENT ON TABLE notifyd.unlogged_mark IS 'has a row unless recovery has emptied the unlogged tables since the feed last checked';

/* ---------------- the log: names of columns that say what is in them, see src/ext/log/log_tail.c; hidden values ---------------- */

-- The library finds the columns of these tables by number.
DO $$
DECLARE
	name text;
BEGIN
	FOR name IN
		SELECT pg_catalog.format('%s_%s', kind, i)
		FROM pg_catalog.unnest(ARRAY['log', 'bulk']) AS kind, pg_catalog.generate_series(0, 7) AS i
	LOOP
		EXECUTE pg_catalog.format('ALTER TABLE notifyd.%I RENAME COLUMN file TO relfilenumber', name);
		EXECUTE pg_catalog.format('ALTER TABLE notifyd.%I RENAME COLUMN block TO start_block', name);
		EXECUTE pg_catalog.format('ALTER TABLE notifyd.%I RENAME COLUMN behind TO watermark_delta', name);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN notifyd.%I.relfilenumber IS'
			' ''the file that start_block and watermark_delta are about''', name);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN notifyd.%I.start_block IS'
			' ''rows of this id and of later ones are in this block or behind it''', name);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN notifyd.%I.watermark_delta IS'
			' ''id minus a watermark: rows of ids up to it are in earlier blocks or in that of this row''', name);
		EXECUTE pg_catalog.format('ALTER TABLE notifyd.%I ADD COLUMN hidden bytea NOT NULL DEFAULT '''',
			ALTER COLUMN hidden SET STORAGE EXTERNAL', name);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN notifyd.%I.hidden IS'
			' ''values that row security and filters need and clients must not see, see src/ext/capture/capture_hidden.c''', name);
	END LOOP;
END
$$;

/* ---------------- timelines: the histories of positions, see src/ext/log/log_timeline.c ---------------- */

ALTER TABLE notifyd.timeline ADD COLUMN first_id bigint NOT NULL DEFAULT 0;
COMMENT ON TABLE notifyd.timeline IS 'timelines of positions: one for each start of the server';
COMMENT ON COLUMN notifyd.timeline.timeline IS 'random number of the timeline';
COMMENT ON COLUMN notifyd.timeline.last_id IS 'positions of the timeline up to this id are part of this history';
COMMENT ON COLUMN notifyd.timeline.at IS 'time when the timeline began';
COMMENT ON COLUMN notifyd.timeline.first_id IS 'first id that could be assigned in the timeline';

/* ---------------- what clients may call, and tables that have HTTP routes ---------------- */

-- Not as regprocedure: pg_upgrade does not preserve the OIDs of functions, and refuses databases that store them. The owner is
-- a part of what identifies a function, so that one that somebody else creates later is not exposed.
CREATE TABLE notifyd.exposed_function (
	name text PRIMARY KEY,
	schema name NOT NULL,
	function name NOT NULL,
	arguments regtype[] NOT NULL,
	owner regrole NOT NULL,
	UNIQUE (schema, function, arguments)
);
COMMENT ON TABLE notifyd.exposed_function IS 'functions that clients may call, maintained by notify_expose()';
COMMENT ON COLUMN notifyd.exposed_function.name IS 'name by which clients call it';
COMMENT ON COLUMN notifyd.exposed_function.schema IS 'schema of the function';
COMMENT ON COLUMN notifyd.exposed_function.function IS 'the function''s own name';
COMMENT ON COLUMN notifyd.exposed_function.arguments IS 'types of its arguments';
COMMENT ON COLUMN notifyd.exposed_function.owner IS 'owner of the function when it was exposed';
SELECT pg_catalog.pg_extension_config_dump('notifyd.exposed_function',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) owner)');

CREATE TABLE notifyd.exposed_relation (path text PRIMARY KEY, relation regclass NOT NULL UNIQUE, label text NOT NULL);
COMMENT ON TABLE notifyd.exposed_relation IS 'tables and views that have HTTP routes, maintained by notify_expose()';
COMMENT ON COLUMN notifyd.exposed_relation.path IS 'first segment of the path';
COMMENT ON COLUMN notifyd.exposed_relation.relation IS 'the table or view';
COMMENT ON COLUMN notifyd.exposed_relation.label IS 'what a row is called in messages';
SELECT pg_catalog.pg_extension_config_dump('notifyd.exposed_relation', '');
GRANT SELECT ON notifyd.exposed_function, notifyd.exposed_relation TO pg_database_owner;

-- Dumps are often restored with session_replication_role = replica.
CREATE FUNCTION notifyd.exposure_changed() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_exposure_changed';
COMMENT ON FUNCTION notifyd.exposure_changed() IS 'lets workers read again what is exposed';
CREATE TRIGGER exposure_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.exposed_function
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.exposure_changed();
ALTER TABLE notifyd.exposed_function ENABLE ALWAYS TRIGGER exposure_changed;
COMMENT ON TRIGGER exposure_changed ON notifyd.exposed_function IS 'lets rows that are restored or deleted take effect';
CREATE TRIGGER exposure_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.exposed_relation
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.exposure_changed();
ALTER TABLE notifyd.exposed_relation ENABLE ALWAYS TRIGGER exposure_changed;
COMMENT ON TRIGGER exposure_changed ON notifyd.exposed_relation IS 'lets rows that are restored or deleted take effect';

CREATE FUNCTION notifyd.exposure_ddl() RETURNS event_trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_exposure_ddl';
COMMENT ON FUNCTION notifyd.exposure_ddl() IS 'ends the exposure of functions and tables that are dropped, and of functions that are renamed, moved or given away';
CREATE EVENT TRIGGER notifyd_exposure_drop ON sql_drop EXECUTE FUNCTION notifyd.exposure_ddl();
ALTER EVENT TRIGGER notifyd_exposure_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER notifyd_exposure_drop IS 'ends the exposure of functions and tables that are dropped';
CREATE EVENT TRIGGER notifyd_exposure_alter ON ddl_command_end WHEN TAG IN ('ALTER FUNCTION', 'ALTER ROUTINE', 'ALTER SCHEMA')
	EXECUTE FUNCTION notifyd.exposure_ddl();
ALTER EVENT TRIGGER notifyd_exposure_alter ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER notifyd_exposure_alter IS 'ends the exposure of functions that are renamed, moved or given away';

CREATE FUNCTION @extschema@.notify_expose(function regprocedure, name text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_expose_function';
COMMENT ON FUNCTION @extschema@.notify_expose(regprocedure, text) IS
	'let clients call a function by this name; by default its own';
CREATE FUNCTION @extschema@.notify_expose(relation regclass, path text DEFAULT NULL, label text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_expose_relation';
COMMENT ON FUNCTION @extschema@.notify_expose(regclass, text, text) IS
	'give a table or view HTTP routes below this path; by default its name';
-- A string without a type could be a function or a relation; PostgreSQL prefers a parameter of type text.
CREATE FUNCTION @extschema@.notify_expose(object text, name text DEFAULT NULL, label text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_expose_object';
COMMENT ON FUNCTION @extschema@.notify_expose(text, text, text) IS
	'expose a function, named with its arguments in parentheses, or a table or view';
CREATE FUNCTION @extschema@.notify_conceal(object text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_conceal_object';
COMMENT ON FUNCTION @extschema@.notify_conceal(text) IS 'conceal a function, table or view that was exposed';
CREATE FUNCTION @extschema@.notify_conceal(function regprocedure) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_conceal_function';
COMMENT ON FUNCTION @extschema@.notify_conceal(regprocedure) IS 'let clients no longer call a function';
CREATE FUNCTION @extschema@.notify_conceal(relation regclass) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_conceal_relation';
COMMENT ON FUNCTION @extschema@.notify_conceal(regclass) IS 'take the HTTP routes of a table or view away';

CREATE VIEW notifyd.exposed AS
	SELECT e.name, p.oid::regprocedure AS function, NULL::regclass AS relation, NULL::text AS label
	FROM notifyd.exposed_function AS e
		JOIN pg_catalog.pg_namespace AS n ON n.nspname OPERATOR(pg_catalog.=) e.schema
		JOIN pg_catalog.pg_proc AS p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid AND p.proname OPERATOR(pg_catalog.=) e.function
			AND p.proargtypes::text OPERATOR(pg_catalog.=) pg_catalog.array_to_string(e.arguments::oid[], ' ')
			AND p.proowner OPERATOR(pg_catalog.=) e.owner
	UNION ALL
	SELECT e.path, NULL, e.relation, e.label
	FROM notifyd.exposed_relation AS e JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) e.relation;
COMMENT ON VIEW notifyd.exposed IS 'functions that clients may call, and tables and views that have HTTP routes';
COMMENT ON COLUMN notifyd.exposed.name IS 'name by which clients call the function, or path of the relation';
COMMENT ON COLUMN notifyd.exposed.function IS 'the function, if it is one';
COMMENT ON COLUMN notifyd.exposed.relation IS 'the table or view, if it is one';
COMMENT ON COLUMN notifyd.exposed.label IS 'what a row of the relation is called in messages';
GRANT SELECT ON notifyd.exposed TO PUBLIC;

/* ---------------- logical replication; last, so that it covers every table of the schema ---------------- */

-- Logical replication. A publication FOR ALL TABLES has the tables of this schema, too. PostgreSQL refuses UPDATE and DELETE
-- on a published table that has no replica identity, and a subscriber with the extension has tables of the same names, which
-- must keep what is its own.

ALTER TABLE notifyd.log_pin REPLICA IDENTITY FULL;
ALTER TABLE notifyd.disconnected REPLICA IDENTITY FULL;

CREATE FUNCTION notifyd.keep_own() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_keep_own';
COMMENT ON FUNCTION notifyd.keep_own() IS 'keeps rows from logical replication out of the tables of pg_notifyd';

DO $$
DECLARE
	name text;
BEGIN
	FOR name IN
		SELECT c.relname
		FROM pg_catalog.pg_class AS c
		WHERE c.relkind OPERATOR(pg_catalog.=) 'r'
			AND c.relnamespace OPERATOR(pg_catalog.=) 'notifyd'::pg_catalog.regnamespace
	LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER keep_own BEFORE INSERT OR UPDATE OR DELETE ON notifyd.%I'
			' FOR EACH ROW EXECUTE FUNCTION notifyd.keep_own()', name);
		EXECUTE pg_catalog.format('CREATE TRIGGER keep_own_truncate BEFORE TRUNCATE ON notifyd.%I'
			' FOR EACH STATEMENT EXECUTE FUNCTION notifyd.keep_own()', name);
		EXECUTE pg_catalog.format('ALTER TABLE notifyd.%I ENABLE REPLICA TRIGGER keep_own,'
			' ENABLE REPLICA TRIGGER keep_own_truncate', name);
		EXECUTE pg_catalog.format('COMMENT ON TRIGGER keep_own ON notifyd.%I IS'
			' ''discards rows from logical replication''', name);
		EXECUTE pg_catalog.format('COMMENT ON TRIGGER keep_own_truncate ON notifyd.%I IS'
			' ''refuses TRUNCATE from logical replication''', name);
	END LOOP;
END
$$;
