/*-------------------------------------------------------------------------
 *
 * hub_database.c
 *	  The set of databases, whether they are current, and requests for feeds.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "gateway/hub/hub_internal.h"
#include "gateway/base/memory.h"

Database *
hub_find(Hub *hub, const char *name, size_t len)
{
	Database *database;

	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		if (database->name_len == len && memcmp(database->name, name, len) == 0)
			return database;
	}
	return NULL;
}

Database *
hub_new_database(Hub *hub, WireBytes name)
{
	Database *database = memory_zeroed(sizeof(Database) + name.len + 1);

	memcpy(database->name, name.data, name.len);
	database->name_len = name.len;
	RB_INIT(&database->subscriptions);
	RB_INIT(&database->streams);
	RB_INIT(&database->identities);
	LIST_INIT(&database->clients);
	RB_INIT(&database->members);
	TAILQ_INIT(&database->asking);
	RB_INIT(&database->token_sources);
	TAILQ_INIT(&database->token_turns);
	TAILQ_INIT(&database->snapshots);
	pool_init(&database->pool, &hub->pools,
			  (WireBytes){.data = database->name, .len = (uint32_t) database->name_len});
	groups_init(&database->groups, &database->pool);
	pool_client_init(&database->testator);
	LIST_INSERT_HEAD(&hub->databases, database, in_hub);
	return database;
}

void
hub_want(Hub *hub, const char *name, size_t len)
{
	if (hub->wake != NULL)
		hub->wake((WireBytes){.data = name, .len = (uint32_t) len});
}

void
hub_need(Hub *hub, Database *database)
{
	uint64_t now = hub->sessions->now();

	if (database->link != NULL || !database->asleep || hub->wake == NULL)
		return;
	if (database->needed_since == 0)
		database->needed_since = now;
	else if (now - database->asked_at < HUB_ASK_MS)
		return;
	database->asked_at = now;
	hub->wake((WireBytes){.data = database->name, .len = (uint32_t) database->name_len});
}

bool
hub_serves(const Hub *hub, const Database *database, bool *later)
{
	if (database != NULL && (database->link != NULL || database->asleep))
		return true;
	*later = hub_looking(hub);
	return false;
}

bool
hub_database_current(const Database *database, uint64_t now, const char **why)
{
	const char *reason = NULL;

	if (database->link == NULL)
		reason = database->asleep ? NULL : "its feed is not connected";
	else if (database->heard_at == 0 || now - database->heard_at > HUB_CURRENT_MS)
		reason = "its feed is silent";
	else if (database->behind_ms > HUB_BEHIND_MS)
		reason = "its events are late";
	if (why != NULL)
		*why = reason;
	return reason == NULL;
}
