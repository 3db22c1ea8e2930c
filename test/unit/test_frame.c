/* Frames and queues of them. */
#include "unit.h"

#include "gateway/ws/frame.h"

static const FrameNote no_note = {.before = FRAME_NO_POSITION};

/* Decode the frames of a text message (RFC 6455, 5.2); returns the length of the payload. */
static size_t
unframe(const uint8_t *data, size_t size, char *text)
{
	size_t len = 0;
	bool first = true;
	bool fin = false;

	while (size > 0)
	{
		size_t payload = data[1];
		size_t head = 2;

		assert_false(fin);
		fin = (data[0] & 0x80) != 0;
		assert_int_equal(data[0] & 0x7f, first ? 1 : 0);
		assert_int_equal(data[1] & 0x80, 0);
		if (payload == 126)
		{
			payload = (size_t) data[2] << 8 | data[3];
			assert_true(payload > 125);
			head = 4;
		}
		else
			assert_true(payload < 126);
		memcpy(text + len, data + head, payload);
		len += payload;
		data += head + payload;
		size -= head + payload;
		first = false;
	}
	assert_true(fin);
	return len;
}

static Frame *
one_part(const char *text, size_t len)
{
	WireBytes part = {.data = text, .len = (uint32_t) len};

	return frame_text(&part, 1);
}

static void
test_text(void **state)
{
	static const size_t sizes[] = {0,     1,     125,   126,   127,   32767, 32768,  32769,
								   65535, 65536, 65537, 65544, 98304, 98305, 1000000};
	static char text[1000000];
	static char back[1000000];

	(void) state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char) (i * 7 + i / 251);
	for (size_t i = 0; i < UNIT_COUNT(sizes); i++)
	{
		Frame *frame = one_part(text, sizes[i]);

		memset(back, 0, sizeof(back));
		assert_int_equal(unframe(frame->data, frame->len, back), sizes[i]);
		assert_memory_equal(back, text, sizes[i]);
		frame_unref(frame);
	}
}

/* A message is the same however it is divided into parts, including empty ones. */
static void
test_parts(void **state)
{
	static char text[100000];
	unsigned int seed = 1;

	(void) state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char) (i * 7 + i / 251);
	for (int round = 0; round < 100; round++)
	{
		size_t size = (size_t) rand_r(&seed) % sizeof(text);
		WireBytes parts[8];
		size_t done = 0;
		Frame *whole = one_part(text, size);
		Frame *frame;

		for (size_t i = 0; i < UNIT_COUNT(parts); i++)
		{
			size_t len = (size_t) rand_r(&seed) % 4 * (size / 8);

			if (i == UNIT_COUNT(parts) - 1 || len > size - done)
				len = size - done;
			parts[i] = (WireBytes){.data = text + done, .len = (uint32_t) len};
			done += len;
		}
		frame = frame_text(parts, UNIT_COUNT(parts));
		assert_int_equal(frame->len, whole->len);
		assert_memory_equal(frame->data, whole->data, whole->len);
		frame_unref(frame);
		frame_unref(whole);
	}
}

/* Cuts are at the ends of fragments, and at most the maximum of one write apart. */
static void
test_cut(void **state)
{
	static char text[1000000];
	Frame *frame = one_part(text, sizeof(text));
	size_t offset = 0;

	(void) state;
	while (offset < frame->len)
	{
		size_t size = frame_cut(frame, offset, FRAME_WRITE);

		assert_between(size, 1, FRAME_WRITE);
		assert_true(offset == 0 || frame->data[offset] == 0 || frame->data[offset] == 0x80);
		offset += size;
	}
	assert_int_equal(offset, frame->len);
	frame_unref(frame);
}

static void
test_control(void **state)
{
	char reason[300];
	Frame *frame = frame_close(4008, "slow");

	(void) state;
	assert_int_equal(frame->len, 8);
	assert_memory_equal(frame->data, "\x88\x06\x0f\xa8slow", 8);
	frame_unref(frame);

	/* Cut before the character that does not fit. */
	memset(reason, 'x', 122);
	strcpy(reason + 122, "\xc3\xa9");
	frame = frame_close(1000, reason);
	assert_int_equal(frame->len, 2 + 2 + 122);
	frame_unref(frame);

	frame = frame_control(FRAME_OPCODE_PING, "hi", 2);
	assert_memory_equal(frame->data, "\x89\x02hi", 4);
	frame_unref(frame);
}

