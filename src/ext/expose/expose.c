/*-------------------------------------------------------------------------
 *
 * expose.c
 *	  notify_expose() and notify_conceal(): what clients may call, and which tables they may use by HTTP.
 *
 * The rows are written like those of a system catalog, see watch_catalog.c. The row of a function has its name,
 * argument types and owner instead of its OID, which pg_upgrade does not preserve. So a function of that name that
 * somebody else creates later is not exposed. Event triggers remove the row of what is dropped, and of a function that
 * is renamed, moved or given away. Where they do not run (REASSIGN OWNED), the row has no effect, and the next change
 * removes it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "ext/base/extension.h"
#include "ext/expose/expose.h"
#include "ext/transaction/at_end.h"
#include "wire/endpoint.h"

PG_FUNCTION_INFO_V1(notify_expose_function);
PG_FUNCTION_INFO_V1(notify_expose_relation);
PG_FUNCTION_INFO_V1(notify_conceal_function);
PG_FUNCTION_INFO_V1(notify_conceal_relation);
PG_FUNCTION_INFO_V1(notify_expose_object);
PG_FUNCTION_INFO_V1(notify_conceal_object);
PG_FUNCTION_INFO_V1(notifyd_exposure_changed);
PG_FUNCTION_INFO_V1(notifyd_exposure_ddl);

/* The columns of both tables, as in the extension's script. */
enum ExposeAttribute
{
	EXPOSE_NAME = 1,
	EXPOSE_RELATION,
	EXPOSE_LABEL,
	EXPOSE_SCHEMA = 2,
	EXPOSE_FUNCTION,
	EXPOSE_ARGUMENTS,
	EXPOSE_OWNER,
	EXPOSE_NATTRIBUTES = EXPOSE_OWNER
};

#define EXPOSE_FUNCTIONS "exposed_function"
#define EXPOSE_RELATIONS "exposed_relation"

static bool
expose_has_functions(const char *table)
{
	return strcmp(table, EXPOSE_FUNCTIONS) == 0;
}

/* Return the function of a row, or InvalidOid if there is none of this owner. */
static Oid
expose_function_of(HeapTuple row, TupleDesc desc)
{
	bool isnull;
	Name schema = DatumGetName(heap_getattr(row, EXPOSE_SCHEMA, desc, &isnull));
	Datum name = heap_getattr(row, EXPOSE_FUNCTION, desc, &isnull);
	ArrayType *types = DatumGetArrayTypeP(heap_getattr(row, EXPOSE_ARGUMENTS, desc, &isnull));
	oidvector *arguments = buildoidvector((Oid *) ARR_DATA_PTR(types),
										  ArrayGetNItems(ARR_NDIM(types), ARR_DIMS(types)));
	HeapTuple tuple = SearchSysCache3(PROCNAMEARGSNSP, name, PointerGetDatum(arguments),
									  ObjectIdGetDatum(get_namespace_oid(NameStr(*schema), true)));
	Form_pg_proc proc;
	Oid function;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	function = proc->proowner == DatumGetObjectId(heap_getattr(row, EXPOSE_OWNER, desc, &isnull))
				   ? proc->oid
				   : InvalidOid;
	ReleaseSysCache(tuple);
	return function;
}

/* The object may not exist. */
static Exposure
expose_from_tuple(const char *table, HeapTuple tuple, TupleDesc desc)
{
	Exposure exposure = {.label = NULL};
	bool isnull;

	exposure.name = TextDatumGetCString(heap_getattr(tuple, EXPOSE_NAME, desc, &isnull));
	if (expose_has_functions(table))
	{
		exposure.object = expose_function_of(tuple, desc);
		return exposure;
	}
	exposure.object = DatumGetObjectId(heap_getattr(tuple, EXPOSE_RELATION, desc, &isnull));
	exposure.label = TextDatumGetCString(heap_getattr(tuple, EXPOSE_LABEL, desc, &isnull));
	return exposure;
}

