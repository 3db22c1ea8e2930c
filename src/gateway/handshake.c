/*-------------------------------------------------------------------------
 *
 * handshake.c
 *	  From an accepted TCP connection to a session, or to an answer of ours.
 *
 * The kernel keeps a connection back until the client has sent something
 * (TCP_DEFER_ACCEPT), so those that only connect take nothing of ours. A request that
 * has come as a whole is then read, and answered, at once. Of the others, and of those that
 * linger, there is a limited number: see address.h for who has to go.
 *
 *	  READING ──► handed over to the library, a session from then on
 *		 └──────► LINGERING (answered; the client's rest is read and thrown away, so
 *				  that no reset overtakes the answer) ──► closed
 *
 *-------------------------------------------------------------------------
 */
#include "handshake.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "admission.h"
#include "http_head.h"
#include "listener.h"
#include "log.h"
#include "memory.h"

/* Connections accepted before it is the others' turn. */
#define HANDSHAKE_ROUND 64

/* Read and thrown away after an answer. */
#define HANDSHAKE_LINGER_BYTES (256u * 1024)

/* "[address]:port" with a NUL. */
#define HANDSHAKE_ADDRESS (INET6_ADDRSTRLEN + 16)

#define HANDSHAKE_MAX_LISTENERS 64

/*
 * Bytes that the kernel takes for a client and has not sent yet. Left alone it takes megabytes for each client that
 * does not read, until the whole machine is short of memory for TCP; and what it has is in our log as well.
 */
#define HANDSHAKE_NOT_SENT (128 * 1024)

typedef struct Handshake
{
	TAILQ_ENTRY(Handshake) in_all;
	Pending pending;
	uv_poll_t poll;
	int fd; /* -1: not ours any more */
	bool lingering;
	uint64_t deadline;
	size_t len; /* bytes in buf, or thrown away */
	size_t scanned;
	Database *database; /* once it is let in */
	bool anonymous;
	bool subprotocol;
	char address[HANDSHAKE_ADDRESS];
	char buf[HTTP_HEAD_MAX]; /* last, since it is not cleared */
} Handshake;

TAILQ_HEAD(HandshakeQueue, Handshake);

static struct
{
	uv_loop_t *loop;
	const Config *config;
	Hub *hub;
	Sessions *sessions;
	uv_poll_t listeners[HANDSHAKE_MAX_LISTENERS];
	int fds[HANDSHAKE_MAX_LISTENERS];
	int count;
	bool paused;                   /* the system has no descriptors or memory for more */
	bool complained;               /* that was logged, and nothing has been accepted since */
	struct HandshakeQueue reading; /* oldest first, both */
	struct HandshakeQueue lingering;
	uint32_t count_pending; /* in both */
	uint32_t max_pending;
	Addresses addresses;
} handshake;

static void handshake_on_readable(uv_poll_t *poll, int status, int events);
static void handshake_on_connection(uv_poll_t *poll, int status, int events);

static void
handshake_on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Stop watching the socket, and forget about it. Its descriptor is closed unless it was given away. */
static void
handshake_free(Handshake *h)
{
	TAILQ_REMOVE(h->lingering ? &handshake.lingering : &handshake.reading, h, in_all);
	handshake.count_pending--;
	address_remove_pending(&handshake.addresses, &h->pending);
	(void) uv_poll_stop(&h->poll);
	uv_close((uv_handle_t *) &h->poll, handshake_on_closed);
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
}

/* Answer, shut our side down, and wait for the client to do so too. */
static void
handshake_answer(Handshake *h, const Admission *admission)
{
	char answer[1024];
	size_t len = admission_answer(admission, answer, sizeof(answer));

	if (admission->status != 200)
		handshake.sessions->stats.refused++;
	/* A socket that has sent nothing yet takes this much, or it is broken. */
	if (send(h->fd, answer, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t) len ||
		shutdown(h->fd, SHUT_WR) != 0)
	{
		handshake_free(h);
		return;
	}
	TAILQ_REMOVE(&handshake.reading, h, in_all);
	TAILQ_INSERT_TAIL(&handshake.lingering, h, in_all);
	h->lingering = true;
	h->len = 0;
	h->deadline = uv_now(handshake.loop) + HANDSHAKE_LINGER_MS;
}

static void
handshake_refuse(Handshake *h, int status, const char *reason)
{
	Admission admission;

	admission_refuse(&admission, status, reason);
	handshake_answer(h, &admission);
}

