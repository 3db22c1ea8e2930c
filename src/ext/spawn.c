/*-------------------------------------------------------------------------
 *
 * spawn.c
 *	  Starting the gateway's program. See spawn.h.
 *
 * The child of a backend is a fragile thing: it has the shared memory attached and every
 * handler and exit callback of PostgreSQL installed. So all signals are blocked around
 * fork(), and between fork() and execve() the child calls only functions that are
 * async-signal-safe (POSIX, section 2.4.3), allocates nothing, and leaves by _exit().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bind.h"
#include "spawn.h"

/* Where close_range() is not to be had (kernels before 5.9, some sandboxes), go up to here. */
static void
spawn_close_from(int first, int limit)
{
	if (close_range(first, ~0U, 0) == 0)
		return;
	for (int fd = first; fd < limit; fd++)
		close(fd);
}

/* Give the child its descriptors. The ones it has may lie where the new ones go: so up first, then down. */
static bool
spawn_arrange(int channel, const int *listeners, int nlisteners, int limit)
{
	int above = SPAWN_FIRST_LISTENER + nlisteners;
	int moved[BIND_MAX];
	int null;

	channel = fcntl(channel, F_DUPFD, above);
	if (channel < 0)
		return false;
	for (int i = 0; i < nlisteners; i++)
	{
		moved[i] = fcntl(listeners[i], F_DUPFD, above);
		if (moved[i] < 0)
			return false;
	}
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		dup2(channel, SPAWN_CHANNEL) < 0)
		return false;
	for (int i = 0; i < nlisteners; i++)
	{
		if (dup2(moved[i], SPAWN_FIRST_LISTENER + i) < 0)
			return false;
	}
	spawn_close_from(above, limit);
	return true;
}

static void
spawn_reset_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int signum = 1; signum < NSIG; signum++)
		(void) sigaction(signum, &action, NULL); /* fails for SIGKILL and the like */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

pid_t
spawn_program(const char *path, const char *title, int channel, const int *listeners, int nlisteners)
{
	char *const argv[] = {unconstify(char *, title), NULL};
	char *const envp[] = {NULL};
	pid_t parent = getpid();
	int limit = (int) sysconf(_SC_OPEN_MAX);
	sigset_t all;
	sigset_t before;
	pid_t pid;

	Assert(nlisteners <= BIND_MAX);

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid != 0)
	{
		int saved = errno;

		sigprocmask(SIG_SETMASK, &before, NULL);
		errno = saved;
		return pid;
	}

	/*
	 * SIGKILL, so that not even a gateway that hangs can outlive us. If we are gone
	 * before the call takes effect, the child sees it by its parent. A session of its
	 * own, because the postmaster and pg_cancel_backend() signal the launcher's whole
	 * process group.
	 */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(SPAWN_NOT_EXECUTABLE);
	(void) setsid();
	if (!spawn_arrange(channel, listeners, nlisteners, limit))
		_exit(SPAWN_NOT_EXECUTABLE);
	spawn_reset_signals();
	execve(path, argv, envp);
	_exit(errno == ENOENT ? SPAWN_NOT_FOUND : SPAWN_NOT_EXECUTABLE);
}
