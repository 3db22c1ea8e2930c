/*-------------------------------------------------------------------------
 *
 * group_window.c
 *	  The open events of a group: claiming, releasing, removing.
 *
 * The entries stand in order of id in an array. One that is not open any more stays where it is
 * until those before it are gone too, or room is needed. So entries are known by their ids, and
 * found by a binary search. The caller holds the lock of the group's slot. Nothing here raises an
 * error or allocates memory, except for window_draw_numbers(), which is called before the slot is
 * locked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ext/group/group_internal.h"

/* ---------------- numbers of deliveries ---------------- */

/* Numbers that JavaScript can read. */
#define DELIVERY_BITS 53

/* Numbers that this process has drawn and not used. */
static uint64 window_numbers[GROUP_WINDOW];
static int window_nnumbers = 0;

void
window_draw_numbers(int n)
{
	Assert(n <= GROUP_WINDOW);
	if (window_nnumbers >= n)
		return;
	window_nnumbers = 0;
	if (!pg_strong_random(window_numbers, n * sizeof(uint64)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate random numbers of deliveries")));
	window_nnumbers = n;
}

/* A number, by which nobody can guess those of others. 0 is none. */
static uint64
window_next_number(void)
{
	uint64 number;

	Assert(window_nnumbers > 0);
	number = window_numbers[--window_nnumbers] >> (64 - DELIVERY_BITS);
	return Max(number, 1);
}

/* ---------------- entries ---------------- */

void
window_reset(GroupWindow *window, uint64 scanned)
{
	window->scanned = scanned;
	window->begin = window->end = window->first = 0;
	window->open = window->pending = window->failed = 0;
	window->due = DT_NOEND;
	memset(window->errors, 0, sizeof(window->errors));
}

int
window_room(const GroupWindow *window)
{
	return GROUP_WINDOW - window->open;
}

/* Move the open entries to the begin of the array. */
static void
window_compact(GroupWindow *window)
{
	int n = 0;

	for (int i = window->begin; i < window->end; i++)
	{
		if (window->entries[i].state != GROUP_DONE)
			window->entries[n++] = window->entries[i];
	}
	window->begin = window->first = 0;
	window->end = n;
}

void
window_add(GroupWindow *window, const GroupEntry *entry)
{
	Assert(window_room(window) > 0);
	if (window->end == GROUP_WINDOW)
		window_compact(window);
	Assert(window->end == window->begin || window->entries[window->end - 1].id < entry->id);
	window->entries[window->end] = *entry;
	window->entries[window->end++].state = GROUP_PENDING;
	window->open++;
	window->pending++;
	window->arrived++;
}

GroupEntry *
window_find(GroupWindow *window, uint64 id)
{
	int low = window->begin;
	int high = window->end;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (window->entries[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == window->end || window->entries[low].id != id ||
		window->entries[low].state == GROUP_DONE)
		return NULL;
	return &window->entries[low];
}

static void
window_set_state(GroupWindow *window, GroupEntry *entry, GroupEntryState state)
{
	window->pending += (state == GROUP_PENDING) - (entry->state == GROUP_PENDING);
	window->failed += (state == GROUP_FAILED) - (entry->state == GROUP_FAILED);
	window->open -= (state == GROUP_DONE);
	entry->state = state;
	/* The end of an event lets the later ones of its key be claimed. */
	window->arrived += state == GROUP_PENDING || state == GROUP_DONE;
	if (state == GROUP_PENDING)
		window->first = Min(window->first, (int) (entry - window->entries));
	if (state == GROUP_LEASED || state == GROUP_DELAYED)
		window->due = Min(window->due, entry->until);
}

int
window_expire(GroupWindow *window, TimestampTz now)
{
	int before = window->pending;

	if (now < window->due)
		return 0;
	window->due = DT_NOEND;
	for (int i = window->begin; i < window->end; i++)
	{
		GroupEntry *entry = &window->entries[i];

		if (entry->state != GROUP_LEASED && entry->state != GROUP_DELAYED)
			continue;
		if (entry->until > now)
			window->due = Min(window->due, entry->until);
		else if (entry->state == GROUP_LEASED)
			window_fail(window, entry, 0, "the lease has expired");
		else
			window_set_state(window, entry, GROUP_PENDING);
	}
	return window->pending - before;
}

/*
 * Keys that may not be claimed, as bits chosen by their hashes. Another key with the same bit waits,
 * too, which does no harm.
 */
#define WINDOW_KEY_BITS (64 * 1024)

typedef struct WindowKeys
{
	uint64 bits[WINDOW_KEY_BITS / 64];
} WindowKeys;

static bool
window_has_key(const WindowKeys *keys, uint64 key)
{
	key %= WINDOW_KEY_BITS;
	return (keys->bits[key / 64] >> (key % 64)) & 1;
}

static void
window_add_key(WindowKeys *keys, uint64 key)
{
	key %= WINDOW_KEY_BITS;
	keys->bits[key / 64] |= UINT64CONST(1) << (key % 64);
}

static void
window_claim_entry(GroupWindow *window, GroupEntry *entry, int owner)
{
	window_set_state(window, entry, GROUP_CLAIMED);
	entry->owner = owner;
	entry->delivery = window_next_number();
	entry->attempts = Min(entry->attempts + 1, PG_UINT16_MAX);
}

int
window_claim(GroupWindow *window, uint64 after, int n, bool ordered, int owner, GroupEntry *claimed)
{
	static WindowKeys keys;
	int got = 0;

	if (ordered)
		memset(&keys, 0, sizeof(keys));
	else if (after == 0)
	{
		while (window->first < window->end && window->entries[window->first].state != GROUP_PENDING)
			window->first++;
	}
	for (int i = ordered ? window->begin : window->first;
		 i < window->end && got < n && window->pending > 0; i++)
	{
		GroupEntry *entry = &window->entries[i];

		if (entry->state == GROUP_DONE)
			continue;
		if (ordered && (entry->state == GROUP_CLAIMED
							? entry->owner != owner
							: entry->state != GROUP_FAILED &&
								  (entry->state != GROUP_PENDING || entry->id <= after)))
			window_add_key(&keys, entry->key);
		if (entry->state != GROUP_PENDING || entry->id <= after ||
			(ordered && window_has_key(&keys, entry->key)))
			continue;
		window_claim_entry(window, entry, owner);
		claimed[got++] = *entry;
	}
	return got;
}

void
window_unclaim(GroupWindow *window, GroupEntry *entry)
{
	entry->attempts--;
	window_set_state(window, entry, GROUP_PENDING);
	window->arrived--;
}

void
window_fail(GroupWindow *window, GroupEntry *entry, TimestampTz until, const char *error)
{
	if (error != NULL)
	{
		GroupError *where = NULL;

		for (int i = 0; i < GROUP_ERRORS; i++)
		{
			if (window->errors[i].id == entry->id)
				where = &window->errors[i];
		}
		if (where == NULL)
			where = &window->errors[window->next_error++ % GROUP_ERRORS];
		where->id = entry->id;
		strlcpy(where->text, error, sizeof(where->text));
	}
	entry->until = until;
	window_set_state(window, entry,
					 entry->attempts >= window->max_attempts && OidIsValid(entry->address.table)
						 ? GROUP_FAILED
					 : until != 0 ? GROUP_DELAYED
								  : GROUP_PENDING);
}

void
window_lease(GroupWindow *window, GroupEntry *entry, TimestampTz until)
{
	entry->until = until;
	window_set_state(window, entry, GROUP_LEASED);
}

void
window_claim_leased(GroupWindow *window, GroupEntry *entry, int owner)
{
	window_set_state(window, entry, GROUP_CLAIMED);
	entry->owner = owner;
}

void
window_lose(GroupEntry *entry)
{
	entry->address.table = InvalidOid;
	entry->key = entry->id;
}

/* Whether the event of an entry is removed with those up to an id, and nobody has it now. */
static bool
window_is_removed(const GroupEntry *entry, uint64 upto)
{
	return entry->id <= upto && (entry->state == GROUP_PENDING || entry->state == GROUP_DELAYED ||
								 entry->state == GROUP_FAILED);
}

GroupEntry *
window_lose_all(GroupWindow *window, uint64 upto)
{
	GroupEntry *last = NULL;
	uint64 first = 0;
	int n = 0;
	int known = 0;

	for (int i = window->begin; i < window->end; i++)
	{
		if (!window_is_removed(&window->entries[i], upto))
			continue;
		n++;
		known += !OidIsValid(window->entries[i].address.table);
	}
	if (n == 0 || (n == 1 && known == 1))
		return NULL;
	for (int i = window->begin; i < window->end; i++)
	{
		GroupEntry *entry = &window->entries[i];
		uint64 from = OidIsValid(entry->address.table) ? entry->id : entry->key;

		if (!window_is_removed(entry, upto))
			continue;
		/* An earlier loss may begin before an event that was taken then, and is no more. */
		if (first == 0 || from < first)
			first = from;
		if (last != NULL)
			window_remove(window, last);
		last = entry;
	}
	window_lose(last);
	last->key = first;
	window_set_state(window, last, GROUP_PENDING);
	return last;
}

void
window_remove(GroupWindow *window, GroupEntry *entry)
{
	window_set_state(window, entry, GROUP_DONE);
	while (window->begin < window->end && window->entries[window->begin].state == GROUP_DONE)
		window->begin++;
	if (window->begin == window->end)
		window->begin = window->end = 0;
	window->first = Max(Min(window->first, window->end), window->begin);
}

const char *
window_error(const GroupWindow *window, uint64 id)
{
	for (int i = 0; i < GROUP_ERRORS; i++)
	{
		if (window->errors[i].id == id)
			return window->errors[i].text;
	}
	return NULL;
}
