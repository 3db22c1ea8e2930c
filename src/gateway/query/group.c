/*-------------------------------------------------------------------------
 *
 * group.c
 *	  Clients that take events from consumer groups. See group.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/query/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

typedef struct Group
{
	LIST_ENTRY(Group) in_groups;
	Groups *groups;
	LIST_HEAD(, GroupTaker) takers;
	TAILQ_HEAD(, GroupTaker) turns; /* takers that want something */
	PoolClient client;              /* the group's takes */
	bool taking;                    /* a take is on its way, or being answered */
	GroupTaker *taker;              /* whose it is; NULL: it has left */
	bool ready;                     /* there may be events */
	bool stalled;                   /* the last take has failed; groups_tick() goes on */
	uint64_t told;                  /* how often the feed has told of events */
	uint32_t name_len;
	char name[];
} Group;

static WireBytes
group_name(const Group *group)
{
	return (WireBytes){.data = group->name, .len = group->name_len};
}

static bool
group_has_name(const Group *group, WireBytes name)
{
	return group->name_len == name.len && memcmp(group->name, name.data, name.len) == 0;
}

static Group *
group_find(const Groups *groups, WireBytes name)
{
	Group *group;

	LIST_FOREACH(group, &groups->groups, in_groups)
	{
		if (group_has_name(group, name))
			return group;
	}
	return NULL;
}

static Group *
group_new(Groups *groups, WireBytes name)
{
	Group *group = memory_zeroed(sizeof(Group) + name.len);

	memcpy(group->name, name.data, name.len);
	group->name_len = name.len;
	group->groups = groups;
	/* Takers are not dry at first. */
	group->told = 1;
	LIST_INIT(&group->takers);
	TAILQ_INIT(&group->turns);
	pool_client_init(&group->client);
	LIST_INSERT_HEAD(&groups->groups, group, in_groups);
	return group;
}

/* ---------------- giving back ---------------- */

/* Deliveries of a group that are given back by one query. */
typedef struct Release
{
	TAILQ_ENTRY(Release) in_groups;
	bool failed;    /* they count as attempts that have failed */
	unsigned tries; /* how often it is not known what the worker has done */
	uint32_t name_len;
	uint32_t len; /* of ids */
	char *ids;    /* in decimal, with commas */
	char name[];
} Release;

/* A query has about this many bytes at most, and is tried again so often. */
#define RELEASE_BYTES (64 * 1024)
#define RELEASE_TRIES 10

static void
release_free(Groups *groups, Release *release)
{
	TAILQ_REMOVE(&groups->releases, release, in_groups);
	free(release->ids);
	free(release);
}

/* One that waits and has room for more; NULL: there is none. */
static Release *
release_find(const Groups *groups, WireBytes name, bool failed)
{
	Release *release;

	TAILQ_FOREACH(release, &groups->releases, in_groups)
	{
		if (release != groups->releasing && release->failed == failed &&
			release->len < RELEASE_BYTES && release->name_len == name.len &&
			memcmp(release->name, name.data, name.len) == 0)
			return release;
	}
	return NULL;
}

static Release *
release_new(Groups *groups, WireBytes name, bool failed)
{
	Release *release = memory_zeroed(sizeof(Release) + name.len);

	memcpy(release->name, name.data, name.len);
	release->name_len = name.len;
	release->failed = failed;
	TAILQ_INSERT_TAIL(&groups->releases, release, in_groups);
	return release;
}

/* Return true if the deliveries may still be leased. */
static bool
release_is_undone(Release *release, const WireMessage *answer)
{
	if (answer->type == WIRE_RESULT)
		return answer->u.result.status == WIRE_RELEASE_AGAIN && ++release->tries < RELEASE_TRIES;
	if (answer->type != WIRE_FAILED)
		return false;
	/* No worker has seen it. */
	if (answer->u.failed.reason == WIRE_QUERY_BUSY)
		return true;
	return (answer->u.failed.reason == WIRE_QUERY_INTERNAL ||
			answer->u.failed.reason == WIRE_QUERY_TIMEOUT) &&
		   ++release->tries < RELEASE_TRIES;
}

static void release_run(Groups *groups);

static void
release_answered(void *owner, const WireMessage *answer)
{
	Groups *groups = owner;
	Release *release = groups->releasing;

	groups->releasing = NULL;
	if (!release_is_undone(release, answer))
		release_free(groups, release);
	else
	{
		TAILQ_REMOVE(&groups->releases, release, in_groups);
		TAILQ_INSERT_TAIL(&groups->releases, release, in_groups);
		groups->release_stalled = true;
	}
	release_run(groups);
}

static const PoolEvents release_events = {.answer = release_answered};

