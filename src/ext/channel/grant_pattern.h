/*-------------------------------------------------------------------------
 *
 * grant_pattern.h
 *	  Names of grants that stand for many channels or procedures.
 *
 *	  com.shop.*	a prefix: names that begin with "com.shop.". "*" stands for all names
 *	  com..orders	a wildcard: an empty part stands for any part
 *
 * Names that begin with "wamp." belong to the router, which ends sessions and tells who they are by
 * them. So only patterns that begin with it, too, stand for them.
 *
 * This file and grant_pattern.c do not depend on PostgreSQL, so they can be tested alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GRANT_PATTERN_H
#define PG_NOTIFYD_GRANT_PATTERN_H

#include "wire/uri.h"

typedef struct GrantPattern
{
	UriMatch match;
	const char *text; /* a part of the name: a prefix without its star */
	size_t len;
} GrantPattern;

/*
 * Read the name of a grant. A name that is no pattern has the match URI_EXACT. Returns NULL, or a
 * sentence that says why the name looks like a pattern but is none.
 */
extern const char *
grant_pattern_read(const char *name, GrantPattern *pattern) __attribute__((warn_unused_result));

extern bool grant_pattern_matches(const GrantPattern *pattern, const char *name, size_t len);

/*
 * Compare two patterns like qsort(): the more specific one is first. An exact name is before
 * wildcards, and these are before prefixes. A wildcard with fewer empty parts is first, and then the
 * one whose leftmost part that only one of them has is not empty. A longer prefix is first.
 * Different patterns that match the same name are never equal.
 */
extern int grant_pattern_compare(const GrantPattern *a, const GrantPattern *b);

#endif /* PG_NOTIFYD_GRANT_PATTERN_H */
