/*-------------------------------------------------------------------------
 *
 * utf8.h
 *	  Text of the database as UTF-8, which WebSocket clients get, and back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_UTF8_H
#define PG_NOTIFYD_UTF8_H

#include "postgres.h"

#include "lib/stringinfo.h"

/*
 * Append text as UTF-8, characters that cannot be had in it replaced. Never errors for its content.
 */
extern void utf8_append(StringInfo buf, const char *text, int length);

/* Make UTF-8 of the text that has been appended from begin on. */
extern void utf8_make(StringInfo buf, int begin);

/*
 * The other way: append UTF-8 in the encoding of the database, valid in it whatever the bytes are.
 * Never errors for them.
 */
extern void utf8_append_server(StringInfo buf, const char *text, int length);

/* Append text as a JSON string in UTF-8. */
extern void utf8_append_json_string(StringInfo buf, const char *text, int length);

#endif /* PG_NOTIFYD_UTF8_H */
