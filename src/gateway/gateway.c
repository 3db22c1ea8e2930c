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
#include "gateway/routes/origin.h"
#include "gateway/net/peer.h"
#include "gateway/routes/routes.h"
#include "gateway/sandbox/sandbox.h"
#include "gateway/session/session.h"
#include "gateway/net/transport_lws.h"
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
	HttpServer http;
	Routes routes;
	WireStats reported;
	uint32_t room; /* number of clients that there are descriptors for */
	bool serving;
	bool stopping;
	int status;
	uv_timer_t tick;
	uv_timer_t stop_timer;
	uv_prepare_t flush;
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

static const SessionIo gateway_io = {
	.now = gateway_now,
	.ready = websocket_ready,
	.write = websocket_write,
	.pause = websocket_pause,
	.wake = websocket_wake,
	.drop = websocket_drop,
	.probe = websocket_probe,
};

static void
gateway_received(void *session, const char *data, size_t len, size_t remaining, bool final,
				 bool binary)
{
	session_received(session, data, len, remaining, final, binary);
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
gateway_accepted(Transport *transport)
{
	http_server_accept(&gateway.http, transport);
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

/* Close all clients with this code. The loop ends when they are gone, or after a time limit. */
static void
gateway_stop(uint16_t code)
{
	if (gateway.stopping)
		return;
	gateway.stopping = true;
	if (!gateway.serving)
	{
		gateway_finish(0);
		return;
	}
	acceptor_stop();
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
		   http_server_waits(&gateway.http) || link_waits() || gateway_has_news();
}

static void
gateway_report(void)
{
	WireMessage message = {.type = WIRE_STATS, .u.stats = gateway.sessions.stats};

	if (!gateway_has_news())
		return;
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
		http_server_tick(&gateway.http);
		acceptor_tick();
	}
	link_tick();
	gateway_report();
	if (!gateway_needs_clock())
		(void) uv_timer_stop(timer);
}

static void
gateway_on_prepare(uv_prepare_t *handle)
{
	(void) handle;
	if (!gateway.stopping)
		routes_tend(&gateway.routes, false);
	sessions_flush(&gateway.sessions);
	if (!uv_is_active((uv_handle_t *) &gateway.tick) && gateway_needs_clock())
		(void) uv_timer_start(&gateway.tick, gateway_on_tick, GATEWAY_TICK_MS, GATEWAY_TICK_MS);
	peer_flush_all();
	if (gateway.stopping && gateway.sessions.count == 0 && gateway.routes.queries.count == 0)
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
	if (message.u.sandbox.missing == 0)
		return true;
	peer_send(gateway.pipe, &message);
	return gateway.config.sandbox != WIRE_SANDBOX_REQUIRE;
}

static bool
gateway_serve(void)
{
	WireMessage ready = {.type = WIRE_READY};

	log_to(gateway_log);
	gateway_divide_descriptors();
	gateway_limit_clients();
	gateway_check_config();
	routes_init(&gateway.http, &gateway.routes);
	http_server_init(&gateway.http);
	if (!transport_lws_start(gateway.loop) ||
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
		if (!gateway_serve())
			gateway_finish(1);
		return;
	}
	gateway_limit_clients();
	gateway_check_config();
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
	sessions_init(&gateway.sessions, &gateway_io, &gateway.config, &hub_session_events,
				  &gateway.hub);
	hub_init(&gateway.hub, link_send, &gateway.sessions);
	gateway.hub.wake = gateway_wake;
	gateway.hub.pools = (Pools){
		.now = gateway_now, .send = link_send, .want = gateway_want_worker, .drop = link_drop};
	gateway.http.now = gateway_now;
	gateway.routes = (Routes){
		.config = &gateway.config,
		.hub = &gateway.hub,
		.sessions = &gateway.sessions,
		.wall_clock = gateway_wall_clock,
		.websocket_events = &gateway_websocket_events,
	};
	(void) uv_timer_init(gateway.loop, &gateway.tick);
	(void) uv_timer_init(gateway.loop, &gateway.stop_timer);
	(void) uv_prepare_init(gateway.loop, &gateway.flush);
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
