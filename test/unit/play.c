#include "play.h"

#include "gateway/protocol/jsonrpc.h"
#include "gateway/ws/deflate.h"

uint64_t play_clock;
Config play_config;
Sessions play_sessions;
Hub play_hub;
WireMessage play_sent[512];
size_t play_nsent;
bool play_notifies;
Protocol play_plain;
int play_built;
int play_link_a;
int play_link_b;

static uint64_t
pipe_now(void)
{
	return play_clock;
}

static bool
pipe_ready(void *io)
{
	const PlayPipe *pipe = io;

	return !pipe->blocked && (!pipe->limited || pipe->room > 0);
}

static bool
pipe_write(void *io, const uint8_t *data, size_t len)
{
	PlayPipe *pipe = io;

	assert_true(pipe_ready(pipe));
	assert_false(pipe->dropped);
	if (pipe->broken)
		return false;
	assert_true(pipe->len + len < sizeof(pipe->out));
	memcpy(pipe->out + pipe->len, data, len);
	pipe->len += len;
	pipe->room -= len < pipe->room ? len : pipe->room;
	return true;
}

static void
pipe_pause(void *io, bool pause)
{
	assert_int_not_equal(((PlayPipe *) io)->paused, pause);
	((PlayPipe *) io)->paused = pause;
}

static void
pipe_wake(void *io)
{
	((PlayPipe *) io)->waking = true;
}

static void
pipe_drop(void *io)
{
	((PlayPipe *) io)->dropped = true;
}

static void
pipe_probe(void *io)
{
	((PlayPipe *) io)->probed++;
}

#define PIPE_IO                                                                                    \
	.ready = pipe_ready, .write = pipe_write, .pause = pipe_pause, .wake = pipe_wake,              \
	.drop = pipe_drop, .probe = pipe_probe,                                                        \
	.ping = {.data = FRAME_PING, .len = sizeof(FRAME_PING) - 1}, .answers_pings = true,            \
	.close = frame_close

static const SessionIo pipe_io = {PIPE_IO};
static const SessionIo pipe_compressed_io = {PIPE_IO, .pack = deflate_frame};

static const SessionIo *const play_kinds[SESSION_KINDS] = {
	[SESSION_WEBSOCKET] = &pipe_io,
	[SESSION_COMPRESSED] = &pipe_compressed_io,
};

static Frame *
plain_event(const ProtocolEvent *event)
{
	play_built++;
	return frame_text(&event->body, 1);
}

static void
feed_send(void *link, const WireMessage *message)
{
	(void) link;
	assert_true(play_nsent < UNIT_COUNT(play_sent));
	play_sent[play_nsent++] = *message;
}

const char *
play_text(size_t len)
{
	static char text[100001];

	assert_true(len < sizeof(text));
	memset(text, 'x', len);
	text[len] = '\0';
	return text;
}

WireBytes
play_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

Database *
play_hello(int *link, uint32_t timeline, uint64_t id)
{
	WireHello message = {
		.version = WIRE_VERSION, .position = {timeline, id}, .database = play_bytes("db")};
	void *replaced;

	return hub_hello(&play_hub, &message, link, &replaced);
}

void
play_frame(Database *database, WireMessage message)
{
	assert_int_equal(hub_message(&play_hub, database, &message), HUB_OK);
}

void
play_event(Database *database, uint32_t stream, uint64_t id, const char *text)
{
	uint8_t number[4];

	wire_store_u32(number, stream);
	play_frame(database, (WireMessage){.type = WIRE_EVENT,
									   .u.event = {.id = id,
												   .op = WIRE_OP_INSERT,
												   .nstreams = 1,
												   .streams = number,
												   .body = play_bytes(text)}});
}

void
play_subscribed(Database *database, uint32_t sub, uint32_t stream, bool replay, uint64_t id)
{
	play_frame(database, (WireMessage){.type = WIRE_SUBSCRIBED,
									   .u.subscribed = {.sub = sub,
														.stream = stream,
														.replay = replay,
														.notifies = play_notifies,
														.position = {1, id}}});
}

void
play_notify(Database *database, uint32_t stream, const char *text)
{
	uint8_t number[4];

	wire_store_u32(number, stream);
	play_frame(database, (WireMessage){.type = WIRE_EVENT,
									   .u.event = {.op = WIRE_OP_NOTIFY,
												   .nstreams = 1,
												   .streams = number,
												   .body = play_bytes(text)}});
}

void
play_replay_events(Database *database, const uint32_t *subs, uint16_t n, uint64_t id,
				   const char *text)
{
	uint8_t numbers[4 * 8];

	assert_true(n <= 8);
	for (uint16_t i = 0; i < n; i++)
		wire_store_u32(numbers + i * 4, subs[i]);
	play_frame(database, (WireMessage){.type = WIRE_REPLAY_EVENT,
									   .u.replay_event = {.id = id,
														  .op = WIRE_OP_INSERT,
														  .nsubs = n,
														  .subs = numbers,
														  .body = play_bytes(text)}});
}

void
play_replay_event(Database *database, uint32_t sub, uint64_t id, const char *text)
{
	play_replay_events(database, &sub, 1, id, text);
}

void
play_replay_done(Database *database, uint32_t sub, uint64_t id)
{
	play_frame(database, (WireMessage){.type = WIRE_REPLAY_DONE, .u.replay_done = {sub, id}});
}

