/*-------------------------------------------------------------------------
 *
 * group_internal.h
 *	  Consumer groups, for the files of this folder.
 *
 * A group's state is "scanned", an id, and the open events at or below it: those of its channels
 * that nobody has acknowledged. Everything behind scanned is still to come. In shared memory, a
 * group has a slot with a window: an entry for each open event. The events themselves stay in the
 * log. If the window is full, or empty, or somewhere in between, a million events behind it cost
 * nothing.
 *
 *	  take		claims pending entries for the transaction, and reads the events in the log
 *	  fill		a consumer that finds too few entries reads the log from scanned on, one at a time
 *	  COMMIT	writes one row to the log that names the acknowledged events (operation A), like an event.
 *				Afterwards their entries leave the window.
 *	  ROLLBACK	the entries are pending again
 *	  hold		at COMMIT the claims become leases, which notify_ack() claims again to acknowledge them
 *
 * notifyd.group_state has a copy of each group's state, which the feed replaces from time to time,
 * with an id log_id. To load a group, one reads the copy, and then the A rows of the log behind
 * log_id. This is exact:
 *
 *	  The feed takes a watermark, then copies the window, and writes the watermark as log_id. A transaction
 *	  removes its entries before log_decided(), so those of A rows up to the watermark are not in the copy.
 *	  What an A row behind it names may be in the copy or not; reading the row removes it.
 *
 *	  An entry leaves the window after its commit record was written, so the copy, whose commit record is
 *	  behind, never lacks an event whose acknowledgement a crash undoes.
 *
 *	  An event of an A row that is behind the copy's scanned must not come again. So loading fills the window
 *	  up to the last of them, leaving them out. All others up to there were in the window when that last A row
 *	  was written, so there is room for them.
 *
 * Locks, in the order in which a process may take them together:
 *
 *	  a lock on the group's number	(lmgr.h) held while a window is loaded, filled, copied or redefined
 *	  GroupShared.lock				which slots belong to which groups
 *	  GroupSlot.lock				the window; held for microseconds, never across I/O or an error
 *
 * Files, each of which uses only those before it:
 *
 *	  group_window.c	entries: claiming, releasing, removing
 *	  group_slot.c		shared memory: slots
 *	  group_definition.c	rows of notifyd.consumer_group, who may take
 *	  group_sets.c		filters and row security
 *	  group_fill.c		the log into the window
 *	  group_store.c		loading, and copying to notifyd.group_state
 *	  group_end.c		claims, and what the end of a transaction does with them
 *	  group_take.c		notify_take(); group_ack.c: notify_ack(), notify_nack()
 *	  group_listen.c	NOTIFY for sessions that listen
 *	  group_failed.c	events that have failed too often: set aside, and sent again
 *	  group_define.c	notify_group(), notify_ungroup(), notify_retry()
 *	  group_maintain.c	what the feed does; group_view.c: the view notifyd.groups
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GROUP_INTERNAL_H
#define PG_NOTIFYD_GROUP_INTERNAL_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#include "ext/group/group.h"
#include "ext/log/log.h"
#include "ext/sets/sets.h"

/* ---------------- the window (group_window.c) ---------------- */

#define GROUP_WINDOW 8192 /* entries */

typedef enum GroupEntryState
{
	GROUP_DONE = 0, /* not open any more; the entry is free when those before it are */
	GROUP_PENDING,
	GROUP_CLAIMED, /* by a transaction */
	GROUP_LEASED,  /* until a time */
	GROUP_DELAYED, /* pending at a time */
	GROUP_FAILED,  /* has failed too often; the feed sets it aside */
} GroupEntryState;

typedef struct GroupEntry
{
	uint64 id;
	uint64 delivery;    /* random number of its present or last delivery; 0: none yet */
	uint64 key;         /* in ordered groups, a hash of its key */
	TimestampTz until;  /* LEASED, DELAYED */
	LogAddress address; /* table is InvalidOid: the events from key to id are lost */
	int owner;          /* CLAIMED: process id; 0: it is given back at the end of the transaction */
	uint16 attempts;    /* how often it was delivered */
	uint8 state;
} GroupEntry;

/* Why an event failed last. */
#define GROUP_ERRORS     64
#define GROUP_ERROR_SIZE 256
typedef struct GroupError
{
	uint64 id;
	char text[GROUP_ERROR_SIZE];
} GroupError;

