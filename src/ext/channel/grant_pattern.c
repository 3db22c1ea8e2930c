/*-------------------------------------------------------------------------
 *
 * grant_pattern.c
 *	  Names of grants that stand for many channels or procedures. See grant_pattern.h.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/channel/grant_pattern.h"

#include <string.h>

/* What the parts of a name are. */
typedef struct NameParts
{
	int n;
	int empty;
	int stars;      /* parts that are a star */
	bool last_star; /* the last one is */
} NameParts;

/* Return the length of the part that begins here. */
static size_t
name_part(const char *text, size_t len)
{
	const char *dot = memchr(text, '.', len);

	return dot != NULL ? (size_t) (dot - text) : len;
}

static NameParts
name_parts(const char *text, size_t len)
{
	NameParts parts = {.n = 0};

	for (;;)
	{
		size_t part = name_part(text, len);

		parts.n++;
		parts.empty += part == 0;
		parts.last_star = part == 1 && *text == '*';
		parts.stars += parts.last_star;
		if (part == len)
			return parts;
		text += part + 1;
		len -= part + 1;
	}
}

const char *
grant_pattern_read(const char *name, GrantPattern *pattern)
{
	size_t len = strlen(name);
	NameParts parts = name_parts(name, len);

	*pattern = (GrantPattern){.match = URI_EXACT, .text = name, .len = len};
	if (parts.last_star)
	{
		pattern->match = URI_PREFIX;
		pattern->len--;
	}
	else if (parts.empty > 0)
		pattern->match = URI_WILDCARD;
	if (parts.stars > parts.last_star)
		return "A star can only be the last part, where it stands for the rest of a name. An empty "
			   "part stands for any part.";
	if (parts.last_star && parts.empty > 0)
		return "A pattern has either empty parts or a star at its end.";
	return NULL;
}

bool
grant_pattern_matches(const GrantPattern *pattern, const char *name, size_t len)
{
	if (uri_is_reserved(name, len) && !uri_is_reserved(pattern->text, pattern->len))
		return false;
	return uri_matches(pattern->match, pattern->text, pattern->len, name, len);
}

/* Return the order of the kinds. */
static int
pattern_rank(UriMatch match)
{
	switch (match)
	{
		case URI_EXACT:
			return 0;
		case URI_WILDCARD:
			return 1;
		case URI_PREFIX:
			return 2;
	}
	return 3;
}

/* Compare the first parts of which only one is empty: that one is last. */
static int
pattern_compare_parts(const GrantPattern *a, const GrantPattern *b)
{
	const char *a_text = a->text;
	const char *b_text = b->text;
	size_t a_len = a->len;
	size_t b_len = b->len;

	for (;;)
	{
		size_t a_part = name_part(a_text, a_len);
		size_t b_part = name_part(b_text, b_len);

		if ((a_part == 0) != (b_part == 0))
			return a_part == 0 ? 1 : -1;
		if (a_part == a_len || b_part == b_len)
			return 0;
		a_text += a_part + 1;
		a_len -= a_part + 1;
		b_text += b_part + 1;
		b_len -= b_part + 1;
	}
}

int
grant_pattern_compare(const GrantPattern *a, const GrantPattern *b)
{
	int result = pattern_rank(a->match) - pattern_rank(b->match);

	if (result == 0 && a->match == URI_WILDCARD)
	{
		result = name_parts(a->text, a->len).empty - name_parts(b->text, b->len).empty;
		if (result == 0)
			result = pattern_compare_parts(a, b);
	}
	if (result == 0 && a->len != b->len)
		result = a->len > b->len ? -1 : 1;
	return result != 0 ? result : memcmp(a->text, b->text, a->len);
}
