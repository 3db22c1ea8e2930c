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
-- The name of the function with its schema: pg_upgrade does not preserve the OIDs of functions.
ALTER TABLE notifyd.watch ADD COLUMN payload text;

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
	notify_rows boolean DEFAULT false,
	payload text DEFAULT NULL
) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_watch';
COMMENT ON FUNCTION @extschema@.notify_watch(regclass, text, name[], text, name[], name[], text, boolean, boolean, boolean, text) IS
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
		notifyd.watch_condition(w.id, w.condition) AS condition, w.old_values, w.notify, w.notify_rows, w.payload,
		notifyd.watch_state(w.id) AS state
	FROM notifyd.watch AS w
		JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) w.relation
	WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE')
		OR pg_catalog.has_table_privilege(c.oid, 'SELECT')
		OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT');
COMMENT ON VIEW notifyd.watches IS 'watches of tables that the current user owns or may read';
COMMENT ON COLUMN notifyd.watches.payload IS 'function whose result events carry instead of rows';
COMMENT ON COLUMN notifyd.watches.state IS
	'active; no key: events do not identify their row; origin only: changes applied by a logical replication subscription are not captured; replica only: only these are captured; disabled; broken condition: it now uses other operators; missing trigger';
GRANT SELECT ON notifyd.watches TO PUBLIC;

/* ---------------- channels: privileges, also on patterns ---------------- */

ALTER TABLE notifyd.channel_grant ADD COLUMN privilege text NOT NULL DEFAULT 'subscribe';
-- Grants of version 1.0 and of its dumps are on names, even if these look like patterns.
ALTER TABLE notifyd.channel_grant ADD COLUMN pattern boolean NOT NULL DEFAULT false;
ALTER TABLE notifyd.channel_grant DROP CONSTRAINT channel_grant_pkey;
ALTER TABLE notifyd.channel_grant ADD CONSTRAINT channel_grant_pkey PRIMARY KEY (channel, role, privilege, pattern);
-- The few grants on patterns are read together.
CREATE INDEX channel_grant_pattern_idx ON notifyd.channel_grant (pattern);
COMMENT ON TABLE notifyd.channel_grant IS
	'privileges on channels, consumer groups and procedures, maintained by notify_grant(); use the view notifyd.grants';
COMMENT ON COLUMN notifyd.channel_grant.channel IS 'name of the channel, consumer group or procedure, or a pattern';
COMMENT ON COLUMN notifyd.channel_grant.role IS 'who has the privilege, with its members';
COMMENT ON COLUMN notifyd.channel_grant.privilege IS 'subscribe, publish, consume, call or register';
COMMENT ON COLUMN notifyd.channel_grant.pattern IS 'whether channel is a pattern of names instead of a name';

CREATE VIEW notifyd.grants WITH (security_barrier = true) AS
	SELECT g.channel, g.role, g.privilege,
		CASE WHEN NOT g.pattern THEN 'exact'
			WHEN pg_catalog.right(g.channel, 1) OPERATOR(pg_catalog.=) '*' THEN 'prefix'
			ELSE 'wildcard' END AS match
	FROM notifyd.channel_grant AS g
		JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) g.role
	WHERE pg_catalog.pg_has_role(r.oid, 'USAGE')
		OR EXISTS (SELECT FROM pg_catalog.pg_extension AS e
			WHERE e.extname OPERATOR(pg_catalog.=) 'pg_notifyd' AND pg_catalog.pg_has_role(e.extowner, 'USAGE'));
COMMENT ON VIEW notifyd.grants IS
	'privileges on channels, consumer groups and procedures; roles that may grant see all, others their own';
COMMENT ON COLUMN notifyd.grants.channel IS 'name of the channel, consumer group or procedure, or a pattern';
COMMENT ON COLUMN notifyd.grants.role IS 'who has the privilege, with its members';
COMMENT ON COLUMN notifyd.grants.privilege IS 'subscribe, publish, consume, call or register';
COMMENT ON COLUMN notifyd.grants.match IS
	'exact: the privilege is on this name; prefix: on all names that begin so; wildcard: empty parts stand for any part';
GRANT SELECT ON notifyd.grants TO PUBLIC;

