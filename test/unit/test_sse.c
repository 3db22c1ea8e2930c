/*
 * Server-sent events: messages, ids, parameters; and which id a client of several channels gets, whose
 * subscriptions are not all at the same place.
 */
#include "play.h"

#include "gateway/protocol/notification.h"
#include "gateway/protocol/sse.h"
#include "gateway/sse/sse_request.h"

/* ---------------- messages ---------------- */

static void
expect_frame(Frame *frame, const char *text)
{
	if (frame->len != strlen(text) || memcmp(frame->data, text, frame->len) != 0)
		fail_msg("expected %s, got %.*s", text, (int) frame->len, (const char *) frame->data);
	frame_unref(frame);
}

static ProtocolName
name_of(const char *channel)
{
	return (ProtocolName){.channel = play_bytes(channel)};
}

static void
test_messages(void **state)
{
	ProtocolEvent event = {.op = WIRE_OP_INSERT,
						   .position = {1, 7},
						   .name = name_of("a"),
						   .body = play_bytes("{\"position\":\"1-7\",\"id\":7}")};
	WireRows rows = {
		.schema = play_bytes("public"), .table = play_bytes("t"), .rows = play_bytes("{\"id\":1}")};
	WirePosition position = {1, 9};

	(void) state;
	expect_frame(sse_protocol.event(&event), "data: {\"position\":\"1-7\",\"id\":7}\nid: 1-7\n\n");
	event.inside = true;
	event.own_position = event.position;
	event.position.id = 6;
	expect_frame(sse_protocol.event(&event),
				 "data: {\"position\":\"1-6s\",\"id\":7}\nid: 1-6s\n\n");
	/* A raw notification has no position. */
	event = (ProtocolEvent){.op = WIRE_OP_NOTIFY, .body = play_bytes("{\"op\":\"NOTIFY\"}")};
	expect_frame(sse_protocol.event(&event), "data: {\"op\":\"NOTIFY\"}\n\n");
	/* Line ends are white space of JSON. */
	event.body = play_bytes("{\n\"a\":\r1\r\n}");
	expect_frame(sse_protocol.event(&event), "data: {\ndata: \"a\":\ndata: 1\ndata: \ndata: }\n\n");
	expect_frame(
		sse_protocol.rows(name_of("a"), &rows, position, false),
		"event: rows\ndata: {\"channel\":\"a\",\"schema\":\"public\",\"table\":\"t\",\"key\":[],"
		"\"rows\":[{\"id\":1}]}\n\n");
	expect_frame(
		sse_protocol.rows(name_of("a"), NULL, position, false),
		"event: rows\ndata: {\"channel\":\"a\",\"done\":true,\"position\":\"1-9\",\"rows\":[]}\n"
		"id: 1-9\n\n");
	expect_frame(
		sse_protocol.reset(name_of("a"), play_bytes("gone"), position, true),
		"event: reset\ndata: {\"channel\":\"a\",\"reason\":\"gone\",\"position\":\"1-9s\"}\n"
		"id: 1-9s\n\n");
	expect_frame(sse_protocol.position(position),
				 "event: position\ndata: {\"position\":\"1-9\"}\nid: 1-9\n\n");
	expect_frame(sse_protocol.result(REQUEST_SUBSCRIBE, NULL, name_of("a"), position, true),
				 "event: position\ndata: {\"position\":\"1-9s\"}\nid: 1-9s\n\n");
	expect_frame(sse_retry(1234), "retry: 1234\n\n");
}

static void
expect_status(Frame *frame, int status, const char *json)
{
	int found;
	json_t *error = sse_error_read(frame, &found);
	char *text = notification_dump(error);

	assert_int_equal(found, status);
	assert_string_equal(text, json);
	free(text);
	json_decref(error);
	frame_unref(frame);
}

