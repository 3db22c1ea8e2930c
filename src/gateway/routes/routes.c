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

#include "gateway/protocol/payload.h"
#include "gateway/protocol/protocols.h"
#include "gateway/routes/admission.h"
#include "gateway/routes/asset.h"
#include "gateway/routes/cors.h"
#include "gateway/routes/health.h"
#include "gateway/routes/rest.h"
#include "gateway/routes/rpc.h"
#include "gateway/sse/sse_request.h"
#include "gateway/wamp/wamp_protocol.h"
#include "gateway/ws/websocket_extension.h"
#include "gateway/ws/websocket_upgrade.h"

static void routes_events(HttpConnection *connection, HttpRequest *request, void *arg);

/* Before the body: a client that may not send it learns so at once. */
static bool
routes_admit(const HttpConnection *connection, const HttpRequest *request, const HttpMatch *match,
			 void *arg, HttpResponse *response)
{
	Routes *routes = arg;
	bool client = match->route != NULL && match->route->client;

	if (!admission_host(request, routes->config, response))
		return false;
	if (!admission_rate(request, client, routes->limiter, http_from(connection)->key,
						routes->config, response))
	{
		if (match->route != NULL && match->route->handler == routes_events)
			events_soften(&routes->events, request, response);
		return false;
	}
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

static void
routes_refused(const HttpConnection *connection, const HttpRequest *request, WireRefusal refusal,
			   void *arg)
{
	Routes *routes = arg;

	refusal_log(routes->refusals, refusal, request, http_client(connection),
				routes->sessions->now());
}

void
routes_refuse_proxy(Routes *routes, const struct sockaddr_storage *proxy)
{
	routes->sessions->stats.refused[WIRE_REFUSED_PROXY]++;
	refusal_log(routes->refusals, WIRE_REFUSED_PROXY, NULL, proxy, routes->sessions->now());
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
		bool healthy = health_check(routes->hub, name.data, name.len, routes->sessions->now(),
									reason, sizeof(reason));

		http_response_text(&response, healthy ? 200 : 503, "%s", reason);
	}
	http_respond(connection, &response);
}

/* GET and HEAD /metrics */
static void
routes_metrics(HttpConnection *connection, HttpRequest *request, void *arg)
{
	metrics_request(&((Routes *) arg)->metrics, connection, request);
}

/* A WebSocket's path besides /ws */
static bool
routes_is_endpoint(HttpSlice path, void *arg)
{
	const Routes *routes = arg;

	return endpoint_find(routes->config->endpoints, path.data, path.len, NULL);
}

/*
 * Which format the client has asked for: by ?format=, or by the path. Returns false if there is no
 * such format.
 */
static bool
routes_format(const Routes *routes, const HttpRequest *request, EndpointFormat *format)
{
	const HttpParameter *wanted = http_request_parameter(request, "format", NULL);

	if (wanted != NULL)
		return endpoint_format(wanted->value.data, wanted->value.len, format);
	*format = ENDPOINT_JSONRPC;
	(void) endpoint_find(routes->config->endpoints, request->path.data, request->path.len, format);
	return true;
}

/* Whether large numbers are to be strings: by ?bigint=string or number. Returns false for others. */
static bool
routes_bigint(const HttpRequest *request, bool *bigint)
{
	const HttpParameter *wanted = http_request_parameter(request, "bigint", NULL);

	*bigint = wanted != NULL && http_slice_is(wanted->value, "string");
	return wanted == NULL || *bigint || http_slice_is(wanted->value, "number");
}

/* The protocol of a client that speaks WAMP; NULL: it does not. */
static const Protocol *
routes_wamp(const HttpRequest *request, bool bigint)
{
	const char *subprotocol = websocket_upgrade_subprotocol(request);

	return subprotocol != NULL ? wamp_protocol(subprotocol, bigint) : NULL;
}

/* The protocol of a WebSocket, whose request routes_check_upgrade() has checked. */
static const Protocol *
routes_protocol(const Routes *routes, const HttpRequest *request, EndpointFormat *format)
{
	bool bigint = false;
	const Protocol *wamp;

	*format = ENDPOINT_JSONRPC;
	(void) routes_bigint(request, &bigint);
	wamp = routes_wamp(request, bigint);
	if (wamp != NULL)
		return wamp;
	(void) routes_format(routes, request, format);
	return protocol_for(*format, bigint);
}

/*
 * Subscribe to the channels that stand in the query string of a raw client, or close it because of
 * what is wrong there, as the error of a JSON-RPC answer.
 */
