/*-------------------------------------------------------------------------
 *
 * watch_shape.h
 *	  Shapes: the columns that a watched table had when an event was written.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WATCH_SHAPE_H
#define PG_NOTIFYD_WATCH_SHAPE_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/tupdesc.h"

typedef struct WatchShapeColumn
{
	AttrNumber attnum;
	Oid type;
	int32 typmod;
	NameData name;
} WatchShapeColumn;

/* The columns in the order of their numbers, without dropped ones. */
typedef struct WatchShape
{
	uint32 id; /* a hash of the columns; never 0 */
	int ncolumns;
	WatchShapeColumn columns[FLEXIBLE_ARRAY_MEMBER];
} WatchShape;

/* Return the shape of a relation, allocated in the current memory context. */
extern WatchShape *watch_shape_of(TupleDesc desc);

/*
 * Return a shape that the relation has had while it was watched, allocated in the current memory
 * context, or NULL if that is not known. Sees what is committed now.
 */
extern WatchShape *watch_find_shape(Oid relation, uint32 id);

/*
 * Store the shape that the relation has now, if the relation is watched. The caller holds a lock on
 * the relation that conflicts with itself and keeps the columns as they are. Does nothing with the
 * objects of version 1.0.
 */
extern void watch_note_shape(Oid relation);

/* Remove all shapes of a relation. */
extern void watch_forget_shapes(Oid relation);

#endif /* PG_NOTIFYD_WATCH_SHAPE_H */
