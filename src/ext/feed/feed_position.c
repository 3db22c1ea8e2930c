/*-------------------------------------------------------------------------
 *
 * feed_position.c
 *	  The positions of links in the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/feed/feed.h"

/*
 * Return a position that clients may get. It must be one that a counter which starts again from the
 * log exceeds: the id of an event in the log, or the end of a segment.
 */
static uint64
position_durable(const LogMap *map, uint64 after, uint64 id)
{
	uint64 begin = map->n > 0 ? map->segments[map->n - 1].first - 1 : 0;

	return begin <= after ? Max(id, begin) : id;
}

void
position_set(Link *link, uint64 id)
{
	id = position_durable(&link->feed->map, link->reader.after, id);
	link->position = Max(link->position, id);
}

uint64
position_last(Feed *feed, uint64 *watermark)
{
	XLogRecPtr lsn;
	Snapshot snapshot;
	uint64 id;

	*watermark = log_watermark(feed->database, &lsn);
	/* A crash could undo what is not flushed yet, so no position may include it. */
	XLogFlush(lsn);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	id = log_last_visible(&feed->map, *watermark, snapshot);
	UnregisterSnapshot(snapshot);
	return position_durable(&feed->map, *watermark, id);
}

void
position_jump(Link *link)
{
	uint64 watermark;
	uint64 position = position_last(link->feed, &watermark);

	memset(&link->reader, 0, sizeof(link->reader));
	link->reader.after = watermark;
	link->reader.positioned = true;
	link->position = Max(link->position, position);
	link->last_event_at = link->feed->now;
}

void
position_jump_all(Feed *feed)
{
	XLogRecPtr lsn;
	uint64 watermark = log_watermark(feed->database, &lsn);

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link != NULL && link->socket.fd != PGINVALID_SOCKET && link->reader.after < watermark)
			position_jump(link);
	}
}

bool
position_has_live(const Feed *feed, uint64 watermark)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (link_ready(feed->links[i]) && feed->links[i]->reader.after < watermark)
			return true;
	}
	return false;
}

bool
position_behind(const Feed *feed)
{
	XLogRecPtr lsn;

	return feed->nsubs > 0 && position_has_live(feed, log_watermark(feed->database, &lsn));
}
