/*-------------------------------------------------------------------------
 *
 * session.c
 *	  One connected client: its queue, keepalive, and the end of its connection.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/session/session_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/memory.h"

/* Bytes written to one client in a round, before others get their turn. */
#define SESSION_ROUND (8 * FRAME_WRITE)

/*
 * 2^32 divided by the golden ratio: multiples of it modulo 2^32 are spread evenly, however many
 * there are (Knuth 6.4).
 */
#define SESSION_SPREAD 2654435769u

void
sessions_init(Sessions *sessions, uint64_t (*now)(void), const SessionIo *const *kinds,
			  const Config *config, const SessionEvents *events, void *owner)
{
	*sessions = (Sessions){.now = now, .config = config, .events = events, .owner = owner};
	memcpy(sessions->kinds, kinds, sizeof(sessions->kinds));
	LIST_INIT(&sessions->all);
	LIST_INIT(&sessions->gone);
	TAILQ_INIT(&sessions->dirty);
	TAILQ_INIT(&sessions->delayed);
	for (int i = 0; i < SESSION_SECONDS; i++)
		LIST_INIT(&sessions->due[i]);
	sessions->keepalive_ms = config->keepalive_ms;
	LIST_INIT(&sessions->cursors);
}

void
session_file(Session *session, uint64_t due)
{
	Sessions *sessions = session->sessions;
	uint64_t second = due / 1000;

	if (second < sessions->second)
		second = sessions->second;
	if (second >= sessions->second + SESSION_SECONDS)
		second = sessions->second + SESSION_SECONDS - 1;
	LIST_INSERT_HEAD(&sessions->due[second % SESSION_SECONDS], session, in_due);
}

void
session_attend(Session *session)
{
	LIST_REMOVE(session, in_due);
	session_file(session, 0);
}

_Static_assert(offsetof(Session, queue.count) + sizeof(uint32_t) <= MEMORY_LINE,
			   "see session_fetch()");

Session *
session_open(Sessions *sessions, SessionKind kind, size_t size, const char *address, bool anonymous,
			 void *io)
{
	size_t address_size = strlen(address) + 1;
	Session *session = memory_zeroed_lines(size + address_size);

	session->address = memcpy((char *) session + size, address, address_size);
	session->sessions = sessions;
	session->anonymous = anonymous;
	session->kind = (uint8_t) kind;
	session->waits = session_io(session)->begin != NULL;
	session->io = io;
	session->alive_at = sessions->now();
	session->sent_at = session->alive_at;
	session->ping_share = (uint32_t) sessions->stats.accepted * SESSION_SPREAD;
	LIST_INSERT_HEAD(&sessions->all, session, in_all);
	session_file(session, session->alive_at);
	sessions->count++;
	sessions->counts[kind]++;
	sessions->stats.clients++;
	sessions->stats.accepted++;
	session->number = (uint32_t) sessions->stats.accepted;
	return session;
}

void
session_drop_partial(Session *session)
{
	if (session->complete && !session->held)
		session_set_delayed(session, false);
	session->complete = false;
	free(session->partial);
	session->partial = NULL;
	session->partial_len = 0;
	session->fragments = 0;
}

static void
session_drop_queue(Session *session)
{
	session->sessions->stats.queued -= session->queue.bytes;
	session->torn |= session->queue.offset > 0;
	queue_clear(&session->queue);
	session->own = 0;
	session->over_at = 0;
}

size_t
session_events(const Session *session)
{
	return session->queue.bytes > session->own ? session->queue.bytes - session->own : 0;
}

/* Return how many bytes of events the queue may contain. */
static size_t
session_events_limit(const Session *session)
{
	size_t buffer = session->sessions->config->client_buffer;

	return buffer - buffer / SESSION_OWN_PART;
}

/*
 * After the queue has grown or shrunk: note whether more than half of its room is taken, and since
 * when.
 */
static void
session_note_level(Session *session)
{
	if (session_events(session) <= session_events_limit(session) / 2)
		session->over_at = 0;
	else if (session->over_at == 0)
		session->over_at = session->sessions->now();
}

/* Return true if all sessions together take more memory than they may. */
static bool
session_memory_scarce(const Session *session)
{
	return frame_memory() > SESSION_TOTAL * session->sessions->config->client_buffer;
}

/* Return how many bytes of the session's own messages the queue may contain. */
static size_t
session_own_limit(const Session *session)
{
	size_t part = session->sessions->config->client_buffer / SESSION_OWN_PART;

	return part < SESSION_OWN ? part : SESSION_OWN;
}

