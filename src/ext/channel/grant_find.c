/*-------------------------------------------------------------------------
 *
 * grant_find.c
 *	  Finds the grants that a role has on a name. See grant.h.
 *
 * Grants on exact names may be many, and are looked up in the table's index. Patterns are few, and
 * each of them may match any name, so each process keeps them all, sorted. A change of the table
 * invalidates its relation cache entry. PostgreSQL tells that to other processes when the
 * transaction has committed, to its own process with the next command, and once more if it is rolled
 * back (AtEOXact_Inval() and AtEOSubXact_Inval() in utils/cache/inval.c). Opening the table accepts
 * what other processes have told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "ext/base/extension.h"
#include "ext/base/relation_change.h"
#include "ext/channel/grant_internal.h"
#include "ext/channel/grant_pattern.h"

/* A grant on a pattern. A role has one for each privilege. */
typedef struct KnownPattern
{
	GrantPattern pattern;
	Oid role;
	const char *privilege;
} KnownPattern;

/* The grants on patterns, the most specific patterns first. */
static struct
{
	MemoryContext context;
	Oid table; /* to which they belong; InvalidOid: not known */
	int n;
	KnownPattern *patterns;
	uint64 changes; /* of any relation, so far */
} grant_known;

Grant
grant_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	Grant grant = {.privilege = GRANT_SUBSCRIBE};
	bool isnull;

	grant.channel = TextDatumGetCString(heap_getattr(tuple, GRANT_CHANNEL, desc, &isnull));
	grant.role = DatumGetObjectId(heap_getattr(tuple, GRANT_ROLE, desc, &isnull));
	if (desc->natts >= GRANT_PRIVILEGE)
		grant.privilege = TextDatumGetCString(heap_getattr(tuple, GRANT_PRIVILEGE, desc, &isnull));
	if (desc->natts >= GRANT_PATTERN)
		grant.pattern = DatumGetBool(heap_getattr(tuple, GRANT_PATTERN, desc, &isnull));
	return grant;
}

bool
grant_role_exists(Oid role)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

/* Return true if the role has what was granted to the other one. */
static bool
grant_reaches(Oid role, Oid granted)
{
	return grant_role_exists(granted) && has_privs_of_role(role, granted);
}

/* Return true if a privilege is one on channels. */
static bool
grant_on_channels(const char *privilege)
{
	return strcmp(privilege, GRANT_SUBSCRIBE) == 0 || strcmp(privilege, GRANT_PUBLISH) == 0;
}

/* ---------------- patterns ---------------- */

static void
grant_table_changed(Datum arg pg_attribute_unused(), Oid relation)
{
	if (!OidIsValid(relation) || relation == grant_known.table)
		grant_known.table = InvalidOid;
	grant_known.changes++;
}

static int
grant_compare_known(const void *a, const void *b)
{
	return grant_pattern_compare(&((const KnownPattern *) a)->pattern,
								 &((const KnownPattern *) b)->pattern);
}

/* Copy a grant to the end of the known ones, which have room for size. Returns the new size. */
static int
grant_learn(const Grant *grant, int size)
{
	KnownPattern known = {.role = grant->role, .privilege = grant->privilege};

	/* A row that the functions have not written may be anything. */
	if (!grant->pattern || grant_pattern_read(grant->channel, &known.pattern) != NULL)
		return size;
	if (grant_known.n == size)
	{
		size *= 2;
		grant_known.patterns = repalloc(grant_known.patterns, size * sizeof(KnownPattern));
	}
	grant_known.patterns[grant_known.n++] = known;
	return size;
}

static void
grant_read_patterns(Relation table, Oid index)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext caller = MemoryContextSwitchTo(grant_known.context);
	int size = 16;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	grant_known.patterns = palloc(size * sizeof(KnownPattern));
	ScanKeyInit(&key, GRANT_PATTERN, BTEqualStrategyNumber, F_BOOLEQ, BoolGetDatum(true));
	scan = systable_beginscan(table, index, true, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Grant grant = grant_from_tuple(tuple, RelationGetDescr(table));

		size = grant_learn(&grant, size);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(caller);
	qsort(grant_known.patterns, grant_known.n, sizeof(KnownPattern), grant_compare_known);
}

/* Make sure that the patterns are known. The table has just been opened. */
static void
grant_know_patterns(Relation table)
{
	Oid index;
	uint64 before;

	if (grant_known.context == NULL)
	{
		grant_known.context =
			AllocSetContextCreate(CacheMemoryContext, "pg_notifyd grants", ALLOCSET_SMALL_SIZES);
		relation_change_register(grant_table_changed);
	}
	if (grant_known.table == RelationGetRelid(table))
		return;

	grant_known.table = InvalidOid;
	grant_known.n = 0;
	MemoryContextReset(grant_known.context);
	before = grant_known.changes;

	/* An earlier version has neither index nor patterns. */
	index = extension_find_relation("channel_grant_pattern_idx");
	if (OidIsValid(index))
		grant_read_patterns(table, index);

	/* A change meanwhile may concern what was read: read it again next time. */
	if (before == grant_known.changes)
		grant_known.table = RelationGetRelid(table);
}

/* ---------------- one name ---------------- */

/* A question. */
typedef struct GrantSearch
{
	Oid role;
	const char *name;
	int length;
	const char *privilege;
	List *decided; /* OIDs of roles with a grant on a more specific pattern */
} GrantSearch;

