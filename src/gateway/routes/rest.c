/*-------------------------------------------------------------------------
 *
 * rest.c
 *	  Rows of exposed tables by HTTP. Workers process the requests, see ext/rest.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/rest.h"

void
rest_not_found(HttpConnection *connection)
{
	static const char body[] = "{\"detail\":\"Not Found\"}";
	HttpResponse response;

	http_response_bytes(&response, 404, "application/json", body, sizeof(body) - 1);
	http_respond(connection, &response);
}

void
rest_request(QueryRoute *route, HttpConnection *connection, HttpRequest *request)
{
	WireQuery query = {
		.kind = WIRE_QUERY_REST,
		.read_only = request->method == HTTP_GET || request->method == HTTP_HEAD,
		.body = {.data = request->body.data, .len = (uint32_t) request->body.len},
	};
	HttpResponse response;

	if (query_route_check_body(request, &response))
		query_route_run(route, connection, request, &query);
	else
		http_respond(connection, &response);
}