/* The entries of a group, in order of id. */
typedef struct GroupWindow
{
	uint64 scanned; /* events up to here are in the window, or not open */
	int begin;      /* entries from begin to end are used, some of which may be DONE */
	int end;
	int open;       /* not DONE */
	int pending;    /* PENDING */
	int failed;     /* FAILED */
	uint64 arrived; /* how often there was something new for those who had found nothing */
	int first;      /* none before this one is PENDING */
	int max_attempts;
	TimestampTz due; /* the next time at which a LEASED or DELAYED entry is due; DT_NOEND */
	int next_error;
	GroupError errors[GROUP_ERRORS];
	GroupEntry entries[GROUP_WINDOW];
} GroupWindow;

/*
 * Draw the numbers of the next n deliveries, at most GROUP_WINDOW. Whoever has the number of a
 * delivery may end its lease, so numbers are random. Raises an error if there are no random numbers.
 */
extern void window_draw_numbers(int n);

/* Make the window empty. */
extern void window_reset(GroupWindow *window, uint64 scanned);

/* How many entries can be added. */
extern int window_room(const GroupWindow *window);

/* Add an entry behind the others, PENDING. There must be room. */
extern void window_add(GroupWindow *window, const GroupEntry *entry);

/* The open entry with this id; NULL: there is none. */
extern GroupEntry *window_find(GroupWindow *window, uint64 id);

/* Entries whose time has come are PENDING, or FAILED, again. Returns how many. */
extern int window_expire(GroupWindow *window, TimestampTz now);

/*
 * Claim up to n PENDING entries behind the id after, in order, for a process, and copy them to
 * *claimed. window_draw_numbers(n) was called before. ordered: leave out an entry if an earlier one
 * has its key and is not claimed by the same process.
 */
extern int window_claim(GroupWindow *window, uint64 after, int n, bool ordered, int owner,
						GroupEntry *claimed);

/* Undo a claim without counting it as an attempt, nor as something new. */
extern void window_unclaim(GroupWindow *window, GroupEntry *entry);

/*
 * A delivery has failed: the entry is PENDING at that time (0: now), or FAILED if it has failed too
 * often. error: NULL keeps an earlier one.
 */
extern void
window_fail(GroupWindow *window, GroupEntry *entry, TimestampTz until, const char *error);

/* The entry is leased until then. */
extern void window_lease(GroupWindow *window, GroupEntry *entry, TimestampTz until);

/* Claim a LEASED or FAILED entry, for its acknowledgement; owner 0: to give it back. */
extern void window_claim_leased(GroupWindow *window, GroupEntry *entry, int owner);

/* The log no longer has the event of an entry. */
extern void window_lose(GroupEntry *entry);

/*
 * The log no longer has events up to an id. Those that nobody has now get one entry, which is
 * returned; NULL: there is nothing new.
 */
extern GroupEntry *window_lose_all(GroupWindow *window, uint64 upto);

/* The event is not open any more. */
extern void window_remove(GroupWindow *window, GroupEntry *entry);

/* The last error of an event; NULL: it is not known. */
extern const char *window_error(const GroupWindow *window, uint64 id);

/* ---------------- slots (group_slot.c) ---------------- */

/* Who wants to know when there are events. */
#define GROUP_LISTENERS 256
typedef struct GroupListener
{
	int who;           /* a process id, or the number of a gateway, negative, minus one */
	uint64 seen;       /* GroupWindow.arrived when it has found nothing */
	TimestampTz since; /* of its listening */
} GroupListener;

typedef struct GroupSlot
{
	/* Which group. Under GroupShared.lock, and GroupSlot.lock to change it. */
	Oid database;    /* InvalidOid: the slot is free */
	Oid incarnation; /* OID of notifyd.consumer_group */
	int group;

	LWLock lock; /* for everything below, except for what is atomic */
	bool loaded;
	uint64 generation; /* another one whenever the window is loaded */
	bool dirty;        /* the state has changed since it was copied; without the lock */
	bool retry;        /* events that were set aside may have to come again; without the lock */
	LogReader reader;  /* stands at scanned; under the lock on the group's number */
	int nlisteners;
	GroupListener listeners[GROUP_LISTENERS];
	uint64 acknowledged;
	uint64 redelivered;
	uint64 lost;
	uint64 set_aside;         /* the feed counts them, without the lock */
	TimestampTz taken_at;     /* when somebody has last looked for events to take */
	NameData name;            /* of the group, as UTF-8 */
	pg_atomic_uint32 waiting; /* consumers that wait */
	ConditionVariable wake;   /* they wait for this */
	GroupWindow window;
} GroupSlot;

typedef struct GroupShared
{
	LWLock lock;
	int n;
	GroupSlot slots[FLEXIBLE_ARRAY_MEMBER];
} GroupShared;

extern GroupShared *group_shared;

/*
 * The slot of a group, which is made if needed. If all are in use, slot_try() returns NULL, and
 * slot_get() raises ERRCODE_CONFIGURATION_LIMIT_EXCEEDED.
 */
