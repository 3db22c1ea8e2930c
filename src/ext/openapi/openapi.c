/*-------------------------------------------------------------------------
 *
 * openapi.c
 *	  What a role may use by HTTP, as an OpenAPI document (version 3.1, https://spec.openapis.org/oas/v3.1.0).
 *
 * It describes the requests that the client's role has the privileges for, and of tables only the columns that it may
 * read or write, so that clients learn no names that they could not learn by using them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_database.h"
#include "catalog/pg_shdescription.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "ext/base/extension.h"
#include "ext/base/settings.h"
#include "ext/openapi/openapi_internal.h"
#include "ext/rest/rest.h"

/* ---------------- what all documents have ---------------- */

#define OPENAPI_STRING "{\"type\":\"string\"}"
#define OPENAPI_TEXT   "{\"type\":[\"string\",\"null\"]}"
#define OPENAPI_NUMBER "{\"type\":\"integer\",\"minimum\":0,\"default\":0}"
#define OPENAPI_ROWS                                                                               \
	"{\"type\":\"integer\",\"minimum\":0,\"default\":" CppAsString2(REST_DEFAULT_LIMIT) "}"

static const char openapi_responses[] =
	"{\"NotFound\":{\"description\":\"There is no such row that the role may "
	"see.\"," OPENAPI_CONTENT
	"{\"type\":\"object\",\"properties\":{\"detail\":{\"const\":\"Not Found\"}},"
	"\"required\":[\"detail\"]}}}},"
	"\"Problems\":{\"description\":\"Values are missing or wrong.\"," OPENAPI_CONTENT
	"{\"type\":\"object\",\"properties\":{\"detail\":{\"type\":\"array\",\"items\":"
	"{\"type\":\"object\",\"properties\":{\"loc\":{\"description\":\"Where, such as `body`, and "
	"the "
	"name.\",\"type\":\"array\",\"items\":" OPENAPI_STRING "},\"msg\":" OPENAPI_STRING
	",\"type\":" OPENAPI_STRING "},\"required\":[\"loc\",\"msg\",\"type\"]}}},"
	"\"required\":[\"detail\"]}}}},"
	"\"Error\":{\"description\":\"The request failed.\"," OPENAPI_CONTENT
	"{\"type\":\"object\",\"properties\":{\"code\":{\"type\":[\"string\",\"null\"],"
	"\"description\":\"The SQLSTATE.\"},\"message\":" OPENAPI_STRING ",\"details\":" OPENAPI_TEXT
	",\"hint\":" OPENAPI_TEXT "},\"required\":[\"message\"]}}}}}";

static const char openapi_headers[] =
	"{\"ETag\":{\"description\":\"Identifies the content.\",\"schema\":" OPENAPI_STRING "},"
	"\"Location\":{\"description\":\"The path of the row.\",\"schema\":" OPENAPI_STRING "}}";

static const char openapi_security[] =
	"{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\"},"
	"\"access_token\":{\"type\":\"apiKey\",\"in\":\"query\",\"name\":\"access_token\"}}";

static const struct
{
	const char *name; /* of the component, and of the parameter unless it has another */
	const char *in;
	const char *description;
	const char *schema;
} openapi_parameters[] = {
	{"skip", "query", "How many rows to leave out.", OPENAPI_NUMBER},
	{"take", "query", "How many rows to return at most.", OPENAPI_ROWS},
	{"offset", "query", "As `skip`.", OPENAPI_NUMBER},
	{"limit", "query", "As `take`.", OPENAPI_ROWS},
	{"order", "query",
	 "The order of the rows, such as `title.desc.nullslast,id`. The default is the key.",
	 OPENAPI_STRING},
	{"and", "query", "Conditions that all must hold, such as `(id.gt.1,title.like.T*)`.",
	 OPENAPI_STRING},
	{"or", "query", "Conditions of which one must hold, such as `(id.gt.1,title.like.T*)`.",
	 OPENAPI_STRING},
	{"Prefer", "header", "With `return=minimal`, the answer has no body.",
	 "{\"type\":\"string\",\"enum\":[\"return=minimal\"]}"},
};

static void
openapi_parameter_components(const Openapi *api)
{
	StringInfo out = api->out;

	openapi_member(out, "parameters", "{");
	for (int i = 0; i < (int) lengthof(openapi_parameters); i++)
	{
		openapi_name(out, openapi_parameters[i].name);
		openapi_begin_parameter(out, openapi_parameters[i].name, openapi_parameters[i].in, false,
								openapi_parameters[i].description);
		openapi_json(out, openapi_parameters[i].schema);
		openapi_end(out, "}");
	}
	openapi_name(out, "IfNoneMatch");
	openapi_begin_parameter(out, "If-None-Match", "header", false,
							"ETags of content that the client has.");
	openapi_json(out, OPENAPI_STRING "}");
	if (api->named)
	{
		openapi_name(out, "database");
		openapi_begin_parameter(out, "database", "query", true, NULL);
		openapi_json(out, "{\"enum\":[");
		openapi_text(out, get_database_name(MyDatabaseId));
		openapi_end(out, "]}}");
	}
	openapi_end(out, "}");
}

