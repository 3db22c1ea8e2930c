/*-------------------------------------------------------------------------
 *
 * feed_set.c
 *	  Which rows a subscription gets: binds row security and filters.
 *
 * A channel has sources: messages, and the tables whose events it has or had. A subscription with a
 * filter, or of a role that row security of a source applies to, belongs to a stream that has a
 * part for each source: a binding (ext/sets/), or nothing to limit it. Subscriptions of a view and
 * link with the same bindings share a stream. All others share the view's plain stream, which has
 * no parts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/filter/filter.h"
#include "ext/watch/watch.h"
#include "ext/watch/watch_shape.h"

/* ---------------- sources ---------------- */

/* Return a hash of the names and types of a source's columns, and of which are in its events. */
uint32
set_hash_columns(const FeedChannel *channel, Oid relation)
{
	Relation rel = OidIsValid(relation) ? RelationIdGetRelation(relation) : NULL;
	uint32 shape;

	if (rel == NULL)
		return 0;
	shape = watch_shape_of(RelationGetDescr(rel))->id;
	RelationClose(rel);
	return hash_combine(shape, bms_hash_value(watch_captured_columns(relation, channel->name)));
}

int
set_source(const FeedChannel *channel, Oid relation)
{
	for (int i = 0; i < channel->nsources; i++)
	{
		if (channel->sources[i]->relation == relation)
			return i;
	}
	return -1;
}

void
set_add_source(FeedChannel *channel, Oid relation)
{
	ChannelSource *source;

	if (set_source(channel, relation) >= 0)
		return;
	source = MemoryContextAlloc(channel->feed->context, sizeof(ChannelSource));
	source->relation = relation;
	source->columns = set_hash_columns(channel, relation);
	dlist_init(&source->open);
	channel->sources =
		channel->sources == NULL
			? MemoryContextAlloc(channel->feed->context, sizeof(ChannelSource *))
			: repalloc(channel->sources, (channel->nsources + 1) * sizeof(ChannelSource *));
	channel->sources[channel->nsources++] = source;
	channel->place |= channel->nspecial > 0;
}

void
set_find_sources(FeedChannel *channel)
{
	ListCell *cell;

	set_add_source(channel, InvalidOid);
	foreach (cell, watch_list_channel(channel->name))
		set_add_source(channel, ((const Watch *) lfirst(cell))->relation);
}

/* ---------------- binding ---------------- */

static bool
set_refuse(AccessReason *reason, WireReason kind, const char *message)
{
	reason->kind = kind;
	strlcpy(reason->message, message, sizeof(reason->message));
	reason->name[0] = '\0';
	return false;
}

/*
 * Bind the part of a stream for a source. Sets *applies if the filter is about it. Returns false
 * and sets *reason if the filter or a policy cannot be used.
 */
static bool
set_bind_part(View *view, Oid relation, const SetIdentity *identity, const FilterNode *filter,
			  StreamPart *part, bool *applies, AccessReason *reason)
{
	GuardActor actor = {.role = identity->role, .claims = identity->claims, .opaque = true};
	FilterExpression *expression = NULL;
	SetError error;
	char *problem;

	memset(part, 0, sizeof(*part));
	/* The role gets no event of a table of which it may read nothing. */
	if (OidIsValid(relation) ? !access_any_column(view->role, relation) : !view->access.granted)
	{
		part->nothing = true;
		return true;
	}
	if (filter != NULL)
	{
		switch (filter_expression(filter, relation,
								  watch_captured_columns(relation, view->channel->name), &actor,
								  &expression, &problem))
		{
			case FILTER_TYPED:
				*applies = true;
				if (!set_filter_allowed(view, relation, expression->columns, reason))
					return false;
				break;
			case FILTER_NO_COLUMN:
				if (OidIsValid(relation) && view->channel->nsources > 2)
					problem = psprintf("no table of the channel has all columns of the filter; in "
									   "table \"%s\", %s",
									   get_rel_name(relation), problem);
				set_refuse(reason, WIRE_BAD_FILTER, problem);
				/* Messages have no columns that a filter of rows could select. */
				part->nothing = !OidIsValid(relation);
				break;
			case FILTER_REFUSED:
				return set_refuse(reason, WIRE_BAD_FILTER, problem);
		}
	}
	if (part->nothing || set_bind(relation, identity, expression, &part->binding, &error))
		return true;
	return set_refuse(reason, error.later ? SET_NOT_NOW : error.reason, error.message);
}

