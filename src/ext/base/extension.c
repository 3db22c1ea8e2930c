/*-------------------------------------------------------------------------
 *
 * extension.c
 *	  The version and owner of the extension in this database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ext/base/extension.h"

/* Our row of pg_extension. */
typedef struct ExtensionRow
{
	Oid owner;
	char *version;
} ExtensionRow;

static ExtensionRow
extension_read(void)
{
	Relation table = table_open(ExtensionRelationId, AccessShareLock);
	ExtensionRow row = {.owner = InvalidOid};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(table, ExtensionNameIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum version =
			heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(table), &isnull);

		row.owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		row.version = isnull ? pstrdup("") : TextDatumGetCString(version);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	if (!OidIsValid(row.owner))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("extension \"%s\" does not exist", EXTENSION_NAME)));
	return row;
}

Oid
extension_owner(void)
{
	return extension_read().owner;
}

bool
extension_is_admin(Oid role)
{
	return superuser_arg(role) || has_privs_of_role(role, extension_owner());
}

Oid
extension_oid(bool missing_ok)
{
	return get_extension_oid(EXTENSION_NAME, missing_ok);
}

/* Return true if one version is later than the other. Versions are numbers separated by dots. */
static bool
extension_is_later(const char *version, const char *other)
{
	while (*version != '\0' || *other != '\0')
	{
		char *end;
		char *other_end;
		unsigned long number = strtoul(version, &end, 10);
		unsigned long other_number = strtoul(other, &other_end, 10);

		if (number != other_number)
			return number > other_number;
		version = *end != '\0' ? end + 1 : end;
		other = *other_end != '\0' ? other_end + 1 : other_end;
	}
	return false;
}

static const char *
extension_version_hint(const char *version)
{
	if (extension_is_later(version, NOTIFYD_VERSION))
		return psprintf("Install the files of version %s and restart the server.", version);
	return psprintf("Run \"ALTER EXTENSION %s UPDATE\" in this database.", EXTENSION_NAME);
}

void
extension_require_version(void)
{
	char *version = extension_read().version;

	if (strcmp(version, NOTIFYD_VERSION) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension %s has version %s in this database, but the loaded "
							   "library has version %s",
							   EXTENSION_NAME, version, NOTIFYD_VERSION),
						errhint("%s", extension_version_hint(version))));
	pfree(version);
}

void
extension_report_version(void)
{
	static char reported[64] = NOTIFYD_VERSION;
	char *version = extension_read().version;

	if (strcmp(version, NOTIFYD_VERSION) != 0 && strcmp(version, reported) != 0)
		ereport(
			LOG,
			(errmsg("extension %s has version %s in database \"%s\", but the loaded library has "
					"version %s",
					EXTENSION_NAME, version, get_database_name(MyDatabaseId), NOTIFYD_VERSION),
			 errdetail(
				 "Changes are captured and sent, but the extension's functions cannot be called."),
			 errhint("%s", extension_version_hint(version))));
	strlcpy(reported, version, sizeof(reported));
	pfree(version);
}

Oid
extension_find_relation(const char *name)
{
	Oid schema = get_namespace_oid(EXTENSION_SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

Oid
extension_relation(const char *name)
{
	Oid relation = extension_find_relation(name);

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s.%s\" does not exist", EXTENSION_SCHEMA, name),
						errhint("Run \"CREATE EXTENSION %s\" in this database.", EXTENSION_NAME)));
	return relation;
}
