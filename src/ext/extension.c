/*-------------------------------------------------------------------------
 *
 * extension.c
 *	  What CREATE EXTENSION does at its end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "launcher.h"
#include "shared.h"

PG_FUNCTION_INFO_V1(notifyd_created);

/* Tell the launcher, so that the database gets its feed once this is committed. */
Datum
notifyd_created(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (notifyd_shared == NULL)
		ereport(WARNING,
				(errmsg("pg_notifyd must be loaded via shared_preload_libraries"),
				 errhint("Add it in postgresql.conf, as in shared_preload_libraries = 'pg_notifyd', and "
						 "restart the server; until then no change is captured.")));
	else
		launcher_extension_created();
	PG_RETURN_VOID();
}
