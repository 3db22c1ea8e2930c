/*-------------------------------------------------------------------------
 *
 * feed_topic.c
 *	  What clients of WAMP have subscribed to.
 *
 * A topic here is a channel or a pattern with at least one subscription of a session of WAMP, on any
 * link. SUBSCRIBE says which session it is for. Subscriptions of other clients, and those that a
 * gateway makes for the channels of a pattern, are not counted.
 *
 * The id of a topic is the hash of its name, which clients get as the subscription's id from their
 * gateways. When a gateway requests a subscription again, for example after its client has lagged, the
 * session stays a subscriber, and nobody is told. After the feed has started again, topics are created
 * again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ext/access/json_slice.h"
#include "ext/feed/feed_publish.h"
#include "ext/feed/feed_topic.h"
#include "wire/uri.h"

#define TOPIC_MAX_TEXT 1024 /* bytes of a name in an argument */

typedef struct Topic
{
	uint64 id;
	UriMatch match;
	TimestampTz created;
	int nsubscribers; /* with those that topic_take() has taken */
	dlist_head subs;
	int length;
	char *name; /* UTF-8 */
} Topic;

static HTAB *topics; /* by id; NULL: there have been none */

/* ---------------- their events ---------------- */

/* Append UTF-8 as a JSON string. */
static void
topic_append_json(StringInfo text, const char *string, int length)
{
	char *copy = pnstrdup(string, length);

	escape_json(text, copy);
	pfree(copy);
}

static void
topic_append_details(StringInfo text, const Topic *topic)
{
	pg_time_t created = timestamptz_to_time_t(topic->created);
	char at[32];

	pg_strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", pg_gmtime(&created));
	appendStringInfo(text, "{\"id\":" UINT64_FORMAT ",\"created\":\"%s\",\"uri\":", topic->id, at);
	topic_append_json(text, topic->name, topic->length);
	appendStringInfo(text, ",\"match\":\"%s\"}", uri_match_name(topic->match));
}

/* Publish that something has happened to a topic because of a session. */
static void
topic_tell(Feed *feed, const char *event, const Topic *topic, uint64 session, bool details)
{
	StringInfoData text;

	/* Mostly nobody wants to know. */
	if (feed->npatterns == 0 && view_channel(feed, event, (int) strlen(event)) == NULL)
		return;
	initStringInfo(&text);
	appendStringInfo(&text, "[" UINT64_FORMAT ",", session);
	if (details)
		topic_append_details(&text, topic);
	else
		appendStringInfo(&text, UINT64_FORMAT, topic->id);
	appendStringInfoChar(&text, ']');
	(void) publish_own(event, (WireBytes){.data = text.data, .len = (uint32_t) text.len});
	pfree(text.data);
}

/* ---------------- subscribers ---------------- */

static Topic *
topic_find(uint64 id)
{
	return topics != NULL ? hash_search(topics, &id, HASH_FIND, NULL) : NULL;
}

