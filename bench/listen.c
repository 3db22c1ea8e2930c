/*-------------------------------------------------------------------------
 *
 * listen.c
 *	  A libpq client that LISTENs, and counts what comes.
 *
 *	  listen CONNINFO CHANNEL
 *
 * Prints {} when it listens, and for each line that it is given how many notifications have come so
 * far. It ends with its standard input.
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
