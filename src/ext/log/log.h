/*-------------------------------------------------------------------------
 *
 * log.h
 *	  The event log: the tables notifyd.log_0 ... log_7 and bulk_0 ... bulk_7.
 *
 * What other folders use of the log. Its files build on each other in this order; none of them
 * calls one that comes later:
 *
 *	  log_row.c, log_check.c	how rows are stored, and checks of tables and pages
 *	  log_tail.c		where writers put rows, and where readers find them
 *	  log_lag.c, log_ids.c	ids, the watermark, and what waits for delivery
 *	  log_write.c, log_bulk.c	inserting rows, the members of large transactions (these are read there, too)
 *	  log_table.c, log_pin.c, log_segment.c	the small tables, segments and retention
 *	  log_read.c		reading in order of id
 *	  log_attach.c		what the first session after a start sets from the log
 *	  log_timeline.c, log_render.c	timelines, the text of an event
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
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "ext/base/shared.h"

#define LOG_SEGMENTS NOTIFYD_LOG_SEGMENTS

/*
 * Columns of a log table, from 1 on, as in the extension's script. Version 1.0 named LOG_RELFILENUMBER
 * "file", LOG_START_BLOCK "block" and LOG_WATERMARK_DELTA "behind".
 */
typedef enum LogColumn
{
	LOG_ID = 1,          /* int8: an event's id, a bulk marker's first id, a bulk member's key */
	LOG_TX,              /* int8: full transaction id */
	LOG_AT,              /* timestamptz: when the commit began */
	LOG_RELFILENUMBER,   /* oid: the file that the next two are about, see log_tail.c */
	LOG_START_BLOCK,     /* int4: rows of ids from this one on are in this block or behind it */
	LOG_WATERMARK_DELTA, /* int4: id minus a watermark */
	LOG_SEQ,             /* int4: place in the transaction, from 1 */
	LOG_OF,              /* int4: how many events the transaction has */
	LOG_HEAD,            /* int4: bytes of event that are sent if it is too large, see pending.h */
	LOG_REL,             /* oid: the watched table, 0 for a message */
	LOG_OP,      /* "char": as in operation.h, B for a bulk marker, C for a chunk of bulk members */
	LOG_COLUMNS, /* bytea: int2 attribute numbers; empty: the whole row */
	LOG_CHANNEL, /* text */
	LOG_EVENT,   /* text */
	LOG_HIDDEN,  /* bytea: values that clients must not see, see capture_hidden.c */
} LogColumn;
#define LOG_NCOLUMNS     LOG_HIDDEN
#define LOG_NCOLUMNS_1_0 LOG_EVENT /* version 1.0 has no hidden values */

/* The columns with a fixed place, at the begin of a row's data. */
typedef struct LogFixed
{
	int64 id;
	int64 tx;
	TimestampTz at;
	Oid relfilenumber;
	int32 start_block;
	int32 watermark_delta;
	int32 seq;
	int32 of;
	int32 head;
	Oid rel;
	char op;
} LogFixed;

#define LOG_BULK_OP  'B'
#define LOG_CHUNK_OP 'C'

/* ---------------- ids (log_ids.c) ---------------- */

/* Ids that a transaction has reserved, and the room for its rows. */
typedef struct LogReservation
{
	uint64 first;
	int segment;             /* the log table that the rows of these ids go to */
	uint64 recent_watermark; /* an earlier watermark; 0: none is known */

	/* The reserved room, see log_tail.c. All are zero if the tail was unknown. */
	uint64 tail;      /* the table's tail before */
	uint32 room;      /* bytes that were left in that block */
	BlockNumber last; /* the tail's block now */
	BlockNumber end;  /* the file has at least so many blocks */
} LogReservation;

typedef struct LogBulk
{
	int64 first_key; /* negative; the members have first_key, first_key + 1, ... */
	int segment;
} LogBulk;

#define LOG_SUMMARY_CHANNELS 16

/* What a marker says of the members of a bulk write. */
typedef struct LogSummary
{
	uint64
		bytes; /* about as many as clients get of them; 0: unknown, version 1.0 wrote the marker */
	int nchannels; /* more than LOG_SUMMARY_CHANNELS: not all of them are here */
	char channels[LOG_SUMMARY_CHANNELS][NAMEDATALEN];
} LogSummary;

/* A large transaction: its ids, and its members in a bulk table. */
typedef struct LogMarker
{
	uint64 first;
	uint64 last;
	LogBulk members;
} LogMarker;

