/*-------------------------------------------------------------------------
 *
 * watch_arguments.c
 *	  Reads and checks the arguments of notify_watch().
 *
 * Everything is looked up in the system caches, without a lock on the table. So a call that changes
 * nothing, which applications make when they start, never waits. If a concurrent ALTER TABLE
 * changes something in between, CREATE TRIGGER raises an error, or the result is the same as if it
 * had run a moment later.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "ext/base/operation.h"
#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/channel/channel_name.h"
#include "ext/watch/watch.h"

/* The parameters of notify_watch(), as in the extension's script. */
enum WatchArgument
{
	ARG_RELATION,
	ARG_OP,
	ARG_COLS,
	ARG_CHANNEL,
	ARG_UPDATE_OF,
	ARG_KEY,
	ARG_CONDITION,
	ARG_OLD_VALUES,
	ARG_NOTIFY,
	ARG_NOTIFY_ROWS,
	ARG_PAYLOAD
};

static void
watch_require_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

/* Return why a relation of this kind cannot be watched, or NULL if it can. */
static const char *
watch_kind_problem(Oid relation, Form_pg_class form)
{
	switch (form->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_VIEW:
			return "A view has no changes of its own. Watch the tables that it reads.";
		case RELKIND_MATVIEW:
			return "A materialized view has no changes of its own. Watch the tables that it reads.";
		case RELKIND_FOREIGN_TABLE:
			return "The changes of a foreign table are made on another server. Watch the table "
				   "there.";
		default:
			return "Only tables can be watched.";
	}
	if (relation < FirstNormalObjectId || IsCatalogNamespace(form->relnamespace))
		return "System catalogs cannot be watched.";
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		return "Other sessions cannot see a temporary table.";
	if (getExtensionOfObject(RelationRelationId, relation) == extension_oid(false))
		return "The tables of pg_notifyd itself cannot be watched.";
	return NULL;
}

void
watch_check_relation(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	const char *problem;
	char *name;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relation)));
	name = pstrdup(NameStr(((Form_pg_class) GETSTRUCT(tuple))->relname));
	if (!RelationIsVisible(relation))
		name = psprintf("%s.%s", get_namespace_name(get_rel_namespace(relation)), name);
	problem = watch_kind_problem(relation, (Form_pg_class) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot watch \"%s\"", name),
						errdetail("%s", problem)));
	if (!superuser() && !compat_relation_ownercheck(relation, GetUserId()))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of table %s", name),
			 errhint("Only the table's owner or a superuser can watch it or end its watches.")));
}

/* Return the number of a column of the watched table. */
static AttrNumber
watch_column(Oid relation, const char *column, const char *parameter)
{
	AttrNumber attnum = get_attnum(relation, column);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", column,
							   get_rel_name(relation)),
						errhint("The parameter %s must name columns of the table.", parameter)));
	if (attnum < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
						errmsg("cannot watch system column \"%s\" of relation \"%s\"", column,
							   get_rel_name(relation)),
						errhint("The parameter %s must name columns of the table.", parameter)));
	return attnum;
}

/* Read a name[] argument. */
static void
watch_read_argument_columns(FunctionCallInfo fcinfo, int argument, const char *parameter,
							Oid relation, WatchColumns *columns)
{
	Datum *names;
	bool *nulls;
	int n;

	memset(columns, 0, sizeof(*columns));
	if (PG_ARGISNULL(argument))
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &names, &nulls, &n);
	columns->given = true;
	columns->attnums = palloc(Max(n, 1) * sizeof(AttrNumber));
	for (int i = 0; i < n; i++)
	{
		AttrNumber attnum;

		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not contain null", parameter)));
		attnum = watch_column(relation, NameStr(*DatumGetName(names[i])), parameter);
		for (int j = 0; j < i; j++)
		{
			if (columns->attnums[j] == attnum)
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
								errmsg("column \"%s\" specified more than once",
									   NameStr(*DatumGetName(names[i]))),
								errdetail("The parameter %s names it more than once.", parameter)));
		}
		columns->attnums[columns->n++] = attnum;
	}
}

