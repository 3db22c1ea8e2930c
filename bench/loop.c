/*-------------------------------------------------------------------------
 *
 * loop.c
 *	  The limit of fan-out: a loop that writes ready-made frames to sockets, and does nothing
 *	  else.
 *
 *	  loop PORT CLIENTS
 *
 * It prints {} when it listens, waits for this many connections on 127.0.0.1, and answers every
 * request as a WebSocket handshake. Then it reads commands, one a line, and answers each with a
 * line of JSON: the messages written, the seconds, and the processor time.
 *
 *	  spaced EVENTS SIZE MICROSECONDS	an event of SIZE bytes at this interval, with one write for each client
 *	  burst EVENTS SIZE FRAMES			this many events as fast as the sockets accept them, at most FRAMES in a
 *										write
 *	  ping SECONDS SIZE PERIOD			for this long, a ping of SIZE bytes to each client in every PERIOD
 *										seconds, to a part of them each second; the answers are read
 *
 * It ends when its standard input is closed.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define LOOP_MAX_FRAME 65535
#define LOOP_EVENTS    256
#define LOOP_NOT_SENT  (128 * 1024) /* like the sockets of the gateway */

typedef struct LoopClient
{
	int fd;
	bool blocked;
	uint64_t left; /* bytes not written yet */
} LoopClient;

static LoopClient *loop_clients;
static int loop_nclients;
static int loop_epoll;

