/*-------------------------------------------------------------------------
 *
 * query_snapshot.c
 *	  Snapshots: the rows of a channel that a subscription may see, as they are at one moment.
 *
 * The moment is that of the transaction's snapshot. The gateway passes its transaction ids on to the feed, which
 * leaves out the events of the transactions that the snapshot has seen. So the time at which the rows are read does
 * not matter. Only events with ids that were assigned before the snapshot was taken can be among them
 * (WireSnapshotIds.until).
 *
 * The rows are read by a SELECT as the client's role, so PostgreSQL applies privileges and row security itself. The
 * filter is the expression that the feed uses for events, as text. The feed looks at the policies at other moments, so
 * it is told by which ones the rows were read (WireSnapshotIds.policies).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "ext/access/access.h"
#include "ext/base/failpoint.h"
#include "ext/base/utf8.h"
#include "ext/log/log.h"
#include "ext/query/query.h"
#include "ext/sets/sets.h"
#include "ext/watch/watch.h"

#define SNAPSHOT_STANDBY_MS 10 /* how often to look whether the standby has confirmed */

/* A table of the channel. */
typedef struct SnapshotTable
{
	ClientQuery *query;
	Oid relation;
	Bitmapset *columns; /* that clients get, minus FirstLowInvalidHeapAttributeNumber */
	List *key;          /* numbers of columns */
	StringInfoData schema;
	StringInfoData name;
	StringInfoData key_names; /* a list as in WireRows */
	StringInfoData rows;
} SnapshotTable;

/* ---------------- the transaction's snapshot ---------------- */

/* A transaction id of a snapshot as 64 bits, like widen_snapshot_xid() in utils/adt/xid8funcs.c. */
static uint64
snapshot_widen(TransactionId xid, FullTransactionId next)
{
	uint32 epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

static int
snapshot_compare(const void *a, const void *b)
{
	uint64 left = *(const uint64 *) a;
	uint64 right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

static void
snapshot_describe(Snapshot snapshot, NotifydDatabase *database, WireSnapshotIds *seen)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint64 *xip = palloc(sizeof(uint64) * (snapshot->xcnt + 1));
	uint8_t *bytes = palloc(sizeof(uint64) * (snapshot->xcnt + 1));

	for (uint32 i = 0; i < snapshot->xcnt; i++)
		xip[i] = snapshot_widen(snapshot->xip[i], next);
	qsort(xip, snapshot->xcnt, sizeof(uint64), snapshot_compare);
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		wire_store_u64(bytes + i * sizeof(uint64), xip[i]);
	seen->until = log_last_assigned(database);
	seen->xmin = snapshot_widen(snapshot->xmin, next);
	seen->xmax = snapshot_widen(snapshot->xmax, next);
	seen->xip = (WireBytes){.data = (const char *) bytes,
							.len = (uint32_t) (snapshot->xcnt * sizeof(uint64))};
}

void
query_make_durable(void)
{
	/* A transaction is visible before its commit has set NotifydDatabase.commit_lsn. */
	XLogRecPtr lsn = log_wal_end();

	while (!log_make_durable(lsn))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 SNAPSHOT_STANDBY_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		/* Perhaps there is no synchronous standby any more. Another worker reads the rows. */
		if (ConfigReloadPending)
			query_refuse(WIRE_QUERY_BUSY, ERRCODE_QUERY_CANCELED, NULL,
						 "the settings have changed");
	}
}

/* ---------------- tables and columns ---------------- */

static Bitmapset *
snapshot_add_column(Bitmapset *columns, AttrNumber attnum)
{
	return bms_add_member(columns, attnum - FirstLowInvalidHeapAttributeNumber);
}

/* The columns that the watch's events have. */
static Bitmapset *
snapshot_captured(const Watch *watch)
{
	Bitmapset *columns = NULL;
	int16 *attnums;
	int n = watch_event_columns(watch, &attnums);
	Relation table;

	if (n >= 0)
	{
		for (int i = 0; i < n; i++)
			columns = snapshot_add_column(columns, attnums[i]);
		return columns;
	}
	table = table_open(watch->relation, AccessShareLock);
	for (int i = 0; i < RelationGetNumberOfAttributes(table); i++)
	{
		if (!TupleDescAttr(RelationGetDescr(table), i)->attisdropped)
			columns = snapshot_add_column(columns, (AttrNumber) (i + 1));
	}
	table_close(table, AccessShareLock);
	return columns;
}

static List *
snapshot_key(const Watch *watch)
{
	List *key = NIL;

	if (!watch->key.given)
		return watch_table_key(watch->relation, false);
	for (int i = 0; i < watch->key.n; i++)
		key = lappend_int(key, watch->key.attnums[i]);
	return key;
}

