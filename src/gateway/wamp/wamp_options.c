/*-------------------------------------------------------------------------
 *
 * wamp_options.c
 *	  The options of WAMP's messages that have a meaning here, or in the specification: their types.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_options.h"

#include <string.h>

#include "wire/wire_route.h"

#define WAMP_MAX_NAME 255

typedef enum WampKind
{
	WAMP_BOOLEAN,
	WAMP_MILLISECONDS,
	WAMP_STRING,
	WAMP_NAME,
	WAMP_OBJECT,
	WAMP_STRINGS,
	WAMP_IDS,
	WAMP_OBJECTS,
	WAMP_MATCH,
	WAMP_INVOKE,
	WAMP_MODE,
} WampKind;

static const char *const wamp_expected[] = {
	[WAMP_BOOLEAN] = "true or false",
	[WAMP_MILLISECONDS] = "an integer from 0 to 2^53",
	[WAMP_STRING] = "a string",
	[WAMP_NAME] = "a string of at most 255 bytes",
	[WAMP_OBJECT] = "an object",
	[WAMP_STRINGS] = "an array of strings",
	[WAMP_IDS] = "an array of integers from 1 to 2^53",
	[WAMP_OBJECTS] = "an array of objects",
	[WAMP_MATCH] = "\"exact\", \"prefix\" or \"wildcard\"",
	[WAMP_INVOKE] = "\"single\", \"roundrobin\", \"random\", \"first\" or \"last\"",
	[WAMP_MODE] = "\"skip\", \"kill\" or \"killnowait\"",
};

static const struct
{
	WampType type;
	const char *name;
	WampKind kind;
} wamp_known[] = {
	{WAMP_HELLO, "roles", WAMP_OBJECT},
	{WAMP_HELLO, "authmethods", WAMP_STRINGS},
	{WAMP_HELLO, "authid", WAMP_STRING},
	{WAMP_PUBLISH, "acknowledge", WAMP_BOOLEAN},
	{WAMP_PUBLISH, "exclude_me", WAMP_BOOLEAN},
	{WAMP_PUBLISH, "disclose_me", WAMP_BOOLEAN},
	{WAMP_PUBLISH, "exclude", WAMP_IDS},
	{WAMP_PUBLISH, "exclude_authid", WAMP_STRINGS},
	{WAMP_PUBLISH, "exclude_authrole", WAMP_STRINGS},
	{WAMP_PUBLISH, "eligible", WAMP_IDS},
	{WAMP_PUBLISH, "eligible_authid", WAMP_STRINGS},
	{WAMP_PUBLISH, "eligible_authrole", WAMP_STRINGS},
	{WAMP_PUBLISH, "retain", WAMP_BOOLEAN},
	{WAMP_PUBLISH, "transaction_hash", WAMP_STRING},
	{WAMP_PUBLISH, "forward_for", WAMP_OBJECTS},
	{WAMP_SUBSCRIBE, "match", WAMP_MATCH},
	{WAMP_SUBSCRIBE, "get_retained", WAMP_BOOLEAN},
	{WAMP_SUBSCRIBE, "forward_for", WAMP_OBJECTS},
	{WAMP_CALL, "timeout", WAMP_MILLISECONDS},
	{WAMP_CALL, "receive_progress", WAMP_BOOLEAN},
	{WAMP_CALL, "disclose_me", WAMP_BOOLEAN},
	{WAMP_CANCEL, "mode", WAMP_MODE},
	{WAMP_REGISTER, "match", WAMP_MATCH},
	{WAMP_REGISTER, "invoke", WAMP_INVOKE},
	{WAMP_YIELD, "progress", WAMP_BOOLEAN},
};

static const char *const wamp_opaque[] = {ROUTE_OPAQUE_OPTIONS};

/* An integer in this range: up to 2^53. */
static bool
wamp_is_integer(const json_t *value, json_int_t least)
{
	return json_is_integer(value) && json_integer_value(value) >= least &&
		   json_integer_value(value) <= (json_int_t) WAMP_MAX_ID;
}

static bool
wamp_is_item(const json_t *item, WampKind kind)
{
	switch (kind)
	{
		case WAMP_IDS:
			return wamp_is_integer(item, 1);
		case WAMP_OBJECTS:
			return json_is_object(item);
		default:
			return json_is_string(item);
	}
}

static bool
wamp_is_list(const json_t *value, WampKind kind)
{
	json_t *item;
	size_t i;

	json_array_foreach(value, i, item)
	{
		if (!wamp_is_item(item, kind))
			return false;
	}
	return json_is_array(value);
}

/* Whether the value is one of these words, which a space ends. */
static bool
wamp_is_word(const json_t *value, const char *words)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);

	for (; text != NULL && *words != '\0'; words += strcspn(words, " ") + 1)
	{
		if (strcspn(words, " ") == len && memcmp(words, text, len) == 0)
			return true;
	}
	return false;
}

static bool
wamp_is_kind(const json_t *value, WampKind kind)
{
	switch (kind)
	{
		case WAMP_BOOLEAN:
			return json_is_boolean(value);
		case WAMP_MILLISECONDS:
			return wamp_is_integer(value, 0);
		case WAMP_STRING:
			return json_is_string(value);
		case WAMP_NAME:
			return json_is_string(value) && json_string_length(value) <= WAMP_MAX_NAME;
		case WAMP_OBJECT:
			return json_is_object(value);
		case WAMP_STRINGS:
		case WAMP_IDS:
		case WAMP_OBJECTS:
			return wamp_is_list(value, kind);
		case WAMP_MATCH:
			return wamp_is_word(value, "exact prefix wildcard ");
		case WAMP_INVOKE:
			return wamp_is_word(value, "single roundrobin random first last ");
		case WAMP_MODE:
			return wamp_is_word(value, "skip kill killnowait ");
	}
	return false;
}

static const char *
wamp_opaque_wrong(WampType type, const json_t *options)
{
	if (type != WAMP_PUBLISH && type != WAMP_CALL && type != WAMP_YIELD && type != WAMP_ERROR)
		return NULL;
	for (size_t i = 0; i < sizeof(wamp_opaque) / sizeof(wamp_opaque[0]); i++)
	{
		const json_t *value = json_object_get(options, wamp_opaque[i]);

		if (value != NULL && !wamp_is_kind(value, WAMP_NAME))
			return wamp_opaque[i];
	}
	return NULL;
}

const char *
wamp_options_wrong(WampType type, const json_t *options, const char **expected)
{
	for (size_t i = 0; i < sizeof(wamp_known) / sizeof(wamp_known[0]); i++)
	{
		const json_t *value =
			wamp_known[i].type == type ? json_object_get(options, wamp_known[i].name) : NULL;

		if (value == NULL || wamp_is_kind(value, wamp_known[i].kind))
			continue;
		*expected = wamp_expected[wamp_known[i].kind];
		return wamp_known[i].name;
	}
	*expected = wamp_expected[WAMP_NAME];
	return wamp_opaque_wrong(type, options);
}

bool
wamp_options_opaque(const json_t *options)
{
	return json_string_length(json_object_get(options, wamp_opaque[0])) > 0;
}

void
wamp_options_copy_opaque(json_t *to, const json_t *options)
{
	if (!wamp_options_opaque(options))
		return;
	for (size_t i = 0; i < sizeof(wamp_opaque) / sizeof(wamp_opaque[0]); i++)
	{
		json_t *value = json_object_get(options, wamp_opaque[i]);

		if (value != NULL)
			json_object_set(to, wamp_opaque[i], value);
	}
}
