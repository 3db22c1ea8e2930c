/*-------------------------------------------------------------------------
 *
 * main.c
 *	  pg_notifyd-gateway: the process.
 *
 * Started by pg_notifyd's launcher alone, with
 *	  0, 1		/dev/null
 *	  2			the server's log
 *	  3			the channel, frames of wire.h in both directions
 *	  4 ...		listening sockets
 * an empty environment and the data directory as its working directory. It says nothing of
 * interest on its command line, and ends with its parent.
 *
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway.h"

#define MAIN_USAGE 64 /* EX_USAGE of sysexits.h */

/* Whoever sends SIGQUIT wants us gone at once. */
static void
main_quit(int signum)
{
	(void) signum;
	_exit(2);
}

static void
main_signal(int signum, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};

	sigemptyset(&action.sa_mask);
	(void) sigaction(signum, &action, NULL);
}

int
main(void)
{
	pid_t parent = getppid();
	struct stat channel;
	sigset_t none;

	/* Nothing may keep the port when the server is gone, however it went. */
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return 0;
	if (fstat(GATEWAY_CHANNEL_FD, &channel) != 0 || !S_ISSOCK(channel.st_mode))
	{
		fprintf(stderr, "pg_notifyd-gateway is the network part of the PostgreSQL extension pg_notifyd; "
						"the server starts it by itself.\n");
		return MAIN_USAGE;
	}
	sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	main_signal(SIGINT, SIG_IGN);
	main_signal(SIGHUP, SIG_IGN);
	main_signal(SIGPIPE, SIG_IGN);
	main_signal(SIGQUIT, main_quit);
	return gateway_run();
}
