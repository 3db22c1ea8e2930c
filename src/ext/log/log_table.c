/*-------------------------------------------------------------------------
 *
 * log_table.c
 *	  Finding the tables of the log; reading and changing its small tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/extension.h"
#include "ext/base/relation_change.h"
#include "ext/base/worker.h"
#include "ext/log/log.h"

/*
 * OIDs of the log's relations by segment. A transaction that writes one event needs them four times,
 * and looking them up by name took a sixth of what the event costs.
 */
static struct
{
	bool watching;      /* log_forget() is registered */
	uint64 forgettings; /* how often it was called */
	Oid tables[LOG_SEGMENTS];
	Oid bulk_tables[LOG_SEGMENTS];
	Oid bulk_indexes[LOG_SEGMENTS];
} log_known;

static void
log_forget_relation(Oid *known, Oid relation)
{
	for (int i = 0; i < LOG_SEGMENTS; i++)
	{
		if (!OidIsValid(relation) || relation == known[i])
			known[i] = InvalidOid;
	}
}

/* Called when a relation has been dropped, renamed or altered, or its creation rolled back. */
static void
log_forget(Datum arg pg_attribute_unused(), Oid relation)
{
	log_known.forgettings++;
	log_forget_relation(log_known.tables, relation);
	log_forget_relation(log_known.bulk_tables, relation);
	log_forget_relation(log_known.bulk_indexes, relation);
}

static Oid
log_known_relation(Oid *known, const char *format, int segment)
{
	char name[NAMEDATALEN];
	uint64 forgettings;
	Oid oid;

	if (OidIsValid(*known))
		return *known;
	if (!log_known.watching)
	{
		relation_change_register(log_forget);
		log_known.watching = true;
	}
	snprintf(name, sizeof(name), format, segment);
	forgettings = log_known.forgettings;
	oid = extension_relation(name);

	/* Do not keep it if it may have been dropped meanwhile: there would be no other call. */
	if (forgettings == log_known.forgettings)
		*known = oid;
	return oid;
}

Oid
log_table(int segment)
{
	return log_known_relation(&log_known.tables[segment], "log_%d", segment);
}

Oid
log_bulk_table(int segment)
{
	return log_known_relation(&log_known.bulk_tables[segment], "bulk_%d", segment);
}

Oid
log_bulk_index(int segment)
{
	return log_known_relation(&log_known.bulk_indexes[segment], "bulk_%d_id", segment);
}

void
log_for_each_row(const char *name, Snapshot snapshot, LogRowFunction function, void *arg)
{
	Relation table = table_open(extension_relation(name), AccessShareLock);
	TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(table, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		function(arg, slot->tts_values);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, AccessShareLock);
}

void
log_execute(const char *sql, int64 first, int64 second)
{
	Oid types[2] = {INT8OID, INT8OID};
	Datum values[2] = {Int64GetDatum(first), Int64GetDatum(second)};
	int result = SPI_execute_with_args(sql,
									   strstr(sql, "$2")   ? 2
									   : strstr(sql, "$1") ? 1
														   : 0,
									   types, values, NULL, false, 0);

	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(result));
}

void
log_begin_work(void)
{
	worker_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
}

void
log_end_work(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}
