/*-------------------------------------------------------------------------
 *
 * feed_pattern.c
 *	  Subscriptions of patterns.
 *
 * A subscription of a pattern gets two things. Messages that are not in the log come in its stream
 * (feed_publish.c). For events of the log it is told of each channel that matches, by ROUTE_CHANNEL,
 * when the channel's first event since the subscription began is read. The gateway then subscribes to
 * that channel for the client, from right before this event on. So whatever holds for a subscription of
 * a channel holds for this one: privileges, row security, resets, order, the speed of its client.
 *
 * A stream has the subscriptions of one pattern by clients of one role, as the plain stream of a view
 * does, but it has a pattern instead of a view.
 *
 * Subscriptions have serial numbers, and for each channel the feed remembers the last one that it
 * has told. So an event costs one lookup, and a comparison with the last number of its link. The
 * numbers are forgotten when something changes that privileges depend on; then each channel's next
 * event tells everybody again. A gateway ignores what it knows.
 *
 * A subscription that resumes reads the log from its position on, in parts, and is told of the
 * channels there. Only when it is where the link is, does it get a serial number. Otherwise it could be
 * told of a channel by a later event first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ext/base/utf8.h"
#include "ext/feed/feed_pattern.h"
#include "ext/feed/feed_rights.h"
#include "wire/uri.h"

/* When more channels are known, all are forgotten. */
#define PATTERN_MAX_CHANNELS 16384

/* What a stream of a pattern has instead of a view. */
struct Pattern
{
	Stream *stream;
	UriMatch match;
	char role[NAMEDATALEN]; /* as in ViewKey */
	char text[NAMEDATALEN]; /* in the server's encoding */
	size_t length;
	uint64 newest; /* serial number of its newest subscription */
	dlist_node in_link;
};

/* A channel of which an event was read. */
typedef struct PatternChannel
{
	char name[NAMEDATALEN];
	uint64 told[NOTIFYD_MAX_GATEWAYS]; /* serial number of the last one of each link */
} PatternChannel;

/* The reading of the log for a subscription that resumes. */
typedef struct PatternScan
{
	Sub *sub;
	LogReader reader;
	HTAB *told; /* names of channels */
	MemoryContext context;
} PatternScan;

#define PATTERN_SCAN_ROWS 1000 /* in one round, for each link */

static HTAB *pattern_channels;    /* NULL: none is known */
static uint64 pattern_serial = 0; /* the last one */

/* ---------------- streams ---------------- */

static Stream *
pattern_find(const Link *link, UriMatch match, const char *text, const char *role)
{
	dlist_iter iter;

	dlist_foreach (iter, (dlist_head *) &link->patterns)
	{
		Pattern *pattern = dlist_container(Pattern, in_link, iter.cur);

		if (pattern->match == match && strcmp(pattern->text, text) == 0 &&
			strcmp(pattern->role, role) == 0)
			return pattern->stream;
	}
	return NULL;
}

Stream *
pattern_stream(Link *link, const WireSubscribe *request, const char *role, AccessReason *reason)
{
	char text[NAMEDATALEN];
	Pattern *pattern;
	Stream *stream;

	*reason = (AccessReason){.kind = WIRE_NO_SUCH_CHANNEL, .message = "no channel matches"};
	if (!view_copy_name(text, request->channel) || !rights_connect(role, reason))
		return NULL;
	stream = pattern_find(link, request->match, text, role);
	if (stream != NULL)
		return stream;
	pattern = MemoryContextAllocZero(link->feed->context, sizeof(Pattern));
	pattern->match = request->match;
	pattern->length = strlen(text);
	strcpy(pattern->text, text);
	strlcpy(pattern->role, role, sizeof(pattern->role));
	pattern->stream = stream_create(link, NULL);
	pattern->stream->pattern = pattern;
	dlist_push_tail(&link->patterns, &pattern->in_link);
	return pattern->stream;
}

/* The subscription is to be told of all channels whose events are read from now on. */
static void
pattern_go_live(Sub *sub)
{
	sub->serial = ++pattern_serial;
	sub->stream->pattern->newest = sub->serial;
	sub->link->newest_pattern = sub->serial;
	/* They are in the order of their numbers. */
	dlist_delete(&sub->in_stream);
	dlist_push_tail(&sub->stream->subs, &sub->in_stream);
}

