/*-------------------------------------------------------------------------
 *
 * session_tick.c
 *	  Time limits of sessions, and pings.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/session/session_internal.h"

#include "gateway/base/memory.h"

/* Return when to ping the session, or to close it because it has not answered. */
static uint64_t
session_ping_due(const Session *session)
{
	uint64_t keepalive = session->sessions->config->keepalive_ms;
	uint64_t ping = session->alive_at + keepalive - (keepalive * session->ping_share >> 32);

	return session->pinged ? ping + keepalive : ping;
}

/*
 * Return when something is next to be done for the session. It may turn out to be due later, but
 * not sooner.
 */
static uint64_t
session_due(Session *session, uint64_t now)
{
	const Sessions *sessions = session->sessions;
	uint64_t owners;
	uint64_t due = UINT64_MAX;

	if (session->waking || session->paused || session->fragments + session->partial_len > 0)
		return now;
	if (session->state != SESSION_OPEN)
		return session->deadline;
	if (sessions->config->keepalive_ms > 0)
		due = session_ping_due(session);
	owners = sessions->events->due(session, now);
	return owners < due ? owners : due;
}

/* Write a ping, or queue it. */
static void
session_send_ping(Session *session)
{
	const SessionIo *io = session_io(session);

	session->pinged = true;
	if (session->queue.count > 0 || !io->ready(session->io))
		session_queue_own(session, frame_plain(&io->ping, 1), FRAME_NO_POSITION);
	else if (!io->write(session->io, (const uint8_t *) io->ping.data, io->ping.len))
		session_broken(session);
	else
	{
		session->sessions->stats.bytes += io->ping.len;
		session->bytes += io->ping.len;
	}
	if (!io->answers_pings)
		session_alive(session);
}

static void
session_keepalive(Session *session, uint64_t now)
{
	if (session->waits || session->sessions->config->keepalive_ms == 0 ||
		now < session_ping_due(session))
		return;
	if (!session->pinged)
		session_send_ping(session);
	/*
	 * The answer may be waiting behind data that the client does not take. Then tell it from where
	 * to resume.
	 */
	else if (session_events(session) > 0)
		session_too_slow(session);
	else
		session_close(session, SESSION_CLOSE_POLICY, "no answer to a ping");
}

static void
session_tick(Session *session, uint64_t now)
{
	if (session->waking || session->paused)
		session_io(session)->probe(session->io);
	if (session->state != SESSION_OPEN && now >= session->deadline)
		session_broken(session);
	if (session->state != SESSION_OPEN)
		return;
	/*
	 * The gateway did not read what the client sent meanwhile, such as a pong or the rest of a
	 * message.
	 */
	if (session->paused)
		session->alive_at = session->partial_at = now;
	if (session->fragments + session->partial_len > 0 &&
		now - session->partial_at > SESSION_MESSAGE_MS)
		session_close(session, SESSION_CLOSE_POLICY, "message not complete in time");
	if (session->state == SESSION_OPEN && session->queue.count > 0 &&
		now - session->taken_at >= SESSION_STALL_MS)
		session_too_slow(session);
	if (session->state == SESSION_OPEN)
		session_keepalive(session, now);
	if (session->state == SESSION_OPEN)
		session->sessions->events->tick(session, now);
}

/* Process a list of sessions, and add each to a new list. */
static void
sessions_tick_list(struct SessionList *list, uint64_t now)
{
	struct SessionList taken = *list;
	Session *session;

	/* The first element refers to the head of its list. */
	if (!LIST_EMPTY(&taken))
		LIST_FIRST(&taken)->in_due.le_prev = &LIST_FIRST(&taken);
	LIST_INIT(list);
	while ((session = LIST_FIRST(&taken)) != NULL)
	{
		if (LIST_NEXT(session, in_due) != NULL)
			__builtin_prefetch(LIST_NEXT(session, in_due));
		session_tick(session, now);
		LIST_REMOVE(session, in_due);
		session_file(session, session_due(session, now));
	}
}

/* Return the memory of queues that have shrunk to the system. */
static void
sessions_release_memory(Sessions *sessions)
{
	size_t now = frame_memory();

	if (now > sessions->memory_peak)
		sessions->memory_peak = now;
	if (sessions->memory_peak - now < SESSION_GIVE_BACK)
		return;
	memory_release();
	sessions->memory_peak = now;
}

void
sessions_tick(Sessions *sessions)
{
	uint64_t now = sessions->now();
	uint64_t second = now / 1000;
	uint64_t done = sessions->second;
	Session *session;

	sessions_release_memory(sessions);
	if (sessions->keepalive_ms != sessions->config->keepalive_ms)
	{
		sessions->keepalive_ms = sessions->config->keepalive_ms;
		LIST_FOREACH(session, &sessions->all, in_all)
		{
			session_attend(session);
		}
	}
	/*
	 * Process the present second too, and first, because sessions that are not due stay in its
	 * list.
	 */
	if (second - done >= SESSION_SECONDS)
		done = second - SESSION_SECONDS + 1;
	sessions->second = second;
	sessions_tick_list(&sessions->due[second % SESSION_SECONDS], now);
	for (; done < second; done++)
		sessions_tick_list(&sessions->due[done % SESSION_SECONDS], now);
}
