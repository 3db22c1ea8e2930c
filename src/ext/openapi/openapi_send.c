/*-------------------------------------------------------------------------
 *
 * openapi_send.c
 *	  The channels to which the client's role may publish, because it was granted that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ext/channel/channel_type.h"
#include "ext/channel/grant.h"
#include "ext/channel/grant_pattern.h"
#include "ext/openapi/openapi_internal.h"

/* The operation that sends a message. Its path and parameters are written, and type may be InvalidOid. */
static void
openapi_send_operation(Openapi *api, const char *name, Oid type)
{
	StringInfo out = api->out;

	openapi_end(out, "]");
	openapi_begin_operation(out, "post", "send", name, "send", "Send a message");
	openapi_member(out, "requestBody", "{\"required\":true," OPENAPI_CONTENT);
	if (OidIsValid(type))
		openapi_message_schema(api, type);
	else
		openapi_json(out, "{}");
	openapi_end(out, "}}}");
	openapi_member(out, "responses", "{");
	openapi_begin_response(out, "200", "The message was sent.", NULL);
	openapi_json(out, "{\"type\":\"object\"}");
	openapi_end(out, "}}}");
	openapi_errors(out, "400 401 403");
	openapi_end(out, "}}}");
}

/* Return a regular expression of JSON Schema for the names that a pattern matches. */
static char *
openapi_pattern(const GrantPattern *pattern)
{
	StringInfoData regex;
	bool part = false; /* the present part has characters */

	initStringInfo(&regex);
	appendStringInfoChar(&regex, '^');
	for (size_t i = 0; i < pattern->len; i++)
	{
		char c = pattern->text[i];

		if (c == '.' && !part)
			appendStringInfoString(&regex, "[^.]*");
		part = c != '.';
		if (strchr("^$\\.*+?()[]{}|", c) != NULL)
			appendStringInfoChar(&regex, '\\');
		appendStringInfoChar(&regex, c);
	}
	if (pattern->match == URI_WILDCARD)
		appendStringInfoString(&regex, part ? "$" : "[^.]*$");
	return regex.data;
}

/* The schema of the names of channels: one of these names, or one that a pattern matches. */
static void
openapi_channel_schema(StringInfo out, const List *names, const List *patterns)
{
	ListCell *cell;

	openapi_json(out, "{\"type\":\"string\",\"anyOf\":[");
	if (names != NIL)
	{
		openapi_json(out, "{\"enum\":[");
		foreach (cell, names)
			openapi_text(out, lfirst(cell));
		openapi_end(out, "]}");
	}
	foreach (cell, patterns)
	{
		openapi_json(out, "{");
		openapi_member_text(out, "pattern", openapi_pattern(lfirst(cell)));
		openapi_end(out, "}");
	}
	openapi_end(out, "]}");
}

/* The names on which the role was granted the privilege, and those with a type that a pattern matches. */
static List *
openapi_send_channels(const List *patterns)
{
	Oid role = GetUserId();
	List *channels = grant_channels(role, GRANT_PUBLISH);
	List *typed = NIL;
	ListCell *cell;
	ListCell *other;

	if (patterns == NIL)
		return channels;
	foreach (cell, channel_type_channels(InvalidOid))
	{
		const char *name = lfirst(cell);
		bool listed = false;

		foreach (other, channels)
			listed = listed || strcmp(lfirst(other), name) == 0;
		if (!listed && OidIsValid(channel_type_find(name)) &&
			grant_exists(role, name, (int) strlen(name), GRANT_PUBLISH))
			typed = lappend(typed, lfirst(cell));
	}
	return list_concat(channels, typed);
}

/* Channels without a type share a path. */
void
openapi_send_paths(Openapi *api)
{
	List *patterns = grant_patterns(GetUserId(), GRANT_PUBLISH);
	List *plain = NIL;
	ListCell *cell;

	foreach (cell, openapi_send_channels(patterns))
	{
		char *channel = lfirst(cell);
		Oid type = channel_type_find(channel);

		if (!OidIsValid(type))
		{
			plain = lappend(plain, channel);
			continue;
		}
		openapi_begin_path(api, openapi_path("/send/", channel));
		openapi_send_operation(api, channel, type);
	}
	if (plain == NIL && patterns == NIL)
		return;
	openapi_begin_path(api, "/send/{channel}");
	openapi_begin_parameter(api->out, "channel", "path", true, NULL);
	if (patterns != NIL)
		openapi_channel_schema(api->out, plain, patterns);
	else
	{
		openapi_json(api->out, "{\"type\":\"string\",\"enum\":[");
		foreach (cell, plain)
			openapi_text(api->out, lfirst(cell));
		openapi_end(api->out, "]}");
	}
	openapi_end(api->out, "}");
	openapi_send_operation(api, "message", InvalidOid);
}