static void
set_release_parts(StreamPart *parts, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (parts[i].binding != NULL)
			set_release(parts[i].binding);
	}
}

/*
 * Bind all parts. *n is 0 if nothing limits what the role may see. The caller has to release the
 * bindings.
 */
static bool
set_bind_parts(View *view, const SetIdentity *identity, const FilterNode *filter, StreamPart *parts,
			   int *n, AccessReason *reason)
{
	FeedChannel *channel = view->channel;
	bool applies = filter == NULL;
	bool limited = filter != NULL;

	for (*n = 0; *n < channel->nsources; (*n)++)
	{
		if (!set_bind_part(view, channel->sources[*n]->relation, identity, filter, &parts[*n],
						   &applies, reason))
		{
			set_release_parts(parts, *n);
			return false;
		}
		limited |= parts[*n].binding != NULL;
	}
	/* The reason is that of the last source. */
	if (!applies)
		set_release_parts(parts, *n);
	else if (!limited)
		*n = 0;
	return applies;
}

/* Return true if row security of a source applies to the view's role. */
static bool
set_is_restricted(const View *view)
{
	for (int i = 0; i < view->channel->nsources; i++)
	{
		Oid relation = view->channel->sources[i]->relation;

		if (OidIsValid(relation) && access_row_security(view->role, relation))
			return true;
	}
	return false;
}

/* ---------------- streams with parts ---------------- */

static bool
set_same_parts(const Stream *stream, const View *view, const Link *link, const StreamPart *parts,
			   int n)
{
	if (stream->view != view || stream->link != link || stream->nparts != n)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (stream->parts[i].binding != parts[i].binding ||
			stream->parts[i].nothing != parts[i].nothing)
			return false;
	}
	return true;
}

/* Find the stream with these parts among the users of one of their bindings. */
static Stream *
set_find_stream(const View *view, const Link *link, const StreamPart *parts, int n)
{
	dlist_iter iter;

	for (int i = 0; i < n; i++)
	{
		if (parts[i].binding == NULL)
			continue;
		dlist_foreach (iter, set_users(parts[i].binding))
		{
			Stream *stream = dlist_container(StreamPart, node, iter.cur)->stream;

			if (set_same_parts(stream, view, link, parts, n))
				return stream;
		}
		break;
	}
	return NULL;
}

/*
 * Put the bindings of parts into the index. Returns false and sets *reason if that fails. They must
 * not stay there without users.
 */
static bool
set_index_parts(const StreamPart *parts, int n, AccessReason *reason)
{
	SetError error;

	for (int i = 0; i < n; i++)
	{
		SetBinding *binding = parts[i].binding;

		if (binding == NULL || set_index_has(binding) || set_index_add(binding, &error))
			continue;
		while (i-- > 0)
		{
			if (parts[i].binding != NULL && dlist_is_empty(set_users(parts[i].binding)))
				set_index_remove(parts[i].binding);
		}
		return set_refuse(reason, error.reason, error.message);
	}
	return true;
}

/* Give a new stream its parts, which are in the index, and whose references it takes over. */
static void
set_add_parts(Stream *stream, const StreamPart *parts, int n)
{
	FeedChannel *channel = stream->view->channel;

	stream->nparts = n;
	stream->parts = MemoryContextAlloc(stream->link->feed->context, n * sizeof(StreamPart));
	for (int i = 0; i < n; i++)
	{
		StreamPart *part = &stream->parts[i];

		*part = parts[i];
		part->stream = stream;
		if (part->binding == NULL)
		{
			if (!part->nothing)
				dlist_push_tail(&channel->sources[i]->open, &part->node);
			continue;
		}
		dlist_push_tail(set_users(part->binding), &part->node);
		stream->refreshed |= set_needs_refresh(part->binding);
		/* The order of sources does not matter. */
		if (set_policies(part->binding) != 0)
			stream->policies +=
				hash_combine64(set_policies(part->binding), channel->sources[i]->relation);
	}
	if (stream->refreshed)
		dlist_push_tail(&channel->refreshed, &stream->in_refreshed);
	channel->nspecial++;
}

