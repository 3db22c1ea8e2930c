/*-------------------------------------------------------------------------
 *
 * json_slice.c
 *	  Reading JSON text in place: values are parts of the text. See json_slice.h.
 *
 * Functions named ..._end take the start of something, and return the place after it, or NULL if it
 * is not valid.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ext/access/json_slice.h"

/* The longest text of a number that is read, in bytes. */
#define SLICE_MAX_NUMBER 64

static const char *slice_value_end(const char *p, const char *end, int depth);

static const char *
slice_skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* A character of UTF-8 (RFC 3629, section 4: no overlong forms, no surrogates). */
static const char *
slice_character_end(const char *p, const char *end)
{
	const unsigned char *c = (const unsigned char *) p;
	unsigned char low = 0x80;
	unsigned char high = 0xBF;
	int more;

	if (c[0] < 0x80)
		return p + 1;
	if (c[0] < 0xC2 || c[0] > 0xF4)
		return NULL;
	more = c[0] < 0xE0 ? 1 : c[0] < 0xF0 ? 2 : 3;
	if (end - p <= more)
		return NULL;
	if (c[0] == 0xE0)
		low = 0xA0;
	else if (c[0] == 0xED)
		high = 0x9F;
	else if (c[0] == 0xF0)
		low = 0x90;
	else if (c[0] == 0xF4)
		high = 0x8F;
	for (int i = 1; i <= more; i++)
	{
		if (c[i] < low || c[i] > high)
			return NULL;
		low = 0x80;
		high = 0xBF;
	}
	return p + more + 1;
}

/* Four hexadecimal digits; -1 if they are none. */
static int32_t
slice_hex(const char *p, const char *end)
{
	int32_t value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char c = p[i];

		value *= 16;
		if (c >= '0' && c <= '9')
			value += c - '0';
		else if (c >= 'a' && c <= 'f')
			value += c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			value += c - 'A' + 10;
		else
			return -1;
	}
	return value;
}

