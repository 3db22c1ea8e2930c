/*-------------------------------------------------------------------------
 *
 * router.h
 *	  The dealer of a database: which sessions of WAMP have registered which procedures, and the
 *	  calls that are under way between them.
 *
 * A session belongs to a link, the connection to its gateway, and has the gateway's number there.
 *
 *	  JOIN ──► session ── REGISTER ──► registration with one callee or more
 *	              │                         │
 *	              └── CALL ──► call ────────┴── INVOKE ──► callee ── YIELD or FAIL ──► RESULT or ERROR
 *
 *	  a call		ends with its result or error, with its timeout, when it is cancelled, and with
 *					its caller or callee. Its callee gets INTERRUPT if it does not know yet.
 *	  a registration	ends with its last callee
 *	  a session		ends with LEAVE and with its link, with everything that it has
 *
 * What a gateway sends is not trusted. An answer counts only if it comes from the session that got
 * the INVOKE. The names of sessions, registrations and invocations that have ended are ignored,
 * because they may have ended while a frame was on its way.
 *
 * The router keeps no payloads. What it has of each session is bounded (ROUTE_MAX_ and ROUTER_MAX_), and a
 * link that does not take what it is sent gets no more payloads (RouterHost.full).
 *
 * The files router*.c need libc only, and depend on no socket and no clock, so that they can be
 * tested alone (test/unit/test_router.c). All strings are UTF-8.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_ROUTER_H
#define PG_NOTIFYD_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire_route.h"

typedef struct Router Router;
typedef struct RouterText RouterText;

/* Those of a session are in wire_route.h. */
#define ROUTER_MAX_NAME      255    /* bytes of a procedure's name */
#define ROUTER_MAX_CALLEES   100000 /* registrations of all sessions */
#define ROUTER_MAX_WILDCARDS 1000   /* of all sessions: each may be compared with each call */

/* Links have numbers from 0 on, less than this. */
#define ROUTER_MAX_LINKS 64

/* The link of callers in SQL. Their sessions have the id 0, and no names. */
#define ROUTER_LOCAL (-1)

typedef enum RouterRight
{
	ROUTER_CALL,
	ROUTER_REGISTER,
} RouterRight;

/* The caller of a procedure that the router or its host answers. */
typedef struct RouterQuestion
{
	uint64_t session; /* id of the caller; 0: in SQL */
	WireBytes name;
	WireBytes payload; /* as in WireRoute */
} RouterQuestion;

/* What the router needs of the process that it is a part of. arg is passed to all of them. */
typedef struct RouterHost
{
	void *arg;
	void *(*allocate)(void *arg, size_t size); /* never returns NULL */
	void (*release)(void *arg, void *block);
	uint64_t (*random)(void *arg);
	/* Queue a message for a session; what it refers to is not valid afterwards. */
	void (*send)(void *arg, int link, const WireRoute *route);
	/* Whether a link has so much to send that it gets no payloads. */
	bool (*full)(void *arg, int link);
	/* Whether a session has a right on a name. The name may be a pattern. */
	bool (*may)(void *arg, int link, uint32_t session, RouterRight right, WireBytes name);
	/* Whether a procedure with this name exists elsewhere, so that clients cannot register it. */
	bool (*taken)(void *arg, WireBytes name);
	/*
	 * Answer a procedure "wamp.…" that the router does not know. Returns false if there is none with this
	 * name. Otherwise appends the result, like a payload; or sets *error, and appends a message.
	 */
	bool (*answer)(void *arg, const RouterQuestion *question, RouterText *result,
				   const char **error);
	/* Publish an event about sessions or registrations. */
	void (*publish)(void *arg, const char *topic, WireBytes payload);
} RouterHost;

/* Make a router with a copy of *host, and free one. Nobody gets a message that it ends. */
extern Router *router_create(const RouterHost *host);
extern void router_free(Router *router);

/* Tell it the time: of a clock that is never set, and since 1970, both in ms. */
extern void router_set_time(Router *router, int64_t now, int64_t unix_now);

/* A session that begins. */
typedef struct RouterJoin
{
	int link;
	uint32_t session;
	uint64_t id;
	uint8_t flags; /* ROUTE_CANCELS, ROUTE_OPAQUE, ROUTE_OPAQUES, ROUTE_AGAIN */
	WireBytes authid;
	WireBytes authrole;
	WireBytes details; /* a JSON object with more for wamp.session.get; empty: none */
} RouterJoin;

/* Returns false if another session has the number or the id, or the details are no JSON object. */
extern bool router_join(Router *router, const RouterJoin *join) __attribute__((warn_unused_result));

/* Return true if a session with this number is on the link. */
extern bool router_has(const Router *router, int link, uint32_t session);

/* End a session, if it exists, or all of a link. */
extern void router_leave(Router *router, int link, uint32_t session);
extern void router_drop_link(Router *router, int link);

/*
 * Process REGISTER, UNREGISTER, CALL, CANCEL, YIELD or FAIL. Returns false if the kind is another
 * one. Messages of sessions that do not exist are ignored.
 */
extern bool router_receive(Router *router, int link, const WireRoute *route)
	__attribute__((warn_unused_result));

/* End calls that have timed out. Returns after how many ms to call it again; -1: no call may time out. */
extern int64_t router_expire(Router *router);

/*
 * Rights may have changed: router_check() then checks up to n registrations again, and ends those
 * that are not allowed any more. It returns true if others are left.
 */
extern void router_recheck(Router *router);
extern bool router_check(Router *router, unsigned n);

/* The numbers of sessions, without those of callers in SQL, of all and of a link; and of calls under way. */
extern size_t router_sessions(const Router *router);
extern size_t router_link_sessions(const Router *router, int link);
extern size_t router_calls(const Router *router);

/* ---------------- text (router_text.c) ---------------- */

extern void text_append(RouterText *text, const char *data, size_t len);
extern void text_append_string(RouterText *text, const char *string);
extern void text_append_number(RouterText *text, uint64_t number);

/* In quotes, with escapes. */
extern void text_append_json(RouterText *text, const char *data, size_t len);

#endif /* PG_NOTIFYD_ROUTER_H */
