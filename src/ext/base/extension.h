/*-------------------------------------------------------------------------
 *
 * extension.h
 *	  The version of the extension in this database, compared with the library's.
 *
 * The server loads the library when it starts, but the extension's objects are those of the last
 * CREATE or ALTER EXTENSION. So after new files are installed and the server is restarted, a
 * database has the objects of an earlier version until somebody updates the extension. Meanwhile
 * changes are captured and sent with those objects. The SQL functions raise an error, because their
 * arguments and results may differ.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_EXTENSION_H
#define PG_NOTIFYD_EXTENSION_H

#include "postgres.h"

#define EXTENSION_NAME   "pg_notifyd"
#define EXTENSION_SCHEMA "notifyd" /* of its tables, views and internal functions */

/*
 * Called by every SQL function before it reads its arguments: raise
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, with a hint, unless the extension in this database has
 * the library's version. Raises ERRCODE_UNDEFINED_OBJECT if it is not installed.
 */
extern void extension_require_version(void);

/*
 * Called by the feed when it starts and when the extension may have changed: log once for each
 * version that the extension's version differs from the library's. Needs a transaction.
 */
extern void extension_report_version(void);

/*
 * Return the role that owns the extension. Raises ERRCODE_UNDEFINED_OBJECT if it is not installed.
 */
extern Oid extension_owner(void);

/*
 * Return true for superusers and for roles with the privileges of the extension's owner. Raises the
 * error of extension_owner() if the role is not a superuser.
 */
extern bool extension_is_admin(Oid role);

/*
 * Return the extension's OID. Raises ERRCODE_UNDEFINED_OBJECT if it is not installed, unless
 * missing_ok is true.
 */
extern Oid extension_oid(bool missing_ok);

/*
 * Return the OID of a table, index or sequence in the extension's schema. Raises
 * ERRCODE_UNDEFINED_TABLE if it does not exist. extension_find_relation() returns InvalidOid
 * instead; use it for objects that an earlier version does not have.
 */
extern Oid extension_relation(const char *name);
extern Oid extension_find_relation(const char *name);

#endif /* PG_NOTIFYD_EXTENSION_H */
