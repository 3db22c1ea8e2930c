/*-------------------------------------------------------------------------
 *
 * hub_snapshot.c
 *	  Subscriptions that begin with the rows of their set.
 *
 *	  WANTED ──► READING ──► JOINING ──► DONE
 *		 ▲ SUBSCRIBED	 all rows		│ an event after the snapshot, or REPLAY_DONE
 *		 └──────── reset ◄──────────────┘
 *
 * The feed holds the subscription (SUBSCRIBE with hold) while a worker reads the rows. Then JOIN tells the feed what the
 * worker's snapshot has seen, and the feed sends the other events as a replay.
 *
 * The position of an event that is not after the snapshot does not say enough to resume from, because the transactions
 * that the snapshot has seen are not those up to a position. It is called a position inside the snapshot, and clients see it
 * with a mark. A client that resumes from there gets a reset and a new snapshot. So that clients see few of them, the last
 * message of a joining subscription is held back, first the end of the rows. When the next one is after the snapshot,
 * everything up to it is complete, and the held one gets a position that says so.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/hub/hub_internal.h"

/* A subscription begins a snapshot at most this often, and again after a worker has ended at most so many times. */
#define SNAPSHOT_PAUSE_MS 1000
#define SNAPSHOT_ATTEMPTS 3

/* So often in succession the feed may find that the rows were read by other policies than its own. */
#define SNAPSHOT_COMPARED 3

/* A frame that waits for room in the session. */
typedef struct SnapshotFrame
{
	STAILQ_ENTRY(SnapshotFrame) next;
	Frame *frame;
	FrameNote note;
	bool placed; /* it has a position: */
	ProtocolPlace place;
} SnapshotFrame;

typedef enum SnapshotState
{
	SNAPSHOT_WANTED,
	SNAPSHOT_READING,
	SNAPSHOT_JOINING,
	SNAPSHOT_DONE,
} SnapshotState;

struct Snapshot
{
	SnapshotState state;
	Hub *hub;
	Subscription *sub;
	PoolQuery *query; /* READING; else NULL */
	char *order;      /* NULL: by key */
	uint64_t limit;   /* 0: none */
	uint64_t until;   /* JOINING: later ids are after the snapshot */
	uint64_t began_at;
	unsigned int attempts;
	unsigned int restarts; /* since a snapshot was joined last */
	bool due;              /* it waits in Database.snapshots */
	TAILQ_ENTRY(Snapshot) in_database;
	STAILQ_HEAD(, SnapshotFrame) frames; /* that wait for room */
	/* The message that is held back while JOINING: the end of the rows, or an event. */
	bool holds_event;
	uint8_t held_op;
	WirePosition held_position;
	char *held_body;
	uint32_t held_len;
};

/* ---------------- sending ---------------- */

/* Queue a frame if there is room. The places of the client's other subscriptions are those of now. */
static bool
snapshot_queue(Snapshot *snapshot, const SnapshotFrame *waiting)
{
	Subscription *sub = snapshot->sub;
	Session *session = &sub->client->session;
	Frame *frame = frame_ref(waiting->frame);
	bool room;

	if (waiting->placed)
		frame = hub_place(sub->client, sub, waiting->place.position, waiting->place.inside, frame);
	room = session_has_room(session, frame);
	if (room)
		session_send_event(session, frame, waiting->note);
	frame_unref(frame);
	return room;
}

/*
 * Send a frame, which is taken over, after those that wait. place (NULL: none) is what its position is. Until it is
 * delivered, a client cannot resume from any position. Returns false if the session is closed.
 */
static bool
snapshot_send(Snapshot *snapshot, Frame *frame, const ProtocolPlace *place, uint32_t credit)
{
	Session *session = &snapshot->sub->client->session;
	SnapshotFrame now = {
		.note = {.before = 0, .sub = snapshot->sub->number, .credit = credit},
		.placed = place != NULL,
	};
	SnapshotFrame *waiting;

	frame = now.frame = session_pack(session, frame);
	if (place != NULL)
		now.place = *place;
	if ((STAILQ_EMPTY(&snapshot->frames) && snapshot_queue(snapshot, &now)) ||
		session->state != SESSION_OPEN)
	{
		frame_unref(frame);
		return session->state == SESSION_OPEN;
	}
	waiting = memory_new(sizeof(SnapshotFrame));
	*waiting = now;
	STAILQ_INSERT_TAIL(&snapshot->frames, waiting, next);
	session->owed = true;
	return true;
}