static void *
handshake_opened(void *arg, void *io)
{
	Handshake *h = arg;
	Session *session = session_open(handshake.sessions, h->database, h->address, h->anonymous, io);
	struct timespec now;

	(void) clock_gettime(CLOCK_REALTIME, &now);
	session->connected_at = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
	session->subprotocol = h->subprotocol;
	session->from = h->pending.address;
	return session;
}

/* Hand the socket over. The loop must not watch it twice, so ours ends first. */
static void
handshake_upgrade(Handshake *h, const HttpHead *head, size_t size, const Admission *admission)
{
	ListenerRequest request = {
		.key = head->key.data,
		.subprotocol = head->subprotocol,
		.rest = h->buf + size,
		.rest_len = h->len - size,
		.opened = handshake_opened,
		.arg = h,
	};
	Address *from = h->pending.address;
	int fd = h->fd;

	/* First, so that the address outlives the handshake. */
	address_add_client(from);
	h->database = admission->database;
	h->anonymous = admission->anonymous;
	h->subprotocol = head->subprotocol;
	h->fd = -1;
	handshake_free(h); /* freed by the loop, so it is still there for opened() */
	if (listener_adopt(fd, &request))
		return;
	address_remove_client(&handshake.addresses, from);
	handshake.sessions->stats.refused++;
}

/* The head is complete. */
static void
handshake_decide(Handshake *h, size_t size)
{
	HttpHead head;
	Admission admission;
	const char *problem = http_head_parse(h->buf, size, &head);

	if (problem != NULL)
	{
		handshake_refuse(h, 400, problem);
		return;
	}
	admission_decide(&head, h->pending.address, handshake.config, handshake.hub, handshake.sessions,
					 &admission);
	if (admission.status == ADMISSION_UPGRADE)
		handshake_upgrade(h, &head, size, &admission);
	else
		handshake_answer(h, &admission);
}

/* Read what there is of the head. */
static void
handshake_read(Handshake *h)
{
	size_t size = 0;
	ssize_t n = recv(h->fd, h->buf + h->len, sizeof(h->buf) - h->len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n <= 0)
	{
		handshake_free(h);
		return;
	}
	h->len += (size_t) n;
	switch (http_head_scan(h->buf, h->len, &h->scanned, &size))
	{
		case HTTP_SCAN_MORE:
			break;
		case HTTP_SCAN_DONE:
			handshake_decide(h, size);
			break;
		case HTTP_SCAN_BAD:
			handshake_refuse(h, 400, "malformed request");
			break;
		case HTTP_SCAN_LARGE:
			handshake_refuse(h, 431, "the request's head is larger than 8192 bytes");
			break;
	}
}

