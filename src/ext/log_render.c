/*-------------------------------------------------------------------------
 *
 * log_render.c
 *	  An event as clients get it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "log.h"
#include "../wire/wire.h"

uint32
log_timeline(void)
{
	/* Once there is no recovery, it stays what it is until the server's end. */
	static uint32 timeline = 0;

	uint32 now = timeline;

	if (now == 0)
	{
		bool final = !RecoveryInProgress();

		now = compat_timeline();
		if (final)
			timeline = now;
	}
	return now;
}

/* Every event that is sent has a few numbers to be written; printf() took most of the time that its text did. */
static void
log_render_number(StringInfo buf, uint64 number)
{
	enlargeStringInfo(buf, 20); /* digits of the largest */
	buf->len += pg_ulltoa_n(number, buf->data + buf->len);
	buf->data[buf->len] = '\0';
}

static void
log_render_member(StringInfo buf, const char *name, uint64 number)
{
	appendStringInfoString(buf, name);
	log_render_number(buf, number);
}

void
log_render_position(StringInfo buf, uint32 timeline, uint64 id)
{
	WirePosition position = {.timeline = timeline, .id = id};
	char text[WIRE_POSITION_SIZE];

	appendBinaryStringInfo(buf, text, (int) wire_position_format(position, text));
}

/* ISO 8601 in UTC with microseconds, whatever the session's settings are. */
static void
log_render_time(StringInfo buf, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t fsec;
	char text[32];
	char *end = text;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	end = pg_ultostr_zeropad(end, tm.tm_year, 4);
	*end++ = '-';
	end = pg_ultostr_zeropad(end, tm.tm_mon, 2);
	*end++ = '-';
	end = pg_ultostr_zeropad(end, tm.tm_mday, 2);
	*end++ = 'T';
	end = pg_ultostr_zeropad(end, tm.tm_hour, 2);
	*end++ = ':';
	end = pg_ultostr_zeropad(end, tm.tm_min, 2);
	*end++ = ':';
	end = pg_ultostr_zeropad(end, tm.tm_sec, 2);
	*end++ = '.';
	end = pg_ultostr_zeropad(end, (uint32) fsec, 6);
	appendBinaryStringInfo(buf, text, (int) (end - text));
	appendStringInfoString(buf, "+00:00");
}

void
log_render_prefix(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of, TimestampTz at)
{
	appendStringInfoString(buf, "{\"position\":\"");
	log_render_position(buf, log_timeline(), id);
	log_render_member(buf, "\",\"id\":", id);
	log_render_member(buf, ",\"tx\":", tx);
	log_render_member(buf, ",\"seq\":", (uint64) seq);
	log_render_member(buf, ",\"of\":", (uint64) of);
	appendStringInfoString(buf, ",\"at\":\"");
	log_render_time(buf, at);
	appendStringInfoString(buf, "\",");
}

void
log_render_params(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of, TimestampTz at, const char *text,
				  Size length, bool truncated)
{
	log_render_prefix(buf, id, tx, seq, of, at);
	appendBinaryStringInfo(buf, text, (int) length);
	appendStringInfoString(buf, truncated ? ",\"truncated\":true}" : "}");
}
