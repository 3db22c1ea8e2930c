/*-------------------------------------------------------------------------
 *
 * wire.c
 *	  The frames between the PostgreSQL half and the gateway.
 *
 * wire_fields() lists the fields of each message once, and both the encoder and the decoder use
 * that list, so the two cannot disagree. test/fixtures/wire.bin fixes the bytes that the list
 * results in.
 *
 *-------------------------------------------------------------------------
 */
#include "wire.h"

#include <string.h>

/*
 * The position in a payload. An encoder sets out to NULL at the first byte that does not fit, and
 * continues to count used. A decoder sets bad if the input ends too early.
 */
typedef struct WireCursor
{
	uint8_t *out;
	size_t cap;
	const uint8_t *in;
	size_t len;
	size_t used;
	bool bad;
} WireCursor;

/* Return the next n bytes to read, or NULL. */
static const uint8_t *
wire_take(WireCursor *c, size_t n)
{
	const uint8_t *at;

	if (c->bad || n > c->len - c->used)
	{
		c->bad = true;
		return NULL;
	}
	at = c->in + c->used;
	c->used += n;
	return at;
}

/* Return space for the next n bytes to write, or NULL. */
static uint8_t *
wire_room(WireCursor *c, size_t n)
{
	uint8_t *at = NULL;

	if (c->out != NULL && c->used <= c->cap && n <= c->cap - c->used)
		at = c->out + c->used;
	c->used += n;
	return at;
}

/* Write one little-endian integer of n bytes, or read and return it. */
static uint64_t
wire_int(WireCursor *c, uint64_t value, size_t n)
{
	if (c->in != NULL)
	{
		const uint8_t *from = wire_take(c, n);

		value = 0;
		for (size_t i = 0; from != NULL && i < n; i++)
			value |= (uint64_t) from[i] << (8 * i);
	}
	else
	{
		uint8_t *to = wire_room(c, n);

		for (size_t i = 0; to != NULL && i < n; i++)
			to[i] = (uint8_t) (value >> (8 * i));
	}
	return value;
}

static void
wire_u8(WireCursor *c, uint8_t *value)
{
	*value = (uint8_t) wire_int(c, *value, sizeof(*value));
}

static void
wire_u16(WireCursor *c, uint16_t *value)
{
	*value = (uint16_t) wire_int(c, *value, sizeof(*value));
}

static void
wire_u32(WireCursor *c, uint32_t *value)
{
	*value = (uint32_t) wire_int(c, *value, sizeof(*value));
}

static void
wire_u64(WireCursor *c, uint64_t *value)
{
	*value = wire_int(c, *value, sizeof(*value));
}

static void
wire_position(WireCursor *c, WirePosition *position)
{
	wire_u32(c, &position->timeline);
	wire_u64(c, &position->id);
}

/* Write n bytes, or set *data to the next n bytes of the input. */
static void
wire_raw(WireCursor *c, const uint8_t **data, size_t n)
{
	if (c->in != NULL)
		*data = wire_take(c, n);
	else
	{
		uint8_t *to = wire_room(c, n);

		if (to != NULL && n > 0)
			memcpy(to, *data, n);
	}
}

static void
wire_bytes(WireCursor *c, WireBytes *bytes)
{
	const uint8_t *data = (const uint8_t *) bytes->data;

	wire_u32(c, &bytes->len);
	wire_raw(c, &data, bytes->len);
	bytes->data = (const char *) data;
}

bool
wire_list_next(WireBytes *list, WireBytes *item)
{
	WireCursor c = {.in = (const uint8_t *) list->data, .len = list->len};

	if (list->len == 0)
		return false;
	wire_bytes(&c, item);
	if (c.bad)
		return false;
	list->data += c.used;
	list->len -= (uint32_t) c.used;
	return true;
}

bool
wire_list_append(void *buf, size_t cap, size_t *used, WireBytes item)
{
	WireCursor c = {.out = buf, .cap = cap, .used = *used};

	if (cap - *used < sizeof(item.len) || cap - *used - sizeof(item.len) < item.len)
		return false;
	wire_bytes(&c, &item);
	*used = c.used;
	return true;
}

