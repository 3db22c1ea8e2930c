/*-------------------------------------------------------------------------
 *
 * exposition.c
 *	  Metrics as text, in Prometheus' exposition format. See exposition.h.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/exposition.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Whole numbers up to here are written as such: a double has all of them. */
#define EXPOSITION_WHOLE 9007199254740992.0

static void
exposition_add(Exposition *to, const char *text, size_t len)
{
	if (to->buf != NULL && to->len <= to->cap && len <= to->cap - to->len)
		memcpy(to->buf + to->len, text, len);
	to->len += len;
}

static void
exposition_text(Exposition *to, const char *text)
{
	exposition_add(to, text, strlen(text));
}

/*
 * Return the length of the UTF-8 character at the begin of a text that ends with a NUL; 0: it is
 * none (RFC 3629, section 4).
 */
static size_t
exposition_character(const unsigned char *text)
{
	unsigned char first = text[0];
	unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
	size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	if (len == 1)
		return 1;
	if (first < 0xc2 || first > 0xf4 || text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
	{
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	}
	return len;
}

/* A label's value between quotes. Backslash, quote and line end are escaped. */
static void
exposition_label(Exposition *to, const ExpositionLabel *label, bool first)
{
	const char *at = label->value;

	exposition_text(to, first ? "{" : ",");
	exposition_text(to, label->name);
	exposition_text(to, "=\"");
	while (*at != '\0')
	{
		size_t len = exposition_character((const unsigned char *) at);

		if (*at == '\\' || *at == '"')
			exposition_text(to, "\\");
		if (*at == '\n')
			exposition_text(to, "\\n");
		else if (len == 0)
			exposition_text(to, "?");
		else
			exposition_add(to, at, len);
		at += len > 0 ? len : 1;
	}
	exposition_text(to, "\"");
}

static void
exposition_value(Exposition *to, double value)
{
	char text[32];

	if (value > -EXPOSITION_WHOLE && value < EXPOSITION_WHOLE &&
		value == (double) (long long) value)
		snprintf(text, sizeof(text), " %lld\n", (long long) value);
	else
		snprintf(text, sizeof(text), " %.9g\n", value);
	exposition_text(to, text);
}

static void
exposition_sample(Exposition *to, const ExpositionMetric *metric, const ExpositionRow *row,
				  double value)
{
	ExpositionLabel own = {.name = metric->label};

	exposition_text(to, metric->name);
	for (size_t i = 0; i < row->nlabels; i++)
		exposition_label(to, &row->labels[i], i == 0);
	if (metric->label != NULL)
	{
		own.value = *metric->label_value;
		exposition_label(to, &own, row->nlabels == 0);
	}
	if (row->nlabels > 0 || metric->label != NULL)
		exposition_text(to, "}");
	exposition_value(to, value);
}

static void
exposition_head(Exposition *to, const ExpositionMetric *metric)
{
	exposition_text(to, "# HELP ");
	exposition_text(to, metric->name);
	exposition_text(to, " ");
	exposition_text(to, metric->help);
	exposition_text(to, "\n# TYPE ");
	exposition_text(to, metric->name);
	exposition_text(to, " ");
	exposition_text(to, metric->type);
	exposition_text(to, "\n");
}

void
exposition_table(Exposition *to, const ExpositionMetric *metrics, size_t nmetrics,
				 const ExpositionRow *rows, size_t nrows)
{
	size_t end;

	for (size_t begin = 0; begin < nmetrics; begin = end)
	{
		bool any = false;

		for (end = begin; end < nmetrics && strcmp(metrics[end].name, metrics[begin].name) == 0;)
			end++;
		for (size_t r = 0; r < nrows; r++)
		{
			for (size_t m = begin; m < end; m++)
			{
				if (isnan(rows[r].values[m]))
					continue;
				if (!any)
					exposition_head(to, &metrics[begin]);
				any = true;
				exposition_sample(to, &metrics[m], &rows[r], rows[r].values[m]);
			}
		}
	}
}
