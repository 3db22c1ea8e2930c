/*-------------------------------------------------------------------------
 *
 * log_row.h
 *	  A row of a log table as it is formed in memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_ROW_H
#define PG_NOTIFYD_LOG_ROW_H

#include "postgres.h"

#include "access/htup_details.h"
#include "lib/stringinfo.h"

#include "ext/log/log.h"

/* Where a row's data begins. */
#define LOG_HOFF MAXALIGN(SizeofHeapTupleHeader)

/*
 * Append a row to a buffer whose end is MAXALIGNed, up to where the event's text comes. row->columns
 * has columns_size bytes. The text and the hidden values are not read: the caller appends the text,
 * and calls log_append_hidden() and log_end_row(). Nor are the fields that are known at the commit
 * only: log_write() sets them.
 */
extern void log_begin_row(StringInfo buf, const LogRow *row, Size columns_size);

/* Append what follows a row's text, which ends at this offset from the row's begin. */
extern void log_append_hidden(StringInfo buf, Size text_end, const char *hidden, Size length);

/* Set the lengths of a row's text and of the text's head. */
extern void log_end_row(char *row, char *text, Size head_length, Size text_length);

/* The columns with a fixed place. */
static inline LogFixed *
log_row_fixed(char *row)
{
	return (LogFixed *) (row + LOG_HOFF);
}

/* Whether these bytes, MAXALIGNed, have a row's header and columns, all within their length. */
extern bool log_row_is_sound(const char *row, Size length);

/* Read a row back, but for the fields that are known at the commit only. *result points into it. */
extern void log_parse_row(const char *row, LogRow *result);

#endif /* PG_NOTIFYD_LOG_ROW_H */
