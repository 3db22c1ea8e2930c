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

/*
 * Where memory is used up the kernel ends whatever has the highest score (proc(5)). Without us
 * nothing is lost, and PostgreSQL has to restart when it loses a process. What we have inherited
 * may be the postmaster's protection from that; to raise the score takes no privilege.
 */
static void
main_raise_oom_score(void)
{
	static const char highest[] = "1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* Where it cannot be written, as in some containers, the score stays as it is. */
	(void) !write(fd, highest, sizeof(highest) - 1);
	close(fd);
}

int
main(void)
{
	pid_t parent = getppid();
	struct stat pipe;
	sigset_t none;

	/* Nothing may keep the port when the server is gone, however it went. */
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

	/* Run from a descriptor, we would be called by its number in ps and top. */
	(void) prctl(PR_SET_NAME, "pg_notifyd-gateway");
	sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	main_signal(SIGINT, SIG_IGN);
	main_signal(SIGHUP, SIG_IGN);
	main_signal(SIGPIPE, SIG_IGN);
	main_signal(SIGQUIT, main_quit);
	return gateway_run();
}
