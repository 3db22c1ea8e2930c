/*-------------------------------------------------------------------------
 *
 * admission.c
 *	  What becomes of an HTTP request.
 *
 *-------------------------------------------------------------------------
 */
#include "admission.h"

#include <stdio.h>
#include <string.h>

#include "health.h"
#include "origin.h"
#include "text.h"

static const struct
{
	int status;
	const char *phrase;
} admission_phrases[] = {
	{200, "OK"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{426, "Upgrade Required"},
	{431, "Request Header Fields Too Large"},
	{503, "Service Unavailable"},
};

void
admission_refuse(Admission *admission, int status, const char *reason)
{
	*admission = (Admission){.status = status, .headers = ""};
	snprintf(admission->reason, sizeof(admission->reason), "%s", reason);
}

/* The same, with headers; always false, to be returned. */
static bool
admission_reject(Admission *admission, int status, const char *headers, const char *reason)
{
	admission_refuse(admission, status, reason);
	admission->headers = headers;
	return false;
}

/* RFC 6455, 4.2.1. */
static bool
admission_websocket(const HttpHead *head, Admission *admission)
{
	static const char version[] = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

	if (!head->http11)
		return admission_reject(admission, 400, "", "a WebSocket needs HTTP/1.1");
	if (head->upgrade.data == NULL)
		return admission_reject(admission, 426, version, "this is a WebSocket endpoint");
	if (!text_equal_nocase(head->upgrade.data, head->upgrade.len, "websocket"))
		return admission_reject(admission, 400, "", "only an upgrade to websocket is supported");
	if (!head->connection_upgrade)
		return admission_reject(admission, 400, "", "the header \"Connection: Upgrade\" is missing");
	if (!http_slice_is(head->version, "13"))
		return admission_reject(admission, 426, version, "only version 13 of WebSocket is supported");
	if (!http_websocket_key_valid(head->key))
		return admission_reject(admission, 400, "", "Sec-WebSocket-Key must be 16 bytes in base64");
	return true;
}

static bool
admission_host(const HttpHead *head, const Config *config, Admission *admission)
{
	if (head->host.data == NULL)
		return head->http11 ? admission_reject(admission, 400, "", "the header Host is missing") : true;
	if (!origin_host_allowed(head->host.data, head->host.len, config->listen_addresses, config->origins))
		return admission_reject(admission, 403, "", "this host name is not one of ours");
	return true;
}

/* Who is it? Without tokens there are only anonymous clients, who are let in or not. */
static bool
admission_authenticate(const Config *config, Admission *admission)
{
	if (!config->anonymous)
		return admission_reject(admission, 401, "WWW-Authenticate: Bearer\r\n",
								"anonymous clients are not let in");
	admission->anonymous = true;
	return true;
}

/*
 * The parameter "database", decoded, into name (which has HTTP_HEAD_MAX bytes); *len is 0
 * where there is none.
 */
static bool
admission_database(const HttpHead *head, char *name, size_t *len, Admission *admission)
{
	HttpSlice value = http_query_parameter(head->query, "database");

	*len = 0;
	if (value.data == NULL)
		return true;
	if (!text_percent_decode(value.data, value.len, name, len) || *len == 0 ||
		memchr(name, '\0', *len) != NULL || !text_utf8_valid(name, *len))
		return admission_reject(admission, 400, "", "malformed parameter \"database\"");
	return true;
}

static void
admission_health(const HttpHead *head, Hub *hub, Admission *admission)
{
	char name[HTTP_HEAD_MAX];
	char reason[sizeof(admission->reason)] = "ok";
	size_t len;
	bool healthy;

	if (!admission_database(head, name, &len, admission))
		return;
	healthy = health_check(hub, len > 0 ? name : NULL, len, hub->sessions->io->now(), reason, sizeof(reason));
	admission_refuse(admission, healthy ? 200 : 503, reason);
}

static void
admission_connect(const HttpHead *head, const Address *from, const Config *config, Hub *hub,
				  const Sessions *sessions, Admission *admission)
{
	char name[HTTP_HEAD_MAX];
	size_t len;

	if (!admission_websocket(head, admission))
		return;
	if (head->origin.data != NULL && !origin_allowed(head->origin.data, head->origin.len, config->origins))
	{
		admission_refuse(admission, 403, "pages of this origin are not let in");
		return;
	}
	if (!admission_authenticate(config, admission) || !admission_database(head, name, &len, admission))
		return;
	admission->database =
		len > 0 ? hub_find(hub, name, len) : hub_find(hub, config->database, strlen(config->database));
	if (admission->database == NULL || (admission->database->link == NULL && !admission->database->asleep))
		admission_refuse(admission, 503, "this database is not served at present");
	else if (sessions->count >= config->max_clients)
		admission_refuse(admission, 503, "too many clients");
	else if (config->max_per_address > 0 && from->nclients >= config->max_per_address)
		admission_refuse(admission, 503, "too many clients from this address");
	else
		admission->status = ADMISSION_UPGRADE;
}

void
admission_decide(const HttpHead *head, const Address *from, const Config *config, Hub *hub,
				 const Sessions *sessions, Admission *admission)
{
	bool health = http_slice_is(head->path, "/healthz");

	*admission = (Admission){.headers = ""};
	if (!health && !http_slice_is(head->path, "/ws"))
		admission_refuse(admission, 404, "there are /ws and /healthz");
	else if (!http_slice_is(head->method, "GET"))
		(void) admission_reject(admission, 405, "Allow: GET\r\n", "only GET is supported");
	else if (!admission_host(head, config, admission))
		return;
	else if (health)
		admission_health(head, hub, admission);
	else
		admission_connect(head, from, config, hub, sessions, admission);
}

size_t
admission_answer(const Admission *admission, char *buf, size_t size)
{
	const char *phrase = "";
	int len;

	for (size_t i = 0; i < sizeof(admission_phrases) / sizeof(admission_phrases[0]); i++)
		if (admission_phrases[i].status == admission->status)
			phrase = admission_phrases[i].phrase;
	len = snprintf(buf, size,
				   "HTTP/1.1 %d %s\r\n"
				   "Content-Type: text/plain; charset=utf-8\r\n"
				   "Content-Length: %zu\r\n"
				   "Cache-Control: no-store\r\n"
				   "X-Content-Type-Options: nosniff\r\n"
				   "%s"
				   "Connection: close\r\n"
				   "\r\n"
				   "%s\n",
				   admission->status, phrase, strlen(admission->reason) + 1, admission->headers,
				   admission->reason);
	return (size_t) len < size ? (size_t) len : size - 1;
}
