/*-------------------------------------------------------------------------
 *
 * transport_poll.h
 *	  A socket that the loop watches.
 *
 * Its descriptor is closed the moment that it is dropped, so that room can be made for others. To
 * be kept, it goes to transport_lws.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TRANSPORT_POLL_H
#define GATEWAY_TRANSPORT_POLL_H

#include <uv.h>

#include "gateway/net/transport.h"

/*
 * A transport without owner over a connected, non-blocking socket, from this address. NULL: the
 * loop cannot watch the socket, which is closed.
 */
extern Transport *transport_poll_new(uv_loop_t *loop, int fd, const struct sockaddr_storage *peer);

/* It has an owner: watch the socket, and read at once what has come already. */
extern void transport_poll_start(Transport *transport);

#endif /* GATEWAY_TRANSPORT_POLL_H */
