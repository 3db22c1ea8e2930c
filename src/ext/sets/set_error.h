/*-------------------------------------------------------------------------
 *
 * set_error.h
 *	  What is wrong with a policy or a filter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SET_ERROR_H
#define PG_NOTIFYD_SET_ERROR_H

#include "wire/wire.h"

/* Why a set cannot be known. The message names the relation, and contains no data of rows. */
typedef struct SetError
{
	WireReason reason;
	bool later;        /* has to wait, for a lock (no message), or because it takes too much time */
	int sqlstate;      /* of the error that a policy or the filter raised; 0: it took too long */
	char message[512]; /* in the server's encoding */
} SetError;

#endif /* PG_NOTIFYD_SET_ERROR_H */