static void
test_errors(void **state)
{
	WireFailed failed = {.reason = WIRE_QUERY_BUSY, .message = play_bytes("busy")};

	(void) state;
	expect_frame(sse_close(4001, "too\nlate"),
				 "event: error\ndata: {\"code\":4001,\"message\":\"too\\nlate\"}\n\n");
	expect_status(sse_close(4401, "no"), 401, "{\"code\":4401,\"message\":\"no\"}");
	expect_status(sse_close(1012, "x"), 503, "{\"code\":1012,\"message\":\"x\"}");
	expect_status(
		sse_protocol.refusal(NULL, PROTOCOL_NO_SUCH_CHANNEL, play_bytes("none"), name_of("a")), 404,
		"{\"code\":-32004,\"message\":\"none\",\"data\":{\"channel\":\"a\"}}");
	expect_status(sse_protocol.query_failure(NULL, &failed, name_of("a")), 503,
				  "{\"code\":-32011,\"message\":\"busy\",\"data\":{\"channel\":\"a\"}}");
	/* What would fail again and again is final. */
	failed.reason = WIRE_QUERY_TIMEOUT;
	expect_frame(
		sse_protocol.query_failure(NULL, &failed, name_of("a")),
		"event: error\ndata: {\"code\":-32013,\"message\":\"busy\",\"data\":{\"channel\":\"a\"}}\n"
		"id: end\n\n");
	expect_frame(
		sse_protocol.refusal(NULL, PROTOCOL_POLICY_FAILED, play_bytes("p"), name_of("a")),
		"event: error\ndata: {\"code\":-32003,\"message\":\"p\",\"data\":{\"channel\":\"a\"}}\n"
		"id: end\n\n");
}

/* ---------------- ids ---------------- */

static void
expect_place(const char *id, const char *channel, const char *position)
{
	WireBytes found;

	assert_true(sse_id_find(id, strlen(id), play_bytes(channel), &found));
	assert_int_equal(found.len, strlen(position));
	assert_memory_equal(found.data, position, found.len);
}

static void
test_ids(void **state)
{
	ProtocolPlaces places = {.base = {1, 700}, .count = 2};
	WirePosition position = {1, 700};
	WireBytes found;
	Frame *frame = sse_protocol.position(position);

	(void) state;
	places.elsewhere[0] = (ProtocolPlace){.name = name_of("a;b=c d"), .position = {1, 600}};
	places.elsewhere[1] =
		(ProtocolPlace){.name = name_of("\xc3\xa9"), .position = {1, 700}, .inside = true};
	expect_frame(sse_protocol.resume(frame, &places),
				 "event: position\ndata: {\"position\":\"1-700\"}\n"
				 "id: 1-700;a%3Bb%3Dc%20d=1-600;%C3%A9=1-700s\n\n");
	frame_unref(frame);
	expect_place("1-700;a%3Bb%3Dc%20d=1-600;%C3%A9=1-700s", "a;b=c d", "1-600");
	expect_place("1-700;a%3Bb%3Dc%20d=1-600;%C3%A9=1-700s", "\xc3\xa9", "1-700s");
	expect_place("1-700;a%3Bb%3Dc%20d=1-600;%C3%A9=1-700s", "other", "1-700");
	expect_place("1-700", "a", "1-700");
	assert_false(sse_id_find("1-7;a", 5, play_bytes("b"), &found));
	assert_false(sse_id_find("1-7;", 4, play_bytes("b"), &found));
}

/* ---------------- parameters ---------------- */

static HttpSlice
slice(const char *text)
{
	return (HttpSlice){.data = text, .len = text != NULL ? strlen(text) : 0};
}

static void
expect_error(const char *query, const char *since, const char *parameter)
{
	SseRequest sse;
	json_t *error = sse_request_read(slice(query), slice(since), NULL, &sse);

	if (error == NULL)
		fail_msg("no error: %s", query);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(error, "data"), "parameter")), parameter);
	json_decref(error);
}

