/*-------------------------------------------------------------------------
 *
 * openapi_write.c
 *	  The JSON of an OpenAPI document, and the objects that all its parts have.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/utf8.h"
#include "ext/openapi/openapi_internal.h"

/* ---------------- JSON ---------------- */

/* A value or member needs a comma before it, unless it is the first of its array or object, or has its name before it. */
static void
openapi_separate(StringInfo out)
{
	if (out->len > 0 && strchr("{[:", out->data[out->len - 1]) == NULL)
		appendStringInfoChar(out, ',');
}

void
openapi_json(StringInfo out, const char *json)
{
	openapi_separate(out);
	appendStringInfoString(out, json);
}

void
openapi_text(StringInfo out, const char *text)
{
	openapi_separate(out);
	utf8_append_json_string(out, text, (int) strlen(text));
}

void
openapi_name(StringInfo out, const char *name)
{
	openapi_text(out, name);
	appendStringInfoChar(out, ':');
}

void
openapi_member(StringInfo out, const char *name, const char *json)
{
	if (json == NULL)
		return;
	openapi_name(out, name);
	appendStringInfoString(out, json);
}

void
openapi_member_text(StringInfo out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	openapi_name(out, name);
	openapi_text(out, text);
}

void
openapi_end(StringInfo out, const char *brackets)
{
	appendStringInfoString(out, brackets);
}

/* ---------------- objects of OpenAPI ---------------- */

void
openapi_begin_response(StringInfo out, const char *status, const char *description,
					   const char *header)
{
	openapi_member(out, status, "{");
	openapi_member_text(out, "description", description);
	if (header != NULL)
		openapi_member(out, "headers",
					   psprintf("{\"%s\":{\"$ref\":\"#/components/headers/%s\"}}", header, header));
	openapi_member(out, "content", "{\"application/json\":{\"schema\":");
}

void
openapi_empty_response(StringInfo out, const char *status, const char *description)
{
	openapi_member(out, status, "{");
	openapi_member_text(out, "description", description);
	openapi_end(out, "}");
}

void
openapi_errors(StringInfo out, const char *statuses)
{
	char *rest = psprintf("%s default", statuses);
	char *status;

	while ((status = strsep(&rest, " ")) != NULL)
		openapi_member(out, status, "{\"$ref\":\"#/components/responses/Error\"}");
}

void
openapi_begin_parameter(StringInfo out, const char *name, const char *in, bool required,
						const char *description)
{
	openapi_json(out, "{");
	openapi_member_text(out, "name", name);
	openapi_member_text(out, "in", in);
	openapi_member(out, "required", required ? "true" : NULL);
	openapi_member_text(out, "description", description);
	openapi_name(out, "schema");
}

char *
openapi_path(const char *prefix, const char *name)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~";
	StringInfoData utf8;
	StringInfoData path;

	initStringInfo(&utf8);
	initStringInfo(&path);
	utf8_append(&utf8, name, (int) strlen(name));
	appendStringInfoString(&path, prefix);
	for (int i = 0; i < utf8.len; i++)
		appendStringInfo(&path, strchr(plain, utf8.data[i]) != NULL ? "%c" : "%%%02X",
						 (unsigned char) utf8.data[i]);
	return path.data;
}

void
openapi_begin_path(const Openapi *api, const char *path)
{
	openapi_member(api->out, path, "{");
	openapi_member(api->out, "parameters", "[");
	if (api->named)
		openapi_json(api->out, "{\"$ref\":\"#/components/parameters/database\"}");
}

void
openapi_begin_operation(StringInfo out, const char *method, const char *verb, const char *object,
						const char *tag, const char *summary)
{
	openapi_member(out, method, "{");
	openapi_member_text(out, "operationId", psprintf("%s_%s", verb, object));
	openapi_member(out, "tags", "[");
	openapi_text(out, tag);
	openapi_end(out, "]");
	openapi_member_text(out, "summary", summary);
}
