/*-------------------------------------------------------------------------
 *
 * feed_stream.c
 *	  Streams and subscriptions: decides which events each client gets.
 *
 * A stream is one role's view of one channel, and every decision about privileges is made for a
 * stream. Decisions are kept until something that they depend on may have changed (feed_recheck.c).
 * A stream that is no longer allowed ends with all its subscriptions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "ext/base/failpoint.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/feed/listen.h"
#include "ext/transaction/pending.h"

/* A decision about the events with these columns of this relation. */
typedef struct StreamDecision
{
	dlist_node node;
	Oid relation;
	bool allowed;
	int ncolumns;
	int16 columns[FLEXIBLE_ARRAY_MEMBER];
} StreamDecision;

void
stream_init(Feed *feed)
{
	HASHCTL streams = {
		.keysize = sizeof(StreamKey), .entrysize = sizeof(Stream), .hcxt = feed->context};
	HASHCTL numbers = {
		.keysize = sizeof(uint32), .entrysize = sizeof(uint32), .hcxt = feed->context};
	HASHCTL channels = {
		.keysize = NAMEDATALEN, .entrysize = sizeof(FeedChannel), .hcxt = feed->context};

	feed->streams =
		hash_create("pg_notifyd streams", 64, &streams, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	feed->stream_numbers = hash_create("pg_notifyd stream numbers", 64, &numbers,
									   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&feed->idle);
	feed->channels =
		hash_create("pg_notifyd channels", 64, &channels, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* ---------------- channels ---------------- */

FeedChannel *
stream_channel(Feed *feed, const char *name, int length)
{
	char key[NAMEDATALEN];

	if (length >= NAMEDATALEN)
		return NULL;
	memcpy(key, name, length);
	key[length] = '\0';
	return hash_search(feed->channels, key, HASH_FIND, NULL);
}

/* Return true if the role may get raw notifications of this channel. */
static bool
stream_notifies(const Stream *stream)
{
	return stream->channel.granted && !stream->channel.notifies;
}

/* LISTEN while a stream of the channel may get raw notifications. */
static void
stream_adjust_listen(FeedChannel *channel)
{
	bool wanted = false;
	dlist_iter iter;

	dlist_foreach (iter, &channel->streams)
	{
		Stream *stream = dlist_container(Stream, in_channel, iter.cur);

		wanted |= stream_notifies(stream);
	}
	if (wanted && !channel->listening)
		listen_add(channel->name);
	else if (!wanted && channel->listening)
		listen_remove(channel->name);
	channel->listening = wanted;
}

/* ---------------- streams ---------------- */

void
stream_forget_decisions(Stream *stream)
{
	MemoryContextReset(stream->decisions_context);
	dlist_init(&stream->decisions);
}

/*
 * Find the role of a stream's subscriptions, and what its channel offers to that role. Returns
 * false and sets the reason if it may not subscribe.
 */
static bool
stream_decide(const StreamKey *key, Oid *role, AccessChannel *channel, AccessReason *reason)
{
	*role = access_role(key->role, reason);
	return OidIsValid(*role) && access_channel(*role, key->channel, channel, reason);
}

/*
 * Choose a number for a new stream, skipping numbers in use. A number is used again after 2^32
 * others. A gateway cannot mistake frames of the earlier stream for the new one's, because they
 * come before its SUBSCRIBED.
 */
static uint32
stream_new_number(Feed *feed)
{
	bool in_use;

	do
	{
		feed->next_stream = FAIL_NUMBER(feed->next_stream + 1);
		hash_search(feed->stream_numbers, &feed->next_stream, HASH_ENTER, &in_use);
	} while (in_use);
	return feed->next_stream;
}

static Stream *
stream_find_or_create(Feed *feed, const StreamKey *key)
{
	bool found;
	Stream *stream = hash_search(feed->streams, key, HASH_ENTER, &found);

	if (!found)
	{
		FeedChannel *channel;

		memset((char *) stream + sizeof(StreamKey), 0, sizeof(Stream) - sizeof(StreamKey));
		stream->number = stream_new_number(feed);
		stream->decisions_context =
			AllocSetContextCreate(feed->context, "pg_notifyd decisions", ALLOCSET_SMALL_SIZES);
		dlist_init(&stream->decisions);
		dlist_init(&stream->subs);
		channel = hash_search(feed->channels, key->channel, HASH_ENTER, &found);
		if (!found)
		{
			channel->listening = false;
			dlist_init(&channel->streams);
		}
		dlist_push_tail(&channel->streams, &stream->in_channel);
		dlist_push_tail(&feed->idle, &stream->in_idle);
	}
	return stream;
}

/* Remove a stream without subscriptions. Needs a transaction, for UNLISTEN. */
static void
stream_remove(Feed *feed, Stream *stream)
{
	FeedChannel *channel = hash_search(feed->channels, stream->key.channel, HASH_FIND, NULL);

	Assert(dlist_is_empty(&stream->subs));
	dlist_delete(&stream->in_idle);
	dlist_delete(&stream->in_channel);
	stream_adjust_listen(channel);
	if (dlist_is_empty(&channel->streams))
		hash_search(feed->channels, channel->name, HASH_REMOVE, NULL);
	MemoryContextDelete(stream->decisions_context);
	hash_search(feed->stream_numbers, &stream->number, HASH_REMOVE, NULL);
	hash_search(feed->streams, &stream->key, HASH_REMOVE, NULL);
}

/* ---------------- subscriptions ---------------- */

static void
stream_count_subs(Feed *feed, int change)
{
	feed->nsubs += change;
	pg_atomic_write_u32(&feed->database->subscriptions, feed->nsubs);
}

/* Count a subscription as live or not. It is not live during its replay. */
static void
stream_count_live(Sub *sub, int change)
{
	if (!sub->replaying && sub->ops != 0)
		sub->stream->live[sub->link->gateway] += change;
}

/* The same for raw notifications, which it gets during the replay too. */
static void
stream_count_notified(Sub *sub, int change)
{
	if ((sub->kinds & WIRE_KIND_NOTIFICATIONS) != 0)
		sub->stream->notified[sub->link->gateway] += change;
}

void
stream_remove_sub(Sub *sub)
{
	Link *link = sub->link;

	dlist_delete(&sub->in_stream);
	if (sub->identity != NULL)
		dlist_delete(&sub->in_identity);
	if (dlist_is_empty(&sub->stream->subs))
		dlist_push_tail(&link->feed->idle, &sub->stream->in_idle);
	if (sub->replaying)
		dlist_delete(&sub->in_replays);
	stream_count_live(sub, -1);
	stream_count_notified(sub, -1);
	stream_count_subs(link->feed, -1);
	if (--sub->session->nsubs == 0)
		hash_search(link->sessions, &sub->session->number, HASH_REMOVE, NULL);
	hash_search(link->subs, &sub->number, HASH_REMOVE, NULL);
}

/* End the events of a subscription. It keeps its raw notifications. */
static void
stream_end_events(Sub *sub)
{
	stream_count_live(sub, -1);
	if (sub->replaying)
		dlist_delete(&sub->in_replays);
	sub->replaying = false;
	sub->kinds = WIRE_KIND_NOTIFICATIONS;
	sub->ops = 0;
}

void
stream_begin(void)
{
	if (!IsTransactionState())
		StartTransactionCommand();
}

void
stream_commit(Feed *feed)
{
	if (!dlist_is_empty(&feed->idle))
		stream_begin();
	while (!dlist_is_empty(&feed->idle))
		stream_remove(feed, dlist_head_element(Stream, in_idle, &feed->idle));
	if (IsTransactionState())
		CommitTransactionCommand();
}

static void
stream_refuse(Link *link, uint32 number, const AccessReason *reason)
{
	WireMessage message = {.type = WIRE_REFUSED};
	StringInfoData text;

	initStringInfo(&text);
	utf8_append(&text, reason->message, (int) strlen(reason->message));
	message.u.refused.sub = number;
	message.u.refused.reason = reason->kind;
	message.u.refused.text = (WireBytes){.data = text.data, .len = (uint32_t) text.len};
	frames_queue(&link->socket, &message);
	pfree(text.data);
}

/*
 * Copy a name from the wire in the server's encoding. Returns false if it is too long or cannot be
 * converted.
 */
static bool
stream_copy_name(char *to, WireBytes name)
{
	char *server;

	memset(to, 0, NAMEDATALEN);
	if (name.len == 0)
		return true;
	server = pnstrdup(name.data, name.len);
	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
	{
		Oid conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
		Size size = (Size) name.len * MAX_CONVERSION_GROWTH + 1;
		char *converted = palloc0(size);

		if (!OidIsValid(conversion) ||
			pg_do_encoding_conversion_buf(
				conversion, PG_UTF8, GetDatabaseEncoding(), (unsigned char *) server, name.len,
				(unsigned char *) converted, (int) size, true) != (int) name.len)
			return false;
		server = converted;
	}
	if (strlen(server) >= NAMEDATALEN)
		return false;
	strcpy(to, server);
	return true;
}

/*
 * Return the position at which a subscription with since begins. If events after since are missing,
 * sets *reason, and returns the position after which the log is complete.
 */
static WirePosition
stream_resume(Link *link, WirePosition since, const char **reason)
{
	Feed *feed = link->feed;
	WirePosition oldest = {.timeline = feed->timeline, .id = feed->map.oldest};
	WirePosition now = {.timeline = feed->timeline, .id = link->position};
	uint64 issued;
	uint64 last;

	LWLockAcquire(&feed->database->lock, LW_SHARED);
	issued = feed->database->next_id - 1;
	LWLockRelease(&feed->database->lock);

	*reason = NULL;
	if (since.id < feed->map.oldest)
	{
		*reason = EVENT_RESET_RETENTION;
		return oldest;
	}
	if (!log_timeline_end(since.timeline, &last))
		*reason = "the position is of a timeline that this server has not had";
	else if (since.id > last)
		*reason = "the position is of a part of an earlier timeline that this server has not had";
	else if (since.id > issued)
		*reason = "the position is ahead of this server";
	if (*reason != NULL)
		return now;
	return (WirePosition){.timeline = feed->timeline, .id = since.id};
}

static void
stream_send_subscribed(Sub *sub, WirePosition position)
{
	WireMessage message = {.type = WIRE_SUBSCRIBED};

	message.u.subscribed.sub = sub->number;
	message.u.subscribed.stream = sub->stream->number;
	message.u.subscribed.replay = sub->replaying;
	message.u.subscribed.notifies = stream_notifies(sub->stream);
	message.u.subscribed.position = position;
	frames_queue(&sub->link->socket, &message);
}

void
stream_send_reset(Sub *sub, uint64 id, const char *reason)
{
	WireMessage message = {.type = WIRE_RESET};

	message.u.reset.sub = sub->number;
	message.u.reset.kind = WIRE_KIND_EVENTS;
	message.u.reset.position = (WirePosition){.timeline = sub->link->feed->timeline, .id = id};
	message.u.reset.reason = frames_bytes(reason);
	frames_queue(&sub->link->socket, &message);
}

static Session *
stream_session(Link *link, uint32 number)
{
	bool found;
	Session *session = hash_search(link->sessions, &number, HASH_ENTER, &found);

	if (!found)
	{
		session->nsubs = 0;
		turns_open(&link->turns, &session->turns);
	}
	session->nsubs++;
	return session;
}

static void
stream_start(Link *link, Stream *stream, FeedIdentity *identity, const WireSubscribe *request)
{
	WirePosition position = {.timeline = link->feed->timeline, .id = link->position};
	const char *reset = NULL;
	Sub *sub = hash_search(link->subs, &request->sub, HASH_ENTER, NULL);

	memset((char *) sub + sizeof(sub->number), 0, sizeof(Sub) - sizeof(sub->number));
	sub->link = link;
	sub->stream = stream;
	sub->session = stream_session(link, request->session);
	sub->identity = identity;
	if (identity != NULL)
		dlist_push_tail(&identity->subs, &sub->in_identity);
	sub->kinds = request->kinds;
	sub->ops = (request->kinds & WIRE_KIND_EVENTS) != 0 ? request->ops : 0;
	sub->window = Min(Max(request->window, 1), WIRE_REPLAY_WINDOW);
	sub->credit = sub->window;
	if (request->has_since && (sub->kinds & WIRE_KIND_EVENTS) != 0)
		position = stream_resume(link, request->since, &reset);
	sub->replaying = position.id != link->position;
	if (sub->replaying)
	{
		sub->reader.after = position.id;
		turns_begin(&link->turns, &sub->turn, &sub->session->turns,
					link->reader.after - Min(position.id, link->reader.after));
		dlist_push_tail(&link->replays, &sub->in_replays);
	}
	stream_count_live(sub, 1);
	stream_count_notified(sub, 1);
	if (dlist_is_empty(&stream->subs))
		dlist_delete(&stream->in_idle);
	dlist_push_tail(&stream->subs, &sub->in_stream);
	stream_count_subs(link->feed, 1);
	stream_send_subscribed(sub, position);
	if (reset != NULL)
		stream_send_reset(sub, position.id, reset);
}

/*
 * Return the stream for a SUBSCRIBE, or NULL with the reason. The decision for an existing stream
 * is repeated if a change that concerns it has arrived since.
 */
static Stream *
stream_of_request(Feed *feed, const FeedIdentity *identity, const WireSubscribe *request,
				  AccessReason *reason)
{
	StreamKey key;
	Stream *stream;
	AccessChannel channel;
	Oid role;

	memset(&key, 0, sizeof(key));
	if (identity != NULL)
		strlcpy(key.role, identity->role, sizeof(key.role));
	if (!stream_copy_name(key.channel, request->channel))
		return NULL;
	stream = hash_search(feed->streams, &key, HASH_FIND, NULL);
	if (stream != NULL && !stream->due && !change_due())
		return stream;
	if (!stream_decide(&key, &role, &channel, reason) ||
		!access_channel_captured(role, key.channel, reason))
		return NULL;
	stream = stream_find_or_create(feed, &key);
	stream->role = role;
	stream->channel = channel;
	change_decided(stream);
	stream_adjust_listen(stream_channel(feed, key.channel, (int) strlen(key.channel)));
	return stream;
}

void
stream_subscribe(Link *link, const WireSubscribe *request)
{
	Feed *feed = link->feed;
	AccessReason reason = {.kind = WIRE_NO_SUCH_CHANNEL, .message = "no such channel"};
	MemoryContext context;
	MemoryContext outer;
	Stream *stream = NULL;
	FeedIdentity *identity = NULL;
	Sub *before = hash_search(link->subs, &request->sub, HASH_FIND, NULL);

	/* Free memory after each frame, not only at the end of the transaction. */
	context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd subscribe", ALLOCSET_SMALL_SIZES);
	outer = MemoryContextSwitchTo(context);
	if (feed->nsubs == 0)
		position_jump_all(feed);
	if (before != NULL)
		stream_remove_sub(before);
	if (request->identity != 0)
		identity = identity_find(link, request->session, request->identity);
	if (request->identity != 0 && identity == NULL)
		reason =
			(AccessReason){.kind = WIRE_NOT_AUTHENTICATED, .message = "the identity has ended"};
	else if (request->filter.len > 0 || request->has_columns)
		reason = (AccessReason){.kind = WIRE_BAD_FILTER,
								.message = "filters and columns are not supported"};
	else
		stream = stream_of_request(feed, identity, request, &reason);
	if (stream == NULL)
		stream_refuse(link, request->sub, &reason);
	else
		stream_start(link, stream, identity, request);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}

void
stream_unsubscribe(Link *link, const WireUnsubscribe *request)
{
	Sub *sub = hash_search(link->subs, &request->sub, HASH_FIND, NULL);

	if (sub == NULL)
		return;
	if ((sub->kinds & ~request->kinds) != 0)
		stream_end_events(sub);
	else
		stream_remove_sub(sub);
}

void
stream_credit(Link *link, const WireReplayCredit *credit)
{
	Sub *sub = hash_search(link->subs, &credit->sub, HASH_FIND, NULL);

	if (sub != NULL)
		sub->credit = Min(sub->credit + credit->bytes, sub->window);
}

void
stream_go_live(Sub *sub)
{
	Assert(sub->replaying);
	dlist_delete(&sub->in_replays);
	sub->replaying = false;
	stream_count_live(sub, 1);
}

void
stream_drop_link(Link *link)
{
	HASH_SEQ_STATUS status;
	Sub *sub;

	if (hash_get_num_entries(link->subs) == 0)
		return;
	hash_seq_init(&status, link->subs);
	while ((sub = hash_seq_search(&status)) != NULL)
		stream_remove_sub(sub);
}

/* ---------------- decisions ---------------- */

static void
stream_end(Feed *feed, Stream *stream, const AccessReason *reason)
{
	WireMessage message = {.type = WIRE_STREAM_ENDED};
	bool sent[NOTIFYD_MAX_GATEWAYS] = {false};
	StringInfoData text;
	dlist_mutable_iter iter;

	initStringInfo(&text);
	utf8_append(&text, reason->message, (int) strlen(reason->message));
	message.u.ended.stream = stream->number;
	message.u.ended.reason = reason->kind;
	message.u.ended.text = (WireBytes){.data = text.data, .len = (uint32_t) text.len};
	dlist_foreach_modify (iter, &stream->subs)
	{
		Sub *sub = dlist_container(Sub, in_stream, iter.cur);

		if (!sent[sub->link->gateway])
			frames_queue(&sub->link->socket, &message);
		sent[sub->link->gateway] = true;
		stream_remove_sub(sub);
	}
	pfree(text.data);
	stream_remove(feed, stream);
}

void
stream_redecide(Feed *feed, Stream *stream)
{
	AccessReason reason;

	stream_forget_decisions(stream);
	stream->due = false;
	if (!stream_decide(&stream->key, &stream->role, &stream->channel, &reason))
	{
		stream_end(feed, stream, &reason);
		return;
	}
	change_decided(stream);
	stream_adjust_listen(hash_search(feed->channels, stream->key.channel, HASH_FIND, NULL));
}

bool
stream_has_decision(Stream *stream, Oid relation)
{
	dlist_iter iter;

	dlist_foreach (iter, &stream->decisions)
	{
		if (dlist_container(StreamDecision, node, iter.cur)->relation == relation)
			return true;
	}
	return false;
}

void
stream_reset_notifies(Link *link)
{
	HASH_SEQ_STATUS status;
	Sub *sub;

	if (!link->notifies_lost || !link_ready(link))
		return;
	link->notifies_lost = false;
	hash_seq_init(&status, link->subs);
	while ((sub = hash_seq_search(&status)) != NULL)
	{
		WireMessage message = {.type = WIRE_RESET};

		if (!stream_notifies(sub->stream) || (sub->kinds & WIRE_KIND_NOTIFICATIONS) == 0)
			continue;
		message.u.reset.sub = sub->number;
		message.u.reset.kind = WIRE_KIND_NOTIFICATIONS;
		message.u.reset.reason = frames_bytes("notifications were lost");
		frames_queue(&link->socket, &message);
	}
}

bool
stream_event_allowed(Stream *stream, const LogEvent *event)
{
	StreamDecision *decision;
	AccessReason reason;
	dlist_iter iter;
	Size size = event->ncolumns > 0 ? event->ncolumns * sizeof(int16) : 0;

	if (!OidIsValid(event->relation))
		return stream->channel.granted;
	dlist_foreach (iter, &stream->decisions)
	{
		decision = dlist_container(StreamDecision, node, iter.cur);
		if (decision->relation == event->relation && decision->ncolumns == event->ncolumns &&
			(size == 0 || memcmp(decision->columns, event->columns, size) == 0))
			return decision->allowed;
	}
	decision =
		MemoryContextAlloc(stream->decisions_context, offsetof(StreamDecision, columns) + size);
	decision->relation = event->relation;
	decision->ncolumns = event->ncolumns;
	if (size > 0)
		memcpy(decision->columns, event->columns, size);
	decision->allowed = access_relation_allowed(stream->role, event->relation, event->ncolumns,
												event->columns, &reason);
	dlist_push_head(&stream->decisions, &decision->node);
	change_decided(stream);
	return decision->allowed;
}
