/*-------------------------------------------------------------------------
 *
 * log_bulk.h
 *	  Reading the members of large transactions. What writers need is in log.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_BULK_H
#define PG_NOTIFYD_LOG_BULK_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/snapshot.h"

#include "ext/log/log.h"

/*
 * What a marker row says, whose attributes have been read, and of which members (summary, may be
 * NULL). Raises ERRCODE_DATA_CORRUPTED if that is nothing.
 */
extern LogMarker log_read_marker(TupleTableSlot *slot, LogSummary *summary);

/* The last marker of a segment with an id from first to last. False: there is none. */
extern bool
log_find_marker(int segment, uint64 first, uint64 last, Snapshot snapshot, LogMarker *marker);

/* The smallest key in a segment's bulk table, dead rows included; 0: there is none. */
extern int64 log_smallest_key(int segment);

/*
 * Give the visitor the members of reader->bulk from reader->after on, up to upto. Each takes one
 * of *rows. Returns false if the visitor said to stop, or *rows are used up.
 */
extern bool log_read_bulk(LogReader *reader, uint64 upto, int *rows, Snapshot snapshot,
						  const LogVisitor *visitor);

/*
 * Give the visitor the event with this id and address, which is in this row of a bulk table: itself,
 * or as a member of a chunk. Returns false if it is not there.
 */
extern bool log_read_member(TupleTableSlot *slot, uint64 id, const LogAddress *address,
							const LogVisitor *visitor);

#endif /* PG_NOTIFYD_LOG_BULK_H */
