/*-------------------------------------------------------------------------
 *
 * launcher_scan.c
 *	  Reads pg_database. See launcher_scan.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "ext/base/compat.h"
#include "ext/base/settings.h"
#include "ext/base/worker.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/launcher_scan.h"
#include "ext/launcher/launcher_sleep.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "wire/realm.h"

static uint32 scan_generation = 0; /* database_generation at the last scan */
static TimestampTz scan_at = 0;    /* time of the last scan; 0: scan now */
static bool scan_full_logged = false;
static bool scan_settings_changed = true; /* and not checked since */

/* A database allows no connections, or does so again. */
static void
scan_closed(LauncherDatabase *mine, bool closed)
{
	if (closed && !mine->closed)
		ereport(LOG, (errmsg("pg_notifyd does not serve database \"%s\"", NameStr(mine->name)),
					  errdetail("The database does not allow connections."),
					  errhint("Use ALTER DATABASE ... ALLOW_CONNECTIONS true to have it served.")));
	mine->closed = closed;
}

/* Process a row of pg_database. seen: which of the entries known before were found. */
static void
scan_database(const FormData_pg_database *row, const Oid *before, bool *seen)
{
	bool connectable = row->datallowconn && !row->datistemplate;
	NotifydDatabase *database;
	int i;

	for (i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (before[i] == row->oid)
			break;
	}
	if (i < NOTIFYD_MAX_DATABASES)
		seen[i] = true;
	else if (row->datistemplate)
		return;
	else
	{
		database = shared_add_database(row->oid);
		if (database == NULL)
		{
			if (!scan_full_logged)
				ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
							  errmsg("pg_notifyd does not serve database \"%s\" and possibly "
									 "others, because it cannot serve more than %d databases",
									 NameStr(row->datname), NOTIFYD_MAX_DATABASES)));
			scan_full_logged = true;
			return;
		}
		i = shared_database_index(database);
	}
	if (databases[i].oid == row->oid &&
		strcmp(NameStr(databases[i].name), NameStr(row->datname)) != 0)
	{
		sleep_announce_gone(NameStr(databases[i].name));
		databases[i].announced = false;
	}
	if (databases[i].oid != row->oid)
		databases[i].closed = false;
	databases[i].oid = row->oid;
	databases[i].name = row->datname;
	databases[i].connectable = connectable;
	scan_closed(&databases[i], !row->datallowconn && !row->datistemplate);
	sleep_exclude(i, !connectable || !settings_serves_database(NameStr(row->datname)));
}

/*
 * get_database_oid() would read the index. After a start of the server, a process without a database
 * cannot do that before the first session has begun.
 */
static bool
scan_database_exists(const char *name)
{
	Relation relation = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool exists;

	ScanKeyInit(&key, Anum_pg_database_datname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 1, &key);
	exists = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return exists;
}

/* Log a database that does not exist, although setting names it. */
static void
scan_check_database(const char *name, const char *setting, const char *effect)
{
	if (!scan_database_exists(name))
		ereport(WARNING, (errcode(ERRCODE_UNDEFINED_DATABASE),
						  errmsg("database \"%s\" does not exist", name), errdetail("%s", effect),
						  errhint("Correct %s.", setting)));
}

static void
scan_check_databases(void)
{
	char *copy = pstrdup(notifyd_databases);
	List *names = NIL;
	ListCell *cell;

	(void) SplitGUCList(copy, ',', &names); /* the check hook has checked it */
	foreach (cell, names)
	{
		if (strcmp(lfirst(cell), "*") != 0)
			scan_check_database(lfirst(cell), "pg_notifyd.databases",
								"pg_notifyd.databases lists it.");
	}
	list_free(names);
	pfree(copy);
	if (notifyd_default_database[0] != '\0')
		scan_check_database(notifyd_default_database, "pg_notifyd.default_database",
							"Clients that do not name a database are refused.");
}

/* The databases of WAMP's realms, which the check hook has limited to the length of a name. */
static void
scan_check_realms(void)
{
	const char *list = notifyd_realms;
	SettingItem realm;
	SettingItem database;

	while (realm_next(&list, &realm, &database))
	{
		char *name = pnstrdup(database.data, database.len);
		bool exists = scan_database_exists(name);

		if (!exists || !settings_serves_database(name))
			ereport(WARNING, (errcode(ERRCODE_UNDEFINED_DATABASE),
							  exists ? errmsg("pg_notifyd.databases does not contain database "
											  "\"%s\" of a realm",
											  name)
									 : errmsg("database \"%s\" does not exist", name),
							  errdetail("Clients of the WAMP realm \"%.*s\" are refused.",
										(int) realm.len, realm.data),
							  exists ? errhint("Add the database, or correct pg_notifyd.realms.")
									 : errhint("Correct pg_notifyd.realms.")));
		pfree(name);
	}
}