int
watch_read_ops(const char *text)
{
	char *rest = pstrdup(text);
	int ops = 0;

	for (char *name = strsep(&rest, ","); name != NULL; name = strsep(&rest, ","))
	{
		int found = 0;
		char *end;

		name += strspn(name, " \t\n\r");
		for (end = name + strlen(name); end > name && strchr(" \t\n\r", end[-1]) != NULL; end--)
			end[-1] = '\0';
		for (uint8 op = 1; op & OPERATION_TABLE_BITS; op <<= 1)
		{
			if (pg_strcasecmp(name, wire_op_name(op)) == 0)
				found = op;
		}
		if (found == 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("unrecognized operation \"%s\"", name),
							errhint("Valid operations are %s, separated by commas. Give other "
									"parameters by their names, such as cols => '{id,name}'.",
									"insert, update, delete, truncate")));
		ops |= found;
	}
	return ops;
}

/* The default is the table's name, with its schema unless that is public. */
static char *
watch_default_channel(Oid relation)
{
	char *schema = get_namespace_name(get_rel_namespace(relation));
	char *channel = get_rel_name(relation);

	if (schema != NULL && strcmp(schema, "public") != 0)
		channel = psprintf("%s.%s", schema, channel);
	channel_check_name(
		channel,
		"The table's name cannot be used as the channel's name. Specify the parameter channel.");
	return channel;
}

/* Check the arguments that depend on each other. */
static void
watch_check_combination(const Watch *watch)
{
	if (watch->update_of.given && watch->update_of.n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("update_of must name a column"),
				 errhint("Omit it to watch every UPDATE.")));
	if (watch->update_of.given && !(watch->ops & WIRE_OP_UPDATE))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("update_of requires the operation \"update\""),
						errdetail("The operations are \"%s\".", watch_ops_text(watch->ops))));
	if (watch->condition != NULL && !(watch->ops & OPERATION_ROW_BITS))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("condition requires an operation on rows"),
						errdetail("The operations are \"%s\".", watch_ops_text(watch->ops))));
	if (watch->key.given && watch->key.n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("key must name a column"),
						errhint("Omit it to use the primary key.")));
	if (!watch_has_key(watch))
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("table \"%s\" has no primary key and no replica identity index",
							   get_rel_name(watch->relation)),
						errhint("Specify the columns that identify a row in the parameter key, or "
								"the columns to send in cols.")));
	if (watch->notify_rows && !watch->notify)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("notify_rows requires notify"),
				 errhint("Specify notify => true as well.")));
}

Watch *
watch_from_arguments(FunctionCallInfo fcinfo)
{
	Watch *watch = palloc0(sizeof(Watch));

	watch_require_argument(fcinfo, ARG_RELATION, "relation");
	watch_require_argument(fcinfo, ARG_OP, "op");
	watch_require_argument(fcinfo, ARG_OLD_VALUES, "old_values");
	watch_require_argument(fcinfo, ARG_NOTIFY, "notify");
	watch_require_argument(fcinfo, ARG_NOTIFY_ROWS, "notify_rows");

	watch->relation = PG_GETARG_OID(ARG_RELATION);
	watch_check_relation(watch->relation);
	watch->ops = watch_read_ops(text_to_cstring(PG_GETARG_TEXT_PP(ARG_OP)));
	watch_read_argument_columns(fcinfo, ARG_COLS, "cols", watch->relation, &watch->cols);
	watch_read_argument_columns(fcinfo, ARG_UPDATE_OF, "update_of", watch->relation,
								&watch->update_of);
	watch_read_argument_columns(fcinfo, ARG_KEY, "key", watch->relation, &watch->key);
	if (PG_ARGISNULL(ARG_CHANNEL))
		watch->channel = watch_default_channel(watch->relation);
	else
	{
		watch->channel = text_to_cstring(PG_GETARG_TEXT_PP(ARG_CHANNEL));
		channel_check_name(watch->channel, NULL);
	}
	if (!PG_ARGISNULL(ARG_CONDITION))
		watch->condition = text_to_cstring(PG_GETARG_TEXT_PP(ARG_CONDITION));
	watch->old_values = PG_GETARG_BOOL(ARG_OLD_VALUES);
	watch->notify = PG_GETARG_BOOL(ARG_NOTIFY);
	watch->notify_rows = PG_GETARG_BOOL(ARG_NOTIFY_ROWS);
	if (!PG_ARGISNULL(ARG_PAYLOAD))
		watch->payload =
			watch_read_payload(text_to_cstring(PG_GETARG_TEXT_PP(ARG_PAYLOAD)), watch->relation);
	watch_check_combination(watch);
	return watch;
}
