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
#include "access/htup.h"
#include "fmgr.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

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
	int ops;                /* WIRE_OP_ bits */
	WatchColumns cols;      /* not given: all, also those added later; empty: the key alone */
	WatchColumns key;       /* not given: the primary key, else the replica identity's */
	WatchColumns update_of; /* not given: every UPDATE counts */
	char *condition;        /* NULL: none */
	bool old_values;
	bool notify;      /* send each event's id by NOTIFY too, */
	bool notify_rows; /* or the whole event: with notify only */
} Watch;

/*
 * A notice if row-level security keeps clients from a watch (watch.c): they learn it when they
 * subscribe, the table's owner is to learn it before.
 */
extern void watch_warn_of_policies(const Watch *watch);

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

/* Every watch of the database. */
extern List *watch_list_all(void);

/* These need no privilege of the user. Caches that depend on the watch are told. */
extern void watch_insert(Watch *watch); /* sets watch->id */
extern void watch_update(const Watch *watch);
extern void watch_delete(const Watch *watch);

/* "insert,update" and so on, in the usual order. */
extern char *watch_ops_text(int ops);

/*
 * The OID of notifyd.capture(). Raises ERRCODE_UNDEFINED_FUNCTION where it is not there; with
 * missing_ok the result is InvalidOid then.
 */
extern Oid watch_capture_function(bool missing_ok);

/* ---------------- triggers (watch_trigger.c) ---------------- */

typedef struct WatchTriggers
{
	Oid row;      /* InvalidOid: none */
	Oid truncate; /* InvalidOid: none */
} WatchTriggers;

/* The triggers of a watch, whatever they are called by now. */
extern WatchTriggers watch_find_triggers(const Watch *watch);

/* Whether they are the ones that the watch needs (by their being there, not by their shape). */
extern bool watch_triggers_complete(const Watch *watch, WatchTriggers triggers);

/*
 * Make the triggers of a watch, or make those that it has fit. Takes
 * ShareRowExclusiveLock on the table, AccessExclusiveLock where one has to go. Raises
 * CREATE TRIGGER's errors, with the condition as their context where it is at fault.
 */
extern void watch_create_triggers(const Watch *watch);

/*
 * A trigger's row of pg_trigger, which the caller has opened, in the current context; NULL: there is
 * no such trigger.
 */
extern HeapTuple watch_trigger_tuple(Relation table, Oid trigger);

/* Store a row that has been changed. The caller has opened pg_trigger with RowExclusiveLock. */
extern void watch_update_trigger(Relation table, HeapTuple tuple);

/* Drop them. Takes AccessExclusiveLock on the table. */
extern void watch_drop_triggers(WatchTriggers triggers);

/* ---------------- conditions (watch_condition.c) ---------------- */

/* Check that the text is one SQL expression. Raises ERRCODE_SYNTAX_ERROR. */
extern Node *watch_parse_condition(const char *condition);

/*
 * Have errors tell that they are in the condition, until the caller takes the context off the
 * stack.
 */
extern void watch_condition_push(ErrorContextCallback *context, const char *condition);

/*
 * Whether a trigger (InvalidOid: none) of the relation has this condition (NULL: none) as its
 * expression. Raises the errors of CREATE TRIGGER. Takes AccessShareLock for a moment where there
 * are both.
 */
extern bool watch_condition_is(Oid relation, Oid trigger, const char *condition);

/* Whether a trigger's (InvalidOid: none) condition uses a column of its table. */
extern bool watch_condition_has_column(Oid trigger, AttrNumber attnum);

/* A trigger's condition with the names of today; NULL: it has none. */
extern char *watch_condition_text(Oid relation, Oid trigger);

/* The operators of a trigger's condition, with the names of their types; "" for InvalidOid. */
extern char *watch_condition_uses(Oid trigger);

/* ---------------- what the triggers do (watch_state.c) ---------------- */

/* From best to worst: a watch is as its worst trigger is. */
typedef enum WatchState
{
	WATCH_ACTIVE,
	WATCH_NO_KEY,       /* every change is captured, but its event does not say of which row */
	WATCH_ORIGIN_ONLY,  /* what a logical subscription applies is not captured */
	WATCH_REPLICA_ONLY, /* nothing but that is captured */
	WATCH_DISABLED,
	WATCH_BROKEN, /* the condition uses other operators than when it was given */
	WATCH_MISSING /* a trigger is not there */
} WatchState;

/* How a watch's triggers are, those of partitions too. Takes no lock. */
extern WatchState watch_state(const Watch *watch);

/* As notifyd.watches shows it. */
extern const char *watch_state_name(WatchState state);

/* A trigger that calls notifyd.capture(). */
typedef struct WatchTrigger
{
	Oid oid;
	int64 id;     /* its watch's, which need not be there; 0: none */
	char enabled; /* tgenabled */
	bool row;     /* fires for each row, else for TRUNCATE */
	Oid parent;   /* of a partition's: the one of the table that it belongs to */
	int nargs;
	char *args; /* one after the other, each with a NUL */
} WatchTrigger;

/* The triggers of one table or partition that are ours, as WatchTriggers. Takes no lock. */
extern List *watch_triggers_of(Oid relation);

