/*-------------------------------------------------------------------------
 *
 * router_table.c
 *	  Hash tables of the router, with chains. Members belong to the caller.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ext/wamp/router_internal.h"

#define TABLE_FIRST_BITS 6

static RouterNode **
table_bucket(const RouterTable *table, uint64_t key)
{
	return &table->buckets[(key * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - table->bits)];
}

static void
table_grow(Router *router, RouterTable *table)
{
	RouterTable old = *table;
	size_t size;

	table->bits = old.bits > 0 ? old.bits + 1 : TABLE_FIRST_BITS;
	size = sizeof(RouterNode *) << table->bits;
	table->buckets = memset(router_allocate(router, size), 0, size);
	for (size_t i = 0; old.bits > 0 && i < (size_t) 1 << old.bits; i++)
	{
		RouterNode *next;

		for (RouterNode *node = old.buckets[i]; node != NULL; node = next)
		{
			RouterNode **bucket = table_bucket(table, node->key);

			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	}
	router_release(router, old.buckets);
}

void
table_add(Router *router, RouterTable *table, RouterNode *node, uint64_t key)
{
	RouterNode **bucket;

	if (table->bits == 0 || table->n >= (size_t) 1 << table->bits)
		table_grow(router, table);
	bucket = table_bucket(table, key);
	node->key = key;
	node->next = *bucket;
	*bucket = node;
	table->n++;
}

void
table_remove(RouterTable *table, RouterNode *node)
{
	RouterNode **at = table_bucket(table, node->key);

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	table->n--;
}

static RouterNode *
table_scan(RouterNode *node, uint64_t key)
{
	while (node != NULL && node->key != key)
		node = node->next;
	return node;
}

RouterNode *
table_find(const RouterTable *table, uint64_t key)
{
	return table->bits > 0 ? table_scan(*table_bucket(table, key), key) : NULL;
}

RouterNode *
table_next(const RouterNode *node)
{
	return table_scan(node->next, node->key);
}
