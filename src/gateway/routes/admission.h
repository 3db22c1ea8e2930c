/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  Which requests are let in: the one place that decides so.
 *
 * Each function returns false where a request is refused, and the response says why. This
 * module has neither socket nor clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include <stdbool.h>

#include "gateway/base/config.h"
#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"
#include "gateway/hub/hub.h"
#include "gateway/session/session.h"

/* What is let in as a client. */
typedef struct Admission
{
	Database *database;
	const char *name; /* of the database, as long as the request is there */
	size_t name_len;
	bool anonymous; /* it came without a token */
	bool later;     /* refused, because the database is not served; that may change soon */
} Admission;

/* Any request: does it come to one of our names? */
extern bool
admission_host(const HttpRequest *request, const Config *config, HttpResponse *response);

/* The parameter "database", which is a name; name->data is NULL where there is none. */
extern bool admission_database(const HttpRequest *request, HttpSlice *name, HttpResponse *response);

/*
 * A client from an address that has so many others. The order of the checks is what a client that fails several is told:
 * from where it comes, who it is, and only then what we can do at present.
 */
extern bool
admission_client(const HttpRequest *request, uint32_t others, const Config *config, Hub *hub,
				 const Sessions *sessions, Admission *admission, HttpResponse *response);

#endif /* GATEWAY_ADMISSION_H */
