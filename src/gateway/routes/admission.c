/*-------------------------------------------------------------------------
 *
 * admission.c
 *	  Decides which requests are accepted.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/admission.h"

#include <string.h>

#include "gateway/routes/credential.h"
#include "gateway/routes/origin.h"
#include "gateway/base/text.h"

/* Always returns false, for use in a return statement. */
static bool
admission_refuse(HttpResponse *response, int status, const char *reason)
{
	http_response_text(response, status, "%s", reason);
	return false;
}

bool
admission_host(const HttpRequest *request, const Config *config, HttpResponse *response)
{
	HttpSlice host = http_request_header(request, "host");

	if (host.data == NULL)
		return request->http11 ? admission_refuse(response, 400, "the header Host is missing")
							   : true;
	if (!origin_host_allowed(host.data, host.len, config->listen_addresses, config->origins))
		return admission_refuse(response, 403, "this host name is not one of ours");
	return true;
}

bool
admission_origin(const HttpRequest *request, const Config *config, HttpResponse *response)
{
	HttpSlice origin = http_request_header(request, "origin");

	if (origin.data != NULL && !origin_allowed(origin.data, origin.len, config->origins))
		return admission_refuse(response, 403, "pages of this origin are not allowed");
	return true;
}

/* Refuse what a WebSocket client learns by a close code. */
static bool
admission_close(HttpResponse *response, int status, Admission *admission, uint16_t code,
				const char *reason)
{
	admission->close_code = code;
	admission->close_reason = reason;
	return admission_refuse(response, status, reason);
}

bool
admission_identity(const HttpRequest *request, const Config *config, HttpResponse *response)
{
	HttpSlice token;
	const char *wrong = credential_find(request, &token);

	if (wrong == NULL && (config->anonymous || token.data != NULL))
		return true;
	(void) admission_refuse(response, 401, wrong != NULL ? wrong : "authentication is required");
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
	(void) admission_close(response, 401, admission, SESSION_CLOSE_NO_IDENTITY, wrong);
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
		return admission_refuse(response, 400, "malformed parameter \"database\"");
	*name = parameter->value;
	return true;
}

/* Refuse a request that may succeed soon. */
static bool
admission_later(HttpResponse *response, const char *reason)
{
	(void) admission_refuse(response, 503, reason);
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
		return admission_later(response, "too many clients");
	if (config->max_per_address > 0 && others.here >= config->max_per_address)
		return admission_later(response, "too many clients from this address");
	if (!admission_authenticate(request, config, admission, response))
		return false;
	if (name.data == NULL)
		name = (HttpSlice){.data = config->database, .len = strlen(config->database)};
	admission->name = name.data;
	admission->name_len = name.len;
	admission->database = hub_find(hub, name.data, name.len);
	return true;
}

bool
admission_client(const HttpRequest *request, Crowd others, const Config *config, Hub *hub,
				 Admission *admission, HttpResponse *response)
{
	if (!admission_any(request, others, config, hub, admission, response))
		return false;
	if (admission->database == NULL ||
		(admission->database->link == NULL && !admission->database->asleep))
	{
		admission->later = hub_looking(hub);
		return admission_close(response, 503, admission, SESSION_CLOSE_NOT_SERVED,
							   "this database is not served at present");
	}
	return true;
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
		return admission_later(response, "this database is not served at present");
	return admission_refuse(response, 404, "there is no such database, or it is not served");
}