/*
 * Reserve n ids, and room for these rows of theirs. The ids are in flight from now until
 * log_decided(). Called at PRE_COMMIT, once per transaction.
 */
extern LogReservation
log_reserve(NotifydDatabase *database, int64 n, const HeapTuple *tuples, int ntuples);

/* Reserve n keys. Their segment is not truncated before log_decided(). */
extern LogBulk log_begin_bulk(NotifydDatabase *database, int64 n);

/*
 * The transaction has committed or aborted: none of its ids is in flight any more. Wakes the feed.
 * Never fails.
 */
extern void log_decided(NotifydDatabase *database, bool committed);

/*
 * Called by log_decided() if consumers wait for events of the database (consumers_waiting). It must
 * not raise an error.
 */
extern void (*log_wake_consumers)(NotifydDatabase *database);

/*
 * The watermark. The event of each id up to it is committed and visible to every snapshot that is
 * taken from now on, or will never be. WAL has to be flushed up to *lsn before these events may be
 * sent.
 */
extern uint64 log_watermark(NotifydDatabase *database, XLogRecPtr *lsn);

/* The newest id that has been assigned. Later transactions, and those that have not taken ids yet, get later ones. */
extern uint64 log_last_assigned(NotifydDatabase *database);

/* The end of the WAL that has been inserted. */
extern XLogRecPtr log_wal_end(void);

/*
 * Make sure that a crash, or the loss of this server if there is a synchronous standby, cannot undo
 * what is sent. Returns false if the standby has not confirmed it yet; a writer with
 * synchronous_commit = off does not wait for the standby.
 */
extern bool log_make_durable(XLogRecPtr lsn);

/*
 * The process id of a backend that may still write rows to a segment whose ids end before first; 0:
 * no backend does.
 */
extern int log_segment_writer(NotifydDatabase *database, int segment, uint64 first);

/*
 * Report a backend that has held up the watermark for seconds in the server's log, once for each
 * commit. Returns for how many ms the present one has held it up; 0: none does. The feed calls this
 * once a second.
 */
extern uint32 log_report_in_flight(NotifydDatabase *database, TimestampTz now);

/* ---------------- what waits to be delivered (log_lag.c) ---------------- */

/* For writers, in log_decided(): a commit with events. Cannot fail. */
extern void lag_committed(NotifydDatabase *database);

/*
 * For the feed, around each round: log_lag.c. delivered: all links have been sent everything up to
 * this id; last_at: the time of the last event that the slowest link was sent.
 */
extern void lag_begin_round(NotifydDatabase *database);
extern void lag_end_round(NotifydDatabase *database, uint64 delivered, TimestampTz last_at);

/* For a database without a feed: nobody waits for what has been committed so far. */
extern void lag_forget(NotifydDatabase *database);

/* When the oldest commit ended that has not been delivered; 0: there is none. */
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
	const char *hidden;
	Size hidden_length;
} LogRow;

/*
 * Reserve ids and insert these rows, formed as in log_row.h, in order. Others see them when the
 * transaction commits. of: how many events the transaction has, which clients are told.
 */
extern LogReservation log_write(NotifydDatabase *database, HeapTuple *tuples, int n, int64 ids,
								int32 of, uint64 tx, TimestampTz at);

/* Take the lock on the log table that log_write() takes, in advance. */
extern void log_lock(NotifydDatabase *database);

/* ---------------- large transactions (log_bulk.c) ---------------- */

/* Insert members of a bulk write, in order, into the table of a segment. */
typedef struct LogBulkWriter LogBulkWriter;

extern LogBulkWriter *log_open_bulk_writer(int segment);
extern void log_write_member(LogBulkWriter *writer, const LogRow *row);

/* Write what is left, and say in *summary what was written. */
extern void log_close_bulk_writer(LogBulkWriter *writer, LogSummary *summary);

/* As log_write(), for the n events of a bulk write, with the row that stands for all of them. */
extern LogReservation
log_write_marker(NotifydDatabase *database, const LogBulk *bulk, const LogSummary *summary, int32 n,
				 uint64 tx, TimestampTz at);

/* ---------------- reading (log_read.c) ---------------- */

/*
 * Where the row of an event is, so that log_get() finds it without a search. A table that retention
 * has emptied has another file.
 */
typedef struct LogAddress
{
	Oid table;
	Oid file;
	ItemPointerData tid;
	uint16 member; /* of a chunk of bulk members: its place there, from 0 */
} LogAddress;

