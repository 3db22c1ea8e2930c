/*-------------------------------------------------------------------------
 *
 * peer.c
 *	  A connection that carries frames of wire.h.
 *
 *-------------------------------------------------------------------------
 */
#include "peer.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define PEER_READ   (64u * 1024)   /* read at once */
#define PEER_RETAIN (1024u * 1024) /* a buffer that has grown beyond is given back */

struct Peer
{
	uv_pipe_t pipe;
	const PeerEvents *events;
	void *arg;
	bool closing;
	const char *why;
	char *buf;
	size_t size;
	size_t len;    /* bytes of it that are filled */
	size_t needed; /* bytes that the next frame takes */
	size_t writes; /* that are not done */
};

typedef struct PeerWrite
{
	uv_write_t request;
	char data[];
} PeerWrite;

Peer *
peer_new(uv_loop_t *loop, const PeerEvents *events, void *arg)
{
	Peer *peer = memory_zeroed(sizeof(Peer));

	peer->events = events;
	peer->arg = arg;
	(void) uv_pipe_init(loop, &peer->pipe, 0);
	peer->pipe.data = peer;
	return peer;
}

uv_pipe_t *
peer_stream(Peer *peer)
{
	return &peer->pipe;
}

static void
peer_on_closed(uv_handle_t *handle)
{
	Peer *peer = handle->data;

	peer->events->closed(peer->arg, peer->why);
	free(peer->buf);
	free(peer);
}

void
peer_close(Peer *peer, const char *why)
{
	if (peer->closing)
		return;
	peer->closing = true;
	peer->why = why;
	uv_close((uv_handle_t *) &peer->pipe, peer_on_closed);
}

/* Room for the rest of the next frame, and for what comes with it. */
static void
peer_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	Peer *peer = handle->data;
	size_t size = peer->len + PEER_READ;

	(void) suggested;
	if (size < peer->needed)
		size = peer->needed;
	if (peer->size < size || (peer->size > PEER_RETAIN && size < PEER_RETAIN))
	{
		peer->buf = memory_resize(peer->buf, size);
		peer->size = size;
	}
	*buf = uv_buf_init(peer->buf + peer->len, (unsigned int) (peer->size - peer->len));
}

/* Hand on every whole frame there is. */
static void
peer_decode(Peer *peer)
{
	WireMessage frames[2];
	const WireMessage *frame = &frames[0];
	WireMessage *next = &frames[1];
	size_t done = 0;
	size_t used = 0;
	WireResult result = wire_decode(peer->buf, peer->len, &frames[0], &used);

	while (result == WIRE_OK && !peer->closing)
	{
		done += used;
		result = wire_decode(peer->buf + done, peer->len - done, next, &used);
		if (!peer->events->message(peer->arg, frame, result == WIRE_OK ? next : NULL))
			result = WIRE_BAD;
		frame = next;
		next = frame == &frames[0] ? &frames[1] : &frames[0];
	}
	if (result == WIRE_BAD)
		peer_close(peer, "protocol violation");
	peer->needed = used;
	peer->len -= done;
	if (done > 0 && peer->len > 0)
		memmove(peer->buf, peer->buf + done, peer->len);
}

static void
peer_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	Peer *peer = stream->data;

	(void) buf;
	if (n < 0)
		peer_close(peer, n == UV_EOF ? "connection closed" : uv_strerror((int) n));
	else if (n > 0)
	{
		peer->len += (size_t) n;
		peer_decode(peer);
	}
}

bool
peer_start(Peer *peer)
{
	return uv_read_start((uv_stream_t *) &peer->pipe, peer_on_alloc, peer_on_read) == 0;
}

static void
peer_on_written(uv_write_t *request, int status)
{
	Peer *peer = request->handle->data;

	free((char *) request - offsetof(PeerWrite, request));
	peer->writes--;
	if (status < 0)
		peer_close(peer, uv_strerror(status));
	else if (peer->writes == 0 && !peer->closing && peer->events->drained != NULL)
		peer->events->drained(peer->arg);
}

void
peer_send(Peer *peer, const WireMessage *message)
{
	PeerWrite *pending;
	uv_buf_t buf;
	size_t size;

	if (peer->closing)
		return;
	if (uv_stream_get_write_queue_size((uv_stream_t *) &peer->pipe) > PEER_MAX_BACKLOG)
	{
		peer_close(peer, "it does not read");
		return;
	}
	size = wire_encode(message, NULL, 0);
	pending = memory_new(sizeof(PeerWrite) + size);
	(void) wire_encode(message, pending->data, size);
	buf = uv_buf_init(pending->data, (unsigned int) size);
	if (uv_write(&pending->request, (uv_stream_t *) &peer->pipe, &buf, 1, peer_on_written) != 0)
	{
		free(pending);
		peer_close(peer, "write failed");
		return;
	}
	peer->writes++;
}
