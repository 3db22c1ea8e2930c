/*-------------------------------------------------------------------------
 *
 * sqlcall.c
 *	  notify_call(): its arguments, and waiting for the answer.
 *
 * The backend checks the privilege, with its own snapshot, so that a grant of its transaction counts.
 *
 * The timeout is measured here and not by the feed, so that it holds without a feed, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "ext/access/access.h"
#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/channel/grant.h"
#include "ext/sqlcall/sqlcall_internal.h"
#include "ext/wamp/router.h"
#include "wire/uri.h"

/* How often a waiting backend looks whether there is a feed, in ms. */
#define SQLCALL_LOOK_MS 1000

#define SQLCALL_MAX_WAIT (3650.0 * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(notify_call);

/* A call, as far as it has come. */
typedef struct SqlCall
{
	const char *procedure; /* in the server's encoding */
	NotifydDatabase *database;
	StringInfoData text; /* as in SqlCallRequest */
	SqlCallLengths lengths;
	TimestampTz end; /* DT_NOEND: never */
	dsm_segment *segment;
	shm_mq_handle *queue;
} SqlCall;

/* ---------------- arguments ---------------- */

/* Append text in UTF-8. Returns how many bytes. */
static uint32
sqlcall_append(StringInfo buf, const char *text, int length)
{
	char *converted = pg_server_to_any(text, length, PG_UTF8);
	int before = buf->len;

	appendBinaryStringInfo(buf, converted, converted == text ? length : (int) strlen(converted));
	return (uint32) (buf->len - before);
}

static void
sqlcall_read_name(SqlCall *call, FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("procedure must not be null")));
	call->procedure = text_to_cstring(PG_GETARG_TEXT_PP(0));
	call->lengths.name =
		sqlcall_append(&call->text, call->procedure, (int) strlen(call->procedure));
	if (call->lengths.name > ROUTER_MAX_NAME ||
		!uri_is_valid(URI_EXACT, call->text.data, call->lengths.name))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid name of a procedure: \"%s\"", call->procedure),
						errdetail("A name has 1 to %d bytes, no white space or \"#\", and no empty "
								  "parts between dots.",
								  ROUTER_MAX_NAME)));
}

/* Return the text of a json value from its first character on, NULL if the argument is null. */
static const char *
sqlcall_json(FunctionCallInfo fcinfo, int number)
{
	char *json;

	if (PG_ARGISNULL(number))
		return NULL;
	json = text_to_cstring(PG_GETARG_TEXT_PP(number));
	return json + strspn(json, " \t\r\n");
}

static void
sqlcall_read_arguments(SqlCall *call, FunctionCallInfo fcinfo)
{
	const char *args = sqlcall_json(fcinfo, 1);
	const char *kwargs = sqlcall_json(fcinfo, 2);

	if (args != NULL && *args != '[')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("args must be a JSON array")));
	if (kwargs != NULL && *kwargs != '{')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("kwargs must be a JSON object")));
	args = args != NULL ? args : "[]";
	call->lengths.payload = sqlcall_append(&call->text, args, (int) strlen(args));
	if (kwargs != NULL && kwargs[1 + strspn(kwargs + 1, " \t\r\n")] != '}')
	{
		call->lengths.payload += sqlcall_append(&call->text, ",", 1);
		call->lengths.payload += sqlcall_append(&call->text, kwargs, (int) strlen(kwargs));
	}
	if (call->lengths.payload > (uint32) notifyd_max_message_size)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("arguments of the call are too large"),
			 errdetail("They have %u bytes. The limit is the setting pg_notifyd.max_message_size, "
					   "%d bytes.",
					   call->lengths.payload, notifyd_max_message_size)));
}

static void
sqlcall_read_timeout(SqlCall *call, FunctionCallInfo fcinfo)
{
	const Interval *timeout;
	double us;

	call->end = DT_NOEND;
	if (PG_ARGISNULL(3))
		return;
	timeout = PG_GETARG_INTERVAL_P(3);
	us = (double) timeout->time +
		 ((double) timeout->day + (double) timeout->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	if (us <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout must be positive")));
	call->end = GetCurrentTimestamp() + (TimestampTz) Min(us, SQLCALL_MAX_WAIT);
}

static void
sqlcall_check_right(const SqlCall *call)
{
	if (!access_may_use(GetUserId(), call->procedure, (int) strlen(call->procedure), GRANT_CALL))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for procedure \"%s\"", call->procedure),
						errhint("A superuser or the extension's owner can grant the privilege with "
								"notify_grant(channel, role, '%s').",
								GRANT_CALL)));
}

/* ---------------- waiting ---------------- */

/*
 * Return true if the feed that answers the call has ended. Raises an error if there is none and none comes: a
 * feed that has sessions of WAMP does not fall asleep.
 */