/* Write or read a list. A list that is read must contain only complete strings. */
static void
wire_list(WireCursor *c, WireBytes *list)
{
	WireBytes rest;
	WireBytes item = {0};

	wire_bytes(c, list);
	if (c->in == NULL || c->bad)
		return;
	rest = *list;
	while (wire_list_next(&rest, &item))
		continue;
	if (rest.len > 0)
		c->bad = true;
}

static void
wire_config(WireCursor *c, WireConfig *config)
{
	wire_u16(c, &config->version);
	wire_u16(c, &config->gateway);
	wire_u16(c, &config->listeners);
	wire_u16(c, &config->port);
	wire_u8(c, &config->anonymous);
	wire_u32(c, &config->max_clients);
	wire_u32(c, &config->max_per_address);
	wire_u32(c, &config->max_message);
	wire_u64(c, &config->client_buffer);
	wire_u32(c, &config->keepalive_ms);
	wire_u8(c, &config->sandbox);
	wire_u8(c, &config->page);
	wire_u8(c, &config->compression);
	wire_u32(c, &config->max_handshakes);
	wire_u32(c, &config->max_failed_tokens);
	wire_u8(c, &config->ssl);
	wire_u16(c, &config->ssl_min_version);
	wire_bytes(c, &config->ssl_chain);
	wire_bytes(c, &config->ssl_key);
	wire_bytes(c, &config->database);
	wire_bytes(c, &config->origins);
	wire_bytes(c, &config->listen_addresses);
	wire_bytes(c, &config->trusted_proxies);
	wire_bytes(c, &config->metrics_addresses);
	wire_bytes(c, &config->endpoints);
	wire_bytes(c, &config->realms);
}

const char *const wire_refusal_names[WIRE_REFUSALS] = {
	[WIRE_REFUSED_REQUEST] = "request",
	[WIRE_REFUSED_HOST] = "host",
	[WIRE_REFUSED_ORIGIN] = "origin",
	[WIRE_REFUSED_TOKEN] = "token",
	[WIRE_REFUSED_DATABASE] = "database",
	[WIRE_REFUSED_CLIENTS] = "max_clients",
	[WIRE_REFUSED_CLIENTS_PER_ADDRESS] = "max_clients_per_address",
	[WIRE_REFUSED_HANDSHAKES_PER_ADDRESS] = "max_handshakes_per_address",
	[WIRE_REFUSED_FAILED_TOKENS_PER_ADDRESS] = "max_failed_tokens_per_address",
	[WIRE_REFUSED_PROXY] = "proxy",
	[WIRE_REFUSED_SSL] = "ssl",
	[WIRE_REFUSED_METRICS] = "metrics_addresses",
	[WIRE_REFUSED_RESOURCES] = "resources",
};

static void
wire_stats(WireCursor *c, WireStats *stats)
{
	wire_u32(c, &stats->clients);
	wire_u32(c, &stats->subscriptions);
	wire_u64(c, &stats->accepted);
	for (int i = 0; i < WIRE_REFUSALS; i++)
		wire_u64(c, &stats->refused[i]);
	wire_u64(c, &stats->closed_slow);
	wire_u64(c, &stats->events);
	wire_u64(c, &stats->messages);
	wire_u64(c, &stats->bytes);
	wire_u64(c, &stats->queued);
	wire_u32(c, &stats->slow);
	wire_u32(c, &stats->waiting);
	wire_u32(c, &stats->busy_ms);
}

static void
wire_load(WireCursor *c, WireDatabaseLoad *load)
{
	wire_u32(c, &load->load.clients);
	wire_u32(c, &load->load.slow);
	wire_u32(c, &load->load.waiting);
	wire_u64(c, &load->load.queued);
	wire_bytes(c, &load->database);
}

static void
wire_hello(WireCursor *c, WireHello *hello)
{
	wire_u16(c, &hello->version);
	wire_u16(c, &hello->gateway);
	wire_u32(c, &hello->database_oid);
	wire_position(c, &hello->position);
	wire_bytes(c, &hello->database);
}