static void
routes_subscribe(HubClient *client, const SseRequest *channels, json_t *error)
{
	if (error != NULL)
		session_end(&client->session, payload_error(json_incref(error)));
	for (size_t i = 0; i < channels->count && client->session.state == SESSION_OPEN; i++)
		hub_request(client, &channels->requests[i]);
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
	const char *extension =
		routes->sessions->config->compression ? websocket_extension_accept(request) : NULL;
	size_t answer_len = websocket_upgrade_answer(request, extension, answer);
	const char *subprotocol = websocket_upgrade_subprotocol(request);
	WebsocketConnection *websocket;
	HubClient *client;
	EndpointFormat format;
	const Protocol *protocol = routes_protocol(routes, request, &format);
	SseRequest channels = {0};
	json_t *error = NULL;
	size_t token_len = admission->token.len;
	char token[WIRE_MAX_TOKEN];

	/* The request ends with the connection that is taken over. */
	if (token_len > 0)
		memcpy(token, admission->token.data, token_len);
	if (format == ENDPOINT_PAYLOAD && http_request_parameter(request, "channel", NULL) != NULL)
		error = sse_request_read(request->query, (HttpSlice){0}, "format", &channels);
	if (!http_take_over(connection, &taken))
		goto done;
	websocket = websocket_new(taken.transport, routes->websocket_events, extension != NULL);
	client = hub_open(routes->hub, admission->close_code == 0 ? admission->database : NULL,
					  extension != NULL ? SESSION_COMPRESSED : SESSION_WEBSOCKET, protocol,
					  taken.address, admission->anonymous && token_len == 0, websocket);
	client->connected_at = routes->wall_clock();
	client->subprotocol = subprotocol != NULL ? subprotocol : "";
	client->from = taken.from;
	client->queries.from = taken.from;
	if (admission->close_code != 0)
		session_close(&client->session, admission->close_code, admission->close_reason);
	else if (token_len > 0 && protocol->hooks != NULL)
		wamp_present(client, token, token_len);
	else if (token_len > 0)
		hub_offer(routes->hub, client, token, token_len, false, NULL);
	routes_subscribe(client, &channels, error);
	websocket_start(websocket, &client->session, answer, answer_len, taken.rest, taken.rest_len);
	free(taken.rest);
done:
	sse_request_free(&channels);
	json_decref(error);
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
	routes->sessions->stats.refused[response->refusal]++;
	http_response_release(response);
	routes_open(routes, connection, request, admission);
}

static Crowd
routes_others(const Routes *routes, const HttpConnection *connection, bool kept)
{
	return admission_crowd(routes->sessions, routes->queries.server, connection, kept);
}

/* Let a client in. One of WAMP chooses its database later. */
static bool
routes_let_in(const Routes *routes, const HttpConnection *connection, const HttpRequest *request,
			  bool kept, Admission *admission, HttpResponse *response)
{
	return (routes_wamp(request, false) != NULL ? admission_outside : admission_client)(
		request, routes_others(routes, connection, kept), routes->config, routes->hub, admission,
		response);
}

