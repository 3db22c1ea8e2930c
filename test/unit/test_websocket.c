/* Reading a client's frames (RFC 6455, 5). */
#include "unit.h"

#include "gateway/ws/websocket.h"

/* What was found in the bytes, as text: "data(5,0,final)hello" and so on. */
typedef struct Found
{
	char text[8192];
	size_t len;
} Found;

static void found_add(Found *found, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
found_add(Found *found, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(found->text + found->len, sizeof(found->text) - found->len, format, args);
	va_end(args);
	assert_between(n, 0, sizeof(found->text) - found->len - 1);
	found->len += (size_t) n;
}

/* Append bytes; those that are not printable as a dot. */
static void
found_bytes(Found *found, const WebsocketPiece *piece)
{
	for (size_t i = 0; i < piece->len; i++)
		found_add(found, "%c",
				  piece->data[i] >= ' ' && piece->data[i] <= '~' ? piece->data[i] : '.');
}

static void
found_piece(Found *found, const WebsocketPiece *piece)
{
	switch (piece->kind)
	{
		case WEBSOCKET_MORE:
			return;
		case WEBSOCKET_DATA:
			/* Where a payload is split does not matter; its end does. */
			found_bytes(found, piece);
			if (piece->remaining == 0)
				found_add(found, "%s%s", piece->binary ? "|binary" : "|text",
						  piece->final ? "\n" : "+");
			return;
		case WEBSOCKET_PING:
			found_add(found, "[ping ");
			found_bytes(found, piece);
			found_add(found, "]");
			return;
		case WEBSOCKET_PONG:
			found_add(found, "[pong ");
			found_bytes(found, piece);
			found_add(found, "]");
			return;
		case WEBSOCKET_CLOSE:
			found_add(found, "[close %u]", piece->code);
			return;
		case WEBSOCKET_ERROR:
			found_add(found, "[error %u]", piece->code);
			return;
	}
}

/* Read these bytes, at most step of them at once. */
static void
read_all(const void *bytes, size_t len, size_t step, Found *found)
{
	WebsocketReader reader = {0};
	char copy[4096];

	found->len = 0;
	found->text[0] = '\0';
	assert_between(len, 0, sizeof(copy));
	if (len > 0)
		memcpy(copy, bytes, len);
	for (size_t done = 0; done < len;)
	{
		WebsocketPiece piece;
		size_t room = len - done < step ? len - done : step;
		/* In memory of its own, so that a sanitizer notices reads beyond it. */
		char *given = malloc(room);
		size_t used;

		assert_non_null(given);
		memcpy(given, copy + done, room);
		used = websocket_read(&reader, given, room, &piece);
		assert_between(used, 1, room);
		if (piece.kind == WEBSOCKET_DATA && piece.len > 0)
			assert_true(piece.data >= given && piece.data + piece.len <= given + room);
		found_piece(found, &piece);
		done += used;
		free(given);
	}
}

static void
expect(const void *bytes, size_t len, const char *text)
{
	Found found;

	for (size_t step = 1; step <= len + 1; step++)
	{
		read_all(bytes, len, step, &found);
		assert_string_equal(found.text, text);
	}
}

#define EXPECT(bytes, text) expect(bytes, sizeof(bytes) - 1, text)

/* A mask of zeros keeps the payload readable in this file. */
#define ZEROS "\0\0\0\0"

static void
test_messages(void **state)
{
	(void) state;
	/* RFC 6455, 5.7: "Hello", masked. */
	EXPECT("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "Hello|text\n");
	EXPECT("\x81\x80" ZEROS, "|text\n");
	EXPECT("\x82\x81" ZEROS "x", "x|binary\n");
	EXPECT("\x01\x82" ZEROS "ab"
		   "\x00\x80" ZEROS "\x80\x81" ZEROS "c",
		   "ab|text+|text+c|text\n");
	EXPECT("\x02\x81" ZEROS "a"
		   "\x80\x81" ZEROS "b"
		   "\x81\x81" ZEROS "c",
		   "a|binary+b|binary\nc|text\n");
	/* Control frames between fragments. */
	EXPECT("\x01\x81" ZEROS "a"
		   "\x89\x82" ZEROS "hi"
		   "\x8a\x80" ZEROS "\x80\x81" ZEROS "b",
		   "a|text+[ping hi][pong ]b|text\n");
}

static void
test_masks(void **state)
{
	char bytes[8 + 998];
	Found found;
	Found expected = {.len = 0};

	(void) state;
	memcpy(bytes, "\x81\xfe\x03\xe6\x01\x80\x7f\xff", 8);
	for (size_t i = 0; i < 998; i++)
	{
		char c = (char) ('a' + i % 26);

		bytes[8 + i] = (char) (c ^ "\x01\x80\x7f\xff"[i % 4]);
		found_add(&expected, "%c", c);
	}
	found_add(&expected, "|text\n");
	for (size_t step = 1; step < 20; step++)
	{
		read_all(bytes, sizeof(bytes), step, &found);
		assert_string_equal(found.text, expected.text);
	}
}

static void
test_lengths(void **state)
{
	char bytes[8 + 126] = "\x81\xfe\x00\x7e" ZEROS;
	char text[126 + 16];

	(void) state;
	memset(bytes + 8, 'x', 126);
	memset(text, 'x', 126);
	strcpy(text + 126, "|text\n");
	expect(bytes, sizeof(bytes), text);

	EXPECT("\x81\xfe\x00\x7d" ZEROS, "[error 1002]");
	EXPECT("\x81\xfe\x00\x00" ZEROS, "[error 1002]");
	EXPECT("\x81\xff\0\0\0\0\0\0\0\x05" ZEROS, "[error 1002]");
	EXPECT("\x81\xff\0\0\0\0\0\0\xff\xff" ZEROS, "[error 1002]");
	EXPECT("\x81\xff\x80\0\0\0\0\0\0\0" ZEROS, "[error 1002]");
	EXPECT("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" ZEROS, "[error 1002]");
	/* The maximum length: not an error here, the session decides. */
	EXPECT("\x81\xff\0\0\0\0\0\x01\0\0" ZEROS "x", "x");
	EXPECT("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" ZEROS "x", "x");
}

/* An error is found at the first byte that shows it, and nothing after it is read. */
static void
test_violations(void **state)
{
	static const uint8_t reserved_opcodes[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};
	char first;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(reserved_opcodes); i++)
	{
		first = (char) (0x80 | reserved_opcodes[i]);
		expect(&first, 1, "[error 1002]");
		first = (char) reserved_opcodes[i];
		expect(&first, 1, "[error 1002]");
	}
	for (int bit = 0x10; bit <= 0x40; bit <<= 1)
	{
		first = (char) (0x81 | bit);
		expect(&first, 1, "[error 1002]");
		first = (char) (0x89 | bit);
		expect(&first, 1, "[error 1002]");
	}
	EXPECT("\x81\x05", "[error 1002]");
	EXPECT("\x88\x00", "[error 1002]");
	EXPECT("\x89\x7f", "[error 1002]");
	EXPECT("\x00", "[error 1002]");
	EXPECT("\x80", "[error 1002]");
	EXPECT("\x01\x80" ZEROS "\x01", "|text+[error 1002]");
	EXPECT("\x01\x80" ZEROS "\x82", "|text+[error 1002]");
	EXPECT("\x81\x80" ZEROS "\x80", "|text\n[error 1002]");
	EXPECT("\x08", "[error 1002]");
	EXPECT("\x09", "[error 1002]");
	EXPECT("\x0a", "[error 1002]");
	EXPECT("\x88\xfe", "[error 1002]");
	EXPECT("\x89\xfe", "[error 1002]");
	EXPECT("\x8a\xff", "[error 1002]");
	EXPECT("\x81\x00\x81\x80" ZEROS "\x88\x80" ZEROS, "[error 1002]");
}

static bool
close_is_valid(unsigned int code)
{
	char bytes[] = "\x88\x82" ZEROS "cc";
	char text[64];
	Found found;

	bytes[6] = (char) (code >> 8);
	bytes[7] = (char) code;
	read_all(bytes, sizeof(bytes) - 1, sizeof(bytes), &found);
	snprintf(text, sizeof(text), "[close %u]", code);
	if (strcmp(found.text, text) == 0)
		return true;
	assert_string_equal(found.text, "[error 1002]");
	return false;
}

static void
test_closes(void **state)
{
	(void) state;
	for (unsigned int code = 0; code <= 0xffff; code++)
	{
		bool registered = code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
		bool free = code >= 3000 && code <= 4999;

		assert_int_equal(close_is_valid(code), registered || free);
	}
	EXPECT("\x88\x80" ZEROS, "[close 0]");
	EXPECT("\x88\x81" ZEROS "\x03", "[error 1002]");
	EXPECT("\x88\x82" ZEROS "\x03\xe8", "[close 1000]");
	EXPECT("\x88\x84" ZEROS "\x03\xe8\xc3\xa9", "[close 1000]");
	EXPECT("\x88\x83" ZEROS "\x03\xe8\xff", "[error 1007]");
	EXPECT("\x88\x83" ZEROS "\x03\xe8\xc3", "[error 1007]");
	EXPECT("\x88\x85" ZEROS "\x03\xe8\xed\xa0\x80", "[error 1007]");
	/* With an invalid code and an invalid reason, the code is reported. */
	EXPECT("\x88\x83" ZEROS "\x03\xe7\xff", "[error 1002]");
	/* Nothing after it is read. */
	EXPECT("\x88\x80" ZEROS "\x81\x00\xff", "[close 0]");
}

/* Random bytes, split at random: the result is the same, and no other memory is touched. */
static void
test_random(void **state)
{
	static const uint8_t firsts[] = {0x81, 0x01, 0x80, 0x00, 0x89, 0x8a, 0x82, 0x88};

	(void) state;
	srand(1);
	for (int round = 0; round < 3000; round++)
	{
		uint8_t bytes[600];
		size_t len = 0;
		Found whole;
		Found cut;

		while (len < 300)
		{
			size_t size = (size_t) (rand() % 130);

			bytes[len++] =
				rand() % 50 == 0 ? (uint8_t) rand() : firsts[rand() % (rand() % 4 == 0 ? 8 : 6)];
			if (size < 126)
				bytes[len++] = (uint8_t) (0x80 | size);
			else
			{
				bytes[len++] = 0xfe;
				bytes[len++] = 0;
				bytes[len++] = (uint8_t) size;
			}
			memset(bytes + len, 0, 4);
			len += 4;
			for (size_t i = 0; i < size; i++)
				bytes[len++] = (uint8_t) ('a' + rand() % 26);
		}
		for (int i = rand() % 3; i > 0; i--)
			bytes[(size_t) rand() % len] = (uint8_t) (1 + rand() % 255);
		read_all(bytes, len, len, &whole);
		read_all(bytes, len, 1, &cut);
		assert_string_equal(whole.text, cut.text);
		read_all(bytes, len, (size_t) (1 + rand() % 50), &cut);
		assert_string_equal(whole.text, cut.text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages), cmocka_unit_test(test_masks),
		cmocka_unit_test(test_lengths),  cmocka_unit_test(test_violations),
		cmocka_unit_test(test_closes),   cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
