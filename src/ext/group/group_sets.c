/*-------------------------------------------------------------------------
 *
 * group_sets.c
 *	  Filters and row security of consumer groups.
 *
 * A group's events are those that its owner would get as a subscriber with the group's filter, and a
 * taker gets those of them that it would get as one. Both are judged by src/ext/sets/, which binds a
 * table's policies and the filter to a role. Bindings are made for one call, because what they
 * depend on, such as settings of the session, may change from one to the next.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "ext/access/access.h"
#include "ext/base/operation.h"
#include "ext/base/utf8.h"
#include "ext/filter/filter.h"
#include "ext/group/group_internal.h"
#include "ext/guard/guard.h"
#include "ext/sets/event_rows.h"
#include "ext/watch/watch.h"

/* What applies to the events of a relation on a channel. */
typedef struct GroupSet
{
	Oid relation; /* InvalidOid: messages */
	NameData channel;
	bool nothing;  /* messages, which do not have the filter's columns */
	bool unusable; /* error says why */
	SetError error;
	SetBinding *binding; /* NULL: every row */
} GroupSet;

struct GroupSets
{
	const GroupDefinition *definition;
	SetIdentity identity;
	FilterNode *filter; /* NULL: none */
	List *sets;
	EventRows *rows;
	MemoryContext context;
};

/* ---------------- filters ---------------- */

static FilterNode *
sets_parse(const GroupDefinition *definition)
{
	char *utf8 = pg_server_to_any(definition->filter, (int) strlen(definition->filter), PG_UTF8);
	const char *problem;
	FilterNode *filter = filter_parse(utf8, strlen(utf8), palloc, &problem);
	StringInfoData message;

	if (filter != NULL)
		return filter;
	initStringInfo(&message);
	utf8_append_server(&message, problem, (int) strlen(problem));
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid filter \"%s\"", definition->filter),
					errdetail_internal("%s", message.data)));
}

static FilterResult
sets_type_filter(const GroupSets *sets, Oid relation, const char *channel,
				 FilterExpression **expression, char **problem)
{
	GuardActor actor = {
		.role = sets->definition->owner, .claims = sets->identity.claims, .opaque = true};

	return filter_expression(sets->filter, relation, watch_captured_columns(relation, channel),
							 &actor, expression, problem);
}

/* ---------------- bindings ---------------- */

static void
sets_release(void *arg)
{
	GroupSets *sets = arg;
	ListCell *cell;

	foreach (cell, sets->sets)
	{
		GroupSet *set = lfirst(cell);

		if (set->binding != NULL)
			set_release(set->binding);
	}
}

GroupSets *
group_sets_create(const GroupDefinition *definition, Oid role, const char *claims)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd sets", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	GroupSets *sets = palloc0(sizeof(GroupSets));
	MemoryContextCallback *release = palloc0(sizeof(MemoryContextCallback));

	sets->definition = definition;
	sets->identity.role = role;
	sets->identity.claims = claims != NULL && *claims != '\0' ? pstrdup(claims) : NULL;
	sets->context = context;
	sets->rows = event_rows_create(context);
	if (definition->filter != NULL)
		sets->filter = sets_parse(definition);
	release->func = sets_release;
	release->arg = sets;
	MemoryContextRegisterResetCallback(context, release);
	MemoryContextSwitchTo(old);
	return sets;
}

void
group_sets_free(GroupSets *sets)
{
	MemoryContextDelete(sets->context);
}

/* Bind what applies to the events of a relation on a channel. */
static GroupSet *
sets_bind(GroupSets *sets, Oid relation, const char *channel)
{
	GroupSet *set = palloc0(sizeof(GroupSet));
	FilterExpression *expression = NULL;
	FilterResult typed = FILTER_TYPED;
	char *problem;

	set->relation = relation;
	namestrcpy(&set->channel, channel);
	if (sets->filter != NULL)
		typed = sets_type_filter(sets, relation, channel, &expression, &problem);
	if (typed == FILTER_REFUSED)
	{
		set->unusable = true;
		strlcpy(set->error.message, problem, sizeof(set->error.message));
	}
	else if (typed == FILTER_NO_COLUMN && !OidIsValid(relation))
		set->nothing = true; /* as for subscribers, messages have no columns of rows */
	else
		set->unusable =
			!set_bind(relation, &sets->identity, expression, &set->binding, &set->error);
	return set;
}

