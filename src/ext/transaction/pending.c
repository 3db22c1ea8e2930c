/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  Keeps the events of the running transaction until its commit writes them to the log.
 *
 * Events are collected in a buffer that lives as long as the transaction. If it grows beyond
 * PENDING_MEMORY, it is moved to a temporary file, so that a statement with a million rows needs
 * little memory. A savepoint records the length of the buffer, and its rollback truncates the
 * buffer to that length.
 *
 * The buffer is a sequence of bytes: the first file_bytes are in the file, the rest is in memory.
 * Entries are written and read only from front to back, so truncating changes two numbers. A write
 * that fails half-way, for example because the disk is full, does no harm, because bytes of the
 * file beyond file_bytes are ignored.
 *
 * The steps of a commit (CommitTransaction() in access/transam/xact.c):
 *
 *	  XACT_EVENT_PRE_COMMIT		Deferred triggers have run. Writes the events to the log, as a
 *								part of the transaction like any other row. May fail.
 *	  XACT_EVENT_COMMIT			The commit record is written and the transaction is visible. Its
 *								ids are no longer in flight, and the feed is woken. Must not fail.
 *	  XACT_EVENT_ABORT			The same, without waking the feed.
 *
 * A transaction that has changed catalogs does the second step later, in the phase AFTER_LOCKS of
 * releasing resources: the server sends its invalidation messages in between. Otherwise the feed
 * could read its events before it knows of its policies and privileges.
 *
 * Between the two, later events of all other transactions wait for this one (log_ids.c). So
 * everything that may wait or take long is done before the ids are taken, see wait_first.c.
 * src/README.md lists what cannot be done earlier.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "ext/base/buffer.h"
#include "ext/base/compat.h"
#include "ext/base/failpoint.h"
#include "ext/log/log_row.h"
#include "ext/transaction/at_end.h"
#include "ext/transaction/output.h"
#include "ext/transaction/pending.h"
#include "ext/transaction/wait_first.h"
#include "ext/transaction/watch_counts.h"

#define PENDING_MEMORY (256 * 1024) /* bytes in memory before they are moved to the file */
#define PENDING_BULK   256          /* transactions with more events are written as bulk */

/*
 * An entry is this header and the row that the commit inserts into the log (see log_row.h). The row
 * starts and ends at multiples of MAXIMUM_ALIGNOF, so that a single row can be inserted without a
 * copy; table_multi_insert() copies several rows once.
 */
typedef struct PendingEntry
{
	uint32 length;    /* of the row, without padding */
	bool notify;      /* send its id with NOTIFY on the channel too, */
	bool notify_rows; /* or the whole event */
	uint16 watch;     /* that counts it; 0: none */
} PendingEntry;

#define PENDING_HEADER MAXALIGN(sizeof(PendingEntry))

typedef struct PendingSavepoint
{
	int level; /* transaction nesting level of the savepoint */
	uint64 bytes;
	int64 count;
	int64 notifies;
} PendingSavepoint;

/* Everything is in TopTransactionContext, and zero between transactions. */
typedef struct PendingState
{
	bool committing; /* the events have been written, or there were none: no more are accepted */
	int64 count;
	int64 silent;   /* rows among them that are no events: pending_append_silent() */
	int64 notifies; /* number of events to send with NOTIFY too */
	StringInfo tail;
	BufFile *file;
	ResourceOwner file_owner; /* NULL: no file */
	MemoryContext file_context;
	uint64 file_bytes;
	bool file_moved; /* the file's position differs from file_bytes */
	PendingSavepoint *savepoints;
	int nsavepoints;
	int savepoints_size;
	NotifydDatabase *database;
	uint64 first;     /* id of the first event; 0: not assigned yet */
	bool invalidates; /* the commit sends invalidation messages */
	bool begun;       /* an entry is being written: */
	int entry_at;     /* its offset in the tail, */
	int text_at;      /* and the offset of its text */
} PendingState;

static PendingState pending;

/* What was PendingState.first when a transaction committed; 0: none has had events. */
static uint64 pending_committed;

static const PendingHolder *pending_holder = NULL; /* NULL: nothing was held back yet */

static void
pending_forget(void)
{
	memset(&pending, 0, sizeof(pending));
	watch_counts_forget();
}

static uint64
pending_bytes(void)
{
	return pending.file_bytes + (pending.tail ? pending.tail->len : 0);
}

/*
 * The file must live longer than the portal or subtransaction that is running, and must be closed
 * without BufFileClose(), which writes the rest of the buffer and may fail. So the file has a
 * resource owner and a memory context of its own.
 */
