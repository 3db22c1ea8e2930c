/*-------------------------------------------------------------------------
 *
 * turns.c
 *	  Which replay is read for next.
 *
 * A replay reads the log from its client's position to where the live stream is. A turn reads a
 * piece of the log, for the replay whose turn it is and for all others whose position is in that
 * piece. So a thousand replays that go along cost one scan; what is decided here is how they come
 * to go along, and that nobody waits for long because of what others do, however many there are and
 * however often they begin again.
 *
 * There are two kinds of replays, and they have every other turn if there are both:
 *
 *	  receiving		The client gets a good part of the rows that are read, or has not taken what it got. What it costs
 *					to read for it is bounded by what it takes. Sessions have their turns one after the other, and so
 *					have the replays of a session.
 *
 *	  searching		Few of the rows are for the client: it costs the feed much and the client nothing. Searching
 *					replays are read for in groups.
 *
 * The groups: sections divide the log by the distance to the live stream, each four times as long
 * as the one after it. In each section one group is read for at a time, from its member that is
 * furthest behind, until all members have left the section; those that its scan comes upon join it.
 * Whoever enters a section, by beginning there or coming from the one before, waits for the next
 * group. Sections take turns.
 *
 * So there are at most as many scans at a time as sections, and a replay waits for the group before
 * its own, which has no longer way than four times its own. A client that is nearly there does not
 * wait for those who begin far behind.
 *
 *-------------------------------------------------------------------------
 */
#include <stddef.h>

#include "ext/feed/turns.h"

#define TURNS_SHORTEST  1024 /* rows: the length of the last section */
#define TURNS_RECEIVING 4    /* whoever gets one of so many rows is receiving */

/* The section of a replay that has left so many rows to read. */
static uint8_t
turns_section(uint64_t left)
{
	uint8_t section = 0;

	for (uint64_t length = TURNS_SHORTEST; left > length && section < TURNS_SECTIONS - 1;
		 length *= 4)
		section++;
	return section;
}

static void
turns_come(const Turns *turns, TurnsReplay *replay, uint8_t section)
{
	replay->section = section;
	replay->group = turns->groups[section] + 1;
}

void
turns_open(const Turns *turns, TurnsSession *session)
{
	session->served = turns->now;
}

void
turns_begin(const Turns *turns, TurnsReplay *replay, TurnsSession *session, uint64_t left)
{
	replay->session = session;
	replay->served = turns->now;
	replay->receiving = false;
	turns_come(turns, replay, turns_section(left));
}

/*
 * Whether one receiving replay has waited for longer than another: first its session, then itself.
 */
static bool
turns_before(const TurnsReplay *a, const TurnsReplay *b)
{
	if (a->session->served != b->session->served)
		return a->session->served < b->session->served;
	return a->served < b->served;
}

static void
turns_keep_last(TurnsReplay **kept, uint64_t *kept_after, TurnsReplay *replay, uint64_t after)
{
	if (*kept != NULL && *kept_after <= after)
		return;
	*kept = replay;
	*kept_after = after;
}

void
turns_enter(const Turns *turns, TurnsChoice *choice, TurnsReplay *replay, uint64_t after)
{
	uint8_t section = replay->section;

	if (replay->receiving)
	{
		if (choice->receiving == NULL || turns_before(replay, choice->receiving))
			choice->receiving = replay;
	}
	else if (replay->group <= turns->groups[section])
		turns_keep_last(&choice->now[section], &choice->now_after[section], replay, after);
	else
		turns_keep_last(&choice->next[section], &choice->next_after[section], replay, after);
}

/* The searching replay whose turn it is; NULL: there is none. */
static TurnsReplay *
turns_choose_searching(Turns *turns, const TurnsChoice *choice)
{
	for (unsigned i = 1; i <= TURNS_SECTIONS; i++)
	{
		uint8_t section = (uint8_t) ((turns->section + i) % TURNS_SECTIONS);

		if (choice->now[section] == NULL && choice->next[section] == NULL)
			continue;
		turns->section = section;
		if (choice->now[section] != NULL)
			return choice->now[section];
		turns->groups[section]++;
		return choice->next[section];
	}
	return NULL;
}

TurnsReplay *
turns_choose(Turns *turns, const TurnsChoice *choice)
{
	TurnsReplay *replay = NULL;

	if (choice->receiving == NULL || turns->receiving)
		replay = turns_choose_searching(turns, choice);
	if (replay == NULL)
		replay = choice->receiving;
	if (replay == NULL)
		return NULL;
	turns->now++;
	turns->receiving = replay->receiving;
	return replay;
}

void
turns_served(const Turns *turns, TurnsReplay *replay, const TurnsReplay *lead, uint64_t left,
			 uint64_t rows, uint64_t sent, bool blocked)
{
	uint8_t section = turns_section(left);
	bool was_receiving = replay->receiving;

	replay->served = turns->now;
	replay->session->served = turns->now;
	replay->receiving = blocked || sent * TURNS_RECEIVING >= rows;
	if (section != replay->section || was_receiving)
		turns_come(turns, replay, section);
	else if (!lead->receiving && lead->section == section && lead->group < replay->group)
		replay->group = lead->group;
}
