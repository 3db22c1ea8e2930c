/*-------------------------------------------------------------------------
 *
 * log_tail.c
 *	  The tail of the log: where writers put rows, and where readers find them.
 *
 * A log table has no index, because an index entry for each event cost its writer more than the row
 * did. Writers put rows nearly in the order of their ids instead: a writer that takes ids also takes
 * room at the table's tail, under the same lock. The order is not exact, because a row may not find
 * the room that was reserved for it; it then goes to the end of the file, and the tail follows it.
 * So each row records what was known when its ids were taken:
 *
 *	  start_block		the block of the tail. Rows of this id and of all ids that were taken later are in this
 *				block or behind it, because their room was reserved there.
 *	  watermark_delta	id - watermark_delta was a watermark. The rows of all ids up to it had been inserted,
 *				so they are in blocks up to and with that of this row.
 *	  relfilenumber		the file that these two are about. Rows that were copied to another file say nothing.
 *
 * So every row, dead or alive, tells a reader where to begin for ids from its own on, and a binary
 * search for an id cannot go wrong: a wrong turn only makes the reader begin too early. A reader that
 * goes forward also learns which ids cannot come any more, so it sorts few rows at a time.
 *
 * The tail is a file and a block in shared memory, with the room that is left in the block. The file
 * may not have that block yet: the writer whose room is there makes it. A writer that comes near the
 * end of the file makes several blocks, mostly before anyone needs them; after a crash some of them
 * may stay empty. Two rules keep the rows' records true:
 *
 *	  Before a transaction leaves the set of those in flight, the tail is at the block of its last row or behind
 *	  it, or unknown (log_tail_advance()).
 *	  No row goes before the tail of its reservation. If that was unknown, it goes to the end of the file, not
 *	  before the tail of now (log_tail_prepare()).
 *
 * The tail is unknown after a start of the server and at the beginning of a segment. The first
 * writer then puts its rows at the end of the file, with start_block 0 and no watermark, and makes
 * the tail known.
 *
 * Within the life of the shared memory a known tail never moves back. The file only grows, because
 * log_guard.c refuses statements that would make it shorter. And the tail of one file is not replaced
 * by that of another before the segment ends: "ALTER TABLE ALL IN TABLESPACE" gives a table a new
 * file, but if it is rolled back, the tail of the old one is right. Until the segment ends, rows go
 * to the end of the new file. A crash may make a file shorter than the tail was. It cannot lose the
 * start_block of a row that survives, because the row itself stands there or behind it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "ext/base/compat.h"
#include "ext/base/failpoint.h"
#include "ext/log/log_check.h"
#include "ext/log/log_tail.h"
#include "ext/log/log_row.h"

/* The columns of a row that say where it and others are. */
typedef struct LogPageRow
{
	uint64 id;
	uint64 last; /* of a bulk marker: the transaction's last id; else the id */
	Oid relfilenumber;
	BlockNumber start_block;
	int32 watermark_delta;
	OffsetNumber offset;
} LogPageRow;

/* ---------------- writers ---------------- */

static uint64
log_make_tail(Oid file, BlockNumber block)
{
	return (uint64) file << 32 | block;
}

static Oid
log_tail_file(uint64 tail)
{
	return (Oid) (tail >> 32);
}

static BlockNumber
log_tail_block(uint64 tail)
{
	return (BlockNumber) tail;
}

#define LOG_PAGE_ROOM (BLCKSZ - SizeOfPageHeaderData)

/* The text of a larger row goes out of line: toast_tuple_target of the log tables. */
#define LOG_INLINE 8160

/* A writer adds blocks when the file has no more than these behind the tail, at most so many. */
#define LOG_BLOCKS_AHEAD   4
#define LOG_BLOCKS_AT_ONCE 32

/* The room that a row needs in a block. Only the text of a large row is stored elsewhere. */
static uint32
log_row_room(HeapTuple tuple)
{
	Size length = tuple->t_len;

	if (length > LOG_INLINE)
	{
		LogRow row;

		log_parse_row((char *) tuple->t_data, &row);
		length = row.event - (char *) tuple->t_data + TOAST_POINTER_SIZE;
	}
	return sizeof(ItemIdData) + MAXALIGN(length);
}

/* Move the spot to where the next row goes, and take the row's room there. */
static void
log_step(LogSpot *spot, HeapTuple tuple)
{
	uint32 room = log_row_room(tuple);

	StaticAssertStmt(sizeof(ItemIdData) + MAXALIGN(LOG_INLINE) <= LOG_PAGE_ROOM,
					 "a row must fit into a block");
	if (room > spot->room)
	{
		spot->block++;
		spot->room = LOG_PAGE_ROOM;
	}
	spot->room -= room;
}

