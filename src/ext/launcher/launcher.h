/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The launcher, for the feeds and for whoever makes a database theirs.
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
 * For a feed, in its own process, once it is connected to its database and before it
 * does anything else: it now is this database's feed, its latch is the one that
 * shared_wake_feed() sets. Does not return (exits 0) where there is a feed already, or
 * where the database is held, see launcher_database_held(). When the process ends
 * without having called launcher_feed_detach(), that is done for it, with FEED_WANTED.
 */
extern void launcher_feed_attached(NotifydDatabase *database);

/*
 * For a feed, when it ends: FEED_ABSENT if the extension is not in the database, so that no feed is
 * started until CREATE EXTENSION, FEED_ASLEEP if nobody needs it now, FEED_WANTED in all other
 * cases. Then the launcher starts another one: at once if this one has lived for 5 s or leaves a
 * database that is held, otherwise after backoff_restart_delay(). A second call does nothing.
 */
extern void launcher_feed_detach(NotifydDatabase *database, FeedState next);

/*
 * Does a running backend need the database without us (DROP DATABASE and the like)? The
 * feed's latch is set when one begins to; it has to end within seconds then.
 */
extern bool launcher_database_held(const NotifydDatabase *database);

/*
 * Warn whoever relies on it, where the launcher could not be registered when the server started,
 * for lack of slots: then nothing of pg_notifyd runs.
 */
extern void launcher_warn_missing(void);

#endif /* PG_NOTIFYD_LAUNCHER_H */
