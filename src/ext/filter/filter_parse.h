/*-------------------------------------------------------------------------
 *
 * filter_parse.h
 *	  The grammar of filters.
 *
 * A filter is text like the query string of PostgREST's horizontal filtering:
 *
 *	  branch_id=eq.7&or=(price.gt.10,name.like.*burger*)
 *
 * Conditions are separated by "&", and all of them must hold. A condition is a column, an operator
 * and a value, or the logical operators "and" and "or" with a list of conditions in parentheses.
 * "not." negates what follows it. %XX stands for a byte, as in a query string; "+" is a plus.
 *
 *	  column=eq.value			column=not.eq.value			column=eq(any).{a,b}
 *	  or=(a.eq.1,b.eq.2)		not.and=(...)				and(...) and or(...) within a list
 *	  "odd name"=eq.1			data->key->>0=eq.x			in.(a,"b,c")
 *
 * This module depends only on libc.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FILTER_PARSE_H
#define PG_NOTIFYD_FILTER_PARSE_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the longest filter, its conditions, and how deep lists may be nested. */
#define FILTER_MAX_LENGTH     8192
#define FILTER_MAX_CONDITIONS 200
#define FILTER_MAX_DEPTH      16

/* Bytes of the longest pattern, and its wildcards. A pattern costs time with each row. */
#define FILTER_MAX_PATTERN   256
#define FILTER_MAX_WILDCARDS 16

typedef enum FilterOperator
{
	FILTER_EQ,
	FILTER_NEQ,
	FILTER_GT,
	FILTER_GTE,
	FILTER_LT,
	FILTER_LTE,
	FILTER_LIKE,
	FILTER_ILIKE,
	FILTER_MATCH,
	FILTER_IMATCH,
	FILTER_IN,
	FILTER_IS,
	FILTER_ISDISTINCT,
	FILTER_CS,
	FILTER_CD,
	FILTER_OV,
	FILTER_SL,
	FILTER_SR,
	FILTER_NXR,
	FILTER_NXL,
	FILTER_ADJ,
} FilterOperator;

/* What is compared with each element of an array. */
typedef enum FilterQuantifier
{
	FILTER_ONE, /* the value is no array of values */
	FILTER_ANY,
	FILTER_ALL,
} FilterQuantifier;

/* A step into a JSON value: "->key", "->>key", "->0" or "->>0". */
typedef struct FilterStep
{
	struct FilterStep *next;
	bool as_text; /* "->>" */
	bool is_index;
	int index;
	const char *key; /* NULL for an index */
} FilterStep;

/* An element of the list of "in". */
typedef struct FilterItem
{
	struct FilterItem *next;
	const char *text;
} FilterItem;

typedef enum FilterKind
{
	FILTER_AND,
	FILTER_OR,
	FILTER_CONDITION,
} FilterKind;

/* All texts are UTF-8 and end with a NUL. */
typedef struct FilterNode
{
	FilterKind kind;
	bool negated;
	struct FilterNode *next;  /* in the list that it belongs to */
	struct FilterNode *first; /* of AND and OR: a list of at least one node */
	/* The rest belongs to conditions. */
	const char *column;
	FilterStep *path; /* NULL: the column itself */
	FilterOperator op;
	FilterQuantifier quantifier;
	const char *value; /* not of FILTER_IN */
	FilterItem *items; /* of FILTER_IN; may be empty */
} FilterNode;

/* Allocates memory, which the caller frees. Never returns NULL. */
typedef void *(*FilterAllocate)(size_t size);

/*
 * Parse a filter. Returns its root, an AND, or NULL with *error set to a message in UTF-8 that names
 * the part that is wrong. The text is UTF-8 and may contain anything.
 */
extern FilterNode *
filter_parse(const char *text, size_t length, FilterAllocate allocate, const char **error);

/* Return true if the operator compares with a pattern. */
extern bool filter_is_pattern(FilterOperator op);

/* The operator's name in a filter, and in SQL ("" if it is not an SQL operator of that name). */
extern const char *filter_operator_name(FilterOperator op);
extern const char *filter_operator_sql(FilterOperator op);

#endif /* PG_NOTIFYD_FILTER_PARSE_H */
