/*-------------------------------------------------------------------------
 *
 * channel_type.h
 *	  Types of channels' messages, which notify_channel() keeps in notifyd.channel_type.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CHANNEL_TYPE_H
#define PG_NOTIFYD_CHANNEL_TYPE_H

#include "postgres.h"

#include "nodes/pg_list.h"

/*
 * Return the composite type whose fields messages of the channel have, or InvalidOid if the channel
 * was not declared. Sees what is committed now, and the transaction's own changes. A change
 * invalidates the relation cache.
 */
extern Oid channel_type_find(const char *channel);

/* Return the names of the channels with this type, or with InvalidOid of all that were declared. */
extern List *channel_type_channels(Oid type);

/*
 * Declare a channel, or with InvalidOid take its declaration back. Returns false if there was none
 * to take back. Checks no privileges. Keeps other transactions from doing so until this one ends.
 */
extern bool channel_type_set(const char *channel, Oid type);

#endif /* PG_NOTIFYD_CHANNEL_TYPE_H */