static void
pattern_begin_scan(Sub *sub, uint64 after)
{
	MemoryContext context =
		AllocSetContextCreate(sub->link->feed->context, "pg_notifyd scan", ALLOCSET_SMALL_SIZES);
	PatternScan *scan = MemoryContextAllocZero(context, sizeof(PatternScan));
	HASHCTL told = {.keysize = NAMEDATALEN, .entrysize = NAMEDATALEN, .hcxt = context};

	scan->sub = sub;
	scan->context = context;
	scan->reader.after = after;
	scan->told = hash_create("pg_notifyd told", 64, &told, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	sub->scan = scan;
	sub->link->feed->nscans++;
}

static void
pattern_end_scan(Sub *sub)
{
	if (sub->scan == NULL)
		return;
	MemoryContextDelete(sub->scan->context);
	sub->scan = NULL;
	sub->link->feed->nscans--;
}

void
pattern_begin(Sub *sub, uint64 after)
{
	if (after != sub->link->position)
		pattern_begin_scan(sub, after);
	else
		pattern_go_live(sub);
	sub->session->patterned = true;
	sub->session->npatterns++;
	sub->link->feed->npatterns++;
}

void
pattern_end(Sub *sub)
{
	pattern_end_scan(sub);
	sub->session->npatterns--;
	sub->link->feed->npatterns--;
}

void
pattern_remove(Stream *stream)
{
	dlist_delete(&stream->pattern->in_link);
	pfree(stream->pattern);
	stream->pattern = NULL;
}

/* ---------------- channels ---------------- */

static void
pattern_forget(void)
{
	if (pattern_channels != NULL)
		hash_destroy(pattern_channels);
	pattern_channels = NULL;
}

static PatternChannel *
pattern_channel(const char *name, int length)
{
	HASHCTL control = {
		.keysize = NAMEDATALEN, .entrysize = sizeof(PatternChannel), .hcxt = TopMemoryContext};
	char key[NAMEDATALEN];
	PatternChannel *channel;
	bool found;

	memcpy(key, name, length);
	key[length] = '\0';
	if (pattern_channels != NULL && hash_get_num_entries(pattern_channels) >= PATTERN_MAX_CHANNELS)
		pattern_forget();
	if (pattern_channels == NULL)
		pattern_channels = hash_create("pg_notifyd channels of patterns", 256, &control,
									   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	channel = hash_search(pattern_channels, key, HASH_ENTER, &found);
	if (!found)
		memset(channel->told, 0, sizeof(channel->told));
	return channel;
}

static bool
pattern_matches(const Pattern *pattern, const char *channel)
{
	return uri_matches(pattern->match, pattern->text, pattern->length, channel, strlen(channel));
}

/* Tell a subscription of a channel. */
static void
pattern_tell_one(const Sub *sub, const char *channel, uint64 before)
{
	Link *link = sub->link;
	WireMessage message = {.type = WIRE_ROUTE_DOWN};
	StringInfoData name;

	initStringInfo(&name);
	utf8_append(&name, channel, (int) strlen(channel));
	message.u.route.kind = ROUTE_CHANNEL;
	message.u.route.name = (WireBytes){.data = name.data, .len = (uint32_t) name.len};
	message.u.route.position = (WirePosition){.timeline = link->feed->timeline, .id = before};
	message.u.route.session = sub->number;
	frames_queue(&link->socket, &message);
	pfree(name.data);
}

/* Tell the subscriptions of a pattern with later serial numbers than told of a channel. */
static void
pattern_tell(const Pattern *pattern, const char *channel, uint64 told, uint64 before)
{
	dlist_iter iter;

	dlist_reverse_foreach(iter, &pattern->stream->subs)
	{
		const Sub *sub = dlist_container(Sub, in_stream, iter.cur);

		if (sub->scan != NULL)
			continue;
		if (sub->serial <= told)
			break;
		pattern_tell_one(sub, channel, before);
	}
}

void
pattern_look(Link *link, const char *name, int length, uint64 before)
{
	PatternChannel *channel;
	dlist_iter iter;
	uint64 told;

	if (dlist_is_empty(&link->patterns) || length == 0 || length >= NAMEDATALEN)
		return;
	channel = pattern_channel(name, length);
	told = channel->told[link->gateway];
	if (told >= link->newest_pattern)
		return;
	channel->told[link->gateway] = link->newest_pattern;
	dlist_foreach (iter, &link->patterns)
	{
		const Pattern *pattern = dlist_container(Pattern, in_link, iter.cur);

		if (pattern->newest > told && pattern_matches(pattern, channel->name) &&
			rights_has(pattern->role, channel->name, RIGHT_SEE))
			pattern_tell(pattern, channel->name, told, before);
	}
}

void
pattern_each_reader(Link *link, const char *channel, void (*add)(const Stream *stream, void *arg),
					void *arg)
{
	dlist_iter iter;

	dlist_foreach (iter, &link->patterns)
	{
		const Pattern *pattern = dlist_container(Pattern, in_link, iter.cur);

		if (pattern->stream->notified > 0 && pattern_matches(pattern, channel) &&
			rights_has(pattern->role, channel, RIGHT_MESSAGES))
			add(pattern->stream, arg);
	}
}

/* ---------------- subscriptions that resume ---------------- */

/* An event of a channel was read for a scan. */
static void
pattern_scan_channel(PatternScan *scan, const char *name, int length, uint64 before)
{
	const Pattern *pattern = scan->sub->stream->pattern;
	char channel[NAMEDATALEN];
	bool found;

	if (length == 0 || length >= NAMEDATALEN)
		return;
	memcpy(channel, name, length);
	channel[length] = '\0';
	if (!pattern_matches(pattern, channel))
		return;
	(void) hash_search(scan->told, channel, HASH_ENTER, &found);
	if (!found && rights_has(pattern->role, channel, RIGHT_SEE))
		pattern_tell_one(scan->sub, channel, before);
}

static bool
pattern_scan_event(const LogEvent *event, void *arg)
{
	PatternScan *scan = arg;

	pattern_scan_channel(scan, event->channel, event->channel_length, event->id - 1);
	return link_ready(scan->sub->link);
}

static bool
pattern_scan_large(const LogLarge *large, void *arg)
{
	const LogSummary *summary = large->summary;

	/* A marker of version 1.0 does not say how large it is, and names no channel. */
	if (summary->bytes == 0 || summary->nchannels > LOG_SUMMARY_CHANNELS)
		return false;
	for (int i = 0; i < summary->nchannels; i++)
		pattern_scan_channel(arg, summary->channels[i], (int) strlen(summary->channels[i]),
							 large->reader->after);
	return true;
}

/* Read a part of the log for one. */
static void
pattern_scan(Sub *sub, Snapshot snapshot)
{
	Link *link = sub->link;
	PatternScan *scan = sub->scan;
	LogVisitor visitor = {.event = pattern_scan_event, .skip = pattern_scan_large, .arg = scan};
	WireMessage done = {.type = WIRE_REPLAY_DONE};

	if (scan->reader.after < link->feed->map.oldest)
	{
		memset(&scan->reader, 0, sizeof(scan->reader));
		scan->reader.after = link->feed->map.oldest;
		sub_send_reset(sub, NOTIFYD_RESET_RETENTION, link->feed->map.oldest, EVENT_RESET_RETENTION);
	}
	if (scan->reader.after < link->reader.after)
		log_read(&scan->reader, &link->feed->map, link->reader.after, PATTERN_SCAN_ROWS, snapshot,
				 &visitor);
	if (scan->reader.after < link->reader.after)
		return;
	pattern_end_scan(sub);
	pattern_go_live(sub);
	done.u.replay_done.sub = sub->number;
	done.u.replay_done.id = link->position;
	frames_queue(&link->socket, &done);
}

/* Return a subscription of the link that reads the log: the one that is furthest behind; NULL: none. */
static Sub *
pattern_next_scan(const Link *link)
{
	Sub *next = NULL;
	dlist_iter patterns;
	dlist_iter iter;

	dlist_foreach (patterns, (dlist_head *) &link->patterns)
	{
		dlist_foreach (iter, &dlist_container(Pattern, in_link, patterns.cur)->stream->subs)
		{
			Sub *sub = dlist_container(Sub, in_stream, iter.cur);

			if (sub->scan != NULL &&
				(next == NULL || sub->scan->reader.after < next->scan->reader.after))
				next = sub;
		}
	}
	return next;
}

bool
pattern_scan_some(Feed *feed, Snapshot snapshot)
{
	bool more = false;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];
		Sub *sub = link_ready(link) ? pattern_next_scan(link) : NULL;

		if (sub == NULL)
			continue;
		pattern_scan(sub, snapshot);
		more |= link_ready(link);
	}
	return more && feed->nscans > 0;
}

