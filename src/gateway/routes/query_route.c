/*-------------------------------------------------------------------------
 *
 * query_route.c
 *	  HTTP requests that a worker executes.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/query_route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/routes/admission.h"

/* A request that waits for the answer to its query. */
typedef struct RoutedQuery
{
	QueryRoute *route;
	HttpConnection *connection;
	PoolClient client;
	PoolQuery *query;
	bool anonymous;
} RoutedQuery;

/* ---------------- what the worker gets ---------------- */

/* Headers that have credentials, or that mean nothing beyond the connection. */
static const char *const query_hidden_headers[] = {
	"authorization",
	"cookie",
	"proxy-authorization",
	"sec-websocket-protocol",
};

static bool
query_hides(const HttpHeader *header)
{
	for (size_t i = 0; i < sizeof(query_hidden_headers) / sizeof(query_hidden_headers[0]); i++)
		if (text_equal_nocase(header->name.data, header->name.len, query_hidden_headers[i]))
			return true;
	return !text_utf8_valid(header->value.data, header->value.len);
}

WireBytes
query_route_headers(const HttpRequest *request, char **headers)
{
	/* Each text of a list has a length before it. */
	const size_t size = HTTP_HEAD_MAX + request->nheaders * 2 * sizeof(uint32_t);
	char name[HTTP_HEAD_MAX];
	size_t used = 0;

	*headers = memory_new(size);
	for (size_t i = 0; i < request->nheaders; i++)
	{
		const HttpHeader *header = &request->headers[i];

		if (query_hides(header))
			continue;
		for (size_t c = 0; c < header->name.len; c++)
		{
			char byte = header->name.data[c];

			name[c] = byte >= 'A' && byte <= 'Z' ? (char) (byte - 'A' + 'a') : byte;
		}
		(void) (wire_list_append(*headers, size, &used,
								 (WireBytes){.data = name, .len = (uint32_t) header->name.len}) &&
				wire_list_append(
					*headers, size, &used,
					(WireBytes){.data = header->value.data, .len = (uint32_t) header->value.len}));
	}
	return (WireBytes){.data = *headers, .len = (uint32_t) used};
}

static WireBytes
query_bytes(HttpSlice slice)
{
	return (WireBytes){.data = slice.data != NULL ? slice.data : "", .len = (uint32_t) slice.len};
}

static WireBytes
query_method(const HttpRequest *request)
{
	for (unsigned i = 0; i < HTTP_METHODS; i++)
		if (request->method == 1u << i)
			return (WireBytes){.data = http_method_names[i],
							   .len = (uint32_t) strlen(http_method_names[i])};
	return (WireBytes){.data = "", .len = 0};
}

/* Return true if the Content-Type is application/json, with any parameters. */
static bool
query_is_json(HttpSlice type)
{
	const char *end = memchr(type.data, ';', type.len);
	size_t len = end != NULL ? (size_t) (end - type.data) : type.len;

	while (len > 0 && (type.data[len - 1] == ' ' || type.data[len - 1] == '\t'))
		len--;
	return text_equal_nocase(type.data, len, "application/json");
}

bool
query_route_check_body(const HttpRequest *request, HttpResponse *response)
{
	HttpSlice type = http_request_header(request, "content-type");

	if (request->body.len == 0)
		return true;
	if (type.data != NULL && !query_is_json(type))
	{
		http_response_text(response, 415, "the body must be JSON: Content-Type: application/json");
		return false;
	}
	if (!text_utf8_valid(request->body.data, request->body.len) ||
		memchr(request->body.data, '\0', request->body.len) != NULL)
	{
		http_response_text(response, 400, "the body is not UTF-8");
		return false;
	}
	return true;
}

/* ---------------- what the client gets ---------------- */

/* The statuses of SQLSTATEs, as in PostgREST. The first one with these initial characters counts. */
static const struct
{
	const char *sqlstate;
	int status;
} query_statuses[] = {
	{"08", 503},    {"09", 500},    {"0L", 403},    {"0P", 403},    {"23503", 409}, {"23505", 409},
	{"25006", 405}, {"25", 500},    {"28", 403},    {"2D", 500},    {"38", 500},    {"39", 500},
	{"3B", 500},    {"40", 500},    {"42883", 404}, {"42P01", 404}, {"42P17", 500}, {"53400", 500},
	{"53", 503},    {"54", 500},    {"55", 500},    {"57", 500},    {"58", 500},    {"F0", 500},
	{"HV", 500},    {"P0001", 400}, {"P0", 500},    {"XX", 500},
};

static int
query_sqlstate_status(WireBytes sqlstate, bool anonymous)
{
	const char *code = sqlstate.data;

	if (sqlstate.len != 5)
		return 500;
	if (memcmp(code, "42501", 5) == 0)
		return anonymous ? 401 : 403;
	/* The function has chosen the status. */
	if (memcmp(code, "PT", 2) == 0)
	{
		int status = 0;

		for (int i = 2; i < 5; i++)
			status = code[i] >= '0' && code[i] <= '9' ? status * 10 + code[i] - '0' : 10000;
		return status >= 200 && status <= 599 ? status : 500;
	}
	for (size_t i = 0; i < sizeof(query_statuses) / sizeof(query_statuses[0]); i++)
		if (memcmp(code, query_statuses[i].sqlstate, strlen(query_statuses[i].sqlstate)) == 0)
			return query_statuses[i].status;
	return 400;
}

