/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The launcher, for the feeds and for the rest of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_H
#define PG_NOTIFYD_LAUNCHER_H

#include "postgres.h"

#include "ext/base/shared.h"

/* Register the launcher's background worker; from _PG_init under shared_preload_libraries. */
extern void launcher_register(void);

/*
 * Called by a feed in its own process, after it has connected to its database and before it does
 * anything else: it becomes this database's feed, and shared_wake_feed() sets its latch. Does not
 * return (exits with 0) if the database already has a feed or is held, see
 * launcher_database_held(). If the process ends without calling launcher_feed_detach(), that is
 * done for it, with FEED_EVENT_ENDED. Returns true if no feed has checked the database since the
 * server started.
 */
extern bool launcher_feed_attached(NotifydDatabase *database);

/* Called by a feed that gateways know: it has checked its database. Cheap the second time. */
extern void launcher_database_looked(NotifydDatabase *database);

/*
 * Called by a feed when it ends, with FEED_EVENT_NO_EXTENSION, FEED_EVENT_NOT_NEEDED, or in all
 * other cases FEED_EVENT_ENDED. feed_life.h describes the consequences. A second call does nothing.
 */
extern void launcher_feed_detach(NotifydDatabase *database, FeedEvent why);

/*
 * Return true if a running backend holds the database, because it needs it without our processes
 * (DROP DATABASE and the like). The feed's latch is set when a hold begins, and the feed must end
 * within seconds.
 */
extern bool launcher_database_held(const NotifydDatabase *database);

#endif /* PG_NOTIFYD_LAUNCHER_H */
