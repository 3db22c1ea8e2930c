/*-------------------------------------------------------------------------
 *
 * feed_recheck.c
 *	  Repeats decisions about privileges.
 *
 * A decision is valid until PostgreSQL reports with an invalidation that something it depends on
 * may have changed. The feed processes the invalidations before it reads the next event, and
 * repeats only the decisions that they concern:
 *
 *	  a relation	the views of the channels that it is watched on, and the decisions on its events;
 *	  a role, a membership, the database
 *					the views of roles whose standing has changed (access_role.c);
 *	  a schema, notifyd.watch, notifyd.channel_grant, or unknown changes
 *					all views.
 *
 * Most relations and roles concern no view: temporary tables, for example, and passwords. To find
 * that out takes one lookup in the index of notifyd.watch for a relation, and one of the
 * memberships of each role that has views.
 *
 * A standing shows only what has changed since it was made. So a decision that is made between the
 * arrival of a change and its processing is always repeated (View.due), because it may be right
 * only for a state that no longer exists. A decision that is made while no change is waiting uses
 * the same data as the standing, which is still in PostgreSQL's caches.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ext/base/extension.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_pattern.h"
#include "ext/feed/feed_rights.h"
#include "ext/feed/feed_route.h"
#include "ext/watch/watch.h"

/* A role that had views at the last check. */
typedef struct RecheckRole
{
	char name[NAMEDATALEN]; /* like in ViewKey */
	AccessStanding *standing;
	uint64 look; /* the check that made the standing */
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

/* Mark the views of the channels that a relation is watched on as due. Returns false if there are none. */
static bool
recheck_watched(Feed *feed, Oid relation)
{
	List *watches = watch_list(relation);
	ListCell *cell;

	foreach (cell, watches)
	{
		const char *name = ((const Watch *) lfirst(cell))->channel;
		FeedChannel *channel = view_channel(feed, name, (int) strlen(name));
		dlist_iter iter;

		if (channel == NULL)
			continue;
		dlist_foreach (iter, &channel->views)
			dlist_container(View, in_channel, iter.cur)->due = true;
	}
	return watches != NIL;
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
		else if (relation == extension_find_relation("disconnected") ||
				 relation == extension_find_relation("wamp_user"))
			changes->disconnected = true;
		else
			changes->channels |= relation == extension_find_relation("channel_type") ||
								 recheck_watched(feed, relation);
	}
}

/* ---------------- roles ---------------- */

/* Return true if the standing of the view's role has changed since the last check. */
static bool
recheck_role(Feed *feed, const View *view)
{
	bool found;
	RecheckRole *role = hash_search(recheck_roles, view->key.role, HASH_ENTER, &found);
	AccessStanding *standing;
	Size size;

	if (found && role->look == recheck_looks)
		return role->changed;
	if (!found)
		role->standing = NULL;
	role->look = recheck_looks;
	standing = access_standing(view->key.role);
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

/* Forget roles without views, because they were not checked. */
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

/* Return true if the decision for a view must be repeated. */
static bool
recheck_concerns(Feed *feed, const FeedChanges *changes, View *view)
{
	bool concerns = changes->all || view->due;

	for (int i = 0; i < changes->n; i++)
	{
		if (view_has_decision(view, changes->relations[i]))
			view_forget_decisions(view);
	}

	/* Check the role in any case, so that its standing is as new as the decision. */
	if (changes->all || changes->roles)
		concerns |= recheck_role(feed, view);
	return concerns;
}

void
recheck_look(Feed *feed)
{
	FeedChanges changes;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext each;
	HASH_SEQ_STATUS status;
	View *view;
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
	if (changes.all || changes.roles || changes.channels)
	{
		rights_forget();
		route_recheck();
		pattern_recheck(feed, changes.all || changes.roles);
	}
	if (changes.all || changes.roles || changes.disconnected)
		identity_recheck(feed);
	hash_seq_init(&status, feed->views);
	while ((view = hash_seq_search(&status)) != NULL)
	{
		MemoryContextSwitchTo(each);
		if (recheck_concerns(feed, &changes, view))
		{
			AccessReason reason;

			if (!view_redecide(view, &reason))
				stream_end_view(feed, view, &reason);
			n++;
		}
		MemoryContextReset(each);
		MemoryContextSwitchTo(context);
	}
	MemoryContextDelete(each);
	if (changes.all || changes.roles)
		recheck_sweep_roles();
	ereport(DEBUG2, (errmsg_internal("pg_notifyd: %d views were checked again", n)));
}