static bool
sqlcall_lost_feed(const SqlCall *call)
{
	const NotifydDatabase *database = call->database;
	pid_t taker = call->segment != NULL ? sqlcall_taker() : 0;
	bool none;
	bool lost;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	none = taker == 0 && (database->life.excluded || database->life.state == FEED_ASLEEP ||
						  database->life.state == FEED_ABSENT || database->hold_pid == MyProcPid);
	lost = taker != 0 && taker != database->feed_pid;
	LWLockRelease(&notifyd_shared->lock);
	if (none)
		sqlcall_raise_unknown(call->procedure);
	return lost;
}

/* Wait until the queue or the feed may have changed. */
static void
sqlcall_sleep(const SqlCall *call)
{
	static uint32 wait_event = 0;
	TimestampTz now = GetCurrentTimestamp();
	long ms = SQLCALL_LOOK_MS;

	if (now >= call->end)
		ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
						errmsg("call of procedure \"%s\" has timed out", call->procedure),
						errdetail("The procedure may have run, or may still run.")));
	if (call->end != DT_NOEND)
		ms = Min(ms, TimestampDifferenceMilliseconds(now, call->end) + 1);
	if (wait_event == 0)
		COMPAT_WAIT_EVENT(wait_event, "NotifydCall");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Return the answer in memory of the caller. What a feed has sent before its end is in the queue. */
static SqlCallAnswer *
sqlcall_wait(const SqlCall *call, Size *length)
{
	shm_mq_result result;
	SqlCallAnswer *answer;
	void *data;
	bool lost;

	for (;;)
	{
		lost = sqlcall_lost_feed(call);
		result = shm_mq_receive(call->queue, length, &data, true);
		if (result != SHM_MQ_WOULD_BLOCK || lost)
			break;
		sqlcall_sleep(call);
	}
	if (result != SHM_MQ_SUCCESS || *length < offsetof(SqlCallAnswer, text))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
				 errmsg("call of procedure \"%s\" was interrupted", call->procedure),
				 errdetail("The feed of this database has ended. The procedure may have run.")));
	answer = palloc(*length);
	memcpy(answer, data, *length);
	return answer;
}

/* ---------------- the call ---------------- */

static void
sqlcall_make_segment(SqlCall *call)
{
	SqlCallRequest *request;
	shm_mq *queue;

	call->segment =
		dsm_create(SQLCALL_QUEUE_SIZE + offsetof(SqlCallRequest, text) + (Size) call->text.len, 0);
	queue = shm_mq_create(dsm_segment_address(call->segment), SQLCALL_QUEUE_SIZE);
	shm_mq_set_receiver(queue, MyProc);
	call->queue = shm_mq_attach(queue, call->segment, NULL);
	request = (SqlCallRequest *) ((char *) dsm_segment_address(call->segment) + SQLCALL_QUEUE_SIZE);
	request->lengths = call->lengths;
	memcpy(request->text, call->text.data, (Size) call->text.len);
}

/* Called after an error, too, and when the process exits. */
static void
sqlcall_end(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	sqlcall_withdraw();
}

static SqlCallAnswer *
sqlcall_run(SqlCall *call, Size *length)
{
	SqlCallAnswer *answer;

	(void) sqlcall_lost_feed(call);
	sqlcall_make_segment(call);
	PG_ENSURE_ERROR_CLEANUP(sqlcall_end, (Datum) 0);
	{
		sqlcall_offer(call->database, dsm_segment_handle(call->segment));
		answer = sqlcall_wait(call, length);
	}
	PG_END_ENSURE_ERROR_CLEANUP(sqlcall_end, (Datum) 0);
	sqlcall_withdraw();
	shm_mq_detach(call->queue);
	dsm_detach(call->segment);
	return answer;
}

/* Append who calls: callees that ask for it are told. */
static void
sqlcall_append_caller(SqlCall *call)
{
	const char *user = GetUserNameFromId(GetSessionUserId(), true);
	const char *role = GetUserNameFromId(GetUserId(), true);

	user = user != NULL ? user : "";
	role = role != NULL ? role : "";
	call->lengths.user = sqlcall_append(&call->text, user, (int) strlen(user));
	call->lengths.role = sqlcall_append(&call->text, role, (int) strlen(role));
}

/*
 * notify_call(procedure, args, kwargs, timeout) -> json
 */
Datum
notify_call(PG_FUNCTION_ARGS)
{
	SqlCall call = {0};
	SqlCallAnswer *answer;
	Size length;

	shared_require();
	PreventCommandDuringRecovery("notify_call()");
	PreventCommandIfParallelMode("notify_call()");
	extension_require_version();
	initStringInfo(&call.text);
	sqlcall_read_name(&call, fcinfo);
	sqlcall_read_arguments(&call, fcinfo);
	sqlcall_read_timeout(&call, fcinfo);
	sqlcall_check_right(&call);
	sqlcall_append_caller(&call);
	call.database = shared_find_database(MyDatabaseId);
	if (call.database == NULL)
		sqlcall_raise_unknown(call.procedure);
	/* Row security and filters run in the feed. */
	if (call.database->feed_pid == MyProcPid)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("row security and filters of subscriptions cannot call procedures of "
						"clients")));
	answer = sqlcall_run(&call, &length);
	PG_RETURN_DATUM(sqlcall_result(call.procedure, answer, length));
}
