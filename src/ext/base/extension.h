/*-------------------------------------------------------------------------
 *
 * extension.h
 *	  The extension in this database: its version, beside that of the library.
 *
 * The library is loaded when the server starts, and the extension's objects are those of the
 * last CREATE or ALTER EXTENSION. So after an installation of new files and a restart a
 * database has the objects of an earlier version until somebody updates it. Changes are
 * captured and sent meanwhile, with those objects. The SQL functions are refused, because
 * their arguments and results may be others.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_EXTENSION_H
#define PG_NOTIFYD_EXTENSION_H

#include "postgres.h"

#define EXTENSION_NAME   "pg_notifyd"
#define EXTENSION_SCHEMA "notifyd" /* of its tables and views, and of functions for itself */

/*
 * For every SQL function, before it looks at its arguments: raise
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, with what to do as the hint, unless the extension in
 * this database is of the library's version. Raises ERRCODE_UNDEFINED_OBJECT where it is not there.
 */
extern void extension_require_version(void);

/*
 * For the feed, when it starts and when the extension may have changed: tell the server's log, once
 * for each version, that the extension is of another version than the library. Needs a transaction.
 */
extern void extension_report_version(void);

/* The role that owns the extension. Raises ERRCODE_UNDEFINED_OBJECT where it is not there. */
extern Oid extension_owner(void);

/*
 * Whether a role may change what belongs to the extension's owner: a superuser, or a role that has
 * the owner's privileges. Raises extension_owner()'s error for a role that is no superuser.
 */
extern bool extension_is_admin(Oid role);

/* The extension's OID. Raises ERRCODE_UNDEFINED_OBJECT where it is not there, unless missing_ok. */
extern Oid extension_oid(bool missing_ok);

/*
 * The OID of a table, index or sequence in the extension's schema. Raises ERRCODE_UNDEFINED_TABLE
 * where it is not there; find returns InvalidOid instead, as for what an earlier version does not
 * have.
 */
extern Oid extension_relation(const char *name);
extern Oid extension_find_relation(const char *name);

#endif /* PG_NOTIFYD_EXTENSION_H */
