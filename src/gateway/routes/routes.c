/*-------------------------------------------------------------------------
 *
 * routes.c
 *	  The routes of the HTTP server.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/routes.h"

#include "gateway/protocol/jsonrpc.h"
#include "gateway/routes/admission.h"
#include "gateway/routes/health.h"
#include "gateway/ws/websocket_upgrade.h"

static bool
routes_admit(const HttpRequest *request, void *arg, HttpResponse *response)
{
	const Routes *routes = arg;

	return admission_host(request, routes->config, response);
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

/* Accept the client: its connection becomes a WebSocket. */
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

	if (!http_take_over(connection, &taken))
		return;
	websocket = websocket_new(taken.transport, routes->websocket_events);
	client = hub_open(routes->hub, admission->database, &jsonrpc_protocol, taken.address,
					  admission->anonymous, websocket);
	client->connected_at = routes->wall_clock();
	client->subprotocol = subprotocol;
	client->from = taken.from;
	websocket_start(websocket, &client->session, answer, answer_len, taken.rest, taken.rest_len);
}

/* Try a request again that has waited. It counts as a client of its address itself. */
static bool
routes_try_again(HttpConnection *connection, HttpRequest *request, bool last, void *arg)
{
	Routes *routes = arg;
	Admission admission;
	HttpResponse response;

	if (admission_client(request, http_from(connection)->nclients - 1, routes->config, routes->hub,
						 routes->sessions, &admission, &response))
	{
		routes_open(routes, connection, request, &admission);
		return true;
	}
	if (admission.later && !last)
	{
		http_response_release(&response);
		return false;
	}
	http_respond(connection, &response);
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
		admission_client(request, http_from(connection)->nclients, routes->config, routes->hub,
						 routes->sessions, &admission, &response))
		routes_open(routes, connection, request, &admission);
	else if (admission.later &&
			 waiting_add(&routes->waiting, connection, request, routes->sessions->io->now()))
	{
		http_response_release(&response);
		hub_want(routes->hub, admission.name, admission.name_len);
	}
	else
		http_respond(connection, &response);
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
	return routes->waiting.count > 0;
}

static const HttpRoute routes_table[] = {
	{.methods = HTTP_GET, .path = "/ws", .handler = routes_websocket},
	{.methods = HTTP_GET, .path = "/healthz", .handler = routes_health},
};

void
routes_init(HttpServer *server, Routes *routes)
{
	waiting_init(&routes->waiting, routes_try_again, routes);
	server->routes = routes_table;
	server->nroutes = sizeof(routes_table) / sizeof(routes_table[0]);
	server->unknown_path = "there are /ws and /healthz";
	server->admit = routes_admit;
	server->arg = routes;
	server->refused = &routes->sessions->stats.refused;
}
