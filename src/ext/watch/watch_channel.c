/*-------------------------------------------------------------------------
 *
 * watch_channel.c
 *	  notify_channel(): declares that the messages of a channel have the fields of a type.
 *
 * The declaration belongs to the channel, so the owners of the channel make it, and those who may
 * grant privileges on channels.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/channel/channel_name.h"
#include "ext/channel/channel_type.h"
#include "ext/watch/watch.h"

PG_FUNCTION_INFO_V1(notify_channel);

/* Return why a type cannot be that of messages, or NULL if it can. */
static const char *
channel_type_problem(Form_pg_type form)
{
	if (form->typtype != TYPTYPE_COMPOSITE)
		return "It is not a composite type.";
	if (isAnyTempNamespace(form->typnamespace))
		return "It is temporary.";
	return NULL;
}

static void
channel_check_type(Oid type)
{
	HeapTuple tuple;
	const char *problem;

	/* Keep it from being dropped until the declaration is there. */
	LockDatabaseObject(TypeRelationId, type, 0, AccessShareLock);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the type does not exist any more")));
	problem = channel_type_problem((Form_pg_type) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("type %s cannot be that of messages", format_type_be(type)),
				 errdetail("%s", problem),
				 errhint("Use CREATE TYPE ... AS to create a type with the message's fields.")));
	if (!COMPAT_TYPE_USABLE(type, GetUserId()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for type %s", format_type_be(type)),
						errhint("Use GRANT USAGE ON TYPE to let the role use it.")));
}

/* notify_channel(channel text, type regtype) returns void */
Datum
notify_channel(PG_FUNCTION_ARGS)
{
	Oid type = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
	char *channel;

	PreventCommandIfReadOnly("notify_channel()");
	extension_require_version();
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("channel must not be null")));
	channel = text_to_cstring(PG_GETARG_TEXT_PP(0));
	channel_check_name(channel, NULL);
	watch_check_owns_channel(channel);
	if (OidIsValid(type))
		channel_check_type(type);
	if (!channel_type_set(channel, type) && !OidIsValid(type))
		ereport(NOTICE, (errmsg("channel \"%s\" has not been declared", channel),
						 errhint("The view notifyd.channels shows all declared channels.")));
	PG_RETURN_VOID();
}
