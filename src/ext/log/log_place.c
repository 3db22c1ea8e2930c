/*-------------------------------------------------------------------------
 *
 * log_place.c
 *	  Where in a log table the rows of certain ids are.
 *
 * A log table has no index: an entry for each event cost its writer more than the row did. It needs
 * none, because rows are given their places in the order of their ids: whoever takes ids takes room
 * at the table's tail as well, under the same lock. So rows stand nearly in that order. Nearly,
 * because a row may find no room where it was given some; it then goes to the file's end, and the
 * tail with it. So each row says what was known when its ids were taken:
 *
 *	  block		the tail then. Rows of this id, and of all that were taken later, are in this block or behind it,
 *				as that is where they were given room.
 *	  behind	id - behind was a watermark then. What was decided had been added: rows of ids up to
 *				it are in blocks up to and with that one.
 *	  file		of which file that is said. VACUUM FULL moves rows to another one.
 *
 * So every row, dead or alive, tells a reader where ids at or above its own begin, and a binary
 * search for an id cannot go wrong: a bad turn only makes the reader begin too early. And a reader
 * that goes forward knows which ids cannot come any more, so it need not keep many to put them in
 * order.
 *
 * The tail is a (file, block) in shared memory, with the room that is left in the block. It may be
 * a block that the file does not have yet: who was given room there makes it. Blocks are made
 * several at a time, by one who comes near the file's end, mostly before anyone needs them; after a
 * crash some may stay empty. Two rules keep what rows say true:
 *
 *	  Before a row is decided the tail is at its block or behind it, or not known (log_landed()).
 *	  No row goes before the tail of when its ids were taken, nor before that of now if it had none (log_aim()).
 *
 * The tail is not known after a start of the server and at the beginning of a segment. The first
 * writer adds its rows to the file's end; these rows say nothing but "block 0", and the tail is known
 * again. So within the life of the shared memory a known tail never moves back in a file: the file
 * only grows (log_guard.c refuses what would make it shorter), and the tail of a file is not
 * replaced by that of another one before the segment ends. A crash may leave the file shorter than
 * the tail was, but not than any row has said that survived it, because each row stands in the block
 * that it names or behind it; and nobody remembers the tail.
 *
 * A table may still get another file: "ALTER TABLE ALL IN TABLESPACE" copies it block by block. Then
 * rows go to the new file's end, and say nothing, until the segment ends. So a rollback, which brings
 * the old file back, finds the old file's tail still right.
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
#include "ext/log/log_place.h"
#include "ext/log/log_row.h"

/* What is needed of a row to know where it, and others, are. */
typedef struct LogPageRow
{
	uint64 id;
	uint64 last; /* the last id that it stands for */
	Oid file;
	BlockNumber block;
	int32 behind;
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
#define LOG_INLINE                                                                                 \
	8160 /* what is larger goes out of line: toast_tuple_target of the log's tables */
#define LOG_BLOCKS_AHEAD   4 /* blocks are made while the tail has no more before it */
#define LOG_BLOCKS_AT_ONCE 32

/*
 * The room that a row needs in a block. The text of a large one is elsewhere; everything else
 * stays.
 */
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

/* Go on to the place of the next row. */
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
log_allot(NotifydDatabase *database, LogReservation *reservation, const HeapTuple *tuples, int n)
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
log_forget_tail(NotifydDatabase *database)
{
	Assert(LWLockHeldByMeInMode(&database->lock, LW_EXCLUSIVE));
	pg_atomic_write_u64(&database->tail, 0);
	database->tail_room = 0;
	database->tail_end = 0;
}

/*
 * Make blocks, so that there is this one, and some more. New ones are zero until a row comes. wait:
 * else not if somebody else is at it.
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
 * Rows for which no place is known go to the file's end, which must not be before the tail, nor
 * before that of the reservation.
 */
static void
log_aim_at_end(NotifydDatabase *database, const LogReservation *reservation, Relation table)
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

LogSign
log_aim(NotifydDatabase *database, const LogReservation *reservation, Relation table)
{
	LogSign sign = {.file = COMPAT_RELATION_FILE(table)};

	if (log_tail_file(reservation->tail) != sign.file)
	{
		log_aim_at_end(database, reservation, table);
		return sign;
	}
	sign.known = true;
	sign.block = log_tail_block(reservation->tail);
	sign.decided = reservation->decided;
	sign.spot = (LogSpot){.block = sign.block, .room = reservation->room};
	if (reservation->last + Min(LOG_BLOCKS_AHEAD, reservation->end / 8) >= reservation->end)
		log_extend(database, table, reservation->last, reservation->last >= reservation->end);
	return sign;
}

int
log_point(Relation table, LogSign *sign, const HeapTuple *tuples, int n)
{
	int here = 1;

	if (!sign->known)
		return n;
	log_step(&sign->spot, tuples[0]);
	while (here < n)
	{
		LogSpot next = sign->spot;

		log_step(&next, tuples[here]);
		if (next.block != sign->spot.block)
			break;
		sign->spot = next;
		here++;
	}
	RelationSetTargetBlock(table, sign->spot.block);
	return here;
}

int32
log_behind(const LogSign *sign, uint64 id)
{
	return sign->decided == 0 ? PG_INT32_MAX
							  : (int32) Min(id - sign->decided, (uint64) PG_INT32_MAX);
}

void
log_landed(NotifydDatabase *database, int segment, Relation table, BlockNumber block)
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
		/* No earlier than where anyone has added rows before. */
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
 * How many blocks may have rows of ids up to a watermark that was taken before: none behind the
 * tail. It is not known where nothing has been written since the server, or this segment, began.
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

/*
 * What the rows of a page say; rows must have room for MaxHeapTuplesPerPage. Returns how many there
 * are.
 */
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
		if (fixed->file == COMPAT_RELATION_FILE(table) && (BlockNumber) fixed->block > block)
			log_report_damage(RelationGetRelid(table), block,
							  "a row that belongs to a later block");
		rows[n++] = (LogPageRow){
			.id = (uint64) fixed->id,
			.last = (uint64) fixed->id + (fixed->op == LOG_BULK_OP ? fixed->of - 1 : 0),
			.file = fixed->file,
			.block = (BlockNumber) fixed->block,
			.behind = fixed->behind,
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
		bool told = false;

		/* From a block whose rows tell nothing, as it has none, on to one that tells. */
		for (; block < high && !told; block++)
		{
			int n = log_read_page(table, block, rows);

			for (int i = 0; i < n; i++)
			{
				if (rows[i].file != file)
					continue;
				told = true;
				if (rows[i].id <= id)
				{
					before = true;
					found = Max(found, rows[i].block);
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
	int look = enough; /* so many found: count those that are complete */

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
			if (rows[i].file == file && rows[i].behind < PG_INT32_MAX)
				complete = Max(complete, rows[i].id - rows[i].behind);
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
	 * A row that is found is the last if all behind it were looked at, and it says itself where
	 * those are.
	 */
	for (;;)
	{
		BlockNumber begin = 0;

		log_collect(&places, table, from, 0, upto, PG_INT32_MAX);
		found = log_get_last_of(&places, table, snapshot, slot);
		if (found)
		{
			if (DatumGetObjectId(slot->tts_values[LOG_FILE - 1]) == COMPAT_RELATION_FILE(table))
				begin = (BlockNumber) DatumGetInt32(slot->tts_values[LOG_BLOCK - 1]);
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
log_last_in(Relation table, uint64 *decided)
{
	LogPageRow rows[MaxHeapTuplesPerPage];
	Oid file = COMPAT_RELATION_FILE(table);
	BlockNumber nblocks = RelationGetNumberOfBlocks(table);
	BlockNumber begin = 0;
	uint64 last = 0;

	/*
	 * The greatest id is that of the last rows or a greater one, which is not before where these
	 * say.
	 */
	for (BlockNumber block = nblocks; block > 0 && last == 0; block--)
	{
		int n = log_read_page(table, block - 1, rows);

		for (int i = 0; i < n; i++)
		{
			if (rows[i].file == file)
				begin = Max(begin, rows[i].block);
			last = Max(last, rows[i].last);
		}
	}
	for (BlockNumber block = begin; block < nblocks; block++)
	{
		int n = log_read_page(table, block, rows);

		for (int i = 0; i < n; i++)
		{
			last = Max(last, rows[i].last);
			if (rows[i].behind < PG_INT32_MAX)
				*decided = Max(*decided, rows[i].id - rows[i].behind);
		}
	}
	return last;
}
