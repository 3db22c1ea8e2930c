/*
 * A short run of the fuzz target for tokens and HTTP: seeds with random changes. `make fuzz` runs longer.
 */
#include "unit.h"

#include "fuzz_jws.h"

static const char *const seeds[] = {"hs256", "none", "keys", "json", "path", "http", "chunks"};

/* The text of a seed, from test/fixtures/tokens. */
static size_t
read_seed(const char *name, char *buf, size_t size)
{
	char path[100];
	FILE *file;
	size_t length;

	snprintf(path, sizeof(path), "test/fixtures/tokens/%s", name);
	file = fopen(path, "r");
	assert_non_null(file);
	length = fread(buf, 1, size, file);
	fclose(file);
	assert_between(length, 2, size - 1);
	return length;
}

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
	char texts[UNIT_COUNT(seeds)][1024];
	size_t lengths[UNIT_COUNT(seeds)];

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(seeds); i++)
		lengths[i] = read_seed(seeds[i], texts[i], sizeof(texts[i]));
	for (int i = 0; i < 40000; i++)
	{
		char buf[1024];
		uint32_t seed = random_below(UNIT_COUNT(seeds));
		size_t length = lengths[seed];
		uint8_t *exact;

		memcpy(buf, texts[seed], length);
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
