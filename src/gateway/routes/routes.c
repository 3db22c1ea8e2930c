/*-------------------------------------------------------------------------
 *
 * routes.c
 *	  The routes of the HTTP server.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/routes.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/protocol/jsonrpc.h"
#include "gateway/routes/admission.h"
#include "gateway/routes/cors.h"
#include "gateway/routes/health.h"
#include "gateway/routes/rest.h"
#include "gateway/routes/rpc.h"
#include "gateway/ws/websocket_upgrade.h"

/* Before the body: a client that may not send it learns so at once. */
static bool
routes_admit(const HttpRequest *request, const HttpMatch *match, void *arg, HttpResponse *response)
{
	const Routes *routes = arg;

	if (!admission_host(request, routes->config, response))
		return false;
	/* Browsers send preflights without credentials. */
	return !match->api || (admission_origin(request, routes->config, response) &&
						   (request->method == HTTP_OPTIONS ||
							admission_identity(request, routes->config, response)));
}

static void
routes_complete(const HttpRequest *request, const HttpMatch *match, void *arg,
				HttpResponse *response)
{
	const Routes *routes = arg;

	if (match->api)
		cors_complete(request, match->allowed, routes->config->origins, response);
}

/* GET /healthz */
static void
routes_health(HttpConnection *connection, HttpRequest *request, void *arg)
{
	const Routes *routes = arg;
	HttpResponse response;
	HttpSlice name;
	char reason[256] = "ok";

	if (admission_database(request, &name, &response))
	{
		bool healthy = health_check(routes->hub, name.data, name.len, routes->sessions->io->now(),
									reason, sizeof(reason));

		http_response_text(&response, healthy ? 200 : 503, "%s", reason);
	}
	http_respond(connection, &response);
}

/*
 * The connection is a WebSocket from now on. Its client is let in, or is told by a close code why it
 * is not.
 */
static void
routes_open(Routes *routes, HttpConnection *connection, const HttpRequest *request,
			const Admission *admission)
{
	HttpTaken taken;
	char answer[WEBSOCKET_ANSWER];
	size_t answer_len = websocket_upgrade_answer(request, answer);
	bool subprotocol = websocket_upgrade_subprotocol(request);
	WebsocketConnection *websocket;
	HubClient *client;
	size_t token_len = admission->token.len;
	char token[WIRE_MAX_TOKEN];

	/* The request ends with the connection that is taken over. */
	if (token_len > 0)
		memcpy(token, admission->token.data, token_len);
	if (!http_take_over(connection, &taken))
		return;
	websocket = websocket_new(taken.transport, routes->websocket_events);
	client = hub_open(routes->hub, admission->close_code == 0 ? admission->database : NULL,
					  &jsonrpc_protocol, taken.address, admission->anonymous && token_len == 0,
					  websocket);
	client->connected_at = routes->wall_clock();
	client->subprotocol = subprotocol;
	client->from = taken.from;
	client->queries.from = taken.from;
	if (admission->close_code != 0)
		session_close(&client->session, admission->close_code, admission->close_reason);
	else if (token_len > 0)
		hub_offer(routes->hub, client, token, token_len, false, NULL);
	websocket_start(websocket, &client->session, answer, answer_len, taken.rest, taken.rest_len);
	free(taken.rest);
}

/* Refuse a client. The HTTP server counts responses; what is closed by a code is counted here. */
static void
routes_refuse(Routes *routes, HttpConnection *connection, const HttpRequest *request,
			  const Admission *admission, HttpResponse *response)
{
	if (admission->close_code == 0)
	{
		http_respond(connection, response);
		return;
	}
	http_response_release(response);
	routes->sessions->stats.refused++;
	routes_open(routes, connection, request, admission);
}

/* The clients besides this one, which may be a kept connection and count as one itself. */
static Crowd
routes_others(const Routes *routes, const HttpConnection *connection, uint32_t itself)
{
	return (Crowd){.all = routes->sessions->count + routes->queries.server->count_kept - itself,
				   .here = http_from(connection)->nclients - itself};
}

/* Try a request again that has waited. */
static bool
routes_try_again(HttpConnection *connection, HttpRequest *request, bool last, void *arg)
{
	Routes *routes = arg;
	Admission admission;
	HttpResponse response;

	if (admission_client(request, routes_others(routes, connection, 1), routes->config, routes->hub,
						 &admission, &response))
	{
		routes_open(routes, connection, request, &admission);
		return true;
	}
	if (admission.later && !last)
	{
		http_response_release(&response);
		return false;
	}
	routes_refuse(routes, connection, request, &admission, &response);
	return true;
}

