/*-------------------------------------------------------------------------
 *
 * query_spool.c
 *	  Rows for which the client has no room yet: of snapshots, and of calls that send them one by one.
 *
 * A transaction does not wait for the client. While the client has credit, rows are sent; those
 * beyond it are written to a temporary file, and are sent as credit arrives, while the worker executes
 * other queries. So the transaction lasts as long as reading the rows takes, however slow the client is, and
 * memory is bounded. pg_notifyd.snapshot_spool_size bounds the files of a worker, and so does temp_file_limit. A file
 * is as large as all that was written to it until its last frame is sent.
 *
 * The files are not those of BufFile, because BufFileClose() writes what is left in its buffer: after an error of
 * writing it would fail once more, and end the worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "ext/base/settings.h"
#include "ext/query/query.h"

/* A frame in the file: this, and then the frame. */
typedef struct SpoolEntry
{
	uint32 size;  /* of the frame */
	uint32 bytes; /* of credit that it takes */
} SpoolEntry;

typedef struct Spool
{
	dlist_node node; /* spools */
	ClientQuery *query;
	int64 credit;
	File file;      /* 0: everything was sent */
	off_t read_at;  /* where the next frame to be sent is */
	off_t size;     /* of the file */
	uint64 entries; /* frames in the file that were not sent */
	char *last;     /* a frame that follows all others, in the query's context; NULL: none */
	size_t last_size;
	bool ended; /* there will be no more; the query belongs to the spool */
} Spool;

static dlist_head spools = DLIST_STATIC_INIT(spools);
static uint64 spools_size; /* of all files */

void
spool_begin(ClientQuery *query)
{
	Spool *spool = MemoryContextAllocZero(query->context, sizeof(Spool));

	spool->query = query;
	spool->credit = query->wire.window;
	query->spool = spool;
	dlist_push_tail(&spools, &spool->node);
}

static Spool *
spool_find(const QueryLink *link, uint32 request)
{
	dlist_iter iter;

	dlist_foreach (iter, &spools)
	{
		Spool *spool = dlist_container(Spool, node, iter.cur);

		if (spool->query->link == link && spool->query->wire.request == request)
			return spool;
	}
	return NULL;
}

static void
spool_close(Spool *spool)
{
	if (spool->file == 0)
		return;
	FileClose(spool->file);
	spool->file = 0;
	spools_size -= (uint64) spool->size;
	spool->size = spool->read_at = 0;
}

void
spool_drop(ClientQuery *query)
{
	Spool *spool = query->spool;

	if (spool == NULL)
		return;
	dlist_delete(&spool->node);
	spool_close(spool);
	query->spool = NULL;
}

/* Drop a spool, with its query if that has ended. */
static void
spool_free(Spool *spool)
{
	ClientQuery *query = spool->query;
	bool ended = spool->ended;

	spool_drop(query);
	if (ended)
		MemoryContextDelete(query->context);
}

/* ---------------- the file ---------------- */

static void
spool_check_room(uint64 bytes)
{
	if (spools_size + bytes > (uint64) notifyd_snapshot_spool_size * 1024 * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many rows wait for clients that are slow"),
				 errdetail("pg_notifyd.snapshot_spool_size is %d MB.", notifyd_snapshot_spool_size),
				 errhint("Try again later, or ask for fewer rows.")));
}

static void
spool_write(Spool *spool, const WireMessage *message, uint32 bytes)
{
	SpoolEntry entry = {.size = (uint32) wire_encode(message, NULL, 0), .bytes = bytes};
	int size = (int) (sizeof(entry) + entry.size);
	char *data = palloc(size);

	spool_check_room((uint64) size);
	memcpy(data, &entry, sizeof(entry));
	(void) wire_encode(message, data + sizeof(entry), entry.size);
	/* It outlives the transaction. */
	if (spool->file == 0)
		spool->file = OpenTemporaryFile(true);
	if (FileWrite(spool->file, data, size, spool->size, WAIT_EVENT_BUFFILE_WRITE) != size)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not write to file \"%s\": %m", FilePathName(spool->file))));
	spool->size += size;
	spools_size += (uint64) size;
	spool->entries++;
	pfree(data);
}

