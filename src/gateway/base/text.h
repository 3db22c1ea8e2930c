/*-------------------------------------------------------------------------
 *
 * text.h
 *	  Functions for text from clients and settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TEXT_H
#define GATEWAY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Return true for well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing beyond
 * U+10FFFF).
 */
extern bool text_utf8_valid(const char *text, size_t len);

/*
 * Return the length of the longest prefix of valid UTF-8 that has at most max bytes and splits no
 * character.
 */
extern size_t text_utf8_cut(const char *text, size_t len, size_t max);

/* The value of a hexadecimal digit, or -1. */
extern int text_hex(char c);

/*
 * Decode %XX (RFC 3986, 2.1) into out, which has room for len bytes. *out_len is the resulting
 * length. Returns false if a % is not followed by two hexadecimal digits.
 */
extern bool text_percent_decode(const char *text, size_t len, char *out, size_t *out_len)
	__attribute__((warn_unused_result));

/* Compare with the C string name, ignoring the case of ASCII letters. */
extern bool text_equal_nocase(const char *text, size_t len, const char *name);

#endif /* GATEWAY_TEXT_H */
