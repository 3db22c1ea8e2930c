/*-------------------------------------------------------------------------
 *
 * feed_rights.c
 *	  What roles may do with channels that they have no view of.
 *
 * A view's decision lasts as long as its streams. These decisions are about a message or the first
 * event of a channel, so they are kept in a table of bounded size. When it is full, it is emptied.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "ext/feed/feed_rights.h"

#define RIGHTS_MAX 4096

/* Not of a role: the channel was declared. */
#define RIGHT_DECLARED 0x8

typedef struct RightsKey
{
	char role[NAMEDATALEN];
	char channel[NAMEDATALEN];
} RightsKey;

typedef struct Rights
{
	RightsKey key;
	uint8 known; /* Right bits, and RIGHT_DECLARED */
	uint8 given;
} Rights;

static HTAB *rights; /* NULL: there are no decisions */

void
rights_forget(void)
{
	if (rights != NULL)
		hash_destroy(rights);
	rights = NULL;
}

static void
rights_make(void)
{
	HASHCTL control = {
		.keysize = sizeof(RightsKey), .entrysize = sizeof(Rights), .hcxt = TopMemoryContext};

	rights = hash_create("pg_notifyd rights", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static Rights *
rights_find(const char *role, const char *channel)
{
	RightsKey key;
	bool found;
	Rights *entry;

	memset(&key, 0, sizeof(key));
	strlcpy(key.role, role, sizeof(key.role));
	strlcpy(key.channel, channel, sizeof(key.channel));
	if (rights != NULL && hash_get_num_entries(rights) >= RIGHTS_MAX)
		rights_forget();
	if (rights == NULL)
		rights_make();
	entry = hash_search(rights, &key, HASH_ENTER, &found);
	if (!found)
		entry->known = entry->given = 0;
	return entry;
}

/* Make decisions about a role and a channel. Returns the bits of what it has. */
static uint8
rights_decide(const char *role, const char *channel, bool publish)
{
	AccessReason reason;
	AccessChannel access;
	Oid oid = access_role(role, &reason);

	if (!OidIsValid(oid))
		return 0;
	if (publish)
		return rights_connect(role, &reason) && access_may_publish(oid, channel) ? RIGHT_PUBLISH
																				 : 0;
	if (!access_channel(oid, channel, NULL, &access, &reason))
		return 0;
	return RIGHT_SEE | (access.granted ? RIGHT_MESSAGES : 0);
}

static bool
rights_look_up(const char *role, const char *channel, uint8 right)
{
	Rights *entry = rights_find(role, channel);
	uint8 decided = right;

	if ((entry->known & right) == 0)
	{
		/* What it allocates is not needed, and there may be many in one transaction. */
		MemoryContext context =
			AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd rights", ALLOCSET_SMALL_SIZES);
		MemoryContext outer = MemoryContextSwitchTo(context);
		uint8 given;

		if (right == RIGHT_DECLARED)
			given = access_is_declared(channel) ? RIGHT_DECLARED : 0;
		else
			given = rights_decide(role, channel, right == RIGHT_PUBLISH);
		MemoryContextSwitchTo(outer);
		MemoryContextDelete(context);
		if (right == RIGHT_SEE || right == RIGHT_MESSAGES)
			decided = RIGHT_SEE | RIGHT_MESSAGES;
		/* It may be right only for a state that no longer exists. */
		if (change_due())
			return (given & right) != 0;
		entry->known |= decided;
		entry->given = (entry->given & ~decided) | given;
	}
	return (entry->given & right) != 0;
}

bool
rights_has(const char *role, const char *channel, Right right)
{
	return rights_look_up(role, channel, (uint8) right);
}

bool
rights_declared(const char *channel)
{
	return rights_look_up("", channel, RIGHT_DECLARED);
}

bool
rights_connect(const char *role, AccessReason *reason)
{
	const AccessStanding *standing;

	if (!OidIsValid(access_role(role, reason)))
		return false;
	standing = access_standing(role);
	if (standing->connects)
		return true;
	reason->kind = WIRE_NOT_PERMITTED;
	snprintf(reason->message, sizeof(reason->message), "permission denied for database \"%s\"",
			 get_database_name(MyDatabaseId));
	return false;
}
