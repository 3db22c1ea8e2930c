/*-------------------------------------------------------------------------
 *
 * wamp_timeout.c
 *	  The timeouts of calls that are for workers: from when the feed has answered so, while they wait for a worker
 *	  and while one has them. The feed measures those of calls of other sessions.
 *
 *-------------------------------------------------------------------------
 */
#include <stddef.h>
#include <stdlib.h>

#include "gateway/base/memory.h"
#include "gateway/wamp/wamp_route_internal.h"

struct WampTimeout
{
	LIST_ENTRY(WampTimeout) in_session;
	HubDue due;
	WampSession *session;
	uint64_t request;
};

static Hub *
timeout_hub(const WampSession *session)
{
	return session->client->session.sessions->owner;
}

static void
timeout_free(WampTimeout *timeout)
{
	hub_clear_due(timeout_hub(timeout->session), &timeout->due);
	LIST_REMOVE(timeout, in_session);
	free(timeout);
}

/* May close the session. */
static void
timeout_expire(HubDue *due)
{
	WampTimeout *timeout = (WampTimeout *) ((char *) due - offsetof(WampTimeout, due));
	HubClient *client = timeout->session->client;
	uint64_t request = timeout->request;

	timeout_free(timeout);
	caller_end_query(client, request, "wamp.error.timeout", "the call has timed out");
}

void
timeout_start(WampSession *session, uint64_t request, uint64_t ms)
{
	WampTimeout *timeout;

	if (ms == 0)
		return;
	timeout = memory_zeroed(sizeof(WampTimeout));
	timeout->session = session;
	timeout->request = request;
	timeout->due.run = timeout_expire;
	LIST_INSERT_HEAD(&session->timeouts, timeout, in_session);
	hub_set_due(timeout_hub(session), &timeout->due, ms);
}

void
timeout_end(WampSession *session, uint64_t request)
{
	WampTimeout *timeout;

	LIST_FOREACH(timeout, &session->timeouts, in_session)
	{
		if (timeout->request == request)
		{
			timeout_free(timeout);
			return;
		}
	}
}

void
timeout_free_all(WampSession *session)
{
	while (!LIST_EMPTY(&session->timeouts))
		timeout_free(LIST_FIRST(&session->timeouts));
}
