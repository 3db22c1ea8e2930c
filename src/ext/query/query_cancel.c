/*-------------------------------------------------------------------------
 *
 * query_cancel.c
 *	  Ends queries whose client has left, or that run too long.
 *
 * While a query runs the worker does not read its sockets. A timer does: every CANCEL_LOOK_MS its handler
 * looks, without taking it, at what has arrived on the query's link. If there is a QUERY_CANCEL of the
 * query, or the link has ended, it cancels the query as a signal would. The gateway sends nothing large
 * meanwhile, because it sends a worker one query at a time.
 *
 * The same timer ends a query that runs too long. A function can catch that and go on; a worker whose
 * query does not end CANCEL_GRACE_MS later ends itself, which no function can catch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "ext/query/query.h"

#define CANCEL_LOOK_MS  100
#define CANCEL_GRACE_MS 1000
#define CANCEL_PEEK     65536

static TimeoutId cancel_timeout = MAX_TIMEOUTS;
static const FrameSocket *cancel_socket;
static uint32 cancel_request;
static TimestampTz cancel_deadline;
static volatile sig_atomic_t cancel_over = false;
static bool cancel_watching = false;
static volatile sig_atomic_t cancel_paused = false;

/* Return true if the bytes, which begin with a frame, contain the cancellation of the query. */
static bool
cancel_contains(const uint8_t *bytes, size_t length)
{
	size_t at = 0;

	while (length - at >= WIRE_HEADER_SIZE)
	{
		size_t size = WIRE_HEADER_SIZE + (size_t) wire_load_u32(bytes + at);

		if (size > length - at)
			return false;
		if (bytes[at + 4] == WIRE_QUERY_CANCEL && size == WIRE_HEADER_SIZE + sizeof(uint32) &&
			wire_load_u32(bytes + at + WIRE_HEADER_SIZE) == cancel_request)
			return true;
		at += size;
	}
	return false;
}

/* Return true if the client has left. Called in a signal handler. */
static bool
cancel_is_wanted(void)
{
	static uint8_t bytes[CANCEL_PEEK];
	size_t had = (size_t) (cancel_socket->in.len - cancel_socket->in_used);
	ssize_t got;

	if (cancel_paused || had >= sizeof(bytes) / 2)
		return false;
	memcpy(bytes, cancel_socket->in.data + cancel_socket->in_used, had);
	got = recv(cancel_socket->fd, bytes + had, sizeof(bytes) - had, MSG_PEEK | MSG_DONTWAIT);
	if (got == 0)
		return true;
	return got > 0 && cancel_contains(bytes, had + (size_t) got);
}

/* The timer's handler, in a signal handler. */
static void
cancel_look(void)
{
	int saved_errno = errno;
	TimestampTz now = GetCurrentTimestamp();

	if (now >= cancel_deadline)
		cancel_over = true;
	if (cancel_over || cancel_is_wanted())
	{
		QueryCancelPending = true;
		InterruptPending = true;
	}
	if (now >= cancel_deadline + CANCEL_GRACE_MS * INT64CONST(1000))
	{
		ProcDiePending = true;
		InterruptPending = true;
	}
	SetLatch(MyLatch);
	errno = saved_errno;
}

void
cancel_begin(const ClientQuery *query, int ms)
{
	TimestampTz now = GetCurrentTimestamp();

	if (cancel_timeout == MAX_TIMEOUTS)
		cancel_timeout = RegisterTimeout(USER_TIMEOUT, cancel_look);
	cancel_socket = query_link_socket(query);
	cancel_request = query->wire.request;
	cancel_deadline = TimestampTzPlusMilliseconds(now, ms);
	cancel_over = false;
	cancel_watching = true;
	enable_timeout_every(cancel_timeout, TimestampTzPlusMilliseconds(now, Min(ms, CANCEL_LOOK_MS)),
						 Min(ms, CANCEL_LOOK_MS));
}

void
cancel_pause(bool pause)
{
	cancel_paused = pause;
}

void
cancel_received(const FrameSocket *socket, uint32 request)
{
	if (cancel_watching && socket == cancel_socket && request == cancel_request)
	{
		QueryCancelPending = true;
		InterruptPending = true;
	}
}

bool
cancel_is_over(void)
{
	return cancel_over;
}

bool
cancel_end(void)
{
	disable_timeout(cancel_timeout, false);
	cancel_watching = false;
	QueryCancelPending = false;
	return cancel_over;
}
