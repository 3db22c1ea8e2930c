/*-------------------------------------------------------------------------
 *
 * feed_applied.c
 *	  Whether a client that resumes still has the right rows.
 *
 * The policies that apply to a client, and the values that they read, may change while it is away.
 * A replay then does not lead from the rows that the client has to those that it may see now, and
 * the client needs a reset. A position does not say which policies applied when it was issued. So
 * the feed notes that, in notifyd.applied_policies:
 *
 *	  channel, identity		whose subscriptions; the identity is a hash of role and subject
 *	  policies				a hash of the policies that apply, with their values (set_policies());
 *							0: all rows pass, as it is where there is no row of the table
 *	  since					after this id, no other ones have applied to such a subscription
 *	  seen					there was a subscription at this id, or up to applied_span() later
 *
 * A client that resumes from a position after since, with the policies of the row, goes on without a
 * reset. Only the last policies are kept: a client from before gets a reset, although the earlier
 * ones might be back.
 *
 * Subscriptions of one identity may have different policies at the same time: their tokens may have
 * other claims, and the feed notices changes one subscription after another. Then since is
 * APPLIED_UNKNOWN until all have the same.
 *
 * While there are subscriptions, an entry in memory counts them. Rows are written only when policies
 * change or an identity comes for the first time, and are committed before the feed sends anything
 * that follows from the change (link_send_all()). So they are right after any crash.
 *
 * A filter is no part of this, because the client names it each time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/extension.h"
#include "ext/base/settings.h"
#include "ext/base/worker.h"
#include "ext/feed/feed.h"

#define APPLIED_TABLE   "applied_policies"
#define APPLIED_UNKNOWN ((uint64) PG_INT64_MAX)
#define APPLIED_WRITES  500 /* rows that are touched or removed at a time */
#define APPLIED_MIN_S   2.0

/* The columns of the table, as in the extension's script. */
enum AppliedAttribute
{
	APPLIED_CHANNEL = 1,
	APPLIED_IDENTITY,
	APPLIED_POLICIES,
	APPLIED_SINCE,
	APPLIED_SEEN,
};
#define APPLIED_NATTRIBUTES APPLIED_SEEN

typedef struct AppliedKey
{
	char channel[NAMEDATALEN];
	uint64 identity;
} AppliedKey;

/* The subscriptions of an identity to a channel, and its row. */
struct Applied
{
	AppliedKey key;
	uint64 policies; /* as in the table */
	uint64 since;    /* 0: there is no row */
	uint64 seen;
	uint64 other; /* policies that some subscriptions have instead */
	int count;    /* subscriptions with policies, with other, and the rest */
	int nother;
	int nrest;
	bool changed; /* it must be written; in feed->applied_changed */
	dlist_node in_changed;
};

void
applied_init(Feed *feed)
{
	HASHCTL control = {
		.keysize = sizeof(AppliedKey), .entrysize = sizeof(Applied), .hcxt = feed->context};

	feed->applied =
		hash_create("pg_notifyd applied", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&feed->applied_changed);
}

/* ---------------- identities ---------------- */

/* Claims that differ from token to token, and say nothing of whose it is. */
static Jsonb *
applied_lasting_claims(Jsonb *claims)
{
	static const char *const passing[] = {"exp", "iat", "jti", "nbf"};

	for (int i = 0; i < (int) lengthof(passing); i++)
		claims = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(claims),
													CStringGetTextDatum(passing[i])));
	return claims;
}

/* Whose subscriptions are taken for one. Without a subject, the claims say that. */
static uint64
applied_identity(const Sub *sub)
{
	const char *role = sub->stream->view->key.role;
	uint64 hash = hash_bytes_extended((const unsigned char *) role, (int) strlen(role), 0);
	const FeedIdentity *identity = sub->identity;
	Jsonb *claims;

	if (identity == NULL)
		return hash;
	if (identity->subject != NULL)
		return hash_bytes_extended((const unsigned char *) identity->subject,
								   (int) strlen(identity->subject), hash + 1);
	claims = applied_lasting_claims(identity->claims);
	return hash_bytes_extended((const unsigned char *) claims, (int) VARSIZE(claims), hash + 2);
}