DROP FUNCTION @extschema@.notify_grant(text, regrole);
CREATE FUNCTION @extschema@.notify_grant(
	channel text,
	role regrole,
	privilege text DEFAULT 'subscribe',
	pattern boolean DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_grant';
COMMENT ON FUNCTION @extschema@.notify_grant(text, regrole, text, boolean) IS
	'grant a role a privilege on a channel, consumer group or procedure, or on those that match a pattern';

DROP FUNCTION @extschema@.notify_revoke(text, regrole);
CREATE FUNCTION @extschema@.notify_revoke(
	channel text,
	role regrole,
	privilege text DEFAULT NULL,
	pattern boolean DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_revoke';
COMMENT ON FUNCTION @extschema@.notify_revoke(text, regrole, text, boolean) IS
	'revoke one privilege, or all privileges, of a role on a channel, consumer group, procedure or pattern';

CREATE TABLE notifyd.channel_type (channel text COLLATE pg_catalog."C" PRIMARY KEY, type regtype NOT NULL);
COMMENT ON TABLE notifyd.channel_type IS 'types of the messages of channels, maintained by notify_channel()';
COMMENT ON COLUMN notifyd.channel_type.channel IS 'name of the channel';
COMMENT ON COLUMN notifyd.channel_type.type IS 'composite type whose fields the messages have';
SELECT pg_catalog.pg_extension_config_dump('notifyd.channel_type', '');

CREATE FUNCTION @extschema@.notify_channel(channel text, type regtype DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_channel';
COMMENT ON FUNCTION @extschema@.notify_channel(text, regtype) IS
	'declare that the messages of a channel have the fields of a composite type; NULL takes that back';

CREATE VIEW notifyd.channels AS
	SELECT c.channel, c.type
	FROM notifyd.channel_type AS c JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) c.type;
COMMENT ON VIEW notifyd.channels IS 'channels whose messages have a type';
COMMENT ON COLUMN notifyd.channels.channel IS 'name of the channel';
COMMENT ON COLUMN notifyd.channels.type IS 'composite type whose fields the messages have';
GRANT SELECT ON notifyd.channels TO PUBLIC;

-- pg_dump reads these. The owner of a database can dump it without being a superuser.
GRANT SELECT ON notifyd.watch, notifyd.watch_id_seq, notifyd.channel_grant, notifyd.channel_type TO pg_database_owner;

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

-- Users of WAMP-CRA. The C code relies on the order of the columns.
CREATE TABLE notifyd.wamp_user (
	authid text COLLATE pg_catalog."C" PRIMARY KEY,
	role regrole,
	salt text COLLATE pg_catalog."C" NOT NULL UNIQUE,
	iterations integer NOT NULL CHECK (iterations OPERATOR(pg_catalog.>=) 1000 AND iterations OPERATOR(pg_catalog.<=) 1000000),
	keylen integer NOT NULL CHECK (keylen OPERATOR(pg_catalog.=) 32),
	key text NOT NULL
);
COMMENT ON TABLE notifyd.wamp_user IS 'users of WAMP-CRA, maintained by notify_wamp_user(); that without a name makes salts for names that do not exist';
COMMENT ON COLUMN notifyd.wamp_user.authid IS 'name of the user';
COMMENT ON COLUMN notifyd.wamp_user.role IS 'role of the user''s sessions';
COMMENT ON COLUMN notifyd.wamp_user.salt IS 'random, and another one after each change of the user';
COMMENT ON COLUMN notifyd.wamp_user.iterations IS 'iterations of PBKDF2';
COMMENT ON COLUMN notifyd.wamp_user.keylen IS 'number of bytes that PBKDF2 makes';
COMMENT ON COLUMN notifyd.wamp_user.key IS 'what PBKDF2 makes of the user''s secret, in base64: who knows it can sign for the user';
SELECT pg_catalog.pg_extension_config_dump('notifyd.wamp_user',
	'WHERE role IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) role)');
-- For dumps. The first notify_wamp_user() takes it away.
GRANT SELECT ON notifyd.wamp_user TO pg_database_owner;

CREATE FUNCTION notifyd.wamp_user_changed() RETURNS trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notifyd_wamp_user_changed';
COMMENT ON FUNCTION notifyd.wamp_user_changed() IS 'lets the feed read notifyd.wamp_user again, and takes the privilege of the database''s owner away';
CREATE TRIGGER wamp_user_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.wamp_user
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.wamp_user_changed();
ALTER TABLE notifyd.wamp_user ENABLE ALWAYS TRIGGER wamp_user_changed;
COMMENT ON TRIGGER wamp_user_changed ON notifyd.wamp_user IS 'lets rows that are restored or deleted take effect';

CREATE FUNCTION @extschema@.notify_wamp_user(authid text, role regrole, secret text, iterations integer DEFAULT 10000)
	RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_wamp_user';
COMMENT ON FUNCTION @extschema@.notify_wamp_user(text, regrole, text, integer) IS
	'let clients authenticate by WAMP-CRA with a secret, or change that; ends the user''s sessions';

CREATE FUNCTION @extschema@.notify_wamp_user_drop(authid text) RETURNS boolean
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_wamp_user_drop';
COMMENT ON FUNCTION @extschema@.notify_wamp_user_drop(text) IS
	'drop a user of WAMP-CRA, and end the user''s sessions; returns false if there is none';

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
	failed_queries bigint,
	refused_by jsonb,
	lag_events bigint,
	last_seen timestamptz,
	locked_since timestamptz,
	watermark text,
	in_flight_since timestamptz,
	oldest_since timestamptz,
	retention_left interval,
	retention_left_bytes bigint,
	replays bigint,
	resets jsonb,
	answers jsonb,
	policy_errors bigint,
	policy_time interval,
	sandbox text,
	slow_clients integer,
	waiting_queries integer,
	loop_lag interval,
	worker_restarts bigint)
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'notifyd_stats_rows';
COMMENT ON FUNCTION notifyd.stats_rows() IS 'rows of notifyd.stats';

CREATE VIEW notifyd.stats AS SELECT s.*,
	CASE WHEN s.oldest_in_flight_pid IS NOT NULL THEN
		(SELECT a.application_name FROM pg_catalog.pg_stat_get_activity(s.oldest_in_flight_pid) AS a)
	END AS in_flight_application
	FROM notifyd.stats_rows() AS s;
GRANT SELECT ON notifyd.stats TO PUBLIC;

COMMENT ON VIEW notifyd.stats IS 'counters and lag per database and gateway, and workers; members of pg_read_all_stats see all of them, others the row of the current database without process ids; what does not apply is NULL';
COMMENT ON COLUMN notifyd.stats.kind IS 'database, gateway or worker';
COMMENT ON COLUMN notifyd.stats.name IS 'name of the database, also of a worker''s, or number of the gateway';
COMMENT ON COLUMN notifyd.stats.pid IS 'process id of the feed, the gateway or the worker';
COMMENT ON COLUMN notifyd.stats.state IS 'running; not responding; locked: the feed waits for its lock on notifyd.log_0; starting; waiting to be started; asleep: nobody is subscribed; excluded by pg_notifyd.databases; closed: the database allows no connections; held: a command such as DROP DATABASE needs the database for itself; of a worker: starting, idle, or busy with a query';
COMMENT ON COLUMN notifyd.stats.started_at IS 'time when the feed or the gateway was started';
COMMENT ON COLUMN notifyd.stats.restarts IS 'number of times that the gateway was started again, or that the feed has ended although it was needed';
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
COMMENT ON COLUMN notifyd.stats.refused IS 'requests that the gateway has refused since its start';
COMMENT ON COLUMN notifyd.stats.closed_slow IS 'clients closed because they read too slowly, since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.events_received IS 'events that the gateway has received from feeds since its start';
COMMENT ON COLUMN notifyd.stats.messages IS 'messages queued to clients since the gateway''s start';
COMMENT ON COLUMN notifyd.stats.queued_bytes IS 'bytes that are queued to clients now';
COMMENT ON COLUMN notifyd.stats.refused_tokens IS 'tokens of clients that the feed has refused since the server''s start';
COMMENT ON COLUMN notifyd.stats.queries IS 'queries of clients that workers have run since the server''s start';
COMMENT ON COLUMN notifyd.stats.failed_queries IS 'those of them that were refused or ended with an error';
COMMENT ON COLUMN notifyd.stats.refused_by IS 'number of refused requests for each reason';
COMMENT ON COLUMN notifyd.stats.lag_events IS 'ids of events that have not been sent to every gateway';
COMMENT ON COLUMN notifyd.stats.last_seen IS 'time when the feed last completed a round, or the gateway last sent something to the launcher';
COMMENT ON COLUMN notifyd.stats.locked_since IS 'time since which the feed waits for its lock on notifyd.log_0';
COMMENT ON COLUMN notifyd.stats.watermark IS 'events up to this position are committed or will never be';
COMMENT ON COLUMN notifyd.stats.in_flight_since IS 'time since which the transaction of oldest_in_flight_pid delays the events of the others';
COMMENT ON COLUMN notifyd.stats.in_flight_application IS 'its application_name';
COMMENT ON COLUMN notifyd.stats.oldest_since IS 'time when the oldest segment of the log began: its events are not older';
COMMENT ON COLUMN notifyd.stats.retention_left IS 'time until the oldest events are removed for their age';
COMMENT ON COLUMN notifyd.stats.retention_left_bytes IS 'bytes that can be written before the oldest events are removed for the log''s size';
COMMENT ON COLUMN notifyd.stats.replays IS 'replays from the log that have begun since the server''s start';
COMMENT ON COLUMN notifyd.stats.resets IS 'number of resets for each reason since the server''s start';
COMMENT ON COLUMN notifyd.stats.answers IS 'number of queries for each kind and result since the server''s start';
COMMENT ON COLUMN notifyd.stats.policy_errors IS 'evaluations of policies and filters that have failed or taken too long, since the server''s start';
COMMENT ON COLUMN notifyd.stats.policy_time IS 'time that the feed has spent with policies and filters since the server''s start';
COMMENT ON COLUMN notifyd.stats.sandbox IS 'parts of the gateway''s sandbox';
COMMENT ON COLUMN notifyd.stats.slow_clients IS 'number of clients that have not taken everything that is queued to them for 10 seconds';
COMMENT ON COLUMN notifyd.stats.waiting_queries IS 'number of queries of clients that wait for a worker now';
COMMENT ON COLUMN notifyd.stats.loop_lag IS 'the longest time in the last second that new data has waited because the gateway was busy';
COMMENT ON COLUMN notifyd.stats.worker_restarts IS 'number of times since the server''s start that a worker could not start, or ended while it ran a query';

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
	expires_at timestamptz,
	queued_since timestamptz,
	session bigint)
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'notifyd_client_rows';
COMMENT ON FUNCTION notifyd.client_rows() IS 'rows of notifyd.clients';

