/*-------------------------------------------------------------------------
 *
 * query_order.c
 *	  The order of rows, as PostgREST's parameter "order" has it.
 *
 *	  order  = term *("," term)
 *	  term   = column *(("->" / "->>") key) [".asc" / ".desc"] [".nullsfirst" / ".nullslast"]
 *
 * A column in double quotes may have any characters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "ext/query/query.h"

static void
order_refuse(const char *term)
{
	query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "order",
				 "invalid order \"%s\"", term);
}

/* Take a column's name, in quotes or not, from *text. */
static char *
order_take_name(const char **text)
{
	StringInfoData name;
	const char *at = *text;

	initStringInfo(&name);
	if (*at == '"')
	{
		for (at++; *at != '\0' && *at != '"'; at++)
		{
			if (*at == '\\' && at[1] != '\0')
				at++;
			appendStringInfoChar(&name, *at);
		}
		if (*at++ != '"')
			order_refuse(*text);
	}
	else
	{
		while (*at != '\0' && strchr(".,\"", *at) == NULL && strncmp(at, "->", 2) != 0)
			appendStringInfoChar(&name, *at++);
	}
	*text = at;
	return name.data;
}

/* Take steps into a JSON value from *text, and append them. */
static void
order_take_steps(StringInfo sql, const char **text)
{
	while (strncmp(*text, "->", 2) == 0)
	{
		bool as_text = (*text)[2] == '>';
		char *key;
		char *end;

		*text += as_text ? 3 : 2;
		key = order_take_name(text);
		if (key[0] == '\0')
			order_refuse(*text);
		appendStringInfoString(sql, as_text ? " OPERATOR(pg_catalog.->>) "
											: " OPERATOR(pg_catalog.->) ");
		(void) strtol(key, &end, 10);
		if (*end == '\0')
			appendStringInfo(sql, "(%s)::pg_catalog.int4", quote_literal_cstr(key));
		else
			appendStringInfo(sql, "%s::pg_catalog.text", quote_literal_cstr(key));
	}
}

static bool
order_take(const char **text, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(*text, word, length) != 0 ||
		((*text)[length] != '\0' && (*text)[length] != '.' && (*text)[length] != ','))
		return false;
	*text += length;
	return true;
}

static void
order_append_column(StringInfo sql, const char *name, Oid relation, const Bitmapset *columns,
					bool steps)
{
	AttrNumber attnum = get_attnum(relation, name);
	Oid type;

	if (attnum <= 0 || !bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, columns))
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_UNDEFINED_COLUMN, "order",
					 "column \"%s\" does not exist", name);
	type = get_atttype(relation, attnum);
	appendStringInfo(
		sql, steps && type != JSONOID && type != JSONBOID ? "pg_catalog.to_jsonb(t.%s)" : "t.%s",
		quote_identifier(name));
}

static void
order_append_term(StringInfo sql, const char **text, Oid relation, const Bitmapset *columns)
{
	const char *term = *text;
	char *name = order_take_name(text);

	if (name[0] == '\0')
		order_refuse(term);
	order_append_column(sql, name, relation, columns, strncmp(*text, "->", 2) == 0);
	order_take_steps(sql, text);
	if (order_take(text, ".desc"))
		appendStringInfoString(sql, " DESC");
	else
		(void) order_take(text, ".asc");
	if (order_take(text, ".nullsfirst"))
		appendStringInfoString(sql, " NULLS FIRST");
	else if (order_take(text, ".nullslast"))
		appendStringInfoString(sql, " NULLS LAST");
	if (**text != '\0' && **text != ',')
		order_refuse(term);
}

char *
order_sql(const char *order, Oid relation, const Bitmapset *columns)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (;;)
	{
		order_append_term(&sql, &order, relation, columns);
		if (*order == '\0')
			return sql.data;
		order++;
		appendStringInfoString(&sql, ", ");
	}
}
