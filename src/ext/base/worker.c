/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Connecting background workers. See worker.h.
 *
 * A background worker applies what ALTER DATABASE ... SET and ALTER ROLE ... SET say, and a
 * database's owner may set almost anything there. So the worker sets what it depends on before it
 * connects, as autovacuum does (AutoVacWorkerMain() in postmaster/autovacuum.c): a value that has
 * the source PGC_S_OVERRIDE stays through the settings of the database and through every later
 * reload (set_config_option() in utils/misc/guc.c).
 *
 * Only session_authorization cannot be set so early, because its check reads the catalog; it is put
 * right afterwards.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"

#include "ext/base/worker.h"

/*
 * What workers depend on. "role" may be set for a database, too. "client_encoding" decides what
 * LISTEN converts notifications to, and one that the database's encoding cannot be converted to
 * would be fatal: SQL_ASCII means no conversion. "synchronous_commit" must not wait for a standby,
 * or retention would: "local" still has what a worker writes on disk before anything is built on
 * it.
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

/* Some of them are not there in every version of PostgreSQL. */
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