/* Send the next query, unless one is on its way. */
static void
release_run(Groups *groups)
{
	WireQuery query = {.kind = WIRE_QUERY_RELEASE};
	Release *release = TAILQ_FIRST(&groups->releases);
	char *body;

	if (release == NULL || groups->releasing != NULL || groups->release_stalled)
		return;
	groups->releasing = release;
	body = memory_new(release->len + sizeof("{\"ids\":[],\"failed\":false}"));
	query.name = (WireBytes){.data = release->name, .len = release->name_len};
	query.body.data = body;
	query.body.len = (uint32_t) sprintf(body, "{\"ids\":[%.*s],\"failed\":%s}", (int) release->len,
										release->ids, release->failed ? "true" : "false");
	(void) pool_submit(groups->pool, &groups->releaser, &query, &release_events, groups);
	free(body);
}

void
groups_release(Groups *groups, WireBytes name, WireBytes ids, bool failed)
{
	Release *release = release_find(groups, name, failed);

	if (release == NULL)
		release = release_new(groups, name, failed);
	release->ids = memory_resize(release->ids, release->len + ids.len + 1);
	if (release->len > 0)
		release->ids[release->len++] = ',';
	memcpy(release->ids + release->len, ids.data, ids.len);
	release->len += ids.len;
	release_run(groups);
}

bool
groups_busy(const Groups *groups)
{
	return !LIST_EMPTY(&groups->groups) || !TAILQ_EMPTY(&groups->releases);
}

bool
group_next_delivery(WireBytes *deliveries, WireBytes *id, WireBytes *delivery)
{
	return wire_list_next(deliveries, id) && wire_list_next(deliveries, delivery);
}

/* Give all deliveries of a take back. */
static void
group_release_all(Group *group, WireBytes deliveries)
{
	char *ids = memory_new(deliveries.len + 1);
	uint32_t len = 0;
	WireBytes id;
	WireBytes delivery;

	while (group_next_delivery(&deliveries, &id, &delivery))
	{
		if (len > 0)
			ids[len++] = ',';
		memcpy(ids + len, id.data, id.len);
		len += id.len;
	}
	if (len > 0)
		groups_release(group->groups, group_name(group), (WireBytes){.data = ids, .len = len},
					   false);
	free(ids);
}

/* ---------------- takes ---------------- */

static void group_run(Group *group);

static bool
group_is_dry(const GroupTaker *taker)
{
	return taker->dry == taker->group->told;
}

static bool
group_same_token(const GroupTaker *taker, WireBytes token)
{
	WireBytes its = taker->events->token(taker->owner);

	return its.len == token.len && (token.len == 0 || memcmp(its.data, token.data, token.len) == 0);
}

/* A taker has got all that it may see: so have those with the same token. */
static void
group_note_dry(GroupTaker *taker)
{
	WireBytes token = taker->events->token(taker->owner);
	GroupTaker *other;

	LIST_FOREACH(other, &taker->group->takers, in_group)
	{
		if (!group_is_dry(other) && group_same_token(other, token))
			other->dry = taker->group->told;
	}
}

/* What a take has got. */
static void
group_took(Group *group, const WireResultMsg *result)
{
	GroupTaker *taker = group->taker;

	group->ready = result->status == WIRE_TAKE_MORE || result->body.len == 0;
	if (taker == NULL)
	{
		group->ready = true;
		group_release_all(group, result->body);
		return;
	}
	if (result->status != WIRE_TAKE_MORE)
		group_note_dry(taker);
	taker->fresh = false;
	taker->events->taken(taker->owner, result->body);
}

static void
group_answered(void *owner, const WireMessage *answer)
{
	Group *group = owner;
	WireMessage odd = {.type = WIRE_FAILED, .u.failed.reason = WIRE_QUERY_INTERNAL};

	if (answer->type == WIRE_RESULT)
		group_took(group, &answer->u.result);
	else
	{
		group->stalled = true;
		if (answer->type != WIRE_FAILED)
			answer = &odd;
		if (group->taker != NULL)
			group->taker->events->failed(group->taker->owner, &answer->u.failed);
	}
	group->taking = false;
	group->taker = NULL;
	group_run(group);
}

static void
group_ignore_rows(void *owner, const WireRows *rows)
{
	(void) owner;
	(void) rows;
}

static const PoolEvents group_take_events = {.rows = group_ignore_rows, .answer = group_answered};

/* The taker whose turn it is; NULL: none has to take. */
static GroupTaker *
group_next_taker(const Group *group)
{
	GroupTaker *taker;

	TAILQ_FOREACH(taker, &group->turns, in_turns)
	{
		if (taker->fresh || (group->ready && !group_is_dry(taker)))
			return taker;
	}
	return NULL;
}