/*
 * Return true if the client sends requests faster than it reads the answers, faster than the feed
 * answers, or more than its turn or that of all clients allows.
 */
static bool
session_asks_too_much(const Session *session)
{
	size_t own = session_own_limit(session) / 2;
	uint32_t unanswered = SESSION_UNANSWERED;

	if (own > SESSION_OWN_SCARCE && session_memory_scarce(session))
		own = SESSION_OWN_SCARCE;
	/* Once the client is paused, wait for several answers before it continues. */
	if (session->paused)
	{
		own /= 2;
		unanswered /= 2;
	}
	return session->held || session->complete || session->own > own ||
		   session->unanswered >= unanswered || session->turn >= SESSION_TURN;
}

void
session_regulate(Session *session)
{
	bool pause = session->state == SESSION_OPEN && session_asks_too_much(session);

	/* The connection itself reads a client that is leaving. */
	if (pause == session->paused || session->state >= SESSION_LEAVING)
		return;
	session->paused = pause;
	session_io(session)->pause(session->io, pause);
	if (!pause)
	{
		session_alive(session);
		session->partial_at = session->alive_at;
	}
	session_attend(session);
}

/*
 * Leave the state OPEN: inform the owner, read nothing more except the client's close frame, and
 * set a deadline.
 */
static void
session_leave_open(Session *session, SessionState state)
{
	if (session->state == SESSION_OPEN)
	{
		session->deadline = session->sessions->now() + SESSION_CLOSE_MS;
		session_attend(session);
		session->sessions->events->left(session);
	}
	session_drop_partial(session);
	session->state = (uint8_t) state;
}

void
session_schedule(Session *session)
{
	if (session->dirty)
		return;
	session->dirty = true;
	TAILQ_INSERT_TAIL(&session->sessions->dirty, session, in_dirty);
}

static void
session_queue(Session *session, Frame *frame, FrameNote note)
{
	size_t before = session->queue.bytes;

	session->sent_at = session->sessions->now();
	if (session->queue.count == 0)
	{
		session->taken_at = session->sent_at;
		session->queued_at = (uint32_t) session->sent_at;
	}
	queue_append(&session->queue, frame, note, 0);
	session->sessions->stats.queued += session->queue.bytes - before;
	session_note_level(session);
	session_schedule(session);
}

void
session_queue_own(Session *session, Frame *frame, uint64_t before)
{
	FrameNote note = {.before = before, .credit = frame->len + (uint32_t) sizeof(QueueEntry)};

	session->own += note.credit;
	session_queue(session, frame, note);
	frame_unref(frame);
}

static void
session_written(void *arg, const FrameNote *note)
{
	Session *session = arg;

	if (note->sub != 0)
		session->sessions->events->written(session, note->sub, note->credit);
	else
		session->own -= note->credit;
}

void
session_broken(Session *session)
{
	session_leave_open(session, SESSION_LEAVING);
	session_drop_queue(session);
	session_io(session)->drop(session->io);
}

/* Write the queue as far as the socket accepts it. */
static void
session_write(Session *session)
{
	Sessions *sessions = session->sessions;
	size_t written = 0;

	if (session->waits)
		return;
	while (session->queue.count > 0 && written < SESSION_ROUND &&
		   session_io(session)->ready(session->io))
	{
		size_t before = session->queue.bytes;
		size_t len;
		const uint8_t *data =
			queue_peek(&session->queue, sessions->scratch, sizeof(sessions->scratch), &len);

		if (!session_io(session)->write(session->io, data, len))
		{
			session_broken(session);
			return;
		}
		queue_consume(&session->queue, len, session_written, session);
		sessions->stats.queued -= before - session->queue.bytes;
		sessions->stats.bytes += len;
		session->bytes += len;
		written += len;
		session->taken_at = sessions->now();
	}
	session_note_level(session);
	if (session->queue.count > 0 && !session->waking)
	{
		session->waking = true;
		session_attend(session);
		session_io(session)->wake(session->io);
	}
	if (session->queue.count > 0)
		return;
	if (session->state == SESSION_CLOSING && session_io(session)->finish != NULL)
		session_io(session)->finish(session->io);
	if (!session->owed)
		return;
	session->owed = false;
	sessions->events->drained(session);
}

WirePosition
session_position(const Session *session)
{
	WirePosition position = session->sessions->events->position(session);
	uint64_t before = queue_before(&session->queue);

	if (before < position.id)
		position.id = before;
	return position;
}

