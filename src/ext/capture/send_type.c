/*-------------------------------------------------------------------------
 *
 * send_type.c
 *	  Checks messages to channels that have a type.
 *
 * A message is read as a value of the type, and written again as the value of a column of this type
 * is written. So a value has one text, whoever sends it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "ext/base/relation_change.h"
#include "ext/capture/capture.h"
#include "ext/channel/channel_type.h"
#include "ext/json/json.h"
#include "ext/json/json_strict.h"

/* The type of a channel's messages. */
typedef struct SendType
{
	MemoryContext context;
	JsonStrict *reader; /* NULL: the channel has no type */
	JsonType json;
} SendType;

/* That of the last channel. A change of any relation clears it, as composite types have one. */
static struct
{
	bool valid;
	bool busy; /* in use, which may run code of users */
	char channel[NAMEDATALEN];
	SendType type;
	uint64 changes; /* number of changes so far */
} send_last;

static void
send_type_changed(Datum arg pg_attribute_unused(), Oid relation pg_attribute_unused())
{
	send_last.valid = false;
	send_last.changes++;
}

/* Find out the type of a channel. Its memory is a child of parent. */
static SendType
send_make_type(const char *channel, MemoryContext parent)
{
	SendType type = {.context = NULL};
	Oid oid = channel_type_find(channel);
	List *relations = NIL;
	MemoryContext caller;

	if (!OidIsValid(oid))
		return type;
	type.context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd type", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(type.context);
	type.reader = json_strict_prepare(oid, -1);
	json_prepare(&type.json, oid, &relations);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(type.context, parent);
	return type;
}

/* Let send_last have the type of this channel. */
static void
send_remember_type(const char *channel)
{
	static bool registered = false;
	uint64 before;

	if (!registered)
		relation_change_register(send_type_changed);
	registered = true;
	if (send_last.valid && strcmp(send_last.channel, channel) == 0)
		return;
	send_last.valid = false;
	if (send_last.type.context != NULL)
		MemoryContextDelete(send_last.type.context);
	send_last.type.context = NULL;
	before = send_last.changes;
	send_last.type = send_make_type(channel, TopMemoryContext);
	strlcpy(send_last.channel, channel, sizeof(send_last.channel));

	/* A change in between may concern what has been read. */
	send_last.valid = before == send_last.changes;
}

static text *
send_read_message(SendType *type, const char *channel, const text *json)
{
	char *subject = psprintf("message for channel \"%s\"", channel);
	StringInfoData buf;
	bool isnull;
	int pinned;
	Datum value = json_strict_read(type->reader, text_to_cstring(json), subject, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_SQL_JSON_OBJECT_NOT_FOUND), errmsg("the %s is null", subject),
				 errhint("Send a JSON object with the fields of type %s.",
						 format_type_be(type->json.type))));
	initStringInfo(&buf);
	pinned = json_pin(type->json.pins);
	json_append(&buf, &type->json, value, false);
	json_unpin(pinned);
	return cstring_to_text_with_len(buf.data, buf.len);
}

text *
send_typed(const char *channel, text *json)
{
	text *volatile typed = json;

	if (send_last.busy)
	{
		/* The constraint of a domain sends a message itself. */
		SendType own = send_make_type(channel, CurrentMemoryContext);

		return own.reader != NULL ? send_read_message(&own, channel, json) : json;
	}
	send_remember_type(channel);
	if (send_last.type.reader == NULL)
		return json;
	send_last.busy = true;
	PG_TRY();
	{
		typed = send_read_message(&send_last.type, channel, json);
	}
	PG_FINALLY();
	{
		send_last.busy = false;
	}
	PG_END_TRY();
	return typed;
}
