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

void
pattern_begin(Sub *sub)
{
	sub->serial = ++pattern_serial;
	sub->stream->pattern->newest = sub->serial;
	sub->link->newest_pattern = sub->serial;
	sub->session->patterned = true;
	sub->session->npatterns++;
	sub->link->feed->npatterns++;
}

void
pattern_end(Sub *sub)
{
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

/* Tell the subscriptions of a pattern with later serial numbers than told of a channel. */
static void
pattern_tell(const Pattern *pattern, const char *channel, uint64 told, uint64 before)
{
	Link *link = pattern->stream->link;
	WireMessage message = {.type = WIRE_ROUTE_DOWN};
	StringInfoData name;
	dlist_iter iter;

	initStringInfo(&name);
	utf8_append(&name, channel, (int) strlen(channel));
	message.u.route.kind = ROUTE_CHANNEL;
	message.u.route.name = (WireBytes){.data = name.data, .len = (uint32_t) name.len};
	message.u.route.position = (WirePosition){.timeline = link->feed->timeline, .id = before};
	dlist_reverse_foreach(iter, &pattern->stream->subs)
	{
		const Sub *sub = dlist_container(Sub, in_stream, iter.cur);

		if (sub->serial <= told)
			break;
		message.u.route.session = sub->number;
		frames_queue(&link->socket, &message);
	}
	pfree(name.data);
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
