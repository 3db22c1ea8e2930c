/*-------------------------------------------------------------------------
 *
 * uri.h
 *	  URIs of topics and procedures, and patterns of them, as in WAMP.
 *
 * A URI has parts, separated by dots. A prefix matches every URI that begins with its bytes. A
 * wildcard has empty parts, which match any part; all other parts, and the number of parts, must be
 * the same (WAMP, Advanced Profile, pattern-based subscriptions).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_URI_H
#define PG_NOTIFYD_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum UriMatch
{
	URI_EXACT,
	URI_PREFIX,
	URI_WILDCARD,
} UriMatch;

#define URI_MAX_ID (UINT64_C(1) << 53)

/* Their names, and back. Returns false if there is no such name. */
extern const char *uri_match_name(UriMatch match);
extern bool
uri_match_parse(const char *name, size_t len, UriMatch *match) __attribute__((warn_unused_result));

/*
 * Return true if the text may be used: not empty, no white space, no "#", no control characters,
 * and no empty parts but in patterns (WAMP's loose rules). A prefix may end in a dot.
 */
extern bool uri_is_valid(UriMatch match, const char *text, size_t len);

/* Return true if the name belongs to the router: it begins with "wamp." (WAMP, "URIs"). */
extern bool uri_is_reserved(const char *text, size_t len);

/* Return true if the pattern matches the URI. */
extern bool
uri_matches(UriMatch match, const char *pattern, size_t pattern_len, const char *uri, size_t len);

/* Return the id of a subscription: 1 to 2^53, the same in all processes. */
extern uint64_t uri_id(UriMatch match, const char *pattern, size_t len);

#endif /* PG_NOTIFYD_URI_H */
