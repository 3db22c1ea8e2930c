/*-------------------------------------------------------------------------
 *
 * watch.h
 *	  Watches: what notify_watch() keeps in notifyd.watch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WATCH_H
#define PG_NOTIFYD_WATCH_H

#include "postgres.h"

#include "access/attnum.h"
#include "fmgr.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

#define WATCH_SCHEMA    "notifyd"
#define WATCH_EXTENSION "pg_notifyd"

/* Operations, as bits. */
#define WATCH_OP_INSERT   0x01
#define WATCH_OP_UPDATE   0x02
#define WATCH_OP_DELETE   0x04
#define WATCH_OP_TRUNCATE 0x08
#define WATCH_ROW_OPS     (WATCH_OP_INSERT | WATCH_OP_UPDATE | WATCH_OP_DELETE)

/* A list of columns of the watched table; not given is another thing than empty. */
typedef struct WatchColumns
{
	bool given;
	int n;
	AttrNumber *attnums;
} WatchColumns;

/* A row of notifyd.watch. */
typedef struct Watch
{
	int64 id;
	Oid relation;
	char *channel;
	int ops;
	WatchColumns cols;      /* not given: all, also those added later; empty: the key alone */
	WatchColumns key;       /* not given: the primary key, else the replica identity's */
	WatchColumns update_of; /* not given: every UPDATE counts */
	char *condition;        /* NULL: none */
	bool old_values;
	bool notify;      /* send each event's id by NOTIFY too, */
	bool notify_rows; /* or the whole event: with notify only */
} Watch;

/* ---------------- rows (watch_catalog.c) ---------------- */

/*
 * Reading sees what is committed now, and the transaction's own changes, whatever its
 * snapshot. Results are allocated in the current context; NULL or NIL where there is
 * none. All of them error with ERRCODE_UNDEFINED_TABLE where the extension is not there.
 */
extern Watch *watch_find(int64 id);
extern Watch *watch_find_channel(Oid relation, const char *channel);
extern List *watch_list(Oid relation);
extern List *watch_list_channel(const char *channel);

/* These need no privilege of the user. Caches that depend on the watch are told. */
extern void watch_insert(Watch *watch); /* sets watch->id */
extern void watch_update(const Watch *watch);
extern void watch_delete(const Watch *watch);

/* "insert,update" and so on, in the usual order. */
extern char *watch_ops_text(int ops);

/*
 * Whether the user may change what belongs to the extension's owner: a superuser or
 * member of that role.
 */
extern bool watch_user_is_admin(void);

/* OIDs; error with ERRCODE_UNDEFINED_OBJECT where the extension is not there. */
extern Oid watch_extension(void);
extern Oid watch_capture_function(void);

/* ---------------- triggers (watch_trigger.c) ---------------- */

typedef struct WatchTriggers
{
	Oid row;      /* InvalidOid: none */
	Oid truncate; /* InvalidOid: none */
} WatchTriggers;

/* The triggers of a watch, whatever they are called by now. */
extern WatchTriggers watch_find_triggers(Oid relation, int64 id);

/* Whether they are the ones that the watch needs (by their being there, not by their shape). */
extern bool watch_triggers_complete(const Watch *watch, WatchTriggers triggers);

/*
 * Make the triggers of a watch, or make those that it has fit. Takes
 * ShareRowExclusiveLock on the table, AccessExclusiveLock where one has to go. Raises
 * CREATE TRIGGER's errors, with the condition as their context where it is at fault.
 */
extern void watch_create_triggers(const Watch *watch);

/* Drop them. Takes AccessExclusiveLock on the table. */
extern void watch_drop_triggers(WatchTriggers triggers);

/* Check that the text is one SQL expression. Raises ERRCODE_SYNTAX_ERROR. */
extern Node *watch_parse_condition(const char *condition);

/* ---------------- arguments (watch_arguments.c) ---------------- */

/*
 * Error with ERRCODE_INVALID_NAME, with the hint if there is one, unless the name can be a
 * channel: 1 to 63 bytes, no control characters.
 */
extern void watch_check_channel(const char *channel, const char *hint);

/*
 * Check that the current user may watch this relation, or end watching it. Errors with
 * ERRCODE_UNDEFINED_TABLE, ERRCODE_WRONG_OBJECT_TYPE, ERRCODE_INSUFFICIENT_PRIVILEGE.
 */
extern void watch_check_relation(Oid relation);

/* Read the arguments of notify_watch(), check them, and return the watch that they ask for, with id 0. */
extern Watch *watch_from_arguments(FunctionCallInfo fcinfo);

/* ---------------- columns and keys (watch_key.c) ---------------- */

/*
 * The columns of the key that a table has by itself: of its primary key, else of its
 * replica identity index. NIL where there is neither. Takes no lock.
 */
extern List *watch_table_key(Oid relation, bool primary_only);

#endif /* PG_NOTIFYD_WATCH_H */