void
session_too_slow(Session *session)
{
	char text[WIRE_POSITION_SIZE];
	char reason[FRAME_CONTROL_MAX];

	wire_position_format(session_position(session), text);
	snprintf(reason, sizeof(reason), "too slow; resume from %s", text);
	log_write(WIRE_LOG_INFO, "client %s is closed: %zu bytes were queued for it", session->address,
			  session->queue.bytes);
	session->sessions->stats.closed_slow++;
	session_drop_queue(session);
	session_close(session, SESSION_CLOSE_TOO_SLOW, reason);
}

size_t
session_room(const Session *session)
{
	const Sessions *sessions = session->sessions;
	size_t limit = session_events_limit(session);

	if (session->over_at != 0 && sessions->now() - session->over_at >= SESSION_SOFT_MS)
		limit /= 2;
	if (limit > SESSION_SCARCE && session_memory_scarce(session))
		limit = SESSION_SCARCE;
	return limit;
}

/*
 * Return true if an entry of this size fits into the queue. A single event may be larger than the
 * buffer.
 */
static bool
session_fits(const Session *session, size_t size)
{
	return session->queue.count == 0 || session_events(session) == 0 ||
		   session_events(session) + size <= session_room(session);
}

bool
session_has_room(Session *session, const Frame *frame)
{
	size_t size;

	/* First, because of the clients that read as fast as events come. */
	if (session->queue.count == 0)
		return !session->waits;
	if (session->waits)
		return false;
	size = frame->len + sizeof(QueueEntry);
	if (session_fits(session, size))
		return true;
	/*
	 * Write first: only what the socket does not accept counts. When the queues of all clients have
	 * reached their limit, an event can find them all full, and there is no time to write them all.
	 */
	if (session_events_limit(session) > SESSION_SCARCE && session_memory_scarce(session) &&
		sessions_are_late(session->sessions, &session->sessions->relieving))
		return false;
	session_write(session);
	return session->state == SESSION_OPEN && session_fits(session, size);
}

void
session_send_event(Session *session, Frame *frame, FrameNote note)
{
	Sessions *sessions = session->sessions;

	sessions->stats.messages++;
	session->messages++;
	if (!sessions->at_once || session->queue.count > 0 || note.sub != 0 ||
		frame->len > FRAME_WRITE || !session_io(session)->ready(session->io))
	{
		session_queue(session, frame, note);
		return;
	}
	session->sent_at = sessions->now();
	if (!session_io(session)->write(session->io, frame->data, frame->len))
	{
		session_broken(session);
		return;
	}
	sessions->stats.bytes += frame->len;
	session->bytes += frame->len;
}

void
session_send_own(Session *session, Frame *frame, uint64_t before)
{
	size_t limit = session_own_limit(session);

	if (session->state != SESSION_OPEN)
	{
		frame_unref(frame);
		return;
	}
	session_queue_own(session, session_encode(session, frame), before);
	session->sessions->stats.messages++;
	session->messages++;
	if (session->own > limit)
		session_write(session);
	if (session->state == SESSION_OPEN && session->own > limit)
		session_too_slow(session);
}

void
session_begin(Session *session)
{
	session->waits = false;
	session_io(session)->begin(session->io);
	session_schedule(session);
}

void
session_end(Session *session, Frame *last)
{
	const SessionIo *io = session_io(session);

	if (session->state != SESSION_OPEN)
	{
		frame_unref(last);
		return;
	}
	session_leave_open(session, SESSION_CLOSING);
	session_regulate(session);
	if (io->closing != NULL)
		io->closing(session->io, last);
	session->waits = false;
	if (!session->torn || !io->whole)
	{
		session_queue_own(session, last, FRAME_NO_POSITION);
		return;
	}
	frame_unref(last);
	session_schedule(session);
}

void
session_close(Session *session, uint16_t code, const char *reason)
{
	Frame *farewell;

	if (session->state != SESSION_OPEN)
		return;
	farewell = session->sessions->events->farewell(session, code, reason);
	if (farewell != NULL)
		farewell = session_encode(session, farewell);
	if (farewell != NULL && !session->torn)
		session_queue_own(session, frame_ref(farewell), FRAME_NO_POSITION);
	if (farewell != NULL)
		frame_unref(farewell);
	session_end(session, session_io(session)->close(code, reason));
}

void
session_cut_off(Session *session, uint16_t code, const char *reason)
{
	if (session->state != SESSION_OPEN)
		return;
	session_drop_queue(session);
	session_close(session, code, reason);
}

