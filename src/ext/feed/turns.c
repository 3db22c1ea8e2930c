/*-------------------------------------------------------------------------
 *
 * turns.c
 *	  Decides which replay is read for next.
 *
 * A replay reads the log from its client's position to the live stream. A turn reads a part of the
 * log, for the chosen replay and for all others with positions in that part. So a thousand replays
 * at the same position cost one scan. This module brings replays together, and makes sure that none
 * waits for long because of others, however many there are and however often they start again.
 *
 * There are two kinds of replays. If there are both, they take turns alternately:
 *
 *	  receiving		The client gets a good part of the rows that are read, or has not taken what was sent. What the
 *					client takes bounds the cost of reading for it. Sessions take turns, and so do the
 *					replays of a session.
 *
 *	  searching		The client gets few of the rows: this costs the feed much and the client nothing. Searching
 *					replays are read for in groups.
 *
 * Groups: sections divide the log by the distance to the live stream, each four times as long as
 * the one after it. Each section has one group at a time. It is read for, starting at its member
 * with the lowest position, until all members have left the section; members whose positions the
 * scan reaches join it. A replay that enters a section, from the start or from the section before,
 * waits for the next group. Sections take turns.
 *
 * So there are never more scans at a time than sections, and a replay waits only for the group
 * before its own, whose way is at most four times as long as its own. A client that has almost
 * reached the live stream does not wait for those that begin far behind.
 *
 *-------------------------------------------------------------------------
 */
#include <stddef.h>

#include "ext/feed/turns.h"

#define TURNS_SHORTEST  1024 /* in rows: the length of the last section */
#define TURNS_RECEIVING 4    /* a client that gets at least one of this many rows is receiving */

/* Return the section of a replay with this many rows left to read. */
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
 * Return true if a receiving replay has waited longer than another: first by session, then by
 * replay.
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

/* Return the searching replay whose turn it is, or NULL. */
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
