/*-------------------------------------------------------------------------
 *
 * listener.c
 *	  The clients' connections: the network library below, websocket.c's reader above.
 *
 * libwebsockets 4.1 watches the sockets and reads from them, in its role for raw sockets.
 * Its own HTTP and WebSocket parsers are not used: it lets frames pass that RFC 6455
 * forbids, and it answers, waits and closes when it wants to. What to know of the role:
 *	- It reads only while it has nothing of ours to send. So it is never given anything:
 *	  listener_send() writes to the socket, and keeps by itself what that does not take.
 *	  Pings and closes are then read, and answered, whatever a client does not take.
 *	- Closing a connection from outside of its callbacks is fraught. Shutting the socket
 *	  down is not: the library finds that out like any other end of a connection.
 *
 * A pong and the last close frame do not go through a session's queue. They stand in
 * between two writes of it, and each of those ends at the end of a fragment.
 *
 *-------------------------------------------------------------------------
 */
#include "listener.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "frame.h"
#include "http_head.h"
#include "log.h"
#include "memory.h"
#include "websocket.h"

/* The library's name for what it calls back with. */
#define LISTENER_PROTOCOL "client"

/* RFC 6455, 1.3 and 4.2.2 */
#define LISTENER_GUID        "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define LISTENER_KEY_LENGTH  24
#define LISTENER_SHA1_LENGTH 20

typedef struct Connection
{
	struct lws *wsi;
	void *session;
	uint8_t *rest; /* of what was written, this the socket has not taken yet; NULL: nothing */
	size_t rest_len;
	size_t rest_done; /* bytes of it that it has taken since */
	bool ending;      /* the frame in control, or sent already, is our last one */
	bool paused;      /* nothing is handed on, and nothing more is read */
	uint16_t unread_len;
	char *unread; /* what had been read by then; NULL: nothing */
	uint8_t control_len;
	uint8_t control[2 + FRAME_CONTROL_MAX]; /* a control frame that goes behind the rest */
	WebsocketReader reader;
} Connection;

static struct lws_context *listener_context;
static const ListenerEvents *listener_events;

