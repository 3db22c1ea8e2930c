/*-------------------------------------------------------------------------
 *
 * router_internal.h
 *	  The router, for its own files.
 *
 *	  router.c				sessions; which function gets which message
 *	  router_registration.c	registrations, and which one a call is for
 *	  router_call.c			calls under way
 *	  router_meta.c			the procedures wamp.session.* and wamp.registration.*
 *	  router_table.c		hash tables; router_text.c: text
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_ROUTER_INTERNAL_H
#define PG_NOTIFYD_ROUTER_INTERNAL_H

#include "ext/access/json_slice.h"
#include "ext/wamp/router.h"
#include "wire/uri.h"

#define ROUTER_NO_PROCEDURE   "wamp.error.no_such_procedure"
#define ROUTER_NOT_AUTHORIZED "wamp.error.not_authorized"
#define ROUTER_BAD_ARGUMENT   "wamp.error.invalid_argument"
#define ROUTER_BAD_URI        "wamp.error.invalid_uri"
#define ROUTER_CANCELED       "wamp.error.canceled"
#define ROUTER_UNAVAILABLE    "wamp.error.unavailable"
#define ROUTER_TIMEOUT        "wamp.error.timeout"
#define ROUTER_NO_FEATURE     "wamp.error.feature_not_supported"

/* ---------------- lists ---------------- */

/* A member of a list, or its head: then first and last are those of the list, or the head itself. */
typedef struct RouterRing
{
	struct RouterRing *first; /* the next one */
	struct RouterRing *last;  /* the one before */
} RouterRing;

#define ring_member(type, field, node) ((type *) ((char *) (node) -offsetof(type, field)))

static inline void
ring_init(RouterRing *head)
{
	head->first = head->last = head;
}

static inline bool
ring_is_empty(const RouterRing *head)
{
	return head->first == head;
}

static inline void
ring_append(RouterRing *head, RouterRing *node)
{
	node->first = head;
	node->last = head->last;
	head->last->first = node;
	head->last = node;
}

static inline void
ring_remove(RouterRing *node)
{
	node->first->last = node->last;
	node->last->first = node->first;
}

/* ---------------- hash tables (router_table.c) ---------------- */

/* A member of a table. Several may have one key. */
typedef struct RouterNode
{
	struct RouterNode *next;
	uint64_t key;
} RouterNode;

typedef struct RouterTable
{
	RouterNode **buckets;
	unsigned bits; /* there are 2^bits buckets; 0: none yet */
	size_t n;
} RouterTable;

extern void table_add(Router *router, RouterTable *table, RouterNode *node, uint64_t key);
extern void table_remove(RouterTable *table, RouterNode *node);

/* Return the first member with a key, and the next one after it, or NULL. */
extern RouterNode *table_find(const RouterTable *table, uint64_t key);
extern RouterNode *table_next(const RouterNode *node);

/* ---------------- what there is ---------------- */

typedef struct RouterSession
{
	RouterNode by_number; /* of its link and its number */
	RouterNode by_id;     /* unless the id is 0 */
	RouterRing in_router;
	int link;
	uint32_t number;
	uint64_t id;
	uint64_t serial; /* no other session has had it */
	uint8_t flags;
	unsigned ncallees;
	unsigned ncalls;
	uint64_t invocation;    /* id of the last INVOKE */
	RouterRing callees;     /* its registrations */
	RouterRing calls;       /* that it has made */
	RouterRing invocations; /* calls that it answers */
	char *details;          /* a JSON object */
	char *authid;
	char *authrole;
} RouterSession;

typedef enum RouterInvoke
{
	INVOKE_SINGLE,
	INVOKE_ROUNDROBIN,
	INVOKE_RANDOM,
	INVOKE_FIRST,
	INVOKE_LAST,
} RouterInvoke;

typedef struct RouterRegistration
{
	RouterNode by_id; /* uri_id() of the name */
	RouterRing in_match;
	UriMatch match;
	RouterInvoke invoke;
	int64_t created; /* ms since 1970 */
	size_t ncallees;
	RouterRing
		callees; /* in the order of their coming, but with INVOKE_ROUNDROBIN in that of their turns */
	size_t len;
	char name[];
} RouterRegistration;

/* A session's part in a registration. */
typedef struct RouterCallee
{
	RouterRing in_registration;
	RouterRing in_session;
	RouterRing in_router; /* those that were checked last are at the end */
	RouterRegistration *registration;
	RouterSession *session;
	bool discloses; /* it is told who calls */
	uint64_t check; /* the check of rights that it has passed */
} RouterCallee;

typedef struct RouterCall
{
	RouterNode by_request;
	RouterNode by_invocation;
	RouterRing in_caller;
	RouterRing in_callee;
	RouterSession *caller;
	RouterSession *callee;
	uint64_t request;    /* the caller's number for it */
	uint64_t invocation; /* the callee's */
	bool progressive;    /* the caller takes more than one result */
	bool interrupted;    /* the callee knows that it is cancelled */
	int64_t timeout;     /* ms; 0: none */
	int64_t deadline;
	size_t place; /* in Router.heap, if it has a timeout */
} RouterCall;