void
session_hold(Session *session, bool hold)
{
	if (session->complete && hold != session->held)
		session_set_delayed(session, !hold);
	session->held = hold;
	if (hold)
		session_regulate(session);
	else
		session_schedule(session);
}

void
session_alive(Session *session)
{
	session->alive_at = session->sessions->now();
	if (session->pinged)
		session->ping_share = 0;
	session->pinged = false;
}

void
session_writable(Session *session)
{
	/*
	 * The client's side has accepted data. This proves that it is alive as well as a pong does,
	 * which would wait behind the rest.
	 */
	session_alive(session);
	session->taken_at = session->alive_at;
	session->waking = false;
	session_schedule(session);
}

/* Enter the state LEAVING: nothing more is written. */
static void
session_leaving(Session *session)
{
	if (session->state == SESSION_LEAVING || session->state == SESSION_GONE)
		return;
	session_leave_open(session, SESSION_LEAVING);
	session_drop_queue(session);
}

bool
session_answer_close(Session *session)
{
	bool ours_is_sent = session->state == SESSION_CLOSING && session->queue.count == 0;

	session_leaving(session);
	return !ours_is_sent;
}

void
session_closed(Session *session)
{
	Sessions *sessions = session->sessions;
	SessionCursor *cursor;

	session_leaving(session);
	LIST_FOREACH(cursor, &sessions->cursors, in_all)
	{
		if (cursor->next == session)
			cursor->next = LIST_NEXT(session, in_all);
	}
	session->state = SESSION_GONE;
	session->io = NULL;
	sessions->count--;
	sessions->counts[session->kind]--;
	sessions->stats.clients--;
	LIST_REMOVE(session, in_due);
	LIST_REMOVE(session, in_all);
	LIST_INSERT_HEAD(&sessions->gone, session, in_all);
}

void
sessions_cursor_open(Sessions *sessions, SessionCursor *cursor)
{
	cursor->next = LIST_FIRST(&sessions->all);
	LIST_INSERT_HEAD(&sessions->cursors, cursor, in_all);
}

Session *
sessions_cursor_next(SessionCursor *cursor)
{
	Session *session = cursor->next;

	while (session != NULL && session->state != SESSION_OPEN)
		session = LIST_NEXT(session, in_all);
	cursor->next = session != NULL ? LIST_NEXT(session, in_all) : NULL;
	return session;
}

void
sessions_cursor_close(SessionCursor *cursor)
{
	LIST_REMOVE(cursor, in_all);
}

void
sessions_close_all(Sessions *sessions, uint16_t code, const char *reason)
{
	Session *session;

	LIST_FOREACH(session, &sessions->all, in_all)
	{
		session_close(session, code, reason);
	}
}

void
sessions_close_anonymous(Sessions *sessions)
{
	Session *session;

	LIST_FOREACH(session, &sessions->all, in_all)
	{
		if (session->anonymous)
			session_cut_off(session, SESSION_CLOSE_NO_IDENTITY, "anonymous access is disabled now");
	}
}

void
sessions_expect(Sessions *sessions, bool more)
{
	sessions->at_once = !more;
}

/* Visit the sessions that have something to be done, until none has, or until there is no time. */
static void
sessions_visit(Sessions *sessions)
{
	Session *session;

	turn_begin(&sessions->writing);
	while ((session = TAILQ_FIRST(&sessions->dirty)) != NULL &&
		   !sessions_are_late(sessions, &sessions->writing))
	{
		TAILQ_REMOVE(&sessions->dirty, session, in_dirty);
		session->dirty = false;
		if (session->state != SESSION_GONE && !session->waking)
			session_write(session);
		session->turn = 0;
		session_regulate(session);
	}
}

bool
sessions_wait(const Sessions *sessions)
{
	return !TAILQ_EMPTY(&sessions->dirty) || !TAILQ_EMPTY(&sessions->delayed);
}

void
sessions_flush(Sessions *sessions)
{
	Session *session;
	Session *next;

	sessions->at_once = false;
	turn_begin(&sessions->relieving);
	sessions_visit(sessions);
	for (session = LIST_FIRST(&sessions->gone); session != NULL; session = next)
	{
		next = LIST_NEXT(session, in_all);
		if (session->dirty)
			continue;
		LIST_REMOVE(session, in_all);
		free(session);
	}
}

void
sessions_free(Sessions *sessions)
{
	Session *session;

	sessions->clock = NULL;
	while ((session = LIST_FIRST(&sessions->all)) != NULL)
		session_closed(session);
	sessions_flush(sessions);
}