/* Write as much as the socket takes; *sent is how much. False: the connection is broken. */
static bool
listener_push(const Connection *connection, const uint8_t *data, size_t len, size_t *sent)
{
	ssize_t n = send(lws_get_socket_fd(connection->wsi), data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	*sent = n > 0 ? (size_t) n : 0;
	return n >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Write, and keep what the socket does not take. Nothing may be kept already. */
static bool
listener_send(Connection *connection, const uint8_t *data, size_t len)
{
	size_t sent;

	if (!listener_push(connection, data, len, &sent))
		return false;
	if (sent == len)
		return true;
	connection->rest_len = len - sent;
	connection->rest_done = 0;
	connection->rest = memory_new(connection->rest_len);
	memcpy(connection->rest, data + sent, connection->rest_len);
	lws_callback_on_writable(connection->wsi);
	return true;
}

/* Write what was kept, then the control frame that waits for it; behind our last one the client gets the end. */
static bool
listener_flush(Connection *connection)
{
	if (connection->rest != NULL)
	{
		size_t sent;

		if (!listener_push(connection, connection->rest + connection->rest_done,
						   connection->rest_len - connection->rest_done, &sent))
			return false;
		connection->rest_done += sent;
		if (connection->rest_done < connection->rest_len)
		{
			lws_callback_on_writable(connection->wsi);
			return true;
		}
		free(connection->rest);
		connection->rest = NULL;
	}
	if (connection->control_len > 0)
	{
		size_t len = connection->control_len;

		connection->control_len = 0;
		if (!listener_send(connection, connection->control, len))
			return false;
	}
	if (connection->ending && connection->rest == NULL)
		(void) shutdown(lws_get_socket_fd(connection->wsi), SHUT_WR);
	return true;
}

/*
 * Send a control frame, which is given away. One that still waits is replaced: only the last of several pings has
 * to be answered (RFC 6455, 5.5.3), and behind a close there is nothing.
 */
static void
listener_control(Connection *connection, Frame *frame)
{
	memcpy(connection->control, frame->data, frame->len);
	connection->control_len = (uint8_t) frame->len;
	frame_unref(frame);
	if (connection->rest == NULL && !listener_flush(connection))
		listener_drop(connection);
}

/*
 * The client has closed, or has broken the protocol: tell it so at once, then our side is shut down. Where it answers our
 * own close frame, that was the last one already. The session sees to it that it does not take for ever.
 */
static void
listener_end(Connection *connection, const WebsocketPiece *piece)
{
	if (!listener_events->answer_close(connection->session))
	{
		listener_drop(connection);
		return;
	}
	connection->ending = true;
	listener_control(connection, piece->code == 0
									 ? frame_control(FRAME_OPCODE_CLOSE, NULL, 0)
									 : frame_close(piece->code, piece->reason != NULL ? piece->reason : ""));
}

static void
listener_piece(Connection *connection, const WebsocketPiece *piece)
{
	switch (piece->kind)
	{
		case WEBSOCKET_MORE:
			break;
		case WEBSOCKET_DATA:
			listener_events->received(connection->session, piece->data, piece->len, piece->remaining,
									  piece->final, piece->binary);
			break;
		case WEBSOCKET_PING:
			listener_events->alive(connection->session);
			listener_control(connection, frame_control(FRAME_OPCODE_PONG, piece->data, piece->len));
			break;
		case WEBSOCKET_PONG:
			listener_events->alive(connection->session);
			break;
		case WEBSOCKET_CLOSE:
		case WEBSOCKET_ERROR:
			listener_end(connection, piece);
			break;
	}
}

/* Bytes have come from the client. What is left when it is paused is kept. */
static void
listener_read(Connection *connection, char *data, size_t len)
{
	while (len > 0 && !connection->paused)
	{
		WebsocketPiece piece;
		size_t used = websocket_read(&connection->reader, data, len, &piece);

		listener_piece(connection, &piece);
		data += used;
		len -= used;
	}
	if (len == 0)
		return;
	connection->unread = memory_new(len);
	connection->unread_len = (uint16_t) len;
	memcpy(connection->unread, data, len);
}

/* Go on with a client that is not paused any more: first with what it has sent before, then with its socket. */
static void
listener_read_on(Connection *connection)
{
	char *unread = connection->unread;

	connection->unread = NULL;
	if (unread != NULL)
	{
		listener_read(connection, unread, connection->unread_len);
		free(unread);
	}
	if (!connection->paused)
		(void) lws_rx_flow_control(connection->wsi, 1);
}

static void
listener_on_writable(Connection *connection)
{
	if (!listener_flush(connection))
		listener_drop(connection);
	else if (listener_ready(connection) && !connection->ending)
		listener_events->writable(connection->session);
	if (!connection->paused)
		listener_read_on(connection);
}

static void
listener_on_closed(Connection *connection)
{
	void *session = connection->session;

	free(connection->rest);
	connection->rest = NULL;
	free(connection->unread);
	connection->unread = NULL;
	connection->session = NULL;
	listener_events->closed(session);
}

static int
listener_callback(struct lws *wsi, enum lws_callback_reasons reason, void *data, void *in, size_t len)
{
	Connection *connection = data;

	(void) wsi;
	/* Before listener_adopt() has come to that, and for what is about no connection. */
	if (connection == NULL || connection->session == NULL)
		return 0;
	if (reason == LWS_CALLBACK_RAW_RX)
		listener_read(connection, in, len);
	else if (reason == LWS_CALLBACK_RAW_WRITEABLE)
		listener_on_writable(connection);
	else if (reason == LWS_CALLBACK_RAW_CLOSE)
		listener_on_closed(connection);
	return 0;
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
			.name = LISTENER_PROTOCOL,
			.callback = listener_callback,
			.per_session_data_size = sizeof(Connection),
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
	/* From here on it would report what clients do as errors. */
	lws_set_log_level(0, NULL);
	return listener_context != NULL;
}

/* The answer to a handshake (RFC 6455, 4.2.2); returns its length. */
static size_t
listener_answer(const ListenerRequest *request, char *buf, size_t size)
{
	char key[LISTENER_KEY_LENGTH + sizeof(LISTENER_GUID)];
	unsigned char hash[LISTENER_SHA1_LENGTH];
	char accept[2 * LISTENER_SHA1_LENGTH];
	int len = snprintf(key, sizeof(key), "%.*s" LISTENER_GUID, LISTENER_KEY_LENGTH, request->key);

	(void) lws_SHA1((unsigned char *) key, (size_t) len, hash);
	(void) lws_b64_encode_string((char *) hash, sizeof(hash), accept, sizeof(accept));
	len =
		snprintf(buf, size,
				 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				 "Sec-WebSocket-Accept: %s\r\n%s\r\n",
				 accept, request->subprotocol ? "Sec-WebSocket-Protocol: " HTTP_HEAD_SUBPROTOCOL "\r\n" : "");
	return (size_t) len;
}

bool
listener_adopt(int fd, const ListenerRequest *request)
{
	lws_sock_file_fd_type descriptor = {.sockfd = fd};
	struct lws_vhost *vhost = lws_get_vhost_by_name(listener_context, "default");
	struct lws *wsi =
		lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_SOCKET, descriptor, LISTENER_PROTOCOL, NULL);
	char answer[256];
	Connection *connection;

	if (wsi == NULL)
		return false;
	connection = lws_wsi_user(wsi);
	connection->wsi = wsi;
	connection->session = request->opened(request->arg, connection);
	if (!listener_send(connection, (const uint8_t *) answer,
					   listener_answer(request, answer, sizeof(answer))))
		listener_drop(connection);
	else
		listener_read(connection, request->rest, request->rest_len);
	return true;
}

bool
listener_ready(void *io)
{
	const Connection *connection = io;

	return connection->rest == NULL && connection->control_len == 0;
}

bool
listener_write(void *io, const uint8_t *data, size_t len)
{
	return listener_send(io, data, len);
}

void
listener_pause(void *io, bool pause)
{
	Connection *connection = io;

	connection->paused = pause;
	if (pause)
		(void) lws_rx_flow_control(connection->wsi, 0);
	else
		/* Not from here: who calls this may be in the midst of something that reading would change. */
		lws_callback_on_writable(connection->wsi);
}

void
listener_wake(void *io)
{
	lws_callback_on_writable(((Connection *) io)->wsi);
}

void
listener_drop(void *io)
{
	Connection *connection = io;

	(void) shutdown(lws_get_socket_fd(connection->wsi), SHUT_RDWR);
	/* Only by a socket that it reads does the library find that out. */
	connection->paused = false;
	free(connection->unread);
	connection->unread = NULL;
	(void) lws_rx_flow_control(connection->wsi, 1);
}

/* What the client has sent and nobody has read stands before its end in the socket: so that is not looked for by reading. */
void
listener_probe(void *io)
{
	struct pollfd socket = {.fd = lws_get_socket_fd(((Connection *) io)->wsi), .events = POLLRDHUP};

	if (poll(&socket, 1, 0) > 0)
		listener_drop(io);
}