/* An escape sequence, p at its backslash, and the character that it stands for. */
static const char *
slice_escape_end(const char *p, const char *end, int32_t *character)
{
	static const char names[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const char *found;
	int32_t low;

	if (end - p < 2)
		return NULL;
	if (p[1] != 'u')
	{
		found = p[1] != '\0' ? strchr(names, p[1]) : NULL;
		if (found == NULL)
			return NULL;
		*character = meanings[found - names];
		return p + 2;
	}
	*character = slice_hex(p + 2, end);
	if (*character < 0 || (*character >= 0xDC00 && *character <= 0xDFFF))
		return NULL;
	if (*character < 0xD800 || *character > 0xDFFF)
		return p + 6;
	if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return NULL;
	low = slice_hex(p + 8, end);
	if (low < 0xDC00 || low > 0xDFFF)
		return NULL;
	*character = 0x10000 + ((*character - 0xD800) << 10) + (low - 0xDC00);
	return p + 12;
}

/* A string, p at its first quotation mark. */
static const char *
slice_string_end(const char *p, const char *end)
{
	int32_t ignored;

	for (p++; p != NULL && p < end;)
	{
		if (*p == '"')
			return p + 1;
		if ((unsigned char) *p < 0x20)
			return NULL;
		p = *p == '\\' ? slice_escape_end(p, end, &ignored) : slice_character_end(p, end);
	}
	return NULL;
}

static const char *
slice_digits_end(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

/* An exponent without its sign; returns its end, or NULL if it is beyond SLICE_MAX_EXPONENT. */
static const char *
slice_exponent_end(const char *p, const char *end)
{
	const char *stop = slice_digits_end(p, end);
	int exponent = 0;

	for (; stop != NULL && p < stop && exponent <= SLICE_MAX_EXPONENT; p++)
		exponent = 10 * exponent + (*p - '0');
	return exponent <= SLICE_MAX_EXPONENT ? stop : NULL;
}

static const char *
slice_number_end(const char *p, const char *end)
{
	if (*p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = slice_digits_end(p, end);
	if (p != NULL && p < end && *p == '.')
		p = slice_digits_end(p + 1, end);
	if (p != NULL && p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = slice_exponent_end(p, end);
	}
	return p;
}

static const char *
slice_word_end(const char *p, const char *end, const char *word)
{
	size_t length = strlen(word);

	return (size_t) (end - p) >= length && memcmp(p, word, length) == 0 ? p + length : NULL;
}

/* The name of a member and the colon, p at its first quotation mark; returns the value's start. */
static const char *
slice_name_end(const char *p, const char *end)
{
	if (p >= end || *p != '"')
		return NULL;
	p = slice_string_end(p, end);
	if (p == NULL)
		return NULL;
	p = slice_skip_space(p, end);
	return p < end && *p == ':' ? slice_skip_space(p + 1, end) : NULL;
}

/* An object or array, p at its opening bracket. depth: how many more may be opened inside it. */
static const char *
slice_container_end(const char *p, const char *end, int depth)
{
	bool object = *p == '{';
	char closing = object ? '}' : ']';

	p = slice_skip_space(p + 1, end);
	if (p < end && *p == closing)
		return p + 1;
	for (;;)
	{
		if (object && (p = slice_name_end(p, end)) == NULL)
			return NULL;
		p = slice_value_end(p, end, depth);
		if (p == NULL)
			return NULL;
		p = slice_skip_space(p, end);
		if (p >= end)
			return NULL;
		if (*p == closing)
			return p + 1;
		if (*p != ',')
			return NULL;
		p = slice_skip_space(p + 1, end);
	}
}

static const char *
slice_value_end(const char *p, const char *end, int depth)
{
	if (p >= end)
		return NULL;
	switch (*p)
	{
		case '{':
		case '[':
			return depth > 0 ? slice_container_end(p, end, depth - 1) : NULL;
		case '"':
			return slice_string_end(p, end);
		case 't':
			return slice_word_end(p, end, "true");
		case 'f':
			return slice_word_end(p, end, "false");
		case 'n':
			return slice_word_end(p, end, "null");
		default:
			return slice_number_end(p, end);
	}
}

/* Whether a string or a name in a value stands for U+0000 somewhere. */
static bool
slice_has_nul(JsonSlice value)
{
	const char *end = value.text + value.length;

	/* Only strings have backslashes, and what follows them is complete. */
	for (const char *p = value.text; (p = memchr(p, '\\', end - p)) != NULL; p += 2)
	{
		if (p[1] == 'u' && memcmp(p + 2, "0000", 4) == 0)
			return true;
	}
	return false;
}

bool
slice_parse(const char *text, size_t length, JsonSlice *value)
{
	const char *end = text + length;
	const char *start = slice_skip_space(text, end);
	const char *after = slice_value_end(start, end, SLICE_MAX_DEPTH);

	if (after == NULL || slice_skip_space(after, end) != end)
		return false;
	value->text = start;
	value->length = after - start;
	return !slice_has_nul(*value);
}

/* A container that begins with this character, p before it or at spaces; returns the place behind it and spaces. */
static const char *
slice_argument_end(const char *p, const char *end, char first, JsonSlice *value)
{
	const char *start = slice_skip_space(p, end);
	const char *after =
		start < end && *start == first ? slice_value_end(start, end, SLICE_MAX_DEPTH - 1) : NULL;

	if (after == NULL)
		return NULL;
	value->text = start;
	value->length = after - start;
	return slice_skip_space(after, end);
}

bool
slice_arguments(const char *text, size_t length, JsonSlice *args, JsonSlice *kwargs)
{
	const char *end = text + length;
	const char *p;

	*args = *kwargs = (JsonSlice){.text = NULL};
	if (length == 0)
		return true;
	p = slice_argument_end(text, end, '[', args);
	if (p != NULL && p < end)
		p = *p == ',' ? slice_argument_end(p + 1, end, '{', kwargs) : NULL;
	return p == end;
}

char
slice_kind(JsonSlice value)
{
	char c = value.text[0];

	return c == '-' || (c >= '0' && c <= '9') ? '0' : c;
}

static char *
slice_put_character(char *to, int32_t c)
{
	if (c < 0x80)
		*to++ = (char) c;
	else if (c < 0x800)
	{
		*to++ = (char) (0xC0 | c >> 6);
		*to++ = (char) (0x80 | (c & 0x3F));
	}
	else if (c < 0x10000)
	{
		*to++ = (char) (0xE0 | c >> 12);
		*to++ = (char) (0x80 | (c >> 6 & 0x3F));
		*to++ = (char) (0x80 | (c & 0x3F));
	}
	else
	{
		*to++ = (char) (0xF0 | c >> 18);
		*to++ = (char) (0x80 | (c >> 12 & 0x3F));
		*to++ = (char) (0x80 | (c >> 6 & 0x3F));
		*to++ = (char) (0x80 | (c & 0x3F));
	}
	return to;
}

bool
slice_string(JsonSlice value, char *buf, size_t size)
{
	const char *p = value.text + 1;
	const char *end = value.text + value.length - 1;
	char *to = buf;

	if (slice_kind(value) != '"')
		return false;
	while (p < end)
	{
		char character[4];
		size_t length;
		int32_t c;

		if (*p == '\\')
		{
			p = slice_escape_end(p, end, &c);
			if (c == 0)
				return false;
			length = slice_put_character(character, c) - character;
		}
		else
		{
			character[0] = *p++;
			length = 1;
		}
		if (size - (to - buf) <= length)
			return false;
		memcpy(to, character, length);
		to += length;
	}
	if (size == 0)
		return false;
	*to = '\0';
	return true;
}

SliceFound
slice_member(JsonSlice object, const char *name, JsonSlice *value)
{
	const char *end = object.text + object.length;
	const char *p = slice_skip_space(object.text + 1, end);
	SliceFound found = SLICE_ABSENT;

	if (slice_kind(object) != '{')
		return SLICE_ABSENT;
	while (*p == '"')
	{
		char buf[SLICE_MAX_NAME + 1];
		JsonSlice key = {p, slice_string_end(p, end) - p};
		const char *start = slice_name_end(p, end);

		p = slice_value_end(start, end, SLICE_MAX_DEPTH);
		if (slice_string(key, buf, sizeof(buf)) && strcmp(buf, name) == 0)
		{
			if (found == SLICE_FOUND)
				return SLICE_TWICE;
			found = SLICE_FOUND;
			value->text = start;
			value->length = p - start;
		}
		p = slice_skip_space(p, end);
		if (*p == ',')
			p = slice_skip_space(p + 1, end);
	}
	return found;
}

bool
slice_next(JsonSlice array, JsonSlice *value)
{
	const char *end = array.text + array.length;
	const char *p;

	if (slice_kind(array) != '[')
		return false;
	p = value->text == NULL ? array.text + 1 : value->text + value->length;
	p = slice_skip_space(p, end);
	if (*p == ',')
		p = slice_skip_space(p + 1, end);
	if (*p == ']')
		return false;
	value->text = p;
	value->length = slice_value_end(p, end, SLICE_MAX_DEPTH) - p;
	return true;
}

/* Element number n of an array, the first being 0. */
static bool
slice_element(JsonSlice array, int n, JsonSlice *value)
{
	JsonSlice element = {NULL, 0};

	while (slice_next(array, &element))
	{
		if (n-- == 0)
		{
			*value = element;
			return true;
		}
	}
	return false;
}

bool
slice_number(JsonSlice value, double *number)
{
	char buf[SLICE_MAX_NUMBER + 1];

	if (slice_kind(value) != '0' || value.length > SLICE_MAX_NUMBER)
		return false;
	memcpy(buf, value.text, value.length);
	buf[value.length] = '\0';
	*number = strtod(buf, NULL);
	return true;
}

/* A step of a path: the name of a member, or the number of an element. */
typedef struct SliceStep
{
	bool is_element;
	int element;
	char name[SLICE_MAX_NAME + 1];
} SliceStep;

/* "[12]", p at the bracket. */
static const char *
slice_step_element(const char *p, SliceStep *step)
{
	const char *start = ++p;

	step->is_element = true;
	step->element = 0;
	for (; *p >= '0' && *p <= '9' && p - start < 4; p++)
		step->element = step->element * 10 + (*p - '0');
	return p > start && *p == ']' ? p + 1 : NULL;
}

/* A name, quoted or not. An unquoted URL is a mistake, since its dots would divide it. */
static const char *
slice_step_name(const char *p, SliceStep *step)
{
	bool quoted = *p == '"';
	size_t length = 0;

	step->is_element = false;
	if (quoted)
		p++;
	for (; quoted ? *p != '"' : strchr(".[]:/\" \t\n\r", *p) == NULL; p++)
	{
		if (quoted && *p == '\\' && (p[1] == '"' || p[1] == '\\'))
			p++;
		if (*p == '\0' || length == SLICE_MAX_NAME)
			return NULL;
		step->name[length++] = *p;
	}
	step->name[length] = '\0';
	if (quoted)
		return p + 1;
	return length > 0 ? p : NULL;
}

/* The next step of a path; the first one may have no dot before its name. */
static const char *
slice_step(const char *p, bool first, SliceStep *step)
{
	if (*p == '[')
		return slice_step_element(p, step);
	if (*p == '.')
		return slice_step_name(p + 1, step);
	return first ? slice_step_name(p, step) : NULL;
}

/* A "$" that is the whole first step stands for the root. */
static const char *
slice_path_start(const char *path, bool *first)
{
	*first = !(path[0] == '$' && (path[1] == '.' || path[1] == '[' || path[1] == '\0'));
	return *first ? path : path + 1;
}

bool
slice_path_valid(const char *path)
{
	SliceStep step;
	bool first;
	const char *p = slice_path_start(path, &first);

	if (*p == '\0')
		return false;
	for (; p != NULL && *p != '\0'; first = false)
		p = slice_step(p, first, &step);
	return p != NULL;
}

SliceFound
slice_path(JsonSlice root, const char *path, JsonSlice *value)
{
	SliceFound found = SLICE_FOUND;
	SliceStep step;
	bool first;
	const char *p = slice_path_start(path, &first);

	*value = root;
	for (; found == SLICE_FOUND && *p != '\0'; first = false)
	{
		p = slice_step(p, first, &step);
		if (step.is_element)
			found = slice_element(*value, step.element, value) ? SLICE_FOUND : SLICE_ABSENT;
		else
			found = slice_member(*value, step.name, value);
	}
	return found;
}