static void
spool_read_bytes(Spool *spool, void *to, int size)
{
	if (FileRead(spool->file, to, size, spool->read_at, WAIT_EVENT_BUFFILE_READ) != size)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read file \"%s\": %m", FilePathName(spool->file))));
	spool->read_at += size;
}

/* Send the next frame of the file. */
static void
spool_read(Spool *spool)
{
	SpoolEntry entry;
	WireMessage message;
	size_t used;
	char *frame;

	spool_read_bytes(spool, &entry, sizeof(entry));
	frame = palloc(entry.size);
	spool_read_bytes(spool, frame, (int) entry.size);
	spool->entries--;
	if (wire_decode(frame, entry.size, &message, &used) != WIRE_OK)
		elog(ERROR, "a temporary file has no valid frame");
	query_link_answer(spool->query, &message);
	spool->credit -= entry.bytes;
	pfree(frame);
	if (spool->entries == 0)
		spool_close(spool);
}

/* ---------------- sending ---------------- */

static bool
spool_may_send(const Spool *spool)
{
	return spool->credit > 0 && query_link_has_room(spool->query);
}

/* Send frames of the file while that is possible. */
static void
spool_drain(Spool *spool)
{
	while (spool->entries > 0 && spool_may_send(spool))
		spool_read(spool);
}

void
spool_send(ClientQuery *query, const WireMessage *message, uint32 bytes)
{
	Spool *spool = query->spool;

	spool_drain(spool);
	if (spool->entries > 0 || !spool_may_send(spool))
	{
		spool_write(spool, message, bytes);
		return;
	}
	query_link_answer(query, message);
	spool->credit -= bytes;
}

void
spool_attend(ClientQuery *query)
{
	query_link_send_all();
	(void) query_link_receive_all();
	if (!query_link_wants(query))
		query_refuse(WIRE_QUERY_CANCELLED, ERRCODE_QUERY_CANCELED, NULL, "the client has left");
}

void
spool_set_last(const ClientQuery *query, const WireMessage *message)
{
	size_t size = wire_encode(message, NULL, 0);

	query->spool->last = MemoryContextAlloc(query->context, size);
	query->spool->last_size = size;
	(void) wire_encode(message, query->spool->last, size);
}

static void
spool_send_last(Spool *spool)
{
	WireMessage message;
	size_t used;

	if (spool->last == NULL)
		return;
	if (wire_decode(spool->last, spool->last_size, &message, &used) != WIRE_OK)
		elog(ERROR, "the last frame of a query is not valid");
	query_link_answer(spool->query, &message);
}

bool
spool_end(ClientQuery *query)
{
	Spool *spool = query->spool;

	spool_drain(spool);
	if (spool->entries == 0)
	{
		spool_send_last(spool);
		spool_drop(query);
		return true;
	}
	spool->ended = true;
	return false;
}

bool
spool_credit(const QueryLink *link, uint32 request, uint32 bytes)
{
	Spool *spool = spool_find(link, request);

	if (spool != NULL)
		spool->credit = Min(spool->credit + bytes, (int64) spool->query->wire.window);
	return spool != NULL;
}

bool
spool_cancel(const QueryLink *link, uint32 request)
{
	WireMessage failed = {.type = WIRE_FAILED};
	Spool *spool = spool_find(link, request);

	if (spool == NULL || !spool->ended)
		return false;
	failed.u.failed.request = request;
	failed.u.failed.reason = WIRE_QUERY_CANCELLED;
	query_link_answer(spool->query, &failed);
	spool_free(spool);
	return true;
}

void
spool_drop_link(const QueryLink *link)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &spools)
	{
		Spool *spool = dlist_container(Spool, node, iter.cur);

		/* That of a query which is being executed goes with it. */
		if (spool->query->link == link && spool->ended)
			spool_free(spool);
	}
}

void
spool_serve(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &spools)
	{
		Spool *spool = dlist_container(Spool, node, iter.cur);

		if (!spool->ended)
			continue;
		spool_drain(spool);
		if (spool->entries > 0)
			continue;
		spool_send_last(spool);
		spool_free(spool);
	}
}

bool
spool_any(void)
{
	return !dlist_is_empty(&spools);
}
