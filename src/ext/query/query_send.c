/*-------------------------------------------------------------------------
 *
 * query_send.c
 *	  A message from a client: notify_send() as the client's role.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "ext/capture/capture.h"
#include "ext/json/json.h"
#include "ext/query/query.h"

#define SEND_MAX_NUMBER (INT64CONST(1) << 53)
#define SEND_MAX_NAME   1024 /* bytes of an authid or authrole */

/* ---------------- the member "publisher" ---------------- */

typedef enum PublisherKind
{
	PUBLISHER_NUMBER, /* an integer from 1 to 2^53 */
	PUBLISHER_NAME,   /* a short string */
	PUBLISHER_FLAG,   /* true or false */
} PublisherKind;

/* The members that it may have, in the order in which events have them. */
static const struct
{
	const char *name;
	PublisherKind kind;
} publisher_members[] = {
	{"session", PUBLISHER_NUMBER},
	{"authid", PUBLISHER_NAME},
	{"authrole", PUBLISHER_NAME},
	{"mark", PUBLISHER_NUMBER},
	{"args", PUBLISHER_FLAG},
	/* Payload passthru (wire_route.h) */
	{"ppt_scheme", PUBLISHER_NAME},
	{"ppt_serializer", PUBLISHER_NAME},
	{"ppt_cipher", PUBLISHER_NAME},
	{"ppt_keyid", PUBLISHER_NAME},
};

static void
publisher_refuse(void)
{
	query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "publisher",
				 "the gateway has sent an invalid publisher");
}

static void
publisher_append_value(StringInfo to, PublisherKind kind, const JsonbValue *value)
{
	if (kind == PUBLISHER_FLAG && value->type == jbvBool)
		appendStringInfoString(to, value->val.boolean ? "true" : "false");
	else if (kind == PUBLISHER_NAME && value->type == jbvString &&
			 value->val.string.len <= SEND_MAX_NAME)
		json_append_string(to, value->val.string.val, (size_t) value->val.string.len);
	else if (kind == PUBLISHER_NUMBER && value->type == jbvNumeric)
	{
		char *digits =
			DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		size_t length = strlen(digits);

		if (strspn(digits, "0123456789") != length || length > 16 ||
			strtoll(digits, NULL, 10) < 1 || strtoll(digits, NULL, 10) > SEND_MAX_NUMBER)
			publisher_refuse();
		appendStringInfoString(to, digits);
	}
	else
		publisher_refuse();
}

/*
 * Read WireQuery.named. A gateway that has been taken over could write anything into the members of other events, so
 * only what is expected is written again.
 */
static char *
query_publisher(const ClientQuery *query)
{
	const char *separator = "";
	uint32 found = 0;
	StringInfoData text;
	Jsonb *json;

	if (query->wire.named.len == 0)
		return NULL;
	json = query_json(query_text(query->wire.named));
	if (!JB_ROOT_IS_OBJECT(json))
		publisher_refuse();
	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < (int) lengthof(publisher_members); i++)
	{
		const char *name = publisher_members[i].name;
		JsonbValue *value =
			getKeyJsonValueFromContainer(&json->root, name, (int) strlen(name), NULL);

		if (value == NULL)
			continue;
		found++;
		appendStringInfo(&text, "%s\"%s\":", separator, name);
		publisher_append_value(&text, publisher_members[i].kind, value);
		separator = ",";
	}
	if (found != JB_ROOT_COUNT(json))
		publisher_refuse();
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* ---------------- the message ---------------- */

static text *
send_read_payload(const ClientQuery *query)
{
	char *payload = query_text(query->wire.body);
	volatile Datum json = 0;

	PG_TRY();
	{
		json = DirectFunctionCall1(json_in, CStringGetDatum(payload));
	}
	PG_CATCH();
	{
		if (query_value_is_wrong(geterrcode()))
			query_blame(WIRE_QUERY_BAD_PARAMETER, "payload");
		PG_RE_THROW();
	}
	PG_END_TRY();
	return DatumGetTextPP(json);
}

void
query_send(ClientQuery *query)
{
	text *payload = send_read_payload(query);

	query->event = send_message(query_text(query->wire.name), payload, query_publisher(query));
	appendStringInfoString(&query->body, "{}");
}
