/*-------------------------------------------------------------------------
 *
 * openapi_internal.h
 *	  Declarations shared by the files of ext/openapi.
 *
 *	  openapi.c				the document
 *	  openapi_table.c		the tables that the role may use
 *	  openapi_table_paths.c	their paths
 *	  openapi_function.c	the functions that it may call
 *	  openapi_send.c		the channels to which it may publish
 *	  openapi_group.c		the consumer groups that it may take from
 *	  openapi_schema.c		types as JSON Schema
 *	  openapi_default.c		defaults of columns as JSON
 *	  openapi_write.c		JSON
 *
 * Each file uses only those below it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_OPENAPI_INTERNAL_H
#define PG_NOTIFYD_OPENAPI_INTERNAL_H

#include "access/attnum.h"
#include "lib/stringinfo.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

#include "ext/expose/expose.h"
#include "ext/openapi/openapi.h"

/* A document that is being written. */
typedef struct Openapi
{
	StringInfo out;
	bool named;       /* requests must name the database */
	List *names;      /* of schemas that are taken */
	List *composites; /* OpenapiComposite, those that were referred to */
} Openapi;

#define OPENAPI_CONTENT "\"content\":{\"application/json\":{\"schema\":"

/* ---------------- JSON (openapi_write.c) ---------------- */

/*
 * What follows adds commas where they are needed. Texts are in the server's encoding, and JSON is UTF-8. An object or
 * array may be begun by its first character as JSON; openapi_end() ends it.
 */

/* Write a value, which is JSON. */
extern void openapi_json(StringInfo out, const char *json);

/* Write a string. */
extern void openapi_text(StringInfo out, const char *text);

/* Write a member's name, which the value follows. */
extern void openapi_name(StringInfo out, const char *name);

/* Write a member whose value is JSON, or a string. With NULL, there is none. */
extern void openapi_member(StringInfo out, const char *name, const char *json);
extern void openapi_member_text(StringInfo out, const char *name, const char *text);

extern void openapi_end(StringInfo out, const char *brackets);

/* ---------------- responses and parameters (openapi_write.c) ---------------- */

/* Begin a response. header: a component, or NULL. Its schema follows, and openapi_end(out, "}}}"). */
extern void openapi_begin_response(StringInfo out, const char *status, const char *description,
								   const char *header);

/* Write a response without a body. */
extern void openapi_empty_response(StringInfo out, const char *status, const char *description);

/* Write references to the response of errors, for each of these statuses, separated by spaces, and for others. */
extern void openapi_errors(StringInfo out, const char *statuses);

/* Begin a parameter. Its schema follows, and openapi_end(out, "}"). */
extern void openapi_begin_parameter(StringInfo out, const char *name, const char *in, bool required,
									const char *description);

/* Return a path that ends in a name, whose other characters are encoded. */
extern char *openapi_path(const char *prefix, const char *name);

/* Begin the object of a path. Parameters that all operations have may follow, and then openapi_end(out, "]"). */
extern void openapi_begin_path(const Openapi *api, const char *path);

/* Begin an operation. verb and object make a name for it. */
extern void openapi_begin_operation(StringInfo out, const char *method, const char *verb,
									const char *object, const char *tag, const char *summary);

/* ---------------- defaults (openapi_default.c) ---------------- */

/* Return the constant that a default is, as JSON, or NULL if it is none. */
extern char *openapi_default(Node *expression);

/* ---------------- types (openapi_schema.c) ---------------- */

/* A value that a schema describes. */
typedef struct OpenapiValue
{
	Oid type;
	int32 typmod;
	int dimensions; /* of an array, as it was declared */
	bool nullable;
	bool text; /* it is in the path or query string */
	bool read_only;
	char *description;  /* NULL: none */
	char *default_json; /* NULL: none */
} OpenapiValue;

extern void openapi_schema(Openapi *api, const OpenapiValue *value);

/*
 * Write the schema of messages with the fields of a composite type. Unlike the schema that it refers
 * to, it requires all of them.
 */
extern void openapi_message_schema(Openapi *api, Oid type);

/* Write the composite types that schemas have referred to. */
extern void openapi_composites(Openapi *api);

/* ---------------- tables (openapi_table.c) ---------------- */

typedef struct OpenapiColumn
{
	char *name;
	AttrNumber attnum;
	OpenapiValue value;
	bool not_null;
	bool has_default;
	bool generated;
	bool key;
	bool readable;
	bool insertable; /* with a value */
	bool updatable;  /* with a value or DEFAULT */
	bool assignable; /* with a value */
} OpenapiColumn;

typedef struct OpenapiTable
{
	const Exposure *exposure;
	char *description; /* NULL: none */
	int ncolumns;
	OpenapiColumn *columns;
	int nkey;
	OpenapiColumn **key;
	bool triggered; /* triggers may keep rows out */
	/* What the role may do. */
	bool may_read; /* some columns */
	bool may_find; /* rows by their key */
	bool may_insert;
	bool may_replace;
	bool may_change;
	bool may_delete;
} OpenapiTable;

/* Return the exposed tables that the role may use, as OpenapiTables. */
extern List *openapi_tables(void);

/* The paths of a table, and the schema of its rows (openapi_table_paths.c). */
extern void openapi_table_paths(Openapi *api, const OpenapiTable *table);
extern void openapi_table_schema(Openapi *api, const OpenapiTable *table);

/* ---------------- functions (openapi_function.c) ---------------- */

/* Return the exposed functions that the role may call, as CallFunctions. */
extern List *openapi_functions(void);

extern void openapi_function_path(Openapi *api, const CallFunction *function);

/* ---------------- consumer groups (openapi_group.c) ---------------- */

/* The paths of the consumer groups that the role may take from, which are the same for all of them. */
extern void openapi_group_paths(Openapi *api);

/* ---------------- channels (openapi_send.c) ---------------- */

/* Write the paths of the channels that the role may publish to. */
extern void openapi_send_paths(Openapi *api);

#endif /* PG_NOTIFYD_OPENAPI_INTERNAL_H */
