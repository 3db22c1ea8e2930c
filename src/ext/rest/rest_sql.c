/*-------------------------------------------------------------------------
 *
 * rest_sql.c
 *	  The statement of a request, and its plan.
 *
 * Values are parameters, and each is cast to its type, so a statement's text says all that its plan depends on, and
 * plans can be kept by it. A filter's values are in the text; such plans are not kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "ext/base/settings.h"
#include "ext/rest/rest_internal.h"

#define REST_MAX_PLANS 256 /* with one more, all are forgotten */

typedef struct RestPlan
{
	uint64 hash; /* of the text; the key */
	char *text;
	SPIPlanPtr plan;
} RestPlan;

/* A statement that is being written. */
typedef struct RestSql
{
	const RestStatement *statement;
	StringInfoData text;
	int n; /* of its parameters */
	Oid *types;
	ParamListInfo params;
	bool filtered;
} RestSql;

static HTAB *rest_plans;

/* ---------------- pieces ---------------- */

/* Append the next parameter. */
static void
rest_add_parameter(RestSql *sql, Oid type, const RestValue *value)
{
	sql->params->params[sql->n] =
		(ParamExternData){.value = value->value, .isnull = value->isnull, .ptype = type};
	sql->types[sql->n++] = type;
	appendStringInfo(&sql->text, "$%d", sql->n);
}

static void
rest_add_value(RestSql *sql, const RestColumn *column, const RestValue *value)
{
	char *type = format_type_extended(column->type, -1,
									  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

	rest_add_parameter(sql, column->type, value);
	appendStringInfo(&sql->text, "::%s", type);
}

static void
rest_add_column(RestSql *sql, int i)
{
	appendStringInfoString(&sql->text, quote_identifier(sql->statement->table->columns[i].name));
}

/* The columns that the client gets: those that it names, or else those that it may read. */
static void
rest_add_list(RestSql *sql)
{
	const RestTable *table = sql->statement->table;
	const RestParameters *parameters = sql->statement->parameters;
	const char *separator = " t.";
	Oid role = GetUserId();
	bool all;

	for (int i = 0; i < parameters->nselect; i++)
	{
		appendStringInfoString(&sql->text, separator);
		rest_add_column(sql, parameters->select[i]);
		separator = ", t.";
	}
	if (parameters->nselect > 0)
		return;
	/* If it may read none, PostgreSQL says so. */
	all = pg_class_aclcheck(table->relation, role, ACL_SELECT) == ACLCHECK_OK ||
		  pg_attribute_aclcheck_all(table->relation, role, ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK;
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!all && pg_attribute_aclcheck(table->relation, table->columns[i].number, role,
										  ACL_SELECT) != ACLCHECK_OK)
			continue;
		appendStringInfoString(&sql->text, separator);
		rest_add_column(sql, i);
		separator = ", t.";
	}
}

static void
rest_add_condition(RestSql *sql, const char *word, int i, const RestValue *value)
{
	const RestColumn *column = &sql->statement->table->columns[i];

	appendStringInfo(&sql->text, " %s t.", word);
	rest_add_column(sql, i);
	query_append_operator(&sql->text, lookup_type_cache(column->type, TYPECACHE_EQ_OPR)->eq_opr);
	rest_add_value(sql, column, value);
}

/* Append the conditions of the path and the filter. A key in the body must be that of the path. */
static void
rest_add_where(RestSql *sql)
{
	const RestStatement *statement = sql->statement;
	const RestTable *table = statement->table;
	const char *word = "WHERE";

	for (int i = 0; statement->key != NULL && i < table->nkey; i++)
	{
		int column = table->key[i];

		rest_add_condition(sql, word, column, &statement->key[i]);
		word = "AND";
		if (statement->values != NULL && statement->values[column].given)
			rest_add_condition(sql, word, column, &statement->values[column]);
	}
	if (statement->parameters->filter.len > 0)
	{
		char *filter =
			query_filter((WireBytes){.data = statement->parameters->filter.data,
									 .len = (uint32_t) statement->parameters->filter.len},
						 table->relation, table->attributes, true);

		appendStringInfo(&sql->text, " %s (%s)", word, filter);
		sql->filtered = true;
	}
}

static void
rest_add_order(RestSql *sql)
{
	const RestTable *table = sql->statement->table;
	const RestParameters *parameters = sql->statement->parameters;
	RestValue limit = {.value = Int64GetDatum(parameters->limit)};
	RestValue offset = {.value = Int64GetDatum(parameters->offset)};
	const char *separator = " ORDER BY t.";

	if (parameters->order != NULL)
		appendStringInfo(&sql->text, " ORDER BY %s",
						 order_sql(parameters->order, table->relation, table->attributes));
	else
	{
		for (int i = 0; i < table->nkey; i++)
		{
			appendStringInfoString(&sql->text, separator);
			rest_add_column(sql, table->key[i]);
			separator = ", t.";
		}
	}
	appendStringInfoString(&sql->text, " LIMIT ");
	rest_add_parameter(sql, INT8OID, &limit);
	appendStringInfoString(&sql->text, " OFFSET ");
	rest_add_parameter(sql, INT8OID, &offset);
}

/* ---------------- statements ---------------- */

static void
rest_write_select(RestSql *sql)
{
	appendStringInfoString(&sql->text, "SELECT");
	rest_add_list(sql);
	appendStringInfo(&sql->text, " FROM %s AS t", sql->statement->table->name);
	rest_add_where(sql);
	if (sql->statement->key == NULL)
		rest_add_order(sql);
}