void
hub_flush_snapshot(Subscription *sub)
{
	Session *session = &sub->client->session;
	SnapshotFrame *waiting;

	while (sub->snapshot != NULL && (waiting = STAILQ_FIRST(&sub->snapshot->frames)) != NULL)
	{
		if (!snapshot_queue(sub->snapshot, waiting))
		{
			session->owed = session->state == SESSION_OPEN;
			return;
		}
		/* If that has closed the session, everything is freed. */
		if (session->state != SESSION_OPEN)
			return;
		STAILQ_REMOVE_HEAD(&sub->snapshot->frames, next);
		frame_unref(waiting->frame);
		free(waiting);
	}
}

static void
snapshot_drop_frames(Snapshot *snapshot)
{
	SnapshotFrame *waiting;

	while ((waiting = STAILQ_FIRST(&snapshot->frames)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&snapshot->frames, next);
		frame_unref(waiting->frame);
		free(waiting);
	}
	free(snapshot->held_body);
	snapshot->held_body = NULL;
	snapshot->holds_event = false;
}

/* Send the message that is held back, with this position. Returns false if the session is closed. */
static bool
snapshot_release(Snapshot *snapshot, WirePosition position, bool inside)
{
	const Protocol *protocol = snapshot->sub->client->protocol;
	ProtocolPlace place = {.position = position, .inside = inside};
	Frame *frame;

	if (snapshot->holds_event)
	{
		ProtocolEvent event = {
			.op = snapshot->held_op,
			.position = position,
			.inside = inside,
			.own_position = snapshot->held_position,
			.name = hub_name(snapshot->sub),
			.body = {.data = snapshot->held_body, .len = snapshot->held_len},
		};

		frame = protocol->event(&event);
	}
	else
		frame = protocol->rows(hub_name(snapshot->sub), NULL, position, inside);
	free(snapshot->held_body);
	snapshot->held_body = NULL;
	snapshot->holds_event = false;
	return snapshot_send(snapshot, frame, &place, 0);
}

static void
snapshot_hold_event(Snapshot *snapshot, WirePosition position, const WireReplayEvent *event)
{
	snapshot->holds_event = true;
	snapshot->held_op = event->op;
	snapshot->held_position = position;
	snapshot->held_len = event->body.len;
	snapshot->held_body = memory_string(event->body.data, event->body.len);
	/* The next event, which releases it, must not wait for its credit. */
	hub_return_credit(snapshot->hub, snapshot->sub, event->body.len);
}

/* The client has everything up to this position. */
static bool
snapshot_finish(Snapshot *snapshot, WirePosition position)
{
	snapshot->state = SNAPSHOT_DONE;
	snapshot->attempts = 0;
	snapshot->restarts = 0;
	snapshot->sub->has_position = true;
	snapshot->sub->position = position;
	return snapshot_release(snapshot, position, false);
}

/* ---------------- joining the stream ---------------- */

SnapshotResult
hub_snapshot_event(Subscription *sub, WirePosition position, const WireReplayEvent *event)
{
	Snapshot *snapshot = sub->snapshot;
	WirePosition before = {.timeline = position.timeline, .id = position.id - 1};

	if (snapshot == NULL || snapshot->state != SNAPSHOT_JOINING)
		return HUB_SNAPSHOT_PASSED;
	if (position.id > snapshot->until)
		return snapshot_finish(snapshot, before) ? HUB_SNAPSHOT_PASSED : HUB_SNAPSHOT_CLOSED;
	if (!snapshot_release(snapshot, sub->position, true))
		return HUB_SNAPSHOT_CLOSED;
	sub->position = position;
	snapshot_hold_event(snapshot, position, event);
	return HUB_SNAPSHOT_HELD;
}

bool
hub_snapshot_replayed(Subscription *sub, WirePosition position)
{
	if (sub->snapshot == NULL || sub->snapshot->state != SNAPSHOT_JOINING)
		return true;
	return snapshot_finish(sub->snapshot, position);
}

/* ---------------- reading ---------------- */

