/*-------------------------------------------------------------------------
 *
 * relation_change.c
 *	  Shares one of PostgreSQL's callbacks. See relation_change.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "ext/base/relation_change.h"

typedef struct ChangeListener
{
	slist_node node;
	RelcacheCallbackFunction function;
} ChangeListener;

static slist_head change_listeners = SLIST_STATIC_INIT(change_listeners);

static void
change_tell(Datum arg pg_attribute_unused(), Oid relation)
{
	slist_iter iter;

	slist_foreach (iter, &change_listeners)
		slist_container(ChangeListener, node, iter.cur)->function((Datum) 0, relation);
}

void
relation_change_register(RelcacheCallbackFunction function)
{
	static bool registered = false;
	ChangeListener *listener = MemoryContextAlloc(TopMemoryContext, sizeof(*listener));

	if (!registered)
		CacheRegisterRelcacheCallback(change_tell, (Datum) 0);
	registered = true;
	listener->function = function;
	slist_push_head(&change_listeners, &listener->node);
}
