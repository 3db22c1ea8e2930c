/*-------------------------------------------------------------------------
 *
 * server_version.c
 *	  Warns of minor releases of PostgreSQL that lack a fix which pg_notifyd needs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/server_version.h"
#include "utils/guc.h"

void
server_version_check(void)
{
	/* The running server's version, not the one that the library was compiled for. */
	int version_num = atoi(GetConfigOption("server_version_num", false, false));
	int fixed = server_version_fixed_in(version_num);

	if (fixed == 0)
		return;
	ereport(WARNING,
			(errmsg("PostgreSQL %d.%d lacks a bug fix that pg_notifyd needs", version_num / 10000,
					version_num % 10000),
			 errdetail("VACUUM can remove transaction status that LISTEN still needs. A database's "
					   "feed then fails with \"could not access status of transaction\"."),
			 errhint("Update PostgreSQL to %d.%d or later.", fixed / 10000, fixed % 10000)));
}
