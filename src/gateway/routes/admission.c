/*-------------------------------------------------------------------------
 *
 * admission.c
 *	  Decides which requests are accepted.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/admission.h"

#include <stdio.h>
#include <string.h>

#include "gateway/routes/credential.h"
#include "gateway/routes/origin.h"
#include "gateway/base/text.h"

/* Always returns false, for use in a return statement. */
static bool
admission_refuse(HttpResponse *response, int status, WireRefusal refusal, const char *reason)
{
	http_response_text(response, status, "%s", reason);
	response->refusal = refusal;
	return false;
}

static Limit
admission_handshakes(const Config *config)
{
	return (Limit){.count = config->max_handshakes, .period_ms = 1000};
}

static Limit
admission_failed_tokens(const Config *config)
{
	return (Limit){.count = config->max_failed_tokens, .period_ms = 60000};
}

void
admission_token_refused(Limiter *limiter, const uint8_t *address, const Config *config)
{
	limiter_count(limiter, address, LIMITER_FAILED_TOKENS, admission_failed_tokens(config));
}

uint64_t
admission_token_wait(const Limiter *limiter, const uint8_t *address, const Config *config)
{
	return limiter_wait(limiter, address, LIMITER_FAILED_TOKENS, admission_failed_tokens(config));
}

/* Refuse a request that may succeed after this time. */
static bool
admission_wait(HttpResponse *response, WireRefusal refusal, uint64_t wait_ms, const char *reason)
{
	char seconds[24];

	snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long) (wait_ms + 999) / 1000);
	(void) admission_refuse(response, 429, refusal, reason);
	(void) http_response_header(response, "Retry-After", seconds);
	return false;
}

/* A token that is malformed is a refused one. */
static bool
admission_token_rate(const HttpRequest *request, Limiter *limiter, const uint8_t *address,
					 const Config *config, HttpResponse *response)
{
	uint64_t wait = admission_token_wait(limiter, address, config);
	HttpSlice token;
	const char *wrong = credential_find(request, &token);

	if (wait > 0 && (wrong != NULL || token.data != NULL))
		return admission_wait(response, WIRE_REFUSED_FAILED_TOKENS_PER_ADDRESS, wait,
							  "too many tokens from this address were refused");
	if (wrong != NULL)
		admission_token_refused(limiter, address, config);
	return true;
}

bool
admission_rate(const HttpRequest *request, bool client, Limiter *limiter, const uint8_t *address,
			   const Config *config, HttpResponse *response)
{
	Limit handshakes = admission_handshakes(config);
	uint64_t wait;

	if (config->max_failed_tokens > 0 &&
		!admission_token_rate(request, limiter, address, config, response))
		return false;
	if (!client)
		return true;
	wait = limiter_wait(limiter, address, LIMITER_HANDSHAKES, handshakes);
	if (wait > 0)
		return admission_wait(response, WIRE_REFUSED_HANDSHAKES_PER_ADDRESS, wait,
							  "too many new clients from this address");
	limiter_count(limiter, address, LIMITER_HANDSHAKES, handshakes);
	return true;
}

bool
admission_host(const HttpRequest *request, const Config *config, HttpResponse *response)
{
	HttpSlice host = http_request_header(request, "host");

	if (host.data == NULL)
		return !request->http11 ||
			   admission_refuse(response, 400, WIRE_REFUSED_HOST, "the header Host is missing");
	if (!origin_host_allowed(host.data, host.len, config->listen_addresses, config->origins))
		return admission_refuse(response, 403, WIRE_REFUSED_HOST,
								"this host name is not one of ours");
	return true;
}

bool
admission_origin(const HttpRequest *request, const Config *config, HttpResponse *response)
{
	HttpSlice origin = http_request_header(request, "origin");
	HttpSlice host = http_request_header(request, "host");

	if (origin.data != NULL && !origin_allowed(origin.data, origin.len, config->origins) &&
		!(host.data != NULL && origin_is_host(origin.data, origin.len, host.data, host.len)))
		return admission_refuse(response, 403, WIRE_REFUSED_ORIGIN,
								"pages of this origin are not allowed");
	return true;
}

/* Refuse what a WebSocket client learns by a close code. */
static bool
admission_close(HttpResponse *response, int status, WireRefusal refusal, Admission *admission,
				uint16_t code, const char *reason)
{
	admission->close_code = code;
	admission->close_reason = reason;
	return admission_refuse(response, status, refusal, reason);
}

