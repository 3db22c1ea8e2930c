/*-------------------------------------------------------------------------
 *
 * pending.h
 *	  The events of the running transaction, until its commit writes them to the log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_PENDING_H
#define PG_NOTIFYD_PENDING_H

#include "postgres.h"

#include "access/attnum.h"
#include "lib/stringinfo.h"

typedef struct PendingEvent
{
	char op;          /* see operation.h */
	bool notify;      /* also send its id by NOTIFY on the channel, */
	bool notify_rows; /* or the whole event */
	Oid relation; /* the watched table (of a partition: the watched parent); InvalidOid for a message */
	int ncolumns;              /* columns whose values text carries, for the privilege check; */
	const AttrNumber *columns; /* -1 and NULL: the whole row */
	const char *channel;
	int channel_length;
} PendingEvent;

/*
 * What all events of an operation on a table begin with, in the form in which they wait: made once,
 * and copied for each.
 */
typedef struct PendingHead
{
	StringInfoData buf; /* behind text_at: the begin of the text, which may be appended to */
	int text_at;
} PendingHead;

/* Make a head with no text, in the current context. */
extern void pending_make_head(PendingHead *head, const PendingEvent *event);

/*
 * An event's text is the inside of its JSON object from "op" on, without braces, in the server's
 * encoding, e.g.
 *	  "op":"UPDATE","schema":"public","table":"orders","channel":"orders","key":{"id":1},"new":{...},"old":{...}
 * and its head ends behind the key. The event as delivered is
 *	  {"position":"1-17","id":17,"tx":740,"seq":1,"of":2,"at":"2026-01-01T00:00:00.000000+00:00",<text>}
 * and, where it is larger than a client may get, <the head>,"truncated":true instead of
 * <text>. An event that could not be built whole because of its size is given with
 * a head that is all of a text, which ends in ,"truncated":true itself.
 *
 * A reset's text is "op":"RESET","channel":"orders","reason":"...", and its head ends before the
 * reason.
 *
 * Append an event; everything is copied. The text is what the head has of it, and text behind that,
 * head_length bytes of which belong to its head. Returns the event's place in the transaction, from
 * 1. Needs the workers: raises shared_require()'s error. Raises ERRCODE_FEATURE_NOT_SUPPORTED when
 * the transaction is already committing.
 */
extern int64
pending_append(const PendingHead *head, const char *text, Size head_length, Size text_length);

/*
 * The same in two steps, for a text that is written where it stays: what is appended to the buffer
 * between them is the text behind what the head has of it. head_end is where its head ends in the
 * buffer. No event may be appended in between, and no subtransaction roll back: that raises
 * ERRCODE_INTERNAL_ERROR. After an error there is no pending_end().
 */
extern StringInfo pending_begin(const PendingHead *head);
extern int64 pending_end(int head_end);

/* When the library is preloaded: register the callback that writes the events. */
extern void pending_register(void);

/*
 * A module may hold an event back until it knows what comes next, and append it late. There is at
 * most one such module. It gives these functions when it begins to hold something back:
 *
 *	  append	appends what is held back, and holds nothing any more. Runs no user's code. Is called
 *				before the transaction writes its events, and where a subtransaction begins or ends.
 *	  forget	holds nothing any more: the transaction or subtransaction aborts. Never fails.
 */
typedef struct PendingHolder
{
	void (*append)(void);
	void (*forget)(void);
} PendingHolder;

extern void pending_set_holder(const PendingHolder *holder);

/*
 * Append what is held back. Every module calls this before it appends an event that is not held
 * back.
 */
extern void pending_append_held(void);

#endif /* PG_NOTIFYD_PENDING_H */
