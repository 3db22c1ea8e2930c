/*-------------------------------------------------------------------------
 *
 * watch_counts.c
 *	  Counts the events of a transaction by watch, for the statistics.
 *
 * The shared counters are changed once for each watch of a transaction, and only after the commit.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ext/base/shared.h"
#include "ext/transaction/watch_counts.h"

typedef struct WatchCount
{
	uint16 watch;
	uint32 events;
} WatchCount;

static WatchCount *watch_counts = NULL; /* in TopTransactionContext */
static int watch_ncounts = 0;
static int watch_counts_size = 0;

void
watch_counts_note(uint16 watch)
{
	int i = watch_ncounts - 1;

	if (watch == 0)
		return;
	while (i >= 0 && watch_counts[i].watch != watch)
		i--;
	if (i >= 0)
	{
		watch_counts[i].events++;
		return;
	}
	if (watch_ncounts == watch_counts_size)
	{
		int size = Max(4, watch_counts_size * 2);

		if (watch_counts == NULL)
			watch_counts = MemoryContextAlloc(TopTransactionContext, size * sizeof(WatchCount));
		else
			watch_counts = repalloc(watch_counts, size * sizeof(WatchCount));
		watch_counts_size = size;
	}
	watch_counts[watch_ncounts++] = (WatchCount){.watch = watch, .events = 1};
}

void
watch_counts_commit(void)
{
	for (int i = 0; i < watch_ncounts; i++)
		shared_count_watch(watch_counts[i].watch, watch_counts[i].events);
}

void
watch_counts_forget(void)
{
	watch_counts = NULL;
	watch_ncounts = 0;
	watch_counts_size = 0;
}
