/*-------------------------------------------------------------------------
 *
 * log.h
 *	  The log tables notifyd.log_0 ... log_7, and bulk_0 ... bulk_7: ids, writing, reading, rotation.
 *
 * The model is at the head of log.c, and where rows are at that of log_place.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOG_H
#define PG_NOTIFYD_LOG_H

#include "postgres.h"

#include "access/genam.h"
#include "access/htup.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "nodes/plannodes.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "ext/base/shared.h"

#define LOG_SEGMENTS NOTIFYD_LOG_SEGMENTS

/* Columns of a log table, 1-based, as in the extension's script. */
typedef enum LogColumn
{
	LOG_ID =
		1, /* int8: > 0 an event's id or a bulk marker's first id; < 0 the (first) bulk member's key */
	LOG_TX,     /* int8: full transaction id */
	LOG_AT,     /* timestamptz: when the commit began */
	LOG_FILE,   /* oid: the file that the next two are about, see log_place.c */
	LOG_BLOCK,  /* int4: rows of ids from this one on are in this block or behind it */
	LOG_BEHIND, /* int4: rows of ids up to id - behind are in blocks up to that one */
	LOG_SEQ,    /* int4: place in the transaction, from 1 */
	LOG_OF,     /* int4: how many events the transaction has */
	LOG_HEAD,   /* int4: how much of event is left where the whole is too large, see pending.h */
	LOG_REL,    /* oid: the watched table, 0 for a message */
	LOG_OP, /* "char": I U D T M, R for a reset, B for a bulk marker, C for a chunk of bulk members */
	LOG_COLUMNS, /* bytea: int2 attribute numbers; empty: the whole row */
	LOG_CHANNEL, /* text */
	LOG_EVENT,   /* text; of a bulk marker: "segment first_key", see log.c */
} LogColumn;
#define LOG_NCOLUMNS LOG_EVENT

/* Those of them that have a fixed place, at the begin of the row's data. */
typedef struct LogFixed
{
	int64 id;
	int64 tx;
	TimestampTz at;
	Oid file;
	int32 block;
	int32 behind;
	int32 seq;
	int32 of;
	int32 head;
	Oid rel;
	char op;
} LogFixed;

#define LOG_BULK_OP  'B'
#define LOG_CHUNK_OP 'C'

/* ---------------- ids (log.c) ---------------- */

typedef struct LogReservation
{
	uint64 first;
	int segment;    /* the log table that the rows of these ids go to */
	uint64 decided; /* a watermark of before; 0: none is known */

	/* Where the rows go, see log_place.c. All zero: not known. */
	uint64 tail;      /* the table's tail of before */
	uint32 room;      /* what was left of it, in bytes */
	BlockNumber last; /* the tail's block now */
	BlockNumber end;  /* so many blocks the file has, at least */
} LogReservation;

typedef struct LogBulk
{
	int64 first_key; /* negative; the members have first_key, first_key + 1, ... */
	int segment;
} LogBulk;

/* A large transaction: its ids, and its members in a bulk table. */
typedef struct LogMarker
{
	uint64 first;
	uint64 last;
	LogBulk members;
} LogMarker;

/*
 * This database's entry, its counter made ready from the log where that has not been done since the
 * server, or the extension, came. Needs a transaction. Raises shared_require()'s error, and
 * ERRCODE_UNDEFINED_TABLE when the extension is not in this database.
 */
extern NotifydDatabase *log_attach(void);

/*
 * Take n ids, in flight from now until log_decided(), and the places for rows of theirs. At
 * PRE_COMMIT, once per transaction.
 */
extern LogReservation
log_reserve(NotifydDatabase *database, int64 n, const HeapTuple *tuples, int ntuples);

/* Take n provisional keys; their segment is not truncated before log_decided(). */
extern LogBulk log_begin_bulk(NotifydDatabase *database, int64 n);

/*
 * The transaction is decided: nothing of it is in flight any more; wakes the feed after a commit.
 * Never fails.
 */
extern void log_decided(NotifydDatabase *database, bool committed);

/*
 * Every id up to the result is decided: its event is committed and visible to a snapshot taken from
 * now on, or will never be. *lsn is what has to be flushed before those events may be sent.
 */
extern uint64 log_watermark(NotifydDatabase *database, XLogRecPtr *lsn);

/*
 * The process id of a backend that may still write rows to a segment whose ids end before first; 0:
 * there is none.
 */
extern int log_segment_writer(NotifydDatabase *database, int segment, uint64 first);

/*
 * For the feed, once a second: tell the server's log, once for each, which backend has held up the
 * watermark for seconds. Returns for how many ms the one that holds it up now has done so; 0: none
 * does.
 */
