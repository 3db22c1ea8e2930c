/*-------------------------------------------------------------------------
 *
 * feed_recheck.c
 *	  When decisions about privileges are made anew.
 *
 * A decision is kept until PostgreSQL says, by an invalidation, that something it depends on may
 * have changed. What has come in is looked at before the next event is read, and only what it
 * concerns is decided anew:
 *
 *	  a relation	the streams of the channels that it is watched on, and what was decided about its events;
 *	  a role, a membership, the database
 *					the streams of roles whose standing is another one now (access_role.c);
 *	  a schema, notifyd.watch, notifyd.channel_grant, or more than can be told
 *					all streams.
 *
 * Most relations and roles concern no stream: everybody's temporary tables, somebody's password. To
 * find that out takes one look at notifyd.watch's index for a relation, and one at a role's
 * memberships for each role that has streams.
 *
 * A standing tells only what has changed since it was made. So a decision that is made after a
 * change has come in, and before it has been looked at, is made anew in any case (Stream.due): it
 * may be right for a state that has gone again by then. A decision that is made while none has come
 * in uses what the standing was made from, because that is still in PostgreSQL's caches.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ext/base/extension.h"
#include "ext/feed/feed.h"
#include "ext/watch/watch.h"

/* A role that had streams at the last look. */
typedef struct RecheckRole
{
	char name[NAMEDATALEN]; /* as in StreamKey */
	AccessStanding *standing;
	uint64 look; /* when it was made */
	bool changed;
} RecheckRole;

static HTAB *recheck_roles; /* name -> RecheckRole */
static uint64 recheck_looks = 0;

void
recheck_init(Feed *feed)
{
	HASHCTL roles = {
		.keysize = NAMEDATALEN, .entrysize = sizeof(RecheckRole), .hcxt = feed->context};

	recheck_roles =
		hash_create("pg_notifyd roles", 16, &roles, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	change_init();
}

/* ---------------- relations ---------------- */

/* The streams of the channels that a relation is watched on are due. */
static void
recheck_watched(Feed *feed, Oid relation)
{
	ListCell *cell;

	foreach (cell, watch_list(relation))
	{
		const char *name = ((const Watch *) lfirst(cell))->channel;
		FeedChannel *channel = stream_channel(feed, name, (int) strlen(name));
		dlist_iter iter;

		if (channel == NULL)
			continue;
		dlist_foreach (iter, &channel->streams)
			dlist_container(Stream, in_channel, iter.cur)->due = true;
	}
}

static void
recheck_relations(Feed *feed, FeedChanges *changes)
{
	for (int i = 0; i < changes->n && !changes->all; i++)
	{
		Oid relation = changes->relations[i];

		if (relation == extension_relation("watch") ||
			relation == extension_relation("channel_grant"))
			changes->all = true;
		else
			recheck_watched(feed, relation);
	}
}

/* ---------------- roles ---------------- */

/* Whether the stream's role is another one than at the last look. */
static bool
recheck_role(Feed *feed, const Stream *stream)
{
	bool found;
	RecheckRole *role = hash_search(recheck_roles, stream->key.role, HASH_ENTER, &found);
	AccessStanding *standing;
	Size size;

	if (found && role->look == recheck_looks)
		return role->changed;
	if (!found)
		role->standing = NULL;
	role->look = recheck_looks;
	standing = access_standing(stream->key.role);
	role->changed = role->standing == NULL || !access_standing_same(role->standing, standing);
	if (role->changed)
	{
		if (role->standing != NULL)
			pfree(role->standing);
		size = offsetof(AccessStanding, roles) + standing->n * sizeof(Oid);
		role->standing = memcpy(MemoryContextAlloc(feed->context, size), standing, size);
	}
	return role->changed;
}

/* A role without streams has not been looked at: nothing is known of it any more. */
static void
recheck_sweep_roles(void)
{
	HASH_SEQ_STATUS status;
	RecheckRole *role;

	hash_seq_init(&status, recheck_roles);
	while ((role = hash_seq_search(&status)) != NULL)
	{
		if (role->look == recheck_looks)
			continue;
		pfree(role->standing);
		hash_search(recheck_roles, role->name, HASH_REMOVE, NULL);
	}
}

/* ---------------- the look ---------------- */

/* Whether what was decided for a stream has to be decided anew. */
static bool
recheck_concerns(Feed *feed, const FeedChanges *changes, Stream *stream)
{
	bool concerns = changes->all || stream->due;

	for (int i = 0; i < changes->n; i++)
	{
		if (stream_has_decision(stream, changes->relations[i]))
			stream_forget_decisions(stream);
	}

	/* In any case, so that there is a standing which is as new as the decision. */
	if (changes->all || changes->roles)
		concerns |= recheck_role(feed, stream);
	return concerns;
}

void
recheck_look(Feed *feed)
{
	FeedChanges changes;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext each;
	HASH_SEQ_STATUS status;
	Stream *stream;
	int n = 0;

	if (!change_due())
		return;
	changes = change_take();
	recheck_looks++;
	each = AllocSetContextCreate(context, "pg_notifyd recheck", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(each);
	recheck_relations(feed, &changes);
	MemoryContextReset(each);
	MemoryContextSwitchTo(context);
	hash_seq_init(&status, feed->streams);
	while ((stream = hash_seq_search(&status)) != NULL)
	{
		MemoryContextSwitchTo(each);
		if (recheck_concerns(feed, &changes, stream))
		{
			stream_decide_anew(feed, stream);
			n++;
		}
		MemoryContextReset(each);
		MemoryContextSwitchTo(context);
	}
	MemoryContextDelete(each);
	if (changes.all || changes.roles)
		recheck_sweep_roles();
	ereport(DEBUG2, (errmsg_internal("pg_notifyd: %d streams were decided anew", n)));
}