static void
wire_subscribe(WireCursor *c, WireSubscribe *subscribe)
{
	wire_u32(c, &subscribe->sub);
	wire_u8(c, &subscribe->kinds);
	wire_u8(c, &subscribe->ops);
	wire_u8(c, &subscribe->has_since);
	wire_position(c, &subscribe->since);
	wire_u32(c, &subscribe->session);
	wire_u32(c, &subscribe->window);
	wire_u32(c, &subscribe->identity);
	wire_bytes(c, &subscribe->channel);
	wire_bytes(c, &subscribe->filter);
	wire_u8(c, &subscribe->has_columns);
	wire_list(c, &subscribe->columns);
	wire_u8(c, &subscribe->hold);
	wire_u8(c, &subscribe->match);
	wire_u64(c, &subscribe->subscriber);
}

static void
wire_snapshot_ids(WireCursor *c, WireSnapshotIds *seen)
{
	wire_u64(c, &seen->until);
	wire_u64(c, &seen->xmin);
	wire_u64(c, &seen->xmax);
	wire_bytes(c, &seen->xip);
	wire_bytes(c, &seen->policies);
	if (seen->xip.len % sizeof(uint64_t) != 0 || seen->policies.len % WIRE_POLICY_SIZE != 0)
		c->bad = true;
}

static void
wire_query(WireCursor *c, WireQuery *query)
{
	wire_u32(c, &query->request);
	wire_u8(c, &query->kind);
	wire_u8(c, &query->read_only);
	wire_u8(c, &query->progressive);
	wire_u32(c, &query->window);
	wire_bytes(c, &query->token);
	wire_bytes(c, &query->method);
	wire_bytes(c, &query->path);
	wire_bytes(c, &query->query);
	wire_list(c, &query->headers);
	wire_bytes(c, &query->name);
	wire_bytes(c, &query->filter);
	wire_u8(c, &query->has_columns);
	wire_list(c, &query->columns);
	wire_bytes(c, &query->order);
	wire_u64(c, &query->limit);
	wire_bytes(c, &query->body);
	wire_bytes(c, &query->named);
}

static void
wire_route(WireCursor *c, WireRoute *route)
{
	wire_u8(c, &route->kind);
	wire_u8(c, &route->flags);
	wire_u32(c, &route->session);
	wire_u32(c, &route->identity);
	wire_u64(c, &route->request);
	wire_u64(c, &route->id);
	wire_u64(c, &route->registration);
	wire_position(c, &route->position);
	wire_bytes(c, &route->name);
	wire_bytes(c, &route->options);
	wire_bytes(c, &route->payload);
}

static void
wire_event(WireCursor *c, WireEvent *event)
{
	wire_u64(c, &event->id);
	wire_u8(c, &event->op);
	wire_u8(c, &event->more);
	wire_u16(c, &event->nstreams);
	wire_raw(c, &event->streams, (size_t) event->nstreams * 4);
	wire_bytes(c, &event->audience);
	wire_bytes(c, &event->body);
}

static void
wire_replay_event(WireCursor *c, WireReplayEvent *event)
{
	wire_u64(c, &event->id);
	wire_u8(c, &event->op);
	wire_u16(c, &event->nsubs);
	wire_raw(c, &event->subs, (size_t) event->nsubs * 4);
	wire_bytes(c, &event->body);
}

static void
wire_client(WireCursor *c, WireClient *client)
{
	wire_u64(c, &client->connected_at);
	wire_position(c, &client->position);
	wire_u64(c, &client->lag);
	wire_u64(c, &client->queued);
	wire_u64(c, &client->queued_us);
	wire_u64(c, &client->messages);
	wire_u64(c, &client->bytes);
	wire_u64(c, &client->expires_at);
	wire_u64(c, &client->number);
	wire_u16(c, &client->port);
	wire_bytes(c, &client->address);
	wire_bytes(c, &client->database);
	wire_bytes(c, &client->role);
	wire_bytes(c, &client->subject);
	wire_bytes(c, &client->claims);
	wire_bytes(c, &client->subprotocol);
	wire_list(c, &client->channels);
}

