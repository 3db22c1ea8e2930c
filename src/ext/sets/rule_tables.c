/*-------------------------------------------------------------------------
 *
 * rule_tables.c
 *	  Finds out whether the tables that sub-selects read have changed.
 *
 * Values of a binding that sub-selects compute have to be right for each snapshot in which events are
 * read. With thousands of identities it takes too long to compute them each time. Most often the tables
 * that they read have not changed at all, and the pages of a table show that: whoever changes a row
 * sets the LSN of its page.
 *
 * A row also changes when the transaction that wrote it ends, which its page does not show. So a
 * moment has a position in the WAL, called decided: whoever wrote before that position had ended when
 * the moment's snapshot was taken. If now no page is newer than that position, the rows are those that
 * the snapshot of that moment saw, and any later one.
 *
 *	  1. The position where the next record will be inserted is noted, and then the next transaction id.
 *		 Who has written before the position has a lower id.
 *	  2. As soon as the xmin of the snapshot that computes the values is not lower than that id, the
 *		 position is decided. Whoever wrote before it had ended, and so had set the LSN of its page.
 *		 A later snapshot would not do: it shows transactions that the values do not.
 *	  3. A later snapshot is taken, and then the pages are read. Whoever wrote after the position, and is
 *		 visible in that snapshot, has set an LSN after the position.
 *
 * A new file of the table, as TRUNCATE makes it, does not count as unchanged: it invalidates the
 * relation, and a rule that an invalidation has hit since the moment is not compared. A table is read
 * under a lock, so invalidations of those who changed it have come.
 *
 * This works for tables in shared buffers whose changes are in the WAL. All others always count as
 * changed, and so do large ones, of which reading the pages would take longer than computing the
 * values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/sets/sets_internal.h"

/*
 * How many pages of a table are read. To read 64 of them takes about as long as to compute the values
 * of one binding; but identities can share a binding.
 */
#define TABLES_FEW_PAGES         512
#define TABLES_PAGES_PER_BINDING 64
#define TABLES_MOST_PAGES        4096

/* Newer than any page. */
#define TABLES_CHANGED PG_UINT64_MAX

/* ---------------- moments ---------------- */

static struct
{
	uint64 number; /* of the last moment */
	XLogRecPtr decided;
	XLogRecPtr next; /* becomes decided; 0: none */
	TransactionId next_xid;
} tables;

void
set_moment(SetMoment *moment)
{
	if (tables.next == 0)
	{
		tables.next = GetXLogInsertRecPtr();
		tables.next_xid = ReadNextTransactionId();
	}
	if (TransactionIdPrecedesOrEquals(tables.next_xid, GetActiveSnapshot()->xmin))
	{
		tables.decided = tables.next;
		tables.next = 0;
	}
	tables.number++;
	moment->decided = tables.decided;
	moment->changes = set_changes();
}

/* ---------------- pages ---------------- */

static XLogRecPtr
tables_page(Relation relation, BlockNumber block)
{
	Buffer buffer = ReadBuffer(relation, block);
	XLogRecPtr lsn;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	lsn = PageGetLSN(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	return lsn;
}

/* The position of the last change of a table, which is locked, with at most so many pages. */
static XLogRecPtr
tables_pages(Relation relation, BlockNumber most)
{
	XLogRecPtr newest = 0;
	BlockNumber n;

	if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT ||
		relation->rd_rel->relam != HEAP_TABLE_AM_OID || relation->rd_rel->relhassubclass)
		return TABLES_CHANGED;
	n = RelationGetNumberOfBlocks(relation);
	if (n > most)
		return TABLES_CHANGED;
	for (BlockNumber block = 0; block < n; block++)
	{
		CHECK_FOR_INTERRUPTS();
		newest = Max(newest, tables_page(relation, block));
	}
	return newest;
}

static XLogRecPtr
tables_newest(const SetRule *rule)
{
	int64 pages = TABLES_PAGES_PER_BINDING * (int64) rule->nbindings;
	BlockNumber most = Max(TABLES_FEW_PAGES, Min(pages, TABLES_MOST_PAGES));
	XLogRecPtr newest = 0;
	ListCell *cell;

	foreach (cell, rule->tables)
	{
		Oid table = lfirst_oid(cell);
		Relation relation;

		/* Who holds a lock that conflicts is about to change the table. */
		if (!ConditionalLockRelationOid(table, AccessShareLock))
			return TABLES_CHANGED;
		relation = try_relation_open(table, NoLock);
		if (relation == NULL)
		{
			UnlockRelationOid(table, AccessShareLock);
			return TABLES_CHANGED;
		}
		newest = Max(newest, tables_pages(relation, most));
		relation_close(relation, AccessShareLock);
	}
	return newest;
}

bool
set_unchanged(const SetBinding *binding, const SetMoment *since)
{
	SetRule *rule = binding->rule;

	if (!rule->has_snapshot_params)
		return true;
	if (!rule->traced || rule->stale)
		return false;
	if (rule->looked != tables.number)
	{
		rule->newest = tables_newest(rule);
		rule->looked = tables.number;
	}
	return rule->newest <= since->decided && rule->suspected <= since->changes;
}
