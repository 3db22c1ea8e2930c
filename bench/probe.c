/*-------------------------------------------------------------------------
 *
 * probe.c
 *	  Measures the time from sending an INSERT to the arrival of its event, both in this process.
 *
 *	  probe [-s MESSAGE] NAME CONNINFO TABLE RECEIVER [NAME CONNINFO TABLE RECEIVER]...
 *
 * Each target is a table with a bigint column "sent", and a receiver of the inserted rows:
 *
 *	  ws:PORT				a WebSocket client of ws://127.0.0.1:PORT/ws, which first sends MESSAGE and gets an answer
 *	  listen:CHANNEL		a libpq client that LISTENs
 *	  take:GROUP			a libpq client that waits in notify_take(), in a transaction that it commits after the event
 *	  none					no receiver: measures only the INSERT
 *
 * It prints {} when all are connected. Then it reads commands, one a line, and answers each with a
 * line of JSON with each target's latencies. The targets take turns, forwards and backwards, so
 * that all run under the same conditions: each follows every neighbour, and what that has left in
 * the caches, equally often.
 *
 *	  run COUNT MICROSECONDS	this many INSERTs into each table, each this long after the last event
 *	  pace COUNT MICROSECONDS	the same at a fixed interval. A latency counts from when the INSERT should
 *								have been sent, so that delays by earlier ones are not hidden
 *	  on COUNT MICROSECONDS		like pace, and adds to the latencies of the last command
 *
 * It ends when its standard input is closed.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "clock.h"
#include "histogram.h"
#include "ws.h"

#define PROBE_TARGETS 8
#define PROBE_MS      20000 /* time after which an event counts as lost */

typedef struct Probe
{
	const char *name;
	PGconn *writer;
	PGconn *listener; /* NULL: a WebSocket */
	char take[256];   /* what the listener executes again and again; empty: it LISTENs */
	Ws ws;
	bool by_ws;
	bool answered; /* the WebSocket server has answered the first message */
	bool written;
	bool arrived;
	uint64_t sent;       /* the value in the row */
	uint64_t arrived_at; /* both on the wall clock */
	Histogram latency;
} Probe;

static Probe probes[PROBE_TARGETS];
static int probe_count;

static void
probe_fail(const Probe *probe, const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", probe->name, what);
	exit(1);
}

/* ---------------- receiving ---------------- */

/* Check whether this is the event of the last inserted row. */
static void
probe_check(Probe *probe, const char *text, size_t len)
{
	char wanted[64];
	int size = snprintf(wanted, sizeof(wanted), "\"sent\":%llu", (unsigned long long) probe->sent);

	if (probe->arrived || memmem(text, len, wanted, (size_t) size) == NULL)
		return;
	probe->arrived_at = clock_wall();
	probe->arrived = true;
}

static void
probe_on_message(Ws *ws, const char *text, size_t len, void *arg)
{
	(void) ws;
	((Probe *) arg)->answered = true;
	probe_check(arg, text, len);
}

static void
probe_read_notifications(Probe *probe)
{
	PGnotify *notify;

	if (PQconsumeInput(probe->listener) == 0)
		probe_fail(probe, PQerrorMessage(probe->listener));
	while ((notify = PQnotifies(probe->listener)) != NULL)
	{
		probe_check(probe, notify->extra, strlen(notify->extra));
		PQfreemem(notify);
	}
}

static void
probe_take(Probe *probe)
{
	if (PQsendQuery(probe->listener, probe->take) == 0)
		probe_fail(probe, PQerrorMessage(probe->listener));
}

/* Read what notify_take() returns, and call it again. */
static void
probe_read_taken(Probe *probe)
{
	PGresult *result;

	if (PQconsumeInput(probe->listener) == 0)
		probe_fail(probe, PQerrorMessage(probe->listener));
	while (PQisBusy(probe->listener) == 0)
	{
		result = PQgetResult(probe->listener);
		if (result == NULL)
			probe_take(probe);
		else if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
			probe_check(probe, PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0));
		else if (PQresultStatus(result) == PGRES_FATAL_ERROR)
			probe_fail(probe, PQresultErrorMessage(result));
		PQclear(result);
	}
}

static void
probe_read_result(Probe *probe)
{
	PGresult *result;

	if (PQconsumeInput(probe->writer) == 0)
		probe_fail(probe, PQerrorMessage(probe->writer));
	while (!probe->written && PQisBusy(probe->writer) == 0)
	{
		result = PQgetResult(probe->writer);
		if (result == NULL)
			probe->written = true;
		else if (PQresultStatus(result) != PGRES_COMMAND_OK)
			probe_fail(probe, PQresultErrorMessage(result));
		PQclear(result);
	}
}

/* Wait for data of a target. */
static void
probe_poll(Probe *probe)
{
	struct pollfd fds[2] = {{.fd = PQsocket(probe->writer), .events = POLLIN},
							{.fd = -1, .events = POLLIN}};

	if (probe->by_ws)
		fds[1].fd = probe->ws.fd;
	else if (probe->listener != NULL)
		fds[1].fd = PQsocket(probe->listener);
	if (poll(fds, 2, PROBE_MS) == 0)
		probe_fail(probe, "nothing has come");
	if (fds[1].revents != 0 && probe->by_ws && !ws_read(&probe->ws, probe_on_message, probe))
		probe_fail(probe, "the WebSocket connection was closed");
	if (fds[1].revents != 0 && !probe->by_ws && probe->take[0] != '\0')
		probe_read_taken(probe);
	else if (fds[1].revents != 0 && !probe->by_ws)
		probe_read_notifications(probe);
	if (fds[0].revents != 0)
		probe_read_result(probe);
}

