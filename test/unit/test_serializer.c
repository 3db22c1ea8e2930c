/*
 * WAMP in CBOR and MessagePack: what each kind of item becomes in JSON and back, and what is refused.
 * The bytes are those of RFC 8949, appendix A, and of MessagePack's specification.
 */
#include "unit.h"

#include "gateway/wamp/serializer.h"

#define MAX 100000

static const char *const formats[] = {"CBOR", "MessagePack"};

/* Turn hexadecimal digits into bytes of exactly that size, so that a sanitizer notices reads beyond them. */
static char *
bytes_of(const char *hex, size_t *len)
{
	char *bytes;

	*len = strlen(hex) / 2;
	bytes = malloc(*len + (*len == 0));
	assert_non_null(bytes);
	for (size_t i = 0; i < *len; i++)
	{
		unsigned int byte;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		bytes[i] = (char) byte;
	}
	return bytes;
}

static void
expect_read(SerializerFormat format, const char *hex, const char *json)
{
	size_t len;
	char *bytes = bytes_of(hex, &len);
	char *text;
	size_t text_len;
	const char *problem;
	SerializerResult result = serializer_read(format, bytes, len, MAX, &text, &text_len, &problem);

	free(bytes);
	if (result != SERIALIZER_DONE)
		fail_msg("%s %s: %s", formats[format], hex, problem);
	if (text_len != strlen(json) || memcmp(text, json, text_len) != 0)
		fail_msg("%s %s: %.*s, not %s", formats[format], hex, (int) text_len, text, json);
	free(text);
}

static void
expect_problem(SerializerFormat format, const char *hex, const char *expected)
{
	size_t len;
	char *bytes = bytes_of(hex, &len);
	char *text;
	size_t text_len;
	const char *problem;
	SerializerResult result = serializer_read(format, bytes, len, MAX, &text, &text_len, &problem);

	free(bytes);
	if (result == SERIALIZER_DONE)
		fail_msg("%s %s was accepted", formats[format], hex);
	assert_int_equal(result, SERIALIZER_BAD);
	if (strcmp(problem, expected) != 0)
		fail_msg("%s %s: %s, not %s", formats[format], hex, problem, expected);
}

/* The frame's header, of a short message that is binary and final, and the message in hexadecimal digits. */
static void
expect_written(SerializerFormat format, const char *json, const char *hex)
{
	WireBytes part = {.data = json, .len = (uint32_t) strlen(json)};
	Frame *frame = serializer_frame(format, frame_text(&part, 1));
	char *got = malloc(2 * frame->len + 1);
	size_t offset = 0;
	size_t n = 0;

	assert_non_null(got);
	got[0] = '\0';
	assert_int_equal(frame->data[0] & 0x0f, 2);
	while (frame_next(frame, &offset, &part))
	{
		for (uint32_t i = 0; i < part.len; i++)
			n += (size_t) sprintf(got + n, "%02x", (uint8_t) part.data[i]);
	}
	if (strcmp(got, hex) != 0)
		fail_msg("%s %s: %s, not %s", formats[format], json, got, hex);
	free(got);
	frame_unref(frame);
}

static void
expect_both(SerializerFormat format, const char *json, const char *hex)
{
	expect_read(format, hex, json);
	expect_written(format, json, hex);
}

/* ---------------- values ---------------- */