static void
pending_open_file(void)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context;

	if (pending.file_owner == NULL)
	{
		pending.file_context = AllocSetContextCreate(
			TopTransactionContext, "pg_notifyd pending file", ALLOCSET_DEFAULT_SIZES);
		pending.file_owner =
			ResourceOwnerCreate(TopTransactionResourceOwner, "pg_notifyd pending file");
	}
	context = MemoryContextSwitchTo(pending.file_context);
	CurrentResourceOwner = pending.file_owner;
	pending.file = BufFileCreateTemp(false);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(context);
}

/* Never raises an error. */
static void
pending_drop_file(void)
{
	ResourceOwner owner = pending.file_owner;

	if (owner == NULL)
		return;
	pending.file = NULL;
	pending.file_owner = NULL;
	pending.file_bytes = 0;
	pending.file_moved = false;

	/* Release as if aborted, because that does not warn of an open file. */
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(owner);
	MemoryContextDelete(pending.file_context);
}

static void
pending_write_file(const void *data, Size size)
{
	if (pending.file == NULL)
		pending_open_file();
	if (pending.file_moved)
	{
		if (BufFileSeek(pending.file, 0, (off_t) pending.file_bytes, SEEK_SET) != 0)
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not seek in temporary file: %m")));
	}

	/* Set this first: a write that fails half-way moves the position too. */
	pending.file_moved = true;
	BufFileWrite(pending.file, unconstify(void *, data), size);
	pending.file_moved = false;
	pending.file_bytes += size;
}

static void
pending_spill(void)
{
	if (pending.tail->len == 0)
		return;
	pending_write_file(pending.tail->data, pending.tail->len);
	resetStringInfo(pending.tail);
}

/* Truncate the buffer. Called while a subtransaction aborts, so it must not fail. */
static void
pending_truncate(uint64 bytes, int64 count, int64 notifies)
{
	if (bytes >= pending.file_bytes)
	{
		if (pending.tail != NULL)
		{
			pending.tail->len = (int) (bytes - pending.file_bytes);
			pending.tail->data[pending.tail->len] = '\0';
		}
	}
	else
	{
		pending.file_bytes = bytes;
		pending.file_moved = true;
		resetStringInfo(pending.tail);
	}
	if (bytes == 0)
		pending_drop_file();
	pending.count = count;
	pending.notifies = notifies;
	pending.begun = false;
}

/* Prepare for an entry of this transaction. */
static void
pending_prepare(void)
{
	shared_require();
	pending_register_session();
	if (pending.committing)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot capture a change while the transaction is committing"),
				 errdetail("The events of this transaction have been written to the log already."),
				 errhint("A watched table must not be changed by a commit callback of another "
						 "extension.")));
	if (pending.begun)
		elog(ERROR, "an event was captured while another one was written");
	if (pending.database == NULL)
		pending.database = log_attach();
	if (pending.tail == NULL)
	{
		MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);

		pending.tail = makeStringInfo();
		MemoryContextSwitchTo(context);
	}
}

void
pending_make_head(PendingHead *head, const PendingEvent *event)
{
	PendingEntry entry = {
		.notify = event->notify, .notify_rows = event->notify_rows, .watch = (uint16) event->watch};
	LogRow row = {.op = event->op,
				  .relation = event->relation,
				  .columns = (const char *) event->columns,
				  .channel = event->channel,
				  .channel_length = event->channel_length};

	initStringInfo(&head->buf);
	buffer_put(&head->buf, &entry, sizeof(entry));
	head->buf.len = PENDING_HEADER;
	log_begin_row(&head->buf, &row, Max(event->ncolumns, 0) * sizeof(AttrNumber));
	head->text_at = head->buf.len;
}

StringInfo
pending_begin(const PendingHead *head)
{
	pending_prepare();
	if (pending.tail->len > PENDING_MEMORY)
		pending_spill();
	Assert(pending.tail->len == (int) MAXALIGN(pending.tail->len));
	pending.entry_at = pending.tail->len;
	pending.text_at = pending.entry_at + head->text_at;
	buffer_put(pending.tail, head->buf.data, head->buf.len);
	pending.begun = true;
	return pending.tail;
}

/* The offset of the entry's text in its row. */
static Size
pending_text_offset(void)
{
	return pending.text_at - pending.entry_at - PENDING_HEADER;
}

/* Store the lengths of the row, of its text and of the text's head in the entry. */
static PendingEntry *
pending_set_lengths(Size head_length, Size text_length, Size row_length)
{
	PendingEntry *entry = (PendingEntry *) (pending.tail->data + pending.entry_at);

	log_end_row((char *) entry + PENDING_HEADER, pending.tail->data + pending.text_at, head_length,
				text_length);
	entry->length = (uint32) row_length;
	return entry;
}

