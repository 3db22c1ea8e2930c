/*
 * The grammar of filters.
 */
#include "unit.h"

#include "ext/filter/filter_parse.h"
#include "fuzz.h"

#define PIECES 4096

static void *pieces[PIECES];
static size_t npieces;
static char dumped[4096];

static void *
allocate(size_t size)
{
	assert_true(npieces < PIECES);
	pieces[npieces] = malloc(size);
	assert_non_null(pieces[npieces]);
	return pieces[npieces++];
}

static void
forget(void)
{
	while (npieces > 0)
		free(pieces[--npieces]);
}

static void
put(const char *text)
{
	strncat(dumped, text, sizeof(dumped) - strlen(dumped) - 1);
}

/* Each value in angle brackets, so that its bounds are seen. */
static void
put_value(const char *value)
{
	put("<");
	put(value);
	put(">");
}

static void
dump_condition(const FilterNode *node)
{
	put_value(node->column);
	for (const FilterStep *step = node->path; step != NULL; step = step->next)
	{
		char index[16];

		put(step->as_text ? "->>" : "->");
		snprintf(index, sizeof(index), "%d", step->index);
		if (step->is_index)
			put(index);
		else
			put_value(step->key);
	}
	put(" ");
	put(filter_operator_name(node->op));
	put(node->quantifier == FILTER_ANY ? "(any)" : node->quantifier == FILTER_ALL ? "(all)" : "");
	put(" ");
	if (node->value != NULL)
		put_value(node->value);
	for (const FilterItem *item = node->items; item != NULL; item = item->next)
		put_value(item->text);
}

static void
dump(const FilterNode *node)
{
	if (node->negated)
		put("not ");
	if (node->kind == FILTER_CONDITION)
	{
		dump_condition(node);
		return;
	}
	put(node->kind == FILTER_AND ? "and(" : "or(");
	for (const FilterNode *member = node->first; member != NULL; member = member->next)
	{
		dump(member);
		if (member->next != NULL)
			put(", ");
	}
	put(")");
}

