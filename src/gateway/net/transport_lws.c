/*-------------------------------------------------------------------------
 *
 * transport_lws.c
 *	  A socket that libwebsockets watches and reads.
 *
 * libwebsockets 4.1 does this in its role for raw sockets: its HTTP and WebSocket parsers never see
 * data from a client. Two properties of this role matter:
 *
 *	- It reads only while it has nothing to send. So data is never passed to it: this file writes
 *	  to the socket itself. Pings and closes are then read even if a client does not read.
 *	- Closing a connection outside of its callbacks is not safe. Shutting down the socket is:
 *	  the library finds that out like any other end of a connection, if it reads the socket.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/transport_lws.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "gateway/base/log.h"

/* The library's name for the callback. */
#define TRANSPORT_LWS_PROTOCOL "client"

typedef struct LwsTransport
{
	Transport base;
	struct lws *wsi;
	int fd;
} LwsTransport;

static struct lws_context *transport_lws_context;

static bool
transport_lws_write(Transport *transport, const uint8_t *data, size_t len, size_t *taken)
{
	ssize_t n = send(((LwsTransport *) transport)->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	*taken = n > 0 ? (size_t) n : 0;
	return n >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void
transport_lws_wake(Transport *transport)
{
	lws_callback_on_writable(((LwsTransport *) transport)->wsi);
}

static void
transport_lws_pause(Transport *transport, bool pause)
{
	(void) lws_rx_flow_control(((LwsTransport *) transport)->wsi, !pause);
}

static void
transport_lws_finish(Transport *transport)
{
	(void) shutdown(((LwsTransport *) transport)->fd, SHUT_WR);
}

static void
transport_lws_drop(Transport *transport)
{
	(void) shutdown(((LwsTransport *) transport)->fd, SHUT_RDWR);
	/* The library notices this only if it reads the socket. */
	transport_lws_pause(transport, false);
}

/* The end of the connection comes after unread data in the socket, so reading would not find it. */
static void
transport_lws_probe(Transport *transport)
{
	struct pollfd socket = {.fd = ((LwsTransport *) transport)->fd, .events = POLLRDHUP};

	if (poll(&socket, 1, 0) > 0)
		transport_lws_drop(transport);
}

static bool
transport_lws_peer(const Transport *transport, struct sockaddr_storage *address)
{
	socklen_t size = sizeof(*address);

	return getpeername(((const LwsTransport *) transport)->fd, (struct sockaddr *) address,
					   &size) == 0;
}

static Transport *
transport_lws_keep(Transport *transport)
{
	transport->owner = NULL;
	return transport;
}

static const TransportFunctions transport_lws_functions = {
	.write = transport_lws_write,
	.wake = transport_lws_wake,
	.pause = transport_lws_pause,
	.finish = transport_lws_finish,
	.drop = transport_lws_drop,
	.probe = transport_lws_probe,
	.peer = transport_lws_peer,
	.keep = transport_lws_keep,
};

static int
transport_lws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *data, void *in,
					   size_t len)
{
	Transport *transport = data;

	(void) wsi;
	/* It has no owner yet, has none any more, or the callback is not about a connection. */
	if (transport == NULL || transport->owner == NULL)
		return 0;
	if (reason == LWS_CALLBACK_RAW_RX && len > 0)
		transport->events->received(transport->owner, in, len);
	else if (reason == LWS_CALLBACK_RAW_WRITEABLE)
		transport->events->writable(transport->owner);
	else if (reason == LWS_CALLBACK_RAW_CLOSE)
	{
		void *owner = transport->owner;

		transport->owner = NULL;
		transport->events->closed(owner);
	}
	return 0;
}

static void
transport_lws_emit(int level, const char *line)
{
	(void) level;
	log_write(WIRE_LOG_ERROR, "libwebsockets: %.*s", (int) strcspn(line, "\n"), line);
}

bool
transport_lws_start(uv_loop_t *loop)
{
	static const struct lws_protocols protocols[] = {
		{
			.name = TRANSPORT_LWS_PROTOCOL,
			.callback = transport_lws_callback,
			.per_session_data_size = sizeof(LwsTransport),
		},
		{0},
	};
	/* All zero: the library sends no pings. The session's own pings know other signs of life. */
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

	lws_set_log_level(LLL_ERR, transport_lws_emit);
	transport_lws_context = lws_create_context(&info);
	/* From now on the library would log what clients do as errors. */
	lws_set_log_level(0, NULL);
	return transport_lws_context != NULL;
}

Transport *
transport_lws_adopt(int fd)
{
	lws_sock_file_fd_type descriptor = {.sockfd = fd};
	struct lws_vhost *vhost = lws_get_vhost_by_name(transport_lws_context, "default");
	struct lws *wsi = lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_SOCKET, descriptor,
												 TRANSPORT_LWS_PROTOCOL, NULL);
	LwsTransport *transport;

	if (wsi == NULL)
		return NULL;
	transport = lws_wsi_user(wsi);
	transport->base.functions = &transport_lws_functions;
	transport->wsi = wsi;
	transport->fd = fd;
	return &transport->base;
}
