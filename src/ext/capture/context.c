/*-------------------------------------------------------------------------
 *
 * context.c
 *	  The setting pg_notifyd.context: JSON that the application adds to its transactions' events.
 *
 * Every event has the context that is set when its statement runs. Any role can set it, so it says
 * what the writer claims, not who the writer is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"

#include "ext/access/json_slice.h"
#include "ext/capture/context.h"

char *notifyd_context = NULL;

/*
 * Return true if a text is valid JSON in the database's encoding. The check may run without a
 * transaction, so characters other than ASCII are not converted: any stands for a letter.
 */
static bool
context_is_json(const char *text)
{
	char ascii[CONTEXT_MAX_LENGTH];
	size_t length = strlen(text);
	JsonSlice value;

	for (size_t i = 0; i < length; i++)
		ascii[i] = IS_HIGHBIT_SET(text[i]) ? 'x' : text[i];
	return slice_parse(ascii, length, &value);
}

static bool
context_check(char **newval, void **extra pg_attribute_unused(),
			  GucSource source pg_attribute_unused())
{
	if (**newval == '\0')
		return true;
	if (strlen(*newval) > CONTEXT_MAX_LENGTH)
	{
		GUC_check_errdetail("The context must not be longer than %d bytes.", CONTEXT_MAX_LENGTH);
		return false;
	}
	if (!context_is_json(*newval))
	{
		GUC_check_errdetail("The context must be JSON, nested at most %d levels deep.",
							SLICE_MAX_DEPTH);
		GUC_check_errhint("For example: SET LOCAL pg_notifyd.context = '{\"user\": 7}'.");
		return false;
	}
	return true;
}

void
context_define(void)
{
	DefineCustomStringVariable(
		"pg_notifyd.context", "Sets JSON that is added to events as their context.",
		"Every event has the context that is set when its statement runs. An empty string adds "
		"none.",
		&notifyd_context, "", PGC_USERSET, 0, context_check, NULL, NULL);
}
