/*-------------------------------------------------------------------------
 *
 * waiting.h
 *	  Requests for a database that is not served, but may come to be soon.
 *
 * After the server's start the launcher has to look at each database. Until it has seen all of
 * them, a request for one that is not served waits, for WAITING_MS at most. The launcher is told
 * the name, and looks at that database before others. A request for a name that is no database, or
 * one that is not served, waits as long as the launcher still looks, so the time does not tell which
 * databases there are.
 *
 * This module has neither socket nor clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAITING_H
#define GATEWAY_WAITING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/http/http_server.h"

#define WAITING_MAX 256   /* requests at a time */
#define WAITING_MS  10000 /* for one of them */

/*
 * Try the request again. last: it has waited long enough, and has to be answered now. Returns
 * whether it was answered or taken over; if not, nothing has happened to it.
 */
typedef bool (*WaitingTry)(HttpConnection *connection, HttpRequest *request, bool last, void *arg);

typedef struct Waiting
{
	WaitingTry try_again;
	void *arg; /* of try_again */
	uint32_t count;
	TAILQ_HEAD(, WaitingRequest) requests; /* the one that has waited for longest first */
} Waiting;

extern void waiting_init(Waiting *waiting, WaitingTry try_again, void *arg);

/*
 * Have a request wait from now on; its connection is kept. False, and nothing happens, where too
 * many wait.
 */
extern bool waiting_add(Waiting *waiting, HttpConnection *connection, HttpRequest *request,
						uint64_t now) __attribute__((warn_unused_result));

/* Try all of them again, because something has changed, or the time of some may be up. */
extern void waiting_try(Waiting *waiting, uint64_t now);

#endif /* GATEWAY_WAITING_H */
