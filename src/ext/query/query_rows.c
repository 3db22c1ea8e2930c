/*-------------------------------------------------------------------------
 *
 * query_rows.c
 *	  Rows of a result as JSON: the texts that events have, whatever the session's settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "ext/base/buffer.h"
#include "ext/base/utf8.h"
#include "ext/json/json.h"
#include "ext/query/query.h"

typedef struct RowsReceiver
{
	DestReceiver pub;
	RowsForm form;
	StringInfo out;
	Size limit;
	bool list; /* a list as in wire.h, without commas */
	uint64 *count;
	void (*piece)(void *arg); /* NULL: none */
	void *arg;
	int ncolumns;
	JsonType *types;
	StringInfoData *names; /* as members of an object: "name": */
	int pins;
	MemoryContext row; /* of the values of one row */
} RowsReceiver;

static void
rows_startup(DestReceiver *self, int operation, TupleDesc descriptor)
{
	RowsReceiver *receiver = (RowsReceiver *) self;
	List *relations = NIL;

	(void) operation;
	receiver->ncolumns = descriptor->natts;
	receiver->types = palloc0(sizeof(JsonType) * Max(descriptor->natts, 1));
	receiver->names = palloc0(sizeof(StringInfoData) * Max(descriptor->natts, 1));
	receiver->row =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd rows", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		json_prepare(&receiver->types[i], attribute->atttypid, &relations);
		receiver->pins |= receiver->types[i].pins;
		initStringInfo(&receiver->names[i]);
		json_append_string(&receiver->names[i], NameStr(attribute->attname),
						   strlen(NameStr(attribute->attname)));
		appendStringInfoChar(&receiver->names[i], ':');
	}
}

static void
rows_append_value(RowsReceiver *receiver, TupleTableSlot *slot, int i)
{
	if (slot->tts_isnull[i])
		buffer_put_literal(receiver->out, "null");
	else
		json_append(receiver->out, &receiver->types[i], slot->tts_values[i], false);
}

static void
rows_append_object(RowsReceiver *receiver, TupleTableSlot *slot)
{
	appendStringInfoChar(receiver->out, '{');
	for (int i = 0; i < receiver->ncolumns; i++)
	{
		if (i > 0)
			appendStringInfoChar(receiver->out, ',');
		buffer_put(receiver->out, receiver->names[i].data, receiver->names[i].len);
		rows_append_value(receiver, slot, i);
	}
	appendStringInfoChar(receiver->out, '}');
}

static bool
rows_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowsReceiver *receiver = (RowsReceiver *) self;
	MemoryContext before = MemoryContextSwitchTo(receiver->row);
	int begin = receiver->out->len;
	int pinned;

	slot_getallattrs(slot);
	if (receiver->list)
	{
		/* For the length, and nothing that is no UTF-8. */
		appendStringInfoSpaces(receiver->out, sizeof(uint32));
		begin = receiver->out->len;
	}
	else if (receiver->piece == NULL ? *receiver->count > 0 : begin > 0)
		appendStringInfoChar(receiver->out, ',');
	pinned = json_pin(receiver->pins);
	if (receiver->form == ROWS_OBJECTS)
		rows_append_object(receiver, slot);
	else
		rows_append_value(receiver, slot, 0);
	json_unpin(pinned);
	utf8_make(receiver->out, begin);
	if (receiver->list)
		wire_store_u32((uint8_t *) receiver->out->data + begin - sizeof(uint32),
					   (uint32) (receiver->out->len - begin));
	++*receiver->count;
	MemoryContextSwitchTo(before);
	MemoryContextReset(receiver->row);
	if ((Size) (receiver->out->len - (receiver->piece != NULL ? begin : 0)) > receiver->limit)
		query_refuse(WIRE_QUERY_TOO_LARGE, ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL,
					 "the result is larger than pg_notifyd.max_response_size");
	if (receiver->piece != NULL && receiver->out->len >= ROWS_PIECE)
		receiver->piece(receiver->arg);
	return true;
}

static void
rows_shutdown(DestReceiver *self)
{
	RowsReceiver *receiver = (RowsReceiver *) self;

	if (receiver->row != NULL)
		MemoryContextDelete(receiver->row);
	receiver->row = NULL;
}

static void
rows_destroy(DestReceiver *self)
{
	pfree(self);
}

DestReceiver *
rows_receiver(RowsForm form, StringInfo out, Size limit, uint64 *count)
{
	RowsReceiver *receiver = palloc0(sizeof(RowsReceiver));

	receiver->pub.receiveSlot = rows_receive;
	receiver->pub.rStartup = rows_startup;
	receiver->pub.rShutdown = rows_shutdown;
	receiver->pub.rDestroy = rows_destroy;
	receiver->pub.mydest = DestNone;
	receiver->form = form;
	receiver->out = out;
	receiver->limit = limit;
	receiver->count = count;
	*count = 0;
	return &receiver->pub;
}

DestReceiver *
rows_receiver_pieces(StringInfo out, uint64 *count, void (*piece)(void *arg), void *arg)
{
	DestReceiver *pub = rows_receiver(ROWS_OBJECTS, out, SIZE_MAX, count);
	RowsReceiver *receiver = (RowsReceiver *) pub;

	receiver->piece = piece;
	receiver->arg = arg;
	return pub;
}

DestReceiver *
rows_receiver_list(RowsForm form, StringInfo out, Size limit, uint64 *count,
				   void (*piece)(void *arg), void *arg)
{
	DestReceiver *pub = rows_receiver_pieces(out, count, piece, arg);
	RowsReceiver *receiver = (RowsReceiver *) pub;

	receiver->form = form;
	receiver->limit = limit;
	receiver->list = true;
	return pub;
}