static void
test_integers(void **state)
{
	static const struct
	{
		const char *json;
		const char *cbor;
		const char *msgpack;
	} cases[] = {
		{"0", "00", "00"},
		{"23", "17", "17"},
		{"24", "1818", "18"},
		{"127", "187f", "7f"},
		{"128", "1880", "cc80"},
		{"255", "18ff", "ccff"},
		{"256", "190100", "cd0100"},
		{"65535", "19ffff", "cdffff"},
		{"65536", "1a00010000", "ce00010000"},
		{"4294967295", "1affffffff", "ceffffffff"},
		{"4294967296", "1b0000000100000000", "cf0000000100000000"},
		{"9007199254740993", "1b0020000000000001", "cf0020000000000001"},
		{"18446744073709551615", "1bffffffffffffffff", "cfffffffffffffffff"},
		{"-1", "20", "ff"},
		{"-24", "37", "e8"},
		{"-32", "381f", "e0"},
		{"-33", "3820", "d0df"},
		{"-128", "387f", "d080"},
		{"-129", "3880", "d1ff7f"},
		{"-32768", "397fff", "d18000"},
		{"-32769", "398000", "d2ffff7fff"},
		{"-2147483648", "3a7fffffff", "d280000000"},
		{"-2147483649", "3a80000000", "d3ffffffff7fffffff"},
		{"-9223372036854775808", "3b7fffffffffffffff", "d38000000000000000"},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		expect_both(SERIALIZER_CBOR, cases[i].json, cases[i].cbor);
		expect_both(SERIALIZER_MSGPACK, cases[i].json, cases[i].msgpack);
	}
	expect_read(SERIALIZER_CBOR, "3bffffffffffffffff", "-18446744073709551616");
	/* In more bytes than are needed. */
	expect_read(SERIALIZER_CBOR, "1b0000000000000001", "1");
	expect_read(SERIALIZER_MSGPACK, "d30000000000000001", "1");
	expect_read(SERIALIZER_MSGPACK, "d3ffffffffffffffff", "-1");
}

static void
test_large_integers(void **state)
{
	char digits[310];
	char hex[700];
	size_t n = (size_t) sprintf(hex, "c25880");

	(void) state;
	expect_both(SERIALIZER_CBOR, "18446744073709551616", "c249010000000000000000");
	expect_both(SERIALIZER_CBOR, "-18446744073709551617", "c349010000000000000000");
	expect_both(SERIALIZER_CBOR, "-9223372036854775809", "c3488000000000000000");
	expect_read(SERIALIZER_CBOR, "c240", "0");
	expect_read(SERIALIZER_CBOR, "c340", "-1");
	expect_written(SERIALIZER_MSGPACK, "18446744073709551616",
				   "b43138343436373434303733373039353531363136");
	expect_written(SERIALIZER_MSGPACK, "-9223372036854775809",
				   "b42d39323233333732303336383534373735383039");

	/* 128 bytes at most, in both directions. */
	memset(hex + n, '0', 256);
	hex[n] = '1';
	hex[n + 256] = '\0';
	expect_read(SERIALIZER_CBOR, hex,
				"11235582092889474423308157442431404585112356118389416079589380072358292237843810"
				"19579427983265047100132000711749196208485367436055090103890580296441496713277361"
				"04933390540928297688887250778808824658176845053128605523844176464039300921195694"
				"08801702322709406917786643639996702871154982269052209770601514008576");
	memset(digits, '9', 309);
	digits[309] = '\0';
	n = (size_t) sprintf(hex, "790135");
	for (int i = 0; i < 309; i++)
		n += (size_t) sprintf(hex + n, "39");
	expect_written(SERIALIZER_CBOR, digits, hex);
	n = (size_t) sprintf(hex, "c25881");
	memset(hex + n, 'f', 258);
	hex[n + 258] = '\0';
	expect_problem(SERIALIZER_CBOR, hex, "a bignum has more than 128 bytes");
}

static void
test_doubles(void **state)
{
	(void) state;
	expect_both(SERIALIZER_CBOR, "1.1", "fb3ff199999999999a");
	expect_both(SERIALIZER_MSGPACK, "1.1", "cb3ff199999999999a");
	expect_both(SERIALIZER_CBOR, "-4.1", "fbc010666666666666");
	expect_both(SERIALIZER_CBOR, "1e+300", "fb7e37e43c8800759c");
	expect_both(SERIALIZER_CBOR, "0.30000000000000004", "fb3fd3333333333334");
	expect_both(SERIALIZER_CBOR, "4.94065645841247e-324", "fb0000000000000001");
	expect_both(SERIALIZER_CBOR, "-0", "fb8000000000000000");
	expect_written(SERIALIZER_CBOR, "1.0", "fb3ff0000000000000");
	expect_written(SERIALIZER_CBOR, "15E-1", "fb3ff8000000000000");
	/* Without a fraction, as an integer is written. */
	expect_read(SERIALIZER_CBOR, "fb3ff0000000000000", "1");
	expect_read(SERIALIZER_CBOR, "fb433fffffffffffff", "9007199254740991");
	/* Smaller ones. */
	expect_read(SERIALIZER_CBOR, "fa47c35000", "100000");
	expect_read(SERIALIZER_MSGPACK, "ca3fc00000", "1.5");
	expect_read(SERIALIZER_CBOR, "f93e00", "1.5");
	expect_read(SERIALIZER_CBOR, "f97bff", "65504");
	expect_read(SERIALIZER_CBOR, "f90001", "5.9604644775390625e-08");
	expect_read(SERIALIZER_CBOR, "f9c400", "-4");
	expect_read(SERIALIZER_CBOR, "f98000", "-0");
	/* One that a double has not. */
	expect_written(SERIALIZER_CBOR, "1e400", "653165343030");
	expect_written(SERIALIZER_MSGPACK, "-1e400", "a62d3165343030");
}