/* Begin a take, if there is none, or end the group if it has no takers. */
static void
group_run(Group *group)
{
	WireQuery query = {.kind = WIRE_QUERY_TAKE, .window = GROUP_TAKE_BYTES};
	GroupTaker *taker;

	if (group->taking)
		return;
	if (LIST_EMPTY(&group->takers))
	{
		LIST_REMOVE(group, in_groups);
		free(group);
		return;
	}
	taker = group->stalled ? NULL : group_next_taker(group);
	if (taker == NULL)
		return;
	TAILQ_REMOVE(&group->turns, taker, in_turns);
	TAILQ_INSERT_TAIL(&group->turns, taker, in_turns);
	group->taking = true;
	group->taker = taker;
	query.name = group_name(group);
	query.token = taker->events->token(taker->owner);
	query.limit = taker->wanted;
	(void) pool_submit(group->groups->pool, &group->client, &query, &group_take_events, group);
}

/* ---------------- takers ---------------- */

void
group_join(Groups *groups, WireBytes name, GroupTaker *taker)
{
	Group *group = group_find(groups, name);

	if (group == NULL)
		group = group_new(groups, name);
	taker->group = group;
	taker->wanted = 0;
	taker->fresh = true;
	taker->dry = 0;
	LIST_INSERT_HEAD(&group->takers, taker, in_group);
}

static void
group_set_wanted(GroupTaker *taker, uint32_t wanted)
{
	if (taker->wanted == 0 && wanted > 0)
		TAILQ_INSERT_TAIL(&taker->group->turns, taker, in_turns);
	else if (taker->wanted > 0 && wanted == 0)
		TAILQ_REMOVE(&taker->group->turns, taker, in_turns);
	taker->wanted = wanted;
}

void
group_want(GroupTaker *taker, uint32_t wanted)
{
	group_set_wanted(taker, wanted);
	group_run(taker->group);
}

bool
group_is_taking(const GroupTaker *taker)
{
	return taker->group != NULL && taker->group->taker == taker;
}

void
group_leave(GroupTaker *taker)
{
	Group *group = taker->group;

	if (group == NULL)
		return;
	group_set_wanted(taker, 0);
	LIST_REMOVE(taker, in_group);
	taker->group = NULL;
	if (group->taker == taker)
		group->taker = NULL;
	group_run(group);
}

/* ---------------- all groups ---------------- */

void
groups_init(Groups *groups, Pool *pool)
{
	groups->pool = pool;
	LIST_INIT(&groups->groups);
	TAILQ_INIT(&groups->releases);
	pool_client_init(&groups->releaser);
}

void
groups_end(Groups *groups)
{
	static const char reason[] = "the database is not served any more";
	WireFailed failed = {.reason = WIRE_QUERY_BUSY,
						 .message = {.data = reason, .len = sizeof(reason) - 1}};
	Release *release;
	Group *group;
	Group *next;

	for (group = LIST_FIRST(&groups->groups); group != NULL; group = next)
	{
		GroupTaker *taker;
		bool last = false;

		next = LIST_NEXT(group, in_groups);
		while (!last && (taker = LIST_FIRST(&group->takers)) != NULL)
		{
			/* The group ends with its last taker. */
			last = LIST_NEXT(taker, in_group) == NULL;
			group_leave(taker);
			taker->events->failed(taker->owner, &failed);
		}
	}
	pool_cancel_all(&groups->releaser);
	pool_client_init(&groups->releaser);
	groups->releasing = NULL;
	while ((release = TAILQ_FIRST(&groups->releases)) != NULL)
		release_free(groups, release);
}

void
groups_ready(Groups *groups, WireBytes name)
{
	Group *group;
	Group *next;

	for (group = LIST_FIRST(&groups->groups); group != NULL; group = next)
	{
		next = LIST_NEXT(group, in_groups);
		if (name.len > 0 && !group_has_name(group, name))
			continue;
		group->told++;
		group->ready = true;
		group_run(group);
	}
}

void
groups_tick(Groups *groups, uint64_t now)
{
	Group *group;
	Group *next;

	if (now - groups->looked_at >= GROUP_LOOK_MS)
	{
		groups->looked_at = now;
		groups_ready(groups, (WireBytes){.data = "", .len = 0});
	}
	groups->release_stalled = false;
	release_run(groups);
	for (group = LIST_FIRST(&groups->groups); group != NULL; group = next)
	{
		next = LIST_NEXT(group, in_groups);
		if (!group->stalled)
			continue;
		group->stalled = false;
		group->ready = true;
		group_run(group);
	}
}
