/*-------------------------------------------------------------------------
 *
 * query_response.c
 *	  The status and headers of an HTTP response that a function has set, as in PostgREST: the settings
 *	  response.status, such as "201", and response.headers, such as [{"Cache-Control": "max-age=60"}].
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/guc.h"

#include "ext/query/query.h"

/* The gateway has room for 4 kB with its own headers. */
#define RESPONSE_MAX_HEADERS 2048

/* Headers that say how the response is sent, or which the gateway adds itself. */
static const char *const response_reserved[] = {
	"connection",
	"content-encoding",
	"content-length",
	"content-type",
	"date",
	"keep-alive",
	"proxy-connection",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
	"vary",
	"x-content-type-options",
	"access-control-",
};

/* The mistake is the function's, and not that of the client. */
static void
response_refuse(const char *setting, const char *why)
{
	ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
					errmsg("the function has set %s to an invalid value", setting),
					errdetail_internal("%s", why)));
}

static void
response_check_header(const char *name, const char *value)
{
	/* A token of RFC 9110, 5.6.2 */
	if (name[0] == '\0' ||
		strspn(name,
			   "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") !=
			strlen(name))
		response_refuse("response.headers", psprintf("\"%s\" is no name of a header.", name));
	for (int i = 0; i < (int) lengthof(response_reserved); i++)
	{
		const char *reserved = response_reserved[i];
		size_t length = strlen(reserved);

		if (pg_strncasecmp(name, reserved, length) == 0 &&
			(name[length] == '\0' || reserved[length - 1] == '-'))
			response_refuse("response.headers",
							psprintf("Functions cannot set the header \"%s\".", name));
	}
	for (const char *p = value; *p != '\0'; p++)
	{
		if ((unsigned char) *p < ' ' || (unsigned char) *p >= 0x7f)
			response_refuse(
				"response.headers",
				psprintf("The value of the header \"%s\" is not printable ASCII.", name));
	}
}

static void
response_add_header(ClientQuery *query, const char *name, const JsonbValue *json, Size *total)
{
	char *value = pnstrdup(json->val.string.val, json->val.string.len);

	response_check_header(name, value);
	*total += strlen(name) + strlen(value) + 4;
	if (*total > RESPONSE_MAX_HEADERS)
		response_refuse("response.headers",
						psprintf("Headers may have at most %d bytes.", RESPONSE_MAX_HEADERS));
	query_header(query, name, value);
}

/* Add the headers of an array of objects. Returns false if it is something else. */
static bool
response_add_headers(ClientQuery *query, Jsonb *json)
{
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;
	char *name = NULL;
	Size total = 0;
	int depth = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_ARRAY ? depth++ > 0 || value.val.array.rawScalar
									 : token == WJB_BEGIN_OBJECT && depth++ != 1)
			return false;
		if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
			depth--;
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_ELEM || (token == WJB_VALUE && value.type != jbvString))
			return false;
		else if (token == WJB_VALUE)
			response_add_header(query, name, &value, &total);
	}
	return true;
}

/* Read the setting as JSON. Returns NULL if it is none. */
static Jsonb *
response_json(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb *volatile json = NULL;

	PG_TRY();
	{
		json = query_json(text);
	}
	PG_CATCH();
	{
		if (!query_value_is_wrong(geterrcode()))
			PG_RE_THROW();
		/* The caller raises another error. */
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return json;
}

void
query_response(ClientQuery *query)
{
	const char *status = GetConfigOption("response.status", true, false);
	const char *headers = GetConfigOption("response.headers", true, false);

	if (status != NULL && status[0] != '\0')
	{
		if (strlen(status) != 3 || strspn(status, "0123456789") != 3 || status[0] < '2' ||
			status[0] > '5')
			response_refuse("response.status", "It must be a number from 200 to 599.");
		query->status = (uint16) atoi(status);
	}
	if (headers != NULL && headers[0] != '\0')
	{
		Jsonb *json = response_json(headers);

		if (json == NULL || !response_add_headers(query, json))
			response_refuse("response.headers", "It must be a JSON array of objects with strings.");
	}
}
