/*-------------------------------------------------------------------------
 *
 * acceptor.c
 *	  Accepts connections on the listening sockets.
 *
 * The kernel holds back a connection until the client has sent something (TCP_DEFER_ACCEPT), so
 * clients that only connect use none of our resources. A request that has arrived completely is
 * then read and answered at once.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/acceptor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/net/transport_poll.h"

/* Connections accepted before other work gets its turn. */
#define ACCEPTOR_ROUND 64

#define ACCEPTOR_MAX 64 /* maximum number of listening sockets */

/*
 * Maximum bytes that the kernel accepts for a client and has not sent yet. By default the kernel
 * buffers megabytes for each client that does not read, until the whole machine is short of TCP
 * memory. Events are in the log anyway.
 */
#define ACCEPTOR_NOT_SENT (128 * 1024)

static struct
{
	uv_loop_t *loop;
	void (*accepted)(Transport *transport);
	uv_poll_t listeners[ACCEPTOR_MAX];
	int fds[ACCEPTOR_MAX];
	int count;
	bool paused;     /* waiting for descriptors or memory */
	bool complained; /* that was logged, and nothing was accepted since */
} acceptor;

static void acceptor_on_connection(uv_poll_t *poll, int status, int events);

static void
acceptor_open(int fd, const struct sockaddr_storage *address)
{
	Transport *transport;
	int on = 1;
	int not_sent = ACCEPTOR_NOT_SENT;

	/* The gateway itself combines writes. */
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	transport = transport_poll_new(acceptor.loop, fd, address);
	if (transport == NULL)
		return;
	acceptor.accepted(transport);
	transport_poll_start(transport);
}

/* There are no descriptors or memory: wait instead of trying again at once. */
static void
acceptor_pause(int error)
{
	if (!acceptor.complained)
		log_write(WIRE_LOG_WARNING, "could not accept a connection: %s", strerror(error));
	acceptor.complained = true;
	acceptor.paused = true;
	for (int i = 0; i < acceptor.count; i++)
		(void) uv_poll_stop(&acceptor.listeners[i]);
}

static void
acceptor_resume(void)
{
	acceptor.paused = false;
	for (int i = 0; i < acceptor.count; i++)
		(void) uv_poll_start(&acceptor.listeners[i], UV_READABLE, acceptor_on_connection);
}

static void
acceptor_on_connection(uv_poll_t *poll, int status, int events)
{
	int listener = *(int *) poll->data;

	(void) events;
	for (int i = 0; status == 0 && i < ACCEPTOR_ROUND; i++)
	{
		struct sockaddr_storage address;
		socklen_t size = sizeof(address);
		int fd =
			accept4(listener, (struct sockaddr *) &address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
		{
			acceptor.complained = false;
			acceptor_open(fd, &address);
		}
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		{
			acceptor_pause(errno);
			return;
		}
		/* Another gateway has accepted it, or the new connection is already broken (accept(2)). */
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
	}
}

/*
 * Accept only connections that have sent something. When the time is over, the kernel repeats its
 * part of TCP's handshake, and accepts the connection after the answer (tcp(7)). If the system does
 * not support this, all are accepted at once.
 */
static void
acceptor_defer(int listener, int seconds)
{
	(void) setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
}

bool
acceptor_start(uv_loop_t *loop, int first_fd, int count, int defer_ms,
			   void (*accepted)(Transport *transport))
{
	acceptor.loop = loop;
	acceptor.accepted = accepted;
	if (count > ACCEPTOR_MAX)
		count = ACCEPTOR_MAX;
	for (int i = 0; i < count; i++)
	{
		int result;

		acceptor.fds[i] = first_fd + i;
		result = uv_poll_init(loop, &acceptor.listeners[i], acceptor.fds[i]);
		if (result != 0)
		{
			log_write(WIRE_LOG_ERROR, "descriptor %d is no listening socket: %s", acceptor.fds[i],
					  uv_strerror(result));
			return false;
		}
		acceptor.listeners[i].data = &acceptor.fds[i];
		acceptor_defer(acceptor.fds[i], defer_ms / 1000);
		acceptor.count++;
	}
	acceptor_resume();
	return true;
}

void
acceptor_tick(void)
{
	if (acceptor.paused)
		acceptor_resume();
}

bool
acceptor_waits(void)
{
	return acceptor.paused;
}

void
acceptor_stop(void)
{
	for (int i = 0; i < acceptor.count; i++)
	{
		(void) uv_poll_stop(&acceptor.listeners[i]);
		uv_close((uv_handle_t *) &acceptor.listeners[i], NULL);
		close(acceptor.fds[i]);
	}
	acceptor.count = 0;
}
