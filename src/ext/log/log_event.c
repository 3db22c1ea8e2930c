/*-------------------------------------------------------------------------
 *
 * log_event.c
 *	  An event as a row of the log, or a member of a bulk write, has it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ext/log/log_event.h"
#include "ext/log/log_hidden.h"

void
log_event_columns(LogEvent *event, const char *data, int ncolumns)
{
	static int16 columns[MaxHeapAttributeNumber];

	event->ncolumns = ncolumns > 0 ? ncolumns : -1;
	event->columns = ncolumns > 0 ? columns : NULL;
	if (ncolumns > 0)
		memcpy(columns, data, ncolumns * sizeof(int16));
}

void
log_event_from_slot(LogEvent *event, TupleTableSlot *slot, Oid file)
{
	Datum *values = slot->tts_values;
	struct varlena *columns = PG_DETOAST_DATUM_PACKED(values[LOG_COLUMNS - 1]);
	struct varlena *channel = PG_DETOAST_DATUM_PACKED(values[LOG_CHANNEL - 1]);

	event->address = (LogAddress){.table = slot->tts_tableOid, .file = file, .tid = slot->tts_tid};
	event->id = (uint64) DatumGetInt64(values[LOG_ID - 1]);
	event->tx = (uint64) DatumGetInt64(values[LOG_TX - 1]);
	event->at = DatumGetTimestampTz(values[LOG_AT - 1]);
	event->seq = DatumGetInt32(values[LOG_SEQ - 1]);
	event->of = DatumGetInt32(values[LOG_OF - 1]);
	event->head_length = DatumGetInt32(values[LOG_HEAD - 1]);
	event->relation = DatumGetObjectId(values[LOG_REL - 1]);
	event->op = DatumGetChar(values[LOG_OP - 1]);
	log_event_columns(event, VARDATA_ANY(columns), VARSIZE_ANY_EXHDR(columns) / sizeof(int16));
	event->channel = VARDATA_ANY(channel);
	event->channel_length = VARSIZE_ANY_EXHDR(channel);
	event->event = values[LOG_EVENT - 1];
	event->event_offset = 0;
	event->event_length = toast_raw_datum_size(event->event) - VARHDRSZ;
	event->hidden_offset = 0;
	event->hidden_length = 0;
	if (slot->tts_nvalid >= LOG_HIDDEN)
	{
		event->hidden = values[LOG_HIDDEN - 1];
		event->hidden_length = toast_raw_datum_size(event->hidden) - VARHDRSZ;
	}
}

const char *
log_text(const LogEvent *event)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(event->event);

	if (!VARATT_IS_EXTERNAL(value) && !VARATT_IS_COMPRESSED(value))
		return VARDATA_ANY(value) + event->event_offset;
	return VARDATA_ANY(PG_DETOAST_DATUM_SLICE(event->event, (int32) event->event_offset,
											  (int32) event->event_length));
}

const char *
log_hidden(const LogEvent *event)
{
	if (event->hidden_length == 0)
		return NULL;
	return VARDATA_ANY(PG_DETOAST_DATUM_PACKED(event->hidden)) + event->hidden_offset;
}

const char *
log_old_key(const LogEvent *event, Size *length)
{
	const char *at = log_hidden(event);
	const char *end = at + event->hidden_length;

	if (at == NULL)
		return NULL;
	at += sizeof(uint32);
	while (end - at >= (ptrdiff_t) sizeof(LogHidden))
	{
		LogHidden entry;

		memcpy(&entry, at, sizeof(entry));
		at += sizeof(entry);
		if (entry.row == LOG_HIDDEN_OLD_KEY)
		{
			*length = entry.length;
			return at;
		}
		at += entry.length;
	}
	return NULL;
}

void
log_append_text(StringInfo buf, const LogEvent *event, Size length)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(event->event);

	if (!VARATT_IS_EXTERNAL(value) && !VARATT_IS_COMPRESSED(value))
		appendBinaryStringInfo(buf, VARDATA_ANY(value) + event->event_offset, (int) length);
	else
	{
		value = PG_DETOAST_DATUM_SLICE(event->event, (int32) event->event_offset, (int32) length);
		appendBinaryStringInfo(buf, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
		pfree(value);
	}
}
