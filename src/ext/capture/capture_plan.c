/*-------------------------------------------------------------------------
 *
 * capture_plan.c
 *	  Collects once in each backend what capturing the changes of a table needs.
 *
 * Plans are kept by watch and relation that fires the trigger. Invalidation callbacks only mark
 * plans as invalid; the next call that needs such a plan makes a new one. Callbacks may run at any
 * time, also while a row is being captured, and a user-defined cast may even capture other rows in
 * between. So the memory of an old plan lives until the transaction ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/operation.h"
#include "ext/base/buffer.h"
#include "ext/base/extension.h"
#include "ext/base/relation_change.h"
#include "ext/base/shared.h"
#include "ext/capture/capture.h"
#include "ext/watch/watch.h"
#include "ext/watch/watch_shape.h"

typedef struct CaptureKey
{
	int64 watch_id;
	Oid relation;
	uint32 zero; /* the key is hashed and compared as bytes */
} CaptureKey;

typedef struct CaptureEntry
{
	CaptureKey key;
	CapturePlan *plan; /* NULL: not made yet */
} CaptureEntry;

static HTAB *capture_plans = NULL;
static uint64 capture_invalidations = 0; /* number of invalidations so far */

/*
 * The plan of the last call, which the next call mostly needs again. Every invalidation clears it.
 */
static struct
{
	Oid trigger;
	Oid relation;
	CapturePlan *plan; /* NULL: none */
} capture_last;

/* ---------------- invalidation ---------------- */

static void
capture_relation_changed(Datum arg pg_attribute_unused(), Oid relation)
{
	HASH_SEQ_STATUS scan;
	CaptureEntry *entry;

	capture_invalidations++;
	capture_last.plan = NULL;
	hash_seq_init(&scan, capture_plans);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		CapturePlan *plan = entry->plan;

		if (plan != NULL && (!OidIsValid(relation) || plan->relation == relation ||
							 plan->watched == relation || list_member_oid(plan->types, relation)))
			plan->valid = false;
	}
}

/*
 * A schema was renamed, or a function or cast has changed. This is rare, so all plans are made
 * again.
 */
static void
capture_catalog_changed(Datum arg, int cache pg_attribute_unused(),
						uint32 hash pg_attribute_unused())
{
	capture_relation_changed(arg, InvalidOid);
}

static void
capture_plan_init(void)
{
	HASHCTL control = {.keysize = sizeof(CaptureKey), .entrysize = sizeof(CaptureEntry)};

	capture_plans = hash_create("pg_notifyd capture plans", 64, &control, HASH_ELEM | HASH_BLOBS);
	relation_change_register(capture_relation_changed);
	CacheRegisterSyscacheCallback(NAMESPACEOID, capture_catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, capture_catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(CASTSOURCETARGET, capture_catalog_changed, (Datum) 0);
}

/* ---------------- making a plan ---------------- */

/*
 * Map a column of the watched relation to the relation that fires the trigger, by name, like
 * PostgreSQL maps the columns of a partition. Returns InvalidAttrNumber if the column does not
 * exist.
 */
static AttrNumber
capture_map_column(const CapturePlan *plan, TupleDesc desc, AttrNumber attnum)
{
	const char *name;

	if (plan->relation == plan->watched)
		return attnum > 0 && attnum <= desc->natts && !TupleDescAttr(desc, attnum - 1)->attisdropped
				   ? attnum
				   : InvalidAttrNumber;
	name = get_attname(plan->watched, attnum, true);
	return name != NULL ? get_attnum(plan->relation, name) : InvalidAttrNumber;
}

/* Shrink a buffer to its contents, so that data used together is close together. */
static void
capture_trim(StringInfo buf)
{
	char *data = memcpy(palloc(buf->len), buf->data, buf->len);

	pfree(buf->data);
	buf->data = data;
	buf->maxlen = buf->len;
}

static void
capture_prepare_column(CapturePlan *plan, TupleDesc desc, AttrNumber attnum, CaptureColumn *column)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, attnum - 1);
	StringInfoData label;

	initStringInfo(&label);
	json_append_string(&label, NameStr(attribute->attname), strlen(NameStr(attribute->attname)));
	buffer_put_literal(&label, ":");
	capture_trim(&label);
	memset(column, 0, sizeof(*column));
	column->attnum = attnum;
	column->label = label.data;
	column->label_length = label.len;
	column->typlen = attribute->attlen;
	column->typbyval = attribute->attbyval;
	json_prepare(&column->json, attribute->atttypid, &plan->types);
	plan->natts = Max(plan->natts, attnum);
}

/*
 * Return the index in plan->columns of a column of the watched relation, and add the column if
 * necessary. Returns -1 if the column does not exist.
 */
static int
capture_add_column(CapturePlan *plan, TupleDesc desc, AttrNumber watched_attnum)
{
	AttrNumber attnum = capture_map_column(plan, desc, watched_attnum);

	if (attnum <= 0)
		return -1;
	for (int i = 0; i < plan->ncolumns; i++)
	{
		if (plan->columns[i].attnum == attnum)
			return i;
	}
	capture_prepare_column(plan, desc, attnum, &plan->columns[plan->ncolumns]);
	plan->columns[plan->ncolumns].watched_attnum = watched_attnum;
	plan->pins |= plan->columns[plan->ncolumns].json.pins;
	return plan->ncolumns++;
}

