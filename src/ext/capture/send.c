/*-------------------------------------------------------------------------
 *
 * send.c
 *	  notify_send(): sends a message of the application through the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "ext/base/operation.h"
#include "ext/access/access.h"
#include "ext/base/relation_change.h"
#include "ext/capture/capture.h"
#include "ext/capture/context.h"
#include "ext/base/extension.h"
#include "ext/channel/grant.h"
#include "ext/channel/channel_name.h"
#include "ext/json/json.h"
#include "ext/transaction/pending.h"
#include "ext/base/shared.h"
#include "ext/watch/watch.h"
#include "wire/uri.h"

PG_FUNCTION_INFO_V1(notify_send);

/*
 * The result of the last check, so that a role that sends many messages to one channel is checked
 * once. The result depends on relations and roles; a change of any of them clears it.
 */
static struct
{
	Oid role; /* may publish to the channel; InvalidOid: unknown */
	char channel[NAMEDATALEN];
	bool watched;   /* tables are watched on it */
	uint64 changes; /* number of changes so far */
} send_known;

static void
send_relation_changed(Datum arg pg_attribute_unused(), Oid relation pg_attribute_unused())
{
	send_known.role = InvalidOid;
	send_known.changes++;
}

static void
send_role_changed(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
				  uint32 hash pg_attribute_unused())
{
	send_known.role = InvalidOid;
	send_known.changes++;
}

/*
 * Raise an error unless the user may publish to the channel and the extension has this library's
 * version.
 */
static void
send_check_right(const char *channel)
{
	static bool registered = false;
	Oid role = GetUserId();
	uint64 before;

	if (!registered)
	{
		relation_change_register(send_relation_changed);
		CacheRegisterSyscacheCallback(AUTHOID, send_role_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, send_role_changed, (Datum) 0);
		registered = true;
	}
	if (send_known.role == role && strcmp(send_known.channel, channel) == 0)
		return;
	before = send_known.changes;
	extension_require_version();
	if (!access_may_publish(role, channel))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for channel \"%s\"", channel),
						errhint("A superuser or the extension's owner can grant the privilege with "
								"notify_grant(channel, role, '%s').",
								GRANT_PUBLISH)));

	send_known.watched = watch_list_channel(channel) != NIL;

	/* A change during the check may concern what it has read. */
	send_known.role = before == send_known.changes ? role : InvalidOid;
	strlcpy(send_known.channel, channel, sizeof(send_known.channel));
}

int64
send_message(const char *channel, text *payload_json, const char *publisher)
{
	PendingEvent event = {.op = OPERATION_MESSAGE, .relation = InvalidOid, .ncolumns = 0};
	PendingHead head;
	StringInfoData payload;
	char *sender = GetUserNameFromId(GetUserId(), false);
	text *json;
	int64 place;

	PreventCommandIfReadOnly("notify_send()");
	shared_require();
	channel_check_name(channel, NULL);
	if (uri_is_reserved(channel, strlen(channel)))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME), errmsg("channel \"%s\" is reserved", channel),
				 errdetail("WAMP's meta events have channels whose names begin with \"wamp.\".")));
	send_check_right(channel);
	json = send_typed(channel, payload_json);
	if (VARSIZE_ANY_EXHDR(json) > CAPTURE_MAX_TEXT)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("message too large"),
						errdetail("A message must not be larger than %d MB.",
								  (int) (CAPTURE_MAX_TEXT >> 20))));

	event.channel = channel;
	event.channel_length = (int) strlen(channel);
	pending_make_head(&head, &event);
	appendStringInfoString(&head.buf, "\"op\":\"MESSAGE\",\"channel\":");
	json_append_string(&head.buf, channel, strlen(channel));
	appendStringInfoString(&head.buf, ",\"by\":");
	json_append_string(&head.buf, sender, strlen(sender));
	context_append(&head.buf);
	if (send_known.watched)
		appendStringInfoString(&head.buf, ",\"watched\":true");
	if (publisher != NULL)
		appendStringInfo(&head.buf, ",\"publisher\":%s", publisher);
	initStringInfo(&payload);
	appendStringInfoString(&payload, ",\"payload\":");
	appendBinaryStringInfo(&payload, VARDATA_ANY(json), (int) VARSIZE_ANY_EXHDR(json));

	pending_append_held();
	place = pending_append(&head, payload.data, 0, payload.len, NULL, 0);
	pfree(head.buf.data);
	pfree(payload.data);
	return place;
}

/*
 * Returns the number of the message among the events of the transaction, because its id is assigned
 * only at commit.
 */
Datum
notify_send(PG_FUNCTION_ARGS)
{
	text *payload = PG_ARGISNULL(1) ? cstring_to_text("null") : PG_GETARG_TEXT_PP(1);

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("channel must not be null")));
	PG_RETURN_INT64(send_message(text_to_cstring(PG_GETARG_TEXT_PP(0)), payload, NULL));
}
