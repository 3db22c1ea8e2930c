/*-------------------------------------------------------------------------
 *
 * rpc.c
 *	  Calls of exposed functions, and messages, by HTTP.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"

/* ---------------- arguments of GET ---------------- */

static void
rpc_add_argument(json_t *arguments, HttpSlice name, HttpSlice value)
{
	char *key = memory_string(name.data, name.len);
	json_t *before = json_object_get(arguments, key);
	json_t *text = json_stringn(value.data, value.len);

	if (before == NULL)
		json_object_set_new(arguments, key, text);
	else if (json_is_array(before))
		json_array_append_new(before, text);
	else
		json_object_set_new(arguments, key, json_pack("[O,o]", before, text));
	free(key);
}

/* Add a parameter. Returns false if it is malformed. */
static bool
rpc_parameter(json_t *arguments, HttpSlice part)
{
	char room[HTTP_HEAD_MAX];
	HttpSlice name;
	HttpSlice value;

	if (part.len == 0)
		return true;
	http_query_split(part, &name, &value);
	if (!http_query_decode(name, room, &name) || !http_query_decode(value, room + name.len, &value))
		return false;
	if (!http_slice_is(name, "database") && !http_slice_is(name, "access_token"))
		rpc_add_argument(arguments, name, value);
	return true;
}

char *
rpc_arguments(HttpSlice query)
{
	json_t *arguments = json_object();
	HttpSlice part;
	bool valid = true;
	char *text;

	while (valid && http_query_next(&query, &part))
		valid = rpc_parameter(arguments, part);
	text = valid ? json_dumps(arguments, JSON_COMPACT) : NULL;
	json_decref(arguments);
	return text;
}

/* ---------------- handlers ---------------- */

/* Return true if a name from the path can be one, else answer. */
static bool
rpc_check_name(HttpConnection *connection, HttpSlice name, const char *what)
{
	HttpResponse response;

	if (text_utf8_valid(name.data, name.len) && memchr(name.data, '\0', name.len) == NULL)
		return true;
	http_response_text(&response, 404, "no %s has such a name", what);
	http_respond(connection, &response);
	return false;
}

/* Run a query whose name is in the path, and whose body is the request's. */
static void
rpc_run_body(QueryRoute *route, HttpConnection *connection, HttpRequest *request,
			 WireQueryKind kind)
{
	HttpSlice name = request->captures[0];
	WireQuery query = {
		.kind = (uint8_t) kind,
		.name = {.data = name.data, .len = (uint32_t) name.len},
		.body = {.data = request->body.data, .len = (uint32_t) request->body.len},
	};
	HttpResponse response;

	if (query_route_check_body(request, &response))
		query_route_run(route, connection, request, &query);
	else
		http_respond(connection, &response);
}

/* GET and HEAD: the arguments are in the query string. */
static void
rpc_read(QueryRoute *route, HttpConnection *connection, HttpRequest *request)
{
	char *arguments = rpc_arguments(request->query);
	HttpSlice name = request->captures[0];
	WireQuery query = {
		.kind = WIRE_QUERY_CALL,
		.read_only = true,
		.name = {.data = name.data, .len = (uint32_t) name.len},
	};
	HttpResponse response;

	if (arguments == NULL)
	{
		http_response_text(&response, 400, "the query string is malformed");
		http_respond(connection, &response);
		return;
	}
	query.body = (WireBytes){.data = arguments, .len = (uint32_t) strlen(arguments)};
	query_route_run(route, connection, request, &query);
	free(arguments);
}

void
rpc_call(QueryRoute *route, HttpConnection *connection, HttpRequest *request)
{
	if (!rpc_check_name(connection, request->captures[0], "function"))
		return;
	if (request->method == HTTP_POST)
		rpc_run_body(route, connection, request, WIRE_QUERY_CALL);
	else
		rpc_read(route, connection, request);
}

void
rpc_send(QueryRoute *route, HttpConnection *connection, HttpRequest *request)
{
	if (rpc_check_name(connection, request->captures[0], "channel"))
		rpc_run_body(route, connection, request, WIRE_QUERY_SEND);
}
