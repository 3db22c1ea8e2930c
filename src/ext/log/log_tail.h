/*-------------------------------------------------------------------------
 *
 * log_tail.h
 *	  The tail of the log: where writers put rows, and where readers find them.
 *
 * The model is at the head of log_tail.c. What a reservation has of the tail is in log.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_TAIL_H
#define PG_NOTIFYD_LOG_TAIL_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "ext/log/log.h"

/* ---------------- for writers ---------------- */

/* Where a writer's next row goes. */
typedef struct LogSpot
{
	BlockNumber block;
	uint32 room; /* bytes that are left there */
} LogSpot;

/* What a transaction's rows record of the tail, and where they go. */
typedef struct LogTailHint
{
	Oid relfilenumber;
	bool known; /* false: the tail was unknown, so the rows go to the end of the file */
	BlockNumber start_block;
	uint64 recent_watermark; /* 0: none is known */
	LogSpot spot;
} LogTailHint;

/* Make the tail unknown. The caller holds the database's lock. */
extern void log_tail_forget(NotifydDatabase *database);

/*
 * Reserve room at the tail for these rows, in order, and note in the reservation where. The caller
 * holds the database's lock.
 */
extern void log_tail_reserve(NotifydDatabase *database, LogReservation *reservation,
							 const HeapTuple *tuples, int n);

/*
 * Prepare the insertion of a reservation's rows: add blocks to the file where they are missing, and
 * return what the rows are to record. table is the reservation's table; the caller has locked it.
 */
extern LogTailHint
log_tail_prepare(NotifydDatabase *database, const LogReservation *reservation, Relation table);

/*
 * Set the table's target block for the next rows, which the caller then inserts with
 * HEAP_INSERT_SKIP_FSM. Returns how many of these n rows go to that block.
 */
extern int log_tail_target(Relation table, LogTailHint *hint, const HeapTuple *tuples, int n);

/* The value of watermark_delta for a row. */
extern int32 log_tail_delta(const LogTailHint *hint, uint64 id);

/*
 * Advance the tail to this block if it is before it: the last of the inserted rows is there. Called
 * after each insertion, before log_decided().
 */
extern void
log_tail_advance(NotifydDatabase *database, int segment, Relation table, BlockNumber block);

/* ---------------- for readers ---------------- */

/* A row's id and where it is. */
typedef struct LogPlace
{
	uint64 id;
	ItemPointerData tid;
} LogPlace;

typedef struct LogPlaces
{
	LogPlace *places; /* palloc'd, or NULL at first */
	int n;
	int size;
} LogPlaces;

/* A block such that all rows of ids from this one on are in it or behind it. */
extern BlockNumber log_locate(Relation table, uint64 id);

/*
 * Find rows with ids after < id <= upto, in order of id, dead rows included. from is a block that
 * log_locate() has returned, and upto a watermark or less. Returns the id up to which all rows have
 * been found. That is less than upto only if "enough" rows have been found.
 */
extern uint64 log_collect(LogPlaces *places, Relation table, BlockNumber from, uint64 after,
						  uint64 upto, int enough);

/*
 * Get the visible row with the greatest id at or below upto, which is a watermark or less. Returns
 * false if there is none.
 */
extern bool log_get_last(Relation table, uint64 upto, Snapshot snapshot, TupleTableSlot *slot);

/*
 * The last id that rows of a table stand for, dead rows included; 0: there are none. Raises
 * *recent_watermark to the last watermark that the last rows record. For a table that nobody writes
 * to.
 */
extern uint64 log_last_in(Relation table, uint64 *recent_watermark);

#endif /* PG_NOTIFYD_LOG_TAIL_H */
