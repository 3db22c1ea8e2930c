/*-------------------------------------------------------------------------
 *
 * transport_poll.h
 *	  A socket that the loop watches.
 *
 * The descriptor is closed as soon as the transport is dropped, to make room for others. A socket
 * that is kept moves to transport_lws.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TRANSPORT_POLL_H
#define GATEWAY_TRANSPORT_POLL_H

#include <uv.h>

#include "gateway/net/transport.h"

/*
 * Create a transport without owner on a connected, non-blocking socket with this address. Returns
 * NULL if the loop cannot watch the socket, which is then closed.
 */
extern Transport *transport_poll_new(uv_loop_t *loop, int fd, const struct sockaddr_storage *peer);

/* Start to watch the socket, after an owner is set, and read waiting data at once. */
extern void transport_poll_start(Transport *transport);

#endif /* GATEWAY_TRANSPORT_POLL_H */
