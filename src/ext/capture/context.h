/*-------------------------------------------------------------------------
 *
 * context.h
 *	  The setting pg_notifyd.context: JSON that the application adds to its transactions' events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CONTEXT_H
#define PG_NOTIFYD_CONTEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "ext/base/buffer.h"

/* The longest context, in bytes. */
#define CONTEXT_MAX_LENGTH 4096

extern char *notifyd_context; /* empty: none */

/* Define the setting; called once, from _PG_init, before the prefix is reserved. */
extern void context_define(void);

/* Append the context as a member of an event, if there is one. */
static inline void
context_append(StringInfo buf)
{
	if (likely(notifyd_context[0] == '\0'))
		return;
	buffer_put_literal(buf, ",\"context\":");
	buffer_put(buf, notifyd_context, (int) strlen(notifyd_context));
}

#endif /* PG_NOTIFYD_CONTEXT_H */
