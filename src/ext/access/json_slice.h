/*-------------------------------------------------------------------------
 *
 * json_slice.h
 *	  Reading JSON text in place: values are parts of the text.
 *
 * PostgreSQL's JSON functions raise errors, need a database's encoding, and keep the last of two
 * members of the same name. Tokens and key files are read before anybody is trusted, key files also
 * in the postmaster. This needs libc only, allocates nothing, and reports what is wrong by its
 * result.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_JSON_SLICE_H
#define PG_NOTIFYD_JSON_SLICE_H

#include <stdbool.h>
#include <stddef.h>

/* Arrays and objects may be nested this deep. */
#define SLICE_MAX_DEPTH 32

/*
 * Larger exponents of numbers, and smaller than minus this, are refused (RFC 8259, section 6): in
 * PostgreSQL, 1e131071 would have a text of 131072 digits.
 */
#define SLICE_MAX_EXPONENT 308

/* The longest name of a member that can be looked up, in bytes. */
#define SLICE_MAX_NAME 255

/* A JSON value, without spaces around it. The text belongs to the caller. */
typedef struct JsonSlice
{
	const char *text;
	size_t length;
} JsonSlice;

typedef enum SliceFound
{
	SLICE_ABSENT,
	SLICE_FOUND,
	SLICE_TWICE, /* two members have this name */
} SliceFound;

/*
 * Whether text is one JSON value (RFC 8259) in valid UTF-8, with strings that stand for characters
 * other than U+0000, numbers with exponents up to SLICE_MAX_EXPONENT, and nested no deeper than
 * SLICE_MAX_DEPTH. Then *value is the value. The other
 * functions need a value that comes from here.
 */
extern bool slice_parse(const char *text, size_t length, JsonSlice *value);

/*
 * Whether text is what a message of WAMP has as arguments: an array, or an array, a comma and an object, or nothing.
 * Both are as slice_parse() allows them in an array, but strings may stand for U+0000, too, with which those begin
 * that hold bytes in WAMP. No name of a member that slice_member() looks up has it. What is missing gets the text NULL.
 */
extern bool slice_arguments(const char *text, size_t length, JsonSlice *args, JsonSlice *kwargs);

/* What a value is: one of { [ " 0 (number) t f n. */
extern char slice_kind(JsonSlice value);

/* The value of a member of an object. name: UTF-8, at most SLICE_MAX_NAME bytes. */
extern SliceFound slice_member(JsonSlice object, const char *name, JsonSlice *value);

/*
 * The next element of an array. The first one if value->text is NULL; otherwise *value is as the
 * last call left it. False after the last element, or if array is none.
 */
extern bool slice_next(JsonSlice array, JsonSlice *value);

/*
 * The characters of a string as UTF-8, with a NUL at the end. False if value is no string, or if
 * they do not fit into size bytes, or one of them is U+0000.
 */
extern bool slice_string(JsonSlice value, char *buf, size_t size);

/* A number; false if value is none, or is longer than any that makes sense. */
extern bool slice_number(JsonSlice value, double *number);

/*
 * A path to a member, as in the setting pg_notifyd.jwt_role_claim: "role", ".a.b", "$.a.b",
 * "$.roles[0]", ".\"https://example.com/role\"". Quoted names have the escapes \" and \\.
 */
extern bool slice_path_valid(const char *path);

/*
 * The value at a valid path. Absent if a step leads to no member or element, or into a value that
 * has none.
 */
extern SliceFound slice_path(JsonSlice root, const char *path, JsonSlice *value);

#endif /* PG_NOTIFYD_JSON_SLICE_H */
