/*-------------------------------------------------------------------------
 *
 * log_place.h
 *	  Where in a log table the rows of certain ids are. The model is at the head of log_place.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_PLACE_H
#define PG_NOTIFYD_LOG_PLACE_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "ext/log/log.h"

/* ---------------- for writers ---------------- */

/*
 * Under the database's lock: take room at the tail for these rows, in order, and note in the
 * reservation where.
 */
extern void
log_allot(NotifydDatabase *database, LogReservation *reservation, const HeapTuple *tuples, int n);

/* Where a writer's next row goes. */
typedef struct LogSpot
{
	BlockNumber block;
	uint32 room; /* bytes that are left there */
} LogSpot;

/* What a writer's rows say of where others are, and where they go. */
typedef struct LogSign
{
	Oid file;
	bool known; /* else they say nothing, and go where there is room */
	BlockNumber block;
	uint64 decided; /* 0: not known */
	LogSpot spot;
} LogSign;

/* Under the database's lock: nothing is known of the tail from now on. */
extern void log_forget_tail(NotifydDatabase *database);

/*
 * Look where the rows of a reservation are to be put; table is that of the reservation, and locked.
 */
extern LogSign
log_aim(NotifydDatabase *database, const LogReservation *reservation, Relation table);

/*
 * Point the table to the block for the next rows, which are then to be inserted with
 * HEAP_INSERT_SKIP_FSM. Returns how many of these n go there.
 */
extern int log_point(Relation table, LogSign *sign, const HeapTuple *tuples, int n);

/* What the column behind of a row is. */
extern int32 log_behind(const LogSign *sign, uint64 id);

/* The last of rows that were added is there. To be told before their reservation is decided. */
extern void log_landed(NotifydDatabase *database, int segment, Relation table, BlockNumber block);

/* ---------------- for readers ---------------- */

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

/* A block such that rows of ids from id on are in it or behind it. */
extern BlockNumber log_locate(Relation table, uint64 id);

/*
 * Find rows of ids after < id <= upto, dead ones too, in blocks from a log_locate()d one on, in
 * order of id. upto must be at or below a watermark. Returns the id up to which there are no
 * others: less than upto only if that is enough, a number of rows.
 */
extern uint64 log_collect(LogPlaces *places, Relation table, BlockNumber from, uint64 after,
						  uint64 upto, int enough);

/*
 * Get the visible row of the greatest id at or below upto, which must be at or below a watermark.
 * False: none.
 */
extern bool log_get_last(Relation table, uint64 upto, Snapshot snapshot, TupleTableSlot *slot);

/*
 * The last id that rows of a table stand for, dead ones too; 0: there are none. *decided grows to
 * the last watermark that the last rows tell of. For a table that is not written to.
 */
extern uint64 log_last_in(Relation table, uint64 *decided);

#endif /* PG_NOTIFYD_LOG_PLACE_H */