static uint32_t done_subs[64];
static size_t done_count;

static void
done(void *arg, const FrameNote *note)
{
	(void) arg;
	done_subs[done_count++] = note->sub;
}

static void
test_queue_gathers(void **state)
{
	static uint8_t scratch[FRAME_WRITE];
	Queue queue = {0};
	size_t len;

	(void) state;
	done_count = 0;
	assert_null(queue_peek(&queue, scratch, sizeof(scratch), &len));
	for (uint32_t i = 1; i <= 20; i++)
	{
		Frame *frame = one_part("hello", 5);

		queue_append(&queue, frame, (FrameNote){.before = 100 + i, .sub = i}, 0);
		frame_unref(frame);
	}
	assert_int_equal(queue_before(&queue), 101);
	assert_ptr_equal(queue_peek(&queue, scratch, sizeof(scratch), &len), scratch);
	assert_int_equal(len, 20 * 7);
	queue_consume(&queue, 3 * 7, done, NULL);
	assert_int_equal(done_count, 3);
	assert_int_equal(done_subs[2], 3);
	assert_int_equal(queue_before(&queue), 104);
	assert_int_equal(queue.bytes, 17 * (7 + sizeof(QueueEntry)));
	queue_consume(&queue, 17 * 7, done, NULL);
	assert_int_equal(done_count, 20);
	assert_int_equal(queue.bytes, 0);
	assert_null(queue.ring);
	assert_true(queue_before(&queue) == FRAME_NO_POSITION);
}

/*
 * The bytes written are those queued, for any sizes; a shared frame lives until its last user has
 * gone.
 */
static void
test_queue_random(void **state)
{
	static uint8_t scratch[FRAME_WRITE];
	static uint8_t in[4000000];
	static uint8_t out[4000000];
	static char text[200000];
	unsigned int seed = 7;

	(void) state;
	for (int round = 0; round < 50; round++)
	{
		Queue queue = {0};
		size_t in_len = 0;
		size_t out_len = 0;

		for (int i = 0; i < 40; i++)
		{
			size_t size = (size_t) rand_r(&seed) % (i % 5 ? 3000 : sizeof(text));
			Frame *frame = one_part(text, size);
			size_t len;

			memcpy(in + in_len, frame->data, frame->len);
			in_len += frame->len;
			queue_append(&queue, frame, no_note, 0);
			frame_unref(frame);
			while (rand_r(&seed) % 2 && queue.count > 0)
			{
				const uint8_t *data = queue_peek(&queue, scratch, sizeof(scratch), &len);

				assert_between(len, 1, FRAME_WRITE);
				memcpy(out + out_len, data, len);
				out_len += len;
				queue_consume(&queue, len, NULL, NULL);
			}
		}
		while (queue.count > 0)
		{
			size_t len;
			const uint8_t *data = queue_peek(&queue, scratch, sizeof(scratch), &len);

			memcpy(out + out_len, data, len);
			out_len += len;
			queue_consume(&queue, len, NULL, NULL);
		}
		assert_int_equal(out_len, in_len);
		assert_memory_equal(out, in, in_len);
		assert_int_equal(queue.bytes, 0);
	}
}

static void
test_queue_clear(void **state)
{
	Frame *frame = one_part("shared", 6);
	Queue a = {0};
	Queue b = {0};

	(void) state;
	queue_append(&a, frame, no_note, 0);
	queue_append(&b, frame, no_note, 4);
	assert_int_equal(frame->refs, 3);
	assert_int_equal(b.bytes, 4 + sizeof(QueueEntry));
	queue_clear(&a);
	queue_clear(&b);
	assert_int_equal(frame->refs, 1);
	frame_unref(frame);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),          cmocka_unit_test(test_parts),
		cmocka_unit_test(test_cut),           cmocka_unit_test(test_control),
		cmocka_unit_test(test_queue_gathers), cmocka_unit_test(test_queue_random),
		cmocka_unit_test(test_queue_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
