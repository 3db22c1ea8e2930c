/*-------------------------------------------------------------------------
 *
 * group_definition.c
 *	  Rows of notifyd.consumer_group, and who may take from a group.
 *
 * A session keeps the definitions that it has used, with the last role that was allowed to take,
 * until a relation or a role changes. notify_group() and notify_grant() invalidate the relation
 * cache entries of their tables, so that counts as such a change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ext/base/extension.h"
#include "ext/base/relation_change.h"
#include "ext/channel/grant.h"
#include "ext/group/group_internal.h"

/* A definition that this session has used. */
typedef struct GroupKnown
{
	GroupDefinition definition;
	Oid taker; /* a role that may take */
} GroupKnown;

static struct
{
	MemoryContext context;
	List *groups;   /* of GroupKnown */
	uint64 as_of;   /* changes when the list was begun */
	uint64 changes; /* how often something has changed */
} group_known;

void
group_require(const char *function)
{
	shared_require();
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
}

static void
group_relation_changed(Datum arg pg_attribute_unused(), Oid relation pg_attribute_unused())
{
	group_known.changes++;
}

static void
group_role_changed(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
				   uint32 hash pg_attribute_unused())
{
	group_known.changes++;
}

uint64
group_changes(void)
{
	static bool registered = false;

	if (!registered)
	{
		relation_change_register(group_relation_changed);
		CacheRegisterSyscacheCallback(AUTHOID, group_role_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, group_role_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, group_role_changed, (Datum) 0);
		registered = true;
	}
	return group_known.changes;
}

/* ---------------- reading rows ---------------- */

int64
group_interval_us(const Interval *interval)
{
	return interval->time +
		   (interval->day + (int64) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;
}

static void
group_read_channels(GroupDefinition *definition, ArrayType *array)
{
	Datum *names;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL,
					  &definition->nchannels);
	definition->channels = palloc0((definition->nchannels + 1) * sizeof(NameData));
	for (int i = 0; i < definition->nchannels; i++)
		namestrcpy(&definition->channels[i], TextDatumGetCString(names[i]));
}

static GroupDefinition *
group_from_tuple(HeapTuple tuple, TupleDesc desc, uint64 as_of)
{
	GroupDefinition *definition = palloc0(sizeof(GroupDefinition));
	Datum values[GROUP_MAX_ATTEMPTS];
	bool nulls[GROUP_MAX_ATTEMPTS];

	heap_deform_tuple(tuple, desc, values, nulls);
	definition->id = DatumGetInt32(values[GROUP_ID - 1]);
	namestrcpy(&definition->name, TextDatumGetCString(values[GROUP_NAME - 1]));
	definition->owner = DatumGetObjectId(values[GROUP_OWNER - 1]);
	group_read_channels(definition, DatumGetArrayTypeP(values[GROUP_CHANNELS - 1]));
	if (!nulls[GROUP_FILTER - 1])
		definition->filter = TextDatumGetCString(values[GROUP_FILTER - 1]);
	definition->ordered = !nulls[GROUP_ORDERED - 1];
	definition->lease = group_interval_us(DatumGetIntervalP(values[GROUP_LEASE - 1]));
	definition->max_attempts = DatumGetInt32(values[GROUP_MAX_ATTEMPTS - 1]);
	definition->as_of = as_of;
	definition->fresh = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
	return definition;
}

/* The groups with this name, or this number, or (NULL, 0) all. */
static List *
group_select(const char *name, int id)
{
	Relation table = table_open(extension_relation("consumer_group"), AccessShareLock);
	uint64 as_of = group_changes();
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	List *groups = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		GroupDefinition *definition = group_from_tuple(tuple, RelationGetDescr(table), as_of);

		if ((name == NULL || strcmp(NameStr(definition->name), name) == 0) &&
			(id == 0 || definition->id == id))
			groups = lappend(groups, definition);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return groups;
}

List *
group_list(void)
{
	return group_select(NULL, 0);
}

GroupDefinition *
group_read(int id)
{
	List *groups = group_select(NULL, id);

	return groups != NIL ? linitial(groups) : NULL;
}

/* ---------------- finding a group to take from ---------------- */

static bool
group_may_take(const GroupDefinition *definition)
{
	const char *name = NameStr(definition->name);
	Oid role = GetUserId();

	return superuser_arg(role) || has_privs_of_role(role, definition->owner) ||
		   grant_exists(role, name, (int) strlen(name), GRANT_CONSUME);
}

static int
group_compare(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

List *
group_names(void)
{
	List *names = NIL;
	ListCell *cell;

	if (!OidIsValid(extension_find_relation("consumer_group")))
		return NIL;
	foreach (cell, group_list())
	{
		const GroupDefinition *definition = lfirst(cell);

		if (group_may_take(definition))
			names = lappend(names, pstrdup(NameStr(definition->name)));
	}
	list_sort(names, group_compare);
	return names;
}

static void
group_check_taker(const GroupDefinition *definition)
{
	const char *name = NameStr(definition->name);

	if (!group_may_take(definition))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for consumer group \"%s\"", name),
						errhint("A superuser or the extension's owner can grant the privilege with "
								"notify_grant('%s', role, '%s').",
								name, GRANT_CONSUME)));
}

/* Read a group that the session does not know, in the context of those that it knows. */
static GroupKnown *
group_learn(const char *name)
{
	List *groups;
	GroupKnown *known;

	extension_require_version();
	groups = group_select(name, 0);
	if (groups == NIL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("consumer group \"%s\" does not exist", name),
						errhint("notify_group(name, channels) creates a consumer group.")));
	known = palloc0(sizeof(GroupKnown));
	known->definition = *(GroupDefinition *) linitial(groups);
	if (known->definition.fresh)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("consumer group \"%s\" was changed in this transaction", name),
						errhint("Commit the transaction before taking events.")));
	group_known.groups = lappend(group_known.groups, known);
	return known;
}

static GroupKnown *
group_get(const char *name)
{
	GroupKnown *known = NULL;
	MemoryContext old;
	ListCell *cell;

	if (group_known.context == NULL)
		group_known.context =
			AllocSetContextCreate(TopMemoryContext, "pg_notifyd groups", ALLOCSET_SMALL_SIZES);
	if (group_known.as_of != group_changes())
	{
		MemoryContextReset(group_known.context);
		group_known.groups = NIL;
		group_known.as_of = group_changes();
	}
	foreach (cell, group_known.groups)
	{
		GroupKnown *other = lfirst(cell);

		if (strcmp(NameStr(other->definition.name), name) == 0)
			known = other;
	}
	old = MemoryContextSwitchTo(group_known.context);
	if (known == NULL)
		known = group_learn(name);
	MemoryContextSwitchTo(old);
	return known;
}

/* Slots are few, so a role that may not take from the group has been refused before. */
static const GroupDefinition *
group_use(GroupKnown *known)
{
	if (known->definition.slot == NULL)
		known->definition.slot = slot_get(known->definition.id);
	return &known->definition;
}

const GroupDefinition *
group_find_any(const char *name)
{
	return group_use(group_get(name));
}

const GroupDefinition *
group_find(const char *name)
{
	GroupKnown *known = group_get(name);

	if (known->taker != GetUserId())
	{
		group_check_taker(&known->definition);
		known->taker = GetUserId();
	}
	return group_use(known);
}
