/*-------------------------------------------------------------------------
 *
 * wamp_failure.h
 *	  What a worker could not do, as ERROR of WAMP.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_FAILURE_H
#define GATEWAY_WAMP_FAILURE_H

#include "gateway/wamp/wamp_message.h"
#include "gateway/ws/frame.h"

/*
 * Build ERROR for a request of this type. Its argument is the message, and the keyword arguments have the
 * SQLSTATE, the detail and the hint as far as there are any. The caller owns the frame.
 */
extern Frame *wamp_worker_failure(WampType type, uint64_t request, const WireFailed *failed);

#endif /* GATEWAY_WAMP_FAILURE_H */
