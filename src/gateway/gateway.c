/*-------------------------------------------------------------------------
 *
 * gateway.c
 *	  The gateway as a whole: the loop, the control pipe to the launcher, and the parts that use
 *	  them.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/gateway.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <uv.h>

#include "gateway/net/acceptor.h"
#include "gateway/base/config.h"
#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/link/link.h"
#include "gateway/base/log.h"
#include "gateway/base/memory.h"
#include "gateway/routes/admission.h"
#include "gateway/routes/origin.h"
#include "gateway/net/limiter.h"
#include "wire/network.h"
#include "gateway/net/loop_lag.h"
#include "gateway/net/peer.h"
#include "gateway/net/proxy_server.h"
#include "gateway/routes/routes.h"
#include "gateway/sandbox/sandbox.h"
#include "gateway/session/session.h"
#include "gateway/sse/sse_stream.h"
#include "gateway/net/transport_lws.h"
#include "gateway/tls/tls_context.h"
#include "gateway/tls/transport_tls.h"
#include "gateway/ws/deflate.h"
#include "gateway/ws/websocket_connection.h"

#define GATEWAY_TICK_MS 1000

/*
 * File descriptors. Clients and pending connections leave some for our own use and for feeds and
 * backends, so that these can connect when the port is full. The limit is not raised to the
 * maximum, because libwebsockets allocates an entry for each possible descriptor.
 */
#define GATEWAY_MIN_DESCRIPTORS 65536
#define GATEWAY_OWN_DESCRIPTORS 32
#define GATEWAY_LINKS           512 /* kept for feeds and backends if the limit is large enough */

static struct
{
	uv_loop_t *loop;
	Peer *pipe; /* the control pipe to the launcher */
	Config config;
	Hub hub;
	Sessions sessions;
	ProxyServer proxies;
	Limiter limiter;
	HttpServer http;
	TlsServer tls;
	Routes routes;
	WireStats reported;
	LoopLag lag;
	uint32_t room; /* number of clients that there are descriptors for */
	bool serving;
	bool stopping;
	bool restarting; /* the same, but the server goes on */
	int status;
	uv_timer_t tick;
	uv_timer_t stop_timer;
	uv_timer_t due; /* of the hub */
	uv_prepare_t flush;
	uv_idle_t busy; /* active while handshakes of TLS wait: the loop does not sleep */
	uv_signal_t terminate;
} gateway;

static void
gateway_log(WireLogLevel level, WireBytes line)
{
	WireMessage message = {.type = WIRE_LOG, .u.log = {.level = (uint8_t) level, .message = line}};

	peer_send(gateway.pipe, &message);
}

static uint64_t
gateway_now(void)
{
	return uv_now(gateway.loop);
}

