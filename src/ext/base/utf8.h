/*-------------------------------------------------------------------------
 *
 * utf8.h
 *	  Converts text of the database to UTF-8, which WebSocket clients get, and back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_UTF8_H
#define PG_NOTIFYD_UTF8_H

#include "postgres.h"

#include "lib/stringinfo.h"

/*
 * Append text as UTF-8. Characters that cannot be converted are replaced. Never raises an error
 * because of the content.
 */
extern void utf8_append(StringInfo buf, const char *text, int length);

/* Convert the text that was appended from begin on to UTF-8. */
extern void utf8_make(StringInfo buf, int begin);

/*
 * The reverse: append UTF-8 in the encoding of the database. The result is valid whatever the bytes
 * are. Never raises an error because of them.
 */
extern void utf8_append_server(StringInfo buf, const char *text, int length);

/* Append text as a JSON string in UTF-8. */
extern void utf8_append_json_string(StringInfo buf, const char *text, int length);

#endif /* PG_NOTIFYD_UTF8_H */
