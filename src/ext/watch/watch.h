/*-------------------------------------------------------------------------
 *
 * watch.h
 *	  Watches, which notify_watch() keeps in notifyd.watch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WATCH_H
#define PG_NOTIFYD_WATCH_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "fmgr.h"
#include "nodes/bitmapset.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* A list of columns of the watched table. A list that is not given differs from an empty one. */
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
	int ops;                /* WIRE_OP_ bits */
	WatchColumns cols;      /* not given: all, also those added later; empty: only the key */
	WatchColumns key;       /* not given: primary key, or replica identity index */
	WatchColumns update_of; /* not given: every UPDATE gives an event */
	char *condition;        /* NULL: none */
	bool old_values;
	bool notify;      /* send the id of each event with NOTIFY too, */
	bool notify_rows; /* or the whole event; only with notify */
	char *payload;    /* the function that makes what events carry instead of rows; NULL: none */
} Watch;

/* ---------------- rows (watch_catalog.c) ---------------- */

/*
 * These functions see what is committed now, and the transaction's own changes, whatever its
 * snapshot is. Results are allocated in the current memory context; NULL or NIL if there is no such
 * watch. They raise ERRCODE_UNDEFINED_TABLE if the extension is not installed.
 */
extern Watch *watch_find(int64 id);
extern Watch *watch_find_channel(Oid relation, const char *channel);
extern List *watch_list(Oid relation);
extern List *watch_list_channel(const char *channel);

/* Return all watches of the database. */
extern List *watch_list_all(void);

/* These functions check no privileges. They invalidate the caches that depend on the watch. */
extern void watch_insert(Watch *watch); /* sets watch->id */
extern void watch_update(const Watch *watch);
extern void watch_delete(const Watch *watch);

/* Return the operations as "insert,update" and so on, in the usual order. */
extern char *watch_ops_text(int ops);

/*
 * Return the OID of notifyd.capture(). If it does not exist, returns InvalidOid if missing_ok is
 * true, and raises ERRCODE_UNDEFINED_FUNCTION otherwise.
 */
extern Oid watch_capture_function(bool missing_ok);

/* ---------------- triggers (watch_trigger.c) ---------------- */

typedef struct WatchTriggers
{
	Oid row;      /* InvalidOid: none */
	Oid truncate; /* InvalidOid: none */
} WatchTriggers;

/* Return the triggers of a watch, whatever their present names are. */
extern WatchTriggers watch_find_triggers(const Watch *watch);

/* Return true if all triggers that the watch needs exist. Does not check how they are defined. */
extern bool watch_triggers_complete(const Watch *watch, WatchTriggers triggers);

/*
 * Create the triggers of a watch, or change the existing ones as needed. Takes
 * ShareRowExclusiveLock on the table, or AccessExclusiveLock to remove one. Raises the errors of
 * CREATE TRIGGER, with the condition as their context if it causes them.
 */
extern void watch_create_triggers(const Watch *watch);

/*
 * Return a trigger's row of pg_trigger, allocated in the current memory context, or NULL if there
 * is none. The caller has opened pg_trigger.
 */
extern HeapTuple watch_trigger_tuple(Relation table, Oid trigger);

/* Store a changed row. The caller has opened pg_trigger with RowExclusiveLock. */
extern void watch_update_trigger(Relation table, HeapTuple tuple);

/* Drop the triggers. Takes AccessExclusiveLock on the table. */
extern void watch_drop_triggers(WatchTriggers triggers);

/* ---------------- conditions (watch_condition.c) ---------------- */

/* Check that the text is one SQL expression, and return it. Raises ERRCODE_SYNTAX_ERROR. */
extern Node *watch_parse_condition(const char *condition);

/* Add the condition to the context of errors, until the caller removes the callback. */
extern void watch_condition_push(ErrorContextCallback *context, const char *condition);

/*
 * Return true if the expression of a trigger (InvalidOid: none) is this condition (NULL: none).
 * Raises the errors of CREATE TRIGGER. Takes AccessShareLock on the relation for a moment if both
 * are given.
 */
extern bool watch_condition_is(Oid relation, Oid trigger, const char *condition);

/* Return true if the condition of a trigger (InvalidOid: none) uses this column of its table. */
extern bool watch_condition_has_column(Oid trigger, AttrNumber attnum);