static uint64_t
gateway_wall_clock(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

#define GATEWAY_WEBSOCKET_IO                                                                       \
	.ready = websocket_ready, .write = websocket_write, .pause = websocket_pause,                  \
	.wake = websocket_wake, .drop = websocket_drop, .probe = websocket_probe,                      \
	.ping = {.data = FRAME_PING, .len = sizeof(FRAME_PING) - 1}, .answers_pings = true,            \
	.close = frame_close

static const SessionIo gateway_websocket_io = {GATEWAY_WEBSOCKET_IO};
static const SessionIo gateway_compressed_io = {GATEWAY_WEBSOCKET_IO, .pack = deflate_frame};

static const SessionIo *const gateway_kinds[SESSION_KINDS] = {
	[SESSION_WEBSOCKET] = &gateway_websocket_io,
	[SESSION_COMPRESSED] = &gateway_compressed_io,
	[SESSION_SSE] = &sse_stream_io,
};

static void
gateway_received(void *session, const char *data, size_t len, size_t remaining, bool final,
				 bool binary, bool compressed)
{
	session_received(session, data, len, remaining, final, binary, compressed);
}

static void
gateway_alive(void *session)
{
	session_alive(session);
}

static void
gateway_writable(void *session)
{
	session_writable(session);
}

static void
gateway_closed(void *session)
{
	HubClient *client = session;

	http_server_left(&gateway.http, client->from);
	client->from = NULL;
	session_closed(&client->session);
}

static bool
gateway_answer_close(void *session)
{
	return session_answer_close(session);
}

static const WebsocketEvents gateway_websocket_events = {
	.received = gateway_received,
	.alive = gateway_alive,
	.writable = gateway_writable,
	.closed = gateway_closed,
	.answer_close = gateway_answer_close,
};

static void
gateway_accept_http(Transport *transport)
{
	http_server_accept(&gateway.http, transport);
}

static void
gateway_accept_tls(Transport *transport)
{
	Transport *tls = transport_tls_new(&gateway.tls, transport);

	if (tls != NULL)
		gateway_accept_http(tls);
}

static void
gateway_accepted(Transport *transport)
{
	struct sockaddr_storage peer = {0};
	void (*accept)(Transport * transport) = gateway_accept_http;

	(void) transport->functions->peer(transport, &peer);
	if (gateway.config.ssl && peer.ss_family != AF_UNIX)
		accept = gateway_accept_tls;
	if (network_list_contains(gateway.config.trusted_proxies, &peer))
		proxy_server_accept(&gateway.proxies, transport, accept);
	else
		accept(transport);
}

/* What an address may do, as the settings say. */
static bool
gateway_token_allowed(const uint8_t *address)
{
	return admission_token_wait(&gateway.limiter, address, &gateway.config) == 0;
}

static void
gateway_token_refused(const uint8_t *address)
{
	admission_token_refused(&gateway.limiter, address, &gateway.config);
}

static void
gateway_proxy_refused(const struct sockaddr_storage *proxy)
{
	routes_refuse_proxy(&gateway.routes, proxy);
}

static void
gateway_finish(int status)
{
	gateway.status = status;
	peer_flush_all();
	uv_stop(gateway.loop);
}

static void
gateway_on_stop_timer(uv_timer_t *timer)
{
	(void) timer;
	gateway_finish(0);
}

/*
 * Close all clients with this code. The loop ends when they and their deliveries are gone, or after a
 * time limit.
 */
static void
gateway_stop(uint16_t code)
{
	if (gateway.stopping)
		return;
	gateway.stopping = true;
	gateway.restarting = code == SESSION_CLOSE_RESTART;
	if (!gateway.serving)
	{
		gateway_finish(0);
		return;
	}
	acceptor_stop();
	proxy_server_stop(&gateway.proxies);
	http_server_stop(&gateway.http);
	sessions_close_all(&gateway.sessions, code,
					   code == SESSION_CLOSE_RESTART ? "gateway restarting" : "no longer serving");
	(void) uv_timer_start(&gateway.stop_timer, gateway_on_stop_timer, GATEWAY_STOP_MS, 0);
}

static void
gateway_on_terminate(uv_signal_t *handle, int signum)
{
	(void) handle;
	(void) signum;
	/*
	 * This signal is not from the launcher, which sends STOP when the server stops: another gateway
	 * will be started.
	 */
	gateway_stop(SESSION_CLOSE_RESTART);
}

static bool
gateway_has_news(void)
{
	return memcmp(&gateway.reported, &gateway.sessions.stats, sizeof(WireStats)) != 0;
}

/*
 * Return true if something needs the timer. In a gateway without clients, only the feeds'
 * heartbeats cause work.
 */
static bool
gateway_needs_clock(void)
{
	return gateway.sessions.count > 0 || routes_wait(&gateway.routes) || acceptor_waits() ||
		   hub_groups_busy(&gateway.hub) || proxy_server_waits(&gateway.proxies) ||
		   http_server_waits(&gateway.http) || link_waits() || gateway_has_news() ||
		   gateway.sessions.stats.busy_ms > 0 || gateway.sessions.stats.waiting > 0;
}

/* Complete the statistics with what nobody counts. */
static void
gateway_measure(void)
{
	WireStats *stats = &gateway.sessions.stats;
	Database *database;

	stats->slow = 0;
	stats->waiting = 0;
	LIST_FOREACH(database, &gateway.hub.databases, in_hub)
	{
		database->load.waiting = database->pool.nwaiting;
		stats->slow += database->load.slow;
		stats->waiting += database->load.waiting;
	}
	stats->busy_ms = loop_lag_take(&gateway.lag);
}

static void
gateway_report_load(const Database *database)
{
	WireMessage message = {
		.type = WIRE_LOAD,
		.u.load = {.load = database->load,
				   .database = {.data = database->name, .len = (uint32_t) database->name_len}}};

	if (database->load.clients > 0 || database->load.waiting > 0)
		peer_send(gateway.pipe, &message);
}

static void
gateway_report(void)
{
	WireMessage message = {.type = WIRE_STATS, .u.stats = gateway.sessions.stats};
	const Database *database;

	if (!gateway_has_news())
		return;
	LIST_FOREACH(database, &gateway.hub.databases, in_hub)
	gateway_report_load(database);
	gateway.reported = gateway.sessions.stats;
	peer_send(gateway.pipe, &message);
}

static void
gateway_wake(WireBytes database)
{
	WireMessage message = {.type = WIRE_WAKE, .u.wake.database = database};

	peer_send(gateway.pipe, &message);
}

static void
gateway_ask_metrics(void)
{
	WireMessage message = {.type = WIRE_WANT_METRICS};

	peer_send(gateway.pipe, &message);
}

static void
gateway_want_worker(WireBytes database)
{
	WireMessage message = {.type = WIRE_WANT_WORKER, .u.want_worker.database = database};

	peer_send(gateway.pipe, &message);
}

static void
gateway_on_tick(uv_timer_t *timer)
{
	hub_tick(&gateway.hub);
	sessions_tick(&gateway.sessions);
	if (!gateway.stopping)
	{
		routes_tend(&gateway.routes, true);
		proxy_server_tick(&gateway.proxies);
		http_server_tick(&gateway.http);
		acceptor_tick();
	}
	link_tick();
	gateway_measure();
	gateway_report();
	if (!gateway_needs_clock())
		(void) uv_timer_stop(timer);
}

static void
gateway_on_idle(uv_idle_t *handle)
{
	(void) handle;
}

/* The loop comes back at once if there was no time for all work in this turn. */
static void
gateway_come_back(void)
{
	if (tls_waits(&gateway.tls) || peers_wait() || sessions_wait(&gateway.sessions))
		(void) uv_idle_start(&gateway.busy, gateway_on_idle);
	else
		(void) uv_idle_stop(&gateway.busy);
}

/* gateway_on_prepare() does the work. */
static void
gateway_on_due(uv_timer_t *timer)
{
	(void) timer;
}

static void
gateway_run_due(void)
{
	uint64_t ms = hub_run_due(&gateway.hub);

	if (ms != UINT64_MAX)
		(void) uv_timer_start(&gateway.due, gateway_on_due, ms, 0);
	else
		(void) uv_timer_stop(&gateway.due);
}

static void
gateway_on_prepare(uv_prepare_t *handle)
{
	(void) handle;
	tls_work(&gateway.tls);
	peers_work();
	sessions_work(&gateway.sessions);
	gateway_run_due();
	if (!gateway.stopping)
		routes_tend(&gateway.routes, false);
	sessions_flush(&gateway.sessions);
	gateway_come_back();
	if (!uv_is_active((uv_handle_t *) &gateway.tick) && gateway_needs_clock())
		(void) uv_timer_start(&gateway.tick, gateway_on_tick, GATEWAY_TICK_MS, GATEWAY_TICK_MS);
	peer_flush_all();
	loop_lag_turn(&gateway.lag);
	/* Workers still take what the clients have left, unless the server stops. */
	if (gateway.stopping && gateway.sessions.count == 0 && gateway.routes.queries.count == 0 &&
		!(gateway.restarting && hub_groups_busy(&gateway.hub)))
		gateway_finish(0);
}

/* Raise the limit of descriptors to the wanted number, and divide those available. */
static void
gateway_divide_descriptors(void)
{
	rlim_t wanted = GATEWAY_OWN_DESCRIPTORS + GATEWAY_LINKS + HTTP_MAX_PENDING +
					(rlim_t) gateway.config.max_clients;
	struct rlimit limit = {.rlim_cur = GATEWAY_MIN_DESCRIPTORS};
	rlim_t left;
	rlim_t links;

	if (wanted < GATEWAY_MIN_DESCRIPTORS)
		wanted = GATEWAY_MIN_DESCRIPTORS;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
	{
		limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
		(void) setrlimit(RLIMIT_NOFILE, &limit);
	}
	left = limit.rlim_cur > 2 * GATEWAY_OWN_DESCRIPTORS ? limit.rlim_cur - GATEWAY_OWN_DESCRIPTORS
														: GATEWAY_OWN_DESCRIPTORS;
	links = left / 4 < GATEWAY_LINKS ? left / 4 : GATEWAY_LINKS;
	gateway.http.max_memory = HTTP_MAX_MEMORY;
	gateway.http.max_pending =
		(uint32_t) (left / 4 < HTTP_MAX_PENDING ? left / 4 : HTTP_MAX_PENDING);
	gateway.room = (uint32_t) (left - links) - gateway.http.max_pending;
}

/* Limit the number of clients to the available descriptors. */
static void
gateway_limit_clients(void)
{
	static uint32_t logged = 0;
	uint32_t wanted = gateway.config.max_clients;

	if (wanted <= gateway.room)
		return;
	gateway.config.max_clients = gateway.room;
	if (wanted == logged)
		return;
	logged = wanted;
	log_write(WIRE_LOG_WARNING,
			  "%u clients need more file descriptors than are available; %u are accepted", wanted,
			  gateway.room);
}

static void
gateway_check_config(void)
{
	size_t len;
	const char *bad = origin_first_bad(gateway.config.origins, &len);

	if (bad != NULL)
		log_write(WIRE_LOG_WARNING, "entry \"%.*s\" of pg_notifyd.allowed_origins is no origin",
				  (int) len, bad);
}

/*
 * Use the certificate and key of this CONFIG for new connections, and clear the key. Returns false if
 * that is not possible; then the last ones stay in use.
 */
static bool
gateway_certify(const WireConfig *config)
{
	const char *problem;
	SSL_CTX *context =
		tls_context_new(config->ssl_chain, config->ssl_key, config->ssl_min_version, &problem);

	OPENSSL_cleanse((void *) config->ssl_key.data, config->ssl_key.len);
	if (context == NULL)
	{
		log_write(WIRE_LOG_ERROR, "could not use the certificate: %s", problem);
		return false;
	}
	tls_server_use(&gateway.tls, context);
	return true;
}

/*
 * Give up what serving does not need, as the setting says, and tell the launcher what the system
 * does not offer. False if that is required.
 */
static bool
gateway_enter_sandbox(void)
{
	WireMessage message = {.type = WIRE_SANDBOX};

	if (gateway.config.sandbox == WIRE_SANDBOX_OFF)
		return true;
	/* Otherwise jansson would open /dev/urandom for its first object. */
	json_object_seed(0);
	message.u.sandbox.missing = sandbox_enter();
	gateway.routes.metrics.sandbox_missing = message.u.sandbox.missing;
	if (message.u.sandbox.missing == 0)
		return true;
	peer_send(gateway.pipe, &message);
	return gateway.config.sandbox != WIRE_SANDBOX_REQUIRE;
}

static bool
gateway_serve(const WireConfig *config)
{
	WireMessage ready = {.type = WIRE_READY};

	log_to(gateway_log);
	if (gateway.config.ssl)
		sandbox_hide();
	gateway_divide_descriptors();
	gateway_limit_clients();
	gateway_check_config();
	routes_init(&gateway.http, &gateway.routes);
	proxy_server_init(&gateway.proxies);
	http_server_init(&gateway.http);
	tls_server_init(&gateway.tls);
	if ((gateway.config.ssl && !gateway_certify(config)) || !transport_lws_start(gateway.loop) ||
		!link_start(gateway.loop, GATEWAY_LINK_FD, gateway.config.gateway, &gateway.hub) ||
		!acceptor_start(gateway.loop, GATEWAY_LISTENER_FD, gateway.config.listeners, HTTP_READ_MS,
						gateway_accepted) ||
		!gateway_enter_sandbox())
		return false;
	(void) uv_prepare_start(&gateway.flush, gateway_on_prepare);
	gateway.serving = true;
	peer_send(gateway.pipe, &ready);
	return true;
}

static void
gateway_configure(const WireConfig *config)
{
	config_set(&gateway.config, config);
	if (!gateway.serving)
	{
		if (!gateway_serve(config))
			gateway_finish(1);
		return;
	}
	if (gateway.config.ssl)
		(void) gateway_certify(config);
	gateway_limit_clients();
	gateway_check_config();
	routes_configure(&gateway.http, &gateway.routes);
	if (!gateway.config.anonymous)
		sessions_close_anonymous(&gateway.sessions);
}

static bool
gateway_on_message(void *arg, const WireMessage *message, const WireMessage *next)
{
	(void) arg;
	(void) next;
	if (message->type == WIRE_CONFIG && message->u.config.version == WIRE_VERSION)
	{
		gateway_configure(&message->u.config);
		return true;
	}
	if (message->type == WIRE_STOP)
	{
		gateway_stop(message->u.stop.code);
		return true;
	}
	if (message->type == WIRE_HEALTH)
	{
		WireMessage alive = {.type = WIRE_ALIVE};

		hub_health(&gateway.hub, &message->u.health);
		peer_send(gateway.pipe, &alive);
		return true;
	}
	if (message->type == WIRE_ASLEEP)
	{
		hub_asleep(&gateway.hub, &message->u.asleep);
		return true;
	}
	if (message->type == WIRE_METRICS)
	{
		metrics_arrived(&gateway.routes.metrics, message->u.metrics.text);
		return true;
	}
	if (message->type == WIRE_NO_WORKER)
	{
		hub_no_worker(&gateway.hub, &message->u.no_worker);
		return true;
	}
	if (message->type == WIRE_GONE)
	{
		link_database_gone(message->u.gone.database);
		return true;
	}
	if (gateway.serving)
		log_write(WIRE_LOG_ERROR, "unexpected frame of type %d from the launcher",
				  (int) message->type);
	return false;
}

/*
 * Without the launcher nothing would stop this process. If the launcher has sent nothing valid, it
 * has another version than this program, and reports that itself.
 */
static void
gateway_on_closed(void *arg, const char *why)
{
	(void) arg;
	(void) why;
	_exit(gateway.serving ? 0 : WIRE_EXIT_VERSION);
}

static const PeerEvents gateway_pipe_events = {.message = gateway_on_message,
											   .closed = gateway_on_closed};

int
gateway_run(void)
{
	memory_start();
	gateway.loop = uv_default_loop();
	loop_lag_start(&gateway.lag, gateway.loop);
	sessions_init(&gateway.sessions, gateway_now, gateway_kinds, &gateway.config,
				  &hub_session_events, &gateway.hub);
	gateway.sessions.clock = uv_hrtime;
	hub_init(&gateway.hub, link_send, &gateway.sessions);
	gateway.hub.wake = gateway_wake;
	gateway.hub.pools = (Pools){
		.now = gateway_now, .send = link_send, .want = gateway_want_worker, .drop = link_drop};
	gateway.limiter.now = gateway_now;
	limiter_init(&gateway.limiter);
	gateway.hub.token_allowed = gateway_token_allowed;
	gateway.hub.token_refused = gateway_token_refused;
	gateway.proxies.now = gateway_now;
	gateway.proxies.refused = gateway_proxy_refused;
	gateway.http.now = gateway_now;
	gateway.tls =
		(TlsServer){.now = uv_hrtime, .refused = &gateway.sessions.stats.refused[WIRE_REFUSED_SSL]};
	gateway.routes = (Routes){
		.config = &gateway.config,
		.limiter = &gateway.limiter,
		.hub = &gateway.hub,
		.sessions = &gateway.sessions,
		.wall_clock = gateway_wall_clock,
		.websocket_events = &gateway_websocket_events,
		.ask_metrics = gateway_ask_metrics,
	};
	(void) uv_timer_init(gateway.loop, &gateway.tick);
	(void) uv_timer_init(gateway.loop, &gateway.stop_timer);
	(void) uv_timer_init(gateway.loop, &gateway.due);
	(void) uv_prepare_init(gateway.loop, &gateway.flush);
	(void) uv_idle_init(gateway.loop, &gateway.busy);
	(void) uv_signal_init(gateway.loop, &gateway.terminate);
	(void) uv_signal_start(&gateway.terminate, gateway_on_terminate, SIGTERM);
	gateway.pipe = peer_new(gateway.loop, &gateway_pipe_events, NULL);
	if (uv_pipe_open(peer_stream(gateway.pipe), GATEWAY_CONTROL_PIPE_FD) != 0 ||
		!peer_start(gateway.pipe))
	{
		log_write(WIRE_LOG_ERROR, "descriptor %d is no connection to a launcher",
				  GATEWAY_CONTROL_PIPE_FD);
		return 1;
	}
	(void) uv_run(gateway.loop, UV_RUN_DEFAULT);
	return gateway.status;
}
