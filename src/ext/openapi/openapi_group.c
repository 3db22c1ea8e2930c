/*-------------------------------------------------------------------------
 *
 * openapi_group.c
 *	  The consumer groups that the client's role may take from, as query_group.c takes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/group/group.h"
#include "ext/openapi/openapi_internal.h"
#include "wire/take.h"

#define GROUP_CONTENT "{\"required\":true,\"content\":{\"application/json\":{\"schema\":"
#define GROUP_ID      "{\"type\":\"integer\",\"format\":\"int64\"}"
#define GROUP_IDS                                                                                  \
	"\"ids\":{\"type\":\"array\",\"items\":" GROUP_ID                                              \
	",\"description\":\"The `id`s of deliveries.\"}"
#define GROUP_COUNT(name)                                                                          \
	"{\"type\":\"object\",\"properties\":{\"" name "\":{\"type\":\"integer\",\"minimum\":0,"       \
	"\"description\":\"How many still had their leases.\"}},\"required\":[\"" name "\"]}"

static const char group_deliveries[] =
	"{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
	"\"id\":" GROUP_ID ",\"attempt\":{\"type\":\"integer\",\"minimum\":1},"
	"\"position\":{\"type\":\"string\"},"
	"\"event\":{\"type\":\"object\",\"description\":\"As subscribers get it.\"}},"
	"\"required\":[\"id\",\"attempt\",\"position\",\"event\"]}}";

static const char group_ack[] =
	GROUP_CONTENT "{\"type\":\"object\",\"properties\":{" GROUP_IDS "},\"required\":[\"ids\"],"
				  "\"additionalProperties\":false}}}}";

static const char group_nack[] = GROUP_CONTENT
	"{\"type\":\"object\",\"properties\":{" GROUP_IDS ","
	"\"delay\":{\"type\":[\"string\",\"number\",\"null\"],\"default\":\"0\","
	"\"description\":\"An interval, or seconds, until they are delivered again.\"},"
	"\"error\":{\"type\":[\"string\",\"null\"],\"description\":\"Why they failed.\"}},"
	"\"required\":[\"ids\"],\"additionalProperties\":false}}}}";

/* Begin the path of what can be done with one of the groups, and its operation. */
static void
group_begin(Openapi *api, const List *groups, const char *verb, const char *summary)
{
	StringInfo out = api->out;
	ListCell *cell;

	openapi_begin_path(api, psprintf("/groups/{group}/%s", verb));
	openapi_begin_parameter(out, "group", "path", true, NULL);
	openapi_json(out, "{\"type\":\"string\",\"enum\":[");
	foreach (cell, groups)
		openapi_text(out, lfirst(cell));
	openapi_end(out, "]}}]");
	openapi_begin_operation(out, "post", verb, "deliveries", "groups", summary);
}

static void
group_number(StringInfo out, const char *name, const char *description, int low, int high,
			 int standard)
{
	openapi_begin_parameter(out, name, "query", false, description);
	openapi_json(out,
				 psprintf("{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d,\"default\":%d}}",
						  low, high, standard));
}

static void
group_end(StringInfo out, const char *description, const char *schema)
{
	openapi_member(out, "responses", "{");
	openapi_begin_response(out, "200", description, NULL);
	openapi_json(out, schema);
	openapi_end(out, "}}}");
	openapi_errors(out, "400 401 403 404");
	openapi_end(out, "}}}");
}

void
openapi_group_paths(Openapi *api)
{
	const List *groups = group_names();
	StringInfo out = api->out;

	if (groups == NIL)
		return;
	group_begin(api, groups, "take", "Take events of a consumer group");
	openapi_member(out, "parameters", "[");
	group_number(out, "count", "How many to take at most.", 1, TAKE_MAX_COUNT, 1);
	group_number(out, "wait", "For how many seconds to wait if there are none.", 0, TAKE_MAX_WAIT,
				 0);
	openapi_end(out, "]");
	group_end(out, "The deliveries.", group_deliveries);

	group_begin(api, groups, "ack", "Acknowledge deliveries");
	openapi_member(out, "requestBody", group_ack);
	group_end(out, "They are acknowledged.", GROUP_COUNT("acknowledged"));

	group_begin(api, groups, "nack", "Give deliveries back");
	openapi_member(out, "requestBody", group_nack);
	group_end(out, "They are given back.", GROUP_COUNT("returned"));
}
