/*-------------------------------------------------------------------------
 *
 * feed_view.c
 *	  Channels, and views: what a role may see of a channel.
 *
 * Every decision about privileges is made for a view, and kept until something that it depends on
 * may have changed (feed_recheck.c). A view that is no longer allowed ends with all its streams.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "ext/base/operation.h"
#include "ext/feed/feed.h"
#include "ext/feed/listen.h"

/* A decision about the events with these columns of this relation. */
typedef struct ViewDecision
{
	dlist_node node;
	Oid relation;
	bool allowed;
	bool restricted; /* row security applies to the role */
	int ncolumns;
	int16 columns[FLEXIBLE_ARRAY_MEMBER];
} ViewDecision;

static MemoryContext view_context; /* of the decisions */

void
view_init(Feed *feed)
{
	HASHCTL views = {.keysize = sizeof(ViewKey), .entrysize = sizeof(View), .hcxt = feed->context};
	HASHCTL channels = {
		.keysize = NAMEDATALEN, .entrysize = sizeof(FeedChannel), .hcxt = feed->context};

	view_context = feed->context;
	feed->views =
		hash_create("pg_notifyd views", 64, &views, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	feed->channels =
		hash_create("pg_notifyd channels", 64, &channels, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* ---------------- channels ---------------- */

FeedChannel *
view_channel(Feed *feed, const char *name, int length)
{
	char key[NAMEDATALEN];

	if (length >= NAMEDATALEN)
		return NULL;
	memcpy(key, name, length);
	key[length] = '\0';
	return hash_search(feed->channels, key, HASH_FIND, NULL);
}

/* LISTEN while a view of the channel may get raw notifications. */
static void
view_adjust_listen(FeedChannel *channel)
{
	bool wanted = false;
	dlist_iter iter;

	dlist_foreach (iter, &channel->views)
		wanted |= view_notifies(dlist_container(View, in_channel, iter.cur));
	if (wanted && !channel->listening)
		listen_add(channel->name);
	else if (!wanted && channel->listening)
		listen_remove(channel->name);
	channel->listening = wanted;
}

bool
view_copy_name(char *to, WireBytes name)
{
	char *server;

	memset(to, 0, NAMEDATALEN);
	if (name.len == 0)
		return true;
	server = view_server_text(name);
	if (server == NULL || strlen(server) >= NAMEDATALEN)
		return false;
	strcpy(to, server);
	return true;
}

char *
view_server_text(WireBytes text)
{
	char *server = pnstrdup(text.data, text.len);

	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
	{
		Oid conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
		Size size = (Size) text.len * MAX_CONVERSION_GROWTH + 1;
		char *converted = palloc0(size);

		if (!OidIsValid(conversion) ||
			pg_do_encoding_conversion_buf(
				conversion, PG_UTF8, GetDatabaseEncoding(), (unsigned char *) server, text.len,
				(unsigned char *) converted, (int) size, true) != (int) text.len)
			return NULL;
		server = converted;
	}
	return server;
}

/* ---------------- views ---------------- */

/* Return the columns of a view, NULL: all. */
static const AccessColumns *
view_columns(const ViewKey *key)
{
	return key->columns != NULL ? &key->columns->access : NULL;
}

/*
 * Find the role of a view, and what its channel offers to that role. Returns false and sets the
 * reason if it may not subscribe.
 */
static bool
view_decide(const ViewKey *key, Oid *role, AccessChannel *access, AccessReason *reason)
{
	*role = access_role(key->role, reason);
	return OidIsValid(*role) &&
		   access_channel(*role, key->channel, view_columns(key), access, reason);
}

static View *
view_enter(Feed *feed, const ViewKey *key)
{
	bool found;
	View *view = hash_search(feed->views, key, HASH_ENTER, &found);

	if (found)
	{
		columns_release(key->columns);
		return view;
	}
	memset((char *) view + sizeof(ViewKey), 0, sizeof(View) - sizeof(ViewKey));
	dlist_init(&view->decisions);
	dlist_init(&view->filters);
	dlist_init(&view->streams);
	view->channel = hash_search(feed->channels, key->channel, HASH_ENTER, &found);
	if (!found)
	{
		memset(view->channel->name + NAMEDATALEN, 0, sizeof(FeedChannel) - NAMEDATALEN);
		view->channel->feed = feed;
		dlist_init(&view->channel->views);
		slist_init(&view->channel->scanned);
		dlist_init(&view->channel->refreshed);
	}
	if (key->columns != NULL)
		view->channel->nspecial++;
	dlist_push_tail(&view->channel->views, &view->in_channel);
	return view;
}

View *
view_find_or_create(Feed *feed, const char *role, WireBytes channel, FeedColumns *columns,
					AccessReason *reason)
{
	ViewKey key;
	View *view;
	AccessChannel access;
	Oid oid;

	memset(&key, 0, sizeof(key));
	if (role != NULL)
		strlcpy(key.role, role, sizeof(key.role));
	key.columns = columns;
	*reason = (AccessReason){.kind = WIRE_NO_SUCH_CHANNEL, .message = "no such channel"};
	if (!view_copy_name(key.channel, channel))
	{
		columns_release(columns);
		return NULL;
	}
	view = hash_search(feed->views, &key, HASH_FIND, NULL);
	if (view != NULL && !view->due && !change_due())
	{
		columns_release(columns);
		return view;
	}
	if (!view_decide(&key, &oid, &access, reason) ||
		!access_channel_captured(oid, key.channel, view_columns(&key), reason))
	{
		columns_release(columns);
		return NULL;
	}
	view = view_enter(feed, &key);
	view->role = oid;
	view->access = access;
	change_decided(view);
	view_adjust_listen(view->channel);
	return view;
}

bool
view_has_plain(const View *view)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (view->plain[i] != NULL && view->plain[i]->live > 0)
			return true;
	}
	return false;
}

void
view_remove(Feed *feed, View *view)
{
	FeedChannel *channel = view->channel;
	ViewKey key = view->key;

	Assert(dlist_is_empty(&view->streams));
	dlist_delete(&view->in_channel);
	view_adjust_listen(channel);
	if (key.columns != NULL)
		channel->nspecial--;
	if (dlist_is_empty(&channel->views))
	{
		for (int i = 0; i < channel->nsources; i++)
			pfree(channel->sources[i]);
		if (channel->sources != NULL)
			pfree(channel->sources);
		hash_search(feed->channels, channel->name, HASH_REMOVE, NULL);
	}
	view_forget_decisions(view);
	set_forget_filters(view);
	hash_search(feed->views, &key, HASH_REMOVE, NULL);
	columns_release(key.columns);
}

/* ---------------- decisions ---------------- */

bool
view_redecide(View *view, AccessReason *reason)
{
	bool restricted = view->access.restricted;

	view_forget_decisions(view);
	view->due = false;
	if (!view_decide(&view->key, &view->role, &view->access, reason))
		return false;
	change_decided(view);
	view_adjust_listen(view->channel);
	view->channel->place |= view->access.restricted != restricted;
	set_recheck_filters(view);
	/* A new table may be watched on the channel. */
	if (view->channel->nsources > 0)
		set_find_sources(view->channel);
	return true;
}

bool
view_has_decision(const View *view, Oid relation)
{
	dlist_iter iter;

	dlist_foreach (iter, (dlist_head *) &view->decisions)
	{
		if (dlist_container(ViewDecision, node, iter.cur)->relation == relation)
			return true;
	}
	return false;
}

void
view_forget_decisions(View *view)
{
	while (!dlist_is_empty(&view->decisions))
		pfree(dlist_container(ViewDecision, node, dlist_pop_head_node(&view->decisions)));
}

static ViewDecision *
view_decide_event(View *view, const LogEvent *event)
{
	ViewDecision *decision;
	AccessReason reason;
	dlist_iter iter;
	Size size = event->ncolumns > 0 ? event->ncolumns * sizeof(int16) : 0;

	dlist_foreach (iter, &view->decisions)
	{
		decision = dlist_container(ViewDecision, node, iter.cur);
		if (decision->relation == event->relation && decision->ncolumns == event->ncolumns &&
			(size == 0 || memcmp(decision->columns, event->columns, size) == 0))
			return decision;
	}
	decision = MemoryContextAlloc(view_context, offsetof(ViewDecision, columns) + size);
	decision->relation = event->relation;
	decision->ncolumns = event->ncolumns;
	if (size > 0)
		memcpy(decision->columns, event->columns, size);
	decision->allowed = access_relation_allowed(view->role, event->relation, event->ncolumns,
												event->columns, &reason);
	decision->restricted = decision->allowed && access_row_security(view->role, event->relation);
	dlist_push_head(&view->decisions, &decision->node);
	change_decided(view);
	return decision;
}

bool
view_event_allowed(View *view, const LogEvent *event, bool *restricted)
{
	const ViewDecision *decision;

	*restricted = false;
	if (!OidIsValid(event->relation))
		return view->access.granted;
	if (view->key.columns != NULL &&
		(event->op == OPERATION_TRUNCATE || event->op == OPERATION_RESET))
		return access_any_column(view->role, event->relation);
	decision = view_decide_event(view, event);
	*restricted = decision->restricted;
	return decision->allowed;
}