/* Scan the rows with this name. The table is open. */
static SysScanDesc
grant_scan_name(Relation table, Snapshot snapshot, const char *name, int length)
{
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, GRANT_CHANNEL, BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(cstring_to_text_with_len(name, length)));
	return systable_beginscan(table, extension_relation("channel_grant_pkey"), true, snapshot, 1,
							  &key);
}

/* Return true if a grant on the name gives the privilege; note the roles that have other grants. */
static bool
grant_search_name(GrantSearch *search, Relation table)
{
	bool consume = strcmp(search->privilege, GRANT_CONSUME) == 0;
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = grant_scan_name(table, snapshot, search->name, search->length);
	bool found = false;
	HeapTuple tuple;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Grant grant = grant_from_tuple(tuple, RelationGetDescr(table));

		if (grant.pattern || (strcmp(grant.privilege, GRANT_CONSUME) == 0) != consume ||
			!grant_reaches(search->role, grant.role))
			continue;
		found = strcmp(grant.privilege, search->privilege) == 0;
		search->decided = list_append_unique_oid(search->decided, grant.role);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Return true if a pattern gives the privilege, to a role that has no more specific grant. */
static bool
grant_search_patterns(GrantSearch *search)
{
	for (int i = 0; i < grant_known.n; i++)
	{
		const KnownPattern *first = &grant_known.patterns[i];
		bool matches = grant_pattern_matches(&first->pattern, search->name, search->length);
		List *decided = NIL;
		int end = i;

		/* The grants on the same pattern follow each other. */
		for (;
			 end < grant_known.n && (end == i || grant_compare_known(first, first + end - i) == 0);
			 end++)
		{
			const KnownPattern *known = &grant_known.patterns[end];

			if (!matches || list_member_oid(search->decided, known->role) ||
				!grant_reaches(search->role, known->role))
				continue;
			if (strcmp(known->privilege, search->privilege) == 0)
				return true;
			decided = lappend_oid(decided, known->role);
		}
		search->decided = list_concat_unique_oid(search->decided, decided);
		i = end - 1;
	}
	return false;
}

bool
grant_exists(Oid role, const char *name, int length, const char *privilege)
{
	GrantSearch search = {.role = role, .name = name, .length = length, .privilege = privilege};
	Relation table = table_open(extension_relation("channel_grant"), AccessShareLock);
	bool found = grant_search_name(&search, table);

	if (!found && strcmp(privilege, GRANT_CONSUME) != 0)
	{
		grant_know_patterns(table);
		found = grant_search_patterns(&search);
	}
	table_close(table, AccessShareLock);
	list_free(search.decided);
	return found;
}

/* ---------------- names and patterns of any role ---------------- */

static bool
grant_table_names(Relation table, const char *channel, int length)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = grant_scan_name(table, snapshot, channel, length);
	bool found = false;
	HeapTuple tuple;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Grant grant = grant_from_tuple(tuple, RelationGetDescr(table));

		found =
			!grant.pattern && grant_on_channels(grant.privilege) && grant_role_exists(grant.role);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

bool
grant_names(const char *channel, int length)
{
	Relation table = table_open(extension_relation("channel_grant"), AccessShareLock);
	bool found = grant_table_names(table, channel, length);

	table_close(table, AccessShareLock);
	return found;
}

bool
grant_reserves(const char *channel, int length)
{
	Relation table = table_open(extension_relation("channel_grant"), AccessShareLock);
	bool found = grant_table_names(table, channel, length);

	grant_know_patterns(table);
	for (int i = 0; i < grant_known.n && !found; i++)
	{
		const KnownPattern *known = &grant_known.patterns[i];

		found = known->pattern.len > 0 && grant_on_channels(known->privilege) &&
				grant_pattern_matches(&known->pattern, channel, length) &&
				grant_role_exists(known->role);
	}
	table_close(table, AccessShareLock);
	return found;
}

/* ---------------- all that a role has ---------------- */

List *
grant_channels(Oid role, const char *privilege)
{
	Relation table = table_open(extension_relation("channel_grant"), AccessShareLock);
	Relation index = index_open(extension_relation("channel_grant_pkey"), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan_ordered(table, index, snapshot, 0, NULL);
	List *channels = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Grant grant = grant_from_tuple(tuple, RelationGetDescr(table));

		if (!grant.pattern && strcmp(grant.privilege, privilege) == 0 &&
			grant_reaches(role, grant.role) &&
			(channels == NIL || strcmp(llast(channels), grant.channel) != 0))
			channels = lappend(channels, pstrdup(grant.channel));
	}
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
	return channels;
}

List *
grant_patterns(Oid role, const char *privilege)
{
	Relation table = table_open(extension_relation("channel_grant"), AccessShareLock);
	const GrantPattern *last = NULL;
	List *patterns = NIL;

	grant_know_patterns(table);
	for (int i = 0; i < grant_known.n; i++)
	{
		const KnownPattern *known = &grant_known.patterns[i];
		GrantPattern *copy;

		if (strcmp(known->privilege, privilege) != 0 || !grant_reaches(role, known->role) ||
			(last != NULL && grant_pattern_compare(last, &known->pattern) == 0))
			continue;
		last = &known->pattern;
		copy = palloc(sizeof(GrantPattern));
		*copy = known->pattern;
		copy->text = pnstrdup(known->pattern.text, known->pattern.len);
		patterns = lappend(patterns, copy);
	}
	table_close(table, AccessShareLock);
	return patterns;
}
