/*-------------------------------------------------------------------------
 *
 * sse.c
 *	  Server-sent events: messages and their ids.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"

#define SSE_DATA "data: "
#define SSE_ID   "\nid: "

/* Maximum length of a channel's name in an id. */
#define SSE_NAME (3 * PROTOCOL_MAX_CHANNEL)

/* ---------------- messages ---------------- */

static bool
sse_is_line_end(char c)
{
	return c == '\n' || c == '\r';
}

/*
 * Return a copy of the params in which each line end begins another line of data, or NULL if there
 * is none. JSON has them only between tokens, where PostgreSQL's json keeps what was written.
 */
static char *
sse_split_lines(const Notification *notification, size_t *len)
{
	size_t lines = 0;
	size_t size = 0;
	char *copy;
	char *to;

	for (size_t i = 0; i < notification->count; i++)
	{
		const WireBytes *part = &notification->params[i];

		if (part->len > 0 && (memchr(part->data, '\n', part->len) != NULL ||
							  memchr(part->data, '\r', part->len) != NULL))
			for (uint32_t at = 0; at < part->len; at++)
				lines += sse_is_line_end(part->data[at]);
		size += part->len;
	}
	if (lines == 0)
		return NULL;
	to = copy = memory_new(size + lines * strlen("\n" SSE_DATA));
	for (size_t i = 0; i < notification->count; i++)
		for (uint32_t at = 0; at < notification->params[i].len; at++)
		{
			if (sse_is_line_end(notification->params[i].data[at]))
				to = stpcpy(to, "\n" SSE_DATA);
			else
				*to++ = notification->params[i].data[at];
		}
	*len = (size_t) (to - copy);
	return copy;
}

/* Events have no name, so that a page gets them by EventSource.onmessage. */
static Frame *
sse_notification(const Notification *notification)
{
	bool named = strcmp(notification->method, "event") != 0;
	WireBytes parts[NOTIFICATION_PARTS + 8];
	size_t n = 0;
	size_t split_len = 0;
	char *split = sse_split_lines(notification, &split_len);
	Frame *frame;

	if (named)
	{
		parts[n++] = notification_bytes("event: ");
		parts[n++] = notification_bytes(notification->method);
		parts[n++] = notification_bytes("\n");
	}
	parts[n++] = notification_bytes(SSE_DATA);
	if (split != NULL)
		parts[n++] = (WireBytes){.data = split, .len = (uint32_t) split_len};
	else
		for (size_t i = 0; i < notification->count; i++)
			parts[n++] = notification->params[i];
	if (notification->position != NULL)
	{
		parts[n++] = notification_bytes(SSE_ID);
		parts[n++] = notification_bytes(notification->position);
	}
	parts[n++] = notification_bytes("\n\n");
	frame = frame_plain(parts, n);
	free(split);
	return frame;
}

/* ---------------- ids ---------------- */

static bool
sse_is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		   c == '_' || c == '.' || c == '~';
}

/* Write a channel's name to text, which has SSE_NAME bytes, and return its length. */
static size_t
sse_encode(WireBytes channel, char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	char *to = text;

	for (uint32_t i = 0; i < channel.len; i++)
	{
		unsigned char c = (unsigned char) channel.data[i];

		if (sse_is_plain(c))
			*to++ = (char) c;
		else
		{
			*to++ = '%';
			*to++ = digits[c >> 4];
			*to++ = digits[c & 15];
		}
	}
	return (size_t) (to - text);
}

/* A position, and those of channels that are elsewhere. */
static char *
sse_id(const ProtocolPlaces *places, size_t *len)
{
	char *id = memory_new(POSITION_TEXT + places->count * (SSE_NAME + POSITION_TEXT + 2));
	char *to = id + position_format(places->base, false, id);

	for (size_t i = 0; i < places->count; i++)
	{
		const ProtocolPlace *place = &places->elsewhere[i];

		*to++ = ';';
		to += sse_encode(place->name.channel, to);
		*to++ = '=';
		to += position_format(place->position, place->inside, to);
	}
	*len = (size_t) (to - id);
	return id;
}

size_t
sse_id_max(const Request *requests, size_t count)
{
	size_t size = POSITION_TEXT;

	for (size_t i = 0; i < count; i++)
	{
		WireBytes channel = {.data = requests[i].channel, .len = requests[i].channel_len};
		char name[SSE_NAME];

		size += sse_encode(channel, name) + POSITION_TEXT + 2;
	}
	return size;
}

bool
sse_id_find(const char *id, size_t len, WireBytes channel, WireBytes *position)
{
	const char *end = id + len;
	char name[SSE_NAME];
	size_t name_len = sse_encode(channel, name);
	const char *part = memchr(id, ';', len);

	*position = (WireBytes){.data = id, .len = (uint32_t) ((part != NULL ? part : end) - id)};
	while (part != NULL)
	{
		const char *next = memchr(part + 1, ';', (size_t) (end - part - 1));
		const char *stop = next != NULL ? next : end;
		const char *equals;

		part++;
		equals = memchr(part, '=', (size_t) (stop - part));
		if (equals == NULL)
			return false;
		if ((size_t) (equals - part) == name_len && memcmp(part, name, name_len) == 0)
			*position = (WireBytes){.data = equals + 1, .len = (uint32_t) (stop - equals - 1)};
		part = next;
	}
	return true;
}