static void
snapshot_on_rows(void *owner, const WireRows *rows)
{
	Snapshot *snapshot = owner;
	Subscription *sub = snapshot->sub;
	Session *session = &sub->client->session;

	/* If this closes the session, the subscription is gone. */
	if (sub->asked)
		hub_answer(sub);
	if (session->state != SESSION_OPEN)
		return;
	(void) snapshot_send(snapshot,
						 sub->client->protocol->rows(hub_name(sub), rows, (WirePosition){0}, false),
						 NULL, rows->rows.len);
}

static void
snapshot_join(Snapshot *snapshot, const WireSnapshotIds *seen)
{
	Subscription *sub = snapshot->sub;
	Database *database = sub->client->database;
	Session *session = &sub->client->session;
	WireMessage message = {.type = WIRE_JOIN};

	snapshot->state = SNAPSHOT_JOINING;
	snapshot->until = seen->until;
	if (sub->asked)
		hub_answer(sub);
	if (session->state != SESSION_OPEN)
		return;
	message.u.join.sub = sub->number;
	message.u.join.window = hub_window(sub->client);
	message.u.join.seen = *seen;
	/* A policy may never have the same values in the worker and the feed: it reads a setting, perhaps. */
	if (snapshot->restarts >= SNAPSHOT_COMPARED)
		message.u.join.seen.policies = (WireBytes){.data = "", .len = 0};
	snapshot->hub->send(database->link, &message);
}

/* The rows cannot be read: end the subscription, unless a worker has ended and another one may do better. */
static void
snapshot_failed(Snapshot *snapshot, const WireFailed *failed)
{
	static const char again[] = "the snapshot begins again, because its worker has ended";
	Subscription *sub = snapshot->sub;
	HubClient *client = sub->client;
	Frame *frame;

	if (failed->reason == WIRE_QUERY_BUSY && ++snapshot->attempts < SNAPSHOT_ATTEMPTS)
	{
		hub_restart_snapshot(sub, (WireBytes){.data = again, .len = sizeof(again) - 1});
		return;
	}
	frame = client->protocol->query_failure(sub->asked ? sub->id : NULL, failed, hub_name(sub));
	hub_withdraw(snapshot->hub, client->database, sub);
	hub_free_subscription(snapshot->hub, sub);
	hub_send_refusal(client, frame);
}

static void
snapshot_on_answer(void *owner, const WireMessage *answer)
{
	Snapshot *snapshot = owner;

	snapshot->query = NULL;
	if (answer->type == WIRE_SNAPSHOT_DONE)
		snapshot_join(snapshot, &answer->u.snapshot_done.seen);
	else if (answer->type == WIRE_FAILED)
		snapshot_failed(snapshot, &answer->u.failed);
}

static const PoolEvents snapshot_events = {.rows = snapshot_on_rows, .answer = snapshot_on_answer};

void
hub_snapshot_subscribed(Subscription *sub)
{
	Snapshot *snapshot = sub->snapshot;
	HubClient *client = sub->client;
	PoolQuery *query;
	WireQuery wire = {
		.kind = WIRE_QUERY_SNAPSHOT,
		.read_only = 1,
		.window = hub_window(client),
		.name = {.data = sub->channel, .len = sub->channel_len},
		.limit = snapshot->limit,
	};

	if (snapshot->order != NULL)
		wire.order =
			(WireBytes){.data = snapshot->order, .len = (uint32_t) strlen(snapshot->order)};
	if (client->identity.token != NULL)
		wire.token = (WireBytes){.data = client->identity.token,
								 .len = (uint32_t) strlen(client->identity.token)};
	if (sub->selection != NULL)
	{
		wire.filter = sub->selection->filter;
		wire.has_columns = sub->selection->has_columns;
		wire.columns = sub->selection->columns;
	}
	sub->has_position = false;
	snapshot->state = SNAPSHOT_READING;
	snapshot->began_at = snapshot->hub->sessions->now();
	query =
		pool_submit(&client->database->pool, &client->queries, &wire, &snapshot_events, snapshot);
	/* Otherwise it has been answered, and the snapshot may be gone. */
	if (query != NULL)
		snapshot->query = query;
}

