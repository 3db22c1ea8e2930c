/*-------------------------------------------------------------------------
 *
 * log_render.c
 *	  The text of an event, as clients get it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ext/base/buffer.h"
#include "ext/base/compat.h"
#include "ext/log/log.h"
#include "wire/wire.h"

static void
log_render_number(StringInfo buf, uint64 number)
{
	buffer_reserve(buf, 20); /* digits of the largest */
	buf->len += pg_ulltoa_n(number, buf->data + buf->len);
}

void
log_render_position(StringInfo buf, uint64 id)
{
	WirePosition position = {.timeline = log_timeline_of(id), .id = id};
	char text[WIRE_POSITION_SIZE];

	/* Callers use the buffer as a C string, too. */
	appendBinaryStringInfo(buf, text, (int) wire_position_format(position, text));
}

/*
 * ISO 8601 in UTC up to the seconds, whatever the session's settings are. Returns the text's end.
 */
static char *
log_format_second(char *text, int64 second)
{
	struct pg_tm tm;
	fsec_t fsec;

	if (timestamp2tm(second * USECS_PER_SEC, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	text = pg_ultostr_zeropad(text, tm.tm_year, 4);
	*text++ = '-';
	text = pg_ultostr_zeropad(text, tm.tm_mon, 2);
	*text++ = '-';
	text = pg_ultostr_zeropad(text, tm.tm_mday, 2);
	*text++ = 'T';
	text = pg_ultostr_zeropad(text, tm.tm_hour, 2);
	*text++ = ':';
	text = pg_ultostr_zeropad(text, tm.tm_min, 2);
	*text++ = ':';
	return pg_ultostr_zeropad(text, tm.tm_sec, 2);
}

/* With microseconds. The text of the last second is kept, because events follow each other. */
static void
log_render_time(StringInfo buf, TimestampTz at)
{
	static char known[32];
	static int known_length = 0;
	static int64 known_second;
	int64 second = at / USECS_PER_SEC;
	int64 fraction = at % USECS_PER_SEC;
	char text[] = ".000000+00:00";

	if (fraction < 0)
	{
		second--;
		fraction += USECS_PER_SEC;
	}
	if (known_length == 0 || second != known_second)
	{
		known_length = 0;
		known_length = (int) (log_format_second(known, second) - known);
		known_second = second;
	}
	buffer_put(buf, known, known_length);
	pg_ultostr_zeropad(text + 1, (uint32) fraction, 6);
	buffer_put(buf, text, sizeof(text) - 1);
}

/* Formatted by hand, because printf() took most of the time that an event's text takes. */
void
log_render_prefix(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of, TimestampTz at)
{
	buffer_put_literal(buf, "{\"position\":\"");
	log_render_position(buf, id);
	buffer_put_literal(buf, "\",\"id\":");
	log_render_number(buf, id);
	buffer_put_literal(buf, ",\"tx\":");
	log_render_number(buf, tx);
	buffer_put_literal(buf, ",\"seq\":");
	log_render_number(buf, (uint64) seq);
	buffer_put_literal(buf, ",\"of\":");
	log_render_number(buf, (uint64) of);
	buffer_put_literal(buf, ",\"at\":\"");
	log_render_time(buf, at);
	buffer_put_literal(buf, "\",");
}

void
log_render_params(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of, TimestampTz at,
				  const char *text, Size length, bool truncated)
{
	log_render_prefix(buf, id, tx, seq, of, at);
	appendBinaryStringInfo(buf, text, (int) length);
	appendStringInfoString(buf, truncated ? ",\"truncated\":true}" : "}");
}
