/*-------------------------------------------------------------------------
 *
 * watch_payload.c
 *	  The payload function of a watch, which makes what events carry instead of rows.
 *
 * notifyd.watch and the arguments of the triggers have the function's name with its schema. Its OID
 * would not survive pg_upgrade or a dump. The arguments follow from the table, so the name
 * identifies the function.
 *
 * A function that is renamed or moved to another schema keeps its OID, from which the name is stored
 * again. watch_drop.c handles dropped functions. There is no entry in pg_depend, because pg_upgrade
 * would lose it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "ext/base/compat.h"
#include "ext/watch/watch.h"

#define PAYLOAD_NARGUMENTS 3

/* Set the types of the arguments: the operation, the old row and the new row. */
static void
payload_arguments(Oid relation, Oid *types)
{
	types[0] = TEXTOID;
	types[1] = types[2] = get_rel_type_id(relation);
}

static char *
payload_name(Oid function)
{
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
									  get_func_name(function));
}

Oid
watch_payload_function(const Watch *watch)
{
	List *names = textToQualifiedNameList(cstring_to_text(watch->payload));
	Oid types[PAYLOAD_NARGUMENTS];
	char *schema;
	char *name;

	DeconstructQualifiedName(names, &schema, &name);
	payload_arguments(watch->relation, types);

	/* Not LookupFuncName(), which needs USAGE on the schema: the user may be any writer. */
	return GetSysCacheOid3(
		PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
		PointerGetDatum(buildoidvector(types, PAYLOAD_NARGUMENTS)),
		ObjectIdGetDatum(schema != NULL ? get_namespace_oid(schema, true) : InvalidOid));
}

/* ---------------- checks ---------------- */

/* Return why a function cannot make payloads, or NULL if it can. */
static const char *
payload_problem(Form_pg_proc proc)
{
	if (proc->prokind != PROKIND_FUNCTION)
		return "It is not a plain function.";
	if (proc->prorettype != JSONOID && proc->prorettype != JSONBOID)
		return psprintf("It returns %s instead of json or jsonb.",
						format_type_be(proc->prorettype));
	if (proc->proretset)
		return "It returns a set.";
	if (proc->proisstrict)
		return "It is strict, but an INSERT has no old row and a DELETE has no new row.";
	if (isAnyTempNamespace(proc->pronamespace))
		return "It is temporary.";
	return NULL;
}

static void
payload_check(Oid function, Oid relation)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	HeapTuple table = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	const char *problem;
	Oid owner;

	if (!HeapTupleIsValid(tuple) || !HeapTupleIsValid(table))
		elog(ERROR, "function %u or relation %u is gone", function, relation);
	problem = payload_problem((Form_pg_proc) GETSTRUCT(tuple));
	owner = ((Form_pg_class) GETSTRUCT(table))->relowner;
	ReleaseSysCache(tuple);
	ReleaseSysCache(table);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("function %s cannot make payloads", format_procedure(function)),
				 errdetail_internal("%s", problem),
				 errhint("A payload function has the arguments (op text, old %s, new %s) and "
						 "returns json.",
						 get_rel_name(relation), get_rel_name(relation))));
	if (!COMPAT_FUNCTION_EXECUTABLE(function, owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for function %s", format_procedure(function)),
						errdetail("Role \"%s\", which owns table \"%s\", may not execute it.",
								  GetUserNameFromId(owner, false), get_rel_name(relation)),
						errhint("Use GRANT EXECUTE ON FUNCTION to let the role execute it.")));
}

/* Look the function up, and keep it from being dropped, renamed or moved until the watch is there. */
static Oid
payload_lock(List *names, Oid relation)
{
	Oid types[PAYLOAD_NARGUMENTS];
	Oid locked = InvalidOid;
	Oid function;

	payload_arguments(relation, types);
	for (;;)
	{
		function = LookupFuncName(names, PAYLOAD_NARGUMENTS, types, true);
		if (!OidIsValid(function))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
							errmsg("function %s does not exist",
								   func_signature_string(names, PAYLOAD_NARGUMENTS, NIL, types)),
							errhint("The parameter payload names a function with the arguments "
									"(op text, old %s, new %s).",
									get_rel_name(relation), get_rel_name(relation))));
		if (function == locked)
			return function;
		LockDatabaseObject(ProcedureRelationId, function, 0, AccessShareLock);
		locked = function;
	}
}

char *
watch_read_payload(const char *name, Oid relation)
{
	Oid function = payload_lock(textToQualifiedNameList(cstring_to_text(name)), relation);

	payload_check(function, relation);
	return payload_name(function);
}

/* ---------------- functions that get another name ---------------- */

/* A watch and its function. */
typedef struct NamedPayload
{
	int64 id;
	Oid function;
} NamedPayload;

/* Return true if the command may give functions another name or schema, and set what it names. */
static bool
payload_may_rename(Node *statement, ObjectType *type, Node **object)
{
	if (IsA(statement, RenameStmt))
	{
		*type = ((RenameStmt *) statement)->renameType;
		*object = ((RenameStmt *) statement)->object;
	}
	else if (IsA(statement, AlterObjectSchemaStmt))
	{
		*type = ((AlterObjectSchemaStmt *) statement)->objectType;
		*object = ((AlterObjectSchemaStmt *) statement)->object;
	}
	else
		return false;
	return *type == OBJECT_FUNCTION || *type == OBJECT_ROUTINE || *type == OBJECT_SCHEMA ||
		   *type == OBJECT_EXTENSION;
}

List *
watch_payloads_before(Node *statement)
{
	List *payloads = NIL;
	ObjectType type;
	Node *object;
	Relation relation;
	ListCell *cell;

	if (!payload_may_rename(statement, &type, &object) || !OidIsValid(watch_capture_function(true)))
		return NIL;

	/* Wait for sessions that begin to use the function, with the lock that the command takes. */
	if (type == OBJECT_FUNCTION || type == OBJECT_ROUTINE)
		(void) get_object_address(type, object, &relation, AccessExclusiveLock, true);
	foreach (cell, watch_list_all())
	{
		const Watch *watch = lfirst(cell);
		NamedPayload *named;

		if (watch->payload == NULL)
			continue;
		named = palloc(sizeof(NamedPayload));
		named->id = watch->id;
		named->function = watch_payload_function(watch);
		payloads = lappend(payloads, named);
	}
	return payloads;
}

void
watch_payloads_after(const List *payloads)
{
	const ListCell *cell;

	foreach (cell, payloads)
	{
		const NamedPayload *named = lfirst(cell);
		Watch *watch = watch_find(named->id);

		if (watch == NULL || !OidIsValid(named->function) ||
			watch_payload_function(watch) == named->function)
			continue;
		LockRelationOid(watch->relation, ShareUpdateExclusiveLock);
		watch = watch_find(named->id);
		if (watch == NULL || watch->payload == NULL)
			continue;
		watch->payload = payload_name(named->function);
		watch_update(watch);
		watch_carry(watch);
	}
}
