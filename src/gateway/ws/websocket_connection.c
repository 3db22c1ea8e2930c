/*-------------------------------------------------------------------------
 *
 * websocket_connection.c
 *	  A client's WebSocket connection: the reader of websocket.c between a transport and a
 *	  session.
 *
 * A pong and the last close frame do not go through a session's queue. They are sent between two of
 * its writes, each of which ends at the end of a fragment.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/ws/websocket_connection.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/ws/frame.h"
#include "gateway/base/memory.h"
#include "gateway/ws/websocket.h"

struct WebsocketConnection
{
	Transport *transport;
	void *session;
	TransportRest rest;
	Frame *control; /* to send after the rest; NULL: none */
	const WebsocketEvents *events;
	bool ending; /* the frame in control, or one already sent, is the last one */
	bool paused; /* nothing is read or delivered */
	uint32_t unread_len;
	char *unread; /* data read before the pause; NULL: none */
	WebsocketReader reader;
};

/* Write the kept data, then the waiting control frame. After the last frame, shut down our side. */
static bool
websocket_flush(WebsocketConnection *connection)
{
	Frame *control = connection->control;

	if (!transport_flush(connection->transport, &connection->rest))
		return false;
	if (connection->rest.data != NULL)
		return true;
	if (control != NULL)
	{
		bool sent =
			transport_send(connection->transport, &connection->rest, control->data, control->len);

		connection->control = NULL;
		frame_unref(control);
		if (!sent)
			return false;
	}
	if (connection->ending && connection->rest.data == NULL)
		connection->transport->functions->finish(connection->transport);
	return true;
}

/*
 * Send a control frame, and take ownership of it. It replaces a waiting one: only the last of
 * several pings must be answered (RFC 6455, 5.5.3), and nothing follows a close.
 */
static void
websocket_control(WebsocketConnection *connection, Frame *frame)
{
	if (connection->control != NULL)
		frame_unref(connection->control);
	connection->control = frame;
	if (connection->rest.data == NULL && !websocket_flush(connection))
		websocket_drop(connection);
}

/*
 * The client has closed or violated the protocol: answer at once, and then shut down our side. If
 * this answers our own close frame, nothing more is sent. The session has a time limit for this.
 */
static void
websocket_end(WebsocketConnection *connection, const WebsocketPiece *piece)
{
	if (!connection->events->answer_close(connection->session))
	{
		websocket_drop(connection);
		return;
	}
	connection->ending = true;
	websocket_control(connection,
					  piece->code == 0
						  ? frame_control(FRAME_OPCODE_CLOSE, NULL, 0)
						  : frame_close(piece->code, piece->reason != NULL ? piece->reason : ""));
}

static void
websocket_piece(WebsocketConnection *connection, const WebsocketPiece *piece)
{
	switch (piece->kind)
	{
		case WEBSOCKET_MORE:
			break;
		case WEBSOCKET_DATA:
			connection->events->received(connection->session, piece->data, piece->len,
										 piece->remaining, piece->final, piece->binary,
										 piece->compressed);
			break;
		case WEBSOCKET_PING:
			connection->events->alive(connection->session);
			websocket_control(connection,
							  frame_control(FRAME_OPCODE_PONG, piece->data, piece->len));
			break;
		case WEBSOCKET_PONG:
			connection->events->alive(connection->session);
			break;
		case WEBSOCKET_CLOSE:
		case WEBSOCKET_ERROR:
			websocket_end(connection, piece);
			break;
	}
}

/* Data has arrived from the client. If it is paused, the rest is kept. */
static void
websocket_on_received(void *owner, char *data, size_t len)
{
	WebsocketConnection *connection = owner;

	while (len > 0 && !connection->paused)
	{
		WebsocketPiece piece;
		size_t used = websocket_read(&connection->reader, data, len, &piece);

		websocket_piece(connection, &piece);
		data += used;
		len -= used;
	}
	if (len == 0)
		return;
	connection->unread = memory_new(len);
	connection->unread_len = (uint32_t) len;
	memcpy(connection->unread, data, len);
}

/*
 * Continue with a client that is not paused any more: first with the kept data, then with its
 * socket.
 */
static void
websocket_read_on(WebsocketConnection *connection)
{
	char *unread = connection->unread;

	connection->unread = NULL;
	if (unread != NULL)
	{
		websocket_on_received(connection, unread, connection->unread_len);
		free(unread);
	}
	if (!connection->paused)
		connection->transport->functions->pause(connection->transport, false);
}

static void
websocket_on_writable(void *owner)
{
	WebsocketConnection *connection = owner;

	if (!websocket_flush(connection))
		websocket_drop(connection);
	else if (websocket_ready(connection) && !connection->ending)
		connection->events->writable(connection->session);
	if (!connection->paused)
		websocket_read_on(connection);
}

static void
websocket_on_closed(void *owner)
{
	WebsocketConnection *connection = owner;

	transport_rest_free(&connection->rest);
	if (connection->control != NULL)
		frame_unref(connection->control);
	free(connection->unread);
	connection->events->closed(connection->session);
	free(connection);
}

static const TransportEvents websocket_transport_events = {
	.received = websocket_on_received,
	.writable = websocket_on_writable,
	.closed = websocket_on_closed,
};

WebsocketConnection *
websocket_new(Transport *transport, const WebsocketEvents *events, bool deflates)
{
	WebsocketConnection *connection = memory_zeroed(sizeof(WebsocketConnection));

	connection->transport = transport;
	connection->events = events;
	connection->reader.deflates = deflates;
	return connection;
}

void
websocket_start(WebsocketConnection *connection, void *session, const char *answer,
				size_t answer_len, char *rest, size_t rest_len)
{
	connection->session = session;
	transport_own(connection->transport, &websocket_transport_events, connection);
	if (!transport_send(connection->transport, &connection->rest, (const uint8_t *) answer,
						answer_len))
		websocket_drop(connection);
	else
		websocket_on_received(connection, rest, rest_len);
}

bool
websocket_ready(void *io)
{
	const WebsocketConnection *connection = io;

	return connection->rest.data == NULL && connection->control == NULL;
}

bool
websocket_write(void *io, const uint8_t *data, size_t len)
{
	WebsocketConnection *connection = io;

	return transport_send(connection->transport, &connection->rest, data, len);
}

void
websocket_pause(void *io, bool pause)
{
	WebsocketConnection *connection = io;

	connection->paused = pause;
	if (pause)
		connection->transport->functions->pause(connection->transport, true);
	else
		/* Do not read here, because the caller may be working on data that reading would change. */
		websocket_wake(connection);
}

void
websocket_wake(void *io)
{
	WebsocketConnection *connection = io;

	connection->transport->functions->wake(connection->transport);
}

void
websocket_drop(void *io)
{
	WebsocketConnection *connection = io;

	connection->paused = false;
	free(connection->unread);
	connection->unread = NULL;
	connection->transport->functions->drop(connection->transport);
}

void
websocket_probe(void *io)
{
	WebsocketConnection *connection = io;

	connection->transport->functions->probe(connection->transport);
}
