/*
 * What tests of WAMP share: clients whose sessions speak it, and what they get. Beside play.h.
 */
#ifndef PLAY_WAMP_H
#define PLAY_WAMP_H

#include "play.h"

#include "gateway/wamp/wamp_protocol.h"
#include "gateway/wamp/wamp_session.h"

#define TEXT  1
#define CLOSE 8
#define HELLO "[1,\"db\",{\"roles\":{\"subscriber\":{}}}]"

static inline int
setup(void **state)
{
	int result = play_setup(state);

	play_config.anonymous = true;
	play_config.realms = NULL;
	play_config.client_buffer = 65536;
	return result;
}

static inline Session *
dial(PlayPipe *pipe)
{
	return play_connect(NULL, wamp_protocol("wamp.2.json", false), "test", pipe);
}

/* Return the frame that was written first, and remove it from the pipe. */
static inline const char *
next_text(PlayPipe *pipe)
{
	static char text[65536];
	size_t head;
	size_t len;

	sessions_flush(&play_sessions);
	assert_true(pipe->len >= 2);
	assert_int_equal((uint8_t) pipe->out[0], 0x80 | TEXT);
	head = (uint8_t) pipe->out[1] == 126 ? 4 : 2;
	len = head == 4 ? ((size_t) (uint8_t) pipe->out[2] << 8 | (uint8_t) pipe->out[3])
					: (uint8_t) pipe->out[1];
	memcpy(text, pipe->out + head, len);
	text[len] = '\0';
	pipe->len -= head + len;
	memmove(pipe->out, pipe->out + head + len, pipe->len);
	return text;
}

static inline void
expect_text(PlayPipe *pipe, const char *text)
{
	assert_string_equal(next_text(pipe), text);
}

static inline void
expect_start(PlayPipe *pipe, const char *start)
{
	const char *text = next_text(pipe);

	if (strncmp(text, start, strlen(start)) != 0)
		fail_msg("expected %s..., got %s", start, text);
}

/* A message that contains this, and is the last one. */
static inline void
expect_end(PlayPipe *pipe, const char *part)
{
	const char *text = next_text(pipe);

	if (strstr(text, part) == NULL)
		fail_msg("expected %s, got %s", part, text);
	assert_int_equal((uint8_t) pipe->out[0], 0x80 | CLOSE);
	assert_int_not_equal(pipe->session->state, SESSION_OPEN);
}

static inline void
identity(Database *database, const Session *session, uint32_t number)
{
	play_frame(database, (WireMessage){.type = WIRE_IDENTITY,
									   .u.identity = {.session = session->number,
													  .identity = number,
													  .lifetime_ms = UINT64_MAX,
													  .role = play_bytes("web"),
													  .subject = play_bytes("joe")}});
}

static inline void
refuse_token(Database *database, const Session *session)
{
	play_frame(database, (WireMessage){.type = WIRE_AUTH_REFUSED,
									   .u.auth_refused = {.session = session->number,
														  .reason = WIRE_NOT_AUTHENTICATED,
														  .text = play_bytes("bad token")}});
}

#endif /* PLAY_WAMP_H */
