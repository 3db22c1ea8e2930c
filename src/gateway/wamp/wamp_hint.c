/*-------------------------------------------------------------------------
 *
 * wamp_hint.c
 *	  What a database's feed and workers have said of names. See wamp_hint.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_hint.h"

#include "wire/uri.h"

/* A hint is stored behind its key. */
#define HINT_BITS      3
#define HINT_MASK      ((UINT64_C(1) << HINT_BITS) - 1)
#define HINT_PROCEDURE (UINT64_C(1) << 60) /* a key of procedures */

uint64_t
wamp_hint_topic(WireBytes topic)
{
	return uri_id(URI_EXACT, topic.data, topic.len);
}

uint64_t
wamp_hint_procedure(WireBytes name)
{
	return uri_id(URI_EXACT, name.data, name.len) | HINT_PROCEDURE;
}

WampHint
wamp_hint(const Database *database, uint64_t key)
{
	uint64_t stored = database->hints[key % HUB_HINTS];

	return stored >> HINT_BITS == key ? (WampHint) (stored & HINT_MASK) : HINT_NONE;
}

void
wamp_hint_learn(Database *database, uint64_t key, WampHint hint)
{
	if (hint != HINT_NONE || wamp_hint(database, key) != HINT_NONE)
		database->hints[key % HUB_HINTS] = key << HINT_BITS | hint;
}
