/*-------------------------------------------------------------------------
 *
 * sandbox_calls.c
 *	  seccomp: the system calls that are left. See sandbox.h.
 *
 * The list has what libuv, libwebsockets in its role for raw sockets, jansson, malloc and the C
 * library call while clients are served. Every other call fails with EPERM, which the libraries
 * take as any failure. Those that only an attacker makes end the process, and the launcher's log
 * line says so.
 *
 * Some calls do more than serving needs, depending on an argument: they are allowed with certain
 * values only.
 *	  sendto		without an address. MSG_FASTOPEN with one connects, also the socket of a listener
 *					that was shut down
 *	  fcntl, ioctl	flags and counts. F_SETOWN sends signals to other processes
 *	  mmap, mprotect	without PROT_EXEC
 *	  kill, tgkill	to this process: abort()
 *
 * recvmsg and sendmsg are left out, because they pass descriptors.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <seccomp.h>

#define CALLS_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A call that is allowed if an argument, counted from 0, has this value in these bits. */
typedef struct CallsRule
{
	int call;
	unsigned argument;
	uint64_t bits;
	uint64_t value;
} CallsRule;

static const int calls_allowed[] = {
	/* connections and descriptors */
	SCMP_SYS(accept4),
	SCMP_SYS(close),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(recvfrom),
	SCMP_SYS(shutdown),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	/* waiting, and time */
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(futex),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(nanosleep),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	SCMP_SYS(time),
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(madvise),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	/* this process */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(getegid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(getrandom),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
#if SANDBOX_SANITIZED
	/* reports with symbols, and the check for leaks at the end */
	SCMP_SYS(arch_prctl),
	SCMP_SYS(clone),
	SCMP_SYS(fstat),
	SCMP_SYS(getdents),
	SCMP_SYS(getdents64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(lseek),
	SCMP_SYS(mmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(newfstatat),
	SCMP_SYS(openat),
	SCMP_SYS(open),
	SCMP_SYS(pipe),
	SCMP_SYS(pipe2),
	SCMP_SYS(prctl),
	SCMP_SYS(prlimit64),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(ptrace),
	SCMP_SYS(readlink),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(stat),
	SCMP_SYS(tgkill),
	SCMP_SYS(uname),
	SCMP_SYS(wait4),
#endif
};

static const CallsRule calls_by_argument[] = {
	{SCMP_SYS(sendto), 4, UINT64_MAX, 0},       {SCMP_SYS(fcntl), 1, UINT64_MAX, F_GETFL},
	{SCMP_SYS(fcntl), 1, UINT64_MAX, F_SETFL},  {SCMP_SYS(fcntl), 1, UINT64_MAX, F_GETFD},
	{SCMP_SYS(fcntl), 1, UINT64_MAX, F_SETFD},  {SCMP_SYS(ioctl), 1, UINT64_MAX, FIONBIO},
	{SCMP_SYS(ioctl), 1, UINT64_MAX, FIONREAD}, {SCMP_SYS(setsockopt), 1, UINT64_MAX, IPPROTO_TCP},
#if !SANDBOX_SANITIZED
	{SCMP_SYS(mmap), 2, PROT_EXEC, 0},          {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
#endif
};

/* Only an attacker makes these. */
static const int calls_fatal[] = {
	SCMP_SYS(bpf),
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(process_vm_writev),
#if !SANDBOX_SANITIZED
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(ptrace),
#endif
};

/* Returns 0 if the rule is in the filter. */
static int
calls_add(scmp_filter_ctx filter, const CallsRule *rule)
{
	const struct scmp_arg_cmp compare = {.arg = rule->argument,
										 .op = SCMP_CMP_MASKED_EQ,
										 .datum_a = rule->bits,
										 .datum_b = rule->value};

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->call, 1, &compare);
}

static bool
calls_fill(scmp_filter_ctx filter)
{
	const CallsRule to_ourselves[] = {
		{SCMP_SYS(kill), 0, UINT64_MAX, (uint64_t) getpid()},
#if !SANDBOX_SANITIZED
		{SCMP_SYS(tgkill), 0, UINT64_MAX, (uint64_t) getpid()},
#endif
	};
	int result = 0;

	for (size_t i = 0; i < CALLS_COUNT(calls_allowed); i++)
		result |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls_allowed[i], 0);
	for (size_t i = 0; i < CALLS_COUNT(calls_by_argument); i++)
		result |= calls_add(filter, &calls_by_argument[i]);
	for (size_t i = 0; i < CALLS_COUNT(to_ourselves); i++)
		result |= calls_add(filter, &to_ourselves[i]);
	for (size_t i = 0; i < CALLS_COUNT(calls_fatal); i++)
		result |= seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, calls_fatal[i], 0);
	return result == 0;
}

bool
sandbox_filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	bool loaded;

	if (filter == NULL)
		return false;
	/* A tree of comparisons instead of a line of them. */
	(void) seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	loaded = calls_fill(filter) && seccomp_load(filter) == 0;
	seccomp_release(filter);
	return loaded;
}