extern GroupSlot *slot_try(int group);
extern GroupSlot *slot_get(int group);

/* The slot of a group; NULL: there is none. */
extern GroupSlot *slot_find(int group);

/*
 * Lock a slot's window. Returns false, without a lock, if it is not that of the group, or is not
 * loaded.
 */
extern bool slot_lock(GroupSlot *slot, int group);

/* For figures_groups (group_figures.c). */
extern List *group_figures(void);

/* Free the slots of databases that have been dropped, and of earlier extensions in this one. */
extern void slot_sweep(void);

/* Free a slot, or only its window. The caller holds the lock on the group's number. */
extern void slot_free(GroupSlot *slot);
extern void slot_unload(GroupSlot *slot);

/* The state has changed: the feed copies it, and is started for that. Never raises an error. */
extern void slot_note_dirty(GroupSlot *slot);

/* Wake up to n waiting consumers. Never raises an error. */
extern void slot_wake(GroupSlot *slot, int n);

/* Lock and unlock a group's number. */
extern bool group_lock(int group, bool wait);
extern void group_unlock(int group);

/* ---------------- definitions (group_definition.c) ---------------- */

/* A row of notifyd.consumer_group, as this session knows it. Good until the next group_find(). */
typedef struct GroupDefinition
{
	int id;
	NameData name;
	Oid owner;
	int nchannels;
	NameData *channels;
	char *filter; /* NULL: none */
	bool ordered;
	int64 lease; /* in microseconds */
	int max_attempts;
	bool fresh;   /* this transaction has defined or altered it */
	uint64 as_of; /* group_changes() when it was read */
	GroupSlot *slot;
} GroupDefinition;

/* Raise an error unless a function of this name, with parentheses, can change groups here. */
extern void group_require(const char *function);

/* Columns of the table, as in the extension's script. */
enum GroupAttribute
{
	GROUP_ID = 1,
	GROUP_NAME,
	GROUP_OWNER,
	GROUP_CHANNELS,
	GROUP_FILTER,
	GROUP_ORDERED,
	GROUP_LEASE,
	GROUP_MAX_ATTEMPTS,
};

/*
 * The definition of a group that the user may take from. Raises ERRCODE_UNDEFINED_OBJECT and
 * ERRCODE_INSUFFICIENT_PRIVILEGE. The second one finds it by its number, for the feed and for
 * loading, and returns NULL if there is none.
 */
extern const GroupDefinition *group_find(const char *name);
extern GroupDefinition *group_read(int id);

/* The same without a check of privileges. Raises ERRCODE_UNDEFINED_OBJECT. */
extern const GroupDefinition *group_find_any(const char *name);

/* The length of an interval in microseconds; a month has 30 days. */
extern int64 group_interval_us(const Interval *interval);

/* All groups, in the current memory context. */
extern List *group_list(void);

/* Grows whenever something changes that decisions about privileges depend on. */
extern uint64 group_changes(void);

/* ---------------- filters and row security (group_sets.c) ---------------- */

/*
 * What an event means for an identity, as for a subscriber: the group's filter and the policies that
 * apply to the role. Made for one call; at the latest freed with the memory context in which it is made.
 */
typedef struct GroupSets GroupSets;

/* claims: as for guard_run(). Raises an error if the filter is invalid. */
extern GroupSets *
group_sets_create(const GroupDefinition *definition, Oid role, const char *claims);

extern void group_sets_free(GroupSets *sets);

/*
 * What the event does to the set. Returns false and sets *error if that is not known: error->later
 * says whether it may be known later. Events of other operations than I, U, D and M stay.
 */
extern bool
group_sets_judge(GroupSets *sets, const LogEvent *event, SetChange *change, SetError *error);

/*
 * Check a filter for the owner of a group, who has to have the privileges to read its columns. Raises
 * ERRCODE_INVALID_PARAMETER_VALUE and ERRCODE_INSUFFICIENT_PRIVILEGE.
 */
extern void group_check_filter(const GroupDefinition *definition);

/* ---------------- filling (group_fill.c) ---------------- */

/*
 * Read some rows of the log into the window, unless another process has done that since the caller
 * saw this value of scanned. Returns true if scanned is another one now, or the window has to be
 * loaded again: the caller looks again. n: how many entries the caller wants; others are woken for
 * the rest.
 */
extern bool group_fill(const GroupDefinition *definition, GroupSlot *slot, uint64 scanned, int n);

/* Ids of events or deliveries. */
typedef struct GroupIds
{
	uint64 *ids;
	int n;
	int size;
} GroupIds;

extern void group_ids_add(GroupIds *ids, uint64 id);
extern void group_ids_sort(GroupIds *ids);

/* Return true if ids, which are sorted, have this one. */
extern bool group_ids_have(const GroupIds *ids, uint64 id);