/* GET /ws */
static void
routes_websocket(HttpConnection *connection, HttpRequest *request, void *arg)
{
	Routes *routes = arg;
	Admission admission = {0};
	HttpResponse response;

	if (websocket_upgrade_check(request, &response) &&
		admission_client(request, routes_others(routes, connection, 0), routes->config, routes->hub,
						 &admission, &response))
		routes_open(routes, connection, request, &admission);
	else if (admission.later &&
			 waiting_add(&routes->waiting, connection, request, routes->sessions->io->now()))
	{
		http_response_release(&response);
		hub_want(routes->hub, admission.name, admission.name_len);
	}
	else
		routes_refuse(routes, connection, request, &admission, &response);
}

void
routes_tend(Routes *routes, bool tick)
{
	if (routes->waiting.count == 0 || (!tick && routes->news == routes->hub->news))
		return;
	routes->news = routes->hub->news;
	waiting_try(&routes->waiting, routes->sessions->io->now());
}

bool
routes_wait(const Routes *routes)
{
	return routes->waiting.count > 0 || routes->queries.count > 0;
}

/* /rpc/NAME */
static void
routes_call(HttpConnection *connection, HttpRequest *request, void *arg)
{
	rpc_call(&((Routes *) arg)->queries, connection, request);
}

/* POST /send/CHANNEL */
static void
routes_send(HttpConnection *connection, HttpRequest *request, void *arg)
{
	rpc_send(&((Routes *) arg)->queries, connection, request);
}

/* GET and HEAD /openapi.json: the worker describes what the client's role may use, see ext/openapi. */
static void
routes_openapi(HttpConnection *connection, HttpRequest *request, void *arg)
{
	WireQuery query = {.kind = WIRE_QUERY_OPENAPI, .read_only = true};

	query_route_run(&((Routes *) arg)->queries, connection, request, &query);
}

static void routes_rest(HttpConnection *connection, HttpRequest *request, void *arg);

static const HttpRoute routes_table[] = {
	{.methods = HTTP_GET, .path = "/ws", .handler = routes_websocket},
	{.methods = HTTP_GET, .path = "/healthz", .handler = routes_health},
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/rpc/*", .handler = routes_call, .api = true},
	{.methods = HTTP_POST,
	 .path = "/rpc/*",
	 .handler = routes_call,
	 .max_body = QUERY_ROUTE_MAX_BODY,
	 .api = true},
	{.methods = HTTP_POST,
	 .path = "/send/*",
	 .handler = routes_send,
	 .max_body = QUERY_ROUTE_MAX_BODY,
	 .api = true},
	{.methods = HTTP_GET | HTTP_HEAD,
	 .path = "/openapi.json",
	 .handler = routes_openapi,
	 .api = true},
	{.methods = HTTP_GET | HTTP_HEAD | HTTP_DELETE,
	 .path = "**",
	 .handler = routes_rest,
	 .api = true},
	{.methods = HTTP_POST | HTTP_PUT | HTTP_PATCH,
	 .path = "**",
	 .handler = routes_rest,
	 .max_body = QUERY_ROUTE_MAX_BODY,
	 .api = true},
};

/* Return true if the path begins with the first segment of one of our own, or with an empty one. */
static bool
routes_reserved(HttpSlice path)
{
	const char *slash = memchr(path.data + 1, '/', path.len - 1);
	size_t len = slash != NULL ? (size_t) (slash - path.data) : path.len;

	for (size_t i = 0; len > 1 && i < sizeof(routes_table) / sizeof(routes_table[0]); i++)
	{
		const char *own = routes_table[i].path;

		if (strncmp(own, path.data, len) == 0 && (own[len] == '/' || own[len] == '\0'))
			return true;
	}
	return len <= 1;
}

/* All other paths: rows of exposed tables */
static void
routes_rest(HttpConnection *connection, HttpRequest *request, void *arg)
{
	Routes *routes = arg;

	if (routes_reserved(request->path))
		rest_not_found(connection);
	else
		rest_request(&routes->queries, connection, request);
}

void
routes_init(HttpServer *server, Routes *routes)
{
	waiting_init(&routes->waiting, routes_try_again, routes);
	routes->queries = (QueryRoute){.config = routes->config,
								   .hub = routes->hub,
								   .sessions = routes->sessions,
								   .server = server};
	server->routes = routes_table;
	server->nroutes = sizeof(routes_table) / sizeof(routes_table[0]);
	server->unknown_path = "there are /ws, /healthz, /openapi.json, /rpc/NAME and /send/CHANNEL";
	server->admit = routes_admit;
	server->complete = routes_complete;
	server->arg = routes;
	server->refused = &routes->sessions->stats.refused;
}
