/* Sessions and the hub, with a connection, a feed and a clock that the test controls. */
#ifndef PLAY_H
#define PLAY_H

#include "unit.h"

#include "gateway/base/config.h"
#include "gateway/hub/hub.h"
#include "gateway/session/session.h"

typedef struct PlayPipe
{
	Session *session;
	bool blocked;
	bool limited; /* blocked after room bytes */
	size_t room;
	bool broken;
	bool waking;
	bool paused;
	bool dropped;
	int probed;
	char out[65536]; /* written, and not checked yet */
	size_t len;
} PlayPipe;

extern uint64_t play_clock;
extern Config play_config;
extern Sessions play_sessions;
extern Hub play_hub;
extern WireMessage play_sent[512]; /* frames sent to the feed; strings are not kept */
extern size_t play_nsent;
extern bool play_notifies; /* SUBSCRIBED says that the channel has raw notifications */
/* JSON-RPC, except for events, which are sent as the feed sent them; and their number. */
extern Protocol play_plain;
extern int play_built;
extern int play_link_a;
extern int play_link_b;

/* Messages of clients. */
#define PLAY_SUBSCRIBE_A "{\"id\":1,\"method\":\"subscribe\",\"channel\":\"a\"}"
#define PLAY_SUBSCRIBE_A_INSERTS                                                                   \
	"{\"id\":1,\"method\":\"subscribe\",\"channel\":\"a\",\"ops\":[\"INSERT\"]}"
#define PLAY_SUBSCRIBE_B "{\"id\":2,\"method\":\"subscribe\",\"channel\":\"b\"}"
#define PLAY_SUBSCRIBE_B_SINCE                                                                     \
	"{\"id\":2,\"method\":\"subscribe\",\"channel\":\"b\",\"since\":\"1-50\"}"

/* Before and after each test. client_buffer is 1000 bytes. */
extern int play_setup(void **state);
extern int play_teardown(void **state);

/* The actions of the feed of database "db". */
extern Database *play_hello(int *link, uint32_t timeline, uint64_t id);
extern void play_frame(Database *database, WireMessage message);
extern void play_event(Database *database, uint32_t stream, uint64_t id, const char *text);
extern void play_notify(Database *database, uint32_t stream, const char *text);
extern void
play_subscribed(Database *database, uint32_t sub, uint32_t stream, bool replay, uint64_t id);
extern void play_replay_event(Database *database, uint32_t sub, uint64_t id, const char *text);
extern void play_replay_events(Database *database, const uint32_t *subs, uint16_t n, uint64_t id,
							   const char *text);
extern void play_replay_done(Database *database, uint32_t sub, uint64_t id);
extern void play_reset(Database *database, uint32_t sub, uint64_t id, const char *reason);
extern void play_position(Database *database, uint64_t id);

/* Return the client of a session. */
static inline HubClient *
play_client(Session *session)
{
	return (HubClient *) session;
}

/* Check the i-th frame that was sent to the feed. */
extern void play_expect_sent(size_t i, WireType type, uint32_t sub);

/* Check an UNSUBSCRIBE: of events only, or of everything. */
extern void play_expect_lag(size_t i, uint32_t sub);
extern void play_expect_end(size_t i, uint32_t sub);
extern void play_expect_subscribe(size_t i, uint32_t sub, uint8_t ops, uint64_t since);

/* The actions of a client. The default protocol is play_plain, and the default address "test". */
extern Session *play_open(Database *database, PlayPipe *pipe);
extern Session *
play_connect(Database *database, const Protocol *protocol, const char *address, PlayPipe *pipe);
extern Session *play_open_compressed(Database *database, PlayPipe *pipe);
extern void play_receive(Session *session, const char *text);

/* Subscribe and let the feed answer; returns the number of the subscription. */
extern uint32_t
play_subscribe(Session *session, const char *request, uint32_t stream, bool replay, uint64_t id);

/* Let the socket accept everything again. */
extern void play_unblock(PlayPipe *pipe);

/* Flush, and compare what was written with these short frames. */
extern void play_expect(PlayPipe *pipe, int opcode, const char *text);
extern void play_expect_nothing(PlayPipe *pipe);

extern void play_tick(uint64_t ms);

extern WireBytes play_bytes(const char *text);

/* Return a text with this many characters, in a buffer that the next call overwrites. */
extern const char *play_text(size_t len);

#endif /* PLAY_H */