static void
test_valid(void **state)
{
	static const struct
	{
		const char *text;
		const char *dumped;
	} cases[] = {
		{"id=eq.7", "and(<id> eq <7>)"},
		{"id=eq.", "and(<id> eq <>)"},
		{"a=gt.1&b=lte.-2", "and(<a> gt <1>, <b> lte <-2>)"},
		{"a=eq.1&a=neq.2", "and(<a> eq <1>, <a> neq <2>)"},
		{"a=not.eq.1", "and(not <a> eq <1>)"},
		{"a=not.not.eq.1", "and(<a> eq <1>)"},
		{"a=is.null", "and(<a> is <null>)"},
		{"a=isdistinct.x", "and(<a> isdistinct <x>)"},
		{"name=like.*burger*", "and(<name> like <*burger*>)"},
		{"name=ilike(any).{a*,b*}", "and(<name> ilike(any) <{a*,b*}>)"},
		{"a=gte(all).{1,2}", "and(<a> gte(all) <{1,2}>)"},
		{"id=in.(1,2,3)", "and(<id> in <1><2><3>)"},
		{"id=in.()", "and(<id> in )"},
		{"id=in.(,)", "and(<id> in <><>)"},
		{"id=not.in.(1)", "and(not <id> in <1>)"},
		{"name=in.(\"a,b\",\"c)\",\"d\\\"\\\\e\",f\"g)", "and(<name> in <a,b><c)><d\"\\e><f\"g>)"},
		{"tags=cs.{a,b}", "and(<tags> cs <{a,b}>)"},
		{"tags=cd.{a}&r=ov.[1,2)", "and(<tags> cd <{a}>, <r> ov <[1,2)>)"},
		{"r=sl.(1,2)&r=sr.(1,2)&r=nxr.(1,2)&r=nxl.(1,2)&r=adj.(1,2)",
		 "and(<r> sl <(1,2)>, <r> sr <(1,2)>, <r> nxr <(1,2)>, <r> nxl <(1,2)>, <r> adj <(1,2)>)"},
		{"a=match.^b&a=imatch.c$", "and(<a> match <^b>, <a> imatch <c$>)"},
		/* A value that stands alone is taken as it is. */
		{"a=eq.\"x\"", "and(<a> eq <\"x\">)"},
		{"a=eq.b.c,d(e)", "and(<a> eq <b.c,d(e)>)"},
		{"at=gt.2024-01-01T00:00:00+02:00", "and(<at> gt <2024-01-01T00:00:00+02:00>)"},
		{"a=eq.x%26y%3Dz", "and(<a> eq <x&y=z>)"},
		{"a=eq.100%", "and(<a> eq <100%>)"},
		{"a=eq.%zz%4", "and(<a> eq <%zz%4>)"},
		{"a=eq.%C3%A9", "and(<a> eq <\xC3\xA9>)"},
		{"branch_id=eq.7&or=(price.gt.10,name.like.*burger*)",
		 "and(<branch_id> eq <7>, or(<price> gt <10>, <name> like <*burger*>))"},
		{"not.or=(a.eq.1,b.eq.2)", "and(not or(<a> eq <1>, <b> eq <2>))"},
		{"and=(a.eq.1,or(b.eq.2,not.and(c.eq.3,d.not.eq.4)))",
		 "and(and(<a> eq <1>, or(<b> eq <2>, not and(<c> eq <3>, not <d> eq <4>))))"},
		{"or=(a.in.(1,2),b.cs.{x,y},c.eq.\"z,)\",d.eq.{p)",
		 "and(or(<a> in <1><2>, <b> cs <{x,y}>, <c> eq <z,)>, <d> eq <{p>))"},
		{"or=(a.eq.1)", "and(or(<a> eq <1>))"},
		/* Space after commas and around parentheses. */
		{"or=( a.eq.1, b.in.( 1,2) ,and( c.eq.x y, d.is.null ) ) ",
		 "and(or(<a> eq <1>, <b> in <1><2>, and(<c> eq <x y>, <d> is <null >)))"},
		{"id=in.( 1, 2 ) ", "and(<id> in <1>< 2 >)"},
		{"data->key->>0=eq.x", "and(<data>-><key>->>0 eq <x>)"},
		{"data->-1=eq.1", "and(<data>->-1 eq <1>)"},
		{"data->>\"0\"=eq.1", "and(<data>->><0> eq <1>)"},
		{"data->a-b=eq.1", "and(<data>-><a-b> eq <1>)"},
		{"or=(data->>k.eq.1,context->>user.eq.2)",
		 "and(or(<data>->><k> eq <1>, <context>->><user> eq <2>))"},
		{"\"odd.name=\"=eq.1", "and(<odd.name=> eq <1>)"},
		{"or=(\"a,b\".eq.1)", "and(or(<a,b> eq <1>))"},
		{"Name With-Space=eq.1", "and(<Name With-Space> eq <1>)"},
		/* Columns with the names of logical operators. */
		{"and=eq.1&or=eq.2&not=eq.3", "and(<and> eq <1>, <or> eq <2>, <not> eq <3>)"},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		const char *error;
		FilterNode *node = filter_parse(cases[i].text, strlen(cases[i].text), allocate, &error);

		if (node == NULL)
			fail_msg("%s: %s", cases[i].text, error);
		dumped[0] = '\0';
		dump(node);
		assert_string_equal(dumped, cases[i].dumped);
		forget();
	}
}

/* Filters and patterns that would cost too much. */
static void
test_limits(void **state)
{
	char text[FILTER_MAX_LENGTH + 1] = "or=(a.eq.1";
	const char *error;

	(void) state;
	for (int i = 1; i < FILTER_MAX_CONDITIONS; i++)
		strcat(text, ",a.eq.1");
	strcat(text, ")");
	assert_non_null(filter_parse(text, strlen(text), allocate, &error));
	strcat(text, "&b=eq.1");
	assert_null(filter_parse(text, strlen(text), allocate, &error));
	assert_string_equal(error, "the filter has more than 200 conditions");

	for (int i = 0; i < 4; i++)
	{
		static const char *const operators[] = {"like", "ilike", "match", "imatch"};

		sprintf(text, "a=%s.%0*d", operators[i], FILTER_MAX_PATTERN, 0);
		assert_non_null(filter_parse(text, strlen(text), allocate, &error));
		strcat(text, "0");
		assert_null(filter_parse(text, strlen(text), allocate, &error));
		assert_string_equal(error, "the pattern for column \"a\" is longer than 256 bytes");
	}
	assert_non_null(filter_parse("a=like.****************", 23, allocate, &error));
	assert_null(filter_parse("a=like.*%25***************", 26, allocate, &error));
	assert_string_equal(error, "the pattern for column \"a\" has more than 16 wildcards");
}