bool
hub_snapshot_credit(const Subscription *sub, uint32_t bytes)
{
	if (sub->snapshot == NULL || sub->snapshot->state != SNAPSHOT_READING)
		return false;
	if (sub->snapshot->query != NULL)
		pool_credit(sub->snapshot->query, bytes);
	return true;
}

/* ---------------- beginning and ending ---------------- */

bool
hub_snapshot_holds(const Subscription *sub)
{
	return sub->snapshot != NULL && sub->snapshot->state == SNAPSHOT_WANTED;
}

bool
hub_snapshot_is_reading(const Subscription *sub)
{
	return sub->snapshot != NULL && sub->snapshot->state == SNAPSHOT_READING;
}

bool
hub_snapshot_is_unfinished(const Subscription *sub)
{
	return sub->snapshot != NULL &&
		   (sub->snapshot->state != SNAPSHOT_DONE || !STAILQ_EMPTY(&sub->snapshot->frames));
}

bool
hub_snapshot_has_frames(const Snapshot *snapshot)
{
	return !STAILQ_EMPTY(&snapshot->frames);
}

bool
hub_snapshot_is_due(const Subscription *sub)
{
	return sub->snapshot != NULL && sub->snapshot->due;
}

void
hub_snapshot_new(Hub *hub, Subscription *sub, Request *request)
{
	Snapshot *snapshot = memory_zeroed(sizeof(Snapshot));

	snapshot->hub = hub;
	snapshot->sub = sub;
	snapshot->order = request->order;
	request->order = NULL;
	snapshot->limit = request->limit;
	snapshot->state =
		request->has_since && !request->since_inside ? SNAPSHOT_DONE : SNAPSHOT_WANTED;
	STAILQ_INIT(&snapshot->frames);
	sub->snapshot = snapshot;
}

/* Stop what goes on. */
static void
snapshot_stop(Snapshot *snapshot)
{
	if (snapshot->query != NULL)
		pool_cancel(snapshot->query);
	snapshot->query = NULL;
	if (snapshot->due)
		TAILQ_REMOVE(&snapshot->sub->client->database->snapshots, snapshot, in_database);
	snapshot->due = false;
	snapshot_drop_frames(snapshot);
}

void
hub_snapshot_free(Subscription *sub)
{
	if (sub->snapshot == NULL)
		return;
	snapshot_stop(sub->snapshot);
	free(sub->snapshot->order);
	free(sub->snapshot);
	sub->snapshot = NULL;
}

void
hub_snapshot_lost(Subscription *sub)
{
	snapshot_stop(sub->snapshot);
	sub->snapshot->state = SNAPSHOT_WANTED;
	sub->state = SUBSCRIPTION_WAITING;
	sub->has_position = false;
	sub->credit = 0;
}

static void
snapshot_begin(Snapshot *snapshot)
{
	Subscription *sub = snapshot->sub;

	if (snapshot->state == SNAPSHOT_WANTED && sub->state == SUBSCRIPTION_WAITING &&
		sub->asking == ASKING_NOTHING)
		hub_ask(snapshot->hub, sub->client->database, sub);
}

void
hub_restart_snapshot(Subscription *sub, WireBytes reason)
{
	Snapshot *snapshot = sub->snapshot;
	Database *database = sub->client->database;
	uint64_t now = snapshot->hub->sessions->now();
	bool told = !sub->asked;
	Session *session = &sub->client->session;

	snapshot->restarts++;
	hub_withdraw(snapshot->hub, database, sub);
	hub_part(database, sub);
	hub_snapshot_lost(sub);
	if (told)
	{
		hub_send_reset(sub, reason, 0);
		if (session->state != SESSION_OPEN)
			return;
	}
	if (now - snapshot->began_at >= SNAPSHOT_PAUSE_MS)
	{
		snapshot_begin(snapshot);
		return;
	}
	snapshot->due = true;
	TAILQ_INSERT_TAIL(&database->snapshots, snapshot, in_database);
}

void
hub_snapshot_tick(Database *database, uint64_t now)
{
	Snapshot *snapshot;

	while ((snapshot = TAILQ_FIRST(&database->snapshots)) != NULL &&
		   now - snapshot->began_at >= SNAPSHOT_PAUSE_MS)
	{
		TAILQ_REMOVE(&database->snapshots, snapshot, in_database);
		snapshot->due = false;
		snapshot_begin(snapshot);
	}
}
