/*-------------------------------------------------------------------------
 *
 * audience.c
 *	  Who gets a message of WAMP. See audience.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/audience.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "gateway/base/memory.h"

struct Audience
{
	json_t *options; /* NULL: nobody gets the message */
};

Audience *
audience_read(WireBytes text)
{
	Audience *audience;

	if (text.len == 0)
		return NULL;
	audience = memory_new(sizeof(Audience));
	audience->options = json_loadb(text.data, text.len, 0, NULL);
	return audience;
}

void
audience_free(Audience *audience)
{
	if (audience != NULL)
		json_decref(audience->options);
	free(audience);
}

/* Return true if an array has a session's id, or a string. */
static bool
audience_lists(const json_t *array, uint64_t session, const char *string)
{
	size_t i;
	const json_t *value;

	json_array_foreach(array, i, value)
	{
		if (json_is_integer(value) ? session != 0 && (uint64_t) json_integer_value(value) == session
								   : string != NULL && json_is_string(value) &&
										 strcmp(json_string_value(value), string) == 0)
			return true;
	}
	return false;
}

/* Return true if one kind of lists lets the client have the message. */
static bool
audience_passes(const Audience *audience, const char *exclude, const char *eligible,
				uint64_t session, const char *string)
{
	const json_t *only = json_object_get(audience->options, eligible);

	if (audience_lists(json_object_get(audience->options, exclude), session, string))
		return false;
	return only == NULL || audience_lists(only, session, string);
}

bool
audience_has(const Audience *audience, uint64_t session, const char *authid, const char *authrole)
{
	if (audience == NULL)
		return true;
	return json_is_object(audience->options) &&
		   audience_passes(audience, "exclude", "eligible", session, NULL) &&
		   audience_passes(audience, "exclude_authid", "eligible_authid", 0, authid) &&
		   audience_passes(audience, "exclude_authrole", "eligible_authrole", 0, authrole);
}
