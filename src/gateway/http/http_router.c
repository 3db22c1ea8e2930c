/*-------------------------------------------------------------------------
 *
 * http_router.c
 *	  Finds the handler of a request.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/http/http_router.h"

#include <stdio.h>
#include <string.h>

#include "gateway/base/text.h"

#define HTTP_ROUTER_ANY "**"

/* Return the path segment after the slash at *p, and advance *p to its end. */
static HttpSlice
http_router_segment(const char **p, const char *end)
{
	const char *start = *p + 1;
	const char *slash = memchr(start, '/', (size_t) (end - start));

	*p = slash != NULL ? slash : end;
	return (HttpSlice){.data = start, .len = (size_t) (*p - start)};
}

/*
 * Return true if the path has the pattern's segments. Literal segments are compared undecoded, so
 * that each path has only one spelling.
 */
static bool
http_router_matches(const char *pattern, HttpSlice path, HttpSlice *captures)
{
	const char *pattern_end = pattern + strlen(pattern);
	const char *end = path.data + path.len;
	const char *p = path.data;
	size_t n = 0;

	while (pattern < pattern_end && p < end)
	{
		HttpSlice wanted = http_router_segment(&pattern, pattern_end);
		HttpSlice segment = http_router_segment(&p, end);

		if (http_slice_is(wanted, "*") && segment.len > 0 && n < HTTP_MAX_CAPTURES)
			captures[n++] = segment;
		else if (segment.len != wanted.len || memcmp(segment.data, wanted.data, wanted.len) != 0)
			return false;
	}
	return pattern == pattern_end && p == end;
}

static bool
http_router_has(const HttpRoute *route, HttpSlice path, HttpSlice *captures, void *arg)
{
	return route->has != NULL ? route->has(path, arg)
							  : http_router_matches(route->path, path, captures);
}

/* Decode the captures. Returns false if one is malformed, or if they are too long. */
static bool
http_router_decode(const HttpSlice *captures, HttpRequest *request)
{
	size_t used = 0;

	for (size_t i = 0; i < HTTP_MAX_CAPTURES && captures[i].data != NULL; i++)
	{
		HttpSlice *decoded = &request->captures[i];

		if (captures[i].len > sizeof(request->captured) - used)
			return false;
		decoded->data = request->captured + used;
		if (!text_percent_decode(captures[i].data, captures[i].len, request->captured + used,
								 &decoded->len))
			return false;
		used += decoded->len;
	}
	return true;
}

HttpMatch
http_router_find(const HttpRoute *routes, size_t count, HttpRequest *request, void *arg)
{
	HttpMatch match = {0};
	bool known = false; /* a route without "**" has the path */

	for (size_t i = 0; i < count; i++)
	{
		HttpSlice captures[HTTP_MAX_CAPTURES] = {{0}};

		bool any = routes[i].has == NULL && strcmp(routes[i].path, HTTP_ROUTER_ANY) == 0;

		if (any ? known : !http_router_has(&routes[i], request->path, captures, arg))
			continue;
		known |= !any;
		match.allowed |= routes[i].methods;
		match.api = routes[i].api;
		if ((routes[i].methods & request->method) == 0)
			continue;
		if (!http_router_decode(captures, request))
			return (HttpMatch){0};
		match.route = &routes[i];
		break;
	}
	if (match.api)
		match.allowed |= HTTP_OPTIONS;
	return match;
}

void
http_router_methods(unsigned methods, char *text)
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < HTTP_METHODS; i++)
		if ((methods & 1u << i) != 0)
			len += (size_t) snprintf(text + len, HTTP_ROUTER_METHODS - len, "%s%s",
									 len > 0 ? ", " : "", http_method_names[i]);
}
