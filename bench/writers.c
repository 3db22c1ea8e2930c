/*-------------------------------------------------------------------------
 *
 * writers.c
 *	  Sessions that write one-row transactions as fast as the server accepts them.
 *
 *	  writers CONNINFO SESSIONS
 *
 * Unlike pgbench, this can do very short runs: the sessions stay connected, and a run consists of
 * nothing but the statement. It prints the process ids of the sessions as JSON. Then it reads
 * commands, one a line, and answers each with a line of JSON:
 *
 *	  each SQL			every session runs this, one after the other
 *	  prepare S SQL		defines statement S, from 0 to 9. $1 is the row's key; $2, if used, is the time of sending
 *						in nanoseconds since 1970. Its keys start again
 *	  run S EACH TRANSACTIONS MILLISECONDS
 *						every session runs transactions one after the other, until there are this many in
 *						total or the time is over. Session k, from 1, has the keys from k * EACH on, and continues
 *						after the statement's last run; after EACH keys it starts again
 *
 * It ends when its standard input is closed, or if a statement fails or does not change, or
 * return, exactly one row.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "clock.h"
#include "histogram.h"

#define WRITERS_MAX 1000
#define STATEMENTS  10

typedef struct Writer
{
	PGconn *connection;
	unsigned long long next[STATEMENTS]; /* key, relative to the session's first */
	uint64_t sent_at;
	bool busy;
} Writer;

static struct
{
	Writer all[WRITERS_MAX];
	int n;
	int epoll;
	int parameters[STATEMENTS];
	/* state of a run */
	int statement;
	char name[2]; /* name of the statement */
	unsigned long long each;
	uint64_t begun_at;
	uint64_t until;
	unsigned long long left; /* transactions left to send */
	int busy;
	unsigned long long done;
	Histogram latency;
} writers;

static void
writers_fail(const char *what, const char *why)
{
	fprintf(stderr, "writers: %s: %s\n", what, why);
	exit(1);
}

/* ---------------- sessions ---------------- */

static void
writers_connect(const char *conninfo)
{
	writers.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (writers.epoll < 0)
		writers_fail("epoll_create1", strerror(errno));
	for (int i = 0; i < writers.n; i++)
	{
		Writer *writer = &writers.all[i];
		struct epoll_event readable = {.events = EPOLLIN, .data.ptr = writer};

		writer->connection = PQconnectdb(conninfo);
		if (PQstatus(writer->connection) != CONNECTION_OK)
			writers_fail("connect", PQerrorMessage(writer->connection));
		if (epoll_ctl(writers.epoll, EPOLL_CTL_ADD, PQsocket(writer->connection), &readable) != 0)
			writers_fail("epoll_ctl", strerror(errno));
		printf("%s%d", i == 0 ? "{\"pids\":[" : ",", PQbackendPID(writer->connection));
	}
	printf("]}\n");
}

static void
writers_choose(int statement)
{
	if (statement < 0 || statement >= STATEMENTS)
		writers_fail("no such statement", "0 to 9");
	writers.statement = statement;
	writers.name[0] = (char) ('0' + statement);
}

static void
writers_each(const char *sql)
{
	for (int i = 0; i < writers.n; i++)
	{
		PGresult *result = PQexec(writers.all[i].connection, sql);

		if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
			writers_fail("each", PQerrorMessage(writers.all[i].connection));
		PQclear(result);
	}
	printf("{}\n");
}

static void
writers_prepare(const char *sql)
{
	char deallocate[] = "DEALLOCATE \"0\"";

	deallocate[strlen(deallocate) - 2] = writers.name[0];
	for (int i = 0; i < writers.n; i++)
	{
		Writer *writer = &writers.all[i];
		PGresult *result;

		if (writers.parameters[writers.statement] > 0)
			PQclear(PQexec(writer->connection, deallocate));
		result = PQprepare(writer->connection, writers.name, sql, 0, NULL);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			writers_fail("prepare", PQerrorMessage(writer->connection));
		PQclear(result);
		writer->next[writers.statement] = 0;
	}
	writers.parameters[writers.statement] = strstr(sql, "$2") != NULL ? 2 : 1;
	printf("{}\n");
}

