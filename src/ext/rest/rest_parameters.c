/*-------------------------------------------------------------------------
 *
 * rest_parameters.c
 *	  The query string: which rows and columns, in which order.
 *
 * What is not one of the names below is a condition of the filter, whose grammar is that of subscriptions. A
 * column that has one of these names can be written in quotes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "ext/rest/rest_internal.h"

char *
rest_decode(const char *text, size_t length)
{
	char *bytes = palloc(length + 1);
	size_t used = 0;

	for (size_t i = 0; i < length; i++)
	{
		bytes[used] = text[i];
		if (text[i] == '%')
		{
			if (length - i < 3 || !isxdigit((unsigned char) text[i + 1]) ||
				!isxdigit((unsigned char) text[i + 2]))
				return NULL;
			(void) hex_decode(text + i + 1, 2, bytes + used);
			i += 2;
		}
		if (bytes[used++] == '\0')
			return NULL;
	}
	if (pg_encoding_verifymbstr(PG_UTF8, bytes, (int) used) != (int) used)
		return NULL;
	return query_text((WireBytes){.data = bytes, .len = (uint32_t) used});
}

static void
rest_read_select(char *list, const RestTable *table, RestParameters *parameters)
{
	char *rest = list;
	char *name;

	parameters->select = palloc(sizeof(int) * (strlen(list) + 1));
	while ((name = strsep(&rest, ",")) != NULL)
	{
		int column = rest_column(table, name);

		if (column < 0)
			query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_UNDEFINED_COLUMN, "select",
						 "column \"%s\" does not exist", name);
		parameters->select[parameters->nselect++] = column;
	}
}

static void
rest_read_number(const char *name, const char *text, int64 *number, StringInfo problems)
{
	if (text[0] == '-' && text[1] != '\0' && strspn(text + 1, "0123456789") == strlen(text + 1))
		rest_problem_limit(problems, "query", name,
						   "ensure this value is greater than or equal to 0",
						   "value_error.number.not_ge", 0);
	else if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
		rest_problem(problems, "query", name, "value is not a valid integer", "type_error.integer");
	else
		*number = strtoll(text, NULL, 10);
}

/* Read one parameter. Returns false if it is a condition. */
static bool
rest_read_parameter(const char *name, char *value, const RestTable *table,
					RestParameters *parameters, StringInfo problems)
{
	if (strcmp(name, "limit") == 0 || strcmp(name, "take") == 0)
		rest_read_number(name, value, &parameters->limit, problems);
	else if (strcmp(name, "offset") == 0 || strcmp(name, "skip") == 0)
		rest_read_number(name, value, &parameters->offset, problems);
	else if (strcmp(name, "order") == 0)
		parameters->order = value;
	else if (strcmp(name, "select") == 0)
		rest_read_select(value, table, parameters);
	else
		return strcmp(name, "access_token") == 0 || strcmp(name, "database") == 0;
	return true;
}

void
rest_parameters(WireBytes text, const RestTable *table, RestParameters *parameters,
				StringInfo problems)
{
	char *rest = pnstrdup(text.data, text.len);
	char *part;

	memset(parameters, 0, sizeof(*parameters));
	parameters->limit = REST_DEFAULT_LIMIT;
	initStringInfo(&parameters->filter);
	/* As URLSearchParams and forms write it. A plus sign itself is %2B. */
	for (char *p = rest; *p != '\0'; p++)
		*p = *p == '+' ? ' ' : *p;
	while ((part = strsep(&rest, "&")) != NULL)
	{
		size_t length = strcspn(part, "=");
		char *name = rest_decode(part, length);
		char *value = rest_decode(part + length, strlen(part + length));

		if (part[0] == '\0')
			continue;
		if (name == NULL || value == NULL)
			query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "query",
						 "invalid percent-encoding in the query string");
		if (rest_read_parameter(name, value[0] == '=' ? value + 1 : value, table, parameters,
								problems))
			continue;
		appendStringInfo(&parameters->filter, "%s%s", parameters->filter.len > 0 ? "&" : "", part);
	}
}
