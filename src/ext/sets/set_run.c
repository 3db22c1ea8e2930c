/*-------------------------------------------------------------------------
 *
 * set_run.c
 *	  Runs parts of rules in the guard, and tells what is wrong with a policy or a filter.
 *
 * Clients and the owners of tables can repeat a failure with each event. So the log has one line a
 * minute for the same message, with the number of those that were left out before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "ext/sets/sets_internal.h"

#define SET_ERROR_LOG_MS     60000
#define SET_ERROR_LOG_CAUSES 64

/* A message of the log. */
typedef struct SetErrorCause
{
	uint32 hash;
	TimestampTz logged;
	int omitted; /* since then */
} SetErrorCause;

/* The cause with this hash, or else the one that was logged the longest time ago. */
static SetErrorCause *
set_error_cause(uint32 hash)
{
	static SetErrorCause causes[SET_ERROR_LOG_CAUSES];
	SetErrorCause *oldest = &causes[0];

	for (int i = 0; i < SET_ERROR_LOG_CAUSES; i++)
	{
		if (causes[i].hash == hash)
			return &causes[i];
		if (causes[i].logged < oldest->logged)
			oldest = &causes[i];
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->hash = hash;
	return oldest;
}

/* Return the subject that claims name, or NULL. */
static char *
set_error_subject(const char *claims)
{
	JsonbValue value;
	Datum all;

	if (claims == NULL)
		return NULL;
	all = DirectFunctionCall1(jsonb_in, CStringGetDatum(claims));
	if (getKeyJsonValueFromContainer(&DatumGetJsonbP(all)->root, "sub", 3, &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* data is the error that was raised; NULL: it took too long. */
static void
set_error_log(const SetError *error, const ErrorData *data, const char *role, const char *claims)
{
	SetErrorCause *cause = set_error_cause(string_hash(error->message, sizeof(error->message)));
	TimestampTz now = GetCurrentTimestamp();
	int omitted = cause->omitted;
	char *subject;

	if (!TimestampDifferenceExceeds(cause->logged, now, SET_ERROR_LOG_MS))
	{
		cause->omitted++;
		return;
	}
	cause->logged = now;
	cause->omitted = 0;
	subject = set_error_subject(claims);
	ereport(LOG,
			(omitted == 0
				 ? errmsg("pg_notifyd: %s", error->message)
				 : errmsg("pg_notifyd: %s, and did so %d more times", error->message, omitted),
			 data != NULL
				 ? errdetail_internal("%s", data->message)
				 : errdetail("It is canceled after 250 ms, and earlier if that happens often."),
			 subject != NULL ? errcontext("role \"%s\", subject \"%s\"", role, subject)
							 : errcontext("role \"%s\"", role)));
}

bool
set_run(const GuardActor *actor, void (*function)(void *arg), void *arg, SetRule *const *rule,
		SetError *error)
{
	ErrorData *data;

	if (guard_run(actor, function, arg, &data))
		return true;
	*error = (SetError){.reason = WIRE_POLICY_FAILED};
	error->later = data != NULL && data->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	error->sqlstate = data != NULL ? data->sqlerrcode : 0;
	if (data == NULL)
		snprintf(error->message, sizeof(error->message), "%s took too long", (*rule)->what);
	else
		snprintf(error->message, sizeof(error->message), "%s raised an error (SQLSTATE %s)",
				 (*rule)->what, unpack_sql_state(data->sqlerrcode));
	if (error->later)
		error->message[0] = '\0';
	else
	{
		set_totals.errors++;
		set_error_log(error, data, (*rule)->role_name, actor->claims);
	}
	if (data != NULL)
		FreeErrorData(data);
	return false;
}
