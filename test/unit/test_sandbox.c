/*
 * What code in the gateway's place can do, without the sandbox and with its parts. Each attempt is
 * made by a process of its own, which first enters the sandbox, and each is seen to succeed without
 * it. The attempts aim at a process of the same user, as PostgreSQL's processes are.
 */
#include "unit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/sandbox/sandbox.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

#define EVERYTHING (WIRE_SANDBOX_CALLS | WIRE_SANDBOX_LANDLOCK)

static struct
{
	char directory[64]; /* the data directory */
	char file[80];
	pid_t server;    /* a process of it */
	char secret[16]; /* that the process has in its memory, at this address too */
	int tcp;         /* sockets that the attempt has open, not connected */
	int unix_socket;
	int listener;
	struct sockaddr_in tcp_address; /* others listen there */
	struct sockaddr_un unix_address;
	struct sockaddr_un abstract_address;
	socklen_t abstract_size;
} target = {.secret = "secret"};

/* The version of Landlock's interface; 0: there is none. */
static long
landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	return version > 0 ? version : 0;
}

static int
listen_on(int family, void *address, socklen_t *size)
{
	int fd = socket(family, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, address, *size), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, address, size), 0);
	return fd;
}

static int
setup(void **state)
{
	socklen_t tcp_size = sizeof(target.tcp_address);
	socklen_t unix_size = sizeof(target.unix_address);
	int fd;

	(void) state;
	strcpy(target.directory, "/tmp/test_sandbox.XXXXXX");
	assert_non_null(mkdtemp(target.directory));
	snprintf(target.file, sizeof(target.file), "%s/PG_VERSION", target.directory);
	fd = open(target.file, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "15\n", 3), 3);
	close(fd);

	target.tcp_address.sin_family = AF_INET;
	target.tcp_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	target.listener = listen_on(AF_INET, &target.tcp_address, &tcp_size);
	target.unix_address.sun_family = AF_UNIX;
	snprintf(target.unix_address.sun_path, sizeof(target.unix_address.sun_path), "%s/socket",
			 target.directory);
	(void) listen_on(AF_UNIX, &target.unix_address, &unix_size);
	/* An address of the family alone: the kernel chooses an abstract name (unix(7)). */
	target.abstract_address.sun_family = AF_UNIX;
	target.abstract_size = sizeof(sa_family_t);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *) &target.abstract_address, target.abstract_size),
					 0);
	assert_int_equal(listen(fd, 8), 0);
	target.abstract_size = sizeof(target.abstract_address);
	assert_int_equal(
		getsockname(fd, (struct sockaddr *) &target.abstract_address, &target.abstract_size), 0);

	target.server = fork();
	if (target.server == 0)
	{
		(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void) prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
		for (;;)
			pause();
	}
	return target.server < 0;
}

static int
teardown(void **state)
{
	(void) state;
	(void) kill(target.server, SIGKILL);
	(void) waitpid(target.server, NULL, 0);
	(void) unlink(target.file);
	(void) unlink(target.unix_address.sun_path);
	return rmdir(target.directory);
}

/* ---------------- the attempts: do they succeed? ---------------- */

static bool
can_read(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY);

	return fd >= 0 && read(fd, &byte, 1) == 1;
}

static bool
read_data_directory(void)
{
	return can_read(target.file);
}

static bool
list_data_directory(void)
{
	return open(target.directory, O_RDONLY | O_DIRECTORY) >= 0;
}

static bool
write_data_directory(void)
{
	return open(target.file, O_WRONLY) >= 0;
}

static bool
remove_file(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s.copy", target.file);
	return symlink("x", path) == 0 && unlink(path) == 0;
}

static bool
read_passwd(void)
{
	return can_read("/etc/passwd");
}

static bool
read_environment(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/environ", (int) target.server);
	return can_read(path);
}

static bool
read_memory_file(void)
{
	char path[64];
	char found[sizeof(target.secret)] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int) target.server);
	fd = open(path, O_RDONLY);
	return fd >= 0 &&
		   pread(fd, found, sizeof(found), (off_t) (uintptr_t) target.secret) ==
			   (ssize_t) sizeof(found) &&
		   strcmp(found, target.secret) == 0;
}