/* ---------------- the table ---------------- */

/* The rows of a channel, or only that of an identity. */
static SysScanDesc
applied_begin_scan(Relation table, const char *channel, const uint64 *identity, Snapshot snapshot)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], APPLIED_CHANNEL, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(channel));
	if (identity != NULL)
		ScanKeyInit(&keys[1], APPLIED_IDENTITY, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum((int64) *identity));
	return systable_beginscan(table, extension_relation("applied_policies_pkey"), true, snapshot,
							  identity != NULL ? 2 : 1, keys);
}

/* Return true if the channel has rows. Databases of version 1.0 have no row security. */
static bool
applied_has_rows(FeedChannel *channel)
{
	Oid relation = extension_find_relation(APPLIED_TABLE);

	if (channel->applied == APPLIED_NOT_LOOKED)
	{
		channel->applied = APPLIED_NOWHERE;
		if (OidIsValid(relation))
		{
			Relation table = table_open(relation, AccessShareLock);
			Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
			SysScanDesc scan = applied_begin_scan(table, channel->name, NULL, snapshot);

			if (HeapTupleIsValid(systable_getnext(scan)))
				channel->applied = APPLIED_SOMEWHERE;
			systable_endscan(scan);
			UnregisterSnapshot(snapshot);
			table_close(table, AccessShareLock);
		}
	}
	return channel->applied == APPLIED_SOMEWHERE;
}

static uint64
applied_value(HeapTuple tuple, TupleDesc desc, int attribute)
{
	bool isnull;

	return (uint64) DatumGetInt64(heap_getattr(tuple, attribute, desc, &isnull));
}

