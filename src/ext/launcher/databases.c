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

int
databases_find(const char *name, size_t length)
{
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		const char *mine = databases_name(i);

		if (mine != NULL && strlen(mine) == length && memcmp(mine, name, length) == 0)
			return i;
	}
	return -1;
}

long
databases_ms_until(TimestampTz then, TimestampTz now)
{
	if (then <= now || then > TimestampTzPlusMilliseconds(now, DATABASES_SCAN_MS))
		return 0;
	return (long) ((then - now) / 1000) + 1;
}