/* The fields of the messages that concern workers. */
static bool
wire_fields_query(WireCursor *c, WireMessage *m)
{
	switch (m->type)
	{
		case WIRE_NO_WORKER:
			wire_bytes(c, &m->u.no_worker.database);
			wire_bytes(c, &m->u.no_worker.reason);
			return true;
		case WIRE_WANT_WORKER:
			wire_bytes(c, &m->u.want_worker.database);
			return true;
		case WIRE_JOIN:
			wire_u32(c, &m->u.join.sub);
			wire_u32(c, &m->u.join.window);
			wire_snapshot_ids(c, &m->u.join.seen);
			return true;
		case WIRE_QUERY:
			wire_query(c, &m->u.query);
			return true;
		case WIRE_QUERY_CREDIT:
			wire_u32(c, &m->u.query_credit.request);
			wire_u32(c, &m->u.query_credit.bytes);
			return true;
		case WIRE_QUERY_CANCEL:
			wire_u32(c, &m->u.query_cancel.request);
			return true;
		case WIRE_ROWS:
			wire_u32(c, &m->u.rows.request);
			wire_bytes(c, &m->u.rows.schema);
			wire_bytes(c, &m->u.rows.table);
			wire_list(c, &m->u.rows.key);
			wire_bytes(c, &m->u.rows.rows);
			return true;
		case WIRE_SPOOLED:
			wire_u32(c, &m->u.spooled.request);
			return true;
		case WIRE_SNAPSHOT_DONE:
			wire_u32(c, &m->u.snapshot_done.request);
			wire_snapshot_ids(c, &m->u.snapshot_done.seen);
			return true;
		case WIRE_RESULT:
			wire_u32(c, &m->u.result.request);
			wire_u16(c, &m->u.result.status);
			wire_u64(c, &m->u.result.event);
			wire_list(c, &m->u.result.headers);
			wire_bytes(c, &m->u.result.body);
			return true;
		case WIRE_FAILED:
			wire_u32(c, &m->u.failed.request);
			wire_u8(c, &m->u.failed.reason);
			wire_bytes(c, &m->u.failed.sqlstate);
			wire_bytes(c, &m->u.failed.message);
			wire_bytes(c, &m->u.failed.detail);
			wire_bytes(c, &m->u.failed.hint);
			wire_bytes(c, &m->u.failed.name);
			return true;
		default:
			return false;
	}
}

/* The fields of the messages between feed and gateway that concern identities. */
static bool
wire_fields_identity(WireCursor *c, WireMessage *m)
{
	switch (m->type)
	{
		case WIRE_AUTH:
			wire_u32(c, &m->u.auth.session);
			wire_bytes(c, &m->u.auth.token);
			return true;
		case WIRE_AUTH_USER:
			wire_u32(c, &m->u.auth_user.session);
			wire_u64(c, &m->u.auth_user.number);
			wire_bytes(c, &m->u.auth_user.user);
			return true;
		case WIRE_AUTH_SIGNATURE:
			wire_u32(c, &m->u.auth_signature.session);
			wire_bytes(c, &m->u.auth_signature.signature);
			return true;
		case WIRE_CHALLENGE:
			wire_u32(c, &m->u.challenge.session);
			wire_u32(c, &m->u.challenge.iterations);
			wire_u32(c, &m->u.challenge.keylen);
			wire_bytes(c, &m->u.challenge.text);
			wire_bytes(c, &m->u.challenge.salt);
			return true;
		case WIRE_ISSUED:
			wire_u32(c, &m->u.issued.session);
			wire_bytes(c, &m->u.issued.token);
			return true;
		case WIRE_FORGET:
			wire_u32(c, &m->u.forget.session);
			return true;
		case WIRE_IDENTITY:
			wire_u32(c, &m->u.identity.session);
			wire_u32(c, &m->u.identity.identity);
			wire_u64(c, &m->u.identity.expires_at);
			wire_u64(c, &m->u.identity.lifetime_ms);
			wire_bytes(c, &m->u.identity.role);
			wire_bytes(c, &m->u.identity.subject);
			return true;
		case WIRE_AUTH_REFUSED:
			wire_u32(c, &m->u.auth_refused.session);
			wire_u8(c, &m->u.auth_refused.reason);
			wire_bytes(c, &m->u.auth_refused.text);
			return true;
		case WIRE_IDENTITY_ENDED:
			wire_u32(c, &m->u.identity_ended.session);
			wire_u32(c, &m->u.identity_ended.identity);
			wire_u8(c, &m->u.identity_ended.reason);
			wire_bytes(c, &m->u.identity_ended.text);
			return true;
		default:
			return wire_fields_query(c, m);
	}
}