static void
applied_load(Applied *applied)
{
	Relation table = table_open(extension_relation(APPLIED_TABLE), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan =
		applied_begin_scan(table, applied->key.channel, &applied->key.identity, snapshot);
	HeapTuple tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
	{
		TupleDesc desc = RelationGetDescr(table);

		applied->policies = applied_value(tuple, desc, APPLIED_POLICIES);
		applied->since = applied_value(tuple, desc, APPLIED_SINCE);
		applied->seen = applied_value(tuple, desc, APPLIED_SEEN);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
}

static void
applied_write(Relation table, const Applied *applied)
{
	TupleDesc desc = RelationGetDescr(table);
	NameData channel;
	Datum values[APPLIED_NATTRIBUTES] = {
		NameGetDatum(&channel), Int64GetDatum((int64) applied->key.identity),
		Int64GetDatum((int64) applied->policies), Int64GetDatum((int64) applied->since),
		Int64GetDatum((int64) applied->seen)};
	bool nulls[APPLIED_NATTRIBUTES] = {false};
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan =
		applied_begin_scan(table, applied->key.channel, &applied->key.identity, snapshot);
	HeapTuple before = systable_getnext(scan);
	HeapTuple tuple;

	namestrcpy(&channel, applied->key.channel);
	tuple = heap_form_tuple(desc, values, nulls);
	if (HeapTupleIsValid(before))
		CatalogTupleUpdate(table, &before->t_self, tuple);
	else
		CatalogTupleInsert(table, tuple);
	heap_freetuple(tuple);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/* Forget an entry without subscriptions that is as in the table. */
static void
applied_forget(Feed *feed, Applied *applied)
{
	if (!applied->changed && applied->count + applied->nother + applied->nrest == 0)
		hash_search(feed->applied, &applied->key, HASH_REMOVE, NULL);
}

static void
applied_store(Feed *feed)
{
	Relation table;

	if (dlist_is_empty(&feed->applied_changed))
		return;
	table = table_open(extension_relation(APPLIED_TABLE), RowExclusiveLock);
	while (!dlist_is_empty(&feed->applied_changed))
	{
		Applied *applied = dlist_head_element(Applied, in_changed, &feed->applied_changed);

		applied_write(table, applied);
		dlist_delete(&applied->in_changed);
		applied->changed = false;
		applied_forget(feed, applied);
	}
	table_close(table, NoLock);
	CommandCounterIncrement();
}

void
applied_commit(Feed *feed)
{
	applied_store(feed);
	CommitTransactionCommand();
	feed->applied_unsaved = false;
}

/* ---------------- entries ---------------- */

/* No client has a position beyond this one. */
static uint64
applied_position(const Feed *feed)
{
	uint64 position = feed->map.oldest;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL)
			position = Max(position, feed->links[i]->position);
	}
	return position;
}

/*
 * Return by how many ids seen may be too small: about half of the retention, because the tables of the log
 * begin with an id of the time in µs.
 */
static uint64
applied_span(void)
{
	return (uint64) (Max(notifyd_retention, APPLIED_MIN_S) * USECS_PER_SEC / 2);
}

static void
applied_change(Feed *feed, Applied *applied)
{
	applied->seen = applied_position(feed);
	if (!applied->changed)
		dlist_push_tail(&feed->applied_changed, &applied->in_changed);
	applied->changed = true;
	feed->applied_unsaved = true;
}

/* Write the row again if its seen would be too small, now that there is, or was, a subscription. */
static bool
applied_see(Feed *feed, Applied *applied)
{
	if (applied->since == 0 || applied->seen + applied_span() >= applied_position(feed))
		return false;
	applied_change(feed, applied);
	return true;
}

static Applied *
applied_find(const Sub *sub)
{
	Feed *feed = sub->link->feed;
	FeedChannel *channel = sub->stream->view->channel;
	AppliedKey key = {.identity = applied_identity(sub)};
	Applied *applied;
	bool found;

	strlcpy(key.channel, channel->name, sizeof(key.channel));
	applied = hash_search(feed->applied, &key, HASH_ENTER, &found);
	if (found)
		return applied;
	memset((char *) applied + sizeof(AppliedKey), 0, sizeof(Applied) - sizeof(AppliedKey));
	if (applied_has_rows(channel))
		applied_load(applied);
	return applied;
}

static bool
applied_is_known(const Applied *applied)
{
	return applied->nother == 0 && applied->nrest == 0;
}

/*
 * Count a subscription with these policies, or no longer. If none has the policies of the entry, it
 * gets those of the others.
 */
static void
applied_count(Applied *applied, uint64 policies, int change)
{
	if (policies == applied->policies && applied->count + change >= 0)
		applied->count += change;
	else if ((policies == applied->other || (change > 0 && applied->nother == 0)) &&
			 applied->nother + change >= 0)
	{
		applied->other = policies;
		applied->nother += change;
	}
	else
		applied->nrest += change;
	if (applied->count == 0 && applied->nother > 0)
	{
		applied->policies = applied->other;
		applied->count = applied->nother;
		applied->nother = 0;
	}
}

/* The policies of the subscriptions have changed, at a position up to at. */
static void
applied_note(FeedChannel *channel, Applied *applied, uint64 at)
{
	applied->since = applied_is_known(applied) ? at : APPLIED_UNKNOWN;
	applied_change(channel->feed, applied);
	channel->applied = APPLIED_SOMEWHERE;
}

/* ---------------- subscriptions ---------------- */

const char *
applied_begin(Sub *sub, const uint64 *since)
{
	Feed *feed = sub->link->feed;
	FeedChannel *channel = sub->stream->view->channel;
	uint64 policies = sub->stream->policies;
	const char *reset = NULL;
	Applied *applied;
	bool same;

	if (policies == 0 && !applied_has_rows(channel))
		return NULL;
	applied = sub->applied = applied_find(sub);
	same = policies == applied->policies && applied->since != APPLIED_UNKNOWN;
	if (since != NULL && (!same || *since <= applied->since))
		reset = applied->since != 0 && *since > applied->since ? APPLIED_RESET_CHANGED
															   : APPLIED_RESET_UNKNOWN;
	applied_count(applied, policies, 1);
	if (!same)
	{
		uint64 position = applied_position(feed);

		/* Nobody has other rows if the identity is new, not even at the present position. */
		if (applied->since == 0 && since == NULL)
			position--;
		applied_note(channel, applied, position);
	}
	else
		(void) applied_see(feed, applied);
	return reset;
}

void
applied_move(Sub *sub, const Stream *from)
{
	if (sub->applied == NULL)
		sub->applied = applied_find(sub);
	else
		applied_count(sub->applied, from->policies, -1);
	applied_count(sub->applied, sub->stream->policies, 1);
	applied_note(sub->stream->view->channel, sub->applied, applied_position(sub->link->feed));
}

void
applied_end(Sub *sub)
{
	Feed *feed = sub->link->feed;
	Applied *applied = sub->applied;
	bool known;

	if (applied == NULL)
		return;
	sub->applied = NULL;
	known = applied_is_known(applied);
	applied_count(applied, sub->stream->policies, -1);
	if (!known && applied_is_known(applied))
		applied_note(sub->stream->view->channel, applied, applied_position(feed));
	else
		(void) applied_see(feed, applied);
	applied_forget(feed, applied);
}

void
applied_renew(Sub *sub)
{
	Applied *applied;

	if (sub->applied == NULL || sub->identity->subject != NULL)
		return;
	applied = applied_find(sub);
	if (applied == sub->applied)
		return;
	applied_end(sub);
	sub->applied = applied;
	applied_count(applied, sub->stream->policies, 1);
	applied_note(sub->stream->view->channel, applied, applied_position(sub->link->feed));
}

/* ---------------- retention ---------------- */

/* Let the rows of subscriptions have a recent id. Returns false if more are left. */
static bool
applied_touch(Feed *feed)
{
	HASH_SEQ_STATUS status;
	Applied *applied;
	int n = 0;

	hash_seq_init(&status, feed->applied);
	while ((applied = hash_seq_search(&status)) != NULL)
	{
		if (applied_see(feed, applied) && ++n == APPLIED_WRITES)
		{
			hash_seq_term(&status);
			return false;
		}
	}
	return true;
}

/*
 * Remove rows that no position in the log needs: no client of the identity has one that is not removed. Returns
 * false if more are left.
 */
static bool
applied_clean(Feed *feed)
{
	Relation table = table_open(extension_relation(APPLIED_TABLE), RowExclusiveLock);
	TupleDesc desc = RelationGetDescr(table);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple tuple;
	int n = 0;

	while (n < APPLIED_WRITES && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		AppliedKey key = {.identity = applied_value(tuple, desc, APPLIED_IDENTITY)};
		bool isnull;

		if (applied_value(tuple, desc, APPLIED_SEEN) + 2 * applied_span() >= feed->map.oldest)
			continue;
		strlcpy(key.channel,
				NameStr(*DatumGetName(heap_getattr(tuple, APPLIED_CHANNEL, desc, &isnull))),
				sizeof(key.channel));
		if (hash_search(feed->applied, &key, HASH_FIND, NULL) != NULL)
			continue;
		CatalogTupleDelete(table, &tuple->t_self);
		n++;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, NoLock);
	return n < APPLIED_WRITES;
}

void
applied_retain(Feed *feed)
{
	uint64 position = applied_position(feed);
	bool touch = position > feed->applied_touched + applied_span() / 4;
	bool clean = feed->applied_oldest != feed->map.oldest;
	bool there;

	if (!touch && !clean)
		return;
	worker_begin_transaction();
	there = OidIsValid(extension_find_relation(APPLIED_TABLE));
	if (touch && (!there || applied_touch(feed)))
		feed->applied_touched = position;
	if (clean && (!there || applied_clean(feed)))
		feed->applied_oldest = feed->map.oldest;
	applied_commit(feed);
}