/* ---------------- a run ---------------- */

static void
writers_send(Writer *writer)
{
	char key[24];
	char sent[24];
	const char *values[] = {key, sent};

	int parameters = writers.parameters[writers.statement];
	unsigned long long session = (unsigned long long) (writer - writers.all) + 1;

	snprintf(key, sizeof(key), "%llu",
			 session * writers.each + writer->next[writers.statement] % writers.each);
	if (parameters > 1)
		snprintf(sent, sizeof(sent), "%llu", (unsigned long long) clock_wall());
	writer->sent_at = clock_monotonic();
	if (!PQsendQueryPrepared(writer->connection, writers.name, parameters, values, NULL, NULL, 0))
		writers_fail("send", PQerrorMessage(writer->connection));
	writers.left--;
	if (!writer->busy)
		writers.busy++;
	writer->busy = true;
}

/* Read results. After the end of a statement, the next one is sent at once while the run lasts. */
static void
writers_read(Writer *writer)
{
	PGresult *result;
	uint64_t now;

	if (!PQconsumeInput(writer->connection))
		writers_fail("read", PQerrorMessage(writer->connection));
	while (writer->busy && !PQisBusy(writer->connection))
	{
		result = PQgetResult(writer->connection);
		if (result == NULL)
		{
			now = clock_monotonic();
			histogram_add(&writers.latency, now - writer->sent_at);
			writers.done++;
			writer->next[writers.statement]++;
			if (now < writers.until && writers.left > 0)
				writers_send(writer);
			else
			{
				writer->busy = false;
				writers.busy--;
			}
			return;
		}
		if ((PQresultStatus(result) != PGRES_COMMAND_OK &&
			 PQresultStatus(result) != PGRES_TUPLES_OK) ||
			strcmp(PQcmdTuples(result), "1") != 0)
			writers_fail(PQcmdStatus(result), PQresultErrorMessage(result));
		PQclear(result);
	}
}

static void
writers_run(unsigned long long each, unsigned long long transactions, unsigned long long ms)
{
	struct epoll_event events[64];

	writers.each = each;
	writers.left = transactions;
	writers.done = 0;
	memset(&writers.latency, 0, sizeof(writers.latency));
	writers.begun_at = clock_monotonic();
	writers.until = writers.begun_at + ms * 1000000;
	for (int i = 0; i < writers.n && writers.left > 0; i++)
		writers_send(&writers.all[i]);
	while (writers.busy > 0)
	{
		int n = epoll_wait(writers.epoll, events, 64, -1);

		if (n < 0 && errno != EINTR)
			writers_fail("epoll_wait", strerror(errno));
		for (int i = 0; i < n; i++)
			writers_read(events[i].data.ptr);
	}
	printf("{\"transactions\":%llu,\"seconds\":%.6f,\"latency\":", writers.done,
		   (double) (clock_monotonic() - writers.begun_at) / 1e9);
	histogram_print(&writers.latency, stdout);
	printf("}\n");
}

static void
writers_command(const char *line)
{
	unsigned long long each;
	unsigned long long transactions;
	unsigned long long ms;
	int statement;
	int length = 0;

	if (strncmp(line, "each ", strlen("each ")) == 0)
		writers_each(line + strlen("each "));
	else if (sscanf(line, "prepare %d %n", &statement, &length) == 1 && length > 0)
	{
		writers_choose(statement);
		writers_prepare(line + length);
	}
	else if (sscanf(line, "run %d %llu %llu %llu", &statement, &each, &transactions, &ms) == 4 &&
			 each > 0)
	{
		writers_choose(statement);
		writers_run(each, transactions, ms);
	}
	else
		writers_fail("no such command", line);
}

int
main(int argc, char **argv)
{
	char line[1024];
	if (argc != 3 || (writers.n = atoi(argv[2])) < 1 || writers.n > WRITERS_MAX)
	{
		fprintf(stderr, "usage: writers CONNINFO SESSIONS\n");
		return 2;
	}
	writers_connect(argv[1]);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		writers_command(line);
		fflush(stdout);
	}
	for (int i = 0; i < writers.n; i++)
		PQfinish(writers.all[i].connection);
	return 0;
}
