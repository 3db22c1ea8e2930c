/*-------------------------------------------------------------------------
 *
 * grant_internal.h
 *	  Declarations shared by grant.c, which changes grants, and grant_find.c, which reads them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GRANT_INTERNAL_H
#define PG_NOTIFYD_GRANT_INTERNAL_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "ext/channel/grant.h"

/* The columns of notifyd.channel_grant, as in the extension's script. Version 1.0 has the first two. */
enum GrantAttribute
{
	GRANT_CHANNEL = 1,
	GRANT_ROLE,
	GRANT_PRIVILEGE,
	GRANT_PATTERN,
	GRANT_NATTRIBUTES = GRANT_PATTERN
};

/* A row, or what a call of a function grants or revokes. */
typedef struct Grant
{
	Oid role;
	const char *channel;
	const char *privilege; /* NULL: any privilege */
	bool pattern;          /* channel is a pattern */
	bool any;              /* whatever pattern is */
} Grant;

/* Read a row. Version 1.0 knows only "subscribe". */
extern Grant grant_from_tuple(HeapTuple tuple, TupleDesc desc);

/* Rows of roles that do not exist have no effect. */
extern bool grant_role_exists(Oid role);

#endif /* PG_NOTIFYD_GRANT_INTERNAL_H */