static void
test_others(void **state)
{
	(void) state;
	expect_both(SERIALIZER_CBOR, "[null,true,false]", "83f6f5f4");
	expect_both(SERIALIZER_MSGPACK, "[null,true,false]", "93c0c3c2");
	expect_read(SERIALIZER_CBOR, "f7", "null");
	expect_problem(SERIALIZER_CBOR, "f0", "a value is of an unknown type");
	expect_problem(SERIALIZER_CBOR, "f8ff", "a value is of an unknown type");
	expect_problem(SERIALIZER_CBOR, "f97c00", "a number is infinite or not a number");
	expect_problem(SERIALIZER_CBOR, "f97e00", "a number is infinite or not a number");
	expect_problem(SERIALIZER_CBOR, "fbfff0000000000000", "a number is infinite or not a number");
	expect_problem(SERIALIZER_MSGPACK, "ca7f800000", "a number is infinite or not a number");
	expect_problem(SERIALIZER_MSGPACK, "cb7ff8000000000000",
				   "a number is infinite or not a number");
	/* Tags: of what they must be, and no others. */
	expect_read(SERIALIZER_CBOR, "d84043010203", "\"\\u0000AQID\"");
	expect_problem(SERIALIZER_CBOR, "c11a514b67b0", "tags are not supported, except 2, 3 and 64");
	expect_problem(SERIALIZER_CBOR, "c06131", "tags are not supported, except 2, 3 and 64");
	expect_problem(SERIALIZER_CBOR, "c201", "a tag of something else than a byte string");
	expect_problem(SERIALIZER_CBOR, "d84080", "a tag of something else than a byte string");
	expect_problem(SERIALIZER_CBOR, "c2c240", "a tag of something else than a byte string");
	expect_problem(SERIALIZER_CBOR, "9fc2ff", "a tag of something else than a byte string");
	expect_problem(SERIALIZER_CBOR, "c2", "the message is not complete");
	expect_read(SERIALIZER_MSGPACK, "93d400000101", "[null,1,1]");
	expect_problem(SERIALIZER_MSGPACK, "d40001", "extension types are not supported");
	expect_problem(SERIALIZER_MSGPACK, "d400", "the message is not complete");
	expect_problem(SERIALIZER_MSGPACK, "d40101", "extension types are not supported");
	expect_problem(SERIALIZER_MSGPACK, "d6ff00000000", "extension types are not supported");
	expect_problem(SERIALIZER_MSGPACK, "c9ffffffff00", "extension types are not supported");
	expect_problem(SERIALIZER_MSGPACK, "c1", "extension types are not supported");
}

