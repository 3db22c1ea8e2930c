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
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* Tokens whose claims contain these, and that were issued before, are invalid. */
typedef struct Disconnected
{
	Jsonb *claims;
	TimestampTz issued_before;
} Disconnected;

/* Return all rows of the table, as a list of Disconnected in the current memory context. */
extern List *disconnected_list(void);

/* Add a row. Feeds read the table again when the transaction commits. */
extern void disconnected_add(const Disconnected *added);

/*
 * Return true if the row makes a token with these claims invalid. One without a time of issue
 * (issued_at is DT_NOBEGIN) counts as issued before.
 */
extern bool disconnected_matches(const Disconnected *row, Jsonb *claims, TimestampTz issued_at);

#endif /* PG_NOTIFYD_DISCONNECTED_H */