/* Try a request again that has waited. */
static bool
routes_try_again(HttpConnection *connection, HttpRequest *request, bool last, void *arg)
{
	Routes *routes = arg;
	Admission admission;
	HttpResponse response;

	if (routes_let_in(routes, connection, request, true, &admission, &response))
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

/* What can be said against the handshake itself. */
static bool
routes_check_upgrade(const Routes *routes, const HttpRequest *request, HttpResponse *response)
{
	EndpointFormat format;
	bool bigint;

	if (!websocket_upgrade_check(request, response))
		return false;
	if (!routes_format(routes, request, &format))
		http_response_text(response, 400, "there is no such format");
	else if (!routes_bigint(request, &bigint))
		http_response_text(response, 400, "bigint must be \"string\" or \"number\"");
	else
		return true;
	response->refusal = WIRE_REFUSED_REQUEST;
	return false;
}

/* GET /ws, and the paths of pg_notifyd.endpoints */
static void
routes_websocket(HttpConnection *connection, HttpRequest *request, void *arg)
{
	Routes *routes = arg;
	Admission admission = {0};
	HttpResponse response;

	if (routes_check_upgrade(routes, request, &response) &&
		routes_let_in(routes, connection, request, false, &admission, &response))
		routes_open(routes, connection, request, &admission);
	else if (admission.later &&
			 waiting_add(&routes->waiting, connection, request, routes->sessions->now()))
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
	if (tick)
	{
		metrics_tick(&routes->metrics);
		group_route_tick(&routes->groups);
	}
	if (routes->waiting.count + routes->events.waiting.count == 0 ||
		(!tick && routes->news == routes->hub->news))
		return;
	routes->news = routes->hub->news;
	waiting_try(&routes->waiting, routes->sessions->now());
	waiting_try(&routes->events.waiting, routes->sessions->now());
}

bool
routes_wait(const Routes *routes)
{
	return routes->waiting.count + routes->events.waiting.count > 0 || routes->queries.count > 0 ||
		   routes->metrics.count > 0;
}

/* GET and HEAD /events */
static void
routes_events(HttpConnection *connection, HttpRequest *request, void *arg)
{
	events_request(&((Routes *) arg)->events, connection, request);
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

/* POST /groups/NAME/take, /ack and /nack */
static void
routes_take(HttpConnection *connection, HttpRequest *request, void *arg)
{
	group_route_take(&((Routes *) arg)->groups, connection, request);
}

static void
routes_ack(HttpConnection *connection, HttpRequest *request, void *arg)
{
	group_route_return(&((Routes *) arg)->groups, connection, request, WIRE_QUERY_ACK);
}

static void
routes_nack(HttpConnection *connection, HttpRequest *request, void *arg)
{
	group_route_return(&((Routes *) arg)->groups, connection, request, WIRE_QUERY_NACK);
}

/* GET and HEAD /openapi.json: the worker describes what the client's role may use, see ext/openapi. */
static void
routes_openapi(HttpConnection *connection, HttpRequest *request, void *arg)
{
	WireQuery query = {.kind = WIRE_QUERY_OPENAPI, .read_only = true};

	query_route_run(&((Routes *) arg)->queries, connection, request, &query);
}

/* GET and HEAD /: the live page. No other site may frame it, hold a handle to it, or learn its address. */
static void
routes_page(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;

	(void) arg;
	asset_response(&asset_page, request, &response);
	(void) http_response_header(&response, "Cross-Origin-Opener-Policy", "same-origin");
	(void) http_response_header(&response, "Cross-Origin-Resource-Policy", "same-origin");
	(void) http_response_header(&response, "Referrer-Policy", "no-referrer");
	http_respond(connection, &response);
}

/* GET and HEAD /client.js: the client library, which is public code, for the pages of all sites */
static void
routes_client(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;

	(void) arg;
	asset_response(&asset_client, request, &response);
	(void) http_response_header(&response, "Access-Control-Allow-Origin", "*");
	(void) http_response_header(&response, "Cross-Origin-Resource-Policy", "cross-origin");
	http_respond(connection, &response);
}

static void routes_rest(HttpConnection *connection, HttpRequest *request, void *arg);

/*
 * endpoint_own (wire/endpoint.h) has the first segments of these paths. The live page comes first:
 * without it, the table begins behind it, see routes_configure().
 */
static const HttpRoute routes_table[] = {
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/", .handler = routes_page},
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/client.js", .handler = routes_client},
	{.methods = HTTP_GET, .path = "/ws", .handler = routes_websocket, .client = true},
	{.methods = HTTP_GET, .path = "/healthz", .handler = routes_health},
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/metrics", .handler = routes_metrics},
	{.methods = HTTP_GET | HTTP_HEAD,
	 .path = "/events",
	 .handler = routes_events,
	 .client = true,
	 .api = true},
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
	{.methods = HTTP_POST,
	 .path = "/groups/*/take",
	 .handler = routes_take,
	 .max_body = QUERY_ROUTE_MAX_BODY,
	 .api = true},
	{.methods = HTTP_POST,
	 .path = "/groups/*/ack",
	 .handler = routes_ack,
	 .max_body = QUERY_ROUTE_MAX_BODY,
	 .api = true},
	{.methods = HTTP_POST,
	 .path = "/groups/*/nack",
	 .handler = routes_nack,
	 .max_body = QUERY_ROUTE_MAX_BODY,
	 .api = true},
	{.methods = HTTP_GET | HTTP_HEAD,
	 .path = "/openapi.json",
	 .handler = routes_openapi,
	 .api = true},
	{.methods = HTTP_GET, .has = routes_is_endpoint, .handler = routes_websocket, .client = true},
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

/* All other paths: rows of exposed tables */
static void
routes_rest(HttpConnection *connection, HttpRequest *request, void *arg)
{
	Routes *routes = arg;

	if (endpoint_is_reserved(request->path.data, request->path.len))
		rest_not_found(connection);
	else
		rest_request(&routes->queries, connection, request);
}

void
routes_configure(HttpServer *server, const Routes *routes)
{
	size_t first = routes->config->page ? 0 : 1;

	server->routes = routes_table + first;
	server->nroutes = sizeof(routes_table) / sizeof(routes_table[0]) - first;
}

void
routes_init(HttpServer *server, Routes *routes)
{
	waiting_init(&routes->waiting, routes_try_again, routes);
	routes->metrics = (Metrics){.config = routes->config,
								.hub = routes->hub,
								.sessions = routes->sessions,
								.ask = routes->ask_metrics};
	metrics_init(&routes->metrics);
	routes->events = (EventsRoute){.config = routes->config,
								   .hub = routes->hub,
								   .sessions = routes->sessions,
								   .server = server,
								   .wall_clock = routes->wall_clock};
	events_init(&routes->events);
	routes->queries = (QueryRoute){.config = routes->config,
								   .limiter = routes->limiter,
								   .hub = routes->hub,
								   .sessions = routes->sessions,
								   .server = server};
	group_route_init(&routes->groups, &routes->queries);
	routes_configure(server, routes);
	server->unknown_path =
		"there are /ws, /events, /healthz, /metrics, /client.js, /openapi.json, /rpc/NAME, "
		"/send/CHANNEL and /groups/NAME/take";
	server->admit = routes_admit;
	server->complete = routes_complete;
	server->refuse = routes_refused;
	server->proxies = &routes->config->trusted_proxies;
	server->arg = routes;
	server->refused = routes->sessions->stats.refused;
}