static void
test_strings(void **state)
{
	(void) state;
	expect_both(SERIALIZER_CBOR, "\"\"", "60");
	expect_both(SERIALIZER_MSGPACK, "\"\"", "a0");
	expect_both(SERIALIZER_CBOR, "\"IETF\"", "6449455446");
	expect_both(SERIALIZER_MSGPACK, "\"IETF\"", "a449455446");
	expect_both(SERIALIZER_CBOR, "\"\\\"\\\\\"", "62225c");
	expect_both(SERIALIZER_CBOR, "\"\\u0001\\u001f/\"", "63011f2f");
	expect_both(SERIALIZER_CBOR, "\"\xc3\xbc\xe6\xb0\xb4\xf0\x90\x85\x91\"",
				"69c3bce6b0b4f0908591");
	expect_written(SERIALIZER_CBOR, "\"\\b\\f\\n\\r\\t\\/\\u00fc\\ud800\\udd51\"",
				   "6c080c0a0d092fc3bcf0908591");
	/* Half of a pair is no character. */
	expect_written(SERIALIZER_CBOR, "\"\\ud800\"", "665c7564383030");
	expect_problem(SERIALIZER_CBOR, "61ff", "a string is not UTF-8");
	expect_problem(SERIALIZER_MSGPACK, "a3eda080", "a string is not UTF-8");
	expect_problem(SERIALIZER_CBOR, "7f61616162ff", "strings in chunks are not supported");
	expect_problem(SERIALIZER_CBOR, "5f4101ff", "strings in chunks are not supported");
	/* The lengths' sizes. */
	expect_read(SERIALIZER_CBOR, "780161", "\"a\"");
	expect_read(SERIALIZER_CBOR, "7b000000000000000161", "\"a\"");
	expect_read(SERIALIZER_MSGPACK, "d90161", "\"a\"");
	expect_read(SERIALIZER_MSGPACK, "da000161", "\"a\"");
	expect_read(SERIALIZER_MSGPACK, "db0000000161", "\"a\"");
}

static void
test_binary(void **state)
{
	(void) state;
	expect_both(SERIALIZER_CBOR, "\"\\u0000\"", "40");
	expect_both(SERIALIZER_MSGPACK, "\"\\u0000\"", "c400");
	expect_both(SERIALIZER_CBOR, "\"\\u0000EOP/kFMHXFJvX8BtT+N82w==\"",
				"5010e3ff9053075c526f5fc06d4fe37cdb");
	expect_both(SERIALIZER_MSGPACK, "\"\\u0000EOP/kFMHXFJvX8BtT+N82w==\"",
				"c41010e3ff9053075c526f5fc06d4fe37cdb");
	expect_both(SERIALIZER_CBOR, "\"\\u0000AAE=\"", "420001");
	expect_read(SERIALIZER_MSGPACK, "c50001ff", "\"\\u0000/w==\"");
	expect_read(SERIALIZER_MSGPACK, "c600000001ff", "\"\\u0000/w==\"");
	/* No base64, or not written as it is written here. */
	expect_both(SERIALIZER_CBOR, "\"\\u0000AAE\"", "6400414145");
	expect_both(SERIALIZER_CBOR, "\"\\u0000AAF=\"", "65004141463d");
	expect_both(SERIALIZER_CBOR, "\"\\u0000 AAE\"", "650020414145");
	expect_both(SERIALIZER_CBOR, "\"\\u0000====\"", "65003d3d3d3d");
	/* A key. */
	expect_both(SERIALIZER_CBOR, "{\"\\u0000AAE=\":1}", "a165004141453d01");
}

/* ---------------- arrays and maps ---------------- */

static void
test_nesting(void **state)
{
	(void) state;
	expect_both(SERIALIZER_CBOR, "[]", "80");
	expect_both(SERIALIZER_CBOR, "{}", "a0");
	expect_both(SERIALIZER_MSGPACK, "{}", "80");
	expect_both(SERIALIZER_CBOR, "[1,[2,3],[4,5]]", "8301820203820405");
	expect_both(SERIALIZER_MSGPACK, "[1,[2,3],[4,5]]", "9301920203920405");
	expect_both(SERIALIZER_CBOR, "{\"a\":1,\"b\":[2,{}],\"c\":{\"d\":[]}}",
				"a361610161628202a06163a1616480");
	expect_both(SERIALIZER_MSGPACK, "{\"a\":1,\"b\":[2,{}],\"c\":{\"d\":[]}}",
				"83a16101a162920280a16381a16490");
	expect_written(SERIALIZER_CBOR, " [ 1 , [ ] , { \"a,]\" : \"b\" , \"c\" :2 } ] ",
				   "830180a263612c5d6162616302");
	/* Heads of all sizes. */
	expect_written(SERIALIZER_MSGPACK, "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
				   "dc001000000000000000000000000000000000");
	expect_read(SERIALIZER_MSGPACK, "dc000101", "[1]");
	expect_read(SERIALIZER_MSGPACK, "dd0000000101", "[1]");
	expect_read(SERIALIZER_MSGPACK, "de0001a16101", "{\"a\":1}");
	expect_read(SERIALIZER_MSGPACK, "df00000001a16101", "{\"a\":1}");
	expect_read(SERIALIZER_CBOR, "980101", "[1]");
	/* Of indefinite length. */
	expect_read(SERIALIZER_CBOR, "9fff", "[]");
	expect_read(SERIALIZER_CBOR, "bfff", "{}");
	expect_read(SERIALIZER_CBOR, "9f018202039f0405ffff", "[1,[2,3],[4,5]]");
	expect_read(SERIALIZER_CBOR, "bf61610161629f0203ffff", "{\"a\":1,\"b\":[2,3]}");
	expect_read(SERIALIZER_CBOR, "8201bf61619fffff", "[1,{\"a\":[]}]");
}

