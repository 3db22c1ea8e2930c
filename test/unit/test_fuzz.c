/*
 * A short run of all fuzz targets: their seeds, as they are and with random changes. `make fuzz` runs
 * longer.
 */
#include "unit.h"

#include <dirent.h>

#include "fuzz.h"

#define MAX_SEED 65536
#define CHANGES  20000 /* random inputs of each target */

static const struct
{
	const char *name;
	FuzzTarget run;
} targets[] = {
	{"deflate", fuzz_deflate}, {"filter", fuzz_filter},         {"frames", fuzz_frames},
	{"http", fuzz_http},       {"jsonrpc", fuzz_jsonrpc},       {"payload", fuzz_payload},
	{"proxy", fuzz_proxy},     {"serializer", fuzz_serializer}, {"sse", fuzz_sse},
	{"tls", fuzz_tls},         {"token", fuzz_token},           {"wamp", fuzz_wamp},
};

static uint32_t random_state = 1;

static uint32_t
random_below(uint32_t limit)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint32_t) (((uint64_t) random_state * limit) >> 32);
}

/* Change, insert or remove a byte. */
static size_t
mutate(char *text, size_t length, size_t size)
{
	static const char special[] = "\"\\{}[],:.-_=u0eE \x80\xC3\xED\xF4\xFF";
	size_t at = random_below((uint32_t) length);

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

/* Run a target on memory of exactly this size, so that a sanitizer notices reads beyond it. */
static void
run_exact(FuzzTarget run, const char *data, size_t length)
{
	uint8_t *exact = malloc(length > 0 ? length : 1);

	memcpy(exact, data, length);
	run(exact, length);
	free(exact);
}

static void
run_seed(FuzzTarget run, const char *path, int changes)
{
	static char seed[MAX_SEED];
	static char text[MAX_SEED];
	FILE *file = fopen(path, "r");
	size_t seed_length;

	assert_non_null(file);
	seed_length = fread(seed, 1, sizeof(seed), file);
	fclose(file);
	assert_between(seed_length, 1, sizeof(seed) - 1);
	run_exact(run, seed, seed_length);
	for (int i = 0; i < changes; i++)
	{
		size_t length = seed_length;

		memcpy(text, seed, length);
		for (uint32_t n = 1 + random_below(8); n > 0; n--)
			length = mutate(text, length, sizeof(text));
		run_exact(run, text, length);
	}
}

static void
test_target(void **state)
{
	size_t i = (size_t) *state;
	char path[300];
	struct dirent **seeds;
	int count;

	snprintf(path, sizeof(path), "test/fixtures/fuzz/%s", targets[i].name);
	count = scandir(path, &seeds, NULL, alphasort);
	assert_true(count > 2); /* with . and .. */
	for (int j = 0; j < count; j++)
	{
		if (seeds[j]->d_name[0] != '.')
		{
			snprintf(path, sizeof(path), "test/fixtures/fuzz/%s/%s", targets[i].name,
					 seeds[j]->d_name);
			run_seed(targets[i].run, path, CHANGES / (count - 2));
		}
		free(seeds[j]);
	}
	free(seeds);
}

int
main(void)
{
	struct CMUnitTest tests[UNIT_COUNT(targets)];

	for (size_t i = 0; i < UNIT_COUNT(targets); i++)
		tests[i] = (struct CMUnitTest){
			.name = targets[i].name, .test_func = test_target, .initial_state = (void *) i};
	return cmocka_run_group_tests_name("fuzz", tests, NULL, NULL);
}