static bool
read_memory_call(void)
{
	char found[sizeof(target.secret)] = "";
	struct iovec to = {found, sizeof(found)};
	struct iovec from = {target.secret, sizeof(found)};

	return process_vm_readv(target.server, &to, 1, &from, 1, 0) == (ssize_t) sizeof(found);
}

static bool
write_memory_call(void)
{
	char other[sizeof(target.secret)] = "secret";
	struct iovec from = {other, sizeof(other)};
	struct iovec to = {target.secret, sizeof(other)};

	return process_vm_writev(target.server, &from, 1, &to, 1, 0) == (ssize_t) sizeof(other);
}

static bool
trace_process(void)
{
	return ptrace(PTRACE_SEIZE, target.server, NULL, NULL) == 0;
}

static bool
execute_program(void)
{
	(void) execl("/bin/true", "true", (char *) NULL);
	return false;
}

static bool
fork_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static bool
connect_tcp(void)
{
	return connect(target.tcp, (struct sockaddr *) &target.tcp_address,
				   sizeof(target.tcp_address)) == 0;
}

/* TCP Fast Open: tcp(7). */
static bool
connect_by_sending(void)
{
	return sendto(target.tcp, "x", 1, MSG_FASTOPEN, (struct sockaddr *) &target.tcp_address,
				  sizeof(target.tcp_address)) == 1;
}

static bool
connect_unix(void)
{
	return connect(target.unix_socket, (struct sockaddr *) &target.unix_address,
				   sizeof(target.unix_address)) == 0;
}

static bool
connect_abstract(void)
{
	return connect(target.unix_socket, (struct sockaddr *) &target.abstract_address,
				   target.abstract_size) == 0;
}

static bool
bind_tcp(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return bind(target.tcp, (struct sockaddr *) &any, sizeof(any)) == 0;
}

static bool
open_tcp_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool
open_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool
signal_server(void)
{
	return kill(target.server, SIGCONT) == 0;
}

static bool
signal_by_descriptor(void)
{
	return fcntl(target.unix_socket, F_SETOWN, target.server) == 0;
}

static bool
map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0) != MAP_FAILED;
}

/* What serving takes, so that a sandbox that refuses everything does not pass. */
static bool
serve(void)
{
	struct sockaddr_in client;
	socklen_t size = sizeof(client);
	int fd = accept4(target.listener, (struct sockaddr *) &client, &size, SOCK_CLOEXEC);
	void *block = malloc(1024 * 1024);
	char byte = 'x';
	bool sent = fd >= 0 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1;

	free(block);
	return sent && block != NULL && recv(fd, &byte, 1, 0) == 1 && shutdown(fd, SHUT_RDWR) == 0;
}

/* ---------------- the matrix ---------------- */

typedef struct Attempt
{
	const char *name;
	bool (*attempt)(void);
	long landlock; /* the version of Landlock that refuses it without seccomp; 0: none */
} Attempt;

static const Attempt attempts[] = {
	{"read a file of the data directory", read_data_directory, 1},
	{"list the data directory", list_data_directory, 1},
	{"write to the data directory", write_data_directory, 1},
	{"create and remove a file", remove_file, 1},
	{"read /etc/passwd", read_passwd, 1},
	{"read a process's environment", read_environment, 1},
	{"read a process's memory in /proc", read_memory_file, 1},
	{"read a process's memory by process_vm_readv", read_memory_call, 1},
	{"write to a process's memory by process_vm_writev", write_memory_call, 1},
	{"trace a process", trace_process, 1},
	{"execute a program", execute_program, 1},
	{"fork", fork_process, 0},
	{"connect to a TCP port", connect_tcp, 4},
	{"connect to a TCP port by sending", connect_by_sending, 0},
	{"connect to a Unix socket", connect_unix, 0},
	{"connect to an abstract Unix socket", connect_abstract, 6},
	{"bind a TCP port", bind_tcp, 4},
	{"open a TCP socket", open_tcp_socket, 0},
	{"open a Unix socket", open_unix_socket, 0},
	{"send a process a signal", signal_server, 6},
	{"send a process a signal by a descriptor", signal_by_descriptor, 0},
	{"map code of its own", map_code, 0},
};
#define ATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

typedef struct Case
{
	char name[96];
	const Attempt *attempt;
	uint8_t parts;
	bool sandbox;
} Case;

