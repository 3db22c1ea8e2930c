/*-------------------------------------------------------------------------
 *
 * acceptor.h
 *	  Accepts connections on the listening sockets, and gives them to the HTTP server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ACCEPTOR_H
#define GATEWAY_ACCEPTOR_H

#include <stdbool.h>

#include <uv.h>

#include "gateway/http/http_server.h"

/*
 * Accept on count listening sockets, the descriptors from first_fd on. They are shared
 * with other gateways.
 */
extern bool acceptor_start(uv_loop_t *loop, int first_fd, int count, HttpServer *server)
	__attribute__((warn_unused_result));

/* Once a second, while acceptor_waits(): the system had no descriptors or memory, try again. */
extern void acceptor_tick(void);
extern bool acceptor_waits(void);

/* Accept no more: close the listening sockets. */
extern void acceptor_stop(void);

#endif /* GATEWAY_ACCEPTOR_H */
