/*-------------------------------------------------------------------------
 *
 * log_write.h
 *	  Inserting formed rows, for the writers of the log and of the bulk tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_WRITE_H
#define PG_NOTIFYD_LOG_WRITE_H

#include "postgres.h"

#include "access/heapam.h"

#include "ext/log/log.h"
#include "ext/log/log_tail.h"

/* Set the columns of a formed row that are known at the commit only. */
extern void log_stamp_row(HeapTuple tuple, const LogRow *row, const LogTailHint *hint);

/* Insert rows, and set where they are (t_self). Index entries are the caller's business. */
extern void log_insert(Relation table, HeapTuple *tuples, int n, CommandId cid, int options,
					   BulkInsertState bulk);

#endif /* PG_NOTIFYD_LOG_WRITE_H */