struct Router
{
	RouterHost host;
	int64_t now;
	int64_t unix_now;
	uint64_t serials;
	size_t nsessions; /* with an id */
	size_t by_link[ROUTER_MAX_LINKS];
	RouterTable by_number;
	RouterTable by_id;
	RouterRing sessions;
	RouterTable registrations;
	RouterRing matches[3]; /* by UriMatch; wildcards in the order in which they apply */
	size_t nwildcards;
	size_t prefixes[ROUTER_MAX_NAME + 1]; /* how many prefixes of this length there are */
	size_t ncallees;
	RouterRing callees;
	uint64_t check; /* the number of the last router_recheck() */
	RouterTable requests;
	RouterTable invocations;
	RouterCall **heap; /* calls with a timeout; none ends before the one at half of its index */
	size_t heap_size;
	size_t heap_used;
};

/* ---------------- router.c ---------------- */

extern void *router_allocate(Router *router, size_t size);
extern void router_release(Router *router, void *block);

/* Send a message to a session; answer a request with an error. message: for people. */
extern void router_send(Router *router, const RouterSession *session, WireRoute *route);
extern void router_refuse(Router *router, const RouterSession *session, uint64_t request,
						  const char *error, const char *message);

/* The message that a role lacks a privilege on this name, at most ROUTER_MAX_NAME bytes. Valid until the next call. */
extern const char *router_lacks(const char *privilege, WireBytes name);

extern RouterSession *router_session(const Router *router, uint64_t id);

/* Send KILL to a session, and end it. quietly: without an event. */
extern void router_kill(Router *router, RouterSession *session, WireBytes reason, WireBytes message,
						bool quietly);

static inline bool
router_may(const Router *router, const RouterSession *session, RouterRight right, WireBytes name)
{
	return router->host.may(router->host.arg, session->link, session->number, right, name);
}

/* ---------------- router_registration.c ---------------- */

extern void registration_register(Router *router, RouterSession *session, const WireRoute *route);
extern void registration_unregister(Router *router, RouterSession *session, const WireRoute *route);

/* End a session's part in a registration. */
extern void registration_end(Router *router, RouterCallee *callee, bool quietly);

extern RouterRegistration *registration_find(const Router *router, uint64_t id);
extern RouterRegistration *
registration_lookup(const Router *router, UriMatch match, const char *name, size_t len);

/* Iterate over those that match a name, the best one first. *after: NULL at the beginning. */
extern RouterRegistration *
registration_next_match(const Router *router, const RouterRegistration *after, const char *name,
						size_t len);

/* Append what wamp.registration.get answers. */
extern void registration_describe(RouterText *text, const RouterRegistration *registration);

/* ---------------- router_call.c ---------------- */

extern void call_begin(Router *router, RouterSession *session, const WireRoute *route);
extern void call_cancel(Router *router, RouterSession *session, const WireRoute *route);
extern void call_yield(Router *router, RouterSession *session, const WireRoute *route);
extern void call_fail(Router *router, RouterSession *session, const WireRoute *route);

/* The session has ended. */
extern void call_end_session(Router *router, RouterSession *session);

/* ---------------- router_meta.c ---------------- */

/* Answer a call of a procedure "wamp.…". Returns false if there is none with this name. */
extern bool meta_call(Router *router, RouterSession *session, const WireRoute *route);

/* Publish that a session has joined or left, or an event about a registration. */
extern void meta_joined(Router *router, const RouterSession *session);
extern void meta_left(Router *router, const RouterSession *session);
extern void meta_registration(Router *router, const char *topic, const RouterSession *session,
							  const RouterRegistration *registration, bool whole);

/* ---------------- router_text.c ---------------- */

/* Text that grows. text_reset() frees it. */
struct RouterText
{
	Router *router;
	char *data;
	size_t len;
	size_t size;
};

extern void text_reset(RouterText *text);
extern WireBytes text_bytes(const RouterText *text);

/* Members of options, an object as text, which may be empty. They are absent if they have another type. */
typedef struct RouterOptions
{
	JsonSlice object; /* text is NULL: there are none */
} RouterOptions;

/* Returns false if it is no JSON object. */
extern bool
options_read(WireBytes text, RouterOptions *options) __attribute__((warn_unused_result));
extern bool options_text(const RouterOptions *options, const char *name, char *buf, size_t size);
extern bool options_true(const RouterOptions *options, const char *name);
extern bool options_number(const RouterOptions *options, const char *name, double *number);

/* Whether there is payload passthru (wire_route.h). */
extern bool options_opaque(const RouterOptions *options);

/* Append its options to an object, which is open and has members already or not. */
extern void text_append_opaque(RouterText *text, const RouterOptions *options);

/* The name of a member and its colon, likewise. */
extern void text_append_name(RouterText *text, const char *name);

#endif /* PG_NOTIFYD_ROUTER_INTERNAL_H */
