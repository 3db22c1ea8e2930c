/*-------------------------------------------------------------------------
 *
 * log.h
 *	  The log tables notifyd.log_0 ... log_7: ids, writing, reading, rotation.
 *
 * See the head of log.c for the model.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_H
#define PG_NOTIFYD_LOG_H

#include "postgres.h"

#include "shared.h"

#define LOG_SEGMENTS 8

/* Columns of a log table, 1-based, as in the extension's script. */
typedef enum LogColumn
{
	LOG_ID = 1,	 /* int8: > 0 an event's id or a bulk marker's first id; < 0 a bulk member */
	LOG_TX,		 /* int8: full transaction id */
	LOG_AT,		 /* timestamptz: when the commit began */
	LOG_SEQ,	 /* int4: place in the transaction, from 1 */
	LOG_OF,		 /* int4: how many events the transaction has */
	LOG_HEAD,	 /* int4: head_length */
	LOG_REL,	 /* oid: the watched table, 0 for a message */
	LOG_OP,		 /* "char": I U D T M, or B for a bulk marker */
	LOG_COLUMNS, /* bytea: int2 attribute numbers; empty: the whole row */
	LOG_CHANNEL, /* text */
	LOG_EVENT,	 /* text; of a bulk marker: "segment base", see log.c */
} LogColumn;
#define LOG_NCOLUMNS LOG_EVENT

/* An event as read from the log. Pointers are good until the callback returns. */
typedef struct LogEvent
{
	uint64 id;
	uint64 tx;
	TimestampTz at;
	int32 seq;
	int32 of;
	int32 head_length;
	Oid relation;
	char op;
	int ncolumns; /* -1: the whole row */
	const int16 *columns;
	const char *channel; /* channel_length bytes */
	int channel_length;
	Datum event; /* the text, possibly toasted: log_event_text() */
	Size event_length;
} LogEvent;

#endif /* PG_NOTIFYD_LOG_H */
