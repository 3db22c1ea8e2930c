/*-------------------------------------------------------------------------
 *
 * link.h
 *	  The connections of feeds and backends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LINK_H
#define GATEWAY_LINK_H

#include <stdbool.h>

#include <uv.h>

#include "gateway/hub/hub.h"

/* The time limit for a feed to send HELLO, and for a backend to read its list. */
#define LINK_HELLO_MS 10000

/*
 * Accept feeds and backends on this listening socket, only from processes of our own user. gateway
 * is our number, which HELLO contains.
 */
extern bool link_start(uv_loop_t *loop, int listener, uint16_t gateway, Hub *hub)
	__attribute__((warn_unused_result));

/*
 * The launcher reports that the database with this name was dropped or renamed: end its clients and
 * its link.
 */
extern void link_database_gone(WireBytes name);

/* Called once a second while a link has a time limit, see link_waits(). */
extern void link_tick(void);
extern bool link_waits(void);

/* Close the link of a worker, which the pool does not know any more, see pool.h. */
extern void link_drop(void *link);

/* Send a frame to a feed or worker. link is the argument of hub_hello() or hub_worker(). */
extern void link_send(void *link, const WireMessage *message);

#endif /* GATEWAY_LINK_H */
