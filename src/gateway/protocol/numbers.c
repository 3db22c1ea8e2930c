/*-------------------------------------------------------------------------
 *
 * numbers.c
 *	  Numbers in JSON that a double does not hold exactly.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

#define NUMBERS_MAX_EXACT "9007199254740991" /* 2^53 - 1 */
#define NUMBERS_ALWAYS    15                 /* a double holds all decimals of so many digits, */
#define NUMBERS_DIGITS    17                 /* and is denoted by so many at most */
#define NUMBERS_EXPONENT  290                /* in the range of exponents that is surely no limit */

/* A decimal: 0.DIGITS times 10 to the exponent. The first and the last digit are not 0. */
typedef struct Decimal
{
	char digits[NUMBERS_DIGITS + 1];
	size_t ndigits; /* may be more than there are in digits */
	long exponent;
} Decimal;

static bool
numbers_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
numbers_is_number(char c)
{
	return numbers_is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* An exponent, or one that is as far outside of what a double has. */
static long
numbers_exponent(const char *text, size_t len)
{
	long exponent = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (numbers_is_digit(text[i]) && exponent < 100000000)
			exponent = exponent * 10 + (text[i] - '0');
	}
	return text[0] == '-' ? -exponent : exponent;
}

static Decimal
numbers_read(const char *text, size_t len)
{
	Decimal decimal = {.ndigits = 0};
	size_t zeros = 0; /* behind the last other digit */
	bool fraction = false;
	size_t i;

	for (i = 0; i < len && text[i] != 'e' && text[i] != 'E'; i++)
	{
		if (text[i] == '.')
			fraction = true;
		if (!numbers_is_digit(text[i]))
			continue;
		if (decimal.ndigits + zeros == 0 && text[i] == '0')
		{
			decimal.exponent -= fraction;
			continue;
		}
		decimal.exponent += !fraction;
		zeros++;
		if (text[i] == '0')
			continue;
		for (; zeros > 0; zeros--, decimal.ndigits++)
		{
			if (decimal.ndigits < NUMBERS_DIGITS)
				decimal.digits[decimal.ndigits] = zeros > 1 ? '0' : text[i];
		}
	}
	if (i < len)
		decimal.exponent += numbers_exponent(text + i + 1, len - i - 1);
	return decimal;
}

/* The shortest decimal that denotes this double. */
static Decimal
numbers_shortest(double value)
{
	char text[NUMBERS_DIGITS + 16];

	for (int digits = 1;; digits++)
	{
		int len = snprintf(text, sizeof(text), "%.*e", digits - 1, value);

		if (digits == NUMBERS_DIGITS || strtod(text, NULL) == value)
			return numbers_read(text, (size_t) len);
	}
}

bool
numbers_kept(const char *text, size_t len)
{
	Decimal decimal;
	Decimal shortest;
	char *copy;
	double value;

	if (text[0] == '-')
	{
		text++;
		len--;
	}
	if (memchr(text, '.', len) == NULL && memchr(text, 'e', len) == NULL &&
		memchr(text, 'E', len) == NULL)
		return len < sizeof(NUMBERS_MAX_EXACT) - 1 ||
			   (len == sizeof(NUMBERS_MAX_EXACT) - 1 && memcmp(text, NUMBERS_MAX_EXACT, len) <= 0);
	decimal = numbers_read(text, len);
	if (decimal.ndigits == 0)
		return true;
	if (decimal.ndigits > NUMBERS_DIGITS)
		return false;
	if (decimal.ndigits <= NUMBERS_ALWAYS && labs(decimal.exponent) < NUMBERS_EXPONENT)
		return true;
	copy = memory_string(text, len);
	value = strtod(copy, NULL);
	free(copy);
	if (isinf(value) || value == 0)
		return false;
	shortest = numbers_shortest(value);
	return shortest.exponent == decimal.exponent && shortest.ndigits == decimal.ndigits &&
		   memcmp(shortest.digits, decimal.digits, decimal.ndigits) == 0;
}

/*
 * Return the next number that a double does not hold, at or behind text, and its length; NULL: there is none.
 */
static const char *
numbers_next(const char *text, const char *end, size_t *len)
{
	bool string = false;

	for (; text < end; text += *len)
	{
		*len = 1;
		if (*text == '"')
			string = !string;
		else if (*text == '\\')
			*len = 2;
		else if (!string && (*text == '-' || numbers_is_digit(*text)))
		{
			while (text + *len < end && numbers_is_number(text[*len]))
				(*len)++;
			if (!numbers_kept(text, *len))
				return text;
		}
	}
	return NULL;
}

char *
numbers_quote(WireBytes json, uint32_t *len)
{
	const char *from = json.data;
	const char *end = json.data + json.len;
	size_t number_len;
	const char *number = numbers_next(from, end, &number_len);
	char *copy;
	char *to;

	if (number == NULL)
		return NULL;
	/* Each gets two characters; the shortest are like 1e999, with a comma. */
	copy = to = memory_new((size_t) json.len + json.len / 3 + 2);
	for (; number != NULL; number = numbers_next(from, end, &number_len))
	{
		memcpy(to, from, (size_t) (number - from));
		to += number - from;
		*to++ = '"';
		memcpy(to, number, number_len);
		to += number_len;
		*to++ = '"';
		from = number + number_len;
	}
	memcpy(to, from, (size_t) (end - from));
	*len = (uint32_t) (to - copy + (end - from));
	return copy;
}

char *
numbers_replace(WireBytes *json)
{
	char *quoted = numbers_quote(*json, &json->len);

	if (quoted != NULL)
		json->data = quoted;
	return quoted;
}
