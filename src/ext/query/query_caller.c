/*-------------------------------------------------------------------------
 *
 * query_caller.c
 *	  The client that a query belongs to.
 *
 * Each query comes with its client's token, and the worker verifies it. Verifying a signature may take longer
 * than the query, so tokens that were accepted are kept by the hash of their text until something
 * changes that may make them invalid: a role, a membership, notifyd.disconnected, notifyd.wamp_user, a setting.
 *
 * Roles and settings are set as PostgREST does it: for the transaction. But the role is locked: anybody who owns a
 * function that runs for a client, also as a trigger or in a view, could otherwise SET ROLE to all roles of the
 * authenticator. What a function sets for the session must not reach the next client, so caller_clean() resets the
 * session after each query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/dbcommands.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ext/access/disconnected.h"
#include "ext/access/token.h"
#include "ext/base/compat.h"
#include "ext/base/digest.h"
#include "ext/base/extension.h"
#include "ext/base/relation_change.h"
#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/base/worker.h"
#include "ext/json/json.h"
#include "ext/query/query.h"

/* Tokens that are kept; with one more, all are forgotten. */
#define CALLER_MAX_TOKENS 10000

typedef struct KnownToken
{
	uint8 hash[TOKEN_HASH_SIZE]; /* of its text */
	NameData role;
	TimestampTz valid_until;
	char *claims; /* JSON, in the server's encoding */
} KnownToken;

static MemoryContext caller_context; /* of the table, its texts, and what it depends on */
static HTAB *caller_tokens;          /* NULL: none is known */
static DisconnectedSet *caller_disconnected;
static bool caller_stale;
static bool caller_gone; /* the role of the session is no longer that of the settings */
static Oid caller_disconnected_table;
static Oid caller_users_table;
static Oid caller_plans_role; /* for which plans of the session were made */

/* ---------------- what makes tokens invalid ---------------- */

static void
caller_relation_changed(Datum arg pg_attribute_unused(), Oid relation)
{
	caller_stale |= !OidIsValid(relation) || relation == caller_disconnected_table ||
					relation == caller_users_table;
}

static void
caller_role_changed(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
					uint32 hash pg_attribute_unused())
{
	caller_stale = true;
}

/* Unlock the role, because the end of a transaction restores it. All code of users has run before. */
static void
caller_before_commit(XactEvent event, void *arg pg_attribute_unused())
{
	if (event == XACT_EVENT_PRE_COMMIT)
		SetUserIdAndSecContext(GetUserId(), 0);
}

void
caller_init(void)
{
	caller_context =
		AllocSetContextCreate(TopMemoryContext, "pg_notifyd tokens", ALLOCSET_DEFAULT_SIZES);
	RegisterXactCallback(caller_before_commit, NULL);
	relation_change_register(caller_relation_changed);
	CacheRegisterSyscacheCallback(AUTHOID, caller_role_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, caller_role_changed, (Datum) 0);
}

/* A role may have been dropped, renamed or made a superuser since the worker has connected as it. */
static void
caller_check_session(void)
{
	const char *role =
		notifyd_authenticator_role[0] != '\0' ? notifyd_authenticator_role : notifyd_anonymous_role;

	caller_gone =
		get_role_oid(role, true) != GetSessionUserId() || superuser_arg(GetSessionUserId());
	if (caller_gone)
		query_refuse(WIRE_QUERY_BUSY, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
					 "the worker's role has changed");
}

bool
caller_is_gone(void)
{
	return caller_gone;
}

/* Forget all tokens if they may be invalid now. Needs a transaction. */
static void
caller_refresh(void)
{
	HASHCTL tokens = {.keysize = TOKEN_HASH_SIZE, .entrysize = sizeof(KnownToken)};
	MemoryContext before;

	if (caller_tokens != NULL && !caller_stale &&
		hash_get_num_entries(caller_tokens) < CALLER_MAX_TOKENS)
		return;
	caller_check_session();
	caller_tokens = NULL;
	MemoryContextReset(caller_context);
	caller_disconnected_table = extension_relation("disconnected");
	caller_users_table = extension_relation("wamp_user");
	caller_stale = false;
	caller_plans_role = InvalidOid;
	before = MemoryContextSwitchTo(caller_context);
	caller_disconnected = disconnected_read();
	tokens.hcxt = caller_context;
	caller_tokens =
		hash_create("pg_notifyd tokens", 64, &tokens, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContextSwitchTo(before);
}

/* ---------------- tokens ---------------- */

static KnownToken *
caller_verify(const ClientQuery *query, const uint8 *hash, TimestampTz now)
{
	KnownToken *known;
	Identity identity;
	StringInfoData claims;
	char *refusal;
	const char *disconnected;

	if (!token_verify(query->wire.token.data, query->wire.token.len, now, &identity, &refusal))
		query_refuse(WIRE_QUERY_NOT_AUTHENTICATED, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
					 NULL, "%s", refusal);
	disconnected = disconnected_refusal(caller_disconnected, identity.claims, identity.issued_at);
	if (disconnected != NULL)
		query_refuse(WIRE_QUERY_NOT_AUTHENTICATED, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
					 NULL, "%s", disconnected);
	initStringInfo(&claims);
	(void) JsonbToCString(&claims, &identity.claims->root, VARSIZE(identity.claims));

	/* Nothing may fail between the entry and its contents. */
	claims.data = MemoryContextStrdup(caller_context, claims.data);
	known = hash_search(caller_tokens, hash, HASH_ENTER, NULL);
	namestrcpy(&known->role, identity.role_name);
	known->valid_until = identity.valid_until;
	known->claims = claims.data;
	return known;
}

static const KnownToken *
caller_find(const ClientQuery *query)
{
	TimestampTz now = GetCurrentTimestamp();
	uint8 hash[TOKEN_HASH_SIZE];
	KnownToken *known;

	digest_sha256(query->wire.token.data, query->wire.token.len, hash);
	known = hash_search(caller_tokens, hash, HASH_FIND, NULL);
	if (known != NULL && now >= known->valid_until)
	{
		(void) hash_search(caller_tokens, hash, HASH_REMOVE, NULL);
		known = NULL;
	}
	return known != NULL ? known : caller_verify(query, hash, now);
}

/* ---------------- becoming the client ---------------- */

static void
caller_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
							 false);
}

