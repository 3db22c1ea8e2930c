/*-------------------------------------------------------------------------
 *
 * json.h
 *	  Values as JSON, by the rules of row_to_json.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_JSON_H
#define PG_NOTIFYD_JSON_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

typedef enum JsonKind
{
	JSON_BOOL,
	JSON_INT2,
	JSON_INT4,
	JSON_INT8,
	JSON_FLOAT4,
	JSON_FLOAT8,
	JSON_NUMERIC, /* by the output function; a string where that is no JSON number */
	JSON_DATE,
	JSON_TIMESTAMP, /* with time zone or without */
	JSON_TEXT,      /* text and what is stored like it */
	JSON_VERBATIM,  /* json */
	JSON_JSONB,
	JSON_NESTED, /* arrays, composites, types with a cast to json: by to_json() */
	JSON_OTHER,  /* by the output function, as a string */
} JsonKind;

/* Whether the JSON of a value gives the value back. */
typedef enum JsonExact
{
	JSON_EXACT,
	JSON_EXACT_UNLESS_NULL, /* a null of json or jsonb looks like no value */
	JSON_EXACT_IF_PLAIN,    /* an array, if its lower bounds are 1 */
	JSON_INEXACT,
} JsonExact;

/*
 * The text of the last second that was written, without its fraction. Timestamps of one column mostly
 * have the same second as the one before.
 */
typedef struct JsonSecond
{
	int64 second;      /* since 2000 */
	int before_length; /* 0: none is known */
	int after_length;  /* from the time zone on */
	char before[32];
	char after[32];
} JsonSecond;

/*
 * Settings of the session that PostgreSQL's output functions depend on. While these functions run,
 * json_pin() gives the settings these values, so that a row has one text whoever writes it.
 */
typedef enum JsonPin
{
	JSON_PIN_DATE = 1,     /* DateStyle = ISO */
	JSON_PIN_INTERVAL = 2, /* IntervalStyle = postgres */
	JSON_PIN_FLOAT =
		4, /* extra_float_digits = 1: the shortest text that gives the same value back */
	JSON_PIN_BYTEA = 8,        /* bytea_output = hex */
	JSON_PIN_ZONE = 16,        /* TimeZone = UTC */
	JSON_PIN_MONEY = 32,       /* lc_monetary = C */
	JSON_PIN_SEARCH_PATH = 64, /* search_path = pg_catalog, pg_temp; quote_all_identifiers = off */
} JsonPin;

/* Those that an unknown type may depend on. */
#define JSON_PIN_UNKNOWN                                                                           \
	(JSON_PIN_DATE | JSON_PIN_INTERVAL | JSON_PIN_FLOAT | JSON_PIN_BYTEA | JSON_PIN_ZONE)

/* How to write values of a type. What only some kinds need is allocated apart, so that others read less memory. */
typedef struct JsonType
{
	Oid type; /* of a domain: its base type */
	JsonKind kind;
	JsonExact exact;
	bool varlena;
	bool careful;       /* writing a value may run a user's cast to json, which may fail */
	bool structured;    /* the text of a small value may be very large */
	uint8 pins;         /* JSON_PIN_ bits: what has to be pinned for json_append() */
	FmgrInfo *output;   /* where the output function is called */
	FmgrInfo *to_json;  /* JSON_NESTED only */
	JsonSecond *second; /* JSON_TIMESTAMP only */
} JsonType;

/*
 * Find out how to write values of a type; *json must be zero, and what it needs is allocated in the
 * current context. Composite types that the answer depends on are added to *relations (a list of
 * their relations' OIDs).
 */
extern void json_prepare(JsonType *json, Oid type, List **relations);

/*
 * Append a value that is not null. as_text: use the type's output function instead of a cast to
 * json. Raises what output functions and casts raise, and
 * ERRCODE_PROGRAM_LIMIT_EXCEEDED beyond 1 GB. May leave garbage in the current context.
 */
extern void json_append(StringInfo buf, const JsonType *json, Datum value, bool as_text);

/* Whether json_read.h gives this value, which is not null, back from its JSON. */
extern bool json_is_exact(const JsonType *json, Datum value);

/*
 * Append a text that gives a value back whose JSON does not, and that is not of json or jsonb: by the
 * type's output function, but for an OID the number. Raises what output functions raise.
 */
extern void json_append_exact(StringInfo buf, const JsonType *json, Datum value);

/* Whether values of the type are OIDs that have a name, such as regclass. */
extern bool json_is_oid_name(Oid type);

/*
 * Set these settings to their pinned values, and restore them (json_pin.c). Call only functions of this header and
 * input and output functions in between. After an error the end of the (sub)transaction restores them. Raises no error except for
 * lack of memory.
 */
extern int json_pin(int pins);
extern void json_unpin(int pinned);

/* The settings that a type depends on. The type is no array, composite, range or domain. */
extern int json_pins_of(Oid type);

/* Append a string of the server's encoding in quotes, escaped as escape_json() does it. */
extern void json_append_string(StringInfo buf, const char *string, Size length);

/* The size in bytes of a value of this type, decompressed. */
extern Size json_value_size(const JsonType *json, Datum value);

#endif /* PG_NOTIFYD_JSON_H */
