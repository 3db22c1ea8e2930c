/*-------------------------------------------------------------------------
 *
 * log_row.c
 *	  A row of a log table as it is formed in memory.
 *
 * Capture forms a row around its event's text, in the transaction's buffer. So the commit forms and
 * copies nothing: heap_form_tuple() takes four times as long, and copies the text. The layout is
 * that of fill_val() in access/common/heaptuple.c. log_check.c compares it with the tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "ext/base/buffer.h"
#include "ext/log/log_row.h"

#define LOG_FIXED_SIZE (offsetof(LogFixed, op) + sizeof(char))

static void
log_pad(StringInfo buf, int length)
{
	buffer_reserve(buf, length - buf->len);
	memset(buf->data + buf->len, 0, length - buf->len);
	buf->len = length;
}

/* How many bytes a value that begins at this offset of the row needs for its alignment. */
#define LOG_PADDING(offset) ((int) (INTALIGN(offset) - (offset)))

static bool
log_is_short(Size length)
{
	return length + VARHDRSZ_SHORT <= VARATT_SHORT_MAX;
}

/* Append a value, which begins at this offset of the row. */
static void
log_put_value(StringInfo buf, Size offset, const char *value, Size length)
{
	buffer_reserve(buf, ALIGNOF_INT + VARHDRSZ);
	if (log_is_short(length))
	{
		SET_VARSIZE_SHORT(buf->data + buf->len, length + VARHDRSZ_SHORT);
		buf->len += VARHDRSZ_SHORT;
	}
	else
	{
		uint32 header;

		log_pad(buf, buf->len + LOG_PADDING(offset));
		SET_VARSIZE(&header, length + VARHDRSZ);
		buffer_put(buf, &header, sizeof(header));
	}
	if (length > 0)
		buffer_put(buf, value, (int) length);
}

void
log_begin_row(StringInfo buf, const LogRow *row, Size columns_size)
{
	LogFixed fixed = {.rel = row->relation, .op = row->op};
	HeapTupleHeader header;
	int begin = buf->len;

	Assert(begin == (int) MAXALIGN(begin));
	log_pad(buf, begin + LOG_HOFF);
	header = (HeapTupleHeader) (buf->data + begin);
	ItemPointerSetInvalid(&header->t_ctid);
	HeapTupleHeaderSetNatts(header, LOG_NCOLUMNS);
	header->t_infomask = HEAP_HASVARWIDTH;
	header->t_hoff = LOG_HOFF;

	buffer_put(buf, &fixed, LOG_FIXED_SIZE);
	log_put_value(buf, buf->len - begin, row->columns, columns_size);
	log_put_value(buf, buf->len - begin, row->channel, row->channel_length);

	/* The text gets a long header, because its length is not known yet. */
	log_pad(buf, INTALIGN(buf->len) + VARHDRSZ);
}

void
log_append_hidden(StringInfo buf, Size text_end, const char *hidden, Size length)
{
	log_put_value(buf, text_end, hidden, length);
}

void
log_end_row(char *row, char *text, Size head_length, Size text_length)
{
	log_row_fixed(row)->head = (int32) head_length;
	SET_VARSIZE(text - VARHDRSZ, text_length + VARHDRSZ);
}

/* The value at *at, which moves behind it; see att_align_pointer() in access/tupmacs.h. */
static const char *
log_get_value(const char **at, Size *length)
{
	const char *begin = *at;

	if (!VARATT_NOT_PAD_BYTE(begin))
		begin = (const char *) INTALIGN(begin);
	*at = begin + VARSIZE_ANY(begin);
	*length = VARSIZE_ANY_EXHDR(begin);
	return VARDATA_ANY(begin);
}

void
log_parse_row(const char *row, LogRow *result)
{
	const LogFixed *fixed = log_row_fixed(unconstify(char *, row));
	const char *at = (const char *) fixed + LOG_FIXED_SIZE;
	Size length;

	result->head_length = fixed->head;
	result->relation = fixed->rel;
	result->op = fixed->op;
	result->columns = log_get_value(&at, &length);
	result->ncolumns = length > 0 ? (int) (length / sizeof(int16)) : -1;
	result->channel = log_get_value(&at, &length);
	result->channel_length = (int) length;
	result->event = log_get_value(&at, &result->event_length);
	result->hidden = log_get_value(&at, &result->hidden_length);
}

/* The size of the value that begins here, with its header; 0: there is no such value before end. */
static Size
log_value_size(const char *begin, const char *end)
{
	Size left = begin < end ? end - begin : 0;
	Size size = 0;

	if (left >= VARHDRSZ_SHORT && VARATT_IS_1B_E(begin))
	{
		if (left >= VARHDRSZ_EXTERNAL && VARTAG_EXTERNAL(begin) == VARTAG_ONDISK)
			size = VARSIZE_EXTERNAL(begin);
	}
	else if (left >= VARHDRSZ_SHORT && VARATT_IS_1B(begin))
		size = VARSIZE_1B(begin);
	else if (left >= VARHDRSZ)
		size = VARSIZE_4B(begin) >= VARHDRSZ ? VARSIZE_4B(begin) : 0;
	return size <= left ? size : 0;
}

bool
log_row_is_sound(const char *row, Size length)
{
	const HeapTupleHeaderData *header = (const HeapTupleHeaderData *) row;
	const char *at = row + LOG_HOFF + LOG_FIXED_SIZE;
	const char *end = row + length;
	int ncolumns;

	if (length < LOG_HOFF + LOG_FIXED_SIZE || header->t_hoff != LOG_HOFF ||
		(header->t_infomask & HEAP_HASNULL))
		return false;
	ncolumns = HeapTupleHeaderGetNatts(header);
	if (ncolumns != LOG_NCOLUMNS && ncolumns != LOG_NCOLUMNS_1_0)
		return false;
	for (int column = LOG_COLUMNS; column <= ncolumns; column++)
	{
		Size size;

		if (at < end && !VARATT_NOT_PAD_BYTE(at))
			at = (const char *) INTALIGN(at);
		size = log_value_size(at, end);
		if (size == 0)
			return false;
		at += size;
	}
	return true;
}