/* An event as read from the log. What it points to is valid until the callback returns. */
typedef struct LogEvent
{
	LogAddress address;
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
	Datum hidden; /* where the hidden values are, possibly toasted: log_hidden() */
	Size hidden_offset;
	Size hidden_length; /* 0: there are none */
} LogEvent;

/* A segment in use, and the first id that its rows may have. */
typedef struct LogSegment
{
	int segment;
	uint64 first;
	TimestampTz since;
	uint64 pinned; /* last id of large transactions with members here and a later marker; 0: none */
} LogSegment;

/* The segments in use, oldest first. */
typedef struct LogMap
{
	int n;
	LogSegment segments[LOG_SEGMENTS];
	uint64 oldest; /* events up to and with this id are no longer retained */
} LogMap;

/* Where a reader goes on. A new reader has only after set. */
typedef struct LogReader
{
	uint64 after; /* everything up to this id has been given to the callback */
	bool positioned;
	LogMarker bulk; /* the reader is inside of this large transaction if bulk.last > after */
	/* the block of a file from which on ids behind after are found */
	Oid near_file;
	BlockNumber near_block;
} LogReader;

/* Called for each event in order of id. Returns false to stop behind this one. */
typedef bool (*LogCallback)(const LogEvent *event, void *arg);

/* A large transaction, before its first event is read. */
typedef struct LogLarge
{
	const LogReader *reader; /* stands right before it */
	uint64 last;             /* its last id */
	TimestampTz at;
	const LogSummary *summary;
} LogLarge;

/* Called before the events of a large transaction. Returns true to leave them out. */
typedef bool (*LogSkip)(const LogLarge *large, void *arg);

/* What is called for what is read. */
typedef struct LogVisitor
{
	LogCallback event;
	LogSkip skip; /* NULL: nothing is left out */
	void *arg;
} LogVisitor;

/*
 * Read events reader->after < id <= upto, at most max_rows of them. upto is a watermark that was
 * taken before the snapshot, or less. Afterwards reader->after is where reading stopped: upto if there
 * was nothing more. Needs a transaction. reader->after must not be below map->oldest.
 */
extern void log_read(LogReader *reader, const LogMap *map, uint64 upto, int max_rows,
					 Snapshot snapshot, const LogVisitor *visitor);

/*
 * The last id in the log and its segment, the last watermark that a row records (0: none), and the
 * smallest key of a bulk table (0: none). Dead rows count.
 */
extern void
log_extremes(uint64 *last_id, int *last_segment, uint64 *recent_watermark, int64 *smallest_key);

/* The last id that a row stands for: a marker stands for several. */
extern uint64 log_last_id_of(TupleTableSlot *slot);

/* The last id at or below upto whose event the snapshot sees, at least map->oldest. */
extern uint64 log_last_visible(const LogMap *map, uint64 upto, Snapshot snapshot);

/* Give the callback the event with this id, if the log has it. */
extern void log_find(uint64 id, Snapshot snapshot, LogCallback callback, void *arg);

/*
 * Reads events by their addresses. One that follows another of the same table is cheap, because the
 * table stays open until log_end_get(). The caller knows that transactions see the event. log_get()
 * returns false if the log no longer has it.
 */
typedef struct LogGetter
{
	MemoryContext context; /* what stays open is allocated there */
	Relation table;        /* NULL: none is open */
	TupleTableSlot *slot;
} LogGetter;

extern bool
log_get(LogGetter *getter, uint64 id, const LogAddress *address, LogCallback callback, void *arg);
extern void log_end_get(LogGetter *getter);

/* Append the first length bytes of the event's text, in the server's encoding. */
extern void log_append_text(StringInfo buf, const LogEvent *event, Size length);

/*
 * The event's text, event_length bytes without a NUL. It is in the row, or is copied to the current
 * memory context.
 */
extern const char *log_text(const LogEvent *event);

/*
 * The event's hidden values, hidden_length bytes; not aligned. They are in the row, or are copied to
 * the current memory context. NULL if there are none.
 */
extern const char *log_hidden(const LogEvent *event);

/*
 * The old key of an UPDATE that has changed it, as a JSON object of *length bytes in the server's
 * encoding, among the hidden values. NULL if the event has none.
 */
extern const char *log_old_key(const LogEvent *event, Size *length);

/* ---------------- rendering (log_render.c) ---------------- */

/*
 * Append {"position":...,"id":...,...,<text>} (the params of an event, see pending.h), truncated
 * with ,"truncated":true behind the text. All in the server's encoding.
 */
