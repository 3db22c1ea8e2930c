/*-------------------------------------------------------------------------
 *
 * wamp_session.h
 *	  A client's session of WAMP, from HELLO to GOODBYE.
 *
 * The states of a session (WAMP, Basic Profile, "Session Lifecycle"). The client's messages are in
 * capitals, and ours in small letters:
 *
 *	  CLOSED ──HELLO──► ESTABLISHING		waits until the realm's database is served
 *							 │ │
 *		   anonymous: welcome│ │challenge; or the handshake has brought a token
 *							 │ ▼
 *							 │ AUTHENTICATING ──AUTHENTICATE──► (the feed verifies the token or signature;
 *							 │		   │						 nothing is read from the client meanwhile)
 *							 ▼		   │that is good: welcome
 *						   ESTABLISHED ◄┘
 *							 │
 *							 ├──GOODBYE──► SHUTTING_DOWN	goodbye, and the end of the connection
 *							 └── we end it: goodbye, or nothing if it is to reconnect ──► SHUTTING_DOWN
 *
 *	  any ──ABORT, or a message that may not come now: abort──► SHUTTING_DOWN
 *
 * With WAMP-CRA, the feed makes the challenge, and nothing is read from the client until it has come.
 *
 * SHUTTING_DOWN is the state CLOSING of the client's Session: the last message and the close frame are
 * queued, and nothing more is read. A connection has one session. CLOSED and ESTABLISHING have a time
 * limit here (outside() of ProtocolHooks), and AUTHENTICATING has that of hub_enter().
 *
 * A client in CLOSED and ESTABLISHING is in no database: HubClient.outside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_SESSION_H
#define GATEWAY_WAMP_SESSION_H

#include "gateway/hub/hub.h"
#include "gateway/wamp/wamp_message.h"

/* As long may a client without a session take for HELLO, and a HELLO wait for the database. */
#define WAMP_HELLO_MS 10000

typedef enum WampState
{
	WAMP_STATE_CLOSED,
	WAMP_STATE_ESTABLISHING,
	WAMP_STATE_AUTHENTICATING,
	WAMP_STATE_ESTABLISHED,
} WampState;

typedef enum WampMethod
{
	WAMP_METHOD_NONE,
	WAMP_METHOD_TOKEN, /* the handshake has brought it */
	WAMP_METHOD_TICKET,
	WAMP_METHOD_WAMPCRA,
	WAMP_METHOD_ANONYMOUS,
} WampMethod;

/* A SUBSCRIBE for a topic whose first SUBSCRIBE is not answered yet. */
typedef struct WampWaiter
{
	TAILQ_ENTRY(WampWaiter) in_session;
	uint64_t request;
	uint64_t subscription;
} WampWaiter;

/* A PUBLISH that is not finished, see wamp_publish.c. */
typedef struct WampPublication WampPublication;

typedef struct WampTestament WampTestament;

/* See wamp_route.c. */
typedef struct WampRegistration WampRegistration;
typedef struct WampCall WampCall;
typedef struct WampTimeout WampTimeout;

/* HubClient.state */
typedef struct WampSession
{
	HubClient *client;
	uint8_t state;   /* WampState */
	uint8_t method;  /* WampMethod, from HELLO on */
	bool challenged; /* CHALLENGE was sent, and AUTHENTICATE has not come */
	uint64_t id;     /* random, 1 to 2^53; 0 before ESTABLISHED, but not with WAMP-CRA */
	uint64_t deadline;
	char *realm;  /* from HELLO on */
	char *token;  /* of the handshake, until it is used; NULL: none */
	char *authid; /* of an ESTABLISHED session; with WAMP-CRA from HELLO on */
	TAILQ_HEAD(, WampWaiter) waiters;
	TAILQ_HEAD(, WampPublication) publications; /* in order */
	TAILQ_HEAD(, WampTestament) testaments;     /* see wamp_testament.h */
	unsigned int ntestaments;
	size_t testament_bytes;
	uint64_t last_publication; /* number of the last one */
	uint64_t last_logged;      /* id of the event of the last one in the log; 0: none */
	bool needs_feed;           /* counted in Database.nheld */
	TAILQ_HEAD(, WampRegistration) registrations;
	TAILQ_HEAD(, WampCall) calls;      /* at the feed, or perhaps for it; in order */
	LIST_HEAD(, WampTimeout) timeouts; /* of calls for workers */
	uint32_t nregistrations;
	uint32_t ncalls;
	uint8_t features; /* flags of ROUTE_JOIN */
	bool opaque;      /* it publishes with payload passthru */
	bool settled;     /* wamp_route_join() was called */
	bool joined;      /* the feed knows the session; */
	bool known;       /* a feed has known it */
	bool lacks_feed;  /* counted in Database.nheld */
	bool ends;        /* wamp_end() was called, */
	Frame *last;      /* with this message; NULL: none */
} WampSession;

/* Return the client's session, which is made when it is first needed. */
extern WampSession *wamp_session(HubClient *client);

/* The names of the method that has authenticated a session, and of who provides for it. */
extern const char *wamp_method_name(const WampSession *session);
extern const char *wamp_method_provider(const WampSession *session);

/* The name of an established session's role. */
extern const char *wamp_role(const WampSession *session);

/* Return a random id, 1 to 2^53. */
extern uint64_t wamp_random_id(void);

/* Send a message, which is taken over. May close the session, which frees the state. */
extern void wamp_send(HubClient *client, Frame *frame);

/* Send ERROR for a request of this type. */
extern void
wamp_refuse(HubClient *client, WampType type, uint64_t request, const char *uri, const char *text);

/*
 * Send a last message (NULL: none), which is taken over, and close the connection with this code of
 * WebSocket. Frees the state.
 */
extern void wamp_end(HubClient *client, Frame *last, uint16_t code, const char *reason);

/* The same with ABORT for this reason, and a message that says why. */
extern void
wamp_abort_session(HubClient *client, uint16_t code, const char *uri, const char *message);

/* The client has sent what it may not send. */
extern void wamp_violation(HubClient *client, const char *message);

/*
 * Process a message that begins, authenticates or ends a session, or one that comes before the session is
 * established, which ends it. Returns false for those that the other files process.
 */
extern bool wamp_session_message(WampSession *session, const WampMessage *message);

/*
 * The link was lost. If a challenge was made on it, the client has to connect again, since the next feed does
 * not know it. Returns true if that closes the session.
 */
extern bool wamp_challenge_lost(WampSession *session);

/* Functions of ProtocolHooks. */
extern void wamp_identified(HubClient *client);
extern void wamp_challenged(HubClient *client, const WireChallenge *challenge);
extern void wamp_not_identified(HubClient *client, uint8_t reason, WireBytes text);
extern void wamp_outside(HubClient *client);
extern Frame *wamp_farewell(HubClient *client, uint16_t code, const char *reason);
extern void wamp_left(HubClient *client);

#endif /* GATEWAY_WAMP_SESSION_H */
