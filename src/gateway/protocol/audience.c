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

/* An option of PUBLISH, sorted, because each subscriber is looked up in it. */
typedef struct AudienceList
{
	bool given;
	uint64_t *sessions;
	size_t nsessions;
	const char **names; /* strings of Audience.options */
	size_t nnames;
} AudienceList;

/* One kind of lists: of sessions' ids, of authids, or of authroles. */
typedef struct AudienceKind
{
	AudienceList exclude;
	AudienceList eligible;
} AudienceKind;

struct Audience
{
	json_t *options; /* NULL: nobody gets the message */
	AudienceKind sessions;
	AudienceKind authids;
	AudienceKind authroles;
};

static int
audience_compare_sessions(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *) a;
	uint64_t right = *(const uint64_t *) b;

	return left < right ? -1 : left > right;
}

static int
audience_compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Read a member of the options. A list has sessions or names, and other values count for nothing. */
static AudienceList
audience_list(const json_t *options, const char *member, bool names)
{
	const json_t *array = json_object_get(options, member);
	AudienceList list = {.given = array != NULL};
	size_t i;
	const json_t *value;

	if (json_array_size(array) == 0)
		return list;
	if (names)
		list.names = memory_new(json_array_size(array) * sizeof(*list.names));
	else
		list.sessions = memory_new(json_array_size(array) * sizeof(*list.sessions));
	json_array_foreach(array, i, value)
	{
		if (names && json_is_string(value))
			list.names[list.nnames++] = json_string_value(value);
		else if (!names && json_is_integer(value))
			list.sessions[list.nsessions++] = (uint64_t) json_integer_value(value);
	}
	if (list.nnames > 0)
		qsort(list.names, list.nnames, sizeof(*list.names), audience_compare_names);
	if (list.nsessions > 0)
		qsort(list.sessions, list.nsessions, sizeof(*list.sessions), audience_compare_sessions);
	return list;
}

Audience *
audience_read(WireBytes text)
{
	Audience *audience;
	json_t *options;

	if (text.len == 0)
		return NULL;
	options = json_loadb(text.data, text.len, 0, NULL);
	audience = memory_new(sizeof(Audience));
	*audience = (Audience){
		.options = options,
		.sessions = {audience_list(options, "exclude", false),
					 audience_list(options, "eligible", false)},
		.authids = {audience_list(options, "exclude_authid", true),
					audience_list(options, "eligible_authid", true)},
		.authroles = {audience_list(options, "exclude_authrole", true),
					  audience_list(options, "eligible_authrole", true)},
	};
	return audience;
}

static void
audience_free_kind(AudienceKind *kind)
{
	free(kind->exclude.sessions);
	free(kind->exclude.names);
	free(kind->eligible.sessions);
	free(kind->eligible.names);
}

void
audience_free(Audience *audience)
{
	if (audience == NULL)
		return;
	audience_free_kind(&audience->sessions);
	audience_free_kind(&audience->authids);
	audience_free_kind(&audience->authroles);
	json_decref(audience->options);
	free(audience);
}

/* Return true if a list has a session's id, or a name. */
static bool
audience_lists(const AudienceList *list, uint64_t session, const char *name)
{
	if (session != 0 && list->nsessions > 0)
		return bsearch(&session, list->sessions, list->nsessions, sizeof(session),
					   audience_compare_sessions) != NULL;
	if (name != NULL && list->nnames > 0)
		return bsearch(&name, list->names, list->nnames, sizeof(name), audience_compare_names) !=
			   NULL;
	return false;
}

/* Return true if one kind of lists lets the client have the message. */
static bool
audience_passes(const AudienceKind *kind, uint64_t session, const char *name)
{
	if (audience_lists(&kind->exclude, session, name))
		return false;
	return !kind->eligible.given || audience_lists(&kind->eligible, session, name);
}

bool
audience_has(const Audience *audience, uint64_t session, const char *authid, const char *authrole)
{
	if (audience == NULL)
		return true;
	return json_is_object(audience->options) &&
		   audience_passes(&audience->sessions, session, NULL) &&
		   audience_passes(&audience->authids, 0, authid) &&
		   audience_passes(&audience->authroles, 0, authrole);
}
