/*-------------------------------------------------------------------------
 *
 * listen.c
 *	  A libpq client that LISTENs and counts notifications.
 *
 *	  listen CONNINFO CHANNEL
 *
 * It prints {} when it listens. For each line on its standard input it prints how many
 * notifications have arrived so far. It ends when its standard input is closed.
 *
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <libpq-fe.h>

static unsigned long long listen_count;

static void
listen_fail(PGconn *connection)
{
	fprintf(stderr, "listen: %s", PQerrorMessage(connection));
	exit(1);
}

static void
listen_read(PGconn *connection)
{
	PGnotify *notify;

	if (PQconsumeInput(connection) == 0)
		listen_fail(connection);
	while ((notify = PQnotifies(connection)) != NULL)
	{
		listen_count++;
		PQfreemem(notify);
	}
}

int
main(int argc, char **argv)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
	char sql[128];
	char line[64];
	PGconn *connection;

	if (argc != 3)
		return 2;
	connection = PQconnectdb(argv[1]);
	snprintf(sql, sizeof(sql), "LISTEN %s", argv[2]);
	if (PQresultStatus(PQexec(connection, sql)) != PGRES_COMMAND_OK)
		listen_fail(connection);
	printf("{}\n");
	fflush(stdout);
	fds[1].fd = PQsocket(connection);
	while (poll(fds, 2, -1) >= 0)
	{
		if (fds[1].revents != 0)
			listen_read(connection);
		if (fds[0].revents == 0)
			continue;
		if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
			break;
		printf("{\"messages\":%llu}\n", listen_count);
		fflush(stdout);
	}
	PQfinish(connection);
	return 0;
}