CREATE VIEW notifyd.clients AS SELECT * FROM notifyd.client_rows();
GRANT SELECT ON notifyd.clients TO PUBLIC;
COMMENT ON VIEW notifyd.clients IS 'connected clients, as the gateways report them; members of pg_read_all_stats see all clients, others none';
COMMENT ON COLUMN notifyd.clients.gateway IS 'number of its gateway';
COMMENT ON COLUMN notifyd.clients.address IS 'address of the client; NULL if it is connected by a Unix socket';
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
COMMENT ON COLUMN notifyd.clients.queued_since IS 'time since which its queue has not been empty; NULL: it is empty';
COMMENT ON COLUMN notifyd.clients.session IS 'id of its session of WAMP; NULL: none';

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
COMMENT ON FUNCTION notifyd.exposure_changed() IS 'lets sessions read again what is exposed, the types of channels, and grants';
CREATE TRIGGER exposure_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.exposed_function
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.exposure_changed();
ALTER TABLE notifyd.exposed_function ENABLE ALWAYS TRIGGER exposure_changed;
COMMENT ON TRIGGER exposure_changed ON notifyd.exposed_function IS 'lets rows that are restored or deleted take effect';
CREATE TRIGGER exposure_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.exposed_relation
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.exposure_changed();
ALTER TABLE notifyd.exposed_relation ENABLE ALWAYS TRIGGER exposure_changed;
CREATE TRIGGER exposure_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.channel_type
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.exposure_changed();
ALTER TABLE notifyd.channel_type ENABLE ALWAYS TRIGGER exposure_changed;
COMMENT ON TRIGGER exposure_changed ON notifyd.channel_type IS 'lets rows that are restored or deleted take effect';
COMMENT ON TRIGGER exposure_changed ON notifyd.exposed_relation IS 'lets rows that are restored or deleted take effect';
CREATE TRIGGER exposure_changed AFTER INSERT OR UPDATE OR DELETE ON notifyd.channel_grant
	FOR EACH STATEMENT EXECUTE FUNCTION notifyd.exposure_changed();