/* Set the columns of a row, which has no nulls. */
static void
expose_to_values(const char *table, const Exposure *exposure, Datum *values)
{
	HeapTuple tuple;
	Form_pg_proc proc;
	Datum types[FUNC_MAX_ARGS];

	values[EXPOSE_NAME - 1] = CStringGetTextDatum(exposure->name);
	if (!expose_has_functions(table))
	{
		values[EXPOSE_RELATION - 1] = ObjectIdGetDatum(exposure->object);
		values[EXPOSE_LABEL - 1] = CStringGetTextDatum(exposure->label);
		return;
	}
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(exposure->object));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", exposure->object);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	for (int i = 0; i < proc->pronargs; i++)
		types[i] = ObjectIdGetDatum(proc->proargtypes.values[i]);
	values[EXPOSE_SCHEMA - 1] =
		DirectFunctionCall1(namein, CStringGetDatum(get_namespace_name(proc->pronamespace)));
	values[EXPOSE_FUNCTION - 1] =
		DirectFunctionCall1(namein, CStringGetDatum(NameStr(proc->proname)));
	values[EXPOSE_ARGUMENTS - 1] = PointerGetDatum(
		construct_array(types, proc->pronargs, REGTYPEOID, sizeof(Oid), true, TYPALIGN_INT));
	values[EXPOSE_OWNER - 1] = ObjectIdGetDatum(proc->proowner);
	ReleaseSysCache(tuple);
}

static bool
expose_object_exists(const char *table, Oid object)
{
	return SearchSysCacheExists1(expose_has_functions(table) ? PROCOID : RELOID,
								 ObjectIdGetDatum(object));
}

