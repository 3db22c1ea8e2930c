/*-------------------------------------------------------------------------
 *
 * feed_sub.c
 *	  Subscriptions: how they begin and end, and their frames.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "ext/base/utf8.h"
#include "ext/base/worker.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_pattern.h"
#include "ext/feed/feed_place.h"
#include "ext/feed/feed_seen.h"
#include "ext/feed/feed_topic.h"
#include "wire/uri.h"

/* A condition of a filter takes about 2 kB of memory, so the filters of a connection are limited. */
#define SUB_FILTERS_BYTES (128 * 1024)

#define SUB_HOLD_US  20000
#define SUB_LATE_US  (30 * USECS_PER_SEC)
#define SUB_PAUSE_US (5 * USECS_PER_SEC) /* held that long after the last time: a new beginning */

/* A subscription may begin and end between two looks at the number of them. */
static void
sub_count(Feed *feed, int change)
{
	feed->nsubs += change;
	feed->idle_since = feed->now;
	feed->needed = true;
	pg_atomic_write_u32(&feed->database->subscriptions, feed->nsubs);
}

static void
sub_forget_seen(Sub *sub)
{
	if (sub->seen != NULL)
		pfree(sub->seen);
	sub->seen = NULL;
	sub->held = false;
}

/* ---------------- ends ---------------- */

void
sub_remove(Sub *sub)
{
	Link *link = sub->link;

	topic_end(sub);
	applied_end(sub);
	set_stop_waiting(sub);
	if (sub->stream->pattern != NULL)
		pattern_end(sub);
	stream_take(sub);
	if (sub->filter != NULL)
	{
		sub->session->filters -= strlen(sub->filter);
		pfree(sub->filter);
	}
	if (sub->identity != NULL)
		dlist_delete(&sub->in_identity);
	if (sub->replaying)
		dlist_delete(&sub->in_replays);
	sub_forget_seen(sub);
	sub_count(link->feed, -1);
	if (--sub->session->nsubs == 0)
		hash_search(link->sessions, &sub->session->number, HASH_REMOVE, NULL);
	hash_search(link->subs, &sub->number, HASH_REMOVE, NULL);
}

void
sub_end(Sub *sub, const AccessReason *reason)
{
	WireMessage message = {.type = WIRE_SUBSCRIPTION_ENDED};
	StringInfoData text;

	initStringInfo(&text);
	utf8_append(&text, reason->message, (int) strlen(reason->message));
	message.u.subscription_ended.sub = sub->number;
	message.u.subscription_ended.reason = reason->kind;
	message.u.subscription_ended.text = (WireBytes){.data = text.data, .len = (uint32_t) text.len};
	frames_queue(&sub->link->socket, &message);
	pfree(text.data);
	sub_remove(sub);
}

/* End the events of a subscription. It keeps its raw notifications. */
static void
sub_end_events(Sub *sub)
{
	stream_count(sub, -1);
	if (sub->replaying)
		dlist_delete(&sub->in_replays);
	applied_end(sub);
	sub->replaying = false;
	sub_forget_seen(sub);
	sub->kinds = WIRE_KIND_NOTIFICATIONS;
	sub->ops = 0;
	stream_count(sub, 1);
}

void
sub_drop_link(Link *link)
{
	HASH_SEQ_STATUS status;
	Sub *sub;

	if (hash_get_num_entries(link->subs) == 0)
		return;
	hash_seq_init(&status, link->subs);
	while ((sub = hash_seq_search(&status)) != NULL)
		sub_remove(sub);
}

/* ---------------- transactions for frames ---------------- */

void
sub_begin(void)
{
	if (!IsTransactionState())
		worker_begin_transaction();
}

void
sub_commit(Feed *feed)
{
	if (!dlist_is_empty(&feed->idle) || feed->applied_unsaved)
	{
		sub_begin();
		stream_remove_idle(feed);
	}
	if (IsTransactionState())
		applied_commit(feed);
}

/* ---------------- beginnings ---------------- */

static void
sub_refuse(Link *link, uint32 number, const AccessReason *reason)
{
	WireMessage message = {.type = WIRE_REFUSED};
	StringInfoData text;
	StringInfoData name;

	initStringInfo(&text);
	initStringInfo(&name);
	utf8_append(&text, reason->message, (int) strlen(reason->message));
	utf8_append(&name, reason->name, (int) strlen(reason->name));
	message.u.refused.sub = number;
	message.u.refused.reason = reason->kind;
	message.u.refused.text = (WireBytes){.data = text.data, .len = (uint32_t) text.len};
	message.u.refused.name = (WireBytes){.data = name.data, .len = (uint32_t) name.len};
	frames_queue(&link->socket, &message);
	pfree(text.data);
	pfree(name.data);
}

/*
 * Return the position at which a subscription with since begins. If events after since are missing,
 * sets *reason, and returns the position after which the log is complete.
 */
