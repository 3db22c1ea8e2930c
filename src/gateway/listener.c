/*-------------------------------------------------------------------------
 *
 * listener.c
 *	  The WebSocket library, behind a small table of functions.
 *
 * What to know of libwebsockets 4.1:
 *	- A write that the socket takes only in part is not an error: the library keeps a
 *	  copy of the rest and sends it before anything else. So nothing is written while
 *	  lws_partial_buffered(), and never more than FRAME_WRITE at once.
 *	- Its lws_write() has nothing to add where it keeps nothing, there is no TLS, and the
 *	  frames are ready: they go to the socket directly, and only what that does not take
 *	  goes to the library.
 *	- It answers pings and closes by itself, between two writes of ours: each of ours
 *	  therefore ends at the end of a fragment.
 *	- A write that fails does not close the connection, and closing it from outside of
 *	  its callbacks is fraught. Shutting the socket down is not: the library finds that
 *	  out like any other end of a connection, in its own time.
 *	- Where the client has shut down its side while a copy is kept, the library spins on
 *	  the readable socket until a timeout of its own: listener_probe() ends that.
 *
 *-------------------------------------------------------------------------
 */
#include "listener.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "frame.h"
#include "http_head.h"
#include "log.h"

/*
 * The library allocates this much for each connection, for control frames; payload is
 * handed on in pieces of this size.
 */
#define LISTENER_RX_SIZE 256

typedef struct ListenerUser
{
	void *session;
} ListenerUser;

static struct lws_context *listener_context;
static const ListenerEvents *listener_events;
static const ListenerRequest *listener_adopting; /* within listener_adopt() */

/* Only what listener_adopt() has written may be upgraded. */
static bool
listener_upgrade_ok(struct lws *wsi)
{
	char upgrade[sizeof("websocket")];

	return listener_adopting != NULL &&
		   lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE) == (int) sizeof(upgrade) - 1 &&
		   lws_hdr_copy(wsi, upgrade, sizeof(upgrade), WSI_TOKEN_UPGRADE) == (int) sizeof(upgrade) - 1 &&
		   strcmp(upgrade, "websocket") == 0;
}

static int
listener_established(struct lws *wsi, ListenerUser *user)
{
	const ListenerRequest *request = listener_adopting;

	if (request == NULL)
		return -1;
	listener_adopting = NULL;
	user->session = request->opened(request->arg, wsi);
	return user->session != NULL ? 0 : -1;
}

/* Events of an established connection. */
static int
listener_dispatch(struct lws *wsi, enum lws_callback_reasons reason, void *session, void *in, size_t len)
{
	switch (reason)
	{
		case LWS_CALLBACK_RECEIVE:
			listener_events->received(session, len > 0 ? in : "", len, lws_remaining_packet_payload(wsi),
									  lws_is_final_fragment(wsi) != 0, lws_frame_is_binary(wsi) != 0);
			return 0;
		case LWS_CALLBACK_RECEIVE_PONG:
			listener_events->alive(session);
			return 0;
		case LWS_CALLBACK_SERVER_WRITEABLE:
			listener_events->writable(session);
			return 0;
		case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
			return listener_events->answer_close(session) ? 0 : -1;
		case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
			listener_events->leaving(session);
			return 0;
		default:
			return 0;
	}
}

static int
listener_callback(struct lws *wsi, enum lws_callback_reasons reason, void *data, void *in, size_t len)
{
	ListenerUser *user = data;
	void *session = user != NULL ? user->session : NULL;

	switch (reason)
	{
		case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
			return listener_upgrade_ok(wsi) ? 0 : -1;
		case LWS_CALLBACK_HTTP:
			return -1;
		case LWS_CALLBACK_ESTABLISHED:
			return listener_established(wsi, user);
		case LWS_CALLBACK_CLOSED:
			if (session != NULL)
			{
				user->session = NULL;
				listener_events->closed(session);
			}
			return 0;
		default:
			return session != NULL ? listener_dispatch(wsi, reason, session, in, len) : 0;
	}
}

static void
listener_emit(int level, const char *line)
{
	(void) level;
	log_write(WIRE_LOG_ERROR, "libwebsockets: %.*s", (int) strcspn(line, "\n"), line);
}

bool
listener_start(uv_loop_t *loop, const ListenerEvents *events)
{
	static const struct lws_protocols protocols[] = {
		{
			.name = HTTP_HEAD_SUBPROTOCOL,
			.callback = listener_callback,
			.per_session_data_size = sizeof(ListenerUser),
			.rx_buffer_size = LISTENER_RX_SIZE,
			.tx_packet_size = FRAME_WRITE,
		},
		{0},
	};
	/* All zero: no pings of the library's own; ours know what else is a sign of life. */
	static const lws_retry_bo_t no_validity;
	void *loops[] = {loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_NO_LWS_SYSTEM_STATES,
		.foreign_loops = loops,
		.gid = (gid_t) -1,
		.uid = (uid_t) -1,
		.retry_and_idle_policy = &no_validity,
	};

	listener_events = events;
	lws_set_log_level(LLL_ERR, listener_emit);
	listener_context = lws_create_context(&info);
	/* From here on it would report every handshake as an error. */
	lws_set_log_level(0, NULL);
	return listener_context != NULL;
}

bool
listener_adopt(int fd, const ListenerRequest *request)
{
	static const char format[] =
		"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %.24s\r\n%s\r\n";
	char buf[512 + HTTP_HEAD_MAX];
	int len = snprintf(buf, sizeof(buf), format, request->key,
					   request->subprotocol ? "Sec-WebSocket-Protocol: " HTTP_HEAD_SUBPROTOCOL "\r\n" : "");
	bool established;

	if (request->rest_len > sizeof(buf) - (size_t) len)
	{
		close(fd);
		return false;
	}
	if (request->rest_len > 0)
		memcpy(buf + len, request->rest, request->rest_len);
	listener_adopting = request;
	(void) lws_adopt_socket_readbuf(listener_context, fd, buf, (size_t) len + request->rest_len);
	established = listener_adopting == NULL;
	listener_adopting = NULL;
	return established;
}

bool
listener_ready(void *io)
{
	return lws_partial_buffered(io) == 0;
}

bool
listener_write(void *io, const uint8_t *data, size_t len)
{
	ssize_t sent = send(lws_get_socket_fd(io), data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent == (ssize_t) len)
		return true;
	if (sent < 0)
	{
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			return false;
		sent = 0;
	}
	/* The library's interface is not const, but raw data is only read. */
	return lws_write(io, (unsigned char *) data + sent, len - (size_t) sent, LWS_WRITE_RAW) >= 0;
}

void
listener_wake(void *io)
{
	lws_callback_on_writable(io);
}

void
listener_drop(void *io)
{
	(void) shutdown(lws_get_socket_fd(io), SHUT_RDWR);
}

void
listener_probe(void *io)
{
	char byte;
	ssize_t n = recv(lws_get_socket_fd(io), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
		listener_drop(io);
}
