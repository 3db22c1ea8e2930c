/*-------------------------------------------------------------------------
 *
 * main.c
 *	  Initialises the library when it is loaded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/compat.h"
#include "fmgr.h"
#include "ext/access/token_settings.h"
#include "ext/capture/context.h"
#include "ext/group/group.h"
#include "ext/hooks.h"
#include "ext/launcher/launcher.h"
#include "ext/openapi/openapi.h"
#include "ext/rest/rest.h"
#include "ext/sqlcall/sqlcall.h"
#include "ext/transaction/pending.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/spawn.h"

PG_MODULE_MAGIC;

void _PG_init(void);

/*
 * Without shared_preload_libraries there are only the settings and the SQL functions, which report
 * what is missing. During pg_upgrade nothing must run, because the server is not yet in use.
 */
void
_PG_init(void)
{
	token_settings_define();
	context_define();
	/* PostgreSQL refuses to define a setting of this kind after its start. */
	if (process_shared_preload_libraries_in_progress)
		group_define_settings();
	settings_define();
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	shared_init();
	group_init();
	sqlcall_init();
	hooks_init();
	pending_register();
	launcher_register();
	query_rest = rest_query;
	query_openapi = openapi_query;

	/* If the program is missing, the launcher looks for it again and reports that. */
	(void) spawn_open_program();
}