/* Return a trigger's condition with the present names of its columns, or NULL if it has none. */
extern char *watch_condition_text(Oid relation, Oid trigger);

/*
 * Return the operators in a trigger's condition with the names of their types, or "" for
 * InvalidOid.
 */
extern char *watch_condition_uses(Oid trigger);

/* ---------------- what the triggers do (watch_state.c) ---------------- */

/* From best to worst. A watch has the worst state of its triggers. */
typedef enum WatchState
{
	WATCH_ACTIVE,
	WATCH_NO_KEY,       /* every change is captured, but its event does not identify the row */
	WATCH_ORIGIN_ONLY,  /* changes applied by a logical subscription are not captured */
	WATCH_REPLICA_ONLY, /* only such changes are captured */
	WATCH_DISABLED,
	WATCH_BROKEN, /* the condition uses other operators than when it was given */
	WATCH_MISSING /* a trigger does not exist */
} WatchState;

/* Return the state of a watch, with the triggers of partitions. Takes no lock. */
extern WatchState watch_state(const Watch *watch);

/* Return the state's name, for notifyd.watches. */
extern const char *watch_state_name(WatchState state);

/* A trigger that calls notifyd.capture(). */
typedef struct WatchTrigger
{
	Oid oid;
	int64 id;     /* of its watch, which may not exist; 0: none */
	char enabled; /* tgenabled */
	bool row;     /* fires for each row; otherwise for TRUNCATE */
	Oid parent;   /* of a partition's trigger: the trigger of the parent table */
	int nargs;
	char *args; /* one after the other, each with a NUL */
} WatchTrigger;

/* Return our triggers of one table or partition, as WatchTriggers. Takes no lock. */
extern List *watch_triggers_of(Oid relation);

/*
 * Return true if a trigger belongs to the watch, on the table or on a partition. Compares the id
 * and, if the trigger contains it, the channel.
 */
extern bool watch_trigger_is_of(const WatchTrigger *trigger, const Watch *watch);

/* Make a trigger ENABLE ALWAYS. The caller holds ShareRowExclusiveLock. */
extern void watch_enable_trigger(Oid trigger);

/* The same for all triggers of a watch. Takes ShareRowExclusiveLock on its partitions. */
extern void watch_enable_triggers(const Watch *watch);

/* ---------------- what triggers carry (watch_carry.c) ---------------- */

/*
 * Write the watch's definition into its triggers. The caller holds ShareUpdateExclusiveLock on the
 * table.
 */
extern void watch_carry(const Watch *watch);

/* Return true if all triggers of the watch contain its definition. */
extern bool watch_is_carried(const Watch *watch);

/*
 * Process a trigger that CREATE TRIGGER has created and that contains a watch: create the watch if
 * it does not exist, and make the trigger ENABLE ALWAYS. Raises the errors of notify_watch(), and
 * ERRCODE_DUPLICATE_OBJECT if the watch already has such a trigger.
 */
extern void watch_adopt_trigger(Oid relation, Oid oid);

/* Assign to a new watch the triggers of its table that belong to a watch that does not exist. */
extern void watch_adopt_orphans(const Watch *watch);

/* Return true if a watch's condition uses other operators than when it was given. */
extern bool watch_condition_is_other(const Watch *watch);

/* ---------------- payload functions (watch_payload.c) ---------------- */

/*
 * Look up the function that a user has named, by the search path, and return the name that
 * Watch.payload has. Raises ERRCODE_UNDEFINED_FUNCTION, ERRCODE_WRONG_OBJECT_TYPE if it has other
 * arguments or another result, and ERRCODE_INSUFFICIENT_PRIVILEGE if the table's owner may not
 * execute it.
 */
extern char *watch_read_payload(const char *name, Oid relation);

/* Return the payload function of a watch that has one, or InvalidOid if it does not exist. */
extern Oid watch_payload_function(const Watch *watch);

/*
 * Called before and after a utility command, in the same memory context: payload functions that
 * have another name or schema afterwards are stored with it.
 */
extern List *watch_payloads_before(Node *statement);
extern void watch_payloads_after(const List *payloads);

/* ---------------- resets (watch_reset.c) ---------------- */

/*
 * At commit, send a reset to the subscribers of the watch's channel, because the table has changed
 * without events. reason is constant ASCII text without quotes.
 */