static void
test_structure(void **state)
{
	static const char incomplete[] = "the message is not complete";

	(void) state;
	for (int format = SERIALIZER_CBOR; format <= SERIALIZER_MSGPACK; format++)
		expect_problem((SerializerFormat) format, "", incomplete);
	expect_problem(SERIALIZER_CBOR, "82", incomplete);
	expect_problem(SERIALIZER_CBOR, "8201", incomplete);
	expect_problem(SERIALIZER_CBOR, "9f01", incomplete);
	expect_problem(SERIALIZER_CBOR, "a16161", incomplete);
	expect_problem(SERIALIZER_CBOR, "19", incomplete);
	expect_problem(SERIALIZER_CBOR, "1901", incomplete);
	expect_problem(SERIALIZER_CBOR, "6261", incomplete);
	expect_problem(SERIALIZER_MSGPACK, "9201", incomplete);
	expect_problem(SERIALIZER_MSGPACK, "cd01", incomplete);
	expect_problem(SERIALIZER_MSGPACK, "a261", incomplete);
	expect_problem(SERIALIZER_MSGPACK, "d9", incomplete);
	expect_problem(SERIALIZER_CBOR, "0101", "something follows the message");
	expect_problem(SERIALIZER_CBOR, "8000", "something follows the message");
	expect_problem(SERIALIZER_MSGPACK, "90c0", "something follows the message");
	expect_problem(SERIALIZER_CBOR, "a10101", "a key must be a string");
	expect_problem(SERIALIZER_CBOR, "a1410101", "a key must be a string");
	expect_problem(SERIALIZER_CBOR, "a18001", "a key must be a string");
	expect_problem(SERIALIZER_MSGPACK, "810101", "a key must be a string");
	expect_problem(SERIALIZER_MSGPACK, "81c401ff01", "a key must be a string");
	expect_problem(SERIALIZER_CBOR, "ff", "a break where there can be none");
	expect_problem(SERIALIZER_CBOR, "81ff", "a break where there can be none");
	expect_problem(SERIALIZER_CBOR, "bf6161ff", "a break where there can be none");
	expect_problem(SERIALIZER_CBOR, "1c", "the message is not CBOR");
	expect_problem(SERIALIZER_CBOR, "1f", "the message is not CBOR");
	expect_problem(SERIALIZER_CBOR, "df", "the message is not CBOR");
	expect_problem(SERIALIZER_CBOR, "fc", "the message is not CBOR");
}

/* Lengths that would be refused anywhere else only after something was allocated. */
static void
test_lengths(void **state)
{
	static const char *const cbor[] = {
		"9affffffff00",           "9b7fffffffffffffff00", "9bffffffffffffffff00",
		"9bfffffffffffffffeff",   "bbffffffffffffffff00", "bb800000000000000000",
		"5affffffff00",           "5bffffffffffffffff00", "7bffffffffffffffff00",
		"c25bffffffffffffffff00",
	};
	static const char *const msgpack[] = {"ddffffffff00", "dfffffffff00", "dbffffffff00",
										  "c6ffffffff00", "df8000000000"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cbor); i++)
		expect_problem(SERIALIZER_CBOR, cbor[i], "the message is not complete");
	for (size_t i = 0; i < UNIT_COUNT(msgpack); i++)
		expect_problem(SERIALIZER_MSGPACK, msgpack[i], "the message is not complete");
}

