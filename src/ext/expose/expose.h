/*-------------------------------------------------------------------------
 *
 * expose.h
 *	  What clients may call, and which tables they may use by HTTP: notify_expose().
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_EXPOSE_H
#define PG_NOTIFYD_EXPOSE_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* Names and paths are shorter than this. */
#define EXPOSE_NAME_SIZE (NAMEDATALEN * 4)

/* A row of notifyd.exposed_function or notifyd.exposed_relation. */
typedef struct Exposure
{
	char *name; /* of the function for clients; of the relation, its path without slashes */
	Oid object;
	char *label; /* of a relation: what its rows are called; NULL for functions */
} Exposure;

/*
 * Find the exposed function with this name. Returns NULL if there is none, or if it was dropped. Sees what is
 * committed now. The result is in the current memory context.
 */
extern Exposure *expose_find_function(const char *name);

/* The same for all exposed functions or relations, as Exposures in the order of their names. */
extern List *expose_list_functions(void);
extern List *expose_list_relations(void);

/* The tables, whose relation cache entries are invalidated by each change. */
extern Oid expose_function_table(void);
extern Oid expose_relation_table(void);

#endif /* PG_NOTIFYD_EXPOSE_H */
