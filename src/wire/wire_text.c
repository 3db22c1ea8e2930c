/*-------------------------------------------------------------------------
 *
 * wire_text.c
 *	  Positions and operations as text.
 *
 *-------------------------------------------------------------------------
 */
#include "wire.h"

#include <string.h>

static const struct
{
	uint8_t op;
	const char *name;
} wire_ops[] = {
	{WIRE_OP_INSERT, "INSERT"},     {WIRE_OP_UPDATE, "UPDATE"},   {WIRE_OP_DELETE, "DELETE"},
	{WIRE_OP_TRUNCATE, "TRUNCATE"}, {WIRE_OP_MESSAGE, "MESSAGE"}, {WIRE_OP_NOTIFY, "NOTIFY"},
};

#define WIRE_NOPS (sizeof(wire_ops) / sizeof(wire_ops[0]))

/*
 * Every event has a position, and printf() would take longer than writing everything else before an
 * event's text.
 */
static char *
wire_put_number(char *to, uint64_t number)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char) ('0' + number % 10);
	while ((number /= 10) > 0);
	while (n > 0)
		*to++ = digits[--n];
	return to;
}

size_t
wire_position_format(WirePosition position, char *buf)
{
	char *end = wire_put_number(buf, position.timeline);

	*end++ = '-';
	end = wire_put_number(end, position.id);
	*end = '\0';
	return (size_t) (end - buf);
}

/* Read a decimal number without leading zeros, at most max, and move *text past it. */
static bool
wire_parse_number(const char **text, const char *end, uint64_t max, uint64_t *value)
{
	const char *start = *text;
	const char *p = start;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++)
	{
		uint64_t digit = (uint64_t) (*p - '0');

		if (v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	if (p == start || (*start == '0' && p - start > 1))
		return false;
	*text = p;
	*value = v;
	return true;
}

bool
wire_position_parse(const char *text, size_t len, WirePosition *position)
{
	const char *end = text + len;
	uint64_t timeline;
	uint64_t id;

	if (!wire_parse_number(&text, end, UINT32_MAX, &timeline) || timeline == 0)
		return false;
	if (text == end || *text++ != '-')
		return false;
	if (!wire_parse_number(&text, end, ((uint64_t) 1 << 53) - 1, &id) || text != end)
		return false;
	position->timeline = (uint32_t) timeline;
	position->id = id;
	return true;
}

const char *
wire_op_name(uint8_t op)
{
	for (size_t i = 0; i < WIRE_NOPS; i++)
		if (wire_ops[i].op == op)
			return wire_ops[i].name;
	return NULL;
}

uint8_t
wire_op_parse(const char *name, size_t len)
{
	for (size_t i = 0; i < WIRE_NOPS; i++)
		if (strlen(wire_ops[i].name) == len && memcmp(wire_ops[i].name, name, len) == 0)
			return wire_ops[i].op;
	return 0;
}