/* Write to the server's log that events with ids from first to last are lost. */
extern void group_report_lost(const GroupDefinition *definition, uint64 first, uint64 last);

/* What a scan of the log for a group collects. */
typedef struct GroupScan
{
	const GroupDefinition *definition;
	GroupSets *sets; /* NULL: the group has no filter */
	uint64 later;    /* 0, or the event that cannot be judged now: the scan ends before it */
	const GroupIds *acknowledged; /* to leave out; NULL: none */
	GroupEntry *entries;
	int n;
	int room;
} GroupScan;

/* Scan the log up to upto, some rows of it, or until there is no room. */
extern void
group_scan(GroupScan *scan, LogReader *reader, const LogMap *map, uint64 upto, Snapshot snapshot);

/* The map of segments. Take the watermark first. */
extern const LogMap *group_map(NotifydDatabase *database);

/*
 * For who has read the log behind an id: whether retention has removed something there, so that
 * what was read may be incomplete.
 */
extern bool group_is_removed(NotifydDatabase *database, uint64 after);

/* The entry for an event. */
extern GroupEntry group_entry(const GroupDefinition *definition, const LogEvent *event);

/* ---------------- the stored state (group_store.c) ---------------- */

/* Load the window of a group, unless that was done. */
extern void group_load(const GroupDefinition *definition, GroupSlot *slot);

/* Copy the state of a group to notifyd.group_state. Needs a transaction. False: it is locked. */
extern bool group_checkpoint(GroupSlot *slot);

#define GROUP_STATE_NEEDED 4 /* column of notifyd.group_state */

/*
 * Set the stored state of a group, in the transaction. ids: of open events; before that of an entry
 * for lost events, with a minus, the first id that it stands for.
 */
extern void group_store(int group, uint64 scanned, const int64 *ids, const uint16 *attempts, int n,
						uint64 log_id);

/* ---------------- claims (group_end.c) ---------------- */

typedef enum GroupClaimKind
{
	GROUP_TAKE,      /* COMMIT acknowledges, ROLLBACK gives back */
	GROUP_HOLD,      /* COMMIT leases, ROLLBACK gives back */
	GROUP_ACK,       /* COMMIT acknowledges, ROLLBACK leases again */
	GROUP_NACK,      /* COMMIT gives back, ROLLBACK leases again */
	GROUP_RELEASE,   /* the same, but the delivery does not count */
	GROUP_SET_ASIDE, /* by the feed: COMMIT removes a FAILED entry */
} GroupClaimKind;

typedef struct GroupClaim
{
	GroupSlot *slot;
	uint64 generation;
	uint64 id;
	int group;
	int level; /* nesting level of the transaction */
	GroupClaimKind kind;
	TimestampTz until; /* of the lease before; GROUP_NACK: of the delay, too */
	int64 interval;    /* GROUP_HOLD: the lease; GROUP_NACK: the delay, in microseconds */
	const char *error; /* GROUP_NACK */
} GroupClaim;

/* Prepare for n claims, so that claim_add() cannot fail. */
extern void claim_reserve(int n);

/* Note a claim of an entry of the slot, which the caller has locked. */
extern void
claim_add(const GroupDefinition *definition, const GroupEntry *entry, GroupClaimKind kind);

/* The claim that was added last. */
extern GroupClaim *claim_last(void);

/* Forget a claim, one of the last ones. */
extern void claim_forget(uint64 id);

/*
 * Let the feed tell who has found nothing when the group has events, beginning when the transaction
 * has committed: this session (GROUP_THIS_SESSION), which LISTENs, or a gateway. seen:
 * GroupWindow.arrived when it has found nothing.
 */
#define GROUP_THIS_SESSION (-1)
extern void group_listen(GroupSlot *slot, int gateway, uint64 seen);

/* For the feed, in a transaction: tell as many listeners as the group has events. */
extern void group_notify(const GroupDefinition *definition, GroupSlot *slot, const GroupFeed *feed);

/* Events that have been set aside, or are sent again (group_failed.c). For the feed. */
extern void group_set_aside(const GroupDefinition *definition, GroupSlot *slot);
extern void group_send_again(const GroupDefinition *definition, GroupSlot *slot);

/* The text of a row of OPERATION_RETRY. */
typedef struct GroupRetry
{
	int group;
	const char *channel; /* channel_length bytes */
	int channel_length;
	const char *event; /* JSON */
	Size event_length;
} GroupRetry;

extern GroupRetry group_parse_retry(const LogEvent *event);

/* Keep the message of the error that ends the transaction, for events that it had claimed. */
extern void claim_init(void);

#endif /* PG_NOTIFYD_GROUP_INTERNAL_H */