/* The fields of the messages between feed and gateway that concern subscriptions. */
static bool
wire_fields_feed(WireCursor *c, WireMessage *m)
{
	switch (m->type)
	{
		case WIRE_ROUTE_UP:
		case WIRE_ROUTE_DOWN:
			wire_route(c, &m->u.route);
			return true;
		case WIRE_SUBSCRIBED:
			wire_u32(c, &m->u.subscribed.sub);
			wire_u32(c, &m->u.subscribed.stream);
			wire_u8(c, &m->u.subscribed.replay);
			wire_u8(c, &m->u.subscribed.notifies);
			wire_position(c, &m->u.subscribed.position);
			return true;
		case WIRE_REFUSED:
			wire_u32(c, &m->u.refused.sub);
			wire_u8(c, &m->u.refused.reason);
			wire_bytes(c, &m->u.refused.text);
			wire_bytes(c, &m->u.refused.name);
			return true;
		case WIRE_MOVED:
			wire_u32(c, &m->u.moved.sub);
			wire_u32(c, &m->u.moved.stream);
			return true;
		case WIRE_SUBSCRIPTION_ENDED:
			wire_u32(c, &m->u.subscription_ended.sub);
			wire_u8(c, &m->u.subscription_ended.reason);
			wire_bytes(c, &m->u.subscription_ended.text);
			return true;
		case WIRE_STREAM_ENDED:
			wire_u32(c, &m->u.ended.stream);
			wire_u8(c, &m->u.ended.reason);
			wire_bytes(c, &m->u.ended.text);
			return true;
		case WIRE_EVENT:
			wire_event(c, &m->u.event);
			return true;
		case WIRE_REPLAY_EVENT:
			wire_replay_event(c, &m->u.replay_event);
			return true;
		case WIRE_REPLAY_DONE:
			wire_u32(c, &m->u.replay_done.sub);
			wire_u64(c, &m->u.replay_done.id);
			return true;
		case WIRE_REPLAY_BEGIN:
			wire_u32(c, &m->u.replay_begin.sub);
			return true;
		case WIRE_RESET:
			wire_u32(c, &m->u.reset.sub);
			wire_u8(c, &m->u.reset.kind);
			wire_position(c, &m->u.reset.position);
			wire_bytes(c, &m->u.reset.reason);
			return true;
		case WIRE_POSITION:
			wire_u64(c, &m->u.position.id);
			wire_u64(c, &m->u.position.renew);
			wire_u32(c, &m->u.position.behind_ms);
			return true;
		case WIRE_GONE:
			wire_bytes(c, &m->u.gone.database);
			return true;
		case WIRE_GROUP_READY:
			wire_bytes(c, &m->u.group_ready);
			return true;
		case WIRE_GOODBYE:
			wire_bytes(c, &m->u.goodbye.reason);
			return true;
		case WIRE_HEALTH:
			wire_u8(c, &m->u.health.looking);
			wire_bytes(c, &m->u.health.trouble);
			return true;
		case WIRE_ALIVE:
		case WIRE_WANT_METRICS:
			return true;
		case WIRE_METRICS:
			wire_bytes(c, &m->u.metrics.text);
			return true;
		case WIRE_ASLEEP:
			wire_position(c, &m->u.asleep.position);
			wire_bytes(c, &m->u.asleep.database);
			return true;
		case WIRE_WAKE:
			wire_bytes(c, &m->u.wake.database);
			return true;
		case WIRE_SANDBOX:
			wire_u8(c, &m->u.sandbox.missing);
			return true;
		default:
			return wire_fields_identity(c, m);
	}
}

