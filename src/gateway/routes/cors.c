/*-------------------------------------------------------------------------
 *
 * cors.c
 *	  Lets pages of allowed origins use the API.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/cors.h"

#include <stdio.h>

#include "gateway/http/http_router.h"
#include "gateway/routes/origin.h"

/* Maximum bytes of an origin or a list of headers. */
#define CORS_TEXT 1024

/* The headers of responses that pages may read, besides those that they always may. */
#define CORS_EXPOSED                                                                               \
	"Location, ETag, Content-Range, Content-Location, Preference-Applied, Retry-After, "           \
	"WWW-Authenticate"

/* Add a header with a value from the request. */
static void
cors_echo(HttpResponse *response, const char *name, HttpSlice value)
{
	char text[CORS_TEXT];

	if (value.len >= sizeof(text))
		return;
	snprintf(text, sizeof(text), "%.*s", (int) value.len, value.data);
	(void) http_response_header(response, name, text);
}

/* The answer to a preflight. The page names the headers that it wants to send. */
static void
cors_preflight(HttpSlice wanted, unsigned allowed, HttpResponse *response)
{
	char methods[HTTP_ROUTER_METHODS];
	char age[16];

	http_router_methods(allowed, methods);
	snprintf(age, sizeof(age), "%d", CORS_MAX_AGE);
	(void) http_response_header(response, "Access-Control-Allow-Methods", methods);
	if (wanted.data != NULL)
		cors_echo(response, "Access-Control-Allow-Headers", wanted);
	(void) http_response_header(response, "Access-Control-Max-Age", age);
}

void
cors_complete(const HttpRequest *request, unsigned allowed, const char *origins,
			  HttpResponse *response)
{
	HttpSlice origin = http_request_header(request, "origin");

	/* Also without an origin: a cache must not give that response to a page. */
	(void) http_response_header(response, "Vary", "Origin");
	if (origin.data == NULL || !origin_allowed(origin.data, origin.len, origins))
		return;
	cors_echo(response, "Access-Control-Allow-Origin", origin);
	if (request->method == HTTP_OPTIONS &&
		http_request_header(request, "access-control-request-method").data != NULL)
		cors_preflight(http_request_header(request, "access-control-request-headers"), allowed,
					   response);
	else
		(void) http_response_header(response, "Access-Control-Expose-Headers", CORS_EXPOSED);
}
