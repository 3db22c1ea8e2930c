/*-------------------------------------------------------------------------
 *
 * json_strict.h
 *	  Values from JSON of users that must have exactly the fields of a type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_JSON_STRICT_H
#define PG_NOTIFYD_JSON_STRICT_H

#include "postgres.h"

typedef struct JsonStrict JsonStrict;

/*
 * Find out how to read a type. The reader is allocated in the current memory context, and is valid
 * until the type, or another that it contains, changes. That invalidates the relation cache.
 */
extern JsonStrict *json_strict_prepare(Oid type, int32 typmod);

/*
 * Read a value, in the current memory context. json is valid JSON, subject names it in messages:
 * message for channel "orders". The objects of composite types have each field and no other one;
 * null is a value of every field. Raises errors of the class data exception that name the field, and
 * what input functions and constraints of domains raise otherwise. These may run code of users.
 */
extern Datum
json_strict_read(JsonStrict *reader, const char *json, const char *subject, bool *isnull);

/*
 * Return true if a number has an exponent that is larger than those of double precision. PostgreSQL
 * writes numbers without exponents, so a short text could become one of a gigabyte.
 */
extern bool json_has_large_exponent(const char *json);

#define JSON_MAX_EXPONENT 308

#endif /* PG_NOTIFYD_JSON_STRICT_H */