/* Complete the entry. Returns its number in the transaction. */
static int64
pending_count(const PendingEntry *entry)
{
	pending.begun = false;
	if (entry->notify)
		pending.notifies++;
	return ++pending.count;
}

int64
pending_end(int head_end, const char *hidden, Size hidden_length)
{
	PendingEntry *entry;
	int64 place;
	int text_length = pending.tail->len - pending.text_at;
	int length;

	if (!pending.begun)
		elog(ERROR, "an event was rolled back while it was written");
	log_append_hidden(pending.tail, pending_text_offset() + text_length, hidden, hidden_length);
	length = pending.tail->len;
	entry = pending_set_lengths(head_end - pending.text_at, text_length,
								length - pending.entry_at - PENDING_HEADER);
	place = pending_count(entry);
	buffer_reserve(pending.tail, MAXIMUM_ALIGNOF);
	memset(pending.tail->data + length, 0, MAXIMUM_ALIGNOF);
	pending.tail->len = (int) MAXALIGN(length);
	return place;
}

/* Append an event that is too large for the buffer in memory. */
static int64
pending_append_large(const char *text, Size head_length, Size text_length, const char *hidden,
					 Size hidden_length)
{
	static const char zeros[MAXIMUM_ALIGNOF] = {0};

	Size written = pending.tail->len - pending.text_at;
	Size text_end = pending_text_offset() + written + text_length;
	StringInfoData rest;
	PendingEntry entry;

	initStringInfo(&rest);
	log_append_hidden(&rest, text_end, hidden, hidden_length);
	entry = *pending_set_lengths(written + head_length, written + text_length, text_end + rest.len);
	pending_spill();
	pending_write_file(text, text_length);
	pending_write_file(rest.data, rest.len);
	pending_write_file(zeros, MAXALIGN(entry.length) - entry.length);
	pfree(rest.data);
	return pending_count(&entry);
}

int64
pending_append(const PendingHead *head, const char *text, Size head_length, Size text_length,
			   const char *hidden, Size hidden_length)
{
	int head_end;

	(void) pending_begin(head);
	if (text_length + hidden_length > PENDING_MEMORY)
		return pending_append_large(text, head_length, text_length, hidden, hidden_length);
	head_end = pending.tail->len + (int) head_length;
	buffer_put(pending.tail, text, (int) text_length);
	return pending_end(head_end, hidden, hidden_length);
}

void
pending_append_silent(const PendingEvent *event, const char *text, Size length)
{
	PendingHead head;

	pending_append_held();
	pending_make_head(&head, event);
	(void) pending_append(&head, text, 0, length, NULL, 0);
	pfree(head.buf.data);
	pending.silent++;
}

uint64
pending_committed_first(void)
{
	return pending_committed;
}

/* How many events the transaction has, as clients are told. */
static int32
pending_events(void)
{
	return (int32) (pending.count - pending.silent);
}

/* ---------------- events that are held back ---------------- */

void
pending_set_holder(const PendingHolder *holder)
{
	Assert(pending_holder == NULL || pending_holder == holder);
	pending_register_session();
	pending_holder = holder;
}

void
pending_append_held(void)
{
	if (pending_holder != NULL)
		pending_holder->append();
}

/* ---------------- reading the buffer back ---------------- */

/*
 * Return the bytes at *offset, and advance *offset. The result points into the buffer in memory, or
 * is allocated in the current memory context.
 */
static const char *
pending_read(uint64 *offset, Size size)
{
	const char *data;

	if (*offset < pending.file_bytes)
	{
		char *copy = palloc(Max(size, 1));

		compat_buffile_read(pending.file, copy, size);
		data = copy;
	}
	else
		data = pending.tail->data + (*offset - pending.file_bytes);
	*offset += size;
	return data;
}

static void
pending_rewind(uint64 *offset)
{
	*offset = 0;
	if (pending.file != NULL)
	{
		if (BufFileSeek(pending.file, 0, 0, SEEK_SET) != 0)
			ereport(ERROR,
					(errcode_for_file_access(), errmsg("could not seek in temporary file: %m")));
		pending.file_moved = true;
	}
}

/*
 * Read the next entry and set *row to its row. No entry is partly in the file and partly in memory,
 * because the whole buffer in memory is moved at once.
 */
static PendingEntry
pending_next(uint64 *offset, char **row)
{
	PendingEntry entry;

	memcpy(&entry, pending_read(offset, PENDING_HEADER), sizeof(entry));
	*row = unconstify(char *, pending_read(offset, MAXALIGN(entry.length)));
	return entry;
}