void
play_reset(Database *database, uint32_t sub, uint64_t id, const char *reason)
{
	play_frame(database, (WireMessage){.type = WIRE_RESET,
									   .u.reset = {.sub = sub,
												   .kind = WIRE_KIND_EVENTS,
												   .position = {1, id},
												   .reason = play_bytes(reason)}});
}

void
play_expect_sent(size_t i, WireType type, uint32_t sub)
{
	assert_true(i < play_nsent);
	assert_int_equal(play_sent[i].type, type);
	if (type == WIRE_SUBSCRIBE)
		assert_int_equal(play_sent[i].u.subscribe.sub, sub);
	else
		assert_int_equal(play_sent[i].u.unsubscribe.sub, sub);
}

void
play_expect_lag(size_t i, uint32_t sub)
{
	play_expect_sent(i, WIRE_UNSUBSCRIBE, sub);
	assert_int_equal(play_sent[i].u.unsubscribe.kinds, WIRE_KIND_EVENTS);
}

void
play_expect_end(size_t i, uint32_t sub)
{
	play_expect_sent(i, WIRE_UNSUBSCRIBE, sub);
	assert_int_equal(play_sent[i].u.unsubscribe.kinds, WIRE_KIND_ALL);
}

void
play_expect_subscribe(size_t i, uint32_t sub, uint8_t ops, uint64_t since)
{
	const WireSubscribe *message = &play_sent[i].u.subscribe;

	play_expect_sent(i, WIRE_SUBSCRIBE, sub);
	assert_int_equal(message->kinds,
					 WIRE_KIND_EVENTS |
						 ((ops & WIRE_OP_NOTIFY) != 0 ? WIRE_KIND_NOTIFICATIONS : 0));
	assert_int_equal(message->ops, ops & ~WIRE_OP_NOTIFY);
	assert_int_equal(message->has_since != 0, since != 0);
	if (since != 0)
		assert_int_equal(message->since.id, since);
}

void
play_position(Database *database, uint64_t id)
{
	play_frame(database, (WireMessage){.type = WIRE_POSITION, .u.position = {.id = id}});
}

/* Open a session of this kind. */
static Session *
play_begin(Database *database, SessionKind kind, const Protocol *protocol, const char *address,
		   PlayPipe *pipe)
{
	*pipe = (PlayPipe){0};
	pipe->session = &hub_open(&play_hub, database, kind, protocol, address, true, pipe)->session;
	return pipe->session;
}

Session *
play_connect(Database *database, const Protocol *protocol, const char *address, PlayPipe *pipe)
{
	return play_begin(database, SESSION_WEBSOCKET, protocol, address, pipe);
}

Session *
play_open_compressed(Database *database, PlayPipe *pipe)
{
	return play_begin(database, SESSION_COMPRESSED, &play_plain, "test", pipe);
}

Session *
play_open(Database *database, PlayPipe *pipe)
{
	return play_connect(database, &play_plain, "test", pipe);
}

void
play_receive(Session *session, const char *text)
{
	session_received(session, text, strlen(text), 0, true, false, false);
}

uint32_t
play_subscribe(Session *session, const char *request, uint32_t stream, bool replay, uint64_t id)
{
	Database *database = play_client(session)->database;
	uint32_t sub;

	play_nsent = 0;
	play_receive(session, request);
	assert_int_equal(play_nsent, 1);
	sub = play_sent[0].u.subscribe.sub;
	play_subscribed(database, sub, stream, replay, id);
	return sub;
}

void
play_unblock(PlayPipe *pipe)
{
	pipe->blocked = false;
	pipe->limited = false;
	session_writable(pipe->session);
	sessions_flush(&play_sessions);
}

void
play_expect(PlayPipe *pipe, int opcode, const char *text)
{
	size_t size;

	sessions_flush(&play_sessions);
	assert_true(pipe->len >= 2);
	assert_int_equal((uint8_t) pipe->out[0], 0x80 | opcode);
	size = (uint8_t) pipe->out[1] == 126
			   ? 4 + ((size_t) (uint8_t) pipe->out[2] << 8 | (uint8_t) pipe->out[3])
			   : 2 + (size_t) (uint8_t) pipe->out[1];
	assert_true(pipe->len >= size);
	if (strlen(text) > size || memcmp(pipe->out + size - strlen(text), text, strlen(text)) != 0)
		fail_msg("expected %s, got %.*s", text, (int) size, pipe->out);
	memmove(pipe->out, pipe->out + size, pipe->len - size);
	pipe->len -= size;
}

void
play_expect_nothing(PlayPipe *pipe)
{
	sessions_flush(&play_sessions);
	assert_int_equal(pipe->len, 0);
}

void
play_tick(uint64_t ms)
{
	play_clock += ms;
	hub_tick(&play_hub);
	sessions_tick(&play_sessions);
}

int
play_setup(void **state)
{
	(void) state;
	play_clock = 1000000;
	play_nsent = 0;
	play_notifies = false;
	play_built = 0;
	play_plain = jsonrpc_protocol;
	play_plain.number = 1;
	play_plain.event = plain_event;
	play_config =
		(Config){.max_clients = 10, .max_message = 1000, .client_buffer = 1000, .keepalive_ms = 0};
	sessions_init(&play_sessions, pipe_now, play_kinds, &play_config, &hub_session_events,
				  &play_hub);
	hub_init(&play_hub, feed_send, &play_sessions);
	return 0;
}

int
play_teardown(void **state)
{
	(void) state;
	sessions_free(&play_sessions);
	hub_free(&play_hub);
	return 0;
}
