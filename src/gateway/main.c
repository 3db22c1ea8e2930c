/*-------------------------------------------------------------------------
 *
 * main.c
 *	  pg_notifyd-gateway: the process.
 *
 * Started by pg_notifyd's launcher alone, with
 *	  0, 1		/dev/null
 *	  2			the server's log
 *	  3			the control pipe, frames of wire.h in both directions
 *	  4			the socket that feeds and backends connect to
 *	  5 ...		the sockets that clients connect to
 * an empty environment and the data directory as its working directory. It says nothing of
 * interest on its command line, and ends with its parent.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/gateway.h"

#define MAIN_USAGE 64 /* EX_USAGE of sysexits.h */

/* SIGQUIT asks for an immediate exit. */
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

/*
 * When memory is exhausted, the kernel ends the process with the highest score (proc(5)). Nothing
 * is lost if that is the gateway, while PostgreSQL must restart when it loses a process. The
 * gateway may have inherited the postmaster's protection from this. Raising the score needs no
 * privilege.
 */
static void
main_raise_oom_score(void)
{
	static const char highest[] = "1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* If this fails, as in some containers, the score is unchanged. */
	(void) !write(fd, highest, sizeof(highest) - 1);
	close(fd);
}

int
main(void)
{
	pid_t parent = getppid();
	struct stat pipe;
	sigset_t none;

	/* No process may keep the port open after the server has ended, for whatever reason. */
	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return 0;
	if (fstat(GATEWAY_CONTROL_PIPE_FD, &pipe) != 0 || !S_ISSOCK(pipe.st_mode))
	{
		fprintf(stderr,
				"pg_notifyd-gateway is the network part of the PostgreSQL extension pg_notifyd; "
				"the server starts it by itself.\n");
		return MAIN_USAGE;
	}
	main_raise_oom_score();

	/*
	 * Otherwise ps and top would show the number of the descriptor that the program was run from.
	 */
	(void) prctl(PR_SET_NAME, "pg_notifyd-gateway");
	sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	main_signal(SIGINT, SIG_IGN);
	main_signal(SIGHUP, SIG_IGN);
	main_signal(SIGPIPE, SIG_IGN);
	main_signal(SIGQUIT, main_quit);
	return gateway_run();
}