extern void watch_reset(const Watch *watch, const char *reason);

#define WATCH_RESET_CAPTURED_AGAIN                                                                 \
	"some changes of the table were not captured before this position"

/*
 * Called when the feed starts, outside a transaction. If recovery has emptied unlogged tables since
 * the last feed of this database, reset the channels on which such tables are watched.
 */
extern void watch_reset_unlogged(void);

/* ---------------- commands (watch_ddl.c) ---------------- */

typedef struct WatchDdl WatchDdl;

/*
 * Called before and after a utility command, in the same memory context. watch_ddl_before() returns
 * NULL if the command does not concern watches. It may take the command's locks on the command's
 * tables.
 */
extern WatchDdl *watch_ddl_before(Node *statement);
extern void watch_ddl_after(WatchDdl *ddl);

/* ---------------- DROP EXTENSION (watch_uninstall.c) ---------------- */

/* Return true if a command drops the extension. */
extern bool watch_is_uninstall(Node *statement);

/*
 * Wait for transactions that write to watched tables and for the feed, and keep new ones waiting
 * until the end of the transaction. Does nothing if the user may not drop the extension.
 */
extern void watch_lock_for_uninstall(void);

/* ---------------- arguments (watch_arguments.c) ---------------- */

/*
 * Check that the current user may watch this relation, or end its watches. Raises
 * ERRCODE_UNDEFINED_TABLE, ERRCODE_WRONG_OBJECT_TYPE or ERRCODE_INSUFFICIENT_PRIVILEGE.
 */
extern void watch_check_relation(Oid relation);

/*
 * Read and check the arguments of notify_watch(), and return the watch that they describe, with id
 * 0.
 */
extern Watch *watch_from_arguments(FunctionCallInfo fcinfo);

/* Read a list of operations separated by commas. Raises ERRCODE_INVALID_PARAMETER_VALUE. */
extern int watch_read_ops(const char *text);

/* ---------------- watching on a channel that others use (watch_join.c) ---------------- */

/* Return true if a role has the privileges of the owner of a watched table. */
extern bool watch_owned_by(const Watch *watch, Oid role);

/*
 * Raise ERRCODE_INSUFFICIENT_PRIVILEGE unless the user may watch one more table on a channel.
 * Superusers and members of the role that owns the extension always may. Others may if they have
 * the privileges of the owners of all tables that are watched on the channel; if no table is
 * watched on it, nobody may have been granted the channel. If the caller holds the channel's lock,
 * the result is valid until the end of the transaction.
 */
extern void watch_check_join(const char *channel);

/*
 * The channel's lock, which is held to the end of the transaction. watch_try_channel() tries to get
 * it without waiting. watch_await_channel() waits until no session holds it, and does not keep
 * it.
 */
extern bool watch_try_channel(const char *channel);
extern void watch_await_channel(const char *channel);

/* Wait for the channel's lock, and call watch_check_join(). */
extern void watch_join_channel(const char *channel);

/*
 * Raise ERRCODE_INSUFFICIENT_PRIVILEGE unless the channel belongs to the user: superusers and members
 * of the role that owns the extension, and who has the privileges of the owners of all tables that
 * are watched on the channel, of which there is at least one.
 */
extern void watch_check_owns_channel(const char *channel);

/* ---------------- columns and keys (watch_key.c) ---------------- */

/*
 * Return the columns of a table's own key: of its primary key, or else of its replica identity
 * index. Returns NIL if it has neither. Takes no lock.
 */
extern List *watch_table_key(Oid relation, bool primary_only);

/*
 * Return true if a watch has a key, its own or the table's, or columns by name that can serve as
 * one.
 */
extern bool watch_has_key(const Watch *watch);

/*
 * Return the number of columns in a watch's events, and set *columns to their numbers. Returns -1
 * if events contain the whole row.
 */
extern int watch_event_columns(const Watch *watch, int16 **columns);

/*
 * Return the columns in the events of a relation's watch on a channel, their numbers offset by
 * FirstLowInvalidHeapAttributeNumber. Returns NULL if events contain the whole row, or if there is
 * no such watch.
 */
extern Bitmapset *watch_captured_columns(Oid relation, const char *channel);

#endif /* PG_NOTIFYD_WATCH_H */