void
log_tail_reserve(NotifydDatabase *database, LogReservation *reservation, const HeapTuple *tuples,
				 int n)
{
	uint64 tail = pg_atomic_read_u64(&database->tail);
	LogSpot spot = {.block = log_tail_block(tail), .room = database->tail_room};

	if (tail == 0)
		return;
	reservation->tail = tail;
	reservation->room = database->tail_room;
	reservation->end = database->tail_end;
	for (int i = 0; i < n; i++)
		log_step(&spot, tuples[i]);
	reservation->last = spot.block;
	database->tail_room = spot.room;
	pg_atomic_write_u64(&database->tail, log_make_tail(log_tail_file(tail), spot.block));
}

void
log_tail_forget(NotifydDatabase *database)
{
	Assert(LWLockHeldByMeInMode(&database->lock, LW_EXCLUSIVE));
	pg_atomic_write_u64(&database->tail, 0);
	database->tail_room = 0;
	database->tail_end = 0;
}

/*
 * Add blocks to the file until it has block last, and some more. New blocks are zero until a row
 * comes. wait: wait for another backend that adds blocks, instead of leaving it to that one.
 */
static void
log_extend(NotifydDatabase *database, Relation table, BlockNumber last, bool wait)
{
	BlockNumber nblocks;
	BlockNumber end;

	FAIL_POINT("log-extend");
	if (wait)
		LockRelationForExtension(table, ExclusiveLock);
	else if (!ConditionalLockRelationForExtension(table, ExclusiveLock))
		return;
	nblocks = RelationGetNumberOfBlocks(table);
	end = last + 1 + Min(nblocks / 8, LOG_BLOCKS_AT_ONCE);
	while (nblocks < end)
	{
		ReleaseBuffer(ReadBuffer(table, P_NEW));
		nblocks++;
	}
	UnlockRelationForExtension(table, ExclusiveLock);

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (log_tail_file(pg_atomic_read_u64(&database->tail)) == COMPAT_RELATION_FILE(table))
		database->tail_end = Max(database->tail_end, nblocks);
	LWLockRelease(&database->lock);
}

/*
 * Rows without reserved room go to the end of the file. Make sure that this is not before the tail,
 * nor before what the reservation has.
 */
static void
log_tail_prepare_at_end(NotifydDatabase *database, const LogReservation *reservation,
						Relation table)
{
	Oid file = COMPAT_RELATION_FILE(table);
	uint64 tail = pg_atomic_read_u64(&database->tail);
	BlockNumber least = 0;

	if (log_tail_file(tail) == file)
		least = log_tail_block(tail);
	if (log_tail_file(reservation->tail) == file)
		least = Max(least, reservation->last);
	if (least > 0 && least >= RelationGetNumberOfBlocks(table))
		log_extend(database, table, least, true);
	RelationSetTargetBlock(table, InvalidBlockNumber);
}

LogTailHint
log_tail_prepare(NotifydDatabase *database, const LogReservation *reservation, Relation table)
{
	LogTailHint hint = {.relfilenumber = COMPAT_RELATION_FILE(table)};

	if (log_tail_file(reservation->tail) != hint.relfilenumber)
	{
		log_tail_prepare_at_end(database, reservation, table);
		return hint;
	}
	hint.known = true;
	hint.start_block = log_tail_block(reservation->tail);
	hint.recent_watermark = reservation->recent_watermark;
	hint.spot = (LogSpot){.block = hint.start_block, .room = reservation->room};
	if (reservation->last + Min(LOG_BLOCKS_AHEAD, reservation->end / 8) >= reservation->end)
		log_extend(database, table, reservation->last, reservation->last >= reservation->end);
	return hint;
}

int
log_tail_target(Relation table, LogTailHint *hint, const HeapTuple *tuples, int n)
{
	int here = 1;

	if (!hint->known)
		return n;
	log_step(&hint->spot, tuples[0]);
	while (here < n)
	{
		LogSpot next = hint->spot;

		log_step(&next, tuples[here]);
		if (next.block != hint->spot.block)
			break;
		hint->spot = next;
		here++;
	}
	RelationSetTargetBlock(table, hint->spot.block);
	return here;
}

int32
log_tail_delta(const LogTailHint *hint, uint64 id)
{
	return hint->recent_watermark == 0
			   ? PG_INT32_MAX
			   : (int32) Min(id - hint->recent_watermark, (uint64) PG_INT32_MAX);
}