bool
admission_identity(const HttpRequest *request, const Config *config, HttpResponse *response)
{
	HttpSlice token;
	const char *wrong = credential_find(request, &token);

	if (wrong == NULL && (config->anonymous || token.data != NULL))
		return true;
	(void) admission_refuse(response, 401, WIRE_REFUSED_TOKEN,
							wrong != NULL ? wrong : "authentication is required");
	(void) http_response_header(response, "WWW-Authenticate", "Bearer");
	return false;
}

static bool
admission_authenticate(const HttpRequest *request, const Config *config, Admission *admission,
					   HttpResponse *response)
{
	const char *wrong = credential_find(request, &admission->token);

	admission->anonymous = config->anonymous;
	if (wrong == NULL)
		return true;
	(void) admission_close(response, 401, WIRE_REFUSED_TOKEN, admission, SESSION_CLOSE_NO_IDENTITY,
						   wrong);
	(void) http_response_header(response, "WWW-Authenticate", "Bearer");
	return false;
}

bool
admission_database(const HttpRequest *request, HttpSlice *name, HttpResponse *response)
{
	const HttpParameter *parameter = http_request_parameter(request, "database", NULL);

	*name = (HttpSlice){0};
	if (parameter == NULL)
		return true;
	if (parameter->malformed || parameter->value.len == 0 ||
		memchr(parameter->value.data, '\0', parameter->value.len) != NULL ||
		!text_utf8_valid(parameter->value.data, parameter->value.len))
		return admission_refuse(response, 400, WIRE_REFUSED_REQUEST,
								"malformed parameter \"database\"");
	*name = parameter->value;
	return true;
}

/* Refuse a request that may succeed soon. */
static bool
admission_later(HttpResponse *response, WireRefusal refusal, const char *reason)
{
	(void) admission_refuse(response, 503, refusal, reason);
	(void) http_response_header(response, "Retry-After", ADMISSION_RETRY_AFTER);
	return false;
}

/* What all clients need. Finds the database, if it is known. */
static bool
admission_any(const HttpRequest *request, Crowd others, const Config *config, Hub *hub,
			  Admission *admission, HttpResponse *response)
{
	HttpSlice name;

	*admission = (Admission){0};
	if (!admission_origin(request, config, response))
		return false;
	if (!admission_database(request, &name, response))
		return false;
	if (others.all >= config->max_clients)
		return admission_later(response, WIRE_REFUSED_CLIENTS, "too many clients");
	if (config->max_per_address > 0 && others.here >= config->max_per_address)
		return admission_later(response, WIRE_REFUSED_CLIENTS_PER_ADDRESS,
							   "too many clients from this address");
	if (!admission_authenticate(request, config, admission, response))
		return false;
	if (name.data == NULL)
		name = (HttpSlice){.data = config->database, .len = strlen(config->database)};
	admission->name = name.data;
	admission->name_len = name.len;
	admission->database = hub_find(hub, name.data, name.len);
	return true;
}

Crowd
admission_crowd(const Sessions *sessions, const HttpServer *server,
				const HttpConnection *connection, bool kept)
{
	/* Streams of server-sent events are kept connections too. */
	uint32_t websockets = sessions->count - sessions->counts[SESSION_SSE];

	return (Crowd){.all = websockets + server->count_kept - kept,
				   .here = http_from(connection)->nclients - kept};
}

bool
admission_client(const HttpRequest *request, Crowd others, const Config *config, Hub *hub,
				 Admission *admission, HttpResponse *response)
{
	if (!admission_any(request, others, config, hub, admission, response))
		return false;
	if (!hub_serves(hub, admission->database, &admission->later))
	{
		(void) admission_close(response, 503, WIRE_REFUSED_DATABASE, admission,
							   SESSION_CLOSE_NOT_SERVED, "this database is not served at present");
		(void) http_response_header(response, "Retry-After", ADMISSION_RETRY_AFTER);
		return false;
	}
	return true;
}

bool
admission_outside(const HttpRequest *request, Crowd others, const Config *config, Hub *hub,
				  Admission *admission, HttpResponse *response)
{
	bool admitted = admission_any(request, others, config, hub, admission, response);

	admission->database = NULL;
	return admitted;
}

bool
admission_query(const HttpRequest *request, Crowd others, const Config *config, Hub *hub,
				Admission *admission, HttpResponse *response)
{
	if (!admission_any(request, others, config, hub, admission, response))
		return false;
	if (admission->database != NULL)
		return true;
	/* That the default one is not served is no mistake of the client. */
	if (hub_looking(hub) || admission->name == config->database)
		return admission_later(response, WIRE_REFUSED_DATABASE,
							   "this database is not served at present");
	return admission_refuse(response, 404, WIRE_REFUSED_DATABASE,
							"there is no such database, or it is not served");
}
