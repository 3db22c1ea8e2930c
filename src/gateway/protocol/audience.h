/*-------------------------------------------------------------------------
 *
 * audience.h
 *	  Who gets a message of WAMP: the options of PUBLISH that exclude sessions, or name those that are
 *	  eligible.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_AUDIENCE_H
#define GATEWAY_AUDIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/wire.h"

typedef struct Audience Audience;

/*
 * Read WireEvent.audience, an object with the members exclude and eligible (arrays of sessions' ids),
 * exclude_authid, exclude_authrole, eligible_authid and eligible_authrole (arrays of strings). Returns
 * NULL for an empty text: everybody gets the message. Nobody does if the text is something else.
 */
extern Audience *audience_read(WireBytes text);

extern void audience_free(Audience *audience);

/*
 * Return true if a client gets the message: it is not excluded, and it is in each list of eligible
 * ones. session is 0 if it has no id; the others are NULL if it has none.
 */
extern bool
audience_has(const Audience *audience, uint64_t session, const char *authid, const char *authrole);

#endif /* GATEWAY_AUDIENCE_H */
