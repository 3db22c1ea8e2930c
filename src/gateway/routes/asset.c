/*-------------------------------------------------------------------------
 *
 * asset.c
 *	  The files that the gateway serves from its own program.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/asset.h"

#include <stdio.h>

/* Return true if the client has the file. A proxy that compresses responses makes the tag weak. */
static bool
asset_known(const Asset *asset, const HttpRequest *request)
{
	static const char name[] = "if-none-match";
	char weak[64];

	snprintf(weak, sizeof(weak), "W/%s", asset->etag);
	return http_request_header_has(request, name, asset->etag, false) ||
		   http_request_header_has(request, name, weak, false) ||
		   http_request_header_has(request, name, "*", false);
}

void
asset_response(const Asset *asset, const HttpRequest *request, HttpResponse *response)
{
	http_response_bytes(response, asset_known(asset, request) ? 304 : 200, asset->content_type,
						asset->data, asset->len);
	response->cache_control = "no-cache";
	(void) http_response_header(response, "ETag", asset->etag);
	if (asset->policy != NULL)
		(void) http_response_header(response, "Content-Security-Policy", asset->policy);
}