uint64
pattern_scan_progress(const Link *link, uint64 after)
{
	const Sub *sub = pattern_next_scan(link);

	/* Nothing is kept for one that retention has overtaken. */
	return sub != NULL && sub->scan->reader.after >= link->feed->map.oldest
			   ? Min(after, sub->scan->reader.after)
			   : after;
}

/* ---------------- changes ---------------- */

void
pattern_reset(Link *link, const char *reason)
{
	dlist_iter patterns;
	dlist_iter iter;

	pattern_forget();
	dlist_foreach (patterns, &link->patterns)
	{
		dlist_foreach (iter, &dlist_container(Pattern, in_link, patterns.cur)->stream->subs)
			sub_send_reset(dlist_container(Sub, in_stream, iter.cur), NOTIFYD_RESET_RETENTION,
						   link->feed->map.oldest, reason);
	}
}

static void
pattern_recheck_roles(Link *link)
{
	dlist_mutable_iter iter;
	AccessReason reason;

	dlist_foreach_modify (iter, &link->patterns)
	{
		const Pattern *pattern = dlist_container(Pattern, in_link, iter.cur);

		if (!rights_connect(pattern->role, &reason))
			stream_end(link->feed, pattern->stream, &reason);
	}
}

void
pattern_recheck(Feed *feed, bool roles)
{
	pattern_forget();
	for (int i = 0; roles && feed->npatterns > 0 && i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL)
			pattern_recheck_roles(feed->links[i]);
	}
}
