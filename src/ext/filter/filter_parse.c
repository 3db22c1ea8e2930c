/*-------------------------------------------------------------------------
 *
 * filter_parse.c
 *	  The grammar of filters, see filter_parse.h.
 *
 * The grammar is that of PostgREST, https://docs.postgrest.org/en/stable/references/api/tables_views.html
 * (horizontal filtering). A value that stands alone, behind "column=op.", is taken as it is. In a list
 * in parentheses, a value ends at a comma or parenthesis unless it is in double quotes, where
 * backslashes escape, or is an array in braces.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ext/filter/filter_parse.h"

/* A part of the filter's text that is being read. It ends with a NUL. */
typedef struct Parser
{
	const char *at;
	FilterAllocate allocate;
	const char **error;
	int depth;
	int conditions;
} Parser;

static const struct
{
	const char *name;
	const char *sql;
	bool quantified; /* may be followed by (any) or (all) */
} filter_operators[] = {
	[FILTER_EQ] = {"eq", "=", true},
	[FILTER_NEQ] = {"neq", "<>", true},
	[FILTER_GT] = {"gt", ">", true},
	[FILTER_GTE] = {"gte", ">=", true},
	[FILTER_LT] = {"lt", "<", true},
	[FILTER_LTE] = {"lte", "<=", true},
	[FILTER_LIKE] = {"like", "~~", true},
	[FILTER_ILIKE] = {"ilike", "~~*", true},
	[FILTER_MATCH] = {"match", "~", true},
	[FILTER_IMATCH] = {"imatch", "~*", true},
	[FILTER_IN] = {"in", "=", false},
	[FILTER_IS] = {"is", "", false},
	[FILTER_ISDISTINCT] = {"isdistinct", "=", false},
	[FILTER_CS] = {"cs", "@>", false},
	[FILTER_CD] = {"cd", "<@", false},
	[FILTER_OV] = {"ov", "&&", false},
	[FILTER_SL] = {"sl", "<<", false},
	[FILTER_SR] = {"sr", ">>", false},
	[FILTER_NXR] = {"nxr", "&<", false},
	[FILTER_NXL] = {"nxl", "&>", false},
	[FILTER_ADJ] = {"adj", "-|-", false},
};
#define FILTER_NOPERATORS (sizeof(filter_operators) / sizeof(filter_operators[0]))

static FilterNode *filter_parse_list(Parser *parser, FilterKind kind, bool negated);

const char *
filter_operator_name(FilterOperator op)
{
	return filter_operators[op].name;
}

const char *
filter_operator_sql(FilterOperator op)
{
	return filter_operators[op].sql;
}

bool
filter_is_pattern(FilterOperator op)
{
	return op == FILTER_LIKE || op == FILTER_ILIKE || op == FILTER_MATCH || op == FILTER_IMATCH;
}

/* ---------------- errors and memory ---------------- */

/* The length of the part of a text, from its begin on, that is valid UTF-8 (RFC 3629). */
static size_t
filter_utf8_prefix(const char *text)
{
	const unsigned char *at = (const unsigned char *) text;

	while (*at != '\0')
	{
		int size = *at < 0x80 ? 1 : *at < 0xC2 ? 0 : *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : 4;

		if (size == 0 || *at > 0xF4 || (*at == 0xE0 && at[1] < 0xA0) ||
			(*at == 0xED && at[1] > 0x9F) || (*at == 0xF0 && at[1] < 0x90) ||
			(*at == 0xF4 && at[1] > 0x8F))
			break;
		for (int i = 1; i < size; i++)
		{
			if ((at[i] & 0xC0) != 0x80)
				return (size_t) (at - (const unsigned char *) text);
		}
		at += size;
	}
	return (size_t) (at - (const unsigned char *) text);
}

