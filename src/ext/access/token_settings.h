/*-------------------------------------------------------------------------
 *
 * token_settings.h
 *	  Settings of tokens, and the keys that they name. See doc/authentication.md.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_TOKEN_SETTINGS_H
#define PG_NOTIFYD_TOKEN_SETTINGS_H

#include "ext/access/jws.h"

extern char *notifyd_jwt_audience;   /* empty: any */
extern char *notifyd_jwt_role_claim; /* a path, see slice_path() */
extern int notifyd_jwt_max_lifetime; /* s; 0: no limit */
extern int notifyd_wampcra_lifetime; /* s, of the server's own tokens; 0: without an end */

/* Define the settings; called once, from _PG_init, before the prefix is reserved. */
extern void token_settings_define(void);

/*
 * The keys of pg_notifyd.jwt_secret and pg_notifyd.jwt_keys. Files are read again when they have
 * changed and after a reload. A file that has become wrong leaves the keys as they were, and the
 * server's log says so once. The keys belong to this module until the next call.
 */
extern const JwsKeys *token_keys(void);

/* Return true if token_keys() found keys configured that it could not load. */
extern bool token_keys_failed(void);

#endif /* PG_NOTIFYD_TOKEN_SETTINGS_H */
