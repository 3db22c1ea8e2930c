/*-------------------------------------------------------------------------
 *
 * query_run.c
 *	  One query of a client: its transaction, and its answer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "jit/jit.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "utils/elog.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/base/worker.h"
#include "ext/query/query.h"
#include "ext/transaction/pending.h"

#define RUN_NAME_LENGTH 255 /* of a query's name that the log has at most */

void (*query_rest)(ClientQuery *query);
void (*query_openapi)(ClientQuery *query);

/* The query that is being executed; NULL: none. */
static const ClientQuery *run_query;

/* What it is, for people; in the query's context. NULL: not known yet. */
static const char *run_description;

/* What query_refuse() or query_blame() has said about the error. */
static struct
{
	WireQueryReason reason; /* 0: nothing */
	char *name;             /* in the query's context */
} run_refusal;

void
query_blame(WireQueryReason reason, const char *name)
{
	run_refusal.reason = reason;
	run_refusal.name = name != NULL ? MemoryContextStrdup(run_query->context, name) : NULL;
}

void
query_refuse(WireQueryReason reason, int sqlstate, const char *name, const char *format, ...)
{
	StringInfoData message;

	initStringInfo(&message);
	for (;;)
	{
		va_list args;
		int needed;

		va_start(args, format);
		needed = appendStringInfoVA(&message, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&message, needed);
	}
	query_blame(reason, name);
	ereport(ERROR, (errcode(sqlstate), errmsg_internal("%s", message.data)));
	pg_unreachable();
}

char *
query_text(WireBytes bytes)
{
	return pg_any_to_server(pnstrdup(bytes.data, bytes.len), (int) bytes.len, PG_UTF8);
}

void
query_header(ClientQuery *query, const char *name, const char *value)
{
	const char *parts[] = {name, value};

	for (int i = 0; i < 2; i++)
	{
		size_t used = query->headers.len;
		WireBytes part = frames_bytes(parts[i]);

		enlargeStringInfo(&query->headers, (int) (part.len + sizeof(uint32)));
		if (!wire_list_append(query->headers.data, query->headers.maxlen, &used, part))
			elog(ERROR, "could not add a header");
		query->headers.len = (int) used;
	}
}

/* ---------------- answers ---------------- */

static void
run_answer(const ClientQuery *query)
{
	WireMessage message = {.type = WIRE_RESULT};

	message.u.result.request = query->wire.request;
	message.u.result.status = query->status;
	if (query->event > 0)
		message.u.result.event = pending_committed_first() + (uint64) query->event - 1;
	message.u.result.headers =
		(WireBytes){.data = query->headers.data, .len = (uint32_t) query->headers.len};
	message.u.result.body =
		(WireBytes){.data = query->body.data, .len = (uint32_t) query->body.len};
	if (query->spool != NULL)
		spool_set_last(query, &message);
	else
		query_link_answer(query, &message);
}

/* Which answer an error is. */
static WireQueryReason
run_reason(const ErrorData *error, bool timeout)
{
	if (run_refusal.reason != 0)
		return run_refusal.reason;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		return timeout ? WIRE_QUERY_TIMEOUT : WIRE_QUERY_CANCELLED;
	if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
		return WIRE_QUERY_NOT_PERMITTED;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):
		case MAKE_SQLSTATE('F', '0', '0', '0', '0'):
			return WIRE_QUERY_INTERNAL;
		default:
			return WIRE_QUERY_SQL_ERROR;
	}
}

static NotifydAnswer
run_answer_of(WireQueryReason reason)
{
	switch (reason)
	{
		case WIRE_QUERY_NOT_AUTHENTICATED:
		case WIRE_QUERY_NOT_PERMITTED:
		case WIRE_QUERY_UNKNOWN:
		case WIRE_QUERY_BAD_PARAMETER:
			return NOTIFYD_ANSWER_REFUSED;
		case WIRE_QUERY_TIMEOUT:
			return NOTIFYD_ANSWER_TIMEOUT;
		case WIRE_QUERY_CANCELLED:
			return NOTIFYD_ANSWER_CANCELLED;
		default:
			return NOTIFYD_ANSWER_ERROR;
	}
}

/* Count the query for the statistics. */
static void
run_count(const ClientQuery *query, NotifydAnswer answer)
{
	NotifydDatabase *database = shared_database(MyDatabaseId);

	if (query->wire.kind < WIRE_QUERY_KINDS)
		(void) pg_atomic_fetch_add_u64(&database->answers[query->wire.kind][answer], 1);
	if (answer != NOTIFYD_ANSWER_DONE)
		(void) pg_atomic_fetch_add_u64(&database->failed_queries, 1);
}

