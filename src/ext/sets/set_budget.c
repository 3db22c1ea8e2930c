/*-------------------------------------------------------------------------
 *
 * set_budget.c
 *	  How much of the process's time evaluations may take.
 *
 * A policy or a filter can take long for each row, and one process evaluates all of them, so what is
 * slow must not hold up everything else. Each event, and each subscription that is placed, has
 * BUDGET_FREE_US for evaluations in the guard. What is beyond that comes from one account, which grows
 * with half of the time that passes, up to BUDGET_MOST_US. When it is empty, evaluations that are known
 * to be slow have to wait. Others go on until the event has had BUDGET_EVENT_US.
 *
 * A binding that is slow again and again fails in the end: each has BUDGET_BINDING_US, and a twentieth
 * of the time that passes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "ext/sets/sets_internal.h"

#define BUDGET_FREE_US    2000
#define BUDGET_MOST_US    100000
#define BUDGET_EVENT_US   250000
#define BUDGET_BINDING_US 1000000

SetTotals set_totals;

static struct
{
	bool limited;
	int64 used;    /* by the present event */
	int64 account; /* may be negative */
	int64 grew_at; /* when it last grew */
} budget;

int64
set_clock(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

void
set_budget_begin(void)
{
	budget.limited = true;
	budget.used = 0;
}

bool
budget_allows(uint32 cost)
{
	int64 now;

	if (!budget.limited)
		return true;
	if (budget.used >= BUDGET_EVENT_US)
		return false;
	if (cost < BUDGET_SLOW_US)
		return true;
	now = set_clock();
	budget.account = Min(budget.account + (now - budget.grew_at) / 2, BUDGET_MOST_US);
	budget.grew_at = now;
	return budget.account > 0;
}

void
budget_charge(int64 us)
{
	int64 free = Max(BUDGET_FREE_US - budget.used, 0);

	budget.used += us;
	set_totals.us += (uint64) Max(us, 0);
	budget.account = Max(budget.account - Max(us - free, 0), -BUDGET_EVENT_US);
}

bool
budget_charge_binding(SetBinding *binding, int64 us, int64 now)
{
	budget_charge(us);
	binding->cost = (uint32) us;
	if (us < BUDGET_SLOW_US)
		return true;
	binding->slow_us = Max(binding->slow_us - (now - binding->slow_at) / 20, 0) + us;
	binding->slow_at = now;
	return binding->slow_us <= BUDGET_BINDING_US;
}
