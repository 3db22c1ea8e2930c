/* Headers for all unit tests; cmocka.h needs them before it. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNIT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The bounds are included. Use this instead of assert_in_range(), which cmocka 2 does not have. */
#undef assert_in_range
#pragma GCC poison assert_in_range
#define assert_between(value, least, most)                                                         \
	assert_true((int64_t) (value) >= (int64_t) (least) && (int64_t) (value) <= (int64_t) (most))

#endif /* UNIT_H */