static void
rest_write_insert(RestSql *sql)
{
	const RestStatement *statement = sql->statement;
	const RestTable *table = statement->table;
	const char *separator = " (";

	appendStringInfo(&sql->text, "INSERT INTO %s AS t", table->name);
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!statement->values[i].given)
			continue;
		appendStringInfoString(&sql->text, separator);
		rest_add_column(sql, i);
		separator = ", ";
	}
	if (strcmp(separator, " (") == 0)
	{
		appendStringInfoString(&sql->text, " DEFAULT VALUES");
		return;
	}
	separator = ") VALUES (";
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!statement->values[i].given)
			continue;
		appendStringInfoString(&sql->text, separator);
		rest_add_value(sql, &table->columns[i], &statement->values[i]);
		separator = ", ";
	}
	appendStringInfoChar(&sql->text, ')');
}

/* PUT gives the columns that are not in the body their defaults. Returns false if there is nothing to set. */
static bool
rest_write_update(RestSql *sql)
{
	const RestStatement *statement = sql->statement;
	const RestTable *table = statement->table;
	const char *separator = " SET ";

	appendStringInfo(&sql->text, "UPDATE %s AS t", table->name);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const RestColumn *column = &table->columns[i];
		bool given = statement->values[i].given;

		if (column->key || column->generated || (!given && statement->method == REST_PATCH))
			continue;
		appendStringInfoString(&sql->text, separator);
		rest_add_column(sql, i);
		appendStringInfoString(&sql->text, " = ");
		if (given)
			rest_add_value(sql, column, &statement->values[i]);
		else
			appendStringInfoString(&sql->text, "DEFAULT");
		separator = ", ";
	}
	if (strcmp(separator, " SET ") == 0)
		return false;
	rest_add_where(sql);
	return true;
}

static void
rest_write(RestSql *sql)
{
	const RestStatement *statement = sql->statement;

	switch (statement->method)
	{
		case REST_GET:
			rest_write_select(sql);
			return;
		case REST_POST:
			rest_write_insert(sql);
			break;
		case REST_PUT:
		case REST_PATCH:
			if (rest_write_update(sql))
				break;
			resetStringInfo(&sql->text);
			rest_write_select(sql);
			return;
		case REST_DELETE:
			appendStringInfo(&sql->text, "DELETE FROM %s AS t", statement->table->name);
			rest_add_where(sql);
			break;
	}
	if (statement->rows)
	{
		appendStringInfoString(&sql->text, " RETURNING");
		rest_add_list(sql);
	}
}

/* ---------------- plans ---------------- */

static void
rest_forget_plans(void)
{
	HASH_SEQ_STATUS status;
	RestPlan *plan;

	hash_seq_init(&status, rest_plans);
	while ((plan = hash_seq_search(&status)) != NULL)
	{
		SPI_freeplan(plan->plan);
		pfree(plan->text);
	}
	hash_destroy(rest_plans);
	rest_plans = NULL;
}

static SPIPlanPtr
rest_prepare(const RestSql *sql)
{
	SPIPlanPtr plan = SPI_prepare(sql->text.data, sql->n, sql->types);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

/* Return the plan. Between SPI_connect() and SPI_finish(). */
static SPIPlanPtr
rest_plan(const RestSql *sql)
{
	HASHCTL plans = {.keysize = sizeof(uint64), .entrysize = sizeof(RestPlan)};
	uint64 hash =
		DatumGetUInt64(hash_any_extended((unsigned char *) sql->text.data, sql->text.len, 0));
	SPIPlanPtr plan;
	RestPlan *known;
	char *text;

	if (sql->filtered)
		return rest_prepare(sql);
	if (rest_plans != NULL && hash_get_num_entries(rest_plans) >= REST_MAX_PLANS)
		rest_forget_plans();
	if (rest_plans == NULL)
		rest_plans = hash_create("pg_notifyd REST plans", 64, &plans, HASH_ELEM | HASH_BLOBS);
	known = hash_search(rest_plans, &hash, HASH_FIND, NULL);
	if (known != NULL)
		return strcmp(known->text, sql->text.data) == 0 ? known->plan : rest_prepare(sql);
	plan = rest_prepare(sql);
	text = MemoryContextStrdup(TopMemoryContext, sql->text.data);
	known = hash_search(rest_plans, &hash, HASH_ENTER, NULL);
	known->text = text;
	known->plan = plan;
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	return plan;
}

uint64
rest_execute(const RestStatement *statement)
{
	int max = 2 * statement->table->ncolumns + statement->table->nkey + 2;
	RestSql sql = {.statement = statement};
	SPIExecuteOptions options = {0};
	uint64 count;
	uint64 processed;
	int result;

	initStringInfo(&sql.text);
	sql.types = palloc(sizeof(Oid) * max);
	sql.params = makeParamList(max);
	rest_write(&sql);
	sql.params->numParams = sql.n;
	options.params = sql.params;
	options.read_only = statement->method == REST_GET;
	options.dest = rows_receiver(ROWS_OBJECTS, &statement->query->body,
								 (Size) notifyd_max_response_size, &count);
	if (statement->location != NULL)
		options.dest = rest_location(options.dest, statement->table, statement->location);
	SPI_connect();
	result = SPI_execute_plan_extended(rest_plan(&sql), &options);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
	processed = SPI_processed;
	SPI_finish();
	return processed;
}
