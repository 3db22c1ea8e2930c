/*-------------------------------------------------------------------------
 *
 * log_check.c
 *	  Checks of the log tables before their columns and pages are believed.
 *
 * Rows are formed by log_row.c and read from the pages without the table's descriptor, so the
 * columns must be those that the extension's script creates. And readers look at every row of a
 * page, so a damaged page must not make them read beyond it: the line pointers, the tuple headers
 * and the lengths of the columns are checked first. What else may be wrong in a page is left to
 * data checksums.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ext/log/log_check.h"
#include "ext/log/log_row.h"

/* ---------------- columns ---------------- */

static const Oid check_types[LOG_NCOLUMNS] = {
	INT8OID, INT8OID, TIMESTAMPTZOID, OIDOID,   INT4OID, INT4OID, INT4OID,  INT4OID,
	INT4OID, OIDOID,  CHAROID,        BYTEAOID, TEXTOID, TEXTOID, BYTEAOID,
};

/* Whether rows of the table are stored as log_row.c forms them. */
static bool
check_layout(Relation table)
{
	TupleDesc columns = RelationGetDescr(table);

	if (table->rd_rel->relam != HEAP_TABLE_AM_OID ||
		(columns->natts != LOG_NCOLUMNS && columns->natts != LOG_NCOLUMNS_1_0))
		return false;
	for (int i = 0; i < columns->natts; i++)
	{
		if (TupleDescAttr(columns, i)->atttypid != check_types[i] ||
			!TupleDescAttr(columns, i)->attnotnull)
			return false;
	}
	return true;
}

/* Open a table; *checked is the one that was found right before. */
static Relation
check_open(Oid oid, Oid *checked, LOCKMODE lock)
{
	Relation table = table_open(oid, lock);

	if (*checked != oid && !check_layout(table))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has been altered",
						get_namespace_name(RelationGetNamespace(table)),
						RelationGetRelationName(table)),
				 errdetail("Its columns are not those that extension pg_notifyd has created."),
				 errhint("DROP EXTENSION and CREATE EXTENSION make the table anew. They remove all "
						 "watches and events.")));
	*checked = oid;
	return table;
}

Relation
log_open(int segment, LOCKMODE lock)
{
	static Oid checked[LOG_SEGMENTS];

	return check_open(log_table(segment), &checked[segment], lock);
}

Relation
log_open_bulk(int segment, LOCKMODE lock)
{
	static Oid checked[LOG_SEGMENTS];

	return check_open(log_bulk_table(segment), &checked[segment], lock);
}

void
log_check_tables(void)
{
	for (int segment = 0; segment < LOG_SEGMENTS; segment++)
	{
		table_close(log_open(segment, AccessShareLock), AccessShareLock);
		table_close(log_open_bulk(segment, AccessShareLock), AccessShareLock);
	}
}

/* ---------------- pages ---------------- */

void
log_report_damage(Oid table, BlockNumber block, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("block %u of table \"%s.%s\" is damaged", block,
						   get_namespace_name(get_rel_namespace(table)), get_rel_name(table)),
					errdetail("The block has %s.", what),
					errhint("Check the server's storage and memory. Lower "
							"\"pg_notifyd.retention\" until pg_notifyd has removed the events of "
							"this table.")));
}

OffsetNumber
log_check_items(Relation table, Page page, BlockNumber block)
{
	OffsetNumber last = PageGetMaxOffsetNumber(page);

	if (last > MaxHeapTuplesPerPage)
		log_report_damage(RelationGetRelid(table), block, "too many line pointers");
	return last;
}

/* Check so many bytes of a row. */
static void
check_row(Oid table, BlockNumber block, const char *row, Size length)
{
	if (!log_row_is_sound(row, length))
		log_report_damage(table, block, "a row of a wrong length");
}

char *
log_check_item(Relation table, Page page, BlockNumber block, OffsetNumber offset)
{
	ItemId item = PageGetItemId(page, offset);
	Size begin = ItemIdGetOffset(item);
	Size length = ItemIdGetLength(item);

	if (!ItemIdIsNormal(item))
		return NULL;
	if (begin < SizeOfPageHeaderData || begin != MAXALIGN(begin) || begin + length > BLCKSZ)
		log_report_damage(RelationGetRelid(table), block, "a wrong line pointer");
	check_row(RelationGetRelid(table), block, (char *) page + begin, length);
	return (char *) page + begin;
}

void
log_check_slot(Relation table, TupleTableSlot *slot)
{
	BufferHeapTupleTableSlot *found = (BufferHeapTupleTableSlot *) slot;
	HeapTuple tuple = found->base.tuple;
	const char *row = (char *) tuple->t_data;
	BlockNumber block = ItemPointerGetBlockNumber(&tuple->t_self);
	const char *end = (char *) BufferGetPage(found->buffer) + BLCKSZ;

	Assert(TTS_IS_BUFFERTUPLE(slot));
	if (row + tuple->t_len > end)
		log_report_damage(RelationGetRelid(table), block, "a wrong line pointer");
	check_row(RelationGetRelid(table), block, row, tuple->t_len);
}
