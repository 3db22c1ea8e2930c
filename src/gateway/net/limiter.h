/*-------------------------------------------------------------------------
 *
 * limiter.h
 *	  Limits how often something happens from one address.
 *
 * From an address, limit times are allowed at once, and then as many in each period, evenly
 * distributed. An address is what address.h compares. The limiter remembers at most LIMITER_MAX addresses, and forgets
 * first the one that has done nothing for longest.
 *
 * This module has no socket. The clock is passed through Limiter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LIMITER_H
#define GATEWAY_LIMITER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv/tree.h>

#include "gateway/net/address.h"

#define LIMITER_MAX 16384

/* What is limited; each has its own count. */
typedef enum LimiterKind
{
	LIMITER_HANDSHAKES,
	LIMITER_FAILED_TOKENS,
	LIMITER_KINDS
} LimiterKind;

typedef struct Limit
{
	uint32_t count;     /* that is allowed in the period; 0: no limit */
	uint32_t period_ms; /* at most an hour */
} Limit;

struct LimiterEntry;

RB_HEAD(LimiterTree, LimiterEntry);

typedef struct Limiter
{
	/* Set by the caller of limiter_init(). */
	uint64_t (*now)(void); /* milliseconds of a clock that never goes back */
	/* Set by limiter_init(). */
	struct LimiterTree all;
	TAILQ_HEAD(, LimiterEntry) recent; /* in the order of their last counts */
	uint32_t count;
} Limiter;

/* Initialise the limiter's own members. */
extern void limiter_init(Limiter *limiter);

/* Return the time until it is allowed once more, in milliseconds. 0: it is allowed now. */
extern uint64_t
limiter_wait(const Limiter *limiter, const uint8_t *address, LimiterKind kind, Limit limit);

/* It has happened once more, allowed or not. */
extern void limiter_count(Limiter *limiter, const uint8_t *address, LimiterKind kind, Limit limit);

extern void limiter_free(Limiter *limiter);

#endif /* GATEWAY_LIMITER_H */
