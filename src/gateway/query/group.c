/*-------------------------------------------------------------------------
 *
 * group.c
 *	  Clients that take events from consumer groups. See group.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/query/group.h"

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

static void
group_ignore_answer(void *owner, const WireMessage *answer)
{
	(void) owner;
	(void) answer;
}

/* If it fails, the leases end in time. */
static const PoolEvents group_release_events = {.answer = group_ignore_answer};

void
groups_release(Groups *groups, WireBytes name, WireBytes ids)
{
	static const char before[] = "{\"ids\":[";
	static const char after[] = "]}";
	WireQuery query = {.kind = WIRE_QUERY_RELEASE, .name = name};
	char *body = memory_new(sizeof(before) + ids.len + sizeof(after));
	size_t len = sizeof(before) - 1;

	memcpy(body, before, len);
	memcpy(body + len, ids.data, ids.len);
	len += ids.len;
	memcpy(body + len, after, sizeof(after) - 1);
	query.body = (WireBytes){.data = body, .len = (uint32_t) (len + sizeof(after) - 1)};
	(void) pool_submit(groups->pool, &groups->releases, &query, &group_release_events, NULL);
	free(body);
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
		groups_release(group->groups, group_name(group), (WireBytes){.data = ids, .len = len});
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
	pool_client_init(&groups->releases);
}

void
groups_end(Groups *groups)
{
	static const char reason[] = "the database is not served any more";
	WireFailed failed = {.reason = WIRE_QUERY_BUSY,
						 .message = {.data = reason, .len = sizeof(reason) - 1}};
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