/* A header may have any bytes. Those that are no text are replaced. */
static void
caller_append_header(StringInfo json, WireBytes bytes)
{
	StringInfoData text;

	initStringInfo(&text);
	utf8_append_server(&text, bytes.data, (int) bytes.len);
	json_append_string(json, text.data, text.len);
}

static void
caller_set_headers(WireBytes headers)
{
	StringInfoData json;
	WireBytes name;
	WireBytes value;
	bool first = true;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	while (wire_list_next(&headers, &name) && wire_list_next(&headers, &value))
	{
		appendStringInfoString(&json, first ? "" : ",");
		caller_append_header(&json, name);
		appendStringInfoChar(&json, ':');
		caller_append_header(&json, value);
		first = false;
	}
	appendStringInfoChar(&json, '}');
	caller_set("request.headers", json.data);
}

/*
 * Forget the plans that were made for another role. PostgreSQL checks EXECUTE of a function that it puts
 * into a plan, such as a constant result, when it makes the plan, and not for those who use it later.
 */
static void
caller_own_plans(void)
{
	if (caller_plans_role != GetUserId())
		ResetPlanCache();
	caller_plans_role = GetUserId();
}

/* SET ROLE would fail, too, but not say why in the server's log. */
static void
caller_check_anonymous(const char *role)
{
	Oid oid = get_role_oid(role, true);

	if (!OidIsValid(oid))
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("role \"%s\" does not exist", role),
						errdetail_log("It is that of pg_notifyd.anonymous_role.")));
	if (!compat_may_set_role(GetSessionUserId(), oid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set role \"%s\"", role),
				 errdetail_log("The role of pg_notifyd.authenticator_role, \"%s\", must be a "
							   "member of that of pg_notifyd.anonymous_role.",
							   GetUserNameFromId(GetSessionUserId(), false))));
}

void
caller_become(const ClientQuery *query)
{
	const char *role = notifyd_anonymous_role;
	const char *claims = "";

	caller_refresh();
	if (query->wire.token.len > 0)
	{
		const KnownToken *known = caller_find(query);

		role = NameStr(known->role);
		claims = known->claims;
	}
	else if (role[0] == '\0')
		query_refuse(WIRE_QUERY_NOT_AUTHENTICATED, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
					 NULL, "authentication is required");
	else
		caller_check_anonymous(role);
	caller_set("request.jwt.claims", claims);
	if (query->wire.method.len > 0)
	{
		caller_set("request.method", query_text(query->wire.method));
		caller_set("request.path", query_text(query->wire.path));
		caller_set_headers(query->wire.headers);
	}
	caller_set("role", role);
	if (!COMPAT_DATABASE_CONNECTABLE(MyDatabaseId, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_DATABASE, get_database_name(MyDatabaseId));
	caller_own_plans();
	/* As in a SECURITY DEFINER function, nothing can set the role or the session's user from here on. */
	SetUserIdAndSecContext(GetUserId(), SECURITY_LOCAL_USERID_CHANGE);
}

/* ---------------- after the query ---------------- */

/*
 * With a seed of its own, or the numbers that it has seen, a client would know those of the next client. Random bytes are
 * taken many at a time, because most queries need none of them.
 */
static void
caller_seed(void)
{
	static uint32 seeds[64];
	static int unused = 0;

	if (unused == 0)
	{
		if (!pg_strong_random(seeds, sizeof(seeds)))
			elog(ERROR, "could not generate a random number");
		unused = lengthof(seeds);
	}
	(void) DirectFunctionCall1(setseed, Float8GetDatum((float8) seeds[--unused] / PG_UINT32_MAX));
}

/*
 * What DISCARD ALL does, but for plans, which contain nothing of a client besides its role, and a new seed. A
 * function may have created temporary tables, prepared statements, or set something for the session.
 */
static void
caller_discard(void)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	PortalHashTableDeleteAll();
	ResetAllOptions();
	DropAllPreparedStatements();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
	caller_seed();
	PopActiveSnapshot();
}

void
caller_clean(void)
{
	/* A cancellation that comes too late must not end the worker. */
	HOLD_INTERRUPTS();
	worker_begin_transaction();
	caller_discard();
	CommitTransactionCommand();
	QueryCancelPending = false;
	RESUME_INTERRUPTS();
}