ALTER TABLE notifyd.channel_grant ENABLE ALWAYS TRIGGER exposure_changed;
COMMENT ON TRIGGER exposure_changed ON notifyd.channel_grant IS 'lets rows that are restored or deleted take effect';

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

/* ---------------- consumer groups, see src/ext/group/ ---------------- */

-- The C code relies on the order of the columns of these tables.
CREATE SEQUENCE notifyd.consumer_group_id_seq AS integer;
CREATE TABLE notifyd.consumer_group (
	id integer PRIMARY KEY DEFAULT pg_catalog.nextval('notifyd.consumer_group_id_seq'),
	name text NOT NULL UNIQUE,
	owner regrole NOT NULL,
	channels text[] NOT NULL,
	filter text,
	ordered text,
	lease interval NOT NULL,
	max_attempts integer NOT NULL
);
ALTER SEQUENCE notifyd.consumer_group_id_seq OWNED BY notifyd.consumer_group.id;
COMMENT ON SEQUENCE notifyd.consumer_group_id_seq IS 'numbers of consumer groups';
COMMENT ON TABLE notifyd.consumer_group IS 'consumer groups, maintained by notify_group(); use the view notifyd.groups';
COMMENT ON COLUMN notifyd.consumer_group.id IS 'number of the group';
COMMENT ON COLUMN notifyd.consumer_group.name IS 'name of the group';
COMMENT ON COLUMN notifyd.consumer_group.owner IS 'role that defined the group';
COMMENT ON COLUMN notifyd.consumer_group.channels IS 'channels whose events the group gets';
COMMENT ON COLUMN notifyd.consumer_group.filter IS 'filter that selects events; NULL: all events';
COMMENT ON COLUMN notifyd.consumer_group.ordered IS 'key: events of one key are handled in order; NULL: in parallel';
COMMENT ON COLUMN notifyd.consumer_group.lease IS 'time after which an event that was taken with hold => true is delivered again';
COMMENT ON COLUMN notifyd.consumer_group.max_attempts IS 'an event that has failed so often is set aside';
SELECT pg_catalog.pg_extension_config_dump('notifyd.consumer_group',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid OPERATOR(pg_catalog.=) owner)');
SELECT pg_catalog.pg_extension_config_dump('notifyd.consumer_group_id_seq', '');
GRANT SELECT ON notifyd.consumer_group, notifyd.consumer_group_id_seq TO pg_database_owner;

