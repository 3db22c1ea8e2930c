/*-------------------------------------------------------------------------
 *
 * ws.c
 *	  The client's side of WebSocket (RFC 6455), as far as the benchmarks need it.
 *
 *-------------------------------------------------------------------------
 */
#include "ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WS_READS 4            /* of one connection, before others get their turn */
#define WS_READ  (256 * 1024) /* bytes in one read */

#define WS_OPCODE_TEXT  0x1
#define WS_OPCODE_CLOSE 0x8
#define WS_OPCODE_PING  0x9
#define WS_OPCODE_PONG  0xa

static uint8_t ws_buffer[WS_MAX_MESSAGE + WS_READ];

bool
ws_connect(Ws *ws, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ws->kept = NULL;
	ws->kept_len = 0;
	ws->messages = 0;
	ws->pings = 0;
	ws->state = WS_CONNECTING;
	ws->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (ws->fd < 0)
		return false;
	(void) setsockopt(ws->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connect(ws->fd, (struct sockaddr *) &address, sizeof(address)) == 0 ||
		   errno == EINPROGRESS;
}

/* All messages are short here, so a socket that does not accept one is broken. */
static bool
ws_write(Ws *ws, const void *data, size_t len)
{
	return send(ws->fd, data, len, MSG_NOSIGNAL) == (ssize_t) len;
}

bool
ws_request(Ws *ws, int port, const char *path, const char *subprotocol)
{
	char request[1024];
	int error = 0;
	socklen_t size = sizeof(error);
	int len = snprintf(
		request, sizeof(request),
		"GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
		path, port, subprotocol != NULL ? "Sec-WebSocket-Protocol: " : "",
		subprotocol != NULL ? subprotocol : "", subprotocol != NULL ? "\r\n" : "");

	if (getsockopt(ws->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
	{
		errno = error;
		return false;
	}
	ws->state = WS_HANDSHAKE;
	return len < (int) sizeof(request) && ws_write(ws, request, (size_t) len);
}

/* Send a frame, masked as required, with a mask that changes nothing. */
static bool
ws_send_frame(Ws *ws, uint8_t opcode, const void *payload, size_t len)
{
	uint8_t frame[8 + 1024] = {0};
	size_t header = 2;

	if (len > sizeof(frame) - 8)
		return false;
	frame[0] = 0x80 | opcode;
	if (len < 126)
		frame[1] = (uint8_t) (0x80 | len);
	else
	{
		frame[1] = 0x80 | 126;
		frame[2] = (uint8_t) (len >> 8);
		frame[3] = (uint8_t) len;
		header = 4;
	}
	memcpy(frame + header + 4, payload, len);
	return ws_write(ws, frame, header + 4 + len);
}

bool
ws_send(Ws *ws, const char *text)
{
	return ws_send_frame(ws, WS_OPCODE_TEXT, text, strlen(text));
}

/* Get the sizes of a frame's header and payload. Returns false if the header is incomplete. */
static bool
ws_frame_size(const uint8_t *data, size_t len, size_t *header, size_t *payload)
{
	if (len < 2)
		return false;
	*header = 2;
	*payload = data[1] & 0x7f;
	if (*payload == 126)
	{
		if (len < 4)
			return false;
		*header = 4;
		*payload = (size_t) data[2] << 8 | data[3];
	}
	else if (*payload == 127)
	{
		if (len < 10)
			return false;
		*header = 10;
		*payload =
			(size_t) data[6] << 24 | (size_t) data[7] << 16 | (size_t) data[8] << 8 | data[9];
	}
	return true;
}

/* Process all complete frames. Returns their size in bytes, or -1 if the connection has ended. */
static ssize_t
ws_frames(Ws *ws, const uint8_t *data, size_t len, WsMessage message, void *arg)
{
	size_t done = 0;
	size_t header;
	size_t payload;

	while (ws_frame_size(data + done, len - done, &header, &payload) &&
		   header + payload <= len - done)
	{
		const uint8_t *at = data + done;
		uint8_t opcode = at[0] & 0x0f;

		if (opcode == WS_OPCODE_TEXT)
		{
			ws->messages++;
			message(ws, (const char *) at + header, payload, arg);
		}
		else if (opcode == WS_OPCODE_CLOSE)
			return -1;
		else if (opcode == WS_OPCODE_PING)
		{
			ws->pings++;
			if (!ws_send_frame(ws, WS_OPCODE_PONG, at + header, payload))
				return -1;
		}
		done += header + payload;
	}
	return (ssize_t) done;
}

/*
 * Read the server's answer. Returns its size, 0 if it is incomplete, or -1 if the handshake has
 * failed.
 */
static ssize_t
ws_answer(Ws *ws, const uint8_t *data, size_t len)
{
	const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);

	if (end == NULL)
		return 0;
	if (len < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0)
	{
		fprintf(stderr, "handshake refused: %.*s\n", (int) (end - data), (const char *) data);
		return -1;
	}
	ws->state = WS_OPEN;
	return end + 4 - data;
}

/* Process the data in the buffer, and keep the rest. */
static bool
ws_use(Ws *ws, size_t len, WsMessage message, void *arg)
{
	size_t done = 0;
	ssize_t used;

	if (ws->state == WS_HANDSHAKE)
	{
		used = ws_answer(ws, ws_buffer, len);
		if (used < 0)
			return false;
		done = (size_t) used;
	}
	if (ws->state == WS_OPEN)
	{
		used = ws_frames(ws, ws_buffer + done, len - done, message, arg);
		if (used < 0)
			return false;
		done += (size_t) used;
	}
	ws->kept_len = (uint32_t) (len - done);
	if (ws->kept_len > WS_MAX_MESSAGE)
		return false;
	if (ws->kept_len > 0)
	{
		ws->kept = realloc(ws->kept, ws->kept_len);
		if (ws->kept == NULL)
			abort();
		memcpy(ws->kept, ws_buffer + done, ws->kept_len);
	}
	return true;
}

bool
ws_read(Ws *ws, WsMessage message, void *arg)
{
	for (int i = 0; i < WS_READS; i++)
	{
		ssize_t got;

		if (ws->kept_len > 0)
			memcpy(ws_buffer, ws->kept, ws->kept_len);
		got = recv(ws->fd, ws_buffer + ws->kept_len, WS_READ, 0);
		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		ws->reads++;
		if (got == 0 || !ws_use(ws, ws->kept_len + (size_t) got, message, arg))
			return false;
		/* Read again only if there is probably more. */
		if (got < 64 * 1024)
			return true;
	}
	return true;
}

void
ws_close(Ws *ws)
{
	if (ws->state == WS_CLOSED)
		return;
	close(ws->fd);
	free(ws->kept);
	ws->kept = NULL;
	ws->kept_len = 0;
	ws->state = WS_CLOSED;
}
