/*-------------------------------------------------------------------------
 *
 * main.c
 *	  What happens when the library is loaded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/compat.h"
#include "fmgr.h"
#include "ext/hooks.h"
#include "ext/launcher/launcher.h"
#include "ext/transaction/pending.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/spawn.h"

PG_MODULE_MAGIC;

void _PG_init(void);

/*
 * Without shared_preload_libraries there are the settings and the SQL functions, which
 * say what is missing. During a binary upgrade nothing may run: the server is not the
 * user's yet.
 */
void
_PG_init(void)
{
	settings_define();
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	shared_init();
	hooks_init();
	pending_register();
	launcher_register();

	/* Should it not be there, the launcher looks again, and says so. */
	(void) spawn_open_program();
}