static WireBytes
run_utf8(const char *text)
{
	StringInfoData utf8;

	if (text == NULL)
		return (WireBytes){.data = "", .len = 0};
	initStringInfo(&utf8);
	utf8_append(&utf8, text, (int) strlen(text));
	return (WireBytes){.data = utf8.data, .len = (uint32_t) utf8.len};
}

/* The ways out of snapshot_timeout. */
static const char run_snapshot_hint[] =
	"Subscribe with columns, a filter that an index supports, or an order and a limit, or increase "
	"pg_notifyd.snapshot_timeout.";

/*
 * Answer with an error. Clients do not learn what an internal error says, as it may be about anything in the
 * server.
 */
static void
run_fail(const ClientQuery *query, const ErrorData *error, bool timeout)
{
	WireMessage message = {.type = WIRE_FAILED};
	WireQueryReason reason = run_reason(error, timeout);
	bool internal = reason == WIRE_QUERY_INTERNAL;
	const char *text = internal ? "internal error" : error->message;
	const char *hint = internal ? NULL : error->hint;

	if (reason == WIRE_QUERY_TIMEOUT)
	{
		text = "the query took too long";
		hint = query->wire.kind == WIRE_QUERY_SNAPSHOT ? run_snapshot_hint : NULL;
	}
	/* Other encodings than UTF-8 have their conversions in the catalogs. */
	HOLD_INTERRUPTS();
	worker_begin_transaction();
	message.u.failed.request = query->wire.request;
	message.u.failed.reason = reason;
	message.u.failed.sqlstate =
		frames_bytes(pstrdup(internal ? "XX000" : unpack_sql_state(error->sqlerrcode)));
	message.u.failed.message = run_utf8(text);
	message.u.failed.detail = run_utf8(internal ? NULL : error->detail);
	message.u.failed.hint = run_utf8(hint);
	message.u.failed.name = run_utf8(run_refusal.name);
	query_link_answer(query, &message);
	CommitTransactionCommand();
	RESUME_INTERRUPTS();
	run_count(query, run_answer_of(reason));
}

/* ---------------- what the server's log and pg_stat_activity say ---------------- */

/* Say what is executed: as which role, as soon as that is known. Needs a transaction. */
static void
run_describe(const ClientQuery *query, const char *role)
{
	static const char *const kinds[] = {[WIRE_QUERY_CALL] = "call of",
										[WIRE_QUERY_SEND] = "message to",
										[WIRE_QUERY_SNAPSHOT] = "rows of",
										[WIRE_QUERY_REST] = "HTTP request for",
										[WIRE_QUERY_OPENAPI] = "description",
										[WIRE_QUERY_TAKE] = "take from",
										[WIRE_QUERY_ACK] = "acknowledgement for",
										[WIRE_QUERY_NACK] = "return to",
										[WIRE_QUERY_RELEASE] = "return to"};
	WireBytes name = query->wire.kind == WIRE_QUERY_REST ? query->wire.path : query->wire.name;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, kinds[query->wire.kind]);
	if (name.len > 0)
	{
		appendStringInfoString(&text, " \"");
		utf8_append_server(&text, name.data, Min((int) name.len, RUN_NAME_LENGTH));
		appendStringInfoChar(&text, '"');
	}
	if (role != NULL)
		appendStringInfo(&text, " as role \"%s\"", role);
	run_description = text.data;
	pgstat_report_activity(STATE_RUNNING, text.data);
}

/* PostgreSQL says of each query that is ended that a user or an administrator wanted it. */
static void
run_context(void *arg pg_attribute_unused())
{
	int code = geterrcode();

	if ((code == ERRCODE_QUERY_CANCELED || code == ERRCODE_ADMIN_SHUTDOWN) && cancel_is_over())
		errdetail_log("The query ran longer than pg_notifyd.%s.",
					  run_query->wire.kind == WIRE_QUERY_SNAPSHOT ? "snapshot_timeout"
																  : "statement_timeout");
	if (run_description != NULL)
		errcontext("%s in database \"%s\"", run_description, MyBgworkerEntry->bgw_extra);
}

/* ---------------- the transaction ---------------- */

