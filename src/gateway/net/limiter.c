/*-------------------------------------------------------------------------
 *
 * limiter.c
 *	  Limits how often something happens from one address.
 *
 * An address has one time for each kind: when all that it has done would be over, if it did the
 * allowed number evenly over each period. Once more moves this time by period / limit. It is allowed while
 * the time is then at most a period ahead.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/limiter.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

#define LIMITER_NS 1000000 /* in a millisecond */

typedef struct LimiterEntry
{
	RB_ENTRY(LimiterEntry) in_all;
	TAILQ_ENTRY(LimiterEntry) in_recent;
	uint64_t until[LIMITER_KINDS]; /* nanoseconds */
	uint8_t key[ADDRESS_SIZE];
} LimiterEntry;

static int
limiter_compare(const LimiterEntry *a, const LimiterEntry *b)
{
	return memcmp(a->key, b->key, ADDRESS_SIZE);
}

RB_GENERATE_STATIC(LimiterTree, LimiterEntry, in_all, limiter_compare)

void
limiter_init(Limiter *limiter)
{
	RB_INIT(&limiter->all);
	TAILQ_INIT(&limiter->recent);
	limiter->count = 0;
}

static LimiterEntry *
limiter_find(const Limiter *limiter, const uint8_t *address)
{
	LimiterEntry key;

	memcpy(key.key, address, ADDRESS_SIZE);
	return RB_FIND(LimiterTree, (struct LimiterTree *) &limiter->all, &key);
}

static void
limiter_remove(Limiter *limiter, LimiterEntry *entry)
{
	RB_REMOVE(LimiterTree, &limiter->all, entry);
	TAILQ_REMOVE(&limiter->recent, entry, in_recent);
	limiter->count--;
	free(entry);
}

/* Forget the oldest entry if it means nothing any more, or if there are too many. */
static void
limiter_forget(Limiter *limiter, uint64_t now)
{
	LimiterEntry *oldest = TAILQ_FIRST(&limiter->recent);
	bool over = oldest != NULL;

	for (int i = 0; over && i < LIMITER_KINDS; i++)
		over = oldest->until[i] <= now;
	if (over || limiter->count >= LIMITER_MAX)
		limiter_remove(limiter, oldest);
}

static uint64_t
limiter_interval(Limit limit)
{
	return (uint64_t) limit.period_ms * LIMITER_NS / limit.count;
}

uint64_t
limiter_wait(const Limiter *limiter, const uint8_t *address, LimiterKind kind, Limit limit)
{
	const LimiterEntry *entry = limit.count > 0 ? limiter_find(limiter, address) : NULL;
	uint64_t allowed;
	uint64_t then;

	if (entry == NULL)
		return 0;
	allowed = (limiter->now() + limit.period_ms) * LIMITER_NS;
	then = entry->until[kind] + limiter_interval(limit);
	return then > allowed ? (then - allowed + LIMITER_NS - 1) / LIMITER_NS : 0;
}

void
limiter_count(Limiter *limiter, const uint8_t *address, LimiterKind kind, Limit limit)
{
	LimiterEntry *entry;
	uint64_t now;
	uint64_t last;

	if (limit.count == 0)
		return;
	now = limiter->now() * LIMITER_NS;
	last = now + (uint64_t) limit.period_ms * LIMITER_NS;
	entry = limiter_find(limiter, address);
	if (entry != NULL)
		TAILQ_REMOVE(&limiter->recent, entry, in_recent);
	else
	{
		/* Twice, so that there are fewer and fewer of those that mean nothing. */
		limiter_forget(limiter, now);
		limiter_forget(limiter, now);
		entry = memory_zeroed(sizeof(LimiterEntry));
		memcpy(entry->key, address, ADDRESS_SIZE);
		RB_INSERT(LimiterTree, &limiter->all, entry);
		limiter->count++;
	}
	TAILQ_INSERT_TAIL(&limiter->recent, entry, in_recent);
	if (entry->until[kind] < now)
		entry->until[kind] = now;
	entry->until[kind] += limiter_interval(limit);
	if (entry->until[kind] > last)
		entry->until[kind] = last;
}

void
limiter_free(Limiter *limiter)
{
	LimiterEntry *entry;

	while ((entry = TAILQ_FIRST(&limiter->recent)) != NULL)
		limiter_remove(limiter, entry);
}
