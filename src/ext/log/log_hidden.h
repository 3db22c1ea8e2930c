/*-------------------------------------------------------------------------
 *
 * log_hidden.h
 *	  The format of hidden values.
 *
 * Row security and filters need typed values of a row. Most of them are in the event's text. The hidden
 * values of an event are what the text lacks, or does not have exactly. Clients never see them.
 *
 * First comes the shape of the watched table (uint32, see watch_shape.h), then for each value a
 * LogHidden and its text. Nothing is aligned. Events that are no changes of rows, those written by
 * version 1.0, and those whose hidden values would be too large have no hidden values, not even a shape.
 *
 * A row's value of a captured column is in the text's "new" or "old", or else in "key" if it is a row of
 * that key. A value that is neither there nor hidden is, in the old row of an UPDATE, that of the new row.
 *
 * An UPDATE that changes the key also has the old key as a JSON object, for clients that get the event
 * without its rows because it is too large.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_HIDDEN_H
#define PG_NOTIFYD_LOG_HIDDEN_H

#include "postgres.h"

typedef struct LogHidden
{
	char row;      /* LOG_HIDDEN_OLD, LOG_HIDDEN_NEW or LOG_HIDDEN_OLD_KEY */
	char form;     /* LOG_HIDDEN_NULL, LOG_HIDDEN_JSON or LOG_HIDDEN_TEXT */
	int16 attnum;  /* in the watched relation; 0 for LOG_HIDDEN_OLD_KEY */
	uint32 length; /* bytes of the text, which follows */
} LogHidden;

#define LOG_HIDDEN_OLD     'O'
#define LOG_HIDDEN_NEW     'N'
#define LOG_HIDDEN_OLD_KEY 'K'

#define LOG_HIDDEN_NULL '-' /* no text */
#define LOG_HIDDEN_JSON 'j' /* as the value would be in the event's text: json_append() */
#define LOG_HIDDEN_TEXT 't' /* json_append_exact() */

#endif /* PG_NOTIFYD_LOG_HIDDEN_H */