extern uint32 log_report_in_flight(NotifydDatabase *database, TimestampTz now);

/* ---------------- what waits to be delivered (log_lag.c) ---------------- */

/* For writers, in log_decided(): a commit with events. Cannot fail. */
extern void lag_committed(NotifydDatabase *database);

/*
 * For the feed: before it takes the watermark; and when it has sent what it can: all links have
 * been sent everything up to delivered, and the slowest of them an event of last_at at last.
 */
extern void lag_begin_round(NotifydDatabase *database);
extern void lag_end_round(NotifydDatabase *database, uint64 delivered, TimestampTz last_at);

/*
 * When the oldest commit ended that has not been delivered; 0: there is none. For whoever wants to
 * know.
 */
extern TimestampTz lag_since(NotifydDatabase *database);

/*
 * OIDs of a segment's log table, its table for members of bulk writes and that one's index on id;
 * raises extension_relation()'s error.
 */
extern Oid log_table(int segment);
extern Oid log_bulk_table(int segment);
extern Oid log_bulk_index(int segment);

/* ---------------- writing (log_write.c) ---------------- */

typedef struct LogRow
{
	int64 id; /* or provisional key */
	uint64 tx;
	TimestampTz at;
	int32 seq;
	int32 of;
	int32 head_length;
	Oid relation;
	char op;
	int ncolumns;        /* -1: the whole row */
	const char *columns; /* that many int16, not aligned */
	const char *channel;
	int channel_length;
	const char *event;
	Size event_length;
} LogRow;

/*
 * Reserve ids for a transaction's events and insert rows of theirs, formed as in log_row.h, in
 * order; of: how many events there are. What is written is visible when the transaction commits.
 */
extern LogReservation
log_write(NotifydDatabase *database, HeapTuple *tuples, int n, int32 of, uint64 tx, TimestampTz at);

/* Take the lock that log_write() needs, for whoever takes others before it. */
extern void log_lock(NotifydDatabase *database);

/* ---------------- large transactions (log_bulk.c) ---------------- */

/* Insert members of a bulk write, in order, into the table of a segment. */
typedef struct LogBulkWriter LogBulkWriter;

extern LogBulkWriter *log_open_bulk_writer(int segment);
extern void log_write_member(LogBulkWriter *writer, const LogRow *row);
extern void log_close_bulk_writer(LogBulkWriter *writer);

/* As log_write(), for the n events of a bulk write, with the row that stands for all of them. */
extern LogReservation log_write_marker(NotifydDatabase *database, const LogBulk *bulk, int32 n,
									   uint64 tx, TimestampTz at);

/* ---------------- reading (log_read.c) ---------------- */

/* An event as read from the log; good until the callback returns. */
typedef struct LogEvent
{
	uint64 id;
	uint64 tx;
	TimestampTz at;
	int32 seq;
	int32 of;
	int32 head_length;
	Oid relation;
	char op;
	int ncolumns; /* -1: the whole row */
	const int16 *columns;
	const char *channel; /* channel_length bytes */
	int channel_length;
	Datum event; /* where the text is, possibly toasted: log_append_text() */
	Size event_offset;
	Size event_length;
} LogEvent;

/* A segment in use, and the first id that its rows may have. */
typedef struct LogSegment
{
	int segment;
	uint64 first;
	TimestampTz since;
	uint64
		pinned; /* last id of the bulk writes that have members here and their marker later; 0: none */
} LogSegment;

/* The segments in use, oldest first. */
typedef struct LogMap
{
	int n;
	LogSegment segments[LOG_SEGMENTS];
	uint64 oldest; /* events with ids up to and with this one can no longer be had */
} LogMap;

/* A place in the log from which reading goes on. Zero but for after: not looked at yet. */
typedef struct LogReader
{
	uint64 after; /* everything up to this id has been given to the callback */
	bool positioned;
	LogMarker bulk; /* the reader is inside of this large transaction if bulk.last > after */
	/* the block of a file from which on ids behind after are found */
	Oid near_file;
	BlockNumber near_block;
} LogReader;

/* Given each event in order of id. Returns false to stop behind this one. */
typedef bool (*LogCallback)(const LogEvent *event, void *arg);

/*
 * Read events reader->after < id <= upto, which must be at or below a watermark that was taken
 * before the snapshot. At most max_rows are looked at. reader->after is where reading stopped: upto
 * when there was nothing more. Needs a transaction. reader->after must not be below map->oldest.
 */
extern void log_read(LogReader *reader, const LogMap *map, uint64 upto, int max_rows,
					 Snapshot snapshot, LogCallback callback, void *arg);

/*
 * The last id in the log, dead rows included, which segment it is in, the last watermark that a row
 * tells of (0: none does), and the smallest key (0: none).
 */
