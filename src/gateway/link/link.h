/*-------------------------------------------------------------------------
 *
 * link.h
 *	  The feeds' connections.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LINK_H
#define GATEWAY_LINK_H

#include <stdbool.h>

#include <uv.h>

#include "gateway/hub/hub.h"

/*
 * A feed that has connected says HELLO within this time; a backend has taken all that it asks for.
 */
#define LINK_HELLO_MS 10000

/*
 * Accept feeds and backends on this listening socket: only processes of our own user. gateway: its
 * number, which they are told.
 */
extern bool link_start(uv_loop_t *loop, int listener, uint16_t gateway, Hub *hub)
	__attribute__((warn_unused_result));

/* The launcher says that the database of this name is no more: end its clients and its link. */
extern void link_database_gone(WireBytes name);

/* Once a second, while there is a link that has a time limit: see link_waits(). */
extern void link_tick(void);
extern bool link_waits(void);

/* The hub's way to a feed: link is what was given to hub_hello(). */
extern void link_send(void *link, const WireMessage *message);

#endif /* GATEWAY_LINK_H */
