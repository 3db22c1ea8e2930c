/*-------------------------------------------------------------------------
 *
 * pending.h
 *	  Keeps the events of the running transaction until its commit writes them to the log.
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
	bool notify;      /* send its id with NOTIFY on the channel too, */
	bool notify_rows; /* or the whole event */
	int watch;        /* of shared_watch(); 0: it is not counted by its watch */
	Oid relation;     /* the watched table, also for a partition; InvalidOid for a message */
	int ncolumns;     /* number of columns in the event, for the check of privileges; */
	const AttrNumber *columns; /* -1 and NULL: the whole row */
	const char *channel;
	int channel_length;
} PendingEvent;

/*
 * The text and row header that all events of an operation on a table begin with. It is made once
 * and copied for each event.
 */
typedef struct PendingHead
{
	StringInfoData buf; /* from text_at on: the start of the text; the caller may append to it */
	int text_at;
} PendingHead;

/* Make a head without text, in the current memory context. */
extern void pending_make_head(PendingHead *head, const PendingEvent *event);

/*
 * The text of an event is the inside of its JSON object, from "op" on and without braces, in the
 * server's encoding, for example
 *
 *	  "op":"UPDATE","schema":"public","table":"orders","channel":"orders","key":{"id":1},"new":{...},"old":{...}
 *
 * The head of the text ends after the key. The feed delivers the event as
 *
 *	  {"position":"1-17","id":17,"tx":740,"seq":1,"of":2,"at":"2026-01-01T00:00:00.000000+00:00",<text>}
 *
 * and, if that is larger than the maximum for clients, with <head>,"truncated":true instead of
 * <text>. An event that is too large to be built has only a head, which itself ends in
 * ,"truncated":true.
 *
 * The text of a reset is "op":"RESET","channel":"orders","reason":"...", and its head ends before
 * the reason.
 *
 * pending_append() appends an event and copies everything. The text of the event is the head's text
 * followed by text; head_length bytes of the latter belong to the head of the text. hidden is what
 * capture_hidden.c describes, or empty. Returns the event's number in the transaction, from 1. Raises
 * the error of shared_require(), and ERRCODE_FEATURE_NOT_SUPPORTED if the transaction is already
 * committing.
 */
extern int64 pending_append(const PendingHead *head, const char *text, Size head_length,
							Size text_length, const char *hidden, Size hidden_length);

/*
 * The same in two steps, without a copy: between the two calls the caller appends the rest of the
 * text to the returned buffer. head_end is the offset in the buffer where the head of the text
 * ends. In between, no event may be appended and no subtransaction rolled back: that raises
 * ERRCODE_INTERNAL_ERROR. After an error, pending_end() is not called.
 */
extern StringInfo pending_begin(const PendingHead *head);
extern int64 pending_end(int head_end, const char *hidden, Size hidden_length);

/*
 * Append a row for consumer groups (src/ext/group/) that is no event: its channel is empty, and
 * clients do not count it. It must be behind all events of the transaction, and in no savepoint.
 */
extern void pending_append_silent(const PendingEvent *event, const char *text, Size length);

/*
 * The id of the first event of the last transaction of this session that committed events. An event's id is this plus
 * its number in the transaction minus one.
 */
extern uint64 pending_committed_first(void);

/*
 * Register the callbacks that a session needs after its first event. Callbacks that are registered
 * later are called earlier: at XACT_EVENT_COMMIT, before log_decided().
 */
extern void pending_register_session(void);

/* Register the callback that writes the events. Called when the library is preloaded. */
extern void pending_register(void);

/*
 * A module may hold back an event until it knows what follows, and append it later. There is at
 * most one such module. It sets these functions when it first holds back an event:
 *
 *	  append	appends the event that is held back, if any. Runs no user-defined code. Called before
 *				the transaction writes its events, and when a subtransaction begins or ends.
 *	  forget	discards it, because the transaction or subtransaction aborts. Never raises an error.
 */
typedef struct PendingHolder
{
	void (*append)(void);
	void (*forget)(void);
} PendingHolder;

extern void pending_set_holder(const PendingHolder *holder);

/*
 * Append the event that is held back, if any. Every module calls this before it appends another
 * event.
 */
extern void pending_append_held(void);

#endif /* PG_NOTIFYD_PENDING_H */
