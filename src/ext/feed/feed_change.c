/*-------------------------------------------------------------------------
 *
 * feed_change.c
 *	  Collects changes that decisions about privileges depend on.
 *
 * PostgreSQL reports them with invalidations, which may arrive at any time. feed_recheck.c
 * processes them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/inval.h"
#include "utils/syscache.h"

#include "ext/base/relation_change.h"
#include "ext/feed/feed.h"

static FeedChanges changes; /* since the last change_take() */

/*
 * Called when a column or its privileges change too, because that invalidates the relation
 * (inval.c).
 */
static void
change_of_relation(Datum arg pg_attribute_unused(), Oid relation)
{
	for (int i = 0; i < changes.n; i++)
	{
		if (changes.relations[i] == relation)
			return;
	}
	if (!OidIsValid(relation) || changes.n == CHANGE_MAX_RELATIONS)
		changes.all = true;
	else
		changes.relations[changes.n++] = relation;
}

static void
change_of_role(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
			   uint32 hash pg_attribute_unused())
{
	changes.roles = true;
}

static void
change_of_schema(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
				 uint32 hash pg_attribute_unused())
{
	changes.all = true;
}

void
change_init(void)
{
	relation_change_register(change_of_relation);
	CacheRegisterSyscacheCallback(AUTHOID, change_of_role, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, change_of_role, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, change_of_role, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, change_of_schema, (Datum) 0);
}

bool
change_due(void)
{
	return changes.all || changes.roles || changes.n > 0;
}

void
change_all(void)
{
	changes.all = true;
}

FeedChanges
change_take(void)
{
	FeedChanges taken = changes;

	memset(&changes, 0, sizeof(changes));
	return taken;
}

void
change_decided(View *view)
{
	view->due |= changes.all || changes.roles;
}
