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

/* No core dumps; no new processes, unless a privilege exempts the user. */
static void
sandbox_limit(void)
{
	static const struct rlimit none = {0, 0};

	(void) setrlimit(RLIMIT_CORE, &none);
#if !SANDBOX_SANITIZED
	(void) setrlimit(RLIMIT_NPROC, &none);
	/* Other processes of the user cannot read our memory or descriptors (prctl(2)). */
	(void) prctl(PR_SET_DUMPABLE, 0);
#endif
}

uint8_t
sandbox_enter_parts(uint8_t parts)
{
	uint8_t missing = 0;

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
