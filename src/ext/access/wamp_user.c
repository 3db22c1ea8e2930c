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

/*
 * The iterations of an existing user, chosen by the salt of one who does not exist; 0: there are no users. Salts of users are
 * random, so the next one above serves: each name gets the iterations of a random user, and another user's change
 * concerns few names.
 */
static int
wamp_user_neighbour(Relation table, const char *salt)
{
	Relation index = index_open(extension_relation("wamp_user_salt_key"), AccessShareLock);
	const char *above[] = {salt, ""};
	int iterations = 0;

	/* The second scan begins again from the lowest salt; that of the row with the empty authid is empty. */
	for (int i = 0; i < (int) lengthof(above); i++)
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple tuple;
		bool null;

		ScanKeyEntryInitialize(&key, 0, WAMP_USER_SALT, BTGreaterStrategyNumber, InvalidOid,
							   C_COLLATION_OID, F_TEXT_GT, CStringGetTextDatum(above[i]));
		scan = systable_beginscan_ordered(table, index, NULL, 1, &key);
		tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		if (HeapTupleIsValid(tuple) && iterations == 0)
			iterations = DatumGetInt32(
				heap_getattr(tuple, WAMP_USER_ITERATIONS_COLUMN, RelationGetDescr(table), &null));
		systable_endscan_ordered(scan);
	}
	index_close(index, AccessShareLock);
	return iterations;
}

/* Make up a user. table: NULL if there is none. */
static void
wamp_user_make_up(Relation table, const char *authid, WampUser *user)
{
	uint8 digest[DIGEST_SIZE];
	WampUser mark;
	bool marked = table != NULL && wamp_user_read(table, "", NULL, &mark, NULL);

	if (marked)
		wamp_user_hmac(mark.key, (int) strlen(mark.key), authid, (int) strlen(authid), digest);
	else
		wamp_user_hmac((const char *) notifyd_shared->token_key, NOTIFYD_TOKEN_KEY, authid,
					   (int) strlen(authid), digest);
	user->authid = pstrdup(authid);
	user->role = InvalidOid;
	user->salt = palloc(WAMP_USER_BASE64_SIZE(WAMP_USER_SALT_SIZE));
	wamp_user_base64(digest, WAMP_USER_SALT_SIZE, user->salt);
	user->iterations = table != NULL ? wamp_user_neighbour(table, user->salt) : 0;
	if (user->iterations == 0)
		user->iterations = marked ? mark.iterations : WAMP_USER_ITERATIONS;
	user->keylen = WAMP_USER_KEY_SIZE;
	user->key = wamp_user_random(WAMP_USER_KEY_SIZE);
}

void
wamp_user_find(const char *authid, WampUser *user)
{
	Oid relation = extension_find_relation("wamp_user");
	Relation table = OidIsValid(relation) ? table_open(relation, AccessShareLock) : NULL;

	/* Version 1.0 has no users. A user who exists is made up, too, so that looking up takes as long in any case. */
	wamp_user_make_up(table, authid, user);
	if (table == NULL)
		return;
	if (authid[0] != '\0')
		(void) wamp_user_read(table, authid, NULL, user, NULL);
	table_close(table, AccessShareLock);
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