/* Process the fields of a message of type m->type. Returns false for an unknown type. */
static bool
wire_fields(WireCursor *c, WireMessage *m)
{
	switch (m->type)
	{
		case WIRE_CONFIG:
			wire_config(c, &m->u.config);
			return true;
		case WIRE_STOP:
			wire_u16(c, &m->u.stop.code);
			return true;
		case WIRE_READY:
			return true;
		case WIRE_LOG:
			wire_u8(c, &m->u.log.level);
			wire_bytes(c, &m->u.log.message);
			return true;
		case WIRE_STATS:
			wire_stats(c, &m->u.stats);
			return true;
		case WIRE_LOAD:
			wire_load(c, &m->u.load);
			return true;
		case WIRE_HELLO:
		case WIRE_HELLO_WORKER:
			wire_hello(c, &m->u.hello);
			return true;
		case WIRE_SUBSCRIBE:
			wire_subscribe(c, &m->u.subscribe);
			return true;
		case WIRE_UNSUBSCRIBE:
			wire_u32(c, &m->u.unsubscribe.sub);
			wire_u8(c, &m->u.unsubscribe.kinds);
			return true;
		case WIRE_REPLAY_CREDIT:
			wire_u32(c, &m->u.credit.sub);
			wire_u32(c, &m->u.credit.bytes);
			return true;
		case WIRE_CLIENT:
			wire_client(c, &m->u.client);
			return true;
		case WIRE_CLIENTS_END:
			return true;
		default:
			return wire_fields_feed(c, m);
	}
}

size_t
wire_encode(const WireMessage *msg, void *buf, size_t cap)
{
	WireMessage copy = *msg; /* wire_fields() also assigns the fields */
	WireCursor c = {.out = buf, .cap = cap, .used = WIRE_HEADER_SIZE};

	(void) wire_fields(&c, &copy);
	if (c.used <= cap)
	{
		uint8_t *header = buf;

		wire_store_u32(header, (uint32_t) (c.used - WIRE_HEADER_SIZE));
		header[4] = (uint8_t) msg->type;
		memset(header + 5, 0, 3);
	}
	return c.used;
}

WireResult
wire_decode(const void *buf, size_t len, WireMessage *msg, size_t *used)
{
	WireCursor header = {.in = buf, .len = len};
	WireCursor payload;
	uint32_t size = 0;
	uint8_t type = 0;
	uint8_t zero = 0;
	uint16_t zeros = 0;

	*used = 0;
	if (len < WIRE_HEADER_SIZE)
		return WIRE_MORE;
	wire_u32(&header, &size);
	wire_u8(&header, &type);
	wire_u8(&header, &zero);
	wire_u16(&header, &zeros);
	if (size > WIRE_MAX_PAYLOAD || zero != 0 || zeros != 0)
		return WIRE_BAD;

	*used = WIRE_HEADER_SIZE + (size_t) size;
	if (len < *used)
		return WIRE_MORE;

	memset(msg, 0, sizeof(*msg));
	msg->type = (WireType) type;
	payload = (WireCursor){.in = (const uint8_t *) buf + WIRE_HEADER_SIZE, .len = size};
	if (!wire_fields(&payload, msg) || payload.bad || payload.used != size)
		return WIRE_BAD;
	return WIRE_OK;
}

uint32_t
wire_stream(const WireEvent *event, uint16_t i)
{
	return wire_load_u32(event->streams + (size_t) i * 4);
}

uint32_t
wire_load_u32(const uint8_t *from)
{
	return (uint32_t) from[0] | (uint32_t) from[1] << 8 | (uint32_t) from[2] << 16 |
		   (uint32_t) from[3] << 24;
}

void
wire_store_u32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t) (v >> (8 * i));
}

uint64_t
wire_load_u64(const uint8_t *from)
{
	return (uint64_t) wire_load_u32(from) | (uint64_t) wire_load_u32(from + 4) << 32;
}

void
wire_store_u64(uint8_t *to, uint64_t v)
{
	wire_store_u32(to, (uint32_t) v);
	wire_store_u32(to + 4, (uint32_t) (v >> 32));
}
