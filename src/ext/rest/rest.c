/*-------------------------------------------------------------------------
 *
 * rest.c
 *	  A request for rows of an exposed table: its path, its method, its answer.
 *
 *	  GET     /PATH/		rows		POST    /PATH/		inserts a row
 *	  GET     /PATH/KEY/	a row		PUT     /PATH/KEY/	replaces it
 *	  DELETE  /PATH/KEY/	deletes it	PATCH   /PATH/KEY/	changes some columns
 *
 * HEAD is as GET. A key of several columns has a segment for each. Bodies and statuses are those of applications that
 * are made with FastAPI.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "ext/base/digest.h"
#include "ext/base/utf8.h"
#include "ext/rest/rest_internal.h"

#define REST_COLLECTION "GET, HEAD, POST, OPTIONS"
#define REST_ROW        "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"

/* Maximum bytes of a path and query string that are redirected: a header has room for no more. */
#define REST_MAX_REDIRECT 2048

/* A request that is being processed. */
typedef struct RestRequest
{
	ClientQuery *query;
	RestMethod method;
	const RestTable *table;
	List *segments; /* of the path after the first one, decoded */
	RestValue *key; /* NULL: the request is for all rows */
	RestValue *values;
	RestParameters parameters;
	bool minimal; /* the client wants no row as the answer to a write */
	StringInfoData location;
} RestRequest;

/* ---------------- answers ---------------- */

static void
rest_answer(ClientQuery *query, uint16 status, const char *body)
{
	query->status = status;
	resetStringInfo(&query->body);
	appendStringInfoString(&query->body, body);
}

static void
rest_not_found(ClientQuery *query)
{
	rest_answer(query, 404, "{\"detail\":\"Not Found\"}");
}

/* Return true if the list that is a header's value has this element. */
static bool
rest_list_has(WireBytes list, const char *element)
{
	char *rest = pnstrdup(list.data, list.len);
	char *part;

	while ((part = strsep(&rest, ",")) != NULL)
	{
		size_t length;

		part += strspn(part, " \t");
		part += strncmp(part, "W/", 2) == 0 ? 2 : 0;
		for (length = strlen(part); length > 0 && strchr(" \t", part[length - 1]) != NULL; length--)
			;
		if (length == strlen(element) && memcmp(part, element, length) == 0)
			return true;
	}
	return false;
}

/* Return true if a header of the request, which may be there several times, has this element. */
static bool
rest_header_has(const ClientQuery *query, const char *wanted, const char *element)
{
	WireBytes headers = query->wire.headers;
	WireBytes name;
	WireBytes value;

	while (wire_list_next(&headers, &name) && wire_list_next(&headers, &value))
	{
		if (name.len == strlen(wanted) && memcmp(name.data, wanted, name.len) == 0 &&
			rest_list_has(value, element))
			return true;
	}
	return false;
}

void
rest_tag(ClientQuery *query)
{
	uint8 hash[DIGEST_SIZE];
	char tag[2 * 16 + 3] = "\"";

	digest_sha256(query->body.data, query->body.len, hash);
	(void) hex_encode((const char *) hash, 16, tag + 1);
	tag[sizeof(tag) - 2] = '"';
	tag[sizeof(tag) - 1] = '\0';
	query_header(query, "ETag", tag);
	if (rest_header_has(query, "if-none-match", tag) ||
		rest_header_has(query, "if-none-match", "*"))
		rest_answer(query, 304, "");
}

/* As in "Note with id: 2 deleted successfully!". */
static void
rest_answer_deleted(RestRequest *request)
{
	const RestTable *table = request->table;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, table->label);
	for (int i = 0; i < table->nkey; i++)
	{
		const RestColumn *column = &table->columns[table->key[i]];
		bool varlena;
		Oid output;

		getTypeOutputInfo(column->type, &output, &varlena);
		appendStringInfo(&text, "%s %s: %s", i == 0 ? " with" : ",", column->name,
						 OidOutputFunctionCall(output, request->key[i].value));
	}
	appendStringInfoString(&text, " deleted successfully!");
	rest_answer(request->query, 200, "{\"message\":");
	utf8_append_json_string(&request->query->body, text.data, text.len);
	appendStringInfoChar(&request->query->body, '}');
}

/* ---------------- the path ---------------- */

/* The path has no slash at its end. */
static void
rest_redirect(ClientQuery *query)
{
	WireBytes path = query->wire.path;
	WireBytes more = query->wire.query;

	if (path.len + more.len > REST_MAX_REDIRECT)
	{
		rest_answer(query, 414, "{\"detail\":\"URI Too Long\"}");
		return;
	}
	rest_answer(query, 307, "");
	query_header(query, "Location",
				 psprintf("%.*s/%s%.*s", (int) path.len, path.data, more.len > 0 ? "?" : "",
						  (int) more.len, more.len > 0 ? more.data : ""));
}

