/*-------------------------------------------------------------------------
 *
 * log_event.h
 *	  An event as a row of the log, or a member of a bulk write, has it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_EVENT_H
#define PG_NOTIFYD_LOG_EVENT_H

#include "postgres.h"

#include "executor/tuptable.h"

#include "ext/log/log.h"

/* Fill an event from a row of a file whose attributes have been read. It points into the row. */
extern void log_event_from_slot(LogEvent *event, TupleTableSlot *slot, Oid file);

/* Set an event's attribute numbers, which need not be aligned. Good until the next call. */
extern void log_event_columns(LogEvent *event, const char *data, int ncolumns);

#endif /* PG_NOTIFYD_LOG_EVENT_H */
