/*-------------------------------------------------------------------------
 *
 * exposition.h
 *	  Metrics as text, in Prometheus' exposition format, version 0.0.4.
 *
 * Both halves write the text with a table of metrics and rows of values: the launcher has a row for
 * each database, gateway and watch, and a gateway has rows for what only it knows. Like wire.c, this
 * file depends only on libc, never allocates and never logs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_EXPOSITION_H
#define PG_NOTIFYD_EXPOSITION_H

#include <stddef.h>

#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/*
 * The text. If buf has no room for all of it, len is nevertheless the number of bytes of the whole
 * text, and buf contains nothing usable. All zeros: measure only.
 */
typedef struct Exposition
{
	char *buf; /* may be NULL */
	size_t cap;
	size_t len;
} Exposition;

/*
 * A metric. Neighbours in a table that have the same name are one family, whose samples differ in
 * the value of label; type and help of the first one count.
 */
typedef struct ExpositionMetric
{
	const char *name;
	const char *type;  /* counter, gauge */
	const char *help;  /* one line without a backslash */
	const char *label; /* NULL: none besides those of the rows */
	const char *const *label_value;
} ExpositionMetric;

typedef struct ExpositionLabel
{
	const char *name;
	const char *value; /* any bytes; what is no UTF-8 is replaced */
} ExpositionLabel;

/* The values of one database, gateway or watch: values[i] is that of the i-th metric. */
typedef struct ExpositionRow
{
	const ExpositionLabel *labels;
	size_t nlabels;
	const double *values; /* NAN: there is no sample */
} ExpositionRow;

/* Append the metrics with all samples. A family without samples is left out. */
extern void exposition_table(Exposition *to, const ExpositionMetric *metrics, size_t nmetrics,
							 const ExpositionRow *rows, size_t nrows);

#endif /* PG_NOTIFYD_EXPOSITION_H */
