/*-------------------------------------------------------------------------
 *
 * members.h
 *	  Members of JSON objects, found in their text without reading the values.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_MEMBERS_H
#define GATEWAY_MEMBERS_H

#include <stdbool.h>

#include "wire/wire.h"

/*
 * Walk through the members of an object, which is valid JSON. *rest is the object at first. name is the
 * text between the quotes, as it is written, and value the text of the value. Returns false at the end.
 */
extern bool members_next(WireBytes *rest, WireBytes *name, WireBytes *value);

/* Find the first member with this name, which needs no escapes. Returns false if there is none. */
extern bool members_find(WireBytes object, const char *name, WireBytes *value);

/*
 * The mark of the session that does not get a message of the log, because it has published it: from
 * the member "publisher" of the event. 0: there is none.
 */
extern uint64_t members_excluded(WireBytes event);

#endif /* GATEWAY_MEMBERS_H */
