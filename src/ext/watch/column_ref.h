/*-------------------------------------------------------------------------
 *
 * column_ref.h
 *	  The type notifyd.column_ref: a reference to a column, like regclass is one to a relation.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_COLUMN_REF_H
#define PG_NOTIFYD_COLUMN_REF_H

#include "postgres.h"

#include "access/attnum.h"

/* The stored form: 8 bytes, aligned like int4, passed by reference. */
typedef struct ColumnReference
{
	Oid relation;
	int32 attnum;
} ColumnReference;

/*
 * Convert columns of one relation to an array of notifyd.column_ref (type_oid), and back. The
 * result is allocated in the current memory context. Reading raises ERRCODE_ARRAY_ELEMENT_ERROR for
 * a NULL element.
 */
extern Datum column_ref_array(Oid type_oid, Oid relation, const AttrNumber *attnums, int n);
extern AttrNumber *column_ref_attnums(Datum array, int *n);

#endif /* PG_NOTIFYD_COLUMN_REF_H */
