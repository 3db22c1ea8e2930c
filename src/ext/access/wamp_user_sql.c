/*-------------------------------------------------------------------------
 *
 * wamp_user_sql.c
 *	  notify_wamp_user(), notify_wamp_user_drop(), and the trigger of notifyd.wamp_user.
 *
 * The rows of notifyd.wamp_user are written like those of a system catalog, and with a lock like those of
 * notifyd.channel_grant (grant.c).
 *
 * The owner of a database may read the extension's tables, for dumps, and could sign for all users
 * with these keys. So the first user takes that privilege away, also one whose row is restored.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "ext/access/token.h"
#include "ext/access/wamp_user_internal.h"
#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/transaction/at_end.h"

PG_FUNCTION_INFO_V1(notify_wamp_user);
PG_FUNCTION_INFO_V1(notify_wamp_user_drop);
PG_FUNCTION_INFO_V1(notifyd_wamp_user_changed);

#define WAMP_USER_MIN_ROUNDS 1000
#define WAMP_USER_MAX_ROUNDS 1000000

static void
wamp_user_insert(Relation table, const WampUser *user)
{
	Datum values[WAMP_USER_NATTRIBUTES] = {
		CStringGetTextDatum(user->authid), ObjectIdGetDatum(user->role),
		CStringGetTextDatum(user->salt),   Int32GetDatum(user->iterations),
		Int32GetDatum(user->keylen),       CStringGetTextDatum(user->key),
	};
	bool nulls[WAMP_USER_NATTRIBUTES] = {false};

	nulls[WAMP_USER_ROLE - 1] = !OidIsValid(user->role);
	CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
}

/* Delete a row. Returns false if there is none; otherwise *old is what it was. */
static bool
wamp_user_delete(Relation table, const char *authid, WampUser *old)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	ItemPointerData tid;
	bool found = wamp_user_read(table, authid, snapshot, old, &tid);

	UnregisterSnapshot(snapshot);
	if (found)
		CatalogTupleDelete(table, &tid);
	return found;
}

/* Take the privilege of the database's owner away. Only the table's owner may do that. */
static void
wamp_user_revoke(void)
{
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(extension_owner(), context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute("REVOKE ALL ON notifyd.wamp_user FROM pg_database_owner", false, 0) !=
			SPI_OK_UTILITY)
		elog(ERROR, "could not revoke privileges on notifyd.wamp_user");
	SPI_finish();
	SetUserIdAndSecContext(user, context);
}

/* Keep the row with the empty authid, with these iterations. */
static void
wamp_user_mark(Relation table, int iterations)
{
	WampUser mark;

	if (!wamp_user_delete(table, "", &mark))
	{
		wamp_user_revoke();
		mark = (WampUser){.authid = "",
						  .salt = "",
						  .keylen = WAMP_USER_KEY_SIZE,
						  .key = wamp_user_random(WAMP_USER_KEY_SIZE)};
	}
	mark.iterations = iterations;
	wamp_user_insert(table, &mark);
}

static Relation
wamp_user_open(void)
{
	Oid relation = extension_relation("wamp_user");

	at_end_refuse_prepare();
	at_end_wake(AT_END_WAKE_FEED);
	LockDatabaseObject(relation, InvalidOid, 0, ExclusiveLock);
	return table_open(relation, RowExclusiveLock);
}

/* Let feeds and workers look at the users whose sessions they have. */
static void
wamp_user_close(Relation table)
{
	CacheInvalidateRelcache(table);
	table_close(table, NoLock);
	CommandCounterIncrement();
}

/* Derive the key of a secret, as clients do. */
static char *
wamp_user_derive(const char *secret, const char *salt, int iterations)
{
	char *utf8 = pg_server_to_any(secret, (int) strlen(secret), PG_UTF8);
	char *text = palloc(WAMP_USER_BASE64_SIZE(WAMP_USER_KEY_SIZE));
	uint8 key[WAMP_USER_KEY_SIZE];

	if (PKCS5_PBKDF2_HMAC(utf8, (int) strlen(utf8), (const unsigned char *) salt,
						  (int) strlen(salt), iterations, EVP_sha256(), sizeof(key), key) != 1)
		ereport(ERROR, (errmsg("could not derive a key of the secret"), errhidestmt(true)));
	wamp_user_base64(key, sizeof(key), text);
	OPENSSL_cleanse(key, sizeof(key));
	return text;
}

/* ---------------- SQL ---------------- */

