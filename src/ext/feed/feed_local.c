/*-------------------------------------------------------------------------
 *
 * feed_local.c
 *	  Calls that SQL makes with notify_call(): the feed's side of ext/sqlcall/.
 *
 * Each call is a session of the router, on the link ROUTER_LOCAL. The session's number is that of the
 * backend's slot, and its only request has the number 1.
 *
 * The feed never waits for a backend: an answer that does not fit into the queue is sent in parts, and
 * reading wakes the feed. A backend that is gone has cleared its slot.
 *
 * After a restart of the feed, sessions need a moment to come back with their registrations. Until then
 * calls wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/dsm.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/memutils.h"

#include "ext/base/compat.h"
#include "ext/feed/feed_due.h"
#include "ext/feed/feed_local.h"
#include "ext/feed/feed_publish.h"
#include "ext/sqlcall/sqlcall.h"

#define LOCAL_REQUEST 1

/* A feed waits this long for sessions to come back, in ms, and looks so often whether they are. */
#define LOCAL_PATIENCE_MS 1000
#define LOCAL_EARLY_MS    50

typedef struct LocalCall
{
	uint64 number; /* 0: the slot has no call */
	dsm_segment *segment;
	shm_mq_handle *queue;
	SqlCallAnswer *answer; /* what is being sent; NULL: nothing */
	Size length;
} LocalCall;

static LocalCall *local_slots; /* by slot; NULL: the feed has not looked yet */
static int local_n;
static int local_sending; /* calls with an answer that is being sent */
static Size local_unsent; /* bytes of these answers */
static TimestampTz local_since;
static bool local_waiting; /* there may be calls that have to wait */

bool
local_full(void)
{
	return local_unsent > LINK_NOTIFY_LIMIT;
}

int
local_calls(void)
{
	return local_n;
}

/* ---------------- answers ---------------- */

static void
local_end_answer(LocalCall *call)
{
	if (call->answer == NULL)
		return;
	local_sending--;
	local_unsent -= call->length;
	pfree(call->answer);
	call->answer = NULL;
}

/* Send what the queue takes. If the backend has detached, the answer is for nobody. */
static void
local_flush(LocalCall *call)
{
	if (COMPAT_MQ_SEND(call->queue, call->length, call->answer) != SHM_MQ_WOULD_BLOCK)
		local_end_answer(call);
}

/* Only the last result counts; the router has others only if the caller wants them. */
void
local_send(Feed *feed, const WireRoute *route)
{
	LocalCall *call = &local_slots[route->session];
	SqlCallAnswer *answer;

	if (call->answer != NULL || (route->kind != ROUTE_RESULT && route->kind != ROUTE_ERROR) ||
		(route->flags & ROUTE_PROGRESS) != 0)
		return;
	call->length = offsetof(SqlCallAnswer, text) + route->name.len + route->payload.len;
	answer = MemoryContextAllocZero(feed->context, call->length);
	answer->kind = route->kind;
	answer->flags = route->flags;
	answer->name_length = route->name.len;
	if (route->name.len > 0)
		memcpy(answer->text, route->name.data, route->name.len);
	if (route->payload.len > 0)
		memcpy(answer->text + route->name.len, route->payload.data, route->payload.len);
	call->answer = answer;
	local_sending++;
	local_unsent += call->length;
	local_flush(call);
}

/* ---------------- beginning and ending ---------------- */

static void
local_end(Router *router, int slot)
{
	LocalCall *call = &local_slots[slot];

	router_leave(router, ROUTER_LOCAL, (uint32) slot);
	local_end_answer(call);
	shm_mq_detach(call->queue);
	dsm_detach(call->segment);
	*call = (LocalCall){0};
	local_n--;
}

/* Attach to the segment of a call. Returns false if the call has ended meanwhile. */
static bool
local_attach(Feed *feed, LocalCall *call, int slot, uint64 number)
{
	MemoryContext old;
	dsm_handle handle;
	shm_mq *queue;

	if (!sqlcall_take(slot, number, &handle) || (call->segment = dsm_attach(handle)) == NULL)
		return false;
	dsm_pin_mapping(call->segment);
	queue = dsm_segment_address(call->segment);
	shm_mq_set_sender(queue, MyProc);
	old = MemoryContextSwitchTo(feed->context);
	call->queue = shm_mq_attach(queue, call->segment, NULL);
	MemoryContextSwitchTo(old);
	call->number = number;
	local_n++;
	return true;
}

/* Cut the next text off. */
static WireBytes
local_text(const char **text, uint32 length)
{
	WireBytes bytes = {.data = *text, .len = length};

	*text += length;
	return bytes;
}

static void
local_begin(Feed *feed, Router *router, int slot, uint64 number)
{
	WireRoute route = {.kind = ROUTE_CALL, .session = (uint32) slot, .request = LOCAL_REQUEST};
	RouterJoin join = {.link = ROUTER_LOCAL, .session = (uint32) slot};
	LocalCall *call = &local_slots[slot];
	const SqlCallRequest *request;
	const char *text;

	if (!local_attach(feed, call, slot, number))
		return;
	request =
		(const SqlCallRequest *) ((char *) dsm_segment_address(call->segment) + SQLCALL_QUEUE_SIZE);
	text = request->text;
	route.name = local_text(&text, request->lengths.name);
	route.payload = local_text(&text, request->lengths.payload);
	join.authid = local_text(&text, request->lengths.user);
	join.authrole = local_text(&text, request->lengths.role);
	feed->idle_since = feed->now;
	if (!router_join(router, &join) || !router_receive(router, ROUTER_LOCAL, &route))
		elog(ERROR, "could not begin call " UINT64_FORMAT, number);
}

/* ---------------- rounds ---------------- */

static void
local_init(Feed *feed)
{
	local_slots = MemoryContextAllocZero(feed->context, sqlcall_slots() * sizeof(LocalCall));
	local_since = feed->now;
	local_waiting = true;
}

/* Whether sessions that existed before this feed may not be back yet. */
static bool
local_is_early(const Feed *feed)
{
	return !due_since(local_since, feed->now, LOCAL_PATIENCE_MS) || !link_all_greeted(feed);
}

/* Compare the slots with what the feed has. */
static void
local_look(Feed *feed, Router *router)
{
	bool early = local_is_early(feed);

	local_waiting = false;
	for (int i = 0; i < sqlcall_slots(); i++)
	{
		uint64 number = sqlcall_read(i, feed->database);

		if (number == local_slots[i].number)
			continue;
		if (local_slots[i].number != 0)
			local_end(router, i);
		if (number == 0)
			continue;
		if (early)
		{
			local_waiting = true;
			continue;
		}
		sub_begin();
		recheck_look(feed);
		local_begin(feed, router, i, number);
	}
}

int64
local_round(Feed *feed, Router *router)
{
	if (local_slots == NULL)
		local_init(feed);
	if (sqlcall_changed(feed->database) || local_waiting)
		local_look(feed, router);
	for (int i = 0; local_sending > 0 && i < sqlcall_slots(); i++)
	{
		if (local_slots[i].answer != NULL)
			local_flush(&local_slots[i]);
	}
	return local_waiting ? LOCAL_EARLY_MS : -1;
}
