/*-------------------------------------------------------------------------
 *
 * uri.c
 *	  URIs of topics and procedures, and patterns of them. See uri.h.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/uri.h"

#include <string.h>

static const char *const uri_names[] = {
	[URI_EXACT] = "exact",
	[URI_PREFIX] = "prefix",
	[URI_WILDCARD] = "wildcard",
};

#define URI_MATCHES (sizeof(uri_names) / sizeof(uri_names[0]))

const char *
uri_match_name(UriMatch match)
{
	return uri_names[match];
}

bool
uri_match_parse(const char *name, size_t len, UriMatch *match)
{
	for (size_t i = 0; i < URI_MATCHES; i++)
	{
		if (len != strlen(uri_names[i]) || memcmp(name, uri_names[i], len) != 0)
			continue;
		*match = (UriMatch) i;
		return true;
	}
	return false;
}

bool
uri_is_valid(UriMatch match, const char *text, size_t len)
{
	bool part = false; /* the present part has characters */

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c <= ' ' || c == 0x7f || c == '#')
			return false;
		if (c == '.' && !part && match != URI_WILDCARD)
			return false;
		part = c != '.';
	}
	return part || match != URI_EXACT;
}

bool
uri_is_reserved(const char *text, size_t len)
{
	static const char prefix[] = "wamp.";

	return uri_matches(URI_PREFIX, prefix, sizeof(prefix) - 1, text, len);
}

/* Return the length of the part that begins here. */
static size_t
uri_part(const char *text, size_t len)
{
	const char *dot = memchr(text, '.', len);

	return dot != NULL ? (size_t) (dot - text) : len;
}

static bool
uri_matches_parts(const char *pattern, size_t pattern_len, const char *uri, size_t len)
{
	for (;;)
	{
		size_t wanted = uri_part(pattern, pattern_len);
		size_t part = uri_part(uri, len);

		if (wanted > 0 && (wanted != part || memcmp(pattern, uri, part) != 0))
			return false;
		if (wanted == pattern_len || part == len)
			return wanted == pattern_len && part == len;
		pattern += wanted + 1;
		pattern_len -= wanted + 1;
		uri += part + 1;
		len -= part + 1;
	}
}

bool
uri_matches(UriMatch match, const char *pattern, size_t pattern_len, const char *uri, size_t len)
{
	switch (match)
	{
		case URI_EXACT:
			return pattern_len == len && memcmp(pattern, uri, len) == 0;
		case URI_PREFIX:
			return pattern_len <= len && memcmp(pattern, uri, pattern_len) == 0;
		case URI_WILDCARD:
			return uri_matches_parts(pattern, pattern_len, uri, len);
	}
	return false;
}

/* FNV-1a, and the last step of MurmurHash3, so that all bits depend on all bytes. */
uint64_t
uri_id(UriMatch match, const char *pattern, size_t len)
{
	uint64_t hash = (UINT64_C(0xcbf29ce484222325) ^ (uint64_t) match) * UINT64_C(0x100000001b3);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) pattern[i]) * UINT64_C(0x100000001b3);
	hash ^= hash >> 33;
	hash *= UINT64_C(0xff51afd7ed558ccd);
	hash ^= hash >> 33;
	hash *= UINT64_C(0xc4ceb9fe1a85ec53);
	hash ^= hash >> 33;
	return hash % URI_MAX_ID + 1;
}
