/*-------------------------------------------------------------------------
 *
 * cors.h
 *	  Lets pages of allowed origins use the API (the Fetch standard's CORS protocol).
 *
 * A browser keeps a page of another origin from reading a response that does not name the page's
 * origin. Before most requests it asks by an OPTIONS request, a preflight, which methods and headers
 * are allowed. Cookies are never used, so credentials are not mentioned.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_CORS_H
#define GATEWAY_CORS_H

#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"

#define CORS_MAX_AGE 7200 /* seconds for which a browser may keep the answer to a preflight */

/*
 * Add the headers to a response of the API. allowed are the methods of the request's path, origins
 * those whose pages are allowed.
 */
extern void cors_complete(const HttpRequest *request, unsigned allowed, const char *origins,
						  HttpResponse *response);

#endif /* GATEWAY_CORS_H */