static void
loop_fail(const char *what)
{
	fprintf(stderr, "loop: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---------------- connecting ---------------- */

static void
loop_accept(int listener, LoopClient *client)
{
	static const char answer[] =
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
	char request[2048];
	size_t len = 0;
	int on = 1;
	int not_sent = LOOP_NOT_SENT;

	client->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (client->fd < 0)
		loop_fail("accept");
	while (memmem(request, len, "\r\n\r\n", 4) == NULL)
	{
		ssize_t got = recv(client->fd, request + len, sizeof(request) - len, 0);

		if (got <= 0)
			loop_fail("no request came");
		len += (size_t) got;
	}
	(void) setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void) setsockopt(client->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &not_sent, sizeof(not_sent));
	if (send(client->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) != sizeof(answer) - 1)
		loop_fail("send");
	if (epoll_ctl(loop_epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
		loop_fail("epoll_ctl");
}

static void
loop_accept_all(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listener, 1024) != 0)
		loop_fail("listen");
	printf("{}\n");
	fflush(stdout);
	for (int i = 0; i < loop_nclients; i++)
		loop_accept(listener, &loop_clients[i]);
	close(listener);
}

/* ---------------- writing ---------------- */

/* Make a buffer with frames frames of size bytes each. */
static uint8_t *
loop_frames(size_t size, size_t frames)
{
	uint8_t *data = malloc(size * frames);

	if (data == NULL)
		loop_fail("malloc");
	for (size_t i = 0; i < frames; i++)
	{
		uint8_t *frame = data + i * size;

		memset(frame, ' ', size);
		frame[0] = 0x81;
		if (size < 128)
			frame[1] = (uint8_t) (size - 2);
		else
		{
			frame[1] = 126;
			frame[2] = (uint8_t) ((size - 4) >> 8);
			frame[3] = (uint8_t) (size - 4);
		}
	}
	return data;
}

static void
loop_wait_until(uint64_t at)
{
	struct timespec until = {.tv_sec = (time_t) (at / 1000000000),
							 .tv_nsec = (long) (at % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

/* All clients read while nothing is written, so a socket accepts a complete frame. */
static void
loop_spaced(uint64_t events, size_t size, uint64_t interval)
{
	uint8_t *frame = loop_frames(size, 1);
	uint64_t at = clock_monotonic();

	for (uint64_t i = 0; i < events; i++)
	{
		at += interval;
		loop_wait_until(at);
		for (int c = 0; c < loop_nclients; c++)
		{
			if (send(loop_clients[c].fd, frame, size, MSG_NOSIGNAL | MSG_DONTWAIT) !=
				(ssize_t) size)
				loop_fail("a client does not read");
		}
	}
	free(frame);
}

/* Write to a client once. Returns true if it has everything now. */
static bool
loop_write(LoopClient *client, const uint8_t *data, uint64_t length)
{
	uint64_t at = length - (client->left - 1) % length - 1;
	uint64_t size = length - at < client->left ? length - at : client->left;
	ssize_t sent = send(client->fd, data + at, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0 && errno != EAGAIN)
		loop_fail("send");
	client->left -= sent > 0 ? (uint64_t) sent : 0;
	client->blocked = sent < (ssize_t) size;
	return client->left == 0;
}

static void
loop_unblock(int timeout)
{
	struct epoll_event events[LOOP_EVENTS];
	int n = epoll_wait(loop_epoll, events, LOOP_EVENTS, timeout);

	for (int i = 0; i < n; i++)
		((LoopClient *) events[i].data.ptr)->blocked = false;
}

/* Write to one client after the other. If none accepts data, wait until one does. */
static void
loop_burst(uint64_t events, size_t size, size_t frames)
{
	uint8_t *data = loop_frames(size, frames);
	int done = 0;

	for (int c = 0; c < loop_nclients; c++)
	{
		loop_clients[c].left = events * size;
		loop_clients[c].blocked = false;
	}
	while (done < loop_nclients)
	{
		bool all_blocked = true;

		for (int c = 0; c < loop_nclients; c++)
		{
			if (loop_clients[c].left == 0 || loop_clients[c].blocked)
				continue;
			done += loop_write(&loop_clients[c], data, size * frames);
			all_blocked = false;
		}
		loop_unblock(all_blocked && done < loop_nclients ? 10000 : 0);
	}
	free(data);
}

/* Read what has arrived. */
static void
loop_read(int timeout)
{
	struct epoll_event events[LOOP_EVENTS];
	int n = epoll_wait(loop_epoll, events, LOOP_EVENTS, timeout);
	char answer[256];

	for (int i = 0; i < n; i++)
	{
		LoopClient *client = events[i].data.ptr;

		if ((events[i].events & EPOLLIN) != 0 &&
			recv(client->fd, answer, sizeof(answer), MSG_DONTWAIT) <= 0)
			loop_fail("a client is gone");
	}
}

static uint64_t
loop_ping(uint64_t seconds, size_t size, uint64_t period)
{
	uint8_t *frame = loop_frames(size, 1);
	uint64_t at = clock_monotonic();
	uint64_t sent = 0;

	frame[0] = 0x89;
	for (uint64_t i = 1; i <= seconds; i++)
	{
		for (; sent < i * (uint64_t) loop_nclients / period; sent++)
		{
			if (send(loop_clients[sent % (uint64_t) loop_nclients].fd, frame, size,
					 MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t) size)
				loop_fail("a client does not read");
		}
		at += 1000000000;
		for (uint64_t now = clock_monotonic(); now < at; now = clock_monotonic())
			loop_read((int) ((at - now) / 1000000) + 1);
	}
	free(frame);
	return sent;
}

static void
loop_command(const char *line)
{
	unsigned long long events;
	unsigned long long size;
	unsigned long long parameter;
	char name[16];
	uint64_t begun = clock_monotonic();
	uint64_t cpu = clock_cpu();
	uint64_t messages;

	if (sscanf(line, "%15s %llu %llu %llu", name, &events, &size, &parameter) != 4 || size < 4 ||
		size > LOOP_MAX_FRAME || parameter == 0)
	{
		fprintf(stderr, "loop: no such command: %s\n", line);
		exit(2);
	}
	messages = events * (uint64_t) loop_nclients;
	if (strcmp(name, "ping") == 0)
		messages = loop_ping(events, size, parameter);
	else if (strcmp(name, "spaced") == 0)
		loop_spaced(events, size, parameter * 1000);
	else
		loop_burst(events, size, parameter);
	printf("{\"messages\":%llu,\"seconds\":%.6f,\"cpu\":%.6f}\n", (unsigned long long) messages,
		   (double) (clock_monotonic() - begun) / 1e9, (double) (clock_cpu() - cpu) / 1e9);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	char line[128];

	if (argc != 3 || (loop_nclients = atoi(argv[2])) <= 0)
	{
		fprintf(stderr, "usage: loop PORT CLIENTS\n");
		return 2;
	}
	loop_clients = calloc((size_t) loop_nclients, sizeof(LoopClient));
	loop_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop_clients == NULL || loop_epoll < 0)
		loop_fail("cannot begin");
	loop_accept_all(atoi(argv[1]));
	while (fgets(line, sizeof(line), stdin) != NULL)
		loop_command(line);
	return 0;
}
