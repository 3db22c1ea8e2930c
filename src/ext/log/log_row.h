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
 * Append a row, up to where its event's text comes; the buffer's end must be MAXALIGNed.
 * columns_size: of row->columns, in bytes. Of what is known at the commit only, and of the text,
 * nothing is looked at: the former comes with log_write(), the latter with log_end_row().
 */
extern void log_begin_row(StringInfo buf, const LogRow *row, Size columns_size);

/*
 * The text of a row is text_length bytes, up to the row's end, and its head the first head_length
 * of them.
 */
extern void log_end_row(char *row, char *text, Size head_length, Size text_length);

/* Those of its columns that have a fixed place. */
static inline LogFixed *
log_row_fixed(char *row)
{
	return (LogFixed *) (row + LOG_HOFF);
}

/*
 * Whether these bytes, MAXALIGNed, may be a row: it has the header and the columns of one, and no
 * column ends behind them.
 */
extern bool log_row_is_sound(const char *row, Size length);

/* Read a row back, but for what is known at the commit only. What it points to is in the row. */
extern void log_parse_row(const char *row, LogRow *result);

#endif /* PG_NOTIFYD_LOG_ROW_H */
