/*-------------------------------------------------------------------------
 *
 * databases.c
 *	  The launcher's table of databases. See databases.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/launcher/databases.h"
#include "utils/timestamp.h"

LauncherDatabase databases[NOTIFYD_MAX_DATABASES];

const char *
databases_name(int index)
{
	const LauncherDatabase *mine = &databases[index];

	return OidIsValid(mine->oid) && mine->connectable ? NameStr(mine->name) : NULL;
}

long
databases_ms_until(TimestampTz then, TimestampTz now)
{
	if (then <= now || then > TimestampTzPlusMilliseconds(now, DATABASES_SCAN_MS))
		return 0;
	return (long) ((then - now) / 1000) + 1;
}
