/*-------------------------------------------------------------------------
 *
 * log_place.c
 *	  Where in a log table the rows of certain ids are.
 *
 * A log table has no index: an entry for each event cost its writer more than the row did. It needs none,
 * because all backends add rows to the same block, the tail, which only moves forward, so that rows
 * stand nearly in the order of their ids. Nearly, because a backend may be held up between taking its ids
 * and adding its rows. So each row says what was known when its ids were taken:
 *
 *	  block		the tail then. Rows of this id, and of all that were taken later, were added later:
 *				they are in this block or behind it.
 *	  behind	id - behind was a watermark then. What was decided had been added: rows of ids up to
 *				it are in blocks up to and with that one.
 *	  file		of which file that is said. VACUUM FULL moves rows to another one.
 *
 * So every row, dead or alive, tells a reader where ids at or above its own begin, and a binary search for an id
 * cannot go wrong: a bad turn only makes the reader begin too early. And a reader that goes forward knows which ids
 * cannot come any more, so it need not keep many to put them in order.
 *
 * The tail is a (file, block) in shared memory, with the room that is left in the block. A transaction that takes ids takes
 * room as well, under the same lock, so everyone knows his block before he adds his rows, nobody has to look for another one,
 * and blocks are filled. They are made before they are needed, several at a time, by one who comes near the file's end; a crash may leave
 * some that are empty. Should a row not find the room that it was given, it goes to the file's end, and the tail with it.
 *
 * The tail is not known after a start of the server, for a new file, and where the file was cut (VACUUM removes empty blocks
 * at the end, though not of tables made by our script, unless it is told to). Who finds that so adds rows to the last
 * block; those rows say nothing but "block 0", and the tail is then known again. Only a cut can make rows land before the
 * tail: it is counted in NotifydShared.shrinkings, before a row does, for readers who have kept a block in mind and for
 * writers who took their ids before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "compat.h"
#include "log_place.h"

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

#define LOG_PAGE_ROOM      (BLCKSZ - SizeOfPageHeaderData)
#define LOG_INLINE         8160 /* what is larger goes out of line: toast_tuple_target of the log's tables, */
#define LOG_TOASTED        256  /* and leaves about so much in line */
#define LOG_BLOCKS_AHEAD   4    /* blocks are made while the tail has so many before it */
#define LOG_BLOCKS_AT_ONCE 32

/* Go on to the place of the next row. */
static void
log_step(LogSpot *spot, HeapTuple tuple)
{
	uint32 size = sizeof(ItemIdData) + MAXALIGN(tuple->t_len <= LOG_INLINE ? tuple->t_len : LOG_TOASTED);

	if (size > spot->room)
	{
		spot->block++;
		spot->room = LOG_PAGE_ROOM;
	}
	spot->room -= size;
}

void
log_allot(NotifydDatabase *database, LogReservation *reservation, const HeapTuple *tuples, int n)
{
	LogSpot spot;

	reservation->tail = pg_atomic_read_u64(&database->tail);
	reservation->room = database->tail_room;
	reservation->end = database->tail_end;
	reservation->shrinkings = pg_atomic_read_u32(&notifyd_shared->shrinkings);
	if (reservation->tail == 0)
		return;
	spot = (LogSpot){.block = log_tail_block(reservation->tail), .room = database->tail_room};
	for (int i = 0; i < n; i++)
		log_step(&spot, tuples[i]);
	reservation->last = spot.block;
	database->tail_room = spot.room;
	pg_atomic_write_u64(&database->tail, log_make_tail(log_tail_file(reservation->tail), spot.block));
}

/*
 * Whether the file of this tail, which had so many blocks, is the table's, and has them still. A backend that has a
 * target block knows, because cutting the file takes a lock that excludes ours, and makes everyone forget the target.
 */
static bool
log_tail_valid(Relation table, uint64 tail, BlockNumber end)
{
	return log_tail_file(tail) == COMPAT_RELATION_FILE(table) &&
		   (RelationGetTargetBlock(table) != InvalidBlockNumber || RelationGetNumberOfBlocks(table) >= end);
}

/*
 * If the file was cut, forget the tail, under the lock that reservations are made under, so that each
 * has both the tail and the count of before, or neither.
 */
static void
log_check_tail(NotifydDatabase *database, int segment, Relation table)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(table);

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->segment == segment && nblocks < database->tail_end &&
		log_tail_file(pg_atomic_read_u64(&database->tail)) == COMPAT_RELATION_FILE(table))
	{
		pg_atomic_fetch_add_u32(&notifyd_shared->shrinkings, 1);
		pg_atomic_write_u64(&database->tail, 0);
	}
	LWLockRelease(&database->lock);
}