static void
test_parameters(void **state)
{
	SseRequest sse;
	json_t *error = sse_request_read(slice("ops=insert&snapshot=true&limit=5&channel=a+b&filter=x%"
										   "3Deq.1%2B1&columns=id,%22c%2Cd%22"
										   "&&channel=b&snapshot=false&database=x&access_token=y"),
									 slice(NULL), NULL, &sse);

	(void) state;
	/* A limit needs snapshot=true, which b does not have. */
	assert_non_null(error);
	json_decref(error);
	error = sse_request_read(
		slice("ops=insert&snapshot=true&channel=a+b&filter=x%3Deq.1%2B1&columns=id,%22c%2Cd%22&"
			  "limit=5"
			  "&&channel=b&snapshot=false&ops=UPDATE,delete&database=x&access_token=y"),
		slice(""), NULL, &sse);
	assert_null(error);
	assert_int_equal(sse.count, 2);
	assert_memory_equal(sse.requests[0].channel, "a b", 3);
	assert_int_equal(sse.requests[0].ops, WIRE_OP_INSERT);
	assert_true(sse.requests[0].snapshot);
	assert_int_equal(sse.requests[0].limit, 5);
	assert_memory_equal(sse.requests[0].selection->filter.data, "x=eq.1+1", 8);
	assert_int_equal(sse.requests[0].selection->columns.len, 4 + 2 + 4 + 3);
	assert_memory_equal(sse.requests[0].selection->columns.data + 10, "c,d", 3);
	assert_false(sse.requests[1].snapshot);
	assert_null(sse.requests[1].selection);
	assert_int_equal(sse.requests[1].ops, WIRE_OP_UPDATE | WIRE_OP_DELETE);
	assert_false(sse.requests[1].has_since);
	sse_request_free(&sse);

	expect_error("", NULL, "channel");
	expect_error("channel=a&channel=a", NULL, "channel");
	expect_error("filter=x&channel=a&filter=", NULL, "filter");
	expect_error("channel=a&columns=%22a%22b", NULL, "columns");
	expect_error("channel=a&columns=%22a", NULL, "columns");
	expect_error("channel=a&columns=", NULL, "columns");
	expect_error("channel=a&limit=1", NULL, "limit");
	expect_error("channel=a&snapshot=true&limit=99999999999999999999", NULL, "limit");
	expect_error("channel=a&x", NULL, "x");
	expect_error("channel=a%00b", NULL, "channel");
	expect_error("channel=a&since=1-2&since=1-2", NULL, "since");
	expect_error("channel=a&since=1-2;b", NULL, "since");
	expect_error("channel=a&since=1-2;a=", NULL, "since");
	expect_error("channel=a", "\xff", "Last-Event-ID");
}

static void
test_since(void **state)
{
	SseRequest sse;

	(void) state;
	assert_null(
		sse_request_read(slice("channel=a&channel=b&since=1-5;b=1-3s"), slice(NULL), NULL, &sse));
	assert_int_equal(sse.requests[0].since.id, 5);
	assert_false(sse.requests[0].since_inside);
	assert_int_equal(sse.requests[1].since.id, 3);
	assert_true(sse.requests[1].since_inside);
	sse_request_free(&sse);
	/* The header counts more. */
	assert_null(sse_request_read(slice("channel=a&since=wrong"), slice("1-8"), NULL, &sse));
	assert_int_equal(sse.requests[0].since.id, 8);
	sse_request_free(&sse);
	assert_null(sse_request_read(slice("channel=a&since=1-1"), slice("end"), NULL, &sse));
	assert_true(sse.ended);
	sse_request_free(&sse);
}

/* ---------------- places ---------------- */

static PlayPipe pipe_a;

/* What was written, up to the end of a message. */
static void
expect_message(PlayPipe *pipe, const char *text)
{
	size_t len = strlen(text);

	sessions_flush(&play_sessions);
	if (pipe->len < len || memcmp(pipe->out, text, len) != 0)
		fail_msg("expected %s, got %.*s", text, (int) pipe->len, pipe->out);
	pipe->len -= len;
	memmove(pipe->out, pipe->out + len, pipe->len);
}

/* A client of the channels in a query; the numbers of the subscriptions, in their order. */
static Session *
open_stream(Database *database, const char *query, uint32_t *subs)
{
	Session *session = play_connect(database, &sse_protocol, "test", &pipe_a);
	SseRequest sse;

	assert_null(sse_request_read(slice(query), slice(NULL), NULL, &sse));
	play_nsent = 0;
	for (size_t i = 0; i < sse.count; i++)
	{
		hub_request(play_client(session), &sse.requests[i]);
		subs[i] = play_sent[i].u.subscribe.sub;
	}
	assert_int_equal(play_nsent, sse.count);
	sse_request_free(&sse);
	return session;
}

