/*-------------------------------------------------------------------------
 *
 * session_tick.c
 *	  What happens to a session as time passes: pings, and the limits of time.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/session/session_internal.h"

#include "gateway/base/memory.h"

/*
 * What a ping carries, since the library reports a pong only if it carries something; and the whole
 * of its frame.
 */
#define SESSION_PING "pg_notifyd"
static const uint8_t session_ping[] = "\x89\x0a" SESSION_PING;

/* When is it to be pinged, or closed as it has not answered? */
static uint64_t
session_ping_due(const Session *session)
{
	uint64_t keepalive = session->sessions->config->keepalive_ms;
	uint64_t ping = session->alive_at + keepalive - (keepalive * session->ping_share >> 32);

	return session->pinged ? ping + keepalive : ping;
}

/*
 * When is something of it next to be done? Not before that, and perhaps it turns out then that it
 * is later.
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

/* Write a ping, or queue it behind what is still to be written. */
static void
session_send_ping(Session *session)
{
	const SessionIo *io = session->sessions->io;

	session->pinged = true;
	if (session->queue.count > 0 || !io->ready(session->io))
		session_queue_own(session,
						  frame_control(FRAME_OPCODE_PING, SESSION_PING, sizeof(SESSION_PING) - 1),
						  FRAME_NO_POSITION);
	else if (!io->write(session->io, session_ping, sizeof(session_ping) - 1))
		session_broken(session);
	else
	{
		session->sessions->stats.bytes += sizeof(session_ping) - 1;
		session->bytes += sizeof(session_ping) - 1;
	}
}

static void
session_keepalive(Session *session, uint64_t now)
{
	if (session->sessions->config->keepalive_ms == 0 || now < session_ping_due(session))
		return;
	if (!session->pinged)
		session_send_ping(session);
	/*
	 * Its answer may only be stuck behind what it does not take: then it should know from where to
	 * go on.
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
		session->sessions->io->probe(session->io);
	if (session->state != SESSION_OPEN && now >= session->deadline)
		session_broken(session);
	if (session->state != SESSION_OPEN)
		return;
	/* What it has sent meanwhile, an answer to a ping or the rest of a message, was not read. */
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

/* Go through a list of sessions, and file each anew. */
static void
sessions_tick_list(struct SessionList *list, uint64_t now)
{
	struct SessionList taken = *list;
	Session *session;

	/* The first one refers to its list's head. */
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

/* What queues have taken and do not take any more would otherwise stay with the process. */
static void
sessions_give_back(Sessions *sessions)
{
	size_t now = frame_memory();

	if (now > sessions->memory_peak)
		sessions->memory_peak = now;
	if (sessions->memory_peak - now < SESSION_GIVE_BACK)
		return;
	memory_give_back();
	sessions->memory_peak = now;
}

void
sessions_tick(Sessions *sessions)
{
	uint64_t now = sessions->io->now();
	uint64_t second = now / 1000;
	uint64_t done = sessions->second;
	Session *session;

	sessions_give_back(sessions);
	if (sessions->keepalive_ms != sessions->config->keepalive_ms)
	{
		sessions->keepalive_ms = sessions->config->keepalive_ms;
		LIST_FOREACH(session, &sessions->all, in_all)
		{
			session_attend(session);
		}
	}
	/*
	 * That of now as well, as it has only begun, and first, since those that are not due yet, or
	 * again, stay there.
	 */
	if (second - done >= SESSION_SECONDS)
		done = second - SESSION_SECONDS + 1;
	sessions->second = second;
	sessions_tick_list(&sessions->due[second % SESSION_SECONDS], now);
	for (; done < second; done++)
		sessions_tick_list(&sessions->due[done % SESSION_SECONDS], now);
}
