/*-------------------------------------------------------------------------
 *
 * numbers.h
 *	  Numbers in JSON that a double does not hold exactly.
 *
 * JavaScript and many other readers of JSON keep numbers as doubles. A number is kept
 * - without fraction and exponent: if it is at most 2^53 - 1 in magnitude;
 * - otherwise: if the shortest decimal that denotes its double is the same number. So all values of
 *   real and double precision are, whose text PostgreSQL makes so, and numerics of at most 15 digits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_NUMBERS_H
#define GATEWAY_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/wire.h"

/* Return true if a double holds the number, the text of a number in JSON. */
extern bool numbers_kept(const char *text, size_t len);

/*
 * Return a copy of valid JSON in which the other numbers are strings of the same text, *len bytes without a NUL, which the
 * caller frees. Returns NULL if there are none.
 */
extern char *numbers_quote(WireBytes json, uint32_t *len);

/* Replace *json by such a copy if it has such numbers. The caller frees what is returned. */
extern char *numbers_replace(WireBytes *json);

#endif /* GATEWAY_NUMBERS_H */
