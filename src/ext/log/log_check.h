/*-------------------------------------------------------------------------
 *
 * log_check.h
 *	  Checks of the log tables before their columns and pages are believed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_CHECK_H
#define PG_NOTIFYD_LOG_CHECK_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "storage/bufpage.h"
#include "utils/relcache.h"

/*
 * Open a segment's log table, or its table for members of bulk writes. Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if the table's columns are not those that this library
 * reads and writes, ERRCODE_UNDEFINED_TABLE if it is not there. A process checks each table once.
 */
extern Relation log_open(int segment, LOCKMODE lock);
extern Relation log_open_bulk(int segment, LOCKMODE lock);

/* Check all of them, for the feed when it starts. Needs a transaction. */
extern void log_check_tables(void);

/*
 * The row that a line pointer of a page points to, once it is known to lie within the page and to
 * have the parts of a log row; NULL: it has none. Raises ERRCODE_DATA_CORRUPTED.
 */
extern char *log_check_item(Relation table, Page page, BlockNumber block, OffsetNumber offset);

/* How many line pointers a page has. Raises ERRCODE_DATA_CORRUPTED if no page has as many. */
extern OffsetNumber log_check_items(Relation table, Page page, BlockNumber block);

/* The same for a row that a scan has found, before its columns are looked at. */
extern void log_check_slot(Relation table, TupleTableSlot *slot);

/* Report that a block cannot be read: raises ERRCODE_DATA_CORRUPTED. */
extern void log_report_damage(Oid table, BlockNumber block, const char *what);

#endif /* PG_NOTIFYD_LOG_CHECK_H */
