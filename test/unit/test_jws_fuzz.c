/*
 * A short run of the fuzz target for tokens: seeds with random changes. `make fuzz` runs longer.
 */
#include "unit.h"

#include "fuzz_jws.h"

static const char *const seeds[] = {
	"teyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	"."
	"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
	"teyJhbGciOiJub25lIn0.e30.",
	"k{\"keys\":[{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS\"},"
	"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
	"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
	"j{\"role\":\"\\u00e9\\ud83d\\ude00\",\"a\":{\"b\":[1,2.5e3,null,true]},\"x\":{\"y\":\"\"},"
	"\"exp\":-1.5}",
	"p$.\"a\\\"b\"[0].c:{\"a\\\"b\":[{\"c\":\"d\"}]}",
};

static uint32_t random_state = 1;

static uint32_t
random_below(uint32_t limit)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint32_t) (((uint64_t) random_state * limit) >> 32);
}

/* Change, insert, remove or repeat a few bytes behind the first one. */
static size_t
mutate(char *text, size_t length, size_t size)
{
	static const char special[] = "\"\\{}[],:.-_=u0eE \x80\xC3\xED\xF4\xFF";
	size_t at = 1 + random_below((uint32_t) length - 1);

	switch (random_below(4))
	{
		case 0:
			text[at] = special[random_below(sizeof(special))];
			break;
		case 1:
			text[at] = (char) random_below(256);
			break;
		case 2:
			memmove(text + at, text + at + 1, length - at - 1);
			return length > 2 ? length - 1 : length;
		default:
			if (length + 1 < size)
			{
				memmove(text + at + 1, text + at, length - at);
				return length + 1;
			}
	}
	return length;
}

static void
test_random_changes(void **state)
{
	(void) state;
	for (int i = 0; i < 40000; i++)
	{
		char buf[1024];
		const char *seed = seeds[random_below(UNIT_COUNT(seeds))];
		size_t length = strlen(seed);
		uint8_t *exact;

		memcpy(buf, seed, length);
		for (uint32_t n = random_below(8); n > 0; n--)
			length = mutate(buf, length, sizeof(buf));
		/* Memory of exactly this size, so that a sanitizer notices reads beyond it. */
		exact = malloc(length);
		memcpy(exact, buf, length);
		LLVMFuzzerTestOneInput(exact, length);
		free(exact);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_changes),
	};

	return cmocka_run_group_tests_name("jws_fuzz", tests, NULL, NULL);
}
