/*
 * Metrics as text: families, labels, values. The TAP tests read it with Prometheus' own parser.
 */
#include "unit.h"

#include <math.h>

#include "wire/exposition.h"
#include "wire/gateway_metrics.h"

static const char *const kinds[] = {"a", "b"};

static const ExpositionMetric metrics[] = {
	{.name = "x_up", .type = "gauge", .help = "Up."},
	{.name = "x_total",
	 .type = "counter",
	 .help = "All.",
	 .label = "kind",
	 .label_value = &kinds[0]},
	{.name = "x_total",
	 .type = "counter",
	 .help = "All.",
	 .label = "kind",
	 .label_value = &kinds[1]},
	{.name = "x_missing", .type = "gauge", .help = "Missing."},
};

static char text[65536];

static const char *
write_rows(const ExpositionRow *rows, size_t nrows)
{
	Exposition to = {.buf = text, .cap = sizeof(text) - 1};

	exposition_table(&to, metrics, sizeof(metrics) / sizeof(metrics[0]), rows, nrows);
	assert_true(to.len < sizeof(text));
	text[to.len] = '\0';
	return text;
}

static void
test_families(void **state)
{
	static const ExpositionLabel first = {"name", "1"};
	static const ExpositionLabel second = {"name", "2"};
	static const double one[] = {1, 2, NAN, NAN};
	static const double two[] = {0, 3, 4.25, NAN};
	const ExpositionRow rows[] = {{.labels = &first, .nlabels = 1, .values = one},
								  {.labels = &second, .nlabels = 1, .values = two}};

	(void) state;
	assert_string_equal(write_rows(rows, 2), "# HELP x_up Up.\n"
											 "# TYPE x_up gauge\n"
											 "x_up{name=\"1\"} 1\n"
											 "x_up{name=\"2\"} 0\n"
											 "# HELP x_total All.\n"
											 "# TYPE x_total counter\n"
											 "x_total{name=\"1\",kind=\"a\"} 2\n"
											 "x_total{name=\"2\",kind=\"a\"} 3\n"
											 "x_total{name=\"2\",kind=\"b\"} 4.25\n");
	assert_string_equal(write_rows(rows, 0), "");
}

static void
test_labels(void **state)
{
	static const struct
	{
		const char *value;
		const char *written;
	} cases[] = {
		{"", ""},
		{"a\"b\\c\nd", "a\\\"b\\\\c\\nd"},
		{"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"\xe9t\xe9", "?t?"},
		{"\xc3", "?"},
		{"\xc0\xaf", "??"},
		{"\xed\xa0\x80", "???"},
		{"\xe2\x82", "??"},
		{"\xf4\x90\x80\x80", "????"},
	};
	static const double values[] = {NAN, NAN, NAN, 7};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		ExpositionLabel label = {"l", cases[i].value};
		ExpositionRow row = {.labels = &label, .nlabels = 1, .values = values};
		char expected[128];

		snprintf(expected, sizeof(expected),
				 "# HELP x_missing Missing.\n# TYPE x_missing gauge\nx_missing{l=\"%s\"} 7\n",
				 cases[i].written);
		assert_string_equal(write_rows(&row, 1), expected);
	}
}

static void
test_values(void **state)
{
	static const struct
	{
		double value;
		const char *written;
	} cases[] = {
		{0, "0"},          {0.5, "0.5"},
		{-3, "-3"},        {1700000000000042, "1700000000000042"},
		{1e300, "1e+300"}, {1234.567891, "1234.56789"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		double values[] = {cases[i].value, NAN, NAN, NAN};
		ExpositionRow row = {.values = values};
		char expected[128];

		snprintf(expected, sizeof(expected), "# HELP x_up Up.\n# TYPE x_up gauge\nx_up %s\n",
				 cases[i].written);
		assert_string_equal(write_rows(&row, 1), expected);
	}
}

/* A text that does not fit is measured, and nothing is written beyond the buffer. */
static void
test_room(void **state)
{
	static const double values[] = {1, 2, 3, 4};
	ExpositionRow row = {.values = values};
	Exposition whole = {0};

	(void) state;
	exposition_table(&whole, metrics, 4, &row, 1);
	for (size_t cap = 0; cap <= whole.len; cap++)
	{
		Exposition to = {.buf = text, .cap = cap};

		memset(text, '!', whole.len + 1);
		exposition_table(&to, metrics, 4, &row, 1);
		assert_int_equal(to.len, whole.len);
		assert_int_equal(text[cap], '!');
	}
}

/* Every metric of a gateway has a name and a help, and neighbours that share a name have labels. */
static void
test_gateway(void **state)
{
	double values[GATEWAY_METRICS];
	WireStats stats = {.clients = 3, .refused = {[WIRE_REFUSED_HOST] = 2}};

	(void) state;
	gateway_metrics_fill(values, &stats);
	assert_true(values[GATEWAY_CLIENTS] == 3);
	assert_true(values[GATEWAY_REFUSED + WIRE_REFUSED_HOST] == 2);
	assert_true(isnan(values[GATEWAY_MEMORY]));
	for (int i = 0; i < GATEWAY_METRICS; i++)
	{
		const ExpositionMetric *metric = &gateway_metrics[i];

		assert_non_null(metric->name);
		assert_non_null(metric->type);
		assert_non_null(metric->help);
		assert_true((metric->label == NULL) == (metric->label_value == NULL));
		for (int j = 0; j < i; j++)
		{
			if (strcmp(gateway_metrics[j].name, metric->name) == 0)
				assert_string_not_equal(*gateway_metrics[j].label_value, *metric->label_value);
		}
	}
	gateway_metrics_sandbox(values, WIRE_SANDBOX_LANDLOCK, true);
	assert_true(values[GATEWAY_SANDBOX_CALLS] == 1 && values[GATEWAY_SANDBOX_LANDLOCK] == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families), cmocka_unit_test(test_labels),
		cmocka_unit_test(test_values),   cmocka_unit_test(test_room),
		cmocka_unit_test(test_gateway),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