/* Return the Exposures whose object exists: that with this name, or with NULL all. */
static List *
expose_scan(const char *table_name, const char *name)
{
	Relation table = table_open(extension_relation(table_name), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	List *list = NIL;
	HeapTuple tuple;

	while ((name == NULL || list == NIL) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Exposure exposure = expose_from_tuple(table_name, tuple, RelationGetDescr(table));
		Exposure *found;

		if ((name != NULL && strcmp(exposure.name, name) != 0) ||
			!expose_object_exists(table_name, exposure.object))
			continue;
		found = palloc(sizeof(Exposure));
		*found = exposure;
		list = lappend(list, found);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return list;
}

Exposure *
expose_find_function(const char *name)
{
	List *found = expose_scan(EXPOSE_FUNCTIONS, name);

	return found != NIL ? linitial(found) : NULL;
}

static int
expose_compare(const ListCell *a, const ListCell *b)
{
	return strcmp(((const Exposure *) lfirst(a))->name, ((const Exposure *) lfirst(b))->name);
}

static List *
expose_list(const char *table_name)
{
	List *list = expose_scan(table_name, NULL);

	list_sort(list, expose_compare);
	return list;
}

List *
expose_list_functions(void)
{
	return expose_list(EXPOSE_FUNCTIONS);
}

List *
expose_list_relations(void)
{
	return expose_list(EXPOSE_RELATIONS);
}

Oid
expose_function_table(void)
{
	return extension_relation(EXPOSE_FUNCTIONS);
}

Oid
expose_relation_table(void)
{
	return extension_relation(EXPOSE_RELATIONS);
}

/* ---------------- changes ---------------- */

/* Open a table, and keep other transactions from changing it until this one ends. */
static Relation
expose_open(const char *table)
{
	Oid relation = extension_relation(table);

	at_end_refuse_prepare();
	LockDatabaseObject(relation, InvalidOid, 0, ExclusiveLock);
	return table_open(relation, RowExclusiveLock);
}

/* Let workers read the table again. */
static void
expose_close(Relation table)
{
	CacheInvalidateRelcache(table);
	table_close(table, NoLock);
	CommandCounterIncrement();
}

/*
 * Remove the rows of this object and of objects that do not exist any more. Returns true if the object had
 * one. Raises ERRCODE_DUPLICATE_OBJECT if another object has the name (NULL: none).
 */
static bool
expose_clean(Relation table, const char *table_name, Oid object, const char *name)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	bool found = false;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Exposure have = expose_from_tuple(table_name, tuple, RelationGetDescr(table));
		bool exists = expose_object_exists(table_name, have.object);

		if (exists && have.object != object && name != NULL && strcmp(have.name, name) == 0)
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("the name \"%s\" is exposed already", name),
							errdetail("It belongs to %s.", expose_has_functions(table_name)
															   ? format_procedure(have.object)
															   : get_rel_name(have.object)),
							errhint("Give another name, or call notify_conceal() for that one.")));
		if (have.object == object && name != NULL && strcmp(have.name, name) != 0)
			ereport(NOTICE, (errmsg("%s is no longer exposed as \"%s\"",
									expose_has_functions(table_name) ? format_procedure(object)
																	 : get_rel_name(object),
									have.name)));
		found |= have.object == object;
		if (have.object == object || !exists)
			CatalogTupleDelete(table, &tuple->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

static void
expose_insert(const char *table_name, const Exposure *exposure)
{
	Relation table = expose_open(table_name);
	Datum values[EXPOSE_NATTRIBUTES];
	bool nulls[EXPOSE_NATTRIBUTES] = {false};

	if (strlen(exposure->name) >= EXPOSE_NAME_SIZE)
		ereport(ERROR, (errcode(ERRCODE_NAME_TOO_LONG), errmsg("name is too long"),
						errdetail("It has %d bytes, and may have at most %d.",
								  (int) strlen(exposure->name), EXPOSE_NAME_SIZE - 1)));
	expose_to_values(table_name, exposure, values);
	(void) expose_clean(table, table_name, exposure->object, exposure->name);
	CommandCounterIncrement();
	CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	expose_close(table);
}

static void
expose_remove(const char *table_name, Oid object, const char *what)
{
	Relation table = expose_open(table_name);

	if (!expose_clean(table, table_name, object, NULL))
		ereport(NOTICE, (errmsg("%s is not exposed", what),
						 errhint("The view notifyd.exposed shows what is.")));
	expose_close(table);
}

/* Return true if a row's object does not exist any more, and report its name. */
static bool
expose_is_lost(Oid table_oid, const char *table_name, bool report)
{
	Relation table = table_open(table_oid, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	bool lost = false;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Exposure exposure = expose_from_tuple(table_name, tuple, RelationGetDescr(table));

		if (expose_object_exists(table_name, exposure.object))
			continue;
		lost = true;
		if (report)
			ereport(NOTICE,
					(errmsg("\"%s\" is no longer exposed", exposure.name),
					 errdetail("The function has another name, schema or owner now."),
					 errhint("Call notify_expose() for it again if clients are to call it.")));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return lost;
}

/* Remove rows whose objects do not exist any more. Takes no lock if there are none. */
static void
expose_remove_lost(const char *table_name, bool report)
{
	Oid oid = extension_find_relation(table_name);
	Relation table;

	if (!OidIsValid(oid) || !expose_is_lost(oid, table_name, report))
		return;
	table = expose_open(table_name);
	(void) expose_clean(table, table_name, InvalidOid, NULL);
	expose_close(table);
}

/* ---------------- functions ---------------- */

static void
expose_refuse_function(Oid function, const char *why, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
					errmsg("cannot expose %s", format_procedure(function)),
					errdetail_internal("%s", why), hint != NULL ? errhint("%s", hint) : 0));
}

static bool
expose_is_pseudo(Oid type)
{
	return get_typtype(type) == TYPTYPE_PSEUDO;
}

/* Check that clients can call the function: there is JSON for its arguments and its result. */
static void
expose_check_function(Oid function, Form_pg_proc proc)
{
	Oid result = proc->prorettype;
	TupleDesc columns;

	if (proc->prokind != PROKIND_FUNCTION)
		expose_refuse_function(function, "It is not a plain function.",
							   "Expose a function that does the work.");
	if (isAnyTempNamespace(proc->pronamespace))
		expose_refuse_function(function, "It is temporary.", NULL);
	for (int i = 0; i < proc->pronargs; i++)
	{
		Oid type = proc->proargtypes.values[i];

		if (expose_is_pseudo(type))
			expose_refuse_function(
				function, psprintf("Its argument %d has the type %s.", i + 1, format_type_be(type)),
				"Expose a function whose arguments have definite types.");
	}
	if (result == RECORDOID)
	{
		if (get_func_result_type(function, NULL, &columns) != TYPEFUNC_COMPOSITE)
			expose_refuse_function(function, "It returns records whose columns are not known.",
								   "Declare the columns with RETURNS TABLE or OUT parameters.");
	}
	else if (expose_is_pseudo(result) && result != VOIDOID)
		expose_refuse_function(function,
							   psprintf("It returns the type %s.", format_type_be(result)), NULL);
}

