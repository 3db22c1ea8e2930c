/*-------------------------------------------------------------------------
 *
 * sandbox.c
 *	  What the gateway gives up before its first client. See sandbox.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/sandbox/sandbox.h"

#include <sys/prctl.h>
#include <sys/resource.h>

static const struct rlimit sandbox_none = {0, 0};

void
sandbox_hide(void)
{
	(void) setrlimit(RLIMIT_CORE, &sandbox_none);
#if !SANDBOX_SANITIZED
	(void) prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* No new processes, unless a privilege exempts the user. */
static void
sandbox_limit(void)
{
#if !SANDBOX_SANITIZED
	(void) setrlimit(RLIMIT_NPROC, &sandbox_none);
#endif
}

uint8_t
sandbox_enter_parts(uint8_t parts)
{
	uint8_t missing = 0;

	sandbox_hide();
	sandbox_limit();
	/* Both parts require it of a process without privileges (seccomp(2), landlock(7)). */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return parts;
	/* seccomp comes last, because it refuses the calls that the other part takes. */
	if ((parts & WIRE_SANDBOX_LANDLOCK) != 0 && !sandbox_restrict())
		missing |= WIRE_SANDBOX_LANDLOCK;
	if ((parts & WIRE_SANDBOX_CALLS) != 0 && !sandbox_filter_calls())
		missing |= WIRE_SANDBOX_CALLS;
	return missing;
}

uint8_t
sandbox_enter(void)
{
	return sandbox_enter_parts(WIRE_SANDBOX_CALLS | WIRE_SANDBOX_LANDLOCK);
}
