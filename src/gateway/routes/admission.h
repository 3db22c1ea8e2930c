/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  Decides which requests are accepted. No other file does.
 *
 * Each function returns false if the request is refused, and the response contains the reason. This
 * module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ADMISSION_H
#define GATEWAY_ADMISSION_H

#include <stdbool.h>

#include "gateway/base/config.h"
#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"
#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/session/session.h"
#include "gateway/net/limiter.h"

/* A client that is accepted. */
typedef struct Admission
{
	Database *database;
	const char *name; /* of the database, valid as long as the request */
	size_t name_len;
	HttpSlice token; /* that it presents; data is NULL: none */
	bool anonymous;  /* it needs none */
	bool later;      /* refused, because the database is not served; that may change soon */
	/*
	 * Refused, and a WebSocket client learns it by this close code and reason instead of the
	 * response, since browsers hide the responses to handshakes from their pages. 0: no.
	 */
	uint16_t close_code;
	const char *close_reason;
} Admission;

/*
 * Check that an address (Address.key) has not too many new clients, of which this request is one if
 * client is true, or too many refused tokens, if this request presents another one. Called once for each request.
 */
extern bool admission_rate(const HttpRequest *request, bool client, Limiter *limiter,
						   const uint8_t *address, const Config *config, HttpResponse *response);

/* Count a refused token of an address. */
extern void admission_token_refused(Limiter *limiter, const uint8_t *address, const Config *config);

/* Return the time until tokens of an address may be verified again, in milliseconds; 0: now. */
extern uint64_t
admission_token_wait(const Limiter *limiter, const uint8_t *address, const Config *config);

/* Check that any request uses one of our host names. */
extern bool
admission_host(const HttpRequest *request, const Config *config, HttpResponse *response);

/* Check that a request of a web page comes from an allowed origin, or from a page of this server. */
extern bool
admission_origin(const HttpRequest *request, const Config *config, HttpResponse *response);

/* Check that a request presents a token that is not malformed, or needs none. */
extern bool
admission_identity(const HttpRequest *request, const Config *config, HttpResponse *response);

/* Get the parameter "database". name->data is NULL if there is none. */
extern bool admission_database(const HttpRequest *request, HttpSlice *name, HttpResponse *response);

/* The value of Retry-After where a request may succeed soon. */
#define ADMISSION_RETRY_AFTER "1"

/* How many clients there are without this one: all, and those from its address. */
typedef struct Crowd
{
	uint32_t all;
	uint32_t here;
} Crowd;

/*
 * Count the clients besides this connection, which itself counts as one if it is kept. The
 * connections of streams are sessions, and the HTTP server keeps them.
 */
extern Crowd admission_crowd(const Sessions *sessions, const HttpServer *server,
							 const HttpConnection *connection, bool kept);

/*
 * A client that stays connected. The feed verifies its token later. A client without a token is let
 * in even if it needs one: it has a few seconds to send it.
 */
extern bool admission_client(const HttpRequest *request, Crowd others, const Config *config,
							 Hub *hub, Admission *admission, HttpResponse *response);

/* The same for a client that chooses its database later. admission->database is NULL. */
extern bool admission_outside(const HttpRequest *request, Crowd others, const Config *config,
							  Hub *hub, Admission *admission, HttpResponse *response);

/*
 * A request for a query, after admission_identity(). The worker verifies its token later. The database must be known; it needs
 * no feed.
 */
extern bool admission_query(const HttpRequest *request, Crowd others, const Config *config,
							Hub *hub, Admission *admission, HttpResponse *response);

#endif /* GATEWAY_ADMISSION_H */
