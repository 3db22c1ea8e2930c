/*-------------------------------------------------------------------------
 *
 * wamp_type.h
 *	  The types of WAMP's messages, and the range of its ids.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_TYPE_H
#define GATEWAY_WAMP_TYPE_H

#include <stdint.h>

#define WAMP_MAX_ID (UINT64_C(1) << 53)

/* The types of messages (WAMP, Basic Profile, "Message Codes"; CANCEL and INTERRUPT: Advanced Profile). */
typedef enum WampType
{
	WAMP_HELLO = 1,
	WAMP_WELCOME = 2,
	WAMP_ABORT = 3,
	WAMP_CHALLENGE = 4,
	WAMP_AUTHENTICATE = 5,
	WAMP_GOODBYE = 6,
	WAMP_ERROR = 8,
	WAMP_PUBLISH = 16,
	WAMP_PUBLISHED = 17,
	WAMP_SUBSCRIBE = 32,
	WAMP_SUBSCRIBED = 33,
	WAMP_UNSUBSCRIBE = 34,
	WAMP_UNSUBSCRIBED = 35,
	WAMP_EVENT = 36,
	WAMP_CALL = 48,
	WAMP_CANCEL = 49,
	WAMP_RESULT = 50,
	WAMP_REGISTER = 64,
	WAMP_REGISTERED = 65,
	WAMP_UNREGISTER = 66,
	WAMP_UNREGISTERED = 67,
	WAMP_INVOCATION = 68,
	WAMP_INTERRUPT = 69,
	WAMP_YIELD = 70,
} WampType;

#endif /* GATEWAY_WAMP_TYPE_H */
