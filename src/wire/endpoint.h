/*-------------------------------------------------------------------------
 *
 * endpoint.h
 *	  The paths for WebSockets: pg_notifyd.endpoints, and the formats of messages.
 *
 * The setting is a list of path=format, separated by commas. /ws is always there with the format
 * jsonrpc, and the setting adds paths to it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_ENDPOINT_H
#define PG_NOTIFYD_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/setting_list.h"

#define ENDPOINT_MAX_PATH 255 /* bytes */

/* The formats. gateway/protocol/protocols.c has the protocols for them. */
typedef enum EndpointFormat
{
	ENDPOINT_JSONRPC,
	ENDPOINT_PAYLOAD,
	ENDPOINT_FORMATS
} EndpointFormat;

/* Their names. */
extern const char *const endpoint_formats[ENDPOINT_FORMATS];

/* Find the format with this name. Returns false if there is none. */
extern bool endpoint_format(const char *name, size_t len, EndpointFormat *format)
	__attribute__((warn_unused_result));

/*
 * Find the format of a path in the list. Returns false if the list does not have the path.
 * format may be NULL.
 */
extern bool endpoint_find(const char *list, const char *path, size_t len, EndpointFormat *format);

/*
 * Return what is wrong with the first malformed entry of the list, which is set in *item: the
 * predicate of a sentence whose subject is the entry. NULL: all entries are valid.
 */
extern const char *endpoint_first_bad(const char *list, SettingItem *item);

/*
 * The first segments of the gateway's own paths. test_endpoint.c compares them with the table in
 * gateway/routes/routes.c.
 */
#define ENDPOINT_OWN 10
extern const char *const endpoint_own[ENDPOINT_OWN];

/* Return true if the first segment of the path belongs to a path of the gateway's own. */
extern bool endpoint_is_reserved(const char *path, size_t len);

#endif /* PG_NOTIFYD_ENDPOINT_H */