/*
 * Only the owner may expose a function or conceal it: one that clients can call is reached by more roles than
 * one that needs a session. Does nothing if the function does not exist.
 */
static void
expose_check_function_owner(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		return;
	if (!has_privs_of_role(GetUserId(), ((Form_pg_proc) GETSTRUCT(tuple))->proowner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_FUNCTION, format_procedure(function));
	ReleaseSysCache(tuple);
}

/* name: NULL for the function's own. */
static void
expose_function(Oid function, char *name)
{
	Exposure exposure = {.object = function};
	HeapTuple tuple;

	/* Its owner keeps it from being dropped, renamed or given away until the row is there. */
	expose_check_function_owner(function);
	LockDatabaseObject(ProcedureRelationId, function, 0, AccessShareLock);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function with OID %u does not exist", function)));
	expose_check_function_owner(function);
	expose_check_function(function, (Form_pg_proc) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	exposure.name = name != NULL ? name : get_func_name(function);
	if (exposure.name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("name must not be empty")));
	expose_insert(EXPOSE_FUNCTIONS, &exposure);
}

static void
expose_conceal_function(Oid function)
{
	expose_check_function_owner(function);
	expose_remove(EXPOSE_FUNCTIONS, function, format_procedure(function));
}

/* ---------------- relations ---------------- */

static void
expose_check_relation_owner(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));

	if (!HeapTupleIsValid(tuple))
		return;
	if (!has_privs_of_role(GetUserId(), ((Form_pg_class) GETSTRUCT(tuple))->relowner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relation));
	ReleaseSysCache(tuple);
}

static void
expose_check_relation(Oid relation)
{
	char kind = get_rel_relkind(relation);

	if (kind == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relation)));
	expose_check_relation_owner(relation);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_VIEW &&
		kind != RELKIND_MATVIEW && kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("cannot expose relation \"%s\"", get_rel_name(relation)),
						errdetail("It is neither a table nor a view.")));
	if (get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("cannot expose relation \"%s\"", get_rel_name(relation)),
						errdetail("It is temporary.")));
}

/* A path is one segment that needs no escapes. */
static void
expose_check_path(const char *path)
{
	if (path[0] == '\0' ||
		strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") !=
			strlen(path) ||
		path[0] == '.')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid path \"%s\"", path),
				 errhint("Use ASCII letters, digits, \"_\", \"-\" and \".\", without slashes.")));
	for (int i = 0; i < ENDPOINT_OWN; i++)
	{
		if (strcmp(path, endpoint_own[i]) == 0)
			ereport(ERROR, (errcode(ERRCODE_RESERVED_NAME),
							errmsg("the path \"%s\" is used by pg_notifyd itself", path),
							errhint("Give another path.")));
	}
}

/*
 * What one row is called in messages: the table's name without the "s" of a plural, with a capital, as in
 * "Note with id: 2 deleted successfully!".
 */
static char *
expose_default_label(const char *name)
{
	char *label = pstrdup(name);
	size_t length = strlen(label);

	if (length > 2 && label[length - 1] == 's' && label[length - 2] != 's')
		label[length - 1] = '\0';
	label[0] = pg_ascii_toupper((unsigned char) label[0]);
	return label;
}

/* path and label: NULL for the defaults. */
static void
expose_relation(Oid relation, char *path, char *label)
{
	Exposure exposure = {.object = relation, .name = path, .label = label};

	expose_check_relation(relation);
	if (path == NULL)
		exposure.name = get_rel_name(relation);
	expose_check_path(exposure.name);
	if (label == NULL)
		exposure.label = expose_default_label(get_rel_name(relation));
	expose_insert(EXPOSE_RELATIONS, &exposure);
}

static void
expose_conceal_relation(Oid relation)
{
	char *name = get_rel_name(relation);

	if (name != NULL)
		expose_check_relation_owner(relation);
	expose_remove(EXPOSE_RELATIONS, relation,
				  name != NULL ? psprintf("\"%s\"", name) : "the relation");
}

/* ---------------- the SQL functions ---------------- */

