/*-------------------------------------------------------------------------
 *
 * health.c
 *	  The answer to GET /healthz.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/health.h"

#include <stdio.h>

/* Check whether one database, which the request names, is served and current. */
static bool
health_named(Hub *hub, const char *name, size_t name_len, uint64_t now, char *reason, size_t size)
{
	const Database *database = hub_find(hub, name, name_len);
	const char *why = "it is not served";

	if (database != NULL && hub_database_current(database, now, &why))
	{
		if (database->link == NULL)
			snprintf(reason, size, "ok, asleep: nobody is subscribed");
		return true;
	}
	snprintf(reason, size, "this database: %s", why);
	return false;
}

/* Check all databases. The request is public, so the answer contains no names. */
static bool
health_all(Hub *hub, uint64_t now, char *reason, size_t size)
{
	const Database *database;
	const char *why;

	if (LIST_EMPTY(&hub->databases))
	{
		snprintf(reason, size, "no database is served");
		return false;
	}
	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		if (!hub_database_current(database, now, &why))
		{
			snprintf(reason, size, "a database: %s", why);
			return false;
		}
	}
	return true;
}

bool
health_check(Hub *hub, const char *name, size_t name_len, uint64_t now, char *reason, size_t size)
{
	if (name != NULL)
		return health_named(hub, name, name_len, now, reason, size);
	if (hub->health_at == 0)
	{
		snprintf(reason, size, "the launcher has not reported yet");
		return false;
	}
	if (now - hub->health_at > HUB_LAUNCHER_MS)
	{
		snprintf(reason, size, "the launcher is silent");
		return false;
	}
	if (hub->trouble != NULL)
	{
		snprintf(reason, size, "%s", hub->trouble);
		return false;
	}
	return health_all(hub, now, reason, size);
}
