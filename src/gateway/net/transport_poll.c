/*-------------------------------------------------------------------------
 *
 * transport_poll.c
 *	  A socket that the loop watches.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/transport_poll.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/memory.h"
#include "gateway/net/transport_lws.h"

/* Maximum bytes of one read. */
#define TRANSPORT_POLL_READ 16384

typedef struct PollTransport
{
	Transport base;
	uv_poll_t poll;
	int fd;     /* -1: closed or passed on */
	int wanted; /* UV_READABLE, UV_WRITABLE; UV_PRIORITIZED after the end: only errors */
	bool ended; /* the peer has sent its end */
	struct sockaddr_storage peer;
} PollTransport;

static void transport_poll_on_event(uv_poll_t *handle, int status, int events);

static void
transport_poll_on_closed(uv_handle_t *handle)
{
	PollTransport *poll = handle->data;

	if (poll->base.owner != NULL)
		poll->base.events->closed(poll->base.owner);
	free(poll);
}

/* Stop watching the socket. Returns its descriptor, or -1. */
static int
transport_poll_release(PollTransport *poll)
{
	int fd = poll->fd;

	if (fd < 0)
		return -1;
	poll->fd = -1;
	(void) uv_poll_stop(&poll->poll);
	uv_close((uv_handle_t *) &poll->poll, transport_poll_on_closed);
	return fd;
}

static void
transport_poll_drop(Transport *transport)
{
	int fd = transport_poll_release((PollTransport *) transport);

	if (fd >= 0)
		close(fd);
}

static void
transport_poll_watch(PollTransport *poll, int wanted)
{
	if (poll->fd < 0)
		return;
	poll->wanted = wanted;
	if ((wanted == 0 ? uv_poll_stop(&poll->poll)
					 : uv_poll_start(&poll->poll, wanted, transport_poll_on_event)) != 0)
		transport_poll_drop(&poll->base);
}

static bool
transport_poll_write(Transport *transport, const uint8_t *data, size_t len, size_t *taken)
{
	ssize_t n = send(((PollTransport *) transport)->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	*taken = n > 0 ? (size_t) n : 0;
	return n >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void
transport_poll_wake(Transport *transport)
{
	PollTransport *poll = (PollTransport *) transport;

	transport_poll_watch(poll, poll->wanted | UV_WRITABLE);
}

static void
transport_poll_pause(Transport *transport, bool pause)
{
	PollTransport *poll = (PollTransport *) transport;

	if (poll->ended)
		return;
	transport_poll_watch(poll, pause ? poll->wanted & ~UV_READABLE : poll->wanted | UV_READABLE);
}

static void
transport_poll_finish(Transport *transport)
{
	(void) shutdown(((PollTransport *) transport)->fd, SHUT_WR);
}

static void
transport_poll_probe(Transport *transport)
{
	struct pollfd socket = {.fd = ((PollTransport *) transport)->fd, .events = POLLRDHUP};

	if (poll(&socket, 1, 0) > 0)
		transport_poll_drop(transport);
}

static bool
transport_poll_peer(const Transport *transport, struct sockaddr_storage *address)
{
	*address = ((const PollTransport *) transport)->peer;
	return true;
}

static void
transport_poll_set_peer(Transport *transport, const struct sockaddr_storage *address)
{
	((PollTransport *) transport)->peer = *address;
}

/* End this transport first, because the loop must not watch the socket twice. */
static Transport *
transport_poll_keep(Transport *transport)
{
	int fd;

	transport->owner = NULL;
	fd = transport_poll_release((PollTransport *) transport);
	return fd >= 0 ? transport_lws_adopt(fd) : NULL;
}

/*
 * The peer has sent its end. Whether it still reads is only known after writing to it: then a peer
 * that has closed the connection resets it. epoll reports that always, but libuv only if it watches
 * something. Urgent data is what can't come any more.
 */
static void
transport_poll_end(PollTransport *poll)
{
	if (poll->base.owner == NULL || poll->base.events->ended == NULL)
	{
		transport_poll_drop(&poll->base);
		return;
	}
	poll->ended = true;
	transport_poll_watch(poll, (poll->wanted & ~UV_READABLE) | UV_PRIORITIZED);
	if (poll->fd >= 0)
		poll->base.events->ended(poll->base.owner);
}

/* The socket is ready for nothing that is watched: it is broken, or not worth watching. */
static void
transport_poll_check(PollTransport *transport)
{
	struct pollfd socket = {.fd = transport->fd};

	if (poll(&socket, 1, 0) > 0)
		transport_poll_drop(&transport->base);
	else
		transport_poll_watch(transport, transport->wanted & ~UV_PRIORITIZED);
}

static void
transport_poll_read(PollTransport *poll)
{
	static char buf[TRANSPORT_POLL_READ];
	ssize_t n = recv(poll->fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n < 0)
		transport_poll_drop(&poll->base);
	else if (n == 0)
		transport_poll_end(poll);
	else if (poll->base.owner != NULL)
		poll->base.events->received(poll->base.owner, buf, (size_t) n);
}

static void
transport_poll_on_event(uv_poll_t *handle, int status, int events)
{
	PollTransport *poll = handle->data;

	if (status < 0)
	{
		transport_poll_drop(&poll->base);
		return;
	}
	if ((events & UV_WRITABLE) != 0)
	{
		transport_poll_watch(poll, poll->wanted & ~UV_WRITABLE);
		if (poll->fd >= 0 && poll->base.owner != NULL)
			poll->base.events->writable(poll->base.owner);
	}
	if ((events & UV_READABLE) != 0 && poll->fd >= 0 && (poll->wanted & UV_READABLE) != 0)
		transport_poll_read(poll);
	if ((events & UV_PRIORITIZED) != 0 && poll->fd >= 0)
		transport_poll_check(poll);
}

static const TransportFunctions transport_poll_functions = {
	.write = transport_poll_write,
	.wake = transport_poll_wake,
	.pause = transport_poll_pause,
	.finish = transport_poll_finish,
	.drop = transport_poll_drop,
	.probe = transport_poll_probe,
	.peer = transport_poll_peer,
	.set_peer = transport_poll_set_peer,
	.keep = transport_poll_keep,
};

Transport *
transport_poll_new(uv_loop_t *loop, int fd, const struct sockaddr_storage *peer)
{
	PollTransport *poll = memory_zeroed(sizeof(PollTransport));

	poll->base.functions = &transport_poll_functions;
	poll->fd = fd;
	poll->peer = *peer;
	if (uv_poll_init(loop, &poll->poll, fd) != 0)
	{
		close(fd);
		free(poll);
		return NULL;
	}
	poll->poll.data = poll;
	return &poll->base;
}

void
transport_poll_start(Transport *transport)
{
	PollTransport *poll = (PollTransport *) transport;

	transport_poll_watch(poll, UV_READABLE);
	if (poll->fd >= 0)
		transport_poll_read(poll);
}
