/*-------------------------------------------------------------------------
 *
 * column_ref.h
 *	  The type notifyd.column_ref: a column, as regclass is a relation.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_COLUMN_REF_H
#define PG_NOTIFYD_COLUMN_REF_H

#include "postgres.h"

#include "access/attnum.h"

/* As stored: 8 bytes, aligned as int4, passed by reference. */
typedef struct ColumnReference
{
	Oid relation;
	int32 attnum;
} ColumnReference;

/*
 * Columns of one relation, as an array of notifyd.column_ref (type_oid) and back. The
 * result is allocated in the current context. Reading errors with
 * ERRCODE_ARRAY_ELEMENT_ERROR where an element is NULL.
 */
extern Datum column_ref_array(Oid type_oid, Oid relation, const AttrNumber *attnums, int n);
extern AttrNumber *column_ref_attnums(Datum array, int *n);

#endif /* PG_NOTIFYD_COLUMN_REF_H */
