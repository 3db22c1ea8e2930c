/*-------------------------------------------------------------------------
 *
 * log_fetch.c
 *	  notify_fetch(id): returns a whole event from the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "ext/access/access.h"
#include "ext/base/extension.h"
#include "ext/log/log.h"

typedef struct FetchState
{
	uint64 id;
	text *result;
} FetchState;

static bool
fetch_callback(const LogEvent *event, void *arg)
{
	FetchState *state = arg;
	AccessReason reason;
	StringInfoData buf;

	if (event->id != state->id)
		return false;
	if (!access_event_allowed(GetUserId(), event, &reason))
		return false;
	initStringInfo(&buf);
	log_render_prefix(&buf, event->id, event->tx, event->seq, event->of, event->at);
	log_append_text(&buf, event, event->event_length);
	appendStringInfoChar(&buf, '}');
	state->result = cstring_to_text_with_len(buf.data, buf.len);
	return false;
}

PG_FUNCTION_INFO_V1(notify_fetch);

/*
 * notify_fetch(id bigint) -> json
 *
 * Returns the event with that id as clients get it in "params", but without a limit on its size.
 * Returns NULL if the log does not contain it or the caller may not read its contents. There is no
 * error in the second case, because ids can be guessed, and the error would reveal the event's
 * existence.
 */
Datum
notify_fetch(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	FetchState state = {.id = (uint64) id};
	Snapshot snapshot;

	/*
	 * Do not call log_attach(): a standby has no counters yet, and they would be outdated after a
	 * promotion.
	 */
	shared_require();
	extension_require_version();
	if (id <= 0)
		PG_RETURN_NULL();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	log_find(state.id, snapshot, fetch_callback, &state);
	UnregisterSnapshot(snapshot);
	if (state.result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(state.result);
}