static void
capture_add_key(CapturePlan *plan, TupleDesc desc, const Watch *watch)
{
	List *attnums = NIL;
	ListCell *cell;

	if (watch->key.given)
	{
		for (int i = 0; i < watch->key.n; i++)
			attnums = lappend_int(attnums, watch->key.attnums[i]);
	}
	else
		attnums = watch_table_key(plan->watched, false);
	foreach (cell, attnums)
		(void) capture_add_column(plan, desc, (AttrNumber) lfirst_int(cell));
	plan->nkey = plan->ncolumns;
}

static void
capture_add_to_order(CapturePlan *plan, int i)
{
	if (i < 0)
		return;
	plan->columns[i].in_cols = true;
	plan->order[plan->norder++] = i;
}

static AttrNumber
capture_natts(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	AttrNumber natts = 0;

	if (HeapTupleIsValid(tuple))
	{
		natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
		ReleaseSysCache(tuple);
	}
	return natts;
}

static void
capture_add_cols(CapturePlan *plan, TupleDesc desc, const Watch *watch)
{
	AttrNumber natts;

	if (watch->cols.given)
	{
		for (int i = 0; i < watch->cols.n; i++)
			capture_add_to_order(plan, capture_add_column(plan, desc, watch->cols.attnums[i]));
		return;
	}

	/* All columns that the watched relation has now, in its order. */
	natts = capture_natts(plan->watched);
	for (AttrNumber attnum = 1; attnum <= natts; attnum++)
		capture_add_to_order(plan, capture_add_column(plan, desc, attnum));
}

/* With a payload, the texts have only the key. Filters still use the captured columns. */
static void
capture_add_payload(CapturePlan *plan, Relation relation, const Watch *watch)
{
	plan->ncaptured = plan->nvisible = plan->ncolumns;
	if (watch->payload == NULL)
		return;
	plan->payload = capture_prepare_payload(watch, relation, &plan->types);
	plan->nvisible = plan->nkey;
	plan->norder = 0;
	plan->natts = RelationGetNumberOfAttributes(relation);
}

/* Add what the events' texts do not have, but row security and filters need. */
static void
capture_add_unseen(CapturePlan *plan, TupleDesc desc)
{
	Relation watched = RelationIdGetRelation(plan->watched);
	Bitmapset *columns;
	int attnum = -1;

	/* A database with the objects of version 1.0 has no place for it. */
	if (!RelationIsValid(watched))
		return;
	if (OidIsValid(extension_find_relation("shape")))
		plan->shape = watch_shape_of(RelationGetDescr(watched))->id;
	columns = plan->shape != 0 ? capture_policy_columns(watched) : NULL;
	RelationClose(watched);
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		(void) capture_add_column(plan, desc, (AttrNumber) attnum);
	if (plan->shape != 0)
		capture_add_hidden(plan);
}

static void
capture_add_update_of(CapturePlan *plan, TupleDesc desc, const Watch *watch)
{
	plan->nupdate_of = -1;
	if (!watch->update_of.given)
		return;
	plan->nupdate_of = 0;
	plan->update_of = palloc(Max(watch->update_of.n, 1) * sizeof(CaptureColumn));
	for (int i = 0; i < watch->update_of.n; i++)
	{
		AttrNumber attnum = capture_map_column(plan, desc, watch->update_of.attnums[i]);

		if (attnum > 0)
			capture_prepare_column(plan, desc, attnum, &plan->update_of[plan->nupdate_of++]);
	}
}

/* Make the text that all events of an operation begin with. */
static void
capture_make_head(PendingHead *head, PendingEvent *event, char op, const StringInfoData *names)
{
	event->op = op;
	pending_make_head(head, event);
	appendStringInfo(&head->buf, "\"op\":\"%s\"", operation_name(op));
	buffer_put(&head->buf, names->data, names->len);
	capture_trim(&head->buf);
}

static void
capture_add_heads(CapturePlan *plan, const Watch *watch)
{
	AttrNumber *columns = palloc(Max(plan->ncolumns, 1) * sizeof(AttrNumber));
	PendingEvent event = {.notify = watch->notify,
						  .notify_rows = watch->notify_rows,
						  .relation = plan->watched,
						  .ncolumns = watch->cols.given ? plan->ncaptured : -1,
						  .columns = columns,
						  .channel = watch->channel,
						  .channel_length = (int) strlen(watch->channel)};
	char *schema = get_namespace_name(get_rel_namespace(plan->watched));
	char *table = get_rel_name(plan->watched);
	StringInfoData names;

	event.watch =
		shared_watch(plan->watched, watch->channel, schema ? schema : "", table ? table : "");
	for (int i = 0; i < plan->ncaptured; i++)
		columns[i] = plan->columns[i].watched_attnum;
	initStringInfo(&names);
	buffer_put_literal(&names, ",\"schema\":");
	json_append_string(&names, schema ? schema : "", schema ? strlen(schema) : 0);
	buffer_put_literal(&names, ",\"table\":");
	json_append_string(&names, table ? table : "", table ? strlen(table) : 0);
	buffer_put_literal(&names, ",\"channel\":");
	json_append_string(&names, event.channel, event.channel_length);
	capture_make_head(&plan->insert_head, &event, OPERATION_INSERT, &names);
	capture_make_head(&plan->update_head, &event, OPERATION_UPDATE, &names);
	capture_make_head(&plan->delete_head, &event, OPERATION_DELETE, &names);
	capture_make_head(&plan->truncate_head, &event, OPERATION_TRUNCATE, &names);
	pfree(names.data);
	pfree(columns);
}

