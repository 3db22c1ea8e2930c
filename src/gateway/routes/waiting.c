/*-------------------------------------------------------------------------
 *
 * waiting.c
 *	  Requests for a database that is not served, but may be soon. See waiting.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/waiting.h"

#include <stdlib.h>

#include "gateway/base/memory.h"

typedef struct WaitingRequest
{
	TAILQ_ENTRY(WaitingRequest) in_waiting;
	Waiting *waiting;
	HttpConnection *connection;
	HttpRequest *request;
	uint64_t deadline;
} WaitingRequest;

static void
waiting_remove(WaitingRequest *waiter)
{
	TAILQ_REMOVE(&waiter->waiting->requests, waiter, in_waiting);
	waiter->waiting->count--;
	free(waiter);
}

static void
waiting_writable(void *owner)
{
	(void) owner;
}

static void
waiting_closed(void *owner)
{
	waiting_remove(owner);
}

static const HttpOwner waiting_events = {.writable = waiting_writable, .closed = waiting_closed};

void
waiting_init(Waiting *waiting, WaitingTry try_again, void *arg)
{
	waiting->try_again = try_again;
	waiting->arg = arg;
	waiting->count = 0;
	TAILQ_INIT(&waiting->requests);
}

bool
waiting_add(Waiting *waiting, HttpConnection *connection, HttpRequest *request, uint64_t now)
{
	WaitingRequest *waiter;

	if (waiting->count >= WAITING_MAX)
		return false;
	waiter = memory_zeroed(sizeof(WaitingRequest));
	*waiter = (WaitingRequest){.waiting = waiting,
							   .connection = connection,
							   .request = request,
							   .deadline = now + WAITING_MS};
	TAILQ_INSERT_TAIL(&waiting->requests, waiter, in_waiting);
	waiting->count++;
	http_keep(connection, &waiting_events, waiter);
	return true;
}

void
waiting_try(Waiting *waiting, uint64_t now)
{
	WaitingRequest *waiter = TAILQ_FIRST(&waiting->requests);
	WaitingRequest *next;

	for (; waiter != NULL; waiter = next)
	{
		next = TAILQ_NEXT(waiter, in_waiting);
		if (waiting->try_again(waiter->connection, waiter->request, now >= waiter->deadline,
							   waiting->arg))
			waiting_remove(waiter);
	}
}
