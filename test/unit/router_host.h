/* A router for unit tests, whose messages are kept as text. */
#ifndef ROUTER_HOST_H
#define ROUTER_HOST_H

#include "unit.h"

#include "ext/wamp/router.h"

#define LOG_SIZE 65536

extern Router *router;
extern char sent[LOG_SIZE];      /* a line for each message */
extern char published[LOG_SIZE]; /* a line for each event */
extern int full_link;
extern const char *forbidden; /* no session of link 2 has a right on this name */

/* Setup and teardown of a test. */
extern int router_begin(void **state);
extern int router_end(void **state);

extern WireBytes bytes(const char *text);

/* What sessions do. The one with the number N on link L has the id 1000 * L + N. */
extern void join_with(int link, uint32_t number, uint8_t flags);
extern void join(int link, uint32_t number);
extern void receive(int link, WireRoute route);
extern void do_register(int link, uint32_t session, const char *name, const char *options);
extern void call(int link, uint32_t session, uint64_t request, const char *name,
				 const char *options, const char *payload);
extern void yield(int link, uint32_t session, uint64_t id, uint8_t flags, const char *payload);
extern void cancel(int link, uint32_t session, uint64_t request, const char *options);

/* Compare the messages since the last call; forget them, and the events. */
extern void expect(const char *wanted);
extern void forget(void);

#endif /* ROUTER_HOST_H */