/* ---------------- commit ---------------- */

/* Send an event with NOTIFY too: its id, or the whole event if that is wanted and fits. */
static void
pending_notify(const LogRow *row, uint64 id, bool whole)
{
	StringInfoData payload;
	char *channel;

	initStringInfo(&payload);
	if (whole && row->event_length < COMPAT_NOTIFY_PAYLOAD_MAX)
		log_render_params(&payload, id, row->tx, row->seq, row->of, row->at, row->event,
						  row->event_length, false);
	if (payload.len == 0 || payload.len >= COMPAT_NOTIFY_PAYLOAD_MAX)
	{
		resetStringInfo(&payload);
		appendStringInfo(&payload, "{\"id\": " UINT64_FORMAT "}", id);
	}
	channel = pnstrdup(row->channel, row->channel_length);
	Async_Notify(channel, payload.data);
	pfree(channel);
	pfree(payload.data);
}

/*
 * Read the buffer once. Write the events as members of a bulk write, or send those that use NOTIFY.
 */
static void
pending_walk(LogBulkWriter *writer, int64 first, uint64 tx, TimestampTz at)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext each =
		AllocSetContextCreate(context, "pg_notifyd pending row", ALLOCSET_DEFAULT_SIZES);
	uint64 offset;
	LogRow row = {.tx = tx, .at = at, .of = pending_events()};

	pending_rewind(&offset);
	for (int64 i = 0; i < pending.count; i++)
	{
		PendingEntry entry;
		char *formed;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(each);
		entry = pending_next(&offset, &formed);
		log_parse_row(formed, &row);
		row.id = first + i;
		row.seq = (int32) (i + 1);
		watch_counts_note(writer != NULL ? entry.watch : 0);
		if (writer != NULL)
			log_write_member(writer, &row);
		else if (entry.notify)
			pending_notify(&row, (uint64) row.id, entry.notify_rows);
		MemoryContextSwitchTo(context);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
}

/* The usual case: insert a few events without a copy, with their final ids. */
static void
pending_commit_small(uint64 tx, TimestampTz at)
{
	int n = (int) pending.count;
	HeapTupleData one;
	HeapTupleData *rows = n == 1 ? &one : palloc(n * sizeof(HeapTupleData));
	HeapTuple first = &one;
	HeapTuple *tuples = n == 1 ? &first : palloc(n * sizeof(HeapTuple));
	uint64 offset;
	LogReservation reservation;

	pending_rewind(&offset);
	for (int i = 0; i < n; i++)
	{
		char *row;
		PendingEntry entry = pending_next(&offset, &row);

		watch_counts_note(entry.watch);
		rows[i].t_len = entry.length;
		rows[i].t_data = (HeapTupleHeader) row;
		rows[i].t_tableOid = InvalidOid;
		ItemPointerSetInvalid(&rows[i].t_self);
		tuples[i] = &rows[i];
	}
	wait_first(pending.database, pending.notifies > 0);
	reservation = log_write(pending.database, tuples, n, n, pending_events(), tx, at);
	pending.first = reservation.first;
	if (pending.notifies > 0)
		pending_walk(NULL, (int64) reservation.first, tx, at);
}

/*
 * Many events: first write them with provisional ids that no other transaction waits for, then take
 * the ids for one marker row.
 */
static void
pending_commit_bulk(uint64 tx, TimestampTz at)
{
	LogBulk bulk = log_begin_bulk(pending.database, pending.count);
	LogBulkWriter *writer = log_open_bulk_writer(bulk.segment);
	LogSummary summary;
	LogReservation reservation;

	pending_walk(writer, bulk.first_key, tx, at);
	log_close_bulk_writer(writer, &summary);

	wait_first(pending.database, pending.notifies > 0);
	reservation =
		log_write_marker(pending.database, &bulk, &summary, (int32) pending.count, tx, at);
	pending.first = reservation.first;
	if (pending.notifies > 0)
		pending_walk(NULL, (int64) reservation.first, tx, at);
}

