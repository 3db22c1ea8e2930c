/*-------------------------------------------------------------------------
 *
 * feed_seen.c
 *	  What the clients of subscriptions have seen in a snapshot.
 *
 * A worker reads the rows at another moment than those at which the feed looks at policies. In between, policies and
 * what they read may change, and change back. So the worker tells by which policies it has read the rows, and they are
 * compared when the events after them are to be sent. From then on, the feed notices each change that makes a difference.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/feed/feed_seen.h"

SubSeen *
seen_load(MemoryContext context, const WireSnapshotIds *ids)
{
	uint32 nxip = ids->xip.len / sizeof(uint64);
	uint32 npolicies = ids->policies.len / WIRE_POLICY_SIZE;
	Size size = offsetof(SubSeen, xip) + sizeof(uint64) * (Size) nxip;
	SubSeen *seen = MemoryContextAlloc(context, size + sizeof(SeenPolicies) * npolicies);

	seen->compared = false;
	seen->until = ids->until;
	seen->xmin = ids->xmin;
	seen->xmax = ids->xmax;
	seen->nxip = nxip;
	for (uint32 i = 0; i < nxip; i++)
		seen->xip[i] = wire_load_u64((const uint8_t *) ids->xip.data + i * sizeof(uint64));
	seen->npolicies = npolicies;
	seen->policies = (SeenPolicies *) ((char *) seen + size);
	for (uint32 i = 0; i < npolicies; i++)
	{
		const uint8_t *bytes = (const uint8_t *) ids->policies.data + i * WIRE_POLICY_SIZE;

		seen->policies[i].relation = wire_load_u32(bytes);
		seen->policies[i].policies = wire_load_u64(bytes + sizeof(uint32));
	}
	return seen;
}

bool
seen_event(const Sub *sub, const LogEvent *event)
{
	const SubSeen *seen = sub->seen;
	uint64 tx = (uint64) event->tx;
	uint32 low = 0;
	uint32 high;

	if (seen == NULL || event->id > seen->until || tx >= seen->xmax)
		return false;
	if (tx < seen->xmin)
		return true;
	for (high = seen->nxip; low < high;)
	{
		uint32 middle = low + (high - low) / 2;

		if (seen->xip[middle] == tx)
			return false;
		if (seen->xip[middle] < tx)
			low = middle + 1;
		else
			high = middle;
	}
	return true;
}

/* Return the policies by which rows of a table were read, or NULL. */
static const SeenPolicies *
seen_policies(const SubSeen *seen, Oid relation)
{
	for (uint32 i = 0; i < seen->npolicies; i++)
	{
		if (seen->policies[i].relation == relation)
			return &seen->policies[i];
	}
	return NULL;
}

const char *
seen_compare(Sub *sub)
{
	SubSeen *seen = sub->seen;
	const Stream *stream = sub->stream;
	const FeedChannel *channel = stream->view->channel;

	if (seen == NULL || seen->compared)
		return NULL;
	seen->compared = true;
	for (int i = 0; i < channel->nsources; i++)
	{
		const StreamPart *part = i < stream->nparts ? &stream->parts[i] : NULL;
		const SeenPolicies *read = seen_policies(seen, channel->sources[i]->relation);
		uint64 policies = 0;

		/* Whose privileges were taken away gets a refusal, or nothing. */
		if (part != NULL && part->nothing)
			continue;
		if (part != NULL && part->binding != NULL)
			policies = set_policies(part->binding);
		if (read != NULL && read->policies != policies)
			return APPLIED_RESET_CHANGED;
		if (read == NULL && policies != 0 && sub->unsure)
			return APPLIED_RESET_SNAPSHOT;
	}
	return NULL;
}
