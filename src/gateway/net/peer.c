/*-------------------------------------------------------------------------
 *
 * peer.c
 *	  A connection that carries frames of wire.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/peer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "gateway/base/memory.h"
#include "gateway/base/turn.h"

#define PEER_READ   (64u * 1024)   /* maximum bytes of one read */
#define PEER_RETAIN (1024u * 1024) /* a larger buffer is freed when it is empty */
#define PEER_WRITE  (64u * 1024) /* this many bytes of frames are written without waiting for more */

struct Peer
{
	uv_pipe_t pipe;
	const PeerEvents *events;
	void *arg;
	bool closing;
	const char *why;
	char *buf;
	size_t size;
	size_t len;    /* bytes of it in use */
	size_t needed; /* size of the next frame */
	bool waiting;  /* for the next turn, with frames in its buffer; it does not read meanwhile */
	TAILQ_ENTRY(Peer) in_waiting;
	/* Frames to be written: those passed to the pipe, at most one write, and those queued since. */
	TAILQ_ENTRY(Peer) in_gathering; /* while frames are queued */
	bool writing;
	uv_write_t write;
	uv_buf_t written;
	char *out;
	size_t out_size;
	size_t out_len;
};

static TAILQ_HEAD(, Peer) peer_gathering = TAILQ_HEAD_INITIALIZER(peer_gathering);
static TAILQ_HEAD(, Peer) peer_waiting = TAILQ_HEAD_INITIALIZER(peer_waiting);
static Turn peer_turn; /* for the frames of all peers */

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

static void
peer_on_written(uv_write_t *request, int status)
{
	Peer *peer = request->handle->data;

	free(peer->written.base);
	peer->written = (uv_buf_t){0};
	peer->writing = false;
	if (status < 0)
		peer_close(peer, uv_strerror(status));
	else if (peer->out_len == 0 && !peer->closing && peer->events->drained != NULL)
		peer->events->drained(peer->arg);
}

/* Clear the queue: the frames are written, or useless. */
static void
peer_empty(Peer *peer)
{
	if (peer->out_len > 0)
		TAILQ_REMOVE(&peer_gathering, peer, in_gathering);
	peer->out = NULL;
	peer->out_size = peer->out_len = 0;
}

/* Pass the queued frames to the pipe in one write, unless the last write is still in progress. */
static void
peer_flush(Peer *peer)
{
	if (peer->writing || peer->out_len == 0)
		return;
	peer->writing = true;
	peer->written = uv_buf_init(peer->out, (unsigned int) peer->out_len);
	peer_empty(peer);
	if (uv_write(&peer->write, (uv_stream_t *) &peer->pipe, &peer->written, 1, peer_on_written) ==
		0)
		return;
	free(peer->written.base);
	peer->writing = false;
	peer_close(peer, "write failed");
}

void
peer_flush_all(void)
{
	Peer *peer;
	Peer *next;

	for (peer = TAILQ_FIRST(&peer_gathering); peer != NULL; peer = next)
	{
		next = TAILQ_NEXT(peer, in_gathering);
		peer_flush(peer);
	}
}

void
peer_close(Peer *peer, const char *why)
{
	if (peer->closing)
		return;
	peer->closing = true;
	peer->why = why;
	/* What the socket accepts at once still arrives. */
	peer_flush(peer);
	free(peer->out);
	peer_empty(peer);
	if (peer->waiting)
		TAILQ_REMOVE(&peer_waiting, peer, in_waiting);
	uv_close((uv_handle_t *) &peer->pipe, peer_on_closed);
}

/* Return room for the rest of the next frame, and for data after it. */
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

/* Return true if the rest must wait for the next turn. */
static bool
peer_turn_is_over(void)
{
	return turn_is_over(&peer_turn, uv_hrtime(), TURN_NS);
}

static void
peer_wait(Peer *peer)
{
	peer->waiting = true;
	TAILQ_INSERT_TAIL(&peer_waiting, peer, in_waiting);
	(void) uv_read_stop((uv_stream_t *) &peer->pipe);
}

/* Process all complete frames, as far as there is time in this turn. */
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
		if (peer_turn_is_over())
		{
			peer_wait(peer);
			break;
		}
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

void
peers_work(void)
{
	Peer *peer;

	turn_begin(&peer_turn);
	while ((peer = TAILQ_FIRST(&peer_waiting)) != NULL && !peer_turn_is_over())
	{
		TAILQ_REMOVE(&peer_waiting, peer, in_waiting);
		peer->waiting = false;
		peer_decode(peer);
		if (!peer->waiting && !peer->closing && !peer_start(peer))
			peer_close(peer, "it cannot be read");
	}
}

bool
peers_wait(void)
{
	return !TAILQ_EMPTY(&peer_waiting);
}

bool
peer_start(Peer *peer)
{
	return uv_read_start((uv_stream_t *) &peer->pipe, peer_on_alloc, peer_on_read) == 0;
}

void
peer_send(Peer *peer, const WireMessage *message)
{
	size_t size;

	if (peer->closing)
		return;
	size = wire_encode(message, NULL, 0);
	if (peer->out_len + size + peer->written.len > PEER_MAX_BACKLOG &&
		peer->out_len + peer->written.len > 0)
	{
		peer_close(peer, "it does not read");
		return;
	}
	if (peer->out_len + size > peer->out_size)
	{
		peer->out_size =
			2 * peer->out_size > peer->out_len + size ? 2 * peer->out_size : peer->out_len + size;
		peer->out = memory_resize(peer->out, peer->out_size);
	}
	if (peer->out_len == 0)
		TAILQ_INSERT_TAIL(&peer_gathering, peer, in_gathering);
	peer->out_len += wire_encode(message, peer->out + peer->out_len, size);
	if (peer->out_len >= PEER_WRITE)
		peer_flush(peer);
}