static void
pending_pre_commit(void)
{
	uint64 tx;
	TimestampTz at;
	MemoryContext context;

	pending_append_held();
	pending.committing = true;
	if (pending.count == 0)
	{
		pending_drop_file();
		return;
	}
	if (pending.count > PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a transaction cannot have more than %d events", PG_INT32_MAX)));
	/*
	 * Attach again, because the extension may have been created again in between, and that rolled
	 * back.
	 */
	pending.database = log_attach();
	at = GetCurrentTimestamp();

	/*
	 * The current context may be that of a procedure that commits in a loop, so allocate nothing
	 * there.
	 */
	context = MemoryContextSwitchTo(TopTransactionContext);
	pending.invalidates = at_end_invalidates();
	tx = U64FromFullTransactionId(GetCurrentFullTransactionId());
	if (pending.count <= PENDING_BULK && pending.file == NULL)
		pending_commit_small(tx, at);
	else
		pending_commit_bulk(tx, at);
	log_wrote(pending.database, pending_bytes());
	MemoryContextSwitchTo(context);
	FAIL_POINT("commit-before");
}

static void
pending_pre_prepare(void)
{
	pending_append_held();
	if (pending.count > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot PREPARE a transaction that has changed a table watched by pg_notifyd"),
			 errdetail("The events of a transaction are ordered when it commits."),
			 errhint("Use COMMIT, or stop watching the table with notify_unwatch().")));
	pending_drop_file();
}

/*
 * PostgreSQL calls the callbacks registered last first (CallXactCallbacks() in
 * access/transam/xact.c). So there are two of them. This one is registered when the library is
 * loaded, so it runs after those of other libraries, which may wait; postgres_fdw commits on
 * another server there.
 */
static void
pending_last_callback(XactEvent event, void *arg pg_attribute_unused())
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			pending_pre_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			pending_pre_prepare();
			break;
		case XACT_EVENT_COMMIT:
			/* After the commit, because removing a large file takes long. */
			pending_drop_file();
			if (pending.first != 0)
				pending_committed = pending.first;
			pending_forget();
			output_end_buffering();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			pending_forget();
			output_end_buffering();
			break;
		default: /* parallel workers write nothing */
			break;
	}
}

/*
 * This one is registered with the session's first event, so it runs before the callbacks registered
 * earlier, and other events wait no longer.
 */
static void
pending_first_callback(XactEvent event, void *arg pg_attribute_unused())
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (!pending.committing || pending.count == 0)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		FAIL_POINT("commit-after");
		pg_atomic_fetch_add_u64(&pending.database->events_written, pending_events());
		watch_counts_commit();
		if (pending.invalidates)
		{
			at_end_decide(pending.database);
			return;
		}
	}
	log_decided(pending.database, event == XACT_EVENT_COMMIT);
}

/*
 * A savepoint that starts with an empty buffer is not recorded. A level without a record started
 * with an empty buffer.
 */
static void
pending_begin_subxact(int level)
{
	if (pending.count == 0)
		return;
	if (pending.nsavepoints == pending.savepoints_size)
	{
		MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);

		pending.savepoints_size = Max(8, pending.savepoints_size * 2);
		if (pending.savepoints == NULL)
			pending.savepoints = palloc(pending.savepoints_size * sizeof(PendingSavepoint));
		else
			pending.savepoints = repalloc_huge(pending.savepoints,
											   pending.savepoints_size * sizeof(PendingSavepoint));
		MemoryContextSwitchTo(context);
	}
	pending.savepoints[pending.nsavepoints++] = (PendingSavepoint){.level = level,
																   .bytes = pending_bytes(),
																   .count = pending.count,
																   .notifies = pending.notifies};
}

static void
pending_end_subxact(int level, bool commit)
{
	PendingSavepoint *top =
		pending.nsavepoints > 0 ? &pending.savepoints[pending.nsavepoints - 1] : NULL;
	bool noted = top != NULL && top->level == level;

	/* Truncate even if no event was counted, because the first one may have failed half-way. */
	if (!commit)
		pending_truncate(noted ? top->bytes : 0, noted ? top->count : 0, noted ? top->notifies : 0);
	if (noted)
		pending.nsavepoints--;
}

static void
pending_subxact_callback(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
						 SubTransactionId parent pg_attribute_unused(),
						 void *arg pg_attribute_unused())
{
	int level = GetCurrentTransactionNestLevel();

	switch (event)
	{
		case SUBXACT_EVENT_START_SUB:
			pending_append_held();
			pending_begin_subxact(level);
			break;
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			pending_append_held();
			break;
		case SUBXACT_EVENT_COMMIT_SUB:
			pending_end_subxact(level, true);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			if (pending_holder != NULL)
				pending_holder->forget();
			pending_end_subxact(level, false);
			break;
	}
}

void
pending_register(void)
{
	RegisterXactCallback(pending_last_callback, NULL);
}

/* Register the callbacks that a session needs after its first event. */
void
pending_register_session(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(pending_first_callback, NULL);
	RegisterSubXactCallback(pending_subxact_callback, NULL);
	registered = true;
}
