/*-------------------------------------------------------------------------
 *
 * transport_lws.h
 *	  A socket that libwebsockets watches and reads.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TRANSPORT_LWS_H
#define GATEWAY_TRANSPORT_LWS_H

#include <uv.h>

#include "gateway/net/transport.h"

/* Start the library on this loop. Descriptors are limited to RLIMIT_NOFILE as it is now. */
extern bool transport_lws_start(uv_loop_t *loop) __attribute__((warn_unused_result));

/*
 * Hand a socket to the library: a transport without owner. NULL: that failed, and the socket is
 * closed.
 */
extern Transport *transport_lws_adopt(int fd);

#endif /* GATEWAY_TRANSPORT_LWS_H */
