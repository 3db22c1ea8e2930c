/*-------------------------------------------------------------------------
 *
 * turns.h
 *	  Decides which replay is read for next. The model is at the head of turns.c.
 *
 * This module depends only on libc, so it can be tested alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_TURNS_H
#define PG_NOTIFYD_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#define TURNS_SECTIONS 16

/* The part that the replays of one client's connection share. */
typedef struct TurnsSession
{
	uint64_t served; /* the last turn of any of them */
} TurnsSession;

typedef struct TurnsReplay
{
	TurnsSession *session;
	uint64_t served; /* its last turn */
	uint64_t group;  /* its group in the section */
	uint8_t section; /* by the rows that it had left when it entered the section */
	bool receiving;  /* otherwise searching */
} TurnsReplay;

typedef struct Turns
{
	uint64_t now;                    /* number of turns so far */
	uint64_t groups[TURNS_SECTIONS]; /* the present group of each section */
	uint8_t section;                 /* the section of the last turn */
	bool receiving;                  /* the last turn was one of a receiving replay */
} Turns;

/* Add a session. Its first turn is after those of existing sessions. */
extern void turns_open(const Turns *turns, TurnsSession *session);

/* Add a replay with this many rows left to read. */
extern void
turns_begin(const Turns *turns, TurnsReplay *replay, TurnsSession *session, uint64_t left);

/* The candidates for the next turn. Initially zero. */
typedef struct TurnsChoice
{
	TurnsReplay *receiving;
	TurnsReplay
		*now[TURNS_SECTIONS]; /* in the present group, the replay with the lowest position */
	TurnsReplay *next[TURNS_SECTIONS];
	uint64_t now_after[TURNS_SECTIONS];
	uint64_t next_after[TURNS_SECTIONS];
} TurnsChoice;

/* Add a replay that can continue, with its position, to the candidates. */
extern void
turns_enter(const Turns *turns, TurnsChoice *choice, TurnsReplay *replay, uint64_t after);

/* Return the candidate whose turn it is, or NULL. */
extern TurnsReplay *turns_choose(Turns *turns, const TurnsChoice *choice);

/*
 * Record that a replay was read for in the turn of lead, which may be itself. rows were read, sent
 * of them were sent to it, and left rows are left to read. blocked: it cannot continue until its
 * client has taken something.
 */
extern void turns_served(const Turns *turns, TurnsReplay *replay, const TurnsReplay *lead,
						 uint64_t left, uint64_t rows, uint64_t sent, bool blocked);

#endif /* PG_NOTIFYD_TURNS_H */