/* ---------------- the parts of the document ---------------- */

/* Return the comment on the database, or NULL. */
static char *
openapi_database_comment(void)
{
	Relation table = table_open(SharedDescriptionRelationId, AccessShareLock);
	char *comment = NULL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&keys[0], Anum_pg_shdescription_objoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(MyDatabaseId));
	ScanKeyInit(&keys[1], Anum_pg_shdescription_classoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(DatabaseRelationId));
	scan = systable_beginscan(table, SharedDescriptionObjIndexId, true, NULL, 2, keys);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum description = heap_getattr(tuple, Anum_pg_shdescription_description,
										 RelationGetDescr(table), &isnull);

		comment = TextDatumGetCString(description);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return comment;
}

static void
openapi_info(StringInfo out)
{
	openapi_member(out, "info", "{");
	openapi_member_text(out, "title", get_database_name(MyDatabaseId));
	openapi_member_text(out, "description", openapi_database_comment());
	openapi_member_text(out, "version", NOTIFYD_VERSION);
	openapi_end(out, "}");
}

static void
openapi_tag(StringInfo out, const char *name, const char *description)
{
	openapi_json(out, "{");
	openapi_member_text(out, "name", name);
	openapi_member_text(out, "description", description);
	openapi_end(out, "}");
}

static void
openapi_tags(StringInfo out, const List *tables)
{
	ListCell *cell;

	openapi_member(out, "tags", "[");
	foreach (cell, tables)
	{
		const OpenapiTable *table = lfirst(cell);

		openapi_tag(out, table->exposure->name, table->description);
	}
	openapi_end(out, "]");
}

/* Without a token, clients are anonymous. */
static void
openapi_access(StringInfo out, bool anonymous)
{
	openapi_member(out, "security", "[");
	if (anonymous)
		openapi_json(out, "{}");
	openapi_json(out, "{\"bearer\":[]},{\"access_token\":[]}]");
}

static void
openapi_check_size(const Openapi *api)
{
	if (api->out->len > notifyd_max_response_size)
		query_refuse(WIRE_QUERY_TOO_LARGE, ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL,
					 "the description is larger than pg_notifyd.max_response_size");
}

static void
openapi_paths(Openapi *api, const List *tables)
{
	ListCell *cell;

	openapi_member(api->out, "paths", "{");
	foreach (cell, tables)
	{
		openapi_table_paths(api, lfirst(cell));
		openapi_check_size(api);
	}
	foreach (cell, openapi_functions())
	{
		openapi_function_path(api, lfirst(cell));
		openapi_check_size(api);
	}
	openapi_send_paths(api);
	openapi_group_paths(api);
	openapi_check_size(api);
	openapi_end(api->out, "}");
}

static void
openapi_components(Openapi *api, const List *tables)
{
	ListCell *cell;

	openapi_member(api->out, "components", "{");
	openapi_member(api->out, "schemas", "{");
	foreach (cell, tables)
		openapi_table_schema(api, lfirst(cell));
	openapi_composites(api);
	openapi_end(api->out, "}");
	openapi_parameter_components(api);
	openapi_member(api->out, "responses", openapi_responses);
	openapi_member(api->out, "headers", openapi_headers);
	openapi_member(api->out, "securitySchemes", openapi_security);
	openapi_end(api->out, "}");
}

/* ---------------- the request ---------------- */

/* Return true if the client has named the database. It has to do so in other requests, too. */
static bool
openapi_names_database(const ClientQuery *query)
{
	char *rest = pnstrdup(query->wire.query.data, query->wire.query.len);
	char *part;

	while ((part = strsep(&rest, "&")) != NULL)
	{
		if (strncmp(part, "database=", strlen("database=")) == 0)
			return true;
	}
	return false;
}

void
openapi_query(ClientQuery *query)
{
	Openapi api = {.out = &query->body, .named = openapi_names_database(query)};
	List *tables = openapi_tables();
	ListCell *cell;

	foreach (cell, tables)
		api.names = lappend(api.names, ((const OpenapiTable *) lfirst(cell))->exposure->name);
	openapi_json(api.out, "{\"openapi\":\"3.1.0\",\"servers\":[{\"url\":\".\"}]");
	openapi_info(api.out);
	openapi_access(api.out, query->wire.token.len == 0);
	openapi_tags(api.out, tables);
	openapi_paths(&api, tables);
	openapi_components(&api, tables);
	openapi_end(api.out, "}");
	openapi_check_size(&api);
	query->status = 200;
	rest_tag(query);
}