static void *
filter_fail(Parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Set the error, if none is set yet. Returns NULL. */
static void *
filter_fail(Parser *parser, const char *format, ...)
{
	char message[256];
	va_list args;
	int length;
	char *copy;

	if (*parser->error != NULL)
		return NULL;
	va_start(args, format);
	length = vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	length = length < (int) sizeof(message) ? length : (int) sizeof(message) - 1;

	/* A part of the filter may have been cut within a character. */
	while (filter_utf8_prefix(message) < (size_t) length)
		message[filter_utf8_prefix(message)] = '?';
	copy = parser->allocate((size_t) length + 1);
	memcpy(copy, message, (size_t) length + 1);
	*parser->error = copy;
	return NULL;
}

static void *
filter_zeroed(const Parser *parser, size_t size)
{
	return memset(parser->allocate(size), 0, size);
}

static char *
filter_copy(const Parser *parser, const char *text, size_t length)
{
	char *copy = parser->allocate(length + 1);

	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

/* ---------------- words ---------------- */

static bool
filter_accept(Parser *parser, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(parser->at, word, length) != 0)
		return false;
	parser->at += length;
	return true;
}

/* Skip what PostgREST skips around the elements of a list. */
static void
filter_skip_space(Parser *parser)
{
	parser->at += strspn(parser->at, " \t\n\v\f\r");
}

/* A text in double quotes, whose first one is next. */
static const char *
filter_parse_quoted(Parser *parser)
{
	const char *from = parser->at;
	char *text = parser->allocate(strlen(from) + 1);
	size_t length = 0;

	for (parser->at++; *parser->at != '"'; parser->at++)
	{
		if (*parser->at == '\\' && parser->at[1] != '\0')
			parser->at++;
		if (*parser->at == '\0')
			return filter_fail(parser,
							   "a closing double quote is missing: %.60s; \"&\" in a value is "
							   "written %%26",
							   from);
		text[length++] = *parser->at;
	}
	parser->at++;
	text[length] = '\0';
	return text;
}

/* The next operand of a path: up to the next arrow, "=" or ".". */
static bool
filter_parse_step(Parser *parser, FilterStep *step)
{
	const char *from = parser->at;
	size_t length = 0;
	size_t digits;

	if (*from == '"')
	{
		step->key = filter_parse_quoted(parser);
		return step->key != NULL;
	}
	while (from[length] != '\0' && strchr("=.,()", from[length]) == NULL &&
		   strncmp(from + length, "->", 2) != 0)
		length++;
	if (length == 0)
		return filter_fail(parser, "a key or index is missing behind the arrow") != NULL;
	parser->at += length;
	step->key = filter_copy(parser, from, length);
	digits = strspn(from + (*from == '-'), "0123456789");
	if (digits == 0 || digits + (*from == '-') != length)
		return true;
	if (digits > 9)
		return filter_fail(parser, "index \"%s\" is out of range", step->key) != NULL;
	step->is_index = true;
	step->index = atoi(step->key);
	step->key = NULL;
	return true;
}

/* A column's name: in double quotes, or up to an arrow, "=" or ".". Then its path. */
static bool
filter_parse_column(Parser *parser, FilterNode *node)
{
	FilterStep **end = &node->path;

	if (*parser->at == '"')
		node->column = filter_parse_quoted(parser);
	else
	{
		const char *from = parser->at;
		size_t length = 0;

		while (from[length] != '\0' && strchr("=.,()\"", from[length]) == NULL &&
			   strncmp(from + length, "->", 2) != 0)
			length++;
		parser->at += length;
		node->column = filter_copy(parser, from, length);
	}
	if (node->column == NULL)
		return false;
	if (*node->column == '\0')
		return filter_fail(parser, "a column is missing before \"%.60s\"", parser->at) != NULL;
	while (strncmp(parser->at, "->", 2) == 0)
	{
		FilterStep *step = filter_zeroed(parser, sizeof(FilterStep));

		parser->at += 2;
		step->as_text = filter_accept(parser, ">");
		if (!filter_parse_step(parser, step))
			return false;
		*end = step;
		end = &step->next;
	}
	return true;
}

static bool
filter_parse_operator(Parser *parser, FilterNode *node)
{
	size_t length = strspn(parser->at, "abcdefghijklmnopqrstuvwxyz_");
	size_t op = 0;

	while (op < FILTER_NOPERATORS && (strlen(filter_operators[op].name) != length ||
									  strncmp(parser->at, filter_operators[op].name, length) != 0))
		op++;
	if (length >= 3 && strncmp(parser->at + length - 3, "fts", 3) == 0)
		return filter_fail(parser, "full-text search is not supported: \"%.*s\" for column \"%s\"",
						   (int) length, parser->at, node->column) != NULL;
	if (op == FILTER_NOPERATORS)
		return filter_fail(parser, "unknown operator \"%.*s\" for column \"%s\"",
						   length > 0 ? (int) length : (int) strcspn(parser->at, ".,()&"),
						   parser->at, node->column) != NULL;
	parser->at += length;
	node->op = (FilterOperator) op;
	if (filter_accept(parser, "(any)"))
		node->quantifier = FILTER_ANY;
	else if (filter_accept(parser, "(all)"))
		node->quantifier = FILTER_ALL;
	if (node->quantifier != FILTER_ONE && !filter_operators[op].quantified)
		return filter_fail(parser, "operator \"%s\" cannot have (any) or (all)",
						   filter_operators[op].name) != NULL;
	if (!filter_accept(parser, "."))
		return filter_fail(parser, "operator \"%s\" of column \"%s\" needs a dot and a value",
						   filter_operators[op].name, node->column) != NULL;
	return true;
}

/* ---------------- values ---------------- */

/* A value within a list: in double quotes, an array in braces, or up to a comma or parenthesis. */
static const char *
filter_parse_item(Parser *parser, bool braces)
{
	const char *from = parser->at;
	size_t length = 0;

	if (*from == '"')
	{
		const char *text = filter_parse_quoted(parser);

		if (text != NULL && *parser->at != ',' && *parser->at != ')')
			return filter_fail(parser, "a comma or parenthesis is missing before \"%.60s\"",
							   parser->at);
		return text;
	}
	if (braces && *from == '{')
	{
		length = strcspn(from + 1, "{}") + 1;
		length = from[length] == '}' && strchr(",)", from[length + 1]) != NULL ? length + 1 : 0;
	}
	if (length == 0)
		length = strcspn(from, ",)");
	parser->at += length;
	return filter_copy(parser, from, length);
}

/* The list of "in". */
static bool
filter_parse_items(Parser *parser, FilterNode *node)
{
	FilterItem **end = &node->items;

	if (!filter_accept(parser, "("))
		return filter_fail(parser, "operator \"in\" of column \"%s\" needs a list in parentheses",
						   node->column) != NULL;
	filter_skip_space(parser);
	if (filter_accept(parser, ")"))
		return true;
	do
	{
		FilterItem *item = filter_zeroed(parser, sizeof(FilterItem));

		item->text = filter_parse_item(parser, false);
		if (item->text == NULL)
			return false;
		*end = item;
		end = &item->next;
	} while (filter_accept(parser, ","));
	if (!filter_accept(parser, ")"))
		return filter_fail(parser, "a closing parenthesis is missing in the list of column \"%s\"",
						   node->column) != NULL;
	filter_skip_space(parser);
	return true;
}

/* Whether a pattern, or an array of patterns, is short enough. */
static bool
filter_check_pattern(Parser *parser, const FilterNode *node)
{
	int wildcards = 0;

	if (strlen(node->value) > FILTER_MAX_PATTERN)
		return filter_fail(parser, "the pattern for column \"%s\" is longer than %d bytes",
						   node->column, FILTER_MAX_PATTERN) != NULL;
	for (const char *c = node->value; *c != '\0'; c++)
		wildcards += *c == '*' || *c == '%';
	if ((node->op == FILTER_LIKE || node->op == FILTER_ILIKE) && wildcards > FILTER_MAX_WILDCARDS)
		return filter_fail(parser, "the pattern for column \"%s\" has more than %d wildcards",
						   node->column, FILTER_MAX_WILDCARDS) != NULL;
	return true;
}

/* What follows the column and its "=" or ".". A value that stands alone takes the rest. */
static bool
filter_parse_comparison(Parser *parser, FilterNode *node, bool alone)
{
	while (filter_accept(parser, "not."))
		node->negated = !node->negated;
	if (!filter_parse_operator(parser, node))
		return false;
	if (node->op == FILTER_IN)
		return filter_parse_items(parser, node);
	if (alone)
	{
		node->value = filter_copy(parser, parser->at, strlen(parser->at));
		parser->at += strlen(parser->at);
	}
	else
		node->value = filter_parse_item(parser, true);
	return node->value != NULL &&
		   (!filter_is_pattern(node->op) || filter_check_pattern(parser, node));
}

/* ---------------- conditions ---------------- */

static FilterNode *
filter_parse_condition(Parser *parser, const char *separator)
{
	FilterNode *node = filter_zeroed(parser, sizeof(FilterNode));

	if (++parser->conditions > FILTER_MAX_CONDITIONS)
		return filter_fail(parser, "the filter has more than %d conditions", FILTER_MAX_CONDITIONS);
	node->kind = FILTER_CONDITION;
	if (!filter_parse_column(parser, node))
		return NULL;
	if (!filter_accept(parser, separator))
		return filter_fail(parser, "\"%s\" is missing behind column \"%s\"", separator,
						   node->column);
	return filter_parse_comparison(parser, node, *separator == '=') ? node : NULL;
}

/* "and" and "or", with what follows the word, or else a condition. */
static FilterNode *
filter_parse_member(Parser *parser, const char *and_word, const char *or_word,
					const char *separator)
{
	const char *from = parser->at;
	bool negated = false;

	while (filter_accept(parser, "not."))
		negated = !negated;
	if (filter_accept(parser, and_word))
		return filter_parse_list(parser, FILTER_AND, negated);
	if (filter_accept(parser, or_word))
		return filter_parse_list(parser, FILTER_OR, negated);

	/* A column may be called "not". */
	parser->at = from;
	return filter_parse_condition(parser, separator);
}

/* The list of a logical operator, behind its opening parenthesis. */
static FilterNode *
filter_parse_list(Parser *parser, FilterKind kind, bool negated)
{
	FilterNode *list = filter_zeroed(parser, sizeof(FilterNode));
	FilterNode **end = &list->first;

	list->kind = kind;
	list->negated = negated;
	if (++parser->depth > FILTER_MAX_DEPTH)
		return filter_fail(parser, "conditions are nested more than %d levels deep",
						   FILTER_MAX_DEPTH);
	do
	{
		filter_skip_space(parser);
		*end = filter_parse_member(parser, "and(", "or(", ".");
		if (*end == NULL)
			return NULL;
		end = &(*end)->next;
	} while (filter_accept(parser, ","));
	parser->depth--;
	if (!filter_accept(parser, ")"))
		return filter_fail(parser, "a comma or closing parenthesis is missing before \"%.60s\"",
						   parser->at);
	filter_skip_space(parser);
	return list;
}

/* ---------------- the whole ---------------- */

static int
filter_hex(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *found = c != '\0' ? strchr(digits, c) : NULL;
	int value = found != NULL ? (int) (found - digits) : -1;

	return value > 15 ? value - 6 : value;
}

/* Copy a part of the text with %XX replaced. A "%" without two digits stands for itself. */
static const char *
filter_decode(Parser *parser, const char *text, size_t length)
{
	char *decoded = parser->allocate(length + 1);
	size_t n = 0;

	for (size_t i = 0; i < length; i++)
	{
		char c = text[i];

		if (c == '%' && i + 2 < length && filter_hex(text[i + 1]) >= 0 &&
			filter_hex(text[i + 2]) >= 0)
		{
			c = (char) (filter_hex(text[i + 1]) * 16 + filter_hex(text[i + 2]));
			i += 2;
		}
		if (c == '\0')
			return filter_fail(parser, "the filter contains the character U+0000");
		decoded[n++] = c;
	}
	decoded[n] = '\0';
	if (filter_utf8_prefix(decoded) < n)
		return filter_fail(parser,
						   "the filter is not valid UTF-8; \"%%\" in a value is written %%25");
	return decoded;
}

FilterNode *
filter_parse(const char *text, size_t length, FilterAllocate allocate, const char **error)
{
	Parser parser = {.allocate = allocate, .error = error};
	FilterNode *root = filter_zeroed(&parser, sizeof(FilterNode));
	FilterNode **end = &root->first;
	size_t from = 0;

	*error = NULL;
	root->kind = FILTER_AND;
	if (length > FILTER_MAX_LENGTH)
		return filter_fail(&parser, "the filter is longer than %d bytes", FILTER_MAX_LENGTH);
	do
	{
		const char *separator = memchr(text + from, '&', length - from);
		size_t to = separator != NULL ? (size_t) (separator - text) : length;

		parser.at = filter_decode(&parser, text + from, to - from);
		if (parser.at == NULL)
			return NULL;
		if (*parser.at == '\0')
			return filter_fail(&parser, "the filter has an empty condition");
		*end = filter_parse_member(&parser, "and=(", "or=(", "=");
		if (*end == NULL)
			return NULL;
		if (*parser.at != '\0')
			return filter_fail(
				&parser,
				"there is text behind the condition: \"%.60s\"; a value with a comma or "
				"parenthesis must be quoted",
				parser.at);
		end = &(*end)->next;
		from = to + 1;
	} while (from <= length);
	return root;
}
