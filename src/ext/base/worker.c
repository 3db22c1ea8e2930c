/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Connects background workers to databases. See worker.h.
 *
 * A background worker applies the settings of ALTER DATABASE ... SET and ALTER ROLE ... SET, and
 * the owner of a database may set almost anything. So the worker sets the values that it depends on
 * before it connects, like autovacuum (AutoVacWorkerMain() in postmaster/autovacuum.c). A value
 * with the source PGC_S_OVERRIDE overrides the settings of the database and every later reload
 * (set_config_option() in utils/misc/guc.c).
 *
 * Only session_authorization cannot be set so early, because its check reads the catalog. It is
 * corrected after connecting.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"

#include "ext/base/worker.h"

/*
 * The settings that workers depend on. "role" may be set for a database too. "client_encoding"
 * decides what LISTEN converts notifications to, and an encoding without a conversion would be a
 * fatal error; SQL_ASCII means no conversion. "synchronous_commit" must not make retention wait for
 * a standby; with "local" everything that a worker writes is still on disk before anything depends
 * on it.
 */
static const struct
{
	const char *name;
	const char *value;
} worker_settings[] = {
	{"role", "none"},
	{"client_encoding", "SQL_ASCII"},
	{"synchronous_commit", "local"},
	{"search_path", "pg_catalog"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"transaction_timeout", "0"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"row_security", "on"},
	{"session_replication_role", "origin"},
	{"exit_on_error", "off"},
	{"max_parallel_workers_per_gather", "0"},
	{"jit", "off"},
};

/* Some of them do not exist in every version of PostgreSQL. */
static void
worker_settle_settings(void)
{
	for (int i = 0; i < (int) lengthof(worker_settings); i++)
	{
		if (GetConfigOption(worker_settings[i].name, true, false) != NULL)
			SetConfigOption(worker_settings[i].name, worker_settings[i].value, PGC_SUSET,
							PGC_S_OVERRIDE);
	}
}

void
worker_connect(Oid database)
{
	worker_settle_settings();
	if (OidIsValid(database))
		BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	else
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
}

void
worker_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
}
