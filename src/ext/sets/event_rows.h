/*-------------------------------------------------------------------------
 *
 * event_rows.h
 *	  The old and the new row of an event as typed values.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_EVENT_ROWS_H
#define PG_NOTIFYD_EVENT_ROWS_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "utils/relcache.h"

#include "ext/log/log.h"

/* One is used for all events, one after the other. */
typedef struct EventRows EventRows;

/* Allocate one in this context. It stays there as long as the context. */
extern EventRows *event_rows_create(MemoryContext context);

/*
 * Look at another event, which must stay as it is while this is used. Nothing is parsed yet. Values and
 * slots of the event before are gone.
 */
extern void event_rows_set(EventRows *rows, const LogEvent *event);

/*
 * Make values of these columns of the old and new row available: the columns are attribute numbers of
 * the relation, minus FirstLowInvalidHeapAttributeNumber; 0 minus that is every column. relation is
 * the watched table of the event, and the same in all calls for one event. Values that have been read
 * are kept.
 *
 * Returns false and sets *reason if a value cannot be known exactly: the column was added or retyped
 * later, it was not captured, or what it was is unknown. The reason is constant ASCII text without
 * quotes. Needs a transaction. Raises errors only as json_read() does.
 */
extern bool
event_rows_read(EventRows *rows, Relation relation, const Bitmapset *columns, const char **reason);

/*
 * The rows as virtual tuples with the relation's columns, after event_rows_read(). NULL: the event has
 * no such row. Columns that have not been read are NULL.
 */
extern TupleTableSlot *event_rows_old(EventRows *rows);
extern TupleTableSlot *event_rows_new(EventRows *rows);

/*
 * The context of the event's transaction, and the payload of a message, as jsonb. Return false if the
 * event has none, or if jsonb does not have such a value.
 */
extern bool event_rows_context(EventRows *rows, Datum *context);
extern bool event_rows_payload(EventRows *rows, Datum *payload);

#endif /* PG_NOTIFYD_EVENT_ROWS_H */