extern void log_render_params(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of,
							  TimestampTz at, const char *text, Size length, bool truncated);

/* Append the position of an event, as clients write it. */
extern void log_render_position(StringInfo buf, uint64 id);

/* The part of it before the text; there is no NUL behind it. */
extern void
log_render_prefix(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of, TimestampTz at);

/* ---------------- at a start (log_attach.c) ---------------- */

/*
 * This database's entry. Sets its counters from the log if no session has done that since the
 * server's start or since CREATE EXTENSION. Needs a transaction. Raises shared_require()'s error, and
 * ERRCODE_UNDEFINED_TABLE if the extension is not in this database.
 */
extern NotifydDatabase *log_attach(void);

/* ---------------- timelines (log_timeline.c) ---------------- */

/*
 * The timeline of this database, as positions carry it. Needs a transaction, unless log_attach()
 * has been called by this process.
 */
extern uint32 log_timeline(void);

/* The timeline in the position of an event: always the same. Needs a transaction. */
extern uint32 log_timeline_of(uint64 id);

/*
 * Note this start's timeline and where the earlier ones end, unless that has been done. The feed
 * calls this before it hands out a position, outside a transaction.
 */
extern void log_begin_timeline(NotifydDatabase *database, const LogMap *map);

/*
 * Up to which id positions of a timeline are good. Returns false if the timeline is not part of this
 * history. For the feed.
 */
extern bool log_timeline_end(uint32 timeline, uint64 *last);

/* ---------------- small tables (log_table.c) ---------------- */

/*
 * Helpers for the small tables, as notifyd.log_segment. The first calls a function with the columns
 * of each row that a snapshot sees. log_execute() runs a statement that takes up to two numbers,
 * between log_begin_work() and log_end_work(), which make a transaction.
 */
typedef void (*LogRowFunction)(void *arg, Datum *values);
extern void
log_for_each_row(const char *name, Snapshot snapshot, LogRowFunction function, void *arg);
extern void log_begin_work(void);
extern void log_execute(const char *sql, int64 first, int64 second);
extern void log_end_work(void);

/* ---------------- segments and retention (log_segment.c) ---------------- */

/* The last id of the older half of the retained segments. */
extern uint64 log_middle(const LogMap *map);

/* Read the map of segments from notifyd.log_segment. Needs a transaction. */
extern void log_load_map(LogMap *map);

/*
 * Read the map, and begin the first segment, or finish a rotation, where that is needed. Called by
 * the feed, outside a transaction.
 */
extern void log_begin(NotifydDatabase *database, LogMap *map);

/*
 * Up to which id the log has been read for live events, and for replays. Readers that retention has
 * already overtaken do not count. PG_UINT64_MAX: nobody reads.
 */
typedef struct LogProgress
{
	uint64 live;
	uint64 replays;
	uint64 groups; /* consumer groups need what is behind this id */
} LogProgress;

/*
 * Retention: truncate old segments, and begin a new one if the current one is large or old enough.
 * Only the feed calls this, outside a transaction, with its map, which is updated. Never waits for a
 * lock. Returns after how many ms it is to be called again.
 */
extern long log_retain(NotifydDatabase *database, LogMap *map, LogProgress read, TimestampTz now);

/*
 * Report who keeps the oldest segment from being truncated in the server's log, once for each, if the
 * log takes more than twice the limit. total and limit are bytes. For log_retain(); log_pin.c.
 */
extern void
log_report_pinned(NotifydDatabase *database, const LogMap *map, int64 total, int64 limit);

/*
 * Count bytes of events that have been written, and wake the feed if retention has to look. For
 * writers.
 */
extern void log_wrote(NotifydDatabase *database, uint64 bytes);

/* Whether retention has to look now, because much has been written. */
extern bool log_retention_due(NotifydDatabase *database);

/* After how many ms retention should look at the log of a database without a feed. */
extern int log_visit_ms(void);

/* ---------------- the log tables and utility statements (log_guard.c) ---------------- */

/*
 * Called before each utility statement. Raises ERRCODE_FEATURE_NOT_SUPPORTED if it would move rows
 * of a log table. Returns the statement to run instead, in the current memory context: the same one
 * if it does not concern the log, or a VACUUM without the log tables; NULL: nothing is left to do.
 */
extern PlannedStmt *log_guard(PlannedStmt *planned);

#endif /* PG_NOTIFYD_LOG_H */