/*
 * The statement has a secret, so no error of this file's shows it in the server's log, and from here on
 * pg_stat_activity does not show the statement.
 */
static void
wamp_user_check_caller(const char *function)
{
	pgstat_report_activity(STATE_RUNNING, function);
	PreventCommandIfReadOnly(function);
	extension_require_version();
	if (!extension_is_admin(GetUserId()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for %s", function),
						errhint("Only a superuser or a member of the role that owns extension %s "
								"can set users of WAMP-CRA.",
								EXTENSION_NAME),
						errhidestmt(true)));
}

static void
wamp_user_check_authid(const char *authid)
{
	char *utf8 = pg_server_to_any(authid, (int) strlen(authid), PG_UTF8);

	if (authid[0] == '\0' || strlen(utf8) > WIRE_MAX_USER)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("authid must have from 1 to %d bytes", WIRE_MAX_USER), errhidestmt(true)));
}

/* A caller who is no superuser gives users only roles that the caller could become. */
static void
wamp_user_check_role(Oid role)
{
	char *name = GetUserNameFromId(role, true);
	char *refusal;

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("role with OID %u does not exist", role), errhidestmt(true)));
	if (!superuser() && !compat_may_set_role(GetUserId(), role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to set role \"%s\"", name), errhidestmt(true)));
	if (!OidIsValid(token_role(name, &refusal)))
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("users with role \"%s\" are refused at present", name),
				 errhint("GRANT \"%s\" to the role of pg_notifyd.authenticator_role.", name),
				 errhidestmt(true)));
}

static void
wamp_user_check_secret(const char *secret, int iterations)
{
	if (secret[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("secret must not be empty"), errhidestmt(true)));
	if (iterations < WAMP_USER_MIN_ROUNDS || iterations > WAMP_USER_MAX_ROUNDS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("iterations must be from %d to %d", WAMP_USER_MIN_ROUNDS,
							   WAMP_USER_MAX_ROUNDS),
						errhidestmt(true)));
}

/*
 * notify_wamp_user(authid text, role regrole, secret text, iterations integer). A user who exists is replaced, and
 * the sessions of the previous one end, since the salt is another one.
 */
Datum
notify_wamp_user(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"authid", "role", "secret", "iterations"};
	WampUser user;
	WampUser old;
	char *secret;
	Relation table;

	wamp_user_check_caller("notify_wamp_user()");
	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be null", names[i]), errhidestmt(true)));
	}
	user.authid = text_to_cstring(PG_GETARG_TEXT_PP(0));
	user.role = PG_GETARG_OID(1);
	secret = text_to_cstring(PG_GETARG_TEXT_PP(2));
	user.iterations = PG_GETARG_INT32(3);
	wamp_user_check_authid(user.authid);
	wamp_user_check_secret(secret, user.iterations);
	wamp_user_check_role(user.role);
	user.salt = wamp_user_random(WAMP_USER_SALT_SIZE);
	user.keylen = WAMP_USER_KEY_SIZE;
	user.key = wamp_user_derive(secret, user.salt, user.iterations);

	table = wamp_user_open();
	wamp_user_mark(table, user.iterations);
	(void) wamp_user_delete(table, user.authid, &old);
	wamp_user_insert(table, &user);
	wamp_user_close(table);
	PG_RETURN_VOID();
}

/* notify_wamp_user_drop(authid text): returns false if there is no such user. */
Datum
notify_wamp_user_drop(PG_FUNCTION_ARGS)
{
	WampUser old;
	Relation table;
	bool found;
	char *authid;

	wamp_user_check_caller("notify_wamp_user_drop()");
	authid = text_to_cstring(PG_GETARG_TEXT_PP(0));
	table = wamp_user_open();
	found = authid[0] != '\0' && wamp_user_delete(table, authid, &old);
	wamp_user_close(table);
	PG_RETURN_BOOL(found);
}

static bool
wamp_user_any(Relation table)
{
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	bool any = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	return any;
}

/* Statements that change the table, such as a restored dump, take effect as the functions do. */
Datum
notifyd_wamp_user_changed(PG_FUNCTION_ARGS)
{
	Relation table;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "wamp_user_changed")));
	table = ((TriggerData *) fcinfo->context)->tg_relation;
	CommandCounterIncrement();
	if (wamp_user_any(table))
		wamp_user_revoke();
	CacheInvalidateRelcache(table);
	at_end_wake(AT_END_WAKE_FEED);
	return PointerGetDatum(NULL);
}