/* Return true if the watch is of this relation or of one of its ancestors. */
static bool
capture_watch_covers(const Watch *watch, Relation relation)
{
	return watch->relation == RelationGetRelid(relation) ||
		   (relation->rd_rel->relispartition &&
			list_member_oid(get_partition_ancestors(RelationGetRelid(relation)), watch->relation));
}

static void
capture_fill_plan(CapturePlan *plan, Relation relation)
{
	Watch *watch = watch_find(plan->watch_id);
	TupleDesc desc = RelationGetDescr(relation);
	int most;

	plan->watched = plan->relation;
	if (watch == NULL || !capture_watch_covers(watch, relation))
	{
		/*
		 * The table was restored without the extension's tables, or the trigger was created by
		 * hand. Do not fail the writer.
		 */
		plan->orphan = true;
		ereport(
			WARNING,
			(errmsg("a trigger of table \"%s\" captures no changes, because it belongs to no watch",
					RelationGetRelationName(relation)),
			 errdetail("Watch " INT64_FORMAT " of this table does not exist.", plan->watch_id),
			 errhint("Call notify_watch() to watch the table, or drop the trigger.")));
		return;
	}
	plan->watched = watch->relation;
	plan->ops = watch->ops;
	plan->old_values = watch->old_values;
	plan->track_moves =
		watch->condition == NULL && get_rel_relkind(plan->watched) == RELKIND_PARTITIONED_TABLE;

	plan->tupdesc = plan->track_moves ? CreateTupleDescCopyConstr(desc) : NULL;
	most = desc->natts;
	plan->columns = palloc(Max(most, 1) * sizeof(CaptureColumn));
	plan->order = palloc(Max(most, 1) * sizeof(int));
	capture_add_key(plan, desc, watch);
	capture_add_cols(plan, desc, watch);
	capture_add_payload(plan, relation, watch);
	capture_add_unseen(plan, desc);
	capture_add_update_of(plan, desc, watch);
	capture_add_heads(plan, watch);
}

static CapturePlan *
capture_make_plan(const CaptureKey *key, Relation relation)
{
	/* A child of the current context until the plan is complete, so that an error frees it. */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd capture plan",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(context);
	CapturePlan *plan = palloc0(sizeof(CapturePlan));

	plan->context = context;
	plan->watch_id = key->watch_id;
	plan->relation = key->relation;
	capture_fill_plan(plan, relation);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextSetParent(context, CacheMemoryContext);
	return plan;
}

static int64
capture_watch_id(const Trigger *trigger, Relation relation)
{
	char *end = NULL;
	int64 id = trigger->tgnargs > 0 ? strtoll(trigger->tgargs[0], &end, 10) : 0;

	if (end == NULL || *end != '\0')
		capture_protocol_error(trigger, relation, "must be called with the id of a watch");
	return id;
}

static CapturePlan *
capture_find_plan(int64 watch_id, Relation relation)
{
	CaptureKey key = {.watch_id = watch_id, .relation = RelationGetRelid(relation)};
	CaptureEntry *entry;
	CapturePlan *plan;
	uint64 before;
	bool found;

	if (capture_plans == NULL)
		capture_plan_init();
	entry = hash_search(capture_plans, &key, HASH_ENTER, &found);
	if (!found)
		entry->plan = NULL;
	if (entry->plan != NULL && entry->plan->valid)
		return entry->plan;

	/*
	 * An invalidation during capture_make_plan() may concern what it has read. The plan is then
	 * used for this row only.
	 */
	before = capture_invalidations;
	plan = capture_make_plan(&key, relation);
	plan->valid = before == capture_invalidations;
	entry = hash_search(capture_plans, &key, HASH_ENTER, &found);
	if (found && entry->plan != NULL)
		MemoryContextSetParent(entry->plan->context, TopTransactionContext);
	entry->plan = plan;
	return plan;
}

CapturePlan *
capture_plan(const Trigger *trigger, Relation relation)
{
	CapturePlan *plan = capture_last.plan;

	if (plan != NULL && capture_last.trigger == trigger->tgoid &&
		capture_last.relation == RelationGetRelid(relation))
		return plan;
	plan = capture_find_plan(capture_watch_id(trigger, relation), relation);
	if (plan->valid)
	{
		capture_last.trigger = trigger->tgoid;
		capture_last.relation = RelationGetRelid(relation);
		capture_last.plan = plan;
	}
	return plan;
}