/* Find the table, and take the path apart. Returns false if the request is answered. */
static bool
rest_find(RestRequest *request)
{
	ClientQuery *query = request->query;
	char *path = pnstrdup(query->wire.path.data, query->wire.path.len);
	char *rest = path + 1;
	char *first = strsep(&rest, "/");

	request->table = rest_table(first);
	if (request->table == NULL)
	{
		rest_not_found(query);
		return false;
	}
	while (rest != NULL && rest[0] != '\0')
	{
		char *segment = strsep(&rest, "/");

		request->segments = lappend(request->segments, rest_decode(segment, strlen(segment)));
	}
	if (request->segments != NIL && list_length(request->segments) != request->table->nkey)
	{
		rest_not_found(query);
		return false;
	}
	if (query->wire.path.data[query->wire.path.len - 1] != '/')
	{
		rest_redirect(query);
		return false;
	}
	return true;
}

static bool
rest_find_method(RestRequest *request)
{
	static const struct
	{
		const char *name;
		RestMethod method;
		bool collection;
		bool row;
	} methods[] = {
		{"GET", REST_GET, true, true},      {"HEAD", REST_GET, true, true},
		{"POST", REST_POST, true, false},   {"PUT", REST_PUT, false, true},
		{"PATCH", REST_PATCH, false, true}, {"DELETE", REST_DELETE, false, true},
	};
	char *name = query_text(request->query->wire.method);
	bool row = request->segments != NIL;

	for (int i = 0; i < (int) lengthof(methods); i++)
	{
		if (strcmp(methods[i].name, name) != 0 || !(row ? methods[i].row : methods[i].collection))
			continue;
		request->method = methods[i].method;
		return true;
	}
	rest_answer(request->query, 405, "{\"detail\":\"Method Not Allowed\"}");
	query_header(request->query, "Allow", row ? REST_ROW : REST_COLLECTION);
	return false;
}

/* ---------------- the request ---------------- */

/* Read the key, the query string and the body. Returns false if something is wrong, and the request is answered. */
static bool
rest_read(RestRequest *request)
{
	ClientQuery *query = request->query;
	const RestTable *table = request->table;
	StringInfoData problems;

	initStringInfo(&problems);
	if (request->segments != NIL)
		request->key = palloc0(sizeof(RestValue) * table->nkey);
	for (int i = 0; request->key != NULL && i < table->nkey; i++)
	{
		char *text = list_nth(request->segments, i);

		if (text == NULL)
		{
			rest_not_found(query);
			return false;
		}
		rest_read_key(&table->columns[table->key[i]], text, &request->key[i], &problems);
	}
	rest_parameters(query->wire.query, table, &request->parameters, &problems);
	if (request->method != REST_GET && request->method != REST_DELETE)
	{
		request->values = palloc0(sizeof(RestValue) * (table->ncolumns + 1));
		rest_read_body(table, query->wire.body, request->method, request->values, &problems);
	}
	if (problems.len == 0)
		return true;
	rest_answer(query, 422, "{\"detail\":[");
	appendBinaryStringInfo(&query->body, problems.data, problems.len);
	appendStringInfoString(&query->body, "]}");
	return false;
}

static void
rest_finish(RestRequest *request, uint64 count)
{
	ClientQuery *query = request->query;

	if (request->key != NULL && count == 0)
		rest_not_found(query);
	else if (request->key != NULL && count > 1)
		query_refuse(WIRE_QUERY_SQL_ERROR, ERRCODE_CARDINALITY_VIOLATION, NULL,
					 "several rows have this key, in tables that inherit from \"%s\"",
					 request->table->name);
	else if (request->method == REST_POST && count == 0)
		rest_answer(query, 200, "null"); /* a trigger has kept the row out */
	else if (request->method == REST_GET)
		rest_tag(query);
	else if (request->minimal)
	{
		query->status = request->method == REST_POST ? 201 : 204;
		query_header(query, "Preference-Applied", "return=minimal");
	}
	else if (request->method == REST_DELETE)
		rest_answer_deleted(request);
	else if (request->method == REST_POST)
	{
		query->status = 201;
		if (request->location.len > 0)
			query_header(query, "Location",
						 psprintf("%.*s%s", (int) query->wire.path.len, query->wire.path.data,
								  request->location.data));
	}
}

void
rest_query(ClientQuery *query)
{
	RestRequest request = {.query = query};
	RestStatement statement = {.query = query};
	uint64 count;
	bool list;

	if (query->wire.path.len == 0 || query->wire.path.data[0] != '/')
	{
		rest_not_found(query);
		return;
	}
	if (!rest_find(&request) || !rest_find_method(&request) || !rest_read(&request))
		return;
	query->status = 200;
	request.minimal = rest_header_has(query, "prefer", "return=minimal");
	list = request.method == REST_GET && request.key == NULL;
	statement.table = request.table;
	statement.method = request.method;
	statement.parameters = &request.parameters;
	statement.key = request.key;
	statement.values = request.values;
	statement.rows = !request.minimal && request.method != REST_DELETE;
	initStringInfo(&request.location);
	statement.location = request.method == REST_POST ? &request.location : NULL;
	if (list)
		appendStringInfoChar(&query->body, '[');
	count = rest_execute(&statement);
	if (list)
		appendStringInfoChar(&query->body, ']');
	rest_finish(&request, count);
}
