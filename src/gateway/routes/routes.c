/*-------------------------------------------------------------------------
 *
 * routes.c
 *	  What there is on the port: the table of the HTTP server's routes.
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

/* GET /ws */
static void
routes_websocket(HttpConnection *connection, HttpRequest *request, void *arg)
{
	const Routes *routes = arg;
	Admission admission;
	HttpResponse response;
	HttpTaken taken;
	char answer[WEBSOCKET_ANSWER];
	size_t answer_len;
	bool subprotocol;
	WebsocketConnection *websocket;
	HubClient *client;

	if (!websocket_upgrade_check(request, &response) ||
		!admission_client(request, http_from(connection), routes->config, routes->hub,
						  routes->sessions, &admission, &response))
	{
		http_respond(connection, &response);
		return;
	}
	answer_len = websocket_upgrade_answer(request, answer);
	subprotocol = websocket_upgrade_subprotocol(request);
	if (!http_take_over(connection, &taken))
		return;
	websocket = websocket_new(taken.transport, routes->websocket_events);
	client = hub_open(routes->hub, admission.database, &jsonrpc_protocol, taken.address,
					  admission.anonymous, websocket);
	client->connected_at = routes->wall_clock();
	client->subprotocol = subprotocol;
	client->from = taken.from;
	websocket_start(websocket, &client->session, answer, answer_len, taken.rest, taken.rest_len);
}

static const HttpRoute routes_table[] = {
	{.methods = HTTP_GET, .path = "/ws", .handler = routes_websocket},
	{.methods = HTTP_GET, .path = "/healthz", .handler = routes_health},
};

void
routes_init(HttpServer *server, Routes *routes)
{
	server->routes = routes_table;
	server->nroutes = sizeof(routes_table) / sizeof(routes_table[0]);
	server->unknown_path = "there are /ws and /healthz";
	server->admit = routes_admit;
	server->arg = routes;
	server->refused = &routes->sessions->stats.refused;
}