Stream *
set_waiting_stream(Link *link, View *view)
{
	int n = view->channel->nsources;
	StreamPart *parts = palloc0(n * sizeof(StreamPart));
	Stream *stream = stream_create(link, view);

	for (int i = 0; i < n; i++)
		parts[i].nothing = true;
	set_add_parts(stream, parts, n);
	return stream;
}

void
set_want_parts(Stream *stream, int change)
{
	for (int i = 0; i < stream->nparts; i++)
	{
		if (stream->parts[i].binding != NULL)
			set_want(stream->parts[i].binding, change);
	}
}

void
set_remove_parts(Stream *stream)
{
	if (stream->nparts == 0)
		return;
	for (int i = 0; i < stream->nparts; i++)
	{
		StreamPart *part = &stream->parts[i];

		if (!part->nothing)
			dlist_delete(&part->node);
		if (part->binding == NULL)
			continue;
		if (dlist_is_empty(set_users(part->binding)))
			set_index_remove(part->binding);
		set_release(part->binding);
	}
	if (stream->refreshed)
		dlist_delete(&stream->in_refreshed);
	pfree(stream->parts);
	stream->view->channel->nspecial--;
}

/* Return the claims of an identity in the server's encoding. */
static const char *
set_claims(const FeedIdentity *identity)
{
	return identity != NULL && identity->claims != NULL
			   ? JsonbToCString(NULL, &identity->claims->root, VARSIZE(identity->claims))
			   : NULL;
}

static Stream *
set_bound_stream(Link *link, View *view, const FeedIdentity *identity, const char *filter,
				 AccessReason *reason)
{
	SetIdentity who = {.role = view->role, .claims = set_claims(identity)};
	StreamPart *parts = palloc(view->channel->nsources * sizeof(StreamPart));
	FilterNode *parsed = NULL;
	const char *problem;
	Stream *stream;
	int n;

	if (!access_has_sets())
	{
		set_refuse(reason, WIRE_BAD_FILTER,
				   "filters need ALTER EXTENSION pg_notifyd UPDATE in this database");
		return NULL;
	}
	if (filter != NULL)
	{
		parsed = filter_parse(filter, strlen(filter), palloc, &problem);
		if (parsed == NULL)
		{
			StringInfoData message;

			initStringInfo(&message);
			utf8_append_server(&message, problem, (int) strlen(problem));
			set_refuse(reason, WIRE_BAD_FILTER, message.data);
			return NULL;
		}
	}
	if (!set_bind_parts(view, &who, parsed, parts, &n, reason))
		return NULL;
	if (n == 0)
		return stream_plain(link, view);
	stream = set_find_stream(view, link, parts, n);
	if (stream != NULL)
	{
		set_release_parts(parts, n);
		return stream;
	}
	if (!set_index_parts(parts, n, reason))
	{
		set_release_parts(parts, n);
		return NULL;
	}
	stream = stream_create(link, view);
	set_add_parts(stream, parts, n);
	return stream;
}

Stream *
set_stream(Link *link, View *view, const FeedIdentity *identity, const char *filter,
		   AccessReason *reason)
{
	Stream *stream;

	if (view->channel->nsources == 0)
		set_find_sources(view->channel);
	if (filter == NULL && !set_is_restricted(view))
		return stream_plain(link, view);
	PushActiveSnapshot(GetLatestSnapshot());
	stream = set_bound_stream(link, view, identity, filter, reason);
	PopActiveSnapshot();
	return stream;
}