static WirePosition
sub_resume(Link *link, WirePosition since, const char **reason)
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
sub_send_subscribed(Sub *sub, WirePosition position)
{
	WireMessage message = {.type = WIRE_SUBSCRIBED};

	message.u.subscribed.sub = sub->number;
	message.u.subscribed.stream = sub->stream->number;
	message.u.subscribed.replay = sub->replaying || sub->scan != NULL;
	message.u.subscribed.notifies = stream_notifies(sub->stream);
	message.u.subscribed.position = position;
	frames_queue(&sub->link->socket, &message);
}

void
sub_send_reset(Sub *sub, NotifydReset kind, uint64 id, const char *reason)
{
	WireMessage message = {.type = WIRE_RESET};

	message.u.reset.sub = sub->number;
	message.u.reset.kind = WIRE_KIND_EVENTS;
	message.u.reset.position = (WirePosition){.timeline = sub->link->feed->timeline, .id = id};
	message.u.reset.reason = frames_bytes(reason);
	frames_queue(&sub->link->socket, &message);
	(void) pg_atomic_fetch_add_u64(&sub->link->feed->database->resets[kind], 1);
}

static Session *
sub_session(Link *link, uint32 number)
{
	bool found;
	Session *session = hash_search(link->sessions, &number, HASH_ENTER, &found);

	if (!found)
	{
		session->nsubs = 0;
		session->filters = 0;
		session->npatterns = 0;
		session->patterned = false;
		turns_open(&link->turns, &session->turns);
	}
	session->nsubs++;
	return session;
}

/* Let a subscription that is in no stream's counts replay. left: how many ids it has to read. */
static void
sub_begin_replay(Sub *sub, uint64 left)
{
	Link *link = sub->link;

	(void) pg_atomic_fetch_add_u64(&link->feed->database->replays, 1);
	sub->replaying = true;
	sub->credit = sub->window;
	turns_begin(&link->turns, &sub->turn, &sub->session->turns, left);
	dlist_push_tail(&link->replays, &sub->in_replays);
}

static void
sub_start(Link *link, Stream *stream, FeedIdentity *identity, const WireSubscribe *request,
		  bool waiting, TopicSubscriber before)
{
	WirePosition position = {.timeline = link->feed->timeline, .id = link->position};
	const char *reset = NULL;
	NotifydReset kind = NOTIFYD_RESET_POSITION;
	Sub *sub = hash_search(link->subs, &request->sub, HASH_ENTER, NULL);

	memset((char *) sub + sizeof(sub->number), 0, sizeof(Sub) - sizeof(sub->number));
	sub->link = link;
	sub->session = sub_session(link, request->session);
	sub->identity = identity;
	if (identity != NULL)
		dlist_push_tail(&identity->subs, &sub->in_identity);
	if (request->filter.len > 0)
	{
		sub->filter = MemoryContextAlloc(link->feed->context, request->filter.len + 1);
		memcpy(sub->filter, request->filter.data, request->filter.len);
		sub->filter[request->filter.len] = '\0';
		sub->session->filters += strlen(sub->filter);
	}
	sub->kinds = request->kinds;
	sub->ops = (request->kinds & WIRE_KIND_EVENTS) != 0 ? request->ops : 0;
	sub->window = Min(Max(request->window, 1), WIRE_REPLAY_WINDOW);
	if (request->has_since && ((sub->kinds & WIRE_KIND_EVENTS) != 0 || stream->pattern != NULL))
		position = sub_resume(link, request->since, &reset);
	if (reset != NULL && request->since.id < link->feed->map.oldest)
		kind = NOTIFYD_RESET_RETENTION;
	if (request->hold)
	{
		sub->reader = link->reader;
		sub_begin_replay(sub, 0);
		sub->held = true;
		sub->credit = 0;
	}
	else if ((position.id != link->position && stream->pattern == NULL) || waiting)
	{
		sub->reader.after = position.id;
		sub_begin_replay(sub, link->reader.after - Min(position.id, link->reader.after));
	}
	stream_add(stream, sub);
	if (stream->pattern != NULL)
		pattern_begin(sub, position.id);
	if (waiting)
		set_wait(sub);
	sub_count(link->feed, 1);
	sub->unplaced = waiting;
	sub->resumes = request->has_since && request->has_since != WIRE_SINCE_NEW && reset == NULL;
	if ((sub->kinds & WIRE_KIND_EVENTS) != 0 && !waiting)
	{
		const char *changed = applied_begin(sub, sub->resumes ? &position.id : NULL);

		if (reset == NULL && changed != NULL)
		{
			reset = changed;
			kind = NOTIFYD_RESET_ROWS;
		}
	}
	topic_begin(sub, request, before);
	sub_send_subscribed(sub, position);
	if (reset != NULL)
		sub_send_reset(sub, kind, position.id, reset);
}

