/*-------------------------------------------------------------------------
 *
 * health.c
 *	  What GET /healthz answers.
 *
 *-------------------------------------------------------------------------
 */
#include "health.h"

#include <stdio.h>

static bool
health_database(const Database *database, uint64_t now, char *reason, size_t size)
{
	const char *why;

	if (hub_database_current(database, now, &why))
		return true;
	snprintf(reason, size, "database \"%s\": %s", database->name, why);
	return false;
}

bool
health_check(Hub *hub, const char *name, size_t name_len, uint64_t now, char *reason, size_t size)
{
	Database *database;

	if (name != NULL)
	{
		database = hub_find(hub, name, name_len);
		if (database != NULL)
			return health_database(database, now, reason, size);
		snprintf(reason, size, "this database is not served");
		return false;
	}
	if (LIST_EMPTY(&hub->databases))
	{
		snprintf(reason, size, "no database is served");
		return false;
	}
	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		if (!health_database(database, now, reason, size))
			return false;
	}
	return true;
}
