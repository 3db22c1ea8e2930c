/*-------------------------------------------------------------------------
 *
 * sqlcall.h
 *	  notify_call(): SQL calls procedures that clients of WAMP have registered.
 *
 * The backend and the feed of its database share a slot, and a segment of dynamic shared memory for
 * each call. Each backend has a slot, because it makes one call at a time, so slots cannot run out.
 *
 *	  backend									feed
 *	  makes a segment with the request and a
 *	  queue, names it in its slot, wakes the
 *	  feed
 *												sees the slot, notes itself in it, attaches to the
 *												segment, and calls for a session of the router
 *	  waits for the queue						sends the answer by the queue
 *	  clears the slot, wakes the feed
 *												ends the session, with the call if it is under way
 *
 * A backend that is cancelled or ends does the last step, too. If the feed ends, it detaches from the
 * queue, which the backend sees at once; a call that the feed has not seen waits for the next feed. The
 * slots are guarded by a lock of their own, under which nobody takes another one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SQLCALL_H
#define PG_NOTIFYD_SQLCALL_H

#include "postgres.h"

#include "storage/dsm.h"
#include "storage/shm_mq.h"

#include "ext/base/shared.h"

/* Install the shared memory hooks. Called by _PG_init() under shared_preload_libraries. */
extern void sqlcall_init(void);

/* ---------------- a call's segment ---------------- */

/* The queue for the answer is at the segment's beginning, the request at this place. */
#define SQLCALL_QUEUE_SIZE 65536

/* The lengths in bytes of a request's texts, in the order in which they stand there. */
typedef struct SqlCallLengths
{
	uint32 name;    /* of the procedure */
	uint32 payload; /* as in WireRoute */
	uint32 user;    /* name of the session's user, */
	uint32 role;    /* and of the role that calls */
} SqlCallLengths;

typedef struct SqlCallRequest
{
	SqlCallLengths lengths;
	char text[FLEXIBLE_ARRAY_MEMBER]; /* UTF-8 */
} SqlCallRequest;

/* The one message of the queue. */
typedef struct SqlCallAnswer
{
	uint8 kind;                       /* ROUTE_RESULT or ROUTE_ERROR */
	uint8 flags;                      /* as in WireRoute */
	uint32 name_length;               /* of the error */
	char text[FLEXIBLE_ARRAY_MEMBER]; /* the error and, up to the end, the payload */
} SqlCallAnswer;

/* ---------------- for the feed ---------------- */

/* The number of slots. They have the numbers from 0 on. */
extern int sqlcall_slots(void);

/* Return true if slots of the database have changed since the last call. */
extern bool sqlcall_changed(const NotifydDatabase *database);

/*
 * Return the number of the call that a backend of the database makes by a slot, which no other call has;
 * 0: it makes none, or the call was another feed's.
 */
extern uint64 sqlcall_read(int slot, const NotifydDatabase *database);

/* Note this process as the one that answers a call. Returns false if the call has ended. */
extern bool
sqlcall_take(int slot, uint64 number, dsm_handle *segment) __attribute__((warn_unused_result));

#endif /* PG_NOTIFYD_SQLCALL_H */