void
log_tail_advance(NotifydDatabase *database, int segment, Relation table, BlockNumber block)
{
	Oid file = COMPAT_RELATION_FILE(table);
	uint64 tail = pg_atomic_read_u64(&database->tail);
	BlockNumber nblocks;

	if (log_tail_file(tail) == file && log_tail_block(tail) >= block)
		return;
	nblocks = RelationGetNumberOfBlocks(table);
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	tail = pg_atomic_read_u64(&database->tail);
	if (tail == 0 && database->segment == segment)
	{
		/* Behind all rows that any backend has inserted. */
		pg_atomic_write_u64(&database->tail, log_make_tail(file, nblocks - 1));
		database->tail_room = 0;
		database->tail_end = nblocks;
	}
	else if (log_tail_file(tail) == file && log_tail_block(tail) < block)
	{
		pg_atomic_write_u64(&database->tail, log_make_tail(file, block));
		database->tail_room = 0;
		database->tail_end = Max(database->tail_end, nblocks);
	}
	LWLockRelease(&database->lock);
}

/* ---------------- readers ---------------- */

/* This database's entry; NULL: there is none yet, as on a standby. */
static NotifydDatabase *
log_find_database(void)
{
	static NotifydDatabase *mine = NULL;

	if (mine == NULL || mine->oid != MyDatabaseId)
		mine = shared_find_database(MyDatabaseId);
	return mine;
}

/*
 * How many blocks may have rows of ids up to a watermark that was taken before. Blocks behind the
 * tail have none.
 */
static BlockNumber
log_count_blocks(Relation table)
{
	NotifydDatabase *database = log_find_database();
	uint64 tail = database != NULL ? pg_atomic_read_u64(&database->tail) : 0;
	BlockNumber nblocks = RelationGetNumberOfBlocks(table);

	return log_tail_file(tail) == COMPAT_RELATION_FILE(table)
			   ? Min(nblocks, log_tail_block(tail) + 1)
			   : nblocks;
}

/* Read the rows of a page, at most MaxHeapTuplesPerPage. Returns how many there are. */
static int
log_read_page(Relation table, BlockNumber block, LogPageRow *rows)
{
	Buffer buffer = ReadBuffer(table, block);
	Page page = BufferGetPage(buffer);
	int n = 0;
	OffsetNumber last;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	last = log_check_items(table, page, block);
	for (OffsetNumber offset = FirstOffsetNumber; offset <= last; offset++)
	{
		char *row = log_check_item(table, page, block, offset);
		const LogFixed *fixed;

		if (row == NULL)
			continue;
		fixed = log_row_fixed(row);
		if (fixed->relfilenumber == COMPAT_RELATION_FILE(table) &&
			(BlockNumber) fixed->start_block > block)
			log_report_damage(RelationGetRelid(table), block,
							  "a row that belongs to a later block");
		rows[n++] = (LogPageRow){
			.id = (uint64) fixed->id,
			.last = (uint64) fixed->id + (fixed->op == LOG_BULK_OP ? fixed->of - 1 : 0),
			.relfilenumber = fixed->relfilenumber,
			.start_block = (BlockNumber) fixed->start_block,
			.watermark_delta = fixed->watermark_delta,
			.offset = offset,
		};
	}
	UnlockReleaseBuffer(buffer);
	return n;
}

BlockNumber
log_locate(Relation table, uint64 id)
{
	LogPageRow rows[MaxHeapTuplesPerPage];
	Oid file = COMPAT_RELATION_FILE(table);
	BlockNumber found = 0;
	BlockNumber low = 0;
	BlockNumber high = log_count_blocks(table);

	while (low < high)
	{
		BlockNumber middle = low + (high - low) / 2;
		BlockNumber block = middle;
		bool before = false;
		bool found_any = false;

		/* Skip blocks without a row of this file, as empty ones. */
		for (; block < high && !found_any; block++)
		{
			int n = log_read_page(table, block, rows);

			for (int i = 0; i < n; i++)
			{
				if (rows[i].relfilenumber != file)
					continue;
				found_any = true;
				if (rows[i].id <= id)
				{
					before = true;
					found = Max(found, rows[i].start_block);
				}
			}
		}
		if (before)
			low = block;
		else
			high = middle;
	}
	return found;
}

static void
log_add_place(LogPlaces *places, uint64 id, BlockNumber block, OffsetNumber offset)
{
	LogPlace *place;

	if (places->n == places->size)
	{
		places->size = Max(64, places->size * 2);
		if (places->places == NULL)
			places->places = palloc(places->size * sizeof(LogPlace));
		else
			places->places = repalloc_huge(places->places, places->size * sizeof(LogPlace));
	}
	place = &places->places[places->n++];
	place->id = id;
	ItemPointerSet(&place->tid, block, offset);
}