/* Return the stream for a SUBSCRIBE, or NULL with the reason. */
static Stream *
sub_stream(Link *link, const WireSubscribe *request, FeedIdentity **identity, AccessReason *reason)
{
	const Session *session;
	View *view;
	Stream *stream;

	*identity = NULL;
	if (request->identity != 0)
	{
		/* link_subscribe() has checked that the session was given this number. */
		*identity = identity_find(link, request->session);
		if ((*identity)->context == NULL)
		{
			*reason =
				(AccessReason){.kind = WIRE_NOT_AUTHENTICATED, .message = "the identity has ended"};
			return NULL;
		}
	}
	session = hash_search(link->sessions, &request->session, HASH_FIND, NULL);
	if (session != NULL && session->filters + request->filter.len > SUB_FILTERS_BYTES)
	{
		*reason = (AccessReason){.kind = WIRE_BAD_FILTER};
		snprintf(reason->message, sizeof(reason->message),
				 "the filters of a connection may have at most %d bytes together",
				 SUB_FILTERS_BYTES);
		return NULL;
	}
	if (request->match != URI_EXACT)
		return pattern_stream(link, request, *identity != NULL ? (*identity)->role : "", reason);
	view = view_find_or_create(link->feed, *identity != NULL ? (*identity)->role : NULL,
							   request->channel,
							   request->has_columns ? columns_get(request->columns) : NULL, reason);
	if (view == NULL)
		return NULL;
	set_look_subscribe(view->channel);
	set_budget_begin();
	stream = set_stream(
		link, view, *identity,
		request->filter.len > 0 ? pnstrdup(request->filter.data, request->filter.len) : NULL,
		reason);
	if (stream == NULL && reason->kind == SET_NOT_NOW)
		stream = set_waiting_stream(link, view);
	if (stream == NULL && dlist_is_empty(&view->streams))
		view_remove(link->feed, view);
	return stream;
}

void
sub_subscribe(Link *link, const WireSubscribe *request)
{
	Feed *feed = link->feed;
	AccessReason reason = {.kind = WIRE_NOT_PERMITTED};
	MemoryContext context;
	MemoryContext outer;
	Stream *stream;
	FeedIdentity *identity;
	Sub *before = hash_search(link->subs, &request->sub, HASH_FIND, NULL);
	TopicSubscriber taken = {.topic = NULL};

	/* Free memory after each frame, not only at the end of the transaction. */
	context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd subscribe", ALLOCSET_SMALL_SIZES);
	outer = MemoryContextSwitchTo(context);
	if (feed->nsubs == 0)
		position_jump_all(feed);
	if (before != NULL)
	{
		taken = topic_take(before);
		sub_remove(before);
	}
	stream = sub_stream(link, request, &identity, &reason);
	if (stream == NULL)
	{
		sub_refuse(link, request->sub, &reason);
		topic_drop(feed, taken);
	}
	else
		sub_start(link, stream, identity, request, reason.kind == SET_NOT_NOW, taken);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}

/* ---------------- other frames ---------------- */

void
sub_unsubscribe(Link *link, const WireUnsubscribe *request)
{
	Sub *sub = hash_search(link->subs, &request->sub, HASH_FIND, NULL);

	if (sub == NULL)
		return;
	if ((sub->kinds & ~request->kinds) != 0)
		sub_end_events(sub);
	else
		sub_remove(sub);
}

void
sub_credit(Link *link, const WireReplayCredit *credit)
{
	Sub *sub = hash_search(link->subs, &credit->sub, HASH_FIND, NULL);

	if (sub != NULL && !sub->held)
		sub->credit = Min(sub->credit + credit->bytes, sub->window);
}

void
sub_replay(Sub *sub, const LogReader *reader, uint64 upto)
{
	WireMessage message = {.type = WIRE_REPLAY_BEGIN};

	if (sub->replaying || sub->ops == 0)
		return;
	stream_count(sub, -1);
	sub->reader = *reader;
	sub_begin_replay(sub, upto - reader->after);
	stream_count(sub, 1);
	message.u.replay_begin.sub = sub->number;
	frames_queue(&sub->link->socket, &message);
}

bool
sub_join(Link *link, const WireJoin *request)
{
	Sub *sub = hash_search(link->subs, &request->sub, HASH_FIND, NULL);

	/* The feed may have ended the subscription while the frame was on its way. */
	if (sub == NULL)
		return true;
	if (!sub->held)
		return false;
	sub->seen = seen_load(link->feed->context, &request->seen);
	sub->held = false;
	sub->window = Min(Max(request->window, 1), WIRE_REPLAY_WINDOW);
	sub->credit = sub->window;
	return true;
}

void
sub_hold(Sub *sub, uint64 after)
{
	LogReader reader = {.after = after};
	int64 now = feed_clock();

	sub_replay(sub, &reader, Max(after, sub->link->reader.after));
	if (sub->held_since == 0 || now - sub->held_until > SUB_PAUSE_US)
		sub->held_since = now;
	sub->held_until = now + SUB_HOLD_US;
}

bool
sub_is_late(const Sub *sub)
{
	return sub->held_since != 0 && feed_clock() - sub->held_since > SUB_LATE_US;
}

void
sub_go_live(Sub *sub)
{
	Assert(sub->replaying);
	sub_forget_seen(sub);
	dlist_delete(&sub->in_replays);
	stream_count(sub, -1);
	sub->replaying = false;
	sub->held_since = 0;
	stream_count(sub, 1);
}

void
sub_reset_notifies(Link *link)
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
		(void) pg_atomic_fetch_add_u64(&link->feed->database->resets[NOTIFYD_RESET_NOTIFICATIONS],
									   1);
	}
}
