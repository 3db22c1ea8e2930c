/*-------------------------------------------------------------------------
 *
 * json_read.h
 *	  Values from the JSON that json.h writes.
 *
 * Only for JSON that this library has written: it is valid, and in the server's encoding.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_JSON_READ_H
#define PG_NOTIFYD_JSON_READ_H

#include "postgres.h"

#include "fmgr.h"

#include "ext/json/json.h"

/* How to read values of a type. */
typedef struct JsonReader
{
	JsonType json;
	bool refused; /* the input function might run code of a user, or find another object */
	bool careful; /* the input function may fail */
	bool is_enum;
	FmgrInfo input;
	Oid input_argument;

	/* JSON_EXACT_IF_PLAIN: the array's elements */
	struct JsonReader *element;
	Oid element_type; /* as the array has it; a domain, perhaps */
	int16 element_length;
	bool element_by_value;
	char element_align;
} JsonReader;

/*
 * Find out how to read a type. What the reader needs is allocated in the current context. Composite types
 * that the answer depends on are added to *relations, as json_prepare() does it. Returns false, at
 * once, if another session has locked such a type: only now it cannot be found out.
 */
extern bool json_prepare_reader(JsonReader *reader, Oid type, List **relations);

/*
 * Read a value from what json_append() has written, or json_append_exact(). The result is allocated in
 * the current memory context. JSON's null is a value of json or jsonb here; callers that take it for
 * no value look for it first. Returns false if the value cannot be known: its JSON is inexact, an
 * object that it names does not exist any more, or its input function must not be called here. Runs no
 * code of users other than a superuser's.
 */
extern bool json_read(JsonReader *reader, const char *text, Size length, Datum *value);
extern bool json_read_exact(JsonReader *reader, const char *text, Size length, Datum *value);

/*
 * Read JSON of any origin as jsonb. Returns false if jsonb does not have such a value, for example if
 * a string has the character U+0000.
 */
extern bool json_read_jsonb(const char *text, Size length, Datum *value);

/* Return the end of the value that begins here: what follows it, or the end of the text. */
extern const char *json_value_end(const char *text, const char *end);

/* Whether the bytes are null, without spaces. */
static inline bool
json_is_null(const char *text, Size length)
{
	return length == 4 && memcmp(text, "null", 4) == 0;
}

#endif /* PG_NOTIFYD_JSON_READ_H */