static int
log_compare_places(const void *a, const void *b)
{
	uint64 first = ((const LogPlace *) a)->id;
	uint64 second = ((const LogPlace *) b)->id;

	return first < second ? -1 : first > second;
}

/* How many have an id at or below upto. */
static int
log_count_places(const LogPlaces *places, uint64 upto)
{
	int n = 0;

	for (int i = 0; i < places->n; i++)
		n += places->places[i].id <= upto;
	return n;
}

uint64
log_collect(LogPlaces *places, Relation table, BlockNumber from, uint64 after, uint64 upto,
			int enough)
{
	LogPageRow rows[MaxHeapTuplesPerPage];
	Oid file = COMPAT_RELATION_FILE(table);
	BlockNumber nblocks = log_count_blocks(table);
	uint64 complete = after;
	int look = enough; /* with so many found, count those up to complete */

	places->n = 0;
	for (BlockNumber block = from; complete < upto; block++)
	{
		int n;

		if (block >= nblocks)
		{
			complete = upto;
			break;
		}
		CHECK_FOR_INTERRUPTS();
		n = log_read_page(table, block, rows);
		for (int i = 0; i < n; i++)
		{
			if (rows[i].relfilenumber == file && rows[i].watermark_delta < PG_INT32_MAX)
				complete = Max(complete, rows[i].id - rows[i].watermark_delta);
			if (rows[i].id > after && rows[i].id <= upto)
				log_add_place(places, rows[i].id, block, rows[i].offset);
		}
		if (places->n >= look)
		{
			if (log_count_places(places, complete) >= enough)
				break;
			look = places->n + places->n / 4;
		}
	}
	complete = Min(complete, upto);
	if (places->n > 0)
		qsort(places->places, places->n, sizeof(LogPlace), log_compare_places);
	while (places->n > 0 && places->places[places->n - 1].id > complete)
		places->n--;
	return complete;
}

/* Get the last of these rows that is visible. False: none is. */
static bool
log_get_last_of(const LogPlaces *places, Relation table, Snapshot snapshot, TupleTableSlot *slot)
{
	for (int i = places->n - 1; i >= 0; i--)
	{
		if (table_tuple_fetch_row_version(table, &places->places[i].tid, snapshot, slot))
		{
			slot_getallattrs(slot);
			return true;
		}
	}
	return false;
}

bool
log_get_last(Relation table, uint64 upto, Snapshot snapshot, TupleTableSlot *slot)
{
	BlockNumber from = log_locate(table, upto);
	BlockNumber step = 1;
	LogPlaces places = {0};
	bool found;

	/*
	 * The row that is found is the last one if all blocks from its start_block on have been read.
	 * If not, begin there.
	 */
	for (;;)
	{
		BlockNumber begin = 0;

		log_collect(&places, table, from, 0, upto, PG_INT32_MAX);
		found = log_get_last_of(&places, table, snapshot, slot);
		if (found)
		{
			if (DatumGetObjectId(slot->tts_values[LOG_RELFILENUMBER - 1]) ==
				COMPAT_RELATION_FILE(table))
				begin = (BlockNumber) DatumGetInt32(slot->tts_values[LOG_START_BLOCK - 1]);
			if (begin >= from)
				break;
		}
		else if (from == 0)
			break;
		else if (from > step)
			begin = from - step;
		from = begin;
		step *= 2;
	}
	if (places.places != NULL)
		pfree(places.places);
	return found;
}

uint64
log_last_in(Relation table, uint64 *recent_watermark)
{
	LogPageRow rows[MaxHeapTuplesPerPage];
	Oid file = COMPAT_RELATION_FILE(table);
	BlockNumber nblocks = RelationGetNumberOfBlocks(table);
	BlockNumber begin = 0;
	uint64 last = 0;

	/*
	 * The row with the greatest id is not before the start_block of the rows that are last in the
	 * file.
	 */
	for (BlockNumber block = nblocks; block > 0 && last == 0; block--)
	{
		int n = log_read_page(table, block - 1, rows);

		for (int i = 0; i < n; i++)
		{
			if (rows[i].relfilenumber == file)
				begin = Max(begin, rows[i].start_block);
			last = Max(last, rows[i].last);
		}
	}
	for (BlockNumber block = begin; block < nblocks; block++)
	{
		int n = log_read_page(table, block, rows);

		for (int i = 0; i < n; i++)
		{
			last = Max(last, rows[i].last);
			if (rows[i].watermark_delta < PG_INT32_MAX)
				*recent_watermark = Max(*recent_watermark, rows[i].id - rows[i].watermark_delta);
		}
	}
	return last;
}
