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

void
log_render_position(StringInfo buf, uint32 timeline, uint64 id)
{
	WirePosition position = {.timeline = timeline, .id = id};
	char text[WIRE_POSITION_SIZE];

	wire_position_format(position, text);
	appendStringInfoString(buf, text);
}

/* ISO 8601 in UTC with microseconds, whatever the session's settings are. */
static void
log_render_time(StringInfo buf, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	appendStringInfo(buf, "%04d-%02d-%02dT%02d:%02d:%02d.%06d+00:00", tm.tm_year, tm.tm_mon, tm.tm_mday,
					 tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
}

void
log_render_prefix(StringInfo buf, uint64 id, uint64 tx, int32 seq, int32 of, TimestampTz at)
{
	appendStringInfoString(buf, "{\"position\":\"");
	log_render_position(buf, log_timeline(), id);
	appendStringInfo(buf,
					 "\",\"id\":" UINT64_FORMAT ",\"tx\":" UINT64_FORMAT ",\"seq\":%d,\"of\":%d,\"at\":\"",
					 id, tx, seq, of);
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