/* Return the topic of a SUBSCRIBE, new or not. Returns NULL if another one has the same id. */
static Topic *
topic_enter(Feed *feed, const WireSubscribe *request)
{
	uint64 id = uri_id(request->match, request->channel.data, request->channel.len);
	HASHCTL control = {
		.keysize = sizeof(uint64), .entrysize = sizeof(Topic), .hcxt = feed->context};
	Topic *topic;
	bool found;

	if (topics == NULL)
		topics =
			hash_create("pg_notifyd topics", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	topic = hash_search(topics, &id, HASH_ENTER, &found);
	if (found)
		return topic->match == request->match && topic->length == (int) request->channel.len &&
					   memcmp(topic->name, request->channel.data, topic->length) == 0
				   ? topic
				   : NULL;
	topic->match = request->match;
	topic->created = feed->now;
	topic->nsubscribers = 0;
	dlist_init(&topic->subs);
	topic->length = (int) request->channel.len;
	topic->name = MemoryContextAlloc(feed->context, request->channel.len);
	memcpy(topic->name, request->channel.data, request->channel.len);
	return topic;
}

void
topic_begin(Sub *sub, const WireSubscribe *request, TopicSubscriber before)
{
	Feed *feed = sub->link->feed;
	Topic *topic = NULL;

	if (request->subscriber != 0)
		topic = topic_enter(feed, request);
	if (topic != NULL)
	{
		sub->topic = topic;
		sub->subscriber = request->subscriber;
		dlist_push_tail(&topic->subs, &sub->in_topic);
		topic->nsubscribers++;
	}
	if (topic != NULL && topic == before.topic && request->subscriber == before.session)
	{
		topic->nsubscribers--;
		return;
	}
	topic_drop(feed, before);
	if (topic == NULL)
		return;
	if (topic->nsubscribers == 1)
		topic_tell(feed, "wamp.subscription.on_create", topic, sub->subscriber, true);
	topic_tell(feed, "wamp.subscription.on_subscribe", topic, sub->subscriber, false);
}

TopicSubscriber
topic_take(Sub *sub)
{
	TopicSubscriber taken = {.topic = sub->topic, .session = sub->subscriber};

	if (sub->topic != NULL)
		dlist_delete(&sub->in_topic);
	sub->topic = NULL;
	return taken;
}

void
topic_drop(Feed *feed, TopicSubscriber subscriber)
{
	Topic *topic = subscriber.topic;

	if (topic == NULL)
		return;
	topic_tell(feed, "wamp.subscription.on_unsubscribe", topic, subscriber.session, false);
	if (--topic->nsubscribers > 0)
		return;
	topic_tell(feed, "wamp.subscription.on_delete", topic, subscriber.session, false);
	pfree(topic->name);
	hash_search(topics, &topic->id, HASH_REMOVE, NULL);
}

void
topic_end(Sub *sub)
{
	if (sub->topic != NULL)
		topic_drop(sub->link->feed, topic_take(sub));
}

/* ---------------- procedures ---------------- */

/* A call, as it is answered. */
typedef struct TopicCall
{
	JsonSlice first; /* the first two arguments; text is NULL: it has none */
	JsonSlice second;
	StringInfo result; /* a value; if error is set, its message */
	const char *error;
} TopicCall;

static void
topic_fail(TopicCall *call, const char *error, const char *message)
{
	call->error = error;
	resetStringInfo(call->result);
	topic_append_json(call->result, message, (int) strlen(message));
}

/* The topic whose id is the first argument. Returns NULL if there is none: the call has failed. */
static const Topic *
topic_argument(TopicCall *call)
{
	const Topic *topic;
	double id;

	if (call->first.text == NULL || !slice_number(call->first, &id) || id < 1 ||
		id > (double) URI_MAX_ID)
	{
		topic_fail(call, "wamp.error.invalid_argument", "the first argument must be an id");
		return NULL;
	}
	topic = topic_find((uint64) id);
	if (topic == NULL)
		topic_fail(call, "wamp.error.no_such_subscription", "no subscription has this id");
	return topic;
}

/* The name that is the first argument. Returns false if it is none: the call has failed. */
static bool
topic_name(TopicCall *call, char *name)
{
	if (call->first.text != NULL && slice_string(call->first, name, TOPIC_MAX_TEXT))
		return true;
	topic_fail(call, "wamp.error.invalid_argument", "the first argument must be a topic");
	return false;
}

/* Append the ids of topics. match: only those; name: only those that match it (NULL: all). */
static void
topic_append_ids(StringInfo text, bool any, UriMatch match, const char *name)
{
	HASH_SEQ_STATUS status;
	const Topic *topic;
	const char *separator = "";

	appendStringInfoChar(text, '[');
	if (topics != NULL)
	{
		hash_seq_init(&status, topics);
		while ((topic = hash_seq_search(&status)) != NULL)
		{
			if ((!any && topic->match != match) ||
				(name != NULL && !uri_matches(topic->match, topic->name, (size_t) topic->length,
											  name, strlen(name))))
				continue;
			appendStringInfo(text, "%s" UINT64_FORMAT, separator, topic->id);
			separator = ",";
		}
	}
	appendStringInfoChar(text, ']');
}

static void
topic_list(TopicCall *call)
{
	for (UriMatch match = URI_EXACT; match <= URI_WILDCARD; match++)
	{
		appendStringInfo(call->result, "%s\"%s\":", match == URI_EXACT ? "{" : ",",
						 uri_match_name(match));
		topic_append_ids(call->result, false, match, NULL);
	}
	appendStringInfoChar(call->result, '}');
}

static void
topic_lookup(TopicCall *call)
{
	char name[TOPIC_MAX_TEXT];
	char text[16];
	UriMatch match = URI_EXACT;
	JsonSlice value;
	const Topic *topic;

	if (!topic_name(call, name))
		return;
	if (call->second.text != NULL && slice_kind(call->second) == '{' &&
		slice_member(call->second, "match", &value) == SLICE_FOUND &&
		(!slice_string(value, text, sizeof(text)) || !uri_match_parse(text, strlen(text), &match)))
	{
		topic_fail(call, "wamp.error.invalid_argument",
				   "match must be \"exact\", \"prefix\" or \"wildcard\"");
		return;
	}
	topic = topic_find(uri_id(match, name, strlen(name)));
	if (topic != NULL && topic->match == match && topic->length == (int) strlen(name) &&
		memcmp(topic->name, name, topic->length) == 0)
		appendStringInfo(call->result, UINT64_FORMAT, topic->id);
	else
		appendStringInfoString(call->result, "null");
}

static void
topic_match(TopicCall *call)
{
	char name[TOPIC_MAX_TEXT];

	if (topic_name(call, name))
		topic_append_ids(call->result, true, URI_EXACT, name);
}

static void
topic_get(TopicCall *call)
{
	const Topic *topic = topic_argument(call);

	if (topic != NULL)
		topic_append_details(call->result, topic);
}

static void
topic_list_subscribers(TopicCall *call)
{
	const Topic *topic = topic_argument(call);
	const char *separator = "";
	dlist_iter iter;

	if (topic == NULL)
		return;
	appendStringInfoChar(call->result, '[');
	dlist_foreach (iter, (dlist_head *) &topic->subs)
	{
		appendStringInfo(call->result, "%s" UINT64_FORMAT, separator,
						 dlist_container(Sub, in_topic, iter.cur)->subscriber);
		separator = ",";
	}
	appendStringInfoChar(call->result, ']');
}

static void
topic_count_subscribers(TopicCall *call)
{
	const Topic *topic = topic_argument(call);

	if (topic != NULL)
		appendStringInfo(call->result, "%d", topic->nsubscribers);
}

static const struct
{
	const char *name;
	void (*answer)(TopicCall *call);
} topic_procedures[] = {
	{"wamp.subscription.list", topic_list},
	{"wamp.subscription.lookup", topic_lookup},
	{"wamp.subscription.match", topic_match},
	{"wamp.subscription.get", topic_get},
	{"wamp.subscription.list_subscribers", topic_list_subscribers},
	{"wamp.subscription.count_subscribers", topic_count_subscribers},
};

static bool
topic_read_arguments(TopicCall *call, WireBytes payload)
{
	JsonSlice args;
	JsonSlice kwargs;
	JsonSlice element = {.text = NULL};

	if (!slice_arguments(payload.data, payload.len, &args, &kwargs))
		return false;
	if (args.text != NULL && slice_next(args, &element))
	{
		call->first = element;
		if (slice_next(args, &element))
			call->second = element;
	}
	return true;
}

bool
topic_answer(WireBytes procedure, WireBytes payload, StringInfo result, const char **error)
{
	TopicCall call = {.error = NULL};
	StringInfoData value;
	int i;

	for (i = 0; i < (int) lengthof(topic_procedures); i++)
	{
		const char *name = topic_procedures[i].name;

		if (procedure.len == strlen(name) && memcmp(procedure.data, name, procedure.len) == 0)
			break;
	}
	if (i == (int) lengthof(topic_procedures))
		return false;
	initStringInfo(&value);
	call.result = &value;
	if (topic_read_arguments(&call, payload))
		topic_procedures[i].answer(&call);
	else
		topic_fail(&call, "wamp.error.invalid_argument", "the arguments are malformed");
	appendStringInfo(result, "[%s]", value.data);
	*error = call.error;
	pfree(value.data);
	return true;
}
