/*-------------------------------------------------------------------------
 *
 * failpoint.c
 *	  Points where tests can make a process fail, only in builds with FAIL_POINTS=1.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/failpoint.h"

#ifdef NOTIFYD_FAIL_POINTS

#include <signal.h>
#include <stdlib.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/guc.h"

#define FAIL_PAUSE_US 2000

static char *failpoint_setting;

void
failpoint_define(void)
{
	DefineCustomStringVariable("pg_notifyd.fail_points", "Where processes fail, for tests.",
							   "A comma-separated list of name=action[:probability].",
							   &failpoint_setting, "", PGC_SUSET, 0, NULL, NULL, NULL);
}

/*
 * Look up the action for a name, and decide by its probability. Returns false if nothing is to be
 * done.
 */
static bool
failpoint_action(const char *name, char *action, size_t size)
{
	size_t length = strlen(name);

	for (const char *at = failpoint_setting; at != NULL && *at != '\0';)
	{
		const char *end = strchrnul(at, ',');

		if (strncmp(at, name, length) == 0 && at[length] == '=')
		{
			const char *from = at + length + 1;
			const char *colon = memchr(from, ':', end - from);
			size_t n = (colon ? colon : end) - from;

			if (colon != NULL && drand48() >= strtod(colon + 1, NULL))
				return false;
			strlcpy(action, from, Min(size, n + 1));
			return true;
		}
		at = *end == ',' ? end + 1 : end;
	}
	return false;
}

void
failpoint_reach(const char *name)
{
	static bool seeded = false;
	char action[16];

	if (!seeded)
	{
		srand48(MyProcPid);
		seeded = true;
	}
	if (!failpoint_action(name, action, sizeof(action)))
		return;
	if (strcmp(action, "crash") == 0)
		kill(MyProcPid, SIGKILL);
	else if (strcmp(action, "error") == 0)
		ereport(ERROR, (errmsg("fail point \"%s\"", name)));
	else if (strcmp(action, "pause") == 0)
	{
		do
		{
			pg_usleep(FAIL_PAUSE_US);
			if (ConfigReloadPending)
			{
				ConfigReloadPending = false;
				ProcessConfigFile(PGC_SIGHUP);
			}
		} while (failpoint_action(name, action, sizeof(action)) && strcmp(action, "pause") == 0);
	}
}

#else

/* A C file must declare something. */
extern const char failpoint_none;
const char failpoint_none = 0;

#endif