static void
test_live_and_replaying(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	uint32_t subs[2];

	(void) state;
	(void) open_stream(database, "channel=a&channel=b&since=1-100;b=1-50", subs);
	play_subscribed(database, subs[0], 1, false, 100);
	play_subscribed(database, subs[1], 2, true, 50);
	play_event(database, 1, 101, "{}");
	expect_message(&pipe_a, "data: {}\nid: 1-101;b=1-50\n\n");
	play_replay_event(database, subs[1], 60, "{}");
	expect_message(&pipe_a, "data: {}\nid: 1-101;b=1-60\n\n");
	play_replay_done(database, subs[1], 101);
	play_event(database, 2, 102, "{}");
	expect_message(&pipe_a, "data: {}\nid: 1-102\n\n");
	play_event(database, 1, 103, "{}");
	expect_message(&pipe_a, "data: {}\nid: 1-103\n\n");
	assert_int_equal(pipe_a.len, 0);
}

/* A replay may end further than the link is, because both are read at different times. */
static void
test_ahead(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	uint32_t subs[2];

	(void) state;
	(void) open_stream(database, "channel=a&channel=b", subs);
	play_subscribed(database, subs[0], 1, false, 100);
	play_subscribed(database, subs[1], 2, false, 200);
	play_event(database, 1, 150, "{}");
	expect_message(&pipe_a, "data: {}\nid: 1-150;b=1-200\n\n");
	play_event(database, 1, 200, "{}");
	expect_message(&pipe_a, "data: {}\nid: 1-200\n\n");
	play_reset(database, subs[0], 230, "gone");
	expect_message(&pipe_a, "event: reset\ndata: {\"channel\":\"a\",\"reason\":\"gone\","
							"\"position\":\"1-230\"}\nid: 1-200;a=1-230\n\n");
}

static void
test_lagging(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	uint32_t subs[2];

	(void) state;
	(void) open_stream(database, "channel=a&channel=b", subs);
	play_subscribed(database, subs[0], 1, false, 100);
	play_subscribed(database, subs[1], 2, false, 100);
	pipe_a.blocked = true;
	play_event(database, 1, 101, play_text(600));
	play_event(database, 2, 102, play_text(600));
	play_expect_lag(2, subs[1]);
	/* There is room for a small one, whose client must not resume after 102. */
	play_event(database, 1, 103, "{}");
	play_unblock(&pipe_a);
	sessions_flush(&play_sessions);
	pipe_a.len -= 600 + strlen("data: \nid: 1-101\n\n");
	memmove(pipe_a.out, pipe_a.out + 600 + strlen("data: \nid: 1-101\n\n"), pipe_a.len);
	expect_message(&pipe_a, "data: {}\nid: 1-103;b=1-101\n\n");
}

static void
test_one_channel(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	uint32_t sub;

	(void) state;
	(void) open_stream(database, "channel=a&since=1-50", &sub);
	play_subscribed(database, sub, 1, true, 50);
	play_replay_event(database, sub, 60, "{}");
	expect_message(&pipe_a, "data: {}\nid: 1-60\n\n");
}

/* The end of one subscription is that of the stream. */
static void
test_end(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *session;
	uint32_t subs[2];

	(void) state;
	session = open_stream(database, "channel=a&channel=b", subs);
	play_subscribed(database, subs[0], 1, false, 100);
	play_subscribed(database, subs[1], 2, false, 100);
	play_frame(database, (WireMessage){.type = WIRE_STREAM_ENDED,
									   .u.ended = {.stream = 2,
												   .reason = WIRE_NOT_PERMITTED,
												   .text = play_bytes("no more")}});
	assert_int_equal(session->state, SESSION_CLOSING);
	expect_message(&pipe_a, "event: error\ndata: {\"code\":-32003,\"message\":\"no more\","
							"\"data\":{\"channel\":\"b\"}}\n\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_since),
		cmocka_unit_test_setup_teardown(test_live_and_replaying, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_ahead, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_lagging, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_one_channel, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_end, play_setup, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