static void
scan_check_anonymous_role(void)
{
	Oid role = InvalidOid;

	if (notifyd_anonymous_role[0] != '\0')
		role = get_role_oid(notifyd_anonymous_role, true);
	if (notifyd_anonymous_role[0] != '\0' && !OidIsValid(role))
		ereport(WARNING, (errcode(ERRCODE_UNDEFINED_OBJECT),
						  errmsg("role \"%s\" does not exist", notifyd_anonymous_role),
						  errdetail("Clients without a token cannot subscribe."),
						  errhint("Create the role, or correct pg_notifyd.anonymous_role, which "
								  "names a single role.")));
	if (OidIsValid(role) && superuser_arg(role))
		ereport(WARNING,
				(errmsg("clients without a token have the role \"%s\", which is a superuser",
						notifyd_anonymous_role),
				 errdetail("They can read every watched table."),
				 errhint("Correct pg_notifyd.anonymous_role.")));
}

static void
scan_check_authenticator_role(void)
{
	Oid role = InvalidOid;

	if (notifyd_authenticator_role[0] != '\0')
		role = get_role_oid(notifyd_authenticator_role, true);
	if (notifyd_authenticator_role[0] != '\0' && !OidIsValid(role))
		ereport(WARNING, (errcode(ERRCODE_UNDEFINED_OBJECT),
						  errmsg("role \"%s\" does not exist", notifyd_authenticator_role),
						  errdetail("Tokens that name a role are refused."),
						  errhint("Create the role with LOGIN NOINHERIT, or correct "
								  "pg_notifyd.authenticator_role.")));
	if (OidIsValid(role) && superuser_arg(role))
		ereport(WARNING, (errmsg("pg_notifyd.authenticator_role is the superuser \"%s\"",
								 notifyd_authenticator_role),
						  errdetail("Calls and snapshots of clients are refused."),
						  errhint("Set it to a role that is no superuser.")));
}

/*
 * Log a setting that names something that does not exist, because otherwise only clients would get
 * errors.
 */
static void
scan_check_settings(void)
{
	scan_settings_changed = false;
	scan_check_databases();
	scan_check_realms();
	scan_check_anonymous_role();
	scan_check_authenticator_role();
}

/*
 * Read pg_database: create entries for new databases, and free those of dropped ones. The entries
 * that may be freed are recorded before the snapshot is taken, so that a database created later,
 * which the snapshot does not show, keeps its entry.
 */
static void
scan_catalog(TimestampTz now)
{
	Oid before[NOTIFYD_MAX_DATABASES];
	bool seen[NOTIFYD_MAX_DATABASES] = {false};
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	scan_generation = pg_atomic_read_u32(&notifyd_shared->database_generation);
	scan_at = now;
	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
		before[i] = notifyd_shared->databases[i].oid;
	LWLockRelease(&notifyd_shared->lock);

	worker_begin_transaction();
	pgstat_report_activity(STATE_RUNNING, NULL);
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		scan_database((const FormData_pg_database *) GETSTRUCT(tuple), before, seen);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	if (scan_settings_changed)
		scan_check_settings();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (OidIsValid(before[i]) && !seen[i] && databases[i].oid == before[i])
			sleep_announce_gone(NameStr(databases[i].name));
	}
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];

		if (!OidIsValid(before[i]) || seen[i] || database->oid != before[i])
			continue;
		databases[i].oid = InvalidOid;
		if (database->life.state != FEED_STARTING && database->life.state != FEED_RUNNING)
			shared_forget_database(database);
	}
	LWLockRelease(&notifyd_shared->lock);
}

void
scan_soon(void)
{
	scan_at = 0;
}

void
scan_reload(void)
{
	scan_settings_changed = true;
	scan_soon();
}

void
scan_tend(TimestampTz now)
{
	if (scan_at == 0 ||
		databases_ms_until(TimestampTzPlusMilliseconds(scan_at, DATABASES_SCAN_MS), now) == 0 ||
		scan_generation != pg_atomic_read_u32(&notifyd_shared->database_generation))
		scan_catalog(now);
}
