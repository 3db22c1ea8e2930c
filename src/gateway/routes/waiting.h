/*-------------------------------------------------------------------------
 *
 * waiting.h
 *	  Requests for a database that is not served, but may be soon.
 *
 * After the server has started, the launcher must check each database. Until it has checked all, a
 * request for a database that is not served waits, at most WAITING_MS. The gateway sends the name
 * to the launcher, which checks that database before others. A request for a database that does not
 * exist waits just as long, so the time does not reveal which databases exist.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAITING_H
#define GATEWAY_WAITING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/http/http_server.h"

#define WAITING_MAX 256   /* maximum number of waiting requests */
#define WAITING_MS  10000 /* the time limit of each */

/*
 * Try the request again. last: its time is over, so it must be answered now. Returns true if it was
 * answered or taken over; otherwise it is unchanged.
 */
typedef bool (*WaitingTry)(HttpConnection *connection, HttpRequest *request, bool last, void *arg);

typedef struct Waiting
{
	WaitingTry try_again;
	void *arg; /* of try_again */
	uint32_t count;
	TAILQ_HEAD(, WaitingRequest) requests; /* in the order of arrival */
} Waiting;

extern void waiting_init(Waiting *waiting, WaitingTry try_again, void *arg);

/* Let a request wait, and keep its connection. If too many wait, returns false and does nothing. */
extern bool waiting_add(Waiting *waiting, HttpConnection *connection, HttpRequest *request,
						uint64_t now) __attribute__((warn_unused_result));

/* Try all of them again, because something has changed or a time limit may be over. */
extern void waiting_try(Waiting *waiting, uint64_t now);

#endif /* GATEWAY_WAITING_H */
