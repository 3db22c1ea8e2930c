/*-------------------------------------------------------------------------
 *
 * wamp_user.c
 *	  Users who authenticate by WAMP-CRA, and users who are made up. See wamp_user.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ext/access/wamp_user_internal.h"
#include "ext/base/digest.h"
#include "ext/base/extension.h"
#include "ext/base/shared.h"

void
wamp_user_base64(const uint8 *bytes, int size, char *to)
{
	(void) EVP_EncodeBlock((unsigned char *) to, bytes, size);
}

void
wamp_user_hmac(const char *key, int key_length, const char *text, int length, uint8 *digest)
{
	unsigned int size = DIGEST_SIZE;

	if (HMAC(EVP_sha256(), key, key_length, (const unsigned char *) text, length, digest, &size) ==
		NULL)
		elog(ERROR, "could not compute HMAC-SHA256");
}

bool
wamp_user_read(Relation table, const char *authid, Snapshot snapshot, WampUser *user,
			   ItemPointerData *tid)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found;

	ScanKeyEntryInitialize(&key, 0, WAMP_USER_AUTHID, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(authid));
	scan = systable_beginscan(table, extension_relation("wamp_user_pkey"), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		Datum values[WAMP_USER_NATTRIBUTES];
		bool nulls[WAMP_USER_NATTRIBUTES];

		heap_deform_tuple(tuple, RelationGetDescr(table), values, nulls);
		user->authid = pstrdup(authid);
		user->role =
			nulls[WAMP_USER_ROLE - 1] ? InvalidOid : DatumGetObjectId(values[WAMP_USER_ROLE - 1]);
		user->salt = TextDatumGetCString(values[WAMP_USER_SALT - 1]);
		user->iterations = DatumGetInt32(values[WAMP_USER_ITERATIONS_COLUMN - 1]);
		user->keylen = DatumGetInt32(values[WAMP_USER_KEYLEN - 1]);
		user->key = TextDatumGetCString(values[WAMP_USER_KEY - 1]);
		if (tid != NULL)
			*tid = tuple->t_self;
	}
	systable_endscan(scan);
	return found;
}

char *
wamp_user_random(int size)
{
	char *text = palloc(WAMP_USER_BASE64_SIZE(size));
	uint8 *bytes = palloc(size);

	if (!pg_strong_random(bytes, size))
		elog(ERROR, "could not generate random bytes");
	wamp_user_base64(bytes, size, text);
	pfree(bytes);
	return text;
}

/* Make up a user; mark is the row with the empty authid, or NULL before there is one. */
static void
wamp_user_make_up(const char *authid, const WampUser *mark, WampUser *user)
{
	uint8 digest[DIGEST_SIZE];

	if (mark != NULL)
		wamp_user_hmac(mark->key, (int) strlen(mark->key), authid, (int) strlen(authid), digest);
	else
		wamp_user_hmac((const char *) notifyd_shared->token_key, NOTIFYD_TOKEN_KEY, authid,
					   (int) strlen(authid), digest);
	user->authid = pstrdup(authid);
	user->role = InvalidOid;
	user->salt = palloc(WAMP_USER_BASE64_SIZE(WAMP_USER_SALT_SIZE));
	wamp_user_base64(digest, WAMP_USER_SALT_SIZE, user->salt);
	user->iterations = mark != NULL ? mark->iterations : WAMP_USER_ITERATIONS;
	user->keylen = WAMP_USER_KEY_SIZE;
	user->key = wamp_user_random(WAMP_USER_KEY_SIZE);
}

void
wamp_user_find(const char *authid, WampUser *user)
{
	Oid relation = extension_find_relation("wamp_user");
	WampUser mark;
	bool marked = false;
	bool found = false;

	/* Version 1.0 has no users. The table is read in the same way whether the user exists. */
	if (OidIsValid(relation))
	{
		Relation table = table_open(relation, AccessShareLock);

		marked = wamp_user_read(table, "", NULL, &mark, NULL);
		found = authid[0] != '\0' && wamp_user_read(table, authid, NULL, user, NULL);
		table_close(table, AccessShareLock);
	}
	if (!found)
		wamp_user_make_up(authid, marked ? &mark : NULL, user);
}

bool
wamp_user_is(const char *authid, const char *salt, const char *role)
{
	WampUser user;
	char *name;

	wamp_user_find(authid, &user);
	name = OidIsValid(user.role) ? GetUserNameFromId(user.role, true) : NULL;
	return name != NULL && strcmp(name, role) == 0 && strcmp(user.salt, salt) == 0;
}