/* Does it succeed, tried by a process with these parts of the sandbox? */
static bool
succeeds(bool (*attempt)(void), bool sandbox, uint8_t parts)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
	{
		target.tcp = socket(AF_INET, SOCK_STREAM, 0);
		target.unix_socket = socket(AF_UNIX, SOCK_STREAM, 0);
		if (sandbox && sandbox_enter_parts(parts) != 0)
			_exit(2);
		_exit(attempt() ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		assert_int_equal(WTERMSIG(status), SIGSYS);
	else
		assert_int_not_equal(WEXITSTATUS(status), 2);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Without seccomp, does Landlock refuse it? A limit refuses fork, unless root makes the attempt. */
static bool
refused_by_landlock(const Attempt *attempt)
{
	if (attempt->attempt == fork_process)
		return geteuid() != 0;
	return attempt->landlock != 0 && landlock_version() >= attempt->landlock;
}

static void
test_attempt(void **state)
{
	const Case *which = *state;
	bool refused = (which->parts & WIRE_SANDBOX_CALLS) != 0;

	if ((which->parts & WIRE_SANDBOX_LANDLOCK) != 0)
		refused = refused || refused_by_landlock(which->attempt);
	assert_int_equal(succeeds(which->attempt->attempt, which->sandbox, which->parts), !refused);
}

/* A client connects, sends and reads; the process in the sandbox serves it. */
static void
test_serves(void **state)
{
	socklen_t size = sizeof(target.tcp_address);
	uint8_t parts = landlock_version() > 0 ? EVERYTHING : WIRE_SANDBOX_CALLS;
	int client = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 'y';

	(void) state;
	/* The attempts have left connections in the other listener's queue. */
	target.tcp_address.sin_port = 0;
	target.listener = listen_on(AF_INET, &target.tcp_address, &size);
	assert_int_equal(
		connect(client, (struct sockaddr *) &target.tcp_address, sizeof(target.tcp_address)), 0);
	assert_int_equal(send(client, &byte, 1, 0), 1);
#if SANDBOX_SANITIZED
	parts = WIRE_SANDBOX_CALLS;
#endif
	assert_true(succeeds(serve, true, parts));
	assert_int_equal(recv(client, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	close(client);
}

static bool
limits_are_set(void)
{
	return prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static void
test_limits(void **state)
{
	(void) state;
	assert_false(succeeds(limits_are_set, false, 0));
	assert_true(succeeds(limits_are_set, true, 0));
}

/* The sanitizers need what the sandbox takes away, and the kernel may lack Landlock. */
static bool
can_be_tested(bool sandbox, uint8_t parts)
{
	if (sandbox && SANDBOX_SANITIZED)
		return false;
	return (parts & WIRE_SANDBOX_LANDLOCK) == 0 || landlock_version() > 0;
}

int
main(void)
{
	static const struct
	{
		const char *name;
		bool sandbox;
		uint8_t parts;
	} sandboxes[] = {{"without a sandbox", false, 0},
					 {"with seccomp", true, WIRE_SANDBOX_CALLS},
					 {"with Landlock", true, WIRE_SANDBOX_LANDLOCK},
					 {"with both", true, EVERYTHING}};
	static Case cases[4 * ATTEMPTS];
	struct CMUnitTest tests[4 * ATTEMPTS + 2];
	size_t n = 0;

	for (size_t i = 0; i < 4; i++)
	{
		if (!can_be_tested(sandboxes[i].sandbox, sandboxes[i].parts))
			continue;
		for (size_t j = 0; j < ATTEMPTS; j++, n++)
		{
			cases[n] = (Case){.attempt = &attempts[j],
							  .sandbox = sandboxes[i].sandbox,
							  .parts = sandboxes[i].parts};
			snprintf(cases[n].name, sizeof(cases[n].name), "%s: %s", sandboxes[i].name,
					 attempts[j].name);
			tests[n] = (struct CMUnitTest){
				.name = cases[n].name, .test_func = test_attempt, .initial_state = &cases[n]};
		}
	}
	tests[n++] = (struct CMUnitTest) cmocka_unit_test(test_serves);
	if (!SANDBOX_SANITIZED)
		tests[n++] = (struct CMUnitTest) cmocka_unit_test(test_limits);
	return _cmocka_run_group_tests("test_sandbox", tests, n, setup, teardown);
}