CREATE TABLE notifyd.group_state (
	group_id integer PRIMARY KEY,
	scanned bigint NOT NULL,
	log_id bigint NOT NULL,
	needed bigint NOT NULL,
	open bigint[] NOT NULL,
	attempts smallint[] NOT NULL
);
COMMENT ON TABLE notifyd.group_state IS 'what consumer groups had acknowledged a few seconds ago; the log has what came since';
COMMENT ON COLUMN notifyd.group_state.group_id IS 'number of the group';
COMMENT ON COLUMN notifyd.group_state.scanned IS 'events up to this id are acknowledged or in "open"';
COMMENT ON COLUMN notifyd.group_state.log_id IS 'acknowledgements in the log behind this id are not in this row yet';
COMMENT ON COLUMN notifyd.group_state.needed IS 'the group needs the log behind this id';
COMMENT ON COLUMN notifyd.group_state.open IS 'ids of events that are not acknowledged; before that of a reset, the first id that it is about, as a negative number';
COMMENT ON COLUMN notifyd.group_state.attempts IS 'how often they were delivered';

CREATE TABLE notifyd.group_failed (
	group_id integer NOT NULL,
	id bigint NOT NULL,
	"position" text NOT NULL,
	event text NOT NULL,
	attempts integer NOT NULL,
	error text NOT NULL,
	since timestamptz NOT NULL,
	channel text NOT NULL,
	relation oid NOT NULL,
	columns smallint[],
	retry boolean NOT NULL,
	PRIMARY KEY (group_id, id, since)
);
COMMENT ON TABLE notifyd.group_failed IS 'events that have failed too often; use the view notifyd.failed_events';
COMMENT ON COLUMN notifyd.group_failed.group_id IS 'number of the consumer group';
COMMENT ON COLUMN notifyd.group_failed.id IS 'id of the event';
COMMENT ON COLUMN notifyd.group_failed.position IS 'position of the event';
COMMENT ON COLUMN notifyd.group_failed.event IS 'the event';
COMMENT ON COLUMN notifyd.group_failed.attempts IS 'how often it was delivered';
COMMENT ON COLUMN notifyd.group_failed.error IS 'why it failed last';
COMMENT ON COLUMN notifyd.group_failed.since IS 'when it was set aside';
COMMENT ON COLUMN notifyd.group_failed.channel IS 'channel of the event';
COMMENT ON COLUMN notifyd.group_failed.relation IS 'the watched table; 0 for a message';
COMMENT ON COLUMN notifyd.group_failed.columns IS 'numbers of the columns in the event; NULL: the whole row';
COMMENT ON COLUMN notifyd.group_failed.retry IS 'the feed is to send it again';