static GroupSet *
sets_find(GroupSets *sets, const LogEvent *event)
{
	char channel[NAMEDATALEN];
	MemoryContext old;
	GroupSet *set;
	ListCell *cell;

	snprintf(channel, sizeof(channel), "%.*s", event->channel_length, event->channel);
	foreach (cell, sets->sets)
	{
		set = lfirst(cell);
		if (set->relation == event->relation && strcmp(NameStr(set->channel), channel) == 0)
			return set;
	}
	old = MemoryContextSwitchTo(sets->context);
	set = sets_bind(sets, event->relation, channel);
	sets->sets = lappend(sets->sets, set);
	MemoryContextSwitchTo(old);
	return set;
}

bool
group_sets_judge(GroupSets *sets, const LogEvent *event, SetChange *change, SetError *error)
{
	GroupSet *set;

	*change = SET_STAYS;
	if ((operation_bit(event->op) & (OPERATION_ROW_BITS | WIRE_OP_MESSAGE)) == 0)
		return true;
	set_budget_begin();
	set = sets_find(sets, event);
	if (set->unusable)
	{
		*error = set->error;
		return false;
	}
	if (set->nothing)
		*change = SET_NOTHING;
	else if (set->binding != NULL)
	{
		event_rows_set(sets->rows, event);
		*change = set_judge(set->binding, sets->rows, event->op, error);
		error->later = *change == SET_LATER;
		return *change != SET_FAILED && *change != SET_LATER && *change != SET_UNKNOWN;
	}
	return true;
}

/* ---------------- checking a definition ---------------- */

/* Return true if the filter is about the events of this relation on this channel. */
static bool
sets_check(const GroupSets *sets, Oid relation, const char *channel, char **problem)
{
	FilterExpression *expression;
	AccessReason reason;
	int16 *columns;
	int n = 0;
	int member = -1;

	switch (sets_type_filter(sets, relation, channel, &expression, problem))
	{
		case FILTER_NO_COLUMN:
			return false;
		case FILTER_REFUSED:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid filter \"%s\"", sets->definition->filter),
							errdetail_internal("%s", *problem)));
		case FILTER_TYPED:
			break;
	}
	columns = palloc((bms_num_members(expression->columns) + 1) * sizeof(int16));
	while ((member = bms_next_member(expression->columns, member)) >= 0)
	{
		if (member + FirstLowInvalidHeapAttributeNumber > 0)
			columns[n++] = (int16) (member + FirstLowInvalidHeapAttributeNumber);
	}
	if (OidIsValid(relation) && n > 0 &&
		!access_named_allowed(sets->definition->owner, relation, n, columns, &reason))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg_internal("%s", reason.message)));
	return true;
}

void
group_check_filter(const GroupDefinition *definition)
{
	GroupSets *sets = group_sets_create(definition, definition->owner, NULL);
	char *problem = NULL;
	bool applies = false;

	for (int i = 0; i < definition->nchannels; i++)
	{
		const char *channel = NameStr(definition->channels[i]);
		ListCell *cell;

		foreach (cell, watch_list_channel(channel))
			applies |=
				sets_check(sets, ((const Watch *) lfirst(cell))->relation, channel, &problem);
		/* A reason that names a table's column is better than that messages have none. */
		applies |= sets_check(sets, InvalidOid, channel, problem == NULL ? &problem : &(char *){0});
	}
	if (!applies)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid filter \"%s\"", definition->filter),
						errdetail_internal("%s", problem)));
	group_sets_free(sets);
}
