/*-------------------------------------------------------------------------
 *
 * disconnected.h
 *	  The tokens that notify_disconnect() has made invalid, in the table notifyd.disconnected.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_DISCONNECTED_H
#define PG_NOTIFYD_DISCONNECTED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* Tokens whose claims contain these, and that were issued before, are invalid. */
typedef struct Disconnected
{
	Jsonb *claims;
	TimestampTz issued_before;
} Disconnected;

/*
 * Return true if the row makes a token with these claims invalid. One without a time of issue
 * (issued_at is DT_NOBEGIN) counts as issued before.
 */
extern bool disconnected_matches(const Disconnected *row, Jsonb *claims, TimestampTz issued_at);

/* Add a row. Feeds read the table again when the transaction commits. */
extern void disconnected_add(const Disconnected *added);

/* The rows of the table, for lookups. */
typedef struct DisconnectedSet DisconnectedSet;

/* Read the table into the current memory context. */
extern DisconnectedSet *disconnected_read(void);

/* Return true if a row makes a token with these claims invalid; see disconnected_matches(). */
extern bool disconnected_has(const DisconnectedSet *set, Jsonb *claims, TimestampTz issued_at);

/* The same as a text: return why a token with these claims is refused, or NULL. */
extern const char *
disconnected_refusal(const DisconnectedSet *set, Jsonb *claims, TimestampTz issued_at);

/*
 * Return true if all tokens that a row concerns have expired by pg_notifyd.jwt_max_lifetime. Then
 * disconnected_end(), in a transaction, removes such rows, unless a session is changing the table.
 * It never waits.
 */
extern bool disconnected_over(const DisconnectedSet *set, TimestampTz now);
extern void disconnected_end(TimestampTz now);

#endif /* PG_NOTIFYD_DISCONNECTED_H */