CREATE FUNCTION notifyd.group_rows() RETURNS TABLE (
	id integer,
	"position" text,
	pending integer,
	claimed integer,
	leased integer,
	delayed integer,
	behind bigint,
	oldest_since timestamptz,
	waiting integer,
	acknowledged bigint,
	redelivered bigint,
	lost bigint)
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10 AS 'MODULE_PATHNAME', 'notifyd_group_rows';
COMMENT ON FUNCTION notifyd.group_rows() IS 'rows of notifyd.groups';

CREATE VIEW notifyd.groups WITH (security_barrier = true) AS
	SELECT g.name, g.owner, g.channels, g.filter, g.ordered, g.lease, g.max_attempts,
		r."position", r.pending, r.claimed, r.leased, r.delayed, r.behind,
		r.oldest_since, r.waiting, r.acknowledged, r.redelivered, r.lost,
		(SELECT pg_catalog.count(*) FROM notifyd.group_failed AS f
			WHERE f.group_id OPERATOR(pg_catalog.=) g.id) AS failed
	FROM notifyd.consumer_group AS g
		JOIN notifyd.group_rows() AS r ON r.id OPERATOR(pg_catalog.=) g.id
	WHERE EXISTS (SELECT FROM pg_catalog.pg_roles AS o
			WHERE o.oid OPERATOR(pg_catalog.=) g.owner::oid AND pg_catalog.pg_has_role(o.oid, 'USAGE'))
		OR EXISTS (SELECT FROM notifyd.channel_grant AS c
				JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) c.role::oid
			WHERE c.channel OPERATOR(pg_catalog.=) g.name AND c.privilege OPERATOR(pg_catalog.=) 'consume' AND NOT c.pattern
				AND pg_catalog.pg_has_role(o.oid, 'USAGE'))
		OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');
COMMENT ON VIEW notifyd.groups IS 'consumer groups that the current user may take from; members of pg_read_all_stats see all of them';
COMMENT ON COLUMN notifyd.groups.position IS 'everything up to this position is acknowledged; NULL, with the following: not used since the server started';
COMMENT ON COLUMN notifyd.groups.pending IS 'events that wait for a consumer, of those that the group has read from the log: at most 8192, see "behind"';
COMMENT ON COLUMN notifyd.groups.claimed IS 'events that transactions have taken';
COMMENT ON COLUMN notifyd.groups.leased IS 'events that were taken with hold => true';
COMMENT ON COLUMN notifyd.groups.delayed IS 'events that were given back with a delay';
COMMENT ON COLUMN notifyd.groups.behind IS 'number of ids in the log that the group has not read yet: an upper bound for its events there, since other channels, rollbacks and restarts of the server take ids, too';
COMMENT ON COLUMN notifyd.groups.oldest_since IS 'when the oldest event that is not acknowledged was committed';
COMMENT ON COLUMN notifyd.groups.waiting IS 'consumers that wait for events';
COMMENT ON COLUMN notifyd.groups.acknowledged IS 'events acknowledged since the server started';
COMMENT ON COLUMN notifyd.groups.redelivered IS 'deliveries of events that had been delivered before, since the server started';
COMMENT ON COLUMN notifyd.groups.lost IS 'how often retention has removed events that the group needed, since the server started';
COMMENT ON COLUMN notifyd.groups.failed IS 'events that have failed too often and were set aside, see notifyd.failed_events';
GRANT SELECT ON notifyd.groups TO PUBLIC;

CREATE FUNCTION notifyd.may_read_failed(channel text, relation oid, columns smallint[]) RETURNS boolean
	LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'notifyd_may_read_failed';
COMMENT ON FUNCTION notifyd.may_read_failed(text, oid, smallint[]) IS
	'whether the current user may read an event that was set aside';