/* The columns of the events that the client has asked for, and the key, which all events have. */
static Bitmapset *
snapshot_wanted(const ClientQuery *query, Oid relation, const Bitmapset *captured, const List *key)
{
	WireBytes list = query->wire.columns;
	Bitmapset *wanted = query->wire.has_columns ? NULL : bms_copy(captured);
	const ListCell *cell;
	WireBytes name;

	while (query->wire.has_columns && wire_list_next(&list, &name))
	{
		AttrNumber attnum = get_attnum(relation, query_text(name));

		if (attnum > 0)
			wanted = snapshot_add_column(wanted, attnum);
	}
	wanted = bms_int_members(wanted, captured);
	foreach (cell, key)
		wanted = snapshot_add_column(wanted, (AttrNumber) lfirst_int(cell));
	return wanted;
}

static void
snapshot_append_utf8(StringInfo to, const char *text)
{
	initStringInfo(to);
	utf8_append(to, text, (int) strlen(text));
}

static void
snapshot_name_key(SnapshotTable *table)
{
	ListCell *cell;

	initStringInfo(&table->key_names);
	foreach (cell, table->key)
	{
		char *name = get_attname(table->relation, (AttrNumber) lfirst_int(cell), false);
		StringInfoData utf8;
		size_t used = (size_t) table->key_names.len;

		snapshot_append_utf8(&utf8, name);
		enlargeStringInfo(&table->key_names, utf8.len + (int) sizeof(uint32));
		if (!wire_list_append(table->key_names.data, (size_t) table->key_names.maxlen, &used,
							  (WireBytes){.data = utf8.data, .len = (uint32_t) utf8.len}))
			elog(ERROR, "could not name the key");
		table->key_names.len = (int) used;
	}
}

/* As for events: clients get nothing of a table of which their role may not read all that they would get. */
static bool
snapshot_may_read(Oid relation, const Bitmapset *columns)
{
	int16 *attnums = palloc(sizeof(int16) * bms_num_members(columns));
	AccessReason reason;
	int column = -1;
	int n = 0;

	while ((column = bms_next_member(columns, column)) >= 0)
		attnums[n++] = (int16) (column + FirstLowInvalidHeapAttributeNumber);
	return access_relation_allowed(GetUserId(), relation, n, attnums, &reason);
}

/* ---------------- the query ---------------- */

static void
snapshot_append_order(StringInfo sql, const SnapshotTable *table, const Bitmapset *captured)
{
	const ClientQuery *query = table->query;
	const char *separator = "";
	ListCell *cell;

	if (query->wire.order.len > 0)
		appendStringInfo(sql, " ORDER BY %s",
						 order_sql(query_text(query->wire.order), table->relation, captured));
	else if (table->key != NIL)
	{
		appendStringInfoString(sql, " ORDER BY ");
		foreach (cell, table->key)
		{
			appendStringInfo(sql, "%st.%s", separator,
							 quote_identifier(get_attname(table->relation,
														  (AttrNumber) lfirst_int(cell), false)));
			separator = ", ";
		}
	}
	if (query->wire.limit > 0)
		appendStringInfo(sql, " LIMIT " UINT64_FORMAT, query->wire.limit);
}

static char *
snapshot_sql(const SnapshotTable *table, const Bitmapset *captured)
{
	char *filter = query_filter(table->query->wire.filter, table->relation, captured, false);
	const char *separator = "SELECT ";
	StringInfoData sql;
	int column = -1;

	initStringInfo(&sql);
	while ((column = bms_next_member(table->columns, column)) >= 0)
	{
		appendStringInfo(&sql, "%st.%s", separator,
						 quote_identifier(get_attname(
							 table->relation,
							 (AttrNumber) (column + FirstLowInvalidHeapAttributeNumber), false)));
		separator = ", ";
	}
	/* A watch of a table with children has no events of these, unless they are partitions. */
	appendStringInfo(&sql, " FROM %s%s.%s AS t",
					 get_rel_relkind(table->relation) == RELKIND_RELATION ? "ONLY " : "",
					 quote_identifier(get_namespace_name(get_rel_namespace(table->relation))),
					 quote_identifier(get_rel_name(table->relation)));
	if (filter != NULL)
		appendStringInfo(&sql, " WHERE %s", filter);
	snapshot_append_order(&sql, table, captured);
	return sql.data;
}

/* ---------------- running it ---------------- */

static void
snapshot_send_rows(void *arg)
{
	SnapshotTable *table = arg;
	ClientQuery *query = table->query;
	WireMessage message = {.type = WIRE_ROWS};
	StringInfo key = &table->key_names;

	message.u.rows.request = query->wire.request;
	message.u.rows.schema =
		(WireBytes){.data = table->schema.data, .len = (uint32_t) table->schema.len};
	message.u.rows.table = (WireBytes){.data = table->name.data, .len = (uint32_t) table->name.len};
	message.u.rows.key = (WireBytes){.data = key->data, .len = (uint32_t) key->len};
	message.u.rows.rows = (WireBytes){.data = table->rows.data, .len = (uint32_t) table->rows.len};
	spool_send(query, &message, (uint32) table->rows.len);
	resetStringInfo(&table->rows);
	spool_attend(query);
}

