/*-------------------------------------------------------------------------
 *
 * hub_testament.c
 *	  Messages that are sent for clients that have left.
 *
 * They belong to the database, and are sent one after the other. If there is no worker for one in
 * time, or the role may not publish it, it is lost, and the log says so, at most once a minute.
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/log_throttle.h"
#include "gateway/hub/hub_internal.h"

static void
hub_testament_answered(void *owner, const WireMessage *answer)
{
	Database *database = owner;
	uint64_t left_out;

	if (answer->type != WIRE_FAILED ||
		!log_throttle_allows(&database->testaments, "", 0, database->pool.pools->now(), &left_out))
		return;
	log_write(WIRE_LOG_WARNING,
			  "a testament of a client of database \"%.*s\" was not published: %.*s (%" PRIu64
			  " more since the last such message)",
			  (int) database->name_len, database->name, (int) answer->u.failed.message.len,
			  answer->u.failed.message.data, left_out);
}

static const PoolEvents hub_testament_events = {.answer = hub_testament_answered};

void
hub_send_testament(HubClient *client, WireBytes channel, const char *payload, const char *publisher)
{
	Database *database = client->database;
	WireQuery query = {
		.kind = WIRE_QUERY_SEND,
		.name = channel,
		.body = {.data = payload, .len = (uint32_t) strlen(payload)},
		.named = {.data = publisher, .len = (uint32_t) strlen(publisher)},
	};

	if (client->identity.token != NULL)
		query.token = (WireBytes){.data = client->identity.token,
								  .len = (uint32_t) strlen(client->identity.token)};
	(void) pool_submit(&database->pool, &database->testator, &query, &hub_testament_events,
					   database);
}
