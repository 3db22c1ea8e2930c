/*-------------------------------------------------------------------------
 *
 * turns.h
 *	  Which replay is read for next. The model is at the head of turns.c.
 *
 * This module depends on libc alone, so that it can be tested by itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_TURNS_H
#define PG_NOTIFYD_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#define TURNS_SECTIONS 16

/* What the replays of one client's connection share. */
typedef struct TurnsSession
{
	uint64_t served; /* when one of them was read for last */
} TurnsSession;

typedef struct TurnsReplay
{
	TurnsSession *session;
	uint64_t served; /* when it was read for last */
	uint64_t group;  /* of its section */
	uint8_t section; /* by how much it had left when it came there */
	bool receiving;  /* else searching */
} TurnsReplay;

typedef struct Turns
{
	uint64_t now;                    /* turns so far */
	uint64_t groups[TURNS_SECTIONS]; /* which group of each section is read for */
	uint8_t section;                 /* that had a turn last */
	bool receiving;                  /* the last turn was that of a receiving replay */
} Turns;

/* A session begins; it has its turn after those that are there. */
extern void turns_open(const Turns *turns, TurnsSession *session);

/* A replay begins that has left so many rows to read. */
extern void
turns_begin(const Turns *turns, TurnsReplay *replay, TurnsSession *session, uint64_t left);

/* The candidates for the next turn. Zero at first. */
typedef struct TurnsChoice
{
	TurnsReplay *receiving;
	TurnsReplay *now[TURNS_SECTIONS]; /* of the group that is read for, the one furthest behind */
	TurnsReplay *next[TURNS_SECTIONS];
	uint64_t now_after[TURNS_SECTIONS];
	uint64_t next_after[TURNS_SECTIONS];
} TurnsChoice;

/* Enter a replay that could be read for, with its position. */
extern void
turns_enter(const Turns *turns, TurnsChoice *choice, TurnsReplay *replay, uint64_t after);

/* Whose turn it is of those that were entered; NULL: there are none. */
extern TurnsReplay *turns_choose(Turns *turns, const TurnsChoice *choice);

/*
 * A replay was read for in the turn of lead, which may be itself: so many rows, of which it was
 * sent some. It has left so many to read; blocked: it cannot go on before its client has taken
 * something.
 */
extern void turns_served(const Turns *turns, TurnsReplay *replay, const TurnsReplay *lead,
						 uint64_t left, uint64_t rows, uint64_t sent, bool blocked);

#endif /* PG_NOTIFYD_TURNS_H */