int
query_route_status(const WireFailed *failed, bool anonymous)
{
	switch ((WireQueryReason) failed->reason)
	{
		case WIRE_QUERY_NOT_AUTHENTICATED:
			return 401;
		case WIRE_QUERY_UNKNOWN:
			return 404;
		case WIRE_QUERY_BAD_PARAMETER:
			return 400;
		case WIRE_QUERY_NOT_PERMITTED:
		case WIRE_QUERY_SQL_ERROR:
		case WIRE_QUERY_TOO_LARGE:
		case WIRE_QUERY_CANCELLED:
			return query_sqlstate_status(failed->sqlstate, anonymous);
		case WIRE_QUERY_TIMEOUT:
			return 504;
		case WIRE_QUERY_BUSY:
			return 503;
		case WIRE_QUERY_INTERNAL:
			break;
	}
	return 500;
}

/* A text of an answer, or null. */
static json_t *
query_json(WireBytes text)
{
	json_t *json = text.len > 0 ? json_stringn(text.data, text.len) : NULL;

	return json != NULL ? json : json_null();
}

/* The details of a failure: PostgreSQL's own, or else which parameter is wrong. */
static json_t *
query_details(const WireFailed *failed)
{
	if (failed->reason != WIRE_QUERY_BAD_PARAMETER || failed->detail.len > 0 ||
		failed->name.len == 0)
		return query_json(failed->detail);
	return json_sprintf("The parameter is \"%.*s\".", (int) failed->name.len, failed->name.data);
}

void
query_route_failed(QueryRoute *route, HttpConnection *connection, const WireFailed *failed,
				   bool anonymous, HttpResponse *response)
{
	int status = query_route_status(failed, anonymous);
	bool bad_token = failed->reason == WIRE_QUERY_NOT_AUTHENTICATED && !anonymous;

	if (bad_token)
		admission_token_refused(route->limiter, http_from(connection)->key, route->config);
	http_response_json(response, status,
					   json_pack("{s:o,s:o,s:o,s:o}", "code", query_json(failed->sqlstate),
								 "message", query_json(failed->message), "details",
								 query_details(failed), "hint", query_json(failed->hint)));
	if (status == 401)
		(void) http_response_header(response, "WWW-Authenticate",
									bad_token ? "Bearer error=\"invalid_token\"" : "Bearer");
	else if (status == 405)
		(void) http_response_header(response, "Allow", "POST, OPTIONS");
	else if (failed->reason == WIRE_QUERY_BUSY)
		(void) http_response_header(response, "Retry-After", ADMISSION_RETRY_AFTER);
}

/* The worker has already seen to it that the headers are valid. */
static void
query_add_headers(HttpResponse *response, WireBytes headers)
{
	WireBytes name;
	WireBytes value;

	while (wire_list_next(&headers, &name) && wire_list_next(&headers, &value))
	{
		char *name_text = memory_string(name.data, name.len);
		char *value_text = memory_string(value.data, value.len);

		if (text_equal_nocase(name.data, name.len, "cache-control"))
			response->cache_control = NULL;
		(void) http_response_header(response, name_text, value_text);
		free(name_text);
		free(value_text);
	}
}

static void
query_answered(void *owner, const WireMessage *answer)
{
	RoutedQuery *routed = owner;
	HttpConnection *connection = routed->connection;
	const WireResultMsg *result = &answer->u.result;
	HttpResponse response;

	if (answer->type == WIRE_RESULT)
	{
		http_response_bytes(&response, result->status != 0 ? result->status : 200,
							"application/json", result->body.data, result->body.len);
		query_add_headers(&response, result->headers);
	}
	else if (answer->type == WIRE_FAILED)
		query_route_failed(routed->route, connection, &answer->u.failed, routed->anonymous,
						   &response);
	else
		http_response_text(&response, 500, "internal error");
	routed->route->count--;
	free(routed);
	http_respond(connection, &response);
}

static void
query_rows(void *owner, const WireRows *rows)
{
	(void) owner;
	(void) rows;
}

static const PoolEvents query_pool_events = {.rows = query_rows, .answer = query_answered};

/* ---------------- the connection ---------------- */

static void
query_writable(void *owner)
{
	(void) owner;
}

static void
query_closed(void *owner)
{
	RoutedQuery *routed = owner;

	pool_cancel(routed->query);
	routed->route->count--;
	free(routed);
}

static const HttpOwner query_http_events = {
	.writable = query_writable, .closed = query_closed, .half_closed = true};

void
query_route_run(QueryRoute *route, HttpConnection *connection, const HttpRequest *request,
				const WireQuery *query)
{
	WireQuery wire = *query;
	Admission admission;
	HttpResponse response;
	RoutedQuery *routed;
	PoolQuery *submitted;
	char *headers;

	if (!admission_query(request,
						 admission_crowd(route->sessions, route->server, connection, false),
						 route->config, route->hub, &admission, &response))
	{
		http_respond(connection, &response);
		return;
	}
	wire.token = query_bytes(admission.token);
	wire.method = query_method(request);
	wire.path = query_bytes(request->path);
	wire.query = query_bytes(request->query);
	wire.headers = query_route_headers(request, &headers);
	routed = memory_zeroed(sizeof(RoutedQuery));
	routed->route = route;
	routed->connection = connection;
	routed->anonymous = admission.token.len == 0;
	route->count++;
	pool_client_init(&routed->client);
	routed->client.from = http_from(connection);
	http_keep(connection, &query_http_events, routed);
	submitted =
		pool_submit(&admission.database->pool, &routed->client, &wire, &query_pool_events, routed);
	if (submitted != NULL)
		routed->query = submitted;
	free(headers);
}