-- The row of an event is no longer known, so row-level security cannot judge it: whom it applies to does not see the event. The error may
-- quote the event's data.
CREATE VIEW notifyd.failed_events WITH (security_barrier = true) AS
	SELECT g.name, f.id, f."position", f.attempts, CASE WHEN r.readable THEN f.error END AS error, f.since,
		CASE WHEN r.readable THEN f.event::json END AS event
	FROM notifyd.group_failed AS f
		JOIN notifyd.consumer_group AS g ON g.id OPERATOR(pg_catalog.=) f.group_id
		CROSS JOIN LATERAL (SELECT notifyd.may_read_failed(f.channel, f.relation, f.columns) AS readable OFFSET 0) AS r
	WHERE NOT f.retry AND (
		(SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
		OR EXISTS (SELECT FROM pg_catalog.pg_roles AS o
			WHERE o.oid OPERATOR(pg_catalog.=) g.owner::oid AND pg_catalog.pg_has_role(o.oid, 'USAGE'))
		OR EXISTS (SELECT FROM notifyd.channel_grant AS c
				JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) c.role::oid
			WHERE c.channel OPERATOR(pg_catalog.=) g.name AND c.privilege OPERATOR(pg_catalog.=) 'consume' AND NOT c.pattern
				AND pg_catalog.pg_has_role(o.oid, 'USAGE')));
COMMENT ON VIEW notifyd.failed_events IS 'events that consumer groups have set aside, of groups that the current user may take from';
COMMENT ON COLUMN notifyd.failed_events.name IS 'name of the consumer group';
COMMENT ON COLUMN notifyd.failed_events.id IS 'id of the event, for notify_retry()';
COMMENT ON COLUMN notifyd.failed_events.position IS 'position of the event';
COMMENT ON COLUMN notifyd.failed_events.attempts IS 'how often it was delivered';
COMMENT ON COLUMN notifyd.failed_events.error IS 'why it failed last; NULL if the current user may not read the event';
COMMENT ON COLUMN notifyd.failed_events.since IS 'when it was set aside';
COMMENT ON COLUMN notifyd.failed_events.event IS 'the event; NULL if the current user may not read it, or row-level security of its table applies to the user';
GRANT SELECT ON notifyd.failed_events TO PUBLIC;

CREATE FUNCTION @extschema@.notify_group(
	name text,
	channels text[],
	filter text DEFAULT NULL,
	lease interval DEFAULT '30s',
	max_attempts integer DEFAULT 5,
	since text DEFAULT NULL,
	ordered text DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_group';
COMMENT ON FUNCTION @extschema@.notify_group(text, text[], text, interval, integer, text, text) IS
	'define a consumer group, or change it';

CREATE FUNCTION @extschema@.notify_ungroup(name text) RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_ungroup';
COMMENT ON FUNCTION @extschema@.notify_ungroup(text) IS 'drop a consumer group; returns whether there was one';

CREATE FUNCTION @extschema@.notify_take(
	name text,
	count integer DEFAULT 1,
	hold boolean DEFAULT false,
	wait interval DEFAULT '0',
	listen boolean DEFAULT false
) RETURNS TABLE (id bigint, "position" text, attempt integer, event json)
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'notify_take';
COMMENT ON FUNCTION @extschema@.notify_take(text, integer, boolean, interval, boolean) IS
	'take events from a consumer group; COMMIT acknowledges them, or begins their leases';

CREATE FUNCTION @extschema@.notify_ack(name text, ids bigint[]) RETURNS integer
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_ack';
COMMENT ON FUNCTION @extschema@.notify_ack(text, bigint[]) IS
	'acknowledge deliveries that were taken with hold => true; returns how many still had their leases';

CREATE FUNCTION @extschema@.notify_nack(name text, ids bigint[], delay interval DEFAULT '0', error text DEFAULT NULL)
	RETURNS integer
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_nack';
COMMENT ON FUNCTION @extschema@.notify_nack(text, bigint[], interval, text) IS
	'give back deliveries that were taken with hold => true; they come again after the delay';

CREATE FUNCTION @extschema@.notify_retry(name text, ids bigint[] DEFAULT NULL) RETURNS integer
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_retry';
COMMENT ON FUNCTION @extschema@.notify_retry(text, bigint[]) IS
	'let events that were set aside come again: those with these ids, or all; returns how many';

/* ---------------- procedures of clients of WAMP ---------------- */

CREATE FUNCTION @extschema@.notify_call(
	procedure text,
	args json DEFAULT '[]',
	kwargs json DEFAULT '{}',
	timeout interval DEFAULT '30 s'
) RETURNS json
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'notify_call';
COMMENT ON FUNCTION @extschema@.notify_call(text, json, json, interval) IS
	'call a procedure that a client of WAMP has registered, and return its result';

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
