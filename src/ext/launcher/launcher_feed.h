/*-------------------------------------------------------------------------
 *
 * launcher_feed.h
 *	  The entries of feeds in the shared memory, for the launcher itself. launcher.h is for feeds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_FEED_H
#define PG_NOTIFYD_LAUNCHER_FEED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "ext/base/shared.h"

/*
 * The database has no feed at this time: decide when the next one may be started. failed: the last
 * one has ended without being asked to. The caller holds NotifydShared.lock exclusively.
 */
extern void launcher_feed_retry(NotifydDatabase *database, bool failed, TimestampTz now);

#endif /* PG_NOTIFYD_LAUNCHER_FEED_H */