/* Arrays in each other, the innermost one empty. */
static SerializerResult
read_nested(SerializerFormat format, size_t depth, const char **problem)
{
	static char bytes[2 * SERIALIZER_MAX_DEPTH];
	char *text;
	size_t text_len;
	SerializerResult result;

	memset(bytes, format == SERIALIZER_CBOR ? 0x81 : 0x91, depth);
	bytes[depth - 1]--;
	result = serializer_read(format, bytes, depth, MAX, &text, &text_len, problem);
	if (result != SERIALIZER_DONE)
		return result;
	assert_int_equal(text_len, 2 * depth);
	free(text);
	return result;
}

static void
test_limits(void **state)
{
	char *text;
	size_t text_len;
	const char *problem;

	(void) state;
	for (int i = SERIALIZER_CBOR; i <= SERIALIZER_MSGPACK; i++)
	{
		SerializerFormat format = (SerializerFormat) i;

		/* The innermost one takes no level. */
		assert_int_equal(read_nested(format, SERIALIZER_MAX_DEPTH + 1, &problem), SERIALIZER_DONE);
		assert_int_equal(read_nested(format, SERIALIZER_MAX_DEPTH + 2, &problem), SERIALIZER_BAD);
		assert_string_equal(problem, "values are nested too deeply");
	}
	/* A control character has six bytes in JSON, with two quotation marks. */
	assert_int_equal(
		serializer_read(SERIALIZER_CBOR, "\x63\x01\x01\x01", 4, 20, &text, &text_len, &problem),
		SERIALIZER_DONE);
	assert_int_equal(text_len, 20);
	free(text);
	assert_int_equal(
		serializer_read(SERIALIZER_CBOR, "\x63\x01\x01\x01", 4, 19, &text, &text_len, &problem),
		SERIALIZER_TOO_BIG);
	assert_int_equal(serializer_read(SERIALIZER_MSGPACK, "\xc4\x04\x01\x01\x01\x01", 6, 15, &text,
									 &text_len, &problem),
					 SERIALIZER_TOO_BIG);
	assert_int_equal(
		serializer_read(SERIALIZER_MSGPACK, "\x92\xc0\xc0", 3, 10, &text, &text_len, &problem),
		SERIALIZER_TOO_BIG);
}

/* A message of several fragments. */
static void
test_fragments(void **state)
{
	static char json[100000];
	WireBytes part = {.data = json, .len = sizeof(json)};
	size_t offset = 0;
	Frame *frame;
	char *copy =
		malloc(sizeof(json) + 3); /* the head has five bytes, in place of the quotation marks */
	char *text;
	size_t text_len;
	const char *problem;

	(void) state;
	memset(json, 'x', sizeof(json));
	json[0] = json[sizeof(json) - 1] = '"';
	frame = serializer_frame(SERIALIZER_MSGPACK, frame_text(&part, 1));
	assert_non_null(copy);
	assert_int_equal(frame_payload(frame), sizeof(json) - 2 + 5);
	for (size_t n = 0; frame_next(frame, &offset, &part); n += part.len)
		memcpy(copy + n, part.data, part.len);
	assert_int_equal(serializer_read(SERIALIZER_MSGPACK, copy, sizeof(json) + 3, sizeof(json),
									 &text, &text_len, &problem),
					 SERIALIZER_DONE);
	assert_int_equal(text_len, sizeof(json));
	assert_memory_equal(text, json, sizeof(json));
	free(text);
	free(copy);
	frame_unref(frame);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers),  cmocka_unit_test(test_large_integers),
		cmocka_unit_test(test_doubles),   cmocka_unit_test(test_others),
		cmocka_unit_test(test_strings),   cmocka_unit_test(test_binary),
		cmocka_unit_test(test_nesting),   cmocka_unit_test(test_structure),
		cmocka_unit_test(test_lengths),   cmocka_unit_test(test_limits),
		cmocka_unit_test(test_fragments),
	};

	return cmocka_run_group_tests_name("serializer", tests, NULL, NULL);
}
