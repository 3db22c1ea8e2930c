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

/* Start the library on this loop. It uses the present RLIMIT_NOFILE as the limit of descriptors. */
extern bool transport_lws_start(uv_loop_t *loop) __attribute__((warn_unused_result));

/*
 * Pass a socket to the library. Returns a transport without owner, or NULL if that failed; the
 * socket is then closed.
 */
extern Transport *transport_lws_adopt(int fd);

#endif /* GATEWAY_TRANSPORT_LWS_H */