/* Begin a call: the version, and the first argument. */
static Datum
expose_begin(FunctionCallInfo fcinfo, const char *function, const char *name)
{
	PreventCommandIfReadOnly(function);
	extension_require_version();
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	return PG_GETARG_DATUM(0);
}

static char *
expose_text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* Return true if the text names a function, as in "get_now()", and false if it names a relation. */
static bool
expose_names_function(const char *text)
{
	return strchr(text, '(') != NULL;
}

/* regclassin(), but the error says what was missing if a function was meant. */
static Oid
expose_find_relation(const char *text)
{
	bool number = strspn(text, "0123456789") == strlen(text);
	RangeVar *name;

	if (!number)
	{
		name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(text)));
		if (!OidIsValid(RangeVarGetRelid(name, NoLock, true)))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
							errmsg("relation \"%s\" does not exist", text),
							errhint("A function is written with the types of its arguments, as in "
									"notify_expose('add(integer, integer)').")));
	}
	return DatumGetObjectId(DirectFunctionCall1(regclassin, CStringGetDatum(text)));
}

/* notify_expose(function regprocedure, name text) returns void */
Datum
notify_expose_function(PG_FUNCTION_ARGS)
{
	Oid function = DatumGetObjectId(expose_begin(fcinfo, "notify_expose()", "function"));

	expose_function(function, expose_text_argument(fcinfo, 1));
	PG_RETURN_VOID();
}

/* notify_expose(relation regclass, path text, label text) returns void */
Datum
notify_expose_relation(PG_FUNCTION_ARGS)
{
	Oid relation = DatumGetObjectId(expose_begin(fcinfo, "notify_expose()", "relation"));

	expose_relation(relation, expose_text_argument(fcinfo, 1), expose_text_argument(fcinfo, 2));
	PG_RETURN_VOID();
}

/*
 * notify_expose(object text, name text, label text) returns void. A string without a type could be a function or
 * a relation. PostgreSQL prefers this one then.
 */
Datum
notify_expose_object(PG_FUNCTION_ARGS)
{
	char *object = TextDatumGetCString(expose_begin(fcinfo, "notify_expose()", "object"));
	char *name = expose_text_argument(fcinfo, 1);
	char *label = expose_text_argument(fcinfo, 2);

	if (!expose_names_function(object))
		expose_relation(expose_find_relation(object), name, label);
	else if (label != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a function has no label"),
						errhint("The label says what the rows of a table are called.")));
	else
		expose_function(
			DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(object))), name);
	PG_RETURN_VOID();
}

/* notify_conceal(function regprocedure) returns void */
Datum
notify_conceal_function(PG_FUNCTION_ARGS)
{
	expose_conceal_function(DatumGetObjectId(expose_begin(fcinfo, "notify_conceal()", "function")));
	PG_RETURN_VOID();
}

/* notify_conceal(relation regclass) returns void */
Datum
notify_conceal_relation(PG_FUNCTION_ARGS)
{
	expose_conceal_relation(DatumGetObjectId(expose_begin(fcinfo, "notify_conceal()", "relation")));
	PG_RETURN_VOID();
}

/* notify_conceal(object text) returns void */
Datum
notify_conceal_object(PG_FUNCTION_ARGS)
{
	char *object = TextDatumGetCString(expose_begin(fcinfo, "notify_conceal()", "object"));

	if (expose_names_function(object))
		expose_conceal_function(
			DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(object))));
	else
		expose_conceal_relation(
			DatumGetObjectId(DirectFunctionCall1(regclassin, CStringGetDatum(object))));
	PG_RETURN_VOID();
}

/* Statements that change the tables, such as a restored dump, take effect as notify_expose() does. */
Datum
notifyd_exposure_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "exposure_changed")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

/* An event trigger, after commands that drop objects, and those that rename, move or give away functions. */
Datum
notifyd_exposure_ddl(PG_FUNCTION_ARGS)
{
	bool drops;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function was not called by the event trigger manager")));
	drops = strcmp(((EventTriggerData *) fcinfo->context)->event, "sql_drop") == 0;
	expose_remove_lost(EXPOSE_FUNCTIONS, !drops);
	if (drops)
		expose_remove_lost(EXPOSE_RELATIONS, false);
	PG_RETURN_NULL();
}