/* ---------------- connecting ---------------- */

static PGconn *
probe_connect(const Probe *probe, const char *conninfo)
{
	PGconn *connection = PQconnectdb(conninfo);

	if (PQstatus(connection) != CONNECTION_OK)
		probe_fail(probe, PQerrorMessage(connection));
	return connection;
}

static void
probe_connect_ws(Probe *probe, int port, const char *message)
{
	struct pollfd fd = {.events = POLLOUT};

	probe->by_ws = true;
	if (!ws_connect(&probe->ws, port))
		probe_fail(probe, strerror(errno));
	fd.fd = probe->ws.fd;
	if (poll(&fd, 1, PROBE_MS) != 1 || !ws_request(&probe->ws, port, "/ws", NULL))
		probe_fail(probe, "cannot connect");
	while (probe->ws.state != WS_OPEN)
		probe_poll(probe);
	if (!ws_send(&probe->ws, message))
		probe_fail(probe, "cannot send");
	while (!probe->answered)
		probe_poll(probe);
}

/* The first COMMIT warns that there is no transaction. */
static void
probe_ignore(void *arg, const char *text)
{
	(void) arg;
	(void) text;
}

static void
probe_open(Probe *probe, char **arguments, const char *message)
{
	char sql[256];
	PGresult *result;

	probe->name = arguments[0];
	probe->writer = probe_connect(probe, arguments[1]);
	snprintf(sql, sizeof(sql), "INSERT INTO %s (sent) VALUES ($1)", arguments[2]);
	result = PQprepare(probe->writer, "insert", sql, 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		probe_fail(probe, PQresultErrorMessage(result));
	PQclear(result);

	if (strncmp(arguments[3], "ws:", 3) == 0)
		probe_connect_ws(probe, atoi(arguments[3] + 3), message);
	else if (strncmp(arguments[3], "listen:", 7) == 0)
	{
		probe->listener = probe_connect(probe, arguments[1]);
		snprintf(sql, sizeof(sql), "LISTEN %s", arguments[3] + 7);
		result = PQexec(probe->listener, sql);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			probe_fail(probe, PQresultErrorMessage(result));
		PQclear(result);
	}
	else if (strncmp(arguments[3], "take:", 5) == 0)
	{
		probe->listener = probe_connect(probe, arguments[1]);
		snprintf(probe->take, sizeof(probe->take),
				 "COMMIT; BEGIN; SELECT event FROM notify_take('%s', wait => '1min')",
				 arguments[3] + 5);
		PQsetNoticeProcessor(probe->listener, probe_ignore, NULL);
		probe_take(probe);
	}
}

/* ---------------- measuring ---------------- */

static void
probe_sleep_until(uint64_t at)
{
	struct timespec until = {.tv_sec = (time_t) (at / 1000000000),
							 .tv_nsec = (long) (at % 1000000000)};

	while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

/* Send one INSERT at this time of the wall clock, and wait for its event. */
static void
probe_once(Probe *probe, uint64_t due, bool paced)
{
	char value[32];
	const char *values[] = {value};

	probe_sleep_until(due);
	probe->written = false;
	probe->arrived = !probe->by_ws && probe->listener == NULL;
	probe->sent = clock_wall();
	snprintf(value, sizeof(value), "%llu", (unsigned long long) probe->sent);
	if (PQsendQueryPrepared(probe->writer, "insert", 1, values, NULL, NULL, 0) == 0)
		probe_fail(probe, PQerrorMessage(probe->writer));
	while (!probe->written || !probe->arrived)
		probe_poll(probe);
	if (!probe->by_ws && probe->listener == NULL)
		probe->arrived_at = clock_wall();
	histogram_add(&probe->latency, probe->arrived_at - (paced ? due : probe->sent));
}

static void
probe_command(const char *line)
{
	unsigned long long count;
	unsigned long long interval;
	char name[16];
	bool paced;
	uint64_t due = clock_wall();

	if (sscanf(line, "%15s %llu %llu", name, &count, &interval) != 3)
	{
		fprintf(stderr, "probe: no such command: %s\n", line);
		exit(2);
	}
	paced = strcmp(name, "run") != 0;
	for (int i = 0; i < probe_count && strcmp(name, "on") != 0; i++)
		memset(&probes[i].latency, 0, sizeof(Histogram));
	for (unsigned long long n = 0; n < count; n++)
	{
		for (int i = 0; i < probe_count; i++)
		{
			due = (paced ? due : clock_wall()) + interval * 1000;
			probe_once(&probes[n % 2 == 0 ? i : probe_count - 1 - i], due, paced);
		}
	}
	for (int i = 0; i < probe_count; i++)
	{
		printf("%s\"%s\":", i == 0 ? "{" : ",", probes[i].name);
		histogram_print(&probes[i].latency, stdout);
	}
	printf("}\n");
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	const char *message = "{\"id\":1,\"method\":\"subscribe\",\"channel\":\"probe\"}";
	char line[128];
	int option;

	while ((option = getopt(argc, argv, "s:")) != -1)
	{
		if (option != 's')
			return 2;
		message = optarg;
	}
	if (optind == argc || (argc - optind) % 4 != 0 || argc - optind > PROBE_TARGETS * 4)
	{
		fprintf(stderr, "usage: probe [-s MESSAGE] NAME CONNINFO TABLE "
						"ws:PORT|listen:CHANNEL|take:GROUP|none...\n");
		return 2;
	}
	for (int i = optind; i < argc; i += 4)
		probe_open(&probes[probe_count++], argv + i, message);
	printf("{}\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
		probe_command(line);
	return 0;
}
