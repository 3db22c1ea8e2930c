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
 * For a feed, in its own process, once it is connected to its database and before it does anything
 * else: it now is this database's feed, and shared_wake_feed() sets its latch. Does not return
 * (exits 0) if the database has a feed already or is held, see launcher_database_held(). When the
 * process ends without having called launcher_feed_detach(), that is done for it, with
 * FEED_EVENT_ENDED. Returns whether no feed has looked at the database since the server's start.
 */
extern bool launcher_feed_attached(NotifydDatabase *database);

/* For a feed that gateways know of: it has looked at its database. Cheap the second time. */
extern void launcher_database_looked(NotifydDatabase *database);

/*
 * For a feed, when it ends: FEED_EVENT_NO_EXTENSION, FEED_EVENT_NOT_NEEDED, or in all other cases
 * FEED_EVENT_ENDED. feed_life.h says what follows. A second call does nothing.
 */
extern void launcher_feed_detach(NotifydDatabase *database, FeedEvent why);

/*
 * Does a running backend hold the database, because it needs it without us (DROP DATABASE and the
 * like)? The feed's latch is set when one begins to, and the feed has to end within seconds.
 */
extern bool launcher_database_held(const NotifydDatabase *database);

#endif /* PG_NOTIFYD_LAUNCHER_H */
