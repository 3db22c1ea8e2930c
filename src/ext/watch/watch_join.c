/*-------------------------------------------------------------------------
 *
 * watch_join.c
 *	  Checks who may watch a table on a channel that others may already use.
 *
 * The check depends on the tables that are watched on the channel, and on its grants. The channel's
 * lock makes sessions check one after the other: if two owners create the first watches of a
 * channel at the same time, the second sees the watch of the first. The lock is one on an object
 * that does not exist, so no command takes it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "ext/base/extension.h"
#include "ext/channel/grant.h"
#include "ext/log/log.h"
#include "ext/transaction/at_end.h"
#include "ext/watch/watch.h"

bool
watch_owned_by(const Watch *watch, Oid role)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(watch->relation));
	bool owns = false;

	if (HeapTupleIsValid(tuple))
	{
		owns = has_privs_of_role(role, ((Form_pg_class) GETSTRUCT(tuple))->relowner);
		ReleaseSysCache(tuple);
	}
	return owns;
}

void
watch_check_join(const char *channel)
{
	Oid role = GetUserId();
	const char *detail = NULL;
	bool owned = false;
	ListCell *cell;

	if (extension_is_admin(role))
		return;
	foreach (cell, watch_list_channel(channel))
	{
		if (watch_owned_by(lfirst(cell), role))
			owned = true;
		else
			detail = "Tables of another owner are watched on the channel.";
	}
	if (!owned && detail == NULL && grant_reserves(channel, (int) strlen(channel)))
		detail = "Roles have privileges on the channel.";
	if (detail != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for channel \"%s\"", channel), errdetail("%s", detail),
				 errhint("Specify another channel. Only a superuser, a member of the roles that "
						 "own these tables, or a member of the role that owns the extension can "
						 "watch a table on this channel.")));
}

void
watch_check_owns_channel(const char *channel)
{
	Oid role = GetUserId();
	List *watches;
	bool owned;
	ListCell *cell;

	if (extension_is_admin(role))
		return;
	watches = watch_list_channel(channel);
	owned = watches != NIL;
	foreach (cell, watches)
		owned = owned && watch_owned_by(lfirst(cell), role);
	if (!owned)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of channel \"%s\"", channel),
				 errhint("A channel belongs to the owners of the tables that are watched on it. "
						 "Superusers and members of the role that owns extension %s own all "
						 "channels.",
						 EXTENSION_NAME)));
}

static LOCKTAG
watch_channel_lock(const char *channel)
{
	uint32 hash = hash_bytes((const unsigned char *) channel, (int) strlen(channel));
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, extension_relation("watch"), hash, 0);
	return tag;
}

bool
watch_try_channel(const char *channel)
{
	LOCKTAG tag = watch_channel_lock(channel);

	at_end_refuse_prepare();
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
watch_await_channel(const char *channel)
{
	LOCKTAG tag = watch_channel_lock(channel);

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	(void) LockRelease(&tag, ExclusiveLock, false);
}

void
watch_join_channel(const char *channel)
{
	LOCKTAG tag = watch_channel_lock(channel);

	at_end_refuse_prepare();
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	watch_check_join(channel);
}
