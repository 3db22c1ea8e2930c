/*-------------------------------------------------------------------------
 *
 * send.c
 *	  notify_send(): messages of the application's own, through the same log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "capture.h"
#include "json.h"
#include "pending.h"
#include "shared.h"
#include "watch.h"

PG_FUNCTION_INFO_V1(notify_send);

/*
 * Any role may publish on any channel, as with NOTIFY; EXECUTE may be revoked. Returns the
 * message's place among the events of the transaction: its id is given at commit only.
 */
Datum
notify_send(PG_FUNCTION_ARGS)
{
	PendingEvent event = {.op = PENDING_MESSAGE, .relation = InvalidOid, .ncolumns = 0};
	PendingHead head;
	StringInfoData payload;
	char *channel;
	text *json;
	int64 place;

	PreventCommandIfReadOnly("notify_send()");
	shared_require();
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("channel must not be null")));
	channel = text_to_cstring(PG_GETARG_TEXT_PP(0));
	watch_check_channel(channel, NULL);
	json = PG_ARGISNULL(1) ? cstring_to_text("null") : PG_GETARG_TEXT_PP(1);
	if (VARSIZE_ANY_EXHDR(json) > CAPTURE_MAX_TEXT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("message too large"),
				 errdetail("A message must not be larger than %d MB.", (int) (CAPTURE_MAX_TEXT >> 20))));

	event.channel = channel;
	event.channel_length = (int) strlen(channel);
	pending_make_head(&head, &event);
	appendStringInfoString(&head.buf, "\"op\":\"MESSAGE\",\"channel\":");
	json_append_string(&head.buf, channel, strlen(channel));
	initStringInfo(&payload);
	appendStringInfoString(&payload, ",\"payload\":");
	appendBinaryStringInfo(&payload, VARDATA_ANY(json), (int) VARSIZE_ANY_EXHDR(json));

	capture_flush_moved();
	place = pending_append(&head, payload.data, 0, payload.len);
	pfree(head.buf.data);
	pfree(payload.data);
	PG_RETURN_INT64(place);
}