extern void log_extremes(uint64 *last_id, int *last_segment, uint64 *decided, int64 *smallest_key);

/* The last id that a row stands for. */
extern uint64 log_last_id_of(TupleTableSlot *slot);

/* The last id of an event at or below upto that is visible to the snapshot, or map->oldest. */
extern uint64 log_last_visible(const LogMap *map, uint64 upto, Snapshot snapshot);

/* Give the callback the event with this id, if the log has it. */
extern void log_find(uint64 id, Snapshot snapshot, LogCallback callback, void *arg);

/* Append the first length bytes of the event's text, in the server's encoding. */
extern void log_append_text(StringInfo buf, const LogEvent *event, Size length);

/* ---------------- rendering (log_render.c) ---------------- */

/*
 * Append {"position":...,"id":...,...,<text>} (the params of an event, see pending.h), truncated
 * with ,"truncated":true behind the text. All in the server's encoding.
 */
extern void log_render_params(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of,
							  TimestampTz at, const char *text, Size length, bool truncated);

/* The part of it before the text; there is no NUL behind it. */
extern void
log_render_prefix(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of, TimestampTz at);

/* ---------------- timelines (log_timeline.c) ---------------- */

/*
 * The timeline of this database, as positions carry it. Needs a transaction, unless log_attach()
 * has been called by this process.
 */
extern uint32 log_timeline(void);

/* The timeline in the position of an event: always the same. Needs a transaction. */
extern uint32 log_timeline_of(uint64 id);

/* A number for a new timeline. Needs a transaction. */
extern uint32 log_draw_timeline(void);

/*
 * Note this start's timeline, and where the earlier ones end, if that has not been done. Called by
 * the feed before it hands out a position, outside a transaction.
 */
extern void log_begin_timeline(NotifydDatabase *database, const LogMap *map);

/*
 * For the feed: up to which id positions of a timeline are good. False: the timeline is no part of
 * this history.
 */
extern bool log_timeline_end(uint32 timeline, uint64 *last);

/* ---------------- segments and retention (log_segment.c) ---------------- */

/*
 * Call a function with the columns of each row of a small table of ours that a snapshot sees, and
 * run a statement of our own that takes up to two numbers, which the latter needs to be between the
 * other two.
 */
typedef void (*LogRowFunction)(void *arg, Datum *values);
extern void
log_for_each_row(const char *name, Snapshot snapshot, LogRowFunction function, void *arg);
extern void log_begin_work(void);
extern void log_execute(const char *sql, int64 first, int64 second);
extern void log_end_work(void);

/*
 * A position in the middle of what is retained: by segments, the older half is up to and with it.
 */
extern uint64 log_middle(const LogMap *map);

/* Read the map of segments from notifyd.log_segment. Needs a transaction. */
extern void log_load_map(LogMap *map);

/*
 * Read the map, and begin the first segment, or finish a rotation, where that is needed. Called by
 * the feed, outside a transaction.
 */
extern void log_begin(NotifydDatabase *database, LogMap *map);

/*
 * Do what retention asks for, in transactions of its own: truncations, and at most one rotation.
 * Called by the feed only, outside a transaction, with its map, which is kept right; all readers
 * have read up to read. Never waits for a lock. Returns the time in ms after which it wants to be
 * called again.
 */
extern long log_retain(NotifydDatabase *database, LogMap *map, uint64 read, TimestampTz now);

/*
 * For log_retain(), when the log takes total bytes although it is to take no more than limit
 * (log_pin.c): beyond twice the limit tell the server's log, once for each, which process keeps the
 * oldest segment from being truncated.
 */
extern void
log_report_pinned(NotifydDatabase *database, const LogMap *map, int64 total, int64 limit);

/*
 * For writers: so many bytes of events have been written. Wakes the feed where retention has to
 * look.
 */
extern void log_wrote(NotifydDatabase *database, uint64 bytes);

/* Whether retention has to look now, because much has been written. */
extern bool log_retention_due(NotifydDatabase *database);

/*
 * After how many ms retention should look at the log of a database that has no feed, if anything is
 * in it.
 */
extern int log_visit_ms(void);

/* ---------------- the log tables and utility statements (log_guard.c) ---------------- */

/*
 * Called before each utility statement. Raises ERRCODE_FEATURE_NOT_SUPPORTED if it would move rows
 * of a log table. Returns the statement to run instead, in the current memory context: the same one
 * if it does not concern the log, or a VACUUM without the log tables; NULL: nothing is left to do.
 */
extern PlannedStmt *log_guard(PlannedStmt *planned);

#endif /* PG_NOTIFYD_LOG_H */