/*
 * Whether a trigger is one of a watch, or of a partition for it: by its id and, where it carries
 * that, the channel.
 */
extern bool watch_trigger_is_of(const WatchTrigger *trigger, const Watch *watch);

/* Make a trigger ENABLE ALWAYS. The caller holds ShareRowExclusiveLock. */
extern void watch_enable_trigger(Oid trigger);

/* The same for all triggers of a watch. Takes ShareRowExclusiveLock on its partitions. */
extern void watch_enable_triggers(const Watch *watch);

/* ---------------- what triggers carry (watch_carry.c) ---------------- */

/* Have the triggers of a watch carry it. The caller holds ShareUpdateExclusiveLock on the table. */
extern void watch_carry(const Watch *watch);

/* Whether they all do. */
extern bool watch_is_carried(const Watch *watch);

/*
 * CREATE TRIGGER has made a trigger that carries a watch: if there is no such watch, make it.
 * Makes the trigger ENABLE ALWAYS.
 * Raises the errors of notify_watch(), and ERRCODE_DUPLICATE_OBJECT if the watch has such a
 * trigger.
 */
extern void watch_adopt_trigger(Oid relation, Oid oid);

/*
 * A new watch takes over the triggers of its table that were another watch's, which is not there.
 */
extern void watch_adopt_orphans(const Watch *watch);

/* Whether a watch's condition uses other operators than when it was given. */
extern bool watch_condition_is_other(const Watch *watch);

/* ---------------- resets (watch_reset.c) ---------------- */

/*
 * Tell the subscribers of a watch's channel, when this transaction commits, that the table changed
 * without events: they get a reset with this reason, which is constant ASCII without quotes.
 */
extern void watch_reset(const Watch *watch, const char *reason);

#define WATCH_RESET_CAPTURED_AGAIN                                                                 \
	"some changes of the table were not captured before this position"

/*
 * For the feed at its start, outside a transaction: if unlogged tables were emptied by recovery
 * since the last feed of this database, reset the channels on which one is watched.
 */
extern void watch_reset_unlogged(void);

/* ---------------- commands (watch_ddl.c) ---------------- */

typedef struct WatchDdl WatchDdl;

/*
 * Before and after a utility command, in the same memory context. before returns NULL where the
 * command does not concern watches. It may take the command's locks on the command's tables.
 */
extern WatchDdl *watch_ddl_before(Node *statement);
extern void watch_ddl_after(WatchDdl *ddl);

/* ---------------- DROP EXTENSION (watch_uninstall.c) ---------------- */

/* Whether a command drops the extension. */
extern bool watch_is_uninstall(Node *statement);

/*
 * Wait for those who write to watched tables and for the feed, and keep others from beginning
 * to, until the end of the transaction. Does nothing for who may not drop the extension.
 */
extern void watch_lock_for_uninstall(void);

/* ---------------- arguments (watch_arguments.c) ---------------- */

/*
 * Check that the current user may watch this relation, or end watching it. Errors with
 * ERRCODE_UNDEFINED_TABLE, ERRCODE_WRONG_OBJECT_TYPE, ERRCODE_INSUFFICIENT_PRIVILEGE.
 */
extern void watch_check_relation(Oid relation);

/*
 * Read the arguments of notify_watch(), check them, and return the watch that they ask for, with id
 * 0.
 */
extern Watch *watch_from_arguments(FunctionCallInfo fcinfo);

/* Read operations, separated by commas. Raises ERRCODE_INVALID_PARAMETER_VALUE. */
extern int watch_read_ops(const char *text);

/* ---------------- watching on a channel that others use (watch_join.c) ---------------- */

/* Whether a role has the privileges of the owner of a watched table. */
extern bool watch_owned_by(const Watch *watch, Oid role);

/*
 * Raise ERRCODE_INSUFFICIENT_PRIVILEGE unless the user may watch one more table on a channel. A
 * superuser or a member of the role that owns the extension always may. Others may if they have the
 * privileges of all owners of the tables that are watched on it and, where none is, if nobody has
 * been granted the channel. The answer is good until the end of the transaction, if the caller
 * holds the channel's lock.
 */
extern void watch_check_join(const char *channel);

/*
 * The channel's lock, which is held to the end of the transaction: try to get it without waiting;
 * wait until nobody has it, and leave it.
 */
extern bool watch_try_channel(const char *channel);
extern void watch_await_channel(const char *channel);

/* Get the lock, waiting for it, and watch_check_join(). */
extern void watch_join_channel(const char *channel);

/* ---------------- columns and keys (watch_key.c) ---------------- */

/*
 * The columns of the key that a table has by itself: of its primary key, else of its
 * replica identity index. NIL where there is neither. Takes no lock.
 */
extern List *watch_table_key(Oid relation, bool primary_only);

/* Whether a watch has a key, its own or the table's, or has named columns that serve as one. */
extern bool watch_has_key(const Watch *watch);

/*
 * The columns that a watch's events carry: how many, and their numbers in *columns; -1: the whole
 * row.
 */
extern int watch_event_columns(const Watch *watch, int16 **columns);

#endif /* PG_NOTIFYD_WATCH_H */
