/*-------------------------------------------------------------------------
 *
 * feed_columns.c
 *	  Lists of columns that clients ask for. Equal lists are one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "ext/base/utf8.h"
#include "ext/feed/feed.h"

/* The lists whose texts have the same hash. */
typedef struct ColumnsBucket
{
	uint32 hash;
	FeedColumns *first;
} ColumnsBucket;

static HTAB *columns_buckets;
static MemoryContext columns_parent;

void
columns_init(Feed *feed)
{
	HASHCTL buckets = {
		.keysize = sizeof(uint32), .entrysize = sizeof(ColumnsBucket), .hcxt = feed->context};

	columns_parent = feed->context;
	columns_buckets =
		hash_create("pg_notifyd columns", 16, &buckets, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Return the names of a list from the wire in order, without duplicates. */
static int
columns_sort(WireBytes list, WireBytes **names)
{
	WireBytes rest = list;
	WireBytes name;
	int n = 0;
	int kept = 0;

	*names = palloc((list.len / sizeof(uint32) + 1) * sizeof(WireBytes));
	while (wire_list_next(&rest, &name))
		(*names)[n++] = name;
	qsort(*names, n, sizeof(WireBytes), body_compare);
	for (int i = 0; i < n; i++)
	{
		if (kept == 0 || body_compare(&(*names)[kept - 1], &(*names)[i]) != 0)
			(*names)[kept++] = (*names)[i];
	}
	return kept;
}

static void
columns_fill(FeedColumns *columns, const WireBytes *names, int n)
{
	WireBytes *json = palloc((n + 1) * sizeof(WireBytes));
	StringInfoData text;

	columns->access.n = n;
	columns->access.names = palloc((n + 1) * sizeof(char *));
	columns->body = (BodyColumns){.n = n, .names = json};
	for (int i = 0; i < n; i++)
	{
		initStringInfo(&text);
		utf8_append_server(&text, names[i].data, (int) names[i].len);
		columns->access.names[i] = text.data;
		initStringInfo(&text);
		utf8_append_json_string(&text, columns->access.names[i],
								(int) strlen(columns->access.names[i]));
		json[i] = (WireBytes){.data = text.data, .len = (uint32) text.len};
	}
	qsort(json, n, sizeof(WireBytes), body_compare);
}

FeedColumns *
columns_get(WireBytes list)
{
	WireBytes *names;
	int n = columns_sort(list, &names);
	char *text = palloc(list.len + 1);
	size_t length = 0;
	ColumnsBucket *bucket;
	FeedColumns *columns;
	MemoryContext context;
	MemoryContext outer;
	uint32 hash;
	bool found;

	for (int i = 0; i < n; i++)
	{
		if (!wire_list_append(text, list.len, &length, names[i]))
			elog(ERROR, "list of columns has grown");
	}
	hash = hash_bytes((const unsigned char *) text, (int) length);
	bucket = hash_search(columns_buckets, &hash, HASH_ENTER, &found);
	if (!found)
		bucket->first = NULL;
	for (columns = bucket->first; columns != NULL; columns = columns->next)
	{
		if (columns->length == length && memcmp(columns->text, text, length) == 0)
		{
			columns->users++;
			return columns;
		}
	}
	context = AllocSetContextCreate(columns_parent, "pg_notifyd columns", ALLOCSET_SMALL_SIZES);
	outer = MemoryContextSwitchTo(context);
	columns = palloc0(sizeof(FeedColumns));
	columns->context = context;
	columns->hash = hash;
	columns->users = 1;
	columns->text = memcpy(palloc(length + 1), text, length);
	columns->length = length;
	columns_fill(columns, names, n);
	MemoryContextSwitchTo(outer);
	columns->next = bucket->first;
	bucket->first = columns;
	return columns;
}

void
columns_release(FeedColumns *columns)
{
	ColumnsBucket *bucket;
	FeedColumns **at;

	if (columns == NULL || --columns->users > 0)
		return;
	bucket = hash_search(columns_buckets, &columns->hash, HASH_FIND, NULL);
	for (at = &bucket->first; *at != columns; at = &(*at)->next)
		continue;
	*at = columns->next;
	if (bucket->first == NULL)
		hash_search(columns_buckets, &columns->hash, HASH_REMOVE, NULL);
	MemoryContextDelete(columns->context);
}
