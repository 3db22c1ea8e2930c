/*-------------------------------------------------------------------------
 *
 * rest_internal.h
 *	  Declarations shared by the files of ext/rest.
 *
 *	  rest.c			a request: its path, its method, its answer
 *	  rest_parameters.c	the query string
 *	  rest_table.c		exposed tables: their columns and keys
 *	  rest_value.c		values from the path and from the body, and what is wrong with them
 *	  rest_sql.c		the statement, and its plan
 *	  rest_location.c	the path of a new row
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_REST_INTERNAL_H
#define PG_NOTIFYD_REST_INTERNAL_H

#include "ext/expose/expose.h"
#include "ext/query/query.h"
#include "ext/rest/rest.h"

typedef enum RestMethod
{
	REST_GET, /* and HEAD */
	REST_POST,
	REST_PUT,
	REST_PATCH,
	REST_DELETE,
} RestMethod;

/* ---------------- tables (rest_table.c) ---------------- */

typedef struct RestColumn
{
	char *name;
	AttrNumber number;
	Oid type;
	int32 typmod;
	bool not_null;
	bool has_default;
	bool generated; /* from other columns, so it has no value of its own */
	bool key;
} RestColumn;

typedef struct RestTable
{
	Oid relation;
	char *name;  /* for SQL */
	char *label; /* what a row is called */
	int ncolumns;
	RestColumn *columns;
	int nkey;
	int *key;              /* numbers in columns, from 0 on */
	Bitmapset *attributes; /* of all columns, minus FirstLowInvalidHeapAttributeNumber */
} RestTable;

/*
 * Return the table with this path, locked with AccessShareLock, or NULL if there is none. The result is valid
 * in this transaction.
 */
extern const RestTable *rest_table(const char *name);

/* The number of the column with this name, or -1. */
extern int rest_column(const RestTable *table, const char *name);

/* ---------------- the query string (rest_parameters.c) ---------------- */

typedef struct RestParameters
{
	int nselect; /* 0: not given */
	int *select; /* numbers of columns */
	char *order; /* NULL: by the key */
	int64 limit;
	int64 offset;
	StringInfoData filter; /* what is left: conditions, as filter_parse() reads them */
} RestParameters;

/* Read the query string. What is wrong is added to problems. */
extern void rest_parameters(WireBytes text, const RestTable *table, RestParameters *parameters,
							StringInfo problems);

/* Decode %XX, UTF-8. Returns text in the server's encoding, or NULL if it is malformed. */
extern char *rest_decode(const char *text, size_t length);

/* ---------------- values (rest_value.c) ---------------- */

/* A value that the statement has as a parameter. */
typedef struct RestValue
{
	bool given;
	bool isnull;
	Datum value;
} RestValue;

/*
 * Append to a list of problems as FastAPI reports them: {"loc": [where, name], "msg", "type"}. name: NULL for none.
 * All texts are in the server's encoding.
 */
extern void rest_problem(StringInfo problems, const char *where, const char *name,
						 const char *message, const char *type);

/* The same for a value that is beyond a limit. */
extern void rest_problem_limit(StringInfo problems, const char *where, const char *name,
							   const char *message, const char *type, int limit);

/* Read a key's value from the path. */
extern void
rest_read_key(const RestColumn *column, char *text, RestValue *value, StringInfo problems);

/*
 * Read the body, an object. values has an element for each column. Unless the method is PATCH, those without a default
 * must be there.
 */
extern void rest_read_body(const RestTable *table, WireBytes body, RestMethod method,
						   RestValue *values, StringInfo problems);

/* ---------------- statements (rest_sql.c) ---------------- */

typedef struct RestStatement
{
	ClientQuery *query;
	const RestTable *table;
	RestMethod method;
	const RestParameters *parameters;
	const RestValue *key;    /* an element for each of table->key; NULL: all rows */
	const RestValue *values; /* an element for each column; not for GET and DELETE */
	bool rows;               /* the client gets rows */
	StringInfo
		location; /* gets the key of a new row as a path, such as "1/", if the client gets it; NULL: none */
} RestStatement;

/* Execute the statement. Appends rows to the query's body, without brackets. Returns their number. */
extern uint64 rest_execute(const RestStatement *statement);

/* ---------------- new rows (rest_location.c) ---------------- */

/* A receiver that passes rows on to another one, and appends the key to a path if the row has it. */
extern DestReceiver *rest_location(DestReceiver *rows, const RestTable *table, StringInfo key);

#endif /* PG_NOTIFYD_REST_INTERNAL_H */
