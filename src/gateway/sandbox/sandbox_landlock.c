/*-------------------------------------------------------------------------
 *
 * sandbox_landlock.c
 *	  Landlock: no files, no TCP but what is accepted, no signals to others. See sandbox.h.
 *
 * A Landlock ruleset names the rights that it handles; what no rule allows is refused (landlock(7)).
 * This one has no rules. It handles all that the kernel's version of the interface knows.
 *
 * The constants are written out, because the kernel that runs the program is often newer than the
 * headers that compile it.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/sandbox/sandbox.h"

#include <sys/syscall.h>
#include <unistd.h>

/* The numbers are the same on all architectures that Linux 5.13 or later runs PostgreSQL on. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif

#define LANDLOCK_ASK_VERSION 1 /* LANDLOCK_CREATE_RULESET_VERSION */

/* struct landlock_ruleset_attr of version 6 of the interface. */
typedef struct LandlockRuleset
{
	uint64_t files;   /* handled_access_fs */
	uint64_t network; /* handled_access_net, from version 4 on */
	uint64_t scoped;  /* from version 6 on */
} LandlockRuleset;

#define LANDLOCK_NETWORK 0x3 /* binding and connecting TCP sockets */
#define LANDLOCK_SCOPED  0x3 /* abstract Unix sockets, and signals, of processes outside */

/* All rights on files: bits from 0 on, some more with each version. */
static uint64_t
landlock_files(long version)
{
	static const unsigned bits[] = {0, 13, 14, 15, 15, 16};
	static const long newest = sizeof(bits) / sizeof(bits[0]) - 1;

	return (UINT64_C(1) << bits[version < newest ? version : newest]) - 1;
}

bool
sandbox_restrict(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ASK_VERSION);
	LandlockRuleset ruleset = {0};
	bool restricted;
	int fd;

	if (version < 1 || SANDBOX_SANITIZED)
		return false;
	ruleset.files = landlock_files(version);
	if (version >= 4)
		ruleset.network = LANDLOCK_NETWORK;
	if (version >= 6)
		ruleset.scoped = LANDLOCK_SCOPED;
	/* A kernel of an earlier version takes the longer struct, because the rest of it is zero. */
	fd = (int) syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);
	if (fd < 0)
		return false;
	restricted = syscall(SYS_landlock_restrict_self, fd, 0) == 0;
	close(fd);
	return restricted;
}
