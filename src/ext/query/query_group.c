/*-------------------------------------------------------------------------
 *
 * query_group.c
 *	  Consumers that are clients: notify_take(), notify_ack() and notify_nack() as the client's role.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/group/group.h"
#include "ext/query/query.h"

/* Run a function of a group. Errors about the group name it. */
static void
group_run(ClientQuery *query, void (*run)(ClientQuery *query, char *group))
{
	char *group = query_text(query->wire.name);

	PG_TRY();
	{
		run(query, group);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_UNDEFINED_OBJECT)
			query_blame(WIRE_QUERY_UNKNOWN, group);
		else if (geterrcode() == ERRCODE_INSUFFICIENT_PRIVILEGE)
			query_blame(WIRE_QUERY_NOT_PERMITTED, group);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* ---------------- taking ---------------- */

static void
group_append_item(StringInfo list, const char *data, int length)
{
	size_t used = list->len;

	enlargeStringInfo(list, length + (int) sizeof(uint32));
	if (!wire_list_append(list->data, list->maxlen, &used,
						  (WireBytes){.data = data, .len = (uint32_t) length}))
		elog(ERROR, "could not add a delivery");
	list->len = (int) used;
}

static void
group_append_delivery(void *arg, uint64 delivery, int attempt, const char *position,
					  StringInfo event)
{
	ClientQuery *query = arg;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, UINT64_FORMAT, delivery);
	group_append_item(&query->body, text.data, text.len);
	resetStringInfo(&text);
	appendStringInfo(
		&text, "{\"id\":" UINT64_FORMAT ",\"attempt\":%d,\"position\":\"%s\",\"event\":", delivery,
		attempt, position);
	utf8_append(&text, event->data, event->len);
	appendStringInfoChar(&text, '}');
	group_append_item(&query->body, text.data, text.len);
	pfree(text.data);
}

static void
group_take_for(ClientQuery *query, char *group)
{
	GroupTaking taking = {.name = group,
						  .count = (int) Min(query->wire.limit, INT_MAX),
						  .bytes = Min(query->wire.window, (Size) notifyd_max_response_size),
						  .gateway = query_link_gateway(query),
						  .taken = group_append_delivery,
						  .arg = query};

	if (group_take(&taking))
		query->status = WIRE_TAKE_MORE;
}

void
query_take(ClientQuery *query)
{
	group_run(query, group_take_for);
}

/* ---------------- acknowledging and giving back ---------------- */

/* The members of the body, in the order of the parameters of notify_nack(), and that of RELEASE. */
enum
{
	GROUP_NAME_ARG,
	GROUP_IDS_ARG,
	GROUP_DELAY_ARG,
	GROUP_ERROR_ARG,
	GROUP_NACK_ARGS,
	GROUP_FAILED_ARG = GROUP_NACK_ARGS,
	GROUP_ARGS
};

static const struct
{
	const char *name;
	Oid type;
	uint8 kind; /* of the queries that have it; 0: all */
} group_members[GROUP_ARGS] = {
	[GROUP_IDS_ARG] = {"ids", INT8ARRAYOID, 0},
	[GROUP_DELAY_ARG] = {"delay", INTERVALOID, WIRE_QUERY_NACK},
	[GROUP_ERROR_ARG] = {"error", TEXTOID, WIRE_QUERY_NACK},
	[GROUP_FAILED_ARG] = {"failed", BOOLOID, WIRE_QUERY_RELEASE},
};

static int
group_member_number(const char *name, uint8 kind)
{
	for (int i = GROUP_IDS_ARG; i < GROUP_ARGS; i++)
	{
		if (strcmp(group_members[i].name, name) == 0 &&
			(group_members[i].kind == 0 || group_members[i].kind == kind))
			return i;
	}
	query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_UNDEFINED_PARAMETER, name,
				 "there is no parameter \"%s\"", name);
}

static void
group_set_member(int i, JsonbValue *value, NullableDatum *arg)
{
	Jsonb *json = JsonbValueToJsonb(value);
	char *text = JsonbToCString(NULL, &json->root, VARSIZE(json));

	if (value->type == jbvNull && i != GROUP_IDS_ARG)
		return;
	PG_TRY();
	{
		arg->value = query_value(text, group_members[i].type, -1, &arg->isnull);
	}
	PG_CATCH();
	{
		if (query_value_is_wrong(geterrcode()))
			query_blame(WIRE_QUERY_BAD_PARAMETER, group_members[i].name);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static Jsonb *
group_read_json(const char *text)
{
	Jsonb *volatile json = NULL;

	PG_TRY();
	{
		json = query_json(text[0] != '\0' ? text : "{}");
	}
	PG_CATCH();
	{
		if (query_value_is_wrong(geterrcode()))
			query_blame(WIRE_QUERY_BAD_PARAMETER, "ids");
		PG_RE_THROW();
	}
	PG_END_TRY();
	return json;
}

/* Read the members of the body, which has ids. Those that are missing keep their values. */
static void
group_read_body(const ClientQuery *query, NullableDatum *args)
{
	Jsonb *json = group_read_json(query_text(query->wire.body));
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;
	int i = 0;

	if (!JB_ROOT_IS_OBJECT(json))
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "ids",
					 "the body must be an object with \"ids\"");
	iterator = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			i = group_member_number(pnstrdup(value.val.string.val, value.val.string.len),
									query->wire.kind);
		else if (token == WJB_VALUE)
			group_set_member(i, &value, &args[i]);
	}
	if (args[GROUP_IDS_ARG].isnull)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_UNDEFINED_PARAMETER, "ids",
					 "ids must be an array of numbers of deliveries");
}

static void
group_return(ClientQuery *query, char *group)
{
	bool nack = query->wire.kind == WIRE_QUERY_NACK;
	Interval none = {0};
	LOCAL_FCINFO(fcinfo, GROUP_ARGS);

	InitFunctionCallInfoData(*fcinfo, NULL, nack ? GROUP_NACK_ARGS : GROUP_DELAY_ARG, InvalidOid,
							 NULL, NULL);
	fcinfo->args[GROUP_NAME_ARG] =
		(NullableDatum){.value = PointerGetDatum(cstring_to_text(group)), .isnull = false};
	fcinfo->args[GROUP_IDS_ARG].isnull = true;
	fcinfo->args[GROUP_DELAY_ARG] =
		(NullableDatum){.value = PointerGetDatum(&none), .isnull = false};
	fcinfo->args[GROUP_ERROR_ARG].isnull = true;
	fcinfo->args[GROUP_FAILED_ARG] = (NullableDatum){.value = BoolGetDatum(false), .isnull = false};
	group_read_body(query, fcinfo->args);
	if (query->wire.kind != WIRE_QUERY_RELEASE)
		appendStringInfo(&query->body, "{\"%s\":%d}", nack ? "returned" : "acknowledged",
						 DatumGetInt32(nack ? notify_nack(fcinfo) : notify_ack(fcinfo)));
	else if (!group_release(group, DatumGetArrayTypeP(fcinfo->args[GROUP_IDS_ARG].value),
							DatumGetBool(fcinfo->args[GROUP_FAILED_ARG].value)))
		query->status = WIRE_RELEASE_AGAIN;
}

void
query_return(ClientQuery *query)
{
	group_run(query, group_return);
}