void
query_abandon(void)
{
	WireMessage message = {.type = WIRE_FAILED};
	bool timeout = cancel_is_over();

	if (run_query == NULL)
		return;
	message.u.failed.request = run_query->wire.request;
	message.u.failed.reason = timeout ? WIRE_QUERY_TIMEOUT
							  /* Another worker can read the rows. */
							  : run_query->wire.kind == WIRE_QUERY_SNAPSHOT ? WIRE_QUERY_BUSY
																			: WIRE_QUERY_INTERNAL;
	message.u.failed.message =
		frames_bytes(timeout ? "the query took too long" : "the worker was terminated");
	query_link_answer(run_query, &message);
	run_count(run_query, run_answer_of((WireQueryReason) message.u.failed.reason));
	/* The gateway may send another query when it has this answer. */
	query_link_goodbye_all("the worker ends");
}

static void
run_kind(ClientQuery *query)
{
	switch ((WireQueryKind) query->wire.kind)
	{
		case WIRE_QUERY_CALL:
			if (query->wire.name.len == strlen(QUERY_HISTORY) &&
				memcmp(query->wire.name.data, QUERY_HISTORY, query->wire.name.len) == 0)
				query_history(query);
			else
				query_call(query);
			break;
		case WIRE_QUERY_SEND:
			query_send(query);
			break;
		case WIRE_QUERY_SNAPSHOT:
			query_snapshot(query);
			break;
		case WIRE_QUERY_REST:
			query_rest(query);
			break;
		case WIRE_QUERY_OPENAPI:
			query_openapi(query);
			break;
		case WIRE_QUERY_TAKE:
			query_take(query);
			break;
		case WIRE_QUERY_ACK:
		case WIRE_QUERY_NACK:
		case WIRE_QUERY_RELEASE:
			query_return(query);
			break;
		default:
			query_refuse(WIRE_QUERY_UNKNOWN, ERRCODE_FEATURE_NOT_SUPPORTED, NULL, "not supported");
	}
}

static void
run_transaction(ClientQuery *query)
{
	ErrorContextCallback context = {.previous = error_context_stack, .callback = run_context};

	error_context_stack = &context;
	worker_begin_transaction();
	MemoryContextSwitchTo(query->context);
	if (query->wire.kind == WIRE_QUERY_SNAPSHOT)
		XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = query->wire.read_only || query->wire.kind == WIRE_QUERY_SNAPSHOT || XactReadOnly;
	run_describe(query, NULL);
	/* The client may be gone because its token has expired. */
	if (query->wire.kind != WIRE_QUERY_RELEASE)
		caller_become(query);
	run_describe(query, GetUserNameFromId(GetUserId(), false));
	if (query->wire.kind == WIRE_QUERY_SNAPSHOT)
		query_snapshot_lock(query);
	PushActiveSnapshot(GetTransactionSnapshot());
	run_kind(query);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(query->context);
	error_context_stack = context.previous;
}

/* The rest of the rows is sent while other queries are executed. Returns true if there is a rest. */
static bool
run_leave_to_spool(ClientQuery *query)
{
	WireMessage message = {.type = WIRE_SPOOLED};

	if (query->spool == NULL || spool_end(query))
		return false;
	message.u.spooled.request = query->wire.request;
	query_link_answer(query, &message);
	return true;
}

/* The error has left the transaction open. This is what PostgresMain() does after an error. */
static ErrorData *
run_recover(ClientQuery *query)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(query->context);
	error = CopyErrorData();
	if (run_refusal.reason == 0)
		EmitErrorReport();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	AbortOutOfAnyTransaction();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	jit_reset_after_error();
	spool_drop(query);
	MemoryContextSwitchTo(query->context);
	FlushErrorState();
	RESUME_INTERRUPTS();
	return error;
}

void
query_run(ClientQuery *query)
{
	MemoryContext before = CurrentMemoryContext;
	ErrorData *volatile error = NULL;
	bool timeout;
	bool rest;

	MemoryContextSwitchTo(query->context);
	run_refusal.reason = 0;
	run_refusal.name = NULL;
	run_query = query;
	run_description = NULL;
	cancel_begin(query, query->wire.kind == WIRE_QUERY_SNAPSHOT ? notifyd_snapshot_timeout
																: notifyd_statement_timeout);
	PG_TRY();
	{
		run_transaction(query);
	}
	PG_CATCH();
	{
		error = run_recover(query);
	}
	PG_END_TRY();
	timeout = cancel_end();
	run_query = NULL;
	if (error != NULL)
		run_fail(query, error, timeout);
	else
	{
		if (!query->answered)
			run_answer(query);
		run_count(query, NOTIFYD_ANSWER_DONE);
	}
	MemoryContextSwitchTo(before);
	rest = run_leave_to_spool(query);
	query_link_send_all();
	caller_clean();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (!rest)
		MemoryContextDelete(query->context);
}
