/*-------------------------------------------------------------------------
 *
 * spawn.c
 *	  Starts the gateway's program. See spawn.h.
 *
 * A child of a PostgreSQL process has the shared memory attached, and all signal handlers and exit
 * callbacks of PostgreSQL installed. None of them may run in it. So all signals are blocked around
 * fork(). Between fork() and execve() the child calls only async-signal-safe functions (POSIX,
 * section 2.4.3), allocates no memory, and ends with _exit().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "ext/launcher/spawn.h"

#define SPAWN_PROGRAM "pg_notifyd-gateway"

static int spawn_program_fd = -1; /* -1: not open */

const char *
spawn_program_path(void)
{
	static char path[MAXPGPATH];

	strlcpy(path, my_exec_path, MAXPGPATH);
	get_parent_directory(path);
	join_path_components(path, path, SPAWN_PROGRAM);
	return path;
}

bool
spawn_open_program(void)
{
	if (spawn_program_fd < 0 && access(spawn_program_path(), X_OK) == 0)
		spawn_program_fd = open(spawn_program_path(), O_PATH | O_CLOEXEC);
	return spawn_program_fd >= 0;
}

void
spawn_close_program(void)
{
	close(spawn_program_fd);
	spawn_program_fd = -1;
}

/*
 * Make execve() close all descriptors from first on. The program's own is needed until then. If
 * close_range() cannot do that (kernels before 5.11, some sandboxes), go through all descriptors up
 * to limit.
 */
static void
spawn_close_from(int first, int limit)
{
	if (close_range(first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	for (int fd = first; fd < limit; fd++)
		(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/*
 * Move the child's descriptors to their numbers. The present ones may be in the way, so move all of
 * them up first, and then down.
 */
static bool
spawn_arrange(const int *sockets, int nsockets, int limit)
{
	int above = SPAWN_FIRST_SOCKET + nsockets;
	int moved[SPAWN_MAX_SOCKETS];
	int null;

	spawn_program_fd = fcntl(spawn_program_fd, F_DUPFD, above);
	if (spawn_program_fd < 0)
		return false;
	for (int i = 0; i < nsockets; i++)
	{
		moved[i] = fcntl(sockets[i], F_DUPFD, above);
		if (moved[i] < 0)
			return false;
	}
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return false;
	for (int i = 0; i < nsockets; i++)
	{
		if (dup2(moved[i], SPAWN_FIRST_SOCKET + i) < 0)
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
spawn_program(const char *title, const int *sockets, int nsockets)
{
	char *const argv[] = {unconstify(char *, title), NULL};
	char *const envp[] = {NULL};
	pid_t parent = getpid();
	int limit = (int) sysconf(_SC_OPEN_MAX);
	sigset_t all;
	sigset_t before;
	pid_t pid;

	Assert(nsockets <= SPAWN_MAX_SOCKETS);

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
	 * SIGKILL, so that even a gateway that hangs ends with the launcher. If the launcher ends
	 * before this takes effect, the child notices that its parent has changed. A new session,
	 * because the postmaster and pg_cancel_backend() signal the launcher's whole process group.
	 */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(SPAWN_NOT_EXECUTABLE);
	(void) setsid();
	if (!spawn_arrange(sockets, nsockets, limit))
		_exit(SPAWN_NOT_EXECUTABLE);
	spawn_reset_signals();
	fexecve(spawn_program_fd, argv, envp);
	_exit(SPAWN_NOT_EXECUTABLE);
}
