/*-------------------------------------------------------------------------
 *
 * session_input.c
 *	  What a client sends: messages from their parts, and when they are processed.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/session/session_internal.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/log_throttle.h"
#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/ws/deflate.h"

/* Process a complete message that is not compressed. */
static void
session_text(Session *session, const char *text, size_t len)
{
	if (session->encode == NULL && !text_utf8_valid(text, len))
	{
		session_close(session, SESSION_CLOSE_BAD_TEXT, "text that is not UTF-8");
		return;
	}
	session->sessions->events->message(session, text, len);
	/* A long message takes as much time as many short ones, and may be one of few bytes inflated. */
	session->turn +=
		(uint8_t) (len < SESSION_TURN_BYTES ? 1 + len * SESSION_TURN / SESSION_TURN_BYTES
											: SESSION_TURN);
	if (session->turn >= SESSION_TURN)
		session_schedule(session);
	session_regulate(session);
}

/* The client cannot know why its messages do not arrive if its library tells nobody the reason. */
static void
session_refuse_size(Session *session)
{
	Sessions *sessions = session->sessions;
	char others[LOG_THROTTLE_OTHERS];
	uint64_t left_out;

	if (log_throttle_allows(&sessions->too_big, session->address, strlen(session->address),
							sessions->now(), &left_out))
	{
		log_throttle_others(others, left_out, "");
		log_write(WIRE_LOG_INFO,
				  "closed client %s: a message is larger than pg_notifyd.max_message_size%s",
				  session->address, others);
	}
	session_close(session, SESSION_CLOSE_TOO_BIG, "message too big");
}

/* Process a complete message. */
static void
session_message(Session *session, const char *data, size_t len, bool compressed)
{
	char *text;
	size_t text_len;

	if (!compressed)
	{
		session_text(session, data, len);
		return;
	}
	switch (inflate_message(data, len, session->sessions->config->max_message, &text, &text_len))
	{
		case INFLATE_DONE:
			session_text(session, text, text_len);
			free(text);
			break;
		case INFLATE_BAD:
			session_close(session, SESSION_CLOSE_BAD_TEXT, "compressed data that is not valid");
			break;
		case INFLATE_TOO_BIG:
			session_refuse_size(session);
			break;
	}
}

/* Keep a part of a message until the rest has arrived. */
static void
session_keep(Session *session, const char *data, size_t len, size_t remaining)
{
	if (session->partial_len == 0 && session->fragments == 0)
	{
		session->partial_at = session->sessions->now();
		session_attend(session);
	}
	if (session->partial_len + len > 0)
		session->partial = memory_resize(session->partial, session->partial_len + len + remaining);
	if (len > 0)
		memcpy(session->partial + session->partial_len, data, len);
	session->partial_len += (uint32_t) len;
	if (remaining == 0)
		session->fragments++;
}

/* Process the kept message, which is complete. */
static void
session_complete(Session *session, bool compressed)
{
	char *text = session->partial;
	size_t len = session->partial_len;

	/* Otherwise session_close() would free it while session_message() uses it. */
	session->partial = NULL;
	session_drop_partial(session);
	session_message(session, len > 0 ? text : "", len, compressed);
	free(text);
}

/* The kept message is complete, but there is no time for it now. */
static void
session_delay(Session *session, bool compressed)
{
	session->complete = true;
	session->compressed = compressed;
	session_set_delayed(session, true);
	session_regulate(session);
}

void
session_received(Session *session, const char *data, size_t len, size_t remaining, bool final,
				 bool binary, bool compressed)
{
	bool late;

	session_alive(session);
	if (session->state != SESSION_OPEN)
		return;
	if (binary != (session->encode != NULL))
	{
		session_close(session, SESSION_CLOSE_UNSUPPORTED,
					  binary ? "binary messages are not supported"
							 : "text messages are not supported");
		return;
	}
	if (remaining > session->sessions->config->max_message ||
		session->partial_len + len + remaining > session->sessions->config->max_message)
	{
		session_refuse_size(session);
		return;
	}
	final = final && remaining == 0;
	late = final && (!TAILQ_EMPTY(&session->sessions->delayed) ||
					 sessions_are_late(session->sessions, &session->sessions->asking));
	if (final && session->partial == NULL && !late)
	{
		session->fragments = 0;
		session_message(session, data, len, compressed);
		return;
	}
	session_keep(session, data, len, remaining);
	if (late)
		session_delay(session, compressed);
	else if (final)
		session_complete(session, compressed);
	else if (session->fragments > SESSION_MAX_FRAGMENTS)
		session_close(session, SESSION_CLOSE_POLICY, "too many fragments");
}

void
sessions_work(Sessions *sessions)
{
	Session *session;

	turn_begin(&sessions->asking);
	while ((session = TAILQ_FIRST(&sessions->delayed)) != NULL &&
		   !sessions_are_late(sessions, &sessions->asking))
		session_complete(session, session->compressed);
}