/* Make blocks, so that there are those of the reservation and some more. The new ones are zero until a row comes. */
static void
log_extend(NotifydDatabase *database, const LogReservation *reservation, Relation table)
{
	BlockNumber nblocks;
	BlockNumber end;

	if (reservation->last >= reservation->end)
		LockRelationForExtension(table, ExclusiveLock);
	else if (!ConditionalLockRelationForExtension(table, ExclusiveLock))
		return; /* somebody is at it */
	nblocks = RelationGetNumberOfBlocks(table);
	end = reservation->last + 1 + Min(nblocks / 8, LOG_BLOCKS_AT_ONCE);
	while (nblocks < end)
	{
		ReleaseBuffer(ReadBuffer(table, P_NEW));
		nblocks++;
	}
	UnlockRelationForExtension(table, ExclusiveLock);

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (log_tail_file(pg_atomic_read_u64(&database->tail)) == log_tail_file(reservation->tail))
		database->tail_end = Max(database->tail_end, nblocks);
	LWLockRelease(&database->lock);
}

LogSign
log_aim(NotifydDatabase *database, const LogReservation *reservation, Relation table)
{
	LogSign sign = {.file = COMPAT_RELATION_FILE(table)};

	/* If the file was cut since then, rows of later ids may be before that tail, however far it has come again. */
	if (!log_tail_valid(table, reservation->tail, reservation->end) ||
		reservation->shrinkings != pg_atomic_read_u32(&notifyd_shared->shrinkings))
	{
		log_check_tail(database, reservation->segment, table);
		RelationSetTargetBlock(table, InvalidBlockNumber);
		return sign;
	}
	sign.known = true;
	sign.block = log_tail_block(reservation->tail);
	sign.decided = reservation->decided;
	sign.spot = (LogSpot){.block = sign.block, .room = reservation->room};
	if (reservation->last + LOG_BLOCKS_AHEAD >= reservation->end)
		log_extend(database, reservation, table);
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
	return sign->decided == 0 ? PG_INT32_MAX : (int32) Min(id - sign->decided, (uint64) PG_INT32_MAX);
}

void
log_landed(NotifydDatabase *database, int segment, Relation table, const LogSign *sign, BlockNumber block)
{
	BlockNumber nblocks;
	uint64 tail;

	if (sign->known && block == sign->spot.block)
		return;

	/* What was not known is known to be no earlier than where anyone can have added rows before. */
	nblocks = RelationGetNumberOfBlocks(table);
	if (!sign->known)
		block = nblocks - 1;
	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	tail = pg_atomic_read_u64(&database->tail);
	if (database->segment == segment &&
		(log_tail_file(tail) != sign->file ? !sign->known : log_tail_block(tail) < block))
	{
		pg_atomic_write_u64(&database->tail, log_make_tail(sign->file, block));
		database->tail_room = 0;
		database->tail_end = nblocks;
	}
	LWLockRelease(&database->lock);
}

/* ---------------- readers ---------------- */

/*
 * How many blocks may have rows of ids up to a watermark that was taken before: none behind the tail. It is not known where
 * nothing has been written since the server, or this segment, began.
 */
static BlockNumber
log_count_blocks(Relation table)
{
	static NotifydDatabase *mine = NULL;
	BlockNumber nblocks = RelationGetNumberOfBlocks(table);
	uint64 tail;

	if (mine == NULL || mine->oid != MyDatabaseId)
		mine = shared_find_database(MyDatabaseId);
	tail = mine != NULL ? pg_atomic_read_u64(&mine->tail) : 0;
	if (tail != 0 && log_tail_file(tail) == COMPAT_RELATION_FILE(table))
		nblocks = Min(nblocks, log_tail_block(tail) + 1);
	return nblocks;
}

/* What the rows of a page say; rows must have room for MaxHeapTuplesPerPage. Returns how many there are. */
static int
log_read_page(Relation table, BlockNumber block, LogPageRow *rows)
{
	Buffer buffer = ReadBuffer(table, block);
	Page page = BufferGetPage(buffer);
	int n = 0;
	OffsetNumber last;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	last = PageGetMaxOffsetNumber(page);
	for (OffsetNumber offset = FirstOffsetNumber; offset <= last; offset++)
	{
		ItemId item = PageGetItemId(page, offset);
		HeapTupleHeader header;
		LogFixed *fixed;

		if (!ItemIdIsNormal(item))
			continue;
		header = (HeapTupleHeader) PageGetItem(page, item);
		fixed = (LogFixed *) ((char *) header + header->t_hoff);
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
		int n = log_read_page(table, middle, rows);
		bool before = false;

		for (int i = 0; i < n; i++)
		{
			if (rows[i].file == file && rows[i].id <= id)
			{
				before = true;
				found = Max(found, rows[i].block);
			}
		}
		if (before)
			low = middle + 1;
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
log_collect(LogPlaces *places, Relation table, BlockNumber from, uint64 after, uint64 upto, int enough)
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

	/* A row that is found is the last if all behind it were looked at, and it says itself where those are. */
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
log_last_in(Relation table)
{
	LogPageRow rows[MaxHeapTuplesPerPage];
	Oid file = COMPAT_RELATION_FILE(table);
	BlockNumber nblocks = RelationGetNumberOfBlocks(table);
	BlockNumber begin = 0;
	uint64 last = 0;

	/* The greatest id is that of the last rows or a greater one, which is not before where these say. */
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
			last = Max(last, rows[i].last);
	}
	return last;
}