/*
 * Append to the list by which policies the rows of a table were read. It is too late for a lock not to be free, because
 * reading them has locked what the policies read.
 */
static void
snapshot_note_policies(Oid relation, StringInfo policies)
{
	const char *claims = GetConfigOption("request.jwt.claims", true, false);
	SetIdentity identity = {.role = GetUserId(),
							.claims = claims != NULL && *claims != '\0' ? claims : NULL};
	uint8_t bytes[WIRE_POLICY_SIZE];
	SetBinding *binding;
	SetError error;

	set_budget_begin();
	if (!set_bind(relation, &identity, NULL, &binding, &error))
		return;
	wire_store_u32(bytes, relation);
	wire_store_u64(bytes + sizeof(uint32_t), binding != NULL ? set_policies(binding) : 0);
	if (binding != NULL)
		set_release(binding);
	appendBinaryStringInfo(policies, (const char *) bytes, sizeof(bytes));
}

static void
snapshot_read_table(ClientQuery *query, const Watch *watch, StringInfo policies)
{
	SnapshotTable table = {.query = query, .relation = watch->relation, .key = snapshot_key(watch)};
	Bitmapset *captured = snapshot_captured(watch);
	SPIExecuteOptions options = {0};
	SPIPlanPtr plan;
	uint64 count;

	table.columns = snapshot_wanted(query, watch->relation, captured, table.key);
	if (bms_is_empty(table.columns) || !snapshot_may_read(watch->relation, table.columns))
		return;
	if (watch->payload != NULL)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_FEATURE_NOT_SUPPORTED, "snapshot",
					 "there is no snapshot of channel \"%s\", because the events of table \"%s\" "
					 "have a payload instead of rows",
					 watch->channel, get_rel_name(watch->relation));
	snapshot_append_utf8(&table.schema, get_namespace_name(get_rel_namespace(watch->relation)));
	snapshot_append_utf8(&table.name, get_rel_name(watch->relation));
	snapshot_name_key(&table);
	initStringInfo(&table.rows);
	SPI_connect();
	plan = SPI_prepare(snapshot_sql(&table, captured), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	options.read_only = true;
	options.dest = rows_receiver_pieces(&table.rows, &count, snapshot_send_rows, &table);
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(SPI_result));
	SPI_finish();
	if (table.rows.len > 0)
		snapshot_send_rows(&table);
	/* It is as large as the largest row, and the query may live long. */
	pfree(table.rows.data);
	snapshot_note_policies(watch->relation, policies);
}

/* The tables of the channel. Of a partitioned table, the partitions have the rows. */
static List *
snapshot_tables(const ClientQuery *query)
{
	List *tables = NIL;
	ListCell *cell;

	foreach (cell, watch_list_channel(query_text(query->wire.name)))
		tables = list_concat_unique_oid(
			tables, find_all_inheritors(((Watch *) lfirst(cell))->relation, NoLock, NULL));
	return tables;
}

/* Lock all tables or none. Returns the one that is not free, or InvalidOid. */
static Oid
snapshot_try_lock(const List *tables)
{
	for (int i = 0; i < list_length(tables); i++)
	{
		Oid busy = list_nth_oid(tables, i);

		if (ConditionalLockRelationOid(busy, AccessShareLock))
			continue;
		while (--i >= 0)
			UnlockRelationOid(list_nth_oid(tables, i), AccessShareLock);
		return busy;
	}
	return InvalidOid;
}

/*
 * Waits with no lock held: a writer that has one of the tables and wants another would wait for this
 * process, and one of them would fail.
 */
void
query_snapshot_lock(const ClientQuery *query)
{
	Oid busy;

	while (OidIsValid(busy = snapshot_try_lock(snapshot_tables(query))))
	{
		LockRelationOid(busy, AccessShareLock);
		UnlockRelationOid(busy, AccessShareLock);
	}
}

void
query_snapshot(ClientQuery *query)
{
	WireMessage done = {.type = WIRE_SNAPSHOT_DONE};
	NotifydDatabase *database = log_attach();
	List *watches;
	List *seen = NIL;
	StringInfoData policies;
	ListCell *cell;

	initStringInfo(&policies);
	done.u.snapshot_done.request = query->wire.request;
	FAIL_POINT("snapshot-taken");
	snapshot_describe(GetActiveSnapshot(), database, &done.u.snapshot_done.seen);
	spool_begin(query);
	query_make_durable();
	watches = watch_list_channel(query_text(query->wire.name));
	foreach (cell, watches)
	{
		const Watch *watch = lfirst(cell);

		if (list_member_oid(seen, watch->relation))
			continue;
		seen = lappend_oid(seen, watch->relation);
		snapshot_read_table(query, watch, &policies);
	}
	done.u.snapshot_done.seen.policies =
		(WireBytes){.data = policies.data, .len = (uint32_t) policies.len};
	FAIL_POINT("snapshot-read");
	spool_send(query, &done, 0);
	query->answered = true;
}