/* The id is the last line. */
static Frame *
sse_resume(const Frame *frame, const ProtocolPlaces *places)
{
	const char *text = (const char *) frame->data;
	const char *id_line = memmem(text, frame->len, SSE_ID, strlen(SSE_ID));
	size_t id_len;
	char *id = sse_id(places, &id_len);
	Frame *result;

	WireBytes parts[] = {
		{.data = text, .len = id_line != NULL ? (uint32_t) (id_line - text) : frame->len},
		notification_bytes(SSE_ID),
		{.data = id, .len = (uint32_t) id_len},
		notification_bytes("\n\n"),
	};

	result = frame_plain(parts, sizeof(parts) / sizeof(parts[0]));
	free(id);
	return result;
}

/* ---------------- errors ---------------- */

Frame *
sse_error(json_t *error, bool final)
{
	char *text = notification_dump(error);
	WireBytes part = notification_bytes(text);
	Notification notification = {
		.method = "error",
		.params = &part,
		.count = 1,
		.position = final ? SSE_ID_END : NULL,
	};
	Frame *frame = sse_notification(&notification);

	free(text);
	return frame;
}

Frame *
sse_close(uint16_t code, const char *reason)
{
	json_t *error = notification_error(code, notification_bytes(reason), NULL,
									   (WireBytes){.data = NULL}, (WireBytes){.data = NULL});
	Frame *frame = sse_error(error, false);

	json_decref(error);
	return frame;
}

Frame *
sse_retry(uint32_t ms)
{
	char text[32];
	WireBytes part = {.data = text};

	part.len = (uint32_t) snprintf(text, sizeof(text), "retry: %u\n\n", ms);
	return frame_plain(&part, 1);
}

/* The codes are those of JSON-RPC's errors and of WebSocket's close frames. */
static int
sse_status(int code)
{
	switch (code)
	{
		case 4001:
		case 4401:
			return 401;
		case 1001:
		case 1012:
		case 4008:
		case 4503:
			return 503;
		default:
			return notification_status(code);
	}
}

json_t *
sse_error_read(const Frame *frame, int *status)
{
	static const char start[] = "event: error\n" SSE_DATA;
	const char *data = (const char *) frame->data + strlen(start);
	const char *end = memchr(data, '\n', frame->len - strlen(start));
	json_t *error = json_loadb(data, (size_t) (end - data), 0, NULL);

	*status = sse_status((int) json_integer_value(json_object_get(error, "code")));
	return error;
}

/* ---------------- the protocol ---------------- */

static Frame *
sse_event(const ProtocolEvent *event)
{
	return notification_event(event, sse_notification);
}

/*
 * All of a stream's subscriptions have begun: a bookmark, so that the client has an id before its
 * first event. Some clients ignore an id without data.
 */
static Frame *
sse_result(RequestMethod method, const char *id, ProtocolName name, WirePosition position,
		   bool inside)
{
	json_t *params = json_object();

	(void) method;
	(void) id;
	(void) name;
	notification_put_position(params, position, inside);
	return notification_json("position", params, sse_notification);
}

/* A client that comes back after a policy has failed might fail at the same event, again and again. */
static Frame *
sse_refusal(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name)
{
	json_t *error = notification_refusal(reason, text, name);
	Frame *frame = sse_error(error, reason == PROTOCOL_POLICY_FAILED);

	(void) id;
	json_decref(error);
	return frame;
}

/* So does what a snapshot's query runs into, unless no worker was free. */
static Frame *
sse_query_failure(const char *id, const WireFailed *failed, ProtocolName name)
{
	json_t *error = notification_query_failure(failed, name);
	Frame *frame = sse_error(error, failed->reason != WIRE_QUERY_BUSY &&
										failed->reason != WIRE_QUERY_NOT_AUTHENTICATED);

	(void) id;
	json_decref(error);
	return frame;
}

static Frame *
sse_rows(ProtocolName name, const WireRows *rows, WirePosition position, bool inside)
{
	return notification_rows(name, rows, position, inside, sse_notification);
}

static Frame *
sse_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside)
{
	return notification_reset(name, reason, position, inside, sse_notification);
}

static Frame *
sse_position(WirePosition position)
{
	return notification_position(position, sse_notification);
}

/* The client sends no messages, so there is nothing to parse or to answer. */
const Protocol sse_protocol = {
	.number = PROTOCOL_SSE,
	.refusals_end = true,
	.event = sse_event,
	.result = sse_result,
	.refusal = sse_refusal,
	.query_failure = sse_query_failure,
	.rows = sse_rows,
	.reset = sse_reset,
	.position = sse_position,
	.resume = sse_resume,
};

/* ---------------- the variant with large numbers as strings ---------------- */

static Frame *
sse_bigint_event(const ProtocolEvent *event)
{
	return notification_bigint_event(event, sse_notification);
}

static Frame *
sse_bigint_rows(ProtocolName name, const WireRows *rows, WirePosition position, bool inside)
{
	return notification_bigint_rows(name, rows, position, inside, sse_notification);
}

const Protocol sse_bigint_protocol = {
	.number = PROTOCOL_SSE_BIGINT,
	.refusals_end = true,
	.event = sse_bigint_event,
	.result = sse_result,
	.refusal = sse_refusal,
	.query_failure = sse_query_failure,
	.rows = sse_bigint_rows,
	.reset = sse_reset,
	.position = sse_position,
	.resume = sse_resume,
};
