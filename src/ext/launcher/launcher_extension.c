/*-------------------------------------------------------------------------
 *
 * launcher_extension.c
 *	  The end of CREATE EXTENSION: the database gets its feed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "ext/base/shared.h"
#include "ext/launcher/launcher_slots.h"
#include "ext/transaction/at_end.h"

PG_FUNCTION_INFO_V1(notifyd_created);

/*
 * notifyd.created()
 *
 * The extension's script calls it last. Once the transaction has committed, the launcher starts a
 * feed for this database.
 */
Datum
notifyd_created(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (notifyd_shared == NULL)
		ereport(WARNING,
				(errmsg("pg_notifyd must be loaded via shared_preload_libraries"),
				 errhint("Set shared_preload_libraries = 'pg_notifyd' in postgresql.conf and "
						 "restart the server. Until then, statements that change watched tables "
						 "fail.")));
	else
	{
		(void) shared_database(MyDatabaseId);
		at_end_wake(AT_END_WANT_FEED);
		slots_warn_missing();
	}
	PG_RETURN_VOID();
}