/* Read what nobody wants to know. */
static void
handshake_discard(Handshake *h)
{
	ssize_t n = recv(h->fd, h->buf, sizeof(h->buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n > 0)
		h->len += (size_t) n;
	if (n <= 0 || h->len > HANDSHAKE_LINGER_BYTES)
		handshake_free(h);
}

static void
handshake_on_readable(uv_poll_t *poll, int status, int events)
{
	Handshake *h = poll->data;

	(void) events;
	if (status < 0)
		handshake_free(h);
	else if (h->lingering)
		handshake_discard(h);
	else
		handshake_read(h);
}

static void
handshake_address(const struct sockaddr_storage *address, socklen_t size, char *text)
{
	char host[INET6_ADDRSTRLEN] = "?";
	char port[8] = "?";

	(void) getnameinfo((const struct sockaddr *) address, size, host, sizeof(host), port, sizeof(port),
					   NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, HANDSHAKE_ADDRESS, address->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* Make room for one more. */
static void
handshake_evict(void)
{
	Pending *pending = address_first_to_lose(&handshake.addresses);

	if (pending != NULL)
		handshake_free((Handshake *) ((char *) pending - offsetof(Handshake, pending)));
}

static void
handshake_open(int fd, const struct sockaddr_storage *address, socklen_t size)
{
	Handshake *h;
	int on = 1;
	int not_sent = HANDSHAKE_NOT_SENT;

	if (handshake.count_pending >= handshake.max_pending)
		handshake_evict();
	/* What is written is gathered by ourselves. */
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	h = memory_new(sizeof(Handshake));
	memset(h, 0, offsetof(Handshake, buf));
	h->fd = fd;
	h->deadline = uv_now(handshake.loop) + HANDSHAKE_MS;
	handshake_address(address, size, h->address);
	if (uv_poll_init(handshake.loop, &h->poll, fd) != 0)
	{
		close(fd);
		free(h);
		return;
	}
	h->poll.data = h;
	TAILQ_INSERT_TAIL(&handshake.reading, h, in_all);
	handshake.count_pending++;
	address_add_pending(&handshake.addresses, &h->pending, address);
	if (uv_poll_start(&h->poll, UV_READABLE, handshake_on_readable) != 0)
		handshake_free(h);
	else
		handshake_read(h);
}

/* The system has no descriptors or memory: wait for some to be freed instead of turning in circles. */
static void
handshake_pause(int error)
{
	if (!handshake.complained)
		log_write(WIRE_LOG_WARNING, "could not accept a connection: %s", strerror(error));
	handshake.complained = true;
	handshake.paused = true;
	for (int i = 0; i < handshake.count; i++)
		(void) uv_poll_stop(&handshake.listeners[i]);
}

static void
handshake_resume(void)
{
	handshake.paused = false;
	for (int i = 0; i < handshake.count; i++)
		(void) uv_poll_start(&handshake.listeners[i], UV_READABLE, handshake_on_connection);
}

static void
handshake_on_connection(uv_poll_t *poll, int status, int events)
{
	int listener = *(int *) poll->data;

	(void) events;
	for (int i = 0; status == 0 && i < HANDSHAKE_ROUND; i++)
	{
		struct sockaddr_storage address;
		socklen_t size = sizeof(address);
		int fd = accept4(listener, (struct sockaddr *) &address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
		{
			handshake.complained = false;
			handshake_open(fd, &address, size);
		}
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		{
			handshake_pause(errno);
			return;
		}
		/* Another gateway was faster, or (accept(2)) the new connection is broken already. */
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
	}
}

/*
 * Accept only what has sent something. For so long, and then a little: when the time is over the kernel sends its part of TCP's
 * handshake again, and with the answer to that it is accepted like any other (tcp(7)). Where that is not to be had,
 * all are accepted at once.
 */
static void
handshake_defer(int listener)
{
	int seconds = HANDSHAKE_MS / 1000;

	(void) setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
}

bool
handshake_start(uv_loop_t *loop, int first_fd, int count, uint32_t pending, const Config *config, Hub *hub,
				Sessions *sessions)
{
	handshake.loop = loop;
	handshake.config = config;
	handshake.hub = hub;
	handshake.sessions = sessions;
	TAILQ_INIT(&handshake.reading);
	TAILQ_INIT(&handshake.lingering);
	addresses_init(&handshake.addresses);
	handshake.max_pending = pending < HANDSHAKE_MAX ? pending : HANDSHAKE_MAX;
	if (count > HANDSHAKE_MAX_LISTENERS)
		count = HANDSHAKE_MAX_LISTENERS;
	for (int i = 0; i < count; i++)
	{
		int result;

		handshake.fds[i] = first_fd + i;
		result = uv_poll_init(loop, &handshake.listeners[i], handshake.fds[i]);
		if (result != 0)
		{
			log_write(WIRE_LOG_ERROR, "descriptor %d is no listening socket: %s", handshake.fds[i],
					  uv_strerror(result));
			return false;
		}
		handshake.listeners[i].data = &handshake.fds[i];
		handshake_defer(handshake.fds[i]);
		handshake.count++;
	}
	handshake_resume();
	return true;
}

void
handshake_left(Session *session)
{
	address_remove_client(&handshake.addresses, session->from);
	session->from = NULL;
}

void
handshake_tick(void)
{
	uint64_t now = uv_now(handshake.loop);
	Handshake *h;

	while ((h = TAILQ_FIRST(&handshake.reading)) != NULL && now >= h->deadline)
		handshake_refuse(h, 408, "the request was not complete in time");
	while ((h = TAILQ_FIRST(&handshake.lingering)) != NULL && now >= h->deadline)
		handshake_free(h);
	if (handshake.paused)
		handshake_resume();
}

bool
handshake_waits(void)
{
	return handshake.paused || handshake.count_pending > 0;
}

void
handshake_stop(void)
{
	for (int i = 0; i < handshake.count; i++)
	{
		(void) uv_poll_stop(&handshake.listeners[i]);
		uv_close((uv_handle_t *) &handshake.listeners[i], NULL);
		close(handshake.fds[i]);
	}
	handshake.count = 0;
	while (!TAILQ_EMPTY(&handshake.reading))
		handshake_free(TAILQ_FIRST(&handshake.reading));
	while (!TAILQ_EMPTY(&handshake.lingering))
		handshake_free(TAILQ_FIRST(&handshake.lingering));
}