static void
test_invalid(void **state)
{
	static const struct
	{
		const char *text;
		const char *error;
	} cases[] = {
		{"", "the filter has an empty condition"},
		{"a=eq.1&", "the filter has an empty condition"},
		{"&a=eq.1", "the filter has an empty condition"},
		{"a", "\"=\" is missing behind column \"a\""},
		{"=eq.1", "a column is missing before \"=eq.1\""},
		{"a=1", "unknown operator \"1\" for column \"a\""},
		{"a=", "unknown operator \"\" for column \"a\""},
		{"a=equals.1", "unknown operator \"equals\" for column \"a\""},
		{"a=fts.x", "full-text search is not supported: \"fts\" for column \"a\""},
		{"or=(a.wfts(english).x)", "full-text search is not supported: \"wfts\" for column \"a\""},
		{"a=eq", "operator \"eq\" of column \"a\" needs a dot and a value"},
		{"a=eq(any)", "operator \"eq\" of column \"a\" needs a dot and a value"},
		{"a=is(any).{null}", "operator \"is\" cannot have (any) or (all)"},
		{"a=in.1", "operator \"in\" of column \"a\" needs a list in parentheses"},
		{"a=in.(1", "a closing parenthesis is missing in the list of column \"a\""},
		{"a=in.(\"1)", "a closing double quote is missing: \"1); \"&\" in a value is written %26"},
		{"or=(a.eq.\"1&2\")",
		 "a closing double quote is missing: \"1; \"&\" in a value is written %26"},
		{"a=in.(\"1\"2)", "a comma or parenthesis is missing before \"2)\""},
		{"a=in.(1)x", "there is text behind the condition: \"x\"; a value with a comma or "
					  "parenthesis must be quoted"},
		{"or=(a.eq.1", "a comma or closing parenthesis is missing before \"\""},
		{"or=()", "a column is missing before \")\""},
		{"or=(a.eq.1)b", "there is text behind the condition: \"b\"; a value with a comma or "
						 "parenthesis must be quoted"},
		{"or=(a=eq.1)", "\".\" is missing behind column \"a\""},
		{"data->=eq.1", "a key or index is missing behind the arrow"},
		{"data->1234567890=eq.1", "index \"1234567890\" is out of range"},
		{"\"a=eq.1",
		 "a closing double quote is missing: \"a=eq.1; \"&\" in a value is written %26"},
		{"a=eq.%00", "the filter contains the character U+0000"},
		{"a=eq.%ff", "the filter is not valid UTF-8; \"%\" in a value is written %25"},
		{"a=eq.\xff", "the filter is not valid UTF-8; \"%\" in a value is written %25"},
		{"or=(or(or(or(or(or(or(or(or(or(or(or(or(or(or(or(or(a.eq.1)))))))))))))))))",
		 "conditions are nested more than 16 levels deep"},
		/* The error does not end within a character. */
		{"or=(a.eq.1)-----------------------------------------------------------\xC3\xA9",
		 "there is text behind the condition: "
		 "\"-----------------------------------------------------------?\"; a value with a comma "
		 "or parenthesis must be quoted"},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		const char *error;

		if (filter_parse(cases[i].text, strlen(cases[i].text), allocate, &error) != NULL)
			fail_msg("accepted: %s", cases[i].text);
		assert_string_equal(error, cases[i].error);
		forget();
	}
}

static void
test_length(void **state)
{
	static char text[FILTER_MAX_LENGTH + 2];
	const char *error;

	(void) state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "a=eq.", 5);
	assert_non_null(filter_parse(text, FILTER_MAX_LENGTH, allocate, &error));
	assert_null(filter_parse(text, FILTER_MAX_LENGTH + 1, allocate, &error));
	assert_string_equal(error, "the filter is longer than 8192 bytes");
	forget();
}

/* Random pieces of filters keep the contract. */
static void
test_random(void **state)
{
	static const char *const parts[] = {
		"a", "b",   "=",  ".",        "eq",   "in",        "not.",    "or",  "and", "(",
		")", ",",   "\"", "\\",       "{",    "}",         "->",      "->>", "0",   "-1",
		"&", "%26", "%",  "\xC3\xA9", "\xff", "like(any)", "is.null", "%00",
	};
	unsigned int seed = 7;

	(void) state;
	for (int i = 0; i < 200000; i++)
	{
		char text[256] = "";
		int n = rand_r(&seed) % 20;

		for (int j = 0; j < n; j++)
			strcat(text, parts[(size_t) rand_r(&seed) % UNIT_COUNT(parts)]);
		fuzz_filter((const uint8_t *) text, strlen(text));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),  cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_length),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("filter_parse", tests, NULL, NULL);
}
